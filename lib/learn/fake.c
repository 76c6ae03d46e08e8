/* SPDX-License-Identifier: BSD-3-Clause */
/* Weights to int8 and back, once a step; activations in the passes themselves (net.c). */
#include "fake_int.h"
#include "quantise_student.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

WR_CLONES void wr_learn_fake_rows(float *x, size_t rows, uint32_t n, bool low)
{
	float step = low ? 254.0f : 0.0f;
	for (size_t r = 0; r < rows; r++) {
		float *a = x + r * n, top = 0;
#pragma omp simd reduction(max : top)
		for (uint32_t c = 0; c < n; c++)
			top = fabsf(a[c]) > top ? fabsf(a[c]) : top;
		float inv = top < 1e-30f ? 0.0f : 127.0f / top, back = top / 127.0f;
#pragma omp simd
		for (uint32_t c = 0; c < n; c++) {
			float v = a[c] * inv, q = rintf(v);
			a[c] = (q + rintf((v - q) * step) * (1 / 254.0f)) * back;
		}
	}
}

static bool is_kept(const struct wr_fake *f, uint32_t b, unsigned int part)
{
	static const enum wr_bundle_projection of[FAKE_PARTS] = {[FAKE_QKV] = WR_BUNDLE_QKV,
		[FAKE_OUT] = WR_BUNDLE_OUT,
		[FAKE_UP] = WR_BUNDLE_UP,
		[FAKE_DOWN] = WR_BUNDLE_DOWN};
	return f->kept[of[part]] >> b & 1;
}

void wr_learn_fake_input(const struct wr_student *s, uint32_t b, unsigned int part, float *x,
	size_t rows, uint32_t n)
{
	if (fake_part(s, b, part))
		wr_learn_fake_rows(x, rows, n, is_kept(s->fake, b, part));
}

void wr_learn_fake_all(struct wr_fake *fake, const struct wr_student *real)
{
	*fake = (struct wr_fake){.real = real, .items = true, .user = true};
	memset(fake->block, (1 << FAKE_PARTS) - 1, sizeof(fake->block));
}

int wr_learn_served(const struct wr_student_shape *p, const char *what, struct wr_errmsg *msg)
{
	if (p->profile_values)
		return wr_fail(msg, WR_EINVAL,
			"%s is a teacher that reads profiles of users, which the server does not "
			"know: distil a student with wrtrain fit --teacher",
			what);
	if (p->gated || p->activation != WR_ACTIVATION_RELU || p->rotary || p->context)
		return wr_fail(msg, WR_EINVAL,
			"%s is a teacher (activation, gate, rotary or context): the server runs "
			"students: distil one with wrtrain fit --teacher",
			what);
	return WR_OK;
}

int wr_learn_fake_new(struct wr_student **s, const struct wr_fake *fake, struct wr_errmsg *msg)
{
	const struct wr_student_shape *p = &fake->real->shape;
	*s = NULL;
	int err = wr_learn_served(p, "the model", msg);
	if (!err && wr_learn_attention_blocked(p))
		err = wr_fail(msg, WR_EINVAL,
			"windows of at most %d clicks are trained and told by layer in int8, not "
			"%u: pack and eval --bundle take them",
			ATTENTION_LOOPS_MAX, p->window);
	if (!err)
		err = wr_student_new(s, p, msg);
	if (err)
		return err;
	(*s)->fake = fake;
	wr_learn_fake_refresh(*s);
	return WR_OK;
}

/* One row at a time; the gain of the norm in front goes in. planes: 0 (not rounded) to 2. */
static void round_matrix(const float *w, const float *gain, uint32_t rows, uint32_t cols,
	unsigned int planes, float *to)
{
	int8_t q[8192], low[8192];
	float scale;
	for (uint32_t r = 0; r < rows; r++) {
		const float *x = w + (size_t)r * cols;
		float *y = to + (size_t)r * cols;
		memset(low, 0, cols);
		if (planes)
			wr_learn_quantise_rows(x, gain, 1, cols, q, &scale);
		if (planes == 2)
			wr_learn_quantise_low(x, gain, 1, cols, q, &scale, low);
		for (uint32_t c = 0; c < cols; c++)
			y[c] = planes ? ((float)q[c] + (float)low[c] * (1 / 254.0f)) * scale
				      : x[c] * (gain ? gain[c] : 1.0f);
	}
}

static unsigned int planes_of(const struct wr_student *s, uint32_t b, unsigned int part)
{
	return fake_part(s, b, part) ? 1 + is_kept(s->fake, b, part) : 0;
}

/* Rounded unit vectors at their own lengths. */
static void round_items(const struct wr_student *real, float *to)
{
	uint32_t d = real->shape.d;
	memcpy(to, real->w + real->embedding, (size_t)real->shape.n_items * d * sizeof(float));
	wr_learn_fake_rows(to, real->shape.n_items, d, false);
}

void wr_learn_fake_refresh(struct wr_student *s)
{
	const struct wr_fake *f = s->fake;
	const struct wr_student *r = f->real;
	const struct wr_student_shape *p = &s->shape;
	memcpy(s->w, r->w, s->n_weights * sizeof(float));
	if (f->items)
		round_items(r, s->w + s->embedding);
	for (uint32_t b = 0; b < p->n_blocks; b++) {
		const struct wr_student_block *o = &s->block[b];
		const float *w = r->w;
		for (uint32_t c = 0; c < p->d; c++)
			s->w[o->norm1 + c] = s->w[o->norm2 + c] = 1;
		if (fake_part(s, b, FAKE_ATTENTION) && p->age_keys)
			wr_learn_fake_rows(s->w + o->age_key, (size_t)p->n_heads * p->window,
				s->head_dim, false);
		round_matrix(w + o->qkv, w + o->norm1, s->qkv_dim, p->d, planes_of(s, b, FAKE_QKV),
			s->w + o->qkv);
		round_matrix(
			w + o->out, NULL, p->d, s->o_dim, planes_of(s, b, FAKE_OUT), s->w + o->out);
		round_matrix(w + o->up, w + o->norm2, s->up_dim, p->d, planes_of(s, b, FAKE_UP),
			s->w + o->up);
		round_matrix(w + o->down, NULL, p->d, p->ffn, planes_of(s, b, FAKE_DOWN),
			s->w + o->down);
	}
}

/* w' = w ⊙ gain: d gain = Σ over rows of w · d w'; d w = gain ⊙ d w'. */
static void unfold(
	const float *w, const float *gain, uint32_t rows, uint32_t cols, float *grad, float *d_gain)
{
	for (uint32_t c = 0; c < cols; c++)
		d_gain[c] = 0;
	for (uint32_t r = 0; r < rows; r++)
		for (uint32_t c = 0; c < cols; c++) {
			float *g = &grad[(size_t)r * cols + c];
			d_gain[c] += w[(size_t)r * cols + c] * *g;
			*g *= gain[c];
		}
}

void wr_learn_fake_gradient(const struct wr_student *s, float *grad)
{
	const struct wr_student *r = s->fake->real;
	for (uint32_t b = 0; b < s->shape.n_blocks; b++) {
		const struct wr_student_block *o = &s->block[b];
		unfold(r->w + o->qkv, r->w + o->norm1, s->qkv_dim, s->shape.d, grad + o->qkv,
			grad + o->norm1);
		unfold(r->w + o->up, r->w + o->norm2, s->up_dim, s->shape.d, grad + o->up,
			grad + o->norm2);
	}
}

void wr_learn_student_units(const struct wr_student *s, float *unit, float *norm)
{
	const struct wr_student *r = s->fake ? s->fake->real : s;
	uint32_t n = s->shape.n_items, d = s->shape.d;
	wr_learn_unit_rows(r->w + r->embedding, n, d, unit, norm);
	if (s->fake && s->fake->items)
		wr_learn_fake_rows(unit, n, d, false);
}
