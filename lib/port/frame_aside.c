/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What neighbours and operators ask a station: ARP (RFC 826, 5227), neighbour discovery with
 * duplicate address detection (RFC 4861, 4862), echo (RFC 792, 4443). A few frames a second;
 * answered in place. And the announcements of our own addresses.
 */
#include "frame_int.h"

#include <rte_ether.h>
#include <rte_icmp.h>

#define MIN_FRAME 60 /* without its check sequence: padding that came stays */

static uint32_t with_padding(uint32_t reply, uint32_t len)
{
	return WR_MAX(reply, WR_MIN(len, (uint32_t)MIN_FRAME));
}

/* Back to where it came from, from us. */
static void turn_ether(const struct wr_frame_local *us, uint8_t *data)
{
	memcpy(data, data + MAC_OFF, 6);
	memcpy(data + MAC_OFF, us->mac, 6);
}

/* ---- ARP ---- */
enum { ARP_OP = 6, ARP_SHA = 8, ARP_SIP = 14, ARP_THA = 18, ARP_TIP = 24, ARP_BYTES = 28 };
static const uint8_t arp_request[8] = {0, 1, 8, 0, 6, 4, 0, 1}; /* Ethernet, IPv4, 6, 4, asks */

static bool own_ipv4(const struct wr_frame_local *us, const uint8_t address[4])
{
	uint32_t word;
	memcpy(&word, address, 4);
	return us->n_ipv4 && (unsigned int)wr_frame_find_ipv4(us, word) < us->addresses.n_own_ipv4;
}

static bool own_ipv6(const struct wr_frame_local *us, const uint8_t address[16])
{
	return us->n_ipv6 &&
	       (unsigned int)wr_frame_find_ipv6(us, address) < us->addresses.n_own_ipv6;
}

static uint32_t arp_reply(
	const struct wr_frame_local *us, uint8_t *data, uint32_t len, uint16_t off)
{
	uint8_t *arp = data + off, asked[4];

	if (len < off + (uint32_t)ARP_BYTES || memcmp(arp, arp_request, 8) != 0 ||
		(arp[ARP_SHA] & 1) || !own_ipv4(us, arp + ARP_TIP))
		return 0;
	memcpy(asked, arp + ARP_TIP, 4);
	arp[ARP_OP + 1] = 2;
	memcpy(arp + ARP_THA, arp + ARP_SHA, 6);
	memcpy(arp + ARP_TIP, arp + ARP_SIP, 4);
	memcpy(arp + ARP_SHA, us->mac, 6);
	memcpy(arp + ARP_SIP, asked, 4);
	turn_ether(us, data);
	return with_padding(off + (uint32_t)ARP_BYTES, len);
}

/* ---- echo over IPv4 ---- */
/* The ICMP message of an echo request for us, its bytes in *bytes; NULL when it is none. */
static struct rte_icmp_hdr *echo_request(
	const struct wr_frame_local *us, uint8_t *data, uint32_t len, uint16_t off, uint32_t *bytes)
{
	const struct rte_ipv4_hdr *ip = (const void *)(data + off);
	if (!us->n_ipv4 || (data[0] & 1) || len < off + sizeof(*ip) || ip->version_ihl >> 4 != 4)
		return NULL;
	uint32_t head = (ip->version_ihl & 0xfu) * 4u, total = rte_be_to_cpu_16(ip->total_length);
	if (head < sizeof(*ip) || total < head + sizeof(struct rte_icmp_hdr) || off + total > len ||
		ip->next_proto_id != IPPROTO_ICMP || rte_raw_cksum(ip, head) != 0xffff ||
		(ip->fragment_offset & rte_cpu_to_be_16(0x3fff)) ||
		wr_frame_find_ipv4(us, ip->dst_addr) < 0 ||
		wr_frame_bad_ipv4_source(ip->src_addr, ip->dst_addr) ||
		wr_frame_ipv4_options((const uint8_t *)(ip + 1), head - (uint32_t)sizeof(*ip)) !=
			WR_OUTCOME_answered)
		return NULL;
	struct rte_icmp_hdr *icmp = (void *)(data + off + head);
	*bytes = total - head;
	if (icmp->icmp_type != RTE_IP_ICMP_ECHO_REQUEST || icmp->icmp_code != 0 ||
		rte_raw_cksum(icmp, *bytes) != 0xffff)
		return NULL;
	return icmp;
}

static uint32_t icmp_reply(
	const struct wr_frame_local *us, uint8_t *data, uint32_t len, uint16_t off)
{
	uint32_t bytes, address;
	struct rte_icmp_hdr *icmp = echo_request(us, data, len, off, &bytes);
	if (!icmp)
		return 0;
	struct rte_ipv4_hdr *ip = (void *)(data + off);
	icmp->icmp_type = RTE_IP_ICMP_ECHO_REPLY;
	icmp->icmp_cksum = 0;
	icmp->icmp_cksum = (uint16_t)~rte_raw_cksum(icmp, bytes);
	address = ip->src_addr;
	ip->src_addr = ip->dst_addr;
	ip->dst_addr = address;
	memmove(ip + 1, icmp, bytes); /* options are not sent back */
	ip->version_ihl = 0x45;
	ip->total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + bytes));
	ip->time_to_live = FRAME_TTL;
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	turn_ether(us, data);
	return with_padding(off + (uint32_t)sizeof(*ip) + bytes, len);
}

/* ---- ICMPv6 ---- */
enum { ICMP6_ECHO_REQUEST = 128, ICMP6_ECHO_REPLY = 129, ICMP6_NS = 135, ICMP6_NA = 136 };
enum { ND_FLAGS = 4, ND_TARGET = 8, ND_OPTIONS = 24, NS_BYTES = 24, NA_BYTES = 32 };
#define NA_SOLICITED 0x40
#define NA_OVERRIDE  0x20
static_assert(NA_BYTES - NS_BYTES <= WR_FRAME_ASIDE_GROW, "room of the caller");

static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};
static const uint8_t all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
static const uint8_t unspecified[16];

static bool is_solicited_node(const uint8_t dst[16], const uint8_t target[16])
{
	static const uint8_t prefix[13] = {0xff, 2, [11] = 1, [12] = 0xff};
	return memcmp(dst, prefix, 13) == 0 && memcmp(dst + 13, target + 13, 3) == 0;
}

/* RFC 4861, 7.1.1: no option of length 0 or beyond the end; a sender without an address has none
 * for its link layer. */
static bool sound_options(const uint8_t *ns, uint32_t bytes, bool nameless)
{
	for (uint32_t at = ND_OPTIONS; at < bytes;) {
		if (at + 2 > bytes || ns[at + 1] == 0 || at + 8u * ns[at + 1] > bytes ||
			(nameless && ns[at] == 1))
			return false;
		at += 8u * ns[at + 1];
	}
	return true;
}

static bool is_solicitation(const struct wr_frame_local *us, const struct rte_ipv6_hdr *ip,
	const uint8_t *ns, uint32_t bytes)
{
	const uint8_t *target = ns + ND_TARGET;
	bool nameless = memcmp(ip->src_addr, unspecified, 16) == 0;

	if (bytes < NS_BYTES || ns[0] != ICMP6_NS || ns[1] != 0 || ip->hop_limits != 255 ||
		ip->proto != IP6_ICMP || !own_ipv6(us, target) ||
		!sound_options(ns, bytes, nameless))
		return false;
	if (is_solicited_node(ip->dst_addr, target))
		return nameless || !wr_frame_bad_ipv6_source(ip->src_addr, target);
	return own_ipv6(us, ip->dst_addr) && !wr_frame_bad_ipv6_source(ip->src_addr, ip->dst_addr);
}

static void finish_icmp6(struct rte_ipv6_hdr *ip, uint8_t *icmp, uint32_t bytes, uint8_t hops)
{
	ip->proto = IP6_ICMP;
	ip->payload_len = rte_cpu_to_be_16((uint16_t)bytes);
	ip->hop_limits = hops;
	icmp[2] = icmp[3] = 0;
	uint16_t sum = (uint16_t)~wr_frame_sum(ip->src_addr, 32, IP6_ICMP, icmp, bytes, bytes);
	memcpy(icmp + 2, &sum, 2);
}

/* Turns a solicitation into the advertisement that answers it. One that asks whether an address is
 * free (its sender has none yet) is told so by way of all nodes. */
static void advertise(
	const struct wr_frame_local *us, uint8_t *data, struct rte_ipv6_hdr *ip, uint8_t *icmp)
{
	bool nameless = memcmp(ip->src_addr, unspecified, 16) == 0;

	turn_ether(us, data);
	if (nameless)
		memcpy(data, all_nodes_mac, 6);
	memcpy(ip->dst_addr, nameless ? all_nodes : ip->src_addr, 16);
	memcpy(ip->src_addr, icmp + ND_TARGET, 16);
	icmp[0] = ICMP6_NA;
	memset(icmp + ND_FLAGS, 0, 4);
	icmp[ND_FLAGS] = nameless ? NA_OVERRIDE : NA_OVERRIDE | NA_SOLICITED;
	icmp[ND_OPTIONS] = 2; /* target's link-layer address, one unit of 8 bytes */
	icmp[ND_OPTIONS + 1] = 1;
	memcpy(icmp + ND_OPTIONS + 2, us->mac, 6);
	finish_icmp6(ip, icmp, NA_BYTES, 255);
}

static uint32_t icmp6_reply(
	const struct wr_frame_local *us, uint8_t *data, uint32_t len, uint16_t off)
{
	struct rte_ipv6_hdr *ip = (void *)(data + off);
	uint32_t at = off + IP6_HEAD;
	if (!us->n_ipv6 || len < at || data[off] >> 4 != 6)
		return 0;
	uint32_t end = at + rte_be_to_cpu_16(ip->payload_len);
	uint8_t next = ip->proto;
	if (end > len || wr_frame_ipv6_extensions(data, end, &next, &at) != WR_OUTCOME_answered ||
		next != IP6_ICMP || end - at < 8)
		return 0;
	uint8_t *icmp = data + at;
	uint32_t bytes = end - at;
	if (wr_frame_sum(ip->src_addr, 32, IP6_ICMP, icmp, bytes, bytes) != 0xffff)
		return 0;
	if (is_solicitation(us, ip, icmp, bytes)) {
		advertise(us, data, ip, icmp);
		return off + IP6_HEAD + NA_BYTES;
	}
	if (icmp[0] != ICMP6_ECHO_REQUEST || icmp[1] != 0 || (data[0] & 1) ||
		wr_frame_find_ipv6(us, ip->dst_addr) < 0 ||
		wr_frame_bad_ipv6_source(ip->src_addr, ip->dst_addr))
		return 0;
	uint8_t asked[16];
	memcpy(asked, ip->dst_addr, 16);
	memcpy(ip->dst_addr, ip->src_addr, 16);
	memcpy(ip->src_addr, asked, 16);
	memmove(ip + 1, icmp, bytes); /* extension headers are not sent back */
	icmp = (uint8_t *)(ip + 1);
	icmp[0] = ICMP6_ECHO_REPLY;
	finish_icmp6(ip, icmp, bytes, FRAME_TTL);
	turn_ether(us, data);
	return with_padding(off + IP6_HEAD + bytes, len);
}

uint32_t wr_frame_aside(const struct wr_frame_local *us, uint8_t *data, uint32_t len)
{
	uint16_t off = 0, type = wr_frame_ether_type(data, len, &off);

	if (type == 0 || (data[MAC_OFF] & 1))
		return 0;
	switch (type) {
	case RTE_ETHER_TYPE_ARP:
		return arp_reply(us, data, len, off);
	case RTE_ETHER_TYPE_IPV4:
		return icmp_reply(us, data, len, off);
	case RTE_ETHER_TYPE_IPV6:
		return icmp6_reply(us, data, len, off);
	default:
		return 0;
	}
}

/* ---- conflicts ---- */
bool wr_frame_is_conflict(const struct wr_frame_local *us, const uint8_t *data, uint32_t len)
{
	uint16_t off = 0, type = wr_frame_ether_type(data, len, &off);

	if (type == 0 || memcmp(data + MAC_OFF, us->mac, 6) == 0)
		return false;
	if (type == RTE_ETHER_TYPE_ARP) {
		const uint8_t *arp = data + off;
		return len >= off + (uint32_t)ARP_BYTES && memcmp(arp, arp_request, ARP_OP) == 0 &&
		       own_ipv4(us, arp + ARP_SIP) && memcmp(arp + ARP_SHA, us->mac, 6) != 0;
	}
	if (type != RTE_ETHER_TYPE_IPV6 || len < off + IP6_HEAD + NS_BYTES)
		return false;
	const struct rte_ipv6_hdr *ip = (const void *)(data + off);
	const uint8_t *icmp = (const uint8_t *)(ip + 1);
	uint32_t bytes = rte_be_to_cpu_16(ip->payload_len);
	return ip->proto == IP6_ICMP && ip->hop_limits == 255 && icmp[0] == ICMP6_NA &&
	       bytes >= NS_BYTES && len >= off + IP6_HEAD + bytes &&
	       own_ipv6(us, icmp + ND_TARGET) &&
	       wr_frame_sum(ip->src_addr, 32, IP6_ICMP, icmp, bytes, bytes) == 0xffff;
}

/* ---- announcements ---- */
static uint32_t announce_ipv4(const struct wr_frame_local *us, unsigned int i, uint8_t *data)
{
	uint8_t *arp = data + ETHER_HEAD;

	memset(data, 0xff, 6);
	data[12] = RTE_ETHER_TYPE_ARP >> 8;
	data[13] = RTE_ETHER_TYPE_ARP & 0xff;
	memcpy(arp, arp_request, 8);
	memcpy(arp + ARP_SHA, us->mac, 6);
	memcpy(arp + ARP_SIP, us->addresses.ipv4[i], 4);
	memcpy(arp + ARP_TIP, us->addresses.ipv4[i], 4);
	return MIN_FRAME;
}

static uint32_t announce_ipv6(const struct wr_frame_local *us, unsigned int i, uint8_t *data)
{
	struct rte_ipv6_hdr *ip = (void *)(data + ETHER_HEAD);
	uint8_t *icmp = (uint8_t *)(ip + 1);

	memcpy(data, all_nodes_mac, 6);
	data[12] = RTE_ETHER_TYPE_IPV6 >> 8;
	data[13] = RTE_ETHER_TYPE_IPV6 & 0xff;
	data[ETHER_HEAD] = 0x60;
	memcpy(ip->src_addr, us->addresses.ipv6[i], 16);
	memcpy(ip->dst_addr, all_nodes, 16);
	icmp[0] = ICMP6_NA;
	icmp[ND_FLAGS] = NA_OVERRIDE;
	memcpy(icmp + ND_TARGET, us->addresses.ipv6[i], 16);
	icmp[ND_OPTIONS] = 2;
	icmp[ND_OPTIONS + 1] = 1;
	memcpy(icmp + ND_OPTIONS + 2, us->mac, 6);
	finish_icmp6(ip, icmp, NA_BYTES, 255);
	return ETHER_HEAD + IP6_HEAD + NA_BYTES;
}

uint32_t wr_frame_announce(const struct wr_frame_local *us, unsigned int i, uint8_t *data)
{
	static_assert(
		ETHER_HEAD + sizeof(struct rte_ipv6_hdr) + NA_BYTES == WR_FRAME_ANNOUNCE_BYTES,
		"room of the caller");
	memset(data, 0, WR_FRAME_ANNOUNCE_BYTES);
	memcpy(data + MAC_OFF, us->mac, 6);
	if (i < us->addresses.n_own_ipv4)
		return announce_ipv4(us, i, data);
	return announce_ipv6(us, i - us->addresses.n_own_ipv4, data);
}
