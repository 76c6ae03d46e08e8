/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What quantise.h is on every level with vectors: rows are read twice, from L1, four of them
 * together, so that their reductions and divisions share vectors. A level brings the steps.
 */
#ifndef WR_QUANTISE_STEPS_H
#define WR_QUANTISE_STEPS_H

#include "quantise.h"
#include "simd_inline.h"

#include <immintrin.h>

/* The row that is quantised: x, max(x, 0) or x ⊙ gain. */
enum quantise_shape { PLAIN, RELU, GAIN };
enum quantise_last { SCALE, NORM, USER }; /* what a row's scale is made of */

/* Each over one row; constants of the caller, so that they are inlined. */
struct quantise_steps {
	/* The four lanes that are left of a row's largest magnitude, and of its sum of squares when
	 * that is given. */
	void (*reduce)(enum quantise_shape shape, size_t n, const float *x, const float *gain,
		__m128 *largest, __m128 *ss);
	/* q = x · inv, rounded. No clamp: |x| ≤ a, so x · (127 / a) cannot round beyond 127. */
	void (*store)(enum quantise_shape shape, size_t n, const float *x, const float *gain,
		float inv, int8_t *q);
};

/* The rows that one call works on. */
struct quantise_rows {
	const float *x, *gain;
	int8_t *q;
	size_t n, ldx, ldq;
};

struct quantise_job {
	struct quantise_rows rows;
	float *scale;
	size_t ld_scale;
	float eps, logit_scale;
};

/*
 * Quantises n_rows ≤ 4 rows (a constant after inlining): lane i of the result is row i's largest
 * magnitude, 0 when tiny; lane i of ss its sum of squares, when ss is given.
 */
SIMD_INLINE __m128 quantise_few(const struct quantise_steps *step, enum quantise_shape shape,
	size_t n_rows, const struct quantise_rows *r, __m128 *ss)
{
	__m128 largest[4], squares[4];
#pragma GCC unroll 4
	for (size_t i = 0; i < 4; i++) {
		largest[i] = squares[i] = _mm_setzero_ps();
		if (i < n_rows)
			step->reduce(shape, r->n, r->x + i * r->ldx, r->gain, &largest[i],
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
		step->store(shape, r->n, r->x + i * r->ldx, r->gain, inv[i], r->q + i * r->ldq);
	return _mm_and_ps(fits, a);
}

/* n_rows rows of a job and their scales. */
SIMD_INLINE void quantise_job_rows(const struct quantise_steps *step, enum quantise_shape shape,
	enum quantise_last last, size_t n_rows, const struct quantise_job *j)
{
	__m128 ss, a = quantise_few(step, shape, n_rows, &j->rows, last == SCALE ? NULL : &ss);
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

SIMD_INLINE void quantise_all(const struct quantise_steps *step, enum quantise_shape shape,
	enum quantise_last last, size_t m, struct quantise_job j)
{
	for (; m >= 4; m -= 4) {
		quantise_job_rows(step, shape, last, 4, &j);
		j.rows.x += 4 * j.rows.ldx;
		j.rows.q += 4 * j.rows.ldq;
		j.scale += 4 * j.ld_scale;
	}
	for (; m; m--) {
		quantise_job_rows(step, shape, last, 1, &j);
		j.rows.x += j.rows.ldx;
		j.rows.q += j.rows.ldq;
		j.scale += j.ld_scale;
	}
}

/* The reference student's row lengths as constants: a quarter faster (one EPYC) than loops of two
 * to eight steps. */
SIMD_INLINE void quantise_shaped(const struct quantise_steps *step, enum quantise_shape shape,
	enum quantise_last last, size_t m, struct quantise_job j)
{
	switch (j.rows.n) {
	case 32:
		j.rows.n = 32;
		quantise_all(step, shape, last, m, j);
		break;
	case 64:
		j.rows.n = 64;
		quantise_all(step, shape, last, m, j);
		break;
	case 128:
		j.rows.n = 128;
		quantise_all(step, shape, last, m, j);
		break;
	default:
		quantise_all(step, shape, last, m, j);
	}
}

#endif
