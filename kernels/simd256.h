/* SPDX-License-Identifier: BSD-3-Clause */
/* What the AVX2 sources share: 16 lanes as two vectors, exact byte products, reductions in the
 * order of docs/model.md. */
#ifndef WR_SIMD256_H
#define WR_SIMD256_H

#include "attention_exp.h"
#include "simd_inline.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Lane l + lane l+8 (low + high), then 4, 2, 1: the fold of a lane sum. */
SIMD_INLINE float simd256_fold(__m256 low, __m256 high)
{
	__m256 l8 = _mm256_add_ps(low, high);
	__m128 l4 = _mm_add_ps(_mm256_castps256_ps128(l8), _mm256_extractf128_ps(l8, 1));
	__m128 l2 = _mm_add_ps(l4, _mm_movehl_ps(l4, l4));
	return _mm_cvtss_f32(_mm_add_ss(l2, _mm_shuffle_ps(l2, l2, 1)));
}

SIMD_INLINE float simd256_largest(__m256 v)
{
	__m128 l4 = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
	__m128 l2 = _mm_max_ps(l4, _mm_movehl_ps(l4, l4));
	return _mm_cvtss_f32(_mm_max_ss(l2, _mm_shuffle_ps(l2, l2, 1)));
}

SIMD_INLINE __m256i simd256_broadcast4(const void *p)
{
	int32_t v;
	memcpy(&v, p, sizeof(v));
	return _mm256_set1_epi32(v);
}

/*
 * acc + Σ of four byte products a lane; unsigned bytes u ≤ 127, signed bytes s in [-127, 127]: a
 * pair sums to at most 32,258 and cannot saturate.
 */
SIMD_INLINE __m256i simd256_dot4(__m256i acc, __m256i u, __m256i s)
{
	return _mm256_add_epi32(
		acc, _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1)));
}

/* 8 values (0 … 127 or -127 … 127) of each half to 16 bytes. */
SIMD_INLINE __m128i simd256_pack16(__m256i low, __m256i high)
{
	__m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
	return _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

/* exp of x ≤ 0 (docs/model.md). */
SIMD_INLINE __m256 simd256_exp(__m256 x)
{
	x = _mm256_max_ps(x, _mm256_set1_ps(WR_EXP_MIN));
	const __m256 log2e = _mm256_set1_ps(WR_EXP_LOG2E), to_whole = _mm256_set1_ps(WR_EXP_WHOLE);
	__m256 whole = _mm256_fmadd_ps(x, log2e, to_whole);
	__m256 f = _mm256_fmadd_ps(x, log2e, _mm256_sub_ps(to_whole, whole));
	__m256 y = _mm256_fmadd_ps(_mm256_set1_ps(WR_EXP_P4), f, _mm256_set1_ps(WR_EXP_P3));
	y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(WR_EXP_P2));
	y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(WR_EXP_P1));
	y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(1.0f));
	return _mm256_castsi256_ps(_mm256_add_epi32(
		_mm256_castps_si256(y), _mm256_slli_epi32(_mm256_castps_si256(whole), 23)));
}

#endif
