/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packs a bundle's tensors for the kernels, once at load: weights and item rows into blocks of 16
 * outputs, biases by age reversed; item rows once more as they are, for what reads single ones. One
 * block of memory (huge pages in the server) holds everything, nothing of a request touches the
 * file.
 */
#include "model_internal.h"

#include "gemm_onednn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void *default_alloc(void *ctx, size_t bytes, size_t align)
{
	(void)ctx;
	bytes = WR_ALIGN_UP(bytes, align);
	void *p = aligned_alloc(align, bytes);
	if (p)
		memset(p, 0, bytes);
	return p;
}

static void default_free(void *ctx, void *p)
{
	(void)ctx;
	free(p);
}

struct wr_allocator wr_model_allocator(const struct wr_allocator *alloc)
{
	struct wr_allocator a = alloc ? *alloc : (struct wr_allocator){0};
	if (!a.alloc)
		a = (struct wr_allocator){.alloc = default_alloc, .free = default_free};
	return a;
}

/* Space for n × k weights; the caller packs into it when it is real. */
static struct wr_gemm_weights carve_weights(struct wr_carve *c, size_t n, size_t k)
{
	struct wr_gemm_weights w = {
		.n = (uint32_t)WR_ALIGN_UP(n, (size_t)WR_GEMM_BLOCK), .k = (uint32_t)k};
	w.packed = wr_carve(c, w.n * k);
	w.start = wr_carve(c, w.n * sizeof(*w.start));
	w.scale = wr_carve(c, w.n * sizeof(*w.scale));
	return w;
}

static const struct wr_gemm_weights *carve_age_keys(
	struct wr_carve *c, const struct wr_bundle_model *s)
{
	struct wr_gemm_weights *head = wr_carve(c, s->n_heads * sizeof(*head));
	for (unsigned int h = 0; h < s->n_heads; h++) {
		struct wr_gemm_weights w = carve_weights(c, s->window, s->head_dim);
		if (head)
			head[h] = w;
	}
	return head;
}

static void carve_item_heads(
	struct wr_carve *c, const struct wr_bundle_model *s, struct wr_item_heads *to)
{
	size_t n = s->n_items, dh = s->head_dim;
	to->kv.n_heads = s->n_kv_heads;
	to->kv.head_dim = s->head_dim;
	to->kv.kv = wr_carve(c, n * 2 * s->n_kv_heads * dh);
	to->kv.scale = wr_carve(c, n * wr_kv_table_scales(s->n_kv_heads) * sizeof(float));
	to->q = wr_carve(c, n * s->n_heads * dh);
	to->q_scale = wr_carve(c, n * s->n_heads * sizeof(float));
}

/* Lays m's arrays out over c; m itself is the first piece. */
static void layout(struct wr_carve *c, const struct wr_bundle_model *s, struct wr_model *m)
{
	m->bias_ld = s->window + 2 * WR_ATTEND_BIAS_PAD;
	m->items = carve_weights(c, s->n_items, s->d);
	m->item_q = wr_carve(c, (size_t)s->n_items * s->d);
	m->item_in = wr_carve(c, s->n_items * sizeof(float));
	m->final_gain = wr_carve(c, s->d * sizeof(float));
	for (unsigned int b = 0; b < s->n_blocks; b++) {
		struct wr_model_block *block = &m->block[b];
		for (unsigned int i = 0; i < WR_BUNDLE_PROJECTIONS; i++) {
			enum wr_bundle_projection p = (enum wr_bundle_projection)i;
			size_t out = wr_bundle_outputs(s, p), in = wr_bundle_inputs(s, p);
			block->w[p] = carve_weights(c, out, in);
			if (wr_bundle_kept(s, b, p))
				block->low[p] = carve_weights(c, out, in);
		}
		block->bias = wr_carve(c, s->n_heads * m->bias_ld * sizeof(float));
		block->time = wr_carve(c, s->n_heads * s->time_buckets * sizeof(float));
		if (s->age_keys)
			block->age_key = carve_age_keys(c, s);
	}
	if (wr_model_heads_by_item(s))
		carve_item_heads(c, s, &m->item_heads);
}

bool wr_model_heads_by_item(const struct wr_bundle_model *s)
{
	return heads_by_item(s);
}

size_t wr_model_bytes_needed(const struct wr_bundle_model *s)
{
	struct wr_carve c = {0};
	struct wr_model m = {0};
	wr_carve(&c, sizeof(m));
	layout(&c, s, &m);
	return c.used;
}

/* The arrays are const for everybody but these. */
static void copy(const void *to, const void *from, size_t bytes)
{
	memcpy((void *)(uintptr_t)to, from, bytes);
}

static void pack(const struct wr_gemm_weights *w, size_t n, const int8_t *rows, const float *scale)
{
	wr_gemm_s8_pack(rows, n, w->n, w->k, (int8_t *)(uintptr_t)w->packed,
		(int32_t *)(uintptr_t)w->start);
	memcpy((float *)(uintptr_t)w->scale, scale, n * sizeof(*scale));
}

static void pack_projection(const struct wr_model *m, const struct wr_bundle *b, unsigned int i,
	enum wr_bundle_projection p)
{
	const struct wr_model_block *block = &m->block[i];
	const char *part = wr_bundle_projection_name(p);
	char q[16], s[16], low[16];
	snprintf(q, sizeof(q), "%s.q", part);
	snprintf(s, sizeof(s), "%s.s", part);
	snprintf(low, sizeof(low), "%s.low", part);
	const float *scale = wr_bundle_block(b, i, s);
	pack(&block->w[p], block->w[p].n, wr_bundle_block(b, i, q), scale);
	if (!wr_bundle_kept(&m->s, i, p))
		return;
	pack(&block->low[p], block->low[p].n, wr_bundle_block(b, i, low), scale);
	for (uint32_t o = 0; o < block->low[p].n; o++)
		((float *)(uintptr_t)block->low[p].scale)[o] /= WR_QUANTISE_LOW;
}

static void pack_bias(const struct wr_model *m, const float *bias, const float *by_age)
{
	float *out = (float *)(uintptr_t)bias;
	size_t window = m->s.window;
	for (size_t h = 0; h < m->s.n_heads; h++)
		for (size_t age = 0; age < window; age++)
			out[h * m->bias_ld + WR_ATTEND_BIAS_PAD + window - 1 - age] =
				by_age[h * window + age];
}

/* Ages in descending order, as biases stand: a product with a query is a row of these. */
static void pack_age_keys(const struct wr_model *m, const struct wr_bundle *b, unsigned int i)
{
	const int8_t *q = wr_bundle_block(b, i, "age.q");
	const float *s = wr_bundle_block(b, i, "age.s");
	size_t window = m->s.window, dh = m->s.head_dim;
	int8_t rows[WR_ATTEND_MAX_WINDOW * WR_ATTEND_MAX_HEAD];
	float scale[WR_ATTEND_MAX_WINDOW];
	for (size_t h = 0; h < m->s.n_heads; h++) {
		for (size_t age = 0; age < window; age++) {
			size_t from = h * window + age, to = window - 1 - age;
			memcpy(rows + to * dh, q + from * dh, dh);
			scale[to] = s[from];
		}
		pack(&m->block[i].age_key[h], window, rows, scale);
	}
}

static void fill(struct wr_model *m, const struct wr_bundle *b)
{
	copy(m->item_q, wr_bundle_section(b, WR_SEC_ITEM_Q, NULL), (size_t)m->s.n_items * m->s.d);
	copy(m->item_in, wr_bundle_section(b, WR_SEC_ITEM_IN, NULL), m->s.n_items * sizeof(float));
	copy(m->final_gain, wr_bundle_section(b, WR_SEC_FINAL_GAIN, NULL), m->s.d * sizeof(float));
	pack(&m->items, m->s.n_items, m->item_q, wr_bundle_section(b, WR_SEC_ITEM_SCALE, NULL));
	for (unsigned int i = 0; i < m->s.n_blocks; i++) {
		const struct wr_model_block *block = &m->block[i];
		for (unsigned int p = 0; p < WR_BUNDLE_PROJECTIONS; p++)
			pack_projection(m, b, i, (enum wr_bundle_projection)p);
		pack_bias(m, block->bias, wr_bundle_block(b, i, "bias"));
		if (m->s.time_buckets)
			copy(block->time, wr_bundle_block(b, i, "time"),
				m->s.n_heads * m->s.time_buckets * sizeof(float));
		if (m->s.age_keys)
			pack_age_keys(m, b, i);
	}
}

int wr_model_new(struct wr_model **out, const struct wr_bundle *b, enum wr_isa isa,
	enum wr_gemm_engine gemm, const struct wr_allocator *alloc, struct wr_errmsg *msg)
{
	const struct wr_bundle_model *s = wr_bundle_model(b);
	*out = NULL;
	if (!wr_isa_supported(isa))
		return wr_fail(msg, WR_ENOTSUP,
			"isa %s: this CPU (or its operating system) lacks it; use auto, which "
			"picks %s",
			wr_isa_name(isa), wr_isa_name(wr_isa_best()));
	if (gemm == WR_GEMM_ONEDNN && !wr_gemm_onednn_exact())
		return wr_fail(msg, WR_ENOTSUP,
			"gemm onednn: its int8 product is exact with AVX-512 VNNI only, which this "
			"CPU "
			"lacks; use auto or own");
	struct wr_allocator a = wr_model_allocator(alloc);
	size_t bytes = wr_model_bytes_needed(s);
	struct wr_carve c = {.base = a.alloc(a.ctx, bytes, WR_CACHE_LINE)};
	if (!c.base)
		return wr_fail(msg, WR_ENOMEM,
			"model: no %zu bytes left; reserve more hugepages or use a smaller bundle",
			bytes);
	struct wr_model *m = wr_carve(&c, sizeof(*m));
	isa = isa == WR_ISA_AUTO ? wr_isa_best() : isa;
	/* A level forced below VNNI means own kernels, unless oneDNN is asked for by name. */
	if (gemm == WR_GEMM_AUTO && (isa < WR_ISA_AVX512VNNI || !wr_gemm_onednn_exact()))
		gemm = WR_GEMM_OWN;
	*m = (struct wr_model){
		.s = *s, .isa = isa, .gemm = gemm, .bundle = b, .bytes = bytes, .alloc = a};
	m->kernels = wr_kernels_get((enum wr_kernels_level)m->isa);
	layout(&c, s, m);
	assert(c.used == bytes);
	fill(m, b);
	int err = wr_model_heads_by_item(s) ? wr_model_fill_item_heads(m, msg) : WR_OK;
	if (err)
		wr_model_free(m);
	else
		*out = m;
	return err;
}

void wr_model_free(struct wr_model *m)
{
	if (m) {
		struct wr_allocator a = m->alloc;
		a.free(a.ctx, m);
	}
}

enum wr_isa wr_model_isa(const struct wr_model *m)
{
	return m->isa;
}

enum wr_gemm_engine wr_model_engine(const struct wr_model *m)
{
	return m->gemm;
}

size_t wr_model_bytes(const struct wr_model *m)
{
	return m->bytes;
}

const struct wr_bundle_model *wr_model_shape(const struct wr_model *m)
{
	return &m->s;
}

const struct wr_kernels *wr_model_kernels(const struct wr_model *m)
{
	return m->kernels;
}

const struct wr_gemm_weights *wr_model_items(const struct wr_model *m)
{
	return &m->items;
}

const int8_t *wr_model_item_rows(const struct wr_model *m)
{
	return m->item_q;
}
