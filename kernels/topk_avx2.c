/* SPDX-License-Identifier: BSD-3-Clause */
/* topk.h on AVX2: a mask of 16 comparisons is nearly always empty. */
#include "topk.h"

#include "simd256.h"

size_t wr_topk_above_avx2(const float *s, size_t n, float threshold, uint16_t *index)
{
	const __m256 t = _mm256_set1_ps(threshold);
	size_t found = 0, i = 0;
	for (; i + 16 <= n; i += 16) {
		__m256 low = _mm256_cmp_ps(_mm256_loadu_ps(s + i), t, _CMP_GT_OQ);
		__m256 high = _mm256_cmp_ps(_mm256_loadu_ps(s + i + 8), t, _CMP_GT_OQ);
		uint32_t above =
			(uint32_t)_mm256_movemask_ps(low) | (uint32_t)_mm256_movemask_ps(high) << 8;
		for (; above; above &= above - 1)
			index[found++] = (uint16_t)(i + (unsigned int)__builtin_ctz(above));
	}
	for (; i < n; i++)
		if (s[i] > threshold)
			index[found++] = (uint16_t)i;
	return found;
}
