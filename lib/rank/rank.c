/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Score and arrange. The catalogue is swept in tiles of 64 items for the whole burst; of every
 * group of four items (more in large catalogues) only the best allowed value stays. The K-th best
 * group bounds the K-th best item from below, so the items of the few groups above it, computed
 * once more, hold the answer. Built for 3,416 items and bursts of 32; the products dominate.
 *
 * Why the groups' values may be compared without the user's factor: score = v · scale with scale >
 * 0 rounds monotonically, so that only equal scores can hide behind unequal values, and the bound
 * is lowered by more than a rounding for them. Where a product could leave the normal numbers (see
 * in_order) every allowed item is computed instead.
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

#define TILE         WR_SCORE_TILE
#define MAX_VECTORS  64 /* of 16 groups each, a user: 4 KB */
#define ROWS_AT_ONCE 256
#define PICK_USERS   8
#define PICK_STEPS   3 /* of prefetching, a user */
/* Factors from here on cannot make a product of a nonzero value subnormal. */
#define LEAST_FACTOR 0x1p-50f

static_assert(WR_TOPK_ORDER_MAX <= WR_RANK_MAX_K, "list_fill stores them all into a list");

enum { REASON_MODEL = 1, REASON_INTENT = 2, REASON_POPULAR = 3 };

struct entry {
	float score;
	uint32_t row;
};

/* One query's running answer: entries in order, best first. */
struct list {
	struct entry entry[WR_RANK_MAX_K];
	unsigned int n, k;
};

struct wr_ranker {
	const struct wr_kernels *kernels;
	const struct wr_gemm_weights *items;
	const int8_t *item_q;
	const float *item_scale;
	uint32_t n_items, d;
	uint32_t words;            /* of a bitmap by row; also the tiles of the catalogue */
	uint32_t tiles_per_vector; /* a group: 4 · this many items, 16 rows apart */
	uint32_t n_vectors;
	bool in_order; /* item scales are 0 or at least LEAST_FACTOR */
	unsigned int max_queries;
	struct wr_allocator alloc;

	float *popularity;       /* [n_items]: count / total */
	uint32_t *by_popularity; /* [n_items]: rows, most popular first, equal ones by row */
	float *lift;             /* [n_items]: 0 outside of one query's merge */
	uint64_t *lifted;        /* bitmap [n_items], likewise */
	struct list *list;       /* [max_queries] */
	uint64_t *recommendable; /* bitmap [n_items] */
	uint64_t *allowed;       /* [max_queries][words]: recommendable, not seen, not excluded */
	uint8_t *users;          /* [max_queries][WR_SCORE_USER_BYTES(d)]: for score_best */
	float *best;             /* [max_queries][n_vectors][16]: of every group */
};

/* ---- memory ---- */

static void *carve(uint8_t *base, size_t *used, size_t bytes)
{
	void *p = base ? base + *used : NULL;
	*used += WR_ALIGN_UP(bytes, (size_t)WR_CACHE_LINE);
	return p;
}

static size_t layout(
	struct wr_ranker *r, uint8_t *base, size_t n_items, size_t d, unsigned int max_queries)
{
	size_t used = 0;
	r->words = (uint32_t)((n_items + 63) / 64);
	r->tiles_per_vector = (r->words + MAX_VECTORS - 1) / MAX_VECTORS;
	r->n_vectors = (r->words + r->tiles_per_vector - 1) / r->tiles_per_vector;
	carve(base, &used, sizeof(*r));
	r->popularity = carve(base, &used, n_items * sizeof(*r->popularity));
	r->by_popularity = carve(base, &used, n_items * sizeof(*r->by_popularity));
	r->lift = carve(base, &used, n_items * sizeof(*r->lift));
	r->lifted = carve(base, &used, r->words * sizeof(*r->lifted));
	r->list = carve(base, &used, max_queries * sizeof(*r->list));
	r->recommendable = carve(base, &used, r->words * sizeof(*r->recommendable));
	r->allowed = carve(base, &used, (size_t)max_queries * r->words * sizeof(*r->allowed));
	r->users = carve(base, &used, max_queries * WR_SCORE_USER_BYTES(d));
	r->best = carve(base, &used,
		(size_t)max_queries * r->n_vectors * WR_SCORE_LANES * sizeof(*r->best));
	return used;
}

size_t wr_ranker_bytes_needed(const struct wr_bundle_model *s, unsigned int max_queries)
{
	struct wr_ranker r;
	return layout(&r, NULL, s->n_items, s->d, max_queries);
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

static void fill_items(struct wr_ranker *r, const uint8_t *flags)
{
	r->in_order = true;
	for (size_t i = 0; i < r->n_items; i++) {
		if (flags[i] & 1)
			r->recommendable[i / 64] |= (uint64_t)1 << i % 64;
		if (r->item_scale[i] != 0 && !(r->item_scale[i] >= LEAST_FACTOR))
			r->in_order = false;
	}
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
		.item_q = wr_model_item_rows(m),
		.item_scale = wr_model_items(m)->scale,
		.n_items = s->n_items,
		.d = s->d,
		.max_queries = max_queries,
		.alloc = a};
	layout(r, (uint8_t *)r, s->n_items, s->d, max_queries);
	fill_items(r, wr_bundle_section(b, WR_SEC_ITEM_FLAGS, NULL));
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
	l->n = 0;
	l->k = q->k;
}

/* Query i's bitmap. */
static uint64_t *allowed_of(const struct wr_ranker *r, unsigned int i)
{
	return r->allowed + (size_t)i * r->words;
}

static bool has_bit(const uint64_t *bits, uint32_t row)
{
	return bits[row / 64] >> row % 64 & 1;
}

static void allow(struct wr_ranker *r, unsigned int i, const struct wr_rank_query *q)
{
	uint64_t *to = allowed_of(r, i);
	if (q->seen)
		for (uint32_t w = 0; w < r->words; w++)
			to[w] = r->recommendable[w] & ~q->seen[w];
	else
		memcpy(to, r->recommendable, r->words * sizeof(*to));
	for (unsigned int e = 0; e < q->n_exclude; e++) {
		uint32_t row = q->exclude[e] - 1;
		if (row < r->n_items)
			to[row / 64] &= ~((uint64_t)1 << row % 64);
	}
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
}

/* ---- the whole catalogue ---- */

/* The groups' best values of all tiles for n users. */
static void sweep(struct wr_ranker *r, unsigned int n, const struct wr_user_vectors *users,
	struct wr_prefetch *ahead)
{
	/* What is left is for pick. */
	wr_prefetch_pace(ahead, r->words * WR_SCORE_STEPS(n) * 100 / r->kernels->sweep_percent);
	r->kernels->score_users(n, r->d, users->q, r->d, r->users);
	struct wr_score score = {.items = r->items,
		.m = n,
		.users = r->users,
		.allowed = r->allowed,
		.ld_allowed = r->words,
		.tiles_per_vector = r->tiles_per_vector,
		.best = r->best,
		.ld_best = (size_t)r->n_vectors * WR_SCORE_LANES};
	r->kernels->score_best(&score, ahead);
}

/* Rows whose value may be the answer's, on their way into a list. */
struct candidates {
	float above; /* values must be larger than this */
	unsigned int n;
	uint32_t row[ROWS_AT_ONCE];
};

/* n entries into an empty list; every store goes somewhere, places behind the last one are lost. */
static void list_fill(const struct wr_ranker *r, struct list *l, const float *score,
	const uint32_t *row, unsigned int n)
{
	uint8_t place[WR_TOPK_ORDER_MAX];
	r->kernels->topk_order(score, row, n, place);
	for (unsigned int i = 0; i < n; i++)
		l->entry[place[i]] = (struct entry){score[i], row[i]};
	l->n = WR_MIN(n, l->k);
}

/* The candidates that pass, without a branch that depends on one while they are few. */
static void take_candidates(const struct wr_ranker *r, struct list *l,
	const struct wr_user_vectors *users, unsigned int query, struct candidates *c)
{
	float value[ROWS_AT_ONCE + 4], score[ROWS_AT_ONCE + 16];
	uint32_t row[ROWS_AT_ONCE + 16];
	uint16_t index[ROWS_AT_ONCE + 20];
	r->kernels->score_rows(users->q + (size_t)query * r->d, r->item_q, r->item_scale, r->d,
		c->row, c->n, value);
	unsigned int n = (unsigned int)r->kernels->topk_above(value, c->n, c->above, index);
	for (unsigned int i = 0; i < n; i++) {
		row[i] = c->row[index[i]];
		score[i] = value[index[i]] * users->scale[query];
	}
	if (l->n == 0 && n <= WR_TOPK_ORDER_MAX)
		list_fill(r, l, score, row, n);
	else
		for (unsigned int i = 0; i < n; i++)
			list_insert(l, (struct entry){score[i], row[i]});
	c->n = 0;
}

/* What the K-th best group says of the K-th best item. */
static float bound_of(const struct wr_ranker *r, unsigned int i, float scale)
{
	if (!r->in_order || !(scale >= LEAST_FACTOR))
		return -INFINITY;
	float bound = r->kernels->score_bound(
		r->best + (size_t)i * r->n_vectors * WR_SCORE_LANES, r->n_vectors, r->list[i].k);
	return bound - (fabsf(bound) * 0x1p-20f + 1e-30f);
}

/* Their vectors, which are wanted when the other queries' candidates are known as well. */
static void ask_items(const struct wr_ranker *r, const struct candidates *c)
{
	for (unsigned int i = 0; i < c->n; i++)
		__builtin_prefetch(r->item_q + (size_t)c->row[i] * r->d);
}

/* Query i's candidates: the allowed items of the groups above its bound. Where they are more than
 * the room, all but the last ones are taken into the list at once. */
static void gather(struct wr_ranker *r, unsigned int i, const struct wr_user_vectors *users,
	struct candidates *c)
{
	const struct wr_topk_groups of = {allowed_of(r, i), r->words, r->tiles_per_vector};
	size_t groups = (size_t)r->n_vectors * WR_SCORE_LANES;
	uint16_t index[MAX_VECTORS * WR_SCORE_LANES + 16];
	size_t n = r->kernels->topk_above(r->best + i * groups, groups, c->above, index);
	c->n = 0;
	for (size_t t = 0; t < r->tiles_per_vector; t++) {
		for (size_t g = 0, now; g < n; g += now) {
			if (c->n + 4 > ROWS_AT_ONCE)
				take_candidates(r, &r->list[i], users, i, c);
			now = WR_MIN(n - g, (ROWS_AT_ONCE - c->n) / 4u);
			c->n += (unsigned int)r->kernels->topk_items(
				&of, t, index + g, now, c->row + c->n);
		}
	}
	ask_items(r, c);
}

/* The lists of queries first … first+n-1, n ≤ PICK_USERS, step by step for all of them: what one
 * waits for passes while another is worked on. What is still ahead comes near meanwhile. */
static void pick(struct wr_ranker *r, unsigned int first, unsigned int n,
	const struct wr_user_vectors *users, const struct wr_rank_query *queries,
	struct wr_prefetch *ahead)
{
	struct candidates c[PICK_USERS];
	for (unsigned int i = 0; i < n; i++) {
		if (!queries[first + i].popular)
			c[i].above = bound_of(r, first + i, users->scale[first + i]);
		wr_prefetch_step(ahead);
	}
	for (unsigned int i = 0; i < n; i++) {
		if (!queries[first + i].popular)
			gather(r, first + i, users, &c[i]);
		wr_prefetch_step(ahead);
	}
	for (unsigned int i = 0; i < n; i++) {
		if (!queries[first + i].popular)
			take_candidates(r, &r->list[first + i], users, first + i, &c[i]);
		wr_prefetch_step(ahead);
	}
}

static void walk_popular(struct wr_ranker *r, struct list *l, const uint64_t *allowed)
{
	for (size_t i = 0; i < r->n_items && l->n < l->k; i++) {
		uint32_t row = r->by_popularity[i];
		if (has_bit(allowed, row))
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
		if (!has_bit(r->lifted, row))
			list_insert(l, base.entry[i]);
	}
	for (unsigned int i = 0; i < q->n_lifts; i++) {
		uint32_t row = q->lifts[i].row;
		uint64_t bit = (uint64_t)1 << row % 64;
		if (row >= r->n_items || !(r->lifted[row / 64] & bit))
			continue;
		r->lifted[row / 64] &= ~bit;
		if (has_bit(allowed_of(r, query), row))
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
	wr_ranker_rank_ahead(r, n, users, queries, items, n_items, NULL);
}

void wr_ranker_rank_ahead(struct wr_ranker *r, unsigned int n, const struct wr_user_vectors *users,
	const struct wr_rank_query *queries, struct wr_rank_item *items, uint8_t *n_items,
	struct wr_prefetch *ahead)
{
	assert(n <= r->max_queries);
	unsigned int n_popular = 0;
	for (unsigned int i = 0; i < n; i++) {
		list_start(&r->list[i], &queries[i]);
		allow(r, i, &queries[i]);
		n_popular += queries[i].popular;
		if (queries[i].popular)
			walk_popular(r, &r->list[i], allowed_of(r, i));
	}
	if (n_popular < n)
		sweep(r, n, users, ahead);
	wr_prefetch_pace(ahead, PICK_STEPS * n);
	for (unsigned int i = 0; i < n && n_popular < n; i += PICK_USERS)
		pick(r, i, WR_MIN(n - i, (unsigned int)PICK_USERS), users, queries, ahead);
	for (unsigned int i = 0; i < n; i++) {
		answer(r, &r->list[i], &queries[i], users, i, items + (size_t)i * WR_RANK_MAX_K);
		n_items[i] = (uint8_t)r->list[i].n;
	}
}
