/* SPDX-License-Identifier: BSD-3-Clause */
/* The last step of score_best that the AVX-512 VNNI and AMX sources share: sums of a tile for one
 * user into the best of 16 groups. */
#ifndef WR_SCORE512_H
#define WR_SCORE512_H

#include "micro512.h"

#include <math.h>

SIMD_INLINE __m512 best16(__m512 best, __m512i sum, const float *scale, uint64_t allowed)
{
	__m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(scale));
	return _mm512_mask_max_ps(best, (__mmask16)allowed, v, best);
}

/* A user's sums of n_blocks ≤ 4 blocks (a constant after inlining); best is score_best's. */
SIMD_INLINE void row_best(size_t n_blocks, const struct row *sum, const float *scale,
	uint64_t allowed, float *best, bool more)
{
	__m512 b = more ? _mm512_loadu_ps(best) : _mm512_set1_ps(-INFINITY);
	b = best16(b, sum->b0, scale, allowed);
	if (n_blocks > 1)
		b = best16(b, sum->b1, scale + 16, allowed >> 16);
	if (n_blocks > 2)
		b = best16(b, sum->b2, scale + 32, allowed >> 32);
	if (n_blocks > 3)
		b = best16(b, sum->b3, scale + 48, allowed >> 48);
	_mm512_storeu_ps(best, b);
}

#endif
