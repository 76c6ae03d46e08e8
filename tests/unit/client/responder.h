/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small server over real loopback sockets, polled from the test's own loop, so that a test
 * decides what is lost, late, doubled, forged or wrong. Built on lib/wire; answers K items 1 … K.
 */
#ifndef RESPONDER_H
#define RESPONDER_H

#include "wr_client.h"
#include "wr_test.h"

#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RESPONDER_PORTS 2
#define RESPONDER_HELD  256

struct responder {
	int fd[1 + RESPONDER_PORTS]; /* base port, then PORTS */
	uint16_t port[1 + RESPONDER_PORTS];
	int stranger; /* a socket of another port, for forged answers */
	int family;
	/* What it does. */
	uint32_t epoch;
	unsigned int n_lost; /* of the copies of each request id, the first so many are ignored */
	bool all_lost, want_history, malformed, forged, twice, swapped, check_cookie, other_user;
	unsigned int n_busy, n_internal; /* answer so many of the next requests thus */
	bool swap_shards;
	struct wr_wire_cookie cookie;
	/* What it saw. */
	unsigned int n_hello, n_asked, n_event, n_forget, n_bad, n_wrong_port, n_denied, n_changed;
	unsigned int n_with_history, n_with_cookie, n_sources;
	uint16_t sources[64];
	uint64_t last_history_user;
	unsigned int last_history_n;
	struct wr_wire_event last_event;
	uint8_t last[WR_WIRE_MAX_BYTES];
	size_t last_bytes;
	/* Copies seen of an id, and its bytes, by linear probing; a test asks less often. */
	struct {
		uint64_t id;
		unsigned int n;
		uint64_t sum;
	} seen[16384];
	/* Answers held back by `swapped`: sent last first. */
	struct {
		int fd;
		struct sockaddr_storage to;
		socklen_t to_bytes;
		uint8_t data[WR_WIRE_MAX_BYTES];
		size_t bytes;
	} held[RESPONDER_HELD];
	unsigned int n_held;
};

static inline int responder_socket(int family, uint16_t *port)
{
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	struct sockaddr *a = family == AF_INET ? (struct sockaddr *)&a4 : (struct sockaddr *)&a6;
	socklen_t size = family == AF_INET ? sizeof(a4) : sizeof(a6);
	if (fd < 0 || bind(fd, a, size) != 0 || getsockname(fd, a, &size) != 0)
		return -1;
	*port = ntohs(family == AF_INET ? a4.sin_port : a6.sin6_port);
	return fd;
}

static inline bool responder_open(struct responder *r, int family)
{
	uint16_t other;
	memset(r, 0, sizeof(*r));
	r->family = family;
	r->epoch = 1;
	r->cookie = (struct wr_wire_cookie){.epoch = 7, .mac = 0x1234};
	r->stranger = responder_socket(family, &other);
	for (unsigned int i = 0; i < WR_ARRAY_LEN(r->fd); i++)
		r->fd[i] = responder_socket(family, &r->port[i]);
	return r->stranger >= 0 && r->fd[0] >= 0 && r->fd[RESPONDER_PORTS] >= 0;
}

static inline void responder_close(struct responder *r)
{
	for (unsigned int i = 0; i < WR_ARRAY_LEN(r->fd); i++)
		if (r->fd[i] >= 0)
			close(r->fd[i]);
	if (r->stranger >= 0)
		close(r->stranger);
}

static inline unsigned int responder_port_of(const struct responder *r, uint64_t user)
{
	return 1 + (wr_wire_shard(user) + (r->swap_shards ? 1u : 0u)) % RESPONDER_PORTS;
}

static inline size_t responder_answer(
	struct responder *r, const struct wr_message *m, enum wr_status status, uint8_t *out)
{
	struct wr_writer w;
	struct wr_wire_header h = m->header;
	bool proven = m->cookie && !memcmp(m->cookie, &r->cookie, sizeof(r->cookie));
	h.op = status ? 0xff : h.op | WR_OP_ANSWER;
	h.flags = r->want_history && !m->history_head ? WR_ANS_HISTORY_WANTED : 0;
	if (r->other_user)
		h.user_id++;
	unsigned int room = proven ? WR_WIRE_MAX_BYTES : m->header.length;
	unsigned int k = m->ask ? m->ask->k : 0, fits = wr_wire_items_fit(room, !proven);
	if (k > fits) {
		k = fits;
		h.flags |= WR_ANS_SHORTENED;
	}
	wr_writer_init(&w, out, room, &h);
	struct wr_wire_answer *a = wr_writer_section(&w, WR_SEC_ANSWER, 0, sizeof(*a));
	a->status = (uint8_t)status;
	a->shard_epoch = r->epoch;
	a->retry_after_ms = status == WR_STATUS_BUSY ? 5 : 0;
	if (!status && m->header.op == WR_OP_HELLO) {
		struct wr_wire_server *s = wr_writer_section(&w, WR_SEC_SERVER, 0, sizeof(*s));
		s->shard_epoch = r->epoch;
		s->n_items = 3416;
		s->history_events = 99;
		uint8_t *shards = wr_writer_section(&w, WR_SEC_SHARDS, 0, WR_WIRE_N_SHARDS);
		for (unsigned int i = 0; i < WR_WIRE_N_SHARDS; i++)
			shards[i] = (uint8_t)((i + (r->swap_shards ? 1u : 0u)) % RESPONDER_PORTS);
		memcpy(wr_writer_section(&w, WR_SEC_PORTS, RESPONDER_PORTS, 2 * RESPONDER_PORTS),
			&r->port[1], 2 * RESPONDER_PORTS);
	}
	if (!proven || m->header.op == WR_OP_HELLO)
		wr_writer_cookie(&w, &r->cookie);
	if (!status && k) {
		struct wr_wire_item *item = wr_writer_section(&w, WR_SEC_ITEMS, (uint8_t)k, 16 * k);
		for (unsigned int i = 0; i < k; i++)
			item[i] = (struct wr_wire_item){.item = i + 1, .propensity = 1};
	}
	int n = wr_writer_finish(&w);
	CU_ASSERT(n > 0);
	return (size_t)WR_MAX(n, 0);
}

/* Whether this copy of the request is to be lost; notes whether its bytes changed. */
static inline bool responder_loses(struct responder *r, uint64_t id, const uint8_t *data, size_t n)
{
	uint64_t sum = n;
	for (size_t i = 0; i < n; i++)
		sum = wr_mix64(sum ^ data[i]);
	unsigned int at = (unsigned int)(wr_mix64(id) % WR_ARRAY_LEN(r->seen));
	while (r->seen[at].id && r->seen[at].id != id)
		at = (at + 1) % WR_ARRAY_LEN(r->seen);
	if (r->seen[at].id && r->seen[at].sum != sum)
		r->n_changed++;
	r->seen[at].id = id;
	r->seen[at].sum = sum;
	return r->all_lost || r->seen[at].n++ < r->n_lost;
}

static inline void responder_note(struct responder *r, const struct wr_message *m, unsigned int at)
{
	r->n_hello += m->header.op == WR_OP_HELLO;
	r->n_asked += m->header.op == WR_OP_RECOMMEND;
	r->n_event += m->header.op == WR_OP_EVENT;
	r->n_forget += m->header.op == WR_OP_FORGET;
	r->n_with_cookie += m->cookie != NULL;
	if (m->header.op != WR_OP_HELLO && at != responder_port_of(r, m->header.user_id))
		r->n_wrong_port++;
	if (m->n_events)
		r->last_event = m->events[m->n_events - 1];
	if (m->history_head) {
		r->n_with_history++;
		r->last_history_user = m->header.user_id;
		r->last_history_n = m->n_history;
	}
}

static inline void responder_source(struct responder *r, const struct sockaddr_storage *from)
{
	uint16_t p = r->family == AF_INET ? ((const struct sockaddr_in *)from)->sin_port
					  : ((const struct sockaddr_in6 *)from)->sin6_port;
	for (unsigned int i = 0; i < r->n_sources; i++)
		if (r->sources[i] == p)
			return;
	if (r->n_sources < WR_ARRAY_LEN(r->sources))
		r->sources[r->n_sources++] = p;
}

static inline enum wr_status responder_status(struct responder *r, const struct wr_message *m)
{
	if (m->header.op == WR_OP_HELLO)
		return WR_STATUS_OK;
	if (m->header.op == WR_OP_FORGET &&
		!(m->cookie && !memcmp(m->cookie, &r->cookie, sizeof(r->cookie)))) {
		r->n_denied++;
		return WR_STATUS_DENIED;
	}
	if (r->n_busy) {
		r->n_busy--;
		return WR_STATUS_BUSY;
	}
	if (r->n_internal) {
		r->n_internal--;
		return WR_STATUS_INTERNAL;
	}
	return WR_STATUS_OK;
}

static inline void responder_take(struct responder *r, unsigned int at, const uint8_t *data,
	size_t n, const struct sockaddr_storage *from, socklen_t from_bytes)
{
	struct wr_message m;
	uint8_t out[WR_WIRE_MAX_BYTES];
	if (wr_wire_decode_request(data, n, &m) != WR_DECODE_OK) {
		r->n_bad++;
		return;
	}
	responder_note(r, &m, at);
	responder_source(r, from);
	memcpy(r->last, data, n);
	r->last_bytes = n;
	if (responder_loses(r, m.header.request_id, data, n))
		return;
	size_t bytes = responder_answer(r, &m, responder_status(r, &m), out);
	const struct sockaddr *to = (const struct sockaddr *)from;
	if (r->malformed) { /* before the right one: a bad section, a short one, a request */
		uint8_t bad[WR_WIRE_MAX_BYTES];
		memcpy(bad, out, bytes);
		bad[34] = 0xff;
		sendto(r->fd[at], bad, bytes, 0, to, from_bytes);
		sendto(r->fd[at], out, 20, 0, to, from_bytes);
		sendto(r->fd[at], data, n, 0, to, from_bytes);
	}
	if (r->forged) {
		sendto(r->stranger, out, bytes, 0, to, from_bytes);
		return;
	}
	if (r->swapped && r->n_held < RESPONDER_HELD) {
		r->held[r->n_held].fd = r->fd[at];
		r->held[r->n_held].to = *from;
		r->held[r->n_held].to_bytes = from_bytes;
		memcpy(r->held[r->n_held].data, out, bytes);
		r->held[r->n_held++].bytes = bytes;
		return;
	}
	for (int i = 0; i < 1 + r->twice; i++)
		sendto(r->fd[at], out, bytes, 0, to, from_bytes);
}

/* Answers all that came. */
static inline void responder_poll(struct responder *r)
{
	uint8_t data[2048];
	for (unsigned int at = 0; at < WR_ARRAY_LEN(r->fd); at++) {
		struct sockaddr_storage from;
		socklen_t size = sizeof(from);
		ssize_t n;
		while ((n = recvfrom(r->fd[at], data, sizeof(data), 0, (struct sockaddr *)&from,
				&size)) >= 0) {
			responder_take(r, at, data, (size_t)n, &from, size);
			size = sizeof(from);
		}
	}
	while (r->n_held) {
		r->n_held--;
		sendto(r->held[r->n_held].fd, r->held[r->n_held].data, r->held[r->n_held].bytes, 0,
			(struct sockaddr *)&r->held[r->n_held].to, r->held[r->n_held].to_bytes);
	}
}

/* Turns the client's loop and the servers' until nothing is outstanding and HELLO was answered by
 * `greeted` servers, or ms passed. */
static inline void pump(struct wr_client *c, struct responder **r, unsigned int n, unsigned int ms)
{
	uint64_t end = wr_clock_ns() + ms * 1000000ull;
	do {
		struct pollfd p = {.fd = wr_client_fd(c), .events = POLLIN};
		for (unsigned int i = 0; i < n; i++)
			responder_poll(r[i]);
		(void)poll(&p, 1, 1);
		wr_client_process(c);
	} while (wr_client_outstanding(c) && wr_clock_ns() < end);
}
/* The same for a fixed time. */
static inline void pump_for(
	struct wr_client *c, struct responder **r, unsigned int n, unsigned int ms)
{
	uint64_t end = wr_clock_ns() + ms * 1000000ull;
	while (wr_clock_ns() < end) {
		struct pollfd p = {.fd = wr_client_fd(c), .events = POLLIN};
		for (unsigned int i = 0; i < n; i++)
			responder_poll(r[i]);
		(void)poll(&p, 1, 1);
		wr_client_process(c);
	}
}

#endif
