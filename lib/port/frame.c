/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The frame around a message: parse with every check, reply in place, build. Runs once a frame on
 * 64 … 1,300 bytes; the UDP checksum's pass over the payload dominates where the port does not make
 * it.
 */
#include "frame_int.h"

#include <rte_ether.h>
#include <rte_udp.h>

#define MAX_VLAN_TAGS  2
#define MAX_EXTENSIONS 8   /* headers of one packet */
#define MAX_EXT_BYTES  256 /* of all of them */
#define UDP_HEAD       ((uint32_t)sizeof(struct rte_udp_hdr))

uint16_t wr_frame_ether_type(const uint8_t *data, uint32_t len, uint16_t *off)
{
	if (len < sizeof(struct rte_ether_hdr))
		return 0;
	const struct rte_ether_hdr *eth = (const void *)data;
	uint16_t type = rte_be_to_cpu_16(eth->ether_type);
	uint16_t at = sizeof(*eth);
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		if (type != RTE_ETHER_TYPE_VLAN && type != RTE_ETHER_TYPE_QINQ &&
			type != RTE_ETHER_TYPE_QINQ1)
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

static inline enum wr_outcome parse_udp(const struct wr_frame_local *us, const uint8_t *data,
	uint32_t l4_off, uint32_t l4_len, const void *addresses, uint32_t known, struct wr_frame *f)
{
	if (l4_len < UDP_HEAD)
		return WR_OUTCOME_frame_bad_udp;
	const struct rte_udp_hdr *udp = (const void *)(data + l4_off);
	if (rte_be_to_cpu_16(udp->dgram_len) != l4_len)
		return WR_OUTCOME_frame_bad_udp;
	f->src_port = rte_be_to_cpu_16(udp->src_port);
	f->dst_port = rte_be_to_cpu_16(udp->dst_port);
	if (f->dst_port < us->udp_port || f->dst_port >= us->udp_port + us->n_ports)
		return WR_OUTCOME_frame_other_port;
	if (f->src_port == 0) /* RFC 768: no answer is expected there */
		return WR_OUTCOME_frame_bad_udp;
	/* 0 in the field means "not computed", which IPv6 forbids. */
	if (udp->dgram_cksum == 0) {
		if (f->ipv6)
			return WR_OUTCOME_frame_bad_udp;
	} else if (!(known & WR_FRAME_UDP_KNOWN) &&
		   wr_frame_sum(addresses, f->ipv6 ? 32 : 8, IPPROTO_UDP, udp, l4_len, l4_len) !=
			   0xffff) {
		return WR_OUTCOME_frame_bad_udp;
	}
	f->payload_off = (uint16_t)(l4_off + UDP_HEAD);
	f->payload_len = (uint16_t)(l4_len - UDP_HEAD);
	return WR_OUTCOME_answered;
}

/* RFC 791. A source route would make the answer travel where the sender points. */
enum wr_outcome wr_frame_ipv4_options(const uint8_t *o, uint32_t n)
{
	enum { END = 0, NOP = 1, LOOSE_ROUTE = 131, STRICT_ROUTE = 137 };

	for (uint32_t at = 0; at < n && o[at] != END;) {
		if (o[at] == NOP) {
			at++;
			continue;
		}
		if (at + 2 > n || o[at + 1] < 2 || at + o[at + 1] > n)
			return WR_OUTCOME_frame_bad_ip;
		if (o[at] == LOOSE_ROUTE || o[at] == STRICT_ROUTE)
			return WR_OUTCOME_frame_source_route;
		at += o[at + 1];
	}
	return WR_OUTCOME_answered;
}

static bool ipv4_sum_right(const struct rte_ipv4_hdr *ip, uint32_t head)
{
	uint64_t sum = wr_frame_add_header(ip, sizeof(*ip));
	if (head != sizeof(*ip))
		sum += wr_frame_add_words(ip + 1, head - (uint32_t)sizeof(*ip));
	return wr_frame_fold(sum) == 0xffff;
}

static enum wr_outcome parse_ipv4(const struct wr_frame_local *us, const uint8_t *data,
	uint32_t len, uint32_t known, struct wr_frame *f)
{
	if (len < f->l3_off + sizeof(struct rte_ipv4_hdr))
		return WR_OUTCOME_frame_short;
	const struct rte_ipv4_hdr *ip = (const void *)(data + f->l3_off);
	uint32_t head = (ip->version_ihl & 0xfu) * 4u, total = rte_be_to_cpu_16(ip->total_length);
	if (ip->version_ihl >> 4 != 4 || head < sizeof(*ip) || total < head ||
		f->l3_off + total > len)
		return WR_OUTCOME_frame_bad_ip;
	if (!(known & WR_FRAME_IP_KNOWN) && !ipv4_sum_right(ip, head))
		return WR_OUTCOME_frame_bad_ip;
	if (!us->any && (!us->n_ipv4 || wr_frame_find_ipv4(us, ip->dst_addr) < 0))
		return WR_OUTCOME_frame_not_ours;
	if (ip->fragment_offset & rte_cpu_to_be_16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK))
		return WR_OUTCOME_frame_fragment;
	if (ip->next_proto_id != IPPROTO_UDP)
		return WR_OUTCOME_frame_not_ours;
	if (wr_frame_bad_ipv4_source(ip->src_addr, ip->dst_addr))
		return WR_OUTCOME_frame_bad_source;
	if (head != sizeof(*ip)) {
		enum wr_outcome o = wr_frame_ipv4_options(
			(const uint8_t *)(ip + 1), head - (uint32_t)sizeof(*ip));
		if (o != WR_OUTCOME_answered)
			return o;
	}
	f->ipv6 = false;
	uint64_t source[2] = {0, (uint64_t)ip->src_addr << 32 | 0xffff0000}; /* ::ffff:a.b.c.d */
	memcpy(f->source, source, sizeof(source));
	f->reply_off = (uint16_t)(f->l3_off + sizeof(*ip) + UDP_HEAD);
	return parse_udp(us, data, f->l3_off + head, total - head, &ip->src_addr, known, f);
}

/* RFC 8200, 4.2: an option that we do not know is skipped when its type's two highest bits say so.
 */
static bool may_skip_options(const uint8_t *o, uint32_t n)
{
	enum { PAD1 = 0 };

	for (uint32_t at = 0; at < n;) {
		if (o[at] == PAD1) {
			at++;
			continue;
		}
		if (at + 2 > n || o[at] >> 6 != 0 || at + 2 + o[at + 1] > n)
			return false;
		at += 2 + (uint32_t)o[at + 1];
	}
	return true;
}

enum wr_outcome wr_frame_ipv6_extensions(
	const uint8_t *data, uint32_t end, uint8_t *next, uint32_t *at)
{
	enum { HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, DESTINATION = 60, SEGMENTS_LEFT = 3 };
	const uint32_t from = *at;

	for (unsigned int i = 0;; i++) {
		if (*next == FRAGMENT)
			return WR_OUTCOME_frame_fragment;
		if (*next != HOP_BY_HOP && *next != ROUTING && *next != DESTINATION)
			return WR_OUTCOME_answered;
		if (*at + 8 > end)
			return WR_OUTCOME_frame_bad_ip;
		const uint8_t *h = data + *at;
		uint32_t bytes = 8 + 8 * (uint32_t)h[1];
		if (*at + bytes > end)
			return WR_OUTCOME_frame_bad_ip;
		if (i == MAX_EXTENSIONS || *at + bytes - from > MAX_EXT_BYTES ||
			(*next == HOP_BY_HOP && i > 0))
			return WR_OUTCOME_frame_extension;
		if (*next == ROUTING) {
			if (h[SEGMENTS_LEFT] != 0)
				return WR_OUTCOME_frame_source_route;
		} else if (!may_skip_options(h + 2, bytes - 2)) {
			return WR_OUTCOME_frame_extension;
		}
		*next = h[0];
		*at += bytes;
	}
}

static enum wr_outcome parse_ipv6(const struct wr_frame_local *us, const uint8_t *data,
	uint32_t len, uint32_t known, struct wr_frame *f)
{
	if (len < f->l3_off + IP6_HEAD)
		return WR_OUTCOME_frame_short;
	const struct rte_ipv6_hdr *ip = (const void *)(data + f->l3_off);
	uint32_t at = f->l3_off + IP6_HEAD, end = at + rte_be_to_cpu_16(ip->payload_len);
	uint8_t next = ip->proto;
	if ((data[f->l3_off] >> 4) != 6 || end > len)
		return WR_OUTCOME_frame_bad_ip;
	if (!us->any && (!us->n_ipv6 || wr_frame_find_ipv6(us, ip->dst_addr) < 0))
		return WR_OUTCOME_frame_not_ours;
	if (next != IPPROTO_UDP) {
		enum wr_outcome o = wr_frame_ipv6_extensions(data, end, &next, &at);
		if (o != WR_OUTCOME_answered)
			return o;
		if (next != IPPROTO_UDP)
			return WR_OUTCOME_frame_not_ours;
	}
	if (wr_frame_bad_ipv6_source(ip->src_addr, ip->dst_addr))
		return WR_OUTCOME_frame_bad_source;
	f->ipv6 = true;
	memcpy(f->source, &ip->src_addr, 16);
	f->reply_off = (uint16_t)(f->l3_off + IP6_HEAD + UDP_HEAD);
	return parse_udp(us, data, at, end - at, &ip->src_addr, known, f);
}

/* Neither for our MAC nor from a station's: which of it. */
static enum wr_outcome other_station(const uint8_t *data)
{
	if (data[0] & 1) /* a group: no datagram of ours comes by it, but ARP and ND do */
		return WR_OUTCOME_frame_not_ours;
	return data[MAC_OFF] & 1 ? WR_OUTCOME_frame_bad_source : WR_OUTCOME_frame_other_mac;
}

enum wr_outcome wr_frame_parse(const struct wr_frame_local *us, const uint8_t *data, uint32_t len,
	uint32_t known, struct wr_frame *f)
{
	/* destination, and the group bit of the source, in the byte order of x86 */
	static const uint64_t mask = 0x0001ffffffffffff;
	uint16_t type;
	uint64_t word;

	if (len > ETHER_HEAD && data[12] == 0x08 && data[13] == 0x00) {
		type = RTE_ETHER_TYPE_IPV4; /* most frames, without the way through tags */
		f->l3_off = ETHER_HEAD;
	} else {
		type = wr_frame_ether_type(data, len, &f->l3_off);
	}
	if (type == 0)
		return WR_OUTCOME_frame_short;
	memcpy(&word, data, sizeof(word));
	if ((word & mask) != us->mac_word)
		return other_station(data);
	if (type == RTE_ETHER_TYPE_IPV4)
		return parse_ipv4(us, data, len, known, f);
	if (type == RTE_ETHER_TYPE_IPV6)
		return parse_ipv6(us, data, len, known, f);
	return WR_OUTCOME_frame_not_ours;
}

uint32_t wr_frame_guess_payload(const uint8_t *data, uint32_t len)
{
	uint32_t off = 0;
	if (len > ETHER_HEAD && data[12] == 0x08 && data[13] == 0x00 && data[ETHER_HEAD] == 0x45)
		off = wr_frame_headers_bytes(false);
	else if (len > ETHER_HEAD && data[12] == 0x86 && data[13] == 0xdd)
		off = wr_frame_headers_bytes(true);
	return off < len ? off : 0;
}

static inline void swap_bytes(void *a, void *b, size_t n)
{
	uint8_t t[16];
	memcpy(t, a, n);
	memcpy(a, b, n);
	memcpy(b, t, n);
}

/* Destination and source are the first twelve bytes. */
static inline void swap_macs(uint8_t *data)
{
	uint64_t to;
	uint32_t from;
	memcpy(&to, data, 8); /* and the first two bytes of the source */
	memcpy(&from, data + 8, 4);
	uint64_t source = to >> 48 | (uint64_t)from << 16;
	uint64_t first = source | to << 48;
	uint32_t second = (uint32_t)(to >> 16);
	memcpy(data, &first, 8);
	memcpy(data + 8, &second, 4);
}

/* The fields of headers are put together in registers and stored at once: bytes that were stored
 * one by one are not there yet when a sum wants to load them as words. */
static inline void store_udp(uint8_t *udp, const struct wr_frame *f, uint64_t addresses,
	uint16_t l4_len, uint32_t used, bool offload)
{
	uint16_t be_len = rte_cpu_to_be_16(l4_len);
	uint64_t head = rte_cpu_to_be_16(f->dst_port) |
			(uint64_t)rte_cpu_to_be_16(f->src_port) << 16 | (uint64_t)be_len << 32;
	uint64_t sum = addresses + rte_cpu_to_be_16(IPPROTO_UDP) + be_len;
	if (!offload)
		sum += (head & 0xffffffff) + (head >> 32) +
		       wr_frame_add_words(udp + UDP_HEAD, used);
	uint16_t folded = wr_frame_fold(sum);
	if (!offload && folded != 0xffff) /* 0 would mean "not computed" */
		folded = (uint16_t)~folded;
	head |= (uint64_t)folded << 48;
	memcpy(udp, &head, sizeof(head));
}

static inline void store_ipv4(struct rte_ipv4_hdr *ip, uint16_t l4_len, bool offload)
{
	uint32_t word[5];
	memcpy(word, ip, sizeof(word));
	/* The class of service stays, the congestion mark was for us alone. */
	word[0] = 0x45 | (word[0] & 0xfc00) |
		  (uint32_t)rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + l4_len)) << 16;
	word[1] = (word[1] & 0xffff) | (uint32_t)rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG) << 16;
	word[2] = FRAME_TTL | IPPROTO_UDP << 8;
	uint32_t source = word[4], destination = word[3];
	if (!offload) {
		uint64_t sum = (uint64_t)word[0] + word[1] + word[2] + source + destination;
		word[2] |= (uint32_t)(uint16_t)~wr_frame_fold(sum) << 16;
	}
	uint64_t first = word[0] | (uint64_t)word[1] << 32,
		 second = word[2] | (uint64_t)source << 32;
	memcpy(ip, &first, 8);
	memcpy((uint8_t *)ip + 8, &second, 8);
	memcpy((uint8_t *)ip + 16, &destination, 4);
}

static inline void store_ipv6(uint8_t *data, struct rte_ipv6_hdr *ip, uint16_t l4_len)
{
	swap_bytes(&ip->src_addr, &ip->dst_addr, 16);
	data[1] &= 0xcf;
	ip->proto = IPPROTO_UDP;
	ip->payload_len = rte_cpu_to_be_16(l4_len);
	ip->hop_limits = FRAME_TTL;
}

uint32_t wr_frame_reply(
	uint8_t *data, const struct wr_frame *f, uint32_t payload_len, uint32_t used, bool offload)
{
	uint8_t *udp = data + f->reply_off - UDP_HEAD, *l3 = data + f->l3_off;
	uint16_t l4_len = (uint16_t)(UDP_HEAD + payload_len);
	uint64_t addresses; /* both, whichever comes first */

	swap_macs(data);
	if (f->ipv6) {
		struct rte_ipv6_hdr *ip = (void *)l3;
		addresses = wr_frame_add_header(&ip->src_addr, 32);
		store_ipv6(l3, ip, l4_len);
	} else {
		struct rte_ipv4_hdr *ip = (void *)l3;
		addresses = (uint64_t)ip->src_addr + ip->dst_addr;
		store_ipv4(ip, l4_len, offload);
	}
	store_udp(udp, f, addresses, l4_len, used, offload);
	return f->reply_off + payload_len;
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
		ip->hop_limits = FRAME_TTL;
		memcpy(&ip->src_addr, src, 16);
		memcpy(&ip->dst_addr, dst, 16);
		udp->dgram_cksum = rte_ipv6_udptcp_cksum(ip, udp);
	} else {
		struct rte_ipv4_hdr *ip = (void *)(eth + 1);
		memset(ip, 0, sizeof(*ip));
		ip->version_ihl = 0x45;
		ip->total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + l4_len));
		ip->fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG);
		ip->time_to_live = FRAME_TTL;
		ip->next_proto_id = IPPROTO_UDP;
		memcpy(&ip->src_addr, src + 12, 4);
		memcpy(&ip->dst_addr, dst + 12, 4);
		ip->hdr_checksum = (uint16_t)~wr_frame_fold(wr_frame_add_header(ip, sizeof(*ip)));
		udp->dgram_cksum = rte_ipv4_udptcp_cksum(ip, udp);
	}
	return wr_frame_headers_bytes(ipv6) + payload_len;
}
