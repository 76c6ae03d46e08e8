/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Answers: which datagrams are believed, and what each status leads to. Every received datagram
 * ends in exactly one counter.
 */
#include "client_internal.h"

#define BUSY_WAIT_MS_MAX 2000u /* longest advice that we follow */

static struct client_slot *find(const struct wr_client *c, uint64_t id)
{
	uint32_t index = (uint32_t)(id & (((uint64_t)1 << c->slot_bits) - 1));
	if (id == 0 || index >= c->n_slots || c->slots[index].id != id)
		return NULL;
	return &c->slots[index];
}

/* Which of the slot's targets this address is, -1 = none. */
static int target_of(
	const struct wr_client *c, const struct client_slot *s, const struct sockaddr_storage *from)
{
	const struct sockaddr_in *f4 = (const void *)from;
	const struct sockaddr_in6 *f6 = (const void *)from;
	for (int i = 0; i < 2 && s->to[i].port; i++) {
		const struct sockaddr_storage *a = &c->servers[s->to[i].server].address;
		const struct sockaddr_in *a4 = (const void *)a;
		const struct sockaddr_in6 *a6 = (const void *)a;
		if (a->ss_family != from->ss_family)
			continue;
		if (a->ss_family == AF_INET && f4->sin_port == htons(s->to[i].port) &&
			f4->sin_addr.s_addr == a4->sin_addr.s_addr)
			return s->to[i].server;
		if (a->ss_family == AF_INET6 && f6->sin6_port == htons(s->to[i].port) &&
			IN6_ARE_ADDR_EQUAL(&f6->sin6_addr, &a6->sin6_addr))
			return s->to[i].server;
	}
	return -1;
}

static bool matches(const struct client_slot *s, const struct wr_message *m)
{
	uint8_t op = m->header.op & (uint8_t)~WR_OP_ANSWER;
	if (op != s->op && op != WR_OP_ERROR)
		return false;
	return s->op == WR_OP_HELLO ||
	       (m->header.user_id == s->user && m->header.domain == s->domain);
}

static void rest(struct wr_client *c, struct client_slot *s, uint32_t advice_ms)
{
	uint64_t wait_ns = s->timeout_ns;
	if (advice_ms)
		wait_ns = (uint64_t)WR_MIN(advice_ms, BUSY_WAIT_MS_MAX) * NS_PER_MS;
	wait_ns += (uint64_t)(wr_rng_double(&c->rng) * (double)wait_ns);
	wr_client_send_unqueue(c, s);
	s->resting = true;
	wr_client_timer_set(c, s, c->now_ns + wait_ns);
}

/* Whether this answer is better asked for once more than handed out. */
static bool again_at_once(const struct client_slot *s, const struct wr_message *m)
{
	if (s->renewed)
		return false;
	switch (m->answer->status) {
	case WR_STATUS_DENIED:
		return m->cookie != NULL;
	case WR_STATUS_INTERNAL:
		return true;
	case WR_STATUS_OK: /* the cookie had rolled; with the fresh one the whole list fits */
		return s->op == WR_OP_RECOMMEND && m->cookie &&
		       (m->header.flags & WR_ANS_SHORTENED);
	default:
		return false;
	}
}

static void take_answer(
	struct wr_client *c, struct client_slot *s, unsigned int server, const struct wr_message *m)
{
	if (m->header.flags & WR_ANS_HISTORY_WANTED)
		wr_client_want_history(c, s->user, s->domain);
	s->server = (uint8_t)server;
	if (again_at_once(s, m)) {
		c->stats.n_again++;
		s->renewed = true;
		wr_client_slot_retry(c, s, false);
		return;
	}
	if (m->answer->status == WR_STATUS_BUSY && s->n_tries < c->o.max_tries) {
		c->stats.n_again++;
		rest(c, s, m->answer->retry_after_ms);
		return;
	}
	c->stats.n_ended++;
	wr_client_slot_end(c, s, m->answer->status == WR_STATUS_OK ? WR_OK : WR_EPERM, m);
}

void wr_client_answer_take(
	struct wr_client *c, const uint8_t *data, size_t bytes, const struct sockaddr_storage *from)
{
	struct wr_message m;
	c->stats.n_received++;
	if (wr_wire_decode_answer(data, bytes, &m) != WR_DECODE_OK) {
		c->stats.n_bad++;
		return;
	}
	struct client_slot *s = find(c, m.header.request_id);
	if (!s || (s->resting && m.answer->status == WR_STATUS_BUSY)) {
		c->stats.n_unknown++;
		return;
	}
	int server = target_of(c, s, from);
	if (server < 0) {
		c->stats.n_wrong_source++;
		return;
	}
	if (!matches(s, &m)) {
		c->stats.n_mismatch++;
		return;
	}
	bool hello = s->op == WR_OP_HELLO;
	wr_client_server_alive(c, (unsigned int)server, &m, hello);
	if (hello)
		wr_client_server_hello_answered(c, s, &m);
	else
		take_answer(c, s, (unsigned int)server, &m);
}
