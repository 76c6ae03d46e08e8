/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows: layout, look-up of a burst, creation, eviction by CLOCK. */
#include "table_int.h"

#include <rte_malloc.h>
#include <rte_prefetch.h>

#include <stdatomic.h>
#include <string.h>

/* Tokens of a new session that are asked for ahead: a history of usual length. */
#define NEW_TOKENS 64u

void wr_table_layout(const struct wr_table_shape *s, struct wr_table_layout *out)
{
	out->tokens_off = sizeof(struct wr_session);
	out->seen_off = WR_ALIGN_UP(
		out->tokens_off + s->history_events * (uint32_t)sizeof(struct wr_session_token),
		(uint32_t)WR_CACHE_LINE);
	out->seen_words = (s->n_items + 63) / 64;
	out->row_bytes = WR_ALIGN_UP(out->seen_off + out->seen_words * 8, (uint32_t)WR_CACHE_LINE);
	out->ring_bytes = WR_ALIGN_UP(s->ring_bytes, (uint32_t)WR_CACHE_LINE);
}

uint64_t wr_table_bytes_needed(const struct wr_table_shape *s, uint32_t rows)
{
	struct wr_table_layout l;
	wr_table_layout(s, &l);
	return (uint64_t)rows * (l.row_bytes + l.ring_bytes + sizeof(uint32_t)) +
	       (uint64_t)wr_index_buckets(rows) * sizeof(struct bucket) + (1u << 16);
}

static int check_shape(const struct wr_table_shape *s, uint32_t rows, struct wr_errmsg *msg)
{
	if (rows < WR_TABLE_MIN_ROWS || rows > (1u << 30))
		return wr_fail(msg, WR_EINVAL, "sessions.rows_per_lcore = %u: from %d to 2^30",
			rows, WR_TABLE_MIN_ROWS);
	if (s->history_events == 0 || s->history_events > UINT16_MAX || s->n_items == 0)
		return wr_fail(msg, WR_EINVAL,
			"a session of %u events over %u items cannot be laid out",
			s->history_events, s->n_items);
	return 0;
}

int wr_table_new(struct wr_table **out, const struct wr_table_shape *s, uint32_t rows,
	int socket_id, struct wr_errmsg *msg)
{
	*out = NULL;
	int err = check_shape(s, rows, msg);
	if (err)
		return err;
	struct wr_table *t = rte_zmalloc_socket("wr_table", sizeof(*t), WR_CACHE_LINE, socket_id);
	if (!t)
		return wr_fail(
			msg, WR_ENOMEM, "session table: out of memory on socket %d", socket_id);
	t->shape = *s;
	wr_table_layout(s, &t->layout);
	t->n_rows = rows;
	err = wr_index_new(t, rows, socket_id);
	size_t session = t->layout.row_bytes + t->layout.ring_bytes;
	t->rows = rte_zmalloc_socket("wr_rows", rows * session, WR_CACHE_LINE, socket_id);
	t->old = rte_zmalloc_socket(
		"wr_old", s->history_events * sizeof(*t->old), WR_CACHE_LINE, socket_id);
	if (err || !t->rows || !t->old) {
		wr_table_free(t);
		return wr_fail(msg, WR_ENOMEM,
			"session table of %u rows × %zu bytes does not fit on socket %d; lower "
			"sessions.rows_per_lcore or give "
			"more hugepages",
			rows, session, socket_id);
	}
	t->rings = t->rows + (size_t)rows * t->layout.row_bytes;
	*out = t;
	return 0;
}

void wr_table_free(struct wr_table *t)
{
	if (!t)
		return;
	wr_index_free(t);
	rte_free(t->rows);
	rte_free(t->old);
	rte_free(t);
}

uint32_t wr_table_rows(const struct wr_table *t)
{
	return t->n_rows;
}

uint32_t wr_table_sessions(const struct wr_table *t)
{
	return atomic_load_explicit(&t->n_live, memory_order_relaxed);
}

uint64_t wr_table_evicted(const struct wr_table *t)
{
	return atomic_load_explicit(&t->n_evicted, memory_order_relaxed);
}

static void add_live(struct wr_table *t, int by)
{
	uint32_t n = atomic_load_explicit(&t->n_live, memory_order_relaxed);
	atomic_store_explicit(&t->n_live, n + (uint32_t)by, memory_order_relaxed);
}

/* Marks a session whose header has arrived as used, and asks for what a request touches of the
 * rest: its newest token and the place behind it, of the filter all or one item's line. */
static void look_at(
	const struct wr_table *t, struct wr_session *s, const struct wr_table_want *want)
{
	unsigned int cap = t->shape.history_events, next = s->head + s->n_events;
	next = next >= cap ? next - cap : next;
	unsigned int newest = next ? next - 1 : cap - 1;
	const uint8_t *seen = (const uint8_t *)row_seen(t, s);

	if (!s->used)
		s->used = 1;
	if (want->tokens) {
		rte_prefetch0(row_tokens(t, s) + newest);
		rte_prefetch0(row_tokens(t, s) + next);
	}
	if (want->filter) {
		for (uint32_t off = 0; off < t->layout.seen_words * 8; off += WR_CACHE_LINE)
			rte_prefetch0(seen + off);
	} else if (want->item - 1 < t->shape.n_items) {
		rte_prefetch0(seen + (want->item - 1) / 8);
	}
}

void wr_table_expect(const struct wr_table *t, unsigned int n, const uint64_t *users)
{
	for (unsigned int i = 0; i < n; i++)
		rte_prefetch0(wr_index_home(&t->index, wr_index_hash(&t->index, users[i])));
}

void wr_table_expect_rows(
	const struct wr_table *t, unsigned int n, const uint64_t *users, uint32_t *rows)
{
	for (unsigned int i = 0; i < n; i++) {
		uint32_t row = wr_index_first(&t->index, wr_index_hash(&t->index, users[i]));
		if (row != WR_TABLE_NONE)
			rte_prefetch0(table_row(t, row));
		if (rows)
			rows[i] = row;
	}
}

void wr_table_locate(struct wr_table *t, unsigned int n, const uint64_t *users,
	const struct wr_table_want *want, uint32_t *rows)
{
	uint64_t hash[WR_TABLE_MAX_BURST];

	assert(n <= WR_TABLE_MAX_BURST);
	t->burst++;
	t->n_found = 0;
	for (unsigned int i = 0; i < n; i++) {
		hash[i] = wr_index_hash(&t->index, users[i]);
		rte_prefetch0(wr_index_home(&t->index, hash[i]));
	}
	for (unsigned int i = 0; i < n; i++) {
		rows[i] = wr_index_first(&t->index, hash[i]);
		if (rows[i] != WR_TABLE_NONE)
			rte_prefetch0(table_row(t, rows[i]));
	}
	for (unsigned int i = 0; i < n; i++) {
		if (rows[i] == WR_TABLE_NONE || table_row(t, rows[i])->user != users[i])
			rows[i] = wr_index_find(t, users[i], hash[i]);
		if (rows[i] == WR_TABLE_NONE)
			continue;
		look_at(t, table_row(t, rows[i]), &want[i]);
		t->found[t->n_found++] = rows[i];
	}
}

/* What makes a row empty: header and filter. Its tokens and its ring, ten times as many bytes, are
 * void with them (n_events, generation). */
static void empty(struct wr_table *t, struct wr_session *s)
{
	memset(s, 0, sizeof(*s));
	memset(row_seen(t, s), 0, t->layout.seen_words * sizeof(uint64_t));
	add_live(t, -1);
}

/* CLOCK: a row that was used since the hand last passed gets a second chance. After the steps are
 * spent, the next row that this burst does not need goes. */
static bool evict_one(struct wr_table *t)
{
	while (t->n_found)
		table_row(t, t->found[--t->n_found])->burst = t->burst;
	for (unsigned int step = 0; step < WR_TABLE_CLOCK_STEPS; step++) {
		struct wr_session *s = table_row(t, t->hand);
		t->hand = t->hand + 1 == t->n_rows ? 0 : t->hand + 1;
		if (!s->live || s->burst == t->burst)
			continue;
		if (s->used && step < WR_TABLE_CLOCK_STEPS - WR_TABLE_MIN_ROWS) {
			s->used = 0;
			continue;
		}
		wr_index_remove(t, wr_index_hash(&t->index, s->user),
			(uint32_t)(((uint8_t *)s - t->rows) / t->layout.row_bytes));
		empty(t, s);
		atomic_store_explicit(&t->n_evicted, wr_table_evicted(t) + 1, memory_order_relaxed);
		return true;
	}
	return false;
}

/*
 * New sessions take rows one behind the other, freed by the hand or never used: asks for what the
 * third next one will write, header, filter and the first tokens.
 */
static void look_ahead(const struct wr_table *t, uint32_t row)
{
	struct wr_session *s = table_row(t, row + 3 < t->n_rows ? row + 3 : row + 3 - t->n_rows);
	const uint8_t *seen = (const uint8_t *)row_seen(t, s);
	const uint8_t *token = (const uint8_t *)row_tokens(t, s);
	size_t bytes =
		WR_MIN(t->shape.history_events, NEW_TOKENS) * sizeof(struct wr_session_token);

	for (size_t off = 0; off < sizeof(*s); off += WR_CACHE_LINE)
		rte_prefetch0((const uint8_t *)s + off);
	for (size_t off = 0; off < t->layout.seen_words * sizeof(uint64_t); off += WR_CACHE_LINE)
		rte_prefetch0(seen + off);
	for (size_t off = 0; off < bytes; off += WR_CACHE_LINE)
		rte_prefetch0(token + off);
}

uint32_t wr_table_get_or_create(struct wr_table *t, uint64_t user, bool *created)
{
	uint64_t hash = wr_index_hash(&t->index, user);
	uint32_t at = wr_index_find(t, user, hash);

	*created = at == WR_TABLE_NONE;
	if (*created) {
		if (wr_table_sessions(t) == t->n_rows && !evict_one(t))
			return WR_TABLE_NONE;
		at = wr_index_add(t, hash);
		add_live(t, 1);
		if (t->n_rows > 3)
			look_ahead(t, at);
	}
	struct wr_session *s = table_row(t, at);
	s->user = user;
	s->live = 1;
	s->used = 1;
	s->burst = t->burst;
	return at;
}

bool wr_table_forget(struct wr_table *t, uint64_t user)
{
	uint64_t hash = wr_index_hash(&t->index, user);
	uint32_t at = wr_index_find(t, user, hash);
	if (at == WR_TABLE_NONE)
		return false;
	wr_index_remove(t, hash, at);
	struct wr_session *s = table_row(t, at);
	empty(t, s);
	memset(s, 0, t->layout.row_bytes);
	memset(wr_table_ring(t, at), 0, t->layout.ring_bytes);
	return true;
}

struct wr_session *wr_table_session(struct wr_table *t, uint32_t row)
{
	return table_row(t, row);
}

void *wr_table_ring(const struct wr_table *t, uint32_t row)
{
	return t->rings + (size_t)row * t->layout.ring_bytes;
}

const uint64_t *wr_session_seen(const struct wr_table *t, const struct wr_session *s)
{
	return row_seen(t, s);
}
