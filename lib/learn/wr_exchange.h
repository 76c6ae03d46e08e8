/* SPDX-License-Identifier: BSD-3-Clause */
/* Models from other tools, and ours for other tools; docs/learning.md, "Exchange". */
#ifndef WR_EXCHANGE_H
#define WR_EXCHANGE_H

#include "wr_learn.h"

struct wr_import_model {
	const char *path;    /* safetensors with the names of docs/learning.md */
	const char *run_dir; /* gets best.safetensors and settings.json; made when missing */
	const char *command; /* for settings.json; NULL = unknown */
};
/*
 * Turns a PyTorch model of the served student's kind into a run. *s is the caller's on success.
 * WR_ENOENT, WR_EIO, WR_EFORMAT (names the tensor: missing, of another shape, not finite, without a
 * place), WR_EINVAL (other items than ds), WR_ENOMEM.
 */
int wr_import_model(const struct wr_import_model *in, const struct wr_dataset *ds,
	struct wr_student **s, struct wr_errmsg *msg) WR_MUST_CHECK;

/*
 * Writes the float logits of all items behind the histories of the first max_users users (0 = all)
 * of the split as safetensors: `users` [n][d] (unit vectors), `logits` [n][n_items]. All or
 * nothing.
 */
int wr_logits_write(const struct wr_student *s, const struct wr_dataset *ds, enum wr_split split,
	uint32_t max_users, uint32_t threads, const char *path,
	struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
