/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wrtrain lift: what policies are truly worth in the simulated centre, to customers whom nothing
 * was trained on; optionally the slates of a policy that explores there, for wrtrain replay
 * (docs/simulator.md).
 */
#include "lift.h"
#include "wrtrain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS 2000 /* of customers, that bootstrap samples are drawn from */

struct options {
	const char *data, *json, *slates, *users, *threads, *resamples;
	const char *name[WRTRAIN_MAX_POLICIES];
	unsigned int n_names;
	uint32_t n_threads, n_resamples;
};

static int parse(int argc, char **argv, struct options *o, struct lift *l, struct wr_errmsg *msg)
{
	const struct wr_opt opts[] = {
		{"data", "DIR",
			"a data set of wrtrain simulate: names the world, and is what baselines "
			"are "
			"made of",
			&o->data},
		{"users", "N",
			"further customers of that world, each asked once, behind their last click "
			"(4000)",
			&o->users},
		{"slates", "DIR",
			"also write slates of a policy that explores, with propensities, and these "
			"customers' clicks before",
			&o->slates},
		{"resamples", "N", "bootstrap samples of customers (1000)", &o->resamples},
		{"threads", "N", "OpenMP threads (all cores)", &o->threads},
		{"json", "FILE", "the figures as JSON (- = stdout)", &o->json},
	};
	int err = wr_opt_parse(argc, argv,
		"wrtrain lift --data=DIR POLICY… [options]\n"
		"POLICY: popularity, item-knn, vmis-knn, als, a run's directory, click:RUNDIR, "
		"convert:RUNDIR; behind any ~M: at most M items of a category in a list. Random "
		"and "
		"oracle stand beside.",
		opts, WR_ARRAY_LEN(opts), o->name, WRTRAIN_MAX_POLICIES, &o->n_names, msg);
	l->n_states = 4000;
	o->n_resamples = 1000;
	if (!err && (!o->data || !o->n_names))
		err = wr_fail(msg, WR_EINVAL, "give --data and at least one policy (see --help)");
	if (!err)
		err = wrtrain_u32("users", o->users, 10, 1000000, &l->n_states, msg);
	if (!err)
		err = wrtrain_u32("threads", o->threads, 1, 1024, &o->n_threads, msg);
	if (!err)
		err = wrtrain_u32("resamples", o->resamples, 100, 100000, &o->n_resamples, msg);
	return err;
}

/* The world that DIR/dataset.json names. */
static int open_world(struct lift *l, const char *dir, struct wr_errmsg *msg)
{
	char path[4096];
	json_t *j;
	const char *format = NULL;
	json_int_t seed = 0, users = 0, items = 0;
	snprintf(path, sizeof(path), "%s/dataset.json", dir);
	int err = wr_json_read(path, &j, msg);
	if (err)
		return err;
	if (json_unpack(j, "{s:s, s:I, s:I, s:I}", "format", &format, "seed", &seed, "users",
		    &users, "items", &items) ||
		strcmp(format, "simulate"))
		err = wr_fail(msg, WR_EINVAL,
			"%s: not of wrtrain simulate: true worth is known of its worlds alone",
			path);
	else if (users < 1 || users + l->n_states > WR_SIM_MAX_USERS)
		err = wr_fail(msg, WR_EINVAL, "%s: %lld users and %u more are too many", path,
			(long long)users, l->n_states);
	l->seed = (uint64_t)seed;
	l->first_user = (uint32_t)users;
	json_decref(j);
	return err ? err : wr_sim_new(&l->world, l->seed, (uint32_t)items, msg);
}

/* Walks the customers behind those of the log; what they clicked, and when, is all that policies
 * know. */
static int walk_users(struct lift *l, struct wr_errmsg *msg)
{
	l->state = calloc(l->n_states, sizeof(*l->state));
	l->off = calloc((size_t)l->n_states + 1, sizeof(*l->off));
	l->rows = malloc((size_t)l->n_states * WR_SIM_MAX_CLICKS * sizeof(*l->rows));
	l->time_ms = malloc((size_t)l->n_states * WR_SIM_MAX_CLICKS * sizeof(*l->time_ms));
	l->asked_ms = malloc(l->n_states * sizeof(*l->asked_ms));
	if (!l->state || !l->off || !l->rows || !l->time_ms || !l->asked_ms)
		return wr_fail(msg, WR_ENOMEM, "no memory for %u customers", l->n_states);
	for (uint32_t i = 0; i < l->n_states; i++) {
		struct wr_sim_walk walk;
		struct wr_sim_slate slate;
		uint64_t n = l->off[i];
		wr_sim_walk_start(&walk, l->world, l->first_user + i);
		while (wr_sim_walk_next(&walk, &slate))
			for (uint32_t k = 0; k < slate.n; k++)
				if (slate.click_ms[k]) {
					l->rows[n] = slate.rows[k];
					l->time_ms[n++] = slate.click_ms[k];
				}
		l->state[i] = walk.state;
		l->asked_ms[i] = walk.state.time_ms;
		l->off[i + 1] = n;
		if (wr_stop_requested())
			return wr_fail(msg, WR_EINTR, "stopped");
	}
	return WR_OK;
}

static double diversity_of(const struct lift *l, const uint32_t *rows, uint32_t n)
{
	uint32_t apart = 0;
	for (uint32_t a = 0; a < n; a++)
		for (uint32_t b = 0; b < a; b++)
			apart += l->ds->item_category[rows[a]] != l->ds->item_category[rows[b]];
	return n > 1 ? apart / (n * (n - 1.0) / 2) : 0;
}

static void judge(const struct lift *l, struct judged *p)
{
	uint32_t *shown = calloc(l->ds->n_items, sizeof(*shown)), covered = 0;
	for (uint32_t i = 0; i < l->n_states; i++) {
		const uint32_t *rows = p->rows + (size_t)i * WR_SIM_SLATE;
		struct wr_sim_value v =
			wr_sim_slate_value(l->world, &l->state[i], rows, p->n_rows[i]);
		p->clicks[i] = v.clicks / WR_SIM_SLATE;
		p->conversions[i] = v.conversions / WR_SIM_SLATE;
		p->diversity += diversity_of(l, rows, p->n_rows[i]) / l->n_states;
		for (uint32_t k = 0; shown && k < p->n_rows[i]; k++)
			covered += !shown[rows[k]]++;
	}
	p->coverage = (double)covered / l->ds->n_items;
	free(shown);
}

static int judged_new(
	struct judged *p, const struct lift *l, const char *name, struct wr_errmsg *msg)
{
	*p = (struct judged){.name = name,
		.rows = malloc((size_t)l->n_states * WR_SIM_SLATE * sizeof(*p->rows)),
		.n_rows = malloc(l->n_states * sizeof(*p->n_rows)),
		.clicks = malloc(l->n_states * sizeof(*p->clicks)),
		.conversions = malloc(l->n_states * sizeof(*p->conversions))};
	return p->rows && p->n_rows && p->clicks && p->conversions
		       ? WR_OK
		       : wr_fail(msg, WR_ENOMEM, "out of memory for slates");
}

static void judged_free(struct judged *p)
{
	free(p->rows);
	free(p->n_rows);
	free(p->clicks);
	free(p->conversions);
}

static bool has(const uint32_t *rows, uint64_t n, uint32_t row)
{
	for (uint64_t i = 0; i < n; i++)
		if (rows[i] == row)
			return true;
	return false;
}

static void random_slates(const struct lift *l, struct judged *p)
{
	struct wr_rng r;
	wr_rng_init(&r, l->seed, LIFT_STREAM);
	for (uint32_t i = 0; i < l->n_states; i++) {
		uint32_t *rows = p->rows + (size_t)i * WR_SIM_SLATE, n = 0;
		while (n < WR_SIM_SLATE) {
			uint32_t row = wr_rng_below(&r, l->ds->n_items);
			if (!has(rows, n, row) &&
				!has(l->rows + l->off[i], l->off[i + 1] - l->off[i], row))
				rows[n++] = row;
		}
		p->n_rows[i] = n;
	}
}

static void oracle_slates(const struct lift *l, struct judged *p)
{
	for (uint32_t i = 0; i < l->n_states; i++) {
		wr_sim_oracle(
			l->world, &l->state[i], WR_SIM_SLATE, p->rows + (size_t)i * WR_SIM_SLATE);
		p->n_rows[i] = WR_SIM_SLATE;
	}
}

static int add_policy(struct lift *l, const struct wr_baseline_log *log, const char *name,
	uint32_t threads, struct wr_errmsg *msg)
{
	struct judged *p = &l->policy[l->n_policies];
	struct wr_policy *policy = NULL;
	const struct wr_histories h = {l->n_states, l->off, l->rows, l->time_ms, l->asked_ms};
	int err = judged_new(p, l, name, msg);
	l->n_policies++;
	if (err)
		return err;
	if (!strcmp(name, "random")) {
		random_slates(l, p);
	} else if (!strcmp(name, "oracle")) {
		oracle_slates(l, p);
	} else {
		err = wr_policy_new(&policy, name, log, l->ds->item_category, threads, msg);
		if (!err)
			err = wr_policy_lists(policy, &h, WR_SIM_SLATE, p->rows, p->n_rows, msg);
		wr_policy_free(policy);
	}
	if (!err)
		judge(l, p);
	return err;
}

static const struct judged *find(const struct lift *l, const char *name)
{
	for (unsigned int i = 0; i < l->n_policies; i++)
		if (!strcmp(l->policy[i].name, name))
			return &l->policy[i];
	return NULL;
}

static double mean_of(const double *x, const uint32_t *draw, uint32_t n)
{
	double sum = 0;
	for (uint32_t i = 0; i < n; i++)
		sum += x[draw ? draw[i] : i];
	return sum / n;
}

/* Sums over every m-th customer, in place of whom bootstrap samples draw: customers are
 * independent. */
static double *blocks_of(const double *x, uint32_t n, uint32_t m)
{
	double *sum = calloc(m, sizeof(*sum));
	for (uint32_t i = 0; sum && i < n; i++)
		sum[i % m] += x[i];
	return sum;
}

/* Mean of a, or with b the relative gain mean(a) / mean(b) - 1, and the percentiles of bootstrap
 * samples of customers. */
static int interval(const double *a, const double *b, uint32_t n, uint32_t resamples,
	struct wr_interval *out, struct wr_errmsg *msg)
{
	struct wr_rng r;
	uint32_t m = WR_MIN(n, (uint32_t)BLOCKS);
	double *value = malloc(resamples * sizeof(*value)), *x = blocks_of(a, n, m),
	       *y = blocks_of(b ? b : a, n, m), scale = (double)m / n;
	uint32_t *draw = malloc(m * sizeof(*draw));
	int err = value && draw && x && y ? WR_OK
					  : wr_fail(msg, WR_ENOMEM, "out of memory for resamples");
	wr_rng_init(&r, 1, LIFT_STREAM);
	for (uint32_t s = 0; s <= resamples && !err; s++) {
		for (uint32_t i = 0; i < m && s; i++)
			draw[i] = wr_rng_below(&r, m);
		double v = mean_of(x, s ? draw : NULL, m) * scale;
		if (b)
			v = v / (mean_of(y, s ? draw : NULL, m) * scale) - 1;
		*(s ? &value[s - 1] : &out->mean) = v;
	}
	if (!err)
		wr_interval_of(value, resamples, out);
	free(value);
	free(draw);
	free(x);
	free(y);
	return err;
}

/* How far x gets on the way from the base to the oracle. */
static double closed(double x, double base, double oracle)
{
	return oracle > base ? (x - base) / (oracle - base) : 0;
}

static int gains(const struct lift *l, const struct options *o, const struct judged *p, json_t *j,
	struct wr_errmsg *msg)
{
	static const char *const base[2] = {"popularity", "item-knn"};
	struct wr_interval x;
	int err = WR_OK;
	for (int b = 0; b < 2 && !err; b++) {
		const struct judged *q = find(l, base[b]);
		if (!q || q == p)
			continue;
		json_t *to = json_object();
		json_object_set_new(j, b ? "over_item_knn" : "over_popularity", to);
		for (int k = 0; k < 2 && !err; k++) {
			err = interval(k ? p->conversions : p->clicks,
				k ? q->conversions : q->clicks, l->n_states, o->n_resamples, &x,
				msg);
			json_object_set_new(to, k ? "cvr" : "ctr", wrtrain_interval_json(&x));
			printf("%s%s %s %+.1f %% [%+.1f, %+.1f]", k ? "," : "\n    over ",
				k ? "" : base[b], k ? "CVR" : "CTR", 100 * x.mean, 100 * x.low,
				100 * x.high);
		}
	}
	return err;
}

static int report(const struct lift *l, const struct options *o, const struct judged *p,
	json_t *all, struct wr_errmsg *msg)
{
	const struct judged *low = find(l, "popularity"), *high = find(l, "oracle");
	struct wr_interval c, v;
	int err = interval(p->clicks, NULL, l->n_states, o->n_resamples, &c, msg);
	if (!err)
		err = interval(p->conversions, NULL, l->n_states, o->n_resamples, &v, msg);
	if (err)
		return err;
	json_t *j = json_pack("{s:s, s:o, s:o, s:f, s:f}", "policy", p->name, "ctr",
		wrtrain_interval_json(&c), "cvr", wrtrain_interval_json(&v), "diversity",
		p->diversity, "coverage", p->coverage);
	printf("%s\n    CTR %.2f %%, CVR %.2f %% of what is shown; diversity %.3f, coverage %.3f",
		p->name, 100 * c.mean, 100 * v.mean, p->diversity, p->coverage);
	if (low && high && p != low && p != high) {
		double a = closed(c.mean, mean_of(low->clicks, NULL, l->n_states),
			       mean_of(high->clicks, NULL, l->n_states)),
		       b = closed(v.mean, mean_of(low->conversions, NULL, l->n_states),
			       mean_of(high->conversions, NULL, l->n_states));
		json_object_set_new(j, "closes_ctr", json_real(a));
		json_object_set_new(j, "closes_cvr", json_real(b));
		printf("; %.0f %% and %.0f %% of the way from popularity to the oracle", 100 * a,
			100 * b);
	}
	err = gains(l, o, p, j, msg);
	putchar('\n');
	json_array_append_new(all, j);
	return err;
}

static int run_all(struct lift *l, const struct options *o, struct wr_errmsg *msg)
{
	struct wr_baseline_log log;
	uint64_t *offset = NULL;
	json_t *all = json_array();
	int err = wrtrain_log_of(l->ds, &log, &offset, msg);
	if (!err)
		err = add_policy(l, &log, "random", o->n_threads, msg);
	for (unsigned int i = 0; i < o->n_names && !err; i++)
		err = add_policy(l, &log, o->name[i], o->n_threads, msg);
	if (!err)
		err = add_policy(l, &log, "oracle", o->n_threads, msg);
	for (unsigned int i = 0; i < l->n_policies && !err; i++)
		err = report(l, o, &l->policy[i], all, msg);
	if (!err && o->slates)
		err = wrtrain_lift_slates(
			l, &log, o->name, o->n_names, o->n_threads, o->slates, msg);
	if (!err && o->json) {
		json_t *j = json_pack("{s:I, s:I, s:I, s:I, s:s, s:O}", "seed", (json_int_t)l->seed,
			"items", (json_int_t)l->ds->n_items, "first_customer",
			(json_int_t)l->first_user, "customers", (json_int_t)l->n_states, "what",
			"true clicks (ctr) and conversions (cvr) per shown item, slates of 10 to "
			"customers whom nothing was trained on",
			"policies", all);
		err = j ? wr_json_write(j, o->json, msg) : wr_fail(msg, WR_ENOMEM, "out of memory");
		json_decref(j);
	}
	json_decref(all);
	free(offset);
	return err;
}

static int run(int argc, char **argv, struct wr_errmsg *msg)
{
	struct options o = {0};
	struct lift l = {0};
	int err = parse(argc, argv, &o, &l, msg);
	if (err)
		return err;
	wr_stop_catch_signals();
	err = open_world(&l, o.data, msg);
	if (!err)
		err = wr_dataset_load(&l.ds, o.data, msg);
	if (!err)
		err = walk_users(&l, msg);
	if (!err)
		err = run_all(&l, &o, msg);
	for (unsigned int i = 0; i < l.n_policies; i++)
		judged_free(&l.policy[i]);
	free(l.state);
	free(l.off);
	free(l.rows);
	free(l.time_ms);
	free(l.asked_ms);
	wr_dataset_free(l.ds);
	wr_sim_free(l.world);
	return err;
}

int wr_cmd_lift(int argc, char **argv)
{
	struct wr_errmsg msg = {""};
	int err = run(argc, argv, &msg);
	if (err == WR_EINTR && msg.text[0]) {
		fprintf(stderr, "wrtrain lift: %s\n", msg.text);
		return 1;
	}
	return wrtrain_finish("lift", err, &msg);
}
