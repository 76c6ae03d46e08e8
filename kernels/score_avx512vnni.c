/* SPDX-License-Identifier: BSD-3-Clause */
/* score.h on AVX-512 VNNI: four users × 64 items in registers; a user's bits mask the maximum. */
#include "score.h"

#include "score512.h"

struct users {
	const uint8_t *q; /* shifted */
	const uint64_t *allowed;
	float *best;
	size_t ldq, ld_allowed, ld_best;
};

/* A user's sums of n_blocks ≤ 4 blocks (a constant after inlining); best is score_best's. */
SIMD_INLINE void row_best(size_t n_blocks, const struct row *sum, const float *scale,
	uint64_t allowed, float *best, bool more)
{
	__m512 s = _mm512_loadu_ps(scale);
	__m512 b = more ? best16(_mm512_loadu_ps(best), sum->b0, s, allowed)
			: first16(sum->b0, s, allowed);
	if (n_blocks > 1)
		b = best16(b, sum->b1, _mm512_loadu_ps(scale + 16), allowed >> 16);
	if (n_blocks > 2)
		b = best16(b, sum->b2, _mm512_loadu_ps(scale + 32), allowed >> 32);
	if (n_blocks > 3)
		b = best16(b, sum->b3, _mm512_loadu_ps(scale + 48), allowed >> 48);
	_mm512_storeu_ps(best, b);
}

/* n_rows ≤ 4 users; constants after inlining, as n_blocks. */
SIMD_INLINE void micro(size_t n_rows, size_t n_blocks, const struct wr_gemm_weights *w,
	const struct users *u, size_t i, bool more, struct wr_prefetch *ahead)
{
	struct sums s = micro_sums(n_rows, n_blocks, w, u->q + i * u->ldq, u->ldq);
	const uint64_t *allowed = u->allowed + i * u->ld_allowed;
	float *best = u->best + i * u->ld_best;
	size_t ld = u->ld_allowed, ldb = u->ld_best;
	row_best(n_blocks, &s.r0, w->scale, allowed[0], best, more);
	if (n_rows > 1)
		row_best(n_blocks, &s.r1, w->scale, allowed[ld], best + ldb, more);
	if (n_rows > 2)
		row_best(n_blocks, &s.r2, w->scale, allowed[2 * ld], best + 2 * ldb, more);
	if (n_rows > 3)
		row_best(n_blocks, &s.r3, w->scale, allowed[3 * ld], best + 3 * ldb, more);
	wr_prefetch_step(ahead);
}

SIMD_INLINE void all_users(size_t n_blocks, const struct wr_gemm_weights *w, size_t m,
	const struct users *u, bool more, struct wr_prefetch *ahead)
{
	size_t i = 0;
	for (; i + MICRO_ROWS <= m; i += MICRO_ROWS)
		micro(MICRO_ROWS, n_blocks, w, u, i, more, ahead);
	switch (m - i) {
	case 3:
		micro(3, n_blocks, w, u, i, more, ahead);
		break;
	case 2:
		micro(2, n_blocks, w, u, i, more, ahead);
		break;
	case 1:
		micro(1, n_blocks, w, u, i, more, ahead);
		break;
	default:
		break;
	}
}

void wr_score_users_avx512vnni(size_t m, size_t k, const int8_t *q, size_t ldq, void *users)
{
	micro_shift(m, k, q, ldq, users, WR_SCORE_USER_BYTES(k));
}

void wr_score_best_avx512vnni(const struct wr_score *s, struct wr_prefetch *ahead)
{
	for (uint32_t t = 0; t < wr_score_tiles(s->items); t++) {
		const struct wr_gemm_weights tile = wr_score_tile(s->items, t);
		const struct users u = {s->users, s->allowed + t,
			s->best + t / s->tiles_per_vector * WR_SCORE_LANES,
			WR_SCORE_USER_BYTES(tile.k), s->ld_allowed, s->ld_best};
		const bool more = t % s->tiles_per_vector != 0;
		switch (tile.n / WR_GEMM_BLOCK) {
		case 4:
			all_users(4, &tile, s->m, &u, more, ahead);
			break;
		case 3:
			all_users(3, &tile, s->m, &u, more, ahead);
			break;
		case 2:
			all_users(2, &tile, s->m, &u, more, ahead);
			break;
		default:
			all_users(1, &tile, s->m, &u, more, ahead);
		}
	}
}

/* ---- the bound ---- */

/* Lanes of v and of itself with its lanes exchanged by distance j: the smaller one where keep_min
 * has a bit, the larger one elsewhere. */
SIMD_INLINE __m512 exchange(__m512 v, __m512 other, __mmask16 keep_min)
{
	return _mm512_mask_min_ps(_mm512_max_ps(v, other), keep_min, v, other);
}

SIMD_INLINE __m512 swap8(__m512 v)
{
	return _mm512_shuffle_f32x4(v, v, 0x4e);
}
SIMD_INLINE __m512 swap4(__m512 v)
{
	return _mm512_shuffle_f32x4(v, v, 0xb1);
}
SIMD_INLINE __m512 swap2(__m512 v)
{
	return _mm512_shuffle_ps(v, v, 0x4e);
}
SIMD_INLINE __m512 swap1(__m512 v)
{
	return _mm512_shuffle_ps(v, v, 0xb1);
}

/* A bitonic vector into falling order. */
SIMD_INLINE __m512 merge16(__m512 v)
{
	v = exchange(v, swap8(v), 0xff00);
	v = exchange(v, swap4(v), 0xf0f0);
	v = exchange(v, swap2(v), 0xcccc);
	return exchange(v, swap1(v), 0xaaaa);
}

/* Any vector into falling order, or into rising order when `rising` is 0xffff. */
SIMD_INLINE __m512 sort16(__m512 v, __mmask16 rising)
{
	v = exchange(v, swap1(v), 0x6666);
	v = exchange(v, swap2(v), 0x3c3c);
	v = exchange(v, swap1(v), 0x5a5a);
	v = exchange(v, swap4(v), 0x0ff0);
	v = exchange(v, swap2(v), 0x33cc);
	v = exchange(v, swap1(v), 0x55aa);
	v = exchange(v, swap8(v), 0xff00 ^ rising);
	v = exchange(v, swap4(v), 0xf0f0 ^ rising);
	v = exchange(v, swap2(v), 0xcccc ^ rising);
	return exchange(v, swap1(v), 0xaaaa ^ rising);
}

/* The k-th largest of two folded vectors: their sorted halves make a bitonic vector of the 16
 * largest. */
float wr_score_bound_avx512vnni(const float *best, size_t n, size_t k)
{
	if (k > WR_SCORE_LANES || n < 2)
		return wr_score_bound_avx2(best, n, k);
	__m512 a = _mm512_loadu_ps(best), b = _mm512_loadu_ps(best + 16);
	size_t i = 2;
	for (; i + 2 <= n; i += 2) {
		a = _mm512_max_ps(a, _mm512_loadu_ps(best + i * 16));
		b = _mm512_max_ps(b, _mm512_loadu_ps(best + i * 16 + 16));
	}
	if (i < n)
		a = _mm512_max_ps(a, _mm512_loadu_ps(best + i * 16));
	float sorted[WR_SCORE_LANES];
	_mm512_storeu_ps(sorted, merge16(_mm512_max_ps(sort16(a, 0), sort16(b, 0xffff))));
	return sorted[k - 1];
}

/* ---- items one by one ---- */

/* Bytes of an item are shifted to unsigned; start takes 128·Σq off again. */
SIMD_INLINE __m512i one_row(const int8_t *q, const int8_t *item, size_t k, __m512i start)
{
	const __m512i sign = _mm512_set1_epi32((int32_t)0x80808080u);
	size_t c = 0;
	for (; c + 64 <= k; c += 64)
		start = _mm512_dpbusd_epi32(start,
			_mm512_xor_si512(_mm512_loadu_si512(item + c), sign),
			_mm512_loadu_si512(q + c));
	if (c < k) {
		__mmask16 part = (__mmask16)((1u << (k - c) / 4) - 1);
		__m512i v = _mm512_xor_si512(_mm512_maskz_loadu_epi32(part, item + c), sign);
		start = _mm512_dpbusd_epi32(start, v, _mm512_maskz_loadu_epi32(part, q + c));
	}
	return start;
}

SIMD_INLINE int32_t sum_words(__m512i v)
{
	__m256i l8 = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
	__m128i s = _mm_add_epi32(_mm256_castsi256_si128(l8), _mm256_extracti128_si256(l8, 1));
	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
	return _mm_cvtsi128_si32(s) + _mm_extract_epi32(s, 1);
}

/* The words' sums of four vectors. */
SIMD_INLINE __m128i sum_four(const __m512i s[4])
{
	__m512i v = simd512_sum_words4(s);
	__m256i l8 = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
	return _mm_add_epi32(_mm256_castsi256_si128(l8), _mm256_extracti128_si256(l8, 1));
}

SIMD_INLINE void rows_of(const int8_t *q, const int8_t *items, const float *scale, size_t k,
	const uint32_t *rows, size_t n, float *v)
{
	const __m512i sign = _mm512_set1_epi32((int32_t)0x80808080u), zero = _mm512_setzero_si512();
	__m512i offset = zero;
	size_t c = 0, i = 0;
	for (; c + 64 <= k; c += 64)
		offset = _mm512_dpbusd_epi32(offset, sign, _mm512_loadu_si512(q + c));
	if (c < k)
		offset = _mm512_dpbusd_epi32(offset, sign,
			_mm512_maskz_loadu_epi32((__mmask16)((1u << (k - c) / 4) - 1), q + c));
	const __m512i start = _mm512_sub_epi32(zero, offset);
	for (; i + 4 <= n; i += 4) {
		__m512i s[4];
#pragma GCC unroll 4
		for (size_t j = 0; j < 4; j++)
			s[j] = one_row(q, items + (size_t)rows[i + j] * k, k, start);
		__m128 by = _mm_setr_ps(
			scale[rows[i]], scale[rows[i + 1]], scale[rows[i + 2]], scale[rows[i + 3]]);
		_mm_storeu_ps(v + i, _mm_mul_ps(_mm_cvtepi32_ps(sum_four(s)), by));
	}
	for (; i < n; i++)
		v[i] = (float)sum_words(one_row(q, items + (size_t)rows[i] * k, k, start)) *
		       scale[rows[i]];
}

/* The reference student's width as a constant. */
void wr_score_rows_avx512vnni(const int8_t *q, const int8_t *items, const float *scale, size_t k,
	const uint32_t *rows, size_t n, float *v)
{
	if (k == 64)
		rows_of(q, items, scale, 64, rows, n, v);
	else
		rows_of(q, items, scale, k, rows, n, v);
}
