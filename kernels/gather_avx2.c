/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * attention.h's kv_gather on AVX2, four rows and 32 channels at a time: keys change places by words
 * of four channels, values by bytes of four rows, in both halves of a register alike. Wider vectors
 * gain nothing: they have one port for what moves bytes where these have two.
 */
#include "simd256.h"

#include "attention.h"

#define ROWS 4

/* 32 channels from `at` on, or 16 in the low halves. */
SIMD_INLINE void load_rows(const int8_t *const row[ROWS], size_t at, int both, __m256i v[ROWS])
{
#pragma GCC unroll 4
	for (size_t i = 0; i < ROWS; i++) {
		const __m128i *low = (const __m128i *)(const void *)(row[i] + at);
		v[i] = both ? _mm256_loadu_si256((const __m256i *)low)
			    : _mm256_castsi128_si256(_mm_loadu_si128(low));
	}
}

/* The low half to out, the high one, if there is any, `high` bytes on. */
SIMD_INLINE void store_halves(int8_t *out, size_t high, int both, __m256i v)
{
	_mm_store_si128((__m128i *)(void *)out, _mm256_castsi256_si128(v));
	if (both)
		_mm_store_si128((__m128i *)(void *)(out + high), _mm256_extracti128_si256(v, 1));
}

/* Word w of row i to out + w·64 + i·4, of the high halves 4·64 on. */
SIMD_INLINE void keys(int8_t *out, int both, const __m256i v[ROWS])
{
	__m256i ab = _mm256_unpacklo_epi32(v[0], v[1]), cd = _mm256_unpacklo_epi32(v[2], v[3]);
	store_halves(out, 256, both, _mm256_unpacklo_epi64(ab, cd));
	store_halves(out + 64, 256, both, _mm256_unpackhi_epi64(ab, cd));
	ab = _mm256_unpackhi_epi32(v[0], v[1]), cd = _mm256_unpackhi_epi32(v[2], v[3]);
	store_halves(out + 128, 256, both, _mm256_unpacklo_epi64(ab, cd));
	store_halves(out + 192, 256, both, _mm256_unpackhi_epi64(ab, cd));
}

/* Byte c of row i to out + c·4 + i, of the high halves 16·4 on. */
SIMD_INLINE void values(int8_t *out, int both, const __m256i v[ROWS])
{
	__m256i ab = _mm256_unpacklo_epi8(v[0], v[1]), cd = _mm256_unpacklo_epi8(v[2], v[3]);
	store_halves(out, 64, both, _mm256_unpacklo_epi16(ab, cd));
	store_halves(out + 16, 64, both, _mm256_unpackhi_epi16(ab, cd));
	ab = _mm256_unpackhi_epi8(v[0], v[1]), cd = _mm256_unpackhi_epi8(v[2], v[3]);
	store_halves(out + 32, 64, both, _mm256_unpacklo_epi16(ab, cd));
	store_halves(out + 48, 64, both, _mm256_unpackhi_epi16(ab, cd));
}

/* Keys and values of slots `first` … first+3. */
SIMD_INLINE void gather_rows(uint8_t *panels, size_t slots, size_t first,
	const struct wr_kv_table *t, size_t n_heads, size_t head_dim, const uint32_t *rows)
{
	const size_t width = n_heads * head_dim;
	const int8_t *row[ROWS];
	for (size_t i = 0; i < ROWS; i++)
		row[i] = t->kv + rows[i] * 2 * width;
	for (size_t g = 0; g < n_heads; g++) {
		int8_t *panel = (int8_t *)panels + g * wr_kv_panel_bytes(slots, head_dim);
		int8_t *k = panel + first / 16 * 16 * head_dim + first % 16 * 4;
		int8_t *v = panel + (slots + first) * head_dim;
		for (size_t c = 0; c < head_dim; c += 32) {
			const int both = c + 16 < head_dim;
			__m256i r[ROWS];
			load_rows(row, g * head_dim + c, both, r);
			keys(k + c * 16, both, r);
			load_rows(row, width + g * head_dim + c, both, r);
			values(v + c * 4, both, r);
		}
	}
}

/* Scales of the same slots, by fours of a row. */
SIMD_INLINE void gather_scales(uint8_t *panels, size_t slots, size_t first,
	const struct wr_kv_table *t, size_t n_heads, size_t head_dim, const uint32_t *rows)
{
	const size_t n = wr_kv_table_scales(n_heads);
	for (size_t s = 0; s < 2 * n_heads; s += 4) {
		__m128 four[ROWS];
#pragma GCC unroll 4
		for (size_t i = 0; i < ROWS; i++)
			four[i] = _mm_loadu_ps(t->scale + rows[i] * n + s);
		_MM_TRANSPOSE4_PS(four[0], four[1], four[2], four[3]);
#pragma GCC unroll 4
		for (size_t j = 0; j < 4; j++) {
			size_t head = (s + j) % n_heads;
			struct wr_kv_panel p =
				wr_kv_panel_at(panels + head * wr_kv_panel_bytes(slots, head_dim),
					slots, head_dim);
			if (s + j < 2 * n_heads)
				_mm_storeu_ps(
					(s + j < n_heads ? p.k_scale : p.v_scale) + first, four[j]);
		}
	}
}

SIMD_INLINE void gather(uint8_t *panels, size_t slots, const struct wr_kv_table *t, size_t n_heads,
	size_t head_dim, const uint32_t *rows, size_t n)
{
	for (size_t i = 0; i < n; i += ROWS) {
		gather_rows(panels, slots, i, t, n_heads, head_dim, rows + i);
		gather_scales(panels, slots, i, t, n_heads, head_dim, rows + i);
	}
}

/* The reference student's heads as constants, so that loops unroll. */
void wr_kv_gather_avx2(
	void *panels, size_t slots, const struct wr_kv_table *t, const uint32_t *rows, size_t n)
{
	if (t->n_heads == 2 && t->head_dim == 32)
		gather(panels, slots, t, 2, 32, rows, n);
	else
		gather(panels, slots, t, t->n_heads, t->head_dim, rows, n);
}
