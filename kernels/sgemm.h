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

/* What products are made of: floats; bf16 operands with float sums; or, on any CPU and slowly,
 * floats that were rounded to bf16, which is what bf16 gives but for the order of sums (and small
 * products, which are rounded here). */
enum wr_math { WR_MATH_FLOAT, WR_MATH_BF16, WR_MATH_ROUNDED, WR_N_MATHS };
const char *wr_math_name(enum wr_math math);
/* WR_N_MATHS when the name is none. */
enum wr_math wr_math_parse(const char *name);
/* What this CPU does where `asked` is asked for: float instead of bf16 without avx512_bf16 or AMX.
 */
enum wr_math wr_math_used(enum wr_math asked);
/* All threads' products from here on; call it while nobody multiplies. Starts as float. */
void wr_sgemm_set_math(enum wr_math math);

/*
 * C = op(A) op(B) + beta C with op(A) m × k, op(B) k × n, C m × n; op is the transpose where trans_
 * is set (A is then stored k × m, B n × k). C must not overlap A or B. m, n, k ≥ 0; k = 0 gives
 * beta C. Sums are in no fixed order across machines, but the same call gives the same bits on the
 * same machine. Thread-safe.
 * Where bf16 is set, products below WR_SGEMM_SMALL multiply-adds run in float, which is faster for
 * them; so does one that oneDNN does not have in the math that is set.
 */
#define WR_SGEMM_SMALL ((size_t)1 << 20)
void wr_sgemm(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, const float *a, size_t lda,
	const float *b, size_t ldb, float beta, float *c, size_t ldc);

#endif
