/* SPDX-License-Identifier: BSD-3-Clause */
/* ARP, neighbour discovery, echo and announcements: what is answered, how, and what is not. */
#include "frames.h"
#include "wr_test.h"

static const uint8_t peer_ip4[4] = {10, 47, 0, 2}, peer_ip6[16] = {0xfd, 0x47, [15] = 2};
static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};

/* Asks about an exactly sized copy (and the promised room); the answer replaces the frame. */
static uint32_t aside(uint8_t *frame, uint32_t len)
{
	uint8_t *copy = malloc(len + WR_FRAME_ASIDE_GROW), *before = malloc(len + 1);
	if (!copy || !before)
		abort();
	memcpy(copy, frame, len);
	memcpy(before, frame, len);
	uint32_t n = wr_frame_aside(&us, copy, len);
	CU_ASSERT_FATAL(n <= len + WR_FRAME_ASIDE_GROW);
	if (n == 0)
		CU_ASSERT_EQUAL(memcmp(copy, before, len), 0);
	memcpy(frame, copy, n);
	free(copy);
	free(before);
	return n;
}

/* ---- ARP ---- */
static uint32_t arp(uint8_t *out, unsigned int vlans, const uint8_t target[4])
{
	static const uint8_t body[28] = {0, 1, 8, 0, 6, 4, 0, 1, PEER_MAC, 10, 47, 0, 2};
	memset(out, 0xff, 6);
	memcpy(out + 6, peer_mac, 6);
	for (unsigned int v = 0; v < vlans; v++) {
		put16(out + 12 + 4 * v, v + 1 < vlans ? 0x88a8 : 0x8100);
		put16(out + 14 + 4 * v, 7 + v);
	}
	uint8_t *p = out + 12 + 4 * vlans;
	put16(p, 0x0806);
	memcpy(p + 2, body, 28);
	memcpy(p + 2 + 24, target, 4);
	return 12 + 4 * vlans + 30;
}

static void test_arp(void)
{
	uint8_t f[64];
	for (unsigned int vlans = 0; vlans < 3; vlans++)
		for (unsigned int i = 0; i < 2; i++) {
			uint32_t len = arp(f, vlans, our_addresses.ipv4[i]), at = 14 + 4 * vlans;
			uint8_t tags[10];
			memcpy(tags, f + 12, at - 12);
			CU_ASSERT_EQUAL(aside(f, len), len);
			CU_ASSERT_EQUAL(memcmp(f, peer_mac, 6), 0);
			CU_ASSERT_EQUAL(memcmp(f + 6, our_mac, 6), 0);
			CU_ASSERT_EQUAL(memcmp(f + 12, tags, at - 12), 0);
			CU_ASSERT_EQUAL(get16(f + at + 6), 2);
			CU_ASSERT_EQUAL(memcmp(f + at + 8, our_mac, 6), 0);
			CU_ASSERT_EQUAL(memcmp(f + at + 14, our_addresses.ipv4[i], 4), 0);
			CU_ASSERT_EQUAL(memcmp(f + at + 18, peer_mac, 6), 0);
			CU_ASSERT_EQUAL(memcmp(f + at + 24, peer_ip4, 4), 0);
			CU_ASSERT_EQUAL(aside(f, len), 0); /* a reply is no request */
		}
	/* a probe has no sender's address (RFC 5227) */
	uint32_t len = arp(f, 0, our_addresses.ipv4[0]);
	memset(f + 28, 0, 4);
	CU_ASSERT_EQUAL(aside(f, len), len);
	/* a frame of 60 bytes stays one */
	len = arp(f, 0, our_addresses.ipv4[0]);
	memset(f + len, 0, 60 - len);
	CU_ASSERT_EQUAL(aside(f, 60), 60);
}

static void test_arp_refused(void)
{
	static const struct {
		const char *what;
		uint8_t at, value;
	} rows[] = {{"another address", 41, 77}, {"hardware", 15, 6}, {"protocol", 16, 9},
		{"hardware length", 18, 8}, {"protocol length", 19, 16}, {"reply", 21, 2},
		{"reverse", 21, 3}, {"sender is a group", 22, 3}, {"from a group", 6, 3}};
	uint8_t f[64];
	for (unsigned int i = 0; i < WR_ARRAY_LEN(rows); i++) {
		uint32_t len = arp(f, 0, our_addresses.ipv4[0]);
		f[rows[i].at] = rows[i].value;
		uint32_t got = aside(f, len);
		if (got)
			printf("\nARP, %s: answered\n", rows[i].what);
		CU_ASSERT_EQUAL(got, 0);
	}
	uint32_t len = arp(f, 0, our_addresses.ipv4[2]); /* a service address is others' too */
	CU_ASSERT_EQUAL(aside(f, len), 0);
	len = arp(f, 2, our_addresses.ipv4[0]);
	for (uint32_t n = 0; n < len; n++)
		CU_ASSERT_EQUAL(aside(f, n), 0);
}

/* ---- echo ---- */
static uint8_t ping[64] = {8, 0, 0, 0, 0x12, 0x34, 0, 1, 'w', 'i', 'r', 'e'};

static struct frame_spec echo(bool ipv6, unsigned int address)
{
	struct frame_spec s = {
		.ipv6 = ipv6, .protocol = ipv6 ? 58 : 1, .payload = ping, .n = sizeof(ping)};
	ping[0] = ipv6 ? 128 : 8;
	memcpy(s.src, ipv6 ? peer_ip6 : peer_ip4, ipv6 ? 16 : 4);
	memcpy(s.dst, ipv6 ? our_addresses.ipv6[address] : our_addresses.ipv4[address],
		ipv6 ? 16 : 4);
	return s;
}

static void check_pong(
	const uint8_t *f, uint32_t n, const struct frame_spec *s, unsigned int address)
{
	uint32_t at = 14 + 4 * s->vlans, head = s->ipv6 ? 40 : 20;
	const uint8_t *ip = f + at, *icmp = ip + head;
	CU_ASSERT_EQUAL_FATAL(n, at + head + sizeof(ping));
	CU_ASSERT_EQUAL(memcmp(f, peer_mac, 6), 0);
	CU_ASSERT_EQUAL(memcmp(f + 6, our_mac, 6), 0);
	if (s->ipv6) {
		CU_ASSERT_EQUAL(memcmp(ip + 8, our_addresses.ipv6[address], 16), 0);
		CU_ASSERT_EQUAL(memcmp(ip + 24, peer_ip6, 16), 0);
		CU_ASSERT(ip[6] == 58 && get16(ip + 4) == sizeof(ping));
		CU_ASSERT_EQUAL(l4_sum(ip, icmp, sizeof(ping), 58), 0xffff);
	} else {
		CU_ASSERT_EQUAL(memcmp(ip + 12, our_addresses.ipv4[address], 4), 0);
		CU_ASSERT_EQUAL(memcmp(ip + 16, peer_ip4, 4), 0);
		CU_ASSERT_EQUAL(ip[0], 0x45);
		CU_ASSERT_EQUAL(ip4_sum(ip), 0xffff);
		CU_ASSERT_EQUAL(fold16(sum16(icmp, sizeof(ping))), 0xffff);
	}
	CU_ASSERT_EQUAL(icmp[0], s->ipv6 ? 129 : 0);
	CU_ASSERT_EQUAL(memcmp(icmp + 4, ping + 4, sizeof(ping) - 4), 0);
}

static void test_echo(void)
{
	static const uint8_t alert[4] = {148, 4, 0, 0};
	static const uint8_t headers[16] = {60, 0, 1, 4, [8] = 58, 0, 1, 4};
	uint8_t f[256];
	for (unsigned int c = 0; c < 2 * 3 * 3 * 2; c++) {
		bool ipv6 = c % 2;
		unsigned int address = c / 2 % 3; /* service addresses too */
		struct frame_spec s = echo(ipv6, address);
		s.vlans = c / 6 % 3;
		if (c / 18) {
			s.extra = ipv6 ? headers : alert;
			s.n_extra = ipv6 ? sizeof(headers) : sizeof(alert);
		}
		uint32_t len = build_frame(f, &s);
		for (uint32_t cut = 0; cut < len; cut++) {
			uint8_t part[256];
			memcpy(part, f, cut);
			CU_ASSERT_EQUAL(aside(part, cut), 0);
		}
		check_pong(f, aside(f, len), &s, address);
		CU_ASSERT_EQUAL(aside(f, len - (uint32_t)s.n_extra), 0);
	}
}

struct edit {
	const char *what;
	uint8_t at, value;
	bool fix; /* checksums afterwards */
};

static void refuse(bool ipv6, const struct frame_spec *s, const struct edit *e, size_t n)
{
	uint8_t f[256];
	for (size_t i = 0; i < n; i++) {
		uint32_t len = build_frame(f, s);
		uint8_t *ip = f + 14;
		f[e[i].at] = e[i].value;
		if (e[i].fix && ipv6)
			fix_l4(ip, ip + 40, s->n, 58, 2);
		if (e[i].fix && !ipv6) {
			fix_ip4(ip);
			put16(ip + 22, 0);
			put16(ip + 22, ~fold16(sum16(ip + 20, s->n)) & 0xffff);
		}
		uint32_t got = aside(f, len);
		if (got)
			printf("\nIPv%d, %s: answered\n", ipv6 ? 6 : 4, e[i].what);
		CU_ASSERT_EQUAL(got, 0);
	}
}

static void test_echo_refused(void)
{
	static const struct edit edits4[] = {{"to a group", 0, 0xff, false},
		{"from a group", 6, 3, false}, {"header checksum", 24, 0x77, false},
		{"checksum", 36, 0x77, false}, {"another address", 33, 77, true},
		{"a fragment", 20, 0x20, true}, {"code", 35, 1, true}, {"a reply", 34, 0, true},
		{"unreachable", 34, 3, true}, {"from multicast", 26, 224, true},
		{"from loopback", 26, 127, true}, {"from ourselves", 29, 1, true},
		{"version", 14, 0x55, true}};
	static const struct edit edits6[] = {{"to a group", 0, 0x33, false},
		{"checksum", 56, 0x77, false}, {"another address", 53, 77, true},
		{"code", 55, 1, true}, {"a reply", 54, 129, true}, {"too big", 54, 2, true},
		{"from multicast", 22, 0xff, true}, {"from ourselves", 37, 1, true},
		{"UDP", 20, 17, false}, {"a fragment", 20, 44, false}};
	struct frame_spec s = echo(false, 0);
	refuse(false, &s, edits4, WR_ARRAY_LEN(edits4));
	s = echo(true, 0);
	refuse(true, &s, edits6, WR_ARRAY_LEN(edits6));
	uint8_t f[256];
	for (unsigned int mapped = 0; mapped < 2; mapped++) {
		s = echo(true, 0);
		memset(s.src, 0, 16);
		if (mapped)
			memcpy(s.src + 10, (const uint8_t[]){0xff, 0xff, 10, 0, 0, 1}, 6);
		CU_ASSERT_EQUAL(aside(f, build_frame(f, &s)), 0);
	}
	static const uint8_t source_route[8] = {131, 7, 4, 10, 0, 0, 1, 0};
	s = echo(false, 0);
	s.extra = source_route;
	s.n_extra = sizeof(source_route);
	CU_ASSERT_EQUAL(aside(f, build_frame(f, &s)), 0);
}

/* ---- neighbour discovery ---- */
static uint8_t ns[32];

static struct frame_spec solicit(unsigned int address, bool nameless, bool to_group)
{
	const uint8_t *target = our_addresses.ipv6[address];
	struct frame_spec s = {
		.ipv6 = true, .protocol = 58, .payload = ns, .n = nameless ? 24 : 32, .hops = 255};
	memset(ns, 0, sizeof(ns));
	ns[0] = 135;
	memcpy(ns + 8, target, 16);
	ns[24] = ns[25] = 1;
	memcpy(ns + 26, peer_mac, 6);
	if (!nameless)
		memcpy(s.src, peer_ip6, 16);
	memcpy(s.dst, target, 16);
	if (to_group) {
		memset(s.dst, 0, 13);
		s.dst[0] = 0xff;
		s.dst[1] = 2;
		s.dst[11] = 1;
		s.dst[12] = 0xff;
	}
	return s;
}

static uint32_t build_ns(uint8_t *f, const struct frame_spec *s)
{
	uint32_t len = build_frame(f, s);
	if (s->dst[0] == 0xff) {
		f[0] = f[1] = 0x33;
		memcpy(f + 2, s->dst + 12, 4);
	}
	return len;
}

static void check_na(const uint8_t *f, uint32_t n, const struct frame_spec *s, unsigned int address,
	bool nameless)
{
	static const uint8_t all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
	uint32_t at = 14 + 4 * s->vlans;
	const uint8_t *ip = f + at, *na = ip + 40;
	CU_ASSERT_EQUAL_FATAL(n, at + 72);
	CU_ASSERT_EQUAL(memcmp(f, nameless ? all_nodes_mac : peer_mac, 6), 0);
	CU_ASSERT_EQUAL(memcmp(f + 6, our_mac, 6), 0);
	CU_ASSERT(ip[6] == 58 && ip[7] == 255 && get16(ip + 4) == 32);
	CU_ASSERT_EQUAL(memcmp(ip + 8, our_addresses.ipv6[address], 16), 0);
	CU_ASSERT_EQUAL(memcmp(ip + 24, nameless ? all_nodes : peer_ip6, 16), 0);
	CU_ASSERT_EQUAL(l4_sum(ip, na, 32, 58), 0xffff);
	CU_ASSERT(na[0] == 136 && na[1] == 0 && na[4] == (nameless ? 0x20 : 0x60));
	CU_ASSERT_EQUAL(memcmp(na + 8, our_addresses.ipv6[address], 16), 0);
	CU_ASSERT(na[24] == 2 && na[25] == 1);
	CU_ASSERT_EQUAL(memcmp(na + 26, our_mac, 6), 0);
}

static void test_solicitations(void)
{
	uint8_t f[256];
	for (unsigned int c = 0; c < 2 * 2 * 2 * 3; c++) {
		unsigned int address = c % 2;
		bool nameless = c / 2 % 2, to_group = nameless || c / 4 % 2;
		struct frame_spec s = solicit(address, nameless, to_group);
		s.vlans = c / 8;
		uint32_t len = build_ns(f, &s);
		for (uint32_t cut = 0; cut < len; cut++) {
			uint8_t part[256];
			memcpy(part, f, cut);
			CU_ASSERT_EQUAL(aside(part, cut), 0);
		}
		check_na(f, aside(f, len), &s, address, nameless);
	}
	/* without the sender's link-layer address, as reachability probes come */
	struct frame_spec s = solicit(0, false, false);
	s.n = 24;
	check_na(f, aside(f, build_ns(f, &s)), &s, 0, false);
}

static void test_solicitations_refused(void)
{
	static const struct edit edits[] = {{"hop limit", 21, 254, true}, {"code", 55, 1, true},
		{"advertisement", 54, 136, true}, {"another target", 77, 77, true},
		{"another group", 53, 77, true}, {"checksum", 56, 0x77, false},
		{"option of length 0", 79, 0, true}, {"option beyond the end", 79, 2, true},
		{"from multicast", 22, 0xff, true}, {"from a group", 6, 3, false}};
	struct frame_spec s = solicit(0, false, true);
	uint8_t f[256];
	refuse(true, &s, edits, WR_ARRAY_LEN(edits));
	/* a service address is others' too */
	s = solicit(2, false, true);
	CU_ASSERT_EQUAL(aside(f, build_ns(f, &s)), 0);
	/* who has no address asks the group, and names no link-layer address */
	s = solicit(0, true, false);
	CU_ASSERT_EQUAL(aside(f, build_ns(f, &s)), 0);
	s = solicit(0, true, true);
	s.n = 32;
	CU_ASSERT_EQUAL(aside(f, build_ns(f, &s)), 0);
}

/* ---- announcements ---- */
static void test_announce(void)
{
	uint8_t f[WR_FRAME_ANNOUNCE_BYTES];
	for (unsigned int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(wr_frame_announce(&us, i, f), 60);
		CU_ASSERT(f[0] == 0xff && get16(f + 12) == 0x806 && get16(f + 20) == 1);
		CU_ASSERT_EQUAL(memcmp(f + 6, our_mac, 6), 0);
		CU_ASSERT_EQUAL(memcmp(f + 22, our_mac, 6), 0);
		CU_ASSERT_EQUAL(memcmp(f + 28, our_addresses.ipv4[i], 4), 0);
		CU_ASSERT_EQUAL(memcmp(f + 38, our_addresses.ipv4[i], 4), 0);
		CU_ASSERT_EQUAL(wr_frame_announce(&us, 2 + i, f), 86);
		CU_ASSERT(f[0] == 0x33 && f[5] == 1 && get16(f + 12) == 0x86dd && f[21] == 255);
		CU_ASSERT_EQUAL(memcmp(f + 22, our_addresses.ipv6[i], 16), 0);
		CU_ASSERT_EQUAL(memcmp(f + 38, all_nodes, 16), 0);
		CU_ASSERT(f[54] == 136 && f[58] == 0x20);
		CU_ASSERT_EQUAL(memcmp(f + 62, our_addresses.ipv6[i], 16), 0);
		CU_ASSERT_EQUAL(memcmp(f + 80, our_mac, 6), 0);
		CU_ASSERT_EQUAL(l4_sum(f + 14, f + 54, 32, 58), 0xffff);
	}
}

/* Others that claim an address of ours alone; not: their own, service addresses, our echo. */
static void test_conflicts(void)
{
	uint8_t f[256];
	for (unsigned int i = 0; i < 3; i++) {
		uint32_t len = arp(f, i, (const uint8_t[]){10, 47, 0, 9});
		CU_ASSERT_FALSE(wr_frame_is_conflict(&us, f, len));
		memcpy(f + 28 + 4 * i, our_addresses.ipv4[i], 4);
		CU_ASSERT_EQUAL(wr_frame_is_conflict(&us, f, len), i < 2);
		CU_ASSERT_FALSE(wr_frame_is_conflict(&us, f, len - 1));
		f[21 + 4 * i] = 2; /* in a reply as well */
		CU_ASSERT_EQUAL(wr_frame_is_conflict(&us, f, len), i < 2);
		memcpy(f + 6, our_mac, 6);
		CU_ASSERT_FALSE(wr_frame_is_conflict(&us, f, len));

		struct frame_spec s = solicit(i, false, false);
		s.vlans = i;
		ns[0] = 136;
		memcpy(s.dst, all_nodes, 16);
		len = build_frame(f, &s);
		CU_ASSERT_EQUAL(wr_frame_is_conflict(&us, f, len), i < 2);
		CU_ASSERT_FALSE(wr_frame_is_conflict(&us, f, len - 1));
		f[14 + 4 * i + 42] ^= 0x55; /* checksum */
		CU_ASSERT_FALSE(wr_frame_is_conflict(&us, f, len));
		ns[0] = 135;
		len = build_frame(f, &s);
		CU_ASSERT_FALSE(wr_frame_is_conflict(&us, f, len));
	}
}

/* No family: nothing is answered for it. */
static void test_nobody(void)
{
	static const struct wr_port_addresses none;
	uint8_t f[256];
	CU_ASSERT_EQUAL_FATAL(wr_frame_local_init(&us, our_mac, &none, 4700, 1), 0);
	uint32_t len = arp(f, 0, (const uint8_t[]){0, 0, 0, 0});
	CU_ASSERT_EQUAL(aside(f, len), 0);
	for (unsigned int v6 = 0; v6 < 2; v6++) {
		struct frame_spec s = echo(v6, 0);
		CU_ASSERT_EQUAL(aside(f, build_frame(f, &s)), 0);
		memset(s.dst, 0, 16);
		CU_ASSERT_EQUAL(aside(f, build_frame(f, &s)), 0);
	}
	make_us();
}

static void test_noise(void)
{
	uint8_t f[256];
	struct wr_rng r;
	wr_rng_init(&r, 3, 0);
	for (unsigned int i = 0; i < 60000; i++) {
		struct frame_spec s = i % 3 == 0   ? echo(i % 2, 0)
				      : i % 3 == 1 ? solicit(i % 2, i / 2 % 2, i / 4 % 2)
						   : echo(true, 1);
		uint32_t len = i % 7 ? build_ns(f, &s) : arp(f, i % 3, our_addresses.ipv4[0]);
		for (unsigned int k = 0; k < i % 4; k++)
			f[12 + wr_rng_below(&r, 80)] = (uint8_t)wr_rng_u64(&r);
		(void)aside(f, wr_rng_below(&r, 3) ? len : wr_rng_below(&r, len + 1));
	}
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"ARP", test_arp},
		{"ARP, refused", test_arp_refused},
		{"echo", test_echo},
		{"echo, refused", test_echo_refused},
		{"neighbour solicitations", test_solicitations},
		{"neighbour solicitations, refused", test_solicitations_refused},
		{"announcements", test_announce},
		{"conflicts", test_conflicts},
		{"without addresses", test_nobody},
		{"noise", test_noise},
	};
	make_us();
	return wr_test_run("port_aside", tests, WR_ARRAY_LEN(tests));
}
