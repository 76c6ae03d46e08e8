/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AVX-512 over SIMDe and emulated tiles, so that the arithmetic of kernels/x_avx512vnni.c and
 * x_amx.c is tested on any CPU: the intrinsics that Debian 12's SIMDe lacks, made from 256-bit
 * ones, and other names for the functions, so that both builds fit into one program.
 */
#ifndef WR_SIMDE_H
#define WR_SIMDE_H

#include "simde_names.h"

#include <string.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>
#pragma GCC diagnostic pop

#include "wr_amx_emulated.h"

#define wr_gemm_s8_avx512vnni       wr_gemm_s8_simde
#define wr_dequantise_avx512vnni    wr_dequantise_simde
#define wr_quantise_avx512vnni      wr_quantise_simde
#define wr_relu_quantise_avx512vnni wr_relu_quantise_simde
#define wr_quantise_low_avx512vnni  wr_quantise_low_simde
#define wr_norm_quantise_avx512vnni wr_norm_quantise_simde
#define wr_user_quantise_avx512vnni wr_user_quantise_simde
#define wr_embed_avx512vnni         wr_embed_simde
#define wr_attend_avx512vnni        wr_attend_simde
#define wr_attend_rows_avx512vnni   wr_attend_rows_simde
#define wr_decode_avx512vnni        wr_decode_simde
#define wr_topk_above_avx512vnni    wr_topk_above_simde
#define wr_topk_order_avx512vnni    wr_topk_order_simde
#define wr_score_users_avx512vnni   wr_score_users_simde
#define wr_score_best_avx512vnni    wr_score_best_simde
#define wr_score_bound_avx512vnni   wr_score_bound_simde
#define wr_score_rows_avx512vnni    wr_score_rows_simde
#define wr_gemm_s8_amx              wr_gemm_s8_emulated
#define wr_score_users_amx          wr_score_users_emulated
#define wr_score_best_amx           wr_score_best_emulated

static inline __m512 wr_simde_join_ps(__m256 low, __m256 high)
{
	return _mm512_castpd_ps(_mm512_insertf64x4(
		_mm512_castps_pd(_mm512_castps256_ps512(low)), _mm256_castps_pd(high), 1));
}

static inline __m512i wr_simde_join_epi32(__m256i low, __m256i high)
{
	return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

static inline __m512 wr_simde_cvtepi32_ps(__m512i v)
{
	return wr_simde_join_ps(_mm256_cvtepi32_ps(_mm512_castsi512_si256(v)),
		_mm256_cvtepi32_ps(_mm512_extracti64x4_epi64(v, 1)));
}

static inline __m512i wr_simde_cvtps_epi32(__m512 v)
{
	__m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
	return wr_simde_join_epi32(
		_mm256_cvtps_epi32(_mm512_castps512_ps256(v)), _mm256_cvtps_epi32(high));
}

static inline __m512i wr_simde_cvtepi8_epi32(__m128i v)
{
	return wr_simde_join_epi32(
		_mm256_cvtepi8_epi32(v), _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(v, v)));
}

static inline __m512i wr_simde_cvtepu16_epi32(__m256i v)
{
	return wr_simde_join_epi32(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(v)),
		_mm256_cvtepu16_epi32(_mm256_extracti128_si256(v, 1)));
}

/* Both 128-bit lanes of a half exchanged, or the halves: the two orders that kernels use. */
static inline __m512 wr_simde_shuffle_f32x4(__m512 v, int order)
{
	__m256 low = _mm512_castps512_ps256(v);
	__m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
	return order == 0x4e ? wr_simde_join_ps(high, low)
			     : wr_simde_join_ps(_mm256_permute2f128_ps(low, low, 1),
				       _mm256_permute2f128_ps(high, high, 1));
}

static inline __m512 wr_simde_shuffle_ps(__m512 v, int order)
{
	__m256 low = _mm512_castps512_ps256(v);
	__m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
	return order == 0x4e ? wr_simde_join_ps(
				       _mm256_permute_ps(low, 0x4e), _mm256_permute_ps(high, 0x4e))
			     : wr_simde_join_ps(
				       _mm256_permute_ps(low, 0xb1), _mm256_permute_ps(high, 0xb1));
}

static inline __m512i wr_simde_maskz_loadu_epi32(__mmask16 mask, const void *p)
{
	int32_t v[16] = {0};
	memcpy(v, p, (size_t)__builtin_popcount(mask) * sizeof(*v));
	return _mm512_loadu_si512(v);
}

static inline __m256i wr_simde_cvtepi32_epi16(__m512i v)
{
	int32_t from[16];
	int16_t to[16];
	_mm512_storeu_si512(from, v);
	for (int i = 0; i < 16; i++)
		to[i] = (int16_t)from[i];
	return _mm256_loadu_si256((const __m256i *)(const void *)to);
}

static inline __m512i wr_simde_maskz_compress_epi32(__mmask16 mask, __m512i v)
{
	int32_t from[16], to[16] = {0};
	_mm512_storeu_si512(from, v);
	for (int i = 0, n = 0; i < 16; i++)
		if (mask >> i & 1)
			to[n++] = from[i];
	return _mm512_loadu_si512(to);
}

static inline __mmask16 wr_simde_cmplt_epu32_mask(__m512i a, __m512i b)
{
	uint32_t x[16], y[16], mask = 0;
	_mm512_storeu_si512(x, a);
	_mm512_storeu_si512(y, b);
	for (int i = 0; i < 16; i++)
		mask |= (uint32_t)(x[i] < y[i]) << i;
	return (__mmask16)mask;
}

static inline __m512 wr_simde_mask_loadu_ps(__m512 otherwise, __mmask16 mask, const float *p)
{
	float v[16];
	_mm512_storeu_ps(v, otherwise);
	for (int i = 0; i < 16; i++)
		if (mask >> i & 1)
			v[i] = p[i];
	return _mm512_loadu_ps(v);
}

#undef _mm512_mask_loadu_ps
#undef _mm512_maskz_loadu_ps
#define _mm512_mask_loadu_ps(v, mask, p) wr_simde_mask_loadu_ps(v, mask, p)
#define _mm512_maskz_loadu_ps(mask, p)   wr_simde_mask_loadu_ps(_mm512_setzero_ps(), mask, p)

#undef _mm512_cvtepi32_epi16
#undef _mm512_maskz_compress_epi32
#undef _mm512_cmplt_epu32_mask
#define _mm512_cvtepi32_epi16(v)             wr_simde_cvtepi32_epi16(v)
#define _mm512_maskz_compress_epi32(mask, v) wr_simde_maskz_compress_epi32(mask, v)
#define _mm512_cmplt_epu32_mask(a, b)        wr_simde_cmplt_epu32_mask(a, b)

#undef _mm512_cvtepi32_ps
#undef _mm512_cvtps_epi32
#undef _mm512_cvtepi8_epi32
#undef _mm512_cvtepu16_epi32
#undef _mm512_shuffle_f32x4
#undef _mm512_shuffle_ps
#undef _mm512_maskz_loadu_epi32
#define _mm512_shuffle_f32x4(a, b, order) wr_simde_shuffle_f32x4(a, order)
#define _mm512_shuffle_ps(a, b, order)    wr_simde_shuffle_ps(a, order)
#define _mm512_maskz_loadu_epi32(mask, p) wr_simde_maskz_loadu_epi32(mask, p)
#define _mm512_cvtepi32_ps                wr_simde_cvtepi32_ps
#define _mm512_cvtps_epi32                wr_simde_cvtps_epi32
#define _mm512_cvtepi8_epi32              wr_simde_cvtepi8_epi32
#define _mm512_cvtepu16_epi32             wr_simde_cvtepu16_epi32

#endif
