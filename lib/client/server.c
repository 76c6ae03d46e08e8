/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Servers: which one a user belongs to, shard tables, cookies, health. A server is down after some
 * time-outs in a row without any answer since those requests left; then, and until its table is
 * known, HELLO goes out at growing distances, at most hello_ms apart, until it is answered.
 */
#include "client_internal.h"

#include <string.h>

unsigned int wr_client_server_choose(const struct wr_client *c, uint64_t user, int avoid)
{
	int best = -1;
	uint64_t best_score = 0;
	for (unsigned int i = 0; i < c->n_servers; i++) {
		const struct client_server *v = &c->servers[i];
		const struct client_server *b = best < 0 ? NULL : &c->servers[best];
		uint64_t score = wr_mix64(user ^ v->seed);
		bool better = !b;
		if (b && v->view.up != b->view.up)
			better = v->view.up;
		else if (b && v->tier != b->tier)
			better = v->tier < b->tier;
		else if (b)
			better = score > best_score;
		if ((int)i != avoid && better) {
			best = (int)i;
			best_score = score;
		}
	}
	if (avoid >= 0 && (best < 0 || !c->servers[best].view.up))
		best = avoid;
	return (unsigned int)best;
}

unsigned int wr_client_server_port_slot(const struct client_server *v, uint64_t user)
{
	return v->view.n_ports ? 1u + v->shards[wr_wire_shard(user)] : 0;
}

uint16_t wr_client_server_port(const struct client_server *v, unsigned int port_slot)
{
	/* A queue of an older table may name a port that the new one lacks: any port will do. */
	if (port_slot == 0 || port_slot > v->view.n_ports || v->ports[port_slot - 1] == 0)
		return v->base_port;
	return v->ports[port_slot - 1];
}

static struct client_slot *hello_slot(struct wr_client *c, unsigned int server)
{
	return &c->slots[c->o.max_outstanding + server];
}

static void hello_send(struct wr_client *c, struct client_slot *s)
{
	wr_client_slot_seal(c, s);
	c->servers[s->server].last_hello_ns = c->now_ns;
	c->stats.n_hellos++;
	wr_client_send_queue(c, s);
	wr_client_timer_set(c, s, c->now_ns + s->timeout_ns);
}

void wr_client_server_hello(struct wr_client *c, unsigned int server)
{
	struct client_slot *s = hello_slot(c, server);
	if (s->id)
		return; /* on its way already */
	s->op = WR_OP_HELLO;
	s->server = (uint8_t)server;
	s->begun_ns = c->now_ns;
	s->n_tries = 1;
	s->timeout_ns = (uint64_t)c->o.timeout_ms * NS_PER_MS;
	s->unproven_bytes = HELLO_BYTES;
	memset(s->to, 0, sizeof(s->to));
	wr_client_slot_name(c, s);
	struct wr_wire_header h = {.version = WR_WIRE_VERSION,
		.op = WR_OP_HELLO,
		.request_id = s->id,
		.time_ms = wr_clock_unix_ms()};
	struct wr_writer w;
	wr_writer_init(&w, slot_data(c, s), WR_WIRE_MAX_BYTES, &h);
	s->body_bytes = (uint16_t)w.used;
	hello_send(c, s);
}

void wr_client_server_hello_due(struct wr_client *c, struct client_slot *s)
{
	c->stats.n_timeouts++;
	if (s->queue == NONE)
		wr_client_server_timed_out(c, s);
	s->timeout_ns = WR_MIN(s->timeout_ns * 2, (uint64_t)c->o.hello_ms * NS_PER_MS);
	hello_send(c, s);
}

void wr_client_server_hello_answered(
	struct wr_client *c, struct client_slot *s, const struct wr_message *m)
{
	struct client_server *v = &c->servers[s->server];
	if (m->answer->status != WR_STATUS_OK || !m->server) {
		c->stats.n_again++; /* its timer stands: once more, later */
		return;
	}
	c->stats.n_hello_answers++;
	wr_client_timer_clear(c, s);
	wr_client_send_unqueue(c, s);
	s->id = 0;
	c->stats.n_epoch_changes += v->view.greeted && v->view.epoch != m->server->shard_epoch;
	v->view.greeted = true;
	v->view.epoch = m->server->shard_epoch;
	v->view.bundle_version = m->server->bundle_version;
	v->view.model_generation = m->server->model_generation;
	v->view.n_items = m->server->n_items;
	v->view.history_events = m->server->history_events;
	memcpy(v->view.bundle_id, m->server->bundle_id, sizeof(v->view.bundle_id));
	v->view.n_ports = 0;
	if (!m->shards || !m->ports)
		return;
	/* The decoder has checked every shard against n_ports. */
	v->view.n_ports = m->n_ports;
	memcpy(v->shards, m->shards, sizeof(v->shards));
	for (unsigned int i = 0; i < m->n_ports; i++)
		v->ports[i] = m->ports[i];
}

void wr_client_server_alive(
	struct wr_client *c, unsigned int server, const struct wr_message *m, bool hello)
{
	struct client_server *v = &c->servers[server];
	v->last_answer_ns = c->now_ns;
	v->view.timeouts_in_a_row = 0;
	v->view.up = true;
	if (m->cookie) {
		memcpy(&v->cookie, m->cookie, sizeof(v->cookie));
		v->have_cookie = true;
	}
	if (hello || !v->view.greeted || m->answer->shard_epoch == v->view.epoch)
		return;
	if (hello_slot(c, server)->id || c->now_ns - v->last_hello_ns < EPOCH_HELLO_NS)
		return;
	wr_client_server_hello(c, server);
}

void wr_client_server_timed_out(struct wr_client *c, const struct client_slot *s)
{
	struct client_server *v = &c->servers[s->server];
	/* An answer since then: it lives, this datagram was lost. */
	if (v->last_answer_ns > s->sent_ns)
		return;
	if (++v->view.timeouts_in_a_row < c->o.down_after || !v->view.up)
		return;
	v->view.up = false;
	c->stats.n_downs++;
	wr_client_server_hello(c, s->server);
}
