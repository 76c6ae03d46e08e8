/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames for the tests of lib/port, written byte by byte, with checksums of their own arithmetic.
 */
#ifndef WR_TEST_FRAMES_H
#define WR_TEST_FRAMES_H

#include "wr_port.h"

#include <stdlib.h>
#include <string.h>

#define OUR_MAC  2, 0, 0, 0, 0x47, 0
#define PEER_MAC 2, 0, 0, 0, 0, 9

static const uint8_t our_mac[6] = {OUR_MAC}, peer_mac[6] = {PEER_MAC};
/* Our addresses: .1 and .3 alone, .9 with others; ::1, ::3 and ::9 likewise. */
static const struct wr_port_addresses our_addresses = {
	.n_ipv4 = 3,
	.n_own_ipv4 = 2,
	.n_ipv6 = 3,
	.n_own_ipv6 = 2,
	.ipv4 = {{10, 47, 0, 1}, {10, 47, 0, 3}, {192, 0, 2, 9}},
	.ipv6 = {{0xfd, 0x47, [15] = 1}, {0xfd, 0x47, [13] = 0x12, 0x34, 3},
		{0x20, 1, 0xd, 0xb8, [15] = 9}},
};
static struct wr_frame_local us;

static inline void make_us(void)
{
	if (wr_frame_local_init(&us, our_mac, &our_addresses, 4700, 2) != 0)
		abort();
}

static inline void put16(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline unsigned int get16(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

/* RFC 1071, sixteen bits at a time, no tricks. */
static inline uint32_t sum16(const uint8_t *p, size_t n)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static inline unsigned int fold16(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Where the IP header begins, behind the VLAN tags. */
static inline uint32_t ip_at(const uint8_t *frame)
{
	uint32_t at = 12;
	while (get16(frame + at) == 0x8100 || get16(frame + at) == 0x88a8)
		at += 4;
	return at + 2;
}

/* The one's complement sum over a whole IPv4 header: 0xffff when its checksum is right. */
static inline unsigned int ip4_sum(const uint8_t *ip)
{
	return fold16(sum16(ip, (ip[0] & 15u) * 4u));
}

/* The same over pseudo header and l4 of protocol. */
static inline unsigned int l4_sum(
	const uint8_t *ip, const uint8_t *l4, size_t bytes, unsigned int protocol)
{
	bool v6 = ip[0] >> 4 == 6;
	return fold16(sum16(ip + (v6 ? 8 : 12), v6 ? 32 : 8) + protocol + (uint32_t)bytes +
		      sum16(l4, bytes));
}

static inline void fix_ip4(uint8_t *ip)
{
	put16(ip + 10, 0);
	put16(ip + 10, ~ip4_sum(ip) & 0xffff);
}

static inline void fix_l4(
	uint8_t *ip, uint8_t *l4, size_t bytes, unsigned int protocol, unsigned int field)
{
	put16(l4 + field, 0);
	unsigned int sum = ~l4_sum(ip, l4, bytes, protocol) & 0xffff;
	put16(l4 + field, sum ? sum : 0xffff);
}

/* A frame from the peer, as its layers are described. */
struct frame_spec {
	unsigned int vlans;
	bool ipv6;
	uint8_t src[16], dst[16]; /* IPv4 in the first four */
	uint8_t protocol;         /* of the payload behind the extensions */
	uint8_t first;            /* IPv6: type of the first extension header */
	const uint8_t *extra;     /* IPv4 options or IPv6 extension headers */
	size_t n_extra;
	uint16_t src_port, dst_port; /* protocol 17 */
	const uint8_t *payload;      /* behind UDP's header, or all of another protocol's */
	size_t n;
	uint8_t hops;
};

/* Writes it with every checksum right; its length. Protocols 1 and 58 get theirs at offset 2. */
static inline uint32_t build_frame(uint8_t *out, const struct frame_spec *s)
{
	uint8_t *ip = out + 14 + 4 * s->vlans, *l4;
	size_t l4_bytes = s->n + (s->protocol == 17 ? 8 : 0);

	memcpy(out, our_mac, 6);
	memcpy(out + 6, peer_mac, 6);
	for (unsigned int v = 0; v < s->vlans; v++) {
		put16(out + 12 + 4 * v, v + 1 < s->vlans ? 0x88a8 : 0x8100);
		put16(out + 14 + 4 * v, 0x6005 + v);
	}
	put16(ip - 2, s->ipv6 ? 0x86dd : 0x0800);
	if (s->ipv6) {
		memset(ip, 0, 40);
		ip[0] = 0x60;
		put16(ip + 4, (unsigned int)(s->n_extra + l4_bytes));
		ip[6] = s->n_extra ? s->first : s->protocol;
		ip[7] = s->hops ? s->hops : 61;
		memcpy(ip + 8, s->src, 16);
		memcpy(ip + 24, s->dst, 16);
		l4 = ip + 40 + s->n_extra;
		if (s->n_extra)
			memcpy(ip + 40, s->extra, s->n_extra);
	} else {
		memset(ip, 0, 20);
		ip[0] = (uint8_t)(0x45 + s->n_extra / 4);
		put16(ip + 2, (unsigned int)(20 + s->n_extra + l4_bytes));
		put16(ip + 4, 0x1234);
		ip[8] = s->hops ? s->hops : 61;
		ip[9] = s->protocol;
		memcpy(ip + 12, s->src, 4);
		memcpy(ip + 16, s->dst, 4);
		l4 = ip + 20 + s->n_extra;
		if (s->n_extra)
			memcpy(ip + 20, s->extra, s->n_extra);
		fix_ip4(ip);
	}
	if (s->protocol == 17) {
		put16(l4, s->src_port);
		put16(l4 + 2, s->dst_port);
		put16(l4 + 4, (unsigned int)l4_bytes);
		memcpy(l4 + 8, s->payload, s->n);
		fix_l4(ip, l4, l4_bytes, 17, 6);
	} else {
		memcpy(l4, s->payload, s->n);
		if (s->protocol == 58)
			fix_l4(ip, l4, s->n, 58, 2);
		if (s->protocol == 1) {
			put16(l4 + 2, 0);
			put16(l4 + 2, ~fold16(sum16(l4, s->n)) & 0xffff);
		}
	}
	return (uint32_t)(l4 + l4_bytes - out);
}

/* Parses an exactly sized copy: a sanitizer build sees a read beyond. */
static inline enum wr_outcome parse_exact(
	const uint8_t *frame, uint32_t len, uint32_t known, struct wr_frame *f)
{
	uint8_t *copy = malloc(len ? len : 1);
	if (!copy)
		abort();
	memcpy(copy, frame, len);
	enum wr_outcome o = wr_frame_parse(&us, copy, len, known, f);
	free(copy);
	return o;
}

static inline uint32_t guess_exact(const uint8_t *frame, uint32_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	if (!copy)
		abort();
	memcpy(copy, frame, len);
	uint32_t at = wr_frame_guess_payload(copy, len);
	free(copy);
	return at;
}

#endif
