/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Expected answers (docs/architecture.md, "Lists") and the users of a dataset directory, as the
 * generator needs them. Read once before a run; a million ids each.
 */
#ifndef WR_LOAD_LISTS_H
#define WR_LOAD_LISTS_H

#include "wr_wire.h"

struct wr_lists_step {
	uint32_t first_event, n_events; /* into events; n_events = 1 in steps behind the first */
	uint32_t first_item, n_items;   /* into items */
	int64_t asked_ms;               /* when to ask, unix ms; 0 = the clock's time */
};
struct wr_lists_user {
	uint64_t user;
	uint32_t first_step, n_steps; /* the events of a user's steps lie one behind the other */
};
struct wr_lists {
	unsigned int k;
	bool filtered;
	char bundle[33]; /* hexadecimal; "" when the file does not say */
	struct wr_lists_user *users;
	struct wr_lists_step *steps;
	uint32_t *events, *items;
	int64_t *times; /* of events, unix ms: the file's, else wr_lists_time */
	size_t n_users, n_steps, n_events, n_items;
	bool timed; /* the file gives times */
};
/*
 * WR_ENOENT, WR_EIO, WR_ENOMEM, WR_EFORMAT (msg: file:line and what is wrong). On success the
 * caller owns *l (wr_lists_free, accepts NULL).
 */
int wr_lists_read(struct wr_lists **l, const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_lists_free(struct wr_lists *l);

/* Tokens of every user of DIR/interactions.tsv, by the token rule of docs/model.md; users in file
 * order. */
struct wr_tokens_user {
	uint64_t user;
	size_t first; /* into items */
	uint32_t n;
};
struct wr_tokens {
	struct wr_tokens_user *users;
	uint32_t *items;
	int64_t *times; /* of items, unix ms, 0 = unknown */
	bool timed;     /* any is known */
	size_t n_users, n_items;
};
int wr_tokens_read(struct wr_tokens **t, const char *dir, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_tokens_free(struct wr_tokens *t);

/* Time of event i of a user where a file gives none, unix ms. */
static inline int64_t wr_lists_time(uint32_t i)
{
	return 1600000000000 + 60000 * (int64_t)i;
}

#endif
