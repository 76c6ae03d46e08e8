/* SPDX-License-Identifier: BSD-3-Clause */
/* Int8 products over oneDNN's C API: one primitive for each matrix and number of rows, all memory
 * bound at creation. */
#include "gemm_onednn.h"

#include "amx_state.h"

#include <assert.h>
#include <omp.h>
#include <stdlib.h>

#include <oneapi/dnnl/dnnl.h>

/* Enough of them that rounding up wastes little, few enough that start is quick. A call costs about
 * as much as 16 rows do: 128 and 256 are for those who have so many. */
const unsigned int wr_gemm_onednn_rows[] = {1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64, 128, 256};
#define N_STEPS WR_GEMM_ONEDNN_STEPS
#define N_ARGS  4

struct product {
	dnnl_primitive_t primitive;
	dnnl_memory_t src, dst, scratch;
	dnnl_exec_arg_t args[N_ARGS];
};

struct matrix {
	dnnl_memory_t weights[N_STEPS]; /* in the layout that a step wants; [i] may be the same as
					   [i-1] */
	struct product product[N_STEPS];
};

struct wr_gemm_onednn {
	dnnl_engine_t engine;
	dnnl_stream_t stream;
	dnnl_primitive_attr_t attr;
	const int8_t *a;
	int32_t *acc;
	struct matrix *matrix;
	unsigned int n_matrices;
};

bool wr_gemm_onednn_exact(void)
{
	unsigned int have = (unsigned int)dnnl_get_effective_cpu_isa();
	return (have & dnnl_cpu_isa_avx512_core_vnni) == dnnl_cpu_isa_avx512_core_vnni;
}

int wr_gemm_onednn_new(
	struct wr_gemm_onednn **out, const int8_t *a, int32_t *acc, struct wr_errmsg *msg)
{
	*out = NULL;
	if (!wr_gemm_onednn_exact())
		return wr_fail(msg, WR_ENOTSUP,
			"oneDNN: its int8 product is exact with AVX-512 VNNI only, which this CPU "
			"lacks");
	struct wr_gemm_onednn *g = calloc(1, sizeof(*g));
	if (!g)
		return wr_fail(msg, WR_ENOMEM, "oneDNN: no memory");
	g->a = a;
	g->acc = acc;
	omp_set_num_threads(1);
	if (dnnl_engine_create(&g->engine, dnnl_cpu, 0) ||
		dnnl_stream_create(&g->stream, g->engine, dnnl_stream_default_flags) ||
		dnnl_primitive_attr_create(&g->attr) ||
		dnnl_primitive_attr_set_scratchpad_mode(g->attr, dnnl_scratchpad_mode_user)) {
		wr_gemm_onednn_free(g);
		return wr_fail(msg, WR_ENOMEM, "oneDNN: no engine on this CPU");
	}
	*out = g;
	return WR_OK;
}

static void matrix_free(struct matrix *x)
{
	for (size_t i = 0; i < N_STEPS; i++) {
		dnnl_primitive_destroy(x->product[i].primitive);
		dnnl_memory_destroy(x->product[i].src);
		dnnl_memory_destroy(x->product[i].dst);
		dnnl_memory_destroy(x->product[i].scratch);
		if (i == 0 || x->weights[i] != x->weights[i - 1])
			dnnl_memory_destroy(x->weights[i]);
	}
}

void wr_gemm_onednn_free(struct wr_gemm_onednn *g)
{
	if (!g)
		return;
	for (unsigned int i = 0; i < g->n_matrices; i++)
		matrix_free(&g->matrix[i]);
	free(g->matrix);
	dnnl_primitive_attr_destroy(g->attr);
	dnnl_stream_destroy(g->stream);
	dnnl_engine_destroy(g->engine);
	free(g);
}

/* Copies plain weights into a new memory of layout `want`. */
static bool reorder_weights(struct wr_gemm_onednn *g, const int8_t *weights, size_t n, size_t k,
	const dnnl_memory_desc_t *want, dnnl_memory_t *packed)
{
	dnnl_dims_t dims = {(dnnl_dim_t)k, (dnnl_dim_t)n};
	dnnl_memory_desc_t plain;
	dnnl_memory_t from = NULL;
	dnnl_primitive_desc_t d = NULL;
	dnnl_primitive_t reorder = NULL;
	bool ok =
		!dnnl_memory_desc_init_by_tag(&plain, 2, dims, dnnl_s8, dnnl_ba) &&
		!dnnl_memory_create(&from, &plain, g->engine, (void *)(uintptr_t)weights) &&
		!dnnl_memory_create(packed, want, g->engine, DNNL_MEMORY_ALLOCATE) &&
		!dnnl_reorder_primitive_desc_create(&d, &plain, g->engine, want, g->engine, NULL) &&
		!dnnl_primitive_create(&reorder, d);
	if (ok) {
		dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, *packed}};
		ok = !dnnl_primitive_execute(reorder, g->stream, 2, args) &&
		     !dnnl_stream_wait(g->stream);
	}
	dnnl_primitive_destroy(reorder);
	dnnl_primitive_desc_destroy(d);
	dnnl_memory_destroy(from);
	return ok;
}

/* The primitive description of m rows times n × k weights in whatever layout it likes; NULL if
 * there is none. */
static dnnl_primitive_desc_t describe(struct wr_gemm_onednn *g, size_t m, size_t n, size_t k)
{
	dnnl_dims_t src = {(dnnl_dim_t)m, (dnnl_dim_t)k}, weights = {(dnnl_dim_t)k, (dnnl_dim_t)n},
		    dst = {(dnnl_dim_t)m, (dnnl_dim_t)n};
	dnnl_memory_desc_t s, w, d;
	dnnl_matmul_desc_t matmul;
	dnnl_primitive_desc_t desc = NULL;
	if (dnnl_memory_desc_init_by_tag(&s, 2, src, dnnl_s8, dnnl_ab) ||
		dnnl_memory_desc_init_by_tag(&w, 2, weights, dnnl_s8, dnnl_format_tag_any) ||
		dnnl_memory_desc_init_by_tag(&d, 2, dst, dnnl_s32, dnnl_ab) ||
		dnnl_matmul_desc_init(&matmul, &s, &w, NULL, &d) ||
		dnnl_primitive_desc_create(&desc, &matmul, g->attr, g->engine, NULL))
		return NULL;
	return desc;
}

static bool bind(
	struct wr_gemm_onednn *g, dnnl_primitive_desc_t d, dnnl_memory_t weights, struct product *p)
{
	if (dnnl_primitive_create(&p->primitive, d) ||
		dnnl_memory_create(&p->src, dnnl_primitive_desc_query_md(d, dnnl_query_src_md, 0),
			g->engine, (void *)(uintptr_t)g->a) ||
		dnnl_memory_create(&p->dst, dnnl_primitive_desc_query_md(d, dnnl_query_dst_md, 0),
			g->engine, g->acc) ||
		dnnl_memory_create(&p->scratch,
			dnnl_primitive_desc_query_md(d, dnnl_query_scratchpad_md, 0), g->engine,
			DNNL_MEMORY_ALLOCATE))
		return false;
	p->args[0] = (dnnl_exec_arg_t){DNNL_ARG_SRC, p->src};
	p->args[1] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, weights};
	p->args[2] = (dnnl_exec_arg_t){DNNL_ARG_DST, p->dst};
	p->args[3] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, p->scratch};
	return true;
}

static bool matrix_init(
	struct wr_gemm_onednn *g, struct matrix *x, const int8_t *weights, size_t n, size_t k)
{
	bool ok = true;
	for (size_t i = 0; ok && i < N_STEPS; i++) {
		dnnl_primitive_desc_t d = describe(g, wr_gemm_onednn_rows[i], n, k);
		if (!d)
			return false;
		const dnnl_memory_desc_t *want = dnnl_primitive_desc_query_md(
						 d, dnnl_query_weights_md, 0),
					 *have = NULL;
		if (i)
			ok = !dnnl_memory_get_memory_desc(x->weights[i - 1], &have);
		if (have && dnnl_memory_desc_equal(have, want))
			x->weights[i] = x->weights[i - 1];
		else
			ok = ok && reorder_weights(g, weights, n, k, want, &x->weights[i]);
		ok = ok && bind(g, d, x->weights[i], &x->product[i]);
		dnnl_primitive_desc_destroy(d);
	}
	return ok;
}

int wr_gemm_onednn_add(struct wr_gemm_onednn *g, const int8_t *weights, size_t n, size_t k,
	unsigned int *matrix, struct wr_errmsg *msg)
{
	struct matrix *grown = realloc(g->matrix, (g->n_matrices + 1) * sizeof(*grown));
	if (!grown)
		return wr_fail(msg, WR_ENOMEM, "oneDNN: no memory");
	g->matrix = grown;
	struct matrix *x = &grown[g->n_matrices];
	*x = (struct matrix){0};
	if (!matrix_init(g, x, weights, n, k)) {
		matrix_free(x);
		return wr_fail(msg, WR_ENOTSUP,
			"oneDNN: no int8 product with %zu x %zu weights; use gemm = own", n, k);
	}
	*matrix = g->n_matrices++;
	return WR_OK;
}

void wr_gemm_onednn_run(struct wr_gemm_onednn *g, unsigned int matrix, size_t m)
{
	unsigned int step = wr_gemm_onednn_step(m);
	assert(matrix < g->n_matrices && m <= WR_GEMM_ONEDNN_ROWS);
	const struct product *p = &g->matrix[matrix].product[step];
	/* The stream runs in the calling thread: execute returns when the sums are there. */
	dnnl_status_t status = dnnl_primitive_execute(p->primitive, g->stream, N_ARGS, p->args);
	assert(status == dnnl_success);
	(void)status;
	wr_amx_forget();
}
