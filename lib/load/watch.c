/* SPDX-License-Identifier: BSD-3-Clause */
/* The watched users' life: forget, history, step 0, one click after another, forget, next user. */
#include "load_watch.h"

#include <stdlib.h>

enum phase {
	PHASE_FORGET_BEFORE,
	PHASE_EVENTS, /* histories longer than a HISTORY section, in chunks */
	PHASE_COLD,   /* the history in the request, or nothing new behind EVENTS */
	PHASE_WARM,
	PHASE_FORGET_AFTER,
};

enum { MAX_TRIES = 20 };

static const struct wr_lists_step *step_of(
	const struct wr_watch *w, const struct wr_watch_user *u, uint32_t s)
{
	return &w->lists->steps[u->user->first_step + s];
}

static bool long_history(const struct wr_watch *w, const struct wr_watch_user *u)
{
	return step_of(w, u, 0)->n_events > WR_WIRE_MAX_HISTORY;
}

/* The next user in the file's order that nobody is busy with: two conversations of one user would
 * mix up its order. */
static void next_user(struct wr_watch *w, struct wr_watch_user *u)
{
	if (u->user)
		w->taken[u->user - w->lists->users] = false;
	while (w->taken[w->next_user])
		w->next_user = (w->next_user + 1) % w->lists->n_users;
	w->taken[w->next_user] = true;
	*u = (struct wr_watch_user){.user = &w->lists->users[w->next_user]};
}

static void push_ready(struct wr_watch *w, unsigned int i)
{
	w->ready[(w->ready_head + w->n_ready++) % w->n] = i;
}

int wr_watch_init(struct wr_watch *w, struct wr_load *l, const struct wr_lists *lists,
	unsigned int n, struct wr_errmsg *msg)
{
	*w = (struct wr_watch){.l = l, .lists = lists};
	w->n = (unsigned int)WR_MIN((size_t)n, lists->n_users);
	if (w->n == 0 || w->n >= 1u << WR_TALK_INDEX_BITS)
		return wr_fail(msg, WR_EINVAL, "the number of watched users must be 1 … 65535");
	w->users = calloc(w->n, sizeof(*w->users));
	w->ready = calloc(w->n, sizeof(*w->ready));
	w->taken = calloc(lists->n_users, sizeof(*w->taken));
	if (!w->users || !w->ready || !w->taken) {
		wr_watch_fini(w);
		return wr_fail(msg, WR_ENOMEM, "not enough memory");
	}
	for (unsigned int i = 0; i < w->n; i++) {
		next_user(w, &w->users[i]);
		push_ready(w, i);
	}
	return 0;
}

void wr_watch_fini(struct wr_watch *w)
{
	free(w->users);
	free(w->ready);
	free(w->taken);
	w->taken = NULL;
	w->users = NULL;
	w->ready = NULL;
	w->n = 0;
}

/* Up to 32 of the user's events from index i on. */
static void write_events(const struct wr_watch *w, const struct wr_watch_user *u, uint32_t i,
	uint32_t n, struct wr_writer *out)
{
	struct wr_wire_event e[WR_WIRE_MAX_EVENTS];
	size_t first = step_of(w, u, 0)->first_event + (size_t)i;

	for (uint32_t j = 0; j < n; j++)
		e[j] = (struct wr_wire_event){.item = w->lists->events[first + j],
			.kind = WR_KIND_CLICK,
			.time_ms = w->lists->times[first + j]};
	wr_writer_events(out, 0, e, n);
}

static void write_history(
	const struct wr_watch *w, const struct wr_watch_user *u, struct wr_writer *out)
{
	const struct wr_lists_step *s = step_of(w, u, 0);

	wr_writer_history(out, w->lists->events + s->first_event, NULL,
		w->lists->times + s->first_event, s->n_events, true);
}

static uint32_t chunk(const struct wr_watch *w, const struct wr_watch_user *u)
{
	return WR_MIN(step_of(w, u, 0)->n_events - u->at, (uint32_t)WR_WIRE_MAX_EVENTS);
}

static int render(
	const struct wr_watch *w, const struct wr_watch_user *u, uint64_t id, uint8_t *message)
{
	static const uint8_t ops[] = {
		WR_OP_FORGET, WR_OP_EVENT, WR_OP_RECOMMEND, WR_OP_RECOMMEND, WR_OP_FORGET};
	struct wr_wire_header h = wr_load_header(
		ops[u->phase], id, u->user->user, w->lists->filtered ? 0 : WR_REQ_INCLUDE_SEEN);
	struct wr_writer out;
	int64_t asked = step_of(w, u, u->phase == PHASE_WARM ? u->step : 0)->asked_ms;

	if (ops[u->phase] == WR_OP_RECOMMEND && asked)
		h.time_ms = asked;
	wr_writer_init(&out, message, WR_WIRE_MAX_BYTES, &h);
	switch ((enum phase)u->phase) {
	case PHASE_FORGET_BEFORE:
	case PHASE_FORGET_AFTER:
		wr_writer_cookie(&out, &w->l->server.cookie);
		break;
	case PHASE_EVENTS:
		write_events(w, u, u->at, chunk(w, u), &out);
		break;
	case PHASE_COLD:
		wr_writer_ask(&out, (uint8_t)w->lists->k, 0);
		if (!long_history(w, u))
			write_history(w, u, &out);
		break;
	case PHASE_WARM:
		wr_writer_ask(&out, (uint8_t)w->lists->k, 0);
		write_events(w, u,
			step_of(w, u, u->step)->first_event - step_of(w, u, 0)->first_event, 1,
			&out);
		break;
	}
	/* Room for the whole answer and a cookie, whatever the request is. */
	wr_writer_pad(
		&out, WR_MAX(128u, 104 + w->lists->k * (unsigned int)sizeof(struct wr_wire_item)));
	return wr_writer_finish(&out);
}

static void restart(struct wr_watch *w, struct wr_watch_user *u)
{
	w->counts.restarted++;
	*u = (struct wr_watch_user){.user = u->user};
}

bool wr_watch_send(struct wr_watch *w, uint64_t intended, uint64_t now, unsigned int detour)
{
	struct wr_load *l = w->l;

	if (w->n_ready == 0)
		return false;
	unsigned int i = w->ready[w->ready_head];
	struct wr_watch_user *u = &w->users[i];
	if (u->forgotten) {
		w->counts.retried += u->id != 0; /* what was under way has had no answer */
		restart(w, u);
	}
	uint64_t id = u->id;
	if (!id)
		id = l->tag | WR_ID_TALK |
		     ((uint64_t)l->next_talk & 0x7fffff) << WR_TALK_INDEX_BITS | i;

	struct wr_load_route r = wr_load_route(l, u->user->user);
	if (detour)
		r = wr_load_detour(l, r, detour);
	uint8_t *frame = wr_load_stage(l, r.queue);
	if (!frame)
		return false;
	int n = render(w, u, id, frame + l->head.size);
	if (n < 0)
		return false;
	wr_load_send(l, r, frame, (uint16_t)n, (uint16_t)n);
	w->ready_head = (w->ready_head + 1) % w->n;
	w->n_ready--;
	if (u->id)
		w->counts.retried++;
	else
		l->next_talk++;
	u->id = id;
	u->intended = intended;
	u->sent_tsc = now;
	u->astray = r.astray;
	u->epoch = l->server.shard_epoch;
	u->tries++;
	w->counts.sent++;
	return true;
}

/* One user's answer was right: what comes next. */
static void advance(struct wr_watch *w, struct wr_watch_user *u)
{
	switch ((enum phase)u->phase) {
	case PHASE_FORGET_BEFORE:
		u->phase = long_history(w, u) ? PHASE_EVENTS : PHASE_COLD;
		break;
	case PHASE_EVENTS:
		u->at += chunk(w, u);
		if (u->at == step_of(w, u, 0)->n_events)
			u->phase = PHASE_COLD;
		break;
	case PHASE_COLD:
	case PHASE_WARM:
		u->step++;
		u->phase = u->step < u->user->n_steps ? PHASE_WARM : PHASE_FORGET_AFTER;
		break;
	case PHASE_FORGET_AFTER:
		w->counts.users_done++;
		next_user(w, u);
		break;
	}
}

static enum wr_verdict check(
	struct wr_watch *w, const struct wr_watch_user *u, const struct wr_message *m)
{
	bool asked = u->phase == PHASE_COLD || u->phase == PHASE_WARM;
	struct wr_expect e = {.user = u->user->user,
		.op = asked                      ? WR_OP_RECOMMEND
		      : u->phase == PHASE_EVENTS ? WR_OP_EVENT
						 : WR_OP_FORGET,
		.k = asked ? m->n_items <= w->lists->k ? (uint8_t)m->n_items : (uint8_t)w->lists->k
			   : 0,
		.n_items = w->l->server.n_items};
	enum wr_verdict v = wr_verify_answer(&e, m);

	if (!asked || v != WR_VERDICT_OK)
		return v;
	const struct wr_lists_step *s = step_of(w, u, u->step);
	v = wr_verify_list(w->lists->items + s->first_item, s->n_items, m);
	w->counts.lists_checked++;
	if (v != WR_VERDICT_OK)
		w->counts.lists_wrong++;
	if (u->phase == PHASE_COLD)
		w->counts.cold_checked++;
	else
		w->counts.warm_checked++;
	if (m->header.flags & WR_ANS_HANDED_OVER)
		w->counts.handed_over_checked++;
	return v;
}

void wr_watch_forgotten(struct wr_watch *w)
{
	/* Nothing is taken from those in flight: what comes for them is no longer verified. */
	for (unsigned int i = 0; i < w->n; i++)
		w->users[i].forgotten = w->users[i].id || w->users[i].phase != PHASE_FORGET_BEFORE;
}

enum wr_watch_answer wr_watch_take(struct wr_watch *w, const struct wr_message *m,
	struct wr_watch_sent *sent, enum wr_verdict *verdict)
{
	uint64_t id = m->header.request_id;
	unsigned int i = id & ((1u << WR_TALK_INDEX_BITS) - 1);

	*verdict = WR_VERDICT_OK;
	if (i >= w->n || w->users[i].id != id)
		return WR_WATCH_UNKNOWN;
	struct wr_watch_user *u = &w->users[i];
	*sent = (struct wr_watch_sent){u->intended, u->epoch, u->astray};
	w->counts.answers++;
	/* A repeated request stands in the ready ring already; its answer came after all. */
	bool queued = u->sent_tsc == 0;
	u->id = 0;
	u->tries = 0;
	enum wr_watch_answer result = WR_WATCH_OK;
	if (m->answer->status == WR_STATUS_DENIED && m->cookie) {
		/* FORGET with an old cookie: once more with the new one */
		wr_load_take_cookie(w->l, m);
	} else if (m->answer->status != WR_STATUS_OK) {
		w->counts.failed++;
	} else if (u->forgotten || m->answer->shard_epoch != u->epoch ||
		   (u->phase == PHASE_WARM && (m->header.flags & WR_ANS_HISTORY_WANTED))) {
		/* Evicted in the meantime, or another server: what it answered cannot be compared
		 * with anything. */
		restart(w, u);
	} else {
		*verdict = check(w, u, m);
		if (*verdict != WR_VERDICT_OK)
			result = WR_WATCH_WRONG;
		advance(w, u);
	}
	if (!queued)
		push_ready(w, i);
	return result;
}

void wr_watch_retry(struct wr_watch *w, uint64_t now, uint64_t timeout)
{
	for (unsigned int i = 0; i < w->n; i++) {
		struct wr_watch_user *u = &w->users[i];
		if (!u->id || u->sent_tsc == 0 || now - u->sent_tsc < timeout)
			continue;
		if (u->tries >= MAX_TRIES) {
			w->counts.failed++;
			restart(w, u);
		} else {
			u->sent_tsc = 0;
		}
		push_ready(w, i);
	}
}

unsigned int wr_watch_in_flight(const struct wr_watch *w)
{
	return w->n - w->n_ready;
}
