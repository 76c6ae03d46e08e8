/* SPDX-License-Identifier: BSD-3-Clause */
/* Parts of pruning that have a file of their own. */
#ifndef WR_LEARN_PRUNE_INT_H
#define WR_LEARN_PRUNE_INT_H

#include "wr_compact.h"

/* A new student of width d, less than s's, on the principal directions of s's residual stream over
 * some users' training clicks (0 = 512). */
int wr_learn_slice_width(const struct wr_student *s, uint32_t d, const struct wr_dataset *ds,
	uint32_t users, struct wr_student **out, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
