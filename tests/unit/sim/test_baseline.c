/* SPDX-License-Identifier: BSD-3-Clause */
/* Popularity and item-kNN against what their definitions say, by hand and by brute force. */
#include "wr_test.h"
#include "wr_baseline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Users: {0 1 2}, {0 1}, {1 3}, {2}; row 4 is never used. */
static const uint64_t hand_offset[] = {0, 3, 5, 7, 8};
static const uint32_t hand_rows[] = {0, 1, 2, 0, 1, 1, 3, 2};
static const struct wr_baseline_log hand = {hand_offset, hand_rows, 4, 5};

static void test_popularity(void)
{
	struct wr_popularity *p;
	struct wr_errmsg msg;
	uint32_t top[5], seen[] = {2, 1};
	CU_ASSERT_EQUAL_FATAL(wr_popularity_new(&p, &hand, &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_popularity_counts(p)[1], 3);
	CU_ASSERT_EQUAL(wr_popularity_counts(p)[4], 0);
	CU_ASSERT_EQUAL(wr_popularity_top(p, NULL, 0, true, 5, top), 5);
	static const uint32_t all[] = {1, 0, 2, 3, 4}; /* 0 and 2 tie: lower row first */
	CU_ASSERT_EQUAL(memcmp(top, all, sizeof(all)), 0);
	CU_ASSERT_EQUAL(wr_popularity_top(p, seen, 2, true, 5, top), 3);
	static const uint32_t rest[] = {0, 3, 4};
	CU_ASSERT_EQUAL(memcmp(top, rest, sizeof(rest)), 0);
	CU_ASSERT_EQUAL(wr_popularity_top(p, seen, 2, false, 1, top), 1);
	CU_ASSERT_EQUAL(top[0], 1);
	wr_popularity_free(p);
}

static void test_bad_input(void)
{
	struct wr_knn *m;
	struct wr_errmsg msg;
	struct wr_knn_params params = wr_knn_params_default();
	struct wr_baseline_log log = hand;
	log.n_items = 3;
	CU_ASSERT_EQUAL(wr_knn_new(&m, &log, &params, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NULL(m);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "row 3"));
	params.decay = 0.0;
	CU_ASSERT_EQUAL(wr_knn_new(&m, &hand, &params, &msg), WR_EINVAL);
}

/* sim(0,1) = 2/√6, sim(0,2) = 1/2, sim(1,2) = 1/√6, sim(1,3) = 1/√3. */
static void test_knn_by_hand(void)
{
	struct wr_knn *m;
	struct wr_knn_scratch *s;
	struct wr_errmsg msg;
	struct wr_knn_params params = wr_knn_params_default();
	uint32_t top[5];
	CU_ASSERT_EQUAL_FATAL(wr_knn_new(&m, &hand, &params, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_knn_scratch_new(&s, m, &msg), WR_OK);
	uint32_t one[] = {1};
	CU_ASSERT_EQUAL(wr_knn_top(m, s, one, 1, true, 5, top), 4);
	static const uint32_t of_one[] = {0, 3, 2, 4}; /* 0.816, 0.577, 0.408, then by popularity */
	CU_ASSERT_EQUAL(memcmp(top, of_one, sizeof(of_one)), 0);
	CU_ASSERT_EQUAL(wr_knn_top(m, s, one, 1, false, 5, top), 5);
	CU_ASSERT_EQUAL(top[3], 1); /* no vote for itself: filled up, before row 4 */
	uint32_t two[] = {2, 1, 2}; /* 0: 1/2 + 0.816; 1: seen; 3: 0.577 */
	CU_ASSERT_EQUAL(wr_knn_top(m, s, two, 3, true, 2, top), 2);
	CU_ASSERT(top[0] == 0 && top[1] == 3);
	/* An empty history is popularity; the scratch was left clean. */
	CU_ASSERT_EQUAL(wr_knn_top(m, s, NULL, 0, true, 3, top), 3);
	CU_ASSERT(top[0] == 1 && top[1] == 0 && top[2] == 2);
	wr_knn_scratch_free(s);
	wr_knn_free(m);
}

#define N_ITEMS 30
#define N_USERS 60

/* The definition in wr_baseline.h, literally: sims of one row, best first, cut. */
static void near_of(
	const bool has[N_USERS][N_ITEMS], const struct wr_knn_params *p, uint32_t row, float *sim)
{
	bool kept[N_ITEMS] = {false};
	for (uint32_t j = 0; j < N_ITEMS; j++) {
		uint32_t both = 0, a = 0, b = 0;
		for (uint32_t u = 0; u < N_USERS; u++) {
			a += has[u][row];
			b += has[u][j];
			both += has[u][row] && has[u][j];
		}
		sim[j] = j == row || !both ? 0.0f
					   : (float)(both / (sqrt((double)a * b) + p->shrink));
	}
	for (uint32_t k = 0; k < (p->n_neighbours ? p->n_neighbours : N_ITEMS); k++) {
		uint32_t best = N_ITEMS;
		for (uint32_t j = 0; j < N_ITEMS; j++)
			if (!kept[j] && sim[j] > 0.0f && (best == N_ITEMS || sim[j] > sim[best]))
				best = j;
		if (best < N_ITEMS)
			kept[best] = true;
	}
	for (uint32_t j = 0; j < N_ITEMS; j++)
		if (!kept[j])
			sim[j] = 0.0f;
}

static void check_against_definition(struct wr_rng *r, const struct wr_knn_params *p)
{
	static bool has[N_USERS][N_ITEMS];
	uint64_t offset[N_USERS + 1] = {0};
	uint32_t rows[N_USERS * 12], n = 0;
	memset(has, 0, sizeof(has));
	for (uint32_t u = 0; u < N_USERS; u++) {
		for (uint32_t k = wr_rng_below(r, 12); k > 0; k--) {
			uint32_t row = wr_rng_below(r, N_ITEMS - 2); /* the last two never occur */
			has[u][row] = true;
			rows[n++] = row;
		}
		offset[u + 1] = n;
	}
	struct wr_baseline_log log = {offset, rows, N_USERS, N_ITEMS};
	struct wr_knn *m;
	struct wr_knn_scratch *s;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL_FATAL(wr_knn_new(&m, &log, p, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_knn_scratch_new(&s, m, &msg), WR_OK);
	for (uint32_t u = 0; u < N_USERS; u++) {
		const uint32_t *h = rows + offset[u];
		uint32_t len = (uint32_t)(offset[u + 1] - offset[u]), top[N_ITEMS], scored = 0;
		double score[N_ITEMS] = {0}, weight = 1.0;
		bool voted[N_ITEMS] = {false};
		for (uint32_t a = 0; a < len && !(p->n_history && a >= p->n_history);
			a++, weight *= p->decay) {
			float sim[N_ITEMS];
			if (voted[h[len - 1 - a]])
				continue;
			voted[h[len - 1 - a]] = true;
			near_of(has, p, h[len - 1 - a], sim);
			for (uint32_t j = 0; j < N_ITEMS; j++)
				score[j] += weight * (double)sim[j];
		}
		for (uint32_t j = 0; j < N_ITEMS; j++)
			scored += score[j] > 0.0;
		CU_ASSERT_EQUAL(wr_knn_top(m, s, h, len, false, N_ITEMS, top), N_ITEMS);
		for (uint32_t i = 0; i + 1 < scored; i++)
			CU_ASSERT(score[top[i]] > score[top[i + 1]] ||
				  (score[top[i]] == score[top[i + 1]] && top[i] < top[i + 1]));
		for (uint32_t i = scored; i < N_ITEMS; i++)
			CU_ASSERT_EQUAL(score[top[i]], 0.0);
	}
	wr_knn_scratch_free(s);
	wr_knn_free(m);
}

static void test_knn_by_definition(void)
{
	static const struct wr_knn_params params[] = {{0, 0, 1.0, 0.0}, {5, 0, 1.0, 0.0},
		{0, 3, 1.0, 0.0}, {0, 0, 0.5, 0.0}, {4, 6, 0.75, 2.0}};
	struct wr_rng r;
	wr_rng_init(&r, 11, 0);
	for (size_t i = 0; i < WR_ARRAY_LEN(params); i++)
		for (int round = 0; round < 5; round++)
			check_against_definition(&r, &params[i]);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"popularity by hand", test_popularity},
		{"bad rows and parameters", test_bad_input},
		{"item-kNN by hand", test_knn_by_hand},
		{"item-kNN is its definition", test_knn_by_definition},
	};
	return wr_test_run("baseline", tests, WR_ARRAY_LEN(tests));
}
