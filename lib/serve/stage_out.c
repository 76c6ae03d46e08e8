/* SPDX-License-Identifier: BSD-3-Clause */
/* Answers into their requests' own mbufs, and out: each on its worker's queue, or through the ring
 * of one that has one. */
#include "serve_int.h"

#include <rte_mbuf.h>
#include <rte_ring.h>

#include <stdlib.h>
#include <string.h>

#define ANSWER_BYTES \
	(WR_WIRE_HEADER_BYTES + WR_WIRE_SECTION_HEAD + (uint32_t)sizeof(struct wr_wire_answer))
#define COOKIE_BYTES (WR_WIRE_SECTION_HEAD + (uint32_t)sizeof(struct wr_wire_cookie))
#define SERVER_BYTES (WR_WIRE_SECTION_HEAD + (uint32_t)sizeof(struct wr_wire_server))
#define SHARDS_BYTES (WR_WIRE_SECTION_HEAD + WR_WIRE_N_SHARDS)

static void release_view(const struct burst *b, unsigned int i)
{
#if WR_SANITIZE
	free((void *)(uintptr_t)b->bytes[i]);
#else
	(void)b, (void)i;
#endif
}

/* Bytes that are left for sections of the operation's own. */
static uint32_t room(const struct burst *b, unsigned int i)
{
	uint32_t used = ANSWER_BYTES + (b->verdict[i].give_cookie ? COOKIE_BYTES : 0),
		 have = b->verdict[i].reply_bytes;
	return have > used ? have - used : 0;
}

/* How many of the items fit; says so in the answer's flags when not all do. */
static unsigned int fitting_items(struct worker *w, struct burst *b, unsigned int i)
{
	if (b->todo[i] != TODO_RECOMMEND)
		return 0;
	unsigned int n = w->n_items[b->rec_of[i]];
	uint32_t left = room(b, i);
	unsigned int fit =
		left < WR_WIRE_SECTION_HEAD
			? 0
			: (left - WR_WIRE_SECTION_HEAD) / (uint32_t)sizeof(struct wr_wire_item);
	if (fit < n) {
		b->flags[i] |= WR_ANS_SHORTENED;
		count(w, WR_COUNTER_shortened, 1);
		n = fit;
	}
	return n;
}

static void write_items(
	struct worker *w, struct burst *b, unsigned int i, struct wr_writer *out, unsigned int n)
{
	if (n == 0) /* its head alone could make the answer longer than the request */
		return;
	const struct wr_rank_item *from = w->items + (size_t)b->rec_of[i] * WR_RANK_MAX_K;
	struct wr_wire_item *to = wr_writer_section(out, WR_SEC_ITEMS, (uint8_t)n, n * sizeof(*to));
	for (unsigned int k = 0; to && k < n; k++)
		to[k] = (struct wr_wire_item){.item = from[k].item,
			.score = from[k].score,
			.reason = from[k].reason,
			.propensity = 1.0f};
}

/* Which sections of a HELLO answer fit: bit 0 SERVER, bit 1 SHARDS and PORTS. */
static unsigned int fitting_hello(struct worker *w, struct burst *b, unsigned int i)
{
	uint32_t ports = WR_WIRE_SECTION_HEAD + WR_ALIGN_UP(2 * w->serve->o.n_workers, 4u),
		 left = room(b, i);
	unsigned int what = left >= SERVER_BYTES + SHARDS_BYTES + ports ? 3
			    : left >= SERVER_BYTES                      ? 1
									: 0;
	if (what != 3) {
		b->flags[i] |= WR_ANS_SHORTENED;
		count(w, WR_COUNTER_shortened, 1);
	}
	return what;
}

static void write_hello(const struct wr_serve *s, struct wr_writer *out, unsigned int what)
{
	void *to;
	if ((what & 1) && (to = wr_writer_section(out, WR_SEC_SERVER, 0, sizeof(s->hello))))
		memcpy(to, &s->hello, sizeof(s->hello));
	if (!(what & 2))
		return;
	unsigned int n = s->o.n_workers;
	if ((to = wr_writer_section(out, WR_SEC_SHARDS, 0, sizeof(s->shards))))
		memcpy(to, s->shards, sizeof(s->shards));
	if ((to = wr_writer_section(out, WR_SEC_PORTS, (uint8_t)n, n * sizeof(s->ports[0]))))
		memcpy(to, s->ports, n * sizeof(s->ports[0]));
}

/* What all answers of a burst share. */
struct answering {
	uint64_t now, arrival; /* server_us: of a request that arrived then */
	int64_t unix_ms;
	uint32_t server_us;
};

static void store_u64(uint8_t *at, uint64_t v)
{
	memcpy(at, &v, sizeof(v));
}

static void store_pair(uint8_t *at, uint32_t first, uint32_t second)
{
	store_u64(at, first | (uint64_t)second << 32);
}

/*
 * Header (its length is still 0) and ANSWER, which every answer begins with, straight into the
 * datagram, eight bytes a store: their places and sizes never change, and a struct that is filled
 * byte by byte and then copied waits for its own stores.
 */
static void write_head(struct worker *w, const struct burst *b, unsigned int i,
	struct answering *all, uint8_t *payload)
{
	static_assert(offsetof(struct wr_wire_header, flags) == 4 &&
			      offsetof(struct wr_wire_header, domain) == 6 &&
			      offsetof(struct wr_wire_header, request_id) == 8 &&
			      offsetof(struct wr_wire_header, user_id) == 16 &&
			      offsetof(struct wr_wire_header, time_ms) == 24,
		"layout");
	static_assert(offsetof(struct wr_wire_answer, bundle_version) == 4 &&
			      offsetof(struct wr_wire_answer, shard_epoch) == 12 &&
			      offsetof(struct wr_wire_answer, server_us) == 16 &&
			      offsetof(struct wr_wire_answer, policy_id) == 24 &&
			      offsetof(struct wr_wire_answer, ack_seq) == 32,
		"layout");
	const struct wr_serve *s = w->serve;
	const struct wr_wire_header *asked = &b->message[i].header;
	uint64_t arrival = b->state[i]->arrival_tsc;
	uint8_t *answer = payload + WR_WIRE_HEADER_BYTES + WR_WIRE_SECTION_HEAD;
	uint8_t op = (uint8_t)(b->status[i] == WR_STATUS_OK ? asked->op | WR_OP_ANSWER
							    : WR_OP_ERROR | WR_OP_ANSWER);

	if (arrival != all->arrival) {
		all->arrival = arrival;
		all->server_us = (uint32_t)(tsc_to_ns(s, all->now - arrival) / 1000);
	}
	uint64_t request_id = asked->request_id, user_id = asked->user_id;
	store_u64(payload, WR_WIRE_VERSION | (uint64_t)op << 8 | (uint64_t)b->flags[i] << 32 |
				   (uint64_t)asked->domain << 48);
	store_u64(payload + 8, request_id);
	store_u64(payload + 16, user_id);
	store_u64(payload + 24, (uint64_t)all->unix_ms);
	store_pair(answer - WR_WIRE_SECTION_HEAD,
		WR_SEC_ANSWER | (uint32_t)sizeof(struct wr_wire_answer) << 16,
		b->status[i] | (uint32_t)b->degrade[i] << 8 | (uint32_t)b->durability[i] << 16 |
			(uint32_t)b->n_intents[i] << 24);
	store_pair(answer + 4, s->hello.bundle_version, s->generation);
	store_pair(answer + 12, s->epoch, all->server_us);
	store_pair(answer + 20, 0, 1); /* retry_after_ms, policy_id */
	store_pair(answer + 28, 0, 0);
	store_u64(answer + 32, b->ack_seq[i]);
}

/* PAD up to `bytes`, as wr_writer_pad does, with its zeros stored by vectors. */
static void write_pad(struct wr_writer *out, uint32_t bytes)
{
	typedef uint64_t vector __attribute__((vector_size(16), aligned(1), may_alias));
	const vector zero = {0};
	uint32_t body = bytes - out->used - WR_WIRE_SECTION_HEAD;
	uint8_t *at = out->data + out->used;

	if (body < sizeof(vector)) {
		wr_writer_pad(out, bytes);
		return;
	}
	uint32_t head = WR_SEC_PAD | body << 16;
	memcpy(at, &head, sizeof(head));
	at += WR_WIRE_SECTION_HEAD;
	for (uint32_t off = 0; off + sizeof(vector) <= body; off += sizeof(vector))
		*(vector *)(at + off) = zero;
	*(vector *)(at + body - sizeof(vector)) = zero;
	out->used = bytes;
}

/* The whole answer into the request's payload; its bytes, and in *used those behind which it is
 * zero. Everything of the request that is still needed was read. */
static uint32_t write_message(struct worker *w, struct burst *b, unsigned int i,
	struct answering *all, uint8_t *payload, uint16_t *used)
{
	unsigned int n_items = fitting_items(w, b, i), hello = 0;
	if (b->todo[i] == TODO_HELLO)
		hello = fitting_hello(w, b, i);
	bool pad = b->message[i].header.flags & WR_REQ_PAD_ANSWER,
	     give_cookie = b->verdict[i].give_cookie;
	uint32_t asked_bytes = WR_ALIGN_UP(b->state[i]->frame.payload_len, 4u);
	write_head(w, b, i, all, payload);
	struct wr_writer out = {.data = payload, .size = WR_WIRE_MAX_BYTES, .used = ANSWER_BYTES};
	if (b->todo[i] == TODO_RECOMMEND)
		write_items(w, b, i, &out, n_items);
	if (b->todo[i] == TODO_HELLO)
		write_hello(w->serve, &out, hello);
	if (give_cookie) {
		struct wr_wire_cookie cookie;
		wr_admit_cookie(w->serve->admit, b->state[i]->frame.source, &cookie);
		wr_writer_cookie(&out, &cookie);
	}
	*used = (uint16_t)out.used;
	if (pad && asked_bytes > out.used) {
		*used = (uint16_t)(out.used + WR_WIRE_SECTION_HEAD);
		write_pad(&out, WR_MIN(asked_bytes, (uint32_t)WR_WIRE_MAX_BYTES));
	}
	int bytes = wr_writer_finish(&out);
	assert(bytes > 0); /* room() and the mbuf's 2 KB leave no other way */
	return (uint32_t)bytes;
}

/* Of n answers whose requests arrived together. */
static void note_server_time(struct worker *w, uint64_t ticks, unsigned int n)
{
	if (n)
		wr_hist_add(&w->metrics->server_ns, tsc_to_ns(w->serve, ticks), n);
}

void wr_serve_stage_reply(struct worker *w, struct burst *b, unsigned int end)
{
	const unsigned int first = b->n_replied;
	const struct wr_serve *s = w->serve;
	uint64_t now = w->stage_from, arrival = now;
	unsigned int n_alike = 0;
	uint16_t bytes[BURST], used[BURST];
	struct answering all = {.now = now, .arrival = now, .unix_ms = unix_ms(s, now)};

	b->n_replied = end;
	for (unsigned int i = first; i < end; i++) {
		release_view(b, i);
		if (b->todo[i] == TODO_NOTHING)
			continue;
		uint8_t *data = rte_pktmbuf_mtod(b->mbuf[i], uint8_t *);
		bytes[i] = (uint16_t)write_message(
			w, b, i, &all, data + b->state[i]->frame.reply_off, &used[i]);
	}
	/* Headers and sums in a loop of their own: a sum that follows its message at once waits
	 * until what was stored in small pieces has reached the cache. */
	for (unsigned int i = first; i < end; i++) {
		if (b->todo[i] == TODO_NOTHING)
			continue;
		struct rte_mbuf *m = b->mbuf[i];
		struct frame_state *f = b->state[i];
		wr_port_reply(&s->us, m, &f->frame, bytes[i], used[i]);
		f->outcome = b->verdict[i].outcome;
		if (f->arrival_tsc != arrival) {
			note_server_time(w, now - arrival, n_alike);
			arrival = f->arrival_tsc;
			n_alike = 0;
		}
		n_alike++;
		b->out[b->n_out++] = m;
	}
	note_server_time(w, now - arrival, n_alike);
}

static void drop_replies(struct worker *w, struct rte_mbuf **m, unsigned int n)
{
	if (n == 0)
		return;
	count_outcome(w, WR_OUTCOME_tx_full, n);
	rte_pktmbuf_free_bulk(m, n);
}

/* Outcomes are read before the driver gets the mbufs: it frees them. */
static void send_burst(struct worker *w, struct rte_mbuf **m, unsigned int n)
{
	uint8_t outcome[2 * BURST];
	bool all_answered = true;
	for (unsigned int i = 0; i < n; i++) {
		outcome[i] = ((struct frame_state *)rte_mbuf_to_priv(m[i]))->outcome;
		all_answered &= outcome[i] == WR_OUTCOME_answered;
	}
	unsigned int sent = wr_port_transmit(w->serve->port, w->index, m, n);
	if (all_answered)
		count_outcome(w, WR_OUTCOME_answered, sent);
	else
		for (unsigned int i = 0; i < sent; i++)
			count_outcome(w, outcome[i], 1);
	drop_replies(w, m + sent, n - sent);
}

void wr_serve_stage_transmit(struct worker *w, struct burst *b)
{
	unsigned int n_live = w->n_live;
	if (w->index < n_live) {
		struct rte_mbuf *returned[BURST];
		unsigned int n =
			rte_ring_sc_dequeue_burst(w->returns, (void **)returned, BURST, NULL);
		if (n)
			send_burst(w, returned, n);
		if (b->n_out)
			send_burst(w, b->out, b->n_out);
	} else if (n_live > 0 && b->n_out) {
		struct rte_ring *ring = w->serve->workers[w->index % n_live]->returns;
		unsigned int n =
			rte_ring_mp_enqueue_burst(ring, (void *const *)b->out, b->n_out, NULL);
		drop_replies(w, b->out + n, b->n_out - n);
	} else {
		drop_replies(w, b->out, b->n_out);
	}
	b->n_out = 0;
}
