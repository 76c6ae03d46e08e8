/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/rank against a brute-force sort of the whole catalogue: random requests, ties, everything
 * seen, lifts, popularity. */
#include "wr_kernels.h"
#include "wr_rank.h"
#include "wr_test.h"
#include "wr_test_bundle.h"

#include <unistd.h>

enum { MAX_N = 70, MAX_ITEMS = 3000, MAX_LIFTS = 40, MAX_EXCLUDE = 64 };

struct catalogue {
	struct wr_bundle *bundle;
	struct wr_model *model;
	struct wr_ranker *ranker;
	uint32_t n, d;
};

/* How much of the catalogue may be recommended, and whether many scores and counts are equal. */
struct kind {
	uint32_t n_items, d;
	bool ties;
	unsigned int hidden_percent;
};

static void add(struct wr_bundle_builder *w, const char *name, const void *data, size_t size)
{
	if (wr_bundle_builder_add(w, name, data, size))
		abort();
}

static void add_items(struct wr_bundle_builder *w, const struct kind *k, struct wr_rng *r)
{
	uint32_t n = k->n_items;
	static int8_t q[MAX_ITEMS * 64];
	static float scale[MAX_ITEMS], in[MAX_ITEMS];
	static uint8_t flags[MAX_ITEMS];
	static uint32_t popularity[MAX_ITEMS];
	static uint16_t category[MAX_ITEMS];
	static const char *names[MAX_ITEMS];
	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t c = 0; c < k->d; c++)
			q[i * k->d + c] = k->ties ? (c == i % 3) * 100
						  : (int8_t)((int)wr_rng_below(r, 255) - 127);
		scale[i] = k->ties ? 0.01f : (float)(0.001 + 0.002 * wr_rng_double(r));
		in[i] = 0.01f;
		flags[i] = wr_rng_below(r, 100) >= k->hidden_percent;
		popularity[i] = wr_rng_below(r, k->ties ? 3 : 100000);
	}
	const char *categories[] = {""};
	add(w, WR_SEC_ITEM_Q, q, n * k->d);
	add(w, WR_SEC_ITEM_SCALE, scale, n * sizeof(*scale));
	add(w, WR_SEC_ITEM_IN, in, n * sizeof(*in));
	add(w, WR_SEC_ITEM_FLAGS, flags, n);
	add(w, WR_SEC_POPULARITY, popularity, n * sizeof(*popularity));
	add(w, WR_SEC_CATEGORY, category, n * sizeof(*category));
	if (wr_bundle_builder_add_strings(w, WR_SEC_CAT_NAMES, categories, 1) ||
		wr_bundle_builder_add_strings(w, WR_SEC_ITEM_NAMES, names, n) ||
		wr_bundle_builder_add_strings(w, WR_SEC_TITLES, names, n))
		abort();
}

static struct catalogue catalogue_new(const struct kind *k, enum wr_isa isa)
{
	struct wr_bundle_model s = {k->n_items, k->d, 1, 1, 1, 16, 4, 16, 20, 1e-6f, 1, 0, {0}};
	struct catalogue c = {.n = k->n_items, .d = k->d};
	struct wr_bundle_builder *w;
	struct wr_errmsg msg = {""};
	struct wr_rng r;
	char path[64];
	snprintf(path, sizeof(path), "/tmp/wr_test_rank.%d", getpid());
	wr_rng_init(&r, k->n_items, k->ties);
	if (wr_bundle_builder_new(&w, &msg))
		abort();
	add_items(w, k, &r);
	wr_test_bundle_f32(w, WR_SEC_FINAL_GAIN, k->d, 0.5, 1.5, &r);
	wr_test_bundle_block(w, &s, 0, &r);
	add(w, WR_SEC_MODEL, &s, sizeof(s));
	if (wr_bundle_builder_write(w, path, &msg) || wr_bundle_open(&c.bundle, path, &msg) ||
		wr_model_new(&c.model, c.bundle, isa, WR_GEMM_OWN, NULL, &msg) ||
		wr_ranker_new(&c.ranker, c.model, c.bundle, MAX_N, NULL, &msg)) {
		fprintf(stderr, "%s\n", msg.text);
		abort();
	}
	wr_bundle_builder_free(w);
	unlink(path);
	return c;
}

static void catalogue_free(struct catalogue *c)
{
	wr_ranker_free(c->ranker);
	wr_model_free(c->model);
	wr_bundle_close(c->bundle);
}

/* ---- requests ---- */

struct request {
	struct wr_rank_query q;
	uint64_t seen[MAX_ITEMS / 64 + 1];
	uint32_t exclude[MAX_EXCLUDE];
	struct wr_rank_lift lifts[MAX_LIFTS];
};

static struct request requests[MAX_N];
static int8_t user_q[MAX_N * 64] __attribute__((aligned(64)));
static float user_scale[MAX_N];

static void request_random(struct request *x, const struct catalogue *c, struct wr_rng *r)
{
	static const unsigned int seen_percent[] = {0, 1, 10, 50, 95, 100};
	unsigned int percent = seen_percent[wr_rng_below(r, WR_ARRAY_LEN(seen_percent))];
	memset(x->seen, 0, sizeof(x->seen));
	for (uint32_t i = 0; i < c->n; i++)
		if (wr_rng_below(r, 100) < percent)
			x->seen[i / 64] |= (uint64_t)1 << i % 64;
	x->q = (struct wr_rank_query){.seen = percent || wr_rng_below(r, 2) ? x->seen : NULL,
		.exclude = x->exclude,
		.lifts = x->lifts,
		.k = (uint8_t)(1 + wr_rng_below(r, wr_rng_below(r, 2) ? 12 : WR_RANK_MAX_K)),
		.popular = wr_rng_below(r, 4) == 0};
	x->q.n_exclude = (uint16_t)(wr_rng_below(r, 2) ? wr_rng_below(r, MAX_EXCLUDE + 1) : 0);
	for (unsigned int i = 0; i < x->q.n_exclude; i++)
		x->exclude[i] = wr_rng_below(r, 20) ? wr_rng_below(r, c->n + 10) : UINT32_MAX;
	x->q.n_lifts = (uint16_t)(wr_rng_below(r, 2) ? wr_rng_below(r, MAX_LIFTS + 1) : 0);
	/* Few distinct rows, so that they repeat; weights 0 and equal ones, too. */
	uint32_t span = wr_rng_below(r, 2) ? 12 : c->n;
	for (unsigned int i = 0; i < x->q.n_lifts; i++)
		x->lifts[i] = (struct wr_rank_lift){wr_rng_below(r, WR_MIN(span, c->n)),
			wr_rng_below(r, 3) ? (float)wr_rng_below(r, 5) * 0.7f : 30.0f};
}

/* ---- brute force ---- */

static int compare(const void *a, const void *b)
{
	const struct wr_rank_item *x = a, *y = b;
	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->item < y->item ? -1 : 1;
}

static float plain_score(
	const struct catalogue *c, const struct wr_rank_query *q, unsigned int user, uint32_t row)
{
	const int8_t *items = wr_bundle_section(c->bundle, WR_SEC_ITEM_Q, NULL);
	const float *scale = wr_bundle_section(c->bundle, WR_SEC_ITEM_SCALE, NULL);
	const uint32_t *popularity = wr_bundle_section(c->bundle, WR_SEC_POPULARITY, NULL);
	if (!q->popular)
		return ((float)wr_dot_s8_ref(user_q + user * c->d, items + row * c->d, c->d) *
			       scale[row]) *
		       user_scale[user];
	uint64_t total = 0;
	for (uint32_t i = 0; i < c->n; i++)
		total += popularity[i];
	return (float)((double)popularity[row] / (double)total);
}

/* The whole answer by sorting everything; its length. */
static unsigned int plain_rank(
	const struct catalogue *c, unsigned int user, struct wr_rank_item *out)
{
	const struct wr_rank_query *q = &requests[user].q;
	const uint8_t *flags = wr_bundle_section(c->bundle, WR_SEC_ITEM_FLAGS, NULL);
	unsigned int n = 0;
	for (uint32_t row = 0; row < c->n; row++) {
		bool ok = flags[row] && !(q->seen && q->seen[row / 64] >> row % 64 & 1);
		for (unsigned int i = 0; i < q->n_exclude; i++)
			ok = ok && q->exclude[i] != row + 1;
		if (!ok)
			continue;
		float lift = 0;
		for (unsigned int i = 0; i < q->n_lifts; i++)
			if (q->lifts[i].row == row)
				lift += q->lifts[i].weight;
		out[n++] = (struct wr_rank_item){.item = row + 1,
			.score = plain_score(c, q, user, row) + lift,
			.reason = (uint16_t)(lift > 0     ? 2
					     : q->popular ? 3
							  : 1)};
	}
	qsort(out, n, sizeof(*out), compare);
	return WR_MIN(n, (unsigned int)q->k);
}

static bool answer_is_plain(const struct catalogue *c, unsigned int user,
	const struct wr_rank_item *items, unsigned int n)
{
	static struct wr_rank_item want[MAX_ITEMS];
	unsigned int n_want = plain_rank(c, user, want);
	bool ok = n == n_want;
	for (unsigned int i = 0; ok && i < n; i++)
		ok = items[i].item == want[i].item && items[i].score == want[i].score &&
		     items[i].reason == want[i].reason;
	return ok;
}

static void check(const struct kind *k, enum wr_isa isa, unsigned int rounds)
{
	static struct wr_rank_item items[MAX_N * WR_RANK_MAX_K];
	struct wr_rank_query queries[MAX_N];
	uint8_t n_items[MAX_N];
	struct catalogue c = catalogue_new(k, isa);
	struct wr_rng r;
	wr_rng_init(&r, k->n_items, (uint64_t)isa + 10);
	for (unsigned int round = 0; round < rounds; round++) {
		unsigned int n = 1 + wr_rng_below(&r, MAX_N);
		for (unsigned int i = 0; i < n; i++) {
			request_random(&requests[i], &c, &r);
			queries[i] = requests[i].q;
			/* One user in eight without a known click. */
			bool empty = wr_rng_below(&r, 8) == 0;
			for (uint32_t x = 0; x < c.d; x++)
				user_q[i * c.d + x] =
					(int8_t)(empty ? 0 : (int)wr_rng_below(&r, 255) - 127);
			user_scale[i] = empty ? 0 : (float)wr_rng_double(&r) * 0.02f;
		}
		struct wr_user_vectors users = {user_q, user_scale};
		wr_ranker_rank(c.ranker, n, &users, queries, items, n_items);
		for (unsigned int i = 0; i < n; i++)
			CU_ASSERT(answer_is_plain(&c, i, items + i * WR_RANK_MAX_K, n_items[i]));
	}
	catalogue_free(&c);
}

static void test_random(void)
{
	static const struct kind kinds[] = {{1, 16, false, 0}, {15, 16, false, 30},
		{16, 32, true, 0}, {127, 64, false, 0}, {129, 64, true, 20}, {1000, 64, false, 10},
		{2999, 48, true, 50}, {200, 64, false, 100}};
	for (int isa = WR_ISA_REF; isa < WR_ISA_AUTO; isa++) {
		if (!wr_isa_supported((enum wr_isa)isa)) {
			wr_test_skip(wr_isa_name((enum wr_isa)isa));
			continue;
		}
		for (size_t i = 0; i < WR_ARRAY_LEN(kinds); i++)
			check(&kinds[i], (enum wr_isa)isa, kinds[i].n_items < 200 ? 20 : 4);
	}
}

static void test_limits(void)
{
	struct kind k = {20, 16, false, 0};
	struct catalogue c = catalogue_new(&k, WR_ISA_AUTO);
	struct wr_ranker *r;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL(wr_ranker_new(&r, c.model, c.bundle, 0, NULL, &msg), WR_EINVAL);
	CU_ASSERT_EQUAL(wr_ranker_new(&r, c.model, c.bundle, 257, NULL, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NULL(r);
	struct wr_user_vectors users = {user_q, user_scale};
	wr_ranker_rank(c.ranker, 0, &users, NULL, NULL, NULL);
	catalogue_free(&c);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"random requests against a sort", test_random}, {"limits", test_limits}};
	return wr_test_run("rank", tests, WR_ARRAY_LEN(tests));
}
