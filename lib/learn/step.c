/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A step: chunks of eight sequences are dealt to threads, each chunk has a gradient of its own, and
 * the sum goes in chunk order, so that thread count and timing change nothing. The chunk gradients
 * (some MB) cost little beside the softmax.
 */
#include "side_int.h"
#include "step_int.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static float *floats(size_t n)
{
	return aligned_alloc(64, WR_ALIGN_UP(n * sizeof(float), (size_t)64));
}

/* The next tokens' shares fall geometrically. */
static void set_shares(struct targets *y, const struct wr_fit *fit)
{
	double sum = 0, share = 1;
	y->n_shares = WR_MAX(fit->future, 1u);
	for (uint32_t k = 0; k < y->n_shares; k++, share *= fit->future_decay) {
		y->shares[k] = (float)share;
		sum += share;
	}
	for (uint32_t k = 0; k < y->n_shares; k++)
		y->shares[k] = (float)((double)y->shares[k] / sum);
}

/* What a teacher needs: its answers mapped, itself beside each thread's student. */
static int add_teacher(struct step *st, const struct wr_dataset *ds, struct wr_errmsg *msg)
{
	const struct wr_distil *x = &st->fit->distil;
	bool guided = x->teacher && (x->hidden_weight > 0 || x->attention_weight > 0);
	int err = WR_OK;
	if (x->soft) {
		err = wr_learn_soft_targets_open(&st->soft, x->soft, ds, msg);
		st->targets.soft = &st->soft;
		st->targets.soft_share = (float)x->soft_share;
		st->soft_ws = calloc((size_t)st->n_threads, sizeof(*st->soft_ws));
	}
	if (guided) {
		st->distil = (struct distil){.teacher = x->teacher,
			.hidden_weight = x->hidden_weight,
			.attention_weight = x->attention_weight};
		memcpy(st->distil.match, x->match, sizeof(x->match));
		st->guide = calloc((size_t)st->n_threads, sizeof(*st->guide));
	}
	if (!err && ((x->soft && !st->soft_ws) || (guided && !st->guide)))
		err = wr_fail(msg, WR_ENOMEM, "out of memory for a teacher");
	for (int i = 0; i < st->n_threads && !err && x->soft; i++) {
		err = wr_learn_soft_ws_new(&st->soft_ws[i], &st->soft, st->s->shape.n_items, msg);
		st->ws[i].soft = &st->soft_ws[i];
	}
	for (int i = 0; i < st->n_threads && !err && guided; i++) {
		err = wr_learn_guide_new(
			&st->guide[i], &st->distil, st->s, STEP_CHUNK * st->fit->len, msg);
		st->ws[i].guide = &st->guide[i];
	}
	return err;
}

static int add_sample(struct step *st, const struct wr_dataset *ds, struct wr_errmsg *msg)
{
	const struct wr_fit *fit = st->fit;
	uint32_t n_items = st->s->shape.n_items, *counts = NULL;
	if (fit->sampled > n_items)
		return wr_fail(msg, WR_EINVAL,
			"%u sampled of %u items: give fewer, or train with all of them",
			fit->sampled, n_items);
	if (ds) {
		counts = calloc(n_items, sizeof(*counts));
		if (!counts)
			return wr_fail(msg, WR_ENOMEM, "out of memory for counts of items");
		for (uint32_t u = 0; u < ds->n_users; u++) {
			uint32_t begin = ds->token_off[u],
				 n = wr_split_training(ds->token_off[u + 1] - begin);
			for (uint32_t t = begin; t < begin + n; t++)
				counts[ds->token_row[t]]++;
		}
	}
	int err = wr_learn_negatives_new(&st->sample, fit->sampled, st->s, counts, st->n_chunks,
		(size_t)fit->batch * fit->len, msg);
	free(counts);
	return err;
}

int wr_learn_step_new(struct step *st, const struct wr_fit *fit, struct wr_student *s,
	struct optimiser *opt, const struct wr_dataset *ds, struct wr_errmsg *msg)
{
	size_t e = (size_t)s->shape.n_items * s->shape.d;
	*st = (struct step){.fit = fit,
		.s = s,
		.opt = opt,
		.ds = ds,
		.n_threads = fit->threads ? (int)fit->threads : omp_get_max_threads(),
		.n_chunks = (fit->batch + STEP_CHUNK - 1) / STEP_CHUNK};
	set_shares(&st->targets, fit);
	st->ws = calloc((size_t)st->n_threads, sizeof(*st->ws));
	st->chunk_grad = floats(st->n_chunks * s->n_weights);
	st->grad = floats(s->n_weights);
	st->unit = floats(e);
	st->norm = floats(s->shape.n_items);
	st->dx = floats((size_t)fit->batch * fit->len * s->shape.d);
	st->chunk_loss = calloc(st->n_chunks, sizeof(*st->chunk_loss));
	int err = WR_OK;
	if (!st->ws || !st->chunk_grad || !st->grad || !st->unit || !st->norm || !st->dx ||
		!st->chunk_loss)
		err = wr_fail(
			msg, WR_ENOMEM, "no memory for gradients: use a smaller --batch or --d");
	for (int i = 0; i < st->n_threads && !err; i++)
		err = wr_learn_net_ws_new(&st->ws[i], s, STEP_CHUNK * fit->len, msg);
	if (!err && s->shape.categories)
		err = wr_learn_whole_new(&st->whole, s, msg);
	if (!err && fit->qat) {
		wr_learn_fake_all(&st->fake, st->whole ? st->whole : s);
		err = wr_learn_fake_new(&st->served, &st->fake, msg);
	}
	if (!err)
		err = add_teacher(st, ds, msg);
	if (!err && fit->sampled)
		err = add_sample(st, ds, msg);
	if (err)
		wr_learn_step_free(st);
	return err;
}

void wr_learn_step_free(struct step *st)
{
	for (int i = 0; i < st->n_threads; i++) {
		if (st->ws)
			wr_learn_net_ws_free(&st->ws[i]);
		if (st->soft_ws)
			wr_learn_soft_ws_free(&st->soft_ws[i]);
		if (st->guide)
			wr_learn_guide_free(&st->guide[i]);
	}
	wr_learn_negatives_free(&st->sample);
	wr_student_free(st->served);
	wr_student_free(st->whole);
	wr_learn_soft_targets_close(&st->soft);
	free(st->soft_ws);
	free(st->guide);
	free(st->ws);
	free(st->chunk_grad);
	free(st->grad);
	free(st->unit);
	free(st->norm);
	free(st->dx);
	free(st->chunk_loss);
	*st = (struct step){0};
}

/* Chunks' gradients are dense from here on: the item vectors', which come first, are not when items
 * are sampled. */
static size_t dense_from(const struct step *st)
{
	const struct wr_student *s = st->s;
	return st->sample.n ? s->embedding + (size_t)s->shape.n_items * s->shape.d : 0;
}

/* What forward and backward passes run on; its weights lie where st->s has them. */
static const struct wr_student *running(const struct step *st)
{
	return st->served ? st->served : st->whole ? st->whole : st->s;
}

static void run_chunk(
	struct step *st, const struct batch *b, uint32_t chunk, struct net_ws *ws, uint64_t key)
{
	const struct wr_student *s = running(st);
	uint32_t off[STEP_CHUNK + 1], first = chunk * STEP_CHUNK,
				      n = WR_MIN((uint32_t)STEP_CHUNK, b->n_seqs - first);
	uint32_t base = b->off[first], tokens = b->off[first + n] - base;
	float *grad = st->chunk_grad + chunk * st->s->n_weights,
	      weight = 1.0f / (float)b->off[b->n_seqs];
	for (uint32_t i = 0; i <= n; i++)
		off[i] = b->off[first + i] - base;
	struct ragged in = {.n_seqs = n, .off = off, .rows = b->rows + base};
	if (b->times) {
		in.times = b->times + base;
		in.asked = b->asked + base;
	}
	if (b->user && st->ds) {
		in.profile = &st->ds->user_side;
		in.user = b->user + first;
	}
	struct dropout drop = wr_learn_dropout_make(
		st->fit->dropout, st->fit->attn_dropout, wr_mix64(key + chunk));
	size_t dense = dense_from(st);
	memset(grad + dense, 0, (st->s->n_weights - dense) * sizeof(float));
	wr_learn_net_forward(s, ws, &in, &drop);
	struct loss_terms *loss = &st->chunk_loss[chunk];
	struct targets y = st->targets;
	y.next = b->targets + base;
	y.token = b->token + first;
	*loss = (struct loss_terms){0};
	if (st->sample.n)
		wr_learn_sampled_loss(
			s, ws, st->unit, &st->sample, chunk, base, &in, &y, weight, grad, loss);
	else
		wr_learn_softmax_loss(s, ws, st->unit, &in, &y, weight, grad, loss);
	ws->guide_weight = weight;
	ws->hidden_loss = ws->attention_loss = 0;
	if (ws->guide)
		wr_learn_guide_forward(ws->guide, s, &in);
	wr_learn_net_backward(s, ws, &in, &drop, grad);
	loss->hidden = ws->hidden_loss;
	loss->attention = ws->attention_loss / st->s->shape.n_heads;
	memcpy(st->dx + (size_t)base * st->s->shape.d, ws->dx,
		(size_t)tokens * st->s->shape.d * sizeof(float));
}

/* grad[from … to) = sum of the chunks' in order. */
WR_CLONES static void sum_chunks(
	const float *chunks, uint32_t n, size_t stride, size_t from, size_t to, float *grad)
{
	for (size_t i = from; i < to; i++)
		grad[i] = chunks[i];
	for (uint32_t k = 1; k < n; k++) {
		const float *c = chunks + k * stride;
#pragma omp simd
		for (size_t i = from; i < to; i++)
			grad[i] += c[i];
	}
}

/* From the gradient of unit rows to that of the rows: project out the unit vector, divide by the
 * length. */
WR_CLONES static void unproject(
	float *g, const float *unit, const float *norm, uint32_t from, uint32_t to, uint32_t d)
{
	for (uint32_t r = from; r < to; r++) {
		float *gr = g + (size_t)r * d, dot = 0, inv = norm[r] > 0 ? 1.0f / norm[r] : 0.0f;
		const float *u = unit + (size_t)r * d;
#pragma omp simd reduction(+ : dot)
		for (uint32_t c = 0; c < d; c++)
			dot += gr[c] * u[c];
#pragma omp simd
		for (uint32_t c = 0; c < d; c++)
			gr[c] = (gr[c] - u[c] * dot) * inv;
	}
}

WR_CLONES static void scatter_inputs(
	float *g, const float *dx, const uint32_t *rows, uint32_t n, uint32_t d)
{
	float k = sqrtf((float)d);
	for (uint32_t t = 0; t < n; t++) {
		float *gr = g + (size_t)rows[t] * d;
		const float *x = dx + (size_t)t * d;
#pragma omp simd
		for (uint32_t c = 0; c < d; c++)
			gr[c] += k * x[c];
	}
}

#define SLICE 4096 /* floats; items of a slice of rows */

void wr_learn_step_gradient(
	struct step *st, const struct batch *b, uint64_t key, struct loss_terms *loss)
{
	const struct wr_student *s = st->s;
	uint32_t n_chunks = (b->n_seqs + STEP_CHUNK - 1) / STEP_CHUNK, n = s->shape.n_items,
		 d = s->shape.d;
	float *g = st->grad, *ge = g + s->embedding;
	size_t n_w = s->n_weights;
	if (st->whole)
		wr_learn_whole_refresh(st->whole, s);
	if (st->served)
		wr_learn_fake_refresh(st->served);
	wr_learn_student_units(running(st), st->unit, st->norm);
	if (st->sample.n) {
		wr_learn_negatives_draw(&st->sample, n, key);
		wr_learn_negatives_gather(&st->sample, st->unit, d);
	}
#pragma omp parallel num_threads(st->n_threads)
	{
		omp_set_num_threads(1); /* for products inside: a team of one is not "parallel" */
#pragma omp for schedule(dynamic, 1)
		for (uint32_t c = 0; c < n_chunks; c++)
			run_chunk(st, b, c, &st->ws[omp_get_thread_num()], key);
#pragma omp for schedule(static)
		for (size_t i = dense_from(st); i < n_w; i += SLICE)
			sum_chunks(st->chunk_grad, n_chunks, n_w, i, WR_MIN(i + SLICE, n_w), g);
#pragma omp single
		if (st->sample.n)
			wr_learn_sampled_scatter(
				&st->sample, n_chunks, b->targets, b->off[b->n_seqs], n, d, ge);
#pragma omp for schedule(static)
		for (uint32_t r = 0; r < n; r += 64)
			unproject(ge, st->unit, st->norm, r, WR_MIN(r + 64, n), d);
	}
	if (st->served)
		wr_learn_fake_gradient(st->served, g);
	scatter_inputs(ge, st->dx, b->rows, b->off[b->n_seqs], d);
	if (st->whole)
		wr_learn_category_gradient(s, g);
	*loss = (struct loss_terms){0};
	for (uint32_t c = 0; c < n_chunks; c++) {
		loss->hard += st->chunk_loss[c].hard;
		loss->soft += st->chunk_loss[c].soft;
		loss->hidden += st->chunk_loss[c].hidden;
		loss->attention += st->chunk_loss[c].attention;
	}
}

const struct wr_student *wr_learn_step_whole(struct step *st, const struct wr_student *s)
{
	if (st->whole)
		wr_learn_whole_refresh(st->whole, s);
	return st->whole ? st->whole : s;
}

double wr_learn_step_total(const struct step *st, const struct loss_terms *loss)
{
	const struct wr_distil *x = &st->fit->distil;
	double share = st->targets.soft ? (double)st->targets.soft_share : 0,
	       t = st->targets.soft ? st->soft.temperature : 1;
	return (1 - share) * loss->hard + share * t * t * loss->soft +
	       x->hidden_weight * loss->hidden + x->attention_weight * loss->attention;
}

static void shrink(float *w, size_t n, float k)
{
	for (size_t i = 0; i < n; i++)
		w[i] *= k;
}

/* Gains, age biases and the logit scale are not shrunk. */
static void decay_weights(const struct wr_student *s, float k)
{
	const struct wr_student_shape *p = &s->shape;
	shrink(s->w + s->embedding, (size_t)p->n_items * p->d, k);
	shrink(s->w + s->profile, (size_t)p->profile_values * p->d, k);
	shrink(s->w + s->category, (size_t)p->categories * p->d, k);
	for (uint32_t b = 0; b < p->n_blocks; b++) {
		const struct wr_student_block *o = &s->block[b];
		shrink(s->w + o->qkv, (size_t)s->qkv_dim * p->d, k);
		shrink(s->w + o->out, (size_t)p->d * s->o_dim, k);
		shrink(s->w + o->up, (size_t)s->up_dim * p->d, k);
		shrink(s->w + o->down, (size_t)p->d * p->ffn, k);
	}
}

/* mean += (w - mean) (1 - decay); the decay rises from 0, so that the start is forgotten. */
WR_CLONES static void follow(float *mean, const float *w, size_t n, float share)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		mean[i] += (w[i] - mean[i]) * share;
}

/* Weights of blocks that are 0 get no gradient: Adam's moments stay 0, and so do they. */
static void hold_zeros(const struct wr_student *s, float *grad)
{
	for (size_t i = s->block[0].norm1; i < s->final_gain; i++)
		if (s->w[i] == 0.0f)
			grad[i] = 0;
}

void wr_learn_step_apply(struct step *st, float lr, uint64_t adam_step)
{
	if (st->fit->keep_zeros)
		hold_zeros(st->s, st->grad);
	static const struct adam adam = {.beta1 = 0.9f, .beta2 = 0.98f, .eps = 1e-8f};
	size_t n = st->s->n_weights;
	struct optimiser *o = st->opt;
	double t = (double)adam_step, decay = WR_MIN(st->fit->ema, (t - 1) / (t + 9));
	if (st->fit->weight_decay > 0)
		decay_weights(st->s, 1.0f - lr * (float)st->fit->weight_decay);
#pragma omp parallel for schedule(static) num_threads(st->n_threads)
	for (size_t i = 0; i < n; i += SLICE) {
		size_t m = WR_MIN((size_t)SLICE, n - i);
		wr_learn_adam_update(
			&adam, m, st->s->w + i, o->m + i, o->v + i, st->grad + i, lr, adam_step);
		if (o->mean)
			follow(o->mean + i, st->s->w + i, m, (float)(1 - decay));
	}
}
