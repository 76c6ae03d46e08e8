/* SPDX-License-Identifier: BSD-3-Clause */
/* The table's own fields; internal to lib/table. */
#ifndef WR_TABLE_INT_H
#define WR_TABLE_INT_H

#include "wr_table.h"

struct rte_hash;

struct wr_table {
	struct wr_table_shape shape;
	struct wr_table_layout layout;
	struct rte_hash *hash;
	uint8_t *rows;
	uint32_t n_rows, hand;
	uint8_t burst; /* stamp of the running burst; wraps: an old row may be spared once */
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

#endif
