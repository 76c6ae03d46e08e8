/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Score and arrange. The catalogue is swept in tiles of 128 items: a tile's scores for up to 32
 * users (16 KB) stay in L1, only those above a user's running threshold are looked at, and of these
 * only the allowed ones enter its list. Built for 3,416 items and bursts of 32; the products
 * dominate.
 *
 * Why the best K of (score + lift) are among the best K by score and the lifted items: lifts are ≥
 * 0 and float addition is monotone, so no final score is below its base score. Whoever comes before
 * an unlifted item i by base score still comes before it by final score, since i's own did not
 * change. If i is one of the final best K, fewer than K allowed items come before it by final
 * score, hence fewer than K by base score: i is one of the base best K.
 */
#include "wr_rank.h"

#include "wr_kernels.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TILE_ITEMS 128
#define TILE_USERS 32

enum { REASON_MODEL = 1, REASON_INTENT = 2, REASON_POPULAR = 3 };

struct entry {
	float score;
	uint32_t row;
};

/* One query's running answer: entries in order, best first. */
struct list {
	struct entry entry[WR_RANK_MAX_K];
	unsigned int n, k;
	float threshold;          /* a score must be above it to enter; -inf until k are there */
	uint64_t exclude_bits[4]; /* low byte of every excluded id: most items need no look at the
				     ids */
};

struct wr_ranker {
	const struct wr_kernels *kernels;
	const struct wr_gemm_weights *items;
	const int8_t *item_q;
	const float *item_scale;
	const uint8_t *flags;
	uint32_t n_items, d;
	unsigned int max_queries;
	struct wr_allocator alloc;

	float *popularity;       /* [n_items]: count / total */
	uint32_t *by_popularity; /* [n_items]: rows, most popular first, equal ones by row */
	float *lift;             /* [n_items]: 0 outside of one query's merge */
	uint64_t *lifted;        /* bitmap [n_items], likewise */
	struct list *list;       /* [max_queries] */
	float *tile;             /* [TILE_USERS][TILE_ITEMS] */
};

/* ---- memory ---- */

static void *carve(uint8_t *base, size_t *used, size_t bytes)
{
	void *p = base ? base + *used : NULL;
	*used += WR_ALIGN_UP(bytes, (size_t)WR_CACHE_LINE);
	return p;
}

static size_t layout(struct wr_ranker *r, uint8_t *base, size_t n_items, unsigned int max_queries)
{
	size_t used = 0;
	carve(base, &used, sizeof(*r));
	r->popularity = carve(base, &used, n_items * sizeof(*r->popularity));
	r->by_popularity = carve(base, &used, n_items * sizeof(*r->by_popularity));
	r->lift = carve(base, &used, n_items * sizeof(*r->lift));
	r->lifted = carve(base, &used, (n_items + 63) / 64 * sizeof(*r->lifted));
	r->list = carve(base, &used, max_queries * sizeof(*r->list));
	r->tile = carve(base, &used, (size_t)TILE_USERS * TILE_ITEMS * sizeof(*r->tile));
	return used;
}

size_t wr_ranker_bytes_needed(const struct wr_bundle_model *s, unsigned int max_queries)
{
	struct wr_ranker r;
	return layout(&r, NULL, s->n_items, max_queries);
}

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

struct popular {
	float share;
	uint32_t row;
};

static int compare_popular(const void *a, const void *b)
{
	const struct popular *x = a, *y = b;
	if (x->share != y->share)
		return x->share > y->share ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

static int fill_popularity(struct wr_ranker *r, const uint32_t *count)
{
	uint64_t total = 0;
	for (size_t i = 0; i < r->n_items; i++)
		total += count[i];
	struct popular *p = malloc(r->n_items * sizeof(*p));
	if (!p)
		return WR_ENOMEM;
	for (uint32_t i = 0; i < r->n_items; i++)
		p[i] = (struct popular){total ? (float)((double)count[i] / (double)total) : 0, i};
	qsort(p, r->n_items, sizeof(*p), compare_popular);
	for (size_t i = 0; i < r->n_items; i++) {
		r->by_popularity[i] = p[i].row;
		r->popularity[p[i].row] = p[i].share;
	}
	free(p);
	return WR_OK;
}

int wr_ranker_new(struct wr_ranker **out, const struct wr_model *m, const struct wr_bundle *b,
	unsigned int max_queries, const struct wr_allocator *alloc, struct wr_errmsg *msg)
{
	const struct wr_bundle_model *s = wr_model_shape(m);
	*out = NULL;
	if (max_queries == 0 || max_queries > 256)
		return wr_fail(
			msg, WR_EINVAL, "ranker: a burst of %u queries, not 1 … 256", max_queries);
	struct wr_allocator a = {.alloc = default_alloc, .free = default_free};
	if (alloc && alloc->alloc)
		a = *alloc;
	size_t bytes = wr_ranker_bytes_needed(s, max_queries);
	struct wr_ranker *r = a.alloc(a.ctx, bytes, WR_CACHE_LINE);
	if (!r)
		return wr_fail(msg, WR_ENOMEM,
			"ranker: no %zu bytes left; reserve more hugepages or use a smaller burst",
			bytes);
	*r = (struct wr_ranker){.kernels = wr_model_kernels(m),
		.items = wr_model_items(m),
		.item_q = wr_bundle_section(b, WR_SEC_ITEM_Q, NULL),
		.item_scale = wr_bundle_section(b, WR_SEC_ITEM_SCALE, NULL),
		.flags = wr_bundle_section(b, WR_SEC_ITEM_FLAGS, NULL),
		.n_items = s->n_items,
		.d = s->d,
		.max_queries = max_queries,
		.alloc = a};
	layout(r, (uint8_t *)r, s->n_items, max_queries);
	if (fill_popularity(r, wr_bundle_section(b, WR_SEC_POPULARITY, NULL))) {
		wr_ranker_free(r);
		return wr_fail(msg, WR_ENOMEM, "ranker: no memory to sort %u items", s->n_items);
	}
	*out = r;
	return WR_OK;
}

void wr_ranker_free(struct wr_ranker *r)
{
	if (r) {
		struct wr_allocator a = r->alloc;
		a.free(a.ctx, r);
	}
}

/* ---- one query's list ---- */

static void list_start(struct list *l, const struct wr_rank_query *q)
{
	assert(q->k >= 1 && q->k <= WR_RANK_MAX_K);
	*l = (struct list){.k = q->k, .threshold = -INFINITY};
	for (unsigned int i = 0; i < q->n_exclude; i++)
		l->exclude_bits[q->exclude[i] % 256 / 64] |= (uint64_t)1 << q->exclude[i] % 64;
}

static bool allowed(const struct wr_ranker *r, const struct list *l, const struct wr_rank_query *q,
	uint32_t row)
{
	if (!(r->flags[row] & 1) || (q->seen && (q->seen[row / 64] >> row % 64 & 1)))
		return false;
	uint32_t id = row + 1;
	if (!(l->exclude_bits[id % 256 / 64] >> id % 64 & 1))
		return true;
	for (unsigned int i = 0; i < q->n_exclude; i++)
		if (q->exclude[i] == id)
			return false;
	return true;
}

/* Whether a comes before b in an answer: higher score, then smaller row. */
static bool before(struct entry a, struct entry b)
{
	return a.score > b.score || (a.score == b.score && a.row < b.row);
}

/* Puts e where it belongs; the last one falls out of a full list. */
static void list_insert(struct list *l, struct entry e)
{
	if (l->n == l->k && !before(e, l->entry[l->n - 1]))
		return;
	unsigned int i = l->n < l->k ? l->n++ : l->n - 1;
	for (; i > 0 && before(e, l->entry[i - 1]); i--)
		l->entry[i] = l->entry[i - 1];
	l->entry[i] = e;
	if (l->n == l->k)
		l->threshold = l->entry[l->n - 1].score;
}

/* ---- the whole catalogue ---- */

/*
 * n scores of rows first … first+n-1. Rows rise along the sweep, so a score equal to the threshold
 * loses to the smaller row that set it.
 */
static void sweep_user(struct wr_ranker *r, struct list *l, const struct wr_rank_query *q,
	const float *score, uint32_t first, size_t n)
{
	uint16_t index[TILE_ITEMS];
	size_t found = r->kernels->topk_above(score, n, l->threshold, index);
	for (size_t i = 0; i < found; i++) {
		struct entry e = {score[index[i]], first + index[i]};
		if (e.score > l->threshold && allowed(r, l, q, e.row))
			list_insert(l, e);
	}
}

/* The first tile in small steps, so that the threshold rises before most of its scores are looked
 * at. */
static void sweep_first_tile(struct wr_ranker *r, struct list *l, const struct wr_rank_query *q,
	const float *score, size_t n)
{
	for (size_t i = 0; i < n; i += 16)
		sweep_user(r, l, q, score + i, (uint32_t)i, WR_MIN(n - i, (size_t)16));
}

/* Queries first … first+n-1, n ≤ TILE_USERS; popular ones among them are left alone. */
static void sweep(struct wr_ranker *r, unsigned int first, unsigned int n,
	const struct wr_user_vectors *users, const struct wr_rank_query *queries)
{
	for (uint32_t row = 0; row < r->n_items; row += TILE_ITEMS) {
		uint32_t padded = WR_MIN((uint32_t)TILE_ITEMS, r->items->n - row);
		struct wr_gemm_weights w = wr_gemm_slice(r->items, row, padded);
		r->kernels->gemm_s8(&w, n, users->q + (size_t)first * r->d, r->d,
			users->scale + first, r->tile, TILE_ITEMS, false);
		size_t n_scores = WR_MIN(padded, r->n_items - row);
		for (unsigned int i = 0; i < n; i++) {
			struct list *l = &r->list[first + i];
			const struct wr_rank_query *q = &queries[first + i];
			const float *score = r->tile + (size_t)i * TILE_ITEMS;
			if (q->popular)
				continue;
			if (row == 0)
				sweep_first_tile(r, l, q, score, n_scores);
			else
				sweep_user(r, l, q, score, row, n_scores);
		}
	}
}

static void walk_popular(struct wr_ranker *r, struct list *l, const struct wr_rank_query *q)
{
	for (size_t i = 0; i < r->n_items && l->n < l->k; i++) {
		uint32_t row = r->by_popularity[i];
		if (allowed(r, l, q, row))
			list_insert(l, (struct entry){r->popularity[row], row});
	}
}

/* ---- lifts ---- */

static float base_score(const struct wr_ranker *r, const struct wr_rank_query *q,
	const struct wr_user_vectors *users, unsigned int query, uint32_t row)
{
	if (q->popular)
		return r->popularity[row];
	int32_t dot = r->kernels->dot_s8(
		users->q + (size_t)query * r->d, r->item_q + (size_t)row * r->d, r->d);
	return ((float)dot * r->item_scale[row]) * users->scale[query];
}

/* Weights of equal rows add up in the order given. */
static void lift_gather(struct wr_ranker *r, const struct wr_rank_query *q)
{
	for (unsigned int i = 0; i < q->n_lifts; i++) {
		uint32_t row = q->lifts[i].row;
		if (row < r->n_items) {
			r->lift[row] += q->lifts[i].weight;
			r->lifted[row / 64] |= (uint64_t)1 << row % 64;
		}
	}
}

/* Replaces the list by the best of itself and the lifted items, all with their final scores. */
static void lift_merge(struct wr_ranker *r, struct list *l, const struct wr_rank_query *q,
	const struct wr_user_vectors *users, unsigned int query)
{
	struct list base = *l;
	l->n = 0;
	for (unsigned int i = 0; i < base.n; i++) {
		uint32_t row = base.entry[i].row;
		if (!(r->lifted[row / 64] >> row % 64 & 1))
			list_insert(l, base.entry[i]);
	}
	for (unsigned int i = 0; i < q->n_lifts; i++) {
		uint32_t row = q->lifts[i].row;
		uint64_t bit = (uint64_t)1 << row % 64;
		if (row >= r->n_items || !(r->lifted[row / 64] & bit))
			continue;
		r->lifted[row / 64] &= ~bit;
		if (allowed(r, l, q, row))
			list_insert(l,
				(struct entry){
					base_score(r, q, users, query, row) + r->lift[row], row});
	}
}

static void lift_clear(struct wr_ranker *r, const struct wr_rank_query *q)
{
	for (unsigned int i = 0; i < q->n_lifts; i++)
		if (q->lifts[i].row < r->n_items)
			r->lift[q->lifts[i].row] = 0;
}

/* ---- the burst ---- */

static uint16_t reason(const struct wr_ranker *r, const struct wr_rank_query *q, uint32_t row)
{
	if (q->n_lifts && r->lift[row] > 0)
		return REASON_INTENT;
	return q->popular ? REASON_POPULAR : REASON_MODEL;
}

static void answer(struct wr_ranker *r, struct list *l, const struct wr_rank_query *q,
	const struct wr_user_vectors *users, unsigned int query, struct wr_rank_item *items)
{
	if (q->n_lifts) {
		lift_gather(r, q);
		lift_merge(r, l, q, users, query);
	}
	for (unsigned int i = 0; i < l->n; i++)
		items[i] = (struct wr_rank_item){.item = l->entry[i].row + 1,
			.score = l->entry[i].score,
			.reason = reason(r, q, l->entry[i].row)};
	lift_clear(r, q);
}

void wr_ranker_rank(struct wr_ranker *r, unsigned int n, const struct wr_user_vectors *users,
	const struct wr_rank_query *queries, struct wr_rank_item *items, uint8_t *n_items)
{
	assert(n <= r->max_queries);
	unsigned int n_popular = 0;
	for (unsigned int i = 0; i < n; i++) {
		list_start(&r->list[i], &queries[i]);
		n_popular += queries[i].popular;
		if (queries[i].popular)
			walk_popular(r, &r->list[i], &queries[i]);
	}
	for (unsigned int i = 0; i < n && n_popular < n; i += TILE_USERS)
		sweep(r, i, WR_MIN(n - i, (unsigned int)TILE_USERS), users, queries);
	for (unsigned int i = 0; i < n; i++) {
		answer(r, &r->list[i], &queries[i], users, i, items + (size_t)i * WR_RANK_MAX_K);
		n_items[i] = (uint8_t)r->list[i].n;
	}
}
