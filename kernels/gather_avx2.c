/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * attention.h's kv_gather on AVX2, eight rows at a time: their 16-byte pieces change places in
 * registers, keys by words of four channels, values by bytes of four rows. Wider vectors gain
 * nothing: sixteen rows' addresses do not fit into the registers.
 */
#include "simd256.h"

#include "attention.h"

#define ROWS 8

/* Four vectors whose halves are pieces 0 … 3 and 4 … 7. */
struct pieces {
	__m256i a, b, c, d;
};

SIMD_INLINE __m256i load_two(const int8_t *low, const int8_t *high)
{
	return _mm256_inserti128_si256(
		_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)low)),
		_mm_loadu_si128((const __m128i *)(const void *)high), 1);
}

SIMD_INLINE struct pieces load_pieces(const int8_t *const row[ROWS], size_t at)
{
	return (struct pieces){load_two(row[0] + at, row[4] + at),
		load_two(row[1] + at, row[5] + at), load_two(row[2] + at, row[6] + at),
		load_two(row[3] + at, row[7] + at)};
}

SIMD_INLINE void store(void *out, __m256i v)
{
	_mm256_storeu_si256((__m256i *)out, v);
}

/* Word w of piece i to out + w·ld + i·4. */
SIMD_INLINE void words(int8_t *out, size_t ld, struct pieces p)
{
	__m256i ab = _mm256_unpacklo_epi32(p.a, p.b), cd = _mm256_unpacklo_epi32(p.c, p.d);
	store(out, _mm256_unpacklo_epi64(ab, cd));
	store(out + ld, _mm256_unpackhi_epi64(ab, cd));
	ab = _mm256_unpackhi_epi32(p.a, p.b), cd = _mm256_unpackhi_epi32(p.c, p.d);
	store(out + 2 * ld, _mm256_unpacklo_epi64(ab, cd));
	store(out + 3 * ld, _mm256_unpackhi_epi64(ab, cd));
}

/* 16 bytes of either four rows. */
SIMD_INLINE void store_two(int8_t *out, size_t ld, __m256i v)
{
	_mm_store_si128((__m128i *)(void *)out, _mm256_castsi256_si128(v));
	_mm_store_si128((__m128i *)(void *)(out + ld), _mm256_extracti128_si256(v, 1));
}

/* Byte c of piece i to out + (i/4)·ld + c·4 + i%4. */
SIMD_INLINE void bytes(int8_t *out, size_t ld, struct pieces p)
{
	__m256i ab = _mm256_unpacklo_epi8(p.a, p.b), cd = _mm256_unpacklo_epi8(p.c, p.d);
	store_two(out, ld, _mm256_unpacklo_epi16(ab, cd));
	store_two(out + 16, ld, _mm256_unpackhi_epi16(ab, cd));
	ab = _mm256_unpackhi_epi8(p.a, p.b), cd = _mm256_unpackhi_epi8(p.c, p.d);
	store_two(out + 32, ld, _mm256_unpacklo_epi16(ab, cd));
	store_two(out + 48, ld, _mm256_unpackhi_epi16(ab, cd));
}

/* Keys and values of slots `first` … first+7. */
SIMD_INLINE void gather_rows(uint8_t *panels, size_t slots, size_t first,
	const struct wr_kv_table *t, size_t n_heads, size_t head_dim, const uint32_t *rows)
{
	const size_t values = n_heads * head_dim;
	const int8_t *row[ROWS];
	for (size_t i = 0; i < ROWS; i++)
		row[i] = t->kv + rows[i] * 2 * values;
	for (size_t g = 0; g < n_heads; g++) {
		int8_t *panel = (int8_t *)panels + g * wr_kv_panel_bytes(slots, head_dim);
		int8_t *k = panel + first / 16 * 16 * head_dim + first % 16 * 4;
		int8_t *v = panel + (slots + first) * head_dim;
		for (size_t c = 0; c < head_dim; c += 16) {
			size_t at = g * head_dim + c;
			words(k + c * 16, 64, load_pieces(row, at));
			bytes(v + c * 4, 4 * head_dim, load_pieces(row, values + at));
		}
	}
}

/* Scales of the same slots: four of a row are a piece of words. */
SIMD_INLINE void gather_scales(uint8_t *panels, size_t slots, size_t first,
	const struct wr_kv_table *t, size_t n_heads, size_t head_dim, const uint32_t *rows)
{
	const size_t n = wr_kv_table_scales(n_heads);
	const int8_t *row[ROWS];
	for (size_t i = 0; i < ROWS; i++)
		row[i] = (const int8_t *)(t->scale + rows[i] * n);
	for (size_t s = 0; s < 2 * n_heads; s += 4) {
		float four[4][ROWS];
		words((int8_t *)four, sizeof(four[0]), load_pieces(row, s * sizeof(float)));
		for (size_t j = s; j < s + 4 && j < 2 * n_heads; j++) {
			struct wr_kv_panel p = wr_kv_panel_at(
				panels + j % n_heads * wr_kv_panel_bytes(slots, head_dim), slots,
				head_dim);
			float *to = j < n_heads ? p.k_scale : p.v_scale;
			memcpy(to + first, four[j - s], sizeof(four[0]));
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
