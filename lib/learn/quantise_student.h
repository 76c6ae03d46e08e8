/* SPDX-License-Identifier: BSD-3-Clause */
/* Float student → tensors of a bundle. */
#ifndef WR_LEARN_QUANTISE_STUDENT_H
#define WR_LEARN_QUANTISE_STUDENT_H

#include "wr_learn.h"

/* q[r][c] = rint(w[r][c] · gain[c] / scale[r]), scale[r] = max |row| / 127 (1 when the row is all
 * 0). gain NULL = 1. */
void wr_learn_quantise_rows(
	const float *w, const float *gain, uint32_t rows, uint32_t cols, int8_t *q, float *scale);
/* low[r][c] = rint(254 · (w[r][c] · gain[c] / scale[r] - q[r][c])), in [-127, 127]: the second
 * plane of what wr_learn_quantise_rows made. */
void wr_learn_quantise_low(const float *w, const float *gain, uint32_t rows, uint32_t cols,
	const int8_t *q, const float *scale, int8_t *low);
/* Sums of squares of the inputs of each block's products, by channel. */
struct moments {
	float *qkv[WR_BUNDLE_MAX_BLOCKS], *out[WR_BUNDLE_MAX_BLOCKS], *up[WR_BUNDLE_MAX_BLOCKS],
		*down[WR_BUNDLE_MAX_BLOCKS];
};
/* On training clicks of some 512 users; the caller's (wr_learn_moments_free). Errors of
 * wr_learn_fake_new. */
int wr_learn_moments_measure(struct moments *m, const struct wr_student *s,
	const struct wr_dataset *ds, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_learn_moments_free(struct moments *m);
/* As wr_learn_quantise_rows with the scale, of some down to 0.7 of it, that loses least of
 * Σ moment[c] (w - q·scale)² of each row. cols ≤ 8192. */
void wr_learn_quantise_calibrated(const float *w, const float *gain, const float *moment,
	uint32_t rows, uint32_t cols, int8_t *q, float *scale);
/* What a bundle is made with; all 0 = plain. */
struct quantising {
	const struct moments *moments; /* NULL: scales by the largest weight, as always of kept
					  projections */
	uint16_t kept[WR_BUNDLE_PROJECTIONS];
	uint32_t bundle_version;
};
/* Adds model, items, blocks and final gain to w. */
int wr_learn_quantise_student(struct wr_bundle_builder *w, const struct wr_student *s,
	const struct quantising *how, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
