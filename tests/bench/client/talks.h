/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Users of a lists file (docs/architecture.md, "Lists") who are led through their steps side by
 * side, and every list compared to the item. A user is forgotten first, then reports its newest
 * click; the server asks for the history, the callback tells it, the list is asked for again.
 * Longer pasts than a history holds go ahead as numbered EVENTs. What fails, or finds the user
 * forgotten (a restart, another server), is told and asked again.
 */
#ifndef BENCH_TALKS_H
#define BENCH_TALKS_H

#include "bench.h"

struct talks;
/* At most n_talks users at a time. endless: begin again, with other user ids. */
int talks_open(struct talks **t, const char *lists, uint64_t n_talks, bool endless,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void talks_close(struct talks *t);
/* The hexadecimal id of the bundle that made the lists, "" = not said; the items of each. */
const char *talks_bundle(const struct talks *t);
unsigned int talks_k(const struct talks *t);
/* The next request of a user who waits for none: its operation and number; r points into t until
 * the next call. False: nobody is ready. The caller submits it. */
bool talks_next(struct talks *t, struct wr_client_request *r, uint8_t *op, uint32_t *talk);
/* How it ended. */
void talks_answer(
	struct talks *t, uint32_t talk, const struct wr_client_answer *a, struct bench_result *r);
/* For wr_client_options.history, arg = t. */
wr_client_history_get talks_history;
/* From now on only what failed is asked again. */
void talks_finish(struct talks *t);
bool talks_ready(const struct talks *t);
/* Every user of the file was led to the end (never when endless). */
bool talks_done(const struct talks *t);
/* Users whose last request has not been answered. */
uint64_t talks_unanswered(const struct talks *t);

#endif
