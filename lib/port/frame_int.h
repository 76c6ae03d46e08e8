/* SPDX-License-Identifier: BSD-3-Clause */
/* What the frame files share; internal to lib/port. All of it runs once a frame at most. */
#ifndef WR_PORT_FRAME_INT_H
#define WR_PORT_FRAME_INT_H

#include "wr_port.h"

#include <rte_ip.h>

#include <string.h>

#define FRAME_TTL 64 /* of everything that we send */

/* RFC 8200 and 4443 */
#define IP6_HEAD   ((uint32_t)sizeof(struct rte_ipv6_hdr))
#define IP6_ICMP   58
#define MAC_OFF    6 /* source address in a frame */
#define ETHER_HEAD 14

/* Ethernet and at most two VLAN tags: the type behind them, its payload's offset in *off; 0 = too
 * short. */
uint16_t wr_frame_ether_type(const uint8_t *data, uint32_t len, uint16_t *off);
/* IPv4 options o[0 … n): WR_OUTCOME_answered, frame_bad_ip or frame_source_route. */
enum wr_outcome wr_frame_ipv4_options(const uint8_t *o, uint32_t n);
/*
 * Skips IPv6 extension headers from *at to the first header that is none of them, whose type is
 * then *next; end: of the packet. WR_OUTCOME_answered, or why the packet cannot be taken.
 */
enum wr_outcome wr_frame_ipv6_extensions(
	const uint8_t *data, uint32_t end, uint8_t *next, uint32_t *at);
/* All but the first of a family. */
int wr_frame_find_other_ipv4(const struct wr_frame_local *us, uint32_t address);
int wr_frame_find_other_ipv6(const struct wr_frame_local *us, const uint8_t address[16]);
/* Slots of wr_frame_local's tables where the search for an address begins. */
unsigned int wr_frame_slot_ipv4(uint32_t address);
unsigned int wr_frame_slot_ipv6(const uint8_t address[16]);

/* Without the call that a compiler makes of memcmp. */
static inline bool wr_frame_same_ipv6(const uint8_t a[16], const uint8_t b[16])
{
	uint64_t x[2], y[2];
	memcpy(x, a, 16);
	memcpy(y, b, 16);
	return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

/* Index of an address (network order) of ours among us->addresses, -1 = not ours; only when there
 * is one of the family. */
static inline int wr_frame_find_ipv4(const struct wr_frame_local *us, uint32_t address)
{
	return address == us->first_ipv4 ? 0 : wr_frame_find_other_ipv4(us, address);
}
static inline int wr_frame_find_ipv6(const struct wr_frame_local *us, const uint8_t address[16])
{
	return wr_frame_same_ipv6(address, us->first_ipv6) ? 0
							   : wr_frame_find_other_ipv6(us, address);
}

/* Sources that no datagram can come from, or be answered to: this network, loopback, multicast,
 * reserved and broadcast, and the address that it was sent to. Network order. */
static inline bool wr_frame_bad_ipv4_source(uint32_t src, uint32_t dst)
{
	uint8_t a = (uint8_t)src;
	return a == 0 || a == 127 || a >= 224 || src == dst;
}

/* Multicast, everything whose first 64 bits are zero (unspecified, loopback, IPv4-mapped and
 * IPv4-compatible: they would be taken for IPv4 sources by source rules), and the destination. */
static inline bool wr_frame_bad_ipv6_source(const uint8_t src[16], const uint8_t dst[16])
{
	uint64_t high;
	memcpy(&high, src, 8);
	return high == 0 || src[0] == 0xff || wr_frame_same_ipv6(src, dst);
}

/* ---- sum.c: 16-bit words of n ≤ 65,535 bytes added up, unfolded; an odd last byte counts as the
 * first of its word. The two levels give the same sum. ---- */
uint64_t wr_frame_add_words(const void *data, uint32_t n);
uint64_t wr_frame_add_words_sse2(const uint8_t *data, uint32_t n);
uint64_t wr_frame_add_words_avx2(const uint8_t *data, uint32_t n);

/* The same of n bytes, a multiple of four that the compiler knows: an IP header, addresses. */
static inline uint64_t wr_frame_add_header(const void *data, uint32_t n)
{
	uint64_t sum = 0;
	for (uint32_t at = 0; at < n; at += 4) {
		uint32_t word;
		memcpy(&word, (const uint8_t *)data + at, 4);
		sum += word;
	}
	return sum;
}

static inline uint16_t wr_frame_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/*
 * One's complement sum, folded, of the pseudo header (RFC 768, 8200: the two addresses stand next
 * to each other in both IP headers; n = 8 or 32) with a length of `bytes`, and of the first `used`
 * of the bytes of l4, behind which there are zeros only; 0xffff when a checksum in there is right.
 */
static inline uint16_t wr_frame_sum(const void *addresses, uint32_t n, uint8_t protocol,
	const void *l4, uint32_t bytes, uint32_t used)
{
	uint64_t sum =
		n == 8 ? wr_frame_add_header(addresses, 8) : wr_frame_add_header(addresses, 32);
	sum += (uint64_t)rte_cpu_to_be_16(protocol) + rte_cpu_to_be_16((uint16_t)bytes);
	return wr_frame_fold(sum + wr_frame_add_words(l4, used));
}

#endif
