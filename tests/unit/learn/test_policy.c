/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Policies against full sorts, als against its own normal equations, replay against hand-worked
 * slates and against a log whose truth is known.
 */
#include "checkpoint_int.h"
#include "heads_int.h"
#include "learn_test.h"
#include "text_file.h"

#include <math.h>

#define ITEMS 40

static struct wr_dataset *ring(void)
{
	struct wr_dataset *ds;
	struct wr_errmsg msg;
	learn_test_ring("ring", 60, ITEMS, 20);
	CU_ASSERT_EQUAL_FATAL(wr_dataset_load(&ds, learn_test_path("ring"), &msg), WR_OK);
	for (uint32_t i = 0; i < ITEMS; i++)
		ds->item_category[i] = (uint16_t)(i % 4);
	return ds;
}

/* All tokens as a log; the caller frees offset. */
static struct wr_baseline_log log_of(const struct wr_dataset *ds, uint64_t **offset)
{
	*offset = malloc((ds->n_users + 1) * sizeof(**offset));
	for (uint32_t u = 0; u <= ds->n_users; u++)
		(*offset)[u] = ds->token_off[u];
	return (struct wr_baseline_log){*offset, ds->token_row, ds->n_users, ds->n_items};
}

/* x of (α YᵀY + Y_SᵀY_S + λ (m + α n) I) x = Y_Sᵀ 1 by Gaussian elimination. */
static void fold_in(
	const float *y, const struct wr_als_params *p, const uint32_t *rows, uint32_t m, double *x)
{
	double a[8][9] = {{0}};
	uint32_t d = p->d;
	for (uint32_t i = 0; i < ITEMS; i++) {
		double weight = p->unobserved, one = 0;
		for (uint32_t k = 0; k < m; k++)
			if (rows[k] == i)
				one = 1;
		for (uint32_t r = 0; r < d; r++) {
			for (uint32_t c = 0; c < d; c++)
				a[r][c] += (weight + one) * (double)y[i * d + r] *
					   (double)y[i * d + c];
			a[r][d] += one * (double)y[i * d + r];
		}
	}
	for (uint32_t r = 0; r < d; r++)
		a[r][r] += p->regularisation * (m + p->unobserved * ITEMS);
	for (uint32_t k = 0; k < d; k++)
		for (uint32_t r = 0; r < d; r++) {
			double f = r == k ? 0 : a[r][k] / a[k][k];
			for (uint32_t c = k; c <= d && r != k; c++)
				a[r][c] -= f * a[k][c];
		}
	for (uint32_t k = 0; k < d; k++)
		x[k] = a[k][d] / a[k][k];
}

static void test_als(void)
{
	struct wr_dataset *ds = ring();
	uint64_t *offset;
	struct wr_baseline_log log = log_of(ds, &offset);
	struct wr_als_params p = wr_als_params_default();
	struct wr_als *m[2];
	struct wr_als_scratch *s;
	struct wr_errmsg msg;
	p.d = 8;
	for (uint32_t k = 0; k < 2; k++) {
		p.threads = k ? 3 : 1;
		CU_ASSERT_EQUAL_FATAL(wr_als_new(&m[k], &log, &p, &msg), WR_OK);
	}
	const float *y = wr_als_items(m[0]);
	CU_ASSERT_EQUAL(memcmp(y, wr_als_items(m[1]), ITEMS * 8 * sizeof(float)), 0);
	CU_ASSERT_EQUAL_FATAL(wr_als_scratch_new(&s, m[0], &msg), WR_OK);
	const uint32_t history[5] = {3, 4, 3, 7, 9}, once[4] = {3, 4, 7, 9};
	double x[8], score[ITEMS];
	fold_in(y, &p, once, 4, x);
	for (uint32_t i = 0; i < ITEMS; i++) {
		score[i] = 0;
		for (uint32_t c = 0; c < 8; c++)
			score[i] += x[c] * (double)y[i * 8 + c];
	}
	for (int filter = 0; filter < 2; filter++) {
		uint32_t top[ITEMS], n = wr_als_top(m[0], s, history, 5, filter, ITEMS, top);
		CU_ASSERT_EQUAL(n, filter ? ITEMS - 4u : ITEMS);
		for (uint32_t k = 1; k < n; k++)
			CU_ASSERT(score[top[k - 1]] >= score[top[k]] - 1e-9);
		bool seen = false;
		for (uint32_t k = 0; k < n; k++)
			seen |= top[k] == 3;
		CU_ASSERT_EQUAL(seen, !filter);
	}
	/* Neighbours on the ring come first: the walk goes on to one of the next three. */
	uint32_t top[4];
	CU_ASSERT_EQUAL(wr_als_top(m[0], s, history, 5, true, 4, top), 4);
	for (uint32_t k = 0; k < 4; k++)
		CU_ASSERT(top[k] <= 16 || top[k] >= 36);
	uint32_t bad_row = ITEMS;
	uint64_t bad_offset[2] = {0, 1};
	struct wr_baseline_log bad = {bad_offset, &bad_row, 1, ITEMS};
	struct wr_als *none;
	CU_ASSERT_EQUAL(wr_als_new(&none, &bad, &p, &msg), WR_EINVAL);
	wr_als_scratch_free(s);
	wr_als_free(m[0]);
	wr_als_free(m[1]);
	free(offset);
	wr_dataset_free(ds);
}

static struct wr_student *student(uint32_t n_items)
{
	struct wr_student *s;
	struct wr_errmsg msg;
	struct wr_student_shape shape = {.n_items = n_items,
		.d = 16,
		.n_blocks = 1,
		.n_heads = 1,
		.n_kv_heads = 1,
		.window = 5,
		.ffn = 16};
	CU_ASSERT_EQUAL_FATAL(wr_student_new(&s, &shape, &msg), WR_OK);
	wr_student_init(s, 3);
	return s;
}

static int by_score(const void *a, const void *b)
{
	const double *x = a, *y = b; /* score, row */
	return x[0] != y[0] ? (x[0] < y[0] ? 1 : -1) : x[1] < y[1] ? -1 : 1;
}

/* What a run would show, by sorting all items: by cosine, or by the heads. */
static void check_run(const struct wr_dataset *ds, const struct wr_baseline_log *log,
	const char *name, const struct wr_student *s, const struct wr_heads *h, bool convert)
{
	struct wr_policy *p;
	struct wr_errmsg msg;
	const struct wr_histories x = {ds->n_users, log->offset, ds->token_row, NULL, NULL};
	uint32_t *rows = malloc(ds->n_users * 10 * sizeof(*rows)), n[60];
	float *u = malloc(ds->n_users * 16 * sizeof(*u)),
	      *v = malloc(ds->n_users * 32 * sizeof(*v)),
	      *unit = malloc(ITEMS * 16 * sizeof(*unit)), norm[ITEMS], click[ITEMS], conv[ITEMS];
	float *scratch = h ? malloc(wr_heads_scratch(h, ITEMS) * sizeof(*scratch)) : NULL;
	uint32_t all[ITEMS];
	int err = wr_policy_new(&p, name, log, ds->item_category, 2, &msg);
	if (err)
		printf("\n  %s", msg.text);
	CU_ASSERT_EQUAL_FATAL(err, WR_OK);
	CU_ASSERT_EQUAL(wr_policy_lists(p, &x, 10, rows, n, &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_encode_histories(s, &x, 1, u, &msg), WR_OK);
	if (h)
		CU_ASSERT_EQUAL(wr_heads_users(h, s, &x, 1, v, &msg), WR_OK);
	wr_learn_unit_rows(s->w + s->embedding, ITEMS, 16, unit, norm);
	for (uint32_t i = 0; i < ds->n_users; i++) {
		double pair[ITEMS][2];
		for (uint32_t r = 0; r < ITEMS; r++)
			all[r] = r;
		if (h)
			wr_heads_score(h, v + i * 32, all, ITEMS, scratch, click, conv);
		for (uint32_t r = 0; r < ITEMS; r++) {
			double score = 0;
			for (uint32_t c = 0; c < 16; c++)
				score += (double)u[i * 16 + c] * (double)unit[r * 16 + c];
			if (h)
				score = (double)(convert ? click[r] * conv[r] : click[r]);
			for (uint64_t t = log->offset[i]; t < log->offset[i + 1]; t++)
				if (ds->token_row[t] == r)
					score = -2;
			pair[r][0] = score;
			pair[r][1] = r;
		}
		qsort(pair, ITEMS, sizeof(pair[0]), by_score);
		CU_ASSERT_EQUAL(n[i], 10);
		for (uint32_t k = 0; k < 10; k++)
			CU_ASSERT(fabs(pair[k][0] - pair[9][0]) < 1e-5 ||
				  rows[i * 10 + k] == (uint32_t)pair[k][1]);
	}
	free(rows);
	free(u);
	free(v);
	free(unit);
	free(scratch);
	wr_policy_free(p);
}

static void write_run(const char *name, const struct wr_student *s, const struct wr_heads *h)
{
	struct wr_errmsg msg;
	struct wr_fit f;
	char path[128];
	wr_fit_defaults(&f);
	f.shape = s->shape;
	struct progress_state at = {0};
	CU_ASSERT_EQUAL(wr_learn_make_dirs(learn_test_path(name), &msg), WR_OK);
	snprintf(path, sizeof(path), "%s/best.safetensors", learn_test_path(name));
	CU_ASSERT_EQUAL(wr_learn_checkpoint_write(path, s, NULL, &f, &at, &msg), WR_OK);
	snprintf(path, sizeof(path), "%s/heads.safetensors", learn_test_path(name));
	CU_ASSERT_EQUAL(wr_heads_write(h, path, &msg), WR_OK);
}

static void test_runs(void)
{
	struct wr_dataset *ds = ring();
	uint64_t *offset;
	struct wr_baseline_log log = log_of(ds, &offset);
	struct wr_student *s = student(ITEMS);
	struct wr_heads *h;
	struct wr_errmsg msg;
	char run[128], click[160], convert[160], cap[160];
	CU_ASSERT_EQUAL_FATAL(wr_learn_heads_new(&h, s, 8, 4, &msg), WR_OK);
	wr_learn_heads_init(h, 1, 0.3, 0.3);
	write_run("run", s, h);
	snprintf(run, sizeof(run), "%s", learn_test_path("run"));
	snprintf(click, sizeof(click), "click:%s", run);
	snprintf(convert, sizeof(convert), "convert:%s", run);
	snprintf(cap, sizeof(cap), "%s~2", run);
	check_run(ds, &log, run, s, NULL, false);
	check_run(ds, &log, click, s, h, false);
	check_run(ds, &log, convert, s, h, true);
	/* Lists of 8 with at most two of a category: two of each of the four. */
	struct wr_policy *p;
	const struct wr_histories x = {ds->n_users, offset, ds->token_row, NULL, NULL};
	uint32_t rows[60 * 8], n[60];
	CU_ASSERT_EQUAL_FATAL(wr_policy_new(&p, cap, &log, ds->item_category, 1, &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_policy_lists(p, &x, 8, rows, n, &msg), WR_OK);
	for (uint32_t i = 0; i < ds->n_users; i++) {
		uint32_t of[4] = {0};
		for (uint32_t k = 0; k < n[i]; k++)
			of[rows[i * 8 + k] % 4]++;
		for (int c = 0; c < 4; c++)
			CU_ASSERT_EQUAL(of[c], 2);
	}
	wr_policy_free(p);
	CU_ASSERT_EQUAL(wr_policy_new(&p, "neither", &log, ds->item_category, 1, &msg), WR_ENOENT);
	CU_ASSERT_PTR_NULL(p);
	for (int k = 0; k < 4; k++) {
		static const char *const name[4] = {"popularity", "item-knn", "vmis-knn", "als"};
		CU_ASSERT_EQUAL_FATAL(
			wr_policy_new(&p, name[k], &log, ds->item_category, 1, &msg), WR_OK);
		CU_ASSERT_EQUAL(wr_policy_lists(p, &x, 8, rows, n, &msg), WR_OK);
		CU_ASSERT_EQUAL(n[0], 8);
		wr_policy_free(p);
	}
	wr_heads_free(h);
	wr_student_free(s);
	free(offset);
	wr_dataset_free(ds);
}

/* Two slates of two: the first matches at place 0 (weight 2, clicked), the second at place 1
 * (weight 10, not clicked). */
static void test_by_hand(void)
{
	struct wr_slate slate[2] = {
		{.user = UINT32_MAX, .n = 2, .first = 0}, {.user = UINT32_MAX, .n = 2, .first = 2}};
	uint32_t row[4] = {5, 6, 7, 8}, lists[4] = {5, 9, 1, 8}, n_lists[2] = {2, 2};
	uint8_t position[4] = {0, 1, 0, 1}, clicked[4] = {1, 1, 1, 0}, converted[4] = {1, 0, 0, 0};
	float propensity[4] = {0.5f, 0.5f, 0.5f, 0.1f};
	struct wr_impressions x = {.n_slates = 2,
		.n_positions = 2,
		.slate = slate,
		.n = 4,
		.row = row,
		.position = position,
		.clicked = clicked,
		.converted = converted,
		.propensity = propensity};
	struct wr_replay_sums s[2];
	struct wr_interval v;
	struct wr_errmsg msg;
	static const double want[2][WR_N_ESTIMATORS] = {{0.5, 2.0 / 12, 0.5}, {0.5, 2.0 / 6, 0.5}};
	for (int clip = 0; clip < 2; clip++) {
		CU_ASSERT_EQUAL(wr_replay_slates(&x, NULL, NULL, NULL, WR_REWARD_CLICK, lists,
					n_lists, 2, clip ? 4 : 0, 1, s, &msg),
			WR_OK);
		CU_ASSERT_EQUAL(s[0].n_match + s[1].n_match, 2);
		CU_ASSERT_EQUAL(s[1].n_clipped, (uint32_t)clip);
		for (int e = 0; e < WR_N_ESTIMATORS; e++) {
			CU_ASSERT_EQUAL(wr_replay_estimate(
						s, NULL, 2, (enum wr_estimator)e, 100, 1, &v, &msg),
				WR_OK);
			CU_ASSERT_DOUBLE_EQUAL(v.mean, want[clip][e], 1e-6);
		}
	}
	CU_ASSERT_EQUAL(wr_replay_estimate(s, s, 2, WR_ESTIMATE_IPS, 100, 1, &v, &msg), WR_OK);
	CU_ASSERT_EQUAL(v.mean, 0);
	x.propensity = NULL;
	CU_ASSERT_EQUAL(wr_replay_slates(&x, NULL, NULL, NULL, WR_REWARD_CLICK, lists, n_lists, 2,
				0, 1, s, &msg),
		WR_EINVAL);
}

/*
 * 20,000 slates of one place, shown item uniform over 8 but item 0 thrice as often; clicked with
 * (1 + item) / 10. The policy shows item 6: 0.7. With heads that predict nonsense the doubly robust
 * estimate stays right.
 */
static void test_truth(void)
{
	enum { N = 20000 };
	struct wr_student *s = student(8);
	struct wr_heads *h;
	struct wr_errmsg msg;
	struct wr_rng r;
	struct wr_slate *slate = calloc(N, sizeof(*slate));
	uint32_t *row = malloc(N * 4), *lists = malloc(N * 4), *n_lists = malloc(N * 4);
	uint8_t *position = calloc(N, 1), *clicked = malloc(N), *converted = calloc(N, 1);
	float *propensity = malloc(N * sizeof(float));
	struct wr_replay_sums *sums = malloc(N * sizeof(*sums));
	struct wr_dataset ds = {.n_items = 8};
	wr_rng_init(&r, 77, 1);
	for (uint32_t i = 0; i < N; i++) {
		uint32_t k = wr_rng_below(&r, 10);
		row[i] = k >= 8 ? 0 : k;
		propensity[i] = row[i] ? 0.1f : 0.3f;
		clicked[i] = wr_rng_double(&r) < (1 + row[i]) / 10.0;
		slate[i] = (struct wr_slate){.user = UINT32_MAX, .n = 1, .first = i};
		lists[i] = 6;
		n_lists[i] = 1;
	}
	struct wr_impressions x = {N, 1, slate, N, row, position, clicked, converted, propensity};
	CU_ASSERT_EQUAL_FATAL(wr_learn_heads_new(&h, s, 8, 1, &msg), WR_OK);
	wr_learn_heads_init(h, 1, 0.2, 0.2);
	for (int with = 0; with < 2; with++) {
		CU_ASSERT_EQUAL(wr_replay_slates(&x, &ds, s, with ? h : NULL, WR_REWARD_CLICK,
					lists, n_lists, 1, 0, 1, sums, &msg),
			WR_OK);
		for (int e = 0; e < WR_N_ESTIMATORS; e++) {
			struct wr_interval v;
			CU_ASSERT_EQUAL(wr_replay_estimate(sums, NULL, N, (enum wr_estimator)e, 400,
						1, &v, &msg),
				WR_OK);
			CU_ASSERT(v.low < 0.7 && v.high > 0.7 && v.high - v.low < 0.12);
			CU_ASSERT(v.low < v.mean && v.mean < v.high);
		}
	}
	wr_heads_free(h);
	wr_student_free(s);
	free(slate);
	free(row);
	free(lists);
	free(n_lists);
	free(position);
	free(clicked);
	free(converted);
	free(propensity);
	free(sums);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"als: folded in by its normal equations, the same for any threads", test_als},
		{"lists of runs and heads against full sorts", test_runs},
		{"replay by hand", test_by_hand},
		{"replay finds the truth, whatever the heads say", test_truth},
	};
	learn_test_begin();
	int rc = wr_test_run("learn policy", tests, WR_ARRAY_LEN(tests));
	learn_test_end();
	return rc;
}
