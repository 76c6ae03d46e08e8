/* SPDX-License-Identifier: BSD-3-Clause */
/* From a received frame to a decoded, admitted request that is at its owner: parse, admit,
 * hand-over. */
#include "serve_int.h"

#include <rte_mbuf.h>
#include <rte_ring.h>

#include <stdlib.h>
#include <string.h>

void wr_serve_frame_end(struct worker *w, struct burst *b, unsigned int i, enum wr_outcome outcome)
{
	count_outcome(w, outcome, 1);
	rte_pktmbuf_free(b->mbuf[i]);
	b->todo[i] = TODO_NOTHING;
}

void wr_serve_frame_defer(struct worker *w, struct burst *b, unsigned int i)
{
	struct frame_state *f = b->state[i];
	if (!f->deferred)
		count(w, WR_COUNTER_deferred, 1);
	f->deferred = true;
	w->deferred[w->n_deferred++] = b->mbuf[i];
	b->todo[i] = TODO_NOTHING;
}

/*
 * What the parsers read. A sanitizer build gives them a copy on the heap of exactly the frame's
 * size: mempools have no red zones, so that a read beyond the frame would go unreported in place.
 * Freed by release_view.
 */
static const uint8_t *frame_view(const struct rte_mbuf *m)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
#if WR_SANITIZE
	uint8_t *copy = malloc(rte_pktmbuf_data_len(m));
	if (!copy)
		abort();
	memcpy(copy, data, rte_pktmbuf_data_len(m));
	data = copy;
#endif
	return data;
}

static enum wr_outcome parse_frame(struct worker *w, struct burst *b, unsigned int i)
{
	struct rte_mbuf *m = b->mbuf[i];
	if (m->nb_segs != 1)
		return WR_OUTCOME_frame_segments;
#if WR_SEED_OVERREAD
	(void)*(const volatile uint8_t *)&b->bytes[i][rte_pktmbuf_data_len(m)];
#endif
	enum wr_outcome o = wr_port_parse(&w->serve->us, m, b->bytes[i], &b->state[i]->frame);
	if (o == WR_OUTCOME_frame_not_ours && rte_pktmbuf_tailroom(m) >= WR_FRAME_ASIDE_GROW) {
		if (wr_frame_is_conflict(&w->serve->us, b->bytes[i], rte_pktmbuf_data_len(m)))
			count(w, WR_COUNTER_address_conflicts, 1);
		/* Somebody may be asking who we are; the request's own mbuf carries the answer. */
		uint32_t len = wr_frame_aside(
			&w->serve->us, rte_pktmbuf_mtod(m, uint8_t *), rte_pktmbuf_data_len(m));
		if (len) {
			m->data_len = (uint16_t)len;
			m->pkt_len = len;
			b->state[i]->outcome = WR_OUTCOME_answered_aside;
			b->out[b->n_out++] = m;
			b->todo[i] = TODO_NOTHING;
		}
	}
	return o;
}

static enum todo todo_of(const struct wr_message *m)
{
	switch (m->header.op) {
	case WR_OP_HELLO:
		return TODO_HELLO;
	case WR_OP_FORGET:
		return TODO_FORGET;
	case WR_OP_EVENT:
		return TODO_EVENT;
	default:
		return m->ask->k ? TODO_RECOMMEND : TODO_ECHO;
	}
}

static bool needs_owner(enum todo t)
{
	return t == TODO_RECOMMEND || t == TODO_EVENT || t == TODO_FORGET;
}

void wr_serve_stage_parse(struct worker *w, struct burst *b)
{
	b->n_expected = 0;
	for (unsigned int i = 0; i < b->n; i++) {
		struct frame_state *f = b->state[i];
		b->bytes[i] = frame_view(b->mbuf[i]);
		if (!f->handed_over && !f->deferred) {
			enum wr_outcome o = parse_frame(w, b, i);
			if (b->todo[i] == TODO_NOTHING)
				continue;
			if (o != WR_OUTCOME_answered) {
				if (w->serve->to_kernel && wr_serve_kernel_takes(o))
					wr_serve_to_kernel(w, b, i);
				else
					wr_serve_frame_end(w, b, i, o);
				continue;
			}
		}
		b->decoded[i] = (uint8_t)wr_wire_decode_request(
			b->bytes[i] + f->frame.payload_off, f->frame.payload_len, &b->message[i]);
		if (!f->handed_over && !f->deferred)
			wr_count(&w->metrics->decode[b->decoded[i]], 1);
		if (b->decoded[i] == WR_DECODE_OK && needs_owner(todo_of(&b->message[i])))
			b->expected[b->n_expected++] = b->message[i].header.user_id;
	}
	wr_table_expect(w->table, b->n_expected, b->expected);
}

/* To the worker that owns the user's shard, once. */
static void hand_over(struct worker *w, struct burst *b, unsigned int i)
{
	struct wr_serve *s = w->serve;
	unsigned int owner = s->shards[wr_wire_shard(b->message[i].header.user_id)];
	struct frame_state *f = b->state[i];

	if (owner == w->index || f->handed_over)
		return;
	f->handed_over = true;
	if (rte_ring_mp_enqueue(s->workers[owner]->handover, b->mbuf[i]) != 0) {
		wr_serve_frame_end(w, b, i, WR_OUTCOME_handover_full);
		return;
	}
	count(w, WR_COUNTER_handed_over, 1);
	b->todo[i] = TODO_NOTHING;
}

static void carry_out(
	struct worker *w, struct burst *b, unsigned int i, const struct wr_admit_verdict *v)
{
	b->verdict[i] = *v;
	b->status[i] = v->status;
	b->flags[i] = b->state[i]->handed_over ? WR_ANS_HANDED_OVER : 0;
	b->k[i] = 0;
	b->ack_seq[i] = 0;
	b->durability[i] = WR_DURABLE_NONE;
	b->degrade[i] = WR_DEGRADE_NONE;
	b->n_intents[i] = 0;
	if (v->action == WR_ADMIT_DROP) {
		wr_serve_frame_end(w, b, i, v->outcome);
		return;
	}
	if (v->action == WR_ADMIT_ANSWER) {
		if (b->decoded[i] != WR_DECODE_OK)
			count(w, WR_COUNTER_decode_errors, 1);
		return;
	}
	b->todo[i] = (uint8_t)todo_of(&b->message[i]);
	if (b->message[i].header.domain != 0 && b->todo[i] != TODO_HELLO) {
		b->todo[i] = TODO_ANSWER;
		b->status[i] = WR_STATUS_DOMAIN;
		b->verdict[i].outcome = WR_OUTCOME_answered_error;
		return;
	}
	if (b->todo[i] == TODO_RECOMMEND)
		b->k[i] = b->message[i].ask->k;
	else if (b->todo[i] == TODO_ECHO)
		count(w, WR_COUNTER_echoes, 1);
	else if (b->todo[i] == TODO_HELLO)
		count(w, WR_COUNTER_hellos, 1);
	if (!needs_owner(b->todo[i]))
		return;
	hand_over(w, b, i);
	if (b->todo[i] == TODO_NOTHING)
		return;
	b->any_stateful = true;
}

void wr_serve_stage_admit(struct worker *w, struct burst *b)
{
	unsigned int n = 0;
	uint8_t at[BURST];

	b->any_stateful = false;
	for (unsigned int i = 0; i < b->n; i++) {
		if (b->todo[i] == TODO_NOTHING)
			continue;
		struct wr_admit_request *r = &b->request[n];
		memcpy(r->address, b->state[i]->frame.source, sizeof(r->address));
		r->message = &b->message[i];
		r->arrival_tsc = b->state[i]->arrival_tsc;
		r->bytes = b->state[i]->frame.payload_len;
		r->decoded = b->decoded[i];
		at[n++] = (uint8_t)i;
	}
	struct wr_admit_verdict verdict[BURST];
	wr_admit_check(w->serve->admit, &w->memo, b->request, n, w->stage_from, verdict);
	wr_table_expect_rows(w->table, b->n_expected, b->expected, NULL);
	for (unsigned int j = 0; j < n; j++)
		carry_out(w, b, at[j], &verdict[j]);
}
