/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Float rows → s8 rows with a scale each: the steps between the matrix products (docs/model.md:
 * quantise row, norm + quantise, user vector) and the encoder's input. Built for rows of 32 … 128
 * floats, thousands a burst.
 *
 * All: m rows, row i at x + i·ldx (floats) and q + i·ldq (bytes); n a multiple of 16, n ≤ 1024; no
 * alignment beyond the element's; nothing beyond n elements of a row is read or written; x finite;
 * outputs overlap no input.
 */
#ifndef WR_QUANTISE_H
#define WR_QUANTISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A row whose largest magnitude is below this counts as zero: 127 / a must stay finite. */
#define WR_QUANTISE_TINY 1e-30f

/* scale[i·ld_scale] = a / 127. */
typedef void wr_quantise_fn(size_t m, size_t n, const float *x, size_t ldx, int8_t *q, size_t ldq,
	float *scale, size_t ld_scale);
wr_quantise_fn wr_quantise_ref, wr_quantise_avx2, wr_quantise_avx512vnni;

/* The same of max(x, 0). */
wr_quantise_fn wr_relu_quantise_ref, wr_relu_quantise_avx2, wr_relu_quantise_avx512vnni;

/*
 * What rounding left of a row, as a second plane of int8: x, q and scale are as one of these left
 * them (of max(x, 0) with relu). low = rint((x · (127 / a) - q) · 254), in [-127, 127] since the
 * difference is at most 1/2; low_scale[i] = scale[i] / 254: x ≈ (q + low / 254) · scale.
 */
#define WR_QUANTISE_LOW 254.0f
typedef void wr_quantise_low_fn(size_t m, size_t n, const float *x, size_t ldx, bool relu,
	const int8_t *q, size_t ldq, const float *scale, int8_t *low, size_t ld_low,
	float *low_scale);
wr_quantise_low_fn wr_quantise_low_ref, wr_quantise_low_avx2, wr_quantise_low_avx512vnni;

/* RMSNorm and quantise: scale[i] = (a / 127) · 1 / sqrt(mean(x²) + eps); eps > 0. */
typedef void wr_norm_quantise_fn(size_t m, size_t n, float eps, const float *x, size_t ldx,
	int8_t *q, size_t ldq, float *scale);
wr_norm_quantise_fn wr_norm_quantise_ref, wr_norm_quantise_avx2, wr_norm_quantise_avx512vnni;

/* User vectors: y = x ⊙ gain (n floats), scale[i] = logit_scale · ((a / 127) / sqrt(Σ y²)), 0 when
 * Σ y² = 0. */
typedef void wr_user_quantise_fn(size_t m, size_t n, const float *gain, float logit_scale,
	const float *x, size_t ldx, int8_t *q, size_t ldq, float *scale);
wr_user_quantise_fn wr_user_quantise_ref, wr_user_quantise_avx2, wr_user_quantise_avx512vnni;

/* Encoder input: x[i][c] = (float)items[rows[i]·n + c] · in[rows[i]]. */
typedef void wr_embed_fn(size_t m, size_t n, const int8_t *items, const float *in,
	const uint32_t *rows, float *x, size_t ldx);
wr_embed_fn wr_embed_ref, wr_embed_avx2, wr_embed_avx512vnni;

#endif
