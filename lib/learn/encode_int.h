/* SPDX-License-Identifier: BSD-3-Clause */
/* User vectors before logged slates. */
#ifndef WR_LEARN_ENCODE_INT_H
#define WR_LEARN_ENCODE_INT_H

#include "learn_int.h"
#include "wr_policy.h"

/* u[n_slates][d]: unit user vectors of the history before each slate, zeros for empty ones.
 * WR_EINVAL (other items), WR_ENOMEM. */
int wr_learn_encode_slates(const struct wr_student *s, const struct wr_dataset *ds,
	const struct wr_impressions *x, uint32_t threads, float *u,
	struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
