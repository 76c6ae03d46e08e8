/* SPDX-License-Identifier: BSD-3-Clause */
/* wrtrain replay: what policies would have earned, from slates that were logged with propensities.
 */
#include "policies.h"
#include "wrtrain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MIN_EFFECTIVE 300 /* matching places, weighted; under it no figure is to be trusted */

struct options {
	const char *data, *train, *impressions, *heads, *clip, *k, *resamples, *seed, *threads,
		*json;
	const char *name[WRTRAIN_MAX_POLICIES];
	unsigned int n_names;
};

struct replay {
	struct wr_dataset *ds, *train;
	struct wr_impressions *x;
	struct wr_student *student;
	struct wr_heads *heads;
	uint64_t *off; /* of the slates' histories in rows */
	uint32_t *rows;
	int64_t *times, *asked; /* of the histories' tokens; of the slates */
	uint32_t k, resamples, threads;
	uint64_t seed;
	double clip;
	struct wr_replay_sums *sums[WRTRAIN_MAX_POLICIES][WR_N_REWARDS];
};

static int parse(int argc, char **argv, struct options *o, struct replay *r, struct wr_errmsg *msg)
{
	const struct wr_opt opts[] = {
		{"data", "DIR", "the data set of the logged customers: items and earlier clicks",
			&o->data},
		{"impressions", "FILE", "the slates, with propensities (DIR/impressions.tsv)",
			&o->impressions},
		{"train", "DIR", "what baselines are made of (--data's)", &o->train},
		{"heads", "RUNDIR",
			"its heads predict rewards for the doubly robust estimate (none: it is the "
			"inverse-propensity one)",
			&o->heads},
		{"clip", "X", "weights are at most X; biases, and is told (0 = no limit)",
			&o->clip},
		{"k", "N", "length of the policies' lists (10)", &o->k},
		{"resamples", "N", "bootstrap samples of slates (1000)", &o->resamples},
		{"seed", "N", "of the samples (1)", &o->seed},
		{"threads", "N", "OpenMP threads (all cores)", &o->threads},
		{"json", "FILE", "the figures as JSON (- = stdout)", &o->json},
	};
	int err = wr_opt_parse(argc, argv,
		"wrtrain replay --data=DIR POLICY… [options]\n"
		"POLICY: as wrtrain lift; gains are over the first",
		opts, WR_ARRAY_LEN(opts), o->name, WRTRAIN_MAX_POLICIES, &o->n_names, msg);
	r->k = 10;
	r->resamples = 1000;
	r->seed = 1;
	if (!err && (!o->data || !o->n_names))
		err = wr_fail(msg, WR_EINVAL, "give --data and at least one policy (see --help)");
	if (!err)
		err = wrtrain_u32("k", o->k, 1, 200, &r->k, msg);
	if (!err)
		err = wrtrain_u32("resamples", o->resamples, 100, 100000, &r->resamples, msg);
	if (!err)
		err = wrtrain_u32("threads", o->threads, 1, 1024, &r->threads, msg);
	if (!err)
		err = wrtrain_double("clip", o->clip, 0, 1e12, &r->clip, msg);
	if (!err && o->seed && wr_parse_u64(o->seed, 0, INT64_MAX, &r->seed))
		err = wr_fail(msg, WR_EINVAL, "--seed=%s: give a whole number", o->seed);
	return err;
}

static int load(struct replay *r, const struct options *o, struct wr_errmsg *msg)
{
	char path[4096];
	int err = wr_dataset_load(&r->ds, o->data, msg);
	if (!err && o->train)
		err = wr_dataset_load(&r->train, o->train, msg);
	if (!err && r->train && r->train->n_items != r->ds->n_items)
		err = wr_fail(msg, WR_EINVAL,
			"%s has %u items, %s %u: they must name the same ones", o->train,
			r->train->n_items, o->data, r->ds->n_items);
	snprintf(path, sizeof(path), "%s/impressions.tsv", o->data);
	if (!err)
		err = wr_impressions_load(
			&r->x, r->ds, o->impressions ? o->impressions : path, msg);
	if (err || !o->heads)
		return err;
	snprintf(path, sizeof(path), "%s/best.safetensors", o->heads);
	err = wr_student_load(&r->student, path, msg);
	snprintf(path, sizeof(path), "%s/heads.safetensors", o->heads);
	return err ? err : wr_heads_load(&r->heads, path, r->student, msg);
}

/* What a policy may know of each slate's customer. */
static int histories(struct replay *r, struct wr_errmsg *msg)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < r->x->n_slates; i++)
		n += r->x->slate[i].n_history;
	r->off = malloc(((size_t)r->x->n_slates + 1) * sizeof(*r->off));
	r->rows = malloc((n + 1) * sizeof(*r->rows));
	r->times = malloc((n + 1) * sizeof(*r->times));
	r->asked = malloc(((size_t)r->x->n_slates + 1) * sizeof(*r->asked));
	if (!r->off || !r->rows || !r->times || !r->asked)
		return wr_fail(msg, WR_ENOMEM, "out of memory for %llu tokens of histories",
			(unsigned long long)n);
	r->off[0] = 0;
	for (uint32_t i = 0; i < r->x->n_slates; i++) {
		const struct wr_slate *s = &r->x->slate[i];
		r->off[i + 1] = r->off[i] + s->n_history;
		r->asked[i] = s->time_ms;
		if (!s->n_history)
			continue;
		uint32_t begin = r->ds->token_off[s->user];
		memcpy(r->rows + r->off[i], r->ds->token_row + begin,
			s->n_history * sizeof(*r->rows));
		memcpy(r->times + r->off[i], r->ds->token_time + begin,
			s->n_history * sizeof(*r->times));
	}
	return WR_OK;
}

static int replay_policy(struct replay *r, const struct wr_baseline_log *log, const char *name,
	unsigned int at, struct wr_errmsg *msg)
{
	size_t n = r->x->n_slates;
	const struct wr_histories h = {r->x->n_slates, r->off, r->rows, r->times, r->asked};
	uint32_t *rows = malloc((n * r->k + 1) * sizeof(*rows)),
		 *n_rows = malloc((n + 1) * sizeof(*n_rows));
	struct wr_policy *p = NULL;
	int err = rows && n_rows ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for lists");
	if (!err)
		err = wr_policy_new(&p, name, log, r->ds->item_category, r->threads, msg);
	if (!err)
		err = wr_policy_lists(p, &h, r->k, rows, n_rows, msg);
	for (int k = 0; k < WR_N_REWARDS && !err; k++) {
		r->sums[at][k] = malloc((n + 1) * sizeof(*r->sums[at][k]));
		err = r->sums[at][k] ? wr_replay_slates(r->x, r->ds, r->student, r->heads,
					       (enum wr_reward)k, rows, n_rows, r->k, r->clip,
					       r->threads, r->sums[at][k], msg)
				     : wr_fail(msg, WR_ENOMEM, "out of memory for replay");
	}
	wr_policy_free(p);
	free(rows);
	free(n_rows);
	return err;
}

static const char *const reward_name[WR_N_REWARDS] = {"ctr", "cvr"};
static const char *const estimator_name[WR_N_ESTIMATORS] = {
	"inverse_propensity", "self_normalised", "doubly_robust"};

static int report_reward(const struct replay *r, unsigned int at, enum wr_reward reward, json_t *to,
	struct wr_errmsg *msg)
{
	struct wr_interval x, gain;
	int err = WR_OK;
	for (int e = 0; e < WR_N_ESTIMATORS && !err; e++) {
		err = wr_replay_estimate(r->sums[at][reward], NULL, r->x->n_slates,
			(enum wr_estimator)e, r->resamples, r->seed, &x, msg);
		if (!err && at)
			err = wr_replay_estimate(r->sums[at][reward], r->sums[0][reward],
				r->x->n_slates, (enum wr_estimator)e, r->resamples, r->seed, &gain,
				msg);
		if (err)
			break;
		printf("    %s %-18s %.3f %% [%.3f, %.3f]", reward ? "CVR" : "CTR",
			estimator_name[e], 100 * x.mean, 100 * x.low, 100 * x.high);
		if (at)
			printf("  %+.1f %% [%+.1f, %+.1f] over the first", 100 * gain.mean,
				100 * gain.low, 100 * gain.high);
		putchar('\n');
		json_t *j = wrtrain_interval_json(&x);
		if (at)
			json_object_set_new(j, "over_first", wrtrain_interval_json(&gain));
		json_object_set_new(to, estimator_name[e], j);
	}
	return err;
}

static int report(const struct replay *r, const char *name, unsigned int at, json_t *all,
	struct wr_errmsg *msg)
{
	double w = 0, w2 = 0;
	uint64_t places = 0, match = 0, clipped = 0;
	for (uint32_t i = 0; i < r->x->n_slates; i++) {
		const struct wr_replay_sums *s = &r->sums[at][0][i];
		w += s->weight;
		w2 += s->weight_sq;
		places += s->places;
		match += s->n_match;
		clipped += s->n_clipped;
	}
	double effective = w2 > 0 ? w * w / w2 : 0;
	printf("%s\n    %llu of %llu shown places match; effective sample size %.0f; mean weight "
	       "%.3f "
	       "(1 where every list could be shown); %llu clipped\n",
		name, (unsigned long long)match, (unsigned long long)places, effective,
		w / (double)WR_MAX(places, (uint64_t)1), (unsigned long long)clipped);
	if (effective < MIN_EFFECTIVE)
		printf("    the log says next to nothing of this policy: what it shows was hardly "
		       "ever "
		       "shown there\n");
	json_t *j = json_pack("{s:s, s:I, s:I, s:f, s:f, s:I}", "policy", name, "places",
		(json_int_t)places, "matching", (json_int_t)match, "effective_sample_size",
		effective, "mean_weight", w / (double)WR_MAX(places, (uint64_t)1), "clipped",
		(json_int_t)clipped);
	int err = j ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory");
	for (int k = 0; k < WR_N_REWARDS && !err; k++) {
		json_t *to = json_object();
		json_object_set_new(j, reward_name[k], to);
		err = report_reward(r, at, (enum wr_reward)k, to, msg);
	}
	json_array_append_new(all, j);
	return err;
}

/* How well the heads fit this log, whose customers they may never have seen. */
static int judge_heads(const struct replay *r, json_t *to, struct wr_errmsg *msg)
{
	uint64_t n = r->x->n, n_clicked = 0;
	float *click = malloc((n + 1) * sizeof(*click)),
	      *convert = malloc((n + 1) * sizeof(*convert));
	uint8_t *y = malloc(n + 1);
	struct wr_calibration c, v;
	int err =
		click && convert && y ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for heads");
	if (!err)
		err = wr_heads_predict(
			r->heads, r->student, r->ds, r->x, r->threads, click, convert, msg);
	if (!err)
		err = wr_calibration_of(click, r->x->clicked, n, &c, msg);
	for (uint64_t i = 0; i < n && !err; i++)
		if (r->x->clicked[i]) {
			convert[n_clicked] = convert[i];
			y[n_clicked++] = r->x->converted[i];
		}
	if (!err)
		err = wr_calibration_of(convert, y, n_clicked, &v, msg);
	if (!err) {
		printf("heads on this log: clicks AUC %.4f, rate %.4f predicted, %.4f observed; "
		       "conversions of clicks AUC %.4f, %.4f, %.4f\n",
			c.auc, c.predicted, c.observed, v.auc, v.predicted, v.observed);
		json_object_set_new(to, "heads",
			json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "click_auc",
				isnan(c.auc) ? 0 : c.auc, "click_predicted", c.predicted,
				"click_observed", c.observed, "click_calibration_error", c.error,
				"convert_auc", isnan(v.auc) ? 0 : v.auc, "convert_predicted",
				v.predicted, "convert_observed", v.observed,
				"convert_calibration_error", v.error));
	}
	free(click);
	free(convert);
	free(y);
	return err;
}

static int run_all(struct replay *r, const struct options *o, struct wr_errmsg *msg)
{
	struct wr_baseline_log log;
	uint64_t *offset = NULL;
	json_t *all = json_array(), *root = json_pack("{s:s, s:I, s:f, s:I}", "data", o->data,
					    "slates", (json_int_t)r->x->n_slates, "clip", r->clip,
					    "resamples", (json_int_t)r->resamples);
	int err = wrtrain_log_of(r->train ? r->train : r->ds, &log, &offset, msg);
	if (!err)
		err = histories(r, msg);
	if (!err && r->heads)
		err = judge_heads(r, root, msg);
	for (unsigned int i = 0; i < o->n_names && !err; i++) {
		err = replay_policy(r, &log, o->name[i], i, msg);
		if (!err)
			err = report(r, o->name[i], i, all, msg);
	}
	json_object_set(root, "policies", all);
	if (!err && o->json)
		err = wr_json_write(root, o->json, msg);
	json_decref(all);
	json_decref(root);
	free(offset);
	return err;
}

static int run(int argc, char **argv, struct wr_errmsg *msg)
{
	struct options o = {0};
	struct replay r = {0};
	int err = parse(argc, argv, &o, &r, msg);
	if (err)
		return err;
	wr_stop_catch_signals();
	err = load(&r, &o, msg);
	if (!err)
		err = run_all(&r, &o, msg);
	for (unsigned int i = 0; i < o.n_names; i++)
		for (int k = 0; k < WR_N_REWARDS; k++)
			free(r.sums[i][k]);
	free(r.off);
	free(r.rows);
	free(r.times);
	free(r.asked);
	wr_heads_free(r.heads);
	wr_student_free(r.student);
	wr_impressions_free(r.x);
	wr_dataset_free(r.train);
	wr_dataset_free(r.ds);
	return err;
}

int wr_cmd_replay(int argc, char **argv)
{
	struct wr_errmsg msg;
	return wrtrain_finish("replay", run(argc, argv, &msg), &msg);
}
