/* SPDX-License-Identifier: BSD-3-Clause */
/* The student's weights: layout, start values. Some 300 k floats; the item embeddings are most of
 * them. */
#include "learn_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SIDE 65536u /* values of profiles, categories */

static uint32_t head_dim_of(const struct wr_student_shape *p)
{
	return p->head_dim ? p->head_dim : p->d / p->n_heads;
}

static int check_shape(const struct wr_student_shape *p, struct wr_errmsg *msg)
{
	if (p->n_items < 2 || p->n_items > 16u << 20)
		return wr_fail(msg, WR_EINVAL, "a model needs 2 … 16 M items, not %u", p->n_items);
	if (p->d < 8 || p->d > 1024 || p->d % 8)
		return wr_fail(
			msg, WR_EINVAL, "width d = %u: give a multiple of 8 in 8 … 1024", p->d);
	if (p->n_blocks < 1 || p->n_blocks > WR_BUNDLE_MAX_BLOCKS)
		return wr_fail(msg, WR_EINVAL, "%u blocks: give 1 … %d", p->n_blocks,
			WR_BUNDLE_MAX_BLOCKS);
	if (p->n_heads < 1 || p->n_heads > 1024 || (!p->head_dim && p->d % p->n_heads))
		return wr_fail(msg, WR_EINVAL, "%u heads do not divide d = %u", p->n_heads, p->d);
	uint32_t dh = head_dim_of(p);
	if (dh > WR_STUDENT_MAX_HEAD_DIM)
		return wr_fail(msg, WR_EINVAL, "%u channels a head: at most %d", dh,
			WR_STUDENT_MAX_HEAD_DIM);
	if (p->n_kv_heads < 1 || p->n_kv_heads > p->n_heads || p->n_heads % p->n_kv_heads)
		return wr_fail(msg, WR_EINVAL, "%u key heads do not divide %u heads", p->n_kv_heads,
			p->n_heads);
	if (p->window < 1 || p->window > 1024)
		return wr_fail(msg, WR_EINVAL, "window %u: give 1 … 1024", p->window);
	if (p->ffn < 1 || p->ffn > 8192)
		return wr_fail(msg, WR_EINVAL, "feed-forward width %u: give 1 … 8192", p->ffn);
	if (p->activation >= WR_N_ACTIVATIONS || p->gated > 1 || p->rotary > 1 ||
		p->no_age_bias > 1 || p->age_keys > 1)
		return wr_fail(msg, WR_EINVAL,
			"activation %u, gated %u, rotary %u, no_age_bias %u, age_keys %u: not "
			"known",
			p->activation, p->gated, p->rotary, p->no_age_bias, p->age_keys);
	if (p->age_keys && (p->rotary || wr_learn_attention_blocked(p)))
		return wr_fail(msg, WR_EINVAL,
			"keys by age: not with rotary positions, and windows of at most %d, not %u",
			ATTENTION_LOOPS_MAX, p->window);
	if (p->rotary && dh % 2)
		return wr_fail(msg, WR_EINVAL, "rotary: %u channels a head must be even", dh);
	if (p->matched >> p->n_blocks || p->teacher_d > 1024 || (p->matched && !p->teacher_d))
		return wr_fail(msg, WR_EINVAL, "matched blocks %#x, teacher's width %u: not known",
			p->matched, p->teacher_d);
	if (p->time_buckets == 1 || p->time_buckets > 256)
		return wr_fail(msg, WR_EINVAL, "%u buckets of age in time: give 2 … 256, or 0",
			p->time_buckets);
	if (p->profile_values > MAX_SIDE || p->categories > MAX_SIDE)
		return wr_fail(msg, WR_EINVAL, "%u profile values, %u categories: at most %u each",
			p->profile_values, p->categories, MAX_SIDE);
	if (p->context > 65536)
		return wr_fail(msg, WR_EINVAL, "context %u: at most 65536", p->context);
	return WR_OK;
}

static const char *const activation_names[WR_N_ACTIVATIONS] = {"relu", "silu", "gelu"};

const char *wr_activation_name(enum wr_activation a)
{
	return activation_names[a];
}

int wr_activation_parse(const char *name, uint32_t *a)
{
	for (uint32_t i = 0; i < WR_N_ACTIVATIONS; i++)
		if (!strcmp(name, activation_names[i])) {
			*a = i;
			return WR_OK;
		}
	return WR_EINVAL;
}

/* Tensors start on cache lines. */
static size_t place(size_t *at, size_t floats)
{
	size_t p = *at;
	*at += WR_ALIGN_UP(floats, (size_t)16);
	return p;
}

int wr_student_new(
	struct wr_student **out, const struct wr_student_shape *shape, struct wr_errmsg *msg)
{
	*out = NULL;
	int err = check_shape(shape, msg);
	if (err)
		return err;
	struct wr_student *s = calloc(1, sizeof(*s));
	if (!s)
		return wr_fail(msg, WR_ENOMEM, "no memory for a student");
	s->shape = *shape;
	s->head_dim = head_dim_of(shape);
	s->o_dim = shape->n_heads * s->head_dim;
	if (s->o_dim == shape->d) /* one way to tell it */
		s->shape.head_dim = 0;
	s->qkv_dim = (shape->n_heads + 2 * shape->n_kv_heads) * s->head_dim;
	s->up_dim = shape->ffn * (shape->gated ? 2 : 1);
	size_t d = shape->d, at = 0;
	s->embedding = place(&at, shape->n_items * d);
	for (uint32_t b = 0; b < shape->n_blocks; b++)
		s->block[b] = (struct wr_student_block){
			.norm1 = place(&at, d),
			.qkv = place(&at, s->qkv_dim * d),
			.out = place(&at, d * s->o_dim),
			.bias = place(&at, (size_t)shape->n_heads * shape->window),
			.norm2 = place(&at, d),
			.up = place(&at, s->up_dim * d),
			.down = place(&at, d * shape->ffn),
			.time = place(&at, (size_t)shape->n_heads * shape->time_buckets),
			.age_key = place(&at, shape->age_keys * (size_t)shape->n_heads *
						      shape->window * s->head_dim),
		};
	s->final_gain = place(&at, d);
	s->logit_scale = place(&at, 1);
	s->profile = place(&at, shape->profile_values * d);
	for (uint32_t b = 0; b < shape->n_blocks; b++)
		if (shape->matched >> b & 1)
			s->projection[b] = place(&at, shape->teacher_d * d);
	s->category = place(&at, shape->categories * d);
	s->n_weights = at;
	s->w = aligned_alloc(64, at * sizeof(float));
	if (!s->w) {
		wr_student_free(s);
		return wr_fail(msg, WR_ENOMEM, "no memory for %zu weights", at);
	}
	for (size_t i = 0; i < at; i++)
		s->w[i] = 0;
	*out = s;
	return WR_OK;
}

static void fill_normal(float *w, size_t n, double std, struct wr_rng *r)
{
	for (size_t i = 0; i < n; i++)
		w[i] = (float)(std * wr_rng_normal(r));
}

/* Xavier's normal for a matrix of `out` rows and `in` columns (Glorot, Bengio 2010). */
static void fill_matrix(float *w, size_t rows, size_t cols, struct wr_rng *r)
{
	fill_normal(w, rows * cols, sqrt(2.0 / (double)(rows + cols)), r);
}

/* Vectors of categories and profiles and keys by age start at 0: the model starts as one without
 * them. */
void wr_student_init(struct wr_student *s, uint64_t seed)
{
	const struct wr_student_shape *p = &s->shape;
	struct wr_rng r;
	wr_rng_init(&r, seed, 0x1417);
	fill_normal(s->w + s->embedding, (size_t)p->n_items * p->d, 0.02, &r);
	for (uint32_t b = 0; b < p->n_blocks; b++) {
		const struct wr_student_block *o = &s->block[b];
		for (uint32_t i = 0; i < p->d; i++)
			s->w[o->norm1 + i] = s->w[o->norm2 + i] = 1.0f;
		fill_matrix(s->w + o->qkv, s->qkv_dim, p->d, &r);
		fill_matrix(s->w + o->out, p->d, s->o_dim, &r);
		for (uint32_t i = 0; i < s->up_dim; i += p->ffn)
			fill_matrix(s->w + o->up + (size_t)i * p->d, p->ffn, p->d, &r);
		fill_matrix(s->w + o->down, p->d, p->ffn, &r);
	}
	for (uint32_t i = 0; i < p->d; i++)
		s->w[s->final_gain + i] = 1.0f;
	s->w[s->logit_scale] = 20.0f;
	for (uint32_t b = 0; b < p->n_blocks; b++)
		if (p->matched >> b & 1)
			fill_matrix(s->w + s->projection[b], p->teacher_d, p->d, &r);
}

void wr_student_free(struct wr_student *s)
{
	if (!s)
		return;
	free(s->w);
	free(s);
}

int wr_learn_optimiser_new(
	struct optimiser *o, const struct wr_student *s, bool mean, struct wr_errmsg *msg)
{
	size_t n = s->n_weights;
	*o = (struct optimiser){.m = calloc(n, sizeof(float)), .v = calloc(n, sizeof(float))};
	if (mean)
		o->mean = calloc(n, sizeof(float));
	if (o->m && o->v && (!mean || o->mean))
		return WR_OK;
	wr_learn_optimiser_free(o);
	return wr_fail(msg, WR_ENOMEM, "out of memory for the optimiser");
}

void wr_learn_optimiser_free(struct optimiser *o)
{
	free(o->m);
	free(o->v);
	free(o->mean);
	*o = (struct optimiser){0};
}

static void take(float *to, const float *from, size_t n)
{
	memcpy(to, from, n * sizeof(float));
}

/* Ages that both have. */
static void take_bias(float *to, const struct wr_student_shape *s, const float *from,
	const struct wr_student_shape *t)
{
	if (s->n_heads == t->n_heads)
		for (uint32_t h = 0; h < s->n_heads; h++)
			take(to + h * s->window, from + h * t->window,
				WR_MIN(s->window, t->window));
}

static void take_age_keys(struct wr_student *s, size_t to, const struct wr_student *t, size_t from)
{
	const struct wr_student_shape *p = &s->shape, *q = &t->shape;
	if (!p->age_keys || !q->age_keys || p->n_heads != q->n_heads || s->head_dim != t->head_dim)
		return;
	size_t dh = s->head_dim, n = WR_MIN(p->window, q->window) * dh;
	for (uint32_t h = 0; h < p->n_heads; h++)
		take(s->w + to + h * p->window * dh, t->w + from + h * q->window * dh, n);
}

static void take_block(struct wr_student *s, uint32_t b, const struct wr_student *t, uint32_t tb)
{
	const struct wr_student_shape *p = &s->shape, *q = &t->shape;
	const struct wr_student_block *x = &s->block[b], *y = &t->block[tb];
	if (!p->no_age_bias)
		take_bias(s->w + x->bias, p, t->w + y->bias, q);
	if (p->n_heads == q->n_heads && p->time_buckets == q->time_buckets)
		take(s->w + x->time, t->w + y->time, (size_t)p->n_heads * p->time_buckets);
	take_age_keys(s, x->age_key, t, y->age_key);
	if (p->d != q->d)
		return;
	take(s->w + x->norm1, t->w + y->norm1, p->d);
	take(s->w + x->norm2, t->w + y->norm2, p->d);
	if (p->n_heads == q->n_heads && p->n_kv_heads == q->n_kv_heads &&
		s->head_dim == t->head_dim) {
		take(s->w + x->qkv, t->w + y->qkv, (size_t)s->qkv_dim * p->d);
		take(s->w + x->out, t->w + y->out, (size_t)p->d * s->o_dim);
	}
	if (p->ffn == q->ffn && s->up_dim == t->up_dim) {
		take(s->w + x->up, t->w + y->up, (size_t)s->up_dim * p->d);
		take(s->w + x->down, t->w + y->down, (size_t)p->d * p->ffn);
	}
}

void wr_learn_take_tensors(struct wr_student *s, const struct wr_student *t, const uint8_t *match)
{
	s->w[s->logit_scale] = t->w[t->logit_scale];
	if (s->shape.d == t->shape.d) {
		take(s->w + s->embedding, t->w + t->embedding,
			(size_t)s->shape.n_items * s->shape.d);
		take(s->w + s->final_gain, t->w + t->final_gain, s->shape.d);
	}
	for (uint32_t b = 0; b < s->shape.n_blocks && b < WR_DISTIL_MAX_BLOCKS; b++)
		if (match[b])
			take_block(s, b, t, match[b] - 1);
}
