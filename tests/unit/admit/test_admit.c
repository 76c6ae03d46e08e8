/* SPDX-License-Identifier: BSD-3-Clause */
/* Admission: the allow-list against a plain model, rolling cookies, the rules and their order. */
#include "wr_test.h"
#include "wr_admit.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SECOND   ((uint64_t)1000000000)
#define ROTATE_S 60
#define TSC_HZ   2000000000

static const char everybody[] = "0.0.0.0/0, ::/0";

static bool beside_rotation;      /* two checks of one cookie may differ */
static struct wr_admit_memo memo; /* of the admission that was made last */

static struct wr_admit *admit_new(const char *allow, uint64_t now_ns)
{
	struct wr_admit *a;
	struct wr_errmsg msg;
	struct wr_admit_config config = {
		.allow = allow, .cookie_rotate_s = ROTATE_S, .tsc_hz = TSC_HZ};
	int err = wr_admit_new(&a, &config, now_ns, &msg);
	memset(&memo, 0, sizeof(memo));
	if (err)
		printf("\n    %s ", msg.text);
	CU_ASSERT_EQUAL_FATAL(err, WR_OK);
	return a;
}

/* "10.0.0.1" or "2001:db8::1" as 16 bytes. */
static void address_of(const char *text, uint8_t out[16])
{
	static const uint8_t v4[12] = {[10] = 0xff, [11] = 0xff};
	memcpy(out, v4, sizeof(v4));
	bool v6 = strchr(text, ':');
	CU_ASSERT_EQUAL_FATAL(inet_pton(v6 ? AF_INET6 : AF_INET, text, v6 ? out : out + 12), 1);
}

/* One request, checked. */
struct probe {
	struct wr_admit_request r;
	struct wr_message m;
	struct wr_wire_cookie cookie;
	struct wr_wire_auth auth;
	struct wr_wire_ask ask;
	struct wr_admit_verdict v;
};

static void probe_init(struct probe *p, const char *from, uint8_t op, uint32_t bytes)
{
	memset(p, 0, sizeof(*p));
	address_of(from, p->r.address);
	p->m.header.op = op;
	p->r.message = &p->m;
	p->r.bytes = bytes;
	p->r.arrival_tsc = 1000;
}

static void probe_check(struct probe *p, const struct wr_admit *a, uint64_t now_tsc)
{
	struct wr_admit_verdict remembered;
	memset(&p->v, 0xee, sizeof(p->v));
	wr_admit_check(a, NULL, &p->r, 1, now_tsc, &p->v);
	/* What a worker remembers of sources changes no verdict; twice: found out, remembered. */
	if (beside_rotation)
		wr_admit_check(a, &memo, &p->r, 1, now_tsc, &p->v);
	for (unsigned int i = 0; i < 2 && !beside_rotation; i++) {
		memset(&remembered, 0xee, sizeof(remembered));
		wr_admit_check(a, &memo, &p->r, 1, now_tsc, &remembered);
		CU_ASSERT_EQUAL(memcmp(&remembered, &p->v, sizeof(p->v)), 0);
	}
}

static void prove(struct probe *p, const struct wr_admit *a)
{
	wr_admit_cookie(a, p->r.address, &p->cookie);
	p->m.cookie = &p->cookie;
}

static bool allowed(const struct wr_admit *a, const uint8_t address[16])
{
	struct probe p;
	probe_init(&p, "::1", WR_OP_HELLO, 256);
	memcpy(p.r.address, address, 16);
	probe_check(&p, a, 1000);
	CU_ASSERT(p.v.action == WR_ADMIT_SERVE ||
		  (p.v.action == WR_ADMIT_DROP && p.v.outcome == WR_OUTCOME_denied_source));
	return p.v.action == WR_ADMIT_SERVE;
}

static void check_allowed(const char *list, const char *address, bool want)
{
	uint8_t bytes[16];
	struct wr_admit *a = admit_new(list, 0);
	address_of(address, bytes);
	CU_ASSERT_EQUAL(allowed(a, bytes), want);
	wr_admit_free(a);
}

static void test_sources(void)
{
	check_allowed(everybody, "0.0.0.0", true);
	check_allowed(everybody, "255.255.255.255", true);
	check_allowed(everybody, "::", true);
	check_allowed(everybody, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true);
	check_allowed("::/0", "10.0.0.1", false); /* all of IPv6 is no IPv4 */
	check_allowed("0.0.0.0/0", "2001:db8::1", false);
	check_allowed("10.0.0.0/8", "9.255.255.255", false);
	check_allowed("10.0.0.0/8", "10.0.0.0", true);
	check_allowed("10.0.0.0/8", "10.255.255.255", true);
	check_allowed("10.0.0.0/8", "11.0.0.0", false);
	check_allowed("192.0.2.7", "192.0.2.7", true);
	check_allowed("192.0.2.7", "192.0.2.6", false);
	check_allowed("192.0.2.7/32", "192.0.2.8", false);
	check_allowed("2001:db8::/33", "2001:db8:7fff:ffff::", true);
	check_allowed("2001:db8::/33", "2001:db8:8000::", false);
	check_allowed("  fe80::1\t,,10.0.0.0/8 10.1.0.0/16\n", "fe80::1",
		true); /* blanks, nested prefixes */
	check_allowed("10.1.0.0/16, 10.0.0.0/8", "10.200.0.1", true);
	check_allowed("10.0.0.0/8, 10.1.0.0/16, 11.0.0.0/8", "10.2.0.0", true);
}

static void test_bad_lists(void)
{
	static const struct {
		const char *list, *word;
	} bad[] = {{"10.0.0.0/8, nonsense", "nonsense"}, {"10.0.0.0/33", "10.0.0.0/33"},
		{"10.0.0/8", "10.0.0/8"}, {"::/129", "::/129"}, {"10.0.0.0/", "10.0.0.0/"},
		{"10.0.0.0/8x", "10.0.0.0/8x"}, {"10.0.0.0/-1", "10.0.0.0/-1"},
		{"10.0.0.1/8", "10.0.0.1/8"}, {"2001:db8::1/64", "2001:db8::1/64"},
		{"::ffff:10.0.0.0/104", "::ffff:10.0.0.0/104"}, {"", "empty"}, {" , ", "empty"},
		{"10.0.0.0/99999999999999999999", "/9999"},
		{"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc", "1111:2222"}};
	for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++) {
		struct wr_errmsg msg = {{0}};
		struct wr_admit *a = (void *)&msg;
		struct wr_admit_config config = {
			.allow = bad[i].list, .cookie_rotate_s = 1, .tsc_hz = TSC_HZ};
		CU_ASSERT_EQUAL(wr_admit_new(&a, &config, 0, &msg), WR_EINVAL);
		CU_ASSERT_PTR_NULL(a);
		CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, bad[i].word));
	}
	struct wr_admit *a;
	struct wr_admit_config config = {
		.allow = everybody, .cookie_rotate_s = 0, .tsc_hz = TSC_HZ};
	CU_ASSERT_EQUAL(wr_admit_new(&a, &config, 0, NULL), WR_EINVAL);
	config.cookie_rotate_s = WR_ADMIT_MAX_ROTATE_S + 1;
	CU_ASSERT_EQUAL(wr_admit_new(&a, &config, 0, NULL), WR_EINVAL);
	config.cookie_rotate_s = 1, config.tsc_hz = 999999;
	CU_ASSERT_EQUAL(wr_admit_new(&a, &config, 0, NULL), WR_EINVAL);
	wr_admit_free(NULL);
}

static void test_list_full(void)
{
	for (unsigned int n = WR_ADMIT_MAX_PREFIXES; n <= WR_ADMIT_MAX_PREFIXES + 1; n++) {
		char text[WR_ADMIT_MAX_PREFIXES * 16 + 32] = "";
		size_t at = 0;
		for (unsigned int i = 0; i < n; i++)
			at += (size_t)snprintf(
				text + at, sizeof(text) - at, "10.%u.%u.0/24,", i / 256, i % 256);
		struct wr_admit *a;
		struct wr_errmsg msg;
		struct wr_admit_config config = {
			.allow = text, .cookie_rotate_s = 1, .tsc_hz = TSC_HZ};
		int err = wr_admit_new(&a, &config, 0, &msg);
		CU_ASSERT_EQUAL(err, n > WR_ADMIT_MAX_PREFIXES ? WR_EINVAL : WR_OK);
		wr_admit_free(a);
	}
}

/* Bit by bit. */
static bool prefix_holds(const uint8_t prefix[16], unsigned int length, const uint8_t address[16])
{
	for (unsigned int i = 0; i < length; i++)
		if (((prefix[i / 8] ^ address[i / 8]) >> (7 - i % 8)) & 1)
			return false;
	return true;
}

/* Random lists of random prefixes near each other, against the model above. */
static void test_sources_random(void)
{
	struct wr_rng r;
	unsigned int hits = 0, total = 0;
	wr_rng_init(&r, 11, 0);
	for (int round = 0; round < 300; round++) {
		uint8_t prefix[8][16];
		unsigned int length[8], n = 1 + wr_rng_below(&r, 8);
		char text[1024] = "", word[INET6_ADDRSTRLEN];
		for (unsigned int i = 0; i < n; i++) {
			bool v6 = wr_rng_below(&r, 2);
			unsigned int base = v6 ? 0 : 96;
			length[i] = base + wr_rng_below(&r, 128 - base + 1);
			address_of(v6 ? "2001:db8::" : "10.0.0.0", prefix[i]);
			for (unsigned int k = 2 + (v6 ? 0 : 11); k < 16; k++)
				prefix[i][k] =
					(uint8_t)(wr_rng_below(&r, 4) << 6 | wr_rng_below(&r, 2));
			for (unsigned int bit = length[i]; bit < 128; bit++)
				prefix[i][bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
			/* Zeroing may have turned it into another family's text. */
			inet_ntop(v6 ? AF_INET6 : AF_INET, prefix[i] + (v6 ? 0 : 12), word,
				sizeof(word));
			size_t at = strlen(text);
			snprintf(text + at, sizeof(text) - at, "%s/%u ", word, length[i] - base);
		}
		struct wr_admit *a = admit_new(text, 0);
		for (int probe = 0; probe < 100; probe++, total++) {
			uint8_t address[16];
			const uint8_t *near = prefix[wr_rng_below(&r, n)];
			bool want = false, v4 = wr_rng_below(&r, 2);
			memcpy(address, near, 16);
			for (int flips = (int)wr_rng_below(&r, 4); flips > 0; flips--)
				address[wr_rng_below(&r, 16)] ^=
					(uint8_t)(1u << wr_rng_below(&r, 8));
			static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
			if (v4)
				memcpy(address, mapped, 12);
			v4 = !memcmp(address, mapped, 12);
			for (unsigned int i = 0; i < n; i++)
				want |= !memcmp(prefix[i], mapped, 12) == v4 &&
					prefix_holds(prefix[i], length[i], address);
			CU_ASSERT_EQUAL(allowed(a, address), want);
			hits += want;
		}
		wr_admit_free(a);
	}
	CU_ASSERT(hits > total / 10 && hits < total * 9 / 10);
}

/* What a cookie of `made_ns` is worth at each rotation after it. */
static void test_cookie_life(void)
{
	for (uint64_t start = 0; start < 400 * SECOND; start += 17 * SECOND) {
		struct wr_admit *a = admit_new(everybody, start);
		struct probe p;
		probe_init(&p, "10.0.0.1", WR_OP_EVENT, 256);
		prove(&p, a);
		uint64_t epoch = start / (ROTATE_S * SECOND);
		for (uint64_t s = 0; s < 5 * ROTATE_S; s++) {
			uint64_t now = start + s * SECOND, age = now / (ROTATE_S * SECOND) - epoch;
			wr_admit_rotate(a, now);
			probe_check(&p, a, 2000);
			CU_ASSERT_EQUAL(p.v.proven, age <= 1);
			CU_ASSERT_EQUAL(p.v.give_cookie, age >= 1);
			CU_ASSERT_EQUAL(
				p.v.action, WR_ADMIT_SERVE); /* a stale cookie is no error */
			CU_ASSERT_EQUAL(p.v.reply_bytes, age <= 1 ? WR_WIRE_MAX_BYTES : 256);
		}
		wr_admit_free(a);
	}
}

static void test_cookie_clock(void)
{
	struct wr_admit *a = admit_new(everybody, 1000 * SECOND),
			*other = admit_new(everybody, 1000 * SECOND);
	struct probe p, q;
	probe_init(&p, "10.0.0.1", WR_OP_EVENT, 256);
	prove(&p, a);
	probe_check(&p, a, 2000);
	CU_ASSERT_TRUE(p.v.proven);
	/* Another server's secret, another address. */
	probe_check(&p, other, 2000);
	CU_ASSERT_FALSE(p.v.proven);
	q = p;
	q.r.message = &q.m;
	address_of("10.0.0.2", q.r.address);
	probe_check(&q, a, 2000);
	CU_ASSERT_FALSE(q.v.proven);
	/* Back: nothing changes. Two rotations ahead at once: the old secret ends, a new one works.
	 */
	wr_admit_rotate(a, 5 * SECOND);
	probe_check(&p, a, 2000);
	CU_ASSERT_TRUE(p.v.proven && !p.v.give_cookie);
	wr_admit_rotate(a, (1000 + 2 * ROTATE_S) * SECOND);
	probe_check(&p, a, 2000);
	CU_ASSERT_FALSE(p.v.proven);
	prove(&p, a);
	probe_check(&p, a, 2000);
	CU_ASSERT_TRUE(p.v.proven);
	/* One more rotation: its predecessor is known; a cookie that claims a skipped epoch is not.
	 */
	p.cookie.epoch--;
	probe_check(&p, a, 2000);
	CU_ASSERT_FALSE(p.v.proven);
	wr_admit_free(a);
	wr_admit_free(other);
}

static void check_unforgeable(uint8_t fill, uint64_t start_epoch)
{
	struct wr_admit *a = admit_new(everybody, start_epoch * ROTATE_S * SECOND);
	struct probe p;
	uint8_t secret[WR_WIRE_SECRET_BYTES];
	memset(secret, fill, sizeof(secret));
	probe_init(&p, "10.0.0.1", WR_OP_EVENT, 256);
	p.m.cookie = &p.cookie;
	for (uint32_t epoch = UINT32_MAX - 8; epoch != 16; epoch++) {
		wr_wire_cookie_make(&p.cookie, p.r.address, epoch, secret);
		probe_check(&p, a, 2000);
		CU_ASSERT_FALSE(p.v.proven);
	}
	wr_admit_free(a);
}

static void test_no_guessable_secret(void)
{
	/* Memory that was never written holds zeros, or a sanitizer's 0xbe: neither may be a
	 * secret, in any epoch. */
	for (uint64_t start = 0; start < 8; start++) {
		check_unforgeable(0, start);
		check_unforgeable(0xbe, start);
	}
}

static void test_unsound(void)
{
	static const struct {
		enum wr_decode d;
		enum wr_outcome outcome;
	} dropped[] = {{WR_DECODE_SHORT, WR_OUTCOME_wire_short},
		{WR_DECODE_LENGTH, WR_OUTCOME_wire_length},
		{WR_DECODE_NOT_REQUEST, WR_OUTCOME_wire_not_request}};
	struct wr_admit *a = admit_new(everybody, 0);
	struct probe p;
	for (size_t i = 0; i < WR_ARRAY_LEN(dropped); i++) {
		probe_init(&p, "10.0.0.1", WR_OP_HELLO, 256);
		p.r.decoded = dropped[i].d;
		probe_check(&p, a, 2000);
		CU_ASSERT(p.v.action == WR_ADMIT_DROP && p.v.outcome == dropped[i].outcome);
	}
	for (enum wr_decode d = WR_DECODE_VERSION; d < WR_DECODE_N; d++)
		for (uint32_t bytes = 32; bytes <= 128; bytes += 4) {
			probe_init(&p, "10.0.0.1", WR_OP_HELLO, bytes);
			p.r.decoded = d;
			probe_check(&p, a, 2000);
			CU_ASSERT_EQUAL(p.v.outcome,
				bytes < 96 ? WR_OUTCOME_short_unproven : WR_OUTCOME_answered_error);
			CU_ASSERT_EQUAL(p.v.action, bytes < 96 ? WR_ADMIT_DROP : WR_ADMIT_ANSWER);
			if (bytes < 96)
				continue;
			CU_ASSERT_EQUAL(p.v.status, wr_decode_status(d));
			CU_ASSERT(p.v.reply_bytes == bytes && p.v.give_cookie && !p.v.proven);
		}
	wr_admit_free(a);
}

static void test_length_rule(void)
{
	struct wr_admit *a = admit_new(everybody, 0);
	struct probe p;
	for (uint8_t op = WR_OP_HELLO; op <= WR_OP_EVENT; op++)
		for (uint32_t bytes = 32; bytes <= WR_WIRE_MAX_BYTES; bytes += 4) {
			probe_init(&p, "2001:db8::1", op, bytes);
			probe_check(&p, a, 2000);
			CU_ASSERT_EQUAL(p.v.action, bytes < 96 ? WR_ADMIT_DROP : WR_ADMIT_SERVE);
			CU_ASSERT_EQUAL(p.v.reply_bytes, bytes);
			CU_ASSERT_TRUE(p.v.give_cookie);
			CU_ASSERT_EQUAL(p.v.outcome,
				bytes < 96 ? WR_OUTCOME_short_unproven : WR_OUTCOME_answered);
			prove(&p, a);
			probe_check(&p, a, 2000);
			CU_ASSERT_EQUAL(p.v.action, WR_ADMIT_SERVE);
			CU_ASSERT_EQUAL(p.v.reply_bytes, WR_WIRE_MAX_BYTES);
			CU_ASSERT_EQUAL(p.v.give_cookie, op == WR_OP_HELLO);
		}
	wr_admit_free(a);
}

static void test_forget_and_tags(void)
{
	struct wr_admit *a = admit_new(everybody, 0);
	struct probe p;
	probe_init(&p, "10.0.0.1", WR_OP_FORGET, 96);
	probe_check(&p, a, 2000);
	CU_ASSERT(
		p.v.action == WR_ADMIT_ANSWER && p.v.status == WR_STATUS_DENIED && p.v.give_cookie);
	CU_ASSERT_EQUAL(p.v.outcome, WR_OUTCOME_answered_error);
	prove(&p, a);
	p.r.bytes = 52;
	probe_check(&p, a, 2000);
	CU_ASSERT(p.v.action == WR_ADMIT_SERVE && p.v.proven);
	p.cookie.mac ^= 1;
	probe_check(&p, a, 2000);
	CU_ASSERT(p.v.action == WR_ADMIT_DROP && p.v.outcome == WR_OUTCOME_short_unproven);
	/* No keys here: every key id is unknown, beside a good cookie too. */
	for (uint8_t op = WR_OP_HELLO; op <= WR_OP_FORGET; op++)
		for (int proven = 0; proven < 2; proven++) {
			probe_init(&p, "10.0.0.1", op, 120);
			p.m.auth = &p.auth;
			if (proven)
				prove(&p, a);
			probe_check(&p, a, 2000);
			CU_ASSERT(p.v.action == WR_ADMIT_ANSWER && p.v.status == WR_STATUS_DENIED);
			CU_ASSERT_EQUAL(p.v.proven, proven);
		}
	wr_admit_free(a);
}

static void test_deadline(void)
{
	static const struct {
		uint32_t budget_us;
		uint64_t ticks;
		bool late;
	} cases[] = {{0, UINT64_MAX / 2, false}, {1, 0, false}, {1, 1999, false}, {1, 2000, true},
		{50, 99999, false}, {50, 100000, true},
		{UINT32_MAX, (uint64_t)UINT32_MAX * 2000 - 1, false},
		{UINT32_MAX, (uint64_t)UINT32_MAX * 2000, true}};
	struct wr_admit *a = admit_new(everybody, 0);
	struct probe p;
	for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++) {
		probe_init(&p, "10.0.0.1", WR_OP_RECOMMEND, 256);
		p.ask.budget_us = cases[i].budget_us;
		p.m.ask = &p.ask;
		probe_check(&p, a, p.r.arrival_tsc + cases[i].ticks);
		CU_ASSERT_EQUAL(p.v.action, cases[i].late ? WR_ADMIT_ANSWER : WR_ADMIT_SERVE);
		CU_ASSERT_EQUAL(p.v.status, cases[i].late ? WR_STATUS_DEADLINE : WR_STATUS_OK);
		CU_ASSERT_EQUAL(
			p.v.outcome, cases[i].late ? WR_OUTCOME_deadline : WR_OUTCOME_answered);
	}
	/* Another socket's counter may lag behind: that is not late. */
	p.ask.budget_us = 1;
	probe_check(&p, a, p.r.arrival_tsc - 500);
	CU_ASSERT_EQUAL(p.v.action, WR_ADMIT_SERVE);
	wr_admit_free(a);
}

static void test_order(void)
{
	/* Everything is wrong at once; mend the first objection again and again. */
	struct wr_admit *a = admit_new("10.0.0.0/8", 0);
	struct probe p;
	probe_init(&p, "11.0.0.1", WR_OP_FORGET, 64);
	p.r.decoded = WR_DECODE_LENGTH;
	p.m.auth = &p.auth;
	p.m.ask = &p.ask;
	p.ask.budget_us = 1;
	probe_check(&p, a, SECOND);
	CU_ASSERT_EQUAL(p.v.outcome, WR_OUTCOME_denied_source);
	address_of("10.0.0.1", p.r.address);
	probe_check(&p, a, SECOND);
	CU_ASSERT_EQUAL(p.v.outcome, WR_OUTCOME_wire_length);
	p.r.decoded = WR_DECODE_VERSION;
	probe_check(&p, a, SECOND);
	CU_ASSERT_EQUAL(p.v.outcome, WR_OUTCOME_short_unproven);
	p.r.bytes = 96;
	probe_check(&p, a, SECOND);
	CU_ASSERT_EQUAL(p.v.status, WR_STATUS_VERSION);
	p.r.decoded = WR_DECODE_OK;
	prove(&p, a);
	probe_check(&p, a, SECOND);
	CU_ASSERT_EQUAL(p.v.status, WR_STATUS_DENIED);
	p.m.auth = NULL;
	p.m.cookie = NULL;
	probe_check(&p, a, SECOND);
	CU_ASSERT_EQUAL(p.v.status, WR_STATUS_DENIED);
	prove(&p, a);
	probe_check(&p, a, SECOND);
	CU_ASSERT_EQUAL(p.v.status, WR_STATUS_DEADLINE);
	p.ask.budget_us = 0;
	probe_check(&p, a, SECOND);
	CU_ASSERT_EQUAL(p.v.action, WR_ADMIT_SERVE);
	wr_admit_free(a);
}

static void test_burst(void)
{
	/* A burst gives the verdicts of its requests one by one. */
	struct wr_admit *a = admit_new("10.0.0.0/8", 0);
	struct probe p[64];
	struct wr_admit_request r[64];
	struct wr_admit_verdict v[64];
	for (unsigned int i = 0; i < 64; i++) {
		probe_init(
			&p[i], i % 3 ? "10.0.0.1" : "11.0.0.1", (uint8_t)(1 + i % 4), 64 + 4 * i);
		if (i % 5 == 0)
			prove(&p[i], a);
		r[i] = p[i].r;
	}
	wr_admit_check(a, NULL, r, 64, 2000, v);
	for (unsigned int i = 0; i < 64; i++) {
		probe_check(&p[i], a, 2000);
		CU_ASSERT(!memcmp(&p[i].v, &v[i], sizeof(v[i])));
	}
	wr_admit_free(a);
}

struct rotating {
	struct wr_admit *a;
	_Atomic bool stop;
};

static void *rotate_thread(void *arg)
{
	struct rotating *r = arg;
	for (uint64_t s = 0; !atomic_load(&r->stop); s++) {
		wr_admit_rotate(r->a, s * SECOND);
		struct timespec pause = {.tv_nsec = 20000};
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static void test_rotation_while_checking(void)
{
	/* A cookie of this or the last rotation always holds, whatever housekeeping does meanwhile.
	 */
	struct rotating r = {.a = admit_new(everybody, 0)};
	struct probe p;
	pthread_t thread;
	unsigned int bad = 0, n_epochs = 0;
	beside_rotation = true;
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, rotate_thread, &r), 0);
	probe_init(&p, "10.0.0.1", WR_OP_EVENT, 256);
	/* Until enough rotations were seen, however slow this machine is. */
	for (uint32_t last = 0; n_epochs < 50;) {
		struct wr_wire_cookie now;
		prove(&p, r.a);
		probe_check(&p, r.a, 2000);
		wr_admit_cookie(r.a, p.r.address, &now);
		n_epochs += now.epoch != last;
		last = now.epoch;
		/* This thread may have slept through two rotations between the first two calls: not
		 * an error. */
		bad += !p.v.proven && now.epoch - p.cookie.epoch <= 1;
	}
	atomic_store(&r.stop, true);
	pthread_join(thread, NULL);
	beside_rotation = false;
	CU_ASSERT_EQUAL(bad, 0);
	wr_admit_free(r.a);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"allow-list", test_sources},
		{"bad lists name the bad word", test_bad_lists},
		{"full list", test_list_full},
		{"random lists against a model", test_sources_random},
		{"a cookie's life", test_cookie_life},
		{"clock jumps, foreign cookies", test_cookie_clock},
		{"no guessable secret", test_no_guessable_secret},
		{"unsound and malformed messages", test_unsound},
		{"length rule", test_length_rule},
		{"FORGET and tags", test_forget_and_tags},
		{"deadline", test_deadline},
		{"order of the rules", test_order},
		{"burst", test_burst},
		{"rotation while others check", test_rotation_while_checking},
	};
	return wr_test_run("admit", tests, WR_ARRAY_LEN(tests));
}
