/* SPDX-License-Identifier: BSD-3-Clause */
/* The last step of score_best that the AVX-512 VNNI and AMX sources share: sums of 16 items for one
 * user into the best of 16 groups. */
#ifndef WR_SCORE512_H
#define WR_SCORE512_H

#include "micro512.h"

#include <math.h>

/* Values of the allowed items, -inf elsewhere. */
SIMD_INLINE __m512 first16(__m512i sum, __m512 scale, uint64_t allowed)
{
	return _mm512_mask_mul_ps(
		_mm512_set1_ps(-INFINITY), (__mmask16)allowed, _mm512_cvtepi32_ps(sum), scale);
}

SIMD_INLINE __m512 best16(__m512 best, __m512i sum, __m512 scale, uint64_t allowed)
{
	__m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale);
	return _mm512_mask_max_ps(best, (__mmask16)allowed, v, best);
}

#endif
