/* SPDX-License-Identifier: BSD-3-Clause */
/* Staging, sending and receiving of frames; routes; what HELLO says. One burst costs one call a
 * queue. */
#include "load_core.h"

#include <rte_ethdev.h>

#include <stdio.h>

struct wr_load_route wr_load_route(const struct wr_load *l, uint64_t user)
{
	struct wr_load_route r = {.port = l->address.server_port};

	if (!l->server.known)
		return r;
	unsigned int owner = l->server.shards[wr_wire_shard(user)];
	r.port = l->server.ports[owner];
	r.queue = (uint16_t)(owner < l->n_queues ? owner : 0);
	r.astray = r.queue != owner && l->options.memif;
	return r;
}

struct wr_load_route wr_load_detour(const struct wr_load *l, struct wr_load_route r, unsigned int n)
{
	r.queue = (uint16_t)((r.queue + n) % l->n_queues);
	if (r.queue < l->server.n_ports)
		r.port = l->server.ports[r.queue];
	r.astray = true;
	return r;
}

uint8_t *wr_load_stage(struct wr_load *l, uint16_t queue)
{
	struct wr_load_queue *q = &l->queue[queue];

	if (q->n_staged == WR_LOAD_STAGE)
		return NULL;
	struct rte_mbuf *m = rte_pktmbuf_alloc(l->pool);
	if (!m)
		return NULL;
	q->staged[q->n_staged] = m;
	return rte_pktmbuf_mtod(m, uint8_t *);
}

void wr_load_commit(struct wr_load *l, uint16_t queue, uint16_t bytes)
{
	struct wr_load_queue *q = &l->queue[queue];
	struct rte_mbuf *m = q->staged[q->n_staged++];

	m->data_len = bytes;
	m->pkt_len = bytes;
}

unsigned int wr_load_flush(struct wr_load *l)
{
	unsigned int total = 0, n_live;

	if (!wr_gate_pass(0, &n_live))
		return 0;
	for (uint16_t i = 0; i < WR_MIN(l->n_queues, n_live); i++) {
		struct wr_load_queue *q = &l->queue[i];
		if (q->n_staged == 0)
			continue;
		uint16_t n = rte_eth_tx_burst(l->port_id, i, q->staged, q->n_staged);
		if (n < q->n_staged) {
			l->tx_full++;
			memmove(q->staged, q->staged + n,
				(size_t)(q->n_staged - n) * sizeof(q->staged[0]));
		}
		q->n_staged = (uint16_t)(q->n_staged - n);
		total += n;
	}
	l->tx_frames += total;
	return total;
}

bool wr_load_staged(const struct wr_load *l)
{
	for (uint16_t i = 0; i < l->n_queues; i++)
		if (l->queue[i].n_staged)
			return true;
	return false;
}

unsigned int wr_load_unstage(struct wr_load *l)
{
	unsigned int n = 0;

	for (uint16_t i = 0; i < l->n_queues; i++) {
		struct wr_load_queue *q = &l->queue[i];
		for (uint16_t j = 0; j < q->n_staged; j++)
			rte_pktmbuf_free(q->staged[j]);
		n += q->n_staged;
		q->n_staged = 0;
	}
	return n;
}

void wr_load_send(
	struct wr_load *l, struct wr_load_route r, uint8_t *frame, uint16_t n, uint16_t n_used)
{
	wr_load_commit(l, r.queue, wr_load_frame_finish(&l->head, frame, n, n_used, r.port));
}

static void receive(
	struct wr_load *l, const struct rte_mbuf *m, wr_load_answer fn, void *ctx, uint64_t now)
{
	const uint8_t *payload;
	size_t n;
	uint16_t port;
	struct wr_message message;

	if (m->nb_segs != 1) {
		l->frames_bad++;
		return;
	}
	switch (wr_load_frame_parse(
		&l->head, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, &payload, &n, &port)) {
	case WR_LOAD_FRAME_OK:
		break;
	case WR_LOAD_FRAME_OTHER:
		l->frames_other++;
		return;
	default:
		l->frames_bad++;
		return;
	}
	if (wr_wire_decode_answer(payload, n, &message) != WR_DECODE_OK) {
		l->messages_bad++;
		return;
	}
	if (message.header.request_id & WR_ID_MALFORMED) {
		l->malformed_answers[message.answer->status & 15]++;
		return;
	}
	if (l->hello_id && message.header.request_id == l->hello_id) {
		struct wr_errmsg msg;
		l->hello_id = 0; /* one that is no use is asked again */
		(void)!wr_load_take_hello(l, &message, &msg);
		return;
	}
	if (l->server.known && message.answer->shard_epoch != l->server.shard_epoch)
		l->stale = true;
	l->datagram = payload;
	l->datagram_bytes = n;
	fn(ctx, &message, now);
}

unsigned int wr_load_poll(struct wr_load *l, wr_load_answer fn, void *ctx)
{
	struct rte_mbuf *burst[WR_LOAD_BURST];
	unsigned int total = 0, n_live;

	if (!wr_gate_pass(0, &n_live))
		return 0;
	for (uint16_t q = 0; q < WR_MIN(l->n_queues, n_live); q++) {
		uint16_t n = rte_eth_rx_burst(l->port_id, q, burst, WR_LOAD_BURST);
		if (n == 0)
			continue;
		uint64_t now = wr_clock_tsc();
		for (uint16_t i = 0; i < n; i++)
			receive(l, burst[i], fn, ctx, now);
		rte_pktmbuf_free_bulk(burst, n);
		total += n;
	}
	l->rx_frames += total;
	return total;
}

void wr_load_clock_start(struct wr_load_clock *c)
{
	c->busy = 0;
	c->cpu_start_ns = wr_clock_thread_cpu_ns();
	c->start = c->last = wr_clock_tsc();
}

void wr_load_clock_end(const struct wr_load_clock *c, const struct wr_load *l, double *busy_share,
	double *cpu_share)
{
	uint64_t ticks = wr_clock_tsc() - c->start;
	double seconds = (double)ticks / (double)l->tsc_hz;

	*busy_share = ticks ? (double)c->busy / (double)ticks : 0;
	*cpu_share = seconds > 0
			     ? (double)(wr_clock_thread_cpu_ns() - c->cpu_start_ns) / 1e9 / seconds
			     : 0;
}

void wr_load_take_cookie(struct wr_load *l, const struct wr_message *m)
{
	if (!m->cookie)
		return;
	l->server.cookie = *m->cookie;
	l->server.has_cookie = true;
}

int wr_load_take_hello(struct wr_load *l, const struct wr_message *m, struct wr_errmsg *msg)
{
	struct wr_load_server *s = &l->server;

	if (m->answer->status != WR_STATUS_OK)
		return wr_fail(msg, WR_EPERM, "the server refuses HELLO with status %u",
			m->answer->status);
	if (!m->server || !m->shards || !m->ports)
		return wr_fail(
			msg, WR_EFORMAT, "the answer to HELLO lacks SERVER, SHARDS or PORTS");
	for (unsigned int i = 0; i < WR_WIRE_N_SHARDS; i++)
		if (m->shards[i] >= m->n_ports)
			return wr_fail(
				msg, WR_EFORMAT, "shard %u of HELLO points beyond its ports", i);
	memcpy(s->shards, m->shards, sizeof(s->shards));
	memcpy(s->ports, m->ports, m->n_ports * sizeof(s->ports[0]));
	s->n_ports = m->n_ports;
	s->n_items = m->server->n_items;
	s->history_events = m->server->history_events;
	if (s->known && s->shard_epoch != m->server->shard_epoch)
		l->epoch_changes++;
	l->stale = false;
	s->shard_epoch = m->server->shard_epoch;
	s->bundle_version = m->server->bundle_version;
	s->model_generation = m->server->model_generation;
	for (unsigned int i = 0; i < 16; i++)
		snprintf(s->bundle + 2 * i, 3, "%02x", m->server->bundle_id[i]);
	wr_load_take_cookie(l, m);
	s->known = true;
	return 0;
}

void wr_load_hello_message(struct wr_writer *w, uint64_t id)
{
	struct wr_wire_header h = wr_load_header(WR_OP_HELLO, id, WR_USERS_TALK, 0);

	wr_writer_init(w, w->data, w->size, &h);
	wr_writer_pad(w, WR_WIRE_MAX_BYTES);
}

void wr_load_follow(struct wr_load *l, uint64_t now)
{
	if (!l->stale || (l->hello_id && now - l->hello_tsc < wr_load_ticks(l, 0.1)))
		return;
	uint8_t *frame = wr_load_stage(l, 0);
	if (!frame)
		return;
	struct wr_load_route r = {.port = l->address.server_port};
	struct wr_writer w = {.data = frame + l->head.size, .size = WR_WIRE_MAX_BYTES};
	l->hello_id =
		l->tag | WR_ID_TALK | ((uint64_t)l->next_talk++ & 0x7fffff) << WR_TALK_INDEX_BITS;
	l->hello_tsc = now;
	l->n_follows++;
	wr_load_hello_message(&w, l->hello_id);
	int n = wr_writer_finish(&w);
	assert(n > 0);
	wr_load_send(l, r, frame, (uint16_t)n, (uint16_t)n);
}

const struct wr_load_server *wr_load_server(const struct wr_load *l)
{
	return &l->server;
}

struct wr_wire_header wr_load_header(enum wr_op op, uint64_t id, uint64_t user, uint16_t flags)
{
	return (struct wr_wire_header){
		.version = WR_WIRE_VERSION,
		.op = (uint8_t)op,
		.flags = flags,
		.request_id = id,
		.user_id = user,
		.time_ms = wr_clock_unix_ms(),
	};
}
