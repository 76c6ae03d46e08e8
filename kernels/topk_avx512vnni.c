/* SPDX-License-Identifier: BSD-3-Clause */
/* topk.h on AVX-512: indices are compressed in a register and stored whole, of those vectors alone
 * that have one. */
#include "topk.h"

#include "simd512.h"

#define AT_ONCE 64 /* vectors */

/* Lanes above t of n ≤ AT_ONCE vectors, the last of which has `width` ≤ 16 scores; 0 behind them,
 * up to a multiple of 16. */
SIMD_INLINE void compare(const float *s, size_t n, size_t width, __m512 t, uint16_t *lanes)
{
#pragma GCC unroll 4
	for (size_t i = 0; i + 1 < n; i++)
		lanes[i] = _mm512_cmp_ps_mask(_mm512_loadu_ps(s + i * 16), t, _CMP_GT_OQ);
	__mmask16 there = (__mmask16)(0xffffu >> (16 - width));
	_mm256_storeu_si256((__m256i *)(void *)(lanes + n), _mm256_setzero_si256());
	lanes[n - 1] = there & _mm512_cmp_ps_mask(_mm512_maskz_loadu_ps(there, s + (n - 1) * 16), t,
				       _CMP_GT_OQ);
}

/* Of n vectors those that have a lane, and their lanes; their number. */
SIMD_INLINE size_t nonempty(const uint16_t *lanes, size_t n, uint32_t *vector, uint32_t *found)
{
	__m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	size_t hits = 0;
	for (size_t i = 0; i < n; i += 16) {
		__m512i v = _mm512_cvtepu16_epi32(
			_mm256_loadu_si256((const __m256i *)(const void *)(lanes + i)));
		__mmask16 some = _mm512_test_epi32_mask(v, v);
		_mm512_storeu_si512(found + hits, _mm512_maskz_compress_epi32(some, v));
		_mm512_storeu_si512(vector + hits, _mm512_maskz_compress_epi32(some, at));
		hits += (size_t)__builtin_popcount(some);
		at = _mm512_add_epi32(at, _mm512_set1_epi32(16));
	}
	return hits;
}

size_t wr_topk_above_avx512vnni(const float *s, size_t n, float threshold, uint16_t *index)
{
	const __m512i lane =
		_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	size_t found = 0;
	for (size_t i = 0, now; i < n; i += now * 16) {
		uint16_t lanes[AT_ONCE + 16];
		uint32_t vector[AT_ONCE + 16], above[AT_ONCE + 16];
		now = (n - i + 15) / 16 < AT_ONCE ? (n - i + 15) / 16 : AT_ONCE;
		size_t width = n - i < now * 16 ? n - i - (now - 1) * 16 : 16;
		compare(s + i, now, width, _mm512_set1_ps(threshold), lanes);
		size_t hits = nonempty(lanes, now, vector, above);
		for (size_t h = 0; h < hits; h++) {
			__m512i at = _mm512_add_epi32(
				lane, _mm512_set1_epi32((int32_t)(i + vector[h] * 16u)));
			__mmask16 which = (__mmask16)above[h];
			_mm256_storeu_si256((__m256i *)(void *)(index + found),
				_mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(which, at)));
			found += (size_t)__builtin_popcount(which);
		}
	}
	return found;
}

/* Lanes of 16 candidates that come before one of score s and row r. */
SIMD_INLINE __mmask16 before16(__m512 score, __m512i row, __m512 s, __m512i r)
{
	__mmask16 tie = _mm512_cmp_ps_mask(score, s, _CMP_EQ_OQ) & _mm512_cmplt_epu32_mask(row, r);
	return tie | _mm512_cmp_ps_mask(score, s, _CMP_GT_OQ);
}

/* A dozen is the rule: they stay in registers. */
SIMD_INLINE void order16(const float *score, const uint32_t *row, size_t n, uint8_t *place)
{
	const __m512 all = _mm512_loadu_ps(score);
	const __m512i rows = _mm512_loadu_si512(row);
	const unsigned int there = (1u << n) - 1;
	for (size_t i = 0; i < n; i++) {
		__mmask16 first = before16(
			all, rows, _mm512_set1_ps(score[i]), _mm512_set1_epi32((int32_t)row[i]));
		place[i] = (uint8_t)__builtin_popcount(first & there);
	}
}

void wr_topk_order_avx512vnni(const float *score, const uint32_t *row, size_t n, uint8_t *place)
{
	if (n && n <= 16) {
		order16(score, row, n, place);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const __m512 s = _mm512_set1_ps(score[i]);
		const __m512i r = _mm512_set1_epi32((int32_t)row[i]);
		unsigned int count = 0;
		for (size_t j = 0; j < n; j += 16) {
			unsigned int there = n - j < 16 ? (1u << (n - j)) - 1 : 0xffff;
			__mmask16 first = before16(
				_mm512_loadu_ps(score + j), _mm512_loadu_si512(row + j), s, r);
			count += (unsigned int)__builtin_popcount(first & there);
		}
		place[i] = (uint8_t)count;
	}
}
