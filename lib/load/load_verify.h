/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is this the answer that was asked for? Everything a client can know: id, user, operation, K,
 * order, no item twice, none that was excluded or just reported, and, where lists are known, the
 * very list.
 */
#ifndef WR_LOAD_VERIFY_H
#define WR_LOAD_VERIFY_H

#include "wr_wire.h"

enum wr_verdict {
	WR_VERDICT_OK,
	WR_VERDICT_USER,     /* another user's answer */
	WR_VERDICT_OP,       /* another operation's answer */
	WR_VERDICT_COUNT,    /* more items than K, or fewer without the flag "shortened" */
	WR_VERDICT_ITEM,     /* an id outside the catalogue */
	WR_VERDICT_ORDER,    /* scores not descending, or equal scores not by id, or not a number */
	WR_VERDICT_TWICE,    /* an item twice in one answer */
	WR_VERDICT_EXCLUDED, /* an item that the request excluded */
	WR_VERDICT_SEEN,     /* an item that the user has just reported */
	WR_VERDICT_FORGOTTEN, /* "nothing known of the user" although clicks were acknowledged */
	WR_VERDICT_LIST,      /* not the expected list */
	WR_VERDICT_N,
};
const char *wr_verdict_name(enum wr_verdict v);

struct wr_expect {
	uint64_t user;
	uint8_t op, k;
	uint32_t n_items;        /* size of the catalogue; 0 = unknown */
	const uint32_t *exclude; /* ids */
	const uint32_t
		*seen; /* ids that may not come back; NULL when the request includes seen ones */
	unsigned int n_exclude, n_seen;
};

/* m: a decoded answer with status OK. HELLO, EVENT and FORGET answers may carry no items. */
enum wr_verdict wr_verify_answer(const struct wr_expect *e, const struct wr_message *m);
/* The items of m against the expected list of n ids; a shortened answer is compared as far as it
 * goes. */
enum wr_verdict wr_verify_list(const uint32_t *list, unsigned int n, const struct wr_message *m);

#endif
