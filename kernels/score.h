/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scoring fused with a top-K of groups, so that no score leaves the registers: of every group of
 * items only the best allowed one's value is kept, the K-th best group bounds the K-th best item
 * from below, and the few groups that reach this bound are computed once more, item by item. Built
 * for 32 users × 3,416 items × 64 channels; products dominate.
 *
 * The value of an item for a user is v = (float)Σ_c q[c]·w[c] · scale: the logit before the user's
 * own factor.
 */
#ifndef WR_SCORE_H
#define WR_SCORE_H

#include "gemm_s8.h"
#include "wr_prefetch.h"

#define WR_SCORE_LANES 16
/* Items of a tile: one word of a bitmap. */
#define WR_SCORE_TILE 64
/* Steps of a prefetch beside a tile and m users: one for every four of them. */
#define WR_SCORE_STEPS(m) (((m) + 3) / 4)

/* Bytes of one user of k channels as score_best reads it. */
#define WR_SCORE_USER_BYTES(k) (2 * (size_t)(k))

/*
 * Users 0 … m-1 (q + i·ldq: k bytes in [-127, 127], k a multiple of 16, no alignment) as
 * score_best of the same level wants them: m·WR_SCORE_USER_BYTES(k) bytes at users, 32-byte
 * aligned.
 */
typedef void wr_score_users_fn(size_t m, size_t k, const int8_t *q, size_t ldq, void *users);
wr_score_users_fn wr_score_users_ref, wr_score_users_avx2, wr_score_users_avx512vnni,
	wr_score_users_amx;

/* A catalogue in tiles of WR_SCORE_TILE items, the last of which may have fewer, and m users. */
struct wr_score {
	const struct wr_gemm_weights *items;
	size_t m;
	const void *users; /* those of score_users, from one of them on */
	/* Bit o of allowed[i·ld_allowed + t]: user i may have item o of tile t; 0 beyond the last.
	 */
	const uint64_t *allowed;
	size_t ld_allowed;
	size_t tiles_per_vector;
	float *best;
	size_t ld_best;
};
static inline uint32_t wr_score_tiles(const struct wr_gemm_weights *items)
{
	return (items->n + WR_SCORE_TILE - 1) / WR_SCORE_TILE;
}
static inline struct wr_gemm_weights wr_score_tile(const struct wr_gemm_weights *items, uint32_t t)
{
	uint32_t first = t * WR_SCORE_TILE, left = items->n - first;
	return wr_gemm_slice(items, first, left < WR_SCORE_TILE ? left : WR_SCORE_TILE);
}

/*
 * Tile t enters vector x = t / tiles_per_vector: best[i·ld_best + 16·x + l] = the largest v among
 * the items l, l+16, l+32, l+48 of the vector's tiles that user i may have; -inf when there is
 * none. A zero's sign is not specified; scales finite. ahead (or NULL) makes WR_SCORE_STEPS(m)
 * steps a tile meanwhile.
 */
typedef void wr_score_best_fn(const struct wr_score *s, struct wr_prefetch *ahead);
wr_score_best_fn wr_score_best_ref, wr_score_best_avx2, wr_score_best_avx512vnni, wr_score_best_amx;

/*
 * A lower bound of the k-th largest of best[0 … 16·n-1], k ≥ 1: at least k of them are that large;
 * -inf when that is all that can be said. Not the same bound at every level. n ≥ 1, no NaN.
 */
typedef float wr_score_bound_fn(const float *best, size_t n, size_t k);
wr_score_bound_fn wr_score_bound_ref, wr_score_bound_avx2, wr_score_bound_avx512vnni;

/* v[i] = (float)Σ_c q[c]·items[rows[i]·k + c] · scale[rows[i]], i < n; q and items in [-127, 127],
 * k a multiple of 16. */
typedef void wr_score_rows_fn(const int8_t *q, const int8_t *items, const float *scale, size_t k,
	const uint32_t *rows, size_t n, float *v);
wr_score_rows_fn wr_score_rows_ref, wr_score_rows_avx2, wr_score_rows_avx512vnni;

#endif
