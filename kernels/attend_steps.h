/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What attention.h's attend is on every level with vectors. Eight queries go through each step
 * together, so that the long latencies of one (reductions, divisions) hide behind the others.
 * Everything is indexed by slot, in blocks of 16; sums over ages are taken in windows that end at
 * the query, whose lanes are those of the specification mirrored, and folding by halves does not
 * notice that. A level brings the steps.
 */
#ifndef WR_ATTEND_STEPS_H
#define WR_ATTEND_STEPS_H

#include "attention.h"
#include "simd_inline.h"

#define ATTEND_QUERIES 8
/* Slots that a query can touch, whole blocks, and one block of zeros before them. */
#define ATTEND_SPAN (WR_ATTEND_MAX_WINDOW + 32)

struct attend_query {
	const struct wr_attend *a;
	const int8_t *q;
	float *o;
	float c;            /* the query's scale and 1 / sqrt(head_dim) */
	size_t slot, low;   /* sees slots low … slot */
	size_t block, last; /* low / 16, slot / 16 */
	size_t base;        /* slot of e[i][16] and p[i][16] in struct attend_tile: block · 16 */
	float largest, inv, scale;
};

struct attend_tile {
	size_t n; /* queries */
	struct attend_query query[ATTEND_QUERIES];
	float e[ATTEND_QUERIES][ATTEND_SPAN] __attribute__((aligned(64)));
	uint8_t p[ATTEND_QUERIES][ATTEND_SPAN] __attribute__((aligned(64)));
};

/* Each over one query of a tile, in this order; constants of the caller, so that they are inlined.
 */
struct attend_steps {
	/* Scores into e, -inf outside of the window, and the largest of them. */
	void (*score)(struct attend_tile *t, size_t i, size_t head_dim);
	/* e = exp(score - largest), 0 outside of the window; the weights' scale. */
	void (*exponentials)(struct attend_tile *t, size_t i);
	/* The sum of e by age, and the weights as bytes. */
	void (*weights)(struct attend_tile *t, size_t i);
	void (*output)(struct attend_tile *t, size_t i, size_t head_dim);
};

SIMD_INLINE void attend_finish(
	const struct attend_steps *step, struct attend_tile *t, size_t head_dim)
{
	for (size_t i = 0; i < t->n; i++)
		step->score(t, i, head_dim);
	for (size_t i = 0; i < t->n; i++)
		step->exponentials(t, i);
	for (size_t i = 0; i < t->n; i++)
		step->weights(t, i);
	for (size_t i = 0; i < t->n; i++)
		step->output(t, i, head_dim);
	t->n = 0;
}

SIMD_INLINE void attend_add(struct attend_tile *t, const struct wr_attend *a, size_t i)
{
	size_t slot = a->first + i, low = a->origin;
	low = slot + 1 > low + a->window ? slot + 1 - a->window : low;
	t->query[t->n++] = (struct attend_query){.a = a,
		.q = a->q + i * a->ldq,
		.o = a->o + i * a->ldo,
		.c = a->q_scale[i * a->ld_scale] * a->inv_sqrt,
		.slot = slot,
		.low = low,
		.block = low / 16,
		.last = slot / 16,
		.base = low / 16 * 16};
}

SIMD_INLINE void attend_shaped(const struct attend_steps *step, const struct wr_attend *jobs,
	size_t n_jobs, size_t head_dim)
{
	struct attend_tile t;
	t.n = 0;
	for (size_t j = 0; j < n_jobs; j++) {
		for (unsigned int i = 0; i < jobs[j].n_queries; i++) {
			attend_add(&t, &jobs[j], i);
			if (t.n == ATTEND_QUERIES)
				attend_finish(step, &t, head_dim);
		}
	}
	attend_finish(step, &t, head_dim);
}

/* The reference student's head width as a constant, so that its loops unroll. */
SIMD_INLINE void attend_all(
	const struct attend_steps *step, const struct wr_attend *jobs, size_t n_jobs)
{
	if (n_jobs == 0)
		return;
	if (jobs[0].head_dim == 32)
		attend_shaped(step, jobs, n_jobs, 32);
	else
		attend_shaped(step, jobs, n_jobs, jobs[0].head_dim);
}

#endif
