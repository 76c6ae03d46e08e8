/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the AVX-512 sources share: the intrinsics, natively or over SIMDe (tests/kernels compiles
 * the same sources so on CPUs that lack the level), and reductions in the order of docs/model.md.
 * Included by kernels' AVX-512 files alone.
 */
#ifndef WR_SIMD512_H
#define WR_SIMD512_H

#include "attention_exp.h"
#include "simd_inline.h"

#ifdef WR_KERNELS_SIMDE
#include "wr_simde.h"
#else
#include <immintrin.h>
#endif

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What was loaded stays in its register; else gcc loads it again for every use. */
SIMD_INLINE __m512i simd512_keep(__m512i v)
{
#ifndef WR_KERNELS_SIMDE
	__asm__("" : "+v"(v));
#endif
	return v;
}

/* Lane l + lane l+8, then 4, 2, 1: the fold of a lane sum. */
SIMD_INLINE float simd512_fold(__m512 v)
{
	__m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
	__m256 l8 = _mm256_add_ps(_mm512_castps512_ps256(v), high);
	__m128 l4 = _mm_add_ps(_mm256_castps256_ps128(l8), _mm256_extractf128_ps(l8, 1));
	__m128 l2 = _mm_add_ps(l4, _mm_movehl_ps(l4, l4));
	return _mm_cvtss_f32(_mm_add_ss(l2, _mm_shuffle_ps(l2, l2, 1)));
}

SIMD_INLINE float simd512_largest(__m512 v)
{
	__m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
	__m256 l8 = _mm256_max_ps(_mm512_castps512_ps256(v), high);
	__m128 l4 = _mm_max_ps(_mm256_castps256_ps128(l8), _mm256_extractf128_ps(l8, 1));
	__m128 l2 = _mm_max_ps(l4, _mm_movehl_ps(l4, l4));
	return _mm_cvtss_f32(_mm_max_ss(l2, _mm_shuffle_ps(l2, l2, 1)));
}

/* Lane l + lane l+8, then 4: the first half of a fold. */
SIMD_INLINE __m128 simd512_fold_to4(__m512 v)
{
	__m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
	__m256 l8 = _mm256_add_ps(_mm512_castps512_ps256(v), high);
	return _mm_add_ps(_mm256_castps256_ps128(l8), _mm256_extractf128_ps(l8, 1));
}

SIMD_INLINE __m128 simd512_largest_to4(__m512 v)
{
	__m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
	__m256 l8 = _mm256_max_ps(_mm512_castps512_ps256(v), high);
	return _mm_max_ps(_mm256_castps256_ps128(l8), _mm256_extractf128_ps(l8, 1));
}

/* Four bytes in every lane. */
SIMD_INLINE __m512i simd512_broadcast4(const void *p)
{
	int32_t v;
	memcpy(&v, p, sizeof(v));
	return _mm512_set1_epi32(v);
}

/* -128·Σq of n bytes, a multiple of 16, in every lane: what takes off again that whoever meets q
 * was shifted to unsigned. */
SIMD_INLINE __m512i simd512_shift_off(const int8_t *q, size_t n)
{
	__m128i sum = _mm_setzero_si128();
	for (size_t x = 0; x < n; x += 16)
		sum = _mm_dpbusd_epi32(sum, _mm_set1_epi8((char)0x80),
			_mm_loadu_si128((const __m128i *)(const void *)(q + x)));
	sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
	sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
	return _mm512_broadcastd_epi32(_mm_sub_epi32(_mm_setzero_si128(), sum));
}

/* Words of four vectors added within 16 bytes: word j of a lane is vector j's. */
SIMD_INLINE __m512i simd512_sum_words4(const __m512i s[4])
{
	__m512i ab = _mm512_add_epi32(
		_mm512_unpacklo_epi32(s[0], s[1]), _mm512_unpackhi_epi32(s[0], s[1]));
	__m512i cd = _mm512_add_epi32(
		_mm512_unpacklo_epi32(s[2], s[3]), _mm512_unpackhi_epi32(s[2], s[3]));
	return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

/* o = scale · the sum of n groups of four values (attention.h) by their weights p, head_dim
 * channels: 32 at a time, or the last 16; a group's weights meet both halves. */
SIMD_INLINE void simd512_weigh_values(
	const uint8_t *p, const int8_t *v, size_t n, size_t head_dim, float scale, float *o)
{
	const __m512 by = _mm512_set1_ps(scale);
	for (size_t c = 0; c < head_dim; c += 32) {
		const int both = c + 16 < head_dim;
		__m512i low = _mm512_setzero_si512(), high = low;
#pragma GCC unroll 2
		for (size_t g = 0; g < n; g++) {
			const __m512i w = simd512_broadcast4(p + g * 4);
			const int8_t *four = v + g * 4 * head_dim + c * 4;
			low = simd512_keep(_mm512_dpbusd_epi32(low, w, _mm512_load_si512(four)));
			if (both)
				high = simd512_keep(
					_mm512_dpbusd_epi32(high, w, _mm512_load_si512(four + 64)));
		}
		_mm512_storeu_ps(o + c, _mm512_mul_ps(_mm512_cvtepi32_ps(low), by));
		if (both)
			_mm512_storeu_ps(o + c + 16, _mm512_mul_ps(_mm512_cvtepi32_ps(high), by));
	}
}

/* exp of x ≤ 0 (docs/model.md). */
SIMD_INLINE __m512 simd512_exp(__m512 x)
{
	x = _mm512_max_ps(x, _mm512_set1_ps(WR_EXP_MIN));
	const __m512 log2e = _mm512_set1_ps(WR_EXP_LOG2E), to_whole = _mm512_set1_ps(WR_EXP_WHOLE);
	__m512 whole = _mm512_fmadd_ps(x, log2e, to_whole);
	__m512 f = _mm512_fmadd_ps(x, log2e, _mm512_sub_ps(to_whole, whole));
	__m512 y = _mm512_fmadd_ps(_mm512_set1_ps(WR_EXP_P4), f, _mm512_set1_ps(WR_EXP_P3));
	y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(WR_EXP_P2));
	y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(WR_EXP_P1));
	y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f));
	return _mm512_castsi512_ps(_mm512_add_epi32(
		_mm512_castps_si512(y), _mm512_slli_epi32(_mm512_castps_si512(whole), 23)));
}

#endif
