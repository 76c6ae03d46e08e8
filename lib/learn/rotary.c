/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rotary positions (Su et al. 2021, RoFormer): channel pair (c, c + head_dim/2) of a query or key
 * at position p is turned by p · 10000^(-2c/head_dim), so that products depend on distance alone.
 * The rotation is orthogonal: its backward pass is the rotation back.
 */
#include "learn_int.h"

#include <math.h>

void wr_learn_rotary_table(uint32_t head_dim, uint32_t n, float *turn)
{
	uint32_t half = head_dim / 2;
	for (uint32_t p = 0; p < n; p++)
		for (uint32_t c = 0; c < half; c++) {
			double angle = p * pow(10000.0, -2.0 * c / head_dim);
			turn[(size_t)p * head_dim + c] = (float)cos(angle);
			turn[(size_t)p * head_dim + half + c] = (float)sin(angle);
		}
}

WR_CLONES static void rotate_row(
	const float *turn, uint32_t half, uint32_t n_heads, float sign, float *x)
{
	for (uint32_t h = 0; h < n_heads; h++) {
		float *a = x + (size_t)2 * half * h, *b = a + half;
#pragma omp simd
		for (uint32_t c = 0; c < half; c++) {
			float co = turn[c], si = sign * turn[half + c], ac = a[c], bc = b[c];
			a[c] = ac * co - bc * si;
			b[c] = ac * si + bc * co;
		}
	}
}

void wr_learn_rotate(const float *turn, uint32_t head_dim, uint32_t n_heads,
	const struct ragged *in, float *x, size_t stride, bool back)
{
	for (uint32_t i = 0; i < in->n_seqs; i++)
		for (uint32_t t = in->off[i]; t < in->off[i + 1]; t++)
			rotate_row(turn + (size_t)(t - in->off[i]) * head_dim, head_dim / 2,
				n_heads, back ? -1.0f : 1.0f, x + t * stride);
}
