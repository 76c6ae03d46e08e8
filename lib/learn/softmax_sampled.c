/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sampled softmax for catalogues of 10 k items and more with short histories, where the full one's
 * products and its dense gradient of the item vectors, one a chunk, are most of a step: 512 items
 * for 18,357 at some 700 positions a step. Gradients touch the sample and the targets alone, and
 * are put together behind the chunks.
 */
#include "sampled_int.h"
#include "sgemm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_SAMPLE 0x5a3b1eu
#define POWER         0.75

static float *floats(size_t n)
{
	return aligned_alloc(64, WR_ALIGN_UP(n * sizeof(float), (size_t)64));
}

int wr_learn_negatives_new(struct negatives *x, uint32_t n, const struct wr_student *s,
	const uint32_t *counts, uint32_t chunks, size_t tokens, struct wr_errmsg *msg)
{
	uint32_t n_items = s->shape.n_items, d = s->shape.d;
	*x = (struct negatives){.n = n,
		.row = malloc(n * sizeof(*x->row)),
		.log_expected = malloc(n * sizeof(*x->log_expected)),
		.unit = floats((size_t)n * d),
		.grad = floats((size_t)chunks * n * d),
		.said = floats(tokens * d),
		.cdf = malloc(n_items * sizeof(*x->cdf))};
	if (!x->row || !x->log_expected || !x->unit || !x->grad || !x->said || !x->cdf) {
		wr_learn_negatives_free(x);
		return wr_fail(msg, WR_ENOMEM, "no memory for %u sampled items", n);
	}
	double sum = 0;
	for (uint32_t i = 0; i < n_items; i++)
		x->cdf[i] = sum += counts ? pow(counts[i] + 1.0, POWER) : 1.0;
	return WR_OK;
}

void wr_learn_negatives_free(struct negatives *x)
{
	free(x->row);
	free(x->log_expected);
	free(x->unit);
	free(x->grad);
	free(x->said);
	free(x->cdf);
	*x = (struct negatives){0};
}

void wr_learn_negatives_draw(struct negatives *x, uint32_t n_items, uint64_t key)
{
	struct wr_rng r;
	double sum = x->cdf[n_items - 1];
	wr_rng_init(&r, key, STREAM_SAMPLE);
	for (uint32_t j = 0; j < x->n; j++) {
		double at = wr_rng_double(&r) * sum;
		uint32_t low = 0, high = n_items - 1; /* the first item whose cdf is above `at` */
		while (low < high) {
			uint32_t middle = low + (high - low) / 2;
			if (x->cdf[middle] > at)
				high = middle;
			else
				low = middle + 1;
		}
		double p = (x->cdf[low] - (low ? x->cdf[low - 1] : 0)) / sum;
		x->row[j] = low;
		x->log_expected[j] = (float)log(p * x->n);
	}
}

void wr_learn_negatives_gather(struct negatives *x, const float *unit, uint32_t d)
{
	for (uint32_t j = 0; j < x->n; j++)
		memcpy(x->unit + (size_t)j * d, unit + (size_t)x->row[j] * d, d * sizeof(float));
}

/* z: cosines in; out exp(τ (z - 1) - log_expected), 0 for the target. Returns their sum; *ez = sum
 * of e·z. */
WR_CLONES static float exp_row(float *z, const uint32_t *row, const float *log_expected, uint32_t n,
	uint32_t target, float tau, float *ez)
{
	float sum = 0, weighted = 0;
#pragma omp simd reduction(+ : sum, weighted)
	for (uint32_t i = 0; i < n; i++) {
		float c = z[i], e = fast_expf(tau * c - tau - log_expected[i]);
		e = row[i] == target ? 0 : e;
		z[i] = e;
		sum += e;
		weighted += e * c;
	}
	*ez = weighted;
	return sum;
}

WR_CLONES static float dot(const float *a, const float *b, uint32_t d)
{
	float sum = 0;
#pragma omp simd reduction(+ : sum)
	for (uint32_t c = 0; c < d; c++)
		sum += a[c] * b[c];
	return sum;
}

WR_CLONES static void scale_row(const float *x, float k, uint32_t d, float *out)
{
#pragma omp simd
	for (uint32_t c = 0; c < d; c++)
		out[c] = x[c] * k;
}

/* y = y·k + x·j */
WR_CLONES static void mix_row(float *y, float k, const float *x, float j, uint32_t d)
{
#pragma omp simd
	for (uint32_t c = 0; c < d; c++)
		y[c] = y[c] * k + x[c] * j;
}

void wr_learn_sampled_loss(const struct wr_student *s, struct net_ws *ws, const float *unit,
	struct negatives *x, uint32_t chunk, size_t first, const struct ragged *in,
	const struct targets *y, float weight, float *grad, struct loss_terms *loss)
{
	uint32_t n = x->n, d = s->shape.d, n_tokens = in->off[in->n_seqs];
	float tau = s->w[s->logit_scale], *z = ws->tile_z,
	      *d_unit = x->grad + (size_t)chunk * n * d;
	double d_tau = 0;
	memset(d_unit, 0, (size_t)n * d * sizeof(float));
	for (uint32_t t0 = 0; t0 < n_tokens; t0 += SOFTMAX_TILE) {
		uint32_t m = WR_MIN((uint32_t)SOFTMAX_TILE, n_tokens - t0);
		const float *u = ws->u + (size_t)t0 * d;
		float *du = ws->dx + (size_t)t0 * d, own[SOFTMAX_TILE];
		wr_sgemm(false, true, m, n, d, u, d, x->unit, d, 0, z, n);
		for (uint32_t r = 0; r < m; r++) {
			uint32_t target = y->next[t0 + r];
			const float *ur = u + (size_t)r * d;
			float c = dot(ur, unit + (size_t)target * d, d), ez,
			      e = fast_expf(tau * c - tau);
			float sum = e + exp_row(z + (size_t)r * n, x->row, x->log_expected, n,
						target, tau, &ez);
			loss->hard += log((double)sum) + (double)(tau - tau * c);
			d_tau += (double)(weight * ((ez + e * c) / sum - c));
			/* d loss / d cosine = weight·τ (e / sum - [target]). */
			ws->row_scale[r] = weight * tau / sum;
			own[r] = weight * tau * (e / sum - 1);
			scale_row(ur, ws->row_scale[r], d, ws->tile_u + (size_t)r * d);
			scale_row(ur, own[r], d, x->said + (first + t0 + r) * d);
		}
		wr_sgemm(false, false, m, d, n, z, n, x->unit, d, 0, du, d);
		wr_sgemm(true, false, n, d, m, z, n, ws->tile_u, d, 1, d_unit, d);
		for (uint32_t r = 0; r < m; r++)
			mix_row(du + (size_t)r * d, ws->row_scale[r],
				unit + (size_t)y->next[t0 + r] * d, own[r], d);
	}
	grad[s->logit_scale] += (float)d_tau;
}

void wr_learn_sampled_scatter(const struct negatives *x, uint32_t chunks, const uint32_t *targets,
	size_t tokens, uint32_t n_items, uint32_t d, float *to)
{
	memset(to, 0, (size_t)n_items * d * sizeof(float));
	for (uint32_t c = 0; c < chunks; c++)
		for (uint32_t j = 0; j < x->n; j++)
			mix_row(to + (size_t)x->row[j] * d, 1, x->grad + ((size_t)c * x->n + j) * d,
				1, d);
	for (size_t t = 0; t < tokens; t++)
		mix_row(to + (size_t)targets[t] * d, 1, x->said + t * d, 1, d);
}
