/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames: built, parsed, turned round; every cut and every flipped bit; answers aside. Exactly
 * sized heap blocks, so that a sanitizer build sees a read beyond. */
#include "wr_port.h"
#include "wr_test.h"

#include <rte_ip.h>

#include <stdlib.h>
#include <string.h>

static const struct wr_frame_local us = {
	.mac = {2, 0, 0, 0, 0x47, 0},
	.has_ipv4 = true,
	.has_ipv6 = true,
	.ipv4 = {10, 47, 0, 1},
	.ipv6 = {0xfd, 0x47, [15] = 1},
	.udp_port = 4700,
	.n_ports = 2,
};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 9};
static const uint8_t us4[16] = {[10] = 0xff, 0xff, 10, 47, 0, 1},
		     peer4[16] = {[10] = 0xff, 0xff, 10, 47, 0, 2};
static const uint8_t us6[16] = {0xfd, 0x47, [15] = 1}, peer6[16] = {0xfd, 0x47, [15] = 2};

/* A datagram of n payload bytes to port; vlan tags in front of the IP header. */
static uint32_t build(uint8_t *out, bool ipv6, unsigned int vlans, uint16_t port, uint16_t n)
{
	uint8_t frame[2048];
	uint16_t head = wr_frame_headers_bytes(ipv6);
	for (uint16_t i = 0; i < n; i++)
		frame[head + i] = (uint8_t)(i * 7 + 1);
	uint32_t len = wr_frame_build(
		frame, peer_mac, us.mac, ipv6 ? peer6 : peer4, ipv6 ? us6 : us4, 5000, port, n);
	memcpy(out, frame, 12);
	for (unsigned int v = 0; v < vlans; v++)
		memcpy(out + 12 + 4 * v,
			(const uint8_t[]){
				v + 1 < vlans ? 0x88 : 0x81, v + 1 < vlans ? 0xa8 : 0, 0, 5},
			4);
	memcpy(out + 12 + 4 * vlans, frame + 12, len - 12);
	return len + 4 * vlans;
}

/* Parses an exactly sized copy. */
static enum wr_outcome parse(const uint8_t *frame, uint32_t len, struct wr_frame *f)
{
	uint8_t *copy = malloc(len ? len : 1);
	memcpy(copy, frame, len);
	enum wr_outcome o = wr_frame_parse(&us, copy, len, f);
	free(copy);
	return o;
}

static void test_round_trip(void)
{
	static const uint16_t sizes[] = {0, 1, 2, 31, 32, 33, 255, 256, 1231, 1232};
	uint8_t frame[2048];
	struct wr_frame f, back;
	for (unsigned int s = 0; s < WR_ARRAY_LEN(sizes); s++)
		for (unsigned int c = 0; c < 6; c++) {
			bool ipv6 = c % 2;
			uint32_t len = build(frame, ipv6, c / 2, 4701, sizes[s]);
			CU_ASSERT_EQUAL_FATAL(parse(frame, len, &f), WR_OUTCOME_answered);
			CU_ASSERT_EQUAL(f.payload_len, sizes[s]);
			CU_ASSERT_EQUAL(f.dst_port, 4701);
			CU_ASSERT_EQUAL(memcmp(f.source, ipv6 ? peer6 : peer4, 16), 0);
			/* the reply is a frame to the peer, with what we put into it */
			memset(frame + f.payload_off, 0x5a, 99);
			uint32_t n = wr_frame_reply(frame, &f, 99);
			struct wr_frame_local them = {.has_ipv4 = true,
				.has_ipv6 = true,
				.ipv4 = {10, 47, 0, 2},
				.ipv6 = {0xfd, 0x47, [15] = 2},
				.udp_port = 5000,
				.n_ports = 1};
			CU_ASSERT_EQUAL(
				wr_frame_parse(&them, frame, n, &back), WR_OUTCOME_answered);
			CU_ASSERT_EQUAL(back.payload_len, 99);
			CU_ASSERT_EQUAL(memcmp(frame, peer_mac, 6), 0);
			CU_ASSERT_EQUAL(memcmp(frame + 6, us.mac, 6), 0);
			CU_ASSERT_EQUAL(memcmp(back.source, ipv6 ? us6 : us4, 16), 0);
		}
}

/* No cut frame passes; padding behind the packet does no harm. */
static void test_cuts(void)
{
	uint8_t frame[2048];
	struct wr_frame f;
	for (unsigned int c = 0; c < 6; c++) {
		uint32_t len = build(frame, c % 2, c / 2, 4700, 64);
		for (uint32_t n = 0; n < len; n++)
			CU_ASSERT_NOT_EQUAL(parse(frame, n, &f), WR_OUTCOME_answered);
		memset(frame + len, 0xee, 20);
		CU_ASSERT_EQUAL(parse(frame, len + 20, &f), WR_OUTCOME_answered);
		CU_ASSERT_EQUAL(f.payload_len, 64);
	}
}

/* A flipped bit from the IP header on is never taken for a datagram of ours, but for the fields
 * that no checksum covers (IPv6: traffic class and flow label, hop limit) and the one that says "no
 * checksum". */
static void test_bits(void)
{
	uint8_t frame[2048];
	struct wr_frame f;
	for (unsigned int ipv6 = 0; ipv6 < 2; ipv6++) {
		uint32_t len = build(frame, ipv6, 0, 4700, 40);
		unsigned int passed = 0;
		for (uint32_t bit = 14 * 8; bit < len * 8; bit++) {
			uint32_t off = bit / 8 - 14;
			if (ipv6 && (off < 4 || off == 7) && !(off == 0 && bit % 8 >= 4))
				continue;
			frame[bit / 8] = (uint8_t)(frame[bit / 8] ^ 1u << bit % 8);
			passed += parse(frame, len, &f) == WR_OUTCOME_answered;
			frame[bit / 8] = (uint8_t)(frame[bit / 8] ^ 1u << bit % 8);
		}
		CU_ASSERT_EQUAL(passed, 0);
	}
}

static void fix_ip_checksum(uint8_t *frame)
{
	struct rte_ipv4_hdr *ip = (void *)(frame + 14);
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

static void test_outcomes(void)
{
	uint8_t frame[2048], good[2048];
	struct wr_frame f;
	uint32_t len = build(good, false, 0, 4700, 64);
#define CASE(change, want)                                    \
	do {                                                  \
		memcpy(frame, good, len);                     \
		change;                                       \
		CU_ASSERT_EQUAL(parse(frame, len, &f), want); \
	} while (0)
	CASE(frame[0] |= 1, WR_OUTCOME_frame_not_ours);
	CASE(frame[13] = 0x10, WR_OUTCOME_frame_not_ours);
	CASE(frame[24]++, WR_OUTCOME_frame_bad_ip); /* header checksum */
	CASE((frame[33]++, fix_ip_checksum(frame)), WR_OUTCOME_frame_not_ours);
	CASE((frame[20] |= 0x20, fix_ip_checksum(frame)), WR_OUTCOME_frame_fragment);
	CASE((frame[21] = 9, fix_ip_checksum(frame)), WR_OUTCOME_frame_fragment);
	CASE((frame[23] = 6, fix_ip_checksum(frame)), WR_OUTCOME_frame_not_ours);
	CASE((frame[14] = 0x46, fix_ip_checksum(frame)), WR_OUTCOME_frame_not_ours); /* options */
	CASE((frame[14] = 0x44, fix_ip_checksum(frame)), WR_OUTCOME_frame_bad_ip);
	CASE((frame[14] = 0x65, fix_ip_checksum(frame)), WR_OUTCOME_frame_bad_ip);
	CASE((frame[16] = 5, fix_ip_checksum(frame)), WR_OUTCOME_frame_bad_ip);
	CASE((frame[17]--, fix_ip_checksum(frame)),
		WR_OUTCOME_frame_bad_udp); /* UDP length beyond IP's */
	CASE(frame[39]--, WR_OUTCOME_frame_bad_udp);
	CASE(frame[60]++, WR_OUTCOME_frame_bad_udp);
	CASE(frame[37] += 2, WR_OUTCOME_frame_other_port);
	CASE((frame[40] = frame[41] = 0), WR_OUTCOME_answered); /* IPv4 allows no UDP checksum */
	len = build(good, true, 0, 4700, 64);
	CASE((frame[60] = frame[61] = 0), WR_OUTCOME_frame_bad_udp); /* IPv6 does not */
	CASE(frame[20] = 44, WR_OUTCOME_frame_fragment);
	CASE(frame[53]++, WR_OUTCOME_frame_not_ours);
#undef CASE
}

static void test_aside(void)
{
	uint8_t arp[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0,
		6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 47, 0, 2, 0, 0, 0, 0, 0, 0, 10, 47, 0, 1};
	uint8_t frame[256];
	CU_ASSERT_EQUAL(wr_frame_aside(&us, arp, 41), 0);
	CU_ASSERT_EQUAL(wr_frame_aside(&us, arp, 42), 42);
	CU_ASSERT_EQUAL(memcmp(arp + 22, us.mac, 6), 0);
	CU_ASSERT_EQUAL(memcmp(arp + 28, us.ipv4, 4), 0);
	CU_ASSERT_EQUAL(memcmp(arp + 38, (const uint8_t[]){10, 47, 0, 2}, 4), 0);
	CU_ASSERT_EQUAL(wr_frame_aside(&us, arp, 42), 0); /* a reply is no request */

	/* echo request: ICMP in place of UDP's headers */
	uint32_t len = build(frame, false, 0, 4700, 56);
	struct rte_ipv4_hdr *ip = (void *)(frame + 14);
	uint8_t *icmp = frame + 34;
	ip->next_proto_id = 1;
	fix_ip_checksum(frame);
	memset(icmp, 0, 8);
	icmp[0] = 8;
	uint16_t sum = (uint16_t)~rte_raw_cksum(icmp, len - 34);
	memcpy(icmp + 2, &sum, 2);
	CU_ASSERT_EQUAL(wr_frame_aside(&us, frame, len - 1), 0);
	CU_ASSERT_EQUAL(wr_frame_aside(&us, frame, len), len);
	CU_ASSERT_EQUAL(icmp[0], 0);
	CU_ASSERT_EQUAL(rte_raw_cksum(icmp, len - 34), 0xffff);
	CU_ASSERT_EQUAL(rte_raw_cksum(ip, 20), 0xffff);

	/* neighbour solicitation with the sender's address */
	len = build(frame, true, 0, 4700, 24);
	struct rte_ipv6_hdr *ip6 = (void *)(frame + 14);
	uint8_t *ns = frame + 54;
	ip6->proto = 58;
	ip6->hop_limits = 255;
	memset(ns, 0, 32);
	ns[0] = 135;
	memcpy(ns + 8, us.ipv6, 16);
	ns[24] = ns[25] = 1;
	memcpy(ns + 26, peer_mac, 6);
	uint32_t total = rte_ipv6_phdr_cksum(ip6, 0);
	total += rte_raw_cksum(ns, 32);
	total = (total & 0xffff) + (total >> 16);
	sum = (uint16_t) ~((total & 0xffff) + (total >> 16));
	memcpy(ns + 2, &sum, 2);
	CU_ASSERT_EQUAL(wr_frame_aside(&us, frame, len), len);
	CU_ASSERT_EQUAL(ns[0], 136);
	CU_ASSERT_EQUAL(memcmp(ns + 26, us.mac, 6), 0);
}

static void test_noise(void)
{
	uint8_t frame[1500];
	struct wr_frame f;
	struct wr_rng r;
	unsigned int passed = 0;
	wr_rng_init(&r, 1, 0);
	for (unsigned int i = 0; i < 30000; i++) {
		uint32_t len =
			build(frame, i % 2, i / 2 % 3, 4700, (uint16_t)wr_rng_below(&r, 200));
		for (unsigned int k = 0; k < 1 + i % 4; k++)
			frame[12 + wr_rng_below(&r, 60)] = (uint8_t)wr_rng_u64(&r);
		len = wr_rng_below(&r, 3) ? len : wr_rng_below(&r, len + 40);
		if (parse(frame, len, &f) == WR_OUTCOME_answered) {
			passed++;
			CU_ASSERT_FATAL(f.payload_off + f.payload_len <= len);
		}
		uint8_t *copy = malloc(len ? len : 1);
		memcpy(copy, frame, len);
		CU_ASSERT_FATAL(wr_frame_aside(&us, copy, len) <= len);
		free(copy);
	}
	CU_ASSERT(passed > 0); /* bytes that no checksum covers */
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"build, parse, reply", test_round_trip},
		{"every cut", test_cuts},
		{"every bit", test_bits},
		{"every outcome", test_outcomes},
		{"ARP, echo, neighbour solicitation", test_aside},
		{"noise", test_noise},
	};
	return wr_test_run("port", tests, WR_ARRAY_LEN(tests));
}
