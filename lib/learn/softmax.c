/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Softmax cross-entropy over the whole catalogue, fused by tiles of 64 positions: a tile of logits
 * (64 × 3,416 floats) is made, exponentiated once and consumed by both gradients while it is in the
 * level-2 cache. Logits are τ·cosine, so τ is their bound and no maximum is searched. Three
 * products of 2·64·n_items flops a position dominate all of training.
 */
#include "learn_int.h"
#include "sgemm.h"

#include <math.h>
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

/* y = y·k + x·j */
WR_CLONES static void combine_row(float *y, float k, const float *x, float j, uint32_t d)
{
#pragma omp simd
	for (uint32_t c = 0; c < d; c++)
		y[c] = y[c] * k + x[c] * j;
}

double wr_learn_softmax_loss(const struct wr_student *s, struct net_ws *ws, const float *unit,
	uint32_t n_tokens, const uint32_t *targets, float weight, float *grad)
{
	uint32_t n = s->shape.n_items, d = s->shape.d;
	float tau = s->w[s->logit_scale], *z = ws->tile_z, *d_unit = grad + s->embedding;
	double loss = 0, d_tau = 0;
	for (uint32_t t0 = 0; t0 < n_tokens; t0 += SOFTMAX_TILE) {
		uint32_t m = WR_MIN((uint32_t)SOFTMAX_TILE, n_tokens - t0);
		const float *u = ws->u + (size_t)t0 * d;
		float *du = ws->dx + (size_t)t0 * d;
		wr_sgemm(false, true, m, n, d, u, d, unit, d, 0, z, n);
		for (uint32_t r = 0; r < m; r++) {
			float ez, target_cos = z[(size_t)r * n + targets[t0 + r]];
			float sum = exp_row(z + (size_t)r * n, n, tau, &ez);
			loss += log((double)sum) + (double)(tau - tau * target_cos);
			d_tau += (double)(weight * (ez / sum - target_cos));
			/* d loss / d cosine = weight·τ (e / sum - [target]): the factor goes into
			 * the small operand. */
			ws->row_scale[r] = weight * tau / sum;
			scale_row(
				u + (size_t)r * d, ws->row_scale[r], d, ws->tile_u + (size_t)r * d);
		}
		wr_sgemm(false, false, m, d, n, z, n, unit, d, 0, du, d);
		wr_sgemm(true, false, n, d, m, z, n, ws->tile_u, d, 1, d_unit, d);
		for (uint32_t r = 0; r < m; r++) {
			uint32_t y = targets[t0 + r];
			combine_row(du + (size_t)r * d, ws->row_scale[r], unit + (size_t)y * d,
				-weight * tau, d);
			combine_row(
				d_unit + (size_t)y * d, 1.0f, u + (size_t)r * d, -weight * tau, d);
		}
	}
	grad[s->logit_scale] += (float)d_tau;
	return loss;
}
