/* SPDX-License-Identifier: BSD-3-Clause */
/* gemm_s8.h by AMX: sixteen rows at a time; what is left of them, and widths that fill no tile, by
 * AVX-512 VNNI. */
#include "amx.h"

static void sixteen_rows(const struct wr_gemm_weights *w, const int8_t *a, size_t lda,
	const float *a_scale, float *y, size_t ldy, bool add)
{
	int32_t sums[AMX_SUMS] __attribute__((aligned(64)));
	for (uint32_t o = 0, n; o < w->n; o += n) {
		n = w->n - o >= 16 * AMX_BLOCKS ? 16 * AMX_BLOCKS : 16;
		struct wr_gemm_weights part = wr_gemm_slice(w, o, n);
		if (n == 16)
			amx_sums(1, &part, a, lda, sums);
		else
			amx_sums(AMX_BLOCKS, &part, a, lda, sums);
		wr_dequantise_avx512vnni(
			AMX_ROWS, n, sums, 16 * AMX_BLOCKS, part.scale, a_scale, y + o, ldy, add);
	}
}

void wr_gemm_s8_amx(const struct wr_gemm_weights *w, size_t m, const int8_t *a, size_t lda,
	const float *a_scale, float *y, size_t ldy, bool add)
{
	size_t i = 0;
	if (m >= AMX_ROWS && w->k % AMX_CHANNELS == 0) {
		amx_rows(AMX_ROWS);
		for (; i + AMX_ROWS <= m; i += AMX_ROWS)
			sixteen_rows(w, a + i * lda, lda, a_scale + i, y + i * ldy, ldy, add);
	}
	if (i < m)
		wr_gemm_s8_avx512vnni(
			w, m - i, a + i * lda, lda, a_scale + i, y + i * ldy, ldy, add);
}
