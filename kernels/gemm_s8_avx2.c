/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gemm_s8.h on AVX2: |a| as unsigned bytes times w with a's sign, exact because both stay in [-127,
 * 127]. Four rows × one block of 16 outputs are kept in registers.
 */
#include "gemm_s8.h"

#include "simd256.h"

#define MAX_ROWS 4

/* Named members, not arrays: arrays indexed by unrolled loops end up on the stack. */
struct row {
	__m256i low, high;
};

SIMD_INLINE void row_step(struct row *acc, __m256i w0, __m256i w1, const int8_t *a)
{
	__m256i v = simd256_broadcast4(a), size = _mm256_abs_epi8(v);
	acc->low = simd256_dot4(acc->low, size, _mm256_sign_epi8(w0, v));
	acc->high = simd256_dot4(acc->high, size, _mm256_sign_epi8(w1, v));
}

SIMD_INLINE void row_store(
	const struct row *acc, const float *scale, float row_scale, float *y, bool add)
{
	__m256 s = _mm256_set1_ps(row_scale);
	__m256 v0 = _mm256_mul_ps(_mm256_cvtepi32_ps(acc->low), _mm256_loadu_ps(scale));
	__m256 v1 = _mm256_mul_ps(_mm256_cvtepi32_ps(acc->high), _mm256_loadu_ps(scale + 8));
	v0 = _mm256_mul_ps(v0, s);
	v1 = _mm256_mul_ps(v1, s);
	_mm256_storeu_ps(y, add ? _mm256_add_ps(_mm256_loadu_ps(y), v0) : v0);
	_mm256_storeu_ps(y + 8, add ? _mm256_add_ps(_mm256_loadu_ps(y + 8), v1) : v1);
}

/* n_rows ≤ 4 (a constant after inlining) times one block of 16 outputs. */
SIMD_INLINE void micro(size_t n_rows, const struct wr_gemm_weights *w, const int8_t *a, size_t lda,
	const float *a_scale, float *y, size_t ldy, bool add)
{
	struct row r0 = {_mm256_setzero_si256(), _mm256_setzero_si256()};
	struct row r1 = r0, r2 = r0, r3 = r0;
	size_t c = 0;
	do {
		const __m256i *column = (const __m256i *)(const void *)(w->packed + c * 16);
		__m256i w0 = _mm256_load_si256(column), w1 = _mm256_load_si256(column + 1);
		row_step(&r0, w0, w1, a + c);
		if (n_rows > 1)
			row_step(&r1, w0, w1, a + lda + c);
		if (n_rows > 2)
			row_step(&r2, w0, w1, a + 2 * lda + c);
		if (n_rows > 3)
			row_step(&r3, w0, w1, a + 3 * lda + c);
		c += 4;
	} while (c < w->k);
	row_store(&r0, w->scale, a_scale[0], y, add);
	if (n_rows > 1)
		row_store(&r1, w->scale, a_scale[1], y + ldy, add);
	if (n_rows > 2)
		row_store(&r2, w->scale, a_scale[2], y + 2 * ldy, add);
	if (n_rows > 3)
		row_store(&r3, w->scale, a_scale[3], y + 3 * ldy, add);
}

SIMD_INLINE void block(const struct wr_gemm_weights *w, size_t m, const int8_t *a, size_t lda,
	const float *s, float *y, size_t ldy, bool add)
{
	size_t i = 0;
	for (; i + MAX_ROWS <= m; i += MAX_ROWS)
		micro(MAX_ROWS, w, a + i * lda, lda, s + i, y + i * ldy, ldy, add);
	a += i * lda;
	y += i * ldy;
	switch (m - i) {
	case 3:
		micro(3, w, a, lda, s + i, y, ldy, add);
		break;
	case 2:
		micro(2, w, a, lda, s + i, y, ldy, add);
		break;
	case 1:
		micro(1, w, a, lda, s + i, y, ldy, add);
		break;
	default:
		break;
	}
}

void wr_gemm_s8_avx2(const struct wr_gemm_weights *w, size_t m, const int8_t *a, size_t lda,
	const float *a_scale, float *y, size_t ldy, bool add)
{
	for (uint32_t o = 0; o < w->n; o += WR_GEMM_BLOCK) {
		struct wr_gemm_weights part = wr_gemm_slice(w, o, WR_GEMM_BLOCK);
		if (add)
			block(&part, m, a, lda, a_scale, y + o, ldy, true);
		else
			block(&part, m, a, lda, a_scale, y + o, ldy, false);
	}
}

void wr_dequantise_avx2(size_t m, size_t n, const int32_t *acc, size_t ld_acc, const float *scale,
	const float *a_scale, float *y, size_t ldy, bool add)
{
	for (size_t i = 0; i < m; i++) {
		__m256 row = _mm256_set1_ps(a_scale[i]);
		for (size_t o = 0; o < n; o += 8) {
			__m256 sum = _mm256_cvtepi32_ps(_mm256_loadu_si256(
				(const __m256i *)(const void *)(acc + i * ld_acc + o)));
			__m256 v =
				_mm256_mul_ps(_mm256_mul_ps(sum, _mm256_loadu_ps(scale + o)), row);
			float *out = y + i * ldy + o;
			_mm256_storeu_ps(out, add ? _mm256_add_ps(_mm256_loadu_ps(out), v) : v);
		}
	}
}

int32_t wr_dot_s8_avx2(const int8_t *a, const int8_t *b, size_t k)
{
	__m256i acc = _mm256_setzero_si256();
	for (size_t c = 0; c < k; c += 16) {
		__m256i x = _mm256_cvtepi8_epi16(
			_mm_loadu_si128((const __m128i *)(const void *)(a + c)));
		__m256i y = _mm256_cvtepi8_epi16(
			_mm_loadu_si128((const __m128i *)(const void *)(b + c)));
		acc = _mm256_add_epi32(acc, _mm256_madd_epi16(x, y));
	}
	__m128i s = _mm_add_epi32(_mm256_castsi256_si128(acc), _mm256_extracti128_si256(acc, 1));
	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
	return _mm_cvtsi128_si32(s);
}
