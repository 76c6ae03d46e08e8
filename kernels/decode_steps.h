/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What attention.h's decode is on every level with vectors: queries of many users over rings of
 * about 50 slots, eight at a time, so that the long latencies of one (reductions, divisions) hide
 * behind the others. Scores, weights and outputs go by the place in the ring, each read once and in
 * order; only the sum of the exponentials goes by age. A level brings the steps.
 */
#ifndef WR_DECODE_STEPS_H
#define WR_DECODE_STEPS_H

#include "attention.h"
#include "simd_inline.h"

#define DECODE_QUERIES 8
#define DECODE_BLOCKS  (WR_DECODE_MAX_SLOTS / 16)

struct decode_query {
	const struct wr_attend *a;
	const int8_t *q;
	float *o;
	float c;     /* the query's scale and 1 / sqrt(head_dim) */
	uint32_t at; /* its own place */
	uint32_t n;  /* ages that it sees */
	float largest, inv, scale;
	uint16_t seen[DECODE_BLOCKS]; /* lanes of the places that it sees, where a level wants them
				       */
};

struct decode_tile {
	size_t n; /* queries */
	struct decode_query query[DECODE_QUERIES];
	/* Scores, later weights, by place. */
	float s[DECODE_QUERIES][WR_DECODE_MAX_SLOTS] __attribute__((aligned(64)));
	uint8_t p[DECODE_QUERIES][WR_DECODE_MAX_SLOTS] __attribute__((aligned(64)));
	/* Exponentials in order: the query's own at [16 + slots + at], as far as a sum over ages
	 * reads from there. */
	float e[DECODE_QUERIES][16 + 2 * WR_DECODE_MAX_SLOTS];
};

/* Each over one query of a tile, in this order; constants of the caller, so that they are inlined.
 */
struct decode_steps {
	/* Scores into s, -inf where nothing is seen, and the largest of them. */
	void (*score)(struct decode_tile *t, size_t i, size_t head_dim, size_t slots);
	/* e = exp(score - largest), 0 where nothing is seen; s = e by the value's scale; the
	 * weights' scale. */
	void (*exponentials)(struct decode_tile *t, size_t i, size_t slots);
	/* e once more behind the ring's last place, up to the query's own: from there backwards
	 * they lie in the order of ages. */
	void (*unroll)(struct decode_tile *t, size_t i, size_t slots);
	/* The sum of e by age, and the weights as bytes. */
	void (*weights)(struct decode_tile *t, size_t i, size_t slots);
	void (*output)(struct decode_tile *t, size_t i, size_t head_dim, size_t slots);
};

SIMD_INLINE void decode_finish(
	const struct decode_steps *step, struct decode_tile *t, size_t head_dim, size_t slots)
{
	for (size_t i = 0; i < t->n; i++)
		step->score(t, i, head_dim, slots);
	for (size_t i = 0; i < t->n; i++)
		step->exponentials(t, i, slots);
	for (size_t i = 0; i < t->n; i++)
		step->unroll(t, i, slots);
	for (size_t i = 0; i < t->n; i++)
		step->weights(t, i, slots);
	for (size_t i = 0; i < t->n; i++)
		step->output(t, i, head_dim, slots);
	t->n = 0;
}

SIMD_INLINE void decode_add(
	struct decode_tile *t, const struct wr_attend *a, size_t i, size_t slots)
{
	struct decode_query *q = &t->query[t->n++];
	size_t slot = a->first + i;
	q->a = a;
	q->q = a->q + i * a->ldq;
	q->o = a->o + i * a->ldo;
	q->c = a->q_scale[i * a->ld_scale] * a->inv_sqrt;
	q->at = (uint32_t)(slot >= slots ? slot - slots : slot);
	q->n = (uint32_t)(slot + 1 < a->window ? slot + 1 : a->window);
}

SIMD_INLINE void decode_shaped(const struct decode_steps *step, const struct wr_attend *jobs,
	size_t n_jobs, size_t head_dim, size_t slots)
{
	struct decode_tile t;
	t.n = 0;
	for (size_t j = 0; j < n_jobs; j++) {
		for (unsigned int i = 0; i < jobs[j].n_queries; i++) {
			decode_add(&t, &jobs[j], i, slots);
			if (t.n == DECODE_QUERIES)
				decode_finish(step, &t, head_dim, slots);
		}
	}
	decode_finish(step, &t, head_dim, slots);
}

/* The reference student's head and ring as constants, so that loops unroll. */
SIMD_INLINE void decode_all(
	const struct decode_steps *step, const struct wr_attend *jobs, size_t n_jobs)
{
	if (n_jobs == 0)
		return;
	if (jobs[0].head_dim == 32 && jobs[0].kv.slots == 52)
		decode_shaped(step, jobs, n_jobs, 32, 52);
	else
		decode_shaped(step, jobs, n_jobs, jobs[0].head_dim, jobs[0].kv.slots);
}

#endif
