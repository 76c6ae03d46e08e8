/* SPDX-License-Identifier: BSD-3-Clause */
/* topk.h on AVX-512: indices are compressed in a register and stored whole, of those vectors alone
 * that have one. */
#include "topk.h"

#include "simd512.h"

#define AT_ONCE 64 /* vectors */

/* Of n ≤ AT_ONCE vectors those with a value above t, and its lanes. */
SIMD_INLINE size_t vectors_above(
	const float *s, size_t n, __m512 t, uint16_t *lanes, uint16_t *vector)
{
	size_t found = 0;
	for (size_t i = 0; i < n; i++) {
		__mmask16 above = _mm512_cmp_ps_mask(_mm512_loadu_ps(s + i * 16), t, _CMP_GT_OQ);
		lanes[found] = above;
		vector[found] = (uint16_t)i;
		found += above != 0;
	}
	return found;
}

size_t wr_topk_above_avx512vnni(const float *s, size_t n, float threshold, uint16_t *index)
{
	const __m512i lane =
		_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	size_t found = 0, i = 0;
	for (size_t left = n / 16, now; left; left -= now, i += now * 16) {
		uint16_t lanes[AT_ONCE + 1], vector[AT_ONCE + 1];
		now = left < AT_ONCE ? left : AT_ONCE;
		size_t hits = vectors_above(s + i, now, _mm512_set1_ps(threshold), lanes, vector);
		for (size_t h = 0; h < hits; h++) {
			__m512i at = _mm512_add_epi32(
				lane, _mm512_set1_epi32((int32_t)(i + vector[h] * 16u)));
			_mm256_storeu_si256((__m256i *)(void *)(index + found),
				_mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(lanes[h], at)));
			found += (size_t)__builtin_popcount(lanes[h]);
		}
	}
	for (; i < n; i++)
		if (s[i] > threshold)
			index[found++] = (uint16_t)i;
	return found;
}

void wr_topk_order_avx512vnni(const float *score, const uint32_t *row, size_t n, uint8_t *place)
{
	for (size_t i = 0; i < n; i++) {
		const __m512 s = _mm512_set1_ps(score[i]);
		const __m512i r = _mm512_set1_epi32((int32_t)row[i]);
		unsigned int count = 0;
		for (size_t j = 0; j < n; j += 16) {
			__mmask16 there = (__mmask16)(n - j < 16 ? (1u << (n - j)) - 1 : 0xffff);
			__m512 v = _mm512_loadu_ps(score + j);
			__mmask16 tie = _mm512_cmp_ps_mask(v, s, _CMP_EQ_OQ) &
					_mm512_cmplt_epu32_mask(_mm512_loadu_si512(row + j), r);
			tie |= _mm512_cmp_ps_mask(v, s, _CMP_GT_OQ);
			count += (unsigned int)__builtin_popcount(tie & there);
		}
		place[i] = (uint8_t)count;
	}
}
