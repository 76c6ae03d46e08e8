/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inner product that the AVX-512 sources share: up to 4 rows × 4 blocks of 16 outputs, kept in
 * registers. dpbusd wants one unsigned operand: rows are shifted by 128 beforehand (xor of the sign
 * bit), once for all columns, and the sums begin with what takes that off again, so the result is
 * exact.
 */
#ifndef WR_MICRO512_H
#define WR_MICRO512_H

#include "gemm_s8.h"
#include "simd512.h"

#define MICRO_ROWS   4
#define MICRO_BLOCKS 4

/* Named members, not arrays: arrays indexed by unrolled loops end up on the stack. */
struct row {
	__m512i b0, b1, b2, b3;
};
struct sums {
	struct row r0, r1, r2, r3;
};

/* Row i of m rows a + i·lda of k bytes, shifted, to out + i·ldo. */
SIMD_INLINE void micro_shift(
	size_t m, size_t k, const int8_t *a, size_t lda, uint8_t *out, size_t ldo)
{
	const __m512i sign = _mm512_set1_epi8((char)0x80);
	for (size_t i = 0; i < m; i++) {
		size_t c = 0;
		for (; c + 64 <= k; c += 64)
			_mm512_storeu_si512(out + i * ldo + c,
				_mm512_xor_si512(_mm512_loadu_si512(a + i * lda + c), sign));
		for (; c < k; c += 16) {
			__m128i v =
				_mm_loadu_si128((const __m128i *)(const void *)(a + i * lda + c));
			_mm_storeu_si128((__m128i *)(void *)(out + i * ldo + c),
				_mm_xor_si128(v, _mm512_castsi512_si128(sign)));
		}
	}
}

/* acc += row · columns for the first n_blocks blocks; four bytes of the row at a. */
SIMD_INLINE void row_step(size_t n_blocks, struct row *acc, const struct row *w, const uint8_t *a)
{
	__m512i v = simd512_broadcast4(a);
	acc->b0 = _mm512_dpbusd_epi32(acc->b0, v, w->b0);
	if (n_blocks > 1)
		acc->b1 = _mm512_dpbusd_epi32(acc->b1, v, w->b1);
	if (n_blocks > 2)
		acc->b2 = _mm512_dpbusd_epi32(acc->b2, v, w->b2);
	if (n_blocks > 3)
		acc->b3 = _mm512_dpbusd_epi32(acc->b3, v, w->b3);
}

/* Sums of n_rows ≤ 4 shifted rows a + i·lda times the first n_blocks ≤ 4 blocks of w; both are
 * constants after inlining. */
SIMD_INLINE struct sums micro_sums(size_t n_rows, size_t n_blocks, const struct wr_gemm_weights *w,
	const uint8_t *a, size_t lda)
{
	const int8_t *p = w->packed;
	size_t k = w->k, block = 16 * k;
	struct row r0 = {.b0 = _mm512_loadu_si512(w->start)};
	r0.b1 = n_blocks > 1 ? _mm512_loadu_si512(w->start + 16) : r0.b0;
	r0.b2 = n_blocks > 2 ? _mm512_loadu_si512(w->start + 32) : r0.b0;
	r0.b3 = n_blocks > 3 ? _mm512_loadu_si512(w->start + 48) : r0.b0;
	struct row r1 = r0, r2 = r0, r3 = r0;
	size_t c = 0;
	do {
		struct row v = {.b0 = simd512_keep(_mm512_load_si512(p))};
		v.b1 = n_blocks > 1 ? simd512_keep(_mm512_load_si512(p + block)) : v.b0;
		v.b2 = n_blocks > 2 ? simd512_keep(_mm512_load_si512(p + 2 * block)) : v.b0;
		v.b3 = n_blocks > 3 ? simd512_keep(_mm512_load_si512(p + 3 * block)) : v.b0;
		row_step(n_blocks, &r0, &v, a + c);
		if (n_rows > 1)
			row_step(n_blocks, &r1, &v, a + lda + c);
		if (n_rows > 2)
			row_step(n_blocks, &r2, &v, a + 2 * lda + c);
		if (n_rows > 3)
			row_step(n_blocks, &r3, &v, a + 3 * lda + c);
		c += 4;
		p += 64;
	} while (c < k);
	return (struct sums){r0, r1, r2, r3};
}

#endif
