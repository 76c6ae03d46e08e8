/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sending: a queue for each server, shard port and source port; what stands in one leaves together,
 * as one segmented datagram where sizes agree (UDP_SEGMENT), else as one sendmmsg. Datagrams are
 * sent from their slots, nothing is copied here.
 */
#include "client_internal.h"

#include <errno.h>
#include <netinet/udp.h>

/* Bytes of one segmented send: an IPv4 datagram less its headers, with room for IPv6's. */
#define SEGMENTED_BYTES 65000u

static uint32_t queue_of(const struct wr_client *c, const struct client_slot *s)
{
	unsigned int port_slot =
		s->op == WR_OP_HELLO ? 0
				     : wr_client_server_port_slot(&c->servers[s->server], s->user);
	/* The shard is in the upper bits of the same hash: independent of these. */
	unsigned int source =
		s->op == WR_OP_HELLO ? 0 : (uint32_t)wr_mix64(s->user) % c->o.n_sources;
	return (s->server * PORT_SLOTS + port_slot) * c->o.n_sources + source;
}

void wr_client_send_unqueue(struct wr_client *c, struct client_slot *s)
{
	if (s->queue == NONE)
		return;
	struct client_queue *q = &c->queues[s->queue];
	if (s->queue_prev != NONE)
		c->slots[s->queue_prev].queue_next = s->queue_next;
	else
		q->head = s->queue_next;
	if (s->queue_next != NONE)
		c->slots[s->queue_next].queue_prev = s->queue_prev;
	else
		q->tail = s->queue_prev;
	q->n--;
	c->n_queued--;
	s->queue = NONE;
}

/* The next message: one datagram, or several of one size of which the last may be shorter. */
static unsigned int fill_message(struct wr_client *c, struct client_slot **s, struct iovec *iov)
{
	unsigned int n = 0;
	size_t first = (*s)->bytes, total = 0;
	for (;;) {
		iov[n].iov_base = slot_data(c, *s);
		iov[n].iov_len = (*s)->bytes;
		total += (*s)->bytes;
		n++;
		bool shorter = (*s)->bytes < first;
		uint32_t next = (*s)->queue_next;
		*s = next == NONE ? NULL : &c->slots[next];
		if (!*s || !c->segment || shorter || (*s)->bytes > first ||
			total + (*s)->bytes > SEGMENTED_BYTES)
			return n;
		if (iov + n == c->tx_iov + BATCH)
			return n;
	}
}

static void set_segment_bytes(struct msghdr *h, uint8_t *control, size_t bytes)
{
	h->msg_control = control;
	h->msg_controllen = CMSG_SPACE(sizeof(uint16_t));
	struct cmsghdr *m = CMSG_FIRSTHDR(h);
	m->cmsg_level = IPPROTO_UDP;
	m->cmsg_type = UDP_SEGMENT;
	m->cmsg_len = CMSG_LEN(sizeof(uint16_t));
	*(uint16_t *)CMSG_DATA(m) = (uint16_t)bytes;
}

/* Messages for the first BATCH datagrams of the queue; their number. */
static unsigned int fill_batch(
	struct wr_client *c, const struct client_queue *q, struct sockaddr_storage *to)
{
	unsigned int n_msgs = 0, n_iov = 0;
	socklen_t size = to->ss_family == AF_INET ? (socklen_t)sizeof(struct sockaddr_in)
						  : (socklen_t)sizeof(struct sockaddr_in6);
	struct client_slot *s = &c->slots[q->head];
	while (s && n_iov < BATCH) {
		struct iovec *iov = &c->tx_iov[n_iov];
		unsigned int n = fill_message(c, &s, iov);
		struct msghdr *h = &c->tx_msgs[n_msgs].msg_hdr;
		*h = (struct msghdr){
			.msg_name = to, .msg_namelen = size, .msg_iov = iov, .msg_iovlen = n};
		if (n > 1)
			set_segment_bytes(h, c->tx_control[n_msgs], iov[0].iov_len);
		c->tx_n[n_msgs++] = (uint16_t)n;
		n_iov += n;
	}
	return n_msgs;
}

/* The first n datagrams of the queue were handed to the kernel. */
static void sent(struct wr_client *c, struct client_queue *q, unsigned int n, uint16_t port)
{
	for (unsigned int i = 0; i < n; i++) {
		struct client_slot *s = &c->slots[q->head];
		wr_client_send_unqueue(c, s);
		s->sent_ns = c->now_ns;
		struct client_target to = {.port = port, .server = s->server};
		if (s->to[0].port != to.port || s->to[0].server != to.server) {
			s->to[1] = s->to[0];
			s->to[0] = to;
		}
	}
}

/* Whether this error means that the path cannot segment: then we do without from now on. */
static bool cannot_segment(int error)
{
	return error == EIO || error == EINVAL || error == EMSGSIZE || error == EOPNOTSUPP ||
	       error == ENOPROTOOPT;
}

/* Sends one batch; false when the socket takes no more. */
static bool send_batch(struct wr_client *c, struct client_queue *q, struct client_socket *k,
	struct sockaddr_storage *to, uint16_t port)
{
	unsigned int n_msgs = fill_batch(c, q, to), at = 0;
	while (at < n_msgs) {
		int n = sendmmsg(k->fd, &c->tx_msgs[at], n_msgs - at, MSG_DONTWAIT);
		c->stats.n_send_calls++;
		for (int i = 0; i < n; i++, at++) {
			c->stats.n_sent += c->tx_n[at];
			c->stats.n_segmented += c->tx_n[at] > 1 ? c->tx_n[at] : 0;
			sent(c, q, c->tx_n[at], port);
		}
		if (n > 0 || errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) {
			k->blocked = true;
			return false;
		}
		if (c->tx_n[at] > 1 && cannot_segment(errno)) {
			c->segment = false;
			return true; /* what is left stands in the queue still */
		}
		/* No route, say: as good as lost on the way; the time-out sees to it. */
		c->stats.n_send_errors += c->tx_n[at];
		sent(c, q, c->tx_n[at], port);
		at++;
	}
	return true;
}

static void send_queue(struct wr_client *c, uint32_t index)
{
	struct client_queue *q = &c->queues[index];
	unsigned int source = index % c->o.n_sources, port_slot = index / c->o.n_sources;
	struct client_server *v = &c->servers[port_slot / PORT_SLOTS];
	struct sockaddr_storage to = v->address;
	uint16_t port = wr_client_server_port(v, port_slot % PORT_SLOTS);
	bool v4 = to.ss_family == AF_INET;
	if (v4)
		((struct sockaddr_in *)&to)->sin_port = htons(port);
	else
		((struct sockaddr_in6 *)&to)->sin6_port = htons(port);
	struct client_socket *k = &c->sockets[(v4 ? 0 : c->o.n_sources) + source];
	while (q->n && !k->blocked && send_batch(c, q, k, &to, port))
		;
}

void wr_client_send_queue(struct wr_client *c, struct client_slot *s)
{
	wr_client_send_unqueue(c, s);
	uint32_t index = queue_of(c, s);
	struct client_queue *q = &c->queues[index];
	s->queue = index;
	s->queue_next = NONE;
	s->queue_prev = q->n ? q->tail : NONE;
	if (q->n)
		c->slots[q->tail].queue_next = slot_index(c, s);
	else
		q->head = slot_index(c, s);
	q->tail = slot_index(c, s);
	q->n++;
	c->n_queued++;
	if (!q->active) {
		q->active = true;
		c->active[c->n_active++] = index;
	}
	if (q->n >= BATCH)
		send_queue(c, index);
}

void wr_client_send_flush(struct wr_client *c)
{
	uint32_t kept = 0;
	for (unsigned int i = 0; i < 2 * c->o.n_sources; i++)
		c->sockets[i].blocked = false;
	for (uint32_t i = 0; i < c->n_active; i++) {
		uint32_t index = c->active[i];
		send_queue(c, index);
		if (c->queues[index].n)
			c->active[kept++] = index;
		else
			c->queues[index].active = false;
	}
	c->n_active = kept;
}
