/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Activations of the feed-forward layer, plain or gated (SwiGLU, GeGLU: Shazeer 2020, "GLU Variants
 * Improve Transformer"). Each is x·σ(k(x)): silu with k = x, gelu in its tanh form with k =
 * 2·√(2/π) (x + 0.044715 x³), relu in the limit. Memory-bound; some 1,600 × 512 floats a call.
 */
#include "learn_int.h"

#define GELU_A 1.5957691216f /* 2 √(2/π) */
#define GELU_B 0.044715f

/* *slope = d act / d x. */
WR_INLINE float activate(float x, const uint32_t kind, float *slope)
{
	if (kind == WR_ACTIVATION_RELU) {
		*slope = x > 0 ? 1.0f : 0.0f;
		return x > 0 ? x : 0.0f;
	}
	float k = kind == WR_ACTIVATION_SILU ? x : GELU_A * (x + GELU_B * x * x * x);
	float dk = kind == WR_ACTIVATION_SILU ? 1.0f : GELU_A * (1.0f + 3.0f * GELU_B * x * x);
	float sigma = 1.0f / (1.0f + fast_expf(-k));
	*slope = sigma + x * sigma * (1.0f - sigma) * dk;
	return x * sigma;
}

/* kind and gated are constants in every caller, so that each case is a loop without branches. */
WR_INLINE void forward(
	const float *up, uint32_t t, uint32_t f, const bool gated, const uint32_t kind, float *h)
{
	for (uint32_t r = 0; r < t; r++) {
		const float *restrict a = up + (size_t)r * f * (gated ? 2 : 1), *restrict b = a + f;
		float *restrict out = h + (size_t)r * f;
#pragma omp simd
		for (uint32_t c = 0; c < f; c++) {
			float slope, y = activate(a[c], kind, &slope);
			out[c] = gated ? y * b[c] : y;
		}
	}
}

WR_INLINE void backward(const float *up, const float *d_h, uint32_t t, uint32_t f, const bool gated,
	const uint32_t kind, float *d_up)
{
	for (uint32_t r = 0; r < t; r++) {
		size_t at = (size_t)r * f * (gated ? 2 : 1);
		const float *restrict a = up + at, *restrict b = a + f,
				      *restrict g = d_h + (size_t)r * f;
		float *restrict da = d_up + at, *restrict db = da + f;
#pragma omp simd
		for (uint32_t c = 0; c < f; c++) {
			float slope, y = activate(a[c], kind, &slope);
			da[c] = gated ? g[c] * b[c] * slope : g[c] * slope;
			if (gated)
				db[c] = g[c] * y;
		}
	}
}

/* One case of the switches below. */
#define EACH_KIND(gated, call)                   \
	switch (kind) {                          \
	case WR_ACTIVATION_SILU:                 \
		call(gated, WR_ACTIVATION_SILU); \
		break;                           \
	case WR_ACTIVATION_GELU:                 \
		call(gated, WR_ACTIVATION_GELU); \
		break;                           \
	default:                                 \
		call(gated, WR_ACTIVATION_RELU); \
	}

WR_CLONES static void forward_any(
	const float *up, uint32_t t, uint32_t f, bool gated, uint32_t kind, float *h)
{
#define CALL(gated, kind) forward(up, t, f, gated, kind, h)
	if (gated)
		EACH_KIND(true, CALL)
	else
		EACH_KIND(false, CALL)
#undef CALL
}

WR_CLONES static void backward_any(const float *up, const float *d_h, uint32_t t, uint32_t f,
	bool gated, uint32_t kind, float *d_up)
{
#define CALL(gated, kind) backward(up, d_h, t, f, gated, kind, d_up)
	if (gated)
		EACH_KIND(true, CALL)
	else
		EACH_KIND(false, CALL)
#undef CALL
}

void wr_learn_activation_forward(const struct wr_student *s, const float *up, uint32_t t, float *h)
{
	forward_any(up, t, s->shape.ffn, s->shape.gated, s->shape.activation, h);
}

void wr_learn_activation_backward(
	const struct wr_student *s, const float *up, const float *d_h, uint32_t t, float *d_up)
{
	backward_any(up, d_h, t, s->shape.ffn, s->shape.gated, s->shape.activation, d_up);
}
