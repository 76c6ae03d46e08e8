/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Heads for clicks and conversions over fixed user and item vectors: one hidden layer, a bias by
 * item, a probability by position that it is looked at. Some 12 k weights beside the biases; GEMMs
 * over 256 shown items.
 */
#include "heads_int.h"
#include "sgemm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t key_of(const struct wr_student *s)
{
	uint64_t key = wr_mix64(s->shape.n_items);
	for (size_t i = 0; i < s->n_weights; i++) {
		uint32_t bits;
		memcpy(&bits, &s->w[i], sizeof(bits));
		key = wr_mix64(key ^ bits);
	}
	return key;
}

int wr_learn_heads_new(struct wr_heads **out, const struct wr_student *s, uint32_t hidden,
	uint32_t n_positions, struct wr_errmsg *msg)
{
	struct wr_heads *h = calloc(1, sizeof(*h));
	size_t n = s->shape.n_items, d = s->shape.d;
	float *norm = malloc(n * sizeof(*norm));
	*out = NULL;
	if (h) {
		*h = (struct wr_heads){.n_items = s->shape.n_items,
			.d = s->shape.d,
			.hidden = hidden,
			.n_positions = n_positions,
			.n_in = 5 * s->shape.d + 2,
			.key = key_of(s)};
		h->in_bias = (size_t)hidden * h->n_in;
		h->out = h->in_bias + hidden;
		h->out_bias = h->out + 2 * (size_t)hidden;
		h->item = h->out_bias + 2;
		h->position = h->item + 2 * n;
		h->n_weights = h->position + n_positions;
		h->w = calloc(h->n_weights, sizeof(float));
		h->unit = malloc(n * d * sizeof(float));
	}
	if (!h || !h->w || !h->unit || !norm) {
		free(norm);
		wr_heads_free(h);
		return wr_fail(msg, WR_ENOMEM, "out of memory for heads");
	}
	wr_learn_unit_rows(s->w + s->embedding, s->shape.n_items, s->shape.d, h->unit, norm);
	free(norm);
	*out = h;
	return WR_OK;
}

void wr_heads_free(struct wr_heads *h)
{
	if (!h)
		return;
	free(h->unit);
	free(h->w);
	free(h);
}

static float logit(double p)
{
	p = WR_MIN(WR_MAX(p, 1e-6), 1 - 1e-6);
	return (float)log(p / (1 - p));
}

/* He's normal for the layer in front of a relu; the outputs start at the rates. */
void wr_learn_heads_init(struct wr_heads *h, uint64_t seed, double click_rate, double convert_rate)
{
	struct wr_rng r;
	wr_rng_init(&r, seed, 0xc1ec);
	for (size_t i = 0; i < h->in_bias; i++)
		h->w[h->in + i] = (float)(wr_rng_normal(&r) * sqrt(2.0 / h->n_in));
	for (size_t i = 0; i < 2 * (size_t)h->hidden; i++)
		h->w[h->out + i] = (float)(wr_rng_normal(&r) * sqrt(0.1 / h->hidden));
	h->w[h->out_bias] = logit(click_rate);
	h->w[h->out_bias + 1] = logit(convert_rate);
	for (uint32_t k = 0; k < h->n_positions; k++)
		h->w[h->position + k] = 2; /* looked at with 0.88 */
}

int wr_learn_heads_ws_new(struct heads_ws *ws, const struct wr_heads *h, struct wr_errmsg *msg)
{
	size_t n = HEADS_CHUNK;
	float *at = malloc(n * ((size_t)h->n_in + 2 * (size_t)h->hidden + 5) * sizeof(*at));
	*ws = (struct heads_ws){.x = at};
	if (!at)
		return wr_fail(msg, WR_ENOMEM, "out of memory for heads");
	ws->h = at + n * h->n_in;
	ws->dh = ws->h + n * h->hidden;
	ws->z[0] = ws->dh + n * h->hidden;
	ws->z[1] = ws->z[0] + n;
	ws->dz[0] = ws->z[1] + n;
	ws->dz[1] = ws->dz[0] + n;
	ws->looked = ws->dz[1] + n;
	return WR_OK;
}

void wr_learn_heads_ws_free(struct heads_ws *ws)
{
	free(ws->x);
	*ws = (struct heads_ws){0};
}

WR_INLINE float sigmoid(float x)
{
	return 1.0f / (1.0f + fast_expf(-x));
}

WR_CLONES static void fill_input(const float *v, const float *e, uint32_t d, float *x)
{
	float k = sqrtf((float)d), near = 0, far = 0;
	const float *m = v + d;
#pragma omp simd reduction(+ : near, far)
	for (uint32_t c = 0; c < d; c++) {
		float a = v[c] * k, l = m[c] * k, b = e[c] * k;
		x[c] = a;
		x[d + c] = l;
		x[2 * d + c] = b;
		x[3 * d + c] = a * b;
		x[4 * d + c] = l * b;
		near += v[c] * e[c];
		far += m[c] * e[c];
	}
	x[5 * d] = near * 4;
	x[5 * d + 1] = far * 4;
}

/* Logits of the n rows of ws->x; rows: of the items. */
static void logits(const struct wr_heads *h, const float *x, uint32_t n, const uint32_t *row,
	float *hid, float *click, float *convert)
{
	size_t m = h->hidden;
	wr_sgemm(false, true, n, m, h->n_in, x, h->n_in, h->w + h->in, h->n_in, 0, hid, m);
	for (uint32_t i = 0; i < n; i++) {
		float *y = hid + i * m, a = 0, b = 0;
		const float *bias = h->w + h->in_bias, *wa = h->w + h->out, *wb = wa + m;
#pragma omp simd reduction(+ : a, b)
		for (size_t c = 0; c < m; c++) {
			float v = y[c] + bias[c];
			y[c] = v > 0 ? v : 0;
			a += y[c] * wa[c];
			b += y[c] * wb[c];
		}
		click[i] = a + h->w[h->out_bias] + h->w[h->item + row[i]];
		convert[i] = b + h->w[h->out_bias + 1] + h->w[h->item + h->n_items + row[i]];
	}
}

void wr_learn_heads_forward(
	const struct wr_heads *h, struct heads_ws *ws, const struct heads_batch *b)
{
	for (uint32_t i = 0; i < b->n; i++) {
		fill_input(b->u[i], h->unit + (size_t)b->row[i] * h->d, h->d,
			ws->x + (size_t)i * h->n_in);
		ws->looked[i] = (float)wr_heads_looked(h, b->position[i]);
	}
	logits(h, ws->x, b->n, b->row, ws->h, ws->z[0], ws->z[1]);
}

/*
 * With c = σ(z), q = looked, v = σ(z'), p = q c, g = p v the loss of a shown item is the
 * cross-entropy of p for the click and of g for the conversion. d/dz of -log p is -(1 - c), of
 * -log(1 - p) it is p (1 - c) / (1 - p); likewise for g, for v in place of c, and for q.
 */
static double output_gradients(const struct wr_heads *h, struct heads_ws *ws,
	const struct heads_batch *b, float weight, float *grad)
{
	double loss = 0;
	for (uint32_t i = 0; i < b->n; i++) {
		float c = sigmoid(ws->z[0][i]), v = sigmoid(ws->z[1][i]), q = ws->looked[i];
		float p = WR_MIN(q * c, 1 - 1e-6f), g = p * v;
		float click = b->clicked[i] ? -1 : p / (1 - p);
		float both = b->converted[i] ? -1 : g / (1 - g);
		loss -= log((double)WR_MAX(b->clicked[i] ? p : 1 - p, 1e-12f)) +
			log((double)WR_MAX(b->converted[i] ? g : 1 - g, 1e-12f));
		ws->dz[0][i] = weight * (click + both) * (1 - c);
		ws->dz[1][i] = weight * both * (1 - v);
		if (b->position[i])
			grad[h->position + WR_MIN(b->position[i], h->n_positions - 1)] +=
				weight * (click + both) * (1 - q);
	}
	return loss;
}

double wr_learn_heads_backward(const struct wr_heads *h, struct heads_ws *ws,
	const struct heads_batch *b, float weight, float *grad)
{
	size_t m = h->hidden;
	double loss = output_gradients(h, ws, b, weight, grad);
	float *ga = grad + h->out, *gb = ga + m, *bias = grad + h->in_bias;
	const float *wa = h->w + h->out, *wb = wa + m;
	for (uint32_t i = 0; i < b->n; i++) {
		const float *y = ws->h + i * m;
		float *dy = ws->dh + i * m, a = ws->dz[0][i], c = ws->dz[1][i];
#pragma omp simd
		for (size_t k = 0; k < m; k++) {
			ga[k] += a * y[k];
			gb[k] += c * y[k];
			dy[k] = y[k] > 0 ? a * wa[k] + c * wb[k] : 0;
			bias[k] += dy[k];
		}
		grad[h->out_bias] += a;
		grad[h->out_bias + 1] += c;
		grad[h->item + b->row[i]] += a;
		grad[h->item + h->n_items + b->row[i]] += c;
	}
	wr_sgemm(
		true, false, m, h->n_in, b->n, ws->dh, m, ws->x, h->n_in, 1, grad + h->in, h->n_in);
	return loss;
}

double wr_heads_looked(const struct wr_heads *h, uint32_t position)
{
	if (!position)
		return 1;
	double s = (double)h->w[h->position + WR_MIN(position, h->n_positions - 1)];
	return 1 / (1 + exp(-s));
}

size_t wr_heads_scratch(const struct wr_heads *h, uint32_t n)
{
	return (size_t)n * (h->n_in + h->hidden);
}

void wr_heads_score(const struct wr_heads *h, const float *v, const uint32_t *rows, uint32_t n,
	float *scratch, float *click, float *convert)
{
	float *hid = scratch + (size_t)n * h->n_in;
	for (uint32_t i = 0; i < n; i++)
		fill_input(
			v, h->unit + (size_t)rows[i] * h->d, h->d, scratch + (size_t)i * h->n_in);
	logits(h, scratch, n, rows, hid, click, convert);
	for (uint32_t i = 0; i < n; i++) {
		click[i] = sigmoid(click[i]);
		convert[i] = sigmoid(convert[i]);
	}
}
