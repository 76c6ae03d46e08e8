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

struct wr_gemm_weights wr_encoder_weights(
	const struct wr_encoder *e, unsigned int b, enum product i)
{
	const struct wr_model_block *block = &e->m->block[b];
	uint32_t queries = e->m->s.n_heads * e->m->s.head_dim;
	switch (i) {
	case QKV:
		return block->qkv;
	case KV:
		return wr_gemm_slice(&block->qkv, queries, block->qkv.n - queries);
	case Q:
		return wr_gemm_slice(&block->qkv, 0, queries);
	case OUT:
		return block->out;
	case UP:
		return block->up;
	default:
		return block->down;
	}
}

size_t wr_encoder_tile(const struct wr_encoder *e, size_t left)
{
	if (e->m->gemm == WR_GEMM_ONEDNN)
		for (size_t m = TILE; m > TILE_OWN; m /= 2)
			if (left >= m)
				return m;
	return WR_MIN(left, (size_t)TILE_OWN);
}

static void product_onednn(struct wr_encoder *e, unsigned int b, enum product i,
	const struct wr_gemm_weights *w, size_t m, float *y, size_t ldy, bool add)
{
	wr_gemm_onednn_run(e->onednn, e->matrix[b][i], m);
	e->m->kernels->dequantise(m, w->n, e->acc, w->n, w->scale, e->act_scale, y, ldy, add);
}

static void product_own(struct wr_encoder *e, const struct wr_gemm_weights *w, size_t m, float *y,
	size_t ldy, bool add)
{
	e->m->kernels->gemm_s8(w, m, e->act, w->k, e->act_scale, y, ldy, add);
}

void wr_encoder_linear(struct wr_encoder *e, unsigned int b, enum product i, size_t m, float *y,
	size_t ldy, bool add)
{
	struct wr_gemm_weights w = wr_encoder_weights(e, b, i);
	uint64_t macs = (uint64_t)m * w.n * w.k;
	if (m && e->by_onednn[i][wr_gemm_onednn_step(m)]) {
		product_onednn(e, b, i, &w, m, y, ldy, add);
		e->macs_onednn += macs;
	} else {
		product_own(e, &w, m, y, ldy, add);
		e->macs_own += macs;
	}
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
			product_onednn(e, 0, i, &w, m, e->y, w.n, false);
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

static int add_block(struct wr_encoder *e, unsigned int b, struct wr_errmsg *msg)
{
	const struct wr_bundle_model *s = &e->m->s;
	size_t d = s->d, o = (size_t)s->n_heads * s->head_dim, qkv = wr_model_qkv_width(s);
	const int8_t *heads = wr_bundle_block(e->m->bundle, b, "qkv.q");
	const struct {
		const int8_t *rows;
		size_t n, k;
	} part[N_PRODUCTS] = {[QKV] = {heads, qkv, d},
		[KV] = {heads + o * d, qkv - o, d},
		[Q] = {heads, o, d},
		[OUT] = {wr_bundle_block(e->m->bundle, b, "out.q"), d, o},
		[UP] = {wr_bundle_block(e->m->bundle, b, "up.q"), s->ffn, d},
		[DOWN] = {wr_bundle_block(e->m->bundle, b, "down.q"), d, s->ffn}};
	int err = WR_OK;
	for (unsigned int i = 0; i < N_PRODUCTS && !err; i++)
		err = wr_gemm_onednn_add(
			e->onednn, part[i].rows, part[i].n, part[i].k, &e->matrix[b][i], msg);
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
