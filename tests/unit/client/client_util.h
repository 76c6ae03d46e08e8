/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of libwirerank share: two responders, a client of them, a tally of callbacks. */
#ifndef CLIENT_UTIL_H
#define CLIENT_UTIL_H

#include "responder.h"

struct tally {
	unsigned int n, n_ok, n_refused, n_gave_up, n_interrupted, n_items, n_tries, server;
	enum wr_status status;
};

static inline void done(void *arg, const struct wr_client_answer *a)
{
	struct tally *t = arg;
	t->n++;
	t->n_ok += a->result == WR_OK;
	t->n_refused += a->result == WR_EPERM;
	t->n_gave_up += a->result == WR_EAGAIN;
	t->n_interrupted += a->result == WR_EINTR;
	t->n_tries = a->n_tries;
	t->status = a->status;
	t->server = a->server;
	t->n_items = a->message ? a->message->n_items : 0;
}

static struct responder one, two;
static struct responder *const both[] = {&one, &two};
static struct responder *only[] = {&one};

/* Patient by default: a busy machine must not look like loss. */
static inline struct wr_client *client(const struct wr_client_options *o, unsigned int n_servers)
{
	struct wr_errmsg msg = {""};
	struct wr_client_options patient = {.timeout_ms = 1000};
	struct wr_client *c = wr_client_new(o ? o : &patient, &msg);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	for (unsigned int i = 0; i < n_servers; i++) {
		CU_ASSERT_FATAL(responder_open(both[i], AF_INET));
		int server = wr_client_add_server(c, "127.0.0.1", both[i]->port[0], i, &msg);
		CU_ASSERT_EQUAL_FATAL(server, (int)i);
	}
	return c;
}

/* Every datagram in one counter, every request in one end. */
static inline void check_sums(const struct wr_client *c)
{
	const struct wr_client_stats *s = wr_client_stats(c);
	CU_ASSERT_EQUAL(s->n_received, s->n_ended + s->n_hello_answers + s->n_again + s->n_bad +
					       s->n_unknown + s->n_wrong_source + s->n_mismatch);
	CU_ASSERT_EQUAL(s->n_submitted, s->n_ok + s->n_refused + s->n_gave_up + s->n_interrupted +
						wr_client_outstanding(c));
	CU_ASSERT_EQUAL(s->latency_ns.count, s->n_ok + s->n_refused);
}

static inline void greet(struct wr_client *c, struct responder **r, unsigned int n)
{
	struct wr_client_server v = {0};
	for (unsigned int i = 0; i < n; i++)
		for (int turn = 0; turn < 2000 && !v.greeted; turn++) {
			pump_for(c, r, n, 1);
			CU_ASSERT_EQUAL_FATAL(wr_client_server(c, i, &v), WR_OK);
		}
	CU_ASSERT_TRUE_FATAL(v.greeted);
}

static inline int ask(struct wr_client *c, uint64_t user, uint8_t k, struct tally *t)
{
	struct wr_client_request r = {.user_id = user, .k = k, .done = done, .arg = t};
	return wr_client_recommend(c, &r);
}

#endif
