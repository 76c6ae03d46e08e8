/* SPDX-License-Identifier: BSD-3-Clause */
/* gemm_s8.h by AMX: sixteen rows at a time, or all where they are fewer; of a rest that is worth it
 * the sixteen that end with it, once more. Few rows, and widths that fill no tile, by AVX-512 VNNI.
 */
#include "amx.h"

#define FEWEST      13 /* rows that are quicker here, of all */
#define FEWEST_LEFT 4  /* and of a rest */

/* As many rows as amx_rows was told; the first `skip` results are there already and left out. */
static void some_rows(const struct wr_gemm_weights *w, size_t rows, size_t skip, const int8_t *a,
	size_t lda, const float *a_scale, float *y, size_t ldy, bool add)
{
	int32_t sums[AMX_SUMS] __attribute__((aligned(64)));
	for (uint32_t o = 0, n; o < w->n; o += n) {
		n = w->n - o >= 16 * AMX_BLOCKS ? 16 * AMX_BLOCKS : 16;
		struct wr_gemm_weights part = wr_gemm_slice(w, o, n);
		if (n == 16)
			amx_sums(1, &part, a, lda, sums);
		else
			amx_sums(AMX_BLOCKS, &part, a, lda, sums);
		wr_dequantise_avx512vnni(rows - skip, n, sums + skip * 16 * AMX_BLOCKS,
			16 * AMX_BLOCKS, part.scale, a_scale + skip, y + skip * ldy + o, ldy, add);
	}
}

void wr_gemm_s8_amx(const struct wr_gemm_weights *w, size_t m, const int8_t *a, size_t lda,
	const float *a_scale, float *y, size_t ldy, bool add)
{
	const size_t rows = m < AMX_ROWS ? m : AMX_ROWS;
	size_t i = 0;
	if (m >= FEWEST && w->k % AMX_CHANNELS == 0) {
		amx_rows(rows);
		for (; i + rows <= m; i += rows)
			some_rows(w, rows, 0, a + i * lda, lda, a_scale + i, y + i * ldy, ldy, add);
		if (m - i >= FEWEST_LEFT) {
			size_t from = m - rows;
			some_rows(w, rows, i - from, a + from * lda, lda, a_scale + from,
				y + from * ldy, ldy, add);
			i = m;
		}
	}
	if (i < m)
		wr_gemm_s8_avx512vnni(
			w, m - i, a + i * lda, lda, a_scale + i, y + i * ldy, ldy, add);
}
