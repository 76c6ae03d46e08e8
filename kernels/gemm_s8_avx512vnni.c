/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gemm_s8.h on AVX-512 VNNI. dpbusd wants one unsigned operand: activations are shifted by 128 on
 * the fly (xor of the sign bit) and the sums start at -128·colsum, so the result is exact. 6 rows ×
 * 4 blocks of 16 outputs are kept in registers.
 */
#include "gemm_s8.h"

#include "simd512.h"

#define MAX_ROWS   6
#define MAX_BLOCKS 4

/* Named members, not arrays: arrays indexed by unrolled loops end up on the stack. */
struct row {
	__m512i b0, b1, b2, b3;
};
struct columns {
	__m512i b0, b1, b2, b3;
};

/* acc += row · columns for the first n_blocks blocks; four bytes of the row at a. */
SIMD_INLINE void row_step(
	size_t n_blocks, struct row *acc, const struct columns *w, const int8_t *a)
{
	__m512i v =
		_mm512_xor_si512(simd512_broadcast4(a), _mm512_set1_epi32((int32_t)0x80808080u));
	acc->b0 = _mm512_dpbusd_epi32(acc->b0, v, w->b0);
	if (n_blocks > 1)
		acc->b1 = _mm512_dpbusd_epi32(acc->b1, v, w->b1);
	if (n_blocks > 2)
		acc->b2 = _mm512_dpbusd_epi32(acc->b2, v, w->b2);
	if (n_blocks > 3)
		acc->b3 = _mm512_dpbusd_epi32(acc->b3, v, w->b3);
}

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

/* -128 · colsum of a block, where a sum starts. */
SIMD_INLINE __m512i start16(const int32_t *colsum)
{
	return _mm512_sub_epi32(
		_mm512_setzero_si512(), _mm512_slli_epi32(_mm512_loadu_si512(colsum), 7));
}

/* n_rows ≤ 6 rows times n_blocks ≤ 4 blocks; both are constants after inlining. */
SIMD_INLINE void micro(size_t n_rows, size_t n_blocks, const struct wr_gemm_weights *w,
	const int8_t *a, size_t lda, const float *a_scale, float *y, size_t ldy, bool add)
{
	const int8_t *p = w->packed;
	size_t k = w->k, block = 16 * k;
	struct row r0 = {.b0 = start16(w->colsum)};
	r0.b1 = n_blocks > 1 ? start16(w->colsum + 16) : r0.b0;
	r0.b2 = n_blocks > 2 ? start16(w->colsum + 32) : r0.b0;
	r0.b3 = n_blocks > 3 ? start16(w->colsum + 48) : r0.b0;
	struct row r1 = r0, r2 = r0, r3 = r0, r4 = r0, r5 = r0;
	size_t c = 0;
	do {
		struct columns v = {.b0 = _mm512_load_si512(p)};
		v.b1 = n_blocks > 1 ? _mm512_load_si512(p + block) : v.b0;
		v.b2 = n_blocks > 2 ? _mm512_load_si512(p + 2 * block) : v.b0;
		v.b3 = n_blocks > 3 ? _mm512_load_si512(p + 3 * block) : v.b0;
		row_step(n_blocks, &r0, &v, a + c);
		if (n_rows > 1)
			row_step(n_blocks, &r1, &v, a + lda + c);
		if (n_rows > 2)
			row_step(n_blocks, &r2, &v, a + 2 * lda + c);
		if (n_rows > 3)
			row_step(n_blocks, &r3, &v, a + 3 * lda + c);
		if (n_rows > 4)
			row_step(n_blocks, &r4, &v, a + 4 * lda + c);
		if (n_rows > 5)
			row_step(n_blocks, &r5, &v, a + 5 * lda + c);
		c += 4;
		p += 64;
	} while (c < k);
	row_store(n_blocks, &r0, w->scale, a_scale[0], y, add);
	if (n_rows > 1)
		row_store(n_blocks, &r1, w->scale, a_scale[1], y + ldy, add);
	if (n_rows > 2)
		row_store(n_blocks, &r2, w->scale, a_scale[2], y + 2 * ldy, add);
	if (n_rows > 3)
		row_store(n_blocks, &r3, w->scale, a_scale[3], y + 3 * ldy, add);
	if (n_rows > 4)
		row_store(n_blocks, &r4, w->scale, a_scale[4], y + 4 * ldy, add);
	if (n_rows > 5)
		row_store(n_blocks, &r5, w->scale, a_scale[5], y + 5 * ldy, add);
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
			__m512 v =
				_mm512_mul_ps(_mm512_mul_ps(sum, _mm512_loadu_ps(scale + o)), row);
			float *out = y + i * ldy + o;
			_mm512_storeu_ps(out, add ? _mm512_add_ps(_mm512_loadu_ps(out), v) : v);
		}
	}
}
