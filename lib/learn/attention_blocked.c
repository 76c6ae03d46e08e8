/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Causal attention with a bias by age for wide windows: 64 queries at a time against all keys that
 * any of them sees, as GEMMs. Weights are not kept: the backward pass makes them again from the
 * logarithm of each softmax's sum (Dao et al. 2022, FlashAttention), one product in five more, and
 * [T][H][W] floats less. Built for sequences of 200 tokens, heads of 32 channels.
 */
#include "learn_int.h"
#include "sgemm.h"
#include "time_int.h"

#include <math.h>

/* One head of one sequence. */
struct head {
	const float *q, *k, *v; /* of token 0; stride floats apart */
	const float *bias_rev;
	float *lse; /* [n], n_heads apart */
	uint32_t n, window, dh, n_heads;
	size_t stride, o_stride;
	float inv_sqrt;
	const struct dropout *drop;
	uint64_t key;
	uint32_t site;
	struct time_bias time;
};

/* Queries i0 … i0+rows-1 against keys j0 … j0+keys-1. */
struct tile {
	uint32_t i0, rows, j0, keys;
};

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
		.bias_rev = ws->bias_rev + h * p->window,
		.lse = b->p + (size_t)first * p->n_heads + h,
		.n = n,
		.window = p->window,
		.dh = dh,
		.n_heads = p->n_heads,
		.stride = s->qkv_dim,
		.o_stride = s->o_dim,
		.inv_sqrt = 1.0f / sqrtf((float)dh),
		.drop = drop,
		.key = drop->key + (((uint64_t)h << 32) + first) * 0x2545f4914f6cdd1du,
		.site = site,
		.time = time_bias_of(s, ws, b, first, h)};
}

static struct tile tile_at(const struct head *a, uint32_t i0)
{
	uint32_t rows = WR_MIN((uint32_t)ATTENTION_ROWS, a->n - i0);
	uint32_t j0 = i0 + 1 > a->window ? i0 + 1 - a->window : 0;
	return (struct tile){.i0 = i0, .rows = rows, .j0 = j0, .keys = i0 + rows - j0};
}

/* What query t sees of the tile: columns *from … *from + (result) - 1; its bias starts at *slot. */
static uint32_t seen_of(
	const struct head *a, const struct tile *x, uint32_t t, uint32_t *from, uint32_t *slot)
{
	uint32_t m = WR_MIN(t + 1, a->window), j = t + 1 - m;
	*from = j - x->j0;
	*slot = a->window - m;
	return m;
}

static void zero_unseen(float *row, uint32_t from, uint32_t m, uint32_t keys)
{
	for (uint32_t i = 0; i < from; i++)
		row[i] = 0;
	for (uint32_t i = from + m; i < keys; i++)
		row[i] = 0;
}

static void drop_row(const struct head *a, uint32_t t, float *row, uint32_t m)
{
	if (a->drop->attn_threshold)
		wr_learn_dropout_apply(
			row, m, a->drop->attn_threshold, a->drop->attn_scale, a->key + t, a->site);
}

WR_CLONES static float softmax_of(float *e, const float *bias, uint32_t m, float inv_sqrt)
{
	return softmax_row(e, bias, m, inv_sqrt);
}

/* The same weights again. */
WR_CLONES static void weights_row(
	float *e, const float *bias, uint32_t m, float inv_sqrt, float lse)
{
#pragma omp simd
	for (uint32_t i = 0; i < m; i++)
		e[i] = fast_expf(e[i] * inv_sqrt + bias[i] - lse);
}

/* g: in d loss / d weight, out d loss / d product; adds to d_bias. */
WR_CLONES static void scores_backward(
	const float *p, float *g, float *d_bias, uint32_t m, float inv_sqrt)
{
	float sum = 0;
#pragma omp simd reduction(+ : sum)
	for (uint32_t i = 0; i < m; i++)
		sum += p[i] * g[i];
#pragma omp simd
	for (uint32_t i = 0; i < m; i++) {
		float ds = p[i] * (g[i] - sum);
		d_bias[i] += ds;
		g[i] = ds * inv_sqrt;
	}
}

void wr_learn_attention_blocked_forward(const struct wr_student *s, struct net_ws *ws,
	const struct block_ws *b, uint32_t first, uint32_t n, const struct dropout *drop,
	uint32_t site)
{
	const struct watcher *watch = &ws->watch[b - ws->b];
	for (uint32_t h = 0; h < s->shape.n_heads; h++) {
		struct head a = head_of(s, ws, b, first, n, h, drop, site);
		float *o = b->o + (size_t)first * s->o_dim + h * a.dh, *e = ws->att_s;
		for (uint32_t i0 = 0; i0 < n; i0 += ATTENTION_ROWS) {
			struct tile x = tile_at(&a, i0);
			wr_sgemm(false, true, x.rows, x.keys, a.dh, a.q + x.i0 * a.stride, a.stride,
				a.k + x.j0 * a.stride, a.stride, 0, e, x.keys);
			for (uint32_t r = 0; r < x.rows; r++) {
				uint32_t from, slot, m = seen_of(&a, &x, x.i0 + r, &from, &slot);
				float *row = e + (size_t)r * x.keys;
				a.lse[(size_t)(x.i0 + r) * a.n_heads] = softmax_of(row + from,
					time_row(&a.time, a.bias_rev + slot, x.i0 + r, slot, m), m,
					a.inv_sqrt);
				if (watch->see)
					watch->see(watch->to, h, first + x.i0 + r, row + from, m);
				drop_row(&a, x.i0 + r, row + from, m);
				zero_unseen(row, from, m, x.keys);
			}
			wr_sgemm(false, false, x.rows, a.dh, x.keys, e, x.keys,
				a.v + x.j0 * a.stride, a.stride, 0, o + x.i0 * a.o_stride,
				a.o_stride);
		}
	}
}

/* ws->att_s becomes the dropped weights, ws->att_g the gradients of the products. */
static void rows_backward(
	const struct head *a, const struct tile *x, struct net_ws *ws, float *d_bias)
{
	for (uint32_t r = 0; r < x->rows; r++) {
		uint32_t t = x->i0 + r, from, slot, m = seen_of(a, x, t, &from, &slot);
		float *p = ws->att_s + (size_t)r * x->keys, *g = ws->att_g + (size_t)r * x->keys;
		weights_row(p + from, time_row(&a->time, a->bias_rev + slot, t, slot, m), m,
			a->inv_sqrt, a->lse[(size_t)t * a->n_heads]);
		drop_row(a, t, g + from, m);
		scores_backward(p + from, g + from, d_bias + slot, m, a->inv_sqrt);
		time_gradient(&a->time, t, slot, m, g + from, a->inv_sqrt);
		drop_row(a, t, p + from, m);
		zero_unseen(p, from, m, x->keys);
		zero_unseen(g, from, m, x->keys);
	}
}

void wr_learn_attention_blocked_backward(const struct wr_student *s, struct net_ws *ws,
	const struct block_ws *b, uint32_t first, uint32_t n, const struct dropout *drop,
	uint32_t site)
{
	const struct wr_student_shape *p = &s->shape;
	float *g0 = ws->dqkv + (size_t)first * s->qkv_dim;
	for (size_t i = 0; i < (size_t)n * s->qkv_dim; i++)
		g0[i] = 0;
	for (uint32_t h = 0; h < p->n_heads; h++) {
		struct head a = head_of(s, ws, b, first, n, h, drop, site);
		const float *d_o = ws->dn + (size_t)first * s->o_dim + h * a.dh;
		float *dq = g0 + (a.q - b->qkv - (size_t)first * s->qkv_dim);
		float *dk = g0 + (a.k - b->qkv - (size_t)first * s->qkv_dim);
		float *dv = g0 + (a.v - b->qkv - (size_t)first * s->qkv_dim);
		for (uint32_t i0 = 0; i0 < n; i0 += ATTENTION_ROWS) {
			struct tile x = tile_at(&a, i0);
			size_t i = x.i0 * a.stride, j = x.j0 * a.stride;
			wr_sgemm(false, true, x.rows, x.keys, a.dh, a.q + i, a.stride, a.k + j,
				a.stride, 0, ws->att_s, x.keys);
			wr_sgemm(false, true, x.rows, x.keys, a.dh, d_o + x.i0 * a.o_stride,
				a.o_stride, a.v + j, a.stride, 0, ws->att_g, x.keys);
			rows_backward(&a, &x, ws, ws->d_bias + h * p->window);
			wr_sgemm(false, false, x.rows, a.dh, x.keys, ws->att_g, x.keys, a.k + j,
				a.stride, 0, dq + i, a.stride);
			wr_sgemm(true, false, x.keys, a.dh, x.rows, ws->att_g, x.keys, a.q + i,
				a.stride, 1, dk + j, a.stride);
			wr_sgemm(true, false, x.keys, a.dh, x.rows, ws->att_s, x.keys,
				d_o + x.i0 * a.o_stride, a.o_stride, 1, dv + j, a.stride);
		}
	}
}
