/* SPDX-License-Identifier: BSD-3-Clause */
/* The specification of quantise.h: plain loops. */
#include "quantise.h"

#include "lane_sum.h"

#include <math.h>
#include <string.h>

/* Quantises n floats; the largest magnitude, or 0 when it is tiny. */
static float quantise_row(size_t n, const float *x, int8_t *q)
{
	float a = 0;
	for (size_t c = 0; c < n; c++) {
		float v = fabsf(x[c]);
		a = v > a ? v : a;
	}
	if (a < WR_QUANTISE_TINY) {
		memset(q, 0, n);
		return 0;
	}
	float inv = 127.0f / a;
	for (size_t c = 0; c < n; c++) {
		float v = x[c] * inv;
		v = v > -127.0f ? v : -127.0f;
		v = v < 127.0f ? v : 127.0f;
		q[c] = (int8_t)rintf(v);
	}
	return a;
}

static float sum_of_squares(size_t n, const float *x)
{
	float lane[WR_LANES] = {0};
	for (size_t c = 0; c < n; c++)
		lane[c % WR_LANES] += x[c] * x[c];
	return wr_lane_fold(lane);
}

void wr_quantise_ref(size_t m, size_t n, const float *x, size_t ldx, int8_t *q, size_t ldq,
	float *scale, size_t ld_scale)
{
	for (size_t i = 0; i < m; i++)
		scale[i * ld_scale] = quantise_row(n, x + i * ldx, q + i * ldq) / 127.0f;
}

void wr_relu_quantise_ref(size_t m, size_t n, const float *x, size_t ldx, int8_t *q, size_t ldq,
	float *scale, size_t ld_scale)
{
	float y[1024];
	for (size_t i = 0; i < m; i++) {
		for (size_t c = 0; c < n; c++)
			y[c] = x[i * ldx + c] > 0 ? x[i * ldx + c] : 0;
		scale[i * ld_scale] = quantise_row(n, y, q + i * ldq) / 127.0f;
	}
}

void wr_quantise_low_ref(size_t m, size_t n, const float *x, size_t ldx, bool relu, const int8_t *q,
	size_t ldq, const float *scale, int8_t *low, size_t ld_low, float *low_scale)
{
	for (size_t i = 0; i < m; i++, x += ldx, q += ldq, low += ld_low) {
		float a = 0;
		for (size_t c = 0; c < n; c++) {
			float v = relu ? x[c] : fabsf(x[c]);
			a = v > a ? v : a;
		}
		float inv = a < WR_QUANTISE_TINY ? 0 : 127.0f / a;
		for (size_t c = 0; c < n; c++) {
			float v = relu && !(x[c] > 0) ? 0 : x[c];
			low[c] = (int8_t)rintf((v * inv - (float)q[c]) * WR_QUANTISE_LOW);
		}
		low_scale[i] = scale[i] / WR_QUANTISE_LOW;
	}
}

void wr_norm_quantise_ref(size_t m, size_t n, float eps, const float *x, size_t ldx, int8_t *q,
	size_t ldq, float *scale)
{
	for (size_t i = 0; i < m; i++) {
		float r = 1.0f / sqrtf(sum_of_squares(n, x + i * ldx) / (float)n + eps);
		scale[i] = (quantise_row(n, x + i * ldx, q + i * ldq) / 127.0f) * r;
	}
}

void wr_user_quantise_ref(size_t m, size_t n, const float *gain, float logit_scale, const float *x,
	size_t ldx, int8_t *q, size_t ldq, float *scale)
{
	float y[1024];
	for (size_t i = 0; i < m; i++) {
		for (size_t c = 0; c < n; c++)
			y[c] = x[i * ldx + c] * gain[c];
		float ss = sum_of_squares(n, y), a = quantise_row(n, y, q + i * ldq);
		scale[i] = ss > 0 ? logit_scale * ((a / 127.0f) / sqrtf(ss)) : 0;
	}
}

void wr_embed_ref(size_t m, size_t n, const int8_t *items, const float *in, const uint32_t *rows,
	float *x, size_t ldx)
{
	for (size_t i = 0; i < m; i++)
		for (size_t c = 0; c < n; c++)
			x[i * ldx + c] = (float)items[(size_t)rows[i] * n + c] * in[rows[i]];
}
