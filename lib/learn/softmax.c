/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Softmax cross-entropy over the whole catalogue, fused by tiles of 64 positions: a tile of logits
 * (64 × 3,416 floats) is made, exponentiated once and consumed by both gradients while it is in the
 * level-2 cache. Logits are τ·cosine, so τ is their bound and no maximum is searched. Three
 * products of 2·64·n_items flops a position dominate all of training.
 */
#include "sgemm.h"
#include "soft_targets_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* z: cosines in, exp(τ (z - 1)) out. Returns their sum; *ez = sum of e·z. */
WR_CLONES static float exp_row(float *z, uint32_t n, float tau, float *ez)
{
	float sum = 0, weighted = 0;
#pragma omp simd reduction(+ : sum, weighted)
	for (uint32_t i = 0; i < n; i++) {
		float c = z[i], e = fast_expf(tau * c - tau);
		z[i] = e;
		sum += e;
		weighted += e * c;
	}
	*ez = weighted;
	return sum;
}

WR_CLONES static void scale_row(const float *x, float k, uint32_t d, float *out)
{
#pragma omp simd
	for (uint32_t c = 0; c < d; c++)
		out[c] = x[c] * k;
}

/* y += x·k */
WR_CLONES static void add_row(float *y, const float *x, float k, uint32_t d)
{
#pragma omp simd
	for (uint32_t c = 0; c < d; c++)
		y[c] += x[c] * k;
}

/* z = z·k + y·j */
WR_CLONES static void mix_row(float *z, float k, const float *y, float j, uint32_t n)
{
#pragma omp simd
	for (uint32_t i = 0; i < n; i++)
		z[i] = z[i] * k + y[i] * j;
}

int wr_learn_soft_ws_new(
	struct soft_ws *x, const struct soft_targets *soft, uint32_t n_items, struct wr_errmsg *msg)
{
	size_t slots = (size_t)SOFTMAX_TILE * soft->top;
	*x = (struct soft_ws){.row = malloc(slots * sizeof(*x->row)),
		.k = malloc(slots * sizeof(*x->k)),
		.cosine = malloc(soft->top * sizeof(*x->cosine)),
		.q = malloc(soft->top * sizeof(*x->q)),
		.z = malloc((size_t)n_items * sizeof(*x->z))};
	if (x->row && x->k && x->cosine && x->q && x->z)
		return WR_OK;
	wr_learn_soft_ws_free(x);
	return wr_fail(msg, WR_ENOMEM, "out of memory for a teacher's answers");
}

void wr_learn_soft_ws_free(struct soft_ws *x)
{
	free(x->row);
	free(x->k);
	free(x->cosine);
	free(x->q);
	free(x->z);
	*x = (struct soft_ws){0};
}

/* One row of a tile. */
struct row {
	uint32_t r; /* in the tile */
	float *z;   /* cosines, then what both gradients are made of */
	uint32_t n;
	float tau, weight;
};

/* What the teacher said at `token`: rows, probabilities, and the student's cosines (still in z). */
static void soft_read(
	struct soft_ws *w, const struct soft_targets *x, uint64_t token, const struct row *a)
{
	uint32_t *row = w->row + (size_t)a->r * x->top;
	for (uint32_t k = 0; k < x->top; k++) {
		uint16_t s = x->surprisals[token * x->top + k];
		row[k] = wr_learn_soft_row(x, token, k);
		w->cosine[k] = a->z[row[k]];
		w->q[k] = s == UINT16_MAX ? 0.0f : expf(-(float)s * SOFT_STEP);
	}
}

/*
 * The soft part of a row at temperature T, where e = exp(τ/T (cosine - 1)) sum to `sum` and weigh
 * the cosines to `ez`: KL over the named items and one class for all others. With P the student's
 * and Q the teacher's mass of that class, d KL / d logit is p (1 - Q/P) everywhere, and p Q/P - q
 * more on the named ones. Returns the KL; *base: factor of e in d loss / d cosine; *d_tau.
 */
static double soft_part(struct soft_ws *w, const struct row *a, uint32_t top, float share, float t,
	float sum, float ez, float *base, double *d_tau)
{
	float rest_q = 1, rest_p = 1, tau = a->tau / t, *k = w->k + (size_t)a->r * top;
	double kl = 0, slope = 0;
	for (uint32_t i = 0; i < top; i++) {
		k[i] = w->q[i] > 0 ? expf(tau * w->cosine[i] - tau) / sum : 0.0f;
		rest_q -= w->q[i];
		rest_p -= k[i];
	}
	rest_q = fmaxf(rest_q, 1e-6f);
	rest_p = fmaxf(rest_p, 1e-6f);
	float ratio = rest_q / rest_p, weight = a->weight * share * t;
	kl = (double)(rest_q * logf(ratio));
	for (uint32_t i = 0; i < top; i++) {
		if (!(w->q[i] > 0))
			continue;
		float g = k[i] * ratio - w->q[i];
		kl += (double)(w->q[i] * logf(w->q[i] / fmaxf(k[i], 1e-30f)));
		slope += (double)(g * w->cosine[i]);
		k[i] = weight * a->tau * g;
	}
	*base = weight * a->tau * (1 - ratio) / sum;
	*d_tau += (double)weight * ((double)((1 - ratio) * ez / sum) + slope);
	return kl;
}

/* A position's targets: rows y->next[t … t+n-1], their shares in share. */
static uint32_t shares_of(const struct targets *y, uint32_t left, float *share)
{
	uint32_t n = WR_MIN(y->n_shares, left);
	float sum = 0;
	for (uint32_t k = 0; k < n; k++)
		sum += y->shares[k];
	for (uint32_t k = 0; k < n; k++)
		share[k] = n == y->n_shares ? y->shares[k] : y->shares[k] / sum;
	return n;
}

/* From cosines to what both products take: z, and ws->row_scale, the factor of its rows. */
static void row_losses(struct net_ws *ws, const struct targets *y, const struct row *a,
	const uint32_t *next, uint64_t token, struct loss_terms *loss, double *d_tau)
{
	const struct soft_targets *x = y->soft;
	float hard = x ? 1.0f - y->soft_share : 1.0f, ez, ez_t, sum_t = 0, target_cos = 0,
	      t = x ? (float)x->temperature : 1.0f, base = 0;
	bool warm = x && t != 1.0f;
	for (uint32_t k = 0; k < ws->n_share[a->r]; k++)
		target_cos += ws->share[a->r][k] * a->z[next[k]];
	if (x)
		soft_read(ws->soft, x, token, a);
	if (warm) {
		memcpy(ws->soft->z, a->z, a->n * sizeof(float));
		sum_t = exp_row(ws->soft->z, a->n, a->tau / t, &ez_t);
	}
	float sum = exp_row(a->z, a->n, a->tau, &ez);
	loss->hard += log((double)sum) + (double)(a->tau - a->tau * target_cos);
	*d_tau += (double)(a->weight * hard * (ez / sum - target_cos));
	/* d loss / d cosine = weight·τ (e / sum - [target]): the factor goes into the small
	 * operand. */
	ws->row_scale[a->r] = a->weight * hard * a->tau / sum;
	if (!x)
		return;
	loss->soft += soft_part(ws->soft, a, x->top, y->soft_share, t, warm ? sum_t : sum,
		warm ? ez_t : ez, &base, d_tau);
	if (warm) {
		mix_row(a->z, ws->row_scale[a->r], ws->soft->z, base, a->n);
		ws->row_scale[a->r] = 1.0f;
	} else {
		ws->row_scale[a->r] += base;
	}
}

/* What single items add to the two gradients of a position: k times the other side's vector. */
static void add_item(float *du, float *d_unit, const float *u, const float *unit, uint32_t row,
	float k, uint32_t d)
{
	add_row(du, unit + (size_t)row * d, k, d);
	add_row(d_unit + (size_t)row * d, u, k, d);
}

void wr_learn_softmax_loss(const struct wr_student *s, struct net_ws *ws, const float *unit,
	const struct ragged *in, const struct targets *y, float weight, float *grad,
	struct loss_terms *loss)
{
	uint32_t n = s->shape.n_items, d = s->shape.d, n_tokens = in->off[in->n_seqs], seq = 0;
	float tau = s->w[s->logit_scale], *z = ws->tile_z, *d_unit = grad + s->embedding;
	float hard = y->soft ? 1.0f - y->soft_share : 1.0f;
	double d_tau = 0;
	for (uint32_t t0 = 0; t0 < n_tokens; t0 += SOFTMAX_TILE) {
		uint32_t m = WR_MIN((uint32_t)SOFTMAX_TILE, n_tokens - t0);
		const float *u = ws->u + (size_t)t0 * d;
		float *du = ws->dx + (size_t)t0 * d;
		wr_sgemm(false, true, m, n, d, u, d, unit, d, 0, z, n);
		for (uint32_t r = 0; r < m; r++) {
			struct row a = {r, z + (size_t)r * n, n, tau, weight};
			while (t0 + r >= in->off[seq + 1])
				seq++;
			ws->n_share[r] = shares_of(y, in->off[seq + 1] - t0 - r, ws->share[r]);
			row_losses(ws, y, &a, y->next + t0 + r,
				y->soft ? (uint64_t)y->token[seq] + t0 + r - in->off[seq] : 0, loss,
				&d_tau);
			scale_row(
				u + (size_t)r * d, ws->row_scale[r], d, ws->tile_u + (size_t)r * d);
		}
		wr_sgemm(false, false, m, d, n, z, n, unit, d, 0, du, d);
		wr_sgemm(true, false, n, d, m, z, n, ws->tile_u, d, 1, d_unit, d);
		for (uint32_t r = 0; r < m; r++) {
			const float *ur = u + (size_t)r * d;
			float *dr = du + (size_t)r * d;
			scale_row(dr, ws->row_scale[r], d, dr);
			for (uint32_t k = 0; k < ws->n_share[r]; k++)
				add_item(dr, d_unit, ur, unit, y->next[t0 + r + k],
					-weight * tau * hard * ws->share[r][k], d);
			for (uint32_t k = 0; y->soft && k < y->soft->top; k++) {
				size_t at = (size_t)r * y->soft->top + k;
				if (ws->soft->k[at] != 0)
					add_item(dr, d_unit, ur, unit, ws->soft->row[at],
						ws->soft->k[at], d);
			}
		}
	}
	grad[s->logit_scale] += (float)d_tau;
}
