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

double wr_learn_softmax_loss(const struct wr_student *s, struct net_ws *ws, const float *unit,
	const struct ragged *in, const struct targets *y, float weight, float *grad)
{
	uint32_t n = s->shape.n_items, d = s->shape.d, n_tokens = in->off[in->n_seqs], seq = 0;
	float tau = s->w[s->logit_scale], *z = ws->tile_z, *d_unit = grad + s->embedding;
	double loss = 0, d_tau = 0;
	for (uint32_t t0 = 0; t0 < n_tokens; t0 += SOFTMAX_TILE) {
		uint32_t m = WR_MIN((uint32_t)SOFTMAX_TILE, n_tokens - t0);
		const float *u = ws->u + (size_t)t0 * d;
		float *du = ws->dx + (size_t)t0 * d;
		wr_sgemm(false, true, m, n, d, u, d, unit, d, 0, z, n);
		for (uint32_t r = 0; r < m; r++) {
			float ez, target_cos = 0;
			while (t0 + r >= in->off[seq + 1])
				seq++;
			ws->n_share[r] = shares_of(y, in->off[seq + 1] - t0 - r, ws->share[r]);
			for (uint32_t k = 0; k < ws->n_share[r]; k++)
				target_cos +=
					ws->share[r][k] * z[(size_t)r * n + y->next[t0 + r + k]];
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
		for (uint32_t r = 0; r < m; r++)
			for (uint32_t k = 0; k < ws->n_share[r]; k++) {
				uint32_t row = y->next[t0 + r + k];
				float j = -weight * tau * ws->share[r][k];
				combine_row(du + (size_t)r * d, k ? 1.0f : ws->row_scale[r],
					unit + (size_t)row * d, j, d);
				combine_row(
					d_unit + (size_t)row * d, 1.0f, u + (size_t)r * d, j, d);
			}
	}
	grad[s->logit_scale] += (float)d_tau;
	return loss;
}
