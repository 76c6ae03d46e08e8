/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/model: the encoder equals a plain form of docs/model.md bit for bit at every level and
 * engine, for every burst, and a forward pass in doubles closely.
 */
#include "plain_encoder.h"
#include "wr_model.h"
#include "wr_test.h"
#include "wr_test_bundle.h"

#include <unistd.h>

enum { MAX_SEQS = 24, MAX_LENGTH = 160, MAX_TOKENS = MAX_SEQS * MAX_LENGTH };

/* Shapes: the reference, one block, deep and narrow, grouped heads, wide heads, odd windows; with
 * age in time; with kept projections: all, one, of some blocks, beside age in time; the last with
 * keys by age: alone, wide, of one click, beside all else. */
static const struct wr_bundle_model shapes[] = {
	{300, 64, 2, 2, 2, 32, 50, 128, 20, 1e-6f, 1, 0, {0}},
	{100, 16, 1, 1, 1, 16, 7, 16, 20, 1e-6f, 1, 0, {0}},
	{50, 48, 5, 4, 2, 16, 9, 80, 10, 1e-5f, 1, 0, {0}},
	{200, 64, 3, 4, 1, 16, 33, 112, 20, 1e-6f, 1, 0, {0}},
	{70, 128, 2, 2, 1, 64, 16, 64, 20, 1e-6f, 1, 0, {0}},
	{40, 256, 1, 2, 2, 128, 1, 1024, 20, 1e-6f, 1, 0, {0}},
	{60, 32, 2, 1, 1, 32, 150, 48, 20, 1e-6f, 1, 0, {0}},
	{300, 64, 2, 2, 2, 32, 50, 128, 20, 1e-6f, 1, 64, {0}},
	{50, 48, 3, 4, 2, 16, 9, 80, 10, 1e-5f, 1, 20, {0}},
	{60, 32, 1, 1, 1, 32, 150, 48, 20, 1e-6f, 1, 64, {0}},
	{300, 64, 2, 2, 2, 32, 50, 128, 20, 1e-6f, 1, 0, {3, 3, 3, 3}, 0, {0}},
	{300, 64, 2, 2, 2, 32, 50, 128, 20, 1e-6f, 1, 0, {0, 0, 0, 2}, 0, {0}},
	{50, 48, 5, 4, 2, 16, 9, 80, 10, 1e-5f, 1, 0, {5, 8, 16, 3}, 0, {0}},
	{40, 256, 1, 2, 2, 128, 1, 1024, 20, 1e-6f, 1, 0, {1, 1, 1, 1}, 0, {0}},
	{50, 48, 3, 4, 2, 16, 9, 80, 10, 1e-5f, 1, 20, {4, 0, 1, 7}, 0, {0}},
	{300, 64, 2, 2, 2, 32, 50, 128, 20, 1e-6f, 1, 0, {0}, 1, {0}},
	{60, 32, 2, 1, 1, 32, 150, 48, 20, 1e-6f, 1, 0, {0}, 1, {0}},
	{40, 256, 1, 2, 2, 128, 1, 1024, 20, 1e-6f, 1, 0, {0}, 1, {0}},
	{50, 48, 3, 4, 2, 16, 9, 80, 10, 1e-5f, 1, 20, {4, 0, 1, 7}, 1, {0}},
};

struct setup {
	struct wr_bundle *bundle;
	struct wr_model *model;
	struct wr_encoder *encoder;
};

static struct wr_bundle *bundle_new(const struct wr_bundle_model *shape, uint64_t seed)
{
	char path[64];
	struct wr_bundle *b = NULL;
	struct wr_errmsg msg = {""};
	snprintf(path, sizeof(path), "/tmp/wr_test_model.%d", getpid());
	wr_test_bundle_write(path, shape, seed);
	if (wr_bundle_open(&b, path, &msg)) {
		fprintf(stderr, "%s\n", msg.text);
		abort();
	}
	unlink(path);
	return b;
}

static struct setup setup_new(struct wr_bundle *b, enum wr_isa isa, enum wr_gemm_engine gemm)
{
	struct setup s = {.bundle = b};
	struct wr_errmsg msg = {""};
	if (wr_model_new(&s.model, b, isa, gemm, NULL, &msg) ||
		wr_encoder_new(&s.encoder, s.model, MAX_SEQS, MAX_TOKENS, NULL, &msg)) {
		fprintf(stderr, "%s\n", msg.text);
		abort();
	}
	return s;
}

static void setup_free(struct setup *s)
{
	wr_encoder_free(s->encoder);
	wr_model_free(s->model);
}

struct burst {
	unsigned int n;
	uint32_t off[MAX_SEQS + 1];
	uint32_t rows[MAX_TOKENS];
	int64_t times[MAX_TOKENS], asked[MAX_SEQS];
};

/* Of a token or a request: from 1996 to 2065, in clusters, now and then unknown. */
static int64_t random_time(struct wr_rng *r)
{
	int64_t base = wr_rng_below(r, 3) ? 881250949000 : 1600000000000;
	return wr_rng_below(r, 20) ? base + (int64_t)(wr_rng_u64(r) >> (23 + wr_rng_below(r, 40)))
				   : 0;
}

static void burst_random(struct burst *b, const struct wr_bundle_model *s, struct wr_rng *r)
{
	b->n = 1 + wr_rng_below(r, MAX_SEQS);
	b->off[0] = 0;
	for (unsigned int i = 0; i < b->n; i++) {
		uint32_t longest = wr_rng_below(r, 3) ? 60 : MAX_LENGTH;
		b->off[i + 1] = b->off[i] + wr_rng_below(r, longest + 1);
		b->asked[i] = random_time(r);
		for (uint32_t t = b->off[i]; t < b->off[i + 1]; t++) {
			b->rows[t] = wr_rng_below(r, s->n_items);
			b->times[t] = random_time(r);
		}
	}
}

/* The plain form's vectors of a burst. */
struct plain_users {
	int8_t q[MAX_SEQS][256];
	float scale[MAX_SEQS];
};

static void plain_users(
	const struct wr_bundle *bundle, const struct burst *b, struct plain_users *u)
{
	memset(u, 0, sizeof(*u));
	for (unsigned int i = 0; i < b->n; i++)
		if (b->off[i + 1] > b->off[i])
			plain_encode(bundle, b->rows + b->off[i], b->times + b->off[i], b->asked[i],
				b->off[i + 1] - b->off[i], u->q[i], &u->scale[i]);
}

/* Whether the encoder's vectors of a burst are these. */
static bool burst_equals(
	const struct setup *s, const struct burst *b, const struct plain_users *plain)
{
	struct wr_encoder_batch batch = {.n_seqs = b->n,
		.seq_off = b->off,
		.rows = b->rows,
		.times = b->times,
		.asked = b->asked};
	struct wr_user_vectors u = wr_encoder_cold(s->encoder, &batch);
	size_t d = wr_bundle_model(s->bundle)->d;
	bool ok = (uintptr_t)u.q % 64 == 0;
	for (unsigned int i = 0; i < b->n; i++)
		ok = ok && memcmp(plain->q[i], u.q + i * d, d) == 0 &&
		     memcmp(&plain->scale[i], &u.scale[i], sizeof(u.scale[i])) == 0;
	return ok;
}

/* Bursts and their vectors are made once, for all levels: most of the test's time. */
static void check_level(enum wr_isa isa, enum wr_gemm_engine gemm)
{
	enum { ROUNDS = 4 };
	static struct burst b[WR_ARRAY_LEN(shapes)][ROUNDS];
	static struct plain_users plain[WR_ARRAY_LEN(shapes)][ROUNDS];
	struct wr_rng r;
	wr_rng_init(&r, 5, 5);
	for (size_t i = 0; i < WR_ARRAY_LEN(shapes); i++) {
		struct wr_bundle *bundle = bundle_new(&shapes[i], i);
		struct setup s = setup_new(bundle, isa, gemm);
		for (unsigned int round = 0; round < ROUNDS; round++) {
			if (b[i][round].n == 0) {
				burst_random(&b[i][round], &shapes[i], &r);
				plain_users(bundle, &b[i][round], &plain[i][round]);
			}
			CU_ASSERT(burst_equals(&s, &b[i][round], &plain[i][round]));
		}
		setup_free(&s);
		wr_bundle_close(bundle);
	}
}

/* Without times all are unknown: what encode() gives is bucket 0 everywhere. */
static void test_no_times(void)
{
	static struct burst b;
	static struct plain_users plain;
	struct wr_rng r;
	wr_rng_init(&r, 6, 6);
	for (size_t i = 0; i < WR_ARRAY_LEN(shapes); i++) {
		struct wr_bundle *bundle = bundle_new(&shapes[i], i);
		struct setup s = setup_new(bundle, WR_ISA_AUTO, WR_GEMM_AUTO);
		burst_random(&b, &shapes[i], &r);
		memset(b.times, 0, sizeof(b.times));
		memset(b.asked, 0, sizeof(b.asked));
		plain_users(bundle, &b, &plain);
		CU_ASSERT(burst_equals(&s, &b, &plain));
		struct wr_user_vectors u = wr_encoder_encode(s.encoder, b.n, b.off, b.rows);
		float scale[MAX_SEQS];
		memcpy(scale, u.scale, b.n * sizeof(float));
		struct wr_encoder_batch batch = {.n_seqs = b.n,
			.seq_off = b.off,
			.rows = b.rows,
			.times = b.times,
			.asked = b.asked};
		u = wr_encoder_cold(s.encoder, &batch);
		CU_ASSERT_EQUAL(memcmp(scale, u.scale, b.n * sizeof(float)), 0);
		setup_free(&s);
		wr_bundle_close(bundle);
	}
}

static void test_ref(void)
{
	check_level(WR_ISA_REF, WR_GEMM_OWN);
}

static void test_avx2(void)
{
	if (!wr_isa_supported(WR_ISA_AVX2))
		wr_test_skip("this CPU lacks AVX2");
	else
		check_level(WR_ISA_AVX2, WR_GEMM_OWN);
}

static void test_avx512vnni(void)
{
	if (!wr_isa_supported(WR_ISA_AVX512VNNI))
		wr_test_skip("this CPU lacks AVX-512 VNNI");
	else
		check_level(WR_ISA_AVX512VNNI, WR_GEMM_OWN);
}

static void test_amx(void)
{
	if (!wr_isa_supported(WR_ISA_AMX))
		wr_test_skip("this CPU lacks AMX");
	else
		check_level(WR_ISA_AMX, WR_GEMM_OWN);
}

/* AUTO is oneDNN where that is exact. */
static void test_auto(void)
{
	check_level(WR_ISA_AUTO, WR_GEMM_AUTO);
}

/* The table of both engines' times is there exactly when the encoder chooses, and the choice
 * follows from the times. */
static void test_engines(void)
{
	struct wr_bundle *bundle = bundle_new(&shapes[0], 0);
	struct setup s = setup_new(bundle, WR_ISA_AUTO, WR_GEMM_AUTO);
	const struct wr_engine_times *t = wr_encoder_engines(s.encoder);
	CU_ASSERT_EQUAL(t != NULL, wr_model_engine(s.model) == WR_GEMM_AUTO);
	for (unsigned int i = 0; t && i < WR_ENGINE_SHAPES; i++) {
		CU_ASSERT(t[i].n % 16 == 0 && t[i].k % 16 == 0 && t[i].n * t[i].k > 0);
		for (unsigned int j = 0; j < WR_ENGINE_STEPS; j++) {
			double own = t[i].step[j].own_ns, onednn = t[i].step[j].onednn_ns;
			CU_ASSERT(own > 0 && onednn > 0);
			/* times are kept in whole ns */
			CU_ASSERT(t[i].step[j].onednn ? onednn <= 1.05 * own + 2
						      : onednn >= 1.05 * own - 2);
			CU_ASSERT(j == 0 || t[i].step[j].rows > t[i].step[j - 1].rows);
		}
	}
	setup_free(&s);
	s = setup_new(bundle, WR_ISA_AUTO, WR_GEMM_OWN);
	CU_ASSERT_PTR_NULL(wr_encoder_engines(s.encoder));
	setup_free(&s);
	wr_bundle_close(bundle);
}

static void test_onednn(void)
{
	struct wr_bundle *bundle = bundle_new(&shapes[0], 0);
	struct wr_model *m;
	struct wr_errmsg msg;
	int err = wr_model_new(&m, bundle, WR_ISA_AUTO, WR_GEMM_ONEDNN, NULL, &msg);
	wr_bundle_close(bundle);
	if (err) {
		CU_ASSERT_EQUAL(err, WR_ENOTSUP);
		wr_test_skip(msg.text);
		return;
	}
	CU_ASSERT_EQUAL(wr_model_engine(m), WR_GEMM_ONEDNN);
	wr_model_free(m);
	/* The engine does not depend on the level of the other kernels. */
	for (int isa = WR_ISA_REF; isa < WR_ISA_AUTO; isa++)
		if (wr_isa_supported((enum wr_isa)isa))
			check_level((enum wr_isa)isa, WR_GEMM_ONEDNN);
}

/* Only the last blocks·(W-1)+1 clicks matter, and one click more or less inside them does. */
static void test_history(void)
{
	struct wr_bundle *bundle = bundle_new(&shapes[2], 3);
	struct setup s = setup_new(bundle, WR_ISA_AUTO, WR_GEMM_AUTO);
	uint32_t history = wr_bundle_history_events(&shapes[2]), rows[MAX_LENGTH];
	CU_ASSERT_FATAL(history == 41);
	for (uint32_t i = 0; i < MAX_LENGTH; i++)
		rows[i] = (i * 7 + 3) % 50;
	uint32_t off[] = {0, MAX_LENGTH};
	struct wr_user_vectors u = wr_encoder_encode(s.encoder, 1, off, rows);
	int8_t q[48];
	float scale = u.scale[0];
	memcpy(q, u.q, 48);
	rows[MAX_LENGTH - history - 1] ^= 1;
	off[0] = MAX_LENGTH - history - 1;
	u = wr_encoder_encode(s.encoder, 1, off, rows);
	CU_ASSERT(memcmp(q, u.q, 48) == 0 && scale == u.scale[0]);
	off[0] = MAX_LENGTH - history;
	u = wr_encoder_encode(s.encoder, 1, off, rows);
	CU_ASSERT(memcmp(q, u.q, 48) == 0 && scale == u.scale[0]);
	off[0] += 10;
	u = wr_encoder_encode(s.encoder, 1, off, rows);
	CU_ASSERT(memcmp(q, u.q, 48) != 0 || scale != u.scale[0]);
	setup_free(&s);
	wr_bundle_close(bundle);
}

/* Cosines of user vectors of `served` with those of a pass in doubles over `real`. */
static void compare_with_doubles(
	struct wr_bundle *served, const struct wr_bundle *real, double *worst, double *mean_off)
{
	struct setup s = setup_new(served, WR_ISA_AUTO, WR_GEMM_AUTO);
	struct wr_rng r;
	unsigned int n_vectors = 0;
	wr_rng_init(&r, 8, 8);
	*worst = 1;
	*mean_off = 0;
	for (uint32_t n = 1; n <= MAX_LENGTH; n += 1 + n / 4, n_vectors++) {
		uint32_t rows[MAX_LENGTH], off[] = {0, n};
		for (uint32_t i = 0; i < n; i++)
			rows[i] = wr_rng_below(&r, 300);
		struct wr_user_vectors u = wr_encoder_encode(s.encoder, 1, off, rows);
		double want[64], dot = 0, uu = 0, qq = 0;
		double_encode(real, rows, n, want);
		for (int c = 0; c < 64; c++) {
			dot += want[c] * u.q[c];
			uu += want[c] * want[c];
			qq += (double)u.q[c] * u.q[c];
		}
		*worst = fmin(*worst, dot / sqrt(uu * qq));
		*mean_off += 1 - dot / sqrt(uu * qq);
		/* scale · |q| = logit_scale up to rounding of the row: 64 halves of a step in 127.
		 */
		CU_ASSERT(fabs((double)u.scale[0] * sqrt(qq) - 20) < 0.3);
	}
	*mean_off /= n_vectors;
	setup_free(&s);
}

static void test_close_to_doubles(void)
{
	struct wr_bundle *bundle = bundle_new(&shapes[0], 8);
	double worst, mean_off;
	compare_with_doubles(bundle, bundle, &worst, &mean_off);
	printf("(least cosine %.5f) ", worst);
	CU_ASSERT(worst > 0.99);
	wr_bundle_close(bundle);
}

/* A bundle of shape's weights that keeps what `kept` says; shape's second planes stay unused in it
 * otherwise. */
static struct wr_bundle *bundle_keeping(
	const struct wr_bundle_model *shape, const struct wr_bundle_model *kept)
{
	char path[64];
	struct wr_bundle_builder *w;
	struct wr_bundle *b = NULL;
	struct wr_errmsg msg = {""};
	snprintf(path, sizeof(path), "/tmp/wr_test_model.%d", getpid());
	if (wr_bundle_builder_new(&w, &msg))
		abort();
	wr_test_bundle_fill_tensors(w, shape, 8);
	if (wr_bundle_builder_add(w, WR_SEC_MODEL, kept, sizeof(*kept)) ||
		wr_bundle_builder_write(w, path, &msg) || wr_bundle_open(&b, path, &msg)) {
		fprintf(stderr, "%s\n", msg.text);
		abort();
	}
	wr_bundle_builder_free(w);
	unlink(path);
	return b;
}

/* Weights that need both planes: with second planes used everywhere, and in one kind of projection
 * only, user vectors come closer to the pass in doubles than without. */
static void test_kept_is_closer(void)
{
	const struct wr_bundle_model all = shapes[10];
	struct wr_bundle *real = bundle_keeping(&all, &all);
	double worst, none, some;
	CU_ASSERT_FATAL(wr_bundle_n_kept(&all) == 2 * WR_BUNDLE_PROJECTIONS);
	struct wr_bundle *plain = bundle_keeping(&all, &shapes[0]);
	compare_with_doubles(plain, real, &worst, &none);
	wr_bundle_close(plain);
	compare_with_doubles(real, real, &worst, &some);
	printf("(mean of 1 - cosine: none kept %.2g, all %.2g", none, some);
	/* Queries, keys, values, attention weights and the user vector are rounded as before. */
	CU_ASSERT(some < 0.6 * none);
	for (unsigned int p = 0; p < WR_BUNDLE_PROJECTIONS; p++) {
		struct wr_bundle_model one = shapes[0];
		one.kept[p] = all.kept[p];
		struct wr_bundle *b = bundle_keeping(&all, &one);
		compare_with_doubles(b, real, &worst, &some);
		printf(", %s %.2g", wr_bundle_projection_name((enum wr_bundle_projection)p), some);
		CU_ASSERT(some < none);
		wr_bundle_close(b);
	}
	printf(") ");
	wr_bundle_close(real);
}

static void test_names(void)
{
	enum wr_isa isa;
	for (int i = WR_ISA_REF; i <= WR_ISA_AUTO; i++) {
		CU_ASSERT_EQUAL(wr_isa_parse(wr_isa_name((enum wr_isa)i), &isa), WR_OK);
		CU_ASSERT_EQUAL((int)isa, i);
	}
	CU_ASSERT_EQUAL(wr_isa_parse("sse", &isa), WR_EINVAL);
	CU_ASSERT(wr_isa_supported(WR_ISA_REF) && wr_isa_supported(wr_isa_best()));
}

static void *counting_alloc(void *ctx, size_t bytes, size_t align)
{
	*(size_t *)ctx += bytes;
	void *p = aligned_alloc(align, WR_ALIGN_UP(bytes, align));
	return p ? memset(p, 0, bytes) : NULL;
}

static void counting_free(void *ctx, void *p)
{
	(void)ctx;
	free(p);
}

static void *failing_alloc(void *ctx, size_t bytes, size_t align)
{
	(void)ctx, (void)bytes, (void)align;
	return NULL;
}

/* Planned and taken bytes, and the work of 50 tokens, of a shape. */
static void check_plan(const struct wr_bundle_model *shape, uint64_t work)
{
	size_t used = 0;
	struct wr_allocator count = {counting_alloc, counting_free, &used};
	struct wr_allocator none = {failing_alloc, counting_free, NULL};
	struct wr_bundle *bundle = bundle_new(shape, 1);
	struct wr_model *m;
	struct wr_encoder *e;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL(wr_model_new(&m, bundle, WR_ISA_AUTO, WR_GEMM_OWN, &none, &msg), WR_ENOMEM);
	CU_ASSERT_PTR_NULL(m);
	CU_ASSERT_FATAL(wr_model_new(&m, bundle, WR_ISA_AUTO, WR_GEMM_OWN, &count, &msg) == WR_OK);
	CU_ASSERT_EQUAL(used, wr_model_bytes_needed(shape));
	CU_ASSERT_EQUAL(used, wr_model_bytes(m));
	used = 0;
	CU_ASSERT_EQUAL(wr_encoder_new(&e, m, 4, 100, &none, &msg), WR_ENOMEM);
	CU_ASSERT_EQUAL(wr_encoder_new(&e, m, 0, 100, &count, &msg), WR_EINVAL);
	CU_ASSERT_FATAL(wr_encoder_new(&e, m, 4, 100, &count, &msg) == WR_OK);
	CU_ASSERT_EQUAL(used, wr_encoder_bytes_needed(shape, 4, 100));
	uint32_t off[] = {0, 50}, rows[50] = {0};
	wr_encoder_encode(e, 1, off, rows);
	uint64_t onednn, own;
	wr_encoder_macs(e, &onednn, &own);
	CU_ASSERT_EQUAL(onednn + own, work);
	wr_encoder_free(e);
	wr_model_free(m);
	wr_bundle_close(bundle);
}

static void test_memory_plan(void)
{
	struct wr_bundle_model kept = shapes[0];
	/* 50 tokens: out, up, down, their heads being looked up; then keys and values of all, the
	 * rest of one. */
	uint64_t qkv[2] = {0, 50 * 64 * 128 + 64 * 64}, down[2] = {50 * 8192, 8192};
	uint64_t work = qkv[0] + 50 * (4096 + 8192) + down[0] + qkv[1] + 4096 + 8192 + down[1];
	check_plan(&kept, work);
	/* Three products for one, and a second plane with sums and scales of its own. */
	size_t before = wr_model_bytes_needed(&kept);
	kept.kept[WR_BUNDLE_DOWN] = 2;
	CU_ASSERT_EQUAL(wr_model_bytes_needed(&kept), before + 64 * 128 + 2 * 64 * 4);
	check_plan(&kept, work + 2 * down[1]);
	kept.kept[WR_BUNDLE_QKV] = 3;
	CU_ASSERT_EQUAL(wr_model_bytes_needed(&kept),
		before + 64 * 128 + 2 * 64 * 4 + 2 * (64 * 192 + 2 * 192 * 4));
	check_plan(&kept, work + 2 * (down[1] + qkv[0] + qkv[1]));
	/* Keys by age of two blocks and heads: 50 ages in 64 columns, for 50 queries and for one.
	 */
	struct wr_bundle_model aged = shapes[0];
	aged.age_keys = 1;
	CU_ASSERT_EQUAL(wr_model_bytes_needed(&aged),
		before + 2 * (WR_CACHE_LINE + 2 * (64 * 32 + 2 * 64 * 4)));
	check_plan(&aged, work + 51 * 2 * 64 * 32);
}

int main(void)
{
	static const struct wr_test tests[] = {{"names of levels", test_names},
		{"ref equals the plain form", test_ref}, {"avx2 equals the plain form", test_avx2},
		{"avx512vnni equals the plain form", test_avx512vnni},
		{"amx equals the plain form", test_amx}, {"auto equals the plain form", test_auto},
		{"onednn equals the plain form", test_onednn}, {"unknown times", test_no_times},
		{"both engines are timed", test_engines}, {"history that matters", test_history},
		{"close to doubles", test_close_to_doubles},
		{"kept projections are closer", test_kept_is_closer},
		{"memory plan and work", test_memory_plan}};
	return wr_test_run("model", tests, WR_ARRAY_LEN(tests));
}
