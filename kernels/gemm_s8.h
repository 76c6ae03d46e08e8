/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Exact s8 × s8 matrix product with dequantisation: y[i][o] = ((float)Σ_c a[i][c]·w[o][c] ·
 * scale[o]) · a_scale[i], either stored or added to y. Built for 1 … 2,000 rows times 64 → 64 … 192
 * columns (projections) and for 32 rows times item tiles of 128 columns (scoring).
 *
 * Packed weights: blocks of 16 outputs, inside a block groups of 4 inputs: w[o][c] lies at
 * packed[(o/16)·16·k + (c/4)·64 + (o%16)·4 + c%4]. One layout for all levels, so a model's bytes do
 * not depend on the CPU.
 */
#ifndef WR_GEMM_S8_H
#define WR_GEMM_S8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Outputs are packed in blocks of this many; n is a multiple of it, k a multiple of 16, k ≤
 * WR_GEMM_MAX_K. */
#define WR_GEMM_BLOCK 16
#define WR_GEMM_MAX_K 1024

struct wr_gemm_weights {
	const int8_t *packed; /* n·k bytes, 64-byte aligned; every value in [-127, 127] */
	const int32_t *start; /* [n]: -128·Σ_c w[o][c], where sums of rows that were shifted to
				 unsigned begin */
	const float *scale;   /* [n] */
	uint32_t n, k;
};

/*
 * rows: s8 [n_rows][k], n_rows ≤ n_padded (a multiple of 16); outputs beyond n_rows become zero
 * weights. packed: n_padded·k bytes; start: n_padded. No overlap.
 */
void wr_gemm_s8_pack(const int8_t *rows, size_t n_rows, size_t n_padded, size_t k, int8_t *packed,
	int32_t *start);

/* Outputs first … first+n-1 of w; both multiples of 16. */
static inline struct wr_gemm_weights wr_gemm_slice(
	const struct wr_gemm_weights *w, uint32_t first, uint32_t n)
{
	return (struct wr_gemm_weights){.packed = w->packed + (size_t)first * w->k,
		.start = w->start + first,
		.scale = w->scale + first,
		.n = n,
		.k = w->k};
}

/*
 * m rows a + i·lda of k bytes each in [-127, 127] (no alignment; nothing beyond byte k-1 of a row
 * is read), a_scale[m], y + i·ldy of n floats (4-byte aligned). add: y += instead of y =. y
 * overlaps no input. |Σ| ≤ 2^24 at the largest k.
 */
typedef void wr_gemm_s8_fn(const struct wr_gemm_weights *w, size_t m, const int8_t *a, size_t lda,
	const float *a_scale, float *y, size_t ldy, bool add);
wr_gemm_s8_fn wr_gemm_s8_ref, wr_gemm_s8_avx2, wr_gemm_s8_avx512vnni, wr_gemm_s8_amx;

/*
 * The same last step for sums that another engine made: acc s32 [m] rows of ld_acc ≥ n. n a
 * multiple of 16; y overlaps no input.
 */
typedef void wr_dequantise_fn(size_t m, size_t n, const int32_t *acc, size_t ld_acc,
	const float *scale, const float *a_scale, float *y, size_t ldy, bool add);
wr_dequantise_fn wr_dequantise_ref, wr_dequantise_avx2, wr_dequantise_avx512vnni;

/* Σ_c a[c]·b[c] over k bytes in [-127, 127], k a multiple of 16, no alignment. */
typedef int32_t wr_dot_s8_fn(const int8_t *a, const int8_t *b, size_t k);
wr_dot_s8_fn wr_dot_s8_ref, wr_dot_s8_avx2;

#endif
