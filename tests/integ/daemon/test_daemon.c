/* SPDX-License-Identifier: BSD-3-Clause */
/* One worker, one peer: every operation through real frames, every list against the reference
 * level. */
#include "harness.h"

#include "reference.h"
#include "wr_test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define N_ITEMS 300
#define WINDOW  50 /* of the reference shape that the harness packs */
#define T0      INT64_C(1600000000000)

static struct daemon daemon_;
static struct peer peer;
static struct reference ref;

/* A click of every user i: item and time are functions of (user, step), so that nothing repeats by
 * chance. */
static struct wr_wire_event click(uint32_t item, int64_t time_ms)
{
	return (struct wr_wire_event){.item = item, .kind = WR_KIND_CLICK, .time_ms = time_ms};
}

static bool ask_recommend(uint64_t user, unsigned int k, uint16_t flags, uint64_t base_seq,
	const struct wr_wire_event *e, unsigned int n, const uint32_t *exclude,
	unsigned int n_exclude, struct answer *a)
{
	struct outgoing o;
	struct wr_writer w;
	outgoing_begin(&o, &w, &peer, WR_OP_RECOMMEND, user, flags);
	wr_writer_ask(&w, (uint8_t)k, 0);
	if (n)
		wr_writer_events(&w, base_seq, e, n);
	if (n_exclude)
		wr_writer_exclude(&w, exclude, n_exclude);
	outgoing_end(&o, &w, &peer, 256);
	return peer_ask(&peer, 0, 0, &o, a);
}

static bool ask_event(uint64_t user, uint64_t base_seq, const struct wr_wire_event *e,
	unsigned int n, struct answer *a)
{
	struct outgoing o;
	struct wr_writer w;
	outgoing_begin(&o, &w, &peer, WR_OP_EVENT, user, 0);
	wr_writer_events(&w, base_seq, e, n);
	outgoing_end(&o, &w, &peer, 256);
	return peer_ask(&peer, 0, 0, &o, a);
}

static bool ask_history(uint64_t user, const struct ref_user *u, bool complete, struct answer *a)
{
	static const uint8_t kinds[WR_WIRE_MAX_HISTORY] = {
		[0 ... WR_WIRE_MAX_HISTORY - 1] = WR_KIND_CLICK};
	int64_t times[WR_WIRE_MAX_HISTORY];
	struct outgoing o;
	struct wr_writer w;
	for (unsigned int i = 0; i < u->n; i++)
		times[i] = T0 + 60000 * (int64_t)i;
	outgoing_begin(&o, &w, &peer, WR_OP_RECOMMEND, user, 0);
	wr_writer_ask(&w, 10, 0);
	wr_writer_history(&w, u->item, kinds, times, u->n, complete);
	outgoing_end(&o, &w, &peer, 0);
	return peer_ask(&peer, 0, 0, &o, a);
}

static bool same_list(const struct answer *a, const struct wr_rank_item *items, unsigned int n)
{
	if (a->m.n_items != n)
		return false;
	for (unsigned int i = 0; i < n; i++)
		if (a->m.items[i].item != items[i].item || a->m.items[i].score != items[i].score)
			return false;
	return true;
}

static bool list_is(const struct answer *a, const struct ref_user *u, unsigned int k)
{
	struct wr_rank_item items[WR_RANK_MAX_K];
	unsigned int n = reference_list(&ref, u, k, true, NULL, 0, items);
	return same_list(a, items, n);
}

static void fill_user(struct ref_user *u, uint64_t id, unsigned int n)
{
	memset(u, 0, sizeof(*u));
	u->id = id;
	for (unsigned int i = 0; i < n; i++)
		ref_click(u, 1 + (uint32_t)(wr_mix64(id * 1000 + i) % N_ITEMS));
}

/* ---- */
static void test_hello(void)
{
	struct answer a;
	CU_ASSERT_FATAL(peer_hello(&peer, &a));
	CU_ASSERT_EQUAL(a.m.header.op, WR_OP_HELLO | WR_OP_ANSWER);
	CU_ASSERT_EQUAL(a.m.answer->status, WR_STATUS_OK);
	CU_ASSERT_PTR_NOT_NULL_FATAL(a.m.server);
	CU_ASSERT_EQUAL(a.m.server->n_items, N_ITEMS);
	CU_ASSERT_EQUAL(a.m.server->history_events, 99);
	CU_ASSERT_EQUAL(a.m.server->max_k, WR_WIRE_MAX_K);
	CU_ASSERT_PTR_NOT_NULL(a.m.shards);
	CU_ASSERT_EQUAL_FATAL(a.m.n_ports, 1);
	CU_ASSERT_EQUAL(a.m.ports[0], HARNESS_UDP_PORT);
	CU_ASSERT_PTR_NOT_NULL(a.m.cookie);
	CU_ASSERT(llabs(a.m.header.time_ms - wr_clock_unix_ms()) < 1000);
}

static void test_length_rule(void)
{
	struct outgoing o;
	struct wr_writer w;
	struct answer a;
	bool had = peer.has_cookie;

	peer.has_cookie = false;
	outgoing_begin(&o, &w, &peer, WR_OP_RECOMMEND, 1, 0);
	wr_writer_ask(&w, 10, 0);
	outgoing_end(&o, &w, &peer, 200);
	CU_ASSERT_FATAL(peer_ask(&peer, 0, 0, &o, &a));
	CU_ASSERT_EQUAL(a.m.n_items, 6); /* 100 + 16 · 6 ≤ 200 */
	CU_ASSERT(a.m.header.flags & WR_ANS_SHORTENED);
	CU_ASSERT(a.m.header.length <= 200);
	CU_ASSERT_PTR_NOT_NULL(a.m.cookie);

	/* the shortest that is answered: no room for an item, nor for the section that would hold
	 * it */
	peer.has_cookie = false;
	outgoing_begin(&o, &w, &peer, WR_OP_RECOMMEND, 1, 0);
	wr_writer_ask(&w, 10, 0);
	outgoing_end(&o, &w, &peer, 96);
	CU_ASSERT_FATAL(peer_ask(&peer, 0, 0, &o, &a));
	CU_ASSERT_EQUAL(a.m.n_items, 0);
	CU_ASSERT_EQUAL(a.m.header.length, 96);

	peer.has_cookie = false;
	outgoing_begin(&o, &w, &peer, WR_OP_RECOMMEND, 1, 0);
	wr_writer_ask(&w, 10, 0);
	outgoing_end(&o, &w, &peer, 92);
	peer_send(&peer, 0, 0, o.bytes, (size_t)o.size);
	CU_ASSERT_FALSE(peer_receive(&peer, &a, 50));
	peer.has_cookie = had;

	outgoing_begin(&o, &w, &peer, WR_OP_RECOMMEND, 1, 0);
	wr_writer_ask(&w, 10, 0);
	outgoing_end(&o, &w, &peer, 0);
	CU_ASSERT_FATAL(peer_ask(&peer, 0, 0, &o, &a));
	CU_ASSERT_EQUAL(a.m.n_items, 10);
	CU_ASSERT_FALSE(a.m.header.flags & WR_ANS_SHORTENED);
}

static void test_echo_and_pad(void)
{
	struct answer a;
	struct wr_wire_event e = click(5, T0);
	CU_ASSERT_FATAL(ask_recommend(77, 0, WR_REQ_PAD_ANSWER, 0, &e, 1, NULL, 0, &a));
	CU_ASSERT_EQUAL(a.m.header.length, 256);
	CU_ASSERT_EQUAL(a.m.n_items, 0);
	CU_ASSERT_EQUAL(a.m.answer->status, WR_STATUS_OK);
	/* An echo changes nothing: the event is new when it comes again. */
	CU_ASSERT_FATAL(ask_event(77, 0, &e, 1, &a));
	CU_ASSERT_FALSE(a.m.header.flags & WR_ANS_DUPLICATE);
}

static void test_unknown_user(void)
{
	struct ref_user nobody = {.id = 1000};
	struct answer a;
	CU_ASSERT_FATAL(ask_recommend(1000, 10, 0, 0, NULL, 0, NULL, 0, &a));
	CU_ASSERT_EQUAL(a.m.answer->degrade, WR_DEGRADE_POPULAR);
	CU_ASSERT(a.m.header.flags & WR_ANS_HISTORY_WANTED);
	CU_ASSERT(list_is(&a, &nobody, 10));
	CU_ASSERT_EQUAL(a.m.items[0].reason, WR_REASON_POPULAR);
}

/* Several new clicks before the next answer, up to what is encoded behind the ring and beyond. */
static void several_at_once(struct ref_user *u)
{
	static const unsigned int portions[] = {7, 15, 16, WINDOW, WINDOW + 1};
	struct answer a;
	for (unsigned int k = 0; k < WR_ARRAY_LEN(portions); k++) {
		struct wr_wire_event e[16];
		unsigned int n = 0;
		for (unsigned int s = 0; s < portions[k]; s++) {
			if (n == WR_ARRAY_LEN(e)) {
				CU_ASSERT_FATAL(ask_event(u->id, 0, e, n, &a));
				n = 0;
			}
			e[n] = click(1 + (uint32_t)(wr_mix64(u->id + 100 * k + s) % N_ITEMS),
				T0 + 910000000 + 100 * k + s);
			ref_click(u, e[n++].item);
		}
		CU_ASSERT_FATAL(ask_recommend(u->id, 10, 0, 0, e, n, NULL, 0, &a));
		CU_ASSERT(list_is(&a, u, 10));
		CU_ASSERT_EQUAL((a.m.header.flags & WR_ANS_COLD) != 0, portions[k] > WINDOW);
	}
}

static void test_lists(void)
{
	struct ref_user u;
	struct answer a;
	static const unsigned int lengths[] = {1, 2, 17, 50, 99, 128};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(lengths); i++) {
		fill_user(&u, 2000 + i, lengths[i]);
		CU_ASSERT_FATAL(ask_history(u.id, &u, true, &a));
		CU_ASSERT(list_is(&a, &u, 10));
		CU_ASSERT(a.m.header.flags & WR_ANS_COLD);
		CU_ASSERT_FALSE(a.m.header.flags & (WR_ANS_HISTORY_WANTED | WR_ANS_APPROXIMATE));
		for (unsigned int s = 0; s < 3; s++) {
			struct wr_wire_event e = click(
				1 + (uint32_t)(wr_mix64(u.id + s) % N_ITEMS), T0 + 900000000 + s);
			ref_click(&u, e.item);
			CU_ASSERT_FATAL(ask_recommend(u.id, 10, 0, 0, &e, 1, NULL, 0, &a));
			CU_ASSERT(list_is(&a, &u, 10));
			CU_ASSERT_FALSE(a.m.header.flags & WR_ANS_COLD);
			CU_ASSERT_EQUAL(a.m.answer->durability, WR_DURABLE_MEMORY);
		}
		/* without a new click: the vector that the ring remembers */
		CU_ASSERT_FATAL(ask_recommend(u.id, 10, 0, 0, NULL, 0, NULL, 0, &a));
		CU_ASSERT(list_is(&a, &u, 10));
		CU_ASSERT_FALSE(a.m.header.flags & WR_ANS_COLD);
		several_at_once(&u);
	}
}

static void test_filters(void)
{
	struct ref_user u;
	struct answer a;
	struct wr_rank_item items[WR_RANK_MAX_K];
	fill_user(&u, 3000, 40);
	CU_ASSERT_FATAL(ask_history(u.id, &u, true, &a));
	uint32_t exclude[3] = {a.m.items[0].item, a.m.items[4].item, 999999};
	CU_ASSERT_FATAL(ask_recommend(u.id, 64, 0, 0, NULL, 0, exclude, 3, &a));
	unsigned int n = reference_list(&ref, &u, 64, true, exclude, 3, items);
	CU_ASSERT(same_list(&a, items, n));
	CU_ASSERT_FATAL(ask_recommend(u.id, 10, WR_REQ_INCLUDE_SEEN, 0, NULL, 0, NULL, 0, &a));
	n = reference_list(&ref, &u, 10, false, NULL, 0, items);
	CU_ASSERT(same_list(&a, items, n));
}

static void test_duplicates(void)
{
	struct ref_user u = {.id = 4000};
	struct answer a;
	struct wr_wire_event e[2] = {click(10, T0), click(20, T0 + 1)};
	CU_ASSERT_FATAL(ask_event(u.id, 0, e, 2, &a));
	ref_click(&u, 10);
	ref_click(&u, 20);
	CU_ASSERT_FALSE(a.m.header.flags & WR_ANS_DUPLICATE);
	CU_ASSERT(a.m.header.flags & WR_ANS_HISTORY_WANTED);
	CU_ASSERT_FATAL(ask_recommend(u.id, 10, 0, 0, e, 2, NULL, 0, &a));
	CU_ASSERT(a.m.header.flags & WR_ANS_DUPLICATE);
	CU_ASSERT(a.m.header.flags &
		  WR_ANS_HISTORY_WANTED); /* until it was given: an answer can be lost */
	CU_ASSERT(list_is(&a, &u, 10));
	/* no times: the same message again is known by its id, another one is not */
	struct outgoing o;
	struct wr_writer w;
	struct wr_wire_event timeless = click(30, 0);
	outgoing_begin(&o, &w, &peer, WR_OP_EVENT, u.id, 0);
	wr_writer_events(&w, 0, &timeless, 1);
	outgoing_end(&o, &w, &peer, 256);
	CU_ASSERT_FATAL(peer_ask(&peer, 0, 0, &o, &a));
	CU_ASSERT_FALSE(a.m.header.flags & WR_ANS_DUPLICATE);
	CU_ASSERT_FATAL(peer_ask(&peer, 0, 0, &o, &a));
	CU_ASSERT(a.m.header.flags & WR_ANS_DUPLICATE);
	ref_click(&u, 30);
	CU_ASSERT_FATAL(ask_event(u.id, 0, &timeless, 1, &a));
	CU_ASSERT_FALSE(a.m.header.flags & WR_ANS_DUPLICATE);
	ref_click(&u, 30);
	/* a conversion marks its click */
	struct wr_wire_event convert = {.item = 20, .kind = WR_KIND_CONVERT, .time_ms = T0 + 5};
	CU_ASSERT_FATAL(ask_recommend(u.id, 10, 0, 0, &convert, 1, NULL, 0, &a));
	CU_ASSERT(list_is(&a, &u, 10));
	convert.item = 40;
	ref_click(&u, 40);
	CU_ASSERT_FATAL(ask_recommend(u.id, 10, 0, 0, &convert, 1, NULL, 0, &a));
	CU_ASSERT(list_is(&a, &u, 10));
}

static void test_numbers(void)
{
	struct answer a;
	struct wr_wire_event e[3] = {click(1, T0), click(2, T0 + 1), click(3, T0 + 2)};
	CU_ASSERT_FATAL(ask_event(5000, 1, e, 3, &a));
	CU_ASSERT_EQUAL(a.m.answer->ack_seq, 3);
	CU_ASSERT_FALSE(a.m.header.flags & (WR_ANS_HISTORY_WANTED | WR_ANS_APPROXIMATE));
	CU_ASSERT_FATAL(ask_event(5000, 3, e, 1, &a)); /* number 3 is known, whatever it holds */
	CU_ASSERT(a.m.header.flags & WR_ANS_DUPLICATE);
	e[0].time_ms = T0 + 9;
	CU_ASSERT_FATAL(ask_event(5000, 7, e, 1, &a));
	CU_ASSERT_EQUAL(a.m.answer->ack_seq, 7);
	CU_ASSERT(a.m.header.flags & WR_ANS_HISTORY_WANTED);
	struct ref_user u;
	fill_user(&u, 5000, 20);
	u.item[0] = 1; /* a client's history holds what it reported before */
	u.item[1] = 2;
	u.item[2] = 3;
	CU_ASSERT_FATAL(ask_history(5000, &u, true, &a));
	CU_ASSERT_FALSE(a.m.header.flags & (WR_ANS_HISTORY_WANTED | WR_ANS_APPROXIMATE));
	CU_ASSERT_EQUAL(a.m.answer->ack_seq, 7);
	CU_ASSERT(list_is(&a, &u, 10));
}

static void test_forget(void)
{
	struct outgoing o;
	struct wr_writer w;
	struct answer a;
	struct ref_user nobody = {.id = 2000};
	struct wr_wire_cookie good = peer.cookie;

	peer.has_cookie = false;
	outgoing_begin(&o, &w, &peer, WR_OP_FORGET, 2000, 0);
	outgoing_end(&o, &w, &peer, 96);
	CU_ASSERT_FATAL(peer_ask(&peer, 0, 0, &o, &a));
	CU_ASSERT_EQUAL(a.m.answer->status, WR_STATUS_DENIED);
	CU_ASSERT_EQUAL(a.m.header.op, 0xff);
	peer.has_cookie = true;
	peer.cookie = good;
	outgoing_begin(&o, &w, &peer, WR_OP_FORGET, 2000, 0);
	outgoing_end(&o, &w, &peer, 0);
	CU_ASSERT_FATAL(peer_ask(&peer, 0, 0, &o, &a));
	CU_ASSERT_EQUAL(a.m.answer->status, WR_STATUS_OK);
	CU_ASSERT_FATAL(ask_recommend(2000, 10, 0, 0, NULL, 0, NULL, 0, &a));
	CU_ASSERT(list_is(&a, &nobody, 10));
	CU_ASSERT(a.m.header.flags & WR_ANS_HISTORY_WANTED);
}

/* Requests of one user in one burst: each answer must be that of the state after exactly its
 * predecessors. */
static void test_same_user_burst(void)
{
	static struct outgoing o[24];
	struct answer a;
	struct wr_writer w;
	struct ref_user u;
	fill_user(&u, 6000, 30);
	CU_ASSERT_FATAL(ask_history(u.id, &u, true, &a));
	struct wr_rank_item items[24][WR_RANK_MAX_K];
	unsigned int n[24] = {0};
	uint64_t first = peer.next_id;
	for (unsigned int i = 0; i < 24; i++) {
		struct wr_wire_event e = click(1 + i * 7 % N_ITEMS, T0 + 100000000 + i);
		bool recommend = i % 3 != 1;
		outgoing_begin(
			&o[i], &w, &peer, recommend ? WR_OP_RECOMMEND : WR_OP_EVENT, u.id, 0);
		if (recommend)
			wr_writer_ask(&w, 10, 0);
		wr_writer_events(&w, 0, &e, 1);
		outgoing_end(&o[i], &w, &peer, 256);
		ref_click(&u, e.item);
		if (recommend)
			n[i] = reference_list(&ref, &u, 10, true, NULL, 0, items[i]);
	}
	peer_send_burst(&peer, 0, o, 24);
	unsigned int got = 0;
	while (got < 24 && peer_receive(&peer, &a, 2000)) {
		unsigned int i = (unsigned int)(a.m.header.request_id - first);
		CU_ASSERT_FATAL(i < 24);
		CU_ASSERT(same_list(&a, items[i], n[i]));
		got++;
	}
	CU_ASSERT_EQUAL(got, 24);
}

/* New users whose first EVENT and a question without events come in one burst: the question must
 * see the event. */
static void test_new_user_burst(void)
{
	enum { N = 12 };
	static struct outgoing o[2 * N];
	static struct ref_user u[N];
	struct wr_rank_item items[WR_RANK_MAX_K];
	struct answer a;
	struct wr_writer w;
	uint64_t first = peer.next_id;
	memset(u, 0, sizeof(u));
	for (unsigned int i = 0; i < 2 * N; i++) {
		bool event = i < N;
		u[i % N].id = 7000 + i % N;
		outgoing_begin(
			&o[i], &w, &peer, event ? WR_OP_EVENT : WR_OP_RECOMMEND, u[i % N].id, 0);
		if (event) {
			struct wr_wire_event e = click(1 + i * 11 % N_ITEMS, T0 + i);
			ref_click(&u[i], e.item);
			wr_writer_events(&w, 0, &e, 1);
		} else {
			wr_writer_ask(&w, 10, 0);
		}
		outgoing_end(&o[i], &w, &peer, 256);
	}
	peer_send_burst(&peer, 0, o, 2 * N);
	unsigned int got = 0;
	while (got < 2 * N && peer_receive(&peer, &a, 2000)) {
		unsigned int i = (unsigned int)(a.m.header.request_id - first);
		CU_ASSERT_FATAL(i < 2 * N);
		if (i >= N) {
			unsigned int n = reference_list(&ref, &u[i - N], 10, true, NULL, 0, items);
			CU_ASSERT(same_list(&a, items, n));
			CU_ASSERT_EQUAL(a.m.answer->degrade, WR_DEGRADE_NONE);
		}
		got++;
	}
	CU_ASSERT_EQUAL(got, 2 * N);
}

static void test_deadline(void)
{
	static struct outgoing o[32];
	struct wr_writer w;
	struct answer a;
	for (unsigned int i = 0; i < 32; i++) {
		outgoing_begin(&o[i], &w, &peer, WR_OP_RECOMMEND, 7000 + i, 0);
		wr_writer_ask(&w, 10, 1);
		outgoing_end(&o[i], &w, &peer, 1200);
	}
	peer_send_burst(&peer, 0, o, 32);
	unsigned int late = 0, got = 0;
	for (; got < 32 && peer_receive(&peer, &a, 2000); got++)
		late += a.m.answer->status == WR_STATUS_DEADLINE;
	CU_ASSERT_EQUAL(got, 32);
	CU_ASSERT(late > 0); /* 32 checksums over 1,200 bytes take longer than a microsecond */
}

static void test_ipv6(void)
{
	struct answer a;
	struct ref_user u;
	peer.ipv6 = true;
	peer.has_cookie = false;
	CU_ASSERT(peer_hello(&peer, &a));
	fill_user(&u, 8000, 33);
	CU_ASSERT_FATAL(ask_history(u.id, &u, true, &a));
	CU_ASSERT(list_is(&a, &u, 10));
	peer.ipv6 = false;
	CU_ASSERT(peer_hello(&peer, &a));
}

static void test_aside(void)
{
	uint8_t arp[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0,
		6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 47, 0, 2, 0, 0, 0, 0, 0, 0, 10, 47, 0, 1};
	uint8_t back[2048];
	peer_send_frame(&peer, 0, arp, sizeof(arp));
	CU_ASSERT_EQUAL_FATAL(peer_receive_frame(&peer, back, sizeof(back), 1000), 60);
	CU_ASSERT_EQUAL(back[21], 2);
	CU_ASSERT_EQUAL(memcmp(back + 22, peer.daemon_mac, 6), 0);
	arp[41] = 77; /* somebody else */
	peer_send_frame(&peer, 0, arp, sizeof(arp));
	CU_ASSERT_EQUAL(peer_receive_frame(&peer, back, sizeof(back), 50), 0);
}

static void test_malformed(void)
{
	struct outgoing o;
	struct wr_writer w;
	struct answer a;
	uint8_t frame[2048];
	outgoing_begin(&o, &w, &peer, WR_OP_RECOMMEND, 1, 0);
	wr_writer_ask(&w, 10, 0);
	outgoing_end(&o, &w, &peer, 256);
	o.bytes[WR_WIRE_HEADER_BYTES + 2] = 200; /* ASK with a wrong length */
	CU_ASSERT_FATAL(peer_ask(&peer, 0, 0, &o, &a));
	CU_ASSERT_EQUAL(a.m.answer->status, WR_STATUS_MALFORMED);
	o.bytes[0] = 9;
	CU_ASSERT_FATAL(peer_ask(&peer, 0, 0, &o, &a));
	CU_ASSERT_EQUAL(a.m.answer->status, WR_STATUS_VERSION);
	/* random frames, random cuts: none may be answered with anything but an answer, and all are
	 * counted */
	struct wr_rng r;
	wr_rng_init(&r, 3, 0);
	for (unsigned int i = 0; i < 2000; i++) {
		size_t n = 1 + wr_rng_below(&r, 1400);
		for (size_t b = 0; b < n; b++)
			frame[b] = (uint8_t)wr_rng_u64(&r);
		if (i % 2) {
			static const uint8_t head[14] = {
				2, 0, 0, 0, 0x47, 0, 2, 0, 0, 0, 0, 9, 8, 0};
			memcpy(frame, head, WR_MIN(n, sizeof(head)));
			frame[14] = 0x45;
		}
		peer_send_frame(&peer, 0, frame, n);
	}
	while (peer_receive_frame(&peer, frame, sizeof(frame), 20))
		;
	CU_ASSERT(peer_hello(&peer, &a));
}

static void test_end(void)
{
	struct daemon_end end;
	peer_close(&peer);
	CU_ASSERT(daemon_stop(&daemon_, &end));
	CU_ASSERT(WIFEXITED(end.status) && WEXITSTATUS(end.status) == 0);
	CU_ASSERT_FATAL(end.said);
	CU_ASSERT_EQUAL(end.received, peer.sent);
	CU_ASSERT_EQUAL(end.received, end.outcomes);
	CU_ASSERT(end.deferred > 0);
	CU_ASSERT_EQUAL(end.drained, 0);
}

/* Largest bursts that are allowed, and sizes around those of groups; each daemon is a new one. */
static void test_burst_sizes(void)
{
	static const char *const sets[][2] = {{"--set=corridor.burst=1", NULL},
		{"--set=corridor.burst=2", NULL}, {"--set=corridor.burst=7", NULL},
		{"--set=corridor.burst=64", NULL}};
	struct daemon_end end;
	struct answer a;
	for (unsigned int i = 0; i < WR_ARRAY_LEN(sets); i++) {
		daemon_start(&daemon_, sets[i]);
		peer_connect(&peer, &daemon_, 1);
		peer.has_cookie = peer.ipv6 = false;
		CU_ASSERT_FATAL(peer_hello(&peer, &a));
		test_same_user_burst();
		test_new_user_burst();
		peer_close(&peer);
		CU_ASSERT(daemon_stop(&daemon_, &end));
		CU_ASSERT_EQUAL(end.received, end.outcomes);
	}
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"HELLO tells limits, shards, ports, and gives a cookie", test_hello},
		{"the length rule", test_length_rule},
		{"echo touches no state, answers are padded on request", test_echo_and_pad},
		{"an unknown user gets what is popular", test_unknown_user},
		{"lists are the reference's, item for item", test_lists},
		{"seen, exclusions, the largest K", test_filters},
		{"duplicates and conversions", test_duplicates},
		{"numbers, gaps, history", test_numbers},
		{"FORGET wants proof", test_forget},
		{"one user's requests in one burst act one behind the other", test_same_user_burst},
		{"a new user's first event and question in one burst", test_new_user_burst},
		{"a spent budget", test_deadline},
		{"IPv6", test_ipv6},
		{"ARP is answered", test_aside},
		{"malformed frames and messages", test_malformed},
		{"SIGTERM: received = Σ outcomes, nothing left behind", test_end},
		{"the same in bursts of any size", test_burst_sizes},
	};
	harness_eal();
	daemon_prepare(&daemon_, N_ITEMS, 1);
	reference_open(&ref, daemon_.bundle);
	daemon_start(&daemon_, NULL);
	peer_connect(&peer, &daemon_, 1);
	int rc = wr_test_run("daemon", tests, WR_ARRAY_LEN(tests));
	reference_close(&ref);
	daemon_remove(&daemon_);
	return rc;
}
