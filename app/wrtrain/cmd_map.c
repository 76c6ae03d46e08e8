/* SPDX-License-Identifier: BSD-3-Clause */
/* wrtrain map: items or users in two dimensions, by principal components and t-SNE, as SVG for
 * people to look at. */
#include "policies.h"
#include "wr_features.h"
#include "wrtrain.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define GROUPS 7 /* categories with a colour of their own; the rest is "other" */

struct options {
	const char *data, *run, *out, *points, *perplexity, *steps, *seed, *threads, *of, *quiet;
	uint32_t n_points;
};

/* Rows to draw: vectors and groups. */
struct points {
	uint32_t n, d;
	float *x;
	uint32_t *group; /* 0 … GROUPS */
	char name[GROUPS + 1][48];
	uint32_t n_groups;
};

static const uint64_t *sort_key; /* of by_key */
static int by_key(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return sort_key[*x] != sort_key[*y] ? (sort_key[*x] < sort_key[*y] ? 1 : -1)
	       : *x < *y                    ? -1
					    : *x > *y;
}

/* 0 … n - 1 by falling key. */
static uint32_t *order_of(const uint64_t *key, uint32_t n)
{
	uint32_t *order = malloc(((size_t)n + 1) * sizeof(*order));
	for (uint32_t i = 0; order && i < n; i++)
		order[i] = i;
	sort_key = key;
	if (order)
		qsort(order, n, sizeof(*order), by_key);
	return order;
}

/* The largest categories among the chosen items get a colour. */
static int group_items(
	struct points *p, const struct wr_dataset *ds, const uint32_t *item, struct wr_errmsg *msg)
{
	uint64_t *size = calloc((size_t)ds->n_categories + 1, sizeof(*size));
	for (uint32_t i = 0; size && i < p->n; i++)
		size[ds->item_category[item[i]]]++;
	uint32_t *order = size ? order_of(size, ds->n_categories) : NULL;
	if (!order) {
		free(size);
		return wr_fail(msg, WR_ENOMEM, "out of memory for the map");
	}
	p->n_groups = WR_MIN(ds->n_categories, (uint32_t)GROUPS);
	for (uint32_t g = 0; g < p->n_groups; g++)
		snprintf(p->name[g], sizeof(p->name[g]), "%.40s",
			ds->category_name[order[g]][0] ? ds->category_name[order[g]]
						       : "no category");
	if (p->n_groups < ds->n_categories)
		snprintf(p->name[p->n_groups++], sizeof(p->name[0]), "other");
	for (uint32_t i = 0; i < p->n; i++) {
		p->group[i] = p->n_groups - 1;
		for (uint32_t g = 0; g < WR_MIN(p->n_groups, (uint32_t)GROUPS); g++)
			if (order[g] == ds->item_category[item[i]])
				p->group[i] = g;
	}
	free(size);
	free(order);
	return WR_OK;
}

static int points_new(struct points *p, uint32_t n, uint32_t d, struct wr_errmsg *msg)
{
	*p = (struct points){.n = n,
		.d = d,
		.x = malloc(((size_t)n * d + 1) * sizeof(float)),
		.group = calloc((size_t)n + 1, sizeof(uint32_t))};
	return p->x && p->group ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for the map");
}

/* The most clicked items by their vectors in a run, or by als where there is none. */
static int items_of(struct points *p, const struct options *o, const struct wr_dataset *ds,
	struct wr_errmsg *msg)
{
	struct wr_student *s = NULL;
	struct wr_als *als = NULL;
	struct wr_als_params params = wr_als_params_default();
	struct wr_baseline_log log;
	uint64_t *offset = NULL, *clicks = calloc((size_t)ds->n_items + 1, sizeof(*clicks));
	char path[4096];
	int err = clicks ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for the map");
	if (!err && o->run) {
		snprintf(path, sizeof(path), "%s/best.safetensors", o->run);
		err = wr_student_load(&s, path, msg);
		if (!err && s->shape.n_items != ds->n_items)
			err = wr_fail(msg, WR_EINVAL, "%s knows %u items, the data %u", path,
				s->shape.n_items, ds->n_items);
	} else if (!err) {
		err = wrtrain_log_of(ds, &log, &offset, msg);
		if (!err)
			err = wr_als_new(&als, &log, &params, msg);
	}
	uint32_t d = s ? s->shape.d : params.d, n = WR_MIN(o->n_points, ds->n_items);
	const float *from = err ? NULL : s ? s->w + s->embedding : wr_als_items(als);
	for (uint32_t t = 0; !err && t < ds->token_off[ds->n_users]; t++)
		clicks[ds->token_row[t]]++;
	uint32_t *item = err ? NULL : order_of(clicks, ds->n_items);
	if (!err)
		err = item ? points_new(p, n, d, msg)
			   : wr_fail(msg, WR_ENOMEM, "out of memory for the map");
	for (uint32_t i = 0; i < n && !err; i++) {
		const float *v = from + (size_t)item[i] * d;
		float len = 0;
		for (uint32_t c = 0; c < d; c++)
			len += v[c] * v[c];
		/* Unit vectors: what the model compares is directions. */
		for (uint32_t c = 0; c < d; c++)
			p->x[(size_t)i * d + c] = len > 0 ? v[c] / sqrtf(len) : 0;
	}
	if (!err)
		err = group_items(p, ds, item, msg);
	free(item);
	free(clicks);
	free(offset);
	wr_als_free(als);
	wr_student_free(s);
	return err;
}

/* Users by their behaviour's components; colours by number of clicks. */
static int users_of(struct points *p, const struct options *o, const struct wr_dataset *ds,
	struct wr_errmsg *msg)
{
	struct wr_table t = {0};
	double share[8];
	float direction[8 * 64], *y = NULL;
	int err = wr_features_users(ds, &t, msg);
	uint32_t k = WR_MIN(t.n_cols, 8u), n = WR_MIN(o->n_points, ds->n_users);
	if (!err && !(y = malloc(((size_t)t.n_rows * k + 1) * sizeof(*y))))
		err = wr_fail(msg, WR_ENOMEM, "out of memory for the map");
	if (!err)
		err = wr_pca(t.x, t.n_rows, t.n_cols, true, k, direction, share, y, msg);
	if (!err)
		err = points_new(p, n, k, msg);
	static const uint32_t cut[] = {10, 20, 40, 80, 160};
	p->n_groups = WR_ARRAY_LEN(cut) + 1;
	for (uint32_t g = 0; g < p->n_groups && !err; g++)
		snprintf(p->name[g], sizeof(p->name[g]),
			g < WR_ARRAY_LEN(cut) ? "up to %u clicks" : "more",
			g < WR_ARRAY_LEN(cut) ? cut[g] : 0);
	for (uint32_t i = 0; i < n && !err; i++) {
		uint32_t clicks = ds->token_off[i + 1] - ds->token_off[i], g = 0;
		memcpy(p->x + (size_t)i * k, y + (size_t)i * k, k * sizeof(*y));
		while (g < WR_ARRAY_LEN(cut) && clicks > cut[g])
			g++;
		p->group[i] = g;
	}
	wr_table_free(&t);
	free(y);
	return err;
}

static int draw(const struct points *p, const float *y, const char *title, const char *note,
	const char *path, struct wr_errmsg *msg)
{
	struct wr_chart_series series[GROUPS + 1];
	double *v = malloc(2 * (size_t)p->n * sizeof(*v) + 1);
	size_t at = 0, n_series = 0;
	if (!v)
		return wr_fail(msg, WR_ENOMEM, "out of memory for the map");
	for (uint32_t g = 0; g < p->n_groups; g++) {
		size_t first = at;
		for (uint32_t i = 0; i < p->n; i++)
			if (p->group[i] == g) {
				v[at] = (double)y[2 * (size_t)i];
				v[p->n + at++] = (double)y[2 * (size_t)i + 1];
			}
		if (at > first)
			series[n_series++] = (struct wr_chart_series){.name = p->name[g],
				.x = v + first,
				.y = v + p->n + first,
				.n = at - first,
				.points_only = true};
	}
	struct wr_chart chart = {.title = title,
		.x_label = "first",
		.y_label = "second",
		.series = series,
		.n_series = n_series,
		.note = note};
	int err = wr_chart_write(&chart, path, msg);
	free(v);
	return err;
}

static int draw_both(const struct points *p, const struct options *o, const struct wr_tsne *t,
	const char *what, struct wr_errmsg *msg)
{
	float *direction = malloc(2 * (size_t)p->d * sizeof(*direction)),
	      *y = malloc(2 * (size_t)p->n * sizeof(*y) + 1);
	double share[2], kept, divergence;
	char note[160], path[4096], title[80];
	int err = direction && y ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for the map");
	uint32_t k = WR_MIN(10u, p->n - 1);
	if (!err)
		err = wr_pca(p->x, p->n, p->d, false, 2, direction, share, y, msg);
	if (!err)
		err = wr_map_kept(p->x, p->d, y, 2, p->n, k, &kept, msg);
	if (!err) {
		snprintf(note, sizeof(note),
			"%u %s; %.0f %% and %.0f %% of the variance; %.0f %% of each one's 10 "
			"nearest "
			"are kept",
			p->n, what, 100 * share[0], 100 * share[1], 100 * kept);
		snprintf(title, sizeof(title), "Principal components of %s", what);
		snprintf(path, sizeof(path), "%s/%s-pca.svg", o->out, what);
		err = draw(p, y, title, note, path, msg);
		printf("%s: %s\n", path, note);
	}
	if (!err)
		err = wr_tsne_run(t, p->x, p->n, p->d, y, &divergence, msg);
	if (!err)
		err = wr_map_kept(p->x, p->d, y, 2, p->n, k, &kept, msg);
	if (!err) {
		snprintf(note, sizeof(note),
			"%u %s; perplexity %g, %u steps, KL %.2f; %.0f %% of each one's 10 nearest "
			"are "
			"kept",
			p->n, what, t->perplexity, t->steps, divergence, 100 * kept);
		snprintf(title, sizeof(title), "t-SNE of %s", what);
		snprintf(path, sizeof(path), "%s/%s-tsne.svg", o->out, what);
		err = draw(p, y, title, note, path, msg);
		printf("%s: %s\n", path, note);
	}
	free(direction);
	free(y);
	return err;
}

static int parse(int argc, char **argv, struct options *o, struct wr_tsne *t, struct wr_errmsg *msg)
{
	const struct wr_opt opts[] = {
		{"data", "DIR", "the data set", &o->data},
		{"run", "RUNDIR", "item vectors of a run (those of als)", &o->run},
		{"out", "DIR", "where the pictures go", &o->out},
		{"of", "WHAT", "items or users (by their behaviour) (items)", &o->of},
		{"points", "N", "the N most clicked items, the first N users (2000)", &o->points},
		{"perplexity", "X", "neighbours that t-SNE thinks of (30)", &o->perplexity},
		{"steps", "N", "of t-SNE (750)", &o->steps},
		{"seed", "N", "of t-SNE (1)", &o->seed},
		{"threads", "N", "OpenMP threads (all cores)", &o->threads},
		{"quiet", NULL, "no progress", &o->quiet},
	};
	unsigned int n_words;
	int err = wr_opt_parse(argc, argv, "wrtrain map --data=DIR --out=DIR [options]", opts,
		WR_ARRAY_LEN(opts), NULL, 0, &n_words, msg);
	*t = (struct wr_tsne){.perplexity = 30, .steps = 750, .seed = 1, .quiet = o->quiet != NULL};
	o->n_points = 2000;
	if (!err && (!o->data || !o->out))
		err = wr_fail(msg, WR_EINVAL, "give --data and --out (see --help)");
	if (!err && o->of && strcmp(o->of, "items") && strcmp(o->of, "users"))
		err = wr_fail(msg, WR_EINVAL, "--of=%s: give items or users", o->of);
	if (!err)
		err = wrtrain_u32("points", o->points, 10, 20000, &o->n_points, msg);
	if (!err)
		err = wrtrain_double("perplexity", o->perplexity, 2, 1000, &t->perplexity, msg);
	if (!err)
		err = wrtrain_u32("steps", o->steps, 50, 100000, &t->steps, msg);
	if (!err)
		err = wrtrain_u32("threads", o->threads, 1, 1024, &t->threads, msg);
	if (!err && o->seed && wr_parse_u64(o->seed, 0, INT64_MAX, &t->seed))
		err = wr_fail(msg, WR_EINVAL, "--seed=%s: give a whole number", o->seed);
	return err;
}

static int run(int argc, char **argv, struct wr_errmsg *msg)
{
	struct options o = {0};
	struct wr_tsne t;
	struct wr_dataset *ds = NULL;
	struct points p = {0};
	int err = parse(argc, argv, &o, &t, msg);
	if (!err)
		err = wr_dataset_load(&ds, o.data, msg);
	if (!err && mkdir(o.out, 0777) && errno != EEXIST)
		err = wr_fail(
			msg, WR_EIO, "%s: cannot make the folder: %s", o.out, strerror(errno));
	if (!err) {
		bool users = o.of && !strcmp(o.of, "users");
		wr_stop_catch_signals();
		err = users ? users_of(&p, &o, ds, msg) : items_of(&p, &o, ds, msg);
		if (!err)
			err = draw_both(&p, &o, &t, users ? "users" : "items", msg);
	}
	free(p.x);
	free(p.group);
	wr_dataset_free(ds);
	return err;
}

int wr_cmd_map(int argc, char **argv)
{
	struct wr_errmsg msg;
	return wrtrain_finish("map", run(argc, argv, &msg), &msg);
}
