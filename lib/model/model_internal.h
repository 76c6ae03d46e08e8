/* SPDX-License-Identifier: BSD-3-Clause */
/* What model.c and the encoder's files share: the packed model, and one block of memory cut into
 * aligned pieces. */
#ifndef WR_MODEL_INTERNAL_H
#define WR_MODEL_INTERNAL_H

#include "wr_kernels.h"
#include "wr_model.h"

struct wr_model_block {
	struct wr_gemm_weights w[WR_BUNDLE_PROJECTIONS];
	/* Second planes of kept projections, .scale that of the first / 254; of others empty. */
	struct wr_gemm_weights low[WR_BUNDLE_PROJECTIONS];
	/* f32 [n_heads][bias_ld]: ages in descending order between two pads of WR_ATTEND_BIAS_PAD.
	 */
	const float *bias;
	const float *time; /* f32 [n_heads][time_buckets]; only with time_buckets */
	/* [n_heads]: keys by age, in bias' order; only with age_keys. */
	const struct wr_gemm_weights *age_key;
};

/* The first block's heads of every item, int8 and scales; with wr_model_heads_by_item only. */
struct wr_item_heads {
	const int8_t *q;      /* [n_items][H·dh] */
	const float *q_scale; /* [n_items][H] */
	struct wr_kv_table kv;
};

static inline bool heads_by_item(const struct wr_bundle_model *s)
{
	size_t heads = s->n_heads + 2 * s->n_kv_heads;
	size_t bytes = heads * s->head_dim +
		       (s->n_heads + wr_kv_table_scales(s->n_kv_heads)) * sizeof(float);
	return s->n_blocks > 1 && s->n_items * bytes <= WR_ITEM_HEADS_MAX_BYTES;
}

struct wr_model {
	struct wr_bundle_model s;
	enum wr_isa isa;
	enum wr_gemm_engine gemm; /* resolved: AUTO only where both engines serve */
	const struct wr_bundle *bundle;
	const struct wr_kernels *kernels;
	const int8_t *item_q; /* [n_items][d]: encoder input */
	const float *item_in, *final_gain;
	struct wr_gemm_weights items; /* the same rows, packed: scoring */
	struct wr_model_block block[WR_BUNDLE_MAX_BLOCKS];
	struct wr_item_heads item_heads;
	size_t bias_ld;
	size_t bytes;
	struct wr_allocator alloc;
};

/* Cuts pieces off a block: with base NULL it only counts, so that the plan and the allocation
 * cannot differ. */
struct wr_carve {
	uint8_t *base;
	size_t used;
};
static inline void *wr_carve(struct wr_carve *c, size_t bytes)
{
	void *p = c->base ? c->base + c->used : NULL;
	c->used += WR_ALIGN_UP(bytes, (size_t)WR_CACHE_LINE);
	return p;
}

/* Works out m->item_heads, with an encoder of its own: by_item.c. m is filled but for them. */
int wr_model_fill_item_heads(struct wr_model *m, struct wr_errmsg *msg) WR_MUST_CHECK;

/* alloc or the default of aligned_alloc and free. */
struct wr_allocator wr_model_allocator(const struct wr_allocator *alloc);

#endif
