/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session's cached rows: head | last user vector | per block and key head a panel of ring_slots
 * slots, of the first block the slots' item rows instead where its heads are looked up by item;
 * where the model looks at times, also the slots' event times and the last token's input of the
 * last block, whose answer depends on when it is asked for. 7.9 KB at d = 64, 2 blocks, 2 heads,
 * W = 50 (15.2 with panels of both); one is read for every warm request.
 */
#ifndef WR_MODEL_RING_H
#define WR_MODEL_RING_H

#include "model_internal.h"

struct ring_head {
	uint32_t position; /* of the next token, modulo the slots; at least the slots once they
			      were full, below twice the slots */
	float user_scale;
};

/* A window, in whole groups of four values. */
static inline uint32_t ring_slots(const struct wr_bundle_model *s)
{
	return WR_ALIGN_UP(s->window, 4u);
}
/* New tokens that may be stored before the first of them attends: none overwrites what it sees. */
static inline uint32_t ring_at_once(const struct wr_bundle_model *s)
{
	return ring_slots(s) - s->window + 1;
}
/* Block b's part: panels, or item rows. */
static inline size_t ring_block_bytes(const struct wr_bundle_model *s, unsigned int b)
{
	if (b == 0 && heads_by_item(s))
		return WR_ALIGN_UP(ring_slots(s) * sizeof(uint32_t), (size_t)WR_CACHE_LINE);
	return s->n_kv_heads * wr_kv_panel_bytes(ring_slots(s), s->head_dim);
}
static inline int8_t *ring_user(void *ring)
{
	return (int8_t *)ring + WR_CACHE_LINE;
}
static inline size_t ring_panels_off(const struct wr_bundle_model *s)
{
	return WR_CACHE_LINE + WR_ALIGN_UP((size_t)s->d, (size_t)WR_CACHE_LINE);
}
/* Where block b's part begins; b = n_blocks: where the last one's ends. */
static inline size_t ring_block_off(const struct wr_bundle_model *s, unsigned int b)
{
	size_t before = b ? ring_block_bytes(s, 0) + (b - 1) * ring_block_bytes(s, 1) : 0;
	return ring_panels_off(s) + before;
}
static inline uint8_t *ring_block(const struct wr_bundle_model *s, void *ring, unsigned int b)
{
	return (uint8_t *)ring + ring_block_off(s, b);
}
/* The slots' item rows, where the first block has them. */
static inline uint32_t *ring_rows(const struct wr_bundle_model *s, void *ring)
{
	return (uint32_t *)(void *)ring_block(s, ring, 0);
}

/* Event time of slot j, unix ms; with time_buckets only, as the next. */
static inline int64_t *ring_times(const struct wr_bundle_model *s, void *ring)
{
	return (int64_t *)(void *)ring_block(s, ring, s->n_blocks);
}
static inline size_t ring_times_bytes(const struct wr_bundle_model *s)
{
	return WR_ALIGN_UP(ring_slots(s) * sizeof(int64_t), (size_t)WR_CACHE_LINE);
}
/* What the last token brought into the last block, f32 [d]. */
static inline float *ring_last_x(const struct wr_bundle_model *s, void *ring)
{
	return (float *)(void *)(ring_block(s, ring, s->n_blocks) + ring_times_bytes(s));
}

#endif
