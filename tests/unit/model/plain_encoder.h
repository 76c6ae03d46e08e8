/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * docs/model.md once more, for tests: one sequence, every position of every block, straight from a
 * bundle's sections, without packing, bursts or narrowing. In int8 exactly as specified, or in
 * doubles without any quantisation of activations.
 */
#ifndef WR_PLAIN_ENCODER_H
#define WR_PLAIN_ENCODER_H

#include "wr_bundle.h"
#include "wr_model.h"
#include "wr_kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct plain_weights {
	const int8_t *q, *low; /* low: of kept projections, else NULL */
	const float *s;
	size_t n, k;
};

static inline struct plain_weights plain_weights(
	const struct wr_bundle *b, unsigned int block, const char *name, size_t n, size_t k)
{
	char q[16], s[16], low[16];
	snprintf(q, sizeof(q), "%s.q", name);
	snprintf(s, sizeof(s), "%s.s", name);
	snprintf(low, sizeof(low), "%s.low", name);
	return (struct plain_weights){wr_bundle_block(b, block, q), wr_bundle_block(b, block, low),
		wr_bundle_block(b, block, s), n, k};
}

/* ---- int8 ---- */

/* What a row of a kept projection has below q: x, or max(x, 0), in units of its largest / 127. */
static inline void plain_low(const float *x, bool relu, const int8_t *q, size_t k, int8_t *low)
{
	float most = 0;
	for (size_t c = 0; c < k; c++)
		most = fmaxf(most, relu ? x[c] : fabsf(x[c]));
	for (size_t c = 0; c < k; c++) {
		float v = (relu ? fmaxf(x[c], 0) : x[c]) * (most < 1e-30f ? 0 : 127.0f / most);
		low[c] = (int8_t)rintf((v - q[c]) * 254.0f);
	}
}

/* a is x (relu: max(x, 0)) quantised; y is not x. */
static inline void plain_linear(const struct plain_weights *w, const float *x, bool relu,
	const int8_t *a, float a_scale, float *y, bool add)
{
	int8_t low[1024];
	if (w->low)
		plain_low(x, relu, a, w->k, low);
	for (size_t o = 0; o < w->n; o++) {
		const int8_t *q = w->q + o * w->k;
		float v = ((float)wr_dot_s8_ref(a, q, w->k) * w->s[o]) * a_scale;
		y[o] = add ? y[o] + v : v;
		if (!w->low)
			continue;
		v = (float)wr_dot_s8_ref(a, w->low + o * w->k, w->k);
		y[o] += (v * (w->s[o] / 254.0f)) * a_scale;
		v = (float)wr_dot_s8_ref(low, q, w->k);
		y[o] += (v * w->s[o]) * (a_scale / 254.0f);
	}
}

/* Biases of a block, and what they depend on; time NULL = by age in clicks alone. */
struct plain_bias {
	const float *click, *time;
	const int64_t *key;  /* [T] event times */
	int64_t now;         /* the query's */
	const int8_t *age_q; /* keys by age, NULL = none */
	const float *age_s;
};

/* q: the query's head, c: its scale / √dh. */
static inline float plain_bias_of(const struct wr_bundle_model *s, const struct plain_bias *b,
	size_t h, size_t t, size_t a, const int8_t *q, float c)
{
	size_t age = h * s->window + a, dh = s->head_dim;
	float bias = b->click[age];
	if (b->time)
		bias += b->time[h * s->time_buckets +
				wr_time_bucket(b->now, b->key[t - a], s->time_buckets)];
	if (b->age_q)
		bias += ((float)wr_dot_s8_ref(q, b->age_q + age * dh, dh) * b->age_s[age]) * c;
	return bias;
}

/* Attention of head h at position t over quantised heads q8 [T][H+2G][dh] with scales. */
static inline void plain_attend(const struct wr_bundle_model *s, const struct plain_bias *bias,
	size_t t, size_t h, const int8_t *q8, const float *scale, float *o)
{
	size_t heads = s->n_heads + 2 * s->n_kv_heads, dh = s->head_dim;
	size_t g = s->n_heads + h * s->n_kv_heads / s->n_heads,
	       n = WR_MIN(t + 1, (size_t)s->window);
	float c = scale[t * heads + h] * (1.0f / sqrtf((float)dh)), m = -INFINITY, aw = 0;
	float e[WR_ATTEND_MAX_WINDOW], lane[16] = {0};
	for (size_t a = 0; a < n; a++) {
		size_t k = (t - a) * heads + g;
		const int8_t *q = q8 + (t * heads + h) * dh;
		int32_t dot = wr_dot_s8_ref(q, q8 + k * dh, dh);
		e[a] = ((float)dot * scale[k]) * c + plain_bias_of(s, bias, h, t, a, q, c);
		m = fmaxf(m, e[a]);
	}
	for (size_t a = 0; a < n; a++) {
		e[a] = wr_attend_exp_ref(e[a] - m);
		lane[a % 16] += e[a];
		e[a] *= scale[(t - a) * heads + g + s->n_kv_heads];
		aw = fmaxf(aw, e[a]);
	}
	for (size_t half = 8; half; half /= 2)
		for (size_t l = 0; l < half; l++)
			lane[l] += lane[l + half];
	for (size_t x = 0; x < dh; x++) {
		int32_t acc = 0;
		for (size_t a = 0; a < n && aw > 0; a++)
			acc += (int32_t)rintf(e[a] * (127.0f / aw)) *
			       q8[((t - a) * heads + g + s->n_kv_heads) * dh + x];
		o[h * dh + x] = aw > 0 ? (float)acc * ((aw / 127.0f) / lane[0]) : 0;
	}
}

/* x [T][d] through block b, in place; times [T] and the request's, of models that look at them. */
static inline void plain_block(const struct wr_bundle *bundle, unsigned int b, size_t T,
	const int64_t *times, int64_t asked, float *x)
{
	const struct wr_bundle_model *s = wr_bundle_model(bundle);
	size_t d = s->d, dh = s->head_dim, heads = s->n_heads + 2 * s->n_kv_heads;
	size_t width = s->n_heads * dh;
	struct plain_weights qkv = plain_weights(bundle, b, "qkv", heads * dh, d),
			     out = plain_weights(bundle, b, "out", d, width),
			     up = plain_weights(bundle, b, "up", s->ffn, d),
			     down = plain_weights(bundle, b, "down", d, s->ffn);
	int8_t *q8 = malloc(T * heads * dh), a[1024];
	float *scale = malloc(T * heads * sizeof(float)), y[1024], o[256], a_scale;
	for (size_t t = 0; t < T; t++) {
		wr_norm_quantise_ref(1, d, s->norm_eps, x + t * d, d, a, d, &a_scale);
		plain_linear(&qkv, x + t * d, false, a, a_scale, y, false);
		wr_quantise_ref(heads, dh, y, dh, q8 + t * heads * dh, dh, scale + t * heads, 1);
	}
	struct plain_bias bias = {.click = wr_bundle_block(bundle, b, "bias"),
		.time = wr_bundle_block(bundle, b, "time"),
		.key = times,
		.age_q = wr_bundle_block(bundle, b, "age.q"),
		.age_s = wr_bundle_block(bundle, b, "age.s")};
	for (size_t t = 0; t < T; t++) {
		if (bias.time)
			bias.now = b + 1 == s->n_blocks && t + 1 == T ? asked : times[t];
		for (size_t h = 0; h < s->n_heads; h++)
			plain_attend(s, &bias, t, h, q8, scale, o);
		wr_quantise_ref(1, width, o, width, a, width, &a_scale, 1);
		plain_linear(&out, o, false, a, a_scale, x + t * d, true);
		wr_norm_quantise_ref(1, d, s->norm_eps, x + t * d, d, a, d, &a_scale);
		plain_linear(&up, x + t * d, false, a, a_scale, y, false);
		wr_relu_quantise_ref(1, s->ffn, y, s->ffn, a, s->ffn, &a_scale, 1);
		plain_linear(&down, y, true, a, a_scale, x + t * d, true);
	}
	free(q8);
	free(scale);
}

/* The user vector of T ≥ 1 clicks. */
static inline void plain_encode(const struct wr_bundle *b, const uint32_t *rows,
	const int64_t *times, int64_t asked, size_t T, int8_t *q, float *scale)
{
	const struct wr_bundle_model *s = wr_bundle_model(b);
	float *x = malloc(T * s->d * sizeof(float));
	wr_embed_ref(T, s->d, wr_bundle_section(b, WR_SEC_ITEM_Q, NULL),
		wr_bundle_section(b, WR_SEC_ITEM_IN, NULL), rows, x, s->d);
	for (unsigned int i = 0; i < s->n_blocks; i++)
		plain_block(b, i, T, times, asked, x);
	wr_user_quantise_ref(1, s->d, wr_bundle_section(b, WR_SEC_FINAL_GAIN, NULL), s->logit_scale,
		x + (T - 1) * s->d, s->d, q, s->d, scale);
	free(x);
}

/* ---- doubles ---- */

static inline double double_weight(const struct plain_weights *w, size_t i)
{
	return w->q[i] + (w->low ? w->low[i] / 254.0 : 0);
}

static inline void double_linear(
	const struct plain_weights *w, const double *a, double *y, bool add)
{
	for (size_t o = 0; o < w->n; o++) {
		double v = 0;
		for (size_t c = 0; c < w->k; c++)
			v += a[c] * double_weight(w, o * w->k + c) * (double)w->s[o];
		y[o] = add ? y[o] + v : v;
	}
}

static inline void double_norm(const struct wr_bundle_model *s, const double *x, double *n)
{
	double ss = 0;
	for (size_t c = 0; c < s->d; c++)
		ss += x[c] * x[c];
	for (size_t c = 0; c < s->d; c++)
		n[c] = x[c] / sqrt(ss / s->d + (double)s->norm_eps);
}

static inline void double_attend(const struct wr_bundle_model *s, const float *bias, size_t t,
	size_t h, const double *y, double *o)
{
	size_t dh = s->head_dim, ld = (s->n_heads + 2 * s->n_kv_heads) * dh;
	size_t g = h * s->n_kv_heads / s->n_heads, n = WR_MIN(t + 1, (size_t)s->window);
	const double *q = y + t * ld + h * dh;
	double z = 0;
	memset(o + h * dh, 0, dh * sizeof(*o));
	for (size_t a = 0; a < n; a++) {
		const double *k = y + (t - a) * ld + (s->n_heads + g) * dh,
			     *v = k + s->n_kv_heads * dh;
		double dot = 0;
		for (size_t c = 0; c < dh; c++)
			dot += q[c] * k[c];
		double e = exp(dot / sqrt((double)dh) + (double)bias[h * s->window + a]);
		z += e;
		for (size_t c = 0; c < dh; c++)
			o[h * dh + c] += e * v[c];
	}
	for (size_t c = 0; c < dh; c++)
		o[h * dh + c] /= z;
}

static inline void double_block(const struct wr_bundle *bundle, unsigned int b, size_t T, double *x)
{
	const struct wr_bundle_model *s = wr_bundle_model(bundle);
	size_t d = s->d, dh = s->head_dim, heads = s->n_heads + 2 * s->n_kv_heads;
	struct plain_weights qkv = plain_weights(bundle, b, "qkv", heads * dh, d),
			     out = plain_weights(bundle, b, "out", d, s->n_heads * dh),
			     up = plain_weights(bundle, b, "up", s->ffn, d),
			     down = plain_weights(bundle, b, "down", d, s->ffn);
	double *y = malloc(T * heads * dh * sizeof(*y)), n[256], o[256], m[1024];
	for (size_t t = 0; t < T; t++) {
		double_norm(s, x + t * d, n);
		double_linear(&qkv, n, y + t * heads * dh, false);
	}
	for (size_t t = 0; t < T; t++) {
		for (size_t h = 0; h < s->n_heads; h++)
			double_attend(s, wr_bundle_block(bundle, b, "bias"), t, h, y, o);
		double_linear(&out, o, x + t * d, true);
		double_norm(s, x + t * d, n);
		double_linear(&up, n, m, false);
		for (size_t c = 0; c < s->ffn; c++)
			m[c] = fmax(m[c], 0);
		double_linear(&down, m, x + t * d, true);
	}
	free(y);
}

/* x_T ⊙ gf of T ≥ 1 clicks, without quantised activations. */
static inline void double_encode(
	const struct wr_bundle *b, const uint32_t *rows, size_t T, double *u)
{
	const struct wr_bundle_model *s = wr_bundle_model(b);
	const int8_t *q = wr_bundle_section(b, WR_SEC_ITEM_Q, NULL);
	const float *in = wr_bundle_section(b, WR_SEC_ITEM_IN, NULL);
	const float *gain = wr_bundle_section(b, WR_SEC_FINAL_GAIN, NULL);
	double *x = malloc(T * s->d * sizeof(*x));
	for (size_t t = 0; t < T; t++)
		for (size_t c = 0; c < s->d; c++)
			x[t * s->d + c] = q[rows[t] * s->d + c] * (double)in[rows[t]];
	for (unsigned int i = 0; i < s->n_blocks; i++)
		double_block(b, i, T, x);
	for (size_t c = 0; c < s->d; c++)
		u[c] = x[(T - 1) * s->d + c] * (double)gain[c];
	free(x);
}

#endif
