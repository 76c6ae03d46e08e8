/* SPDX-License-Identifier: BSD-3-Clause */
/* The generator's schedule and its frames. */
#include "load_frame.h"
#include "load_malform.h"
#include "load_schedule.h"
#include "test_load.h"

#include <rte_ip.h>
#include <rte_udp.h>

#include <math.h>
#include <stdlib.h>

/* ---- schedule ---- */
static void test_constant(void)
{
	struct wr_schedule s;

	CU_ASSERT_EQUAL(wr_schedule_init(&s, WR_ARRIVALS_CONSTANT, 3e6, 1000000000, 1), 0);
	/* 333.33 ticks apart: no drift, whatever the fraction. */
	for (uint64_t i = 1; i <= 3000000; i++) {
		double exact = (double)i * 1000 / 3;
		if (fabs((double)s.next - exact) > 1.01) {
			CU_FAIL("a constant arrival drifts");
			break;
		}
		wr_schedule_pop(&s);
	}
	CU_ASSERT_EQUAL(s.n, 3000000);
	wr_schedule_fini(&s);
}

static void test_poisson_moments(void)
{
	struct wr_schedule s;
	const double mean = 1000; /* ticks */
	double sum = 0, squares = 0;
	uint64_t last = 0, under_mean = 0;

	CU_ASSERT_EQUAL(wr_schedule_init(&s, WR_ARRIVALS_POISSON, 1e6, 1000000000, 7), 0);
	for (uint32_t i = 0; i < WR_SCHEDULE_GAPS; i++) {
		double gap = (double)(s.next - last);
		last = s.next;
		sum += gap;
		squares += gap * gap;
		under_mean += gap < mean;
		wr_schedule_pop(&s);
	}
	const double n = WR_SCHEDULE_GAPS;
	/* The table's sum is exact; the other moments are those of 131,072 draws: six sigma. */
	CU_ASSERT_DOUBLE_EQUAL(sum / n, mean, 0.01);
	double variance = squares / n - mean * mean;
	CU_ASSERT_DOUBLE_EQUAL(variance / (mean * mean), 1, 6 * sqrt(8 / n));
	CU_ASSERT_DOUBLE_EQUAL((double)under_mean / n, 1 - exp(-1), 6 * sqrt(0.25 / n));
	wr_schedule_fini(&s);
}

static void test_schedule_is_fixed(void)
{
	struct wr_schedule a, b, c;
	bool same = true, other = false;

	CU_ASSERT_EQUAL(wr_schedule_init(&a, WR_ARRIVALS_POISSON, 5000, 1000000000, 7), 0);
	CU_ASSERT_EQUAL(wr_schedule_init(&b, WR_ARRIVALS_POISSON, 5000, 1000000000, 7), 0);
	CU_ASSERT_EQUAL(wr_schedule_init(&c, WR_ARRIVALS_POISSON, 5000, 1000000000, 8), 0);
	for (unsigned int i = 0; i < 10000; i++) {
		same &= a.next == b.next;
		other |= a.next != c.next;
		wr_schedule_pop(&a);
		wr_schedule_pop(&b);
		wr_schedule_pop(&c);
	}
	CU_ASSERT_TRUE(same);
	CU_ASSERT_TRUE(other);
	wr_schedule_fini(&a);
	wr_schedule_fini(&b);
	wr_schedule_fini(&c);
}

static void test_debt(void)
{
	struct wr_schedule s;

	CU_ASSERT_EQUAL(wr_schedule_init(&s, WR_ARRIVALS_CONSTANT, 1000, 1000000, 1), 0);
	for (unsigned int i = 0; i < 300; i++)
		wr_schedule_pop(&s);
	/* 1,000 arrivals a second, one second, 300 taken; the last one falls on the end itself. */
	CU_ASSERT_EQUAL(wr_schedule_drain(&s, 1000001), 700);
	CU_ASSERT_EQUAL(s.n, 1000);
	CU_ASSERT_EQUAL(wr_schedule_drain(&s, 1000001), 0);
	wr_schedule_fini(&s);
}

static void test_schedule_limits(void)
{
	struct wr_schedule s;

	CU_ASSERT_EQUAL(wr_schedule_init(&s, WR_ARRIVALS_CONSTANT, 0.5, 1000000000, 1), WR_EINVAL);
	CU_ASSERT_EQUAL(
		wr_schedule_init(&s, WR_ARRIVALS_CONSTANT, (double)NAN, 1000000000, 1), WR_EINVAL);
	CU_ASSERT_EQUAL(wr_schedule_init(&s, WR_ARRIVALS_CONSTANT, 2e9, 1000000000, 1), WR_EINVAL);
	/* A gap must fit 32 bits of ticks with room for the longest draw. */
	CU_ASSERT_EQUAL(wr_schedule_init(&s, WR_ARRIVALS_POISSON, 1, 4000000000, 1), WR_EINVAL);
}

/* ---- frames, against DPDK's own checksums ---- */
static struct wr_load_address address(bool ipv6)
{
	struct wr_load_address a = {.client_port = 40000, .server_port = 4700};
	bool got;

	CU_ASSERT_EQUAL(wr_load_parse_ip(ipv6 ? "fd47::2" : "10.47.0.2", a.client_ip, &got), 0);
	CU_ASSERT_EQUAL(wr_load_parse_ip(ipv6 ? "fd47::1" : "10.47.0.1", a.server_ip, &got), 0);
	CU_ASSERT_EQUAL(got, ipv6);
	CU_ASSERT_EQUAL(wr_load_parse_mac("02:00:00:00:47:00", a.server_mac), 0);
	a.ipv6 = ipv6;
	return a;
}

static void check_sums(const struct wr_load_head *h, uint8_t *frame)
{
	struct rte_ipv4_hdr *ip4 = (void *)(frame + 14);
	struct rte_ipv6_hdr *ip6 = (void *)(frame + 14);
	struct rte_udp_hdr *udp = (void *)(frame + h->size - 8);

	uint16_t ours = udp->dgram_cksum;

	udp->dgram_cksum = 0;
	if (h->ipv6) {
		CU_ASSERT_EQUAL(rte_ipv6_udptcp_cksum(ip6, udp), ours);
	} else {
		CU_ASSERT_EQUAL(rte_raw_cksum(ip4, 20), 0xffff);
		CU_ASSERT_EQUAL(rte_ipv4_udptcp_cksum(ip4, udp), ours);
	}
}

static void test_checksums(void)
{
	struct wr_rng rng;

	wr_rng_init(&rng, 1, 1);
	for (unsigned int round = 0; round < 4000; round++) {
		struct wr_load_address a = address(round & 1);
		struct wr_load_head h;
		uint8_t frame[1400] = {0};
		wr_load_head_init(&h, &a);
		uint16_t n = (uint16_t)(1 + wr_rng_below(&rng, 1232)),
			 used = (uint16_t)(1 + wr_rng_below(&rng, n));
		for (unsigned int i = 0; i < used; i++)
			frame[h.size + i] = round % 8 < 2 ? 0xff : (uint8_t)wr_rng_u64(&rng);
		CU_ASSERT_EQUAL(
			wr_load_frame_finish(&h, frame, n, used, (uint16_t)(4700 + round % 64)),
			h.size + n);
		check_sums(&h, frame);
	}
}

/* A frame as the server would answer it: parse must take it, and refuse it with any bit of it
 * wrong. */
static void test_parse(void)
{
	for (unsigned int v = 0; v < 2; v++) {
		struct wr_load_address there = address(v), here = address(v);
		struct wr_load_head out, in;
		uint8_t frame[256] = {0};
		const uint8_t *message = NULL;
		uint16_t port = 0;
		size_t n = 0;

		memcpy(there.client_ip, here.server_ip, 16);
		memcpy(there.server_ip, here.client_ip, 16);
		there.client_port = 4703;
		wr_load_head_init(&out, &there);
		wr_load_head_init(&in, &here);
		memset(frame + out.size, 0x5a, 101);
		uint16_t size = wr_load_frame_finish(&out, frame, 101, 101, here.client_port);
		CU_ASSERT_EQUAL(wr_load_frame_parse(&in, frame, size, &message, &n, &port),
			WR_LOAD_FRAME_OK);
		CU_ASSERT_PTR_EQUAL(message, frame + in.size);
		CU_ASSERT_EQUAL(n, 101);
		CU_ASSERT_EQUAL(port, 4703);
		for (size_t cut = 0; cut < size; cut++)
			CU_ASSERT_NOT_EQUAL(
				wr_load_frame_parse(&in, frame, cut, &message, &n, &port),
				WR_LOAD_FRAME_OK);
		/* Behind the addresses of Ethernet; IPv6 has no checksum over its first eight
		 * bytes. */
		for (size_t bit = (v ? 22 : 14) * 8; bit < (size_t)size * 8; bit++) {
			frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
			if (wr_load_frame_parse(&in, frame, size, &message, &n, &port) ==
				WR_LOAD_FRAME_OK)
				CU_FAIL("a flipped bit goes unnoticed");
			frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

static void test_addresses(void)
{
	uint8_t ip[16], mac[6];
	bool ipv6;

	CU_ASSERT_EQUAL(wr_load_parse_ip("10.47.0", ip, &ipv6), WR_EFORMAT);
	CU_ASSERT_EQUAL(wr_load_parse_ip("fd47:::1", ip, &ipv6), WR_EFORMAT);
	CU_ASSERT_EQUAL(wr_load_parse_mac("02:00:00:00:47", mac), WR_EFORMAT);
	CU_ASSERT_EQUAL(wr_load_parse_mac("02:00:00:00:47:00:11", mac), WR_EFORMAT);
}

/* ---- malformed frames: every kind is what its name says ---- */
static bool is_broken(
	const struct wr_load *l, enum wr_malform_kind kind, const uint8_t *frame, uint16_t bytes)
{
	struct wr_load_address here = l->address, there = l->address;
	struct wr_load_head in;
	const uint8_t *message;
	struct wr_message m;
	uint16_t port;
	size_t n;

	memcpy(there.client_ip, here.server_ip, 16);
	there.client_port = here.server_port;
	wr_load_head_init(&in, &there);
	if (wr_load_frame_parse(&in, frame, bytes, &message, &n, &port) != WR_LOAD_FRAME_OK)
		return true;
	return kind == WR_MALFORM_proof || wr_wire_decode_request(message, n, &m) != WR_DECODE_OK;
}

static void test_malformed(void)
{
	struct wr_load *l = calloc(1, sizeof(*l));
	struct wr_malformer *m = NULL;
	struct wr_errmsg msg;
	uint8_t frame[WR_LOAD_BUFFER];

	CU_ASSERT_PTR_NOT_NULL_FATAL(l);
	l->address = address(false);
	wr_load_head_init(&l->head, &l->address);
	CU_ASSERT_EQUAL_FATAL(wr_malformer_new(&m, l, 5, &msg), 0);
	unsigned int sound[WR_MALFORM_KIND_N] = {0}, n = 26000;
	for (unsigned int i = 0; i < n; i++) {
		enum wr_malform_kind kind = wr_malformer_next_kind(m);
		uint16_t bytes = wr_malformer_make(m, kind, 1700000000000, frame);
		CU_ASSERT_TRUE(bytes > 0 && bytes <= WR_LOAD_BUFFER);
		sound[kind] += !is_broken(l, kind, frame, bytes);
	}
	for (unsigned int k = 0; k < WR_MALFORM_KIND_N; k++) {
		/* A flipped bit of an item id leaves a sound message, and so may noise behind a
		 * sound header; this generator's own parser knows no fragments, and takes every
		 * option and source: those frames' lengths and checksums are right. */
		if (k == WR_MALFORM_bit_flip || k == WR_MALFORM_ip_fragment ||
			k == WR_MALFORM_random_message)
			continue;
		if (k == WR_MALFORM_ip_extra || k == WR_MALFORM_ip_source) {
			CU_ASSERT_TRUE(sound[k] >= n / WR_MALFORM_KIND_N);
			continue;
		}
		/* Lengths whose lie happens to be right: a cut of zero bytes, a section whose
		 * padding hides it. */
		unsigned int bound = k == WR_MALFORM_section_length || k == WR_MALFORM_udp_length ||
						     k == WR_MALFORM_ip_length ||
						     k == WR_MALFORM_wire_truncated ||
						     k == WR_MALFORM_ip_version
					     ? n / WR_MALFORM_KIND_N / 4
					     : 0;
		if (sound[k] > bound)
			printf("[%s: %u sound] ", wr_malform_name(k), sound[k]);
		CU_ASSERT_TRUE(sound[k] <= bound);
	}
	wr_malformer_free(m);
	free(l);
}

int main(void)
{
	static const struct wr_test own[] = {
		{"constant arrivals do not drift", test_constant},
		{"poisson arrivals have the moments of Poisson", test_poisson_moments},
		{"a schedule is a function of its seed", test_schedule_is_fixed},
		{"debt is counted", test_debt},
		{"impossible rates are refused", test_schedule_limits},
		{"checksums are those of DPDK", test_checksums},
		{"received frames are checked to the bit", test_parse},
		{"bad addresses are refused", test_addresses},
		{"malformed frames are malformed", test_malformed},
	};
	struct wr_test all[64];
	size_t n = 0;

	for (size_t i = 0; i < WR_ARRAY_LEN(own); i++)
		all[n++] = own[i];
	for (size_t i = 0; i < wr_test_load_files_n; i++)
		all[n++] = wr_test_load_files[i];
	for (size_t i = 0; i < wr_test_load_verify_n; i++)
		all[n++] = wr_test_load_verify[i];
	return wr_test_run("load", all, n);
}
