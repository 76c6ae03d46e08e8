/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a policy would have earned on logged slates: inverse propensity (Horvitz, Thompson 1952; by
 * item and place: Li et al. 2018), self-normalised (Swaminathan, Joachims 2015), doubly robust
 * (Dudík, Langford, Li 2011). Some 10^4 … 10^6 slates.
 */
#include "heads_int.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS 2000 /* of slates, that bootstrap samples are drawn from */

struct job {
	const struct wr_impressions *x;
	const struct wr_heads *h;
	enum wr_reward reward;
	const uint32_t *lists, *n_lists;
	uint32_t k, most; /* most: places of the longest slate or list */
	double clip;
	const float *u; /* [n_slates][2d] with heads */
};

/* Predicted reward of n rows at places 0 … n-1. */
static void predict(const struct job *j, uint32_t slate, const uint32_t *rows, uint32_t n,
	float *scratch, double *out)
{
	float *click = scratch, *convert = scratch + j->most;
	memset(out, 0, n * sizeof(*out));
	if (!j->h || !n)
		return;
	wr_heads_score(j->h, j->u + (size_t)slate * 2 * j->h->d, rows, n, scratch + 2 * j->most,
		click, convert);
	for (uint32_t i = 0; i < n; i++)
		out[i] = (double)click[i] * wr_heads_looked(j->h, i) *
			 (j->reward == WR_REWARD_CLICK ? 1 : (double)convert[i]);
}

static void one_slate(
	const struct job *j, uint32_t i, float *scratch, double *mine, struct wr_replay_sums *s)
{
	const struct wr_slate *g = &j->x->slate[i];
	const uint32_t *list = j->lists + (size_t)i * j->k;
	uint32_t n = WR_MIN(j->n_lists[i], g->n);
	*s = (struct wr_replay_sums){.places = g->n};
	predict(j, i, list, n, scratch, mine);
	for (uint32_t k = 0; k < n; k++)
		s->direct += mine[k];
	for (uint64_t at = g->first; at < g->first + g->n; at++) {
		uint32_t k = j->x->position[at];
		if (k >= n || list[k] != j->x->row[at])
			continue;
		double w = 1 / (double)j->x->propensity[at];
		bool clipped = j->clip > 0 && w > j->clip;
		w = clipped ? j->clip : w;
		double reward =
			j->reward == WR_REWARD_CLICK ? j->x->clicked[at] : j->x->converted[at];
		s->match += w * reward;
		s->weight += w;
		s->weight_sq += w * w;
		s->residual += w * (reward - mine[k]);
		s->n_match++;
		s->n_clipped += clipped;
	}
}

/* One thread's memory, in floats: clicks, conversions, the heads' scratch; and a double a place. */
static int run_job(
	const struct job *j, uint32_t threads, struct wr_replay_sums *sums, struct wr_errmsg *msg)
{
	int n_threads = threads ? (int)threads : omp_get_max_threads();
	size_t floats = 2 * (size_t)j->most + (j->h ? wr_heads_scratch(j->h, j->most) : 0);
	float *scratch = malloc((size_t)n_threads * floats * sizeof(*scratch));
	double *mine = malloc((size_t)n_threads * j->most * sizeof(*mine));
	int err = scratch && mine ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for replay");
	if (!err) {
#pragma omp parallel for num_threads(n_threads) schedule(dynamic, 64)
		for (uint32_t i = 0; i < j->x->n_slates; i++) {
			size_t t = (size_t)omp_get_thread_num();
			one_slate(j, i, scratch + t * floats, mine + t * j->most, &sums[i]);
		}
	}
	free(scratch);
	free(mine);
	return err;
}

int wr_replay_slates(const struct wr_impressions *x, const struct wr_dataset *ds,
	const struct wr_student *s, const struct wr_heads *h, enum wr_reward reward,
	const uint32_t *lists, const uint32_t *n_lists, uint32_t k, double clip, uint32_t threads,
	struct wr_replay_sums *sums, struct wr_errmsg *msg)
{
	float *u = NULL;
	struct job j = {.x = x,
		.h = h,
		.reward = reward,
		.lists = lists,
		.n_lists = n_lists,
		.k = k,
		.most = WR_MAX(k, 1u),
		.clip = clip};
	int err = WR_OK;
	if (!x->propensity)
		return wr_fail(msg, WR_EINVAL,
			"the log has no propensities: how probable each shown item was at its "
			"place "
			"must be logged when it is shown");
	if (h) {
		u = malloc((size_t)x->n_slates * 2 * h->d * sizeof(*u) + 1);
		err = u ? wr_learn_heads_users_of_slates(h, s, ds, x, threads, u, msg)
			: wr_fail(msg, WR_ENOMEM, "out of memory for user vectors");
	}
	j.u = u;
	if (!err)
		err = run_job(&j, threads, sums, msg);
	free(u);
	return err;
}

/* The estimate from sums over slates. */
static double value_of(const struct wr_replay_sums *t, enum wr_estimator e)
{
	double places = WR_MAX((double)t->places, 1.0);
	if (e == WR_ESTIMATE_IPS)
		return t->match / places;
	if (e == WR_ESTIMATE_SNIPS)
		return t->weight > 0 ? t->match / t->weight : 0;
	return (t->direct + t->residual) / places;
}

/* Sums of n slates: all, or as drawn. */
static double total_of(
	const struct wr_replay_sums *a, const uint32_t *draw, uint32_t n, enum wr_estimator e)
{
	struct wr_replay_sums t = {0};
	double places = 0;
	for (uint32_t i = 0; i < n; i++) {
		const struct wr_replay_sums *s = &a[draw ? draw[i] : i];
		t.match += s->match;
		t.weight += s->weight;
		t.direct += s->direct;
		t.residual += s->residual;
		places += s->places;
	}
	t.places = (uint32_t)WR_MIN(places, (double)UINT32_MAX);
	return value_of(&t, e);
}

/* Sums of every n_blocks-th slate; slates are independent, so their sums may be drawn in place of
 * them. */
static struct wr_replay_sums *blocks_of(
	const struct wr_replay_sums *a, uint32_t n, uint32_t n_blocks)
{
	struct wr_replay_sums *b = calloc(n_blocks, sizeof(*b));
	for (uint32_t i = 0; b && i < n; i++) {
		struct wr_replay_sums *t = &b[i % n_blocks];
		t->match += a[i].match;
		t->weight += a[i].weight;
		t->direct += a[i].direct;
		t->residual += a[i].residual;
		t->places += a[i].places;
	}
	return b;
}

int wr_replay_estimate(const struct wr_replay_sums *a, const struct wr_replay_sums *base,
	uint32_t n, enum wr_estimator e, uint32_t resamples, uint64_t seed, struct wr_interval *out,
	struct wr_errmsg *msg)
{
	struct wr_rng r;
	uint32_t m = WR_MIN(n, (uint32_t)BLOCKS);
	*out = (struct wr_interval){0};
	if (!n || resamples < 100)
		return wr_fail(msg, WR_EINVAL, "give at least a slate and 100 resamples");
	double *value = malloc(resamples * sizeof(*value));
	uint32_t *draw = malloc((size_t)m * sizeof(*draw));
	struct wr_replay_sums *x = blocks_of(a, n, m), *y = blocks_of(base ? base : a, n, m);
	int err = value && draw && x && y ? WR_OK
					  : wr_fail(msg, WR_ENOMEM, "out of memory for resamples");
	wr_rng_init(&r, seed, 0x2e914);
	for (uint32_t s = 0; s <= resamples && !err; s++) {
		for (uint32_t i = 0; i < m && s; i++)
			draw[i] = wr_rng_below(&r, m);
		double v = total_of(x, s ? draw : NULL, m, e);
		if (base) {
			double b = total_of(y, s ? draw : NULL, m, e);
			v = b > 0 ? v / b - 1 : 0;
		}
		if (s)
			value[s - 1] = v;
		else
			out->mean = v;
	}
	if (!err)
		wr_interval_of(value, resamples, out);
	free(value);
	free(draw);
	free(x);
	free(y);
	return err;
}
