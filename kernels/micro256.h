/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inner product that the AVX2 sources share: up to 4 rows × 16 outputs, kept in registers: |a|
 * as unsigned bytes times w with a's sign, exact because both stay in [-127, 127]. Magnitudes are
 * made once a row, not once a step: vector instructions are what such a product waits for, loads
 * are not.
 */
#ifndef WR_MICRO256_H
#define WR_MICRO256_H

#include "gemm_s8.h"
#include "simd256.h"

#define MICRO_ROWS 4

/* Named members, not arrays: arrays indexed by unrolled loops end up on the stack. */
struct row {
	__m256i low, high;
};
struct sums {
	struct row r0, r1, r2, r3;
};

/* Magnitudes of n bytes, n a multiple of 16; no alignment. */
SIMD_INLINE void micro_magnitudes(const int8_t *a, size_t n, int8_t *size)
{
	for (size_t c = 0; c < n; c += 16)
		_mm_storeu_si128((__m128i *)(void *)(size + c),
			_mm_abs_epi8(_mm_loadu_si128((const __m128i *)(const void *)(a + c))));
}

/* acc += row · columns, four inputs of the row and their magnitudes. */
SIMD_INLINE void row_step(
	struct row *acc, __m256i w0, __m256i w1, const int8_t *a, const int8_t *size)
{
	__m256i v = simd256_broadcast4(a), s = simd256_broadcast4(size);
	acc->low = simd256_dot4(acc->low, s, _mm256_sign_epi8(w0, v));
	acc->high = simd256_dot4(acc->high, s, _mm256_sign_epi8(w1, v));
}

/* Sums of n_rows ≤ 4 rows a + i·lda, magnitudes at size + i·ld_size, times a packed block of 16
 * outputs; n_rows is a constant after inlining. */
SIMD_INLINE struct sums micro_sums(size_t n_rows, const int8_t *packed, size_t k, const int8_t *a,
	size_t lda, const int8_t *size, size_t ld_size)
{
	struct row r0 = {_mm256_setzero_si256(), _mm256_setzero_si256()};
	struct row r1 = r0, r2 = r0, r3 = r0;
	size_t c = 0;
	do {
		const __m256i *column = (const __m256i *)(const void *)(packed + c * 16);
		__m256i w0 = _mm256_load_si256(column), w1 = _mm256_load_si256(column + 1);
		row_step(&r0, w0, w1, a + c, size + c);
		if (n_rows > 1)
			row_step(&r1, w0, w1, a + lda + c, size + ld_size + c);
		if (n_rows > 2)
			row_step(&r2, w0, w1, a + 2 * lda + c, size + 2 * ld_size + c);
		if (n_rows > 3)
			row_step(&r3, w0, w1, a + 3 * lda + c, size + 3 * ld_size + c);
		c += 4;
	} while (c < k);
	return (struct sums){r0, r1, r2, r3};
}

#endif
