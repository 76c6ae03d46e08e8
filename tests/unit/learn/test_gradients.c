/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hand-written backward pass against central differences of the forward pass, for every tensor
 * of tiny students: full and grouped key heads, histories shorter and longer than the window,
 * dropout on and off (the mask is a function of the key, so the loss stays differentiable).
 *
 * Float arithmetic: the loss (about 5) carries an error of some 1e-7 of itself, so a difference
 * quotient with step h errs by about 5e-7/h from rounding, and in proportion to h from curvature
 * and from units of the feed-forward layer that switch on or off within the step. h = 3e-4 keeps
 * the first under 2e-3; the second was seen to vanish with h.
 */
#include "step_int.h"
#include "wr_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct fixture {
	struct wr_fit fit;
	struct wr_student *s;
	struct step st;
	float *m, *v;
	uint32_t off[4], rows[40], targets[40];
	struct batch b;
};

static void setup(
	struct fixture *f, uint32_t kv_heads, uint32_t window, double dropout, double attn_dropout)
{
	struct wr_errmsg msg;
	struct wr_rng r;
	memset(f, 0, sizeof(*f));
	wr_fit_defaults(&f->fit);
	f->fit.shape = (struct wr_student_shape){.n_items = 23,
		.d = 16,
		.n_blocks = 2,
		.n_heads = 4,
		.n_kv_heads = kv_heads,
		.window = window,
		.ffn = 24};
	f->fit.batch = 3;
	f->fit.len = 12;
	f->fit.threads = 1;
	f->fit.dropout = dropout;
	f->fit.attn_dropout = attn_dropout;
	CU_ASSERT_EQUAL_FATAL(wr_student_new(&f->s, &f->fit.shape, &msg), WR_OK);
	wr_student_init(f->s, 7);
	wr_rng_init(&r, 3, 4);
	/* Away from the symmetric start: gains, biases and embeddings of ordinary size. */
	for (size_t i = 0; i < f->s->n_weights; i++)
		f->s->w[i] += 0.2f * (float)wr_rng_normal(&r);
	f->s->w[f->s->logit_scale] = 5.0f;
	f->m = calloc(f->s->n_weights, sizeof(float));
	f->v = calloc(f->s->n_weights, sizeof(float));
	CU_ASSERT_EQUAL_FATAL(wr_learn_step_new(&f->st, &f->fit, f->s, f->m, f->v, &msg), WR_OK);
	static const uint32_t len[3] = {12, 1, 5};
	for (uint32_t i = 0; i < 3; i++)
		f->off[i + 1] = f->off[i] + len[i];
	for (uint32_t i = 0; i < f->off[3]; i++) {
		f->rows[i] = wr_rng_below(&r, 23);
		f->targets[i] = wr_rng_below(&r, 23);
	}
	f->b = (struct batch){.n_seqs = 3, .off = f->off, .rows = f->rows, .targets = f->targets};
}

static void teardown(struct fixture *f)
{
	wr_learn_step_free(&f->st);
	wr_student_free(f->s);
	free(f->m);
	free(f->v);
}

/* Central difference of the mean loss along the unit vector g/|g| of one tensor; g is the analytic
 * gradient. */
static void check_tensor(struct fixture *f, const char *name, size_t at, size_t n, const float *g)
{
	double norm = 0, h = 3e-4, loss[2];
	float *keep = malloc(n * sizeof(float));
	for (size_t i = 0; i < n; i++)
		norm += (double)g[at + i] * (double)g[at + i];
	norm = sqrt(norm);
	CU_ASSERT(norm > 0.01); /* else the check below would see nothing */
	memcpy(keep, f->s->w + at, n * sizeof(float));
	for (int side = 0; side < 2; side++) {
		for (size_t i = 0; i < n; i++)
			f->s->w[at + i] =
				keep[i] + (float)((side ? h : -h) * (double)g[at + i] / norm);
		loss[side] = wr_learn_step_gradient(&f->st, &f->b, 99) / f->off[3];
	}
	memcpy(f->s->w + at, keep, n * sizeof(float));
	free(keep);
	double numeric = (loss[1] - loss[0]) / (2 * h);
	if (fabs(numeric - norm) > 0.02 * norm + 2e-3)
		printf("\n  %s: analytic %g, numeric %g", name, norm, numeric);
	CU_ASSERT(fabs(numeric - norm) <= 0.02 * norm + 2e-3);
}

static void check_all(uint32_t kv_heads, uint32_t window, double dropout, double attn_dropout)
{
	struct fixture f;
	setup(&f, kv_heads, window, dropout, attn_dropout);
	const struct wr_student *s = f.s;
	const struct wr_student_shape *p = &s->shape;
	float *g = malloc(s->n_weights * sizeof(float));
	wr_learn_step_gradient(&f.st, &f.b, 99);
	memcpy(g, f.st.grad, s->n_weights * sizeof(float));
	check_tensor(&f, "embedding", s->embedding, (size_t)p->n_items * p->d, g);
	for (uint32_t b = 0; b < p->n_blocks; b++) {
		const struct wr_student_block *o = &s->block[b];
		check_tensor(&f, "norm1", o->norm1, p->d, g);
		check_tensor(&f, "query", o->qkv, (size_t)p->d * p->d, g);
		check_tensor(
			&f, "key", o->qkv + p->d * p->d, (size_t)kv_heads * s->head_dim * p->d, g);
		check_tensor(&f, "value", o->qkv + (p->d + kv_heads * s->head_dim) * p->d,
			(size_t)kv_heads * s->head_dim * p->d, g);
		check_tensor(&f, "out", o->out, (size_t)p->d * p->d, g);
		check_tensor(&f, "age bias", o->bias, (size_t)p->n_heads * p->window, g);
		check_tensor(&f, "norm2", o->norm2, p->d, g);
		check_tensor(&f, "up", o->up, (size_t)p->ffn * p->d, g);
		check_tensor(&f, "down", o->down, (size_t)p->ffn * p->d, g);
	}
	check_tensor(&f, "final gain", s->final_gain, p->d, g);
	check_tensor(&f, "logit scale", s->logit_scale, 1, g);
	free(g);
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
	wr_learn_step_gradient(&f.st, &f.b, 99);
	memcpy(g, f.st.grad, f.s->n_weights * sizeof(float));
	for (int k = 0; k < 400; k++) {
		size_t i = wr_rng_below(&r, (uint32_t)f.s->n_weights);
		float keep = f.s->w[i], h = 1e-3f;
		double loss[2];
		for (int side = 0; side < 2; side++) {
			f.s->w[i] = keep + (side ? h : -h);
			loss[side] = wr_learn_step_gradient(&f.st, &f.b, 99) / f.off[3];
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
	wr_learn_step_gradient(&f.st, &f.b, 1);
	memcpy(g, f.st.grad, f.s->n_weights * sizeof(float));
	wr_learn_step_free(&f.st);
	f.fit.threads = 3;
	CU_ASSERT_EQUAL_FATAL(wr_learn_step_new(&f.st, &f.fit, f.s, f.m, f.v, &msg), WR_OK);
	wr_learn_step_gradient(&f.st, &f.b, 1);
	CU_ASSERT_EQUAL(memcmp(g, f.st.grad, f.s->n_weights * sizeof(float)), 0);
	wr_learn_step_gradient(&f.st, &f.b, 2);
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
		{"threads change nothing", test_threads},
	};
	return wr_test_run("learn gradients", tests, WR_ARRAY_LEN(tests));
}
