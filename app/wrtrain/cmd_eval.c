/* SPDX-License-Identifier: BSD-3-Clause */
/* wrtrain eval: hit rates of float and int8 models beside the baselines, as a table and as JSON;
 * expected lists. */
#include "by_layer.h"
#include "record.h"
#include "wrtrain.h"

#include <string.h>

struct options {
	const char *data, *run, *bundle, *int8, *by_layer, *keep, *isa, *gemm, *split, *lists, *k,
		*steps, *max_history, *users, *baselines, *json, *threads, *record, *dataset,
		*model, *commit;
};

struct eval {
	struct wr_dataset *ds;
	enum wr_split split;
	uint32_t users, threads;
	struct wr_int8 int8;
	struct wr_bundle *bundle;
	struct wr_lists lists;
	json_t *json;
};

static int parse(int argc, char **argv, struct options *o, struct wr_errmsg *msg)
{
	const struct wr_opt opts[] = {
		{"data", "DIR", "the data set", &o->data},
		{"run", "RUNDIR", "evaluate RUNDIR/best.safetensors in float", &o->run},
		{"bundle", "FILE", "evaluate a bundle in int8, as the server computes", &o->bundle},
		{"int8", NULL, "int8 (the only way to run a bundle; may be left out)", &o->int8},
		{"by-layer", NULL,
			"what each layer of --run loses in int8: it alone, and all but it",
			&o->by_layer},
		{"keep", "NAME,…", "by-layer: with these in two planes, as pack --keep", &o->keep},
		{"isa", "LEVEL",
			"auto, ref, avx2, avx512vnni or amx (auto); every level gives the same "
			"lists",
			&o->isa},
		{"gemm", "ENGINE", "auto, own or onednn (auto)", &o->gemm},
		{"split", "NAME", "test (last token) or valid (last but one) (test)", &o->split},
		{"lists", "FILE", "write the expected lists of all test users, for wrload",
			&o->lists},
		{"k", "N", "length of these lists (10)", &o->k},
		{"steps", "S", "further clicks behind the first list, one list each (0)",
			&o->steps},
		{"max-history", "H", "show only the last H tokens at step 0 (0 = all)",
			&o->max_history},
		{"users", "N", "only the first N users, or all (all)", &o->users},
		{"baselines", NULL, "popularity, item-kNN and VMIS-kNN beside", &o->baselines},
		{"json", "FILE", "the figures as JSON (- = stdout)", &o->json},
		{"record", "FILE",
			"write what --run reached, its settings and curves (docs/records)",
			&o->record},
		{"dataset", "NAME", "record: of the data set", &o->dataset},
		{"model", "NAME", "record: teacher, student, …", &o->model},
		{"commit", "ID", "record: of the code (unknown)", &o->commit},
		{"threads", "N", "OpenMP threads (all cores)", &o->threads},
	};
	unsigned int n_words;
	return wr_opt_parse(argc, argv,
		"wrtrain eval --data=DIR [--run=RUNDIR] [--bundle=FILE] [options]", opts,
		WR_ARRAY_LEN(opts), NULL, 0, &n_words, msg);
}

static int settings(const struct options *o, struct eval *e, struct wr_errmsg *msg)
{
	if (!o->data || (!o->run && !o->bundle && !o->baselines))
		return wr_fail(msg, WR_EINVAL,
			"give --data and one of --run, --bundle, --baselines (see --help)");
	if (o->by_layer && !o->run)
		return wr_fail(msg, WR_EINVAL, "--by-layer needs --run");
	if (o->keep && !o->by_layer)
		return wr_fail(msg, WR_EINVAL,
			"--keep needs --by-layer; a bundle that pack --keep wrote says itself what "
			"it keeps");
	if ((o->lists || (o->int8 && !o->by_layer) || o->isa || o->gemm) && !o->bundle)
		return wr_fail(msg, WR_EINVAL, "--int8, --isa, --gemm and --lists need --bundle");
	if ((o->k || o->steps || o->max_history) && !o->lists)
		return wr_fail(msg, WR_EINVAL, "--k, --steps and --max-history need --lists");
	if (o->record && (!o->run || !o->dataset || !o->model || o->users))
		return wr_fail(msg, WR_EINVAL,
			"--record needs --run, --dataset and --model, and all users");
	if (o->record && o->split && strcmp(o->split, "test"))
		return wr_fail(msg, WR_EINVAL, "records are of --split=test");
	if (o->split && strcmp(o->split, "test") && strcmp(o->split, "valid"))
		return wr_fail(msg, WR_EINVAL, "--split=%s: give test or valid", o->split);
	e->split = o->split && !strcmp(o->split, "valid") ? WR_SPLIT_VALID : WR_SPLIT_TEST;
	if (o->lists && e->split != WR_SPLIT_TEST)
		return wr_fail(msg, WR_EINVAL, "--lists are made for --split=test");
	if (o->isa && wr_isa_parse(o->isa, &e->int8.isa))
		return wr_fail(msg, WR_EINVAL, "--isa=%s: give auto, ref, avx2, avx512vnni or amx",
			o->isa);
	if (o->gemm && strcmp(o->gemm, "auto") && strcmp(o->gemm, "own") &&
		strcmp(o->gemm, "onednn"))
		return wr_fail(msg, WR_EINVAL, "--gemm=%s: give auto, own or onednn", o->gemm);
	if (o->gemm)
		e->int8.gemm = !strcmp(o->gemm, "own")      ? WR_GEMM_OWN
			       : !strcmp(o->gemm, "onednn") ? WR_GEMM_ONEDNN
							    : WR_GEMM_AUTO;
	int err = wrtrain_u32("threads", o->threads, 1, 1024, &e->threads, msg);
	if (!err && o->users && strcmp(o->users, "all"))
		err = wrtrain_u32("users", o->users, 1, UINT32_MAX, &e->users, msg);
	if (!err)
		err = wrtrain_u32("k", o->k, 1, 64, &e->lists.k, msg);
	if (!err)
		err = wrtrain_u32("steps", o->steps, 0, 1000, &e->lists.steps, msg);
	if (!err)
		err = wrtrain_u32(
			"max-history", o->max_history, 1, UINT32_MAX, &e->lists.max_history, msg);
	e->lists.max_users = e->users;
	e->int8.threads = e->threads;
	return err;
}

static void report(struct eval *e, const char *name, const struct wr_metrics_at *m, double seconds)
{
	static const char *const what[2] = {"seen filtered", "unfiltered"};
	for (int f = 0; f < 2; f++)
		printf("%-12s %-14s HR@5 %.4f  HR@10 %.4f  HR@20 %.4f  NDCG@5 %.4f  NDCG@10 %.4f  "
		       "NDCG@20 %.4f\n",
			f ? "" : name, what[f], m->hr[f][0], m->hr[f][1], m->hr[f][2],
			m->ndcg[f][0], m->ndcg[f][1], m->ndcg[f][2]);
	printf("%-12s %-14s MRR@10 %.4f  coverage@10 %.4f  Gini@10 %.4f  novelty@10 %.3f bits  "
	       "diversity@10 %.4f\n",
		"", "filtered lists", m->mrr[0][1], m->coverage[1], m->gini[1], m->novelty[1],
		m->diversity[1]);
	json_t *j = wr_metrics_at_json(m);
	json_object_set_new(j, "seconds", json_real(seconds));
	json_object_set_new(e->json, name, j);
}

/* The record is of the float model, or, beside a bundle, of the int8 one. */
static int record(const struct options *o, const struct wr_metrics_at *m, const char *where,
	struct wr_errmsg *msg)
{
	const struct wrtrain_record r = {.run = o->run,
		.dataset = o->dataset,
		.model = o->model,
		.where = where,
		.commit = o->commit};
	return wrtrain_record_write(&r, m, o->record, msg);
}

static int eval_float(struct eval *e, const struct options *o, struct wr_errmsg *msg)
{
	char path[4096];
	struct wr_student *s;
	struct wr_metrics_at m;
	uint64_t start = wr_clock_ns();
	snprintf(path, sizeof(path), "%s/best.safetensors", o->run);
	int err = wr_student_load(&s, path, msg);
	if (err)
		return err;
	err = wr_eval_float(s, e->ds, e->split, e->users, e->threads, &m, msg);
	if (!err)
		report(e, "float", &m, (double)(wr_clock_ns() - start) / 1e9);
	if (!err && o->record && !o->bundle)
		err = record(o, &m, "float", msg);
	if (!err && o->by_layer)
		err = wrtrain_by_layer(
			s, e->ds, e->split, e->users, e->threads, o->keep, e->json, msg);
	wr_student_free(s);
	return err;
}

static int eval_bundle(struct eval *e, const struct options *o, struct wr_errmsg *msg)
{
	struct wr_metrics_at m;
	uint64_t start = wr_clock_ns(), n_lists;
	int err = wr_bundle_open(&e->bundle, o->bundle, msg);
	if (err)
		return err;
	e->int8.bundle = e->bundle;
	err = wr_eval_int8(&e->int8, e->ds, e->split, e->users, &m, msg);
	if (err)
		return err;
	report(e, "int8", &m, (double)(wr_clock_ns() - start) / 1e9);
	if (o->record)
		err = record(o, &m, "int8", msg);
	if (err || !o->lists)
		return err;
	err = wr_lists_write(&e->int8, e->ds, &e->lists, o->lists, &n_lists, msg);
	if (!err)
		printf("%s: %llu lists of %u\n", o->lists, (unsigned long long)n_lists, e->lists.k);
	return err;
}

static int eval_baselines(struct eval *e, struct wr_errmsg *msg)
{
	static const struct {
		const char *name;
		int (*judge)(struct wr_judge *j, struct wr_errmsg *msg);
	} baselines[] = {{"popularity", wr_judge_popularity}, {"item_knn", wr_judge_item_knn},
		{"vmis_knn", wr_judge_vmis_knn}};
	int err = WR_OK;
	for (size_t i = 0; i < WR_ARRAY_LEN(baselines) && !err; i++) {
		struct wr_judge *j;
		struct wr_metrics_at m;
		uint64_t start = wr_clock_ns();
		err = wr_judge_new(&j, e->ds, e->split, e->users, msg);
		if (!err)
			err = baselines[i].judge(j, msg);
		if (!err)
			err = wr_judge_metrics(j, &m, msg);
		if (!err)
			report(e, baselines[i].name, &m, (double)(wr_clock_ns() - start) / 1e9);
		wr_judge_free(j);
	}
	return err;
}

static int run(int argc, char **argv, struct wr_errmsg *msg)
{
	struct options o = {0};
	struct eval e = {.int8 = {.isa = WR_ISA_AUTO, .gemm = WR_GEMM_AUTO}, .lists = {.k = 10}};
	int err = parse(argc, argv, &o, msg);
	if (!err)
		err = settings(&o, &e, msg);
	if (!err)
		err = wr_dataset_load(&e.ds, o.data, msg);
	if (err)
		return err;
	wr_stop_catch_signals();
	e.json = json_pack("{s:s, s:s, s:s}", "data", o.data, "split",
		e.split == WR_SPLIT_TEST ? "test" : "valid", "ranking", "full");
	if (o.run)
		err = eval_float(&e, &o, msg);
	if (!err && o.bundle)
		err = eval_bundle(&e, &o, msg);
	if (!err && o.baselines)
		err = eval_baselines(&e, msg);
	if (!err && o.json)
		err = wr_json_write(e.json, o.json, msg);
	json_decref(e.json);
	wr_bundle_close(e.bundle);
	wr_dataset_free(e.ds);
	return err;
}

int wr_cmd_eval(int argc, char **argv)
{
	struct wr_errmsg msg;
	return wrtrain_finish("eval", run(argc, argv, &msg), &msg);
}
