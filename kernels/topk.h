/* SPDX-License-Identifier: BSD-3-Clause */
/* Which scores beat a threshold, the items behind them, and the order of those that did. Built for
 * some hundred scores and a dozen candidates, without branches that depend on them: a wrong guess
 * costs as much as a vector of products. */
#ifndef WR_TOPK_H
#define WR_TOPK_H

#include <stddef.h>
#include <stdint.h>

/*
 * Indices (ascending) of the s[i] > threshold into index; their number. n ≤ 65,535, any; s 4-byte
 * aligned, nothing beyond n is read; index has room for n + 16 (what lies behind the last one is
 * lost). NaN never passes.
 */
typedef size_t wr_topk_above_fn(const float *s, size_t n, float threshold, uint16_t *index);
wr_topk_above_fn wr_topk_above_ref, wr_topk_above_avx2, wr_topk_above_avx512vnni;

/* Groups of score_best (score.h), 16 a vector of tiles_per_vector tiles, and a user's bitmap. */
struct wr_topk_groups {
	const uint64_t *allowed; /* [words] */
	size_t words;            /* a tile's each */
	size_t tiles_per_vector; /* 1 or more */
};
/*
 * Rows of the allowed items that n groups have in tile t < tiles_per_vector of their vectors, in
 * any order; their number. Group 16·x + l: the items l, l + 16, l + 32, l + 48 of tile
 * x·tiles_per_vector + t, none where that is no tile; row 64·tile + item. row has room for 4·n,
 * what lies behind the last one is lost.
 */
typedef size_t wr_topk_items_fn(
	const struct wr_topk_groups *g, size_t t, const uint16_t *group, size_t n, uint32_t *row);
wr_topk_items_fn wr_topk_items_ref, wr_topk_items_avx2;

#define WR_TOPK_ORDER_MAX 64
/*
 * place[i] = how many of the n ≤ WR_TOPK_ORDER_MAX candidates come before candidate i: those of
 * higher score, or of equal score and smaller row. Rows differ; no NaN; zeros are equal whatever
 * their sign. score and row are readable up to the next multiple of 16, what stands there does not
 * matter; place has room for n.
 */
typedef void wr_topk_order_fn(const float *score, const uint32_t *row, size_t n, uint8_t *place);
wr_topk_order_fn wr_topk_order_ref, wr_topk_order_avx2, wr_topk_order_avx512vnni;

#endif
