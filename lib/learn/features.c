/* SPDX-License-Identifier: BSD-3-Clause */
/* Hashed tokens, and statistics of items, of behaviour and of popularity over time. One pass over
 * the log each. */
#include "wr_features.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PERIODS 8

/* FNV-1a, mixed; the bucket takes the low bits, the sign the highest. */
static uint64_t hash_token(const char *s)
{
	uint64_t h = 0xcbf29ce484222325u;
	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3u;
	return wr_mix64(h);
}

uint32_t wr_feature_hash(const char *token, unsigned int bits)
{
	return (uint32_t)(hash_token(token) & (((uint64_t)1 << bits) - 1));
}

int wr_feature_sign(const char *token)
{
	return hash_token(token) >> 63 ? -1 : 1;
}

int wr_feature_collisions(const char *const *tokens, uint32_t n, unsigned int bits,
	struct wr_collisions *c, struct wr_errmsg *msg)
{
	*c = (struct wr_collisions){.n_tokens = n};
	if (bits < 1 || bits > 30)
		return wr_fail(msg, WR_EINVAL, "%u bits: give 1 … 30", bits);
	c->n_buckets = 1u << bits;
	uint32_t *count = calloc(c->n_buckets, sizeof(*count)), alone = 0;
	if (!count)
		return wr_fail(msg, WR_ENOMEM, "out of memory for %u buckets", c->n_buckets);
	for (uint32_t i = 0; i < n; i++)
		c->used += !count[wr_feature_hash(tokens[i], bits)]++;
	for (uint32_t b = 0; b < c->n_buckets; b++)
		alone += count[b] == 1;
	free(count);
	c->shared = n ? 1 - (double)alone / n : 0;
	c->expected = n > 1 ? 1 - pow(1 - 1.0 / c->n_buckets, (double)n - 1) : 0;
	return WR_OK;
}

void wr_table_free(struct wr_table *t)
{
	free(t->x);
	*t = (struct wr_table){0};
}

static int table_new(struct wr_table *t, uint32_t rows, uint32_t cols, const char *const *names,
	struct wr_errmsg *msg)
{
	*t = (struct wr_table){.n_rows = rows,
		.n_cols = cols,
		.column = names,
		.x = calloc((size_t)rows * cols + 1, sizeof(float))};
	return t->x ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for %u rows", rows);
}

/* When a token came: its time, or its place in the log. */
static int64_t moment(const struct wr_dataset *ds, uint32_t t)
{
	return ds->timed ? ds->token_time[t] : (int64_t)t;
}

/* First and last moment; tokens without a time in a timed log do not count. */
static void span_of(const struct wr_dataset *ds, int64_t *first, int64_t *last)
{
	*first = INT64_MAX;
	*last = INT64_MIN;
	for (uint32_t t = 0; t < ds->token_off[ds->n_users]; t++) {
		int64_t m = moment(ds, t);
		if (ds->timed && !m)
			continue;
		*first = WR_MIN(*first, m);
		*last = WR_MAX(*last, m);
	}
	if (*first > *last)
		*first = *last = 0;
}

static uint32_t period_of(int64_t m, int64_t first, int64_t last, uint32_t n)
{
	double at = last > first ? (double)(m - first) / ((double)(last - first) + 1) : 0;
	return at < 0 ? 0 : WR_MIN((uint32_t)(at * n), n - 1);
}

int wr_popularity_over_time(const struct wr_dataset *ds, uint32_t n_periods, uint32_t *counts,
	int64_t *limit, struct wr_errmsg *msg)
{
	int64_t first, last;
	if (n_periods < 1)
		return wr_fail(msg, WR_EINVAL, "give at least a period");
	span_of(ds, &first, &last);
	memset(counts, 0, (size_t)ds->n_items * n_periods * sizeof(*counts));
	for (uint32_t p = 0; p <= n_periods; p++)
		limit[p] = first + (int64_t)(((double)(last - first) + 1) * p / n_periods);
	for (uint32_t t = 0; t < ds->token_off[ds->n_users]; t++)
		if (!ds->timed || ds->token_time[t])
			counts[(size_t)ds->token_row[t] * n_periods +
				period_of(moment(ds, t), first, last, n_periods)]++;
	return WR_OK;
}

static uint32_t *count_items(const struct wr_dataset *ds)
{
	uint32_t *n = calloc((size_t)ds->n_items + 1, sizeof(*n));
	for (uint32_t t = 0; n && t < ds->token_off[ds->n_users]; t++)
		n[ds->token_row[t]]++;
	return n;
}

enum item_column {
	ITEM_CLICKS,
	ITEM_PERIOD,
	ITEM_PLACE = ITEM_PERIOD + PERIODS,
	ITEM_USERS,
	ITEM_BEFORE,
	ITEM_BEHIND,
	ITEM_SAME,
	N_ITEM_COLUMNS
};

/* Sums over one user's tokens. */
static void add_history(const struct wr_dataset *ds, uint32_t user, const uint32_t *popular,
	uint32_t *last_user, float *x)
{
	uint32_t begin = ds->token_off[user], end = ds->token_off[user + 1];
	for (uint32_t t = begin; t < end; t++) {
		uint32_t row = ds->token_row[t];
		float *r = x + (size_t)row * N_ITEM_COLUMNS;
		r[ITEM_PLACE] += (float)(t - begin) / (float)WR_MAX(end - begin - 1, 1u);
		r[ITEM_USERS] += last_user[row] != user + 1;
		last_user[row] = user + 1;
		if (t > begin) {
			uint32_t other = ds->token_row[t - 1];
			r[ITEM_BEFORE] += logf((float)popular[other]);
			r[ITEM_SAME] += ds->item_category[other] == ds->item_category[row];
		}
		if (t + 1 < end)
			r[ITEM_BEHIND] += logf((float)popular[ds->token_row[t + 1]]);
	}
}

int wr_features_items(const struct wr_dataset *ds, struct wr_table *t, struct wr_errmsg *msg)
{
	static const char *const names[N_ITEM_COLUMNS] = {"log_clicks", "period_1", "period_2",
		"period_3", "period_4", "period_5", "period_6", "period_7", "period_8",
		"mean_place", "users_per_click", "log_popularity_before", "log_popularity_behind",
		"same_category_before"};
	uint32_t *popular = count_items(ds), *last = calloc((size_t)ds->n_items + 1, sizeof(*last)),
		 *counts = calloc((size_t)ds->n_items * PERIODS + 1, sizeof(*counts));
	int64_t limit[PERIODS + 1];
	int err = popular && last && counts
			  ? table_new(t, ds->n_items, N_ITEM_COLUMNS, names, msg)
			  : wr_fail(msg, WR_ENOMEM, "out of memory for %u items", ds->n_items);
	if (!err)
		err = wr_popularity_over_time(ds, PERIODS, counts, limit, msg);
	for (uint32_t u = 0; u < ds->n_users && !err; u++)
		add_history(ds, u, popular, last, t->x);
	for (uint32_t i = 0; i < ds->n_items && !err; i++) {
		float *r = t->x + (size_t)i * N_ITEM_COLUMNS, n = (float)WR_MAX(popular[i], 1u);
		r[ITEM_CLICKS] = logf(1 + (float)popular[i]);
		for (uint32_t p = 0; p < PERIODS; p++)
			r[ITEM_PERIOD + p] = (float)counts[(size_t)i * PERIODS + p] / n;
		for (int c = ITEM_PLACE; c < N_ITEM_COLUMNS; c++)
			r[c] /= n;
	}
	free(popular);
	free(last);
	free(counts);
	return err;
}

enum user_column {
	USER_CLICKS,
	USER_ITEMS,
	USER_CATEGORIES,
	USER_ENTROPY,
	USER_POPULARITY,
	USER_NEWEST,
	USER_SAME,
	USER_GAP,
	USER_GAP_SPREAD,
	N_USER_COLUMNS
};

/* Categories of one user: distinct ones and their entropy, nats. */
static void category_columns(
	const struct wr_dataset *ds, uint32_t begin, uint32_t end, uint32_t *count, float *r)
{
	for (uint32_t t = begin; t < end; t++)
		count[ds->item_category[ds->token_row[t]]]++;
	for (uint32_t t = begin; t < end; t++) {
		uint32_t *n = &count[ds->item_category[ds->token_row[t]]];
		if (!*n)
			continue;
		float share = (float)*n / (float)(end - begin);
		r[USER_CATEGORIES]++;
		r[USER_ENTROPY] -= share * logf(share);
		*n = 0;
	}
}

/* Mean and deviation of the logarithm of gaps between clicks, seconds. */
static void gap_columns(const struct wr_dataset *ds, uint32_t begin, uint32_t end, float *r)
{
	double sum = 0, square = 0;
	uint32_t n = 0;
	for (uint32_t t = begin + 1; t < end; t++) {
		int64_t gap = ds->token_time[t] - ds->token_time[t - 1];
		if (gap < 0 || !ds->token_time[t - 1])
			continue;
		double g = log(1 + (double)gap / 1000);
		sum += g;
		square += g * g;
		n++;
	}
	if (!n)
		return;
	r[USER_GAP] = (float)(sum / n);
	r[USER_GAP_SPREAD] = (float)sqrt(WR_MAX(square / n - sum / n * (sum / n), 0.0));
}

int wr_features_users(const struct wr_dataset *ds, struct wr_table *t, struct wr_errmsg *msg)
{
	static const char *const names[N_USER_COLUMNS] = {"log_clicks", "distinct_items",
		"categories", "category_entropy", "mean_log_popularity", "newest_log_popularity",
		"same_category_again", "mean_log_gap", "log_gap_deviation"};
	uint32_t *popular = count_items(ds), *last = calloc((size_t)ds->n_items + 1, sizeof(*last)),
		 *count = calloc((size_t)ds->n_categories + 1, sizeof(*count));
	int err = popular && last && count
			  ? table_new(t, ds->n_users, N_USER_COLUMNS, names, msg)
			  : wr_fail(msg, WR_ENOMEM, "out of memory for %u users", ds->n_users);
	for (uint32_t u = 0; u < ds->n_users && !err; u++) {
		uint32_t begin = ds->token_off[u], end = ds->token_off[u + 1];
		float *r = t->x + (size_t)u * N_USER_COLUMNS, n = (float)(end - begin);
		for (uint32_t k = begin; k < end; k++) {
			uint32_t row = ds->token_row[k];
			r[USER_ITEMS] += (last[row] != u + 1) / n;
			last[row] = u + 1;
			r[USER_POPULARITY] += logf((float)popular[row]) / n;
			if (k > begin)
				r[USER_SAME] += (ds->item_category[row] ==
							ds->item_category[ds->token_row[k - 1]]) /
						n;
		}
		r[USER_CLICKS] = logf(1 + n);
		if (end > begin)
			r[USER_NEWEST] = logf((float)popular[ds->token_row[end - 1]]);
		category_columns(ds, begin, end, count, r);
		if (ds->timed)
			gap_columns(ds, begin, end, r);
	}
	free(popular);
	free(last);
	free(count);
	return err;
}
