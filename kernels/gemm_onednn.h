/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Exact s8 × s8 → s32 products through oneDNN's matmul (2.6), for the encoder's projections. Exact
 * only where oneDNN has AVX-512 VNNI: elsewhere it adds pairs in saturating 16 bits without a word,
 * so callers must ask wr_gemm_onednn_exact() first. Dequantisation stays ours (gemm_s8.h).
 *
 * A context belongs to one thread: create, run and free it there (oneDNN is built on OpenMP, which
 * keeps state per thread; new pins that to one). Primitives are made at creation for a few numbers
 * of rows; a run rounds up to the next of them. Executing makes a few small allocations inside
 * oneDNN.
 */
#ifndef WR_GEMM_ONEDNN_H
#define WR_GEMM_ONEDNN_H

#include "wr_base.h"

/* A run computes up to WR_GEMM_ONEDNN_ROWS rows. */
#define WR_GEMM_ONEDNN_ROWS 256

/* Numbers of rows that have a primitive, ascending; a run of m rows takes step
 * wr_gemm_onednn_step(m). */
#define WR_GEMM_ONEDNN_STEPS 13
extern const unsigned int wr_gemm_onednn_rows[WR_GEMM_ONEDNN_STEPS];
static inline unsigned int wr_gemm_onednn_step(size_t m)
{
	unsigned int step = 0;
	while (wr_gemm_onednn_rows[step] < m)
		step++;
	return step;
}

bool wr_gemm_onednn_exact(void);

struct wr_gemm_onednn;
/*
 * a: s8, 64-byte aligned, where run finds its rows ([rows][k], no gaps); acc: s32, 64-byte aligned,
 * where it leaves the sums
 * ([rows][n]). Both have room for WR_GEMM_ONEDNN_ROWS rows of the widest matrix and outlive the
 * context; rows behind the last one are read and written, their values do not matter. WR_ENOTSUP
 * without VNNI, WR_ENOMEM.
 */
int wr_gemm_onednn_new(struct wr_gemm_onednn **g, const int8_t *a, int32_t *acc,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_gemm_onednn_free(struct wr_gemm_onednn *g);
/*
 * Adds a matrix of n × k weights (s8 [n][k], plain; copied) and gives its number, from 0.
 * WR_ENOMEM, WR_ENOTSUP when oneDNN has no such product.
 */
int wr_gemm_onednn_add(struct wr_gemm_onednn *g, const int8_t *weights, size_t n, size_t k,
	unsigned int *matrix, struct wr_errmsg *msg) WR_MUST_CHECK;
/* acc[i][o] = Σ_c a[i][c]·w[o][c] for m ≤ WR_GEMM_ONEDNN_ROWS rows. */
void wr_gemm_onednn_run(struct wr_gemm_onednn *g, unsigned int matrix, size_t m);

#endif
