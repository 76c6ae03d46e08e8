/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The system calls alone: batches of equal datagrams by sendmmsg and recvmmsg, or, with offload, as
 * one segmented message (UDP_SEGMENT) and coalesced ones (UDP_GRO). What the client library is
 * measured against, and what the echo server of the bench is made of.
 */
#ifndef BENCH_UDP_H
#define BENCH_UDP_H

#include "wr_base.h"

#include <netinet/in.h>
#include <sys/socket.h>

#define UDP_BATCH 64 /* messages of a call, and datagrams of a segmented message */

struct udp {
	int fd;
	bool offload; /* asked for, and the kernel has both options */
	uint64_t n_send_calls, n_receive_calls, n_send_errors;
	uint8_t *data; /* receive buffers */
	struct mmsghdr msg[UDP_BATCH];
	struct iovec iov[UDP_BATCH];
	struct sockaddr_storage from[UDP_BATCH];
	_Alignas(8) uint8_t control[UDP_BATCH][64];
};

/* A datagram run: total bytes in datagrams of step bytes, the last may be shorter. */
typedef void udp_take(
	void *arg, uint8_t *data, size_t total, size_t step, const struct sockaddr_storage *from);

socklen_t udp_address_bytes(const struct sockaddr_storage *a);
/* A non-blocking socket bound to `at`. WR_EIO. udp_close accepts a zeroed struct. */
int udp_open(struct udp *u, const struct sockaddr_storage *at, bool offload,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void udp_close(struct udp *u);
/* Sends n (at most UDP_BATCH) datagrams of `bytes` each that lie one behind the other; how many the
 * kernel took. */
unsigned int udp_send(struct udp *u, const struct sockaddr_storage *to, uint8_t *data,
	unsigned int n, size_t bytes);
/* One receive call, never blocking; the number of messages, 0 when there were none. The runs lie in
 * u->data until the next call. */
unsigned int udp_receive(struct udp *u, udp_take *take, void *arg);
/* Sends what the last udp_receive gave, run by run, back to where it came from. */
void udp_send_back(struct udp *u, unsigned int n_messages);
/* Waits until readable, at most timeout_ns. */
void udp_wait(int fd, uint64_t timeout_ns);
/* The same for any of n sockets (at most 64). */
void udp_wait_any(const struct udp *u, unsigned int n, uint64_t timeout_ns);

#endif
