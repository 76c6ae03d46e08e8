/* SPDX-License-Identifier: BSD-3-Clause */
/* wrtrain compare: models side by side on the same users, with bootstrap intervals. */
#include "wr_learn.h"
#include "wr_report.h"
#include "wrtrain.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_MODELS 16

struct options {
	const char *data, *split, *users, *resamples, *seed, *threads, *json;
	const char *model[MAX_MODELS];
	unsigned int n_models;
};

struct compare {
	struct wr_dataset *ds;
	enum wr_split split;
	uint32_t users, resamples, threads;
	uint64_t seed;
	struct wr_judge *judge[MAX_MODELS];
};

static int parse(int argc, char **argv, struct options *o, struct compare *c, struct wr_errmsg *msg)
{
	const struct wr_opt opts[] = {
		{"data", "DIR", "the data set", &o->data},
		{"split", "NAME", "test (last token) or valid (last but one) (test)", &o->split},
		{"users", "N", "only the first N users, or all (all)", &o->users},
		{"resamples", "N", "bootstrap samples of users (2000)", &o->resamples},
		{"seed", "N", "of the samples (1)", &o->seed},
		{"threads", "N", "OpenMP threads (all cores)", &o->threads},
		{"json", "FILE", "the figures as JSON (- = stdout)", &o->json},
	};
	int err = wr_opt_parse(argc, argv,
		"wrtrain compare --data=DIR MODEL MODEL… [options]\n"
		"MODEL: a run's directory (float), a bundle (int8), popularity, item-knn, "
		"item-knn-recent, vmis-knn; runs with commas between are one model, whose gains "
		"are "
		"means over them; differences are to the first",
		opts, WR_ARRAY_LEN(opts), o->model, MAX_MODELS, &o->n_models, msg);
	if (!err && (!o->data || !o->n_models))
		err = wr_fail(msg, WR_EINVAL, "give --data and at least one model (see --help)");
	if (!err && o->split && strcmp(o->split, "test") && strcmp(o->split, "valid"))
		err = wr_fail(msg, WR_EINVAL, "--split=%s: give test or valid", o->split);
	c->split = o->split && !strcmp(o->split, "valid") ? WR_SPLIT_VALID : WR_SPLIT_TEST;
	c->resamples = 2000;
	c->seed = 1;
	if (!err && o->users && strcmp(o->users, "all"))
		err = wrtrain_u32("users", o->users, 1, UINT32_MAX, &c->users, msg);
	if (!err)
		err = wrtrain_u32("resamples", o->resamples, 100, 1000000, &c->resamples, msg);
	if (!err)
		err = wrtrain_u32("threads", o->threads, 1, 1024, &c->threads, msg);
	if (!err && o->seed && wr_parse_u64(o->seed, 0, INT64_MAX, &c->seed))
		err = wr_fail(msg, WR_EINVAL, "--seed=%s: give a whole number", o->seed);
	return err;
}

static int judge_run(struct compare *c, const char *dir, struct wr_judge *j, struct wr_errmsg *msg)
{
	char path[4096];
	struct wr_student *s;
	snprintf(path, sizeof(path), "%s/best.safetensors", dir);
	int err = wr_student_load(&s, path, msg);
	if (!err)
		err = wr_judge_float(j, s, c->threads, msg);
	wr_student_free(s);
	return err;
}

static int judge_bundle(
	struct compare *c, const char *path, struct wr_judge *j, struct wr_errmsg *msg)
{
	struct wr_int8 x = {.isa = WR_ISA_AUTO, .gemm = WR_GEMM_AUTO, .threads = c->threads};
	struct wr_bundle *b;
	int err = wr_bundle_open(&b, path, msg);
	if (err)
		return err;
	x.bundle = b;
	err = wr_judge_int8(j, &x, msg);
	wr_bundle_close(b);
	return err;
}

static int judge_model(
	struct compare *c, const char *name, struct wr_judge *j, struct wr_errmsg *msg)
{
	struct stat st;
	if (!strcmp(name, "popularity"))
		return wr_judge_popularity(j, msg);
	if (!strcmp(name, "item-knn"))
		return wr_judge_item_knn(j, msg);
	if (!strcmp(name, "item-knn-recent"))
		return wr_judge_item_knn_recent(j, msg);
	if (!strcmp(name, "vmis-knn"))
		return wr_judge_vmis_knn(j, msg);
	if (!strcmp(name, "als"))
		return wr_judge_als(j, c->threads, msg);
	if (stat(name, &st))
		return wr_fail(msg, WR_ENOENT,
			"%s: no run, no bundle, and none of popularity, item-knn, item-knn-recent, "
			"vmis-knn",
			name);
	return S_ISDIR(st.st_mode) ? judge_run(c, name, j, msg) : judge_bundle(c, name, j, msg);
}

/* One model, or the means of several: names with commas between. */
static int judge_models(
	struct compare *c, const char *names, struct wr_judge **j, struct wr_errmsg *msg)
{
	char *copy = strdup(names), *rest = NULL;
	int err = copy ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for names");
	for (char *name = err ? NULL : strtok_r(copy, ",", &rest); name && !err;
		name = strtok_r(NULL, ",", &rest)) {
		struct wr_judge *first = *j;
		err = wr_judge_new(j, c->ds, c->split, c->users, msg);
		if (*j)
			(*j)->also = first;
		else
			*j = first;
		if (!err)
			err = judge_model(c, name, *j, msg);
	}
	if (!err && !*j)
		err = wr_fail(msg, WR_EINVAL, "'%s' names no model", names);
	free(copy);
	return err;
}

static void print_interval(const char *what, const struct wr_interval *x, bool sign)
{
	printf(sign ? "  %s %+.4f [%+.4f, %+.4f]" : "  %s %.4f [%.4f, %.4f]", what, x->mean, x->low,
		x->high);
}

static json_t *interval_json(const struct wr_interval *x)
{
	return json_pack("{s:f, s:f, s:f}", "mean", x->mean, "low", x->low, "high", x->high);
}

/* Figures of model i, and what it has more than the first. */
static int report(const struct compare *c, const struct options *o, unsigned int i, json_t *to,
	struct wr_errmsg *msg)
{
	static const char *const name[2] = {"HR@10", "NDCG@10"}, *const key[2] = {"hr10", "ndcg10"};
	struct wr_metrics_at m;
	json_t *j = json_pack("{s:s}", "model", o->model[i]), *less = json_object();
	int err = wr_judge_metrics(c->judge[i], &m, msg);
	printf("%s\n", o->model[i]);
	for (unsigned int diff = 0; diff < 2 && !err && !(diff && !i); diff++) {
		if (diff)
			printf("  more than %s:", o->model[0]);
		for (int g = 0; g < 2 && !err; g++) {
			struct wr_interval x;
			err = wr_judge_interval(c->judge[i], diff ? c->judge[0] : NULL,
				(enum wr_gain)g, c->resamples, c->seed, &x, msg);
			if (err)
				break;
			print_interval(name[g], &x, diff);
			json_object_set_new(diff ? less : j, key[g], interval_json(&x));
		}
		putchar('\n');
	}
	bool alone = !c->judge[i]->also;
	if (!err && alone)
		printf("   unfiltered HR@10 %.4f, NDCG@10 %.4f; MRR@10 %.4f; lists of 10: coverage "
		       "%.3f, Gini %.3f, novelty %.2f bits, diversity %.3f\n",
			m.hr[1][1], m.ndcg[1][1], m.mrr[0][1], m.coverage[1], m.gini[1],
			m.novelty[1], m.diversity[1]);
	if (alone)
		json_object_set_new(j, "metrics", wr_metrics_at_json(&m));
	if (!err && i && alone && !c->judge[0]->also) {
		double same = wr_judge_overlap(c->judge[0], c->judge[i], 10);
		printf("   %.4f of the ten best of %s are among its own\n", same, o->model[0]);
		json_object_set_new(j, "same10", json_real(same));
	}
	if (i)
		json_object_set(j, "more_than_first", less);
	json_decref(less);
	json_array_append_new(to, j);
	return err;
}

static int run(int argc, char **argv, struct wr_errmsg *msg)
{
	struct options o = {0};
	struct compare c = {0};
	json_t *models = json_array();
	int err = parse(argc, argv, &o, &c, msg);
	if (!err) {
		wr_stop_catch_signals();
		err = wr_dataset_load(&c.ds, o.data, msg);
	}
	for (unsigned int i = 0; i < o.n_models && !err; i++) {
		err = judge_models(&c, o.model[i], &c.judge[i], msg);
		if (!err)
			err = report(&c, &o, i, models, msg);
	}
	if (!err && o.json) {
		json_t *all = json_pack("{s:s, s:s, s:I, s:O}", "data", o.data, "split",
			c.split == WR_SPLIT_TEST ? "test" : "valid", "resamples",
			(json_int_t)c.resamples, "models", models);
		err = wr_json_write(all, o.json, msg);
		json_decref(all);
	}
	json_decref(models);
	for (unsigned int i = 0; i < MAX_MODELS; i++)
		wr_judge_free(c.judge[i]);
	wr_dataset_free(c.ds);
	return err;
}

int wr_cmd_compare(int argc, char **argv)
{
	struct wr_errmsg msg;
	return wrtrain_finish("compare", run(argc, argv, &msg), &msg);
}
