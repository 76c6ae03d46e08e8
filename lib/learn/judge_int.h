/* SPDX-License-Identifier: BSD-3-Clause */
/* How models hand in what they answered. Different users may be handed in by different threads. */
#ifndef WR_LEARN_JUDGE_INT_H
#define WR_LEARN_JUDGE_INT_H

#include "learn_int.h"

/* Lists of at most WR_JUDGE_TOP rows; a target that is in none has no rank. */
void wr_learn_judge_lists(struct wr_judge *j, uint32_t at, const uint32_t *filtered,
	uint32_t n_filtered, const uint32_t *unfiltered, uint32_t n_unfiltered);
/* Scores of all items; seen: bitmap of the history. */
void wr_learn_judge_scores(
	struct wr_judge *j, uint32_t at, const float *scores, const uint64_t *seen);

#endif
