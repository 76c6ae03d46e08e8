/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of a level share: the level and the reference, and random arguments of kernels,
 * each behind a guard page. */
#ifndef WR_LEVEL_TEST_H
#define WR_LEVEL_TEST_H

#include "fills.h"
#include "wr_guarded.h"
#include "wr_kernels.h"
#include "wr_test.h"

extern const struct wr_kernels *level, *ref;
extern struct wr_rng rng;

/* low … high */
static inline unsigned int pick(unsigned int low, unsigned int high)
{
	return low + wr_rng_below(&rng, high - low + 1);
}

/* Both outputs of equal size must agree in every byte, gaps between rows included. */
static inline bool same(const struct wr_guarded *a, const struct wr_guarded *b)
{
	return memcmp(a->p, b->p, a->bytes) == 0 && wr_guarded_intact(a) && wr_guarded_intact(b);
}

/* Random by fills.h, exactly n of them. */
static inline struct wr_guarded floats(size_t n, unsigned int fill)
{
	struct wr_guarded g = wr_guarded_new(n * sizeof(float));
	wr_fill_floats(g.p, n, fill, &rng);
	return g;
}

static inline struct wr_guarded bytes(size_t n, unsigned int fill)
{
	struct wr_guarded g = wr_guarded_new(n);
	wr_fill_bytes(g.p, n, fill, &rng);
	return g;
}

/* n outputs of k inputs, packed. */
struct weights {
	struct wr_guarded packed, start, scale;
	struct wr_gemm_weights w;
};

static inline struct weights weights_new(size_t n, size_t k, unsigned int fill)
{
	struct wr_guarded rows = bytes(n * k, fill);
	struct weights w = {.packed = wr_guarded_new(n * k),
		.start = wr_guarded_new(n * sizeof(int32_t)),
		.scale = floats(n, 0)};
	wr_gemm_s8_pack(rows.p, n, n, k, w.packed.p, w.start.p);
	w.w = (struct wr_gemm_weights){.packed = w.packed.p,
		.start = w.start.p,
		.scale = w.scale.p,
		.n = (uint32_t)n,
		.k = (uint32_t)k};
	wr_guarded_free(&rows);
	return w;
}

static inline void weights_free(struct weights *w)
{
	wr_guarded_free(&w->packed);
	wr_guarded_free(&w->start);
	wr_guarded_free(&w->scale);
}

/* ---- test_levels_attention.c ---- */
void test_kv_store(void);
void test_kv_gather(void);
void test_attend_rows(void);
void test_origin(void);
void test_attend(void);

/* ---- test_levels_scoring.c ---- */
void test_topk_above(void);
void test_topk_items(void);
void test_topk_order(void);
void test_score_best(void);
void test_score_bound(void);
void test_score_bound_exact(void);
void test_score_rows(void);

#endif
