/* SPDX-License-Identifier: BSD-3-Clause */
/* Side data of a data set: categories of items and profiles of users. Read once, some 100 bytes a
 * line. */
#ifndef WR_LEARN_DATASET_INT_H
#define WR_LEARN_DATASET_INT_H

#include "text_file.h"
#include "wr_learn.h"

/* Rows one behind the other, values by order of first appearance. Zero but for names, which want
 * wr_learn_names_init. */
struct side_builder {
	struct names names;
	uint32_t *off, *value;
	size_t cap_off, cap_value, n_rows, n_value;
};
/* One more row with the values in text, | between them; empty ones are left out, one that comes
 * twice counts once. WR_ENOMEM. */
int wr_learn_side_add_all(
	struct side_builder *b, const char *text, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Hands the rows over, values in order of their names. Without any value, side stays empty. */
int wr_learn_side_finish(
	struct side_builder *b, struct wr_side *side, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_learn_side_discard(struct side_builder *b);
void wr_learn_side_free(struct wr_side *side);
/* DIR/users.tsv into ds->user_side; ds has its users. No file, or one of names alone: nobody is
 * known. WR_EFORMAT (file:line: reason). */
int wr_learn_users_load(
	struct wr_dataset *ds, const char *dir, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
