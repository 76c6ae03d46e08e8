/* SPDX-License-Identifier: BSD-3-Clause */
/* Principal directions. */
#ifndef WR_LEARN_EIGEN_INT_H
#define WR_LEARN_EIGEN_INT_H

#include "wr_base.h"

/* Of the symmetric a [n][n], which is destroyed: value [n], falling, and row i of v [n][n] the unit
 * vector that belongs to it. WR_ENOMEM. */
int wr_learn_eigen(
	double *a, uint32_t n, double *value, double *v, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
