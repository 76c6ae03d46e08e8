/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hand-written backward pass against differences (gradient_test.h), for every tensor of tiny
 * students and teachers: full and grouped key heads, histories shorter and longer than the window,
 * both ways of attention, activations, gates, rotation, several targets, dropout on and off (the
 * mask is a function of the key, so the loss stays differentiable).
 */
#include "gemm_share_int.h"
#include "gradient_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct fixture {
	struct wr_fit fit;
	struct wr_student *s;
	struct step st;
	struct optimiser opt;
	uint32_t off[4], rows[400], targets[400];
	int64_t times[400], asked[400];
	struct batch b;
};

static struct wr_fit student_fit(
	uint32_t kv_heads, uint32_t window, double dropout, double attn_dropout)
{
	struct wr_fit fit;
	wr_fit_defaults(&fit);
	fit.shape = (struct wr_student_shape){.n_items = 23,
		.d = 16,
		.n_blocks = 2,
		.n_heads = 4,
		.n_kv_heads = kv_heads,
		.window = window,
		.ffn = 24};
	fit.batch = 3;
	fit.len = 12;
	fit.threads = 1;
	fit.dropout = dropout;
	fit.attn_dropout = attn_dropout;
	return fit;
}

/* Gaps from nothing to months, now and then an unknown time or one that goes back. */
static void set_times(struct fixture *f, struct wr_rng *r)
{
	for (uint32_t i = 0; i < f->off[3]; i++) {
		int64_t gap = (int64_t)exp(wr_rng_double(r) * 23);
		f->times[i] = (i ? f->times[i - 1] : 1000000000000) + gap;
		if (wr_rng_below(r, 8) == 0)
			f->times[i] = wr_rng_below(r, 2) ? 0 : f->times[i] - 2 * gap;
		f->asked[i] = f->times[i] + (int64_t)exp(wr_rng_double(r) * 23);
	}
	f->b.times = f->times;
	f->b.asked = f->asked;
}

static void setup_fit(struct fixture *f, const struct wr_fit *fit)
{
	struct wr_errmsg msg;
	struct wr_rng r;
	memset(f, 0, sizeof(*f));
	f->fit = *fit;
	CU_ASSERT_EQUAL_FATAL(wr_student_new(&f->s, &f->fit.shape, &msg), WR_OK);
	wr_student_init(f->s, 7);
	wr_rng_init(&r, 3, 4);
	/* Away from the symmetric start: gains, biases and embeddings of ordinary size. */
	for (size_t i = 0; i < f->s->n_weights; i++)
		f->s->w[i] += 0.2f * (float)wr_rng_normal(&r);
	f->s->w[f->s->logit_scale] = 5.0f;
	CU_ASSERT_EQUAL_FATAL(wr_learn_optimiser_new(&f->opt, f->s, false, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_learn_step_new(&f->st, &f->fit, f->s, &f->opt, NULL, &msg), WR_OK);
	const uint32_t len[3] = {fit->len, 1, 5};
	for (uint32_t i = 0; i < 3; i++)
		f->off[i + 1] = f->off[i] + len[i];
	for (uint32_t i = 0; i < f->off[3]; i++) {
		f->rows[i] = wr_rng_below(&r, 23);
		f->targets[i] = wr_rng_below(&r, 23);
	}
	f->b = (struct batch){.n_seqs = 3, .off = f->off, .rows = f->rows, .targets = f->targets};
	if (fit->shape.time_buckets)
		set_times(f, &r);
}

static void setup(
	struct fixture *f, uint32_t kv_heads, uint32_t window, double dropout, double attn_dropout)
{
	struct wr_fit fit = student_fit(kv_heads, window, dropout, attn_dropout);
	setup_fit(f, &fit);
}

static void teardown(struct fixture *f)
{
	wr_learn_step_free(&f->st);
	wr_student_free(f->s);
	wr_learn_optimiser_free(&f->opt);
}

static double gradient(struct fixture *f, uint64_t key)
{
	return gradient_test_loss(&f->st, &f->b, key);
}

/* From a student to one whose window is one wider, with the same bias at every age. */
static void copy_weights(const struct wr_student *from, struct wr_student *to)
{
	const struct wr_student_shape *p = &from->shape;
	memcpy(to->w + to->embedding, from->w + from->embedding, p->n_items * p->d * sizeof(float));
	for (uint32_t b = 0; b < p->n_blocks; b++) {
		const struct wr_student_block *x = &from->block[b], *y = &to->block[b];
		memcpy(to->w + y->norm1, from->w + x->norm1, (x->bias - x->norm1) * sizeof(float));
		for (uint32_t h = 0; h < p->n_heads; h++)
			memcpy(to->w + y->bias + h * to->shape.window,
				from->w + x->bias + h * p->window, p->window * sizeof(float));
		memcpy(to->w + y->norm2, from->w + x->norm2,
			(x->down + p->d * p->ffn - x->norm2) * sizeof(float));
	}
	memcpy(to->w + to->final_gain, from->w + from->final_gain, p->d * sizeof(float));
	to->w[to->logit_scale] = from->w[from->logit_scale];
}

static void check_fit(const struct wr_fit *fit)
{
	struct fixture f;
	setup_fit(&f, fit);
	gradient_test_all(&f.st, &f.b, 99);
	teardown(&f);
}

static void check_all(uint32_t kv_heads, uint32_t window, double dropout, double attn_dropout)
{
	struct wr_fit fit = student_fit(kv_heads, window, dropout, attn_dropout);
	check_fit(&fit);
}

static void test_activations(void)
{
	for (uint32_t a = 0; a < WR_N_ACTIVATIONS; a++)
		for (uint32_t gated = 0; gated < 2; gated++) {
			struct wr_fit fit = student_fit(4, 5, 0.2, 0);
			fit.shape.activation = a;
			fit.shape.gated = gated;
			check_fit(&fit);
		}
}

static void test_rotary(void)
{
	struct wr_fit fit = student_fit(2, 5, 0, 0);
	fit.shape.rotary = 1;
	check_fit(&fit);
}

static void test_age_keys(void)
{
	struct wr_fit fit = student_fit(2, 5, 0.2, 0.3);
	fit.shape.age_keys = 1;
	check_fit(&fit);
	fit = student_fit(4, 20, 0, 0); /* wider than the sequences */
	fit.shape.age_keys = 1;
	fit.shape.time_buckets = WR_TIME_BUCKETS;
	check_fit(&fit);
}

/* More tokens than a tile has rows, and than the window is wide. */
static void test_blocked(void)
{
	struct wr_fit fit = student_fit(2, 100, 0.2, 0.3);
	fit.len = 150;
	check_fit(&fit);
	fit = student_fit(4, 128, 0, 0);
	fit.len = 100;
	fit.shape.rotary = fit.shape.gated = 1;
	fit.shape.activation = WR_ACTIVATION_SILU;
	check_fit(&fit);
}

/* A sample that is a function of the key, with targets among it now and then. */
static void test_sampled(void)
{
	struct wr_fit fit = student_fit(4, 5, 0.2, 0);
	fit.sampled = 16;
	check_fit(&fit);
	/* A smooth activation: the step of the difference crosses a kink of relu here. */
	fit.shape.activation = WR_ACTIVATION_SILU;
	fit.shape.time_buckets = WR_TIME_BUCKETS;
	fit.sampled = 3;
	check_fit(&fit);
}

/* Every item once, expected once: loss and gradients of the full softmax. */
static void test_sample_of_all(void)
{
	struct wr_fit fit = student_fit(4, 5, 0, 0);
	struct fixture f;
	setup_fit(&f, &fit);
	double full = gradient(&f, 1), tau = (double)f.st.grad[f.s->logit_scale];
	uint32_t n = 23, d = 16, tokens = f.off[3];
	float *want = malloc(n * d * sizeof(float)), *got = malloc(n * d * sizeof(float));
	struct negatives x;
	struct wr_errmsg msg;
	struct net_ws ws;
	struct ragged in = {.n_seqs = 3, .off = f.off, .rows = f.rows};
	struct targets y = {.next = f.targets, .n_shares = 1, .shares = {1}};
	struct loss_terms loss[2] = {{0}};
	static const struct dropout none = {0};
	float *grad = calloc(f.s->n_weights, sizeof(float));
	CU_ASSERT_EQUAL_FATAL(wr_learn_net_ws_new(&ws, f.s, tokens, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_learn_negatives_new(&x, n, f.s, NULL, 1, tokens, &msg), WR_OK);
	for (uint32_t i = 0; i < n; i++) {
		x.row[i] = (i * 7) % n;
		x.log_expected[i] = 0;
	}
	wr_learn_negatives_gather(&x, f.st.unit, d);
	wr_learn_net_forward(f.s, &ws, &in, &none);
	wr_learn_softmax_loss(f.s, &ws, f.st.unit, &in, &y, 1.0f / (float)tokens, grad, &loss[0]);
	memcpy(want, grad + f.s->embedding, n * d * sizeof(float));
	float *du = malloc(tokens * d * sizeof(float));
	memcpy(du, ws.dx, tokens * d * sizeof(float));
	memset(grad, 0, f.s->n_weights * sizeof(float));
	wr_learn_sampled_loss(
		f.s, &ws, f.st.unit, &x, 0, 0, &in, &y, 1.0f / (float)tokens, grad, &loss[1]);
	wr_learn_sampled_scatter(&x, 1, f.targets, tokens, n, d, got);
	CU_ASSERT_DOUBLE_EQUAL(loss[0].hard, full, 1e-4);
	CU_ASSERT_DOUBLE_EQUAL(loss[1].hard, full, 1e-4);
	CU_ASSERT_DOUBLE_EQUAL((double)grad[f.s->logit_scale], tau, 1e-5);
	for (uint32_t i = 0; i < n * d; i++)
		CU_ASSERT_DOUBLE_EQUAL((double)got[i], (double)want[i], 1e-5);
	for (uint32_t i = 0; i < tokens * d; i++)
		CU_ASSERT_DOUBLE_EQUAL((double)ws.dx[i], (double)du[i], 1e-5);
	wr_learn_negatives_free(&x);
	wr_learn_net_ws_free(&ws);
	free(want);
	free(got);
	free(grad);
	free(du);
	teardown(&f);
}

/* Over many draws Σ 1 / expected is the catalogue's size, and items come as often as they should:
 * the sum that the loss makes is the full one on average. */
static void test_draws(void)
{
	struct fixture f;
	struct negatives x;
	struct wr_errmsg msg;
	uint32_t counts[23], came[23] = {0}, rounds = 4000;
	double sum = 0, total = 0;
	setup(&f, 4, 5, 0, 0);
	for (uint32_t i = 0; i < 23; i++) {
		counts[i] = i * i;
		total += pow(counts[i] + 1.0, 0.75);
	}
	CU_ASSERT_EQUAL_FATAL(wr_learn_negatives_new(&x, 10, f.s, counts, 1, 1, &msg), WR_OK);
	for (uint32_t k = 0; k < rounds; k++) {
		wr_learn_negatives_draw(&x, 23, k);
		for (uint32_t j = 0; j < x.n; j++) {
			came[x.row[j]]++;
			sum += exp(-(double)x.log_expected[j]);
		}
	}
	CU_ASSERT_DOUBLE_EQUAL(sum / rounds, 23, 0.5);
	for (uint32_t i = 0; i < 23; i++) {
		double expected = 10.0 * rounds * pow(counts[i] + 1.0, 0.75) / total;
		CU_ASSERT(fabs(came[i] - expected) < 5 * sqrt(expected) + 1);
	}
	wr_learn_negatives_free(&x);
	teardown(&f);
}

/* Both ways of attention, every bias by bucket included; unknown times have a bucket of their own.
 */
static void test_time(void)
{
	struct wr_fit fit = student_fit(2, 5, 0.1, 0.2);
	fit.shape.time_buckets = WR_TIME_BUCKETS;
	check_fit(&fit);
	fit = student_fit(4, 100, 0, 0.1);
	fit.len = 130;
	fit.shape.time_buckets = 20; /* the last holds all beyond */
	check_fit(&fit);
}

/* Hand-worked: seconds + 1 = 1; 2; 3; 4 … 5; 6 … 7; unknown; ahead; cut. */
static void test_buckets(void)
{
	const int64_t now = 1600000000000;
	const struct {
		int64_t age_ms;
		uint32_t bucket;
	} want[] = {{0, 1}, {999, 1}, {1000, 3}, {1999, 3}, {2000, 4}, {3000, 5}, {4999, 5},
		{5000, 6}, {7000, 7}, {1023000, 21}, {1535000, 22}, {-1, 1}, {-5000000, 1},
		{now - 1, 61}};
	for (size_t i = 0; i < WR_ARRAY_LEN(want); i++)
		CU_ASSERT_EQUAL(wr_time_bucket(now, now - want[i].age_ms, 64), want[i].bucket);
	CU_ASSERT_EQUAL(wr_time_bucket(0, now, 64), 0);
	CU_ASSERT_EQUAL(wr_time_bucket(now, 0, 64), 0);
	CU_ASSERT_EQUAL(wr_time_bucket(now, 1, 20), 19);
	CU_ASSERT_EQUAL(wr_time_bucket(INT64_MAX, 1, 64), 63);
}

/* The last block asks when the request comes, the others when the token came: moving the request's
 * time moves the loss by the last block's biases alone; a shift of all times by whole seconds moves
 * nothing. */
static void test_asked(void)
{
	struct wr_fit fit = student_fit(4, 5, 0, 0);
	struct fixture f;
	fit.shape.time_buckets = WR_TIME_BUCKETS;
	setup_fit(&f, &fit);
	double before = gradient(&f, 1);
	for (uint32_t i = 0; i < f.off[3]; i++) {
		f.times[i] += f.times[i] ? 86400000 : 0;
		f.asked[i] += 86400000;
	}
	/* asked was made from unknown times too: those stay what they were, unknown keys. */
	for (uint32_t i = 0; i < f.off[3]; i++)
		if (f.asked[i] < 1000000000000)
			f.asked[i] -= 86400000;
	CU_ASSERT_DOUBLE_EQUAL(gradient(&f, 1), before, 1e-9);
	for (uint32_t i = 0; i < f.off[3]; i++)
		f.asked[i] += 40 * (int64_t)86400000;
	CU_ASSERT(fabs(gradient(&f, 1) - before) > 1e-6);
	memset(f.s->w + f.s->block[1].time, 0, 4 * WR_TIME_BUCKETS * sizeof(float));
	double blind = gradient(&f, 1);
	for (uint32_t i = 0; i < f.off[3]; i++)
		f.asked[i] += 400 * (int64_t)86400000;
	CU_ASSERT_EQUAL(gradient(&f, 1), blind);
	teardown(&f);
}

static void test_future(void)
{
	struct wr_fit fit = student_fit(4, 5, 0.2, 0);
	fit.future = 3;
	fit.future_decay = 0.5;
	check_fit(&fit);
}

/* The same numbers from attention by loops and by blocks: a window of 96 and one of 97 see the same
 * of 90 tokens. */
static void test_ways(void)
{
	struct fixture f[2];
	double loss[2];
	for (uint32_t k = 0; k < 2; k++) {
		struct wr_fit fit = student_fit(2, ATTENTION_LOOPS_MAX, 0.1, 0);
		fit.len = 90;
		setup_fit(&f[k], &fit);
		if (k) {
			wr_learn_step_free(&f[1].st);
			struct wr_student *narrow = f[1].s;
			struct wr_errmsg msg;
			fit.shape.window++;
			CU_ASSERT_EQUAL_FATAL(wr_student_new(&f[1].s, &fit.shape, &msg), WR_OK);
			copy_weights(narrow, f[1].s);
			wr_student_free(narrow);
			wr_learn_optimiser_free(&f[1].opt);
			CU_ASSERT_EQUAL_FATAL(
				wr_learn_optimiser_new(&f[1].opt, f[1].s, false, &msg), WR_OK);
			CU_ASSERT_EQUAL_FATAL(wr_learn_step_new(&f[1].st, &f[1].fit, f[1].s,
						      &f[1].opt, NULL, &msg),
				WR_OK);
		}
		CU_ASSERT_EQUAL(wr_learn_attention_blocked(&f[k].s->shape), k == 1);
		loss[k] = gradient(&f[k], 5);
	}
	CU_ASSERT_DOUBLE_EQUAL(loss[0], loss[1], 1e-4 * loss[0]);
	for (uint32_t b = 0; b < 2; b++) {
		const float *x = f[0].st.grad + f[0].s->block[b].qkv,
			    *y = f[1].st.grad + f[1].s->block[b].qkv;
		for (uint32_t i = 0; i < f[0].s->qkv_dim * 16; i++)
			CU_ASSERT_DOUBLE_EQUAL(
				(double)x[i], (double)y[i], 1e-4 + 1e-3 * fabs((double)x[i]));
	}
	teardown(&f[0]);
	teardown(&f[1]);
}

/* One weight of 1 with gradient 1: Adam's first step is lr (the bias corrections cancel), decay
 * takes lr·wd first, the mean takes all of it; a gain does not decay. Second step with gradient 0:
 * m = 0.09, v = 0.0196, corrected 0.09/0.19 and 0.0196/0.0396. */
static void test_optimiser(void)
{
	struct fixture f;
	struct wr_errmsg msg;
	setup(&f, 4, 5, 0, 0);
	wr_learn_optimiser_free(&f.opt);
	CU_ASSERT_EQUAL_FATAL(wr_learn_optimiser_new(&f.opt, f.s, true, &msg), WR_OK);
	f.fit.weight_decay = 0.5;
	f.fit.ema = 0.05;
	size_t w = f.s->block[0].qkv, gain = f.s->final_gain;
	f.s->w[w] = f.s->w[gain] = 1;
	memset(f.st.grad, 0, f.s->n_weights * sizeof(float));
	f.st.grad[w] = f.st.grad[gain] = 1;
	wr_learn_step_apply(&f.st, 0.1f, 1);
	CU_ASSERT_DOUBLE_EQUAL((double)f.s->w[w], 0.95 - 0.1, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL((double)f.s->w[gain], 0.9, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL((double)f.opt.mean[w], 0.85, 1e-6);
	f.st.grad[w] = f.st.grad[gain] = 0;
	wr_learn_step_apply(&f.st, 0.1f, 2);
	double step = 0.1 * (0.09 / 0.19) / sqrt(0.0196 / 0.0396);
	CU_ASSERT_DOUBLE_EQUAL((double)f.s->w[w], 0.85 * 0.95 - step, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL((double)f.s->w[gain], 0.9 - step, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL(
		(double)f.opt.mean[w], 0.05 * 0.85 + 0.95 * (0.85 * 0.95 - step), 1e-6);
	teardown(&f);
}

/* Sequences of 12, 1 and 5 tokens see 50 + 1 + 15 keys through windows of 5; a token's matrices
 * have 16 (48 + 16 + 24 + 24) weights a block; 23 items; forward and twice as much back; 2 flops
 * each. */
static void test_flops(void)
{
	struct fixture f;
	setup(&f, 4, 5, 0, 0);
	double blocks = 2 * (18 * 16 * (48 + 16 + 24 + 24) + 2 * 66 * 16), items = 18 * 23 * 16;
	CU_ASSERT_EQUAL(wr_learn_step_flops(&f.st, &f.b), 2 * 3 * (blocks + items));
	double one = wr_learn_gemm_peak(1);
	CU_ASSERT(one > 1e8 && one < 1e13); /* flops a second of one core: some 1e11 */
	teardown(&f);
}

static void test_full(void)
{
	check_all(4, 5, 0, 0);
}

static void test_wide_window(void)
{
	check_all(4, 50, 0, 0);
}

static void test_grouped(void)
{
	check_all(2, 5, 0, 0);
	check_all(1, 3, 0, 0);
}

static void test_dropout(void)
{
	check_all(4, 5, 0.3, 0);
	check_all(2, 5, 0.2, 0.4);
}

/* A single coordinate far from the gradient's direction must agree too (a projected check cannot
 * see what is orthogonal). */
static void test_coordinates(void)
{
	struct fixture f;
	setup(&f, 2, 5, 0.2, 0.2);
	float *g = malloc(f.s->n_weights * sizeof(float));
	struct wr_rng r;
	wr_rng_init(&r, 5, 6);
	gradient(&f, 99);
	memcpy(g, f.st.grad, f.s->n_weights * sizeof(float));
	for (int k = 0; k < 400; k++) {
		size_t i = wr_rng_below(&r, (uint32_t)f.s->n_weights);
		float keep = f.s->w[i], h = 1e-3f;
		double loss[2];
		for (int side = 0; side < 2; side++) {
			f.s->w[i] = keep + (side ? h : -h);
			loss[side] = gradient(&f, 99) / f.off[3];
		}
		f.s->w[i] = keep;
		double numeric = (loss[1] - loss[0]) / (2 * (double)h);
		if (fabs(numeric - (double)g[i]) > 0.03 * fabs((double)g[i]) + 2e-3)
			printf("\n  weight %zu: analytic %g, numeric %g", i, (double)g[i], numeric);
		CU_ASSERT(fabs(numeric - (double)g[i]) <= 0.03 * fabs((double)g[i]) + 2e-3);
	}
	free(g);
	teardown(&f);
}

/* The same step on one and on three threads gives the same gradient, bit for bit. */
static void test_threads(void)
{
	struct wr_errmsg msg;
	struct fixture f;
	setup(&f, 2, 5, 0.2, 0.2);
	float *g = malloc(f.s->n_weights * sizeof(float));
	gradient(&f, 1);
	memcpy(g, f.st.grad, f.s->n_weights * sizeof(float));
	wr_learn_step_free(&f.st);
	f.fit.threads = 3;
	CU_ASSERT_EQUAL_FATAL(wr_learn_step_new(&f.st, &f.fit, f.s, &f.opt, NULL, &msg), WR_OK);
	gradient(&f, 1);
	CU_ASSERT_EQUAL(memcmp(g, f.st.grad, f.s->n_weights * sizeof(float)), 0);
	gradient(&f, 2);
	CU_ASSERT_NOT_EQUAL(memcmp(g, f.st.grad, f.s->n_weights * sizeof(float)), 0);
	free(g);
	teardown(&f);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"gradients agree with differences, window shorter than the history", test_full},
		{"gradients agree, window longer than the history", test_wide_window},
		{"gradients agree with grouped key heads", test_grouped},
		{"gradients agree under dropout", test_dropout},
		{"single weights agree", test_coordinates},
		{"gradients agree for every activation, plain and gated", test_activations},
		{"gradients agree with rotary positions", test_rotary},
		{"gradients agree with keys by age", test_age_keys},
		{"gradients agree with attention by blocks", test_blocked},
		{"gradients agree with several targets", test_future},
		{"gradients agree with sampled items", test_sampled},
		{"a sample of all items is the full softmax", test_sample_of_all},
		{"items are sampled as often as expected", test_draws},
		{"gradients agree with age in time", test_time},
		{"ages have their buckets", test_buckets},
		{"requests' times reach the last block only", test_asked},
		{"loops and blocks are the same attention", test_ways},
		{"a hand-worked step of the optimiser", test_optimiser},
		{"threads change nothing", test_threads},
		{"work is counted", test_flops},
	};
	return wr_test_run("learn gradients", tests, WR_ARRAY_LEN(tests));
}
