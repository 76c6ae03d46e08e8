/* SPDX-License-Identifier: BSD-3-Clause */
/* Session rows against a plain array model; layout; eviction. */
#include "wr_table.h"
#include "wr_test.h"

#include <rte_eal.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_ITEMS     70
#define N_USERS     90 /* below the rows: nothing is evicted in the model test */
#define N_ROWS      128
#define MAX_HIST    9 /* history_events: small, so that rings wrap often */
#define N_STEPS     60000
#define MAX_PENDING 4
#define GENERATION  2 /* sessions are encoded by it or by 1 */
#define T0          INT64_C(1600000000000)

static const struct wr_table_shape shape = {.n_items = N_ITEMS,
	.history_events = MAX_HIST,
	.ring_bytes = 192,
	.max_pending = MAX_PENDING};

static struct wr_table *new_table(uint32_t rows)
{
	struct wr_table *t;
	struct wr_errmsg msg = {""};
	if (wr_table_new(&t, &shape, rows, 0, &msg)) {
		printf("%s\n", msg.text);
		return NULL;
	}
	return t;
}

/* ---- the model: a user's tokens in one growing array, the rules in their plainest form ---- */
struct model_token {
	uint32_t item;
	uint8_t kind;
	bool converted, stamped;
	int64_t time;
};
struct model_user {
	bool exists, complete;
	struct model_token token[4000];
	unsigned int n, since_gap;
	bool seen[N_ITEMS + 1];
	uint32_t generation;  /* of the ring, 0 = void */
	unsigned int encoded; /* tokens when it was filled, of the n */
	uint64_t last_seq, id[WR_SESSION_REQUESTS];
	unsigned int n_ids;
};
static struct model_user users[N_USERS];

static unsigned int model_first(const struct model_user *u)
{
	return u->n > MAX_HIST ? u->n - MAX_HIST : 0;
}

static bool model_approximate(const struct model_user *u)
{
	return !u->complete && WR_MIN(u->since_gap, (unsigned int)MAX_HIST) < MAX_HIST;
}

static bool model_add(struct model_user *u, struct model_token k)
{
	if (k.kind == WR_KIND_CONVERT)
		for (unsigned int i = u->n; i-- > model_first(u);)
			if (u->token[i].item == k.item && u->token[i].kind == WR_KIND_CLICK) {
				bool changed = !u->token[i].converted;
				u->token[i].converted = true;
				u->seen[k.item] = true;
				return changed;
			}
	u->token[u->n++] = k;
	u->since_gap++;
	u->seen[k.item] = true;
	return true;
}

static void model_apply(
	struct model_user *u, const struct wr_session_batch *b, struct wr_session_change *c)
{
	bool known = false, remember = false;
	for (unsigned int i = 0; i < u->n_ids && i < WR_SESSION_REQUESTS; i++)
		known |= u->id[i] == b->request_id;
	for (unsigned int i = 0; i < b->n; i++) {
		const struct wr_wire_event *e = &b->events[i];
		if (b->base_seq) {
			uint64_t seq = b->base_seq + i;
			if (seq <= u->last_seq) {
				c->duplicate++;
				continue;
			}
			if (u->last_seq && seq > u->last_seq + 1) {
				c->gaps++;
				u->complete = false;
				u->since_gap = 0;
			}
			if (seq == 1 && u->n == 0)
				u->complete = true;
			u->last_seq = seq;
		}
		if (e->kind == WR_KIND_INTENT)
			continue;
		if (e->item > N_ITEMS) {
			c->unknown_item++;
			continue;
		}
		if (e->kind != WR_KIND_CLICK && e->kind != WR_KIND_CONVERT)
			continue;
		bool dup = !e->time_ms && !b->base_seq && known;
		for (unsigned int k = model_first(u); e->time_ms && k < u->n; k++)
			dup |= u->token[k].item == e->item && u->token[k].kind == e->kind &&
			       u->token[k].time == e->time_ms && !u->token[k].stamped;
		remember |= !dup && !e->time_ms && !b->base_seq;
		struct model_token k = {
			e->item, e->kind, false, !e->time_ms, e->time_ms ? e->time_ms : b->now_ms};
		if (!dup && model_add(u, k))
			c->applied++;
		else
			c->duplicate++;
	}
	if (remember)
		u->id[u->n_ids++ % WR_SESSION_REQUESTS] = b->request_id;
}

static bool model_contains(const struct model_token *old, unsigned int n_old,
	const struct wr_wire_history_entry *e, unsigned int n)
{
	bool found = false;
	for (unsigned int at = 0; at + n <= n_old; at++) {
		bool equal = true;
		for (unsigned int i = 0; i < n; i++)
			equal &= old[at + i].item == (e[i].item_kind & WR_WIRE_MAX_ITEM);
		found |= equal;
	}
	return found;
}

static void model_history(struct model_user *u, const struct wr_wire_history_entry *e,
	const int64_t *times, unsigned int n, bool complete, struct wr_session_change *c)
{
	static struct model_token old[MAX_HIST];
	unsigned int n_old = u->n - model_first(u), from = 0, known = 0;
	unsigned int contiguous = WR_MIN(u->since_gap, (unsigned int)MAX_HIST);
	memcpy(old, u->token + model_first(u), n_old * sizeof(old[0]));
	if (!complete && (n == 0 || (times[n - 1] == 0 && model_contains(old, n_old, e, n))))
		return;
	u->n = u->since_gap = u->generation = 0;
	u->complete = complete;
	for (unsigned int i = 0; i < n_old && !complete && times[n - 1] != 0; i++) {
		if (old[i].time < times[0])
			u->token[u->n++] = old[i];
		else if (!known && old[i].time == times[0] &&
			 old[i].item == (e[0].item_kind & WR_WIRE_MAX_ITEM))
			known = n_old - i;
	}
	if (known && contiguous > known)
		u->since_gap = WR_MIN(contiguous - known, u->n);
	for (unsigned int i = 0; i < n; i++) {
		struct model_token k = {e[i].item_kind & WR_WIRE_MAX_ITEM,
			(uint8_t)((e[i].item_kind >> 30) + 1), false, false, times[i]};
		if (k.item > N_ITEMS)
			c->unknown_item++;
		else if (k.kind == WR_KIND_CLICK || k.kind == WR_KIND_CONVERT)
			c->applied = (uint16_t)(c->applied + model_add(u, k));
	}
	int64_t newest = n ? times[n - 1] : 0;
	unsigned int stored = u->n - model_first(u);
	for (unsigned int m = newest ? 0 : WR_MIN(stored, n_old); m > from; m--) {
		unsigned int same = 0;
		while (same < m && u->token[u->n - m + same].item == old[same].item)
			same++;
		if (same == m)
			from = m;
	}
	for (unsigned int i = from; i < n_old; i++)
		if (!newest || old[i].time > newest) {
			u->token[u->n++] = old[i];
			u->since_gap++;
		}
}

/* ---- comparison ---- */
static bool same(struct wr_table *t, const struct wr_session *s, const struct model_user *u)
{
	uint32_t rows[MAX_HIST];
	unsigned int n = wr_session_tokens(t, s, rows), first = model_first(u);
	if (n != u->n - first || s->last_seq != u->last_seq ||
		wr_session_approximate(t, s) != model_approximate(u))
		return false;
	for (unsigned int i = 0; i < n; i++) {
		const struct wr_session_token *k = wr_session_token(t, s, i);
		const struct model_token *m = &u->token[first + i];
		if (rows[i] != m->item - 1 || k->time_ms != m->time || k->kind != m->kind ||
			!!(k->flags & WR_TOKEN_CONVERTED) != m->converted)
			return false;
	}
	bool warm = u->generation == GENERATION && u->n - u->encoded <= MAX_PENDING;
	if (wr_session_warm(t, s, GENERATION) != warm || wr_session_warm(t, s, 0))
		return false;
	if (warm && wr_session_pending(t, s, rows) != u->n - u->encoded)
		return false;
	for (unsigned int i = u->encoded; warm && i < u->n; i++)
		if (rows[i - u->encoded] != u->token[i].item - 1)
			return false;
	for (uint32_t i = 0; i < N_ITEMS; i++)
		if ((wr_session_seen(t, s)[i / 64] >> (i % 64) & 1) != u->seen[i + 1])
			return false;
	return true;
}

static void random_events(struct wr_rng *r, struct wr_wire_event *e, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		e[i] = (struct wr_wire_event){
			.item = 1 + wr_rng_below(r, N_ITEMS + 2),
			.kind = (uint8_t)(1 + wr_rng_below(r, 4)),
			.time_ms = wr_rng_below(r, 5) ? T0 + wr_rng_below(r, 40) : 0,
		};
}

static void step_history(struct wr_table *t, struct wr_session *s, struct model_user *u,
	struct wr_rng *r, struct wr_session_change *got, struct wr_session_change *want)
{
	struct wr_wire_history_entry h[20];
	int64_t times[20];
	unsigned int n = wr_rng_below(r, 20);
	bool timed = wr_rng_below(r, 2), complete = wr_rng_below(r, 2);
	for (unsigned int i = 0; i < n; i++) {
		h[i].item_kind = wr_rng_below(r, 4) << 30 | (1 + wr_rng_below(r, N_ITEMS));
		times[i] = timed ? T0 + 2 * i : 0;
	}
	/* sometimes the client's history ends in what is stored already */
	for (unsigned int i = 0; !timed && i < n && i < s->n_events && wr_rng_below(r, 2) == 0; i++)
		h[n - 1 - i].item_kind =
			1u << 30 | wr_session_token(t, s, s->n_events - 1 - i)->item;
	wr_session_history(t, s, h, times, n, complete, got);
	model_history(u, h, times, n, complete, want);
}

/* What a client was told to send again must not cost what is known; an empty history must not heal
 * a gap. */
static void test_known_history_changes_nothing(void)
{
	struct wr_table *t = new_table(N_ROWS);
	CU_ASSERT_PTR_NOT_NULL_FATAL(t);
	bool created;
	struct wr_session *s = wr_table_session(t, wr_table_get_or_create(t, 7, &created));
	struct wr_wire_event e[6];
	struct wr_session_change c = {0};
	for (unsigned int i = 0; i < 6; i++)
		e[i] = (struct wr_wire_event){
			.item = 1 + i, .kind = WR_KIND_CLICK, .time_ms = T0 + i};
	struct wr_session_batch b = {.request_id = 1, .base_seq = 1, .events = e, .n = 3};
	wr_session_apply(t, s, &b, &c);
	b = (struct wr_session_batch){.request_id = 2, .base_seq = 9, .events = e + 3, .n = 3};
	wr_session_apply(t, s, &b, &c);
	CU_ASSERT_EQUAL(c.gaps, 1);
	CU_ASSERT_TRUE(s->flags & WR_SESSION_GAP);
	wr_session_history(t, s, NULL, NULL, 0, false, &c);
	CU_ASSERT_TRUE(s->flags & WR_SESSION_GAP);
	CU_ASSERT_TRUE(wr_session_approximate(t, s));
	const struct wr_wire_history_entry last[2] = {{1u << 30 | 5, 0}, {1u << 30 | 6, 0}};
	const int64_t times[2] = {T0 + 4, T0 + 5}, unknown[2] = {0, 0};
	wr_session_history(t, s, last, times, 2, false, &c);
	wr_session_history(t, s, last, unknown, 2, false, &c);
	CU_ASSERT_EQUAL_FATAL(s->n_events, 6);
	for (unsigned int i = 0; i < 6; i++)
		CU_ASSERT_EQUAL(wr_session_token(t, s, i)->item, 1 + i);
	CU_ASSERT_EQUAL(s->n_contiguous, 3);
	wr_table_free(t);
}

static void test_model(void)
{
	struct wr_table *t = new_table(N_ROWS);
	CU_ASSERT_PTR_NOT_NULL_FATAL(t);
	struct wr_rng r;
	wr_rng_init(&r, 11, 0);
	unsigned int wrong = 0, histories = 0, forgotten = 0, live = 0, warm = 0;
	for (unsigned int step = 0; step < N_STEPS && wrong == 0; step++) {
		unsigned int i = wr_rng_below(&r, N_USERS);
		struct model_user *u = &users[i];
		uint64_t id = wr_mix64(i + 1);
		uint32_t row;
		bool created;
		wr_table_locate(t, 1, &id, &(struct wr_table_want){.filter = step % 2}, &row);
		wrong += (row == WR_TABLE_NONE) == u->exists;
		if (wr_rng_below(&r, 60) == 0 || u->n > 3900) {
			wrong += wr_table_forget(t, id) != u->exists;
			forgotten += u->exists;
			live -= u->exists;
			memset(u, 0, sizeof(*u));
			continue;
		}
		row = wr_table_get_or_create(t, id, &created);
		wrong += created == u->exists;
		live += created;
		u->exists = true;
		struct wr_session *s = wr_table_session(t, row);
		struct wr_session_change got = {0}, want = {0};
		if (wr_rng_below(&r, 6) == 0 && wr_session_approximate(t, s)) {
			step_history(t, s, u, &r, &got, &want);
			histories++;
		}
		struct wr_wire_event e[4];
		unsigned int n = wr_rng_below(&r, 5);
		random_events(&r, e, n);
		struct wr_session_batch b = {
			.request_id = 1 + wr_rng_below(&r, 12),
			.base_seq = wr_rng_below(&r, 2) ? u->last_seq + wr_rng_below(&r, 4) : 0,
			.events = e,
			.n = n,
			.now_ms = T0 + 500 + step,
		};
		wr_session_apply(t, s, &b, &got);
		model_apply(u, &b, &want);
		wrong += memcmp(&got, &want, sizeof(got)) != 0;
		wrong += !same(t, s, u);
		warm += wr_session_warm(t, s, GENERATION);
		if (wr_rng_below(&r, 4) == 0) {
			u->generation = 1 + (wr_rng_below(&r, 8) != 0);
			u->encoded = u->n;
			wr_session_encoded(s, u->generation);
			memset(wr_table_ring(t, row), 0xff, shape.ring_bytes);
		}
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(wr_table_sessions(t), live);
	CU_ASSERT_EQUAL(wr_table_evicted(t), 0);
	CU_ASSERT(histories > 500 && forgotten > 500 && warm > 5000);
	wr_table_free(t);
}

static void test_layout(void)
{
	static const struct wr_table_shape reference = {3416, 99, 18560, 15};
	struct wr_table_layout l;
	wr_table_layout(&reference, &l);
	CU_ASSERT_EQUAL(l.tokens_off, 64);
	CU_ASSERT_EQUAL(l.seen_off, 64 + 1600); /* 99 · 16, up to a line */
	CU_ASSERT_EQUAL(l.seen_words, 54);
	CU_ASSERT_EQUAL(l.row_bytes, 64 + 1600 + 448);
	CU_ASSERT_EQUAL(l.ring_bytes, 18560);
}

static void test_refusals(void)
{
	struct wr_table *t = (void *)1;
	struct wr_errmsg msg = {""};
	CU_ASSERT_EQUAL(wr_table_new(&t, &shape, WR_TABLE_MIN_ROWS - 1, 0, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NULL(t);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "rows_per_lcore"));
	CU_ASSERT_EQUAL(wr_table_new(&t, &shape, 1u << 26, 0, &msg), WR_ENOMEM);
	CU_ASSERT_PTR_NULL(t);
}

/* Gives every part of a session something to leave behind. */
static void fill_row(struct wr_table *t, uint32_t row)
{
	struct wr_session *s = wr_table_session(t, row);
	struct wr_wire_event e = {.item = row % shape.n_items + 1, .kind = WR_KIND_CLICK};
	struct wr_session_change change = {0};
	struct wr_session_batch b = {.request_id = row + 1, .events = &e, .n = 1, .now_ms = 1};
	wr_session_apply(t, s, &b, &change);
	memset(wr_table_ring(t, row), 0xff, shape.ring_bytes);
	wr_session_encoded(s, 1);
}

/* Nothing of the evicted session shows in the row's next one. */
static bool row_is_new(const struct wr_table *t, const struct wr_session *s)
{
	bool new = s->n_events == 0 && s->last_seq == 0 && s->requests == 0 && s->flags == 0 &&
		   !wr_session_warm(t, s, 1);
	for (uint32_t w = 0; w < (shape.n_items + 63) / 64; w++)
		new = new &&wr_session_seen(t, s)[w] == 0;
	return new;
}

static bool is_byte(const void *at, int byte, size_t n)
{
	const uint8_t *p = at;
	for (size_t i = 0; i < n; i++)
		if (p[i] != byte)
			return false;
	return true;
}

/* Of a forgotten session no byte is left, row or ring; its neighbours lose nothing. */
static void test_forget(void)
{
	enum { USERS = 3, GONE = 1 };
	struct wr_table *t = new_table(N_ROWS);
	struct wr_table_layout l;
	uint32_t row[USERS];
	bool created;

	CU_ASSERT_PTR_NOT_NULL_FATAL(t);
	wr_table_layout(&shape, &l);
	for (uint64_t u = 0; u < USERS; u++) {
		row[u] = wr_table_get_or_create(t, u, &created);
		CU_ASSERT_FATAL(row[u] != WR_TABLE_NONE && created);
		fill_row(t, row[u]);
		CU_ASSERT_FALSE(is_byte(wr_table_session(t, row[u]), 0, l.row_bytes));
	}
	CU_ASSERT(wr_table_forget(t, GONE));
	for (uint64_t u = 0; u < USERS; u++) {
		const struct wr_session *s = wr_table_session(t, row[u]);
		CU_ASSERT_EQUAL(is_byte(s, 0, l.row_bytes), u == GONE);
		CU_ASSERT(
			is_byte(wr_table_ring(t, row[u]), u == GONE ? 0 : 0xff, shape.ring_bytes));
		CU_ASSERT(u == GONE || (s->n_events == 1 && wr_session_warm(t, s, 1)));
	}
	wr_table_free(t);
}

/* Every row can be filled; a full table evicts, but never a row of the running burst; what is used
 * stays. */
static void test_eviction(void)
{
	struct wr_table *t = new_table(N_ROWS);
	CU_ASSERT_PTR_NOT_NULL_FATAL(t);
	bool created;
	for (uint64_t u = 0; u < N_ROWS; u++) {
		uint32_t row = wr_table_get_or_create(t, u, &created);
		CU_ASSERT_FATAL(row != WR_TABLE_NONE && created);
		fill_row(t, row);
	}
	CU_ASSERT_EQUAL(wr_table_sessions(t), N_ROWS);
	CU_ASSERT_EQUAL(wr_table_evicted(t), 0);
	uint64_t favourites[WR_TABLE_MAX_BURST];
	uint32_t rows[WR_TABLE_MAX_BURST];
	struct wr_table_want want[WR_TABLE_MAX_BURST] = {{.item = N_ITEMS}, {.item = UINT32_MAX}};
	for (unsigned int i = 0; i < WR_TABLE_MAX_BURST; i++)
		favourites[i] = 2 * i;
	for (uint64_t u = 1000; u < 1400; u++) {
		wr_table_locate(t, WR_TABLE_MAX_BURST, favourites, want, rows);
		for (unsigned int i = 0; i < WR_TABLE_MAX_BURST; i++)
			CU_ASSERT_FATAL(rows[i] != WR_TABLE_NONE);
		uint32_t row = wr_table_get_or_create(t, u, &created);
		CU_ASSERT_FATAL(row != WR_TABLE_NONE && created);
		CU_ASSERT(row_is_new(t, wr_table_session(t, row)));
		for (unsigned int i = 0; i < WR_TABLE_MAX_BURST; i++)
			CU_ASSERT_FATAL(rows[i] != row);
		CU_ASSERT_EQUAL(wr_table_sessions(t), N_ROWS);
	}
	CU_ASSERT_EQUAL(wr_table_evicted(t), 400);
	wr_table_free(t);
}

/* A table that is kept full for a while: every user is found, nobody else is, each in a row of its
 * own; single look-ups and bursts agree. */
static void test_index(void)
{
	enum { ROWS = 5000, STEPS = 40000 };
	static uint64_t user[ROWS];
	static bool taken[ROWS];
	struct wr_table *t = new_table(ROWS);
	struct wr_rng r;
	bool created;
	unsigned int n_likely = 0, right = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(t);
	wr_rng_init(&r, 17, 0);
	for (unsigned int i = 0; i < ROWS; i++) {
		user[i] = wr_rng_u64(&r);
		CU_ASSERT_FATAL(wr_table_get_or_create(t, user[i], &created) < ROWS && created);
	}
	for (unsigned int step = 0; step < STEPS; step++) {
		unsigned int i = wr_rng_below(&r, ROWS);
		CU_ASSERT_FATAL(wr_table_forget(t, user[i]));
		CU_ASSERT_FALSE(wr_table_forget(t, user[i]));
		user[i] = step % 3 ? wr_rng_u64(&r) : user[i];
		CU_ASSERT_FATAL(wr_table_get_or_create(t, user[i], &created) < ROWS && created);
	}
	CU_ASSERT_EQUAL(wr_table_evicted(t), 0);
	for (unsigned int i = 0; i < ROWS; i += 40) {
		uint64_t ask[WR_TABLE_MAX_BURST];
		uint32_t rows[WR_TABLE_MAX_BURST];
		struct wr_table_want want[WR_TABLE_MAX_BURST] = {{0}};
		memcpy(ask, user + i, 40 * sizeof(ask[0]));
		for (unsigned int j = 40; j < WR_TABLE_MAX_BURST; j++)
			ask[j] = wr_rng_u64(&r);
		wr_table_expect(t, WR_TABLE_MAX_BURST, ask);
		uint32_t likely[WR_TABLE_MAX_BURST];
		wr_table_expect_rows(t, WR_TABLE_MAX_BURST, ask, i % 80 ? NULL : likely);
		wr_table_locate(t, WR_TABLE_MAX_BURST, ask, want, rows);
		for (unsigned int j = 0; j < 40 && i % 80 == 0; j++, n_likely++)
			right += likely[j] == rows[j];
		for (unsigned int j = 0; j < WR_TABLE_MAX_BURST; j++) {
			if (j >= 40) {
				CU_ASSERT_EQUAL(rows[j], WR_TABLE_NONE);
				continue;
			}
			CU_ASSERT_FATAL(rows[j] < ROWS && !taken[rows[j]]);
			taken[rows[j]] = true;
			CU_ASSERT_EQUAL(wr_table_session(t, rows[j])->user, ask[j]);
			CU_ASSERT_EQUAL(wr_table_get_or_create(t, ask[j], &created), rows[j]);
			CU_ASSERT_FALSE(created);
		}
	}
	/* One bucket in seventy is full, and sends its users on. */
	CU_ASSERT(n_likely >= 2000 && right * 100 >= n_likely * 95);
	wr_table_free(t);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"index, kept full", test_index},
		{"known history changes nothing", test_known_history_changes_nothing},
		{"random operations against plain arrays", test_model},
		{"row layout of the reference student", test_layout},
		{"tables that cannot be", test_refusals},
		{"of a forgotten session nothing is left", test_forget},
		{"a full table evicts by CLOCK", test_eviction},
	};
	char prefix[48];
	snprintf(prefix, sizeof(prefix), "--file-prefix=wrtable%d", (int)getpid());
	char *argv[] = {(char[]){"test"}, (char[]){"--no-huge"}, (char[]){"-m"}, (char[]){"64"},
		(char[]){"--no-pci"}, (char[]){"--no-shconf"}, (char[]){"--no-telemetry"}, prefix,
		(char[]){"--lcores"}, (char[]){"0@(0-1)"}, (char[]){"--log-level=*:critical"},
		NULL};
	if (rte_eal_init((int)WR_ARRAY_LEN(argv) - 1, argv) < 0)
		return 1;
	snprintf(prefix, sizeof(prefix), "%s", rte_eal_get_runtime_dir());
	int rc = wr_test_run("table", tests, WR_ARRAY_LEN(tests));
	(void)rte_eal_cleanup();
	(void)rmdir(prefix);
	return rc;
}
