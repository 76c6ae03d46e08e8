/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests: from the caller's struct to a datagram in a slot, its tries, its end. A datagram is a
 * body, which never changes, and what stands behind it for one server: cookie, padding, tag.
 */
#include "client_internal.h"

#include <string.h>

/* Bytes of a body, so that cookie and tag always find room. */
#define BODY_BYTES (WR_WIRE_MAX_BYTES - WR_WIRE_COOKIE_BYTES - WR_WIRE_AUTH_BYTES)

#define UNIX_CLOCK_NS 100000000u

/* ---- slots ---- */
void wr_client_slot_name(struct wr_client *c, struct client_slot *s)
{
	do
		s->id = wr_rng_u64(&c->rng) << c->slot_bits;
	while (s->id == 0);
	s->id |= slot_index(c, s);
}

void wr_client_slot_seal(struct wr_client *c, struct client_slot *s)
{
	const struct client_server *v = &c->servers[s->server];
	struct wr_writer w = {slot_data(c, s), WR_WIRE_MAX_BYTES, s->body_bytes, false};
	size_t bytes = WR_MAX(c->o.pad_bytes, s->unproven_bytes);
	if (v->have_cookie) {
		wr_writer_cookie(&w, &v->cookie);
		/* HELLO stays long: it also asks whether the cookie still holds. */
		if (s->op != WR_OP_HELLO)
			bytes = c->o.pad_bytes;
	}
	wr_writer_pad(&w, c->o.key ? bytes - WR_WIRE_AUTH_BYTES : bytes);
	if (c->o.key)
		wr_writer_auth(&w, c->o.key_id, c->key);
	int total = wr_writer_finish(&w);
	assert(total > 0); /* BODY_BYTES leaves the room */
	s->bytes = (uint16_t)total;
}

static struct client_slot *slot_take(struct wr_client *c)
{
	if (c->n_free == 0)
		return NULL;
	return &c->slots[c->free_slots[--c->n_free]];
}

static void slot_give(struct wr_client *c, struct client_slot *s)
{
	s->id = 0;
	c->free_slots[c->n_free++] = slot_index(c, s);
}

void wr_client_slot_end(
	struct wr_client *c, struct client_slot *s, int result, const struct wr_message *m)
{
	struct wr_client_answer a = {.result = result,
		.status = m ? m->answer->status : WR_STATUS_OK,
		.user_id = s->user,
		.request_id = s->id,
		.latency_ns = c->now_ns - s->begun_ns,
		.n_tries = s->n_tries,
		.server = s->server,
		.message = m};
	wr_client_done *done = s->done;
	void *arg = s->arg;
	wr_client_timer_clear(c, s);
	wr_client_send_unqueue(c, s);
	slot_give(c, s); /* first, so that the callback can submit even when all were taken */
	if (m)
		wr_hist_add(&c->stats.latency_ns, a.latency_ns, 1);
	if (result == WR_OK)
		c->stats.n_ok++;
	else if (result == WR_EPERM)
		c->stats.n_refused++;
	else if (result == WR_EAGAIN)
		c->stats.n_gave_up++;
	else
		c->stats.n_interrupted++;
	if (done)
		done(arg, &a);
}

/* A retry stays with its server, as the session is there; the last one, and every one when it is
 * down, tries another. */
void wr_client_slot_retry(struct wr_client *c, struct client_slot *s, bool timed_out)
{
	unsigned int before = s->server;
	s->n_tries++;
	s->resting = false;
	if (timed_out) {
		s->timeout_ns *= 2;
		bool leave = !c->servers[before].view.up || s->n_tries >= c->o.max_tries;
		if (leave && c->n_servers > 1)
			s->server = (uint8_t)wr_client_server_choose(c, s->user, (int)before);
	}
	if (s->server != before) {
		c->stats.n_failovers++;
		wr_client_slot_seal(c, s);
	} else if (!timed_out) {
		wr_client_slot_seal(c, s); /* with the cookie of the answer */
	}
	c->stats.n_resent++;
	wr_client_send_queue(c, s);
	wr_client_timer_set(c, s, c->now_ns + s->timeout_ns);
}

void wr_client_slot_due(struct wr_client *c, struct client_slot *s)
{
	if (s->op == WR_OP_HELLO) {
		wr_client_server_hello_due(c, s);
		return;
	}
	if (s->resting) {
		wr_client_slot_retry(c, s, false);
		return;
	}
	c->stats.n_timeouts++;
	if (s->queue == NONE)
		wr_client_server_timed_out(c, s);
	if (s->n_tries >= c->o.max_tries)
		wr_client_slot_end(c, s, WR_EAGAIN, NULL);
	else
		wr_client_slot_retry(c, s, true);
}

/* ---- history that a server asked for ---- */
static struct client_wanted *wanted_set(struct wr_client *c, uint64_t user, uint8_t domain)
{
	uint32_t hash = (uint32_t)wr_mix64(user ^ (uint64_t)domain << 56);
	return &c->wanted[(hash & c->wanted_mask) * WANTED_WAYS];
}

/* NULL: nobody asked. */
static struct client_wanted *wanted_of(struct wr_client *c, uint64_t user, uint8_t domain)
{
	struct client_wanted *w = wanted_set(c, user, domain);
	for (unsigned int i = 0; i < WANTED_WAYS; i++)
		if (w[i].set && w[i].user == user && w[i].domain == domain)
			return &w[i];
	return NULL;
}

void wr_client_want_history(struct wr_client *c, uint64_t user, uint8_t domain)
{
	struct client_wanted *w = wanted_set(c, user, domain), *at = wanted_of(c, user, domain);
	for (unsigned int i = 0; i < WANTED_WAYS && !at; i++)
		at = w[i].set ? NULL : &w[i];
	/* All taken: any of them, so that users who come round in turn do not displace each other
	 * for ever. */
	if (!at)
		at = &w[wr_mix64(c->wanted_victim++) % WANTED_WAYS];
	*at = (struct client_wanted){user, domain, true};
}

/* The history to send with this request: the caller's own, or the callback's. */
static bool history_for(struct wr_client *c, const struct wr_client_request *r, unsigned int server,
	struct wr_client_history *h)
{
	struct client_wanted *w = wanted_of(c, r->user_id, r->domain);
	if (r->history) {
		*h = *r->history;
	} else {
		if (!w || !c->o.history)
			return false;
		*h = (struct wr_client_history){0};
		if (!c->o.history(c->o.history_arg, r->user_id, r->domain,
			    c->servers[server].view.history_events, h))
			return false;
	}
	if (w) /* should this datagram be lost, the server asks again */
		w->set = false;
	return true;
}

static void history_cut(struct wr_client_history *h, unsigned int n)
{
	if (h->n <= n)
		return;
	unsigned int skip = h->n - n;
	h->items += skip;
	h->kinds += h->kinds ? skip : 0;
	h->times += h->times ? skip : 0;
	h->n = n;
	h->complete = false;
}

/* ---- bodies ---- */
static size_t history_bytes(const struct wr_client_history *h)
{
	return h->n || h->complete ? 20 + 8 * (size_t)h->n : 0;
}

/* Shortens what may be left out until the body fits, in the protocol's order: context, the oldest
 * history, the tail of exclude. */
static bool fit(struct wr_client_request *r, struct wr_client_history *h, uint8_t op)
{
	size_t fixed = WR_WIRE_HEADER_BYTES + (r->n_events ? 12 + 24 * (size_t)r->n_events : 0);
	if (op == WR_OP_RECOMMEND)
		fixed += 12 +
			 (r->utterance_bytes ? 4 + WR_ALIGN_UP(r->utterance_bytes, (size_t)4) : 0);
	if (fixed > BODY_BYTES)
		return false;
	size_t room = BODY_BYTES - fixed, exclude = r->n_exclude ? 4 + 4 * r->n_exclude : 0;
	size_t context = r->n_context ? 4 + 8 * r->n_context : 0;
	history_cut(h, WR_WIRE_MAX_HISTORY);
	if (context + history_bytes(h) + exclude > room)
		r->n_context = 0;
	context = r->n_context ? context : 0;
	if (context + history_bytes(h) + exclude > room) {
		size_t left = room > exclude + 20 ? (room - exclude - 20) / 8 : 0;
		history_cut(h, (unsigned int)left);
		if (left == 0)
			*h = (struct wr_client_history){0};
	}
	if (exclude > room)
		r->n_exclude = room < 8 ? 0 : (unsigned int)(room - 4) / 4;
	return true;
}

static bool in_range(const struct wr_client_request *r, uint8_t op)
{
	if (r->n_events > WR_WIRE_MAX_EVENTS || r->time_ms < 0 ||
		(op == WR_OP_EVENT && r->n_events == 0) || r->k > WR_WIRE_MAX_K ||
		r->n_exclude > WR_WIRE_MAX_EXCLUDE || r->n_context > WR_WIRE_MAX_CONTEXT ||
		r->utterance_bytes > WR_WIRE_MAX_UTTERANCE)
		return false;
	if (r->n_events && r->base_seq > UINT64_MAX - (r->n_events - 1))
		return false;
	for (unsigned int i = 0; i < r->n_events; i++) {
		const struct wr_wire_event *e = &r->events[i];
		if (e->item == 0 || e->item > WR_WIRE_MAX_ITEM || e->time_ms < 0 ||
			e->kind < WR_KIND_VIEW || e->kind > WR_KIND_INTENT)
			return false;
	}
	for (unsigned int i = 0; i < r->n_exclude; i++)
		if (r->exclude[i] == 0 || r->exclude[i] > WR_WIRE_MAX_ITEM)
			return false;
	return true;
}

static void write_events(struct wr_writer *w, const struct wr_client_request *r, int64_t time_ms)
{
	uint32_t at = w->used + WR_WIRE_SECTION_HEAD + sizeof(struct wr_wire_events_head);
	wr_writer_events(w, r->base_seq, r->events, r->n_events);
	if (w->failed)
		return;
	struct wr_wire_event *e = (void *)(w->data + at);
	for (unsigned int i = 0; i < r->n_events; i++)
		if (e[i].time_ms == 0)
			e[i].time_ms = time_ms;
}

/* Wall time now. That clock is read ten times a second, which is soon enough to follow a step of
 * it; between, the monotonic one counts. */
static int64_t unix_ms(struct wr_client *c)
{
	if (c->unix_ms == 0 || c->now_ns - c->unix_at_ns > UNIX_CLOCK_NS) {
		c->unix_ms = wr_clock_unix_ms();
		c->unix_at_ns = c->now_ns;
	}
	return c->unix_ms + (int64_t)((c->now_ns - c->unix_at_ns) / NS_PER_MS);
}

/* Writes the body of r into the slot; WR_EINVAL when it is too long or says something wrong. */
static int write_body(struct wr_client *c, struct client_slot *s, struct wr_client_request *r)
{
	struct wr_client_history h = {0};
	if (s->op != WR_OP_FORGET && !history_for(c, r, s->server, &h))
		h = (struct wr_client_history){0};
	if (!fit(r, &h, s->op))
		return WR_EINVAL;
	struct wr_wire_header head = {.version = WR_WIRE_VERSION,
		.op = s->op,
		.flags = r->flags,
		.domain = r->domain,
		.request_id = s->id,
		.user_id = r->user_id,
		.time_ms = r->time_ms ? r->time_ms : unix_ms(c)};
	struct wr_writer w;
	wr_writer_init(&w, slot_data(c, s), BODY_BYTES, &head);
	if (s->op == WR_OP_RECOMMEND)
		wr_writer_ask(&w, r->k, r->budget_us);
	write_events(&w, r, head.time_ms);
	wr_writer_history(&w, h.items, h.kinds, h.times, h.n, h.complete);
	c->stats.n_histories += h.n || h.complete;
	if (s->op == WR_OP_RECOMMEND) {
		wr_writer_exclude(&w, r->exclude, r->n_exclude);
		wr_writer_utterance(&w, r->utterance, r->utterance_bytes);
		size_t bytes = r->n_context * sizeof(*r->context);
		void *context =
			bytes ? wr_writer_section(&w, WR_SEC_CONTEXT, (uint8_t)r->n_context, bytes)
			      : NULL;
		if (context)
			memcpy(context, r->context, bytes);
	}
	s->body_bytes = (uint16_t)w.used;
	return w.failed ? WR_EINVAL : WR_OK;
}

static uint16_t unproven_bytes(const struct wr_client_request *r, uint8_t op)
{
	unsigned int items = op == WR_OP_RECOMMEND ? 16u * r->k : 0;
	return (uint16_t)(WR_WIRE_MIN_UNPROVEN + (items ? 4 + items : 0));
}

static int submit(struct wr_client *c, const struct wr_client_request *given, uint8_t op)
{
	struct wr_client_request r = *given;
	if (c->n_servers == 0 || c->ending)
		return WR_ESTATE;
	if (!in_range(&r, op))
		return WR_EINVAL;
	if (!c->inside)
		c->now_ns = wr_clock_ns();
	struct client_slot *s = slot_take(c);
	if (!s)
		return WR_EFULL;
	s->op = op;
	s->user = r.user_id;
	s->domain = r.domain;
	s->done = r.done;
	s->arg = r.arg;
	s->server = (uint8_t)wr_client_server_choose(c, s->user, -1);
	s->begun_ns = c->now_ns;
	s->n_tries = 1;
	s->resting = s->renewed = false;
	s->unproven_bytes = unproven_bytes(&r, op);
	memset(s->to, 0, sizeof(s->to));
	s->timeout_ns = WR_MAX((uint64_t)c->o.timeout_ms * 1000, (uint64_t)r.budget_us) * 1000;
	wr_client_slot_name(c, s);
	int err = write_body(c, s, &r);
	if (err) {
		slot_give(c, s);
		return err;
	}
	wr_client_slot_seal(c, s);
	c->stats.n_submitted++;
	wr_client_send_queue(c, s);
	wr_client_timer_set(c, s, c->now_ns + s->timeout_ns);
	if (!c->inside && c->armed_ns != 1)
		wr_client_timer_arm(c);
	return WR_OK;
}

int wr_client_recommend(struct wr_client *c, const struct wr_client_request *r)
{
	return submit(c, r, WR_OP_RECOMMEND);
}

int wr_client_event(struct wr_client *c, const struct wr_client_request *r)
{
	struct wr_client_request e = *r;
	e.k = 0;
	e.n_exclude = e.n_context = 0;
	e.utterance_bytes = 0;
	return submit(c, &e, WR_OP_EVENT);
}

int wr_client_forget(struct wr_client *c, const struct wr_client_request *r)
{
	struct wr_client_request f = {.user_id = r->user_id,
		.domain = r->domain,
		.time_ms = r->time_ms,
		.done = r->done,
		.arg = r->arg};
	return submit(c, &f, WR_OP_FORGET);
}
