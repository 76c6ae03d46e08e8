/* SPDX-License-Identifier: BSD-3-Clause */
/* Products over oneDNN's matmul primitive, with operands of a type that dnnl_sgemm does not take.
 */
#ifndef WR_SGEMM_INT_H
#define WR_SGEMM_INT_H

#include "sgemm.h"

#include <stdint.h>

/* The nearest bf16, ties to even; infinities and NaNs stay such. */
static inline uint16_t wr_sgemm_to_bf16(float x)
{
	union {
		float f;
		uint32_t u;
	} v = {.f = x};
	uint32_t rounded = (v.u + 0x7fffu + (v.u >> 16 & 1)) >> 16;
	uint32_t nan = v.u >> 16 | 0x40;
	return (uint16_t)((v.u & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

/*
 * As wr_sgemm with packed copies of the operands: floats (WR_MATH_FLOAT), bf16, or floats rounded
 * to bf16. k ≥ 1. False when oneDNN has no fast product of this type on this CPU, or memory is out:
 * C is as it was.
 */
bool wr_sgemm_matmul(enum wr_math math, bool trans_a, bool trans_b, size_t m, size_t n, size_t k,
	const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc);

#endif
