/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches over one UDP socket. */
#include "bench_udp.h"

#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES  (8 << 20)
#define RUN_BYTES     65536 /* a coalesced message */
#define COALESCED     16    /* receive buffers with UDP_GRO */
#define N_BUFFERS(u)  ((u)->offload ? COALESCED : UDP_BATCH)
#define STRIDE(u)     ((size_t)((u)->offload ? RUN_BYTES : 2112)) /* as the library has it */
#define SEGMENT_SPACE CMSG_SPACE(sizeof(uint16_t))

socklen_t udp_address_bytes(const struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET ? (socklen_t)sizeof(struct sockaddr_in)
				       : (socklen_t)sizeof(struct sockaddr_in6);
}

static void set_buffers(int fd)
{
	int bytes = BUFFER_BYTES;
	/* Beyond net.core's limit where we may; what is granted is enough for the window else. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) != 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

int udp_open(struct udp *u, const struct sockaddr_storage *at, bool offload, struct wr_errmsg *msg)
{
	int zero = 0, one = 1;
	memset(u, 0, sizeof(*u));
	u->fd = socket(at->ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
	if (u->fd < 0)
		return wr_fail(msg, WR_EIO, "cannot make a UDP socket: %s", strerror(errno));
	set_buffers(u->fd);
	if (bind(u->fd, (const struct sockaddr *)at, udp_address_bytes(at)) != 0) {
		int why = errno;
		close(u->fd);
		return wr_fail(msg, WR_EIO, "cannot bind a UDP socket: %s", strerror(why));
	}
	u->offload = offload &&
		     setsockopt(u->fd, IPPROTO_UDP, UDP_SEGMENT, &zero, sizeof(zero)) == 0 &&
		     setsockopt(u->fd, IPPROTO_UDP, UDP_GRO, &one, sizeof(one)) == 0;
	u->data = malloc((size_t)RUN_BYTES * COALESCED);
	if (!u->data) {
		close(u->fd);
		return wr_fail(msg, WR_ENOMEM, "no memory for receive buffers");
	}
	return WR_OK;
}

void udp_close(struct udp *u)
{
	if (!u->data)
		return;
	close(u->fd);
	free(u->data);
	u->data = NULL;
}

static void set_segment(struct msghdr *h, uint8_t *control, size_t bytes)
{
	h->msg_control = control;
	h->msg_controllen = SEGMENT_SPACE;
	struct cmsghdr *m = CMSG_FIRSTHDR(h);
	m->cmsg_level = IPPROTO_UDP;
	m->cmsg_type = UDP_SEGMENT;
	m->cmsg_len = CMSG_LEN(sizeof(uint16_t));
	*(uint16_t *)CMSG_DATA(m) = (uint16_t)bytes;
}

static unsigned int send_messages(struct udp *u, unsigned int n)
{
	int sent = sendmmsg(u->fd, u->msg, n, MSG_DONTWAIT);
	u->n_send_calls++;
	if (sent < 0 && errno != EAGAIN && errno != EINTR)
		u->n_send_errors++;
	return sent < 0 ? 0 : (unsigned int)sent;
}

unsigned int udp_send(struct udp *u, const struct sockaddr_storage *to, uint8_t *data,
	unsigned int n, size_t bytes)
{
	bool whole = u->offload && n > 1;
	unsigned int n_messages = whole ? 1 : n;
	for (unsigned int i = 0; i < n_messages; i++) {
		u->iov[i] = (struct iovec){data + i * bytes, whole ? n * bytes : bytes};
		u->msg[i].msg_hdr = (struct msghdr){.msg_name = (void *)to,
			.msg_namelen = udp_address_bytes(to),
			.msg_iov = &u->iov[i],
			.msg_iovlen = 1};
	}
	if (whole)
		set_segment(&u->msg[0].msg_hdr, u->control[0], bytes);
	unsigned int sent = send_messages(u, n_messages);
	return whole ? sent * n : sent;
}

static size_t step_of(struct msghdr *h, size_t total)
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

unsigned int udp_receive(struct udp *u, udp_take *take, void *arg)
{
	unsigned int n_buffers = N_BUFFERS(u);
	for (unsigned int i = 0; i < n_buffers; i++) {
		u->iov[i] = (struct iovec){u->data + i * STRIDE(u), STRIDE(u)};
		u->msg[i].msg_hdr = (struct msghdr){.msg_name = &u->from[i],
			.msg_namelen = sizeof(u->from[i]),
			.msg_iov = &u->iov[i],
			.msg_iovlen = 1,
			.msg_control = u->control[i],
			.msg_controllen = sizeof(u->control[i])};
	}
	int n = recvmmsg(u->fd, u->msg, n_buffers, MSG_DONTWAIT, NULL);
	u->n_receive_calls++;
	for (int i = 0; i < n; i++) {
		size_t total = u->msg[i].msg_len;
		take(arg, u->iov[i].iov_base, total, step_of(&u->msg[i].msg_hdr, total),
			&u->from[i]);
	}
	return n < 0 ? 0 : (unsigned int)n;
}

void udp_send_back(struct udp *u, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct msghdr *h = &u->msg[i].msg_hdr;
		size_t total = u->msg[i].msg_len, step = step_of(h, total);
		u->iov[i].iov_len = total;
		h->msg_control = NULL;
		h->msg_controllen = 0;
		if (step < total)
			set_segment(h, u->control[i], step);
	}
	for (unsigned int at = 0; at < n;) {
		int sent = sendmmsg(u->fd, &u->msg[at], n - at, MSG_DONTWAIT);
		u->n_send_calls++;
		if (sent > 0)
			at += (unsigned int)sent;
		else if (errno != EINTR && errno != EAGAIN)
			at++, u->n_send_errors++; /* the sender has gone, say */
		else
			udp_wait(u->fd, 1000000);
	}
}

static void wait_for(struct pollfd *p, unsigned int n, uint64_t timeout_ns)
{
	struct timespec t = {(time_t)(timeout_ns / 1000000000u), (long)(timeout_ns % 1000000000u)};
	(void)ppoll(p, n, &t, NULL);
}

void udp_wait(int fd, uint64_t timeout_ns)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	wait_for(&p, 1, timeout_ns);
}

void udp_wait_any(const struct udp *u, unsigned int n, uint64_t timeout_ns)
{
	struct pollfd p[64];
	n = WR_MIN(n, (unsigned int)WR_ARRAY_LEN(p));
	for (unsigned int i = 0; i < n; i++)
		p[i] = (struct pollfd){.fd = u[i].fd, .events = POLLIN};
	wait_for(p, n, timeout_ns);
}
