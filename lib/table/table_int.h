/* SPDX-License-Identifier: BSD-3-Clause */
/* The table's own fields; internal to lib/table. */
#ifndef WR_TABLE_INT_H
#define WR_TABLE_INT_H

#include "wr_table.h"

/*
 * The index. A key is its row's header: a bucket holds 16 bits of a user's hash and the row, so
 * that a look-up is one line of the index and the header, which it wants anyhow. A bucket that is
 * full passes what it should hold to the next one and counts it (F14's way, Bronson and Shi 2019):
 * a search ends where nothing was passed on, and nothing is left behind when a user goes. At most
 * WR_INDEX_MEAN users a bucket on average: one in seventy is full then.
 */
#define WR_INDEX_SLOTS 10
#define WR_INDEX_MEAN  5
struct bucket {
	uint16_t tag[WR_INDEX_SLOTS]; /* 0 = free */
	uint32_t row[WR_INDEX_SLOTS];
	uint32_t n_beyond; /* users that passed by here, full as it was */
} __attribute__((aligned(WR_CACHE_LINE)));
struct table_index {
	struct bucket *buckets;
	uint32_t n_buckets, n_free;
	uint32_t *free; /* rows */
	uint64_t seed;  /* users come from outside: nobody can aim at one bucket */
};

struct wr_table {
	struct wr_table_shape shape;
	struct wr_table_layout layout;
	struct table_index index;
	uint8_t *rows, *rings; /* one piece of memory */
	uint32_t n_rows, hand;
	uint8_t burst; /* stamp of the running burst; wraps: an old row may be spared once */
	/* The rows that the burst has found; stamped when the first one of it has to be evicted, so
	 * that a look-up need not write to a row. */
	uint32_t found[WR_TABLE_MAX_BURST];
	unsigned int n_found;
	_Atomic uint32_t n_live;      /* writer: the owner; readers: control */
	_Atomic uint64_t n_evicted;   /* the same */
	struct wr_session_token *old; /* scratch of wr_session_history: history_events */
};

static inline struct wr_session *table_row(const struct wr_table *t, uint32_t row)
{
	return (struct wr_session *)(t->rows + (size_t)row * t->layout.row_bytes);
}
static inline struct wr_session_token *row_tokens(
	const struct wr_table *t, const struct wr_session *s)
{
	return (struct wr_session_token *)((uintptr_t)s + t->layout.tokens_off);
}
static inline uint64_t *row_seen(const struct wr_table *t, const struct wr_session *s)
{
	return (uint64_t *)((uintptr_t)s + t->layout.seen_off);
}

static inline uint64_t wr_index_hash(const struct table_index *x, uint64_t user)
{
	return wr_mix64(user ^ x->seed);
}
static inline uint16_t wr_index_tag(uint64_t hash)
{
	uint16_t tag = (uint16_t)hash;
	return tag ? tag : 1;
}
static inline struct bucket *wr_index_home(const struct table_index *x, uint64_t hash)
{
	return x->buckets + ((hash >> 32) * x->n_buckets >> 32);
}

/* ---- index.c ---- */
uint32_t wr_index_buckets(uint32_t rows);
/* Of memory from socket_id; WR_ENOMEM leaves what wr_index_free frees. */
int wr_index_new(struct wr_table *t, uint32_t rows, int socket_id) WR_MUST_CHECK;
void wr_index_free(struct wr_table *t);
/* The row that the home bucket alone suggests: in 8 of 10,000 cases it is another user's. */
uint32_t wr_index_first(const struct table_index *x, uint64_t hash);
/* The user's row, or WR_TABLE_NONE. */
uint32_t wr_index_find(const struct wr_table *t, uint64_t user, uint64_t hash);
/* A free row for a user who has none, WR_TABLE_NONE when all are taken. */
uint32_t wr_index_add(struct wr_table *t, uint64_t hash);
/* The user of this row goes. */
void wr_index_remove(struct wr_table *t, uint64_t hash, uint32_t row);

#endif
