/* SPDX-License-Identifier: BSD-3-Clause */
/* A run that can go on: weights, Adam's moments and the place in the schedule, in one safetensors
 * file. */
#ifndef WR_LEARN_CHECKPOINT_INT_H
#define WR_LEARN_CHECKPOINT_INT_H

#include "learn_int.h"
#include "safetensors_int.h"

#define STUDENT_MAX_TENSORS (6 + 10 * WR_BUNDLE_MAX_BLOCKS)

/* The student's tensors by name (docs/learning.md), pointing into w (an array laid out as s->w);
 * returns their number. */
unsigned int wr_learn_student_tensors(
	const struct wr_student *s, const float *w, const char *prefix, struct st_tensor *t);

/* Where a run stands. Epochs count from 0; step is the next one of the epoch. */
struct progress_state {
	uint64_t epoch, step, adam_step;
	double loss_sum, loss_weight; /* of the epoch so far */
	double soft_sum, hidden_sum, attention_sum;
	uint64_t category_key;       /* which categories, and of which items; 0 = none */
	uint64_t teacher_key, match; /* which teacher, and its blocks: 5 bits for each of ours */
	double best_ndcg10, best_hr10;
	uint64_t best_epoch; /* counted from 1, 0 = none yet */
};
/* o = NULL: weights only. Where s has categories, item.embedding is written whole, beside what it
 * is made of. */
int wr_learn_checkpoint_write(const char *path, const struct wr_student *s,
	const struct optimiser *o, const struct wr_fit *f, const struct progress_state *p,
	struct wr_errmsg *msg) WR_MUST_CHECK;
/*
 * The student's categories (and category_key) are for the caller to check and to set item_side by.
 * Fills f (all but epochs, threads, patience, max_seconds, resume, quiet), p, and a new student
 * with its optimiser (the caller frees both).
 */
int wr_learn_checkpoint_read(const char *path, struct wr_student **s, struct optimiser *o,
	struct wr_fit *f, struct progress_state *p, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
