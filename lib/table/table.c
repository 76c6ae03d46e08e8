/* SPDX-License-Identifier: BSD-3-Clause */
/* User → row: layout, hash, creation, eviction by CLOCK. */
#include "table_int.h"

#include <rte_hash.h>
#include <rte_malloc.h>
#include <rte_prefetch.h>

#include <stdatomic.h>
#include <string.h>

/* rte_hash: key slots of 16 bytes, buckets of 64 bytes for 8 keys at up to twice the entries,
 * extension buckets, free slots of 4 bytes in two rings that round up to a power of two. Measured
 * ceiling, not its source of truth. */
#define HASH_BYTES_PER_ROW 80
/* Tokens of a new session that are asked for ahead: a history of usual length. */
#define NEW_TOKENS 64u

void wr_table_layout(const struct wr_table_shape *s, struct wr_table_layout *out)
{
	out->tokens_off = sizeof(struct wr_session);
	out->seen_off = WR_ALIGN_UP(
		out->tokens_off + s->history_events * (uint32_t)sizeof(struct wr_session_token),
		(uint32_t)WR_CACHE_LINE);
	out->seen_words = (s->n_items + 63) / 64;
	out->ring_off = WR_ALIGN_UP(out->seen_off + out->seen_words * 8, (uint32_t)WR_CACHE_LINE);
	out->row_bytes = out->ring_off + WR_ALIGN_UP(s->ring_bytes, (uint32_t)WR_CACHE_LINE);
}

uint64_t wr_table_bytes_needed(const struct wr_table_shape *s, uint32_t rows)
{
	struct wr_table_layout l;
	wr_table_layout(s, &l);
	return (uint64_t)rows * (l.row_bytes + HASH_BYTES_PER_ROW) + (1u << 16);
}

/* Keys come from outside: the hash is seeded (init_val), so that nobody can aim at one bucket. */
static uint32_t hash_user(const void *key, uint32_t bytes, uint32_t seed)
{
	uint64_t k;
	(void)bytes;
	memcpy(&k, key, sizeof(k));
	return (uint32_t)(wr_mix64(k ^ ((uint64_t)seed << 32 | seed)) >> 17);
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

int wr_table_new(struct wr_table **out, const char *name, const struct wr_table_shape *s,
	uint32_t rows, int socket_id, struct wr_errmsg *msg)
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
	uint32_t seed;
	wr_wire_random(&seed, sizeof(seed));
	struct rte_hash_parameters p = {
		.name = name,
		.entries = rows,
		.key_len = sizeof(uint64_t),
		.hash_func = hash_user,
		.hash_func_init_val = seed,
		.socket_id = socket_id,
		.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};
	t->hash = rte_hash_create(&p);
	t->rows = rte_zmalloc_socket(
		"wr_rows", (size_t)rows * t->layout.row_bytes, WR_CACHE_LINE, socket_id);
	t->old = rte_zmalloc_socket(
		"wr_old", s->history_events * sizeof(*t->old), WR_CACHE_LINE, socket_id);
	if (!t->hash || !t->rows || !t->old) {
		wr_table_free(t);
		return wr_fail(msg, WR_ENOMEM,
			"session table of %u rows × %u bytes does not fit on socket %d; lower "
			"sessions.rows_per_lcore or give "
			"more hugepages",
			rows, t->layout.row_bytes, socket_id);
	}
	*out = t;
	return 0;
}

void wr_table_free(struct wr_table *t)
{
	if (!t)
		return;
	rte_hash_free(t->hash);
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

/* Marks a session whose header has arrived as used, and asks for what a request reads of the rest:
 * its newest tokens, the place behind them, the filter. */
static void look_at(const struct wr_table *t, struct wr_session *s)
{
	unsigned int cap = t->shape.history_events, next = s->head + s->n_events;
	next = next >= cap ? next - cap : next;
	unsigned int newest = next ? next - 1 : cap - 1;
	const uint8_t *seen = (const uint8_t *)row_seen(t, s);

	s->used = 1;
	s->burst = t->burst;
	rte_prefetch0(row_tokens(t, s) + newest);
	rte_prefetch0(row_tokens(t, s) + next);
	for (uint32_t off = 0; off < t->layout.seen_words * 8; off += WR_CACHE_LINE)
		rte_prefetch0(seen + off);
}

void wr_table_locate(struct wr_table *t, unsigned int n, const uint64_t *users, uint32_t *rows)
{
	const void *keys[WR_TABLE_MAX_BURST];
	int32_t at[WR_TABLE_MAX_BURST];

	assert(n <= WR_TABLE_MAX_BURST);
	t->burst++;
	if (n == 0)
		return;
	for (unsigned int i = 0; i < n; i++)
		keys[i] = &users[i];
	if (rte_hash_lookup_bulk(t->hash, keys, n, at) != 0)
		assert(!"rte_hash_lookup_bulk refuses its arguments");
	for (unsigned int i = 0; i < n; i++) {
		rows[i] = at[i] < 0 ? WR_TABLE_NONE : (uint32_t)at[i];
		if (at[i] < 0)
			continue;
		rte_prefetch0(table_row(t, rows[i]));
	}
	for (unsigned int i = 0; i < n; i++)
		if (rows[i] != WR_TABLE_NONE)
			look_at(t, table_row(t, rows[i]));
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
	for (unsigned int step = 0; step < WR_TABLE_CLOCK_STEPS; step++) {
		struct wr_session *s = table_row(t, t->hand);
		t->hand = t->hand + 1 == t->n_rows ? 0 : t->hand + 1;
		if (!s->live || s->burst == t->burst)
			continue;
		if (s->used && step < WR_TABLE_CLOCK_STEPS - WR_TABLE_MIN_ROWS) {
			s->used = 0;
			continue;
		}
		(void)rte_hash_del_key(t->hash, &s->user);
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
	int32_t at = rte_hash_lookup(t->hash, &user);

	*created = at < 0;
	if (at < 0) {
		if (wr_table_sessions(t) == t->n_rows && !evict_one(t))
			return WR_TABLE_NONE;
		at = rte_hash_add_key(t->hash, &user);
		if (at < 0)
			return WR_TABLE_NONE;
		add_live(t, 1);
		if (t->n_rows > 3)
			look_ahead(t, (uint32_t)at);
	}
	struct wr_session *s = table_row(t, (uint32_t)at);
	s->user = user;
	s->live = 1;
	s->used = 1;
	s->burst = t->burst;
	return (uint32_t)at;
}

bool wr_table_forget(struct wr_table *t, uint64_t user)
{
	int32_t at = rte_hash_del_key(t->hash, &user);
	if (at < 0)
		return false;
	struct wr_session *s = table_row(t, (uint32_t)at);
	empty(t, s);
	memset(s, 0, t->layout.row_bytes);
	return true;
}

struct wr_session *wr_table_session(struct wr_table *t, uint32_t row)
{
	return table_row(t, row);
}

const uint64_t *wr_session_seen(const struct wr_table *t, const struct wr_session *s)
{
	return row_seen(t, s);
}
