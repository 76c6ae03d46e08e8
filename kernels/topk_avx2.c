/* SPDX-License-Identifier: BSD-3-Clause */
/* topk.h on AVX2: a mask of 16 comparisons is nearly always empty. */
#include "topk.h"

#include "simd256.h"

size_t wr_topk_above_avx2(const float *s, size_t n, float threshold, uint16_t *index)
{
	const __m256 t = _mm256_set1_ps(threshold);
	size_t found = 0, i = 0;
	for (; i + 16 <= n; i += 16) {
		__m256 low = _mm256_cmp_ps(_mm256_loadu_ps(s + i), t, _CMP_GT_OQ);
		__m256 high = _mm256_cmp_ps(_mm256_loadu_ps(s + i + 8), t, _CMP_GT_OQ);
		uint32_t above =
			(uint32_t)_mm256_movemask_ps(low) | (uint32_t)_mm256_movemask_ps(high) << 8;
		for (; above; above &= above - 1)
			index[found++] = (uint16_t)(i + (unsigned int)__builtin_ctz(above));
	}
	for (; i < n; i++)
		if (s[i] > threshold)
			index[found++] = (uint16_t)i;
	return found;
}

/* Bytes that bring the words of a set of four to the front; 0x80: zeros. */
#define W(i) 4 * (i), 4 * (i) + 1, 4 * (i) + 2, 4 * (i) + 3
#define NONE 0x80, 0x80, 0x80, 0x80
static const uint8_t to_front[16][16] __attribute__((aligned(16))) = {
	{NONE, NONE, NONE, NONE},
	{W(0), NONE, NONE, NONE},
	{W(1), NONE, NONE, NONE},
	{W(0), W(1), NONE, NONE},
	{W(2), NONE, NONE, NONE},
	{W(0), W(2), NONE, NONE},
	{W(1), W(2), NONE, NONE},
	{W(0), W(1), W(2), NONE},
	{W(3), NONE, NONE, NONE},
	{W(0), W(3), NONE, NONE},
	{W(1), W(3), NONE, NONE},
	{W(0), W(1), W(3), NONE},
	{W(2), W(3), NONE, NONE},
	{W(0), W(2), W(3), NONE},
	{W(1), W(2), W(3), NONE},
	{W(0), W(1), W(2), W(3)},
};

/* Bits 0, 16, 32 and 48 as bits 0 … 3: each moved to 48 + its number. */
SIMD_INLINE unsigned int every_16th(uint64_t bits)
{
	return (unsigned int)((bits & 0x0001000100010001u) * 0x0001000200040008u >> 48 & 15);
}

size_t wr_topk_items_avx2(
	const struct wr_topk_groups *g, size_t t, const uint16_t *group, size_t n, uint32_t *row)
{
	const __m128i items = _mm_setr_epi32(0, 16, 32, 48);
	const uint64_t *allowed = g->allowed;
	const size_t words = g->words, per = g->tiles_per_vector;
	size_t found = 0;
	for (size_t i = 0; i < n; i++) {
		size_t tile = group[i] / 16u * per + t, lane = group[i] % 16u;
		if (tile >= words)
			continue;
		unsigned int set = every_16th(allowed[tile] >> lane);
		__m128i rows = _mm_add_epi32(_mm_set1_epi32((int)(tile * 64 + lane)), items);
		rows = _mm_shuffle_epi8(
			rows, _mm_load_si128((const __m128i *)(const void *)to_front[set]));
		_mm_storeu_si128((__m128i *)(void *)(row + found), rows);
		found += (unsigned int)__builtin_popcount(set);
	}
	return found;
}

/* Lanes of 8 candidates from j on that come before one. */
SIMD_INLINE unsigned int before8(
	const float *score, const uint32_t *row, size_t j, size_t n, __m256 s, __m256i r)
{
	__m256 v = _mm256_loadu_ps(score + j);
	__m256i w = _mm256_loadu_si256((const __m256i *)(const void *)(row + j));
	/* rows are below 2^31: ids of items are below 2^30 on the wire */
	__m256 tie = _mm256_and_ps(
		_mm256_cmp_ps(v, s, _CMP_EQ_OQ), _mm256_castsi256_ps(_mm256_cmpgt_epi32(r, w)));
	unsigned int first = (unsigned int)_mm256_movemask_ps(
		_mm256_or_ps(_mm256_cmp_ps(v, s, _CMP_GT_OQ), tie));
	return n - j < 8 ? first & ((1u << (n - j)) - 1) : first;
}

void wr_topk_order_avx2(const float *score, const uint32_t *row, size_t n, uint8_t *place)
{
	for (size_t i = 0; i < n; i++) {
		const __m256 s = _mm256_set1_ps(score[i]);
		const __m256i r = _mm256_set1_epi32((int)row[i]);
		unsigned int count = 0;
		for (size_t j = 0; j < n; j += 8)
			count += (unsigned int)__builtin_popcount(before8(score, row, j, n, s, r));
		place[i] = (uint8_t)count;
	}
}
