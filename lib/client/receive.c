/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sockets and receiving: recvmmsg over every readable socket, each message cut into the datagrams
 * that the kernel coalesced (UDP_GRO).
 */
#include "client_internal.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define SOCKET_BUFFER_BYTES (4 << 20) /* asked for; the kernel grants what net.core allows */

/* Without either option the socket works as well, one datagram a message. */
static void probe_offload(struct wr_client *c, int fd)
{
	int zero = 0, one = 1;
	if (c->segment && setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &zero, sizeof(zero)) != 0)
		c->segment = false;
	if (c->coalesce && setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof(one)) != 0)
		c->coalesce = false;
}

/* Servers drop fragments, and a message fits IPv6's least MTU. PROBE: no path MTU is believed
 * either, which a forged ICMP message could have set; and the kernel need not number each packet.
 */
static void never_fragment(int fd, int family)
{
	int v4 = IP_PMTUDISC_PROBE, v6 = IPV6_PMTUDISC_PROBE;
	if (family == AF_INET)
		setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &v4, sizeof(v4));
	else
		setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &v6, sizeof(v6));
}

static int open_socket(struct wr_client *c, int family, struct client_socket *k)
{
	struct sockaddr_storage any = {.ss_family = (sa_family_t)family};
	socklen_t size = family == AF_INET ? (socklen_t)sizeof(struct sockaddr_in)
					   : (socklen_t)sizeof(struct sockaddr_in6);
	int bytes = SOCKET_BUFFER_BYTES, one = 1;
	k->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
	if (k->fd < 0)
		return -1;
	if (family == AF_INET6)
		setsockopt(k->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	never_fragment(k->fd, family);
	setsockopt(k->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	setsockopt(k->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	/* Bound at once, so that a user's source port never changes. */
	if (bind(k->fd, (struct sockaddr *)&any, size) != 0)
		return -1;
	probe_offload(c, k->fd);
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = k};
	return epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, k->fd, &e);
}

int wr_client_sockets_open(struct wr_client *c, int family, struct wr_errmsg *msg)
{
	struct client_socket *k = &c->sockets[family == AF_INET ? 0 : c->o.n_sources];
	if (k->fd >= 0)
		return WR_OK;
	for (unsigned int i = 0; i < c->o.n_sources; i++) {
		if (open_socket(c, family, &k[i]) == 0)
			continue;
		int error = errno;
		for (unsigned int j = 0; j <= i; j++) {
			if (k[j].fd >= 0)
				close(k[j].fd);
			k[j].fd = -1;
		}
		return wr_fail(msg, WR_EIO,
			"cannot open UDP socket %u of %u: %s; see ulimit -n, or whether the kernel "
			"has %s",
			i + 1, c->o.n_sources, strerror(error),
			family == AF_INET ? "IPv4" : "IPv6");
	}
	return WR_OK;
}

/* Bytes of the datagrams in this message. */
static size_t segment_bytes(struct msghdr *h, size_t total)
{
	for (struct cmsghdr *m = CMSG_FIRSTHDR(h); m; m = CMSG_NXTHDR(h, m)) {
		int bytes;
		if (m->cmsg_level != IPPROTO_UDP || m->cmsg_type != UDP_GRO)
			continue;
		memcpy(&bytes, CMSG_DATA(m), sizeof(bytes));
		if (bytes > 0)
			return (size_t)bytes;
	}
	return total;
}

static void take_message(struct wr_client *c, unsigned int i)
{
	uint8_t *data = c->rx_iov[i].iov_base;
	size_t total = c->rx_msgs[i].msg_len;
	size_t step = segment_bytes(&c->rx_msgs[i].msg_hdr, total);
	if (step < total)
		c->stats.n_coalesced += (total + step - 1) / step;
	size_t at = 0;
	do {
		size_t bytes = WR_MIN(step, total - at);
		wr_client_answer_take(c, data + at, bytes, &c->rx_from[i]);
		at += bytes;
	} while (at < total);
}

void wr_client_receive(struct wr_client *c, struct client_socket *k)
{
	unsigned int n_buffers = c->coalesce ? RX_COALESCED : RX_PLAIN;
	size_t bytes = c->coalesce ? RX_BYTES : RX_STRIDE;
	for (unsigned int round = 0; round < RX_ROUNDS; round++) {
		for (unsigned int i = 0; i < n_buffers; i++) {
			c->rx_iov[i] = (struct iovec){c->rx_data + i * bytes, bytes};
			c->rx_msgs[i].msg_hdr = (struct msghdr){.msg_name = &c->rx_from[i],
				.msg_namelen = sizeof(c->rx_from[i]),
				.msg_iov = &c->rx_iov[i],
				.msg_iovlen = 1,
				.msg_control = c->rx_control[i],
				.msg_controllen = sizeof(c->rx_control[i])};
		}
		int n = recvmmsg(k->fd, c->rx_msgs, n_buffers, MSG_DONTWAIT, NULL);
		c->stats.n_recv_calls++;
		c->now_ns = wr_clock_ns(); /* a turn may take longer than an answer does */
		for (int i = 0; i < n; i++)
			take_message(c, (unsigned int)i);
		/* An error here is an earlier datagram's; the kernel has cleared it. */
		if (n < (int)n_buffers)
			return;
	}
}
