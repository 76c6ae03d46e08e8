/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What attention.h's attend is on every level with vectors. Eight queries go through each step
 * together, so that the long latencies of one (reductions, divisions) hide behind the others; of a
 * job with several queries those that stand together, over the same blocks, so that loops end at
 * the same place for all and keys are read once. Everything is indexed by slot, in blocks of 16;
 * sums over ages are taken in windows that end at the query, whose lanes are those of the
 * specification mirrored, and folding by halves does not notice that. A level brings the steps.
 */
#ifndef WR_ATTEND_STEPS_H
#define WR_ATTEND_STEPS_H

#include "attention.h"
#include "simd_inline.h"

#include <stdbool.h>
#include <string.h>

#define ATTEND_QUERIES 8
/* Zeros before the slots of a tile: a window of another query's may begin there. */
#define ATTEND_FRONT 32
/* These, and what eight queries can touch, whole blocks. */
#define ATTEND_SPAN (ATTEND_FRONT + WR_ATTEND_MAX_WINDOW + 32)

#define ATTEND_BLOCKS (WR_ATTEND_MAX_WINDOW / 16 + 2)

/* Whole blocks of slots, groups of four slots, and windows of 16 ages. */
struct attend_range {
	size_t block, last; /* from … to */
	size_t group, last_group;
	size_t windows;
};

struct attend_query {
	const struct wr_attend *a;
	const int8_t *q;
	float *o;
	float c;                      /* the query's scale and 1 / sqrt(head_dim) */
	size_t slot, low;             /* sees slots low … slot */
	struct attend_range over;     /* what it sees, at least */
	uint16_t seen[ATTEND_BLOCKS]; /* lanes of its blocks, where a level wants them */
	float largest, inv, scale;
};

struct attend_tile {
	size_t n; /* queries */
	struct attend_query query[ATTEND_QUERIES];
	/* Slot j of query i at [ATTEND_FRONT + j - over.block·16], in p without the front. */
	float e[ATTEND_QUERIES][ATTEND_SPAN] __attribute__((aligned(64)));
	uint8_t p[ATTEND_QUERIES][ATTEND_SPAN] __attribute__((aligned(64)));
};

/* Each over the queries of a tile, in this order; constants of the caller, so that they are
 * inlined. */
struct attend_steps {
	/* Scores into e, -inf outside of the window, and the largest of them: of one query, and of
	 * all where they are one job's. */
	void (*score)(struct attend_tile *t, size_t i, size_t head_dim);
	void (*score_job)(struct attend_tile *t, size_t head_dim);
	/* e = exp(score - largest), 0 outside of the window; the weights' scale. */
	void (*exponentials)(struct attend_tile *t, size_t i);
	/* The sum of e by age, and the weights as bytes. */
	void (*weights)(struct attend_tile *t, size_t i);
	void (*output)(struct attend_tile *t, size_t i, size_t head_dim);
};

/* Where slot `slot` of query i lies in e[i]. */
SIMD_INLINE size_t attend_at(const struct attend_query *q, size_t slot)
{
	return ATTEND_FRONT + slot - q->over.block * 16;
}

/* One range for all, of whole windows of the one that sees most. */
SIMD_INLINE void attend_together(struct attend_tile *t)
{
	struct attend_range r = t->query[0].over;
	for (size_t i = 1; i < t->n; i++) {
		const struct attend_range *o = &t->query[i].over;
		r.block = o->block < r.block ? o->block : r.block;
		r.group = o->group < r.group ? o->group : r.group;
		r.last = o->last > r.last ? o->last : r.last;
		r.last_group = o->last_group > r.last_group ? o->last_group : r.last_group;
		r.windows = o->windows > r.windows ? o->windows : r.windows;
	}
	for (size_t i = 0; i < t->n; i++)
		t->query[i].over = r;
}

SIMD_INLINE void attend_finish(
	const struct attend_steps *step, struct attend_tile *t, bool one_job, size_t head_dim)
{
	if (one_job) {
		attend_together(t);
		step->score_job(t, head_dim);
	} else {
		for (size_t i = 0; i < t->n; i++)
			step->score(t, i, head_dim);
	}
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
		.over = {low / 16, slot / 16, low / 4, slot / 4, (slot - low) / 16 + 1}};
}

/* The queries of a job, cut at multiples of eight slots: at most one block more is gone through
 * than one of them sees. */
SIMD_INLINE void attend_job(const struct attend_steps *step, struct attend_tile *t,
	const struct wr_attend *a, size_t head_dim)
{
	for (unsigned int i = 0; i < a->n_queries; i++) {
		attend_add(t, a, i);
		if ((a->first + i + 1) % ATTEND_QUERIES == 0 || i + 1 == a->n_queries)
			attend_finish(step, t, true, head_dim);
	}
}

SIMD_INLINE void attend_shaped(const struct attend_steps *step, const struct wr_attend *jobs,
	size_t n_jobs, size_t head_dim)
{
	struct attend_tile t;
	t.n = 0;
	for (size_t i = 0; i < ATTEND_QUERIES; i++)
		memset(t.e[i], 0, ATTEND_FRONT * sizeof(float));
	for (size_t j = 0; j < n_jobs; j++) {
		if (jobs[j].n_queries == 1) {
			attend_add(&t, &jobs[j], 0);
			if (t.n < ATTEND_QUERIES)
				continue;
		}
		if (t.n)
			attend_finish(step, &t, false, head_dim);
		if (jobs[j].n_queries > 1)
			attend_job(step, &t, &jobs[j], head_dim);
	}
	if (t.n)
		attend_finish(step, &t, false, head_dim);
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
