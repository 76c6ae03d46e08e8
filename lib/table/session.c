/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What events do to a session: tokens, duplicates, gaps, history. A message carries 1 … 4 events
 * against a ring of about a hundred tokens. Only tokens that are not older than an event can be it,
 * so that most messages look at the newest one or few, which locate has prefetched; scans of 1.6 KB
 * are for tokens out of order.
 */
#include "table_int.h"

#include <string.h>

static struct wr_session_token *token_at(
	const struct wr_table *t, const struct wr_session *s, unsigned int i)
{
	unsigned int at = s->head + i;
	if (at >= t->shape.history_events)
		at -= t->shape.history_events;
	return row_tokens(t, s) + at;
}

const struct wr_session_token *wr_session_token(
	const struct wr_table *t, const struct wr_session *s, unsigned int i)
{
	return token_at(t, s, i);
}

unsigned int wr_session_tokens(const struct wr_table *t, const struct wr_session *s, uint32_t *out)
{
	for (unsigned int i = 0; i < s->n_events; i++)
		out[i] = token_at(t, s, i)->item - 1;
	return s->n_events;
}

void wr_session_times(
	const struct wr_table *t, const struct wr_session *s, unsigned int n, int64_t *out)
{
	for (unsigned int i = 0; i < n; i++)
		out[i] = token_at(t, s, s->n_events - n + i)->time_ms;
}

bool wr_session_warm(const struct wr_table *t, const struct wr_session *s, uint32_t generation)
{
	return s->generation == generation && generation != 0 &&
	       s->n_pending <= t->shape.max_pending;
}

unsigned int wr_session_pending(const struct wr_table *t, const struct wr_session *s, uint32_t *out)
{
	for (unsigned int i = 0; i < s->n_pending; i++)
		out[i] = token_at(t, s, s->n_events - s->n_pending + i)->item - 1;
	return s->n_pending;
}

void wr_session_encoded(struct wr_session *s, uint32_t generation)
{
	s->generation = generation;
	s->n_pending = 0;
}

bool wr_session_approximate(const struct wr_table *t, const struct wr_session *s)
{
	return !(s->flags & WR_SESSION_COMPLETE) && s->n_contiguous < t->shape.history_events;
}

static void append(struct wr_table *t, struct wr_session *s, const struct wr_session_token *token)
{
	unsigned int cap = t->shape.history_events;

	if (s->n_events && token->time_ms < token_at(t, s, s->n_events - 1u)->time_ms)
		s->flags |= WR_SESSION_UNORDERED;
	if (s->n_events == cap)
		s->head = (uint16_t)(s->head + 1u == cap ? 0 : s->head + 1u);
	else
		s->n_events++;
	*token_at(t, s, s->n_events - 1u) = *token;
	if (s->n_pending < UINT8_MAX)
		s->n_pending++;
	if (s->n_contiguous < cap)
		s->n_contiguous++;
	if (s->n_contiguous == cap)
		s->flags = (uint8_t)(s->flags & ~WR_SESSION_GAP);
}

static void see(const struct wr_table *t, const struct wr_session *s, uint32_t item)
{
	row_seen(t, s)[(item - 1) / 64] |= UINT64_C(1) << ((item - 1) % 64);
}

/* The newest stored click of an item, NULL when there is none. */
static struct wr_session_token *newest_click(
	const struct wr_table *t, const struct wr_session *s, uint32_t item)
{
	for (unsigned int i = s->n_events; i-- > 0;) {
		struct wr_session_token *k = token_at(t, s, i);
		if (k->item == item && k->kind == WR_KIND_CLICK)
			return k;
	}
	return NULL;
}

/* The token rule. False when nothing changed: a conversion that is marked already. */
static bool add_token(
	struct wr_table *t, struct wr_session *s, const struct wr_session_token *token)
{
	if (token->kind == WR_KIND_CONVERT) {
		struct wr_session_token *click = newest_click(t, s, token->item);
		if (click && (click->flags & WR_TOKEN_CONVERTED))
			return false;
		if (click) {
			click->flags |= WR_TOKEN_CONVERTED;
			see(t, s, token->item);
			return true;
		}
	}
	append(t, s, token);
	see(t, s, token->item);
	return true;
}

static bool is_token(const struct wr_session_token *k, const struct wr_wire_event *e)
{
	return k->time_ms == e->time_ms && k->item == e->item && k->kind == e->kind &&
	       !(k->flags & WR_TOKEN_STAMPED);
}

/* Of tokens in order: those that are older than the event need no look. */
static bool stored_in_order(
	const struct wr_table *t, const struct wr_session *s, const struct wr_wire_event *e)
{
	for (unsigned int i = s->n_events; i-- > 0;) {
		const struct wr_session_token *k = token_at(t, s, i);
		if (k->time_ms < e->time_ms)
			return false;
		if (is_token(k, e))
			return true;
	}
	return false;
}

/* Whether the event is a stored token. A scan of tokens out of order also finds out that they are
 * in order again. */
static bool stored(const struct wr_table *t, struct wr_session *s, const struct wr_wire_event *e)
{
	if (!(s->flags & WR_SESSION_UNORDERED))
		return stored_in_order(t, s, e);
	bool ordered = true, found = false;
	int64_t newer = INT64_MAX;
	for (unsigned int i = s->n_events; i-- > 0;) {
		const struct wr_session_token *k = token_at(t, s, i);
		ordered = ordered && k->time_ms <= newer;
		newer = k->time_ms;
		found = found || is_token(k, e);
	}
	if (ordered)
		s->flags = (uint8_t)(s->flags & ~WR_SESSION_UNORDERED);
	return found;
}

static bool request_known(const struct wr_session *s, uint64_t id)
{
	for (unsigned int i = 0; i < WR_MIN(s->requests, WR_SESSION_REQUESTS); i++)
		if (s->request_ids[i] == id)
			return true;
	return false;
}

static void remember_request(struct wr_session *s, uint64_t id)
{
	s->request_ids[s->requests % WR_SESSION_REQUESTS] = id;
	s->requests++;
	if (s->requests == 2 * WR_SESSION_REQUESTS)
		s->requests = WR_SESSION_REQUESTS;
}

/* Numbered events: false for one that is known; notes gaps. */
static bool take_number(struct wr_session *s, uint64_t seq, struct wr_session_change *c)
{
	if (seq <= s->last_seq)
		return false;
	if (s->last_seq != 0 && seq > s->last_seq + 1) {
		s->flags = (uint8_t)((s->flags | WR_SESSION_GAP) & ~WR_SESSION_COMPLETE);
		s->n_contiguous = 0;
		c->gaps++;
	}
	if (seq == 1 && s->n_events == 0)
		s->flags |= WR_SESSION_COMPLETE;
	s->last_seq = seq;
	return true;
}

void wr_session_apply(struct wr_table *t, struct wr_session *s, const struct wr_session_batch *b,
	struct wr_session_change *c)
{
	bool id_known = b->base_seq == 0 && request_known(s, b->request_id), remember = false;

	for (unsigned int i = 0; i < b->n; i++) {
		const struct wr_wire_event *e = &b->events[i];
		if (b->base_seq != 0 && !take_number(s, b->base_seq + i, c)) {
			c->duplicate++;
			continue;
		}
		if (e->kind == WR_KIND_INTENT) /* its id names an intent, not an item */
			continue;
		if (e->item == 0 || e->item > t->shape.n_items) {
			c->unknown_item++;
			continue;
		}
		if (e->kind == WR_KIND_VIEW)
			continue;
		bool timeless = e->time_ms == 0;
		if (timeless ? id_known : stored(t, s, e)) {
			c->duplicate++;
			continue;
		}
		remember |= timeless && b->base_seq == 0;
		struct wr_session_token token = {
			.item = e->item,
			.kind = e->kind,
			.flags = timeless ? WR_TOKEN_STAMPED : 0,
			.dwell_ds = e->dwell_ds,
			.time_ms = timeless ? b->now_ms : e->time_ms,
		};
		if (add_token(t, s, &token))
			c->applied++;
		else
			c->duplicate++;
	}
	if (remember)
		remember_request(s, b->request_id);
}

/* How many of the n_old stored tokens a history without times holds already at its end: the longest
 * run that both ends a history and begins the stored. */
static unsigned int overlap(const struct wr_session_token *old, unsigned int n_old,
	const struct wr_table *t, const struct wr_session *s)
{
	for (unsigned int m = WR_MIN(n_old, s->n_events); m > 0; m--) {
		unsigned int i = 0;
		while (i < m && token_at(t, s, s->n_events - m + i)->item == old[i].item)
			i++;
		if (i == m)
			return m;
	}
	return 0;
}

/* Whether the stored tokens hold the items of a history without times as one run. */
static bool contains_run(const struct wr_session_token *old, unsigned int n_old,
	const struct wr_wire_history_entry *entries, unsigned int n)
{
	for (unsigned int at = 0; at + n <= n_old; at++) {
		unsigned int i = 0;
		while (i < n && old[at + i].item == (entries[i].item_kind & WR_WIRE_MAX_ITEM))
			i++;
		if (i == n)
			return true;
	}
	return false;
}

/*
 * Puts the stored tokens that are older than the history's oldest entry (item at time_ms) back at
 * the front. They count as contiguous with it when the stored tokens hold that entry themselves.
 */
static void keep_older(struct wr_table *t, struct wr_session *s, unsigned int n_old,
	unsigned int contiguous, uint32_t item, int64_t time_ms)
{
	unsigned int known = 0; /* stored tokens from the entry on */

	for (unsigned int i = 0; i < n_old; i++) {
		const struct wr_session_token *k = &t->old[i];
		if (k->time_ms < time_ms)
			append(t, s, k);
		else if (!known && k->time_ms == time_ms && k->item == item)
			known = n_old - i;
	}
	unsigned int before = known && contiguous > known ? contiguous - known : 0;
	s->n_contiguous = (uint16_t)WR_MIN(before, (unsigned int)s->n_events);
}

static void add_history(struct wr_table *t, struct wr_session *s,
	const struct wr_wire_history_entry *entries, const int64_t *times, unsigned int n,
	struct wr_session_change *c)
{
	for (unsigned int i = 0; i < n; i++) {
		struct wr_session_token token = {
			.item = entries[i].item_kind & WR_WIRE_MAX_ITEM,
			.kind = (uint8_t)((entries[i].item_kind >> 30) + 1),
			.time_ms = times[i],
		};
		if (token.item == 0 || token.item > t->shape.n_items)
			c->unknown_item++;
		else if (token.kind == WR_KIND_CLICK || token.kind == WR_KIND_CONVERT)
			c->applied += add_token(t, s, &token);
	}
}

void wr_session_history(struct wr_table *t, struct wr_session *s,
	const struct wr_wire_history_entry *entries, const int64_t *times, unsigned int n,
	bool complete, struct wr_session_change *c)
{
	unsigned int n_old = s->n_events, contiguous = s->n_contiguous;
	int64_t newest = n ? times[n - 1] : 0;

	s->flags |= WR_SESSION_TOLD;
	for (unsigned int i = 0; i < n_old; i++)
		t->old[i] = *token_at(t, s, i);
	if (!complete && (n == 0 || (!newest && contains_run(t->old, n_old, entries, n))))
		return;
	s->n_events = s->head = s->n_contiguous = 0;
	s->generation = 0;
	s->flags = complete ? WR_SESSION_TOLD | WR_SESSION_COMPLETE : WR_SESSION_TOLD;
	if (newest && !complete)
		keep_older(
			t, s, n_old, contiguous, entries[0].item_kind & WR_WIRE_MAX_ITEM, times[0]);
	add_history(t, s, entries, times, n, c);
	unsigned int from = newest ? 0 : overlap(t->old, n_old, t, s);
	for (unsigned int i = from; i < n_old; i++)
		if (!newest || t->old[i].time_ms > newest)
			append(t, s, &t->old[i]);
}
