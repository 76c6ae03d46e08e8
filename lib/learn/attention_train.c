/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sliding-window attention with a bias by age, forward and backward, one sequence at a time. A
 * query sees at most `window` keys, so the loops are short (50 keys, 32 channels) and run over
 * contiguous keys (transposed) or channels.
 *
 * Probabilities are kept by slot: slot s of a query holds age W-1-s, so that keys of ascending
 * position and the reversed bias line up.
 */
#include "age_keys_int.h"
#include "fake_int.h"
#include "guide_int.h"
#include "time_int.h"

#include <math.h>

/* One head of one sequence; strides in floats. kt, vt: [dh][ld]. */
struct head {
	const float *q, *k, *v; /* of token 0; qkv_stride apart */
	const float *kt, *vt, *bias_rev;
	float *p; /* [n] rows of p_stride, W slots each */
	uint32_t n, window, dh, ld;
	size_t qkv_stride, p_stride, o_stride;
	float inv_sqrt;
	uint32_t attn_threshold;
	float attn_scale;
	uint64_t key;
	uint32_t site;
	uint32_t h, first;
	struct watcher watch;
	const float *v_scale; /* [n]; NULL = weights are not rounded */
	struct time_bias time;
	struct age_keys age_keys;
	const float *wanted; /* weights to learn, rows as p; NULL = none */
	float wanted_weight;
	double *wanted_loss;
};

static void transpose(
	const float *x, size_t stride, uint32_t n, uint32_t dh, float *out, uint32_t ld)
{
	for (uint32_t t = 0; t < n; t++)
		for (uint32_t c = 0; c < dh; c++)
			out[(size_t)c * ld + t] = x[t * stride + c];
}

/* A query's weights as the server rounds them, times its values' scales, to 0 … 127. */
WR_INLINE void round_weights(const float *p, const float *v_scale, uint32_t m, float *out)
{
	float top = 0;
#pragma omp simd reduction(max : top)
	for (uint32_t i = 0; i < m; i++) {
		out[i] = p[i] * v_scale[i];
		top = out[i] > top ? out[i] : top;
	}
	float inv = top < 1e-30f ? 0.0f : 127.0f / top, back = top / 127.0f;
#pragma omp simd
	for (uint32_t i = 0; i < m; i++)
		out[i] = v_scale[i] > 0 ? rintf(out[i] * inv) * back / v_scale[i] : 0.0f;
}

static void scales_of(const float *v, size_t stride, uint32_t n, uint32_t dh, float *scale)
{
	for (uint32_t t = 0; t < n; t++) {
		float top = 0;
		for (uint32_t c = 0; c < dh; c++)
			top = fmaxf(top, fabsf(v[t * stride + c]));
		scale[t] = top / 127.0f;
	}
}

WR_INLINE void head_forward(const struct head *a, float *o, float *drop, const uint32_t dh)
{
	for (uint32_t t = 0; t < a->n; t++) {
		uint32_t m = WR_MIN(t + 1, a->window), j0 = t + 1 - m, s0 = a->window - m;
		const float *q = a->q + t * a->qkv_stride;
		float *p = a->p + t * a->p_stride, *e = p + s0, *out = o + t * a->o_stride;
		for (uint32_t s = 0; s < s0; s++)
			p[s] = 0;
		for (uint32_t i = 0; i < m; i++)
			e[i] = 0;
		for (uint32_t c = 0; c < dh; c++) {
			const float *kt = a->kt + (size_t)c * a->ld + j0;
			float qc = q[c];
#pragma omp simd
			for (uint32_t i = 0; i < m; i++)
				e[i] += qc * kt[i];
		}
		age_keys_score(&a->age_keys, q, s0, m, e, dh);
		(void)softmax_row(
			e, time_row(&a->time, a->bias_rev + s0, t, s0, m), m, a->inv_sqrt);
		if (a->watch.see)
			a->watch.see(a->watch.to, a->h, a->first + t, e, m);
		const float *w = e;
		if (a->v_scale) {
			round_weights(e, a->v_scale + j0, m, drop);
			w = drop;
		}
		if (a->attn_threshold) {
			for (uint32_t i = 0; i < m; i++)
				drop[i] = w[i];
			wr_learn_dropout_apply(
				drop, m, a->attn_threshold, a->attn_scale, a->key + t, a->site);
			w = drop;
		}
		float acc[WR_STUDENT_MAX_HEAD_DIM];
		for (uint32_t c = 0; c < dh; c++)
			acc[c] = 0;
		for (uint32_t i = 0; i < m; i++) {
			const float *v = a->v + (j0 + i) * a->qkv_stride;
			float wi = w[i];
#pragma omp simd
			for (uint32_t c = 0; c < dh; c++)
				acc[c] += wi * v[c];
		}
		for (uint32_t c = 0; c < dh; c++)
			out[c] = acc[c];
	}
}

/* Adds the gradient of weight · KL(wanted, p) in the scores to ds, which is in the products. */
static void want(const struct head *a, const float *wanted, const float *p, uint32_t m, float *ds,
	float *d_bias)
{
	double loss = 0;
	float total = 0;
	for (uint32_t i = 0; i < m; i++) {
		total += wanted[i];
		if (wanted[i] > 0)
			loss += (double)(wanted[i] * logf(wanted[i] / fmaxf(p[i], 1e-12f)));
	}
	for (uint32_t i = 0; i < m; i++) {
		float g = a->wanted_weight * (total * p[i] - wanted[i]);
		d_bias[i] += g;
		ds[i] += g * a->inv_sqrt;
	}
	*a->wanted_loss += loss;
}

/* dq, dk, dv have qkv_stride; dk and dv are added to (key heads are shared). ds, w: W floats of
 * scratch. */
WR_INLINE void head_backward(const struct head *a, const float *d_o, float *dq, float *dk,
	float *dv, float *d_bias, float *ds, float *w, const uint32_t dh)
{
	for (uint32_t t = 0; t < a->n; t++) {
		uint32_t m = WR_MIN(t + 1, a->window), j0 = t + 1 - m, s0 = a->window - m;
		const float *q = a->q + t * a->qkv_stride, *g = d_o + t * a->o_stride;
		const float *p = a->p + t * a->p_stride + s0;
		float *db = d_bias + s0, *gq = dq + t * a->qkv_stride;
		for (uint32_t i = 0; i < m; i++) {
			ds[i] = 0;
			w[i] = p[i];
		}
		if (a->v_scale)
			round_weights(p, a->v_scale + j0, m, w);
		for (uint32_t c = 0; c < dh; c++) {
			const float *vt = a->vt + (size_t)c * a->ld + j0;
			float gc = g[c];
#pragma omp simd
			for (uint32_t i = 0; i < m; i++)
				ds[i] += gc * vt[i];
		}
		if (a->attn_threshold) {
			wr_learn_dropout_apply(
				w, m, a->attn_threshold, a->attn_scale, a->key + t, a->site);
			wr_learn_dropout_apply(
				ds, m, a->attn_threshold, a->attn_scale, a->key + t, a->site);
		}
		float sum = 0;
#pragma omp simd reduction(+ : sum)
		for (uint32_t i = 0; i < m; i++)
			sum += p[i] * ds[i];
#pragma omp simd
		for (uint32_t i = 0; i < m; i++) {
			ds[i] = p[i] * (ds[i] - sum);
			db[i] += ds[i];
			ds[i] *= a->inv_sqrt;
		}
		if (a->wanted)
			want(a, a->wanted + t * a->p_stride + s0, p, m, ds, db);
		time_gradient(&a->time, t, s0, m, ds, a->inv_sqrt);
		float acc[WR_STUDENT_MAX_HEAD_DIM];
		for (uint32_t c = 0; c < dh; c++)
			acc[c] = 0;
		for (uint32_t i = 0; i < m; i++) {
			size_t j = (j0 + i) * a->qkv_stride;
			const float *k = a->k + j;
			float *gk = dk + j, *gv = dv + j, dsi = ds[i], wi = w[i];
#pragma omp simd
			for (uint32_t c = 0; c < dh; c++) {
				acc[c] += dsi * k[c];
				gk[c] += dsi * q[c];
				gv[c] += wi * g[c];
			}
		}
		age_keys_gradient(&a->age_keys, q, s0, m, ds, acc, dh);
		for (uint32_t c = 0; c < dh; c++)
			gq[c] = acc[c];
	}
}

/* The reference width of a head gets loops of constant length. */
WR_CLONES static void head_forward_any(const struct head *a, float *o, float *drop)
{
	if (a->dh == 32)
		head_forward(a, o, drop, 32);
	else
		head_forward(a, o, drop, a->dh);
}

WR_CLONES static void head_backward_any(const struct head *a, const float *d_o, float *dq,
	float *dk, float *dv, float *d_bias, float *ds, float *w)
{
	if (a->dh == 32)
		head_backward(a, d_o, dq, dk, dv, d_bias, ds, w, 32);
	else
		head_backward(a, d_o, dq, dk, dv, d_bias, ds, w, a->dh);
}

static struct head head_of(const struct wr_student *s, const struct net_ws *ws,
	const struct block_ws *b, uint32_t first, uint32_t n, uint32_t h,
	const struct dropout *drop, uint32_t site)
{
	const struct wr_student_shape *p = &s->shape;
	uint32_t dh = s->head_dim, kv = h * p->n_kv_heads / p->n_heads;
	const float *qkv = b->qkv + (size_t)first * s->qkv_dim;
	return (struct head){.q = qkv + h * dh,
		.k = qkv + (p->n_heads + kv) * dh,
		.v = qkv + (p->n_heads + p->n_kv_heads + kv) * dh,
		.kt = ws->kt,
		.vt = ws->vt,
		.bias_rev = ws->bias_rev + h * p->window,
		.p = b->p + ((size_t)first * p->n_heads + h) * p->window,
		.n = n,
		.window = p->window,
		.dh = dh,
		.ld = ws->max_tokens,
		.qkv_stride = s->qkv_dim,
		.p_stride = (size_t)p->n_heads * p->window,
		.o_stride = s->o_dim,
		.inv_sqrt = 1.0f / sqrtf((float)dh),
		.attn_threshold = drop->attn_threshold,
		.attn_scale = drop->attn_scale,
		.key = drop->key + (((uint64_t)h << 32) + first) * 0x2545f4914f6cdd1du,
		.site = site,
		.h = h,
		.first = first,
		.v_scale = fake_part(s, (uint32_t)(b - ws->b), FAKE_ATTENTION) ? ws->v_scale : NULL,
		.watch = ws->watch[b - ws->b],
		.time = time_bias_of(s, ws, b, first, h),
		.age_keys = age_keys_of(s, ws, h)};
}

void wr_learn_attention_forward(const struct wr_student *s, struct net_ws *ws,
	const struct block_ws *b, uint32_t first, uint32_t n, const struct dropout *drop,
	uint32_t site)
{
	for (uint32_t h = 0; h < s->shape.n_heads; h++) {
		struct head a = head_of(s, ws, b, first, n, h, drop, site);
		transpose(a.k, a.qkv_stride, n, a.dh, ws->kt, a.ld);
		if (a.v_scale)
			scales_of(a.v, a.qkv_stride, n, a.dh, ws->v_scale);
		head_forward_any(&a, b->o + (size_t)first * s->o_dim + h * a.dh, ws->vt);
	}
}

void wr_learn_attention_backward(const struct wr_student *s, struct net_ws *ws,
	const struct block_ws *b, uint32_t first, uint32_t n, const struct dropout *drop,
	uint32_t site)
{
	const struct wr_student_shape *p = &s->shape;
	for (uint32_t t = 0; t < n; t++) {
		float *row = ws->dqkv + ((size_t)first + t) * s->qkv_dim;
		for (uint32_t c = 0; c < s->qkv_dim; c++)
			row[c] = 0;
	}
	for (uint32_t h = 0; h < p->n_heads; h++) {
		struct head a = head_of(s, ws, b, first, n, h, drop, site);
		uint32_t kv = h * p->n_kv_heads / p->n_heads;
		float *g = ws->dqkv + (size_t)first * s->qkv_dim;
		const float *wanted = ws->guide ? ws->guide->attention[b - ws->b] : NULL;
		if (wanted) {
			a.wanted = wanted + ((size_t)first * p->n_heads + h) * p->window;
			a.wanted_loss = &ws->attention_loss;
			a.wanted_weight = ws->guide_weight *
					  (float)ws->guide->distil->attention_weight /
					  (float)p->n_heads;
		}
		transpose(a.v, a.qkv_stride, n, a.dh, ws->vt, a.ld);
		if (a.v_scale)
			scales_of(a.v, a.qkv_stride, n, a.dh, ws->v_scale);
		head_backward_any(&a, ws->dn + (size_t)first * s->o_dim + h * a.dh, g + h * a.dh,
			g + (p->n_heads + kv) * a.dh, g + (p->n_heads + p->n_kv_heads + kv) * a.dh,
			ws->d_bias + h * p->window, ws->kt, ws->kt + p->window);
	}
}
