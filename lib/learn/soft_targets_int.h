/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A teacher's answers, made once and mapped: for every token of a data set the `top` most probable
 * next items and their probabilities at a temperature. Host byte order; a cache beside a run, not
 * an exchange format. Some 250 MB for a million tokens and 64 items.
 */
#ifndef WR_LEARN_SOFT_TARGETS_INT_H
#define WR_LEARN_SOFT_TARGETS_INT_H

#include "learn_int.h"

#define SOFT_MAX_TOP 256
/* Probabilities are kept as -ln p in steps of 24/65535: 4e-4 relative error, down to 4e-11. */
#define SOFT_STEP (24.0f / 65535.0f)

struct soft_targets {
	void *map;
	size_t bytes;
	uint32_t top, wide; /* wide: ids are u32, else u16 */
	double temperature;
	uint64_t n_tokens;
	const void *ids;            /* [n_tokens][top] item rows */
	const uint16_t *surprisals; /* [n_tokens][top]; in the order of probability */
};
/*
 * Maps path and checks that it was made from ds. WR_ENOENT, WR_EIO, WR_EFORMAT; WR_EINVAL when it
 * is of another data set.
 */
int wr_learn_soft_targets_open(struct soft_targets *x, const char *path,
	const struct wr_dataset *ds, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_learn_soft_targets_close(struct soft_targets *x);

/* Makes path with its header and maps it for writing; the caller closes it, and renames or unlinks
 * path. WR_EIO when there is no room. */
int wr_learn_soft_targets_create(struct soft_targets *x, const char *path,
	const struct wr_dataset *ds, uint32_t top, double temperature,
	struct wr_errmsg *msg) WR_MUST_CHECK;

static inline uint32_t wr_learn_soft_row(const struct soft_targets *x, uint64_t token, uint32_t k)
{
	uint64_t at = token * x->top + k;
	return x->wide ? ((const uint32_t *)x->ids)[at] : ((const uint16_t *)x->ids)[at];
}

#endif
