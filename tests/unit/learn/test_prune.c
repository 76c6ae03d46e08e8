/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pruning: importance against differences of the loss; parts that do nothing leave without a trace;
 * what stays is what it was. Training goes on from a pruned model.
 */
#include "eigen_int.h"
#include "learn_int.h"
#include "learn_test.h"
#include "step_int.h"
#include "wr_compact.h"

#include <math.h>

static struct wr_dataset *ds;
#define N_ITEMS 60

static const struct wr_student_shape usual = {.n_items = N_ITEMS,
	.d = 16,
	.n_blocks = 3,
	.n_heads = 4,
	.n_kv_heads = 4,
	.window = 6,
	.ffn = 24,
	.age_keys = 1};

static struct wr_student *make(const struct wr_student_shape *shape)
{
	struct wr_student *s;
	struct wr_errmsg msg;
	struct wr_rng r;
	CU_ASSERT_EQUAL_FATAL(wr_student_new(&s, shape, &msg), WR_OK);
	wr_student_init(s, 7);
	wr_rng_init(&r, 3, 4);
	for (size_t i = 0; i < s->n_weights; i++)
		s->w[i] += 0.2f * (float)wr_rng_normal(&r);
	s->w[s->logit_scale] = 5;
	return s;
}

static struct wr_student *prune(const struct wr_prune *p, const struct wr_student *s)
{
	struct wr_student *out;
	struct wr_errmsg msg = {{0}};
	int err = wr_prune_run(p, s, ds, &out, &msg);
	if (err)
		printf("\n  %s ", msg.text);
	CU_ASSERT_EQUAL_FATAL(err, WR_OK);
	return out;
}

/* Largest difference of any cosine of the first 12 clicks of 20 users between two models. */
static double distance(const struct wr_student *a, const struct wr_student *b)
{
	static const struct dropout none = {0};
	const struct wr_student *s[2] = {a, b};
	static float cosine[2][20][N_ITEMS];
	for (int k = 0; k < 2; k++) {
		struct net_ws ws;
		struct wr_errmsg msg;
		uint32_t d = s[k]->shape.d;
		float unit[N_ITEMS * 64], norm[N_ITEMS];
		wr_learn_unit_rows(s[k]->w + s[k]->embedding, N_ITEMS, d, unit, norm);
		CU_ASSERT_EQUAL_FATAL(wr_learn_net_ws_new(&ws, s[k], 64, &msg), WR_OK);
		for (uint32_t u = 0; u < 20; u++) {
			uint32_t n = ds->token_off[u + 1] - ds->token_off[u], off[2] = {0, 0};
			off[1] = WR_MIN(n, 12u);
			struct ragged in = {
				.n_seqs = 1, .off = off, .rows = ds->token_row + ds->token_off[u]};
			wr_learn_net_forward(s[k], &ws, &in, &none);
			for (uint32_t i = 0; i < N_ITEMS; i++) {
				cosine[k][u][i] = 0;
				for (uint32_t c = 0; c < d; c++)
					cosine[k][u][i] += unit[i * d + c] *
							   ws.u[(size_t)(off[1] - 1) * d + c];
			}
		}
		wr_learn_net_ws_free(&ws);
	}
	double worst = 0;
	for (uint32_t u = 0; u < 20; u++)
		for (uint32_t i = 0; i < N_ITEMS; i++)
			worst = fmax(worst, fabs((double)(cosine[0][u][i] - cosine[1][u][i])));
	return worst;
}

static void test_identity(void)
{
	struct wr_student *s = make(&usual), *n = prune(&(struct wr_prune){.heads = 4}, s);
	CU_ASSERT_EQUAL(n->n_weights, s->n_weights);
	CU_ASSERT(distance(s, n) == 0);
	wr_student_free(n);
	wr_student_free(s);
}

/* Scales columns of a matrix behind a gate by k. */
static void gate(float *w, uint32_t rows, uint32_t cols, uint32_t from, uint32_t n, float k)
{
	for (uint32_t r = 0; r < rows; r++)
		for (uint32_t c = from; c < from + n; c++)
			w[r * cols + c] *= k;
}

/* The loss over one chunk of 8 users, as importance sees it. */
static double chunk_loss(struct wr_student *s)
{
	struct wr_fit fit;
	struct optimiser none = {0};
	struct step st;
	struct wr_errmsg msg;
	struct loss_terms loss;
	uint32_t off[9] = {0}, rows[8 * 200], targets[8 * 200], token[8];
	wr_fit_defaults(&fit);
	fit.shape = s->shape;
	fit.batch = 8;
	fit.dropout = 0;
	fit.threads = 1;
	for (uint32_t u = 0; u < 8; u++) {
		uint32_t begin = ds->token_off[u],
			 n = wr_split_training(ds->token_off[u + 1] - begin), k = n ? n - 1 : 0;
		memcpy(rows + off[u], ds->token_row + begin, k * sizeof(uint32_t));
		memcpy(targets + off[u], ds->token_row + begin + 1, k * sizeof(uint32_t));
		token[u] = begin;
		off[u + 1] = off[u] + k;
	}
	struct batch b = {
		.n_seqs = 8, .off = off, .rows = rows, .targets = targets, .token = token};
	CU_ASSERT_EQUAL_FATAL(wr_learn_step_new(&st, &fit, s, &none, NULL, &msg), WR_OK);
	wr_learn_step_gradient(&st, &b, 0, &loss);
	wr_learn_step_free(&st);
	return loss.hard / off[8];
}

static double by_difference(
	struct wr_student *s, size_t at, uint32_t cols, uint32_t from, uint32_t n)
{
	double loss[2], h = 2e-3;
	size_t cells = (size_t)s->shape.d * cols;
	float *keep = malloc(cells * sizeof(float));
	memcpy(keep, s->w + at, cells * sizeof(float));
	for (int side = 0; side < 2; side++) {
		gate(s->w + at, s->shape.d, cols, from, n, (float)(1 + (side ? h : -h)));
		loss[side] = chunk_loss(s);
		memcpy(s->w + at, keep, cells * sizeof(float));
	}
	free(keep);
	return fabs(loss[1] - loss[0]) / (2 * h);
}

static void test_importance(void)
{
	struct wr_student *s = make(&usual);
	struct wr_importance x;
	struct wr_errmsg msg;
	struct wr_dataset first = *ds; /* eight users: one chunk */
	double sum = 0, off = 0;
	first.n_users = 8;
	CU_ASSERT_EQUAL_FATAL(wr_importance_measure(&x, s, &first, 8, 1, &msg), WR_OK);
	for (uint32_t b = 0; b < 3; b++) {
		for (uint32_t h = 0; h < 4; h++) {
			double d = by_difference(s, s->block[b].out, 16, 4 * h, 4);
			sum += d;
			off += fabs(x.head[b * 4 + h] - d);
		}
		for (uint32_t u = 0; u < 24; u++) {
			double d = by_difference(s, s->block[b].down, 24, u, 1);
			sum += d;
			off += fabs(x.unit[b * 24 + u] - d);
		}
	}
	/* Single ones err by 3e-3 where a unit behind them switches within the step. */
	if (off > 0.03 * sum)
		printf("\n  off by %g of %g ", off, sum);
	CU_ASSERT(off <= 0.03 * sum);
	wr_importance_free(&x);
	first.n_users = 0;
	CU_ASSERT_EQUAL(wr_importance_measure(&x, s, &first, 8, 1, &msg), WR_EINVAL);
	wr_student_free(s);
}

static double ndcg(const struct wr_student *s)
{
	struct wr_metrics_at m;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL(wr_eval_float(s, ds, WR_SPLIT_VALID, 0, 1, &m, &msg), WR_OK);
	return m.ndcg[0][1];
}

/* Heads and units whose outputs nobody reads, and a block that adds nothing. */
static void test_idle_parts(void)
{
	for (uint32_t kv = 1; kv <= 4; kv *= 2) {
		struct wr_student_shape shape = usual;
		shape.n_kv_heads = kv;
		struct wr_student *s = make(&shape);
		for (uint32_t b = 0; b < 3; b++) {
			const struct wr_student_block *o = &s->block[b];
			/* One head of either half, so that groups stay even. */
			gate(s->w + o->out, 16, 16, 0, 4, 0);
			gate(s->w + o->out, 16, 16, b == 1 ? 8 : 12, 4, 0);
			for (uint32_t u = 0; u < 24; u += 3)
				gate(s->w + o->down, 16, 24, u + b % 3, 1, 0);
		}
		gate(s->w + s->block[1].out, 16, 16, 0, 16, 0);
		gate(s->w + s->block[1].down, 16, 24, 0, 24, 0);
		struct wr_student *n = prune(&(struct wr_prune){.heads = kv == 4   ? 2
									 : kv == 2 ? 2
										   : 2,
						     .ffn = 16},
			s);
		CU_ASSERT_EQUAL(n->shape.n_heads, 2);
		CU_ASSERT_EQUAL(n->shape.n_kv_heads, WR_MIN(kv, 2u));
		CU_ASSERT_EQUAL(n->head_dim, 4);
		CU_ASSERT(distance(s, n) < 1e-5);
		wr_student_free(n);
		n = prune(&(struct wr_prune){.blocks = 2}, s);
		CU_ASSERT_EQUAL(n->shape.n_blocks, 2);
		/* The idle block can go for nothing; of random ones another may be worse than none.
		 */
		CU_ASSERT(ndcg(n) >= ndcg(s));
		wr_student_free(n);
		wr_student_free(s);
	}
}

/* Equal key and value heads lose nothing by their mean; ages beyond the sequence none by a cut. */
static void test_kv_and_window(void)
{
	struct wr_student_shape shape = usual;
	shape.window = 20;
	struct wr_student *s = make(&shape);
	size_t rows = 4 * 16;
	for (uint32_t b = 0; b < 3; b++) {
		float *kv = s->w + s->block[b].qkv + 4 * rows;
		for (uint32_t kind = 0; kind < 2; kind++)
			for (uint32_t g = 0; g < 4; g += 2)
				memcpy(kv + (kind * 4 + g + 1) * rows, kv + (kind * 4 + g) * rows,
					rows * sizeof(float));
	}
	struct wr_student *n = prune(&(struct wr_prune){.kv_heads = 2, .window = 12}, s);
	CU_ASSERT_EQUAL(n->shape.n_kv_heads, 2);
	CU_ASSERT_EQUAL(n->shape.window, 12);
	CU_ASSERT(distance(s, n) < 1e-5);
	wr_student_free(n);
	n = prune(&(struct wr_prune){.kv_heads = 1}, s);
	CU_ASSERT(distance(s, n) > 1e-3);
	wr_student_free(n);
	wr_student_free(s);
}

/* A stream that lives in 8 of 16 dimensions, turned so that no channel is idle. */
static void test_width(void)
{
	struct wr_student *s = make(&usual);
	float turn[16][16], mean = 0;
	for (int i = 0; i < 16; i++) /* a reflection: orthogonal, full */
		for (int j = 0; j < 16; j++)
			turn[i][j] = (i == j) - 2.0f / 16;
	for (size_t i = 0; i < N_ITEMS * 16; i++)
		s->w[s->embedding + i] *= i % 16 < 8;
	for (uint32_t b = 0; b < 3; b++) {
		const struct wr_student_block *o = &s->block[b];
		memset(s->w + o->out + 8 * 16, 0, 8 * 16 * sizeof(float));
		memset(s->w + o->down + 8 * 24, 0, 8 * 24 * sizeof(float));
		for (int m = 0; m < 2; m++) { /* rows of out and down */
			uint32_t cols = m ? 24 : 16;
			float *w = s->w + (m ? o->down : o->out), old[16 * 24];
			memcpy(old, w, 16 * cols * sizeof(float));
			for (uint32_t r = 0; r < 16; r++)
				for (uint32_t c = 0; c < cols; c++) {
					w[r * cols + c] = 0;
					for (uint32_t k = 0; k < 16; k++)
						w[r * cols + c] += turn[r][k] * old[k * cols + c];
				}
		}
	}
	for (uint32_t r = 0; r < N_ITEMS; r++) {
		float old[16], *e = s->w + s->embedding + r * 16;
		memcpy(old, e, sizeof(old));
		for (int c = 0; c < 16; c++) {
			e[c] = 0;
			for (int k = 0; k < 16; k++)
				e[c] += turn[c][k] * old[k];
			mean += fabsf(e[c]);
		}
	}
	CU_ASSERT(mean > 1);
	for (uint32_t c = 0; c < 16; c++)
		s->w[s->final_gain + c] = 1;
	struct wr_student *n = prune(&(struct wr_prune){.d = 8}, s);
	CU_ASSERT_EQUAL(n->shape.d, 8);
	CU_ASSERT_EQUAL(n->head_dim, 4);
	CU_ASSERT_EQUAL(n->o_dim, 16);
	double far = distance(s, n);
	if (far >= 1e-4)
		printf("\n  %g ", far);
	CU_ASSERT(far < 1e-4);
	wr_student_free(n);
	wr_student_free(s);
}

static void test_eigen(void)
{
	enum { N = 7 };
	double a[N * N], keep[N * N], v[N * N], value[N];
	struct wr_rng r;
	struct wr_errmsg msg;
	wr_rng_init(&r, 1, 2);
	for (int i = 0; i < N; i++)
		for (int j = 0; j <= i; j++)
			a[i * N + j] = a[j * N + i] = wr_rng_normal(&r);
	memcpy(keep, a, sizeof(a));
	CU_ASSERT_EQUAL(wr_learn_eigen(a, N, value, v, &msg), WR_OK);
	for (int i = 0; i < N; i++) {
		CU_ASSERT(i == 0 || value[i] <= value[i - 1]);
		for (int j = 0; j < N; j++) {
			double dot = 0, av = 0;
			for (int k = 0; k < N; k++) {
				dot += v[i * N + k] * v[j * N + k];
				av += keep[j * N + k] * v[i * N + k];
			}
			CU_ASSERT_DOUBLE_EQUAL(dot, i == j, 1e-12);
			CU_ASSERT_DOUBLE_EQUAL(av, value[i] * v[i * N + j], 1e-10);
		}
	}
}

static uint32_t zeros(const struct wr_student *s)
{
	uint32_t n = 0;
	for (uint32_t b = 0; b < s->shape.n_blocks; b++)
		for (size_t i = 0; i < (size_t)s->qkv_dim * s->shape.d; i++)
			n += s->w[s->block[b].qkv + i] == 0.0f;
	return n;
}

/* Half of every four, the smaller ones behind the norm; further training keeps them. */
static void test_two_four(void)
{
	struct wr_student *s = make(&usual), *n = prune(&(struct wr_prune){.two_four = true}, s);
	struct wr_fit f;
	struct wr_fit_result result;
	struct wr_errmsg msg;
	const float *gain = s->w + s->block[0].norm1;
	for (size_t at = 0; at < (size_t)s->qkv_dim * 16; at += 4) {
		const float *w = s->w + s->block[0].qkv + at, *x = n->w + n->block[0].qkv + at;
		float least = INFINITY, most = 0;
		int gone = 0;
		for (size_t i = 0; i < 4; i++) {
			float size = fabsf(w[i] * gain[(at + i) % 16]);
			if (x[i] == 0.0f) {
				gone++;
				most = fmaxf(most, size);
			} else {
				least = fminf(least, size);
				CU_ASSERT_EQUAL(x[i], w[i]);
			}
		}
		CU_ASSERT_EQUAL(gone, 2);
		CU_ASSERT(most <= least);
	}
	wr_fit_defaults(&f);
	f.from = n;
	f.keep_zeros = true;
	f.epochs = 2;
	f.batch = 16;
	f.threads = 1;
	f.quiet = true;
	uint32_t before = zeros(n);
	CU_ASSERT_EQUAL(before, 3 * n->qkv_dim * 8);
	CU_ASSERT_EQUAL_FATAL(wr_fit_run(&f, ds, learn_test_path("sparse"), &result, &msg), WR_OK);
	wr_student_free(n);
	CU_ASSERT_EQUAL_FATAL(
		wr_student_load(&n, learn_test_path("sparse/best.safetensors"), &msg), WR_OK);
	CU_ASSERT_EQUAL(zeros(n), before);
	CU_ASSERT(distance(s, n) > 1e-3);
	wr_student_free(n);
	wr_student_free(s);
}

/* A pruned model is written, read, trained on in its own shape, and resumed. */
static void test_recovery(void)
{
	struct wr_student *s = make(&usual),
			  *n = prune(&(struct wr_prune){.heads = 1, .ffn = 8}, s);
	struct wr_student *back;
	struct wr_fit f;
	struct wr_fit_result result;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL_FATAL(wr_prune_write(n, learn_test_path("cut"), &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(
		wr_student_load(&back, learn_test_path("cut/best.safetensors"), &msg), WR_OK);
	CU_ASSERT_EQUAL(back->n_weights, n->n_weights);
	CU_ASSERT_EQUAL(memcmp(back->w, n->w, n->n_weights * sizeof(float)), 0);
	wr_fit_defaults(&f);
	f.from = back;
	f.epochs = 1;
	f.batch = 16;
	f.threads = 1;
	f.quiet = true;
	CU_ASSERT_EQUAL_FATAL(wr_fit_run(&f, ds, learn_test_path("more"), &result, &msg), WR_OK);
	f.epochs = 2;
	f.resume = true;
	f.from = NULL;
	CU_ASSERT_EQUAL_FATAL(wr_fit_run(&f, ds, learn_test_path("more"), &result, &msg), WR_OK);
	CU_ASSERT_EQUAL(result.epochs, 2);
	wr_student_free(back);
	CU_ASSERT_EQUAL_FATAL(
		wr_student_load(&back, learn_test_path("more/checkpoint.safetensors"), &msg),
		WR_OK);
	CU_ASSERT_EQUAL(back->shape.n_heads, 1);
	CU_ASSERT_EQUAL(back->shape.head_dim, 4);
	CU_ASSERT_EQUAL(back->shape.ffn, 8);
	wr_student_free(back);
	wr_student_free(n);
	wr_student_free(s);
}

static void test_refused(void)
{
	static const struct {
		struct wr_prune p;
		const char *says;
	} bad[] = {
		{{.heads = 5}, "heads"},
		{{.ffn = 25}, "ffn"},
		{{.d = 24}, "--d"},
		{{.kv_heads = 3}, "evenly"},
		{{.d = 12}, "multiple of 8"},
	};
	struct wr_student *s = make(&usual), *out;
	struct wr_errmsg msg;
	for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++) {
		CU_ASSERT_EQUAL(wr_prune_run(&bad[i].p, s, ds, &out, &msg), WR_EINVAL);
		CU_ASSERT_PTR_NULL(out);
		CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, bad[i].says));
	}
	wr_student_free(s);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"pruning nothing changes nothing", test_identity},
		{"importance is the derivative of a gate", test_importance},
		{"idle heads, units and blocks go first, without a trace", test_idle_parts},
		{"equal key heads and unseen ages go without a trace", test_kv_and_window},
		{"unused directions go without a trace", test_width},
		{"eigenvectors", test_eigen},
		{"two of four", test_two_four},
		{"training goes on from a pruned model", test_recovery},
		{"what cannot be", test_refused},
	};
	struct wr_errmsg msg;
	learn_test_begin();
	learn_test_ring("ring", 60, N_ITEMS, 30);
	if (wr_dataset_load(&ds, learn_test_path("ring"), &msg)) {
		fprintf(stderr, "%s\n", msg.text);
		return 1;
	}
	int rc = wr_test_run("learn prune", tests, WR_ARRAY_LEN(tests));
	wr_dataset_free(ds);
	learn_test_end();
	return rc;
}
