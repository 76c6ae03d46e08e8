/* SPDX-License-Identifier: BSD-3-Clause */
/* score.h on AVX2: four users × 16 items of micro256.h's product; a user's bits are moved to the
 * lanes' signs. */
#include "score.h"

#include "micro256.h"

#include <math.h>

/* allowed: items whose lane's sign is set. */
SIMD_INLINE void best8(__m256i sum, const float *scale, __m256i allowed, float *best, bool more)
{
	const __m256 none = _mm256_set1_ps(-INFINITY);
	__m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(scale));
	v = _mm256_blendv_ps(none, v, _mm256_castsi256_ps(allowed));
	_mm256_storeu_ps(best, more ? _mm256_max_ps(v, _mm256_loadu_ps(best)) : v);
}

struct users {
	const int8_t *q; /* k bytes, then their magnitudes */
	const uint64_t *allowed;
	float *best;
	size_t ld_allowed, ld_best;
};

SIMD_INLINE void row_best(const struct row *sum, const float *scale, const struct users *u,
	size_t i, size_t o, bool more)
{
	/* Half of the user's bits in every lane; each moves its item's to its sign. */
	const uint8_t *half = (const uint8_t *)(u->allowed + i * u->ld_allowed) + o / 32 * 4;
	__m256i bits = simd256_broadcast4(half);
	__m256i by = _mm256_sub_epi32(
		_mm256_set1_epi32(31 - (int)(o % 32)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
	float *best = u->best + i * u->ld_best;
	best8(sum->low, scale, _mm256_sllv_epi32(bits, by), best, more);
	by = _mm256_sub_epi32(by, _mm256_set1_epi32(8));
	best8(sum->high, scale + 8, _mm256_sllv_epi32(bits, by), best + 8, more);
}

/* n_rows ≤ 4 users (a constant after inlining) from user i on times outputs o … o+15 of the tile.
 */
SIMD_INLINE void micro(size_t n_rows, const struct wr_gemm_weights *w, const struct users *u,
	size_t i, size_t o, bool more)
{
	const size_t k = w->k, ld = WR_SCORE_USER_BYTES(k);
	const int8_t *q = u->q + i * ld;
	struct sums s = micro_sums(n_rows, w->packed + o * k, k, q, ld, q + k, ld);
	row_best(&s.r0, w->scale + o, u, i, o, more);
	if (n_rows > 1)
		row_best(&s.r1, w->scale + o, u, i + 1, o, more);
	if (n_rows > 2)
		row_best(&s.r2, w->scale + o, u, i + 2, o, more);
	if (n_rows > 3)
		row_best(&s.r3, w->scale + o, u, i + 3, o, more);
}

void wr_score_users_avx2(size_t m, size_t k, const int8_t *q, size_t ldq, void *users)
{
	for (size_t i = 0; i < m; i++) {
		int8_t *to = (int8_t *)users + i * WR_SCORE_USER_BYTES(k);
		memcpy(to, q + i * ldq, k);
		micro_magnitudes(to, k, to + k);
	}
}

/* n_rows ≤ 4 users (a constant after inlining) from user i on times the whole tile. */
SIMD_INLINE void few(size_t n_rows, const struct wr_gemm_weights *tile, const struct users *u,
	size_t i, bool more, struct wr_prefetch *ahead)
{
	for (size_t o = 0; o < tile->n; o += WR_GEMM_BLOCK)
		micro(n_rows, tile, u, i, o, more || o);
	wr_prefetch_step(ahead);
}

static void all_users(const struct wr_gemm_weights *tile, size_t m, const struct users *u,
	bool more, struct wr_prefetch *ahead)
{
	size_t i = 0;
	for (; i + MICRO_ROWS <= m; i += MICRO_ROWS)
		few(MICRO_ROWS, tile, u, i, more, ahead);
	switch (m - i) {
	case 3:
		few(3, tile, u, i, more, ahead);
		break;
	case 2:
		few(2, tile, u, i, more, ahead);
		break;
	case 1:
		few(1, tile, u, i, more, ahead);
		break;
	default:
		break;
	}
}

void wr_score_best_avx2(const struct wr_score *s, struct wr_prefetch *ahead)
{
	for (uint32_t t = 0; t < wr_score_tiles(s->items); t++) {
		const struct wr_gemm_weights tile = wr_score_tile(s->items, t);
		const struct users u = {s->users, s->allowed + t,
			s->best + t / s->tiles_per_vector * WR_SCORE_LANES, s->ld_allowed,
			s->ld_best};
		all_users(&tile, s->m, &u, t % s->tiles_per_vector != 0, ahead);
	}
}

#define FOLD_MOST 32 /* vectors of 8 */

/*
 * The largest of the values in n vectors that at least k of them reach: each counts those that
 * reach it, four vectors at a time, without a branch that depends on a value.
 */
SIMD_INLINE float kth_largest(const __m256 *fold, size_t n, size_t k)
{
	const float *x = (const float *)fold;
	const __m256i enough = _mm256_set1_epi32((int)k - 1);
	__m256 bound = _mm256_set1_ps(-INFINITY);
	for (size_t j = 0; j < n; j += 4) {
		const size_t left = n - j < 4 ? n - j : 4;
		__m256i count[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(),
			_mm256_setzero_si256(), _mm256_setzero_si256()};
		for (size_t i = 0; i < 8 * n; i++) {
			const __m256 other = _mm256_broadcast_ss(x + i);
#pragma GCC unroll 4
			for (size_t v = 0; v < 4; v++)
				if (v < left)
					count[v] = _mm256_sub_epi32(
						count[v], _mm256_castps_si256(_mm256_cmp_ps(
								  other, fold[j + v], _CMP_GE_OQ)));
		}
#pragma GCC unroll 4
		for (size_t v = 0; v < 4; v++)
			if (v < left)
				bound = _mm256_max_ps(bound,
					_mm256_blendv_ps(_mm256_set1_ps(-INFINITY), fold[j + v],
						_mm256_castsi256_ps(
							_mm256_cmpgt_epi32(count[v], enough))));
	}
	return simd256_largest(bound);
}

/* score_ref.c's fold into 2·r vectors, and the k-th largest of their values. */
float wr_score_bound_avx2(const float *best, size_t n, size_t k)
{
	__m256 fold[FOLD_MOST];
	size_t r = k <= WR_SCORE_LANES ? 2 : k / 6 + 2;
	r = r < n ? r : n;
	r = r < FOLD_MOST / 2 ? r : FOLD_MOST / 2;
	for (size_t j = 0; j < 2 * r; j++) {
		__m256 v = _mm256_loadu_ps(best + j * 8);
		for (size_t i = j + 2 * r; i < 2 * n; i += 2 * r)
			v = _mm256_max_ps(v, _mm256_loadu_ps(best + i * 8));
		fold[j] = v;
	}
	return r == 2 ? kth_largest(fold, 4, k) : kth_largest(fold, 2 * r, k);
}

SIMD_INLINE __m256i widen16(const int8_t *p)
{
	return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
}

/* Sums of four rows' products with q, k a multiple of 16. */
SIMD_INLINE __m128i dots4(const int8_t *q, const int8_t *const row[4], size_t k)
{
	__m256i s[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
		_mm256_setzero_si256()};
	for (size_t c = 0; c < k; c += 16) {
		const __m256i x = widen16(q + c);
#pragma GCC unroll 4
		for (size_t j = 0; j < 4; j++)
			s[j] = _mm256_add_epi32(s[j], _mm256_madd_epi16(x, widen16(row[j] + c)));
	}
	__m256i all =
		_mm256_hadd_epi32(_mm256_hadd_epi32(s[0], s[1]), _mm256_hadd_epi32(s[2], s[3]));
	return _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}

SIMD_INLINE void rows_of(const int8_t *q, const int8_t *items, const float *scale, size_t k,
	const uint32_t *rows, size_t n, float *v)
{
	size_t i = 0;
	for (; i + 4 <= n; i += 4) {
		const int8_t *const row[4] = {items + (size_t)rows[i] * k,
			items + (size_t)rows[i + 1] * k, items + (size_t)rows[i + 2] * k,
			items + (size_t)rows[i + 3] * k};
		__m128 by = _mm_setr_ps(
			scale[rows[i]], scale[rows[i + 1]], scale[rows[i + 2]], scale[rows[i + 3]]);
		_mm_storeu_ps(v + i, _mm_mul_ps(_mm_cvtepi32_ps(dots4(q, row, k)), by));
	}
	for (; i < n; i++)
		v[i] = (float)wr_dot_s8_avx2(q, items + (size_t)rows[i] * k, k) * scale[rows[i]];
}

/* The reference student's width as a constant. */
void wr_score_rows_avx2(const int8_t *q, const int8_t *items, const float *scale, size_t k,
	const uint32_t *rows, size_t n, float *v)
{
	if (k == 64)
		rows_of(q, items, scale, 64, rows, n, v);
	else
		rows_of(q, items, scale, k, rows, n, v);
}
