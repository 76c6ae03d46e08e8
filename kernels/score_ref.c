/* SPDX-License-Identifier: BSD-3-Clause */
/* The specification of score.h: plain loops. */
#include "score.h"

#include <math.h>
#include <string.h>

/* As they are, for levels whose products take bytes. */
void wr_score_users_ref(size_t m, size_t k, const int8_t *q, size_t ldq, void *users)
{
	for (size_t i = 0; i < m; i++)
		memcpy((uint8_t *)users + i * WR_SCORE_USER_BYTES(k), q + i * ldq, k);
}

/* One user's vector takes a tile in. */
static void take_tile(
	const struct wr_gemm_weights *tile, const int8_t *q, uint64_t allowed, float *best)
{
	for (size_t o = 0; o < tile->n; o++) {
		if (!(allowed >> o & 1))
			continue;
		const int8_t *column = tile->packed + o / WR_GEMM_BLOCK * WR_GEMM_BLOCK * tile->k +
				       o % WR_GEMM_BLOCK * 4;
		int32_t sum = 0;
		for (size_t c = 0; c < tile->k; c++)
			sum += q[c] * column[c / 4 * 64 + c % 4];
		float v = (float)sum * tile->scale[o];
		if (v > best[o % WR_SCORE_LANES])
			best[o % WR_SCORE_LANES] = v;
	}
}

void wr_score_best_ref(const struct wr_score *s, struct wr_prefetch *ahead)
{
	for (uint32_t t = 0; t < wr_score_tiles(s->items); t++) {
		struct wr_gemm_weights tile = wr_score_tile(s->items, t);
		for (size_t i = 0; i < s->m; i++) {
			float *best =
				s->best + i * s->ld_best + t / s->tiles_per_vector * WR_SCORE_LANES;
			for (size_t l = 0; l < WR_SCORE_LANES && t % s->tiles_per_vector == 0; l++)
				best[l] = -INFINITY;
			take_tile(&tile, (const int8_t *)s->users + i * WR_SCORE_USER_BYTES(tile.k),
				s->allowed[i * s->ld_allowed + t], best);
			if (i % 4 == 0)
				wr_prefetch_step(ahead);
		}
	}
}

/*
 * Folds the vectors into a few by taking lanes' maxima, and finds the k-th largest of these: with
 * 16·r maxima of random values that is about the 16·r·ln(16·r / (16·r-k))-th largest of all.
 */
float wr_score_bound_ref(const float *best, size_t n, size_t k)
{
	enum { MOST = 256 };
	float fold[MOST];
	size_t r = k / 6 + 2, found = 0;
	r = r < n ? r : n;
	r = r < MOST / WR_SCORE_LANES ? r : MOST / WR_SCORE_LANES;
	size_t all = r * WR_SCORE_LANES;
	memcpy(fold, best, all * sizeof(*fold));
	for (size_t i = all; i < n * WR_SCORE_LANES; i++) {
		float *f = &fold[i % all];
		*f = best[i] > *f ? best[i] : *f;
	}
	for (;;) {
		float largest = -INFINITY;
		for (size_t i = 0; i < all; i++)
			largest = fold[i] > largest ? fold[i] : largest;
		if (largest == -INFINITY)
			return largest;
		for (size_t i = 0; i < all; i++)
			if (fold[i] == largest) {
				fold[i] = -INFINITY;
				found++;
			}
		if (found >= k)
			return largest;
	}
}

void wr_score_rows_ref(const int8_t *q, const int8_t *items, const float *scale, size_t k,
	const uint32_t *rows, size_t n, float *v)
{
	for (size_t i = 0; i < n; i++)
		v[i] = (float)wr_dot_s8_ref(q, items + (size_t)rows[i] * k, k) * scale[rows[i]];
}
