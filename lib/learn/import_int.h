/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the readers of outside formats and the writer of dataset directories. */
#ifndef WR_LEARN_IMPORT_INT_H
#define WR_LEARN_IMPORT_INT_H

#include "text_file.h"
#include "wr_learn.h"

struct import_event {
	uint32_t user, item; /* numbers in users and items */
	uint32_t order;      /* of appearance, keeps equal times apart */
	int64_t time_ms;     /* 0 = unknown */
};
struct import_log {
	struct names users, items; /* of the log, in order of first appearance */
	struct import_event *event;
	size_t n_events, cap_events;
	char **title, **category; /* by item number, NULL = unknown */
	size_t cap_title, cap_category;
	bool timed; /* events are to be ordered by time, not by place */
};

/* Adds one click. The texts are checked (UTF-8, length) and cleaned. */
int wr_learn_import_add(struct import_log *l, const struct text *t, char *user, char *item,
	int64_t time_ms, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Notes an item's texts; unknown items are left out. The strings are copied. category may be NULL.
 */
int wr_learn_import_describe(struct import_log *l, const char *item, const char *title,
	const char *category, struct wr_errmsg *msg) WR_MUST_CHECK;

int wr_learn_import_read_sasrec(
	struct import_log *l, const struct wr_import *in, struct wr_errmsg *msg) WR_MUST_CHECK;
int wr_learn_import_read_recbole(
	struct import_log *l, const struct wr_import *in, struct wr_errmsg *msg) WR_MUST_CHECK;
int wr_learn_import_read_movielens(
	struct import_log *l, const struct wr_import *in, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
