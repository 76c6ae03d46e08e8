/* SPDX-License-Identifier: BSD-3-Clause */
/* The token rule, the split rule, ranks and means, and data sets that are refused. */
#include "learn_test.h"

#include <math.h>

static const char items[] =
	"#id\tname\tcategory\ttitle\n1\ta\tnews\tA\n2\tb\t\tB\n3\tc\tnews\t\n4\td\thelp\tD\n";

static int load(
	const char *item_lines, const char *log, struct wr_dataset **ds, struct wr_errmsg *msg)
{
	char make[128];
	snprintf(make, sizeof(make), "mkdir -p %s", learn_test_path("ds"));
	if (system(make))
		abort();
	learn_test_text("ds/items.tsv", item_lines);
	learn_test_text("ds/interactions.tsv", log);
	msg->text[0] = '\0';
	return wr_dataset_load(ds, learn_test_path("ds"), msg);
}

static void test_tokens(void)
{
	struct wr_dataset *ds;
	struct wr_errmsg msg;
	/* User 5: click 1, view 2, convert 1 (marks), convert 3 (a token), convert 3 (marks), click
	 * 1 again. */
	CU_ASSERT_EQUAL_FATAL(
		load(items,
			"#user\titem\tkind\ttime_"
			"ms\n5\t1\tclick\t1\n5\t2\tview\t2\n5\t1\tconvert\t3\n"
			"5\t3\tconvert\t4\n5\t3\tconvert\t5\n5\t1\tclick\t6\n"
			"18446744073709551615\t3\tconvert\t0\n18446744073709551615\t4\tclick\t0\n",
			&ds, &msg),
		WR_OK);
	static const uint32_t rows[] = {0, 2, 0, 2, 3};
	CU_ASSERT_EQUAL(ds->n_items, 4);
	CU_ASSERT_EQUAL_FATAL(ds->n_users, 2);
	CU_ASSERT_EQUAL(ds->user_id[1], UINT64_MAX);
	CU_ASSERT_EQUAL(ds->token_off[1], 3);
	CU_ASSERT_EQUAL_FATAL(ds->token_off[2], 5);
	CU_ASSERT_EQUAL(memcmp(ds->token_row, rows, sizeof(rows)), 0);
	CU_ASSERT_EQUAL(ds->n_categories, 3);
	CU_ASSERT_STRING_EQUAL(ds->category_name[0], "");
	CU_ASSERT_EQUAL(ds->item_category[1], 0);
	CU_ASSERT_EQUAL(ds->item_category[2], ds->item_category[0]);
	CU_ASSERT_STRING_EQUAL(ds->category_name[ds->item_category[3]], "help");
	CU_ASSERT_STRING_EQUAL(ds->item_title[3], "D");
	wr_dataset_free(ds);
}

static void test_refused(void)
{
	static const struct {
		const char *items, *log, *where, *why;
	} cases[] = {
		{"1\ta\t\t\n3\tb\t\t\n", "1\t1\tclick\t0\n", "items.tsv:2: ", "expected 2"},
		{"1\ta\t\n", "1\t1\tclick\t0\n", "items.tsv:1: ", "tabs"},
		{"", "1\t1\tclick\t0\n", "items.tsv", "no items"},
		{items, "1\t5\tclick\t0\n", "interactions.tsv:1: ", "'5'"},
		{items, "1\t0\tclick\t0\n", "interactions.tsv:1: ", "'0'"},
		{items, "x\t1\tclick\t0\n", "interactions.tsv:1: ", "'x'"},
		{items, "1\t1\tclick\t0\n1\t1\tbuy\t0\n", "interactions.tsv:2: ", "'buy'"},
		{items, "1\t1\tclick\t-1\n", "interactions.tsv:1: ", "'-1'"},
		{items, "1\t1\tclick\n", "interactions.tsv:1: ", "tabs"},
		{items, "1\t1\tclick\t0\n2\t1\tclick\t0\n1\t2\tclick\t0\n", "interactions.tsv",
			"not contiguous"},
		{items, "1\t1\tview\t0\n", "interactions.tsv", "no clicks"},
	};
	struct wr_dataset *ds;
	struct wr_errmsg msg;
	for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++) {
		CU_ASSERT_EQUAL(load(cases[i].items, cases[i].log, &ds, &msg), WR_EFORMAT);
		CU_ASSERT_PTR_NULL(ds);
		if (!strstr(msg.text, cases[i].where) || !strstr(msg.text, cases[i].why))
			printf("\n  case %zu: '%s'", i, msg.text);
		CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, cases[i].where));
		CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, cases[i].why));
	}
}

static void test_split(void)
{
	uint32_t h = 77;
	CU_ASSERT_FALSE(wr_split_user(2, WR_SPLIT_TEST, &h));
	CU_ASSERT_EQUAL(h, 77);
	CU_ASSERT_TRUE(wr_split_user(3, WR_SPLIT_TEST, &h));
	CU_ASSERT_EQUAL(h, 2); /* token 2 is the target */
	CU_ASSERT_TRUE(wr_split_user(3, WR_SPLIT_VALID, &h));
	CU_ASSERT_EQUAL(h, 1);
	CU_ASSERT_EQUAL(wr_split_training(2), 2);
	CU_ASSERT_EQUAL(wr_split_training(3), 1);
	CU_ASSERT_EQUAL(wr_split_training(10), 8);
}

/* Ranks against a plain sort-free count, at every target, with ties and a seen set. */
static void test_rank(void)
{
	enum { N = 131 };
	float scores[N];
	uint64_t seen[(N + 63) / 64];
	struct wr_rng r;
	wr_rng_init(&r, 1, 2);
	for (int round = 0; round < 20; round++) {
		memset(seen, 0, sizeof(seen));
		for (uint32_t i = 0; i < N; i++) {
			scores[i] = (float)wr_rng_below(&r, 9);
			if (wr_rng_below(&r, 4) == 0)
				seen[i / 64] |= (uint64_t)1 << (i % 64);
		}
		for (uint32_t t = 0; t < N; t++) {
			uint32_t all = 0, left = 0;
			for (uint32_t i = 0; i < N; i++) {
				bool before =
					scores[i] > scores[t] || (scores[i] >= scores[t] && i < t);
				all += before;
				left += before && !(seen[i / 64] >> (i % 64) & 1);
			}
			CU_ASSERT_EQUAL(wr_rank_of(scores, N, t, NULL), all);
			bool known = seen[t / 64] >> (t % 64) & 1;
			CU_ASSERT_EQUAL(wr_rank_of(scores, N, t, seen), known ? UINT32_MAX : left);
		}
	}
}

static void test_metrics(void)
{
	struct wr_metrics_at m = {0};
	wr_metrics_at_add(&m, 0, 9);
	wr_metrics_at_add(&m, 4, 10);
	wr_metrics_at_add(&m, 5, UINT32_MAX);
	wr_metrics_at_add(&m, 20, 19);
	wr_metrics_at_mean(&m);
	CU_ASSERT_EQUAL(m.n_users, 4);
	CU_ASSERT_DOUBLE_EQUAL(m.hr[0][0], 0.5, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(m.hr[0][1], 0.75, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(m.hr[0][2], 0.75, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(m.hr[1][1], 0.25, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(m.hr[1][2], 0.75, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(m.ndcg[0][1], (1 + 1 / log2(6) + 1 / log2(7)) / 4, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(m.ndcg[1][1], 1 / log2(11) / 4, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(m.mrr[0][0], (1 + 1.0 / 5) / 4, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(m.mrr[0][1], (1 + 1.0 / 5 + 1.0 / 6) / 4, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(m.mrr[1][2], (1.0 / 10 + 1.0 / 11 + 1.0 / 20) / 4, 1e-12);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"conversions mark clicks, views are no tokens", test_tokens},
		{"damaged data sets are refused with file, line and reason", test_refused},
		{"leave-one-out over tokens", test_split},
		{"ranks: ties by id, seen items do not count", test_rank},
		{"HR and NDCG", test_metrics},
	};
	learn_test_begin();
	int rc = wr_test_run("learn dataset", tests, WR_ARRAY_LEN(tests));
	learn_test_end();
	return rc;
}
