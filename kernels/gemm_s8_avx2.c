/* SPDX-License-Identifier: BSD-3-Clause */
/* gemm_s8.h on AVX2: four rows × one block of 16 outputs of micro256.h's product. */
#include "gemm_s8.h"

#include "micro256.h"

/* Magnitudes of so many bytes are made at once: some rows of any length. */
#define PANEL (8 * WR_GEMM_MAX_K)

struct product {
	const struct wr_gemm_weights *w;
	const int8_t *a, *size; /* rows, and their magnitudes k bytes apart */
	const float *a_scale;
	float *y;
	size_t m, lda, ldy;
	bool add;
};

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

/* Rows i … i+n_rows-1, n_rows ≤ 4 (a constant after inlining), times outputs o … o+15. */
SIMD_INLINE void micro(size_t n_rows, const struct product *p, size_t i, size_t o)
{
	const size_t k = p->w->k, ldy = p->ldy;
	struct sums s = micro_sums(
		n_rows, p->w->packed + o * k, k, p->a + i * p->lda, p->lda, p->size + i * k, k);
	const float *scale = p->w->scale + o, *by = p->a_scale + i;
	float *y = p->y + i * ldy + o;
	row_store(&s.r0, scale, by[0], y, p->add);
	if (n_rows > 1)
		row_store(&s.r1, scale, by[1], y + ldy, p->add);
	if (n_rows > 2)
		row_store(&s.r2, scale, by[2], y + 2 * ldy, p->add);
	if (n_rows > 3)
		row_store(&s.r3, scale, by[3], y + 3 * ldy, p->add);
}

SIMD_INLINE void block(const struct product *p, size_t o)
{
	size_t i = 0;
	for (; i + MICRO_ROWS <= p->m; i += MICRO_ROWS)
		micro(MICRO_ROWS, p, i, o);
	switch (p->m - i) {
	case 3:
		micro(3, p, i, o);
		break;
	case 2:
		micro(2, p, i, o);
		break;
	case 1:
		micro(1, p, i, o);
		break;
	default:
		break;
	}
}

void wr_gemm_s8_avx2(const struct wr_gemm_weights *w, size_t m, const int8_t *a, size_t lda,
	const float *a_scale, float *y, size_t ldy, bool add)
{
	int8_t size[PANEL];
	const size_t most = PANEL / w->k;
	for (size_t i = 0; i < m; i += most) {
		const size_t n = m - i < most ? m - i : most;
		const struct product p = {
			w, a + i * lda, size, a_scale + i, y + i * ldy, n, lda, ldy, add};
		for (size_t r = 0; r < n; r++)
			micro_magnitudes(p.a + r * lda, w->k, size + r * w->k);
		for (size_t o = 0; o < w->n; o += WR_GEMM_BLOCK)
			block(&p, o);
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
