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

void wr_topk_order_ref(const float *score, const uint32_t *row, size_t n, uint8_t *place)
{
	for (size_t i = 0; i < n; i++) {
		unsigned int before = 0;
		for (size_t j = 0; j < n; j++)
			before += score[j] > score[i] || (score[j] == score[i] && row[j] < row[i]);
		place[i] = (uint8_t)before;
	}
}
