/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wirerankd on the kernel's UDP sockets: the daemon as it is, with receive and transmit of its port
 * replaced at link time (ld --wrap) by recvmmsg and sendmmsg on one socket, so that nothing but
 * the way of a datagram differs from memif. The port underneath is net_null, which stays unused;
 * one worker. The socket is bound to loopback, whose addresses no frame may have: every client is
 * 10.47.0.2 to the stages. A message gets the Ethernet, IPv4 and UDP headers that the stages look
 * at, marked as verified, which the kernel has done. WR_SOCKETS_OFFLOAD=1 adds UDP_GRO and
 * UDP_SEGMENT: trains of one sender's datagrams cost one pass through the kernel's stack.
 */
#include "wr_port.h"

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_udp.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADERS \
	(sizeof(struct rte_ether_hdr) + sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_udp_hdr))
#define BURST      WR_PORT_MAX_BURST
#define TRAIN      65536     /* bytes that one message of a GRO socket can hold */
#define MOST_JOIN  64        /* datagrams that UDP_SEGMENT takes at once */
#define SOCKET_BUF (8 << 20) /* asked for on both sides */
#define SEGMENT    CMSG_SPACE(sizeof(int))
#define CLIENT     RTE_IPV4(10, 47, 0, 2)

int __real_wr_port_open(struct wr_port **p, const struct wr_port_options *o, struct wr_errmsg *msg);
int __wrap_wr_port_open(struct wr_port **p, const struct wr_port_options *o, struct wr_errmsg *msg);
uint16_t __wrap_wr_port_receive(
	struct wr_port *p, unsigned int queue, struct rte_mbuf **m, unsigned int n);
uint16_t __wrap_wr_port_transmit(
	struct wr_port *p, unsigned int queue, struct rte_mbuf **m, unsigned int n);

static struct {
	int fd;
	bool offload;
	uint8_t head[HEADERS];         /* of every frame, less lengths and the sender */
	struct rte_mbuf *spare[BURST]; /* plain: buffers that the kernel is given */
	/* offload: the message that is being handed out */
	uint8_t *train;
	unsigned int train_bytes, train_at, train_segment;
	struct sockaddr_in train_from;
} s = {.fd = -1};

static int open_socket(const struct wr_port_options *o, struct wr_errmsg *msg)
{
	struct sockaddr_in any = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(o->udp_port)};
	int size = SOCKET_BUF, one = 1;
	s.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s.fd < 0 || bind(s.fd, (struct sockaddr *)&any, sizeof(any)) != 0)
		return wr_fail(msg, WR_EIO, "UDP socket on 127.0.0.1:%u: %s", o->udp_port,
			strerror(errno));
	for (int what = SO_RCVBUFFORCE; what >= 0;
		what = what == SO_RCVBUFFORCE ? SO_SNDBUFFORCE : -1)
		if (setsockopt(s.fd, SOL_SOCKET, what, &size, sizeof(size)) != 0)
			setsockopt(s.fd, SOL_SOCKET, what == SO_RCVBUFFORCE ? SO_RCVBUF : SO_SNDBUF,
				&size, sizeof(size));
	const char *offload = getenv("WR_SOCKETS_OFFLOAD");
	s.offload = offload && strcmp(offload, "1") == 0;
	if (!s.offload)
		return WR_OK;
	s.train = malloc(TRAIN);
	if (!s.train || setsockopt(s.fd, SOL_UDP, UDP_GRO, &one, sizeof(one)) != 0)
		return wr_fail(msg, WR_EIO, "UDP_GRO: %s", strerror(errno));
	return WR_OK;
}

int __wrap_wr_port_open(struct wr_port **p, const struct wr_port_options *o, struct wr_errmsg *msg)
{
	struct rte_ether_hdr *eth = (struct rte_ether_hdr *)s.head;
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);
	if (o->n_queues != 1 || o->addresses.n_ipv4 == 0)
		return wr_fail(msg, WR_EINVAL, "one worker and an IPv4 address, for sockets");
	int err = __real_wr_port_open(p, o, msg);
	if (err)
		return err;
	wr_port_mac(*p, eth->dst_addr.addr_bytes);
	eth->src_addr.addr_bytes[0] = 2;
	eth->ether_type = htons(RTE_ETHER_TYPE_IPV4);
	ip->version_ihl = RTE_IPV4_VHL_DEF;
	ip->time_to_live = 64;
	ip->next_proto_id = IPPROTO_UDP;
	memcpy(&ip->dst_addr, o->addresses.ipv4[0], 4);
	udp->dst_port = htons(o->udp_port);
	return open_socket(o, msg);
}

/* Headers before the n bytes of a message that stand at HEADERS. */
static void frame(struct rte_mbuf *m, unsigned int n, const struct sockaddr_in *from)
{
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(data + sizeof(struct rte_ether_hdr));
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);
	memcpy(data, s.head, HEADERS);
	ip->total_length = htons((uint16_t)(HEADERS - sizeof(struct rte_ether_hdr) + n));
	ip->src_addr = htonl(CLIENT);
	udp->src_port = from->sin_port;
	udp->dgram_len = htons((uint16_t)(sizeof(*udp) + n));
	m->data_len = (uint16_t)(HEADERS + n);
	m->pkt_len = m->data_len;
	m->ol_flags |= RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
}

static unsigned int receive_plain(struct rte_mempool *pool, struct rte_mbuf **m, unsigned int n)
{
	struct mmsghdr hdr[BURST];
	struct iovec iov[BURST];
	struct sockaddr_in from[BURST];
	for (unsigned int i = 0; i < n; i++) {
		if (!s.spare[i])
			s.spare[i] = rte_pktmbuf_alloc(pool);
		if (!s.spare[i]) {
			n = i;
			break;
		}
		iov[i] = (struct iovec){rte_pktmbuf_mtod_offset(s.spare[i], void *, HEADERS),
			rte_pktmbuf_tailroom(s.spare[i]) - HEADERS};
		hdr[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
			.msg_namelen = sizeof(from[i]),
			.msg_iov = &iov[i],
			.msg_iovlen = 1};
	}
	int got = n ? recvmmsg(s.fd, hdr, n, MSG_DONTWAIT, NULL) : 0;
	for (int i = 0; i < got; i++) {
		frame(s.spare[i], hdr[i].msg_len, &from[i]);
		m[i] = s.spare[i];
		s.spare[i] = NULL;
	}
	return got > 0 ? (unsigned int)got : 0;
}

/* The next train of a sender's datagrams, all of train_segment bytes but the last; false: none. */
static bool next_train(void)
{
	char control[SEGMENT];
	struct iovec iov = {s.train, TRAIN};
	struct msghdr h = {.msg_name = &s.train_from,
		.msg_namelen = sizeof(s.train_from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	ssize_t got = recvmsg(s.fd, &h, MSG_DONTWAIT);
	if (got <= 0)
		return false;
	s.train_bytes = s.train_segment = (unsigned int)got;
	s.train_at = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c))
		if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
			int segment;
			memcpy(&segment, CMSG_DATA(c), sizeof(segment));
			s.train_segment = (unsigned int)segment;
		}
	return true;
}

static unsigned int receive_trains(struct rte_mempool *pool, struct rte_mbuf **m, unsigned int n)
{
	unsigned int i = 0;
	while (i < n && (s.train_at < s.train_bytes || next_train())) {
		unsigned int bytes = WR_MIN(s.train_segment, s.train_bytes - s.train_at);
		struct rte_mbuf *x = rte_pktmbuf_alloc(pool);
		if (!x)
			break;
		if (HEADERS + bytes <= rte_pktmbuf_tailroom(x)) {
			memcpy(rte_pktmbuf_mtod_offset(x, void *, HEADERS), s.train + s.train_at,
				bytes);
			frame(x, bytes, &s.train_from);
			m[i++] = x;
		} else {
			rte_pktmbuf_free(x);
		}
		s.train_at += bytes;
	}
	return i;
}

uint16_t __wrap_wr_port_receive(
	struct wr_port *p, unsigned int queue, struct rte_mbuf **m, unsigned int n)
{
	struct rte_mempool *pool = wr_port_pool(p);
	n = WR_MIN(n, (unsigned int)BURST);
	return (uint16_t)(s.offload ? receive_trains(pool, m, n) : receive_plain(pool, m, n));
}

/* What a reply's frame says of its destination and payload. */
static struct iovec payload(struct rte_mbuf *m, struct sockaddr_in *to)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct rte_udp_hdr *udp =
		(const struct rte_udp_hdr *)(data + HEADERS - sizeof(struct rte_udp_hdr));
	*to = (struct sockaddr_in){.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = udp->dst_port};
	return (struct iovec){
		rte_pktmbuf_mtod_offset(m, void *, HEADERS), ntohs(udp->dgram_len) - sizeof(*udp)};
}

/* Datagrams from i on that can leave as one train: one destination, one size. */
static unsigned int join(
	const struct iovec *iov, const struct sockaddr_in *to, unsigned int i, unsigned int n)
{
	unsigned int k = i + 1;
	if (!s.offload)
		return 1;
	while (k < n && k - i < MOST_JOIN && iov[k].iov_len == iov[i].iov_len &&
		to[k].sin_port == to[i].sin_port && to[k].sin_addr.s_addr == to[i].sin_addr.s_addr)
		k++;
	return k - i;
}

static void segment(struct msghdr *h, char *control, size_t bytes)
{
	uint16_t size = (uint16_t)bytes;
	h->msg_control = control;
	h->msg_controllen = CMSG_SPACE(sizeof(size));
	struct cmsghdr *c = CMSG_FIRSTHDR(h);
	c->cmsg_level = SOL_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(c), &size, sizeof(size));
}

/* What the socket's buffer has no room for is lost, as on any full link, and the sender asks again:
 * to the worker everything was taken. */
uint16_t __wrap_wr_port_transmit(
	struct wr_port *p, unsigned int queue, struct rte_mbuf **m, unsigned int n)
{
	struct mmsghdr hdr[BURST];
	struct iovec iov[BURST];
	struct sockaddr_in to[BURST];
	_Alignas(struct cmsghdr) char control[BURST][SEGMENT];
	unsigned int k = 0;
	n = WR_MIN(n, (unsigned int)BURST);
	for (unsigned int i = 0; i < n; i++)
		iov[i] = payload(m[i], &to[i]);
	for (unsigned int i = 0, j; i < n; i += j, k++) {
		j = join(iov, to, i, n);
		hdr[k].msg_hdr = (struct msghdr){.msg_name = &to[i],
			.msg_namelen = sizeof(to[i]),
			.msg_iov = &iov[i],
			.msg_iovlen = j};
		if (j > 1)
			segment(&hdr[k].msg_hdr, control[k], iov[i].iov_len);
	}
	for (unsigned int sent = 0; sent < k;) {
		int ret = sendmmsg(s.fd, hdr + sent, k - sent, MSG_DONTWAIT);
		sent += ret > 0 ? (unsigned int)ret : 1;
	}
	rte_pktmbuf_free_bulk(m, n);
	return (uint16_t)n;
}
