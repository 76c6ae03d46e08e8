/* SPDX-License-Identifier: BSD-3-Clause */
/* Symmetric int8 quantisation by output channel, norm gains folded into the weights behind them
 * (docs/model.md). */
#include "quantise_student.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void wr_learn_quantise_rows(
	const float *w, const float *gain, uint32_t rows, uint32_t cols, int8_t *q, float *scale)
{
	for (uint32_t r = 0; r < rows; r++) {
		const float *x = w + (size_t)r * cols;
		float top = 0;
		for (uint32_t c = 0; c < cols; c++)
			top = fmaxf(top, fabsf(x[c] * (gain ? gain[c] : 1.0f)));
		scale[r] = top > 0 ? top / 127.0f : 1.0f;
		for (uint32_t c = 0; c < cols; c++) {
			float v = rintf(x[c] * (gain ? gain[c] : 1.0f) / scale[r]);
			q[(size_t)r * cols + c] = (int8_t)fmaxf(-127.0f, fminf(127.0f, v));
		}
	}
}

void wr_learn_quantise_low(const float *w, const float *gain, uint32_t rows, uint32_t cols,
	const int8_t *q, const float *scale, int8_t *low)
{
	for (uint32_t r = 0; r < rows; r++)
		for (uint32_t c = 0; c < cols; c++) {
			size_t i = (size_t)r * cols + c;
			float v = w[i] * (gain ? gain[c] : 1.0f) / scale[r] - (float)q[i];
			low[i] = (int8_t)fmaxf(-127.0f, fminf(127.0f, rintf(v * 254.0f)));
		}
}

/* A projection on its way into a bundle; gain and moment may be NULL. */
struct matrix {
	enum wr_bundle_projection p;
	const float *x, *gain, *moment;
};

static int add_matrix(struct wr_bundle_builder *w, const struct wr_bundle_model *m, uint32_t block,
	const struct matrix *x, struct wr_errmsg *msg)
{
	const char *what = wr_bundle_projection_name(x->p);
	uint32_t rows = (uint32_t)wr_bundle_outputs(m, x->p),
		 cols = (uint32_t)wr_bundle_inputs(m, x->p);
	size_t n = (size_t)rows * cols;
	bool kept = wr_bundle_kept(m, block, x->p);
	char name[32];
	int8_t *q = malloc(n), *low = malloc(n);
	float *scale = malloc(rows * sizeof(*scale));
	int err = WR_ENOMEM;
	if (q && low && scale) {
		if (x->moment && !kept)
			wr_learn_quantise_calibrated(
				x->x, x->gain, x->moment, rows, cols, q, scale);
		else
			wr_learn_quantise_rows(x->x, x->gain, rows, cols, q, scale);
		snprintf(name, sizeof(name), "b%u.%s.q", block, what);
		err = wr_bundle_builder_add(w, name, q, n);
		snprintf(name, sizeof(name), "b%u.%s.s", block, what);
		if (!err)
			err = wr_bundle_builder_add(w, name, scale, rows * sizeof(*scale));
	}
	if (!err && kept) {
		wr_learn_quantise_low(x->x, x->gain, rows, cols, q, scale, low);
		snprintf(name, sizeof(name), "b%u.%s.low", block, what);
		err = wr_bundle_builder_add(w, name, low, n);
	}
	free(q);
	free(low);
	free(scale);
	return err ? wr_fail(msg, err, "cannot add section b%u.%s: %s", block, what,
			     wr_strerror(err))
		   : WR_OK;
}

/* Unit vectors per row in int8; what the encoder reads is the same row times its length and √d. */
static int add_items(struct wr_bundle_builder *w, const struct wr_student *s, struct wr_errmsg *msg)
{
	uint32_t n = s->shape.n_items, d = s->shape.d;
	int8_t *q = malloc((size_t)n * d);
	float *scale = malloc(n * sizeof(*scale)), *in = malloc(n * sizeof(*in)),
	      *unit = malloc(d * sizeof(*unit));
	int err = q && scale && in && unit ? WR_OK : WR_ENOMEM;
	for (uint32_t r = 0; r < n && !err; r++) {
		const float *e = s->w + s->embedding + (size_t)r * d;
		double ss = 0;
		for (uint32_t c = 0; c < d; c++)
			ss += (double)e[c] * (double)e[c];
		double len = sqrt(ss);
		for (uint32_t c = 0; c < d; c++)
			unit[c] = len > 0 ? (float)((double)e[c] / len) : 0.0f;
		wr_learn_quantise_rows(unit, NULL, 1, d, q + (size_t)r * d, &scale[r]);
		in[r] = (float)((double)scale[r] * len * sqrt((double)d));
	}
	if (!err)
		err = wr_bundle_builder_add(w, WR_SEC_ITEM_Q, q, (size_t)n * d);
	if (!err)
		err = wr_bundle_builder_add(w, WR_SEC_ITEM_SCALE, scale, n * sizeof(*scale));
	if (!err)
		err = wr_bundle_builder_add(w, WR_SEC_ITEM_IN, in, n * sizeof(*in));
	free(q);
	free(scale);
	free(in);
	free(unit);
	return err ? wr_fail(msg, err, "cannot add the item sections: %s", wr_strerror(err))
		   : WR_OK;
}

/* [H · W] rows of a head's channels, each with a scale of its own. */
static int add_age_keys(struct wr_bundle_builder *w, const struct wr_student *s, uint32_t b)
{
	uint32_t rows = s->shape.n_heads * s->shape.window, dh = s->head_dim;
	int8_t *q = malloc((size_t)rows * dh);
	float *scale = malloc(rows * sizeof(*scale));
	int err = q && scale ? WR_OK : WR_ENOMEM;
	char name[32];
	if (!err) {
		wr_learn_quantise_rows(s->w + s->block[b].age_key, NULL, rows, dh, q, scale);
		snprintf(name, sizeof(name), "b%u.age.q", b);
		err = wr_bundle_builder_add(w, name, q, (size_t)rows * dh);
		snprintf(name, sizeof(name), "b%u.age.s", b);
	}
	if (!err)
		err = wr_bundle_builder_add(w, name, scale, rows * sizeof(*scale));
	free(q);
	free(scale);
	return err;
}

static int add_block(struct wr_bundle_builder *w, const struct wr_student *s,
	const struct wr_bundle_model *model, const struct moments *m, uint32_t b,
	struct wr_errmsg *msg)
{
	const struct wr_student_shape *p = &s->shape;
	const struct wr_student_block *o = &s->block[b];
	const struct matrix x[WR_BUNDLE_PROJECTIONS] = {
		{WR_BUNDLE_QKV, s->w + o->qkv, s->w + o->norm1, m ? m->qkv[b] : NULL},
		{WR_BUNDLE_OUT, s->w + o->out, NULL, m ? m->out[b] : NULL},
		{WR_BUNDLE_UP, s->w + o->up, s->w + o->norm2, m ? m->up[b] : NULL},
		{WR_BUNDLE_DOWN, s->w + o->down, NULL, m ? m->down[b] : NULL}};
	char name[32];
	int err = WR_OK;
	for (unsigned int i = 0; i < WR_BUNDLE_PROJECTIONS && !err; i++)
		err = add_matrix(w, model, b, &x[i], msg);
	if (err)
		return err;
	snprintf(name, sizeof(name), "b%u.bias", b);
	err = wr_bundle_builder_add(
		w, name, s->w + o->bias, (size_t)p->n_heads * p->window * sizeof(float));
	if (!err && p->time_buckets) {
		snprintf(name, sizeof(name), "b%u.time", b);
		err = wr_bundle_builder_add(w, name, s->w + o->time,
			(size_t)p->n_heads * p->time_buckets * sizeof(float));
	}
	if (!err && p->age_keys)
		err = add_age_keys(w, s, b);
	return err ? wr_fail(msg, err, "cannot add attention of block %u: %s", b, wr_strerror(err))
		   : WR_OK;
}

int wr_learn_quantise_student(struct wr_bundle_builder *w, const struct wr_student *s,
	const struct quantising *how, struct wr_errmsg *msg)
{
	const struct wr_student_shape *p = &s->shape;
	struct wr_bundle_model m = {.n_items = p->n_items,
		.d = p->d,
		.n_blocks = p->n_blocks,
		.n_heads = p->n_heads,
		.n_kv_heads = p->n_kv_heads,
		.head_dim = s->head_dim,
		.window = p->window,
		.ffn = p->ffn,
		.logit_scale = s->w[s->logit_scale],
		.norm_eps = 1e-6f,
		.bundle_version = how->bundle_version,
		.time_buckets = p->time_buckets,
		.age_keys = p->age_keys};
	memcpy(m.kept, how->kept, sizeof(m.kept));
	int err = wr_bundle_builder_add(w, WR_SEC_MODEL, &m, sizeof(m));
	if (!err)
		err = wr_bundle_builder_add(
			w, WR_SEC_FINAL_GAIN, s->w + s->final_gain, p->d * sizeof(float));
	if (err)
		return wr_fail(msg, err, "cannot add the model section: %s", wr_strerror(err));
	err = add_items(w, s, msg);
	for (uint32_t b = 0; b < p->n_blocks && !err; b++)
		err = add_block(w, s, &m, how->moments, b, msg);
	return err;
}
