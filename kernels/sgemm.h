/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Single-precision matrix product for training, over oneDNN. Rows are contiguous: element (i, j) of
 * a matrix with leading dimension ld is x[i * ld + j]. Built for a few hundred rows times 64 … 200
 * columns; called inside an OpenMP parallel region it runs on the calling thread alone.
 */
#ifndef WR_SGEMM_H
#define WR_SGEMM_H

#include <stdbool.h>
#include <stddef.h>

/*
 * C = op(A) op(B) + beta C with op(A) m × k, op(B) k × n, C m × n; op is the transpose where trans_
 * is set (A is then stored k × m, B n × k). C must not overlap A or B. m, n, k ≥ 0; k = 0 gives
 * beta C. Sums are in no fixed order across machines, but the same call gives the same bits on the
 * same machine. Thread-safe.
 */
void wr_sgemm(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, const float *a, size_t lda,
	const float *b, size_t ldb, float beta, float *c, size_t ldc);

#endif
