/* SPDX-License-Identifier: BSD-3-Clause */
/* wrtrain features: tables of items and users, their principal components, collaborative scores,
 * popularity over time, and what hashing of tokens would cost. */
#include "policies.h"
#include "wr_features.h"
#include "wrtrain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define COMPONENTS 8
#define MOST_LINES 7 /* items in the chart of popularity */

struct options {
	const char *data, *out, *periods, *neighbours, *bits, *threads;
	uint32_t n_periods, n_neighbours, n_bits, n_threads;
};

struct output {
	const struct options *o;
	const struct wr_dataset *ds;
	json_t *summary;
};

static int open_file(
	const struct output *x, const char *name, struct wr_file_writer **w, struct wr_errmsg *msg)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", x->o->out, name);
	return wr_file_writer_open(w, path, msg);
}

/* A line a row: its name, the columns, the components. */
static void write_rows(const struct output *x, FILE *f, const struct wr_table *t, bool users,
	const float *y, uint32_t k)
{
	fprintf(f, "#%s", users ? "user" : "item");
	for (uint32_t c = 0; c < t->n_cols; c++)
		fprintf(f, "\t%s", t->column[c]);
	for (uint32_t c = 0; c < k; c++)
		fprintf(f, "\tpc%u", c + 1);
	fputc('\n', f);
	for (uint32_t i = 0; i < t->n_rows; i++) {
		if (users)
			fprintf(f, "%llu", (unsigned long long)x->ds->user_id[i]);
		else
			fprintf(f, "%u", i + 1);
		for (uint32_t c = 0; c < t->n_cols; c++)
			fprintf(f, "\t%.6g", (double)t->x[(size_t)i * t->n_cols + c]);
		for (uint32_t c = 0; c < k; c++)
			fprintf(f, "\t%.6g", (double)y[(size_t)i * k + c]);
		fputc('\n', f);
	}
}

/* The table with its components, and which columns they are made of into the summary. */
static int write_table(
	const struct output *x, const struct wr_table *t, bool users, struct wr_errmsg *msg)
{
	uint32_t k = WR_MIN((uint32_t)COMPONENTS, t->n_cols), d = t->n_cols;
	float *direction = malloc((size_t)k * d * sizeof(*direction)),
	      *y = malloc(((size_t)t->n_rows * k + 1) * sizeof(*y));
	double share[COMPONENTS];
	struct wr_file_writer *w = NULL;
	json_t *list = json_array();
	int err = direction && y ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for components");
	if (!err)
		err = wr_pca(t->x, t->n_rows, d, true, k, direction, share, y, msg);
	if (!err)
		err = open_file(x, users ? "users.tsv" : "items.tsv", &w, msg);
	if (!err) {
		write_rows(x, wr_file_writer_stream(w), t, users, y, k);
		err = wr_file_writer_commit(w, msg);
	}
	printf("%s: %u rows, %u columns; principal components hold", users ? "users" : "items",
		t->n_rows, d);
	for (uint32_t a = 0; a < k && !err; a++) {
		json_t *made = json_object();
		for (uint32_t c = 0; c < d; c++)
			json_object_set_new(made, t->column[c],
				json_real((double)direction[(size_t)a * d + c]));
		json_array_append_new(
			list, json_pack("{s:f, s:o}", "variance", share[a], "direction", made));
		printf(" %.1f %%", 100 * share[a]);
	}
	putchar('\n');
	json_object_set_new(x->summary, users ? "user_components" : "item_components", list);
	free(direction);
	free(y);
	return err;
}

static int tables(const struct output *x, struct wr_errmsg *msg)
{
	struct wr_table t = {0};
	int err = wr_features_items(x->ds, &t, msg);
	if (!err)
		err = write_table(x, &t, false, msg);
	wr_table_free(&t);
	if (!err)
		err = wr_features_users(x->ds, &t, msg);
	if (!err)
		err = write_table(x, &t, true, msg);
	wr_table_free(&t);
	return err;
}

/* Clicks of the most popular items by period. */
static int chart_popularity(
	const struct output *x, const uint32_t *counts, uint32_t n, struct wr_errmsg *msg)
{
	const struct wr_dataset *ds = x->ds;
	struct wr_chart_series series[MOST_LINES];
	char names[MOST_LINES][40], path[4096];
	uint32_t top[MOST_LINES], found = 0;
	double *v = malloc((size_t)n * (MOST_LINES + 1) * sizeof(*v));
	uint64_t *all = calloc((size_t)ds->n_items + 1, sizeof(*all));
	int err = v && all ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for the chart");
	for (uint32_t i = 0; i < ds->n_items && !err; i++) {
		for (uint32_t p = 0; p < n; p++)
			all[i] += counts[(size_t)i * n + p];
		if (found == MOST_LINES && all[i] <= all[top[found - 1]])
			continue;
		uint32_t at = found < MOST_LINES ? found++ : found - 1;
		for (; at && all[i] > all[top[at - 1]]; at--)
			top[at] = top[at - 1];
		top[at] = i;
	}
	for (uint32_t k = 0; k < found && !err; k++) {
		snprintf(names[k], sizeof(names[k]), "%.30s", ds->item_name[top[k]]);
		for (uint32_t p = 0; p < n; p++) {
			v[p] = p + 1;
			v[(size_t)(k + 1) * n + p] = counts[(size_t)top[k] * n + p];
		}
		series[k] = (struct wr_chart_series){
			.name = names[k], .x = v, .y = v + (size_t)(k + 1) * n, .n = n};
	}
	struct wr_chart chart = {.title = "Popularity over time",
		.x_label = ds->timed ? "period of the log" : "part of the log",
		.y_label = "clicks",
		.series = series,
		.n_series = found,
		.note = "the items with most clicks"};
	snprintf(path, sizeof(path), "%s/popularity.svg", x->o->out);
	if (!err)
		err = wr_chart_write(&chart, path, msg);
	free(v);
	free(all);
	return err;
}

static int popularity(const struct output *x, struct wr_errmsg *msg)
{
	const struct wr_dataset *ds = x->ds;
	uint32_t n = x->o->n_periods,
		 *counts = malloc(((size_t)ds->n_items * n + 1) * sizeof(*counts));
	int64_t *limit = malloc(((size_t)n + 1) * sizeof(*limit));
	struct wr_file_writer *w = NULL;
	int err = counts && limit ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for periods");
	if (!err)
		err = wr_popularity_over_time(ds, n, counts, limit, msg);
	if (!err)
		err = open_file(x, "popularity.tsv", &w, msg);
	if (!err) {
		FILE *f = wr_file_writer_stream(w);
		fputs("#item", f);
		for (uint32_t p = 0; p < n; p++)
			fprintf(f, "\tfrom_%lld", (long long)limit[p]);
		fputc('\n', f);
		for (uint32_t i = 0; i < ds->n_items; i++) {
			fprintf(f, "%u", i + 1);
			for (uint32_t p = 0; p < n; p++)
				fprintf(f, "\t%u", counts[(size_t)i * n + p]);
			fputc('\n', f);
		}
		err = wr_file_writer_commit(w, msg);
	}
	if (!err)
		err = chart_popularity(x, counts, n, msg);
	free(counts);
	free(limit);
	return err;
}

/* Items' nearest by item-kNN, and users' best by item-kNN and als: what they have not clicked. */
static int scores(const struct output *x, const char *method, struct wr_errmsg *msg)
{
	const struct wr_dataset *ds = x->ds;
	struct wr_baseline_log log;
	uint64_t *offset = NULL, *one = malloc(((size_t)ds->n_items + 1) * sizeof(*one));
	uint32_t k = x->o->n_neighbours, n = WR_MAX(ds->n_items, ds->n_users),
		 *rows = malloc(((size_t)n * k + 1) * sizeof(*rows)),
		 *found = malloc(((size_t)n + 1) * sizeof(*found)),
		 *self = malloc(((size_t)ds->n_items + 1) * sizeof(*self));
	struct wr_policy *p = NULL;
	int err = one && rows && found && self
			  ? wrtrain_log_of(ds, &log, &offset, msg)
			  : wr_fail(msg, WR_ENOMEM, "out of memory for scores");
	if (!err)
		err = wr_policy_new(&p, method, &log, ds->item_category, x->o->n_threads, msg);
	for (uint32_t i = 0; i <= ds->n_items && !err; i++) {
		one[i] = i;
		self[i] = i;
	}
	for (int users = 0; users < 2 && !err; users++) {
		char name[64];
		struct wr_file_writer *w;
		const struct wr_histories h =
			users ? (struct wr_histories){.n = ds->n_users,
					.off = offset,
					.rows = ds->token_row}
			      : (struct wr_histories){.n = ds->n_items, .off = one, .rows = self};
		err = wr_policy_lists(p, &h, k, rows, found, msg);
		snprintf(name, sizeof(name), "%s-to-item.%s.tsv", users ? "user" : "item", method);
		if (!err)
			err = open_file(x, name, &w, msg);
		if (err)
			break;
		FILE *f = wr_file_writer_stream(w);
		fprintf(f, "#%s\titems, best first\n", users ? "user" : "item");
		for (uint32_t i = 0; i < h.n; i++) {
			fprintf(f, "%llu", (unsigned long long)(users ? ds->user_id[i] : i + 1));
			for (uint32_t c = 0; c < found[i]; c++)
				fprintf(f, "\t%u", rows[(size_t)i * k + c] + 1);
			fputc('\n', f);
		}
		err = wr_file_writer_commit(w, msg);
	}
	wr_policy_free(p);
	free(offset);
	free(one);
	free(rows);
	free(found);
	free(self);
	return err;
}

/* What hashing the catalogue's names into 2^bits buckets costs, and one bit less and more. */
static int hashing(const struct output *x, struct wr_errmsg *msg)
{
	json_t *list = json_array();
	int err = WR_OK;
	for (uint32_t bits = WR_MAX(x->o->n_bits, 2u) - 1; bits <= x->o->n_bits + 1 && !err;
		bits++) {
		struct wr_collisions c;
		err = wr_feature_collisions((const char *const *)x->ds->item_name, x->ds->n_items,
			WR_MIN(bits, 30u), &c, msg);
		if (err)
			break;
		json_array_append_new(
			list, json_pack("{s:I, s:I, s:f, s:f}", "buckets", (json_int_t)c.n_buckets,
				      "tokens", (json_int_t)c.n_tokens, "shared", c.shared,
				      "expected", c.expected));
		printf("hashing %u item names into %u buckets: %.2f %% share one (%.2f %% expected "
		       "of "
		       "chance)\n",
			c.n_tokens, c.n_buckets, 100 * c.shared, 100 * c.expected);
	}
	json_object_set_new(x->summary, "hashing", list);
	return err;
}

static int run(int argc, char **argv, struct wr_errmsg *msg)
{
	struct options o = {.n_periods = 12, .n_neighbours = 20, .n_bits = 14};
	struct wr_dataset *ds = NULL;
	unsigned int n_words;
	char path[4096];
	const struct wr_opt opts[] = {
		{"data", "DIR", "the data set", &o.data},
		{"out", "DIR", "where the tables go", &o.out},
		{"periods", "N", "of popularity over time (12)", &o.periods},
		{"neighbours", "N", "items kept of each item and user (20)", &o.neighbours},
		{"hash-bits", "N", "2^N buckets for items' names (14)", &o.bits},
		{"threads", "N", "OpenMP threads (all cores)", &o.threads},
	};
	int err = wr_opt_parse(argc, argv, "wrtrain features --data=DIR --out=DIR [options]", opts,
		WR_ARRAY_LEN(opts), NULL, 0, &n_words, msg);
	if (!err && (!o.data || !o.out))
		err = wr_fail(msg, WR_EINVAL, "give --data and --out (see --help)");
	if (!err)
		err = wrtrain_u32("periods", o.periods, 1, 1000, &o.n_periods, msg);
	if (!err)
		err = wrtrain_u32("neighbours", o.neighbours, 1, 200, &o.n_neighbours, msg);
	if (!err)
		err = wrtrain_u32("hash-bits", o.bits, 1, 29, &o.n_bits, msg);
	if (!err)
		err = wrtrain_u32("threads", o.threads, 1, 1024, &o.n_threads, msg);
	if (!err)
		err = wr_dataset_load(&ds, o.data, msg);
	if (!err && mkdir(o.out, 0777) && errno != EEXIST)
		err = wr_fail(
			msg, WR_EIO, "%s: cannot make the folder: %s", o.out, strerror(errno));
	if (err) {
		wr_dataset_free(ds);
		return err;
	}
	wr_stop_catch_signals();
	const struct output x = {&o, ds, json_object()};
	err = hashing(&x, msg);
	if (!err)
		err = tables(&x, msg);
	if (!err)
		err = popularity(&x, msg);
	if (!err)
		err = scores(&x, "item-knn", msg);
	if (!err)
		err = scores(&x, "als", msg);
	snprintf(path, sizeof(path), "%s/features.json", o.out);
	if (!err)
		err = wr_json_write(x.summary, path, msg);
	json_decref(x.summary);
	wr_dataset_free(ds);
	return err;
}

int wr_cmd_features(int argc, char **argv)
{
	struct wr_errmsg msg;
	return wrtrain_finish("features", run(argc, argv, &msg), &msg);
}
