/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The training loop. Everything random comes from (seed, epoch) and (seed, epoch, step), so that a
 * run that was stopped anywhere and resumed ends in the same weights. Method and sources:
 * docs/learning.md.
 */
#include "checkpoint_int.h"
#include "fit_log_int.h"
#include "gemm_share_int.h"
#include "sgemm.h"
#include "side_int.h"
#include "step_int.h"
#include "text_file.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WARM_UP_STEPS 200
#define WARM_UP_SHARE 0.05 /* of all steps at most */
#define DECAY_FROM    0.6  /* share of all epochs behind which the learning rate falls */
#define DECAY_TO      0.05 /* its last share */
#define STREAM_ORDER  0x0bde5u
#define STREAM_STEP   0x57e9u

void wr_fit_defaults(struct wr_fit *f)
{
	*f = (struct wr_fit){.shape = {.d = 64,
				     .n_blocks = 2,
				     .n_heads = 2,
				     .n_kv_heads = 2,
				     .window = 50,
				     .ffn = 128},
		.epochs = 60,
		.batch = 64,
		.len = 200,
		.lr = 1e-3,
		.dropout = 0.2,
		.seed = 1};
}

struct run {
	struct wr_fit fit;
	const struct wr_dataset *ds;
	char *checkpoint, *best;
	struct wr_student *s;
	struct optimiser opt;
	struct step step;
	struct progress_state at;
	struct fit_log log;
	uint32_t *order, n_order; /* users that train */
	struct batch batch;
	enum wr_math math; /* what this CPU does for fit.math */
	uint64_t start_ns;
	double peak, flops, step_seconds, cpu_seconds; /* of products, this epoch's part */
	bool stopped;
};

static int check_settings(const struct wr_fit *f, struct wr_errmsg *msg)
{
	if (f->epochs < 1 || f->batch < 1 || f->batch > 65536 || f->len < 1 || f->len > 65536)
		return wr_fail(msg, WR_EINVAL,
			"epochs, batch and len must be at least 1, batch and len at most 65536");
	if (!(f->lr > 0) || f->lr > 1)
		return wr_fail(
			msg, WR_EINVAL, "learning rate %g: give one above 0, usually 0.001", f->lr);
	if (f->dropout < 0 || f->dropout > 0.9 || f->attn_dropout < 0 || f->attn_dropout > 0.9)
		return wr_fail(msg, WR_EINVAL, "dropout: give 0 … 0.9");
	if (!(f->weight_decay >= 0) || f->weight_decay > 10)
		return wr_fail(msg, WR_EINVAL, "weight decay %g: give 0 … 10, usually 0.01",
			f->weight_decay);
	if (!(f->ema >= 0) || f->ema >= 1)
		return wr_fail(
			msg, WR_EINVAL, "ema %g: give 0 (none) … below 1, usually 0.998", f->ema);
	if (f->future > MAX_FUTURE || !(f->future_decay >= 0) || f->future_decay > 1)
		return wr_fail(msg, WR_EINVAL, "future %u, decay %g: give at most %d tokens, 0 … 1",
			f->future, f->future_decay, MAX_FUTURE);
	if (f->sampled && (f->future > 1 || f->distil.soft))
		return wr_fail(msg, WR_EINVAL,
			"sampled softmax knows one target a position and no teacher's answers: "
			"leave "
			"out --sampled, or --future and --soft");
	if (f->math >= WR_N_MATHS)
		return wr_fail(msg, WR_EINVAL, "math %u: not known", f->math);
	if (f->threads > 1024)
		return wr_fail(msg, WR_EINVAL, "%u threads: at most 1024", f->threads);
	return WR_OK;
}

/* Tells teachers apart; 0 = none. */
static uint64_t teacher_key(const struct wr_distil *x)
{
	uint64_t key = x->soft || x->teacher;
	const struct wr_student *t = x->teacher;
	for (size_t i = 0; t && i < t->n_weights; i++) {
		uint32_t bits;
		memcpy(&bits, &t->w[i], sizeof(bits));
		key = wr_mix64(key ^ bits);
	}
	return x->soft ? wr_mix64(key + 1) : key;
}

static uint64_t match_bits(const struct wr_distil *x)
{
	uint64_t bits = 0;
	for (uint32_t b = 0; b < WR_DISTIL_MAX_BLOCKS; b++)
		bits |= (uint64_t)x->match[b] << (5 * b);
	return bits;
}

static void set_match(struct wr_distil *x, uint64_t bits)
{
	for (uint32_t b = 0; b < WR_DISTIL_MAX_BLOCKS; b++)
		x->match[b] = bits >> (5 * b) & 31;
}

static void set_projections(struct wr_fit *f)
{
	f->shape.matched = f->shape.teacher_d = 0;
	if (!f->distil.teacher || !(f->distil.hidden_weight > 0))
		return;
	for (uint32_t b = 0; b < WR_DISTIL_MAX_BLOCKS; b++)
		f->shape.matched |= (uint32_t)(f->distil.match[b] > 0) << b;
	f->shape.teacher_d = f->shape.matched ? f->distil.teacher->shape.d : 0;
}

static int check_distil(const struct wr_fit *f, struct wr_errmsg *msg)
{
	const struct wr_distil *x = &f->distil;
	const struct wr_student_shape *s = &f->shape, *t = x->teacher ? &x->teacher->shape : NULL;
	bool guided = x->hidden_weight > 0 || x->attention_weight > 0 || x->init;
	if (t && t->n_items != s->n_items)
		return wr_fail(msg, WR_EINVAL, "the teacher knows %u items, the data %u",
			t->n_items, s->n_items);
	if (!(x->soft_share >= 0) || x->soft_share > 1 || !(x->hidden_weight >= 0) ||
		!(x->attention_weight >= 0))
		return wr_fail(msg, WR_EINVAL, "soft share: give 0 … 1; other weights at least 0");
	if (guided && !t)
		return wr_fail(msg, WR_EINVAL,
			"block outputs, attention and start values come "
			"from a teacher: give one");
	if (x->soft_share > 0 && !x->soft)
		return wr_fail(msg, WR_EINVAL, "a soft share needs a teacher's answers: --soft");
	for (uint32_t b = 0; t && b < WR_DISTIL_MAX_BLOCKS; b++)
		if (x->match[b] > t->n_blocks || (x->match[b] && b >= s->n_blocks))
			return wr_fail(msg, WR_EINVAL,
				"block %u learns from block %u: the student has %u, the teacher %u",
				b, x->match[b] - 1, s->n_blocks, t->n_blocks);
	if (t && x->attention_weight > 0 && s->n_heads % t->n_heads && t->n_heads % s->n_heads)
		return wr_fail(msg, WR_EINVAL,
			"attention of %u heads cannot teach %u: give a "
			"multiple",
			t->n_heads, s->n_heads);
	if (x->attention_weight > 0 && wr_learn_attention_blocked(s))
		return wr_fail(msg, WR_EINVAL,
			"attention is learned by windows of at most %d clicks, not %u",
			ATTENTION_LOOPS_MAX, s->window);
	return WR_OK;
}

static int start(struct run *r, struct wr_errmsg *msg)
{
	struct wr_fit *f = &r->fit;
	if (!access(r->checkpoint, F_OK))
		return wr_fail(msg, WR_ESTATE,
			"%s exists: continue it with --resume, or give another --out",
			r->checkpoint);
	if (f->from)
		f->shape = f->from->shape;
	if (f->from && f->shape.n_items != r->ds->n_items)
		return wr_fail(msg, WR_EINVAL, "the run to start from knows %u items, the data %u",
			f->shape.n_items, r->ds->n_items);
	f->shape.n_items = r->ds->n_items;
	set_projections(f);
	int err = check_distil(f, msg);
	if (!err)
		err = wr_learn_set_side(f, r->ds, msg);
	if (!err)
		err = wr_student_new(&r->s, &f->shape, msg);
	if (err)
		return err;
	if (f->side_items)
		r->at.category_key = wr_learn_side_key(&r->ds->item_side, r->ds->n_items);
	r->at.teacher_key = teacher_key(&f->distil);
	r->at.match = match_bits(&f->distil);
	wr_student_init(r->s, f->seed);
	if (f->from) /* projections to a teacher lie behind the rest */
		memcpy(r->s->w, f->from->w,
			(r->s->profile + (size_t)f->shape.profile_values * f->shape.d) *
				sizeof(float));
	if (f->distil.init)
		wr_learn_take_tensors(r->s, f->distil.teacher, f->distil.match);
	return wr_learn_optimiser_new(&r->opt, r->s, f->ema > 0, msg);
}

static int resume(struct run *r, struct wr_errmsg *msg)
{
	int err = wr_learn_checkpoint_read(r->checkpoint, &r->s, &r->opt, &r->fit, &r->at, msg);
	if (!err && r->at.teacher_key != teacher_key(&r->fit.distil))
		return wr_fail(msg, WR_EINVAL,
			"%s was trained %s: give the same --teacher and --soft as before",
			r->checkpoint, r->at.teacher_key ? "with another teacher" : "without one");
	set_match(&r->fit.distil, r->at.match);
	if (err == WR_ENOENT)
		return wr_fail(
			msg, err, "%s: nothing to resume: start without --resume", r->checkpoint);
	if (!err && r->s->shape.n_items != r->ds->n_items)
		return wr_fail(msg, WR_EINVAL,
			"%s was trained on %u items, the data has %u: start a new run",
			r->checkpoint, r->s->shape.n_items, r->ds->n_items);
	return err ? err : wr_learn_check_categories(r->s, r->at.category_key, r->ds, msg);
}

static int prepare(struct run *r, struct wr_errmsg *msg)
{
	int err = r->fit.resume ? resume(r, msg) : start(r, msg);
	if (!err)
		err = check_settings(&r->fit, msg);
	if (!err)
		err = check_distil(&r->fit, msg);
	const struct wr_dataset *ds = r->ds;
	const struct wr_student *teacher = r->fit.distil.teacher;
	if (!err)
		err = wr_learn_check_profiles(r->s, ds, msg);
	if (!err && teacher)
		err = wr_learn_check_profiles(teacher, ds, msg);
	if (err)
		return err;
	size_t tokens = (size_t)r->fit.batch * r->fit.len;
	r->math = wr_math_used((enum wr_math)r->fit.math);
	if (r->math != r->fit.math)
		wr_log(WR_LOG_WARN, "fit",
			"%s: this CPU has neither avx512_bf16 nor AMX: products are %s",
			wr_math_name((enum wr_math)r->fit.math), wr_math_name(r->math));
	if (r->s->shape.categories)
		r->s->item_side = &ds->item_side;
	if ((r->s->shape.time_buckets || (teacher && teacher->shape.time_buckets)) && !ds->timed)
		return wr_fail(msg, WR_EINVAL,
			"age in time: no event of this data has a time: import a log with times, "
			"or "
			"train without");
	r->order = malloc((ds->n_users + 1) * sizeof(uint32_t));
	r->batch = (struct batch){.off = malloc((r->fit.batch + 1) * sizeof(uint32_t)),
		.rows = malloc(tokens * sizeof(uint32_t)),
		.targets = malloc(tokens * sizeof(uint32_t)),
		.user = malloc(r->fit.batch * sizeof(uint32_t)),
		.token = malloc(r->fit.batch * sizeof(uint32_t)),
		.times = malloc(tokens * sizeof(int64_t)),
		.asked = malloc(tokens * sizeof(int64_t))};
	if (!r->order || !r->batch.off || !r->batch.rows || !r->batch.targets || !r->batch.user ||
		!r->batch.token || !r->batch.times || !r->batch.asked)
		return wr_fail(msg, WR_ENOMEM, "out of memory for batches");
	for (uint32_t u = 0; u < ds->n_users; u++)
		if (wr_split_training(ds->token_off[u + 1] - ds->token_off[u]) >= 2)
			r->order[r->n_order++] = u;
	if (!r->n_order)
		return wr_fail(msg, WR_EINVAL, "no user has two clicks to train on");
	return wr_learn_step_new(&r->step, &r->fit, r->s, &r->opt, ds, msg);
}

/* The epoch's order of users: a shuffle of file order (Fisher, Yates). */
static void shuffle(struct run *r)
{
	struct wr_rng rng;
	const struct wr_dataset *ds = r->ds;
	uint32_t n = 0;
	for (uint32_t u = 0; u < ds->n_users; u++)
		if (wr_split_training(ds->token_off[u + 1] - ds->token_off[u]) >= 2)
			r->order[n++] = u;
	wr_rng_init(&rng, r->fit.seed ^ STREAM_ORDER, r->at.epoch);
	for (uint32_t i = n; i > 1; i--) {
		uint32_t j = wr_rng_below(&rng, i), x = r->order[i - 1];
		r->order[i - 1] = r->order[j];
		r->order[j] = x;
	}
}

/* Users longer than len are cut at a random place half of the time, else at their end. Returns
 * dropout's key. */
static uint64_t make_batch(struct run *r)
{
	struct wr_rng rng;
	struct batch *b = &r->batch;
	uint32_t first = (uint32_t)r->at.step * r->fit.batch, len = r->fit.len;
	wr_rng_init(&rng, r->fit.seed ^ STREAM_STEP, r->at.epoch << 32 | r->at.step);
	b->n_seqs = WR_MIN(r->fit.batch, r->n_order - first);
	b->off[0] = 0;
	for (uint32_t i = 0; i < b->n_seqs; i++) {
		uint32_t u = r->order[first + i], begin = r->ds->token_off[u];
		uint32_t n = wr_split_training(r->ds->token_off[u + 1] - begin) - 1, start = 0,
			 m = WR_MIN(n, len);
		if (n > len)
			start = wr_rng_below(&rng, 2) ? wr_rng_below(&rng, n - len + 1) : n - len;
		const uint32_t *rows = r->ds->token_row + begin + start;
		memcpy(b->rows + b->off[i], rows, m * sizeof(uint32_t));
		memcpy(b->targets + b->off[i], rows + 1, m * sizeof(uint32_t));
		const int64_t *times = r->ds->token_time + begin + start;
		memcpy(b->times + b->off[i], times, m * sizeof(int64_t));
		memcpy(b->asked + b->off[i], times + 1, m * sizeof(int64_t));
		b->user[i] = u;
		b->token[i] = begin + start;
		b->off[i + 1] = b->off[i] + m;
	}
	return wr_rng_u64(&rng);
}

/* Warm-up, constant, then a linear fall (the constants above). */
static float learning_rate(const struct run *r, uint32_t n_steps)
{
	double total = (double)r->fit.epochs * n_steps;
	double done = ((double)r->at.epoch * n_steps + (double)r->at.step) / total, k = 1;
	uint64_t warm_up = WR_MIN((uint64_t)WARM_UP_STEPS, (uint64_t)(total * WARM_UP_SHARE) + 1);
	if (done > DECAY_FROM)
		k = 1 - (1 - DECAY_TO) * WR_MIN((done - DECAY_FROM) / (1 - DECAY_FROM), 1.0);
	if (r->at.adam_step < warm_up)
		k *= (double)(r->at.adam_step + 1) / (double)warm_up;
	return (float)(r->fit.lr * k);
}

static bool should_stop(const struct run *r)
{
	double seconds = (double)(wr_clock_ns() - r->start_ns) / 1e9;
	return wr_stop_requested() || (r->fit.max_seconds > 0 && seconds > r->fit.max_seconds);
}

/* Steps until the epoch ends or the run is stopped. */
static int run_epoch(struct run *r, double *lr, struct wr_errmsg *msg)
{
	struct wr_progress bar;
	char what[40], note[64] = "";
	uint32_t n_steps = (r->n_order + r->fit.batch - 1) / r->fit.batch;
	snprintf(what, sizeof(what), "epoch %llu/%u", (unsigned long long)r->at.epoch + 1,
		r->fit.epochs);
	shuffle(r);
	r->flops = 0;
	double cpu = wr_learn_cpu_seconds();
	uint64_t start = wr_clock_ns();
	if (!r->fit.quiet)
		wr_progress_start(&bar, what, n_steps);
	for (; r->at.step < n_steps; r->at.step++) {
		if (should_stop(r)) {
			r->stopped = true;
			break;
		}
		uint64_t key = make_batch(r);
		float rate = learning_rate(r, n_steps);
		struct loss_terms loss;
		wr_sgemm_set_math(r->math);
		wr_learn_step_gradient(&r->step, &r->batch, key, &loss);
		wr_sgemm_set_math(WR_MATH_FLOAT);
		if (!isfinite(wr_learn_step_total(&r->step, &loss)))
			return wr_fail(msg, WR_EINVAL,
				"the loss is not finite in epoch %llu: lower --lr, then --resume",
				(unsigned long long)r->at.epoch + 1);
		wr_learn_step_apply(&r->step, rate, ++r->at.adam_step);
		r->at.loss_sum += loss.hard;
		r->at.soft_sum += loss.soft;
		r->at.hidden_sum += loss.hidden;
		r->at.attention_sum += loss.attention;
		r->at.loss_weight += r->batch.off[r->batch.n_seqs];
		r->flops += wr_learn_step_flops(&r->step, &r->batch);
		*lr = (double)rate;
		snprintf(note, sizeof(note), "loss %.4f", r->at.loss_sum / r->at.loss_weight);
		if (!r->fit.quiet)
			wr_progress_update(&bar, r->at.step + 1, note);
	}
	r->step_seconds = (double)(wr_clock_ns() - start) / 1e9;
	r->cpu_seconds = wr_learn_cpu_seconds() - cpu;
	if (!r->fit.quiet && bar.tty)
		wr_progress_end(&bar, r->at.step, note);
	return WR_OK;
}

/* Through the server's rounding where that is trained for. */
static int judge(
	struct run *r, const struct wr_student *s, struct wr_metrics_at *m, struct wr_errmsg *msg)
{
	struct wr_fake fake;
	struct wr_student *served = NULL;
	int err = WR_OK;
	if (r->fit.qat) {
		wr_learn_fake_all(&fake, s);
		err = wr_learn_fake_new(&served, &fake, msg);
	}
	if (!err)
		err = wr_eval_float(
			served ? served : s, r->ds, WR_SPLIT_VALID, 0, r->fit.threads, m, msg);
	wr_student_free(served);
	return err;
}

/* Validation, best weights, log and checkpoint behind a whole epoch. */
static int end_epoch(struct run *r, double lr, double seconds, struct wr_errmsg *msg)
{
	struct wr_metrics_at m;
	struct wr_student means = *r->s;
	if (r->opt.mean)
		means.w = r->opt.mean;
	const struct wr_student *judged = wr_learn_step_whole(&r->step, &means);
	int err = judge(r, judged, &m, msg);
	if (err)
		return err;
	if (!(r->peak > 0)) {
		wr_sgemm_set_math(r->math);
		r->peak = wr_learn_gemm_peak(r->step.n_threads);
		wr_sgemm_set_math(WR_MATH_FLOAT);
	}
	double n = WR_MAX(r->at.loss_weight, 1.0);
	struct fit_log_line line = {.epoch = r->at.epoch + 1,
		.loss = r->at.loss_sum / n,
		.taught = r->fit.distil.soft || r->fit.distil.teacher,
		.soft = r->at.soft_sum / n,
		.hidden = r->at.hidden_sum / n,
		.attention = r->at.attention_sum / n,
		.hr10 = m.hr[0][1],
		.ndcg10 = m.ndcg[0][1],
		.lr = lr,
		.seconds = seconds,
		.gflops = r->flops / WR_MAX(r->step_seconds, 1e-9) / 1e9,
		.share = r->peak > 0 ? r->flops / WR_MAX(r->step_seconds, 1e-9) / r->peak : 0,
		.cpu_share = r->peak > 0 ? r->flops / WR_MAX(r->cpu_seconds, 1e-9) /
						   (r->peak / r->step.n_threads)
					 : 0,
		.peak_mib = wr_learn_peak_mib(),
		.math = r->math,
		.asked = r->fit.math,
		.logit_scale = (double)r->s->w[r->s->logit_scale]};
	r->at.epoch++;
	r->at.step = 0;
	r->at.loss_sum = r->at.loss_weight = 0;
	r->at.soft_sum = r->at.hidden_sum = r->at.attention_sum = 0;
	if (line.ndcg10 > r->at.best_ndcg10 || !r->at.best_epoch) {
		r->at.best_ndcg10 = line.ndcg10;
		r->at.best_hr10 = line.hr10;
		r->at.best_epoch = r->at.epoch;
		err = wr_learn_checkpoint_write(r->best, judged, NULL, &r->fit, &r->at, msg);
	}
	if (!err)
		err = wr_learn_checkpoint_write(r->checkpoint, r->s, &r->opt, &r->fit, &r->at, msg);
	if (!err)
		err = wr_learn_fit_log_add(&r->log, &line, msg);
	if (!r->fit.quiet)
		fprintf(stderr,
			"epoch %llu/%u  loss %.4f  validation HR@10 %.4f NDCG@10 %.4f%s  %.1f s, "
			"%.0f GFLOP/s, %.0f %% of the products this machine can do (%.0f %% by CPU "
			"time), at most %.0f MiB\n",
			(unsigned long long)r->at.epoch, r->fit.epochs, line.loss, line.hr10,
			line.ndcg10, r->at.best_epoch == r->at.epoch ? " (best)" : "", seconds,
			line.gflops, 100 * line.share, 100 * line.cpu_share, line.peak_mib);
	return err;
}

static int train(struct run *r, double *loss, struct wr_errmsg *msg)
{
	int err = WR_OK;
	while (!err && !r->stopped && r->at.epoch < r->fit.epochs) {
		if (r->fit.patience && r->at.best_epoch &&
			r->at.epoch - r->at.best_epoch >= r->fit.patience)
			break;
		uint64_t start = wr_clock_ns();
		double lr = 0;
		err = run_epoch(r, &lr, msg);
		*loss = r->at.loss_weight > 0 ? r->at.loss_sum / r->at.loss_weight : *loss;
		if (err)
			break;
		if (r->stopped)
			err = wr_learn_checkpoint_write(
				r->checkpoint, r->s, &r->opt, &r->fit, &r->at, msg);
		else
			err = end_epoch(r, lr, (double)(wr_clock_ns() - start) / 1e9, msg);
	}
	return err;
}

int wr_fit_run(const struct wr_fit *f, const struct wr_dataset *ds, const char *run_dir,
	struct wr_fit_result *result, struct wr_errmsg *msg)
{
	struct run r = {.fit = *f, .ds = ds, .start_ns = wr_clock_ns()};
	double loss = 0;
	int err = check_settings(f, msg);
	if (!err)
		err = wr_learn_make_dirs(run_dir, msg);
	if (!err && (asprintf(&r.checkpoint, "%s/checkpoint.safetensors", run_dir) < 0 ||
			    asprintf(&r.best, "%s/best.safetensors", run_dir) < 0))
		err = wr_fail(msg, WR_ENOMEM, "%s: out of memory", run_dir);
	if (!err)
		err = prepare(&r, msg);
	if (!err)
		err = wr_learn_fit_log_open(&r.log, run_dir, r.at.epoch, msg);
	if (!err)
		err = wr_learn_fit_log_settings(run_dir, &r.fit, ds, msg);
	if (!err)
		err = train(&r, &loss, msg);
	*result = (struct wr_fit_result){.epochs = (uint32_t)r.at.epoch,
		.best_epoch = (uint32_t)r.at.best_epoch,
		.best_hr10 = r.at.best_hr10,
		.best_ndcg10 = r.at.best_ndcg10,
		.loss = loss,
		.stopped = r.stopped};
	wr_learn_step_free(&r.step);
	wr_learn_fit_log_close(&r.log);
	wr_student_free(r.s);
	wr_learn_optimiser_free(&r.opt);
	free(r.order);
	free(r.batch.off);
	free(r.batch.rows);
	free(r.batch.targets);
	free(r.batch.user);
	free(r.batch.token);
	free(r.batch.times);
	free(r.batch.asked);
	free(r.checkpoint);
	free(r.best);
	return err;
}
