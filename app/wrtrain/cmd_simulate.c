/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wrtrain simulate: writes the data set of a simulated customer-service centre; with `policies`,
 * measures there what random, popularity, item-kNN and oracle slates are truly worth
 * (docs/simulator.md).
 */
#include "wr_baseline.h"
#include "wr_report.h"
#include "wr_sim.h"
#include "wr_wire.h"
#include "wrtrain.h"

#include <stdlib.h>
#include <string.h>

#define RANDOM_STREAM 1 /* of the random policy; lib/sim's streams start at 2^40 */

enum policy { RANDOM, POPULARITY, ITEM_KNN, ORACLE, N_POLICIES };
static const char *const policy_names[N_POLICIES] = {"random", "popularity", "item_knn", "oracle"};

struct options {
	uint64_t seed;
	uint32_t n_items, n_users, n_states, n_seeds;
	bool impressions, replace;
	const char *out, *json;
};

/* Everything that one world's policies need. */
struct trial {
	struct wr_sim *world;
	struct wr_sim_state *states; /* held out, of the first n_states users */
	uint64_t *offset;            /* the log of all users */
	uint32_t *rows;
	struct wr_popularity *popularity;
	struct wr_knn *knn;
	struct wr_knn_scratch *scratch;
	struct wr_rng rng;
};

static void trial_fini(struct trial *t)
{
	wr_knn_scratch_free(t->scratch);
	wr_knn_free(t->knn);
	wr_popularity_free(t->popularity);
	free(t->rows);
	free(t->offset);
	free(t->states);
	wr_sim_free(t->world);
}

/* Walks every user: their clicks are the log, the states behind them are held out. */
static int trial_walk(struct trial *t, const struct options *o, struct wr_errmsg *msg)
{
	uint64_t n = 0;
	struct wr_progress progress;
	wr_progress_start(&progress, "simulating users", o->n_users);
	for (uint32_t u = 0; u < o->n_users; u++) {
		struct wr_sim_walk walk;
		struct wr_sim_slate slate;
		wr_sim_walk_start(&walk, t->world, u);
		while (wr_sim_walk_next(&walk, &slate))
			;
		memcpy(t->rows + n, walk.state.seen, walk.state.n_seen * sizeof(*t->rows));
		n += walk.state.n_seen;
		t->offset[u + 1] = n;
		if (u < o->n_states)
			t->states[u] = walk.state;
		wr_progress_update(&progress, u + 1, NULL);
		if (wr_stop_requested())
			return wr_fail(msg, WR_EINTR, "stopped");
	}
	wr_progress_end(&progress, o->n_users, NULL);
	return WR_OK;
}

static int trial_init(
	struct trial *t, const struct options *o, uint64_t seed, struct wr_errmsg *msg)
{
	memset(t, 0, sizeof(*t));
	wr_rng_init(&t->rng, seed, RANDOM_STREAM);
	int err = wr_sim_new(&t->world, seed, o->n_items, msg);
	if (err)
		return err;
	t->states = calloc(o->n_states, sizeof(*t->states));
	t->offset = calloc((size_t)o->n_users + 1, sizeof(*t->offset));
	t->rows = malloc((size_t)o->n_users * WR_SIM_MAX_CLICKS * sizeof(*t->rows));
	if (!t->states || !t->offset || !t->rows)
		return wr_fail(msg, WR_ENOMEM, "no memory for the log of %u users", o->n_users);
	err = trial_walk(t, o, msg);
	if (err)
		return err;
	struct wr_baseline_log log = {t->offset, t->rows, o->n_users, o->n_items};
	struct wr_knn_params params = wr_knn_params_default();
	err = wr_popularity_new(&t->popularity, &log, msg);
	if (!err)
		err = wr_knn_new(&t->knn, &log, &params, msg);
	if (!err)
		err = wr_knn_scratch_new(&t->scratch, t->knn, msg);
	return err;
}

static bool holds(const uint32_t *rows, uint32_t n, uint32_t row)
{
	for (uint32_t i = 0; i < n; i++)
		if (rows[i] == row)
			return true;
	return false;
}

/* The slate of a policy, seen items left out; its length. */
static uint32_t make_slate(
	struct trial *t, enum policy policy, const struct wr_sim_state *s, uint32_t *rows)
{
	uint32_t n = 0;
	switch (policy) {
	case RANDOM:
		while (n < WR_SIM_SLATE) {
			uint32_t row = wr_rng_below(&t->rng, wr_sim_n_items(t->world));
			if (!holds(rows, n, row) && !holds(s->seen, s->n_seen, row))
				rows[n++] = row;
		}
		return n;
	case POPULARITY:
		return wr_popularity_top(
			t->popularity, s->seen, s->n_seen, true, WR_SIM_SLATE, rows);
	case ITEM_KNN:
		return wr_knn_top(t->knn, t->scratch, s->seen, s->n_seen, true, WR_SIM_SLATE, rows);
	default:
		wr_sim_oracle(t->world, s, WR_SIM_SLATE, rows);
		return WR_SIM_SLATE;
	}
}

/* How far item-kNN gets on the way from popularity to the oracle. */
static double closed(const double x[N_POLICIES])
{
	return (x[ITEM_KNN] - x[POPULARITY]) / (x[ORACLE] - x[POPULARITY]);
}

static int try_world(const struct options *o, uint64_t seed, json_t *worlds, struct wr_errmsg *msg)
{
	struct trial t;
	double ctr[N_POLICIES] = {0}, cvr[N_POLICIES] = {0};
	json_t *world = json_pack("{s:I}", "seed", (json_int_t)seed);
	int err = trial_init(&t, o, seed, msg);
	if (err)
		goto out;
	for (uint32_t i = 0; i < o->n_states; i++)
		for (unsigned int p = 0; p < N_POLICIES; p++) {
			uint32_t rows[WR_SIM_SLATE], n = make_slate(&t, p, &t.states[i], rows);
			struct wr_sim_value v = wr_sim_slate_value(t.world, &t.states[i], rows, n);
			ctr[p] += v.clicks / WR_SIM_SLATE / o->n_states;
			cvr[p] += v.conversions / WR_SIM_SLATE / o->n_states;
		}
	for (unsigned int p = 0; p < N_POLICIES; p++)
		json_object_set_new(world, policy_names[p],
			json_pack("{s:f, s:f}", "ctr", ctr[p], "cvr", cvr[p]));
	json_object_set_new(world, "item_knn_closes_ctr", json_real(closed(ctr)));
	json_object_set_new(world, "item_knn_closes_cvr", json_real(closed(cvr)));
	if (json_array_append(worlds, world))
		err = wr_fail(msg, WR_ENOMEM, "out of memory");
out:
	trial_fini(&t);
	json_decref(world);
	return err;
}

static int run_policies(const struct options *o, struct wr_errmsg *msg)
{
	int err = WR_OK;
	char command[160];
	snprintf(command, sizeof(command),
		"wrtrain simulate --policies --items=%u --users=%u --states=%u --seed=%llu "
		"--seeds=%u",
		o->n_items, o->n_users, o->n_states, (unsigned long long)o->seed, o->n_seeds);
	json_t *worlds = json_array();
	json_t *root = json_pack("{s:s, s:s, s:I, s:I, s:I, s:i, s:o}", "command", command, "what",
		"true clicks (ctr) and conversions (cvr) per shown item, slates at held-out user "
		"states, seen items left out",
		"items", (json_int_t)o->n_items, "users", (json_int_t)o->n_users, "states",
		(json_int_t)o->n_states, "slate", WR_SIM_SLATE, "worlds", worlds);
	if (!root)
		return wr_fail(msg, WR_ENOMEM, "out of memory");
	for (uint32_t i = 0; !err && i < o->n_seeds; i++)
		err = try_world(o, o->seed + i, worlds, msg);
	if (!err)
		err = wr_json_write(root, o->json, msg);
	json_decref(root);
	return err;
}

static int run_write(const struct options *o, struct wr_errmsg *msg)
{
	struct wr_sim *world;
	struct wr_sim_counts c;
	struct wr_sim_write_params p = {.dir = o->out,
		.n_users = o->n_users,
		.impressions = o->impressions,
		.replace = o->replace,
		.user_id = wr_wire_user_id};
	int err = wr_sim_new(&world, o->seed, o->n_items, msg);
	if (err)
		return err;
	err = wr_sim_write(world, &p, &c, msg);
	wr_sim_free(world);
	if (!err)
		printf("%s: %u users, %u items, %llu clicks, %llu conversions, %llu utterances\n",
			o->out, o->n_users, o->n_items, (unsigned long long)c.clicks,
			(unsigned long long)c.conversions, (unsigned long long)c.utterances);
	return err;
}

static int run(int argc, char **argv, struct wr_errmsg *msg)
{
	struct options o = {
		.seed = 1, .n_items = 2000, .n_users = 6000, .n_states = 2000, .n_seeds = 1};
	const char *items = NULL, *users = NULL, *seed = NULL, *states = NULL, *seeds = NULL,
		   *impressions = NULL, *replace = NULL, *policies = NULL, *words[1];
	unsigned int n_words;
	o.json = "-";
	const struct wr_opt opts[] = {
		{"out", "DIR", "the data set; must not exist, or be empty", &o.out},
		{"items", "N", "articles and products (default 2000)", &items},
		{"users", "N", "customers (default 6000)", &users},
		{"seed", "N", "of everything (default 1)", &seed},
		{"impressions", NULL,
			"also write impressions.tsv: what was shown, where, and what became of it",
			&impressions},
		{"replace", NULL, "replace a data set that is there", &replace},
		{"policies", NULL,
			"no data set: true CTR and CVR of random, popularity, item-kNN and oracle "
			"slates",
			&policies},
		{"states", "N",
			"policies: held-out user states, at most as many as users (default 2000)",
			&states},
		{"seeds", "N", "policies: worlds, with seeds from --seed on (default 1)", &seeds},
		{"json", "FILE", "policies: where to write, - is standard output (default -)",
			&o.json},
	};
	int err = wr_opt_parse(argc, argv,
		"wrtrain simulate --out=DIR [options] | wrtrain simulate --policies [options]",
		opts, WR_ARRAY_LEN(opts), words, 1, &n_words, msg);
	if (err)
		return err;
	if (n_words && strcmp(words[0], "policies"))
		return wr_fail(
			msg, WR_EINVAL, "'%s': the only word is 'policies' (see --help)", words[0]);
	if ((err = wrtrain_u32(
		     "items", items, WR_SIM_MIN_ITEMS, WR_SIM_MAX_ITEMS, &o.n_items, msg)) ||
		(err = wrtrain_u32("users", users, 1, WR_SIM_MAX_USERS, &o.n_users, msg)) ||
		(err = wrtrain_u32("states", states, 1, WR_SIM_MAX_USERS, &o.n_states, msg)) ||
		(err = wrtrain_u32("seeds", seeds, 1, 100, &o.n_seeds, msg)))
		return err;
	if (seed && wr_parse_u64(seed, 0, INT64_MAX, &o.seed))
		return wr_fail(msg, WR_EINVAL, "--seed=%s: give a whole number from 0 on", seed);
	o.n_states = WR_MIN(o.n_states, o.n_users);
	o.impressions = impressions != NULL;
	o.replace = replace != NULL;
	wr_stop_catch_signals();
	if (policies || n_words)
		return run_policies(&o, msg);
	if (!o.out)
		return wr_fail(msg, WR_EINVAL, "give --out=DIR, or --policies (see --help)");
	return run_write(&o, msg);
}

int wr_cmd_simulate(int argc, char **argv)
{
	struct wr_errmsg msg = {""};
	int err = run(argc, argv, &msg);
	if (err == WR_EINTR && msg.text[0]) {
		fprintf(stderr, "wrtrain simulate: %s\n", msg.text);
		return 1;
	}
	return wrtrain_finish("simulate", err, &msg);
}
