/* SPDX-License-Identifier: BSD-3-Clause */
/* Float student → tensors of a bundle. */
#ifndef WR_LEARN_QUANTISE_STUDENT_H
#define WR_LEARN_QUANTISE_STUDENT_H

#include "wr_learn.h"

/* q[r][c] = rint(w[r][c] · gain[c] / scale[r]), scale[r] = max |row| / 127 (1 when the row is all
 * 0). gain NULL = 1. */
void wr_learn_quantise_rows(
	const float *w, const float *gain, uint32_t rows, uint32_t cols, int8_t *q, float *scale);
/* Adds model, items, blocks and final gain to w. */
int wr_learn_quantise_student(struct wr_bundle_builder *w, const struct wr_student *s,
	uint32_t bundle_version, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
