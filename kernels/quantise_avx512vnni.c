/* SPDX-License-Identifier: BSD-3-Clause */
/* quantise.h on AVX-512: rows are read twice, from L1. */
#include "quantise.h"

#include "simd512.h"

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

/* The four lanes that are left of a row's largest magnitude, and of its sum of squares when that is
 * given. */
SIMD_INLINE void reduce_row(
	enum shape shape, size_t n, const float *x, const float *gain, __m128 *largest, __m128 *ss)
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

/* No clamp: |x| ≤ a, so x · (127 / a) cannot round beyond 127. */
SIMD_INLINE void store_row(
	enum shape shape, size_t n, const float *x, const float *gain, float inv, int8_t *q)
{
	const __m512 by = _mm512_set1_ps(inv);
	for (size_t c = 0; c < n; c += 16) {
		__m512 v = _mm512_mul_ps(load16(shape, x + c, gain + c), by);
		_mm_storeu_si128(
			(__m128i *)(void *)(q + c), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(v)));
	}
}

/* The rows that one call works on: up to four, so that their reductions and divisions share
 * vectors. */
struct rows {
	const float *x, *gain;
	int8_t *q;
	size_t n, ldx, ldq;
};

/*
 * Quantises n_rows ≤ 4 rows (a constant after inlining): lane i of the result is row i's largest
 * magnitude, 0 when tiny; lane i of ss its sum of squares, when ss is given.
 */
SIMD_INLINE __m128 quantise_rows(enum shape shape, size_t n_rows, const struct rows *r, __m128 *ss)
{
	__m128 largest[4], squares[4];
#pragma GCC unroll 4
	for (size_t i = 0; i < 4; i++) {
		largest[i] = squares[i] = _mm_setzero_ps();
		if (i < n_rows)
			reduce_row(shape, r->n, r->x + i * r->ldx, r->gain, &largest[i],
				ss ? &squares[i] : NULL);
	}
	_MM_TRANSPOSE4_PS(largest[0], largest[1], largest[2], largest[3]);
	__m128 a =
		_mm_max_ps(_mm_max_ps(largest[0], largest[1]), _mm_max_ps(largest[2], largest[3]));
	if (ss) {
		_MM_TRANSPOSE4_PS(squares[0], squares[1], squares[2], squares[3]);
		*ss = _mm_add_ps(
			_mm_add_ps(squares[0], squares[2]), _mm_add_ps(squares[1], squares[3]));
	}
	__m128 fits = _mm_cmpge_ps(a, _mm_set1_ps(WR_QUANTISE_TINY));
	float inv[4];
	_mm_storeu_ps(inv, _mm_and_ps(fits, _mm_div_ps(_mm_set1_ps(127), a)));
#pragma GCC unroll 4
	for (size_t i = 0; i < n_rows; i++)
		store_row(shape, r->n, r->x + i * r->ldx, r->gain, inv[i], r->q + i * r->ldq);
	return _mm_and_ps(fits, a);
}

enum last { SCALE, NORM, USER }; /* what a row's scale is made of */

struct job {
	struct rows rows;
	float *scale;
	size_t ld_scale;
	float eps, logit_scale;
};

/* n_rows rows of a job and their scales. */
SIMD_INLINE void run_rows(enum shape shape, enum last last, size_t n_rows, const struct job *j)
{
	__m128 ss, a = quantise_rows(shape, n_rows, &j->rows, last == SCALE ? NULL : &ss);
	__m128 s = _mm_div_ps(a, _mm_set1_ps(127));
	if (last == NORM) {
		__m128 mean = _mm_div_ps(ss, _mm_set1_ps((float)j->rows.n));
		__m128 root = _mm_sqrt_ps(_mm_add_ps(mean, _mm_set1_ps(j->eps)));
		s = _mm_mul_ps(s, _mm_div_ps(_mm_set1_ps(1), root));
	}
	if (last == USER) {
		__m128 some = _mm_cmpgt_ps(ss, _mm_setzero_ps());
		s = _mm_mul_ps(_mm_set1_ps(j->logit_scale), _mm_div_ps(s, _mm_sqrt_ps(ss)));
		s = _mm_and_ps(some, s);
	}
	float scale[4];
	_mm_storeu_ps(scale, s);
	for (size_t i = 0; i < n_rows; i++)
		j->scale[i * j->ld_scale] = scale[i];
}

SIMD_INLINE void run_any(enum shape shape, enum last last, size_t m, struct job j)
{
	for (; m >= 4; m -= 4) {
		run_rows(shape, last, 4, &j);
		j.rows.x += 4 * j.rows.ldx;
		j.rows.q += 4 * j.rows.ldq;
		j.scale += 4 * j.ld_scale;
	}
	for (; m; m--) {
		run_rows(shape, last, 1, &j);
		j.rows.x += j.rows.ldx;
		j.rows.q += j.rows.ldq;
		j.scale += j.ld_scale;
	}
}

/* The reference student's row lengths as constants: a quarter faster (one EPYC) than loops of two
 * to eight steps. */
SIMD_INLINE void run(enum shape shape, enum last last, size_t m, struct job j)
{
	switch (j.rows.n) {
	case 32:
		j.rows.n = 32;
		run_any(shape, last, m, j);
		break;
	case 64:
		j.rows.n = 64;
		run_any(shape, last, m, j);
		break;
	case 128:
		j.rows.n = 128;
		run_any(shape, last, m, j);
		break;
	default:
		run_any(shape, last, m, j);
	}
}

void wr_quantise_avx512vnni(size_t m, size_t n, const float *x, size_t ldx, int8_t *q, size_t ldq,
	float *scale, size_t ld_scale)
{
	run(PLAIN, SCALE, m, (struct job){{x, x, q, n, ldx, ldq}, scale, ld_scale, 0, 0});
}

void wr_relu_quantise_avx512vnni(size_t m, size_t n, const float *x, size_t ldx, int8_t *q,
	size_t ldq, float *scale, size_t ld_scale)
{
	run(RELU, SCALE, m, (struct job){{x, x, q, n, ldx, ldq}, scale, ld_scale, 0, 0});
}

/* 254 times what rounding left of each value. */
SIMD_INLINE void low_row(enum shape shape, size_t n, const float *x, const int8_t *q, int8_t *low)
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
	run(PLAIN, NORM, m, (struct job){{x, x, q, n, ldx, ldq}, scale, 1, eps, 0});
}

void wr_user_quantise_avx512vnni(size_t m, size_t n, const float *gain, float logit_scale,
	const float *x, size_t ldx, int8_t *q, size_t ldq, float *scale)
{
	run(GAIN, USER, m, (struct job){{x, gain, q, n, ldx, ldq}, scale, 1, 0, logit_scale});
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
