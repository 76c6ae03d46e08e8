/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/model's rings: over long random histories, with clicks in random portions, bursts of random
 * users and rebuilt sessions in between, the warm vector is the cold one of the last
 * wr_bundle_history_events clicks, bit for bit, at every level and engine.
 */
#include "wr_model.h"
#include "wr_test.h"
#include "wr_test_bundle.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { USERS = 6, LONGEST = 700, MAX_TOKENS = USERS * 600 };

/* The reference; one block; deep; grouped heads; windows at the edges of blocks of 16. */
static const struct wr_bundle_model shapes[] = {
	{300, 64, 2, 2, 2, 32, 50, 128, 20, 1e-6f, 1, 0, {0}},
	{100, 16, 1, 1, 1, 16, 7, 16, 20, 1e-6f, 1, 0, {0}},
	{50, 48, 3, 4, 2, 16, 9, 80, 10, 1e-5f, 1, 0, {0}},
	{200, 64, 3, 4, 1, 16, 33, 112, 20, 1e-6f, 1, 0, {0}},
	{70, 128, 2, 2, 1, 64, 16, 64, 20, 1e-6f, 1, 0, {0}},
	{70, 32, 2, 2, 2, 16, 17, 64, 20, 1e-6f, 1, 0, {0}},
	{40, 64, 2, 2, 2, 32, 1, 64, 20, 1e-6f, 1, 0, {0}},
	{40, 32, 1, 1, 1, 32, 2, 64, 20, 1e-6f, 1, 0, {0}},
	{60, 32, 2, 1, 1, 32, 150, 48, 20, 1e-6f, 1, 0, {0}},
	/* The same kinds with age in time. */
	{300, 64, 2, 2, 2, 32, 50, 128, 20, 1e-6f, 1, 64, {0}},
	{100, 16, 1, 1, 1, 16, 7, 16, 20, 1e-6f, 1, 64, {0}},
	{50, 48, 3, 4, 2, 16, 9, 80, 10, 1e-5f, 1, 20, {0}},
	{200, 64, 3, 4, 1, 16, 33, 112, 20, 1e-6f, 1, 64, {0}},
	{40, 64, 2, 2, 2, 32, 1, 64, 20, 1e-6f, 1, 64, {0}},
	{60, 32, 2, 1, 1, 32, 150, 48, 20, 1e-6f, 1, 2, {0}},
	/* Kept projections. */
	{300, 64, 2, 2, 2, 32, 50, 128, 20, 1e-6f, 1, 0, {3, 3, 3, 3}, 0, {0}},
	{50, 48, 3, 4, 2, 16, 9, 80, 10, 1e-5f, 1, 20, {2, 1, 4, 6}, 0, {0}},
	/* Keys by age. */
	{300, 64, 2, 2, 2, 32, 50, 128, 20, 1e-6f, 1, 0, {0}, 1, {0}},
	{200, 64, 3, 4, 1, 16, 33, 112, 20, 1e-6f, 1, 0, {0}, 1, {0}},
	{40, 64, 2, 2, 2, 32, 1, 64, 20, 1e-6f, 1, 0, {0}, 1, {0}},
	{50, 48, 3, 4, 2, 16, 9, 80, 10, 1e-5f, 1, 20, {2, 1, 4, 6}, 1, {0}},
	/* Too many items for a table of the first block's heads. */
	{39000, 64, 2, 2, 2, 32, 50, 128, 20, 1e-6f, 1, 0, {0}},
	{53000, 48, 3, 4, 2, 16, 9, 80, 10, 1e-5f, 1, 20, {2, 1, 4, 6}, 1, {0}},
};

struct user {
	uint32_t click[LONGEST];
	int64_t time[LONGEST];
	uint32_t n, n_pending;
	bool has_ring;
	void *ring;
};

struct portion {
	uint32_t off[USERS + 1], rows[MAX_TOKENS];
	void *rings[USERS];
	uint8_t out[USERS];
	int64_t times[MAX_TOKENS], asked[USERS];
	unsigned int n;
};

static void add(struct portion *p, struct user *u, uint32_t n, int64_t asked, uint8_t out)
{
	memcpy(p->times + p->off[p->n], u->time + u->n - n, n * sizeof(int64_t));
	p->asked[p->n] = asked;
	p->rings[p->n] = u->ring;
	p->out[p->n] = out;
	memcpy(p->rows + p->off[p->n], u->click + u->n - n, n * sizeof(uint32_t));
	p->off[p->n + 1] = p->off[p->n] + n;
	p->n++;
	u->n_pending = 0;
	u->has_ring = true;
}

static struct wr_encoder_batch batch_of(const struct portion *p)
{
	return (struct wr_encoder_batch){
		p->n, p->off, p->rows, p->rings, p->out, p->times, p->asked};
}

/* From nothing to years, in powers, so that every bucket occurs. */
static int64_t gap(struct wr_rng *r)
{
	return (int64_t)(wr_rng_u64(r) >> (26 + wr_rng_below(r, 38)));
}

static void click(struct user *u, const struct wr_bundle_model *s, struct wr_rng *r)
{
	uint32_t most = wr_rng_below(r, 4) ? 3 : wr_ring_max_new(s) + 3;
	for (uint32_t n = wr_rng_below(r, most + 1); n > 0 && u->n < LONGEST; n--) {
		u->time[u->n] = (u->n ? u->time[u->n - 1] : 881250949000) + gap(r);
		if (wr_rng_below(r, 9) == 0) /* unknown, or not in order */
			u->time[u->n] = wr_rng_below(r, 2) ? 0 : u->time[u->n] / 2;
		u->click[u->n++] = wr_rng_below(r, s->n_items);
		u->n_pending++;
	}
}

/* One burst: some users click, some ask; whether all vectors are those of a cold encoder. */
static bool burst(struct user *users, struct wr_encoder *e, struct wr_encoder *plain,
	const struct wr_bundle_model *s, struct wr_rng *r, unsigned int *n_warm)
{
	static struct portion cold, warm;
	uint32_t history = wr_bundle_history_events(s), off[2] = {0};
	int64_t when[USERS];
	bool asked[USERS] = {false}, ok = true;
	cold.n = warm.n = 0;
	cold.off[0] = warm.off[0] = 0;
	for (uint8_t i = 0; i < USERS; i++) {
		struct user *u = &users[i];
		click(u, s, r);
		asked[i] = u->n && wr_rng_below(r, 3);
		when[i] = wr_rng_below(r, 9) ? u->time[WR_MAX(u->n, 1u) - 1] + gap(r) : 0;
		if (!asked[i])
			continue;
		if (wr_rng_below(r, 40) == 0)
			u->has_ring = false;
		if (u->has_ring && u->n_pending <= wr_ring_max_new(s))
			add(&warm, u, u->n_pending, when[i], i);
		else
			add(&cold, u, WR_MIN(u->n, history), when[i], i);
	}
	*n_warm += warm.n;
	struct wr_encoder_batch a = batch_of(&cold), b = batch_of(&warm);
	struct wr_user_vectors got = wr_encoder_cold(e, &a);
	got = wr_encoder_warm(e, &b);
	for (unsigned int i = 0; i < USERS; i++) {
		if (!asked[i])
			continue;
		off[1] = WR_MIN(users[i].n, history);
		struct wr_encoder_batch whole = {.n_seqs = 1,
			.seq_off = off,
			.rows = users[i].click + users[i].n - off[1],
			.times = users[i].time + users[i].n - off[1],
			.asked = &when[i]};
		struct wr_user_vectors want = wr_encoder_cold(plain, &whole);
		ok = ok && memcmp(want.q, got.q + i * s->d, s->d) == 0 &&
		     memcmp(want.scale, got.scale + i, sizeof(float)) == 0;
	}
	return ok;
}

static void check_shape(const struct wr_bundle_model *s, enum wr_isa isa, enum wr_gemm_engine gemm)
{
	static struct user users[USERS];
	char path[64];
	struct wr_bundle *bundle = NULL;
	struct wr_model *m = NULL;
	struct wr_encoder *e = NULL, *plain = NULL;
	struct wr_errmsg msg = {""};
	struct wr_rng r;
	unsigned int n_warm = 0, wrong = 0;
	wr_rng_init(&r, s->window, (uint64_t)isa);
	snprintf(path, sizeof(path), "/tmp/wr_test_warm.%d", getpid());
	wr_test_bundle_write(path, s, 7);
	if (wr_bundle_open(&bundle, path, &msg) ||
		wr_model_new(&m, bundle, isa, gemm, NULL, &msg) ||
		wr_encoder_new(&e, m, USERS, MAX_TOKENS, NULL, &msg) ||
		wr_encoder_new(&plain, m, 1, MAX_TOKENS, NULL, &msg)) {
		fprintf(stderr, "%s\n", msg.text);
		abort();
	}
	unlink(path);
	for (unsigned int i = 0; i < USERS; i++) {
		size_t bytes = WR_ALIGN_UP(wr_ring_bytes(s), (size_t)WR_CACHE_LINE);
		users[i] = (struct user){.ring = aligned_alloc(WR_CACHE_LINE, bytes)};
		if (!users[i].ring)
			abort();
		memset(users[i].ring, 0xff, bytes); /* whatever was there does not matter */
	}
	for (unsigned int step = 0; step < 160; step++)
		wrong += !burst(users, e, plain, s, &r, &n_warm);
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(n_warm > 200);
	for (unsigned int i = 0; i < USERS; i++)
		free(users[i].ring);
	wr_encoder_free(plain);
	wr_encoder_free(e);
	wr_model_free(m);
	wr_bundle_close(bundle);
}

static void check_level(enum wr_isa isa, enum wr_gemm_engine gemm)
{
	if (!wr_isa_supported(isa)) {
		wr_test_skip("this CPU lacks the level");
		return;
	}
	for (size_t i = 0; i < WR_ARRAY_LEN(shapes); i++)
		check_shape(&shapes[i], isa, gemm);
}

static void test_ref(void)
{
	check_level(WR_ISA_REF, WR_GEMM_OWN);
}

static void test_avx2(void)
{
	check_level(WR_ISA_AVX2, WR_GEMM_OWN);
}

static void test_avx512vnni(void)
{
	check_level(WR_ISA_AVX512VNNI, WR_GEMM_OWN);
}

static void test_amx(void)
{
	check_level(WR_ISA_AMX, WR_GEMM_OWN);
}

/* oneDNN where that is exact. */
static void test_auto(void)
{
	check_level(WR_ISA_AUTO, WR_GEMM_AUTO);
}

static void test_sizes(void)
{
	CU_ASSERT_EQUAL(wr_ring_bytes(&shapes[0]), 64 + 64 + 256 + 2 * (52 * (2 * 32 + 8) + 32));
	CU_ASSERT_EQUAL(wr_ring_max_new(&shapes[0]), 50);
	CU_ASSERT_EQUAL(wr_ring_max_new(&shapes[6]), 1); /* one event of history */
	CU_ASSERT_EQUAL(wr_ring_bytes(&shapes[9]), wr_ring_bytes(&shapes[0]) + 448 + 256);
	/* The first block's heads by item: with a block behind it, and few items. */
	CU_ASSERT(wr_model_heads_by_item(&shapes[0]));
	CU_ASSERT(!wr_model_heads_by_item(&shapes[1]));
	size_t n = WR_ARRAY_LEN(shapes);
	CU_ASSERT(!wr_model_heads_by_item(&shapes[n - 1]));
	CU_ASSERT_EQUAL(wr_ring_bytes(&shapes[n - 2]), 64 + 64 + 2 * 2 * (52 * (2 * 32 + 8) + 32));
	for (size_t i = 0; i < n; i++)
		CU_ASSERT_EQUAL(wr_ring_bytes(&shapes[i]) % WR_CACHE_LINE, 0);
}

int main(void)
{
	static const struct wr_test tests[] = {{"sizes", test_sizes},
		{"warm equals cold: ref", test_ref}, {"warm equals cold: avx2", test_avx2},
		{"warm equals cold: avx512vnni", test_avx512vnni},
		{"warm equals cold: amx", test_amx}, {"warm equals cold: auto", test_auto}};
	return wr_test_run("warm", tests, WR_ARRAY_LEN(tests));
}
