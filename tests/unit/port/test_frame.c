/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames with a message: built, parsed, turned round; every cut, every flipped bit, every malformed
 * variant of every layer. */
#include "frame_int.h"
#include "frames.h"
#include "wr_test.h"

#define PEER4 10, 47, 0, 2
#define US4   10, 47, 0, 1

static const uint8_t us4[16] = {[10] = 0xff, 0xff, US4}, peer4[16] = {[10] = 0xff, 0xff, PEER4};
static const uint8_t us6[16] = {0xfd, 0x47, [15] = 1}, peer6[16] = {0xfd, 0x47, [15] = 2};
static uint8_t text[1232];

static struct frame_spec spec(bool ipv6, unsigned int vlans, uint16_t n)
{
	struct frame_spec s = {.ipv6 = ipv6,
		.vlans = vlans,
		.protocol = 17,
		.src_port = 5000,
		.dst_port = 4701,
		.payload = text,
		.n = n};
	memcpy(s.src, ipv6 ? peer6 : peer4 + 12, ipv6 ? 16 : 4);
	memcpy(s.dst, ipv6 ? us6 : us4 + 12, ipv6 ? 16 : 4);
	return s;
}

/* What wr_frame_build makes is what build_frame makes, but for TTL and identification. */
static void test_build(void)
{
	uint8_t a[256], b[256];
	for (unsigned int v6 = 0; v6 < 2; v6++) {
		struct frame_spec s = spec(v6, 0, 77);
		uint32_t n = build_frame(a, &s);
		uint16_t head = wr_frame_headers_bytes(v6);
		memcpy(b + head, text, 77);
		CU_ASSERT_EQUAL(wr_frame_build(b, peer_mac, our_mac, v6 ? peer6 : peer4,
					v6 ? us6 : us4, 5000, 4701, 77),
			n);
		if (v6)
			a[21] = b[21];
		else
			memcpy(a + 18, b + 18, 8); /* identification … header checksum */
		CU_ASSERT_EQUAL(memcmp(a, b, n), 0);
		CU_ASSERT(v6 || ip4_sum(b + 14) == 0xffff);
	}
}

/* A reply is a frame to whom it came from, from the address that was asked, with the tags that
 * came, no options, and right checksums. */
static void check_reply(const uint8_t *asked, uint32_t asked_len, const struct wr_frame *f)
{
	uint8_t frame[2048];
	memcpy(frame, asked, asked_len);
	memset(frame + f->reply_off, 0x5a, 99);
	uint32_t n = wr_frame_reply(frame, f, 99, 99, false), at = ip_at(frame);
	const uint8_t *ip = frame + at, *was = asked + at;
	bool v6 = ip[0] >> 4 == 6;
	uint32_t head = v6 ? 40 : 20;
	const uint8_t *udp = ip + head;

	CU_ASSERT_EQUAL(n, at + head + 8 + 99);
	CU_ASSERT_EQUAL(memcmp(frame, peer_mac, 6), 0);
	CU_ASSERT_EQUAL(memcmp(frame + 6, our_mac, 6), 0);
	CU_ASSERT_EQUAL(memcmp(frame + 12, asked + 12, at - 12), 0);
	if (v6) {
		CU_ASSERT_EQUAL(memcmp(ip + 8, was + 24, 16), 0);
		CU_ASSERT_EQUAL(memcmp(ip + 24, was + 8, 16), 0);
		CU_ASSERT_EQUAL(ip[6], 17);
		CU_ASSERT_EQUAL(get16(ip + 4), 107);
	} else {
		CU_ASSERT_EQUAL(memcmp(ip + 12, was + 16, 4), 0);
		CU_ASSERT_EQUAL(memcmp(ip + 16, was + 12, 4), 0);
		CU_ASSERT_EQUAL(ip[0], 0x45);
		CU_ASSERT_EQUAL(get16(ip + 2), 127);
		CU_ASSERT_EQUAL(ip4_sum(ip), 0xffff);
	}
	CU_ASSERT_EQUAL(ip[v6 ? 7 : 8], 64);
	CU_ASSERT_EQUAL(get16(udp), f->dst_port);
	CU_ASSERT_EQUAL(get16(udp + 2), f->src_port);
	CU_ASSERT_EQUAL(get16(udp + 4), 107);
	CU_ASSERT_EQUAL(l4_sum(ip, udp, 107, 17), 0xffff);
	for (unsigned int i = 0; i < 99; i++)
		CU_ASSERT_EQUAL(udp[8 + i], 0x5a);

	/* The port makes the checksums: the field holds the pseudo header's sum. */
	memcpy(frame, asked, asked_len);
	memset(frame + f->reply_off, 0x5a, 99);
	CU_ASSERT_EQUAL(wr_frame_reply(frame, f, 99, 99, true), n);
	uint8_t *sum = frame + at + head + 6;
	unsigned int pseudo = get16(sum);
	put16(sum, 0);
	CU_ASSERT_EQUAL(pseudo, fold16(sum16(ip + (v6 ? 8 : 12), v6 ? 32 : 8) + 17 + 107));
	CU_ASSERT(v6 || get16(ip + 10) == 0);
}

/* Both levels against the test's own sum: every length, every alignment. */
static void test_sums(void)
{
	uint8_t bytes[1400];
	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i % 7 ? wr_mix64(i) : 0xff);
	for (uint32_t n = 0; n < 1330; n++) {
		const uint8_t *at = bytes + n % 61;
		uint32_t want = fold16(sum16(at, n));
		uint16_t sse2 = wr_frame_fold(wr_frame_add_words_sse2(at, n)),
			 chosen = wr_frame_fold(wr_frame_add_words(at, n));
		CU_ASSERT_EQUAL(__builtin_bswap16(sse2), want);
		CU_ASSERT_EQUAL(chosen, sse2);
		if (__builtin_cpu_supports("avx2"))
			CU_ASSERT_EQUAL(wr_frame_fold(wr_frame_add_words_avx2(at, n)), sse2);
	}
	static uint8_t ones[UINT16_MAX];
	memset(ones, 0xff, sizeof(ones));
	CU_ASSERT_EQUAL(wr_frame_fold(wr_frame_add_words_sse2(ones, UINT16_MAX)), 0xff);
	CU_ASSERT_EQUAL(wr_frame_fold(wr_frame_add_words(ones, UINT16_MAX)), 0xff);
}

/* A payload that is known to end in zeros is summed up to them: the same frame. */
static void test_zero_end(void)
{
	uint8_t frame[2048], same[2048];
	struct wr_frame f;
	for (unsigned int c = 0; c < 2; c++) {
		struct frame_spec s = spec(c, 0, 256);
		uint32_t len = build_frame(frame, &s);
		CU_ASSERT_EQUAL_FATAL(parse_exact(frame, len, 0, &f), WR_OUTCOME_answered);
		for (uint32_t used = 0; used <= 256; used++) {
			build_frame(frame, &s);
			memset(frame + f.reply_off + used, 0, 256 - used);
			memcpy(same, frame, sizeof(same));
			CU_ASSERT_EQUAL(wr_frame_reply(frame, &f, 256, 256, false),
				wr_frame_reply(same, &f, 256, used, false));
			CU_ASSERT_EQUAL(memcmp(frame, same, len), 0);
		}
	}
}

static void test_round_trip(void)
{
	static const uint16_t sizes[] = {0, 1, 2, 31, 32, 33, 255, 256, 1231, 1232};
	uint8_t frame[2048];
	struct wr_frame f;
	for (unsigned int n = 0; n < WR_ARRAY_LEN(sizes); n++)
		for (unsigned int c = 0; c < 6; c++) {
			struct frame_spec s = spec(c % 2, c / 2, sizes[n]);
			uint32_t len = build_frame(frame, &s);
			CU_ASSERT_EQUAL_FATAL(parse_exact(frame, len, 0, &f), WR_OUTCOME_answered);
			CU_ASSERT_EQUAL(f.payload_len, sizes[n]);
			CU_ASSERT_EQUAL(f.payload_off, len - sizes[n]);
			CU_ASSERT_EQUAL(f.reply_off, f.payload_off);
			CU_ASSERT(f.dst_port == 4701 && f.src_port == 5000);
			CU_ASSERT_EQUAL(memcmp(f.source, s.ipv6 ? peer6 : peer4, 16), 0);
			check_reply(frame, len, &f);
		}
}

/* Congestion marks are not sent back, the class of service is. */
static void test_class(void)
{
	uint8_t frame[256];
	struct wr_frame f;
	struct frame_spec s = spec(false, 0, 40);
	uint32_t len = build_frame(frame, &s);
	frame[15] = 0xbb;
	fix_ip4(frame + 14);
	CU_ASSERT_EQUAL_FATAL(parse_exact(frame, len, 0, &f), WR_OUTCOME_answered);
	(void)wr_frame_reply(frame, &f, 40, 40, false);
	CU_ASSERT_EQUAL(frame[15], 0xb8);
	CU_ASSERT_EQUAL(ip4_sum(frame + 14), 0xffff);
	s = spec(true, 0, 40);
	len = build_frame(frame, &s);
	frame[14] = 0x6b;
	frame[15] = 0xb7;
	CU_ASSERT_EQUAL_FATAL(parse_exact(frame, len, 0, &f), WR_OUTCOME_answered);
	(void)wr_frame_reply(frame, &f, 40, 40, false);
	CU_ASSERT(frame[14] == 0x6b && frame[15] == 0x87);
}

/* No cut frame passes; padding behind the packet does no harm. */
static void test_cuts(void)
{
	uint8_t frame[2048];
	struct wr_frame f;
	for (unsigned int c = 0; c < 6; c++) {
		struct frame_spec s = spec(c % 2, c / 2, 64);
		uint32_t len = build_frame(frame, &s);
		for (uint32_t n = 0; n < len; n++)
			CU_ASSERT_NOT_EQUAL(parse_exact(frame, n, 0, &f), WR_OUTCOME_answered);
		memset(frame + len, 0xee, 20);
		CU_ASSERT_EQUAL(parse_exact(frame, len + 20, 0, &f), WR_OUTCOME_answered);
		CU_ASSERT_EQUAL(f.payload_len, 64);
	}
}

/* A flipped bit is never taken for a datagram of ours, but for the fields that no checksum covers
 * (source MAC, IPv6: traffic class and flow label, hop limit). */
static void test_bits(void)
{
	uint8_t frame[2048];
	struct wr_frame f;
	for (unsigned int ipv6 = 0; ipv6 < 2; ipv6++) {
		struct frame_spec s = spec(ipv6, 0, 40);
		uint32_t len = build_frame(frame, &s);
		unsigned int passed = 0;
		for (uint32_t bit = 0; bit < len * 8; bit++) {
			uint32_t at = bit / 8, off = at - 14;
			if (at >= 6 && at < 12 && bit != 6 * 8)
				continue;
			if (at >= 14 && ipv6 && (off < 4 || off == 7) &&
				!(off == 0 && bit % 8 >= 4))
				continue;
			frame[at] = (uint8_t)(frame[at] ^ 1u << bit % 8);
			passed += parse_exact(frame, len, 0, &f) == WR_OUTCOME_answered;
			frame[at] = (uint8_t)(frame[at] ^ 1u << bit % 8);
		}
		CU_ASSERT_EQUAL(passed, 0);
	}
}

/* One change of a sound frame: bytes at an offset, then which checksums are made right again. */
struct change {
	const char *what;
	enum wr_outcome want;
	uint8_t at, n, bytes[8];
	bool fix; /* IPv4's header checksum */
};
#define IS(...)                                 \
	sizeof((const uint8_t[]){__VA_ARGS__}), \
	{                                       \
		__VA_ARGS__                     \
	}
static const struct change changes4[] = {
	{"sound", WR_OUTCOME_answered, 0, 0, {0}, false},
	{"broadcast", WR_OUTCOME_frame_not_ours, 0, IS(0xff, 0xff, 0xff, 0xff, 0xff, 0xff), false},
	{"multicast", WR_OUTCOME_frame_not_ours, 0, IS(1, 0, 0x5e, 0, 0, 1), false},
	{"another station", WR_OUTCOME_frame_other_mac, 5, IS(1), false},
	{"from a group", WR_OUTCOME_frame_bad_source, 6, IS(3), false},
	{"another type", WR_OUTCOME_frame_not_ours, 13, IS(0x10), false},
	{"IEEE 802.3 length", WR_OUTCOME_frame_not_ours, 12, IS(0, 64), false},
	{"header checksum", WR_OUTCOME_frame_bad_ip, 24, IS(0xba, 0xad), false},
	{"version 6", WR_OUTCOME_frame_bad_ip, 14, IS(0x65), true},
	{"header of 16 bytes", WR_OUTCOME_frame_bad_ip, 14, IS(0x44), true},
	{"header of none", WR_OUTCOME_frame_bad_ip, 14, IS(0x40), true},
	{"packet shorter than its header", WR_OUTCOME_frame_bad_ip, 16, IS(0, 19), true},
	{"packet longer than its frame", WR_OUTCOME_frame_bad_ip, 16, IS(0, 93), true},
	{"packet of 65,535 bytes", WR_OUTCOME_frame_bad_ip, 16, IS(0xff, 0xff), true},
	{"another address", WR_OUTCOME_frame_not_ours, 33, IS(200), true},
	{"address 0", WR_OUTCOME_frame_not_ours, 30, IS(0, 0, 0, 0), true},
	{"broadcast address", WR_OUTCOME_frame_not_ours, 30, IS(255, 255, 255, 255), true},
	{"first fragment", WR_OUTCOME_frame_fragment, 20, IS(0x20, 0), true},
	{"later fragment", WR_OUTCOME_frame_fragment, 20, IS(0, 9), true},
	{"do not fragment", WR_OUTCOME_answered, 20, IS(0x40, 0), true},
	{"TCP", WR_OUTCOME_frame_not_ours, 23, IS(6), true},
	{"ICMP", WR_OUTCOME_frame_not_ours, 23, IS(1), true},
	{"from 0.0.0.0", WR_OUTCOME_frame_bad_source, 26, IS(0, 0, 0, 0), true},
	{"from this network", WR_OUTCOME_frame_bad_source, 26, IS(0, 1, 2, 3), true},
	{"from loopback", WR_OUTCOME_frame_bad_source, 26, IS(127, 0, 0, 1), true},
	{"from multicast", WR_OUTCOME_frame_bad_source, 26, IS(224, 0, 0, 5), true},
	{"from broadcast", WR_OUTCOME_frame_bad_source, 26, IS(255, 255, 255, 255), true},
	{"from ourselves", WR_OUTCOME_frame_bad_source, 26, IS(US4), true},
	{"UDP beyond the packet", WR_OUTCOME_frame_bad_udp, 38, IS(0, 73), false},
	{"UDP shorter than the packet", WR_OUTCOME_frame_bad_udp, 38, IS(0, 71), false},
	{"UDP of 7 bytes", WR_OUTCOME_frame_bad_udp, 16, IS(0, 27), true},
	{"UDP of none", WR_OUTCOME_frame_bad_udp, 16, IS(0, 20), true},
	{"checksum", WR_OUTCOME_frame_bad_udp, 40, IS(0xba, 0xad), false},
	{"payload", WR_OUTCOME_frame_bad_udp, 60, IS(0xba, 0xad), false},
	{"another port", WR_OUTCOME_frame_other_port, 36, IS(0x12, 0x5e), false},
	{"the port below", WR_OUTCOME_frame_other_port, 36, IS(0x12, 0x5b), false},
	{"from port 0", WR_OUTCOME_frame_bad_udp, 34, IS(0, 0), false},
	{"no UDP checksum", WR_OUTCOME_answered, 40, IS(0, 0), false}, /* IPv4 allows that */
};
static const struct change changes6[] = {
	{"sound", WR_OUTCOME_answered, 0, 0, {0}, false},
	{"multicast", WR_OUTCOME_frame_not_ours, 0, IS(0x33, 0x33, 0xff, 0, 0, 1), false},
	{"version 4", WR_OUTCOME_frame_bad_ip, 14, IS(0x40), false},
	{"packet longer than its frame", WR_OUTCOME_frame_bad_ip, 18, IS(0, 73), false},
	{"jumbogram", WR_OUTCOME_frame_bad_udp, 18, IS(0, 0), false},
	{"another address", WR_OUTCOME_frame_not_ours, 53, IS(200), false},
	{"fragment", WR_OUTCOME_frame_fragment, 20, IS(44), false},
	{"TCP", WR_OUTCOME_frame_not_ours, 20, IS(6), false},
	{"no next header", WR_OUTCOME_frame_not_ours, 20, IS(59), false},
	{"encrypted", WR_OUTCOME_frame_not_ours, 20, IS(50), false},
	{"no UDP checksum", WR_OUTCOME_frame_bad_udp, 60, IS(0, 0), false},
	{"checksum", WR_OUTCOME_frame_bad_udp, 60, IS(0xba, 0xad), false},
	{"from multicast", WR_OUTCOME_frame_bad_source, 22, IS(0xff, 2), false},
	{"another port", WR_OUTCOME_frame_other_port, 56, IS(0x12, 0x5e), false},
};

static void run_changes(bool ipv6, const struct change *c, size_t n)
{
	uint8_t good[256], frame[256];
	struct wr_frame f;
	for (unsigned int vlans = 0; vlans < 3; vlans++) {
		struct frame_spec s = spec(ipv6, vlans, 64);
		s.dst_port = 4700;
		uint32_t len = build_frame(good, &s);
		for (size_t i = 0; i < n; i++) {
			memcpy(frame, good, len);
			uint32_t at = c[i].at + (c[i].at >= 12 ? 4 * vlans : 0);
			memcpy(frame + at, c[i].bytes, c[i].n);
			if (c[i].fix)
				fix_ip4(frame + 14 + 4 * vlans);
			enum wr_outcome got = parse_exact(frame, len, 0, &f);
			if (got != c[i].want)
				printf("\nIPv%d, %u tags, %s: %s\n", ipv6 ? 6 : 4, vlans, c[i].what,
					wr_outcome_desc[got].name);
			CU_ASSERT_EQUAL(got, c[i].want);
		}
	}
}

static void test_outcomes(void)
{
	run_changes(false, changes4, WR_ARRAY_LEN(changes4));
	run_changes(true, changes6, WR_ARRAY_LEN(changes6));
}

/* Sources of IPv6 that a source rule would take for others; checksums right. */
static void test_sources6(void)
{
	static const struct {
		uint8_t src[16];
		enum wr_outcome want;
	} rows[] = {
		{{0}, WR_OUTCOME_frame_bad_source},
		{{[15] = 1}, WR_OUTCOME_frame_bad_source},
		{{[10] = 0xff, 0xff, 10, 0, 0, 1}, WR_OUTCOME_frame_bad_source},
		{{[12] = 10, 0, 0, 1}, WR_OUTCOME_frame_bad_source},
		{{0xff, 2, [15] = 1}, WR_OUTCOME_frame_bad_source},
		{{0xfd, 0x47, [15] = 1}, WR_OUTCOME_frame_bad_source}, /* ourselves */
		{{0xfe, 0x80, [15] = 7}, WR_OUTCOME_answered},
		{{0, 0x64, 0xff, 0x9b, [12] = 10, 0, 0, 1}, WR_OUTCOME_answered},
	};
	uint8_t frame[256];
	struct wr_frame f;
	for (unsigned int i = 0; i < WR_ARRAY_LEN(rows); i++) {
		struct frame_spec s = spec(true, 0, 40);
		memcpy(s.src, rows[i].src, 16);
		uint32_t len = build_frame(frame, &s);
		CU_ASSERT_EQUAL(parse_exact(frame, len, 0, &f), rows[i].want);
	}
}

/* IPv4 options and IPv6 extension headers: taken, or refused with the right outcome. */
struct extra {
	const char *what;
	enum wr_outcome want;
	uint8_t first; /* IPv6 */
	uint8_t n, bytes[48];
};
static const struct extra options4[] = {
	{"padding", WR_OUTCOME_answered, 0, IS(1, 1, 1, 0)},
	{"the end, then noise", WR_OUTCOME_answered, 0, IS(0, 131, 99, 7)},
	{"router alert", WR_OUTCOME_answered, 0, IS(148, 4, 0, 0)},
	{"record route", WR_OUTCOME_answered, 0, IS(7, 7, 4, 0, 0, 0, 0, 0)},
	{"all forty bytes", WR_OUTCOME_answered, 0, 40, {[0 ... 39] = 1}},
	{"loose source route", WR_OUTCOME_frame_source_route, 0, IS(131, 7, 4, 10, 0, 0, 1, 0)},
	{"strict source route", WR_OUTCOME_frame_source_route, 0, IS(1, 137, 7, 4, 10, 0, 0, 1)},
	{"length 0", WR_OUTCOME_frame_bad_ip, 0, IS(7, 0, 4, 0)},
	{"length 1", WR_OUTCOME_frame_bad_ip, 0, IS(7, 1, 4, 0)},
	{"length beyond the header", WR_OUTCOME_frame_bad_ip, 0, IS(7, 5, 4, 0)},
	{"no room for a length", WR_OUTCOME_frame_bad_ip, 0, IS(1, 1, 1, 7)},
};
static const struct extra headers6[] = {
	{"hop by hop", WR_OUTCOME_answered, 0, IS(17, 0, 1, 4, 0, 0, 0, 0)},
	{"router alert", WR_OUTCOME_answered, 0, IS(17, 0, 5, 2, 0, 0, 1, 0)},
	{"destination options", WR_OUTCOME_answered, 60, IS(17, 0, 0, 0, 0, 0, 0, 0)},
	{"routing, no hop left", WR_OUTCOME_answered, 43, IS(17, 0, 4, 0, 0, 0, 0, 0)},
	{"all three", WR_OUTCOME_answered, 0,
		IS(60, 0, 1, 4, 0, 0, 0, 0, 43, 0, 1, 4, 0, 0, 0, 0, 17, 0, 4, 0, 0, 0, 0, 0)},
	{"routing, one hop left", WR_OUTCOME_frame_source_route, 43, IS(17, 0, 0, 1, 0, 0, 0, 0)},
	{"segment routing, two left", WR_OUTCOME_frame_source_route, 43,
		IS(17, 0, 4, 2, 0, 0, 0, 0)},
	{"old routing, no hop left", WR_OUTCOME_answered, 43, IS(17, 0, 0, 0, 0, 0, 0, 0)},
	{"hop by hop, second", WR_OUTCOME_frame_extension, 60,
		IS(0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0)},
	{"option that must be understood", WR_OUTCOME_frame_extension, 0,
		IS(17, 0, 0x42, 4, 0, 0, 0, 0)},
	{"jumbo payload", WR_OUTCOME_frame_extension, 0, IS(17, 0, 0xc2, 4, 0, 1, 0, 0)},
	{"option beyond its header", WR_OUTCOME_frame_extension, 60, IS(17, 0, 1, 5, 0, 0, 0, 0)},
	{"option without a length", WR_OUTCOME_frame_extension, 60, IS(17, 0, 1, 3, 0, 0, 0, 1)},
	{"header beyond the packet", WR_OUTCOME_frame_bad_ip, 60, IS(17, 255, 1, 4, 0, 0, 0, 0)},
	{"fragment behind options", WR_OUTCOME_frame_fragment, 60,
		IS(44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 1)},
	{"whole packet called a fragment", WR_OUTCOME_frame_fragment, 44,
		IS(17, 0, 0, 0, 0, 0, 0, 1)},
	{"TCP behind options", WR_OUTCOME_frame_not_ours, 60, IS(6, 0, 1, 4, 0, 0, 0, 0)},
};

static void run_extras(bool ipv6, const struct extra *e, size_t n)
{
	uint8_t frame[512];
	struct wr_frame f;
	for (size_t i = 0; i < n; i++)
		for (unsigned int vlans = 0; vlans < 3; vlans++) {
			struct frame_spec s = spec(ipv6, vlans, 120);
			s.extra = e[i].bytes;
			s.n_extra = e[i].n;
			s.first = e[i].first;
			uint32_t len = build_frame(frame, &s);
			enum wr_outcome got = parse_exact(frame, len, 0, &f);
			if (got != e[i].want)
				printf("\n%s: %s\n", e[i].what, wr_outcome_desc[got].name);
			CU_ASSERT_EQUAL(got, e[i].want);
			for (uint32_t cut = 0; cut < len; cut++) {
				struct wr_frame g;
				CU_ASSERT_NOT_EQUAL(
					parse_exact(frame, cut, 0, &g), WR_OUTCOME_answered);
			}
			if (got != WR_OUTCOME_answered)
				continue;
			CU_ASSERT_EQUAL(f.payload_off - f.reply_off, e[i].n);
			CU_ASSERT_EQUAL(f.payload_len, 120);
			CU_ASSERT_EQUAL(memcmp(frame + f.payload_off, text, 120), 0);
			check_reply(frame, len, &f);
		}
}

static void test_extras(void)
{
	run_extras(false, options4, WR_ARRAY_LEN(options4));
	run_extras(true, headers6, WR_ARRAY_LEN(headers6));
}

/* Eight headers and 256 bytes pass, more do not. */
static void test_bounds(void)
{
	uint8_t extra[512], frame[1024];
	struct wr_frame f;
	static const struct {
		unsigned int headers, bytes;
		enum wr_outcome want;
	} rows[] = {
		{8, 8, WR_OUTCOME_answered},
		{9, 8, WR_OUTCOME_frame_extension},
		{1, 256, WR_OUTCOME_answered},
		{1, 264, WR_OUTCOME_frame_extension},
		{2, 128, WR_OUTCOME_answered},
		{2, 136, WR_OUTCOME_frame_extension},
	};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(rows); i++) {
		struct frame_spec s = spec(true, 0, 40);
		memset(extra, 0, sizeof(extra));
		for (unsigned int h = 0; h < rows[i].headers; h++) {
			uint8_t *at = extra + h * rows[i].bytes;
			at[0] = h + 1 < rows[i].headers ? 60 : 17;
			at[1] = (uint8_t)(rows[i].bytes / 8 - 1);
		}
		s.first = 60;
		s.extra = extra;
		s.n_extra = (size_t)rows[i].headers * rows[i].bytes;
		uint32_t len = build_frame(frame, &s);
		CU_ASSERT_EQUAL(parse_exact(frame, len, 0, &f), rows[i].want);
	}
}

/* What somebody else verified is not looked at; IPv6 needs a UDP checksum all the same. */
static void test_known(void)
{
	uint8_t frame[256];
	struct wr_frame f;
	struct frame_spec s = spec(false, 1, 64);
	uint32_t len = build_frame(frame, &s);
	uint8_t *ip = frame + 18;
	put16(ip + 26, 0xbaad);
	CU_ASSERT_EQUAL(parse_exact(frame, len, WR_FRAME_IP_KNOWN, &f), WR_OUTCOME_frame_bad_udp);
	CU_ASSERT_EQUAL(parse_exact(frame, len, WR_FRAME_UDP_KNOWN, &f), WR_OUTCOME_answered);
	put16(ip + 10, 0xbaad);
	CU_ASSERT_EQUAL(parse_exact(frame, len, WR_FRAME_UDP_KNOWN, &f), WR_OUTCOME_frame_bad_ip);
	CU_ASSERT_EQUAL(parse_exact(frame, len, WR_FRAME_UDP_KNOWN | WR_FRAME_IP_KNOWN, &f),
		WR_OUTCOME_answered);
	s = spec(true, 0, 64);
	len = build_frame(frame, &s);
	put16(frame + 60, 0xbaad);
	CU_ASSERT_EQUAL(parse_exact(frame, len, WR_FRAME_UDP_KNOWN, &f), WR_OUTCOME_answered);
	put16(frame + 60, 0);
	CU_ASSERT_EQUAL(parse_exact(frame, len, WR_FRAME_UDP_KNOWN, &f), WR_OUTCOME_frame_bad_udp);
}

/* Every address of a full list is found, nothing else is; the list's errors. */
static void test_addresses(void)
{
	static struct wr_port_addresses a;
	static struct wr_frame_local many;
	struct wr_rng r;
	uint8_t frame[256];
	wr_rng_init(&r, 5, 0);
	for (unsigned int n = 0; n <= WR_PORT_MAX_ADDRESSES; n++) {
		a.n_ipv4 = a.n_ipv6 = n;
		for (unsigned int i = 0; i < n; i++) {
			/* neighbours, and scattered ones */
			uint64_t low = n % 2 ? i + 1 : wr_rng_u64(&r) | 1;
			memcpy(a.ipv4[i],
				(uint8_t[]){10, (uint8_t)(low >> 16), (uint8_t)(low >> 8),
					(uint8_t)low},
				4);
			memset(a.ipv6[i], 0, 16);
			a.ipv6[i][0] = 0xfd;
			memcpy(a.ipv6[i] + 8, &low, 8);
		}
		CU_ASSERT_EQUAL_FATAL(wr_frame_local_init(&many, our_mac, &a, 4700, 2), 0);
		for (unsigned int i = 0; i < n + 40; i++)
			for (unsigned int v6 = 0; v6 < 2; v6++) {
				struct frame_spec s = spec(v6, 0, 8);
				struct wr_frame f;
				memcpy(s.dst,
					v6 ? a.ipv6[i % WR_PORT_MAX_ADDRESSES]
					   : a.ipv4[i % WR_PORT_MAX_ADDRESSES],
					v6 ? 16 : 4);
				if (i >= n) { /* another network */
					s.dst[0] = v6 ? 0xfc : 11;
					s.dst[v6 ? 15 : 3] ^= (uint8_t)(i + 1);
				}
				uint32_t len = build_frame(frame, &s);
				CU_ASSERT_EQUAL(wr_frame_parse(&many, frame, len, 0, &f),
					i < n ? WR_OUTCOME_answered : WR_OUTCOME_frame_not_ours);
			}
	}
	memcpy(a.ipv4[7], a.ipv4[20], 4);
	CU_ASSERT_EQUAL(wr_frame_local_init(&many, our_mac, &a, 4700, 2), WR_EINVAL);
	a.n_ipv4 = 7;
	CU_ASSERT_EQUAL(wr_frame_local_init(&many, our_mac, &a, 4700, 2), 0);
	CU_ASSERT_EQUAL(wr_frame_local_init(&many, our_mac, &a, 65535, 2), WR_EINVAL);
	memcpy(a.ipv6[31], a.ipv6[0], 16);
	CU_ASSERT_EQUAL(wr_frame_local_init(&many, our_mac, &a, 4700, 2), WR_EINVAL);
	a.n_ipv6 = WR_PORT_MAX_ADDRESSES + 1;
	CU_ASSERT_EQUAL(wr_frame_local_init(&many, our_mac, &a, 4700, 2), WR_EINVAL);
}

/* Service addresses are served like the others. */
static void test_service(void)
{
	uint8_t frame[256];
	struct wr_frame f;
	for (unsigned int v6 = 0; v6 < 2; v6++)
		for (unsigned int i = 0; i < 3; i++) {
			struct frame_spec s = spec(v6, 0, 50);
			memcpy(s.dst, v6 ? our_addresses.ipv6[i] : our_addresses.ipv4[i],
				v6 ? 16 : 4);
			uint32_t len = build_frame(frame, &s);
			CU_ASSERT_EQUAL_FATAL(parse_exact(frame, len, 0, &f), WR_OUTCOME_answered);
			check_reply(frame, len, &f);
		}
}

/* Plain frames: where parse finds the payload. Others: nowhere, or anywhere inside. */
static void test_guess(void)
{
	uint8_t frame[2048];
	struct wr_frame f;
	for (unsigned int c = 0; c < 6; c++) {
		struct frame_spec s = spec(c % 2, c / 2, 64);
		uint32_t len = build_frame(frame, &s);
		CU_ASSERT_EQUAL(parse_exact(frame, len, 0, &f), WR_OUTCOME_answered);
		CU_ASSERT_EQUAL(guess_exact(frame, len), c / 2 ? 0 : f.payload_off);
		for (uint32_t n = 0; n < len; n++) {
			uint32_t at = guess_exact(frame, n);
			CU_ASSERT(at == 0 || (at == f.payload_off && at < n));
		}
	}
	struct frame_spec s = spec(0, 0, 64);
	s.extra = options4[0].bytes;
	s.n_extra = options4[0].n;
	CU_ASSERT_EQUAL(guess_exact(frame, build_frame(frame, &s)), 0);
}

static void test_noise(void)
{
	uint8_t frame[1500];
	struct wr_frame f;
	struct wr_rng r;
	unsigned int passed = 0;
	wr_rng_init(&r, 1, 0);
	for (unsigned int i = 0; i < 60000; i++) {
		struct frame_spec s = spec(i % 2, i / 2 % 3, (uint16_t)wr_rng_below(&r, 200));
		const struct extra *e = i % 2 ? &headers6[i % WR_ARRAY_LEN(headers6)]
					      : &options4[i % WR_ARRAY_LEN(options4)];
		if (i % 5 == 0) {
			s.extra = e->bytes;
			s.n_extra = e->n;
			s.first = e->first;
		}
		uint32_t len = build_frame(frame, &s), known = i % 4;
		for (unsigned int k = 0; k < 1 + i % 4; k++)
			frame[12 + wr_rng_below(&r, 80)] = (uint8_t)wr_rng_u64(&r);
		len = wr_rng_below(&r, 3) ? len : wr_rng_below(&r, len + 40);
		if (parse_exact(frame, len, known, &f) == WR_OUTCOME_answered) {
			passed++;
			CU_ASSERT_FATAL(f.payload_off + f.payload_len <= len);
			CU_ASSERT_FATAL(f.reply_off <= f.payload_off && f.reply_off >= 42);
		}
	}
	CU_ASSERT(passed > 0); /* bytes that no checksum covers */
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"build", test_build},
		{"parse, reply", test_round_trip},
		{"sums", test_sums},
		{"reply that ends in zeros", test_zero_end},
		{"class of service", test_class},
		{"every cut", test_cuts},
		{"every bit", test_bits},
		{"every outcome", test_outcomes},
		{"IPv6 sources", test_sources6},
		{"options and extension headers", test_extras},
		{"bounds of extension headers", test_bounds},
		{"checksums known", test_known},
		{"addresses", test_addresses},
		{"service addresses", test_service},
		{"payload, guessed", test_guess},
		{"noise", test_noise},
	};
	make_us();
	for (unsigned int i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 7 + 1);
	return wr_test_run("port", tests, WR_ARRAY_LEN(tests));
}
