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

static void write_answer(const struct worker *w, const struct burst *b, unsigned int i,
	struct wr_writer *out, uint64_t now)
{
	const struct wr_serve *s = w->serve;
	struct wr_wire_answer *a = wr_writer_section(out, WR_SEC_ANSWER, 0, sizeof(*a));
	if (!a)
		return;
	*a = (struct wr_wire_answer){
		.status = b->status[i],
		.degrade = b->degrade[i],
		.durability = b->durability[i],
		.n_intents = b->n_intents[i],
		.bundle_version = s->hello.bundle_version,
		.model_generation = s->generation,
		.shard_epoch = s->epoch,
		.server_us = (uint32_t)(tsc_to_ns(s, now - b->state[i]->arrival_tsc) / 1000),
		.policy_id = 1,
		.ack_seq = b->ack_seq[i],
	};
}

/* The whole answer into the request's payload; its bytes. Everything of the request that is still
 * needed was read. */
static uint32_t write_message(
	struct worker *w, struct burst *b, unsigned int i, uint8_t *payload, uint64_t now)
{
	const struct wr_wire_header *asked = &b->message[i].header;
	unsigned int n_items = fitting_items(w, b, i), hello = 0;
	if (b->todo[i] == TODO_HELLO)
		hello = fitting_hello(w, b, i);
	bool pad = asked->flags & WR_REQ_PAD_ANSWER, give_cookie = b->verdict[i].give_cookie;
	uint32_t asked_bytes = b->state[i]->frame.payload_len;
	struct wr_wire_header h = {
		.version = WR_WIRE_VERSION,
		.op = (uint8_t)(b->status[i] == WR_STATUS_OK ? asked->op | WR_OP_ANSWER
							     : WR_OP_ERROR | WR_OP_ANSWER),
		.flags = b->flags[i],
		.domain = asked->domain,
		.request_id = asked->request_id,
		.user_id = asked->user_id,
		.time_ms = unix_ms(w->serve, now),
	};
	struct wr_writer out;
	wr_writer_init(&out, payload, WR_WIRE_MAX_BYTES, &h);
	write_answer(w, b, i, &out, now);
	if (b->todo[i] == TODO_RECOMMEND)
		write_items(w, b, i, &out, n_items);
	if (b->todo[i] == TODO_HELLO)
		write_hello(w->serve, &out, hello);
	if (give_cookie) {
		struct wr_wire_cookie cookie;
		wr_admit_cookie(w->serve->admit, b->state[i]->frame.source, &cookie);
		wr_writer_cookie(&out, &cookie);
	}
	if (pad)
		wr_writer_pad(&out, asked_bytes);
	int bytes = wr_writer_finish(&out);
	assert(bytes > 0); /* room() and the mbuf's 2 KB leave no other way */
	return (uint32_t)bytes;
}

void wr_serve_stage_reply(struct worker *w, struct burst *b)
{
	uint64_t now = wr_clock_tsc();

	for (unsigned int i = 0; i < b->n; i++) {
		release_view(b, i);
		if (b->todo[i] == TODO_NOTHING)
			continue;
		struct rte_mbuf *m = b->mbuf[i];
		struct frame_state *f = b->state[i];
		uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
		uint32_t bytes = write_message(w, b, i, data + f->frame.reply_off, now);
		wr_port_reply(&w->serve->us, m, &f->frame, bytes);
		f->outcome = b->verdict[i].outcome;
		wr_hist_add(&w->metrics->server_ns, tsc_to_ns(w->serve, now - f->arrival_tsc), 1);
		b->out[b->n_out++] = m;
	}
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
	for (unsigned int i = 0; i < n; i++)
		outcome[i] = ((struct frame_state *)rte_mbuf_to_priv(m[i]))->outcome;
	unsigned int sent = wr_port_transmit(w->serve->port, w->index, m, n);
	for (unsigned int i = 0; i < sent; i++)
		count_outcome(w, outcome[i], 1);
	drop_replies(w, m + sent, n - sent);
}

void wr_serve_stage_transmit(struct worker *w, struct burst *b, unsigned int n_live)
{
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
