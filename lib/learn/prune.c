/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Structured pruning: blocks by validation, heads and feed-forward units by first-order importance,
 * key heads by their mean, windows by age, width by principal directions (slice.c). What is left is
 * an ordinary student, so that bundles shrink and the server gets faster without knowing of it.
 */
#include "checkpoint_int.h"
#include "prune_int.h"
#include "side_int.h"
#include "text_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Which of the old model's parts make the new one; lists ascending. */
struct plan {
	struct wr_student_shape shape; /* of the new one */
	uint32_t block[WR_BUNDLE_MAX_BLOCKS];
	uint32_t *head, *unit; /* by old block: [L][new H], [L][new f] */
};

static void take(float *to, const float *from, size_t n)
{
	memcpy(to, from, n * sizeof(float));
}

/* Key or value head g of the new block: the mean of its share of the old heads that are left. */
static void take_kv(const struct wr_student *s, const struct wr_student *n, const float *old,
	float *to, uint32_t g, const uint32_t *head)
{
	const struct wr_student_shape *p = &s->shape, *q = &n->shape;
	bool own = p->n_kv_heads == p->n_heads;
	uint32_t left = own ? q->n_heads : p->n_kv_heads, share = left / q->n_kv_heads;
	size_t rows = (size_t)s->head_dim * p->d;
	float k = 1.0f / (float)share;
	for (size_t i = 0; i < rows; i++)
		to[i] = 0;
	for (uint32_t m = 0; m < share; m++) {
		uint32_t from = own ? head[g * share + m] : g * share + m;
		for (size_t i = 0; i < rows; i++)
			to[i] += k * old[from * rows + i];
	}
}

static void take_attention(const struct wr_student *s, const struct wr_student *n,
	const struct wr_student_block *x, const struct wr_student_block *y, const uint32_t *head)
{
	const struct wr_student_shape *p = &s->shape, *q = &n->shape;
	size_t dh = s->head_dim, rows = dh * p->d;
	const float *old = s->w + x->qkv;
	float *qkv = n->w + y->qkv;
	for (uint32_t h = 0; h < q->n_heads; h++) {
		take(qkv + h * rows, old + head[h] * rows, rows);
		take(n->w + y->bias + h * q->window, s->w + x->bias + head[h] * p->window,
			q->window);
		take(n->w + y->time + h * q->time_buckets,
			s->w + x->time + head[h] * p->time_buckets, p->time_buckets);
		if (p->age_keys)
			take(n->w + y->age_key + h * q->window * dh,
				s->w + x->age_key + head[h] * p->window * dh, q->window * dh);
		for (uint32_t r = 0; r < p->d; r++)
			take(n->w + y->out + r * n->o_dim + h * dh,
				s->w + x->out + r * s->o_dim + head[h] * dh, dh);
	}
	for (uint32_t kind = 0; kind < 2; kind++) /* keys, values */
		for (uint32_t g = 0; g < q->n_kv_heads; g++)
			take_kv(s, n, old + (p->n_heads + kind * p->n_kv_heads) * rows,
				qkv + (q->n_heads + kind * q->n_kv_heads + g) * rows, g, head);
}

static void take_ffn(const struct wr_student *s, const struct wr_student *n,
	const struct wr_student_block *x, const struct wr_student_block *y, const uint32_t *unit)
{
	const struct wr_student_shape *p = &s->shape, *q = &n->shape;
	for (uint32_t u = 0; u < q->ffn; u++) {
		for (uint32_t part = 0; part < 1 + p->gated; part++)
			take(n->w + y->up + (size_t)(part * q->ffn + u) * p->d,
				s->w + x->up + (size_t)(part * p->ffn + unit[u]) * p->d, p->d);
		for (uint32_t r = 0; r < p->d; r++)
			n->w[y->down + r * q->ffn + u] = s->w[x->down + r * p->ffn + unit[u]];
	}
}

static int rebuild(const struct wr_student *s, const struct plan *plan, struct wr_student **out,
	struct wr_errmsg *msg)
{
	const struct wr_student_shape *p = &s->shape;
	struct wr_student_shape shape = plan->shape;
	shape.head_dim = s->head_dim;
	int err = wr_student_new(out, &shape, msg);
	if (err)
		return err;
	struct wr_student *n = *out;
	take(n->w + n->embedding, s->w + s->embedding, (size_t)p->n_items * p->d);
	take(n->w + n->final_gain, s->w + s->final_gain, p->d);
	n->w[n->logit_scale] = s->w[s->logit_scale];
	for (uint32_t b = 0; b < shape.n_blocks; b++) {
		uint32_t ob = plan->block[b];
		const struct wr_student_block *x = &s->block[ob], *y = &n->block[b];
		take(n->w + y->norm1, s->w + x->norm1, p->d);
		take(n->w + y->norm2, s->w + x->norm2, p->d);
		take_attention(s, n, x, y, plan->head + ob * shape.n_heads);
		take_ffn(s, n, x, y, plan->unit + ob * shape.ffn);
	}
	return WR_OK;
}

/* Writes the `keep` best of n in ascending order, counted from `first`. */
static void best_of(const double *value, uint32_t n, uint32_t keep, uint32_t first, uint32_t *to)
{
	uint32_t k = 0;
	for (uint32_t i = 0; i < n && k < keep; i++) {
		uint32_t better = 0;
		for (uint32_t j = 0; j < n; j++)
			better += value[j] > value[i] || (value[j] == value[i] && j < i);
		if (better < keep)
			to[k++] = first + i;
	}
}

/* Every part as it is, in the shape that is left; fails on memory alone. */
static int plan_new(struct plan *plan, const struct wr_student *s,
	const struct wr_student_shape *shape, struct wr_errmsg *msg)
{
	const struct wr_student_shape *p = &s->shape;
	*plan = (struct plan){.shape = *shape,
		.head = malloc((size_t)p->n_blocks * shape->n_heads * sizeof(uint32_t)),
		.unit = malloc((size_t)p->n_blocks * shape->ffn * sizeof(uint32_t))};
	if (!plan->head || !plan->unit)
		return wr_fail(msg, WR_ENOMEM, "out of memory for pruning");
	plan->shape.matched = plan->shape.teacher_d = 0;
	for (uint32_t b = 0; b < p->n_blocks; b++) {
		plan->block[b] = b;
		for (uint32_t h = 0; h < shape->n_heads; h++)
			plan->head[b * shape->n_heads + h] = h;
		for (uint32_t u = 0; u < shape->ffn; u++)
			plan->unit[b * shape->ffn + u] = u;
	}
	return WR_OK;
}

static void plan_free(struct plan *plan)
{
	free(plan->head);
	free(plan->unit);
}

/* ---- blocks ---- */

static int without_block(
	const struct wr_student *s, uint32_t gone, struct wr_student **out, struct wr_errmsg *msg)
{
	struct wr_student_shape shape = s->shape;
	struct plan plan;
	shape.n_blocks--;
	int err = plan_new(&plan, s, &shape, msg);
	for (uint32_t b = gone; b < shape.n_blocks; b++)
		plan.block[b] = b + 1;
	if (!err)
		err = rebuild(s, &plan, out, msg);
	plan_free(&plan);
	return err;
}

/* The student without the block that validation misses least. */
static int drop_block(const struct wr_prune *p, const struct wr_student *s,
	const struct wr_dataset *ds, struct wr_student **out, struct wr_errmsg *msg)
{
	double best = -1;
	int err = WR_OK;
	*out = NULL;
	for (uint32_t b = 0; b < s->shape.n_blocks && !err; b++) {
		struct wr_student *less;
		struct wr_metrics_at m;
		err = without_block(s, b, &less, msg);
		if (err)
			break;
		err = wr_eval_float(less, ds, WR_SPLIT_VALID, 0, p->threads, &m, msg);
		if (!err && m.ndcg[0][1] > best) {
			best = m.ndcg[0][1];
			wr_student_free(*out);
			*out = less;
		} else {
			wr_student_free(less);
		}
	}
	return err;
}

/* ---- heads and units ---- */

static void choose_heads(struct plan *plan, const struct wr_student *s, const double *importance)
{
	const struct wr_student_shape *p = &s->shape;
	/* Shared key heads keep as many queries each; own ones go with theirs. */
	uint32_t groups = p->n_kv_heads == p->n_heads ? 1 : p->n_kv_heads;
	uint32_t of = p->n_heads / groups, keep = plan->shape.n_heads / groups;
	for (uint32_t b = 0; b < p->n_blocks; b++)
		for (uint32_t g = 0; g < groups; g++)
			best_of(importance + b * p->n_heads + g * of, of, keep, g * of,
				plan->head + b * plan->shape.n_heads + g * keep);
}

static int cut_inside(const struct wr_prune *p, const struct wr_student *s,
	const struct wr_student_shape *shape, const struct wr_dataset *ds, struct wr_student **out,
	struct wr_errmsg *msg)
{
	struct wr_importance x = {0};
	struct plan plan;
	int err = plan_new(&plan, s, shape, msg);
	bool chosen = shape->n_heads < s->shape.n_heads || shape->ffn < s->shape.ffn;
	if (!err && chosen)
		err = wr_importance_measure(&x, s, ds, p->users, p->threads, msg);
	if (!err && chosen) {
		choose_heads(&plan, s, x.head);
		for (uint32_t b = 0; b < s->shape.n_blocks; b++)
			best_of(x.unit + b * s->shape.ffn, s->shape.ffn, shape->ffn, 0,
				plan.unit + b * shape->ffn);
	}
	if (!err)
		err = rebuild(s, &plan, out, msg);
	wr_importance_free(&x);
	plan_free(&plan);
	return err;
}

/* ---- 2:4 ---- */

/* The two smallest of every four neighbours of a row, by what they weigh behind the norm. */
static void two_of_four(float *w, const float *gain, size_t rows, size_t cols)
{
	for (size_t r = 0; r < rows; r++)
		for (size_t c = 0; c + 4 <= cols; c += 4) {
			double size[4];
			uint32_t keep[2];
			float *x = w + r * cols + c;
			for (int i = 0; i < 4; i++)
				size[i] = fabs(
					(double)x[i] * (gain ? (double)gain[c + (size_t)i] : 1.0));
			best_of(size, 4, 2, 0, keep);
			for (uint32_t i = 0; i < 4; i++)
				if (i != keep[0] && i != keep[1])
					x[i] = 0;
		}
}

static void sparsify(struct wr_student *s)
{
	const struct wr_student_shape *p = &s->shape;
	for (uint32_t b = 0; b < p->n_blocks; b++) {
		const struct wr_student_block *o = &s->block[b];
		two_of_four(s->w + o->qkv, s->w + o->norm1, s->qkv_dim, p->d);
		two_of_four(s->w + o->out, NULL, p->d, s->o_dim);
		two_of_four(s->w + o->up, s->w + o->norm2, s->up_dim, p->d);
		two_of_four(s->w + o->down, NULL, p->d, p->ffn);
	}
}

/* ---- all of it ---- */

static int check(const struct wr_prune *p, const struct wr_student_shape *s, struct wr_errmsg *msg)
{
	const struct {
		const char *name;
		uint32_t to, from;
	} knob[] = {{"blocks", p->blocks, s->n_blocks}, {"heads", p->heads, s->n_heads},
		{"kv-heads", p->kv_heads, s->n_kv_heads}, {"ffn", p->ffn, s->ffn},
		{"window", p->window, s->window}, {"d", p->d, s->d}};
	for (size_t i = 0; i < WR_ARRAY_LEN(knob); i++)
		if (knob[i].to > knob[i].from)
			return wr_fail(msg, WR_EINVAL,
				"--%s=%u: the run has %u, pruning leaves fewer", knob[i].name,
				knob[i].to, knob[i].from);
	uint32_t heads = p->heads ? p->heads : s->n_heads;
	uint32_t left = s->n_kv_heads == s->n_heads ? heads : s->n_kv_heads;
	uint32_t kv = p->kv_heads ? p->kv_heads : left;
	if (heads % left || left % kv)
		return wr_fail(msg, WR_EINVAL, "%u heads cannot share %u of %u key heads evenly",
			heads, kv, left);
	if (p->d % 8)
		return wr_fail(msg, WR_EINVAL, "--d=%u: give a multiple of 8", p->d);
	return WR_OK;
}

/* Replaces *s, which was made here. */
static int step_to(struct wr_student **s, struct wr_student **next, int err)
{
	if (!err) {
		wr_student_free(*s);
		*s = *next;
	}
	return err;
}

int wr_prune_run(const struct wr_prune *p, const struct wr_student *from,
	const struct wr_dataset *ds, struct wr_student **out, struct wr_errmsg *msg)
{
	struct wr_student *s = NULL, *next = NULL;
	struct wr_student_shape shape = from->shape;
	*out = NULL;
	if (from->shape.n_items != ds->n_items)
		return wr_fail(msg, WR_EINVAL, "the run knows %u items, the data %u",
			from->shape.n_items, ds->n_items);
	int err = wr_learn_no_profiles(from, "pruning", msg);
	if (!err)
		err = check(p, &from->shape, msg);
	if (!err)
		err = cut_inside(p, from, &shape, ds, &s, msg);
	while (!err && p->blocks && s->shape.n_blocks > p->blocks)
		err = step_to(&s, &next, drop_block(p, s, ds, &next, msg));
	if (!err) {
		shape = s->shape;
		bool own = shape.n_kv_heads == shape.n_heads;
		shape.n_heads = p->heads ? p->heads : shape.n_heads;
		shape.n_kv_heads = p->kv_heads ? p->kv_heads
				   : own       ? shape.n_heads
					       : shape.n_kv_heads;
		shape.ffn = p->ffn ? p->ffn : shape.ffn;
		shape.window = p->window ? p->window : shape.window;
		err = step_to(&s, &next, cut_inside(p, s, &shape, ds, &next, msg));
	}
	if (!err && p->d && p->d < s->shape.d)
		err = step_to(&s, &next, wr_learn_slice_width(s, p->d, ds, p->users, &next, msg));
	if (err) {
		wr_student_free(s);
		return err;
	}
	if (p->two_four)
		sparsify(s);
	*out = s;
	return WR_OK;
}

int wr_prune_write(const struct wr_student *s, const char *run_dir, struct wr_errmsg *msg)
{
	struct wr_fit f = {.shape = s->shape};
	struct progress_state none = {0};
	char *path;
	int err = wr_learn_make_dirs(run_dir, msg);
	if (err)
		return err;
	if (asprintf(&path, "%s/best.safetensors", run_dir) < 0)
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", run_dir);
	err = wr_learn_checkpoint_write(path, s, NULL, &f, &none, msg);
	free(path);
	return err;
}
