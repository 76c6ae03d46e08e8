/* SPDX-License-Identifier: BSD-3-Clause */
/* wrtrain prune: options of wr_prune_run. */
#include "wr_compact.h"
#include "wrtrain.h"

struct options {
	const char *data, *run, *out, *blocks, *heads, *kv_heads, *ffn, *window, *d, *two_four,
		*users, *threads;
};

static int parse(
	int argc, char **argv, struct options *o, struct wr_prune *p, struct wr_errmsg *msg)
{
	const struct wr_opt opts[] = {
		{"data", "DIR", "the data set that the run was trained on", &o->data},
		{"run", "RUNDIR", "what is pruned: RUNDIR/best.safetensors", &o->run},
		{"out", "RUNDIR", "where the smaller model goes; train it on with fit --from",
			&o->out},
		{"blocks", "N", "keep N blocks: those that validation misses least go", &o->blocks},
		{"heads", "N", "keep N heads a block, by first-order importance", &o->heads},
		{"kv-heads", "N", "N key and value heads, means of those that were", &o->kv_heads},
		{"ffn", "N", "keep N feed-forward units a block, by first-order importance",
			&o->ffn},
		{"window", "N", "look at N clicks, the youngest", &o->window},
		{"d", "N", "keep N principal directions of the residual stream", &o->d},
		{"two-four", NULL, "two of four neighbouring weights become 0, the smallest",
			&o->two_four},
		{"users", "N", "users whose training clicks tell what matters (512)", &o->users},
		{"threads", "N", "OpenMP threads (all cores)", &o->threads},
	};
	unsigned int n_words;
	int err = wr_opt_parse(argc, argv,
		"wrtrain prune --data=DIR --run=RUNDIR --out=RUNDIR [options]\n"
		"The server takes heads of, and widths that are, multiples of 16.",
		opts, WR_ARRAY_LEN(opts), NULL, 0, &n_words, msg);
	if (!err && (!o->data || !o->run || !o->out))
		err = wr_fail(msg, WR_EINVAL, "give --data, --run and --out (see --help)");
	const struct {
		const char *name, *value;
		uint32_t max, *to;
	} numbers[] = {
		{"blocks", o->blocks, WR_BUNDLE_MAX_BLOCKS, &p->blocks},
		{"heads", o->heads, 1024, &p->heads},
		{"kv-heads", o->kv_heads, 1024, &p->kv_heads},
		{"ffn", o->ffn, 8192, &p->ffn},
		{"window", o->window, 1024, &p->window},
		{"d", o->d, 1024, &p->d},
		{"users", o->users, UINT32_MAX, &p->users},
		{"threads", o->threads, 1024, &p->threads},
	};
	for (size_t i = 0; i < WR_ARRAY_LEN(numbers) && !err; i++)
		err = wrtrain_u32(
			numbers[i].name, numbers[i].value, 1, numbers[i].max, numbers[i].to, msg);
	p->two_four = o->two_four != NULL;
	return err;
}

static int tell(const char *name, const struct wr_student *s, const struct wr_dataset *ds,
	uint32_t threads, struct wr_errmsg *msg)
{
	const struct wr_student_shape *p = &s->shape;
	struct wr_metrics_at m;
	int err = wr_eval_float(s, ds, WR_SPLIT_VALID, 0, threads, &m, msg);
	if (!err)
		printf("%s: d %u, %u blocks, %u heads of %u over %u key heads, window %u, ffn %u: "
		       "%zu k weights; validation HR@10 %.4f, NDCG@10 %.4f\n",
			name, p->d, p->n_blocks, p->n_heads, s->head_dim, p->n_kv_heads, p->window,
			p->ffn, s->n_weights / 1000, m.hr[0][1], m.ndcg[0][1]);
	return err;
}

static int run(int argc, char **argv, struct wr_errmsg *msg)
{
	struct options o = {0};
	struct wr_prune p = {0};
	struct wr_dataset *ds = NULL;
	struct wr_student *s = NULL, *less = NULL;
	char path[4096];
	int err = parse(argc, argv, &o, &p, msg);
	if (err)
		return err;
	snprintf(path, sizeof(path), "%s/best.safetensors", o.run);
	err = wr_dataset_load(&ds, o.data, msg);
	if (!err)
		err = wr_student_load(&s, path, msg);
	if (!err)
		err = tell(o.run, s, ds, p.threads, msg);
	if (!err)
		err = wr_prune_run(&p, s, ds, &less, msg);
	if (!err)
		err = tell(o.out, less, ds, p.threads, msg);
	if (!err)
		err = wr_prune_write(less, o.out, msg);
	wr_student_free(less);
	wr_student_free(s);
	wr_dataset_free(ds);
	return err;
}

int wr_cmd_prune(int argc, char **argv)
{
	struct wr_errmsg msg;
	return wrtrain_finish("prune", run(argc, argv, &msg), &msg);
}
