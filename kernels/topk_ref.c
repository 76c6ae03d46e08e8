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
