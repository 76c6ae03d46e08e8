/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The work: locate sessions, let events and utterances act, encode, score. Requests of one user act
 * one behind the other: a request waits for the next pass when an earlier one of the burst still
 * has to read what it would change.
 */
#include "serve_int.h"

#include <string.h>

static bool is_stateful(uint8_t todo)
{
	return todo == TODO_RECOMMEND || todo == TODO_EVENT || todo == TODO_FORGET;
}

void wr_serve_stage_locate(struct worker *w, struct burst *b)
{
	struct wr_table_want want[BURST];
	uint32_t rows[BURST];
	uint8_t at[BURST];
	unsigned int n = 0;

	for (unsigned int i = 0; i < b->n; i++) {
		b->row[i] = WR_TABLE_NONE;
		if (!is_stateful(b->todo[i]))
			continue;
		const struct wr_message *m = &b->message[i];
		want[n].item = m->n_events ? m->events[0].item : 0;
		want[n].tokens = b->todo[i] != TODO_FORGET;
		want[n].filter = b->todo[i] == TODO_RECOMMEND;
		b->users[n] = m->header.user_id;
		at[n++] = (uint8_t)i;
	}
	if (n == 0)
		return;
	wr_table_locate(w->table, n, b->users, want, rows);
	for (unsigned int j = 0; j < n; j++)
		b->row[at[j]] = rows[j];
}

/* ---- users whose later requests wait: a small open hash, emptied by a new stamp ---- */
static unsigned int mark_slot(const struct worker *w, uint64_t user)
{
	unsigned int at = (unsigned int)wr_mix64(user) & (MARK_SLOTS - 1);
	while (w->mark[at].stamp == w->mark_stamp && w->mark[at].user != user)
		at = (at + 1) & (MARK_SLOTS - 1);
	return at;
}

static bool must_wait(const struct worker *w, uint64_t user)
{
	return w->mark[mark_slot(w, user)].stamp == w->mark_stamp;
}

static void make_wait(struct worker *w, uint64_t user)
{
	unsigned int at = mark_slot(w, user);
	w->mark[at].user = user;
	w->mark[at].stamp = w->mark_stamp;
}

/* ---- recall ---- */
static void count_change(
	struct worker *w, struct burst *b, unsigned int i, const struct wr_session_change *c)
{
	if (c->applied)
		count(w, WR_COUNTER_events_applied, c->applied);
	if (c->duplicate) {
		count(w, WR_COUNTER_events_duplicate, c->duplicate);
		b->flags[i] |= WR_ANS_DUPLICATE;
	}
	if (c->unknown_item)
		count(w, WR_COUNTER_events_unknown_item, c->unknown_item);
	if (c->gaps)
		count(w, WR_COUNTER_gaps, c->gaps);
}

/* History and events into the session, which is made when there is something to keep. */
static void take_events(struct worker *w, struct burst *b, unsigned int i)
{
	const struct wr_message *m = &b->message[i];
	struct wr_session_change change = {0};
	bool created = b->row[i] == WR_TABLE_NONE;

	if (created && (m->n_events || m->history_head)) {
		b->row[i] = wr_table_get_or_create(w->table, m->header.user_id, &created);
		if (created) {
			count(w, WR_COUNTER_sessions_new, 1);
			make_wait(w, m->header.user_id); /* later ones of the burst were looked up
							    before */
		}
	}
	if (b->row[i] == WR_TABLE_NONE) {
		b->flags[i] |= WR_ANS_HISTORY_WANTED | WR_ANS_APPROXIMATE;
		count(w, WR_COUNTER_history_wanted, 1);
		return;
	}
	struct wr_session *s = wr_table_session(w->table, b->row[i]);
	if (m->history_head && wr_session_approximate(w->table, s)) {
		int64_t times[WR_WIRE_MAX_HISTORY];
		wr_wire_history_times(m, times);
		wr_session_history(w->table, s, m->history, times, m->n_history,
			m->history_head->flags & WR_HISTORY_COMPLETE, &change);
	}
	if (m->n_events) {
		struct wr_session_batch batch = {
			.request_id = m->header.request_id,
			.base_seq = m->events_head->base_seq,
			.events = m->events,
			.n = m->n_events,
			.now_ms = unix_ms(w->serve, b->state[i]->arrival_tsc),
		};
		wr_session_apply(w->table, s, &batch, &change);
		b->durability[i] = WR_DURABLE_MEMORY;
	}
	count_change(w, b, i, &change);
	b->ack_seq[i] = s->last_seq;
	if (!wr_session_approximate(w->table, s))
		return;
	b->flags[i] |= WR_ANS_APPROXIMATE;
	if ((s->flags & WR_SESSION_GAP) || !(s->flags & WR_SESSION_TOLD)) {
		b->flags[i] |= WR_ANS_HISTORY_WANTED;
		count(w, WR_COUNTER_history_wanted, 1);
	}
}

/* The utterance's lifts into the burst's pool. False: no room behind those of the requests before.
 */
static bool scan_utterance(
	struct worker *w, struct burst *b, unsigned int i, struct wr_rank_query *q)
{
	const struct wr_message *m = &b->message[i];
	uint16_t rules[WR_INTENT_MAX_MATCHES];

	q->lifts = w->lifts + b->n_lifts;
	if (!w->scanner || !m->utterance)
		return true;
	unsigned int n = wr_intent_scan(w->scanner, m->utterance, m->utterance_bytes, rules),
		     total = 0;
	for (unsigned int r = 0; r < n; r++) {
		uint32_t n_targets;
		float weight;
		(void)wr_intents_targets(w->serve->intents, rules[r], &n_targets, &weight);
		total += n_targets;
	}
	total = WR_MIN(total, LIFT_POOL);
	if (b->n_lifts + total > LIFT_POOL)
		return false;
	struct wr_rank_lift *lift = w->lifts + b->n_lifts;
	for (unsigned int r = 0, left = total; r < n; r++) {
		uint32_t n_targets;
		float weight;
		const uint32_t *target =
			wr_intents_targets(w->serve->intents, rules[r], &n_targets, &weight);
		n_targets = WR_MIN(n_targets, left);
		for (uint32_t t = 0; t < n_targets; t++)
			*lift++ = (struct wr_rank_lift){.row = target[t], .weight = weight};
		left -= n_targets;
	}
	q->n_lifts = (uint16_t)total;
	b->n_lifts += total;
	b->n_intents[i] = (uint8_t)n;
	if (n) {
		b->flags[i] |= WR_ANS_INTENT;
		count(w, WR_COUNTER_intents, 1);
	}
	return true;
}

/* Recommendation j's tokens: what is new behind the session's ring, or all. */
static void snapshot_tokens(struct worker *w, struct burst *b, unsigned int i, unsigned int j)
{
	struct wr_session *s = wr_table_session(w->table, b->row[i]);
	uint32_t generation = w->serve->generation;
	bool warm = wr_session_warm(w->table, s, generation);
	struct sequences *to = warm ? &b->warm : &b->cold;
	uint32_t *rows = to->rows + to->off[to->n];
	unsigned int n;

	if (s->n_events == 0)
		return;
	to->ring[to->n] = wr_table_ring(w->table, b->row[i]);
	if (warm) {
		n = wr_session_pending(w->table, s, rows);
		count(w, WR_COUNTER_warm, 1);
	} else {
		n = wr_session_tokens(w->table, s, rows);
		b->flags[i] |= WR_ANS_COLD;
		count(w, WR_COUNTER_cold, 1);
	}
	if (to->times) {
		int64_t asked = b->message[i].header.time_ms;
		wr_session_times(w->table, s, n, to->times + to->off[to->n]);
		to->asked[to->n] = asked ? asked : unix_ms(w->serve, b->state[i]->arrival_tsc);
	}
	count(w, WR_COUNTER_encoded_tokens, n);
	wr_session_encoded(s, generation);
	to->out[to->n] = (uint8_t)j;
	to->off[to->n + 1] = to->off[to->n] + n;
	to->n++;
}

/* The query and the tokens of one recommendation. */
static void snapshot(struct worker *w, struct burst *b, unsigned int i, struct wr_rank_query *q)
{
	const struct wr_message *m = &b->message[i];
	unsigned int j = b->n_recommends++;

	q->popular = true;
	if (b->row[i] != WR_TABLE_NONE) {
		struct wr_session *s = wr_table_session(w->table, b->row[i]);
		q->popular = s->n_events == 0;
		snapshot_tokens(w, b, i, j);
		if (!(m->header.flags & WR_REQ_INCLUDE_SEEN))
			q->seen = wr_session_seen(w->table, s);
	}
	if (m->n_exclude) /* in the datagram they stand at any address */
		memcpy(w->exclude[j], m->exclude, m->n_exclude * sizeof(w->exclude[j][0]));
	q->exclude = w->exclude[j];
	q->n_exclude = m->n_exclude;
	q->k = b->k[i];
	b->query[j] = *q;
	b->of[j] = (uint8_t)i;
	b->rec_of[i] = (uint8_t)j;
	if (q->popular) {
		b->degrade[i] = WR_DEGRADE_POPULAR;
		count(w, WR_COUNTER_popular, 1);
	}
}

static void recall_one(struct worker *w, struct burst *b, unsigned int i)
{
	uint64_t user = b->message[i].header.user_id;
	struct wr_rank_query q = {0};

	if (must_wait(w, user)) {
		wr_serve_frame_defer(w, b, i);
		return;
	}
	if (b->todo[i] == TODO_FORGET) {
		if (wr_table_forget(w->table, user))
			count(w, WR_COUNTER_sessions_forgotten, 1);
		count(w, WR_COUNTER_forgets, 1);
		make_wait(w, user);
		return;
	}
	if (b->todo[i] == TODO_RECOMMEND) {
		if (!scan_utterance(w, b, i, &q)) {
			make_wait(w, user);
			wr_serve_frame_defer(w, b, i);
			return;
		}
		count(w, WR_COUNTER_recommends, 1);
		make_wait(w, user);
	} else {
		count(w, WR_COUNTER_event_messages, 1);
	}
	take_events(w, b, i);
	if (b->todo[i] == TODO_RECOMMEND)
		snapshot(w, b, i, &q);
}

/* How many of `left` recommendations are encoded and scored together, from number `first` of the
 * burst on. A single one that the first group would leave is taken along. Never 0. */
static unsigned int group_from(
	const struct worker *w, const struct burst *b, unsigned int first, unsigned int left)
{
	unsigned int most = first ? w->serve->group : WR_MAX(w->serve->first_group, b->n_near);
	return left == most + 1 && left <= w->serve->group ? left : WR_MIN(left, most);
}

/* The rings of the first group's users, as far as they can be told before recall and were not asked
 * for before. */
static struct wr_prefetch first_rings(struct worker *w, struct burst *b, void **ring)
{
	struct wr_prefetch p = {.block = ring, .bytes = w->serve->ring_bytes};
	unsigned int n = 0, near = 0;

	for (unsigned int i = 0; i < b->n; i++)
		n += b->todo[i] == TODO_RECOMMEND;
	n = group_from(w, b, 0, n);
	for (unsigned int i = 0; i < b->n && near + p.n < n; i++) {
		if (b->todo[i] != TODO_RECOMMEND || b->row[i] == WR_TABLE_NONE)
			continue;
		if (near < b->n_near)
			near++;
		else
			ring[p.n++] = wr_table_ring(w->table, b->row[i]);
	}
	return p;
}

void wr_serve_stage_recall(struct worker *w, struct burst *b)
{
	uint64_t evicted = wr_table_evicted(w->table);
	void *ring[GROUP];
	struct wr_prefetch ahead = first_rings(w, b, ring);

	wr_prefetch_pace(&ahead, WR_MAX(b->n, 1u));
	w->mark_stamp++;
	b->n_recommends = b->n_lifts = 0;
	b->cold.n = b->warm.n = 0;
	b->cold.off[0] = b->warm.off[0] = 0;
	for (unsigned int i = 0; i < b->n; i++) {
		if (is_stateful(b->todo[i]))
			recall_one(w, b, i);
		wr_prefetch_step(&ahead);
	}
	evicted = wr_table_evicted(w->table) - evicted;
	if (evicted)
		count(w, WR_COUNTER_sessions_evicted, evicted);
}

#if WR_SEED_SWAP_USERS
/* The seeded fault: the first two users of a burst get each other's vectors. */
static void swap_users(const struct burst *b, struct wr_user_vectors *v, uint32_t d)
{
	if (b->n_recommends < 2)
		return;
	int8_t *q = (int8_t *)(uintptr_t)v->q;
	float *scale = (float *)(uintptr_t)v->scale;
	for (uint32_t c = 0; c < d; c++) {
		int8_t t = q[c];
		q[c] = q[d + c];
		q[d + c] = t;
	}
	float t = scale[0];
	scale[0] = scale[1];
	scale[1] = t;
}
#endif

/* The sequences of recommendations first … end-1, which stand in that order, from *at on; moves *at
 * behind them. */
static struct wr_encoder_batch next_group(
	const struct sequences *s, unsigned int *at, unsigned int end)
{
	unsigned int from = *at;
	while (*at < s->n && s->out[*at] < end)
		(*at)++;
	return (struct wr_encoder_batch){.n_seqs = *at - from,
		.seq_off = s->off + from,
		.rows = s->rows,
		.rings = s->ring + from,
		.out = s->out + from,
		.times = s->times,
		.asked = s->asked + from};
}

/* Recommendations that are sent together, at least; the first group's, who waited longest, at once.
 */
#define REPLIES 16

/* Those of requests before `end` need not wait for the rest of the burst, which came later. */
static void send_replies(struct worker *w, struct burst *b, unsigned int end)
{
	wr_serve_stage_reply(w, b, end);
	end_stage(w, WR_STAGE_reply);
	wr_serve_stage_transmit(w, b);
	end_stage(w, WR_STAGE_tx);
}

/*
 * Group by group, so that the rings of one come near while the arithmetic of another runs: a ring
 * is 8 KB, and a burst's would take half as long to arrive as all of its arithmetic does. The last
 * group's ranking is for the rings of the next burst's first one.
 */
void wr_serve_stage_score(struct worker *w, struct burst *b)
{
	unsigned int cold_at = 0, warm_at = 0, sent = 0, n;
	uint32_t d = w->serve->shape.d;
	void *early[GROUP];

	for (unsigned int first = 0; first < b->n_recommends; first += n) {
		n = group_from(w, b, first, b->n_recommends - first);
		struct wr_encoder_batch cold = next_group(&b->cold, &cold_at, first + n),
					warm = next_group(&b->warm, &warm_at, first + n);
		struct wr_prefetch ahead = {.block = b->warm.ring + warm_at,
			.n = WR_MIN(b->warm.n - warm_at, w->serve->group),
			.bytes = w->serve->ring_bytes};
		struct wr_user_vectors users = wr_encoder_cold(w->encoder, &cold);
		users = wr_encoder_warm(w->encoder, &warm);
#if WR_SEED_SWAP_USERS
		if (first == 0)
			swap_users(b, &users, d);
#endif
		end_stage(w, WR_STAGE_encode);
		if (first + n == b->n_recommends) {
			ahead.block = early;
			ahead.n = wr_serve_receive_early(w, early);
		}
		users.q += (size_t)first * d;
		users.scale += first;
		wr_ranker_rank_ahead(w->ranker, n, &users, b->query + first,
			w->items + (size_t)first * WR_RANK_MAX_K, w->n_items + first, &ahead);
		end_stage(w, WR_STAGE_score);
		if (first + n < b->n_recommends && (first == 0 || first + n - sent >= REPLIES)) {
			sent = first + n;
			send_replies(w, b, b->of[sent]);
		}
	}
}
