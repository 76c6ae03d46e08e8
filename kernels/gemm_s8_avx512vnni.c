/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gemm_s8.h on AVX-512 VNNI. dpbusd wants one unsigned operand: activations are shifted by 128 on the fly (xor of the sign
 * bit) and the sums start at -128·colsum, so the result is exact. 6 rows × 4 blocks of 16 outputs are kept in registers.
 */
#include "gemm_s8.h"

#include "simd512.h"

#define MAX_ROWS   6
#define MAX_BLOCKS 4

/* R rows times B blocks; R and B are constants after inlining. */
SIMD_INLINE void micro(size_t n_rows, size_t n_blocks, const struct wr_gemm_weights *w,
	const int8_t *a, size_t lda, const float *a_scale, float *y, size_t ldy, bool add)
{
	const __m512i sign = _mm512_set1_epi32((int32_t)0x80808080u);
	__m512i acc[MAX_ROWS][MAX_BLOCKS];
	size_t k = w->k;
#pragma GCC unroll 4
	for (size_t j = 0; j < n_blocks; j++) {
		__m512i start = _mm512_sub_epi32(_mm512_setzero_si512(),
			_mm512_slli_epi32(_mm512_loadu_si512(w->colsum + j * 16), 7));
#pragma GCC unroll 6
		for (size_t i = 0; i < n_rows; i++)
			acc[i][j] = start;
	}
	for (size_t c = 0; c < k; c += 4) {
		__m512i column[MAX_BLOCKS];
#pragma GCC unroll 4
		for (size_t j = 0; j < n_blocks; j++)
			column[j] = _mm512_load_si512(w->packed + j * 16 * k + c * 16);
#pragma GCC unroll 6
		for (size_t i = 0; i < n_rows; i++) {
			__m512i row = _mm512_xor_si512(simd512_broadcast4(a + i * lda + c), sign);
#pragma GCC unroll 4
			for (size_t j = 0; j < n_blocks; j++)
				acc[i][j] = _mm512_dpbusd_epi32(acc[i][j], row, column[j]);
		}
	}
#pragma GCC unroll 4
	for (size_t j = 0; j < n_blocks; j++) {
		__m512 scale = _mm512_loadu_ps(w->scale + j * 16);
#pragma GCC unroll 6
		for (size_t i = 0; i < n_rows; i++) {
			__m512 v = _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(acc[i][j]), scale),
				_mm512_set1_ps(a_scale[i]));
			float *out = y + i * ldy + j * 16;
			_mm512_storeu_ps(out, add ? _mm512_add_ps(_mm512_loadu_ps(out), v) : v);
		}
	}
}

/* All rows against n_blocks blocks. */
SIMD_INLINE void panel(size_t n_blocks, const struct wr_gemm_weights *w, size_t m, const int8_t *a,
	size_t lda, const float *s, float *y, size_t ldy, bool add)
{
	size_t i = 0;
	for (; i + MAX_ROWS <= m; i += MAX_ROWS)
		micro(MAX_ROWS, n_blocks, w, a + i * lda, lda, s + i, y + i * ldy, ldy, add);
	a += i * lda;
	y += i * ldy;
	switch (m - i) {
	case 5:
		micro(5, n_blocks, w, a, lda, s + i, y, ldy, add);
		break;
	case 4:
		micro(4, n_blocks, w, a, lda, s + i, y, ldy, add);
		break;
	case 3:
		micro(3, n_blocks, w, a, lda, s + i, y, ldy, add);
		break;
	case 2:
		micro(2, n_blocks, w, a, lda, s + i, y, ldy, add);
		break;
	case 1:
		micro(1, n_blocks, w, a, lda, s + i, y, ldy, add);
		break;
	default:
		break;
	}
}

SIMD_INLINE void all_panels(const struct wr_gemm_weights *w, size_t m, const int8_t *a, size_t lda,
	const float *a_scale, float *y, size_t ldy, bool add)
{
	uint32_t o = 0;
	for (; o + 16 * MAX_BLOCKS <= w->n; o += 16 * MAX_BLOCKS) {
		struct wr_gemm_weights part = wr_gemm_slice(w, o, 16 * MAX_BLOCKS);
		panel(MAX_BLOCKS, &part, m, a, lda, a_scale, y + o, ldy, add);
	}
	for (; o + 32 <= w->n; o += 32) {
		struct wr_gemm_weights part = wr_gemm_slice(w, o, 32);
		panel(2, &part, m, a, lda, a_scale, y + o, ldy, add);
	}
	for (; o < w->n; o += 16) {
		struct wr_gemm_weights part = wr_gemm_slice(w, o, 16);
		panel(1, &part, m, a, lda, a_scale, y + o, ldy, add);
	}
}

void wr_gemm_s8_avx512vnni(const struct wr_gemm_weights *w, size_t m, const int8_t *a, size_t lda,
	const float *a_scale, float *y, size_t ldy, bool add)
{
	if (add)
		all_panels(w, m, a, lda, a_scale, y, ldy, true);
	else
		all_panels(w, m, a, lda, a_scale, y, ldy, false);
}

void wr_dequantise_avx512vnni(size_t m, size_t n, const int32_t *acc, size_t ld_acc,
	const float *scale, const float *a_scale, float *y, size_t ldy, bool add)
{
	for (size_t i = 0; i < m; i++) {
		__m512 row = _mm512_set1_ps(a_scale[i]);
		for (size_t o = 0; o < n; o += 16) {
			__m512 sum = _mm512_cvtepi32_ps(_mm512_loadu_si512(acc + i * ld_acc + o));
			__m512 v = _mm512_mul_ps(_mm512_mul_ps(sum, _mm512_loadu_ps(scale + o)), row);
			float *out = y + i * ldy + o;
			_mm512_storeu_ps(out, add ? _mm512_add_ps(_mm512_loadu_ps(out), v) : v);
		}
	}
}
