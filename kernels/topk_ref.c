/* SPDX-License-Identifier: BSD-3-Clause */
/* The specification of topk.h. */
#include "topk.h"

size_t wr_topk_above_ref(const float *s, size_t n, float threshold, uint16_t *index)
{
	size_t found = 0;
	for (size_t i = 0; i < n; i++)
		if (s[i] > threshold)
			index[found++] = (uint16_t)i;
	return found;
}

size_t wr_topk_items_ref(
	const struct wr_topk_groups *g, size_t t, const uint16_t *group, size_t n, uint32_t *row)
{
	size_t found = 0;
	for (size_t i = 0; i < n; i++) {
		size_t tile = group[i] / 16 * g->tiles_per_vector + t;
		for (size_t item = group[i] % 16; item < 64 && tile < g->words; item += 16)
			if (g->allowed[tile] >> item & 1)
				row[found++] = (uint32_t)(tile * 64 + item);
	}
	return found;
}

void wr_topk_order_ref(const float *score, const uint32_t *row, size_t n, uint8_t *place)
{
	for (size_t i = 0; i < n; i++) {
		unsigned int before = 0;
		for (size_t j = 0; j < n; j++)
			before += score[j] > score[i] || (score[j] == score[i] && row[j] < row[i]);
		place[i] = (uint8_t)before;
	}
}
