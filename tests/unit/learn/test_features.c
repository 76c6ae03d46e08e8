/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hashing against counting, tables by hand, principal components against the covariance, t-SNE by
 * what it must keep.
 */
#include "learn_test.h"
#include "text_file.h"
#include "wr_features.h"

#include <math.h>

static void test_hashing(void)
{
	enum { N = 3000, BITS = 11 };
	static char name[N][16];
	const char *token[N];
	uint32_t count[1 << BITS] = {0}, alone = 0;
	int signs = 0;
	struct wr_collisions c;
	struct wr_errmsg msg;
	for (int i = 0; i < N; i++) {
		snprintf(name[i], sizeof(name[i]), "token-%d", i);
		token[i] = name[i];
		count[wr_feature_hash(token[i], BITS)]++;
		signs += wr_feature_sign(token[i]);
	}
	for (int i = 0; i < N; i++)
		alone += count[wr_feature_hash(token[i], BITS)] == 1;
	CU_ASSERT_EQUAL(wr_feature_collisions(token, N, BITS, &c, &msg), WR_OK);
	CU_ASSERT_DOUBLE_EQUAL(c.shared, 1 - (double)alone / N, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(c.shared, c.expected, 0.03); /* as chance has it: 0.77 */
	CU_ASSERT(abs(signs) < 4 * (int)sqrt(N));
	/* Frozen: models depend on it. */
	CU_ASSERT_EQUAL(wr_feature_hash("token-0", 30), wr_feature_hash("token-0", 30));
	CU_ASSERT_EQUAL(wr_feature_collisions(token, N, 31, &c, &msg), WR_EINVAL);
	CU_ASSERT_EQUAL(wr_feature_collisions(token, 1, 1, &c, &msg), WR_OK);
	CU_ASSERT(c.shared == 0 && c.expected == 0);
}

/* User 1 clicks a b a, 2 s and 4 s apart; user 2 clicks c once. a, b: category x, c: y. */
static struct wr_dataset *small_set(void)
{
	struct wr_dataset *ds;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL_FATAL(wr_learn_make_dirs(learn_test_path("small"), &msg), WR_OK);
	learn_test_text("small/items.tsv", "1\ta\tx\t\n2\tb\tx\t\n3\tc\ty\t\n");
	learn_test_text("small/interactions.tsv",
		"1\t1\tclick\t1000\n1\t2\tclick\t3000\n1\t1\tclick\t7000\n2\t3\tclick\t9000\n");
	CU_ASSERT_EQUAL_FATAL(wr_dataset_load(&ds, learn_test_path("small"), &msg), WR_OK);
	return ds;
}

static double cell(const struct wr_table *t, uint32_t row, const char *column)
{
	for (uint32_t c = 0; c < t->n_cols; c++)
		if (!strcmp(t->column[c], column))
			return (double)t->x[row * t->n_cols + c];
	CU_FAIL("no such column");
	return 0;
}

static void test_tables(void)
{
	struct wr_dataset *ds = small_set();
	struct wr_table t;
	struct wr_errmsg msg;
	uint32_t counts[3 * 2];
	int64_t limit[3];
	CU_ASSERT_EQUAL_FATAL(wr_features_users(ds, &t, &msg), WR_OK);
	CU_ASSERT_EQUAL(t.n_rows, 2);
	CU_ASSERT_DOUBLE_EQUAL(cell(&t, 0, "log_clicks"), log(4), 1e-6);
	CU_ASSERT_DOUBLE_EQUAL(cell(&t, 0, "distinct_items"), 2.0 / 3, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL(cell(&t, 0, "categories"), 1, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL(cell(&t, 0, "category_entropy"), 0, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL(cell(&t, 0, "same_category_again"), 2.0 / 3, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL(cell(&t, 0, "mean_log_popularity"), 2 * log(2) / 3, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL(cell(&t, 0, "mean_log_gap"), (log(3) + log(5)) / 2, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL(cell(&t, 0, "log_gap_deviation"), fabs(log(3) - log(5)) / 2, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL(cell(&t, 1, "mean_log_gap"), 0, 1e-6);
	wr_table_free(&t);
	CU_ASSERT_EQUAL_FATAL(wr_features_items(ds, &t, &msg), WR_OK);
	CU_ASSERT_DOUBLE_EQUAL(cell(&t, 0, "log_clicks"), log(3), 1e-6);
	CU_ASSERT_DOUBLE_EQUAL(cell(&t, 0, "period_1"), 0.5, 1e-6); /* at 1 s of 1 … 9 s */
	CU_ASSERT_DOUBLE_EQUAL(cell(&t, 0, "period_6"), 0.5, 1e-6); /* at 7 s */
	CU_ASSERT_DOUBLE_EQUAL(cell(&t, 0, "mean_place"), 0.5, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL(cell(&t, 0, "users_per_click"), 0.5, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL(cell(&t, 1, "log_popularity_before"), log(2), 1e-6);
	CU_ASSERT_DOUBLE_EQUAL(cell(&t, 1, "same_category_before"), 1, 1e-6);
	wr_table_free(&t);
	CU_ASSERT_EQUAL(wr_popularity_over_time(ds, 2, counts, limit, &msg), WR_OK);
	static const uint32_t want[6] = {1, 1, 1, 0, 0, 1};
	CU_ASSERT_EQUAL(memcmp(counts, want, sizeof(want)), 0);
	CU_ASSERT(limit[0] == 1000 && limit[2] == 9001);
	wr_dataset_free(ds);
}

/* Columns 3 z, z' and 0.5 z'' turned in the plane of the first two: directions and shares are
 * known; places have the variances and no covariance. */
static void test_pca(void)
{
	enum { N = 4000 };
	float *x = malloc(N * 3 * sizeof(*x)), *y = malloc(N * 3 * sizeof(*y)), e[9];
	double share[3];
	struct wr_rng r;
	struct wr_errmsg msg;
	wr_rng_init(&r, 3, 3);
	for (int i = 0; i < N; i++) {
		double a = 3 * wr_rng_normal(&r), b = wr_rng_normal(&r);
		x[3 * i] = (float)(0.8 * a - 0.6 * b + 7);
		x[3 * i + 1] = (float)(0.6 * a + 0.8 * b - 2);
		x[3 * i + 2] = (float)(0.5 * wr_rng_normal(&r));
	}
	CU_ASSERT_EQUAL(wr_pca(x, N, 3, false, 3, e, share, y, &msg), WR_OK);
	CU_ASSERT_DOUBLE_EQUAL(share[0], 9 / 10.25, 0.01);
	CU_ASSERT_DOUBLE_EQUAL(share[0] + share[1] + share[2], 1, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL((double)e[0], 0.8, 0.02);
	CU_ASSERT_DOUBLE_EQUAL((double)e[1], 0.6, 0.02);
	CU_ASSERT_DOUBLE_EQUAL((double)e[4], 0.8, 0.02); /* the largest entry is positive */
	CU_ASSERT_DOUBLE_EQUAL((double)e[3], -0.6, 0.02);
	for (int a = 0; a < 3; a++)
		for (int b = 0; b <= a; b++) {
			double dot = 0, cov = 0;
			for (int c = 0; c < 3; c++)
				dot += (double)e[3 * a + c] * (double)e[3 * b + c];
			for (int i = 0; i < N; i++)
				cov += (double)y[3 * i + a] * (double)y[3 * i + b] / N;
			CU_ASSERT_DOUBLE_EQUAL(dot, a == b, 1e-5);
			if (a != b)
				CU_ASSERT_DOUBLE_EQUAL(cov, 0, 0.005);
		}
	/* Scaled, a column that never changes says nothing. */
	for (int i = 0; i < N; i++)
		x[3 * i + 2] = 5;
	CU_ASSERT_EQUAL(wr_pca(x, N, 3, true, 1, e, share, NULL, &msg), WR_OK);
	CU_ASSERT_DOUBLE_EQUAL((double)e[2], 0, 1e-6);
	for (int i = 0; i < 3 * N; i++)
		x[i] = 1;
	CU_ASSERT_EQUAL(wr_pca(x, N, 3, false, 1, e, share, NULL, &msg), WR_EINVAL);
	CU_ASSERT_EQUAL(wr_pca(x, N, 3, false, 4, e, share, NULL, &msg), WR_EINVAL);
	free(x);
	free(y);
}

/* Four clusters in ten dimensions stay apart, and neighbourhoods are kept. */
static void test_tsne(void)
{
	enum { N = 200, D = 10 };
	static float x[N * D], y[2][N * 2];
	double kl[2], kept, chance;
	struct wr_rng r;
	struct wr_errmsg msg;
	struct wr_tsne p = {.perplexity = 15, .steps = 300, .threads = 1, .seed = 1, .quiet = true};
	wr_rng_init(&r, 5, 5);
	for (int i = 0; i < N; i++)
		for (int c = 0; c < D; c++)
			x[i * D + c] = (float)(wr_rng_normal(&r) + (c == i % 4 ? 12 : 0));
	CU_ASSERT_EQUAL(wr_tsne_run(&p, x, N, D, y[0], &kl[0], &msg), WR_OK);
	p.threads = 3;
	CU_ASSERT_EQUAL(wr_tsne_run(&p, x, N, D, y[1], &kl[1], &msg), WR_OK);
	CU_ASSERT_EQUAL(memcmp(y[0], y[1], sizeof(y[0])), 0);
	CU_ASSERT(isfinite(kl[0]) && kl[0] > 0 && kl[0] < 1.5);
	uint32_t wrong = 0;
	for (int i = 0; i < N; i++) { /* the nearest on the map is of the same cluster */
		int best = -1;
		double least = HUGE_VAL;
		for (int j = 0; j < N; j++) {
			double a = (double)(y[0][2 * i] - y[0][2 * j]),
			       b = (double)(y[0][2 * i + 1] - y[0][2 * j + 1]);
			if (j != i && a * a + b * b < least) {
				least = a * a + b * b;
				best = j;
			}
		}
		wrong += best % 4 != i % 4;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(wr_map_kept(x, D, y[0], 2, N, 10, &kept, &msg), WR_OK);
	for (int i = 0; i < 2 * N; i++)
		y[1][i] = (float)wr_rng_normal(&r);
	CU_ASSERT_EQUAL(wr_map_kept(x, D, y[1], 2, N, 10, &chance, &msg), WR_OK);
	CU_ASSERT(kept > 0.4 && chance < 0.1);
	CU_ASSERT_EQUAL(wr_map_kept(x, D, x, D, N, 10, &kept, &msg), WR_OK);
	CU_ASSERT_EQUAL(kept, 1);
	p.perplexity = 100;
	CU_ASSERT_EQUAL(wr_tsne_run(&p, x, N, D, y[0], NULL, &msg), WR_EINVAL);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"hashed tokens collide as chance has it", test_hashing},
		{"tables by hand", test_tables},
		{"principal components", test_pca},
		{"t-SNE keeps neighbourhoods", test_tsne},
	};
	learn_test_begin();
	int rc = wr_test_run("learn features", tests, WR_ARRAY_LEN(tests));
	learn_test_end();
	return rc;
}
