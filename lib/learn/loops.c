/* SPDX-License-Identifier: BSD-3-Clause */
/* Element-wise loops of training that many passes share: dropout, unit rows, Adam. Memory-bound. */
#include "learn_int.h"

#include <math.h>

struct dropout wr_learn_dropout_make(double rate, double attn_rate, uint64_t key)
{
	return (struct dropout){.threshold = (uint32_t)(rate * 4294967295.0),
		.scale = (float)(1.0 / (1.0 - rate)),
		.attn_threshold = (uint32_t)(attn_rate * 4294967295.0),
		.attn_scale = (float)(1.0 / (1.0 - attn_rate)),
		.key = key};
}

/* The hash is lowbias32 (C. Wellons' hash prospector) of a Weyl sequence. */
WR_CLONES void wr_learn_dropout_apply(
	float *x, size_t n, uint32_t threshold, float scale, uint64_t key, uint32_t site)
{
	uint64_t k = wr_mix64(key + (uint64_t)(site + 1) * 0x9e3779b97f4a7c15u);
	uint32_t k0 = (uint32_t)k, k1 = (uint32_t)(k >> 32), m = (uint32_t)n;
#pragma omp simd
	for (uint32_t i = 0; i < m; i++) {
		uint32_t h = i * 0x9e3779b1u + k0;
		h ^= h >> 16;
		h *= 0x7feb352du;
		h ^= k1;
		h ^= h >> 15;
		h *= 0x846ca68bu;
		h ^= h >> 16;
		x[i] = h >= threshold ? x[i] * scale : 0.0f;
	}
}

WR_CLONES void wr_learn_unit_rows(const float *e, uint32_t n, uint32_t d, float *unit, float *norm)
{
	for (uint32_t r = 0; r < n; r++) {
		const float *x = e + (size_t)r * d;
		float *y = unit + (size_t)r * d;
		float ss = 0;
#pragma omp simd reduction(+ : ss)
		for (uint32_t c = 0; c < d; c++)
			ss += x[c] * x[c];
		float len = sqrtf(ss), inv = len > 0 ? 1.0f / len : 0.0f;
#pragma omp simd
		for (uint32_t c = 0; c < d; c++)
			y[c] = x[c] * inv;
		norm[r] = len;
	}
}

WR_CLONES void wr_learn_adam_update(const struct adam *a, size_t n, float *restrict w,
	float *restrict m, float *restrict v, const float *restrict g, float lr, uint64_t step)
{
	float b1 = a->beta1, b2 = a->beta2, eps = a->eps;
	float c1 = (float)(1.0 / (1.0 - pow((double)b1, (double)step)));
	float c2 = (float)(1.0 / (1.0 - pow((double)b2, (double)step)));
#pragma omp simd
	for (size_t i = 0; i < n; i++) {
		float gi = g[i];
		m[i] = b1 * m[i] + (1.0f - b1) * gi;
		v[i] = b2 * v[i] + (1.0f - b2) * gi * gi;
		w[i] -= lr * (m[i] * c1) / (sqrtf(v[i] * c2) + eps);
	}
}
