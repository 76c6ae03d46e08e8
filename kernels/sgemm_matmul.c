/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Products with bf16 operands and float sums. oneDNN's own way from floats (fpmath_mode_bf16) is
 * for AMX alone and falls back to float in silence; bf16 operands of our own making also run on
 * avx512_bf16, and a product that oneDNN does not have is told. Copies cost m·k + k·n conversions
 * beside m·n·k multiply-adds; primitives come from oneDNN's cache by shape.
 */
#include "sgemm_int.h"

#include <oneapi/dnnl/dnnl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if WR_SANITIZE || defined(__clang__)
#define CLONES
#else
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif

static dnnl_engine_t engine; /* NULL = could not be made; kept for the life of the process */
static pthread_once_t engine_once = PTHREAD_ONCE_INIT;

static void make_engine(void)
{
	if (dnnl_engine_create(&engine, dnnl_cpu, 0))
		engine = NULL;
}

CLONES static void pack_bf16(const float *x, size_t rows, size_t cols, size_t ld, uint16_t *to)
{
	for (size_t r = 0; r < rows; r++)
		for (size_t c = 0; c < cols; c++)
			to[r * cols + c] = wr_sgemm_to_bf16(x[r * ld + c]);
}

CLONES static void pack_rounded(const float *x, size_t rows, size_t cols, size_t ld, float *to)
{
	for (size_t r = 0; r < rows; r++)
		for (size_t c = 0; c < cols; c++) {
			union {
				uint32_t u;
				float f;
			} v = {.u = (uint32_t)wr_sgemm_to_bf16(x[r * ld + c]) << 16};
			to[r * cols + c] = v.f;
		}
}

static void pack(enum wr_math math, const float *x, size_t rows, size_t cols, size_t ld, void *to)
{
	if (math == WR_MATH_BF16)
		pack_bf16(x, rows, cols, ld, to);
	else if (math == WR_MATH_ROUNDED)
		pack_rounded(x, rows, cols, ld, to);
	else
		for (size_t r = 0; r < rows; r++)
			memcpy((float *)to + r * cols, x + r * ld, cols * sizeof(float));
}

/* rows × cols whose element (i, j) is at i·by_row + j·by_col. */
static int describe(dnnl_memory_desc_t *d, size_t rows, size_t cols, size_t by_row, size_t by_col,
	dnnl_data_type_t type)
{
	const dnnl_dims_t dims = {(dnnl_dim_t)rows, (dnnl_dim_t)cols},
			  strides = {(dnnl_dim_t)by_row, (dnnl_dim_t)by_col};
	return dnnl_memory_desc_init_by_strides(d, 2, dims, type, strides);
}

/* dst = src · weights + beta dst; NULL when there is none, or a reference one alone. */
static dnnl_primitive_t make_product(const dnnl_memory_desc_t *src,
	const dnnl_memory_desc_t *weights, const dnnl_memory_desc_t *dst, float beta)
{
	dnnl_primitive_attr_t attr = NULL;
	dnnl_post_ops_t ops = NULL;
	dnnl_matmul_desc_t matmul;
	dnnl_primitive_desc_t d = NULL;
	dnnl_primitive_t p = NULL;
	const char *name = NULL;
	if (!dnnl_primitive_attr_create(&attr) && !dnnl_post_ops_create(&ops) &&
		(beta == 0 || (!dnnl_post_ops_append_sum(ops, beta) &&
				      !dnnl_primitive_attr_set_post_ops(attr, ops))) &&
		!dnnl_matmul_desc_init(&matmul, src, weights, NULL, dst) &&
		!dnnl_primitive_desc_create(&d, &matmul, attr, engine, NULL) &&
		!dnnl_primitive_desc_query(d, dnnl_query_impl_info_str, 0, (void *)&name) &&
		strncmp(name, "ref", 3) && dnnl_primitive_create(&p, d))
		p = NULL;
	dnnl_primitive_desc_destroy(d);
	dnnl_post_ops_destroy(ops);
	dnnl_primitive_attr_destroy(attr);
	return p;
}

static bool execute(dnnl_primitive_t p, const dnnl_memory_desc_t md[3], void *const at[3])
{
	static const int arg[3] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
	dnnl_memory_t memory[3] = {NULL};
	dnnl_exec_arg_t args[3];
	dnnl_stream_t stream = NULL;
	bool ok = !dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
	for (int i = 0; i < 3 && ok; i++) {
		ok = !dnnl_memory_create(&memory[i], &md[i], engine, at[i]);
		args[i] = (dnnl_exec_arg_t){arg[i], memory[i]};
	}
	ok = ok && !dnnl_primitive_execute(p, stream, 3, args) && !dnnl_stream_wait(stream);
	for (int i = 0; i < 3; i++)
		dnnl_memory_destroy(memory[i]);
	dnnl_stream_destroy(stream);
	return ok;
}

bool wr_sgemm_matmul(enum wr_math math, bool trans_a, bool trans_b, size_t m, size_t n, size_t k,
	const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
	dnnl_data_type_t type = math == WR_MATH_BF16 ? dnnl_bf16 : dnnl_f32;
	size_t bytes = math == WR_MATH_BF16 ? sizeof(uint16_t) : sizeof(float);
	size_t of_a = (m * k * bytes + 63) / 64 * 64, of_b = (k * n * bytes + 63) / 64 * 64;
	dnnl_memory_desc_t md[3];
	dnnl_primitive_t p = NULL;
	bool done = false;
	pthread_once(&engine_once, make_engine);
	char *copies = engine ? aligned_alloc(64, of_a + of_b) : NULL;
	bool ok = copies && !describe(&md[0], m, k, trans_a ? 1 : k, trans_a ? m : 1, type) &&
		  !describe(&md[1], k, n, trans_b ? 1 : n, trans_b ? k : 1, type) &&
		  !describe(&md[2], m, n, ldc, 1, dnnl_f32);
	if (ok)
		p = make_product(&md[0], &md[1], &md[2], beta);
	if (p) {
		pack(math, a, trans_a ? k : m, trans_a ? m : k, lda, copies);
		pack(math, b, trans_b ? n : k, trans_b ? k : n, ldb, copies + of_a);
		done = execute(p, md, (void *const[3]){copies, copies + of_a, c});
		dnnl_primitive_destroy(p);
	}
	free(copies);
	return done;
}
