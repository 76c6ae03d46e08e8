/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What heads and feed-forward units matter, to first order. A gate g = 1 behind a head or a unit
 * would have the gradient Σ_t x_t · d loss / d x_t, and since the matrix behind it is linear that
 * is Σ w · (d loss / d w) over the unit's columns of that matrix: the weights' own gradients tell
 * it, nothing else is recorded.
 */
#include "step_int.h"
#include "wr_compact.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_USERS 512
#define STEP_USERS    64

/* Σ w · g over columns from … from+n-1 of a matrix [rows][cols]. */
static double columns(
	const float *w, const float *g, uint32_t rows, uint32_t cols, uint32_t from, uint32_t n)
{
	double sum = 0;
	for (uint32_t r = 0; r < rows; r++)
		for (uint32_t c = from; c < from + n; c++)
			sum += (double)w[(size_t)r * cols + c] * (double)g[(size_t)r * cols + c];
	return sum;
}

static void add_chunk(const struct wr_student *s, const float *grad, struct wr_importance *x)
{
	const struct wr_student_shape *p = &s->shape;
	for (uint32_t b = 0; b < p->n_blocks; b++) {
		const struct wr_student_block *o = &s->block[b];
		for (uint32_t h = 0; h < p->n_heads; h++)
			x->head[b * p->n_heads + h] += fabs(columns(s->w + o->out, grad + o->out,
				p->d, s->o_dim, h * s->head_dim, s->head_dim));
		for (uint32_t u = 0; u < p->ffn; u++)
			x->unit[b * p->ffn + u] +=
				fabs(columns(s->w + o->down, grad + o->down, p->d, p->ffn, u, 1));
	}
}

struct sample {
	struct batch b;
	uint32_t len, stride; /* every stride-th user */
};

static int sample_new(struct sample *m, const struct wr_dataset *ds, uint32_t users, uint32_t len,
	struct wr_errmsg *msg)
{
	size_t tokens = (size_t)STEP_USERS * len;
	*m = (struct sample){.len = len, .stride = WR_MAX(ds->n_users / WR_MAX(users, 1u), 1u)};
	m->b = (struct batch){.off = calloc(STEP_USERS + 1, sizeof(uint32_t)),
		.rows = malloc(tokens * sizeof(uint32_t)),
		.targets = malloc(tokens * sizeof(uint32_t)),
		.token = malloc(STEP_USERS * sizeof(uint32_t)),
		.times = malloc(tokens * sizeof(int64_t)),
		.asked = malloc(tokens * sizeof(int64_t))};
	return m->b.off && m->b.rows && m->b.targets && m->b.token && m->b.times && m->b.asked
		       ? WR_OK
		       : wr_fail(msg, WR_ENOMEM, "out of memory for importance");
}

static void sample_free(struct sample *m)
{
	free(m->b.off);
	free(m->b.rows);
	free(m->b.targets);
	free(m->b.token);
	free(m->b.times);
	free(m->b.asked);
}

/* The ends of the next STEP_USERS users' training clicks; returns the user behind them. */
static uint32_t fill(struct sample *m, const struct wr_dataset *ds, uint32_t user)
{
	struct batch *b = &m->b;
	for (b->n_seqs = 0; user < ds->n_users && b->n_seqs < STEP_USERS; user += m->stride) {
		uint32_t begin = ds->token_off[user],
			 n = wr_split_training(ds->token_off[user + 1] - begin);
		if (n < 2)
			continue;
		uint32_t k = WR_MIN(n - 1, m->len), at = b->off[b->n_seqs];
		begin += n - 1 - k;
		memcpy(b->rows + at, ds->token_row + begin, k * sizeof(uint32_t));
		memcpy(b->targets + at, ds->token_row + begin + 1, k * sizeof(uint32_t));
		memcpy(b->times + at, ds->token_time + begin, k * sizeof(int64_t));
		memcpy(b->asked + at, ds->token_time + begin + 1, k * sizeof(int64_t));
		b->token[b->n_seqs] = begin;
		b->off[++b->n_seqs] = at + k;
	}
	return user;
}

static int measure(struct wr_importance *x, struct step *st, struct sample *m,
	const struct wr_dataset *ds, struct wr_errmsg *msg)
{
	const struct wr_student_shape *p = &st->s->shape;
	uint32_t chunks = 0;
	for (uint32_t user = 0; user < ds->n_users;) {
		struct loss_terms loss;
		user = fill(m, ds, user);
		if (!m->b.n_seqs)
			continue;
		wr_learn_step_gradient(st, &m->b, 0, &loss);
		uint32_t n = (m->b.n_seqs + STEP_CHUNK - 1) / STEP_CHUNK;
		for (uint32_t c = 0; c < n; c++)
			add_chunk(st->s, st->chunk_grad + c * st->s->n_weights, x);
		chunks += n;
	}
	if (!chunks)
		return wr_fail(msg, WR_EINVAL, "no user has two clicks to measure importance on");
	for (uint32_t i = 0; i < p->n_blocks * p->n_heads; i++)
		x->head[i] /= chunks;
	for (uint32_t i = 0; i < p->n_blocks * p->ffn; i++)
		x->unit[i] /= chunks;
	return WR_OK;
}

int wr_importance_measure(struct wr_importance *x, const struct wr_student *s,
	const struct wr_dataset *ds, uint32_t users, uint32_t threads, struct wr_errmsg *msg)
{
	const struct wr_student_shape *p = &s->shape;
	struct optimiser none = {0};
	struct wr_student own = *s; /* the step writes to no weight without apply */
	struct step st = {0};
	struct sample m = {0};
	struct wr_fit fit;
	wr_fit_defaults(&fit);
	fit.shape = s->shape;
	fit.batch = STEP_USERS;
	fit.threads = threads;
	fit.dropout = 0;
	*x = (struct wr_importance){
		.head = calloc((size_t)p->n_blocks * p->n_heads, sizeof(double)),
		.unit = calloc((size_t)p->n_blocks * p->ffn, sizeof(double))};
	int err = x->head && x->unit ? WR_OK
				     : wr_fail(msg, WR_ENOMEM, "out of memory for importance");
	if (!err)
		err = sample_new(&m, ds, users ? users : DEFAULT_USERS, fit.len, msg);
	if (!err)
		err = wr_learn_step_new(&st, &fit, &own, &none, NULL, msg);
	if (!err) {
		err = measure(x, &st, &m, ds, msg);
		wr_learn_step_free(&st);
	}
	sample_free(&m);
	if (err)
		wr_importance_free(x);
	return err;
}

void wr_importance_free(struct wr_importance *x)
{
	free(x->head);
	free(x->unit);
	*x = (struct wr_importance){0};
}
