/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two workers: random requests of many users, many at a time, to right and wrong queues; every list
 * against the reference level, whoever received it. Then a peer that has one queue for two workers.
 */
#include "harness.h"

#include "reference.h"
#include "wr_test.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define N_ITEMS  200
#define N_USERS  40
#define N_ROUNDS 40
#define AT_ONCE  24
#define T0       INT64_C(1600000000000)

static struct daemon daemon_;
static struct peer peer;
static struct reference ref;
static struct ref_user users[N_USERS];
static uint64_t n_wrong_queue;

/* What an answer has to be. */
struct expectation {
	unsigned int n, owner, sent_to;
	struct wr_rank_item items[WR_RANK_MAX_K];
};

static unsigned int owner_of(const struct answer *hello, uint64_t user)
{
	return hello->m.shards[wr_wire_shard(user)];
}

/* One random request: the model takes it as the daemon must. */
static void random_request(struct wr_rng *rng, const struct answer *hello, unsigned int n_queues,
	struct outgoing *o, struct expectation *want)
{
	static int64_t clock_ms = T0;
	struct ref_user *u = &users[wr_rng_below(rng, N_USERS)];
	struct wr_writer w;
	struct wr_wire_event e[3];
	bool recommend = wr_rng_below(rng, 3) != 0;
	unsigned int n = recommend ? wr_rng_below(rng, 3) : 1 + wr_rng_below(rng, 3);

	outgoing_begin(o, &w, &peer, recommend ? WR_OP_RECOMMEND : WR_OP_EVENT, u->id, 0);
	if (recommend)
		wr_writer_ask(&w, 10, 0);
	for (unsigned int i = 0; i < n; i++) {
		e[i] = (struct wr_wire_event){.item = 1 + wr_rng_below(rng, N_ITEMS),
			.kind = WR_KIND_CLICK,
			.time_ms = clock_ms++};
		ref_click(u, e[i].item);
	}
	if (n)
		wr_writer_events(&w, 0, e, n);
	outgoing_end(o, &w, &peer, 300);
	want->owner = owner_of(hello, u->id);
	/* A user's requests keep their order only on one way: each user always takes the same one.
	 */
	want->sent_to = u->id % 3 == 0 ? 1 - want->owner : want->owner;
	if (n_queues == 1)
		want->sent_to = 0;
	n_wrong_queue += want->sent_to != want->owner;
	o->port = want->owner;
	want->n = recommend ? reference_list(&ref, u, 10, true, NULL, 0, want->items) : 0;
}

static bool as_expected(const struct answer *a, const struct expectation *want)
{
	bool handed = a->m.header.flags & WR_ANS_HANDED_OVER;
	if (a->m.answer->status != WR_STATUS_OK || a->m.n_items != want->n ||
		handed != (want->owner != want->sent_to))
		return false;
	for (unsigned int i = 0; i < want->n; i++)
		if (a->m.items[i].item != want->items[i].item ||
			a->m.items[i].score != want->items[i].score)
			return false;
	return true;
}

static void run_rounds(unsigned int n_queues, uint64_t seed)
{
	static struct outgoing o[AT_ONCE];
	static struct expectation want[AT_ONCE];
	struct answer hello, a;
	struct wr_rng rng;
	unsigned int wrong = 0, answered = 0;

	wr_rng_init(&rng, seed, 0);
	CU_ASSERT_FATAL(peer_hello(&peer, &hello));
	CU_ASSERT_EQUAL(hello.m.n_ports, 2);
	for (unsigned int round = 0; round < N_ROUNDS; round++) {
		uint64_t first = peer.next_id;
		for (unsigned int i = 0; i < AT_ONCE; i++)
			random_request(&rng, &hello, n_queues, &o[i], &want[i]);
		for (unsigned int i = 0; i < AT_ONCE; i++)
			peer_send_burst(&peer, want[i].sent_to, &o[i], 1);
		for (unsigned int i = 0; i < AT_ONCE && peer_receive(&peer, &a, 2000); i++) {
			uint64_t which = a.m.header.request_id - first;
			CU_ASSERT_FATAL(which < AT_ONCE);
			answered++;
			wrong += !as_expected(&a, &want[which]);
		}
	}
	CU_ASSERT_EQUAL(answered, N_ROUNDS * AT_ONCE);
	CU_ASSERT_EQUAL(wrong, 0);
}

static void test_two_queues(void)
{
	peer_connect(&peer, &daemon_, 2);
	run_rounds(2, 1);
	peer_close(&peer);
}

static void test_one_queue(void)
{
	peer_connect(&peer, &daemon_, 1);
	run_rounds(1, 2);
	peer_close(&peer);
}

/* SIGTERM while all queues are full of requests: what was received is served or counted. */
static void drain_case(uint16_t workers)
{
	static const char *const slow[] = {"--set=server.isa=ref", NULL}; /* frames queue up */
	/* As many users as are under way, so that none has to wait for himself. */
	static struct outgoing o[256];
	struct daemon d;
	struct daemon_end end;
	struct wr_writer w;
	struct answer a;

	daemon_prepare(&d, N_ITEMS, workers);
	daemon_start(&d, slow);
	peer_connect(&peer, &d, workers);
	CU_ASSERT_FATAL(peer_hello(&peer, &a));
	for (unsigned int i = 0; i < WR_ARRAY_LEN(o); i++) {
		struct wr_wire_event e = {.item = 1 + i % N_ITEMS, .kind = WR_KIND_CLICK};
		outgoing_begin(&o[i], &w, &peer, WR_OP_RECOMMEND, 1 + i, 0);
		wr_writer_ask(&w, 10, 0);
		wr_writer_events(&w, 0, &e, 1);
		outgoing_end(&o[i], &w, &peer, 300);
	}
	unsigned int round = 0;
	for (; round < 40; round++)
		peer_send_burst(&peer, round % workers, o + round % 8 * 32, 32);
	/* An answer: the workers have seen that there is load. */
	CU_ASSERT(peer_receive(&peer, &a, 2000));
	/* The load goes on while the signal finds its way to them. */
	(void)kill(d.pid, SIGTERM);
	uint64_t until = wr_clock_ns() + 200000000;
	for (; wr_clock_ns() < until; round++)
		peer_send_burst(&peer, round % workers, o + round % 8 * 32, 32);
	CU_ASSERT(daemon_stop(&d, &end));
	CU_ASSERT(WIFEXITED(end.status) && WEXITSTATUS(end.status) == 0);
	CU_ASSERT_FATAL(end.said);
	CU_ASSERT_EQUAL(end.received, end.outcomes);
	CU_ASSERT_EQUAL(end.drained, 0); /* a drain that is given its second serves all */
	CU_ASSERT(workers == 1 || end.handed_over > 0);
	peer_close(&peer);
	daemon_remove(&d);
}

static void test_drain(void)
{
	drain_case(1);
	drain_case(2);
}

static void test_end(void)
{
	struct daemon_end end;
	CU_ASSERT(daemon_stop(&daemon_, &end));
	CU_ASSERT(WIFEXITED(end.status) && WEXITSTATUS(end.status) == 0);
	CU_ASSERT_FATAL(end.said);
	CU_ASSERT_EQUAL(end.received, end.outcomes);
	CU_ASSERT_EQUAL(end.handed_over, n_wrong_queue);
	CU_ASSERT(n_wrong_queue > 300);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"right and wrong queues: exact lists, hand-overs flagged", test_two_queues},
		{"a peer with one queue pair for two workers", test_one_queue},
		{"received = Σ outcomes, hand-overs counted", test_end},
		{"SIGTERM in mid-load", test_drain},
	};
	for (unsigned int i = 0; i < N_USERS; i++)
		users[i].id = 100 + i;
	daemon_prepare(&daemon_, N_ITEMS, 2);
	reference_open(&ref, daemon_.bundle);
	daemon_start(&daemon_, NULL);
	harness_eal();
	int rc = wr_test_run("lcores", tests, WR_ARRAY_LEN(tests));
	reference_close(&ref);
	daemon_remove(&daemon_);
	return rc;
}
