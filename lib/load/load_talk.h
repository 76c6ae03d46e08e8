/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Conversations in a closed loop: each has at most one request in flight, so that a server sees a
 * user's requests in order; a lost request is sent again with the same id. For work that must lose
 * nothing: HELLO, populate, eval.
 */
#ifndef WR_LOAD_TALK_H
#define WR_LOAD_TALK_H

#include "load_core.h"

struct wr_talk_ops {
	/*
	 * Writes conversation i's current request, with this id, into w (wr_writer_init included)
	 * and its user. Called again for a repetition: it must write the same message then. False:
	 * this conversation is over.
	 */
	bool (*render)(void *ctx, unsigned int i, uint64_t id, struct wr_writer *w, uint64_t *user);
	/* Its answer, status not BUSY: moves on to the next request. */
	void (*answer)(void *ctx, unsigned int i, const struct wr_message *m, uint64_t latency_ns);
	/* Nobody answered max_tries times: moves on, too. */
	void (*fail)(void *ctx, unsigned int i);
};

struct wr_talk {
	uint64_t id, user, sent_tsc; /* id 0 = idle */
	uint8_t tries;
	bool over;
};

struct wr_talks {
	const struct wr_talk_ops *ops;
	void *ctx;
	unsigned int n; /* at most 65,536 */
	double timeout_s;
	unsigned int max_tries;
	bool hello;     /* to the port that every table has, over queue 0 */
	double seconds; /* stop after this long; 0 = when all conversations are over */
	/* Called about every 50 ms (NULL = nobody). */
	void (*tick)(void *ctx);
	/* results */
	uint64_t requests, answered, retried, failed, unknown, busy;
	double busy_share, cpu_share;
	/* private */
	struct wr_load *l;
	struct wr_talk *talk;
	unsigned int n_open, n_flight;
};
/*
 * Runs all conversations to their end. WR_EINTR after a signal; WR_EAGAIN when the link went down
 * or nobody answers at all any more.
 */
int wr_talks_run(struct wr_load *l, struct wr_talks *t, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
