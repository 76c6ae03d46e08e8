/* SPDX-License-Identifier: BSD-3-Clause */
/* quantise.h on AVX-512: rows are read twice, from L1. A row's reductions overlap with the next row's loads. */
#include "quantise.h"

#include "simd512.h"

#include <math.h>

enum shape { PLAIN, RELU, GAIN };

/* 16 values of the row that is quantised: x, max(x, 0) or x ⊙ gain. */
SIMD_INLINE __m512 load16(enum shape shape, const float *x, const float *gain)
{
	__m512 v = _mm512_loadu_ps(x);
	if (shape == RELU)
		v = _mm512_max_ps(v, _mm512_setzero_ps());
	if (shape == GAIN)
		v = _mm512_mul_ps(v, _mm512_loadu_ps(gain));
	return v;
}

/* Quantises a row; its largest magnitude (0 when tiny), and its sum of squares when ss is given. */
SIMD_INLINE float quantise_row(
	enum shape shape, size_t n, const float *x, const float *gain, int8_t *q, float *ss)
{
	__m512 largest = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
	for (size_t c = 0; c < n; c += 16) {
		__m512 v = load16(shape, x + c, gain + c);
		largest = _mm512_max_ps(_mm512_abs_ps(v), largest);
		if (ss)
			squares = _mm512_add_ps(squares, _mm512_mul_ps(v, v));
	}
	float a = simd512_largest(largest);
	float inv = a < WR_QUANTISE_TINY ? 0 : 127.0f / a;
	if (ss)
		*ss = simd512_fold(squares);
	const __m512 by = _mm512_set1_ps(inv), low = _mm512_set1_ps(-127), high = _mm512_set1_ps(127);
	for (size_t c = 0; c < n; c += 16) {
		__m512 v = _mm512_mul_ps(load16(shape, x + c, gain + c), by);
		v = _mm512_min_ps(_mm512_max_ps(v, low), high);
		_mm_storeu_si128((__m128i *)(void *)(q + c),
			_mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(v)));
	}
	return a < WR_QUANTISE_TINY ? 0 : a;
}

void wr_quantise_avx512vnni(size_t m, size_t n, const float *x, size_t ldx, int8_t *q, size_t ldq,
	float *scale, size_t ld_scale)
{
	for (size_t i = 0; i < m; i++)
		scale[i * ld_scale] =
			quantise_row(PLAIN, n, x + i * ldx, x, q + i * ldq, NULL) / 127.0f;
}

void wr_relu_quantise_avx512vnni(size_t m, size_t n, const float *x, size_t ldx, int8_t *q,
	size_t ldq, float *scale, size_t ld_scale)
{
	for (size_t i = 0; i < m; i++)
		scale[i * ld_scale] =
			quantise_row(RELU, n, x + i * ldx, x, q + i * ldq, NULL) / 127.0f;
}

void wr_norm_quantise_avx512vnni(size_t m, size_t n, float eps, const float *x, size_t ldx,
	int8_t *q, size_t ldq, float *scale)
{
	for (size_t i = 0; i < m; i++) {
		float ss, a = quantise_row(PLAIN, n, x + i * ldx, x, q + i * ldq, &ss);
		scale[i] = (a / 127.0f) * (1.0f / sqrtf(ss / (float)n + eps));
	}
}

void wr_user_quantise_avx512vnni(size_t m, size_t n, const float *gain, float logit_scale,
	const float *x, size_t ldx, int8_t *q, size_t ldq, float *scale)
{
	for (size_t i = 0; i < m; i++) {
		float ss, a = quantise_row(GAIN, n, x + i * ldx, gain, q + i * ldq, &ss);
		scale[i] = ss > 0 ? logit_scale * ((a / 127.0f) / sqrtf(ss)) : 0;
	}
}

void wr_embed_avx512vnni(size_t m, size_t n, const int8_t *items, const float *in,
	const uint32_t *rows, float *x, size_t ldx)
{
	for (size_t i = 0; i < m; i++) {
		const int8_t *item = items + (size_t)rows[i] * n;
		__m512 scale = _mm512_set1_ps(in[rows[i]]);
		for (size_t c = 0; c < n; c += 16) {
			__m128i q = _mm_loadu_si128((const __m128i *)(const void *)(item + c));
			_mm512_storeu_ps(x + i * ldx + c,
				_mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q)), scale));
		}
	}
}
