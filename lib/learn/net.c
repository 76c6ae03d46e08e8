/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The student's forward and backward pass over a ragged chunk of sequences, as docs/model.md
 * ("Student, as trained"). Every product is a GEMM over all tokens of the chunk (some 1,600 × 64);
 * no work is done on padding.
 */
#include "age_keys_int.h"
#include "fake_int.h"
#include "guide_int.h"
#include "sgemm.h"
#include "side_int.h"
#include "time_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NORM_EPS 1e-6f

/* Dropout sites: 0 the input, then three a block. */
#define SITE_OUT(b)     (3 * (b) + 1)
#define SITE_FFN(b)     (3 * (b) + 2)
#define SITE_WEIGHTS(b) (3 * (b) + 3)

/* Hands out pieces of an arena, on cache lines; without a base it only counts. */
struct carver {
	float *base;
	size_t used;
};

static float *carve(struct carver *c, size_t floats)
{
	float *p = c->base ? c->base + c->used : NULL;
	c->used += WR_ALIGN_UP(floats, (size_t)16);
	return p;
}

/* Lays out ws from base (NULL to measure); returns the floats used. */
static size_t net_ws_layout(struct net_ws *ws, const struct wr_student *s, size_t t, float *base)
{
	const struct wr_student_shape *p = &s->shape;
	size_t d = p->d, slots = (size_t)p->n_heads * p->window;
	struct carver at = {.base = base};
	for (uint32_t b = 0; b < p->n_blocks; b++)
		ws->b[b] = (struct block_ws){.x_in = carve(&at, t * d),
			.r1 = carve(&at, t),
			.n1 = carve(&at, t * d),
			.qkv = carve(&at, t * s->qkv_dim),
			.p = carve(&at, wr_learn_attention_blocked(p) ? t * p->n_heads : t * slots),
			.o = carve(&at, t * s->o_dim),
			.x_mid = carve(&at, t * d),
			.r2 = carve(&at, t),
			.n2 = carve(&at, t * d),
			.up = wr_learn_activation_keeps(p) ? carve(&at, t * s->up_dim) : NULL,
			.h = carve(&at, t * p->ffn)};
	ws->x_out = carve(&at, t * d);
	ws->u = carve(&at, t * d);
	ws->u_norm = carve(&at, t);
	ws->dx = carve(&at, t * d);
	ws->dy = carve(&at, t * d);
	ws->dn = carve(&at, t * WR_MAX(d, (size_t)s->o_dim));
	ws->dqkv = carve(&at, t * s->qkv_dim);
	ws->d_h = carve(&at, t * p->ffn);
	ws->d_up = wr_learn_activation_keeps(p) ? carve(&at, t * s->up_dim) : ws->d_h;
	ws->kt = carve(&at, WR_MAX(t * s->head_dim, (size_t)2 * p->window));
	ws->vt = carve(&at, WR_MAX(t * s->head_dim, (size_t)p->window));
	ws->v_scale = carve(&at, t);
	ws->bias_rev = carve(&at, slots);
	ws->d_bias = carve(&at, slots);
	if (wr_learn_attention_blocked(p)) {
		size_t keys = WR_MIN(t, (size_t)p->window + ATTENTION_ROWS);
		ws->att_s = carve(&at, ATTENTION_ROWS * keys);
		ws->att_g = carve(&at, ATTENTION_ROWS * keys);
	}
	if (p->time_buckets) {
		ws->bucket[0] = (uint8_t *)carve(&at, (t * p->window + 3) / 4);
		ws->bucket[1] = (uint8_t *)carve(&at, (t * p->window + 3) / 4);
		ws->time_row = carve(&at, p->window);
		ws->d_time = carve(&at, (size_t)p->n_heads * p->time_buckets);
	}
	if (p->age_keys) {
		ws->age_key = carve(&at, slots * s->head_dim);
		ws->age_key_t = carve(&at, slots * s->head_dim);
		ws->d_age_key = carve(&at, slots * s->head_dim);
	}
	if (p->rotary)
		ws->turn = carve(&at, t * s->head_dim);
	ws->row_scale = carve(&at, SOFTMAX_TILE);
	ws->tile_u = carve(&at, SOFTMAX_TILE * d);
	ws->tile_z = carve(&at, (size_t)SOFTMAX_TILE * p->n_items);
	return at.used;
}

int wr_learn_net_ws_new(
	struct net_ws *ws, const struct wr_student *s, uint32_t max_tokens, struct wr_errmsg *msg)
{
	memset(ws, 0, sizeof(*ws));
	size_t floats = net_ws_layout(ws, s, max_tokens, NULL);
	ws->arena = aligned_alloc(64, floats * sizeof(float));
	if (!ws->arena)
		return wr_fail(msg, WR_ENOMEM,
			"no memory for %zu MiB of activations: use a smaller --batch or --len",
			floats >> 18);
	memset(ws->arena, 0, floats * sizeof(float));
	net_ws_layout(ws, s, max_tokens, ws->arena);
	if (ws->turn)
		wr_learn_rotary_table(s->head_dim, max_tokens, ws->turn);
	ws->max_tokens = max_tokens;
	return WR_OK;
}

void wr_learn_net_ws_free(struct net_ws *ws)
{
	free(ws->arena);
	ws->arena = NULL;
}

/* n = x · r · gain by row, r = 1 / sqrt(mean x² + eps). */
WR_CLONES static void rms_forward(
	const float *x, const float *gain, uint32_t rows, uint32_t d, float *r, float *n)
{
	for (uint32_t t = 0; t < rows; t++) {
		const float *xt = x + (size_t)t * d;
		float *nt = n + (size_t)t * d, ss = 0;
#pragma omp simd reduction(+ : ss)
		for (uint32_t c = 0; c < d; c++)
			ss += xt[c] * xt[c];
		float inv = 1.0f / sqrtf(ss / (float)d + NORM_EPS);
#pragma omp simd
		for (uint32_t c = 0; c < d; c++)
			nt[c] = xt[c] * inv * gain[c];
		r[t] = inv;
	}
}

/* Adds to dx (by x) and d_gain. */
WR_CLONES static void rms_backward(const float *x, const float *r, const float *gain,
	const float *dn, uint32_t rows, uint32_t d, float *dx, float *d_gain)
{
	for (uint32_t t = 0; t < rows; t++) {
		const float *xt = x + (size_t)t * d, *g = dn + (size_t)t * d;
		float *dxt = dx + (size_t)t * d, inv = r[t], dot = 0;
#pragma omp simd reduction(+ : dot)
		for (uint32_t c = 0; c < d; c++)
			dot += g[c] * gain[c] * xt[c];
		float k = dot * inv * inv * inv / (float)d;
#pragma omp simd
		for (uint32_t c = 0; c < d; c++) {
			d_gain[c] += g[c] * xt[c] * inv;
			dxt[c] += g[c] * gain[c] * inv - xt[c] * k;
		}
	}
}

WR_CLONES static void add_rows(const float *a, const float *b, size_t n, float *out)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		out[i] = a[i] + b[i];
}

WR_CLONES static void relu_forward(float *h, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		h[i] = h[i] > 0 ? h[i] : 0;
}

WR_CLONES static void relu_backward(const float *h, float *dh, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		dh[i] = h[i] > 0 ? dh[i] : 0;
}

WR_CLONES static void embed(const float *e, const uint32_t *rows, uint32_t n, uint32_t d, float *x)
{
	float k = sqrtf((float)d);
	for (uint32_t t = 0; t < n; t++) {
		const float *row = e + (size_t)rows[t] * d;
		float *xt = x + (size_t)t * d;
#pragma omp simd
		for (uint32_t c = 0; c < d; c++)
			xt[c] = row[c] * k;
	}
}

/* u = (x ⊙ gain) / |x ⊙ gain|. */
WR_CLONES static void unit_forward(
	const float *x, const float *gain, uint32_t rows, uint32_t d, float *u, float *len)
{
	for (uint32_t t = 0; t < rows; t++) {
		const float *xt = x + (size_t)t * d;
		float *ut = u + (size_t)t * d, ss = 0;
#pragma omp simd reduction(+ : ss)
		for (uint32_t c = 0; c < d; c++) {
			ut[c] = xt[c] * gain[c];
			ss += ut[c] * ut[c];
		}
		float l = sqrtf(ss), inv = l > 0 ? 1.0f / l : 0.0f;
#pragma omp simd
		for (uint32_t c = 0; c < d; c++)
			ut[c] *= inv;
		len[t] = l;
	}
}

/* dx: in d loss / d u, out d loss / d x. */
WR_CLONES static void unit_backward(const float *x, const float *gain, const float *u,
	const float *len, uint32_t rows, uint32_t d, float *dx, float *d_gain)
{
	for (uint32_t t = 0; t < rows; t++) {
		const float *xt = x + (size_t)t * d, *ut = u + (size_t)t * d;
		float *g = dx + (size_t)t * d, dot = 0, inv = len[t] > 0 ? 1.0f / len[t] : 0.0f;
#pragma omp simd reduction(+ : dot)
		for (uint32_t c = 0; c < d; c++)
			dot += g[c] * ut[c];
#pragma omp simd
		for (uint32_t c = 0; c < d; c++) {
			float dy = (g[c] - ut[c] * dot) * inv;
			d_gain[c] += dy * xt[c];
			g[c] = dy * gain[c];
		}
	}
}

static void load_bias(const struct wr_student *s, uint32_t b, float *rev)
{
	uint32_t w = s->shape.window;
	const float *bias = s->w + s->block[b].bias;
	for (uint32_t h = 0; h < s->shape.n_heads; h++)
		for (uint32_t a = 0; a < w; a++)
			rev[h * w + w - 1 - a] = bias[h * w + a];
}

/* Queries and keys stand side by side in a row of qkv. */
static void rotate_qk(const struct wr_student *s, const struct net_ws *ws, const struct ragged *in,
	float *qkv, bool back)
{
	if (s->shape.rotary)
		wr_learn_rotate(ws->turn, s->head_dim, s->shape.n_heads + s->shape.n_kv_heads, in,
			qkv, s->qkv_dim, back);
}

static void attend_forward(const struct wr_student *s, struct net_ws *ws, uint32_t b,
	const struct ragged *in, const struct dropout *drop)
{
	bool blocked = wr_learn_attention_blocked(&s->shape);
	load_bias(s, b, ws->bias_rev);
	wr_learn_age_keys_load(s, b, ws);
	for (uint32_t i = 0; i < in->n_seqs; i++) {
		uint32_t first = in->off[i], n = in->off[i + 1] - first;
		if (blocked)
			wr_learn_attention_blocked_forward(
				s, ws, &ws->b[b], first, n, drop, SITE_WEIGHTS(b));
		else
			wr_learn_attention_forward(
				s, ws, &ws->b[b], first, n, drop, SITE_WEIGHTS(b));
	}
}

static void block_forward(const struct wr_student *s, struct net_ws *ws, uint32_t b,
	const struct ragged *in, const struct dropout *drop, float *x_next)
{
	const struct wr_student_shape *p = &s->shape;
	const struct wr_student_block *o = &s->block[b];
	struct block_ws *k = &ws->b[b];
	uint32_t d = p->d, t = in->off[in->n_seqs];
	size_t td = (size_t)t * d;
	rms_forward(k->x_in, s->w + o->norm1, t, d, k->r1, k->n1);
	wr_learn_fake_input(s, b, FAKE_QKV, k->n1, t, d);
	wr_sgemm(false, true, t, s->qkv_dim, d, k->n1, d, s->w + o->qkv, d, 0, k->qkv, s->qkv_dim);
	rotate_qk(s, ws, in, k->qkv, false);
	if (fake_part(s, b, FAKE_ATTENTION))
		wr_learn_fake_rows(
			k->qkv, (size_t)t * (p->n_heads + 2 * p->n_kv_heads), s->head_dim, false);
	attend_forward(s, ws, b, in, drop);
	wr_learn_fake_input(s, b, FAKE_OUT, k->o, t, s->o_dim);
	wr_sgemm(
		false, true, t, d, s->o_dim, k->o, s->o_dim, s->w + o->out, s->o_dim, 0, ws->dy, d);
	if (drop->threshold)
		wr_learn_dropout_apply(
			ws->dy, td, drop->threshold, drop->scale, drop->key, SITE_OUT(b));
	add_rows(k->x_in, ws->dy, td, k->x_mid);
	rms_forward(k->x_mid, s->w + o->norm2, t, d, k->r2, k->n2);
	wr_learn_fake_input(s, b, FAKE_UP, k->n2, t, d);
	float *up = k->up ? k->up : k->h;
	wr_sgemm(false, true, t, s->up_dim, d, k->n2, d, s->w + o->up, d, 0, up, s->up_dim);
	if (k->up)
		wr_learn_activation_forward(s, k->up, t, k->h);
	else
		relu_forward(k->h, (size_t)t * p->ffn);
	/* A unit that is rounded to 0 passes no gradient either. */
	wr_learn_fake_input(s, b, FAKE_DOWN, k->h, t, p->ffn);
	wr_sgemm(false, true, t, d, p->ffn, k->h, p->ffn, s->w + o->down, p->ffn, 0, ws->dy, d);
	if (drop->threshold)
		wr_learn_dropout_apply(
			ws->dy, td, drop->threshold, drop->scale, drop->key, SITE_FFN(b));
	add_rows(k->x_mid, ws->dy, td, x_next);
}

void wr_learn_net_forward(const struct wr_student *s, struct net_ws *ws, const struct ragged *in,
	const struct dropout *drop)
{
	uint32_t d = s->shape.d, t = in->off[in->n_seqs], last = s->shape.n_blocks - 1;
	float *x = ws->b[0].x_in;
	if (s->shape.time_buckets)
		wr_learn_time_buckets(s, ws, in);
	embed(s->w + s->embedding, in->rows, t, d, x);
	wr_learn_profile_forward(s, in, x);
	if (drop->threshold)
		wr_learn_dropout_apply(
			x, (size_t)t * d, drop->threshold, drop->scale, drop->key, 0);
	for (uint32_t b = 0; b <= last; b++)
		block_forward(s, ws, b, in, drop, b == last ? ws->x_out : ws->b[b + 1].x_in);
	unit_forward(ws->x_out, s->w + s->final_gain, t, d, ws->u, ws->u_norm);
	if (s->fake && s->fake->user)
		wr_learn_fake_rows(ws->u, t, d, false);
}

static void store_bias_gradient(
	const struct wr_student *s, uint32_t b, const float *rev, float *grad)
{
	uint32_t w = s->shape.window;
	float *bias = grad + s->block[b].bias;
	for (uint32_t h = 0; h < s->shape.n_heads; h++)
		for (uint32_t a = 0; a < w; a++)
			bias[h * w + a] += rev[h * w + w - 1 - a];
}

static void attend_backward(const struct wr_student *s, struct net_ws *ws, uint32_t b,
	const struct ragged *in, const struct dropout *drop, float *grad)
{
	const struct wr_student_shape *p = &s->shape;
	bool blocked = wr_learn_attention_blocked(p);
	load_bias(s, b, ws->bias_rev);
	wr_learn_age_keys_load(s, b, ws);
	memset(ws->d_bias, 0, (size_t)p->n_heads * p->window * sizeof(float));
	for (uint32_t i = 0; i < p->n_heads * p->time_buckets; i++)
		ws->d_time[i] = 0;
	for (uint32_t i = 0; i < in->n_seqs; i++) {
		uint32_t first = in->off[i], n = in->off[i + 1] - first;
		if (blocked)
			wr_learn_attention_blocked_backward(
				s, ws, &ws->b[b], first, n, drop, SITE_WEIGHTS(b));
		else
			wr_learn_attention_backward(
				s, ws, &ws->b[b], first, n, drop, SITE_WEIGHTS(b));
	}
	if (!p->no_age_bias)
		store_bias_gradient(s, b, ws->d_bias, grad);
	wr_learn_age_keys_store(s, b, ws, grad);
	for (uint32_t i = 0; i < p->n_heads * p->time_buckets; i++)
		grad[s->block[b].time + i] += ws->d_time[i];
}

/* ws->dx: in d loss / d block output, out d loss / d x_in. */
static void block_backward(const struct wr_student *s, struct net_ws *ws, uint32_t b,
	const struct ragged *in, const struct dropout *drop, float *grad)
{
	const struct wr_student_shape *p = &s->shape;
	const struct wr_student_block *o = &s->block[b];
	struct block_ws *k = &ws->b[b];
	uint32_t d = p->d, f = p->ffn, f_up = s->up_dim, q = s->qkv_dim, t = in->off[in->n_seqs],
		 od = s->o_dim;
	size_t td = (size_t)t * d;
	const float *w = s->w;
	memcpy(ws->dy, ws->dx, td * sizeof(float));
	if (drop->threshold)
		wr_learn_dropout_apply(
			ws->dy, td, drop->threshold, drop->scale, drop->key, SITE_FFN(b));
	wr_sgemm(true, false, d, f, t, ws->dy, d, k->h, f, 1, grad + o->down, f);
	wr_sgemm(false, false, t, f, d, ws->dy, d, w + o->down, f, 0, ws->d_h, f);
	if (k->up)
		wr_learn_activation_backward(s, k->up, ws->d_h, t, ws->d_up);
	else
		relu_backward(k->h, ws->d_h, (size_t)t * f);
	wr_sgemm(true, false, f_up, d, t, ws->d_up, f_up, k->n2, d, 1, grad + o->up, d);
	wr_sgemm(false, false, t, d, f_up, ws->d_up, f_up, w + o->up, d, 0, ws->dn, d);
	rms_backward(k->x_mid, k->r2, w + o->norm2, ws->dn, t, d, ws->dx, grad + o->norm2);

	memcpy(ws->dy, ws->dx, td * sizeof(float));
	if (drop->threshold)
		wr_learn_dropout_apply(
			ws->dy, td, drop->threshold, drop->scale, drop->key, SITE_OUT(b));
	wr_sgemm(true, false, d, od, t, ws->dy, d, k->o, od, 1, grad + o->out, od);
	wr_sgemm(false, false, t, od, d, ws->dy, d, w + o->out, od, 0, ws->dn, od);
	attend_backward(s, ws, b, in, drop, grad);
	rotate_qk(s, ws, in, ws->dqkv, true);
	wr_sgemm(true, false, q, d, t, ws->dqkv, q, k->n1, d, 1, grad + o->qkv, d);
	wr_sgemm(false, false, t, d, q, ws->dqkv, q, w + o->qkv, d, 0, ws->dn, d);
	rms_backward(k->x_in, k->r1, w + o->norm1, ws->dn, t, d, ws->dx, grad + o->norm1);
}

void wr_learn_net_backward(const struct wr_student *s, struct net_ws *ws, const struct ragged *in,
	const struct dropout *drop, float *grad)
{
	uint32_t d = s->shape.d, t = in->off[in->n_seqs];
	unit_backward(ws->x_out, s->w + s->final_gain, ws->u, ws->u_norm, t, d, ws->dx,
		grad + s->final_gain);
	for (uint32_t b = s->shape.n_blocks; b-- > 0;) {
		if (ws->guide && s->shape.matched >> b & 1)
			ws->hidden_loss += wr_learn_guide_hidden(ws->guide, s, b,
				b + 1 < s->shape.n_blocks ? ws->b[b + 1].x_in : ws->x_out, t,
				ws->guide_weight, ws->dx, grad);
		block_backward(s, ws, b, in, drop, grad);
	}
	if (drop->threshold)
		wr_learn_dropout_apply(
			ws->dx, (size_t)t * d, drop->threshold, drop->scale, drop->key, 0);
	wr_learn_profile_backward(s, in, ws->dx, grad);
}
