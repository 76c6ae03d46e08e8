/* SPDX-License-Identifier: BSD-3-Clause */
/* The float matrix product of training: a thin door to dnnl_sgemm (oneDNN 2.6, row-major, exact
 * zero handling ours). */
#include "sgemm.h"

#include <assert.h>
#include <oneapi/dnnl/dnnl.h>

void wr_sgemm(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, const float *a, size_t lda,
	const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
	if (m == 0 || n == 0)
		return;
	if (k == 0) {
		for (size_t i = 0; i < m; i++)
			for (size_t j = 0; j < n; j++)
				c[i * ldc + j] *= beta;
		return;
	}
	dnnl_status_t s = dnnl_sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', (dnnl_dim_t)m,
		(dnnl_dim_t)n, (dnnl_dim_t)k, 1.0f, a, (dnnl_dim_t)lda, b, (dnnl_dim_t)ldb, beta, c,
		(dnnl_dim_t)ldc);
	assert(s == dnnl_success);
	(void)s;
}
