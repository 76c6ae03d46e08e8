/* SPDX-License-Identifier: BSD-3-Clause */
/* User → row: buckets of one cache line, and the rows that are free. */
#include "table_int.h"

#include <rte_malloc.h>

#include <immintrin.h>
#include <string.h>

static_assert(sizeof(struct bucket) == WR_CACHE_LINE, "a bucket is one line");
static_assert(offsetof(struct bucket, tag) == 0, "tags are loaded as two vectors");

uint32_t wr_index_buckets(uint32_t rows)
{
	return rows / WR_INDEX_MEAN + 1;
}

/* Bit k: tag k is this one. The second vector reads into the rows: its bits are cut off. */
static uint32_t matches(const struct bucket *b, uint16_t tag)
{
	const __m128i want = _mm_set1_epi16((short)tag);
	__m128i low = _mm_cmpeq_epi16(_mm_load_si128((const __m128i *)b), want),
		high = _mm_cmpeq_epi16(_mm_load_si128((const __m128i *)b + 1), want);
	uint32_t bits = (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(low, high));
	return bits & ((1u << WR_INDEX_SLOTS) - 1);
}

static const struct bucket *next_bucket(const struct table_index *x, const struct bucket *b)
{
	return b + 1 == x->buckets + x->n_buckets ? x->buckets : b + 1;
}

uint32_t wr_index_first(const struct table_index *x, uint64_t hash)
{
	const struct bucket *b = wr_index_home(x, hash);
	uint32_t bits = matches(b, wr_index_tag(hash));
	return bits ? b->row[__builtin_ctz(bits)] : WR_TABLE_NONE;
}

uint32_t wr_index_find(const struct wr_table *t, uint64_t user, uint64_t hash)
{
	const struct table_index *x = &t->index;
	uint16_t tag = wr_index_tag(hash);

	for (const struct bucket *b = wr_index_home(x, hash);; b = next_bucket(x, b)) {
		for (uint32_t bits = matches(b, tag); bits; bits &= bits - 1) {
			uint32_t row = b->row[__builtin_ctz(bits)];
			if (table_row(t, row)->user == user)
				return row;
		}
		if (b->n_beyond == 0)
			return WR_TABLE_NONE;
	}
}

uint32_t wr_index_add(struct wr_table *t, uint64_t hash)
{
	struct table_index *x = &t->index;

	if (x->n_free == 0)
		return WR_TABLE_NONE;
	struct bucket *b = wr_index_home(x, hash);
	uint32_t bits;
	/* There are twice as many slots as rows: one is free. */
	while ((bits = matches(b, 0)) == 0) {
		b->n_beyond++;
		b = (struct bucket *)(uintptr_t)next_bucket(x, b);
	}
	unsigned int k = (unsigned int)__builtin_ctz(bits);
	b->tag[k] = wr_index_tag(hash);
	return b->row[k] = x->free[--x->n_free];
}

void wr_index_remove(struct wr_table *t, uint64_t hash, uint32_t row)
{
	struct table_index *x = &t->index;
	uint16_t tag = wr_index_tag(hash);

	for (struct bucket *b = wr_index_home(x, hash);;
		b = (struct bucket *)(uintptr_t)next_bucket(x, b)) {
		for (uint32_t bits = matches(b, tag); bits; bits &= bits - 1) {
			unsigned int k = (unsigned int)__builtin_ctz(bits);
			if (b->row[k] != row)
				continue;
			b->tag[k] = 0;
			x->free[x->n_free++] = row;
			return;
		}
		assert(b->n_beyond); /* the row stands in the index */
		b->n_beyond--;
	}
}

int wr_index_new(struct wr_table *t, uint32_t rows, int socket_id)
{
	struct table_index *x = &t->index;

	x->n_buckets = wr_index_buckets(rows);
	x->buckets = rte_zmalloc_socket(
		"wr_index", x->n_buckets * sizeof(*x->buckets), WR_CACHE_LINE, socket_id);
	x->free = rte_malloc_socket("wr_free", rows * sizeof(*x->free), WR_CACHE_LINE, socket_id);
	if (!x->buckets || !x->free)
		return WR_ENOMEM;
	/* Fresh memory is zero, but on ordinary pages not there yet. */
	memset(x->buckets, 0, x->n_buckets * sizeof(*x->buckets));
	wr_wire_random(&x->seed, sizeof(x->seed));
	for (uint32_t i = 0; i < rows; i++)
		x->free[i] = rows - 1 - i;
	x->n_free = rows;
	return 0;
}

void wr_index_free(struct wr_table *t)
{
	rte_free(t->index.buckets);
	rte_free(t->index.free);
}
