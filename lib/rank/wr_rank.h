/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recall, score, arrange for a burst, on plain arrays: the whole catalogue exactly, fused with a
 * running top-K, seen items and exclusions removed, intents' targets lifted, final K in order.
 * Equal scores are ordered by item id. Built for 3 k … 64 k items and bursts of 1 … 64; the dot
 * products dominate. No score matrix is stored.
 */
#ifndef WR_RANK_H
#define WR_RANK_H

#include "wr_model.h"
#include "wr_prefetch.h"

#define WR_RANK_MAX_K 64

struct wr_rank_lift {
	uint32_t row;
	float weight; /* ≥ 0, added to the logit */
};
/* One request of the burst. */
struct wr_rank_query {
	const uint64_t
		*seen; /* bitmap by item row ((n_items + 63) / 64 words); NULL = nothing seen */
	const uint32_t *exclude;          /* item ids, any order, unknown ids ignored */
	const struct wr_rank_lift *lifts; /* rows may repeat: weights add up */
	uint16_t n_exclude, n_lifts;
	uint8_t k;    /* 1 … 64 */
	bool popular; /* no click known: rank by popularity, score = popularity share, lifts still
			 added */
};
struct wr_rank_item {
	uint32_t item; /* id */
	float score;
	uint16_t reason; /* enum wr_reason of lib/wire, by number: 1 model, 2 intent, 3 popular */
	uint16_t reserved;
};
/* One thread's scratch. max_queries ≤ 256. */
struct wr_ranker;
int wr_ranker_new(struct wr_ranker **r, const struct wr_model *m, const struct wr_bundle *b,
	unsigned int max_queries, const struct wr_allocator *alloc,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_ranker_free(struct wr_ranker *r);
size_t wr_ranker_bytes_needed(const struct wr_bundle_model *s, unsigned int max_queries);
/*
 * Fills items[i*WR_RANK_MAX_K …] with the answer of query i and n_items[i] with its length (k, or
 * fewer when the catalogue runs out). Items whose flag says "not recommendable" never appear.
 * users: vectors of the n queries, same order.
 */
void wr_ranker_rank(struct wr_ranker *r, unsigned int n, const struct wr_user_vectors *users,
	const struct wr_rank_query *queries, struct wr_rank_item *items, uint8_t *n_items);
/* The same; asks for what is left of `ahead` (may be NULL) on the way, over all of it. */
void wr_ranker_rank_ahead(struct wr_ranker *r, unsigned int n, const struct wr_user_vectors *users,
	const struct wr_rank_query *queries, struct wr_rank_item *items, uint8_t *n_items,
	struct wr_prefetch *ahead);

#endif
