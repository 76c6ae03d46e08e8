/* SPDX-License-Identifier: BSD-3-Clause */
/* quantise.h on AVX-512, the steps of quantise_steps.h. */
#include "quantise_steps.h"
#include "simd512.h"

/* 16 values of the row that is quantised: x, max(x, 0) or x ⊙ gain. */
SIMD_INLINE __m512 load16(enum quantise_shape shape, const float *x, const float *gain)
{
	__m512 v = _mm512_loadu_ps(x);
	if (shape == RELU)
		v = _mm512_max_ps(v, _mm512_setzero_ps());
	if (shape == GAIN)
		v = _mm512_mul_ps(v, _mm512_loadu_ps(gain));
	return v;
}

SIMD_INLINE void reduce_row(enum quantise_shape shape, size_t n, const float *x, const float *gain,
	__m128 *largest, __m128 *ss)
{
	__m512 most = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
	for (size_t c = 0; c < n; c += 16) {
		__m512 v = load16(shape, x + c, gain + c);
		most = _mm512_max_ps(_mm512_abs_ps(v), most);
		if (ss)
			squares = _mm512_add_ps(squares, _mm512_mul_ps(v, v));
	}
	*largest = simd512_largest_to4(most);
	if (ss)
		*ss = simd512_fold_to4(squares);
}

SIMD_INLINE void store_row(enum quantise_shape shape, size_t n, const float *x, const float *gain,
	float inv, int8_t *q)
{
	const __m512 by = _mm512_set1_ps(inv);
	for (size_t c = 0; c < n; c += 16) {
		__m512 v = _mm512_mul_ps(load16(shape, x + c, gain + c), by);
		_mm_storeu_si128(
			(__m128i *)(void *)(q + c), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(v)));
	}
}

static const struct quantise_steps steps = {reduce_row, store_row};

void wr_quantise_avx512vnni(size_t m, size_t n, const float *x, size_t ldx, int8_t *q, size_t ldq,
	float *scale, size_t ld_scale)
{
	quantise_shaped(&steps, PLAIN, SCALE, m,
		(struct quantise_job){{x, x, q, n, ldx, ldq}, scale, ld_scale, 0, 0});
}

void wr_relu_quantise_avx512vnni(size_t m, size_t n, const float *x, size_t ldx, int8_t *q,
	size_t ldq, float *scale, size_t ld_scale)
{
	quantise_shaped(&steps, RELU, SCALE, m,
		(struct quantise_job){{x, x, q, n, ldx, ldq}, scale, ld_scale, 0, 0});
}

/* 254 times what rounding left of each value. */
SIMD_INLINE void low_row(
	enum quantise_shape shape, size_t n, const float *x, const int8_t *q, int8_t *low)
{
	__m128 most;
	reduce_row(shape, n, x, x, &most, NULL);
	most = _mm_max_ps(most, _mm_movehl_ps(most, most));
	float a = _mm_cvtss_f32(_mm_max_ss(most, _mm_shuffle_ps(most, most, 1)));
	const __m512 by = _mm512_set1_ps(a < WR_QUANTISE_TINY ? 0 : 127.0f / a);
	for (size_t c = 0; c < n; c += 16) {
		__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(q + c));
		__m512 whole = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
		__m512 rest = _mm512_sub_ps(_mm512_mul_ps(load16(shape, x + c, x), by), whole);
		rest = _mm512_mul_ps(rest, _mm512_set1_ps(WR_QUANTISE_LOW));
		_mm_storeu_si128((__m128i *)(void *)(low + c),
			_mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(rest)));
	}
}

void wr_quantise_low_avx512vnni(size_t m, size_t n, const float *x, size_t ldx, bool relu,
	const int8_t *q, size_t ldq, const float *scale, int8_t *low, size_t ld_low,
	float *low_scale)
{
	for (size_t i = 0; i < m; i++) {
		if (relu)
			low_row(RELU, n, x + i * ldx, q + i * ldq, low + i * ld_low);
		else
			low_row(PLAIN, n, x + i * ldx, q + i * ldq, low + i * ld_low);
		low_scale[i] = scale[i] / WR_QUANTISE_LOW;
	}
}

void wr_norm_quantise_avx512vnni(size_t m, size_t n, float eps, const float *x, size_t ldx,
	int8_t *q, size_t ldq, float *scale)
{
	quantise_shaped(&steps, PLAIN, NORM, m,
		(struct quantise_job){{x, x, q, n, ldx, ldq}, scale, 1, eps, 0});
}

void wr_user_quantise_avx512vnni(size_t m, size_t n, const float *gain, float logit_scale,
	const float *x, size_t ldx, int8_t *q, size_t ldq, float *scale)
{
	quantise_shaped(&steps, GAIN, USER, m,
		(struct quantise_job){{x, gain, q, n, ldx, ldq}, scale, 1, 0, logit_scale});
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
