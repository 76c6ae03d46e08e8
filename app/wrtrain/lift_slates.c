/* SPDX-License-Identifier: BSD-3-Clause */
/* A policy that explores in the simulated centre, and the log of its slates with propensities. */
#include "lift.h"
#include "wr_wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BEST      20 /* of a policy, that are shown in random order */
#define AT_RANDOM 0.2

struct explorer {
	const struct lift *l;
	unsigned int n;
	uint32_t *rows[WRTRAIN_MAX_POLICIES], *n_rows[WRTRAIN_MAX_POLICIES];
	struct wr_rng rng;
};

static bool has(const uint32_t *rows, uint64_t n, uint32_t row)
{
	for (uint64_t i = 0; i < n; i++)
		if (rows[i] == row)
			return true;
	return false;
}

static bool seen(const struct lift *l, uint32_t i, uint32_t row)
{
	return has(l->rows + l->off[i], l->off[i + 1] - l->off[i], row);
}

/* Distinct clicked items of customer i. */
static uint32_t n_seen(const struct lift *l, uint32_t i)
{
	uint32_t n = 0;
	for (uint64_t t = l->off[i]; t < l->off[i + 1]; t++)
		n += !has(l->rows + l->off[i], t - l->off[i], l->rows[t]);
	return n;
}

/* Every place of a slate has the same marginal: places are exchangeable in each part. */
static double propensity(const struct explorer *x, uint32_t i, uint32_t row)
{
	double p = AT_RANDOM / (x->l->ds->n_items - n_seen(x->l, i));
	for (unsigned int k = 0; k < x->n; k++) {
		const uint32_t *list = x->rows[k] + (size_t)i * BEST;
		if (has(list, x->n_rows[k][i], row))
			p += (1 - AT_RANDOM) / x->n / x->n_rows[k][i];
	}
	return p;
}

static void make_slate(struct explorer *x, uint32_t i, uint32_t slate[WR_SIM_SLATE])
{
	uint32_t n = 0, pool[BEST];
	if (wr_rng_double(&x->rng) < AT_RANDOM) {
		while (n < WR_SIM_SLATE) {
			uint32_t row = wr_rng_below(&x->rng, x->l->ds->n_items);
			if (!has(slate, n, row) && !seen(x->l, i, row))
				slate[n++] = row;
		}
		return;
	}
	uint32_t k = wr_rng_below(&x->rng, x->n), m = x->n_rows[k][i];
	memcpy(pool, x->rows[k] + (size_t)i * BEST, m * sizeof(*pool));
	for (; n < WR_SIM_SLATE; n++) {
		uint32_t at = n + wr_rng_below(&x->rng, m - n), row = pool[at];
		pool[at] = pool[n];
		pool[n] = row;
		slate[n] = row;
	}
}

static uint64_t user_id(const struct lift *l, uint32_t i)
{
	char name[24];
	int n = snprintf(name, sizeof(name), "customer-%07u", l->first_user + i + 1);
	return wr_wire_user_id(name, (size_t)n);
}

static void write_slate(struct explorer *x, uint32_t i, FILE *f)
{
	const struct lift *l = x->l;
	uint32_t slate[WR_SIM_SLATE];
	make_slate(x, i, slate);
	for (uint32_t k = 0; k < WR_SIM_SLATE; k++) {
		bool click = wr_rng_double(&x->rng) <
			     wr_sim_click_probability(l->world, &l->state[i], slate[k], k);
		bool convert = wr_rng_double(&x->rng) <
			       wr_sim_convert_probability(l->world, &l->state[i], slate[k]);
		fprintf(f, "%llu\t%u\t%u\t%lld\t%d\t%d\t%.9g\n", (unsigned long long)user_id(l, i),
			slate[k] + 1, k, (long long)l->state[i].time_ms, click, click && convert,
			propensity(x, i, slate[k]));
	}
}

static void write_items(const struct lift *l, FILE *f)
{
	const struct wr_dataset *ds = l->ds;
	fputs("#id\tname\tcategory\ttitle\n", f);
	for (uint32_t r = 0; r < ds->n_items; r++)
		fprintf(f, "%u\t%s\t%s\t%s\n", r + 1, ds->item_name[r],
			ds->category_name[ds->item_category[r]], ds->item_title[r]);
}

static void write_clicks(const struct lift *l, FILE *f)
{
	fputs("#user\titem\tkind\ttime_ms\n", f);
	for (uint32_t i = 0; i < l->n_states; i++)
		for (uint64_t t = l->off[i]; t < l->off[i + 1]; t++)
			fprintf(f, "%llu\t%u\tclick\t%lld\n", (unsigned long long)user_id(l, i),
				l->rows[t] + 1, (long long)l->time_ms[t]);
}

static int write_files(struct explorer *x, const char *dir, struct wr_errmsg *msg)
{
	static const char *const name[3] = {"items.tsv", "interactions.tsv", "impressions.tsv"};
	struct wr_file_writer *w[3] = {NULL};
	char path[4096];
	int err = mkdir(dir, 0777) && errno != EEXIST
			  ? wr_fail(msg, WR_EIO, "%s: cannot make the folder: %s", dir,
				    strerror(errno))
			  : WR_OK;
	for (int i = 0; i < 3 && !err; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, name[i]);
		err = wr_file_writer_open(&w[i], path, msg);
	}
	if (!err) {
		FILE *f = wr_file_writer_stream(w[2]);
		write_items(x->l, wr_file_writer_stream(w[0]));
		write_clicks(x->l, wr_file_writer_stream(w[1]));
		fputs("#user\titem\tposition\ttime_ms\tclicked\tconverted\tpropensity\n", f);
		for (uint32_t i = 0; i < x->l->n_states; i++)
			write_slate(x, i, f);
	}
	for (int i = 0; i < 3; i++) {
		if (err)
			wr_file_writer_abort(w[i]);
		else
			err = wr_file_writer_commit(w[i], msg);
	}
	return err;
}

static int add_list(struct explorer *x, const struct wr_baseline_log *log, const char *name,
	uint32_t threads, struct wr_errmsg *msg)
{
	const struct lift *l = x->l;
	const struct wr_histories h = {l->n_states, l->off, l->rows, l->time_ms, l->asked_ms};
	struct wr_policy *p = NULL;
	uint32_t *rows = malloc((size_t)l->n_states * BEST * sizeof(*rows)),
		 *n_rows = malloc(l->n_states * sizeof(*n_rows));
	x->rows[x->n] = rows;
	x->n_rows[x->n++] = n_rows;
	if (!rows || !n_rows)
		return wr_fail(msg, WR_ENOMEM, "out of memory for slates");
	int err = wr_policy_new(&p, name, log, l->ds->item_category, threads, msg);
	if (!err)
		err = wr_policy_lists(p, &h, BEST, rows, n_rows, msg);
	wr_policy_free(p);
	for (uint32_t i = 0; i < l->n_states && !err; i++)
		if (n_rows[i] < WR_SIM_SLATE)
			err = wr_fail(msg, WR_EINVAL, "%s: a list of %u: too short to show ten",
				name, n_rows[i]);
	return err;
}

int wrtrain_lift_slates(const struct lift *l, const struct wr_baseline_log *log,
	const char *const *names, unsigned int n_names, uint32_t threads, const char *dir,
	struct wr_errmsg *msg)
{
	struct explorer x = {.l = l};
	int err = WR_OK;
	wr_rng_init(&x.rng, l->seed, LIFT_STREAM + 1);
	for (unsigned int i = 0; i < n_names && !err; i++)
		err = add_list(&x, log, names[i], threads, msg);
	if (!err)
		err = write_files(&x, dir, msg);
	for (unsigned int i = 0; i < x.n; i++) {
		free(x.rows[i]);
		free(x.n_rows[i]);
	}
	return err;
}
