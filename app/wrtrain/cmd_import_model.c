/* SPDX-License-Identifier: BSD-3-Clause */
/* wrtrain import-model: a PyTorch model becomes a run; wrtrain logits: a run's float logits for
 * comparison elsewhere. */
#include "wr_exchange.h"
#include "wrtrain.h"

#include <string.h>

static int import_model(int argc, char **argv, struct wr_errmsg *msg)
{
	const char *data = NULL, *threads = NULL, *words[1];
	struct wr_import_model in = {0};
	struct wr_dataset *ds = NULL;
	struct wr_student *s = NULL;
	struct wr_metrics_at m;
	uint32_t n_threads = 0;
	unsigned int n_words;
	char command[1024] = "wrtrain";
	const struct wr_opt opts[] = {
		{"data", "DIR", "the data set whose items the model knows", &data},
		{"out", "RUNDIR", "the run to make: wrtrain eval, pack and fit-ctr take it",
			&in.run_dir},
		{"threads", "N", "OpenMP threads (all cores)", &threads},
	};
	for (int i = 0; i < argc; i++) {
		size_t n = strlen(command);
		snprintf(command + n, sizeof(command) - n, " %s", argv[i]);
	}
	in.command = command;
	int err = wr_opt_parse(argc, argv,
		"wrtrain import-model --data=DIR --out=RUNDIR FILE.safetensors\n"
		"FILE: tensors named as docs/examples/pytorch/wirerank_sasrec.py exports them",
		opts, WR_ARRAY_LEN(opts), words, 1, &n_words, msg);
	if (!err && (!data || !in.run_dir || n_words != 1))
		err = wr_fail(msg, WR_EINVAL, "give --data, --out and one file (see --help)");
	if (!err)
		err = wrtrain_u32("threads", threads, 1, 1024, &n_threads, msg);
	if (err)
		return err;
	in.path = words[0];
	err = wr_dataset_load(&ds, data, msg);
	if (!err)
		err = wr_import_model(&in, ds, &s, msg);
	if (!err)
		err = wr_eval_float(s, ds, WR_SPLIT_VALID, 0, n_threads, &m, msg);
	if (!err)
		printf("%s: %u items, d %u, %u blocks, %u heads (%u of keys), window %u, "
		       "feed-forward "
		       "%u; validation HR@10 %.4f, NDCG@10 %.4f\n",
			in.run_dir, s->shape.n_items, s->shape.d, s->shape.n_blocks,
			s->shape.n_heads, s->shape.n_kv_heads, s->shape.window, s->shape.ffn,
			m.hr[0][1], m.ndcg[0][1]);
	wr_student_free(s);
	wr_dataset_free(ds);
	return err;
}

int wr_cmd_import_model(int argc, char **argv)
{
	struct wr_errmsg msg;
	return wrtrain_finish("import-model", import_model(argc, argv, &msg), &msg);
}

static int logits(int argc, char **argv, struct wr_errmsg *msg)
{
	const char *data = NULL, *run = NULL, *out = NULL, *users = NULL, *threads = NULL,
		   *split = NULL;
	struct wr_dataset *ds = NULL;
	struct wr_student *s = NULL;
	uint32_t n_users = 100, n_threads = 0;
	unsigned int n_words;
	char path[4096];
	const struct wr_opt opts[] = {
		{"data", "DIR", "the data set", &data},
		{"run", "RUNDIR", "the run: RUNDIR/best.safetensors", &run},
		{"out", "FILE", "safetensors: users [n][d], logits [n][items]", &out},
		{"split", "NAME", "behind what test or valid users know (test)", &split},
		{"users", "N", "the first N users who have a target (100)", &users},
		{"threads", "N", "OpenMP threads (all cores)", &threads},
	};
	int err = wr_opt_parse(argc, argv,
		"wrtrain logits --data=DIR --run=RUNDIR --out=FILE [options]", opts,
		WR_ARRAY_LEN(opts), NULL, 0, &n_words, msg);
	if (!err && (!data || !run || !out))
		err = wr_fail(msg, WR_EINVAL, "give --data, --run and --out (see --help)");
	if (!err && split && strcmp(split, "test") && strcmp(split, "valid"))
		err = wr_fail(msg, WR_EINVAL, "--split=%s: give test or valid", split);
	if (!err)
		err = wrtrain_u32("users", users, 1, UINT32_MAX, &n_users, msg);
	if (!err)
		err = wrtrain_u32("threads", threads, 1, 1024, &n_threads, msg);
	if (err)
		return err;
	snprintf(path, sizeof(path), "%s/best.safetensors", run);
	err = wr_student_load(&s, path, msg);
	if (!err)
		err = wr_dataset_load(&ds, data, msg);
	if (!err)
		err = wr_logits_write(s, ds,
			split && !strcmp(split, "valid") ? WR_SPLIT_VALID : WR_SPLIT_TEST, n_users,
			n_threads, out, msg);
	wr_student_free(s);
	wr_dataset_free(ds);
	return err;
}

int wr_cmd_logits(int argc, char **argv)
{
	struct wr_errmsg msg;
	return wrtrain_finish("logits", logits(argc, argv, &msg), &msg);
}
