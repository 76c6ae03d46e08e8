/* SPDX-License-Identifier: BSD-3-Clause */
/* topk.h on AVX-512: a mask of 64 comparisons is nearly always empty. */
#include "topk.h"

#include "simd512.h"

size_t wr_topk_above_avx512vnni(const float *s, size_t n, float threshold, uint16_t *index)
{
	const __m512 t = _mm512_set1_ps(threshold);
	size_t found = 0, i = 0;
	for (; i + 64 <= n; i += 64) {
		uint64_t m0 = _mm512_cmp_ps_mask(_mm512_loadu_ps(s + i), t, _CMP_GT_OQ);
		uint64_t m1 = _mm512_cmp_ps_mask(_mm512_loadu_ps(s + i + 16), t, _CMP_GT_OQ);
		uint64_t m2 = _mm512_cmp_ps_mask(_mm512_loadu_ps(s + i + 32), t, _CMP_GT_OQ);
		uint64_t m3 = _mm512_cmp_ps_mask(_mm512_loadu_ps(s + i + 48), t, _CMP_GT_OQ);
		for (uint64_t above = m0 | m1 << 16 | m2 << 32 | m3 << 48; above;
			above &= above - 1)
			index[found++] = (uint16_t)(i + (unsigned int)__builtin_ctzll(above));
	}
	for (; i + 16 <= n; i += 16) {
		uint32_t above = _mm512_cmp_ps_mask(_mm512_loadu_ps(s + i), t, _CMP_GT_OQ);
		for (; above; above &= above - 1)
			index[found++] = (uint16_t)(i + (unsigned int)__builtin_ctz(above));
	}
	for (; i < n; i++)
		if (s[i] > threshold)
			index[found++] = (uint16_t)i;
	return found;
}
