/* SPDX-License-Identifier: BSD-3-Clause */
/* quantise.h on AVX2, the steps of quantise_steps.h. */
#include "quantise_steps.h"
#include "simd256.h"

/* 8 values of the row that is quantised: x, max(x, 0) or x ⊙ gain. */
SIMD_INLINE __m256 load8(enum quantise_shape shape, const float *x, const float *gain)
{
	__m256 v = _mm256_loadu_ps(x);
	if (shape == RELU)
		v = _mm256_max_ps(v, _mm256_setzero_ps());
	if (shape == GAIN)
		v = _mm256_mul_ps(v, _mm256_loadu_ps(gain));
	return v;
}

/* No clamp: |x| ≤ a, so x · (127 / a) cannot round beyond 127. */
SIMD_INLINE __m256i quantise8(__m256 v, __m256 by)
{
	return _mm256_cvtps_epi32(_mm256_mul_ps(v, by));
}

SIMD_INLINE void reduce_row(enum quantise_shape shape, size_t n, const float *x, const float *gain,
	__m128 *largest, __m128 *ss)
{
	const __m256 sign = _mm256_set1_ps(-0.0f);
	__m256 most = _mm256_setzero_ps(), sq0 = most, sq1 = most;
	for (size_t c = 0; c < n; c += 16) {
		__m256 v0 = load8(shape, x + c, gain + c);
		__m256 v1 = load8(shape, x + c + 8, gain + c + 8);
		most = _mm256_max_ps(_mm256_andnot_ps(sign, v0), most);
		most = _mm256_max_ps(_mm256_andnot_ps(sign, v1), most);
		if (ss) {
			sq0 = _mm256_add_ps(sq0, _mm256_mul_ps(v0, v0));
			sq1 = _mm256_add_ps(sq1, _mm256_mul_ps(v1, v1));
		}
	}
	*largest = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
	if (ss) {
		__m256 l8 = _mm256_add_ps(sq0, sq1);
		*ss = _mm_add_ps(_mm256_castps256_ps128(l8), _mm256_extractf128_ps(l8, 1));
	}
}

SIMD_INLINE void store_row(enum quantise_shape shape, size_t n, const float *x, const float *gain,
	float inv, int8_t *q)
{
	const __m256 by = _mm256_set1_ps(inv);
	for (size_t c = 0; c < n; c += 16) {
		__m256i v0 = quantise8(load8(shape, x + c, gain + c), by);
		__m256i v1 = quantise8(load8(shape, x + c + 8, gain + c + 8), by);
		_mm_storeu_si128((__m128i *)(void *)(q + c), simd256_pack16(v0, v1));
	}
}

static const struct quantise_steps steps = {reduce_row, store_row};

void wr_quantise_avx2(size_t m, size_t n, const float *x, size_t ldx, int8_t *q, size_t ldq,
	float *scale, size_t ld_scale)
{
	quantise_shaped(&steps, PLAIN, SCALE, m,
		(struct quantise_job){{x, x, q, n, ldx, ldq}, scale, ld_scale, 0, 0});
}

void wr_relu_quantise_avx2(size_t m, size_t n, const float *x, size_t ldx, int8_t *q, size_t ldq,
	float *scale, size_t ld_scale)
{
	quantise_shaped(&steps, RELU, SCALE, m,
		(struct quantise_job){{x, x, q, n, ldx, ldq}, scale, ld_scale, 0, 0});
}

/* 254 times what rounding left of 8 values. */
SIMD_INLINE __m256i low8(__m256 v, __m256 by, const int8_t *q)
{
	__m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)q);
	__m256 whole = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
	__m256 rest = _mm256_sub_ps(_mm256_mul_ps(v, by), whole);
	return _mm256_cvtps_epi32(_mm256_mul_ps(rest, _mm256_set1_ps(WR_QUANTISE_LOW)));
}

SIMD_INLINE void low_row(
	enum quantise_shape shape, size_t n, const float *x, const int8_t *q, int8_t *low)
{
	__m128 most;
	reduce_row(shape, n, x, x, &most, NULL);
	float a = simd256_largest(_mm256_set_m128(most, most));
	const __m256 by = _mm256_set1_ps(a < WR_QUANTISE_TINY ? 0 : 127.0f / a);
	for (size_t c = 0; c < n; c += 16) {
		__m256i v0 = low8(load8(shape, x + c, x), by, q + c);
		__m256i v1 = low8(load8(shape, x + c + 8, x), by, q + c + 8);
		_mm_storeu_si128((__m128i *)(void *)(low + c), simd256_pack16(v0, v1));
	}
}

void wr_quantise_low_avx2(size_t m, size_t n, const float *x, size_t ldx, bool relu,
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

void wr_norm_quantise_avx2(size_t m, size_t n, float eps, const float *x, size_t ldx, int8_t *q,
	size_t ldq, float *scale)
{
	quantise_shaped(&steps, PLAIN, NORM, m,
		(struct quantise_job){{x, x, q, n, ldx, ldq}, scale, 1, eps, 0});
}

void wr_user_quantise_avx2(size_t m, size_t n, const float *gain, float logit_scale, const float *x,
	size_t ldx, int8_t *q, size_t ldq, float *scale)
{
	quantise_shaped(&steps, GAIN, USER, m,
		(struct quantise_job){{x, gain, q, n, ldx, ldq}, scale, 1, 0, logit_scale});
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
