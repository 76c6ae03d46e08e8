/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Products with bf16 operands and float sums. oneDNN's own way from floats (fpmath_mode_bf16) is
 * for AMX alone and falls back to float in silence; bf16 operands of our own making also run on
 * avx512_bf16, and a product that oneDNN does not have is told. Copies cost m·k + k·n conversions
 * beside m·n·k multiply-adds. A primitive made for one shape costs as much as dozens of its
 * products, and sequences have hundreds of lengths: ours leave the sizes open. Each thread keeps
 * its primitives, and the room for its copies, until it ends.
 */
#include "amx_state.h"
#include "sgemm_int.h"
#include "wr_base.h"

#include <immintrin.h>
#include <oneapi/dnnl/dnnl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if WR_SANITIZE || defined(__clang__)
#define CLONES
#else
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif

#define OPEN DNNL_RUNTIME_DIM_VAL
#define N_KINDS \
	8 /* products a thread keeps: both operands plain or transposed, C new or added to */

/* What a primitive is made for; the rest is open until it runs. */
struct kind {
	enum wr_math math;
	bool trans_a, trans_b;
	float beta;
};
struct mine {
	struct kind kind[N_KINDS];
	dnnl_primitive_t product[N_KINDS]; /* NULL = oneDNN has none */
	unsigned int n_made;               /* the oldest gives way */
	dnnl_stream_t stream;
	char *copies;
	size_t n_copies;
};
static dnnl_engine_t engine; /* NULL = could not be made; kept for the life of the process */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void forget(void *at)
{
	struct mine *t = at;
	for (int i = 0; i < N_KINDS; i++)
		dnnl_primitive_destroy(t->product[i]);
	dnnl_stream_destroy(t->stream);
	free(t->copies);
	free(t);
}

static void make_engine(void)
{
	if (pthread_key_create(&key, forget) || dnnl_engine_create(&engine, dnnl_cpu, 0))
		engine = NULL;
}

/* The calling thread's; NULL without oneDNN or memory. */
static struct mine *mine(void)
{
	pthread_once(&once, make_engine);
	struct mine *t = engine ? pthread_getspecific(key) : NULL;
	if (t || !engine)
		return t;
	t = calloc(1, sizeof(*t));
	if (t && (dnnl_stream_create(&t->stream, engine, dnnl_stream_default_flags) ||
			 pthread_setspecific(key, t))) {
		forget(t);
		t = NULL;
	}
	return t;
}

/* Room for a call's copies; NULL without memory. */
static char *room(struct mine *t, size_t bytes)
{
	if (bytes > t->n_copies) {
		free(t->copies);
		t->copies = aligned_alloc(64, bytes);
		t->n_copies = t->copies ? bytes : 0;
	}
	return t->copies;
}

/* As wr_sgemm_to_bf16, but the CPU's instruction makes 0 of subnormals. */
__attribute__((target("avx512f,avx512bf16"))) static void pack_bf16(
	const float *x, size_t rows, size_t cols, size_t ld, uint16_t *to)
{
	for (size_t r = 0; r < rows; r++, x += ld, to += cols) {
		size_t c = 0;
		for (; c + 16 <= cols; c += 16)
			_mm256_storeu_si256((__m256i *)(to + c),
				(__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x + c)));
		for (; c < cols; c++)
			to[c] = wr_sgemm_to_bf16(x[c]);
	}
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

/* A matrix whose element (i, j) is at i·by_row + j·by_col. */
static int describe(dnnl_memory_desc_t *d, dnnl_dim_t rows, dnnl_dim_t cols, dnnl_dim_t by_row,
	dnnl_dim_t by_col, dnnl_data_type_t type)
{
	const dnnl_dims_t dims = {rows, cols}, strides = {by_row, by_col};
	return dnnl_memory_desc_init_by_strides(d, 2, dims, type, strides);
}

/* Operands are plain or transposed by which stride is 1; sizes may be OPEN. */
static int describe_all(
	dnnl_memory_desc_t md[3], const struct kind *p, const dnnl_dim_t mnk[3], dnnl_dim_t ldc)
{
	dnnl_data_type_t type = p->math == WR_MATH_BF16 ? dnnl_bf16 : dnnl_f32;
	dnnl_dim_t m = mnk[0], n = mnk[1], k = mnk[2];
	return describe(&md[0], m, k, p->trans_a ? 1 : k, p->trans_a ? m : 1, type) ||
	       describe(&md[1], k, n, p->trans_b ? 1 : n, p->trans_b ? k : 1, type) ||
	       describe(&md[2], m, n, ldc, 1, dnnl_f32);
}

/* dst = src · weights + beta dst; NULL when there is none, or a reference one alone. */
static dnnl_primitive_t make_product(const struct kind *kind)
{
	dnnl_primitive_attr_t attr = NULL;
	dnnl_post_ops_t ops = NULL;
	dnnl_memory_desc_t md[3];
	dnnl_matmul_desc_t matmul;
	dnnl_primitive_desc_t d = NULL;
	dnnl_primitive_t p = NULL;
	const char *name = NULL;
	if (!describe_all(md, kind, (const dnnl_dim_t[]){OPEN, OPEN, OPEN}, OPEN) &&
		!dnnl_primitive_attr_create(&attr) && !dnnl_post_ops_create(&ops) &&
		(kind->beta == 0 || (!dnnl_post_ops_append_sum(ops, kind->beta) &&
					    !dnnl_primitive_attr_set_post_ops(attr, ops))) &&
		!dnnl_matmul_desc_init(&matmul, &md[0], &md[1], NULL, &md[2]) &&
		!dnnl_primitive_desc_create(&d, &matmul, attr, engine, NULL) &&
		!dnnl_primitive_desc_query(d, dnnl_query_impl_info_str, 0, (void *)&name) &&
		strncmp(name, "ref", 3) && dnnl_primitive_create(&p, d))
		p = NULL;
	dnnl_primitive_desc_destroy(d);
	dnnl_post_ops_destroy(ops);
	dnnl_primitive_attr_destroy(attr);
	return p;
}

static bool same(const struct kind *a, const struct kind *b)
{
	return a->math == b->math && a->trans_a == b->trans_a && a->trans_b == b->trans_b &&
	       !(a->beta < b->beta || a->beta > b->beta);
}

/* The thread's product of a kind, made when it is the first; NULL as make_product. */
static dnnl_primitive_t product_of(struct mine *t, const struct kind *kind)
{
	for (unsigned int i = 0; i < WR_MIN(t->n_made, N_KINDS); i++)
		if (same(&t->kind[i], kind))
			return t->product[i];
	unsigned int at = t->n_made++ % N_KINDS;
	dnnl_primitive_destroy(t->product[at]);
	t->product[at] = make_product(kind);
	t->kind[at] = *kind;
	return t->product[at];
}

static bool execute(
	const struct mine *t, dnnl_primitive_t p, const dnnl_memory_desc_t md[3], void *const at[3])
{
	static const int arg[3] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
	dnnl_memory_t memory[3] = {NULL};
	dnnl_exec_arg_t args[3];
	bool ok = true;
	for (int i = 0; i < 3 && ok; i++) {
		ok = !dnnl_memory_create(&memory[i], &md[i], engine, at[i]);
		args[i] = (dnnl_exec_arg_t){arg[i], memory[i]};
	}
	ok = ok && !dnnl_primitive_execute(p, t->stream, 3, args) && !dnnl_stream_wait(t->stream);
	wr_amx_forget();
	for (int i = 0; i < 3; i++)
		dnnl_memory_destroy(memory[i]);
	return ok;
}

bool wr_sgemm_matmul(enum wr_math math, bool trans_a, bool trans_b, size_t m, size_t n, size_t k,
	const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
	const struct kind kind = {math, trans_a, trans_b, beta};
	size_t bytes = math == WR_MATH_BF16 ? sizeof(uint16_t) : sizeof(float);
	size_t of_a = (m * k * bytes + 63) / 64 * 64, of_b = (k * n * bytes + 63) / 64 * 64;
	dnnl_memory_desc_t md[3];
	struct mine *t = wr_math_used(math) == math ? mine() : NULL;
	dnnl_primitive_t p = t ? product_of(t, &kind) : NULL;
	char *copies = p ? room(t, of_a + of_b) : NULL;
	if (!copies || describe_all(md, &kind,
			       (const dnnl_dim_t[]){(dnnl_dim_t)m, (dnnl_dim_t)n, (dnnl_dim_t)k},
			       (dnnl_dim_t)ldc))
		return false;
	pack(math, a, trans_a ? k : m, trans_a ? m : k, lda, copies);
	pack(math, b, trans_b ? n : k, trans_b ? k : n, ldb, copies + of_a);
	return execute(t, p, md, (void *const[3]){copies, copies + of_a, c});
}
