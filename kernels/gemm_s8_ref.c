/* SPDX-License-Identifier: BSD-3-Clause */
/* The specification of gemm_s8.h: plain loops. Packing, done once at load, has only this form. */
#include "gemm_s8.h"

#include <string.h>

void wr_gemm_s8_pack(const int8_t *rows, size_t n_rows, size_t n_padded, size_t k, int8_t *packed,
	int32_t *start)
{
	memset(packed, 0, n_padded * k);
	memset(start, 0, n_padded * sizeof(*start));
	for (size_t o = 0; o < n_rows; o++) {
		int8_t *block = packed + o / WR_GEMM_BLOCK * WR_GEMM_BLOCK * k;
		for (size_t c = 0; c < k; c++) {
			block[c / 4 * 64 + o % WR_GEMM_BLOCK * 4 + c % 4] = rows[o * k + c];
			start[o] -= 128 * rows[o * k + c];
		}
	}
}

void wr_gemm_s8_ref(const struct wr_gemm_weights *w, size_t m, const int8_t *a, size_t lda,
	const float *a_scale, float *y, size_t ldy, bool add)
{
	for (size_t i = 0; i < m; i++) {
		for (size_t o = 0; o < w->n; o++) {
			const int8_t *column = w->packed +
					       o / WR_GEMM_BLOCK * WR_GEMM_BLOCK * w->k +
					       o % WR_GEMM_BLOCK * 4;
			int32_t acc = 0;
			for (size_t c = 0; c < w->k; c++)
				acc += a[i * lda + c] * column[c / 4 * 64 + c % 4];
			float v = ((float)acc * w->scale[o]) * a_scale[i];
			y[i * ldy + o] = add ? y[i * ldy + o] + v : v;
		}
	}
}

void wr_dequantise_ref(size_t m, size_t n, const int32_t *acc, size_t ld_acc, const float *scale,
	const float *a_scale, float *y, size_t ldy, bool add)
{
	for (size_t i = 0; i < m; i++) {
		for (size_t o = 0; o < n; o++) {
			float v = ((float)acc[i * ld_acc + o] * scale[o]) * a_scale[i];
			y[i * ldy + o] = add ? y[i * ldy + o] + v : v;
		}
	}
}

int32_t wr_dot_s8_ref(const int8_t *a, const int8_t *b, size_t k)
{
	int32_t acc = 0;
	for (size_t c = 0; c < k; c++)
		acc += a[c] * b[c];
	return acc;
}
