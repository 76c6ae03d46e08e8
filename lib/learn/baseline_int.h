/* SPDX-License-Identifier: BSD-3-Clause */
/* What the neighbour baselines share: the best k of some hundred scored rows, in order. */
#ifndef WR_BASELINE_INT_H
#define WR_BASELINE_INT_H

#include <stdbool.h>
#include <stdint.h>

static inline bool row_before(const double *score, uint32_t a, uint32_t b)
{
	return score[a] > score[b] || (score[a] == score[b] && a < b);
}

/* Puts row into top, the found best rows in order (score, then row), which holds at most k (at
 * least 1); returns how many it holds then. */
static inline uint32_t insert_best(
	const double *score, uint32_t *top, uint32_t found, uint32_t k, uint32_t row)
{
	if (found == k && !row_before(score, row, top[k - 1]))
		return found;
	uint32_t at = found < k ? found++ : k - 1;
	for (; at > 0 && row_before(score, row, top[at - 1]); at--)
		top[at] = top[at - 1];
	top[at] = row;
	return found;
}

#endif
