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
/* What is known of users beside the log: columns of users.tsv. */
enum { PROFILE_AGE, PROFILE_GENDER, PROFILE_OCCUPATION, N_PROFILE };
struct import_log {
	struct names users, items; /* of the log, in order of first appearance */
	struct import_event *event;
	size_t n_events, cap_events;
	char **title, **category; /* by item number, NULL = unknown; several with | between */
	size_t cap_title, cap_category;
	char **profile[N_PROFILE]; /* by user number, NULL = unknown */
	size_t cap_profile[N_PROFILE];
	bool profiled; /* some source told of users */
	bool timed;    /* events are to be ordered by time, not by place */
};

/* Adds one click. The texts are checked (UTF-8, length) and cleaned. */
int wr_learn_import_add(struct import_log *l, const struct text *t, char *user, char *item,
	int64_t time_ms, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Notes an item's texts; unknown items are left out. The strings are copied. category may be NULL.
 */
int wr_learn_import_describe(struct import_log *l, const char *item, const char *title,
	const char *category, struct wr_errmsg *msg) WR_MUST_CHECK;

/* Notes a user's profile, N_PROFILE strings ("" = unknown) that are copied; users that the log has
 * not are left out. */
int wr_learn_import_profile(struct import_log *l, const char *user, const char *const *value,
	struct wr_errmsg *msg) WR_MUST_CHECK;

int wr_learn_import_read_sasrec(
	struct import_log *l, const struct wr_import *in, struct wr_errmsg *msg) WR_MUST_CHECK;
int wr_learn_import_read_recbole(
	struct import_log *l, const struct wr_import *in, struct wr_errmsg *msg) WR_MUST_CHECK;
int wr_learn_import_read_movielens(
	struct import_log *l, const struct wr_import *in, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
