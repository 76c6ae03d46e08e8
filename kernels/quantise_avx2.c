/* SPDX-License-Identifier: BSD-3-Clause */
/* quantise.h on AVX2: rows are read twice, from L1. A row's reductions overlap with the next row's loads. */
#include "quantise.h"

#include "simd256.h"

#include <math.h>

enum shape { PLAIN, RELU, GAIN };

/* 8 values of the row that is quantised: x, max(x, 0) or x ⊙ gain. */
SIMD_INLINE __m256 load8(enum shape shape, const float *x, const float *gain)
{
	__m256 v = _mm256_loadu_ps(x);
	if (shape == RELU)
		v = _mm256_max_ps(v, _mm256_setzero_ps());
	if (shape == GAIN)
		v = _mm256_mul_ps(v, _mm256_loadu_ps(gain));
	return v;
}

SIMD_INLINE __m256i quantise8(__m256 v, __m256 by)
{
	v = _mm256_max_ps(_mm256_mul_ps(v, by), _mm256_set1_ps(-127));
	return _mm256_cvtps_epi32(_mm256_min_ps(v, _mm256_set1_ps(127)));
}

/* Quantises a row; its largest magnitude (0 when tiny), and its sum of squares when ss is given. */
SIMD_INLINE float quantise_row(
	enum shape shape, size_t n, const float *x, const float *gain, int8_t *q, float *ss)
{
	const __m256 sign = _mm256_set1_ps(-0.0f);
	__m256 largest = _mm256_setzero_ps(), sq0 = _mm256_setzero_ps(), sq1 = sq0;
	for (size_t c = 0; c < n; c += 16) {
		__m256 v0 = load8(shape, x + c, gain + c);
		__m256 v1 = load8(shape, x + c + 8, gain + c + 8);
		largest = _mm256_max_ps(_mm256_andnot_ps(sign, v0), largest);
		largest = _mm256_max_ps(_mm256_andnot_ps(sign, v1), largest);
		if (ss) {
			sq0 = _mm256_add_ps(sq0, _mm256_mul_ps(v0, v0));
			sq1 = _mm256_add_ps(sq1, _mm256_mul_ps(v1, v1));
		}
	}
	float a = simd256_largest(largest);
	float inv = a < WR_QUANTISE_TINY ? 0 : 127.0f / a;
	if (ss)
		*ss = simd256_fold(sq0, sq1);
	const __m256 by = _mm256_set1_ps(inv);
	for (size_t c = 0; c < n; c += 16) {
		__m256i v0 = quantise8(load8(shape, x + c, gain + c), by);
		__m256i v1 = quantise8(load8(shape, x + c + 8, gain + c + 8), by);
		_mm_storeu_si128((__m128i *)(void *)(q + c), simd256_pack16(v0, v1));
	}
	return a < WR_QUANTISE_TINY ? 0 : a;
}

void wr_quantise_avx2(size_t m, size_t n, const float *x, size_t ldx, int8_t *q, size_t ldq,
	float *scale, size_t ld_scale)
{
	for (size_t i = 0; i < m; i++)
		scale[i * ld_scale] =
			quantise_row(PLAIN, n, x + i * ldx, x, q + i * ldq, NULL) / 127.0f;
}

void wr_relu_quantise_avx2(size_t m, size_t n, const float *x, size_t ldx, int8_t *q, size_t ldq,
	float *scale, size_t ld_scale)
{
	for (size_t i = 0; i < m; i++)
		scale[i * ld_scale] =
			quantise_row(RELU, n, x + i * ldx, x, q + i * ldq, NULL) / 127.0f;
}

void wr_norm_quantise_avx2(size_t m, size_t n, float eps, const float *x, size_t ldx, int8_t *q,
	size_t ldq, float *scale)
{
	for (size_t i = 0; i < m; i++) {
		float ss, a = quantise_row(PLAIN, n, x + i * ldx, x, q + i * ldq, &ss);
		scale[i] = (a / 127.0f) * (1.0f / sqrtf(ss / (float)n + eps));
	}
}

void wr_user_quantise_avx2(size_t m, size_t n, const float *gain, float logit_scale, const float *x,
	size_t ldx, int8_t *q, size_t ldq, float *scale)
{
	for (size_t i = 0; i < m; i++) {
		float ss, a = quantise_row(GAIN, n, x + i * ldx, gain, q + i * ldq, &ss);
		scale[i] = ss > 0 ? logit_scale * ((a / 127.0f) / sqrtf(ss)) : 0;
	}
}

void wr_embed_avx2(size_t m, size_t n, const int8_t *items, const float *in, const uint32_t *rows,
	float *x, size_t ldx)
{
	for (size_t i = 0; i < m; i++) {
		const int8_t *item = items + (size_t)rows[i] * n;
		__m256 scale = _mm256_set1_ps(in[rows[i]]);
		for (size_t c = 0; c < n; c += 8) {
			__m128i q = _mm_loadl_epi64((const __m128i *)(const void *)(item + c));
			_mm256_storeu_ps(x + i * ldx + c,
				_mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)), scale));
		}
	}
}
