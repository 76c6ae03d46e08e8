/* SPDX-License-Identifier: BSD-3-Clause */
/* What a port says of checksums, and what it is told to make: mbufs as a driver would fill them. */
#include "frames.h"
#include "wr_test.h"

#include <rte_mbuf.h>

static uint8_t buffer[2048];
static struct rte_mbuf mbuf;

static uint32_t datagram(bool ipv6, unsigned int vlans)
{
	static const uint8_t text[64] = "a message";
	struct frame_spec s = {.ipv6 = ipv6,
		.vlans = vlans,
		.protocol = 17,
		.src_port = 5000,
		.dst_port = 4700,
		.payload = text,
		.n = sizeof(text)};
	memcpy(s.src,
		ipv6 ? (const uint8_t[16]){0xfd, 0x47, [15] = 2}
		     : (const uint8_t[16]){10, 47, 0, 2},
		16);
	memcpy(s.dst, ipv6 ? our_addresses.ipv6[0] : our_addresses.ipv4[0], ipv6 ? 16 : 4);
	return build_frame(buffer + RTE_PKTMBUF_HEADROOM, &s);
}

static enum wr_outcome parse(uint32_t len, uint64_t flags, struct wr_frame *f)
{
	mbuf = (struct rte_mbuf){.buf_addr = buffer,
		.buf_len = sizeof(buffer),
		.data_off = RTE_PKTMBUF_HEADROOM,
		.data_len = (uint16_t)len,
		.pkt_len = len,
		.nb_segs = 1,
		.ol_flags = flags};
	return wr_port_parse(&us, &mbuf, rte_pktmbuf_mtod(&mbuf, uint8_t *), f);
}

#define IP(x)  RTE_MBUF_F_RX_IP_CKSUM_##x
#define UDP(x) RTE_MBUF_F_RX_L4_CKSUM_##x

static void test_received(void)
{
	static const struct {
		uint64_t flags;
		bool bad_ip, bad_udp;
		enum wr_outcome want;
	} rows[] = {
		{IP(UNKNOWN) | UDP(UNKNOWN), false, false, WR_OUTCOME_answered},
		{IP(UNKNOWN) | UDP(UNKNOWN), true, false, WR_OUTCOME_frame_bad_ip},
		{IP(UNKNOWN) | UDP(UNKNOWN), false, true, WR_OUTCOME_frame_bad_udp},
		{IP(GOOD) | UDP(UNKNOWN), true, false, WR_OUTCOME_answered},
		{IP(GOOD) | UDP(UNKNOWN), false, true, WR_OUTCOME_frame_bad_udp},
		{IP(UNKNOWN) | UDP(GOOD), false, true, WR_OUTCOME_answered},
		{IP(UNKNOWN) | UDP(GOOD), true, false, WR_OUTCOME_frame_bad_ip},
		{IP(NONE) | UDP(NONE), true, true, WR_OUTCOME_answered},
		/* "wrong" is looked at again */
		{IP(BAD) | UDP(BAD), false, false, WR_OUTCOME_answered},
		{IP(BAD) | UDP(GOOD), true, false, WR_OUTCOME_frame_bad_ip},
		{IP(GOOD) | UDP(BAD), false, true, WR_OUTCOME_frame_bad_udp},
		{IP(GOOD) | UDP(BAD) | RTE_MBUF_F_RX_VLAN, false, false, WR_OUTCOME_answered},
	};
	struct wr_frame f;
	for (unsigned int i = 0; i < WR_ARRAY_LEN(rows); i++) {
		uint32_t len = datagram(false, 1);
		uint8_t *ip = buffer + RTE_PKTMBUF_HEADROOM + 18;
		ip[10] ^= rows[i].bad_ip ? 0x55 : 0;
		ip[26] ^= rows[i].bad_udp ? 0x55 : 0;
		CU_ASSERT_EQUAL(parse(len, rows[i].flags, &f), rows[i].want);
	}
}

static void test_trusted(void)
{
	struct wr_frame f;
	us.known = WR_FRAME_UDP_KNOWN;
	uint32_t len = datagram(false, 0);
	buffer[RTE_PKTMBUF_HEADROOM + 40] ^= 0x55;
	CU_ASSERT_EQUAL(parse(len, 0, &f), WR_OUTCOME_answered);
	buffer[RTE_PKTMBUF_HEADROOM + 24] ^= 0x55;
	CU_ASSERT_EQUAL(parse(len, 0, &f), WR_OUTCOME_frame_bad_ip);
	us.known = 0;
}

/* Lengths, offsets and flags of a reply; flags of the buffer stay, those of its arrival go. */
static void test_sent(void)
{
	for (unsigned int c = 0; c < 2 * 3 * 2; c++) {
		bool ipv6 = c % 2, offload = c / 6;
		unsigned int vlans = c / 2 % 3;
		struct wr_frame f;
		uint32_t len = datagram(ipv6, vlans);
		CU_ASSERT_EQUAL_FATAL(parse(len, IP(GOOD) | UDP(GOOD) | RTE_MBUF_F_EXTERNAL, &f),
			WR_OUTCOME_answered);
		us.tx_checksums = offload;
		wr_port_reply(&us, &mbuf, &f, 33, 33);
		us.tx_checksums = false;
		uint32_t head = ipv6 ? 40 : 20;
		CU_ASSERT_EQUAL(mbuf.data_len, 14 + 4 * vlans + head + 8 + 33);
		CU_ASSERT_EQUAL(mbuf.pkt_len, mbuf.data_len);
		uint64_t flags = RTE_MBUF_F_EXTERNAL;
		if (offload) {
			flags |= RTE_MBUF_F_TX_UDP_CKSUM;
			flags |= ipv6 ? RTE_MBUF_F_TX_IPV6
				      : RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
			CU_ASSERT_EQUAL(mbuf.l2_len, 14 + 4 * vlans);
			CU_ASSERT_EQUAL(mbuf.l3_len, head);
		} else {
			const uint8_t *ip = buffer + RTE_PKTMBUF_HEADROOM + 14 + 4 * vlans;
			CU_ASSERT_EQUAL(l4_sum(ip, ip + head, 41, 17), 0xffff);
		}
		CU_ASSERT_EQUAL(mbuf.ol_flags, flags);
	}
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"what the port says", test_received},
		{"taken on trust", test_trusted},
		{"what the port is to make", test_sent},
	};
	make_us();
	return wr_test_run("port_offload", tests, WR_ARRAY_LEN(tests));
}
