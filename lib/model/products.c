/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The encoder's matrix products by one of two engines. Both give the same sums; which one is faster
 * depends on the CPU, the shape and the number of rows, so both are timed at start. Built for 1 …
 * 64 rows times 64 → 64 … 192 columns, a few hundred ns each.
 */
#include "encoder_int.h"

#include <string.h>

/* A product is timed so often; the best time counts: what disturbs one only adds to it. */
#define TIMINGS 9
/* oneDNN serves where it takes at most this much of our own kernels' time. */
#define ONEDNN_ALLOWANCE 1.05

/* Whose outputs a product makes. */
static const enum wr_bundle_projection projection[N_PRODUCTS] = {[QKV] = WR_BUNDLE_QKV,
	[KV] = WR_BUNDLE_QKV,
	[Q] = WR_BUNDLE_QKV,
	[OUT] = WR_BUNDLE_OUT,
	[UP] = WR_BUNDLE_UP,
	[DOWN] = WR_BUNDLE_DOWN};

/* Product i's part of its projection's weights w. */
static struct wr_gemm_weights part_of(
	const struct wr_encoder *e, enum product i, const struct wr_gemm_weights *w)
{
	uint32_t queries = e->m->s.n_heads * e->m->s.head_dim;
	if (i == KV)
		return wr_gemm_slice(w, queries, w->n - queries);
	return i == Q ? wr_gemm_slice(w, 0, queries) : *w;
}

struct wr_gemm_weights wr_encoder_weights(
	const struct wr_encoder *e, unsigned int b, enum product i)
{
	return part_of(e, i, &e->m->block[b].w[projection[i]]);
}

size_t wr_encoder_tile(const struct wr_encoder *e, size_t left)
{
	if (e->m->gemm == WR_GEMM_ONEDNN)
		for (size_t m = TILE; m > TILE_OWN; m /= 2)
			if (left >= m)
				return m;
	return WR_MIN(left, (size_t)TILE_OWN);
}

/* The weights' matrix by its number with oneDNN, times what lies in act. */
static void product_onednn(struct wr_encoder *e, unsigned int matrix,
	const struct wr_gemm_weights *w, const float *a_scale, size_t m, float *y, size_t ldy,
	bool add)
{
	wr_gemm_onednn_run(e->onednn, matrix, m);
	e->m->kernels->dequantise(m, w->n, e->acc, w->n, w->scale, a_scale, y, ldy, add);
}

static void product_own(struct wr_encoder *e, const struct wr_gemm_weights *w, size_t m, float *y,
	size_t ldy, bool add)
{
	e->m->kernels->gemm_s8(w, m, e->act, w->k, e->act_scale, y, ldy, add);
}

/* What a kept projection adds to the product of both first planes: its second plane times the
 * rows', then its first times the rows' second. */
static void add_low(struct wr_encoder *e, unsigned int b, enum product i, size_t m, const float *x,
	float *y, size_t ldy)
{
	const struct wr_kernels *kernels = e->m->kernels;
	struct wr_gemm_weights w = wr_encoder_weights(e, b, i);
	struct wr_gemm_weights low = part_of(e, i, &e->m->block[b].low[projection[i]]);
	uint64_t macs = 2 * (uint64_t)m * w.n * w.k;
	kernels->quantise_low(m, w.k, x, w.k, i == DOWN, e->act, w.k, e->act_scale, e->act_low, w.k,
		e->act_low_scale);
	if (e->by_onednn[i][wr_gemm_onednn_step(m)]) {
		product_onednn(e, e->matrix_low[b][i], &low, e->act_scale, m, y, ldy, true);
		memcpy(e->act, e->act_low, m * w.k); /* where oneDNN reads its rows */
		product_onednn(e, e->matrix[b][i], &w, e->act_low_scale, m, y, ldy, true);
		e->macs_onednn += macs;
	} else {
		product_own(e, &low, m, y, ldy, true);
		kernels->gemm_s8(&w, m, e->act_low, w.k, e->act_low_scale, y, ldy, true);
		e->macs_own += macs;
	}
}

void wr_encoder_linear(struct wr_encoder *e, unsigned int b, enum product i, size_t m,
	const float *x, float *y, size_t ldy, bool add)
{
	struct wr_gemm_weights w = wr_encoder_weights(e, b, i);
	uint64_t macs = (uint64_t)m * w.n * w.k;
	if (m && e->by_onednn[i][wr_gemm_onednn_step(m)]) {
		product_onednn(e, e->matrix[b][i], &w, e->act_scale, m, y, ldy, add);
		e->macs_onednn += macs;
	} else {
		product_own(e, &w, m, y, ldy, add);
		e->macs_own += macs;
	}
	if (m && wr_bundle_kept(&e->m->s, b, projection[i]))
		add_low(e, b, i, m, x, y, ldy);
}

/* Best time of both engines for m rows of product i, in turns so that a disturbance hits both. */
static void time_product(
	struct wr_encoder *e, enum product i, size_t m, uint32_t *own_ns, uint32_t *onednn_ns)
{
	struct wr_gemm_weights w = wr_encoder_weights(e, 0, i);
	uint64_t best[2] = {UINT64_MAX, UINT64_MAX};
	for (unsigned int t = 0; t < 2 * (TIMINGS + 1); t++) {
		uint64_t start = wr_clock_tsc();
		if (t % 2)
			product_onednn(e, e->matrix[0][i], &w, e->act_scale, m, e->y, w.n, false);
		else
			product_own(e, &w, m, e->y, w.n, false);
		uint64_t took = wr_clock_tsc() - start;
		best[t % 2] = WR_MIN(best[t % 2], took);
	}
	double ns = 1e9 / (double)wr_clock_tsc_hz();
	*own_ns = (uint32_t)((double)best[0] * ns + 0.5);
	*onednn_ns = (uint32_t)((double)best[1] * ns + 0.5);
}

static void choose_engines(struct wr_encoder *e)
{
	static const char *const names[N_PRODUCTS] = {"qkv", "kv", "q", "out", "up", "down"};
	for (unsigned int i = 0; i < N_PRODUCTS; i++) {
		struct wr_gemm_weights w = wr_encoder_weights(e, 0, (enum product)i);
		e->times[i] = (struct wr_engine_times){.name = names[i], .n = w.n, .k = w.k};
		for (unsigned int s = 0; s < WR_ENGINE_STEPS; s++) {
			uint32_t own, onednn, rows = wr_gemm_onednn_rows[s];
			time_product(e, (enum product)i, rows, &own, &onednn);
			bool choice = (double)onednn <= (double)own * ONEDNN_ALLOWANCE;
			e->by_onednn[i][s] = choice;
			e->times[i].step[s].rows = rows;
			e->times[i].step[s].own_ns = own;
			e->times[i].step[s].onednn_ns = onednn;
			e->times[i].step[s].onednn = choice;
		}
	}
}

/* Hands product i of block b to oneDNN: the plane of its section, "q" or "low". */
static int add_product(struct wr_encoder *e, unsigned int b, enum product i, const char *plane,
	unsigned int *matrix, struct wr_errmsg *msg)
{
	const struct wr_bundle_model *s = &e->m->s;
	char name[16];
	snprintf(name, sizeof(name), "%s.%s", wr_bundle_projection_name(projection[i]), plane);
	const int8_t *rows = wr_bundle_block(e->m->bundle, b, name);
	struct wr_gemm_weights w = wr_encoder_weights(e, b, i);
	if (i == KV)
		rows += (size_t)s->n_heads * s->head_dim * w.k;
	return wr_gemm_onednn_add(e->onednn, rows, w.n, w.k, matrix, msg);
}

static int add_block(struct wr_encoder *e, unsigned int b, struct wr_errmsg *msg)
{
	int err = WR_OK;
	for (unsigned int i = 0; i < N_PRODUCTS && !err; i++) {
		err = add_product(e, b, (enum product)i, "q", &e->matrix[b][i], msg);
		if (!err && wr_bundle_kept(&e->m->s, b, projection[i]))
			err = add_product(e, b, (enum product)i, "low", &e->matrix_low[b][i], msg);
	}
	return err;
}

int wr_encoder_start_onednn(struct wr_encoder *e, struct wr_errmsg *msg)
{
	int err = wr_gemm_onednn_new(&e->onednn, e->act, e->acc, msg);
	for (unsigned int b = 0; b < e->m->s.n_blocks && !err; b++)
		err = add_block(e, b, msg);
	if (!err && e->m->gemm == WR_GEMM_AUTO)
		choose_engines(e);
	else
		memset(e->by_onednn, !err, sizeof(e->by_onednn));
	return err;
}

const struct wr_engine_times *wr_encoder_engines(const struct wr_encoder *e)
{
	return e->m->gemm == WR_GEMM_AUTO ? e->times : NULL;
}

void wr_encoder_macs(const struct wr_encoder *e, uint64_t *onednn, uint64_t *own)
{
	*onednn = e->macs_onednn;
	*own = e->macs_own;
}
