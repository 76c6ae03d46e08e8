/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libwirerank against a responder over real loopback sockets: what is lost, reordered, doubled,
 * refused, and whether each request ends exactly once.
 */
#include "client_util.h"

static void test_all_operations(void)
{
	struct tally t = {0};
	struct wr_client *c = client(NULL, 1);
	struct wr_client_server v;
	/* Before HELLO is answered: by the base port, padded, without a cookie. */
	CU_ASSERT_EQUAL(ask(c, 42, 10, &t), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT(t.n_ok == 1 && t.n_items == 10);
	greet(c, only, 1);
	CU_ASSERT_EQUAL(wr_client_server(c, 0, &v), WR_OK);
	CU_ASSERT(v.up && v.proven && v.epoch == 1 && v.n_ports == 2 && v.n_items == 3416);
	one.n_wrong_port = 0;
	struct wr_wire_event e = {.item = 31, .kind = WR_KIND_CLICK};
	for (uint64_t user = 1; user <= 300; user++) {
		struct wr_client_request r = {.user_id = user,
			.k = 64,
			.events = &e,
			.n_events = 1,
			.utterance = "lost my card",
			.utterance_bytes = 12,
			.done = done,
			.arg = &t};
		CU_ASSERT_EQUAL(wr_client_recommend(c, &r), WR_OK);
		CU_ASSERT_EQUAL(wr_client_event(c, &r), WR_OK);
		CU_ASSERT_EQUAL(wr_client_forget(c, &r), WR_OK);
		if (user % 50 == 0)
			pump(c, only, 1, 3000);
	}
	CU_ASSERT_EQUAL(t.n_ok, 901);
	CU_ASSERT(one.n_asked == 301 && one.n_event == 300 && one.n_forget == 300);
	CU_ASSERT(one.n_bad == 0 && one.n_wrong_port == 0 && one.n_denied == 0);
	CU_ASSERT_EQUAL(one.n_sources, 4);
	CU_ASSERT(one.last_event.item == 31 && one.last_event.time_ms > 1600000000000);
	check_sums(c);
	CU_ASSERT_EQUAL(wr_client_stats(c)->n_ended, 901);
	wr_client_free(c);
	responder_close(&one);
}

static void test_ipv6(void)
{
	struct tally t = {0};
	struct wr_errmsg msg;
	if (!responder_open(&one, AF_INET6)) {
		responder_close(&one);
		wr_test_skip("no IPv6 on loopback");
		return;
	}
	struct wr_client *c = client(NULL, 0);
	CU_ASSERT_EQUAL_FATAL(wr_client_add_server(c, "::1", one.port[0], 0, &msg), 0);
	greet(c, only, 1);
	CU_ASSERT_EQUAL(ask(c, 42, 5, &t), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT(t.n_ok == 1 && t.n_items == 5 && one.n_wrong_port == 0);
	check_sums(c);
	wr_client_free(c);
	responder_close(&one);
}

/* The first copy is lost: the very same bytes come again. */
static void test_loss(void)
{
	struct tally t = {0};
	struct wr_client *c = client(&(struct wr_client_options){.timeout_ms = 30}, 1);
	greet(c, only, 1);
	one.n_lost = 1;
	for (uint64_t user = 1; user <= 100; user++)
		CU_ASSERT_EQUAL(ask(c, user, 3, &t), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT(t.n == 100 && t.n_ok == 100 && t.n_tries >= 2);
	CU_ASSERT_EQUAL(one.n_changed, 0);
	CU_ASSERT(wr_client_stats(c)->n_resent >= 100);
	check_sums(c);
	wr_client_free(c);
	responder_close(&one);
}

static void test_gives_up(void)
{
	struct tally t = {0};
	struct wr_client *c =
		client(&(struct wr_client_options){.timeout_ms = 10, .hello_ms = 20}, 1);
	greet(c, only, 1);
	one.all_lost = true;
	uint64_t begun = wr_clock_ns();
	CU_ASSERT_EQUAL(ask(c, 1, 3, &t), WR_OK);
	pump(c, only, 1, 5000);
	uint64_t took = wr_clock_ns() - begun;
	CU_ASSERT(t.n == 1 && t.n_gave_up == 1 && t.n_tries == 3);
	CU_ASSERT(took >= 70000000u); /* 10 + 20 + 40 ms */
	CU_ASSERT_EQUAL(one.n_asked, 3);
	struct wr_client_server v;
	CU_ASSERT_EQUAL(wr_client_server(c, 0, &v), WR_OK);
	CU_ASSERT(!v.up && v.timeouts_in_a_row >= 3);
	/* It answers HELLO again: up, without a request. */
	unsigned int hellos = one.n_hello;
	one.all_lost = false;
	for (int i = 0; i < 100 && !v.up; i++) {
		pump_for(c, only, 1, 20);
		CU_ASSERT_EQUAL(wr_client_server(c, 0, &v), WR_OK);
	}
	CU_ASSERT(v.up && one.n_hello > hellos);
	/* A longer budget counts instead of the time-out. */
	one.all_lost = true;
	begun = wr_clock_ns();
	struct wr_client_request r = {.user_id = 1, .budget_us = 40000, .done = done, .arg = &t};
	CU_ASSERT_EQUAL(wr_client_recommend(c, &r), WR_OK);
	pump(c, only, 1, 5000);
	CU_ASSERT(t.n_gave_up == 2 && wr_clock_ns() - begun >= 280000000u);
	check_sums(c);
	wr_client_free(c);
	responder_close(&one);
}

static void test_reordered_and_twice(void)
{
	static struct tally t[200];
	memset(t, 0, sizeof(t));
	struct wr_client *c = client(NULL, 1);
	greet(c, only, 1);
	one.swapped = true;
	for (unsigned int i = 0; i < 200; i++)
		CU_ASSERT_EQUAL(ask(c, i, (uint8_t)(i % 65), &t[i]), WR_OK);
	pump(c, only, 1, 3000);
	for (unsigned int i = 0; i < 200; i++)
		CU_ASSERT(t[i].n_ok == 1 && t[i].n_items == i % 65);
	one.swapped = false;
	one.twice = true;
	for (unsigned int i = 0; i < 200; i++)
		CU_ASSERT_EQUAL(ask(c, i, 1, &t[i]), WR_OK);
	pump(c, only, 1, 3000);
	pump_for(c, only, 1, 20);
	for (unsigned int i = 0; i < 200; i++)
		CU_ASSERT(t[i].n == 2 && t[i].n_ok == 2);
	CU_ASSERT_EQUAL(wr_client_stats(c)->n_unknown, 200);
	check_sums(c);
	wr_client_free(c);
	responder_close(&one);
}

static void test_epoch_change(void)
{
	struct tally t = {0};
	struct wr_client *c = client(NULL, 1);
	greet(c, only, 1);
	pump_for(c, only, 1, 110); /* HELLOs for epochs keep 100 ms apart */
	one.epoch = 2;
	one.swap_shards = true;
	one.n_wrong_port = 0;
	CU_ASSERT_EQUAL(ask(c, 1, 1, &t), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT_EQUAL(one.n_wrong_port, 1); /* the old table; answered all the same */
	pump_for(c, only, 1, 50);
	struct wr_client_server v;
	CU_ASSERT_EQUAL(wr_client_server(c, 0, &v), WR_OK);
	CU_ASSERT(v.epoch == 2 && one.n_hello == 2);
	for (uint64_t user = 1; user <= 100; user++)
		CU_ASSERT_EQUAL(ask(c, user, 1, &t), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT(t.n == 101 && t.n_ok == 101 && one.n_wrong_port == 1);
	CU_ASSERT_EQUAL(wr_client_stats(c)->n_epoch_changes, 1);
	check_sums(c);
	wr_client_free(c);
	responder_close(&one);
}

static const uint32_t told_items[200] = {[0] = 1, 2, 3, 4, 5, 6, 7, [60 ... 199] = 9};
static struct wr_client_history told;
static unsigned int n_told, told_wanted;
static bool tell(void *arg, uint64_t user, uint8_t domain, unsigned int n_wanted,
	struct wr_client_history *h)
{
	n_told++;
	told_wanted = n_wanted;
	*h = told;
	return told.items != NULL;
}

/* After a server's restart everybody's history is wanted at once: users that share a place in the
 * client's memory must not displace each other for ever. */
static void test_history_crowd(void)
{
	enum { N = 4, ROUNDS = 60 };
	struct tally t = {0};
	struct wr_client *c = client(
		&(struct wr_client_options){
			.max_outstanding = 1, .timeout_ms = 1000, .history = tell},
		1);
	greet(c, only, 1);
	told = (struct wr_client_history){.items = told_items, .n = 7, .complete = true};
	one.want_history = true;
	for (uint64_t user = 1; user <= N; user++) {
		CU_ASSERT_EQUAL(ask(c, user, 1, &t), WR_OK);
		pump(c, only, 1, 3000);
	}
	n_told = 0;
	one.want_history = false;
	for (uint64_t user = 1; user <= N; user++) {
		CU_ASSERT_EQUAL(ask(c, user, 1, &t), WR_OK);
		pump(c, only, 1, 3000);
	}
	CU_ASSERT_EQUAL(n_told, N);
	/* More than fit: whoever comes round again is told in the end. */
	bool done_with[2 * N] = {false};
	one.want_history = true;
	for (unsigned int round = 0; round < ROUNDS; round++)
		for (uint64_t user = 0; user < 2 * N; user++) {
			unsigned int before = n_told;
			CU_ASSERT_EQUAL(ask(c, 100 + user, 1, &t), WR_OK);
			pump(c, only, 1, 3000);
			done_with[user] |= n_told > before;
		}
	for (unsigned int i = 0; i < 2 * N; i++)
		CU_ASSERT(done_with[i]);
	check_sums(c);
	wr_client_free(c);
	responder_close(&one);
}

static void test_history(void)
{
	struct tally t = {0};
	struct wr_client *c =
		client(&(struct wr_client_options){.timeout_ms = 1000, .history = tell}, 1);
	n_told = 0;
	greet(c, only, 1);
	one.want_history = true;
	told = (struct wr_client_history){0};
	CU_ASSERT_EQUAL(ask(c, 5, 1, &t), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT_EQUAL(n_told, 0);
	/* Wanted, but the caller has none: asked again by the answer. */
	CU_ASSERT_EQUAL(ask(c, 5, 1, &t), WR_OK);
	CU_ASSERT_EQUAL(ask(c, 6, 1, &t), WR_OK); /* nobody wants this one's */
	pump(c, only, 1, 3000);
	CU_ASSERT(n_told == 1 && told_wanted == 99 && one.n_with_history == 0);
	told = (struct wr_client_history){.items = told_items, .n = 7, .complete = true};
	CU_ASSERT_EQUAL(ask(c, 5, 1, &t), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT(n_told == 2 && one.n_with_history == 1);
	CU_ASSERT(one.last_history_user == 5 && one.last_history_n == 7);
	/* It has it now: not sent again. */
	CU_ASSERT_EQUAL(ask(c, 5, 1, &t), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT_EQUAL(n_told, 2);
	/* The caller's own, longer than fits: the newest stay, complete goes. */
	struct wr_wire_event e[20];
	for (unsigned int i = 0; i < WR_ARRAY_LEN(e); i++)
		e[i] = (struct wr_wire_event){.item = 1 + i, .kind = WR_KIND_CLICK};
	struct wr_client_history h = {.items = told_items + 60, .n = 140, .complete = true};
	struct wr_client_request r = {.user_id = 9,
		.k = 1,
		.events = e,
		.n_events = 20,
		.history = &h,
		.done = done,
		.arg = &t};
	CU_ASSERT_EQUAL(wr_client_recommend(c, &r), WR_OK);
	pump(c, only, 1, 3000);
	struct wr_message m;
	CU_ASSERT_EQUAL(wr_wire_decode_request(one.last, one.last_bytes, &m), WR_DECODE_OK);
	CU_ASSERT(m.n_events == 20 && m.n_history > 70 && m.n_history < 128);
	CU_ASSERT_EQUAL(m.history_head->flags, 0);
	CU_ASSERT_EQUAL(t.n_ok, 6);
	check_sums(c);
	wr_client_free(c);
	responder_close(&one);
}

static void test_refusals(void)
{
	struct tally t = {0};
	struct wr_client *c = client(NULL, 1);
	/* FORGET before any cookie: DENIED with one, then done. */
	struct wr_client_request r = {.user_id = 3, .done = done, .arg = &t};
	CU_ASSERT_EQUAL(wr_client_forget(c, &r), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT(t.n_ok == 1 && t.n_tries == 2 && one.n_denied == 1);
	greet(c, only, 1);
	/* The secret rolled: a long list comes whole all the same. */
	one.cookie.mac++;
	CU_ASSERT_EQUAL(ask(c, 3, 64, &t), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT(t.n_ok == 2 && t.n_items == 64 && t.n_tries == 2);
	one.n_busy = 2;
	CU_ASSERT_EQUAL(ask(c, 3, 1, &t), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT(t.n_ok == 3 && t.n_tries == 3);
	one.n_busy = 3;
	CU_ASSERT_EQUAL(ask(c, 3, 1, &t), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT(t.n_refused == 1 && t.status == WR_STATUS_BUSY);
	one.n_internal = 1;
	CU_ASSERT_EQUAL(ask(c, 3, 1, &t), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT(t.n_ok == 4 && t.n_tries == 2);
	one.n_internal = 2;
	CU_ASSERT_EQUAL(ask(c, 3, 1, &t), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT(t.n_refused == 2 && t.status == WR_STATUS_INTERNAL);
	check_sums(c);
	wr_client_free(c);
	responder_close(&one);
}

static void test_failover(void)
{
	struct tally t = {0};
	struct wr_client_options o = {.timeout_ms = 40, .hello_ms = 20};
	struct wr_client *c = client(&o, 2);
	struct wr_client_server v;
	greet(c, (struct responder **)both, 2);
	CU_ASSERT_EQUAL(ask(c, 1, 2, &t), WR_OK);
	pump(c, (struct responder **)both, 2, 3000);
	CU_ASSERT(t.n_ok == 1 && t.server == 0);
	/* The first is killed: the last try of the requests on their way reaches the second. */
	uint16_t port = one.port[0];
	responder_close(&one);
	for (uint64_t user = 1; user <= 20; user++)
		CU_ASSERT_EQUAL(ask(c, user, 2, &t), WR_OK);
	struct responder *second[] = {&two};
	pump(c, second, 1, 5000);
	CU_ASSERT(t.n_ok == 21 && t.server == 1 && wr_client_stats(c)->n_failovers >= 20);
	CU_ASSERT_EQUAL(wr_client_server(c, 0, &v), WR_OK);
	CU_ASSERT_FALSE(v.up);
	/* Down: later ones go straight to the second. */
	CU_ASSERT_EQUAL(ask(c, 1, 2, &t), WR_OK);
	pump(c, second, 1, 3000);
	CU_ASSERT(t.n_ok == 22 && t.n_tries == 1 && t.server == 1);
	/* Back on the same base port with other ports: found by HELLO, used again. */
	CU_ASSERT_FATAL(responder_open(&one, AF_INET));
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(port)};
	close(one.fd[0]);
	one.fd[0] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	CU_ASSERT_EQUAL_FATAL(bind(one.fd[0], (struct sockaddr *)&a, sizeof(a)), 0);
	for (int i = 0; i < 100 && !v.up; i++) {
		pump_for(c, (struct responder **)both, 2, 20);
		CU_ASSERT_EQUAL(wr_client_server(c, 0, &v), WR_OK);
	}
	CU_ASSERT_EQUAL(ask(c, 1, 2, &t), WR_OK);
	pump(c, (struct responder **)both, 2, 3000);
	CU_ASSERT(t.n_ok == 23 && t.server == 0);
	check_sums(c);
	wr_client_free(c);
	responder_close(&one);
	responder_close(&two);
}

struct chain {
	struct wr_client *c;
	unsigned int left;
	int nested;
};
static void chain_done(void *arg, const struct wr_client_answer *a)
{
	struct chain *h = arg;
	h->nested = wr_client_process(h->c);
	struct wr_client_request r = {.user_id = h->left, .done = chain_done, .arg = h};
	if (h->left && --h->left)
		CU_ASSERT_EQUAL(wr_client_recommend(h->c, &r), WR_OK);
}

/* A callback submits the next one, even with a single slot; process does not nest. */
static void test_from_callback(void)
{
	struct wr_client *c =
		client(&(struct wr_client_options){.timeout_ms = 1000, .max_outstanding = 1}, 1);
	struct chain h = {.c = c, .left = 100};
	struct wr_client_request r = {.user_id = 1, .done = chain_done, .arg = &h};
	CU_ASSERT_EQUAL(wr_client_recommend(c, &r), WR_OK);
	pump(c, only, 1, 5000);
	CU_ASSERT(h.left == 0 && h.nested == WR_ESTATE);
	CU_ASSERT_EQUAL(wr_client_stats(c)->n_ok, 100);
	check_sums(c);
	wr_client_free(c);
	responder_close(&one);
}

/* Random operations against random trouble: every request ends exactly once, with items that fit
 * what was asked. */
static void test_random(void)
{
	static struct tally t[3000];
	static uint8_t k[3000];
	memset(t, 0, sizeof(t));
	struct wr_rng rng;
	wr_rng_init(&rng, 4, 711);
	struct wr_client_options o = {.timeout_ms = 8, .hello_ms = 20, .max_outstanding = 64};
	struct wr_client *c = client(&o, 2);
	unsigned int n = 0, n_ended = 0;
	uint64_t end = wr_clock_ns() + 20000000000u;
	while (n < 3000 && wr_clock_ns() < end) {
		for (int i = 0; i < 2; i++) {
			struct responder *r = both[i];
			r->n_lost = wr_rng_below(&rng, 4) == 0;
			r->twice = wr_rng_below(&rng, 4) == 0;
			r->swapped = wr_rng_below(&rng, 3) == 0;
			r->malformed = wr_rng_below(&rng, 8) == 0;
			r->forged = wr_rng_below(&rng, 16) == 0;
			r->n_busy = wr_rng_below(&rng, 8) == 0;
			r->n_internal = wr_rng_below(&rng, 8) == 0;
			r->want_history = wr_rng_below(&rng, 4) == 0;
			r->epoch += wr_rng_below(&rng, 50) == 0;
			r->swap_shards = r->epoch & 1;
		}
		for (unsigned int burst = wr_rng_below(&rng, 80); burst && n < 3000; burst--) {
			k[n] = (uint8_t)wr_rng_below(&rng, 65);
			int err = ask(c, wr_rng_below(&rng, 50), k[n], &t[n]);
			CU_ASSERT(err == WR_OK || err == WR_EFULL);
			if (err)
				break;
			n++;
		}
		responder_poll(&one);
		responder_poll(&two);
		struct pollfd p = {.fd = wr_client_fd(c), .events = POLLIN};
		(void)poll(&p, 1, 1);
		wr_client_process(c);
		check_sums(c);
	}
	pump(c, (struct responder **)both, 2, 5000);
	for (unsigned int i = 0; i < n; i++) {
		n_ended += t[i].n == 1;
		CU_ASSERT(!t[i].n_ok || t[i].n_items == k[i]);
	}
	CU_ASSERT(n == 3000 && n_ended == 3000 && wr_client_outstanding(c) == 0);
	CU_ASSERT(wr_client_stats(c)->n_ok > 2000);
	CU_ASSERT(one.n_bad == 0 && two.n_bad == 0);
	check_sums(c);
	wr_client_free(c);
	responder_close(&one);
	responder_close(&two);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"all operations, shard ports, source ports", test_all_operations},
		{"IPv6", test_ipv6},
		{"the first copy is lost", test_loss},
		{"gives up, probes, comes back", test_gives_up},
		{"reordered answers, answers twice", test_reordered_and_twice},
		{"follows the epoch", test_epoch_change},
		{"history", test_history},
		{"histories that are wanted all at once", test_history_crowd},
		{"denied, shortened, busy, internal", test_refusals},
		{"failover and return", test_failover},
		{"submits from callbacks", test_from_callback},
		{"random trouble", test_random},
	};
	return wr_test_run("client", tests, WR_ARRAY_LEN(tests));
}
