/* SPDX-License-Identifier: BSD-3-Clause */
/* gemm_s8.h on AVX-512 VNNI: micro512.h's sums, dequantised as they leave the registers. */
#include "micro512.h"

#include <assert.h>

SIMD_INLINE void store16(__m512i acc, const float *scale, __m512 row_scale, float *y, bool add)
{
	__m512 v = _mm512_mul_ps(
		_mm512_mul_ps(_mm512_cvtepi32_ps(acc), _mm512_loadu_ps(scale)), row_scale);
	_mm512_storeu_ps(y, add ? _mm512_add_ps(_mm512_loadu_ps(y), v) : v);
}

SIMD_INLINE void row_store(size_t n_blocks, const struct row *acc, const float *scale,
	float row_scale, float *y, bool add)
{
	__m512 s = _mm512_set1_ps(row_scale);
	store16(acc->b0, scale, s, y, add);
	if (n_blocks > 1)
		store16(acc->b1, scale + 16, s, y + 16, add);
	if (n_blocks > 2)
		store16(acc->b2, scale + 32, s, y + 32, add);
	if (n_blocks > 3)
		store16(acc->b3, scale + 48, s, y + 48, add);
}

#define SHIFTED_BYTES 8192 /* of rows that are shifted together */

/* n_rows ≤ 4 rows times n_blocks ≤ 4 blocks; both are constants after inlining. */
SIMD_INLINE void micro(size_t n_rows, size_t n_blocks, const struct wr_gemm_weights *w,
	const uint8_t *a, size_t lda, const float *a_scale, float *y, size_t ldy, bool add)
{
	struct sums s = micro_sums(n_rows, n_blocks, w, a, lda);
	row_store(n_blocks, &s.r0, w->scale, a_scale[0], y, add);
	if (n_rows > 1)
		row_store(n_blocks, &s.r1, w->scale, a_scale[1], y + ldy, add);
	if (n_rows > 2)
		row_store(n_blocks, &s.r2, w->scale, a_scale[2], y + 2 * ldy, add);
	if (n_rows > 3)
		row_store(n_blocks, &s.r3, w->scale, a_scale[3], y + 3 * ldy, add);
}

/* All rows against n_blocks blocks. */
SIMD_INLINE void panel(size_t n_blocks, const struct wr_gemm_weights *w, size_t m, const uint8_t *a,
	size_t lda, const float *s, float *y, size_t ldy, bool add)
{
	size_t i = 0;
	for (; i + MICRO_ROWS <= m; i += MICRO_ROWS)
		micro(MICRO_ROWS, n_blocks, w, a + i * lda, lda, s + i, y + i * ldy, ldy, add);
	a += i * lda;
	y += i * ldy;
	switch (m - i) {
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

SIMD_INLINE void all_panels(const struct wr_gemm_weights *w, size_t m, const uint8_t *a, size_t lda,
	const float *a_scale, float *y, size_t ldy, bool add)
{
	uint32_t o = 0;
	for (; o + 16 * MICRO_BLOCKS <= w->n; o += 16 * MICRO_BLOCKS) {
		struct wr_gemm_weights part = wr_gemm_slice(w, o, 16 * MICRO_BLOCKS);
		panel(MICRO_BLOCKS, &part, m, a, lda, a_scale, y + o, ldy, add);
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
	uint8_t shifted[SHIFTED_BYTES] __attribute__((aligned(64)));
	static_assert(SHIFTED_BYTES / WR_GEMM_MAX_K >= MICRO_ROWS, "room for the rows of a step");
	const size_t k = w->k, most = SHIFTED_BYTES / k / MICRO_ROWS * MICRO_ROWS;
	for (size_t i = 0, n; i < m; i += n) {
		n = m - i < most ? m - i : most;
		micro_shift(n, k, a + i * lda, lda, shifted, k);
		if (add)
			all_panels(w, n, shifted, k, a_scale + i, y + i * ldy, ldy, true);
		else
			all_panels(w, n, shifted, k, a_scale + i, y + i * ldy, ldy, false);
	}
}

void wr_dequantise_avx512vnni(size_t m, size_t n, const int32_t *acc, size_t ld_acc,
	const float *scale, const float *a_scale, float *y, size_t ldy, bool add)
{
	for (size_t i = 0; i < m; i++) {
		__m512 row = _mm512_set1_ps(a_scale[i]);
		for (size_t o = 0; o < n; o += 16) {
			__m512 sum = _mm512_cvtepi32_ps(_mm512_loadu_si512(acc + i * ld_acc + o));
			__m512 v =
				_mm512_mul_ps(_mm512_mul_ps(sum, _mm512_loadu_ps(scale + o)), row);
			float *out = y + i * ldy + o;
			_mm512_storeu_ps(out, add ? _mm512_add_ps(_mm512_loadu_ps(out), v) : v);
		}
	}
}
