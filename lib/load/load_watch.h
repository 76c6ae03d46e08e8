/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Watched users: while a run loads the server, some users of a lists file are told their history,
 * asked, shown one click after another and forgotten again; every answer must be the very list that
 * the file says. One request in flight a user; a lost one is repeated, which changes nothing on the
 * server.
 */
#ifndef WR_LOAD_WATCH_H
#define WR_LOAD_WATCH_H

#include "load_core.h"

struct wr_watch_user {
	const struct wr_lists_user *user;
	uint64_t id, intended, sent_tsc; /* id 0 = nothing in flight */
	uint32_t step, at;               /* next step, history events sent so far */
	uint32_t epoch;                  /* of the table by which its request went */
	uint8_t phase, tries;
	bool astray, forgotten;
};

struct wr_watch {
	struct wr_load *l;
	const struct wr_lists *lists;
	struct wr_watch_user *users;
	unsigned int n;
	uint32_t *ready; /* ring of indices of users that may send */
	unsigned int ready_head, n_ready;
	size_t next_user;
	bool *taken; /* by user of lists: in progress somewhere */
	struct wr_load_watch_counts counts;
};

int wr_watch_init(struct wr_watch *w, struct wr_load *l, const struct wr_lists *lists,
	unsigned int n, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_watch_fini(struct wr_watch *w);
/*
 * Sends the next request of a user that has none in flight; false: there is none, or no room.
 * intended: TSC of the scheduled time; detour: 0, or queues further than the owner's.
 */
bool wr_watch_send(struct wr_watch *w, uint64_t intended, uint64_t now, unsigned int detour);
/* Takes an answer with a conversation's id. */
enum wr_watch_answer {
	WR_WATCH_UNKNOWN, /* not (any more) asked for */
	WR_WATCH_OK,
	WR_WATCH_WRONG,
};
struct wr_watch_sent { /* of the request that was answered */
	uint64_t intended;
	uint32_t epoch;
	bool astray;
};
enum wr_watch_answer wr_watch_take(struct wr_watch *w, const struct wr_message *m,
	struct wr_watch_sent *sent, enum wr_verdict *verdict);
/* Another server answers from now on, or one without its sessions: every life begins anew. */
void wr_watch_forgotten(struct wr_watch *w);
/* Makes those whose answer is overdue ready again. */
void wr_watch_retry(struct wr_watch *w, uint64_t now, uint64_t timeout);
/* Users with a request in flight. */
unsigned int wr_watch_in_flight(const struct wr_watch *w);

#endif
