/* SPDX-License-Identifier: BSD-3-Clause */
/* What models answered to the users of a split: ranks and lists, and the figures made from them. */
#include "judge_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int wr_judge_new(struct wr_judge **out, const struct wr_dataset *ds, enum wr_split split,
	uint32_t max_users, struct wr_errmsg *msg)
{
	struct wr_judge *j = calloc(1, sizeof(*j));
	*out = NULL;
	if (j) {
		j->ds = ds;
		j->user = calloc((size_t)ds->n_users + 1, sizeof(*j->user));
		j->list = calloc(((size_t)ds->n_users + 1) * WR_JUDGE_TOP, sizeof(*j->list));
	}
	if (!j || !j->user || !j->list) {
		wr_judge_free(j);
		return wr_fail(msg, WR_ENOMEM, "out of memory for evaluation");
	}
	for (uint32_t u = 0, h; u < ds->n_users && (!max_users || j->n_users < max_users); u++) {
		uint32_t begin = ds->token_off[u];
		if (wr_split_user(ds->token_off[u + 1] - begin, split, &h))
			j->user[j->n_users++] = (struct wr_judged){.user = u,
				.begin = begin,
				.end = begin + h,
				.target = ds->token_row[begin + h],
				.rank = {UINT32_MAX, UINT32_MAX}};
	}
	*out = j;
	return WR_OK;
}

void wr_judge_free(struct wr_judge *j)
{
	if (!j)
		return;
	wr_judge_free(j->also);
	free(j->user);
	free(j->list);
	free(j);
}

static uint32_t place_of(uint32_t row, const uint32_t *list, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (list[i] == row)
			return i;
	return UINT32_MAX;
}

void wr_learn_judge_lists(struct wr_judge *j, uint32_t at, const uint32_t *filtered,
	uint32_t n_filtered, const uint32_t *unfiltered, uint32_t n_unfiltered)
{
	struct wr_judged *u = &j->user[at];
	u->rank[0] = place_of(u->target, filtered, n_filtered);
	u->rank[1] = place_of(u->target, unfiltered, n_unfiltered);
	u->n_list = n_filtered;
	memcpy(j->list + (size_t)at * WR_JUDGE_TOP, filtered, n_filtered * sizeof(*filtered));
}

void wr_learn_judge_scores(
	struct wr_judge *j, uint32_t at, const float *scores, const uint64_t *seen)
{
	struct wr_judged *u = &j->user[at];
	uint32_t *list = j->list + (size_t)at * WR_JUDGE_TOP, n = 0;
	u->rank[0] = wr_rank_of(scores, j->ds->n_items, u->target, seen);
	u->rank[1] = wr_rank_of(scores, j->ds->n_items, u->target, NULL);
	for (uint32_t r = 0; r < j->ds->n_items; r++) {
		if ((n == WR_JUDGE_TOP && !(scores[r] > scores[list[n - 1]])) ||
			seen[r / 64] >> (r % 64) & 1)
			continue;
		uint32_t k = n < WR_JUDGE_TOP ? n++ : n - 1;
		for (; k && scores[r] > scores[list[k - 1]]; k--)
			list[k] = list[k - 1];
		list[k] = r;
	}
	u->n_list = n;
}

/* Users who have each item among their training tokens. */
static uint32_t *holders_of(const struct wr_dataset *ds)
{
	uint32_t *count = calloc((size_t)ds->n_items + 1, sizeof(*count));
	uint32_t *last = calloc((size_t)ds->n_items + 1, sizeof(*last));
	for (uint32_t u = 0; count && last && u < ds->n_users; u++) {
		uint32_t begin = ds->token_off[u];
		uint32_t n = wr_split_training(ds->token_off[u + 1] - begin);
		for (uint32_t t = begin; t < begin + n; t++) {
			uint32_t row = ds->token_row[t];
			count[row] += last[row] != u + 1;
			last[row] = u + 1;
		}
	}
	if (!last) {
		free(count);
		count = NULL;
	}
	free(last);
	return count;
}

static int by_count(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* Gini of n counts, which are sorted: Σ (2i - n - 1) x_i / (n Σ x), i from 1. */
static double gini_of(uint32_t *count, uint32_t n)
{
	double weighted = 0, sum = 0;
	qsort(count, n, sizeof(*count), by_count);
	for (uint32_t i = 0; i < n; i++) {
		weighted += (2.0 * (i + 1) - n - 1) * count[i];
		sum += count[i];
	}
	return sum > 0 ? weighted / (n * sum) : 0;
}

static void list_metrics(const struct wr_judge *j, const uint32_t *holders, uint32_t *shown,
	uint32_t cut, struct wr_metrics_at *m)
{
	const struct wr_dataset *ds = j->ds;
	uint32_t k = wr_metric_cut[cut], covered = 0;
	double surprise = 0, n_shown = 0, apart = 0, pairs = 0;
	memset(shown, 0, ds->n_items * sizeof(*shown));
	for (uint32_t u = 0; u < j->n_users; u++) {
		const uint32_t *list = j->list + (size_t)u * WR_JUDGE_TOP;
		uint32_t n = WR_MIN(j->user[u].n_list, k);
		for (uint32_t a = 0; a < n; a++) {
			uint32_t have = WR_MAX(holders[list[a]], 1u);
			shown[list[a]]++;
			surprise -= log2((double)have / ds->n_users);
			for (uint32_t b = 0; b < a; b++)
				apart += ds->item_category[list[a]] != ds->item_category[list[b]];
		}
		n_shown += n;
		pairs += n * (n - 1.0) / 2;
	}
	for (uint32_t r = 0; r < ds->n_items; r++)
		covered += shown[r] > 0;
	m->coverage[cut] = (double)covered / ds->n_items;
	m->gini[cut] = gini_of(shown, ds->n_items);
	m->novelty[cut] = n_shown > 0 ? surprise / n_shown : 0;
	m->diversity[cut] = pairs > 0 ? apart / pairs : 0;
}

int wr_judge_metrics(const struct wr_judge *j, struct wr_metrics_at *m, struct wr_errmsg *msg)
{
	uint32_t *holders = holders_of(j->ds),
		 *shown = malloc(((size_t)j->ds->n_items + 1) * sizeof(*shown));
	memset(m, 0, sizeof(*m));
	for (uint32_t u = 0; u < j->n_users; u++)
		wr_metrics_at_add(m, j->user[u].rank[0], j->user[u].rank[1]);
	wr_metrics_at_mean(m);
	int err = holders && shown ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for metrics");
	for (uint32_t cut = 0; cut < WR_METRIC_N_CUTS && !err; cut++)
		list_metrics(j, holders, shown, cut, m);
	free(holders);
	free(shown);
	return err;
}

/* ---- comparison ---- */
double wr_judge_gain(const struct wr_judge *j, uint32_t at, enum wr_gain gain)
{
	double sum = 0, n = 0;
	for (; j; j = j->also, n++) {
		uint32_t rank = j->user[at].rank[0];
		if (rank < 10)
			sum += gain == WR_GAIN_HR10 ? 1 : 1 / log2((double)rank + 2);
	}
	return sum / n;
}

double wr_judge_overlap(const struct wr_judge *a, const struct wr_judge *b, uint32_t k)
{
	double sum = 0;
	uint32_t n_users = 0;
	for (uint32_t u = 0; u < WR_MIN(a->n_users, b->n_users); u++) {
		const uint32_t *x = a->list + (size_t)u * WR_JUDGE_TOP,
			       *y = b->list + (size_t)u * WR_JUDGE_TOP;
		uint32_t n = WR_MIN(a->user[u].n_list, k), both = 0;
		for (uint32_t i = 0; i < n; i++)
			both += place_of(x[i], y, WR_MIN(b->user[u].n_list, k)) != UINT32_MAX;
		sum += n ? (double)both / n : 0;
		n_users += n > 0;
	}
	return n_users ? sum / n_users : 0;
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

void wr_interval_of(double *values, uint32_t n, struct wr_interval *out)
{
	qsort(values, n, sizeof(*values), by_value);
	out->low = values[(uint32_t)(0.025 * (n - 1) + 0.5)];
	out->high = values[(uint32_t)(0.975 * (n - 1) + 0.5)];
}

int wr_judge_interval(const struct wr_judge *a, const struct wr_judge *b, enum wr_gain gain,
	uint32_t resamples, uint64_t seed, struct wr_interval *out, struct wr_errmsg *msg)
{
	uint32_t n = a->n_users;
	*out = (struct wr_interval){0};
	if (b && (b->ds != a->ds || b->n_users != n))
		return wr_fail(msg, WR_EINVAL, "models that saw different users are not compared");
	if (!n || resamples < 100)
		return wr_fail(msg, WR_EINVAL, "give at least a user and 100 resamples");
	double *mean = malloc(resamples * sizeof(*mean)), *gains = malloc(n * sizeof(*gains));
	struct wr_rng r;
	if (!mean || !gains) {
		free(mean);
		free(gains);
		return wr_fail(msg, WR_ENOMEM, "out of memory for %u resamples", resamples);
	}
	for (uint32_t u = 0; u < n; u++) {
		gains[u] = wr_judge_gain(a, u, gain) - (b ? wr_judge_gain(b, u, gain) : 0);
		out->mean += gains[u] / n;
	}
	wr_rng_init(&r, seed, 0xb007);
	for (uint32_t s = 0; s < resamples; s++) {
		double sum = 0;
		for (uint32_t u = 0; u < n; u++)
			sum += gains[wr_rng_below(&r, n)];
		mean[s] = sum / n;
	}
	wr_interval_of(mean, resamples, out);
	free(mean);
	free(gains);
	return WR_OK;
}
