/* SPDX-License-Identifier: BSD-3-Clause */
/* wrtrain fit: options of wr_fit_run. */
#include "sgemm.h"
#include "wr_learn.h"
#include "wrtrain.h"

#include <string.h>

struct options {
	const char *data, *out, *epochs, *lr, *batch, *len, *d, *blocks, *heads, *kv_heads, *window,
		*ffn, *dropout, *attn_dropout, *seed, *threads, *resume, *max_seconds, *patience,
		*quiet, *activation, *gated, *rotary, *no_age_bias, *age_keys, *context,
		*weight_decay, *ema, *future, *future_decay, *teacher, *soft, *soft_share,
		*hidden_weight, *attention_weight, *match, *init, *from, *qat, *keep_zeros,
		*age_time, *sampled, *side_features, *math;
};

static int parse(int argc, char **argv, struct options *o, struct wr_errmsg *msg)
{
	const struct wr_opt opts[] = {
		{"data", "DIR", "the data set", &o->data},
		{"out", "RUNDIR", "where checkpoints, log and curves go", &o->out},
		{"epochs", "N",
			"passes over the users; the learning rate falls over the last 40 % (60)",
			&o->epochs},
		{"lr", "X", "learning rate of Adam (0.001)", &o->lr},
		{"batch", "N", "sequences a step (64)", &o->batch},
		{"len", "N", "most clicks of a sequence; longer users are cut (200)", &o->len},
		{"d", "N", "width (64)", &o->d},
		{"blocks", "N", "transformer blocks (2)", &o->blocks},
		{"heads", "N", "query heads (2)", &o->heads},
		{"kv-heads", "N", "key and value heads (as many as query heads)", &o->kv_heads},
		{"window", "N", "clicks that a block attends to (50)", &o->window},
		{"ffn", "N", "feed-forward width (128)", &o->ffn},
		{"activation", "NAME", "relu, silu or gelu; the server runs relu (relu)",
			&o->activation},
		{"gated", NULL, "gated feed-forward: SwiGLU with silu, GeGLU with gelu; teachers",
			&o->gated},
		{"rotary", NULL, "rotary positions beside the bias by age; teachers", &o->rotary},
		{"no-age-bias", NULL, "no learned bias by age", &o->no_age_bias},
		{"age-keys", NULL,
			"a learned key by age: DeBERTa's content-to-position term beside the bias",
			&o->age_keys},
		{"context", "N",
			"look at the last N clicks only; with --window=N full attention; teachers "
			"(0 = all that windows reach)",
			&o->context},
		{"age-time", NULL,
			"a bias by age in time beside that by age in clicks; the log needs times",
			&o->age_time},
		{"side-features", "LIST",
			"items: vectors of categories are part of item vectors; users: vectors of "
			"profiles are added to the input; teachers; or items,users (none)",
			&o->side_features},
		{"dropout", "X", "of inputs and block outputs (0.2)", &o->dropout},
		{"attn-dropout", "X", "of attention weights (0)", &o->attn_dropout},
		{"weight-decay", "X", "decoupled, of matrices and embeddings (0)",
			&o->weight_decay},
		{"ema", "X",
			"judge and keep an exponential mean of the weights with this decay a step; "
			"0.998 is usual (0 = none)",
			&o->ema},
		{"sampled", "N",
			"softmax over the target and N sampled items, for catalogues of 10 k items "
			"and more (0 = all)",
			&o->sampled},
		{"future", "N", "targets of a position: the next N clicks (1)", &o->future},
		{"future-decay", "X", "weight of each further target, of the one before (0.5)",
			&o->future_decay},
		{"teacher", "RUNDIR", "learn from RUNDIR/best.safetensors too", &o->teacher},
		{"soft", "FILE", "learn from a teacher's answers (wrtrain teach)", &o->soft},
		{"soft-share", "X", "their share of the loss, beside the clicks themselves (0.5)",
			&o->soft_share},
		{"hidden-weight", "X",
			"of the cosine distance between projected block outputs and the teacher's "
			"(0)",
			&o->hidden_weight},
		{"attention-weight", "X", "of the divergence of attention from the teacher's (0)",
			&o->attention_weight},
		{"match", "S:T,…",
			"which block learns from which of the teacher's, from 0 (spread evenly, "
			"last from last)",
			&o->match},
		{"init-from-teacher", NULL, "start from the teacher's tensors of the same shape",
			&o->init},
		{"from", "RUNDIR",
			"start from RUNDIR/best.safetensors, in its shape: behind wrtrain prune, "
			"or "
			"for --qat",
			&o->from},
		{"qat", NULL, "train through the rounding of the int8 server", &o->qat},
		{"keep-zeros", NULL,
			"weights of blocks that are 0 stay 0 (behind prune --two-four)",
			&o->keep_zeros},
		{"math", "NAME",
			"of training's products: float, bf16 (operands; float where the CPU has "
			"none), or bf16-rounded, its slow imitation (float)",
			&o->math},
		{"seed", "N", "of everything random (1)", &o->seed},
		{"threads", "N",
			"OpenMP threads; the result is the same for any number (all cores)",
			&o->threads},
		{"resume", NULL,
			"go on from RUNDIR/checkpoint.safetensors with the settings stored there",
			&o->resume},
		{"max-seconds", "X", "stop with a checkpoint after so long", &o->max_seconds},
		{"patience", "N",
			"stop after N epochs without a better validation NDCG@10 (0 = never)",
			&o->patience},
		{"quiet", NULL, "no progress", &o->quiet},
	};
	unsigned int n_words;
	return wr_opt_parse(argc, argv, "wrtrain fit --data=DIR --out=RUNDIR [options]", opts,
		WR_ARRAY_LEN(opts), NULL, 0, &n_words, msg);
}

static int set_side(const char *list, struct wr_fit *f, struct wr_errmsg *msg)
{
	f->side_items = list && (!strcmp(list, "items") || !strcmp(list, "items,users"));
	f->side_users = list && (!strcmp(list, "users") || !strcmp(list, "items,users"));
	return list && !f->side_items && !f->side_users
		       ? wr_fail(msg, WR_EINVAL,
				 "--side-features=%s: give items, users or items,users", list)
		       : WR_OK;
}

static int settings(const struct options *o, struct wr_fit *f, struct wr_errmsg *msg)
{
	const struct {
		const char *name, *value;
		uint32_t min, max, *to;
	} numbers[] = {
		{"epochs", o->epochs, 1, 1000000, &f->epochs},
		{"batch", o->batch, 1, 65536, &f->batch},
		{"len", o->len, 1, 65536, &f->len},
		{"d", o->d, 8, 1024, &f->shape.d},
		{"blocks", o->blocks, 1, WR_BUNDLE_MAX_BLOCKS, &f->shape.n_blocks},
		{"heads", o->heads, 1, 1024, &f->shape.n_heads},
		{"kv-heads", o->kv_heads, 1, 1024, &f->shape.n_kv_heads},
		{"window", o->window, 1, 1024, &f->shape.window},
		{"ffn", o->ffn, 1, 8192, &f->shape.ffn},
		{"context", o->context, 0, 65536, &f->shape.context},
		{"future", o->future, 1, 16, &f->future},
		{"sampled", o->sampled, 0, 65536, &f->sampled},
		{"threads", o->threads, 1, 1024, &f->threads},
		{"patience", o->patience, 0, 1000000, &f->patience},
	};
	int err = WR_OK;
	for (size_t i = 0; i < WR_ARRAY_LEN(numbers) && !err; i++)
		err = wrtrain_u32(numbers[i].name, numbers[i].value, numbers[i].min, numbers[i].max,
			numbers[i].to, msg);
	if (!err && o->heads && !o->kv_heads)
		f->shape.n_kv_heads = f->shape.n_heads;
	const struct {
		const char *name, *value;
		double min, max, *to;
	} reals[] = {
		{"lr", o->lr, 1e-9, 1, &f->lr},
		{"dropout", o->dropout, 0, 0.9, &f->dropout},
		{"attn-dropout", o->attn_dropout, 0, 0.9, &f->attn_dropout},
		{"weight-decay", o->weight_decay, 0, 10, &f->weight_decay},
		{"ema", o->ema, 0, 0.999999, &f->ema},
		{"future-decay", o->future_decay, 0, 1, &f->future_decay},
		{"max-seconds", o->max_seconds, 0, 1e9, &f->max_seconds},
		{"soft-share", o->soft_share, 0, 1, &f->distil.soft_share},
		{"hidden-weight", o->hidden_weight, 0, 1e6, &f->distil.hidden_weight},
		{"attention-weight", o->attention_weight, 0, 1e6, &f->distil.attention_weight},
	};
	for (size_t i = 0; i < WR_ARRAY_LEN(reals) && !err; i++)
		err = wrtrain_double(reals[i].name, reals[i].value, reals[i].min, reals[i].max,
			reals[i].to, msg);
	if (!err && o->activation && wr_activation_parse(o->activation, &f->shape.activation))
		err = wr_fail(
			msg, WR_EINVAL, "--activation=%s: give relu, silu or gelu", o->activation);
	if (o->soft && !o->soft_share)
		f->distil.soft_share = 0.5;
	if (!err)
		err = set_side(o->side_features, f, msg);
	f->math = o->math ? wr_math_parse(o->math) : WR_MATH_FLOAT;
	if (!err && f->math == WR_N_MATHS)
		err = wr_fail(
			msg, WR_EINVAL, "--math=%s: give float, bf16 or bf16-rounded", o->math);
	f->distil.soft = o->soft;
	f->distil.init = o->init != NULL;
	f->shape.gated = o->gated != NULL;
	f->shape.rotary = o->rotary != NULL;
	f->shape.no_age_bias = o->no_age_bias != NULL;
	f->shape.age_keys = o->age_keys != NULL;
	f->shape.time_buckets = o->age_time ? WR_TIME_BUCKETS : 0;
	if (!err && o->future && !o->future_decay)
		f->future_decay = 0.5;
	if (!err && o->seed && wr_parse_u64(o->seed, 0, INT64_MAX, &f->seed))
		err = wr_fail(msg, WR_EINVAL, "--seed=%s: give a whole number", o->seed);
	f->qat = o->qat != NULL;
	f->keep_zeros = o->keep_zeros != NULL;
	f->resume = o->resume != NULL;
	f->quiet = o->quiet != NULL;
	return err;
}

/* Pairs S:T, comma-separated; without any, blocks are spread evenly over the teacher's. */
static int set_match(const char *text, struct wr_fit *f, struct wr_errmsg *msg)
{
	uint32_t n = f->shape.n_blocks, teachers = f->distil.teacher->shape.n_blocks;
	for (uint32_t b = 0; !text && b < n && b < WR_DISTIL_MAX_BLOCKS; b++)
		f->distil.match[b] = (uint8_t)(((b + 1) * teachers + n - 1) / n);
	while (text && *text) {
		unsigned int s, t;
		int used = 0;
		if (sscanf(text, "%2u:%2u%n", &s, &t, &used) != 2 || !used ||
			(text[used] && text[used] != ',') || s >= WR_DISTIL_MAX_BLOCKS || t > 30)
			return wr_fail(
				msg, WR_EINVAL, "--match: '%s': give pairs like 0:1,1:3", text);
		f->distil.match[s] = (uint8_t)(t + 1);
		text += used + (text[used] == ',');
	}
	return WR_OK;
}

/* The run to start from gives the shape. */
static int load_from(
	const struct options *o, struct wr_fit *f, struct wr_student **from, struct wr_errmsg *msg)
{
	char path[4096];
	*from = NULL;
	if (!o->from)
		return WR_OK;
	if (o->d || o->blocks || o->heads || o->kv_heads || o->window || o->ffn || o->activation ||
		o->gated || o->rotary || o->no_age_bias || o->age_keys || o->context ||
		o->age_time || o->init || o->side_features)
		return wr_fail(msg, WR_EINVAL,
			"--from takes the shape and the weights of its run: give no other shape, "
			"no --side-features and no --init-from-teacher beside it");
	snprintf(path, sizeof(path), "%s/best.safetensors", o->from);
	int err = wr_student_load(from, path, msg);
	f->from = *from;
	if (!err)
		f->shape = (*from)->shape;
	return err;
}

static int load_teacher(const struct options *o, struct wr_fit *f, struct wr_student **teacher,
	struct wr_errmsg *msg)
{
	char path[4096];
	*teacher = NULL;
	if (!o->teacher)
		return o->match || o->hidden_weight || o->attention_weight || o->init
			       ? wr_fail(msg, WR_EINVAL,
					 "--match, --hidden-weight, --attention-weight and "
					 "--init-from-teacher need --teacher")
			       : WR_OK;
	snprintf(path, sizeof(path), "%s/best.safetensors", o->teacher);
	int err = wr_student_load(teacher, path, msg);
	f->distil.teacher = *teacher;
	return err ? err : set_match(o->match, f, msg);
}

/* Settings that the checkpoint fixes are refused beside --resume rather than ignored. */
static int check_resume(const struct options *o, struct wr_errmsg *msg)
{
	if (o->resume &&
		(o->lr || o->batch || o->len || o->d || o->blocks || o->heads || o->kv_heads ||
			o->window || o->ffn || o->dropout || o->attn_dropout || o->seed ||
			o->activation || o->gated || o->rotary || o->no_age_bias || o->age_keys ||
			o->context || o->weight_decay || o->ema || o->future || o->future_decay ||
			o->soft_share || o->hidden_weight || o->attention_weight || o->match ||
			o->init || o->age_time || o->sampled || o->from || o->qat ||
			o->keep_zeros || o->side_features || o->math))
		return wr_fail(msg, WR_EINVAL,
			"--resume takes model, batch, rates and seed from the checkpoint: give "
			"only --epochs, --threads, "
			"--max-seconds and --patience beside it, and --teacher and --soft again");
	return WR_OK;
}

static int run(int argc, char **argv, struct wr_errmsg *msg)
{
	struct options o = {0};
	struct wr_fit f;
	struct wr_dataset *ds;
	struct wr_student *teacher = NULL, *from = NULL;
	struct wr_fit_result r;
	char command[2048] = "wrtrain";
	wr_fit_defaults(&f);
	for (int i = 0; i < argc; i++) {
		size_t n = strlen(command);
		snprintf(command + n, sizeof(command) - n, " %s", argv[i]);
	}
	f.command = command;
	int err = parse(argc, argv, &o, msg);
	if (!err && (!o.data || !o.out))
		err = wr_fail(msg, WR_EINVAL, "give --data and --out (see --help)");
	if (!err)
		err = check_resume(&o, msg);
	if (!err)
		err = settings(&o, &f, msg);
	if (!err)
		err = load_from(&o, &f, &from, msg);
	if (!err)
		err = load_teacher(&o, &f, &teacher, msg);
	if (!err)
		err = wr_dataset_load(&ds, o.data, msg);
	if (err) {
		wr_student_free(from);
		wr_student_free(teacher);
		return err;
	}
	wr_stop_catch_signals();
	err = wr_fit_run(&f, ds, o.out, &r, msg);
	if (!err)
		printf("%s: %s after %u of %u epochs; best epoch %u: validation HR@10 %.4f, "
		       "NDCG@10 %.4f\n",
			o.out, r.stopped ? "stopped (go on with --resume)" : "done", r.epochs,
			f.epochs, r.best_epoch, r.best_hr10, r.best_ndcg10);
	wr_dataset_free(ds);
	wr_student_free(from);
	wr_student_free(teacher);
	return err;
}

int wr_cmd_fit(int argc, char **argv)
{
	struct wr_errmsg msg;
	return wrtrain_finish("fit", run(argc, argv, &msg), &msg);
}
