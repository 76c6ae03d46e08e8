/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a student's blocks learn from a teacher's: block outputs through a learned projection
 * (FitNets: Romero et al. 2015; the cosine distance of DistilBERT: Sanh et al. 2019) and attention
 * weights (TinyBERT: Jiao et al. 2020). A teacher's weights are cut to the student's window, the
 * heads averaged in groups; both sides sum to one there. The teacher runs beside the student on the
 * same chunk: some third of its own training step.
 */
#include "guide_int.h"
#include "sgemm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int wr_learn_guide_new(struct guide *g, const struct distil *x, const struct wr_student *s,
	uint32_t max_tokens, struct wr_errmsg *msg)
{
	const struct wr_student_shape *p = &s->shape;
	size_t rows = (size_t)max_tokens * p->n_heads * p->window, d = x->teacher->shape.d, n = 0;
	*g = (struct guide){.distil = x};
	int err = wr_learn_net_ws_new(&g->teacher, x->teacher, max_tokens, msg);
	for (uint32_t b = 0; x->attention_weight > 0 && b < p->n_blocks; b++)
		n += x->match[b] ? rows : 0;
	if (!err) {
		g->arena = malloc((n + max_tokens * d + 1) * sizeof(float));
		if (!g->arena)
			err = wr_fail(msg, WR_ENOMEM, "no memory for a teacher's attention");
	}
	if (err) {
		wr_learn_guide_free(g);
		return err;
	}
	g->y = g->arena + n;
	float *at = g->arena;
	for (uint32_t b = 0; x->attention_weight > 0 && b < p->n_blocks; b++)
		if (x->match[b]) {
			g->attention[b] = at;
			at += rows;
		}
	return WR_OK;
}

void wr_learn_guide_free(struct guide *g)
{
	wr_learn_net_ws_free(&g->teacher);
	free(g->arena);
	*g = (struct guide){0};
}

/* A tile's weights of one teacher head, added to the student head that its group belongs to. */
static void collect(void *to, uint32_t head, uint32_t token, const float *p, uint32_t m)
{
	struct collector *c = to;
	const struct wr_student_shape *s = c->student, *t = c->teacher;
	uint32_t h = head * s->n_heads / t->n_heads, copies = WR_MAX(s->n_heads / t->n_heads, 1u);
	uint32_t w = s->window, n = WR_MIN(m, w);
	for (uint32_t k = 0; k < copies; k++) {
		float *row = c->out + ((size_t)token * s->n_heads + h + k) * w + w - n;
		for (uint32_t i = 0; i < n; i++)
			row[i] += p[m - n + i];
	}
}

WR_CLONES static void normalise(float *x, size_t rows, uint32_t w)
{
	for (size_t r = 0; r < rows; r++) {
		float *row = x + r * w, sum = 0;
#pragma omp simd reduction(+ : sum)
		for (uint32_t i = 0; i < w; i++)
			sum += row[i];
		float inv = sum > 0 ? 1.0f / sum : 0.0f;
#pragma omp simd
		for (uint32_t i = 0; i < w; i++)
			row[i] *= inv;
	}
}

void wr_learn_guide_forward(struct guide *g, const struct wr_student *s, const struct ragged *in)
{
	static const struct dropout none = {0};
	const struct distil *x = g->distil;
	const struct wr_student_shape *p = &s->shape;
	uint32_t t = in->off[in->n_seqs];
	size_t rows = (size_t)t * p->n_heads;
	struct collector to[WR_BUNDLE_MAX_BLOCKS];
	struct watcher *watch = g->teacher.watch;
	memset(watch, 0, sizeof(g->teacher.watch));
	for (uint32_t b = 0; b < p->n_blocks; b++)
		if (g->attention[b]) {
			to[b] = (struct collector){p, &x->teacher->shape, g->attention[b]};
			watch[x->match[b] - 1] = (struct watcher){collect, &to[b]};
			memset(g->attention[b], 0, rows * p->window * sizeof(float));
		}
	wr_learn_net_forward(x->teacher, &g->teacher, in, &none);
	for (uint32_t b = 0; b < p->n_blocks; b++)
		if (g->attention[b])
			normalise(g->attention[b], rows, p->window);
}

/* y: in projections, out d loss / d y; the loss is Σ 1 - cos(y, h). */
WR_CLONES static double cosine_rows(
	float *y, const float *h, uint32_t rows, uint32_t d, float weight)
{
	double loss = 0;
	for (uint32_t r = 0; r < rows; r++) {
		float *a = y + (size_t)r * d, aa = 1e-12f, bb = 1e-12f, ab = 0;
		const float *b = h + (size_t)r * d;
#pragma omp simd reduction(+ : aa, bb, ab)
		for (uint32_t c = 0; c < d; c++) {
			aa += a[c] * a[c];
			bb += b[c] * b[c];
			ab += a[c] * b[c];
		}
		float inv = 1.0f / sqrtf(aa * bb), cosine = ab * inv, k = cosine / aa;
		loss += 1.0 - (double)cosine;
#pragma omp simd
		for (uint32_t c = 0; c < d; c++)
			a[c] = weight * (a[c] * k - b[c] * inv);
	}
	return loss;
}

double wr_learn_guide_hidden(struct guide *g, const struct wr_student *s, uint32_t b,
	const float *x, uint32_t t, float weight, float *dx, float *grad)
{
	const struct distil *di = g->distil;
	uint32_t d = s->shape.d, dt = di->teacher->shape.d, tb = di->match[b] - 1;
	const struct net_ws *tw = &g->teacher;
	const float *h = tb + 1 < di->teacher->shape.n_blocks ? tw->b[tb + 1].x_in : tw->x_out;
	const float *p = s->w + s->projection[b];
	float k = weight * (float)di->hidden_weight;
	wr_sgemm(false, true, t, dt, d, x, d, p, d, 0, g->y, dt);
	double loss = cosine_rows(g->y, h, t, dt, k);
	wr_sgemm(true, false, dt, d, t, g->y, dt, x, d, 1, grad + s->projection[b], d);
	wr_sgemm(false, false, t, d, dt, g->y, dt, p, d, 1, dx, d);
	return loss;
}
