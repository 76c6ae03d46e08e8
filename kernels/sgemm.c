/* SPDX-License-Identifier: BSD-3-Clause */
/* The matrix product of training: a thin door to dnnl_sgemm (oneDNN 2.6, row-major, exact zero
 * handling ours), or, where other math is set, to its matmul primitive. */
#include "sgemm_int.h"

#include <assert.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdatomic.h>
#include <string.h>

/* writer: who trains, between parallel regions; readers: all that multiply */
static _Atomic int math_set = WR_MATH_FLOAT;

static const char *const names[WR_N_MATHS] = {"float", "bf16", "bf16-rounded"};

const char *wr_math_name(enum wr_math math)
{
	return names[math];
}

enum wr_math wr_math_parse(const char *name)
{
	unsigned int i = 0;
	while (i < WR_N_MATHS && strcmp(name, names[i]) != 0)
		i++;
	return (enum wr_math)i;
}

enum wr_math wr_math_used(enum wr_math asked)
{
	unsigned int have = (unsigned int)dnnl_get_effective_cpu_isa();
	bool bf16 = (have & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
	return asked == WR_MATH_BF16 && !bf16 ? WR_MATH_FLOAT : asked;
}

void wr_sgemm_set_math(enum wr_math math)
{
	atomic_store_explicit(&math_set, (int)math, memory_order_relaxed);
}

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
	enum wr_math math = (enum wr_math)atomic_load_explicit(&math_set, memory_order_relaxed);
	bool small = math == WR_MATH_BF16 && m * n * k < WR_SGEMM_SMALL;
	if (math != WR_MATH_FLOAT && !small &&
		wr_sgemm_matmul(math, trans_a, trans_b, m, n, k, a, lda, b, ldb, beta, c, ldc))
		return;
	dnnl_status_t s = dnnl_sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', (dnnl_dim_t)m,
		(dnnl_dim_t)n, (dnnl_dim_t)k, 1.0f, a, (dnnl_dim_t)lda, b, (dnnl_dim_t)ldb, beta, c,
		(dnnl_dim_t)ldc);
	assert(s == dnnl_success);
	(void)s;
}
