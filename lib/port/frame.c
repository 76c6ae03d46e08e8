/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The frame around a message: parse with every check in software, reply in place, answers aside
 * (ARP, ND, echo). Runs once a frame on 64 … 1,300 bytes; the UDP checksum's pass over the payload
 * dominates.
 */
#include "wr_port.h"

#include <rte_ether.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include <string.h>

#define MAX_VLAN_TAGS 2
#define REPLY_TTL     64

/* Ethernet and at most two VLAN tags: the type behind them, its payload's offset in *off; 0 = too
 * short. */
static uint16_t ether_type(const uint8_t *data, uint32_t len, uint16_t *off)
{
	if (len < sizeof(struct rte_ether_hdr))
		return 0;
	const struct rte_ether_hdr *eth = (const void *)data;
	uint16_t type = rte_be_to_cpu_16(eth->ether_type);
	uint16_t at = sizeof(*eth);
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		if (type != RTE_ETHER_TYPE_VLAN && type != RTE_ETHER_TYPE_QINQ)
			break;
		if (len < at + sizeof(struct rte_vlan_hdr))
			return 0;
		const struct rte_vlan_hdr *vlan = (const void *)(data + at);
		type = rte_be_to_cpu_16(vlan->eth_proto);
		at = (uint16_t)(at + sizeof(*vlan));
	}
	*off = at;
	return type;
}

static enum wr_outcome parse_udp(const struct wr_frame_local *us, const uint8_t *data,
	uint32_t l4_len, const void *ip, struct wr_frame *f)
{
	if (l4_len < sizeof(struct rte_udp_hdr))
		return WR_OUTCOME_frame_bad_udp;
	const struct rte_udp_hdr *udp = (const void *)(data + f->l4_off);
	if (rte_be_to_cpu_16(udp->dgram_len) != l4_len)
		return WR_OUTCOME_frame_bad_udp;
	f->dst_port = rte_be_to_cpu_16(udp->dst_port);
	if (f->dst_port < us->udp_port || f->dst_port >= us->udp_port + us->n_ports)
		return WR_OUTCOME_frame_other_port;
	/* The one's complement sum over pseudo header, checksum and data is all ones when sound; 0
	 * in the field means "not computed", which IPv6 forbids. */
	if (f->ipv6) {
		if (udp->dgram_cksum == 0 || rte_ipv6_udptcp_cksum_verify(ip, udp) != 0)
			return WR_OUTCOME_frame_bad_udp;
	} else if (udp->dgram_cksum != 0 && rte_ipv4_udptcp_cksum_verify(ip, udp) != 0) {
		return WR_OUTCOME_frame_bad_udp;
	}
	f->payload_off = (uint16_t)(f->l4_off + sizeof(*udp));
	f->payload_len = (uint16_t)(l4_len - sizeof(*udp));
	return WR_OUTCOME_answered;
}

static enum wr_outcome parse_ipv4(
	const struct wr_frame_local *us, const uint8_t *data, uint32_t len, struct wr_frame *f)
{
	if (len < f->l3_off + sizeof(struct rte_ipv4_hdr))
		return WR_OUTCOME_frame_short;
	const struct rte_ipv4_hdr *ip = (const void *)(data + f->l3_off);
	uint32_t head = (ip->version_ihl & 0xfu) * 4u, total = rte_be_to_cpu_16(ip->total_length);
	if (ip->version_ihl >> 4 != 4 || head < sizeof(*ip) || total < head ||
		f->l3_off + total > len)
		return WR_OUTCOME_frame_bad_ip;
	if (rte_raw_cksum(ip, head) != 0xffff)
		return WR_OUTCOME_frame_bad_ip;
	if (!us->any && (!us->has_ipv4 || memcmp(&ip->dst_addr, us->ipv4, 4) != 0))
		return WR_OUTCOME_frame_not_ours;
	if (ip->fragment_offset & rte_cpu_to_be_16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK))
		return WR_OUTCOME_frame_fragment;
	/* Options would have to be understood before they are sent back. */
	if (ip->next_proto_id != IPPROTO_UDP || head != sizeof(*ip))
		return WR_OUTCOME_frame_not_ours;
	f->ipv6 = false;
	memset(f->source, 0, 10);
	f->source[10] = f->source[11] = 0xff;
	memcpy(f->source + 12, &ip->src_addr, 4);
	f->l4_off = (uint16_t)(f->l3_off + head);
	return parse_udp(us, data, total - head, ip, f);
}

static enum wr_outcome parse_ipv6(
	const struct wr_frame_local *us, const uint8_t *data, uint32_t len, struct wr_frame *f)
{
	if (len < f->l3_off + sizeof(struct rte_ipv6_hdr))
		return WR_OUTCOME_frame_short;
	const struct rte_ipv6_hdr *ip = (const void *)(data + f->l3_off);
	uint32_t payload = rte_be_to_cpu_16(ip->payload_len);
	if ((data[f->l3_off] >> 4) != 6 || f->l3_off + sizeof(*ip) + payload > len)
		return WR_OUTCOME_frame_bad_ip;
	if (!us->any && (!us->has_ipv6 || memcmp(&ip->dst_addr, us->ipv6, 16) != 0))
		return WR_OUTCOME_frame_not_ours;
	if (ip->proto == IPPROTO_FRAGMENT)
		return WR_OUTCOME_frame_fragment;
	if (ip->proto != IPPROTO_UDP)
		return WR_OUTCOME_frame_not_ours;
	f->ipv6 = true;
	memcpy(f->source, &ip->src_addr, 16);
	f->l4_off = (uint16_t)(f->l3_off + sizeof(*ip));
	return parse_udp(us, data, payload, ip, f);
}

enum wr_outcome wr_frame_parse(
	const struct wr_frame_local *us, const uint8_t *data, uint32_t len, struct wr_frame *f)
{
	uint16_t type = ether_type(data, len, &f->l3_off);
	if (type == 0)
		return WR_OUTCOME_frame_short;
	if (data[0] & 1) /* group address: no datagram of ours comes by it */
		return WR_OUTCOME_frame_not_ours;
	if (type == RTE_ETHER_TYPE_IPV4)
		return parse_ipv4(us, data, len, f);
	if (type == RTE_ETHER_TYPE_IPV6)
		return parse_ipv6(us, data, len, f);
	return WR_OUTCOME_frame_not_ours;
}

static void swap_bytes(void *a, void *b, size_t n)
{
	uint8_t t[16];
	memcpy(t, a, n);
	memcpy(a, b, n);
	memcpy(b, t, n);
}

static void swap_ether(uint8_t *data)
{
	swap_bytes(data, data + 6, 6);
}

uint32_t wr_frame_reply(uint8_t *data, const struct wr_frame *f, uint32_t payload_len)
{
	struct rte_udp_hdr *udp = (void *)(data + f->l4_off);
	uint16_t l4_len = (uint16_t)(sizeof(*udp) + payload_len);

	swap_ether(data);
	swap_bytes(&udp->src_port, &udp->dst_port, 2);
	udp->dgram_len = rte_cpu_to_be_16(l4_len);
	udp->dgram_cksum = 0;
	if (f->ipv6) {
		struct rte_ipv6_hdr *ip = (void *)(data + f->l3_off);
		swap_bytes(&ip->src_addr, &ip->dst_addr, 16);
		ip->payload_len = rte_cpu_to_be_16(l4_len);
		ip->hop_limits = REPLY_TTL;
		udp->dgram_cksum = rte_ipv6_udptcp_cksum(ip, udp);
	} else {
		struct rte_ipv4_hdr *ip = (void *)(data + f->l3_off);
		swap_bytes(&ip->src_addr, &ip->dst_addr, 4);
		ip->total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + l4_len));
		ip->fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG);
		ip->time_to_live = REPLY_TTL;
		ip->hdr_checksum = 0;
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		udp->dgram_cksum = rte_ipv4_udptcp_cksum(ip, udp);
	}
	return f->l4_off + l4_len;
}

/* ---- aside ---- */
/* RFC 826 for Ethernet and IPv4. */
enum { ARP_OP = 6, ARP_SHA = 8, ARP_SIP = 14, ARP_THA = 18, ARP_TIP = 24, ARP_BYTES = 28 };

static uint32_t arp_reply(
	const struct wr_frame_local *us, uint8_t *data, uint32_t len, uint16_t off)
{
	static const uint8_t request[8] = {0, 1, 8, 0, 6, 4, 0, 1}; /* Ethernet, IPv4, 6, 4, asks */
	uint8_t *arp = data + off;

	if (!us->has_ipv4 || len < off + (uint32_t)ARP_BYTES || memcmp(arp, request, 8) != 0 ||
		memcmp(arp + ARP_TIP, us->ipv4, 4) != 0)
		return 0;
	arp[ARP_OP + 1] = 2;
	memcpy(arp + ARP_THA, arp + ARP_SHA, 6);
	memcpy(arp + ARP_SHA, us->mac, 6);
	swap_bytes(arp + ARP_SIP, arp + ARP_TIP, 4);
	memcpy(data, data + 6, 6);
	memcpy(data + 6, us->mac, 6);
	return off + (uint32_t)ARP_BYTES;
}

static uint32_t icmp_reply(
	const struct wr_frame_local *us, uint8_t *data, uint32_t len, uint16_t off)
{
	struct rte_ipv4_hdr *ip = (void *)(data + off);
	if (!us->has_ipv4 || len < off + sizeof(*ip) || ip->version_ihl != 0x45)
		return 0;
	uint32_t total = rte_be_to_cpu_16(ip->total_length);
	struct rte_icmp_hdr *icmp = (void *)(ip + 1);
	if (total < sizeof(*ip) + sizeof(*icmp) || off + total > len ||
		rte_raw_cksum(ip, sizeof(*ip)) != 0xffff ||
		memcmp(&ip->dst_addr, us->ipv4, 4) != 0 || ip->next_proto_id != IPPROTO_ICMP ||
		(ip->fragment_offset & rte_cpu_to_be_16(0x3fff)) ||
		icmp->icmp_type != RTE_IP_ICMP_ECHO_REQUEST || icmp->icmp_code != 0 ||
		rte_raw_cksum(icmp, total - sizeof(*ip)) != 0xffff)
		return 0;
	icmp->icmp_type = RTE_IP_ICMP_ECHO_REPLY;
	icmp->icmp_cksum = 0;
	icmp->icmp_cksum = (uint16_t)~rte_raw_cksum(icmp, total - sizeof(*ip));
	swap_bytes(&ip->src_addr, &ip->dst_addr, 4);
	ip->time_to_live = REPLY_TTL;
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	swap_ether(data);
	return off + total;
}

/* ICMPv6 types and layouts: RFC 4443, RFC 4861. */
enum { ICMP6_ECHO_REQUEST = 128, ICMP6_ECHO_REPLY = 129, ICMP6_NS = 135, ICMP6_NA = 136 };
#define NS_BYTES 24 /* type, code, checksum, reserved, target */
#define NA_BYTES 32 /* the same and a link-layer address option */

static uint16_t icmp6_checksum(const struct rte_ipv6_hdr *ip, const uint8_t *icmp, uint32_t bytes)
{
	uint32_t sum = rte_ipv6_phdr_cksum(ip, 0);
	sum += rte_raw_cksum(icmp, bytes);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~((sum & 0xffff) + (sum >> 16));
}

static bool is_solicited_node(const struct wr_frame_local *us, const uint8_t dst[16])
{
	static const uint8_t prefix[13] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
	return memcmp(dst, prefix, 13) == 0 && memcmp(dst + 13, us->ipv6 + 13, 3) == 0;
}

static uint32_t icmp6_reply(
	const struct wr_frame_local *us, uint8_t *data, uint32_t len, uint16_t off)
{
	struct rte_ipv6_hdr *ip = (void *)(data + off);
	if (!us->has_ipv6 || len < off + sizeof(*ip) + 8 || data[off] >> 4 != 6 ||
		ip->proto != IPPROTO_ICMPV6)
		return 0;
	uint32_t bytes = rte_be_to_cpu_16(ip->payload_len);
	uint8_t *icmp = (void *)(ip + 1);
	uint8_t *dst = (void *)&ip->dst_addr, *src = (void *)&ip->src_addr;
	bool to_us = memcmp(dst, us->ipv6, 16) == 0;
	if (bytes < 8 || off + sizeof(*ip) + bytes > len || icmp6_checksum(ip, icmp, bytes) != 0)
		return 0;
	if (icmp[0] == ICMP6_ECHO_REQUEST && to_us) {
		icmp[0] = ICMP6_ECHO_REPLY;
	} else if (icmp[0] == ICMP6_NS && (to_us || is_solicited_node(us, dst)) &&
		   ip->hop_limits == 255 && bytes >= NA_BYTES &&
		   memcmp(icmp + 8, us->ipv6, 16) == 0) {
		/* A solicitation with its sender's address option has room for our answer with
		 * ours. */
		bytes = NA_BYTES;
		icmp[0] = ICMP6_NA;
		icmp[4] = 0x60; /* solicited, override */
		icmp[24] = 2;   /* target link-layer address, one unit of 8 bytes */
		icmp[25] = 1;
		memcpy(icmp + 26, us->mac, 6);
	} else {
		return 0;
	}
	memcpy(dst, src, 16);
	memcpy(src, us->ipv6, 16);
	ip->payload_len = rte_cpu_to_be_16((uint16_t)bytes);
	ip->hop_limits = 255;
	icmp[2] = icmp[3] = 0;
	uint16_t sum = icmp6_checksum(ip, icmp, bytes);
	memcpy(icmp + 2, &sum, 2);
	memcpy(data, data + 6, 6);
	memcpy(data + 6, us->mac, 6);
	return off + (uint32_t)sizeof(*ip) + bytes;
}

uint32_t wr_frame_aside(const struct wr_frame_local *us, uint8_t *data, uint32_t len)
{
	uint16_t off = 0;
	switch (ether_type(data, len, &off)) {
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

/* ---- building ---- */
uint16_t wr_frame_headers_bytes(bool ipv6)
{
	return (uint16_t)(sizeof(struct rte_ether_hdr) + sizeof(struct rte_udp_hdr) +
			  (ipv6 ? sizeof(struct rte_ipv6_hdr) : sizeof(struct rte_ipv4_hdr)));
}

uint32_t wr_frame_build(uint8_t *data, const uint8_t src_mac[6], const uint8_t dst_mac[6],
	const uint8_t src[16], const uint8_t dst[16], uint16_t src_port, uint16_t dst_port,
	uint16_t payload_len)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	bool ipv6 = memcmp(dst, mapped, 12) != 0;
	uint16_t l4_len = (uint16_t)(sizeof(struct rte_udp_hdr) + payload_len);
	struct rte_ether_hdr *eth = (void *)data;

	memcpy(&eth->dst_addr, dst_mac, 6);
	memcpy(&eth->src_addr, src_mac, 6);
	eth->ether_type = rte_cpu_to_be_16(ipv6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4);
	struct rte_udp_hdr *udp = (void *)(data + wr_frame_headers_bytes(ipv6) - sizeof(*udp));
	udp->src_port = rte_cpu_to_be_16(src_port);
	udp->dst_port = rte_cpu_to_be_16(dst_port);
	udp->dgram_len = rte_cpu_to_be_16(l4_len);
	udp->dgram_cksum = 0;
	if (ipv6) {
		struct rte_ipv6_hdr *ip = (void *)(eth + 1);
		memset(ip, 0, sizeof(*ip));
		ip->vtc_flow = rte_cpu_to_be_32(6u << 28);
		ip->payload_len = rte_cpu_to_be_16(l4_len);
		ip->proto = IPPROTO_UDP;
		ip->hop_limits = REPLY_TTL;
		memcpy(&ip->src_addr, src, 16);
		memcpy(&ip->dst_addr, dst, 16);
		udp->dgram_cksum = rte_ipv6_udptcp_cksum(ip, udp);
	} else {
		struct rte_ipv4_hdr *ip = (void *)(eth + 1);
		memset(ip, 0, sizeof(*ip));
		ip->version_ihl = 0x45;
		ip->total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + l4_len));
		ip->fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG);
		ip->time_to_live = REPLY_TTL;
		ip->next_proto_id = IPPROTO_UDP;
		memcpy(&ip->src_addr, src + 12, 4);
		memcpy(&ip->dst_addr, dst + 12, 4);
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		udp->dgram_cksum = rte_ipv4_udptcp_cksum(ip, udp);
	}
	return wr_frame_headers_bytes(ipv6) + payload_len;
}
