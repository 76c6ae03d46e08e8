/* SPDX-License-Identifier: BSD-3-Clause */
/* Figures of lists, ranks, intervals and VMIS-kNN against brute force. */
#include "judge_int.h"
#include "learn_test.h"
#include "wr_baseline.h"

#include <math.h>

#define ITEMS 40

static struct wr_dataset *ring(uint32_t users)
{
	struct wr_dataset *ds;
	struct wr_errmsg msg;
	learn_test_ring("ring", users, ITEMS, 20);
	CU_ASSERT_EQUAL_FATAL(wr_dataset_load(&ds, learn_test_path("ring"), &msg), WR_OK);
	for (uint32_t i = 0; i < ITEMS; i++)
		ds->item_category[i] = (uint16_t)(i % 3);
	return ds;
}

static bool has(const struct wr_dataset *ds, uint32_t begin, uint32_t end, uint32_t row)
{
	for (uint32_t t = begin; t < end; t++)
		if (ds->token_row[t] == row)
			return true;
	return false;
}

/* Every definition, the slow way; Gini as the mean difference. */
static void check_lists(const struct wr_judge *j, const struct wr_metrics_at *m, uint32_t cut)
{
	const struct wr_dataset *ds = j->ds;
	uint32_t k = wr_metric_cut[cut], shown[ITEMS] = {0}, covered = 0, n = 0;
	double surprise = 0, apart = 0, pairs = 0, spread = 0;
	for (uint32_t u = 0; u < j->n_users; u++)
		for (uint32_t a = 0; a < k && a < j->user[u].n_list; a++) {
			uint32_t row = j->list[(size_t)u * WR_JUDGE_TOP + a], holders = 0;
			for (uint32_t v = 0; v < ds->n_users; v++) {
				uint32_t begin = ds->token_off[v];
				uint32_t end =
					begin + wr_split_training(ds->token_off[v + 1] - begin);
				holders += has(ds, begin, end, row);
			}
			shown[row]++;
			n++;
			surprise -= log2((double)holders / ds->n_users);
			for (uint32_t b = a + 1; b < k && b < j->user[u].n_list; b++) {
				uint32_t other = j->list[(size_t)u * WR_JUDGE_TOP + b];
				apart += row % 3 != other % 3;
				pairs++;
			}
		}
	for (uint32_t a = 0; a < ITEMS; a++) {
		covered += shown[a] > 0;
		for (uint32_t b = 0; b < ITEMS; b++)
			spread += fabs((double)shown[a] - (double)shown[b]);
	}
	CU_ASSERT_DOUBLE_EQUAL(m->coverage[cut], (double)covered / ITEMS, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(m->gini[cut], spread / (2.0 * ITEMS * n), 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(m->novelty[cut], surprise / n, 1e-9);
	CU_ASSERT_DOUBLE_EQUAL(m->diversity[cut], apart / pairs, 1e-12);
}

static struct wr_judge *popular(const struct wr_dataset *ds)
{
	struct wr_judge *j;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL_FATAL(wr_judge_new(&j, ds, WR_SPLIT_TEST, 0, &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_judge_popularity(j, &msg), WR_OK);
	return j;
}

static void test_lists(void)
{
	struct wr_dataset *ds = ring(50);
	struct wr_judge *j = popular(ds);
	struct wr_metrics_at m;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL(wr_judge_metrics(j, &m, &msg), WR_OK);
	for (uint32_t cut = 0; cut < WR_METRIC_N_CUTS; cut++)
		check_lists(j, &m, cut);
	CU_ASSERT(m.diversity[1] > 0.3 && m.novelty[1] > 0 && m.gini[1] > 0.05);
	wr_judge_free(j);
	wr_dataset_free(ds);
}

/* The list of a float student is what a full sort of its scores gives; ranks are places in it. */
static void test_scores(void)
{
	struct wr_dataset *ds = ring(50);
	struct wr_judge *j;
	struct wr_errmsg msg;
	struct wr_rng r;
	float scores[ITEMS];
	wr_rng_init(&r, 3, 1);
	CU_ASSERT_EQUAL_FATAL(wr_judge_new(&j, ds, WR_SPLIT_VALID, 0, &msg), WR_OK);
	for (uint32_t u = 0; u < j->n_users; u++) {
		const struct wr_judged *x = &j->user[u];
		uint64_t seen = 0;
		for (uint32_t i = 0; i < ITEMS; i++)
			scores[i] = (float)wr_rng_below(&r, 15); /* many are equal */
		for (uint32_t t = x->begin; t < x->end; t++)
			seen |= (uint64_t)1 << ds->token_row[t];
		wr_learn_judge_scores(j, u, scores, &seen);
		uint32_t n = 0, place = UINT32_MAX, taken[ITEMS] = {0};
		for (uint32_t k = 0; k < WR_JUDGE_TOP; k++) {
			uint32_t best = ITEMS;
			for (uint32_t i = 0; i < ITEMS; i++)
				if (!taken[i] && !(seen >> i & 1) &&
					(best == ITEMS || scores[i] > scores[best]))
					best = i;
			if (best == ITEMS)
				break;
			taken[best] = 1;
			place = best == x->target ? k : place;
			CU_ASSERT_EQUAL(j->list[(size_t)u * WR_JUDGE_TOP + k], best);
			n++;
		}
		CU_ASSERT_EQUAL(x->n_list, n);
		CU_ASSERT(x->rank[0] == place || (place == UINT32_MAX && x->rank[0] >= n));
	}
	wr_judge_free(j);
	wr_dataset_free(ds);
}

/* Lists by hand: half of the first in the second, whatever the order, and a user without any. */
static void test_overlap(void)
{
	struct wr_dataset *ds = ring(50);
	struct wr_judge *a, *b;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL_FATAL(wr_judge_new(&a, ds, WR_SPLIT_TEST, 3, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_judge_new(&b, ds, WR_SPLIT_TEST, 3, &msg), WR_OK);
	for (uint32_t u = 0; u < 3; u++) {
		a->user[u].n_list = u == 2 ? 0 : 4;
		b->user[u].n_list = 6;
		for (uint32_t i = 0; i < 6; i++) {
			a->list[u * WR_JUDGE_TOP + i] = i;
			b->list[u * WR_JUDGE_TOP + i] = 5 - i + 2 * u;
		}
	}
	/* User 0: 0 1 2 3 beside 5 4 3 2 (1 0); user 1: beside 7 6 5 4 (3 2). */
	CU_ASSERT_DOUBLE_EQUAL(wr_judge_overlap(a, b, 4), (0.5 + 0) / 2, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(wr_judge_overlap(a, b, 6), (1 + 0.5) / 2, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(wr_judge_overlap(a, a, 10), 1, 1e-12);
	wr_judge_free(a);
	wr_judge_free(b);
	wr_dataset_free(ds);
}

static void test_interval(void)
{
	struct wr_dataset *ds = ring(200), *other = ring(201);
	struct wr_judge *a = popular(ds), *b = popular(ds), *c = popular(other);
	struct wr_interval x, y;
	struct wr_errmsg msg;
	uint32_t n = a->n_users;
	CU_ASSERT_EQUAL(wr_judge_interval(a, b, WR_GAIN_NDCG10, 500, 1, &x, &msg), WR_OK);
	CU_ASSERT(x.mean == 0 && x.low == 0 && x.high == 0);
	/* a hits all but every fourth user, b none: 0.75, within some 1.96 √(0.75·0.25/n). */
	for (uint32_t u = 0; u < n; u++) {
		a->user[u].rank[0] = u % 4 ? u % 10 : 10;
		b->user[u].rank[0] = UINT32_MAX;
	}
	CU_ASSERT_EQUAL(wr_judge_interval(a, b, WR_GAIN_HR10, 2000, 1, &x, &msg), WR_OK);
	double half = 1.96 * sqrt(0.75 * 0.25 / n);
	CU_ASSERT_DOUBLE_EQUAL(x.mean, 0.75, 0.01);
	CU_ASSERT_DOUBLE_EQUAL(x.low, x.mean - half, 0.012);
	CU_ASSERT_DOUBLE_EQUAL(x.high, x.mean + half, 0.012);
	CU_ASSERT_EQUAL(wr_judge_interval(a, b, WR_GAIN_HR10, 2000, 1, &y, &msg), WR_OK);
	CU_ASSERT(x.low == y.low && x.high == y.high);
	CU_ASSERT_EQUAL(wr_judge_interval(b, a, WR_GAIN_HR10, 2000, 1, &y, &msg), WR_OK);
	CU_ASSERT_DOUBLE_EQUAL(y.mean, -x.mean, 1e-12);
	CU_ASSERT_EQUAL(wr_judge_interval(a, NULL, WR_GAIN_NDCG10, 500, 1, &y, &msg), WR_OK);
	CU_ASSERT(y.low < y.mean && y.mean < y.high && y.mean < x.mean);
	CU_ASSERT_EQUAL(wr_judge_interval(a, c, WR_GAIN_HR10, 500, 1, &y, &msg), WR_EINVAL);
	wr_judge_free(a);
	wr_judge_free(b);
	wr_judge_free(c);
	wr_dataset_free(ds);
	wr_dataset_free(other);
}

/* ---- VMIS-kNN, the slow way ---- */
#define LOG_USERS 60

struct log {
	uint64_t offset[LOG_USERS + 1];
	uint32_t rows[LOG_USERS * 12];
	struct wr_baseline_log log;
};

static void make_log(struct log *l, struct wr_rng *r)
{
	l->offset[0] = 0;
	for (uint32_t u = 0; u < LOG_USERS; u++) {
		uint32_t n = wr_rng_below(r, 13);
		for (uint32_t k = 0; k < n; k++)
			l->rows[l->offset[u] + k] = wr_rng_below(r, ITEMS);
		l->offset[u + 1] = l->offset[u] + n;
	}
	l->log = (struct wr_baseline_log){l->offset, l->rows, LOG_USERS, ITEMS};
}

static bool user_has(const struct log *l, uint32_t u, uint32_t row)
{
	for (uint64_t e = l->offset[u]; e < l->offset[u + 1]; e++)
		if (l->rows[e] == row)
			return true;
	return false;
}

static void slow_scores(const struct log *l, const struct wr_vmis_params *p, uint32_t self,
	const uint32_t *history, uint32_t n, double *score)
{
	float vote[LOG_USERS] = {0};
	uint32_t newest[LOG_USERS] = {0}, place = 0, most = WR_MIN(n, p->n_history);
	for (uint32_t age = 0; age < n && place < most; age++) {
		uint32_t row = history[n - 1 - age], given = 0;
		bool again = false;
		for (uint32_t k = n - age; k < n; k++)
			again |= history[k] == row;
		if (again)
			continue;
		float v = (float)(most - place++) / (float)most;
		for (uint32_t u = LOG_USERS; u-- > 0 && given < p->n_users;) {
			if (!user_has(l, u, row))
				continue;
			given++;
			if (u == self)
				continue;
			newest[u] = newest[u] ? newest[u] : place;
			vote[u] += v;
		}
	}
	for (uint32_t i = 0; i < ITEMS; i++)
		score[i] = 0;
	for (uint32_t u = 0; u < LOG_USERS; u++) {
		uint32_t ahead = 0;
		for (uint32_t v = 0; v < LOG_USERS; v++)
			ahead += vote[v] > vote[u] || (vote[v] == vote[u] && v > u);
		if (vote[u] == 0 || ahead >= p->n_neighbours || newest[u] >= 10)
			continue;
		for (uint32_t i = 0; i < ITEMS; i++) {
			uint32_t users = 0;
			for (uint32_t v = 0; v < LOG_USERS; v++)
				users += user_has(l, v, i);
			if (user_has(l, u, i))
				score[i] += (double)vote[u] * (1 - 0.1 * newest[u]) *
					    (1e-9 + log((double)LOG_USERS / users));
		}
	}
}

static void test_vmis(void)
{
	struct log l;
	struct wr_rng r;
	struct wr_errmsg msg;
	struct wr_vmis *m;
	struct wr_vmis_scratch *s;
	double score[ITEMS];
	wr_rng_init(&r, 5, 6);
	for (int round = 0; round < 60; round++) {
		const struct wr_vmis_params p = {1 + wr_rng_below(&r, 12), 1 + wr_rng_below(&r, 30),
			1 + wr_rng_below(&r, 20)};
		make_log(&l, &r);
		CU_ASSERT_EQUAL_FATAL(wr_vmis_new(&m, &l.log, &p, &msg), WR_OK);
		CU_ASSERT_EQUAL_FATAL(wr_vmis_scratch_new(&s, m, &msg), WR_OK);
		for (int q = 0; q < 10; q++) {
			uint32_t history[12], n = wr_rng_below(&r, 13), top[10];
			uint32_t self = q % 2 ? wr_rng_below(&r, LOG_USERS) : UINT32_MAX;
			for (uint32_t k = 0; k < n; k++)
				history[k] = wr_rng_below(&r, ITEMS);
			uint32_t found = wr_vmis_top(m, s, self, history, n, q % 3 == 0, 10, top);
			slow_scores(&l, &p, self, history, n, score);
			CU_ASSERT_EQUAL(found, 10);
			double last = HUGE_VAL;
			for (uint32_t k = 0; k < found; k++) {
				CU_ASSERT(score[top[k]] <= last * (1 + 1e-5) + 1e-7);
				last = score[top[k]];
				for (uint32_t h = 0; h < n && q % 3 == 0; h++)
					CU_ASSERT_NOT_EQUAL(top[k], history[h]);
			}
			for (uint32_t i = 0; i < ITEMS; i++) {
				bool in = false, known = false;
				for (uint32_t k = 0; k < found; k++)
					in |= top[k] == i;
				for (uint32_t h = 0; h < n; h++)
					known |= history[h] == i;
				if (!in && !(q % 3 == 0 && known))
					CU_ASSERT(score[i] <= last * (1 + 1e-5) + 1e-7);
			}
		}
		wr_vmis_scratch_free(s);
		wr_vmis_free(m);
	}
	const struct wr_vmis_params bad = {0, 1, 1};
	CU_ASSERT_EQUAL(wr_vmis_new(&m, &l.log, &bad, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NULL(m);
}

/* A model of two runs gains the mean of both. */
static void test_runs(void)
{
	struct wr_judged a[2] = {{.rank = {0, 0}}, {.rank = {20, 20}}},
			 b[2] = {{.rank = {2, 2}}, {.rank = {9, 9}}};
	struct wr_judge second = {.n_users = 2, .user = b},
			both = {.n_users = 2, .user = a, .also = &second};
	CU_ASSERT_DOUBLE_EQUAL(wr_judge_gain(&both, 0, WR_GAIN_HR10), 1, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(wr_judge_gain(&both, 1, WR_GAIN_HR10), 0.5, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(wr_judge_gain(&both, 0, WR_GAIN_NDCG10), (1 + 0.5) / 2, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(wr_judge_gain(&both, 1, WR_GAIN_NDCG10), 0.5 / log2(11), 1e-12);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"several runs are one model", test_runs},
		{"coverage, Gini, novelty, diversity", test_lists},
		{"lists and ranks of scores", test_scores},
		{"what two lists share", test_overlap},
		{"bootstrap intervals", test_interval},
		{"VMIS-kNN", test_vmis},
	};
	learn_test_begin();
	int rc = wr_test_run("learn judge", tests, WR_ARRAY_LEN(tests));
	learn_test_end();
	return rc;
}
