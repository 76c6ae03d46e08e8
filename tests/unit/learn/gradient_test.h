/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Gradients of a step against central differences of its loss.
 *
 * Float arithmetic: the loss (about 5) carries an error of some 1e-7 of itself, so a difference
 * quotient with step h errs by about 5e-7/h from rounding, and in proportion to h from curvature
 * and from units of the feed-forward layer that switch on or off within the step. h = 3e-4 keeps
 * the first under 2e-3; the second was seen to vanish with h.
 */
#ifndef GRADIENT_TEST_H
#define GRADIENT_TEST_H

#include "step_int.h"
#include "wr_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is minimised, summed over the tokens; leaves its gradient. */
static inline double gradient_test_loss(struct step *st, const struct batch *b, uint64_t key)
{
	struct loss_terms loss;
	wr_learn_step_gradient(st, b, key, &loss);
	return wr_learn_step_total(st, &loss);
}

/* Central difference of the mean loss along the unit vector g/|g| of one tensor; g is the analytic
 * gradient. */
static inline void gradient_test_tensor(struct step *st, const struct batch *b, uint64_t key,
	const char *name, size_t at, size_t n, const float *g)
{
	double norm = 0, h = 3e-4, loss[2];
	float *keep = malloc(n * sizeof(float));
	for (size_t i = 0; i < n; i++)
		norm += (double)g[at + i] * (double)g[at + i];
	norm = sqrt(norm);
	CU_ASSERT(norm > 0.005); /* else the check below would see nothing */
	memcpy(keep, st->s->w + at, n * sizeof(float));
	for (int side = 0; side < 2; side++) {
		for (size_t i = 0; i < n; i++)
			st->s->w[at + i] =
				keep[i] + (float)((side ? h : -h) * (double)g[at + i] / norm);
		loss[side] = gradient_test_loss(st, b, key) / b->off[b->n_seqs];
	}
	memcpy(st->s->w + at, keep, n * sizeof(float));
	free(keep);
	double numeric = (loss[1] - loss[0]) / (2 * h);
	if (fabs(numeric - norm) > 0.02 * norm + 2e-3)
		printf("\n  %s: analytic %g, numeric %g", name, norm, numeric);
	CU_ASSERT(fabs(numeric - norm) <= 0.02 * norm + 2e-3);
}

/* Every tensor of the step's student. */
static inline void gradient_test_all(struct step *st, const struct batch *b, uint64_t key)
{
	const struct wr_student *s = st->s;
	const struct wr_student_shape *p = &s->shape;
	size_t d = p->d, kv = (size_t)p->n_kv_heads * s->head_dim * d;
	float *g = malloc(s->n_weights * sizeof(float));
	gradient_test_loss(st, b, key);
	memcpy(g, st->grad, s->n_weights * sizeof(float));
#define CHECK(name, at, n) gradient_test_tensor(st, b, key, name, at, n, g)
	CHECK("embedding", s->embedding, p->n_items * d);
	for (uint32_t k = 0; k < p->n_blocks; k++) {
		const struct wr_student_block *o = &s->block[k];
		CHECK("norm1", o->norm1, d);
		CHECK("query", o->qkv, d * d);
		CHECK("key", o->qkv + d * d, kv);
		CHECK("value", o->qkv + d * d + kv, kv);
		CHECK("out", o->out, d * d);
		CHECK("age bias", o->bias, (size_t)p->n_heads * p->window);
		if (p->age_keys)
			CHECK("age key", o->age_key, (size_t)p->n_heads * p->window * s->head_dim);
		if (p->time_buckets)
			CHECK("time", o->time, p->n_heads * p->time_buckets);
		CHECK("norm2", o->norm2, d);
		for (uint32_t i = 0; i < s->up_dim; i += p->ffn)
			CHECK(i || !p->gated ? "up" : "gate", o->up + i * d, p->ffn * d);
		CHECK("down", o->down, p->ffn * d);
		if (p->matched >> k & 1)
			CHECK("projection", s->projection[k], p->teacher_d * d);
	}
	CHECK("final gain", s->final_gain, d);
	CHECK("logit scale", s->logit_scale, 1);
	if (p->profile_values)
		CHECK("profiles", s->profile, p->profile_values * d);
	if (p->categories)
		CHECK("categories", s->category, p->categories * d);
#undef CHECK
	free(g);
}

#endif
