/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A run: requests leave when the schedule says (open loop) or when an answer has come (closed
 * loop); every answer is verified. One pass of the loop sends what is due, at most a burst, and
 * takes what has arrived.
 */
#include "load_malform.h"
#include "load_request.h"
#include "load_watch.h"

#include <rte_ethdev.h>
#include <rte_prefetch.h>

#include <stdlib.h>

enum { SLOT_FREE, SLOT_OUT, SLOT_DONE, SLOT_LOST };
enum { MIN_SLOTS = 4096, MAX_SLOTS = 1 << 21, DEEP_CHECK_EVERY = 8 };

struct slot {
	uint64_t number, user, intended, sent; /* TSC */
	uint32_t epoch;                        /* of the table by which it went */
	uint8_t kind, state, astray;
};

struct run {
	struct wr_load *l;
	const struct wr_load_run *c;
	struct wr_load_result *r;
	struct wr_requests requests;
	struct wr_watch watch;
	bool watching;
	struct wr_schedule schedule;
	struct wr_malformer *malformer;
	struct slot *slots;
	uint64_t n_slots;    /* a power of two */
	uint64_t head, tail; /* numbers: next to send, oldest that may be in flight */
	uint64_t in_flight, start, end, timeout, sent_at_start, follows_at_start;
	uint64_t epoch_changes; /* of l, so far taken notice of */
	uint64_t dropped;       /* rendered, then the link went down */
	uint64_t since;         /* first request that this server may have seen */
	uint64_t watch_below, malformed_below, detour_below; /* of 2^32 */
	struct wr_rng rng;
	int64_t now_ms;
	uint64_t n_passes_blocked, n_passes;
	bool blocked;
};

/* ---- sending ---- */
static unsigned int draw_detour(struct run *x)
{
	if (x->detour_below == 0 || x->l->n_queues < 2 ||
		(wr_rng_u64(&x->rng) >> 32) >= x->detour_below)
		return 0;
	return 1 + wr_rng_below(&x->rng, x->l->n_queues - 1u);
}

static bool send_malformed(struct run *x)
{
	uint16_t queue = (uint16_t)wr_rng_below(&x->rng, x->l->n_queues);
	uint8_t *frame = wr_load_stage(x->l, queue);

	if (!frame)
		return false;
	uint16_t n = wr_malformer_make(
		x->malformer, wr_malformer_next_kind(x->malformer), wr_clock_unix_ms(), frame);
	wr_load_commit(x->l, queue, n);
	x->r->malformed_sent++;
	x->r->sent_kind[WR_LOAD_MALFORMED]++;
	return true;
}

static bool send_request(struct run *x, uint64_t intended, uint64_t now, unsigned int detour)
{
	struct wr_load *l = x->l;
	struct wr_request q;

	if (x->head - x->tail == x->n_slots)
		return false;
	/* Pick before staging: the route depends on the user. Nothing is lost when there is no
	 * room: picking draws random numbers only, and those that were drawn in vain are as good as
	 * others. */
	wr_requests_pick(&x->requests, x->head, &q);
	struct wr_load_route route = wr_load_route(l, q.user);
	if (detour)
		route = wr_load_detour(l, route, detour);
	uint8_t *frame = wr_load_stage(l, route.queue);
	if (!frame)
		return false;
	const struct wr_request_template *t = wr_requests_render(&x->requests, &q,
		l->tag | (x->head & WR_ID_NUMBER_MASK), x->now_ms, frame + l->head.size);
	wr_load_send(l, route, frame, t->n, t->used);
	x->slots[x->head & (x->n_slots - 1)] = (struct slot){.number = x->head,
		.user = q.user,
		.intended = intended,
		.sent = now,
		.kind = (uint8_t)q.kind,
		.epoch = l->server.shard_epoch,
		.state = SLOT_OUT,
		.astray = route.astray};
	x->head++;
	x->in_flight++;
	x->r->sent_kind[q.kind]++;
	return true;
}

static bool send_one(struct run *x, uint64_t intended, uint64_t now)
{
	uint32_t draw = (uint32_t)(wr_rng_u64(&x->rng) >> 32);
	unsigned int detour = draw_detour(x);
	bool ok;

	if (draw < x->malformed_below)
		return send_malformed(x);
	if (x->watching && draw - x->malformed_below < x->watch_below &&
		wr_watch_send(&x->watch, intended, now, detour))
		ok = true;
	else
		ok = send_request(x, intended, now, detour);
	if (ok && detour)
		x->r->wrong_queue_sent++;
	return ok;
}

static unsigned int send_due(struct run *x, uint64_t now)
{
	unsigned int n = 0;

	x->blocked = false;
	if (x->c->window) {
		while (now < x->end && n < WR_LOAD_BURST) {
			uint64_t flight =
				x->in_flight + (x->watching ? wr_watch_in_flight(&x->watch) : 0);
			if (flight >= x->c->window)
				break;
			if (!send_one(x, now, now)) {
				x->blocked = true;
				break;
			}
			n++;
		}
		x->r->offered += n;
		return n;
	}
	while (n < WR_LOAD_BURST && x->start + x->schedule.next <= now &&
		x->schedule.next < x->end - x->start) {
		uint64_t intended = x->start + x->schedule.next;
		if (!send_one(x, intended, now)) {
			x->blocked = true;
			break;
		}
		wr_hist_add(&x->r->lag_ns, wr_load_ns(x->l, now - intended), 1);
		wr_schedule_pop(&x->schedule);
		n++;
	}
	return n;
}

/* ---- receiving ---- */
static void note_wrong(struct run *x, enum wr_verdict v)
{
	x->r->verdicts[v]++;
	x->r->wrong++;
}

static void note_common(struct run *x, const struct wr_message *m, uint64_t intended, uint64_t now,
	bool astray, uint32_t epoch)
{
	struct wr_load_result *r = x->r;
	uint64_t ns = wr_load_ns(x->l, now > intended ? now - intended : 0);
	uint16_t flags = m->header.flags;

	r->answered++;
	wr_hist_add(&r->latency_ns, ns, 1);
	wr_hist_add(&r->server_us, m->answer->server_us, 1);
	if (ns > x->c->late_us * 1000)
		r->late++;
	for (unsigned int b = 0; flags && b < WR_ARRAY_LEN(r->flags); b++)
		r->flags[b] += flags >> b & 1;
	if (m->answer->status != WR_STATUS_OK) {
		r->errors[m->answer->status & 15]++;
		return;
	}
	if (m->answer->shard_epoch != epoch)
		return; /* it went by another table than the one that answered: any owner may be */
	bool handed = flags & WR_ANS_HANDED_OVER;
	if (astray && !handed)
		r->handover_missing++;
	if (!astray && handed)
		r->handover_unexpected++;
}

/* How many requests right before this one of a "mixed" group are known to have arrived. */
static unsigned int prior_known(const struct run *x, uint64_t number)
{
	unsigned int n = 0;

	if (!x->requests.w.mixed)
		return 0;
	while (n < number % 5) {
		const struct slot *s = &x->slots[(number - 1 - n) & (x->n_slots - 1)];
		if (s->number != number - 1 - n || s->state != SLOT_DONE || s->number < x->since)
			break;
		n++;
	}
	return n;
}

static void verify(struct run *x, const struct slot *s, const struct wr_message *m)
{
	uint32_t seen[WR_REQUEST_MAX_SEEN], exclude[WR_WIRE_MAX_EXCLUDE];
	struct wr_request q = {.number = s->number, .user = s->user, .kind = s->kind};
	struct wr_expect e;
	/* Populated clicks are known to the server unless it has lost the user, which it flags.
	 * Checking all of them in every answer would make the generator the bottleneck: every
	 * eighth one does. */
	bool deep = x->c->populated && s->number % DEEP_CHECK_EVERY == 0 &&
		    x->c->workload.weight[WR_LOAD_FORGET] == 0 &&
		    !(m->header.flags & (WR_ANS_HISTORY_WANTED | WR_ANS_APPROXIMATE));

	bool same = m->answer->shard_epoch == s->epoch;
	wr_requests_expect(&x->requests, &q, same ? prior_known(x, s->number) : 0,
		deep ? WR_REQUEST_POPULATED : 0, seen, exclude, &e);
	enum wr_verdict v = wr_verify_answer(&e, m);
	if (v != WR_VERDICT_OK)
		note_wrong(x, v);
}

static void on_watched(struct run *x, const struct wr_message *m, uint64_t now)
{
	struct wr_watch_sent sent = {0};
	enum wr_verdict v;

	switch (wr_watch_take(&x->watch, m, &sent, &v)) {
	case WR_WATCH_UNKNOWN:
		x->r->duplicate++;
		return;
	case WR_WATCH_WRONG:
		note_wrong(x, v);
		break;
	case WR_WATCH_OK:
		break;
	}
	note_common(x, m, sent.intended, now, sent.astray, sent.epoch);
}

static void on_answer(void *ctx, const struct wr_message *m, uint64_t now)
{
	struct run *x = ctx;
	uint64_t id = m->header.request_id, number = id & WR_ID_NUMBER_MASK;

	if ((id & WR_ID_TAG_MASK) != x->l->tag) {
		x->r->unknown++;
		return;
	}
	if (id & WR_ID_TALK) {
		if (x->watching)
			on_watched(x, m, now);
		else
			x->r->unknown++; /* of an earlier conversation of this process */
		return;
	}
	struct slot *s = &x->slots[number & (x->n_slots - 1)];
	if (s->number != number || s->state == SLOT_FREE) {
		x->r->unknown++;
		if (number >= x->head)
			note_wrong(x, WR_VERDICT_USER); /* an answer to nothing */
		return;
	}
	if (s->state == SLOT_DONE) {
		x->r->duplicate++;
		x->r->wrong++;
		return;
	}
	if (s->state == SLOT_LOST) {
		x->r->after_lost++;
		return;
	}
	s->state = SLOT_DONE;
	x->in_flight--;
	x->r->answered_kind[s->kind]++;
	note_common(x, m, s->intended, now, s->astray, s->epoch);
	if (s->kind != WR_LOAD_EVENT)
		wr_hist_add(&x->r->ask_ns,
			wr_load_ns(x->l, now > s->intended ? now - s->intended : 0), 1);
	if (m->answer->status == WR_STATUS_OK) {
		verify(x, s, m);
	} else if (m->answer->status == WR_STATUS_DENIED && m->cookie) {
		wr_load_take_cookie(x->l, m);
		wr_requests_refresh_cookie(&x->requests);
	}
}

static void expire(struct run *x, uint64_t now)
{
	for (; x->tail < x->head; x->tail++) {
		struct slot *s = &x->slots[x->tail & (x->n_slots - 1)];
		if (s->state != SLOT_OUT)
			continue;
		if (now - s->sent < x->timeout)
			break;
		s->state = SLOT_LOST;
		x->in_flight--;
		x->r->lost++;
	}
}

/* ---- the run ---- */
static int prepare(struct run *x, struct wr_errmsg *msg)
{
	const struct wr_load_run *c = x->c;
	double wanted = c->window ? c->window * 4.0 : c->rate * c->timeout_s * 1.25;

	if (c->workload.wrong_queue > 0 && x->l->n_queues < 2)
		return wr_fail(msg, WR_EINVAL,
			"a share of requests for the wrong queue (--wrong-queue) needs two queue "
			"pairs or more: --queues=2");
	if (c->workload.n_users == 0 || c->seconds <= 0 || c->timeout_s <= 0)
		return wr_fail(msg, WR_EINVAL, "seconds, time-out and users must be above 0");
	for (x->n_slots = MIN_SLOTS; (double)x->n_slots < wanted && x->n_slots < MAX_SLOTS;)
		x->n_slots *= 2;
	x->slots = calloc(x->n_slots, sizeof(*x->slots));
	if (!x->slots)
		return wr_fail(msg, WR_ENOMEM, "not enough memory for %lu requests in flight",
			(unsigned long)x->n_slots);
	int err = wr_requests_init(&x->requests, x->l, &c->workload, msg);
	if (!err && c->window == 0) {
		err = wr_schedule_init(
			&x->schedule, c->arrivals, c->rate, x->l->tsc_hz, c->workload.seed);
		if (err)
			wr_fail(msg, err,
				"the rate must be 1 a second … one a clock tick (Poisson: from 50 "
				"a second)");
	}
	if (!err && c->lists && c->verify_share > 0) {
		err = wr_watch_init(&x->watch, x->l, c->lists, c->verify_users, msg);
		x->watching = !err;
	}
	if (!err && c->workload.malformed > 0)
		err = wr_malformer_new(&x->malformer, x->l, c->workload.seed, msg);
	wr_rng_init(&x->rng, c->workload.seed, 0x5e11d);
	x->malformed_below = (uint64_t)(c->workload.malformed * 4294967296.0);
	x->watch_below = (uint64_t)(c->verify_share * 4294967296.0);
	x->detour_below = (uint64_t)(c->workload.wrong_queue * 4294967296.0);
	x->timeout = wr_load_ticks(x->l, c->timeout_s);
	return err;
}

static bool link_down(const struct wr_load *l)
{
	struct rte_eth_link link;

	return rte_eth_link_get_nowait(l->port_id, &link) == 0 &&
	       link.link_status != RTE_ETH_LINK_UP;
}

/* It may know nothing of what was sent before. */
static void server_changed(struct run *x)
{
	x->since = x->head;
	wr_requests_refresh_cookie(&x->requests);
	if (x->watching)
		wr_watch_forgotten(&x->watch);
}

/* The server has gone: waits for the next one. The schedule goes on meanwhile; what was under way
 * is lost unless its sender repeats it. */
static int outage(struct run *x, struct wr_errmsg *msg)
{
	if (x->c->outage_s <= 0)
		return wr_fail(
			msg, WR_EAGAIN, "the link went down in mid-run: the server has gone");
	x->dropped += wr_load_unstage(x->l);
	uint64_t before = x->l->tx_frames;
	int err = wr_load_reconnect(x->l, x->c->outage_s, msg);
	x->sent_at_start += x->l->tx_frames - before;
	if (err)
		return err;
	x->r->reconnects++;
	server_changed(x);
	return 0;
}

static int housekeeping(struct run *x, uint64_t now, struct wr_errmsg *msg)
{
	struct wr_load *l = x->l;

	x->now_ms = wr_clock_unix_ms();
	expire(x, now);
	if (x->watching)
		wr_watch_retry(&x->watch, now, x->timeout);
	if (wr_stop_requested())
		return wr_fail(msg, WR_EINTR, "stopped");
	wr_load_follow(l, now);
	int err = link_down(l) ? outage(x, msg) : 0;
	if (l->epoch_changes != x->epoch_changes) {
		x->r->epoch_changes += l->epoch_changes - x->epoch_changes;
		x->epoch_changes = l->epoch_changes;
		server_changed(x);
	}
	return err;
}

static bool all_done(const struct run *x, uint64_t now)
{
	if (now < x->end)
		return false;
	if (now > x->end + x->timeout)
		return true;
	return x->in_flight == 0 && !(x->watching && wr_watch_in_flight(&x->watch)) &&
	       !wr_load_staged(x->l);
}

static uint64_t progress_done(const struct run *x)
{
	return x->c->window ? x->r->answered : x->schedule.n;
}

static int loop(struct run *x, struct wr_load_clock *clock, struct wr_errmsg *msg)
{
	struct wr_load *l = x->l;
	struct wr_progress progress;
	uint64_t tick = wr_load_ticks(l, 0.001), next_tick;
	int err = 0;

	if (x->c->progress)
		wr_progress_start(&progress, x->c->window ? "answers" : "requests",
			x->c->window ? 0 : (uint64_t)(x->c->rate * x->c->seconds));
	x->now_ms = wr_clock_unix_ms();
	wr_load_clock_start(clock);
	x->start = clock->start;
	x->end = x->start + wr_load_ticks(l, x->c->seconds);
	next_tick = x->start + tick;
	for (;;) {
		uint64_t now = wr_clock_tsc();
		unsigned int sent = send_due(x, now);
		bool flushed = (sent || x->blocked || wr_load_staged(l)) && wr_load_flush(l) > 0;
		unsigned int received = wr_load_poll(l, on_answer, x);

		wr_load_clock_pass(clock, now, sent || flushed || received);
		x->n_passes++;
		x->n_passes_blocked += x->blocked;
		if (now < next_tick)
			continue;
		next_tick = now + tick;
		err = housekeeping(x, now, msg);
		if (err || all_done(x, now))
			break;
		if (x->c->progress)
			wr_progress_update(&progress, progress_done(x), NULL);
	}
	if (x->c->progress)
		wr_progress_end(&progress, progress_done(x), NULL);
	return err;
}

static void blame(struct run *x, struct wr_load_result *r)
{
	double blocked = x->n_passes ? (double)x->n_passes_blocked / (double)x->n_passes : 0;
	uint64_t lag_us = wr_hist_quantile(&r->lag_ns, 0.99) / 1000;
	size_t room = sizeof(r->bottleneck);

	if (x->c->window) {
		r->generator_bound = r->busy_share > 0.95;
		if (r->generator_bound)
			snprintf(r->bottleneck, room,
				"THE GENERATOR WAS THE BOTTLENECK: it was busy for %.0f %% of the "
				"time",
				100 * r->busy_share);
		return;
	}
	bool behind = lag_us > x->c->max_lag_us || r->unsent * 1000 > r->offered;
	if (!behind)
		return;
	if (r->tx_full > 0 && blocked > 0.01) {
		snprintf(r->bottleneck, room,
			"the server was the bottleneck: its ring was full and requests waited here "
			"(schedule lag p99 %lu us, %lu never sent)",
			(unsigned long)lag_us, (unsigned long)r->unsent);
		return;
	}
	r->generator_bound = true;
	snprintf(r->bottleneck, room,
		"THE GENERATOR WAS THE BOTTLENECK: schedule lag p99 %lu us, %lu never sent; busy "
		"%.0f %% of the time, "
		"had a CPU %.0f %% of the time",
		(unsigned long)lag_us, (unsigned long)r->unsent, 100 * r->busy_share,
		100 * r->cpu_share);
}

static void conclude(struct run *x, const struct wr_load_clock *clock)
{
	struct wr_load *l = x->l;
	struct wr_load_result *r = x->r;
	uint64_t now = wr_clock_tsc(), until = WR_MIN(now, x->end);

	if (x->c->window == 0) {
		r->unsent = wr_schedule_drain(&x->schedule, until - x->start);
		r->offered = x->schedule.n;
	}
	/* What still stands in the stage was rendered but never sent. */
	uint64_t staged = wr_load_unstage(l), open = x->in_flight;
	if (x->watching) {
		r->watch = x->watch.counts;
		open += wr_watch_in_flight(&x->watch);
	}
	r->sent = l->tx_frames - x->sent_at_start - (l->n_follows - x->follows_at_start);
	r->unsent += staged + x->dropped;
	r->lost += open > staged ? open - staged : 0;
	r->lost -= WR_MIN(r->lost, x->dropped);
	r->seconds = (double)(until - x->start) / (double)l->tsc_hz;
	r->rate = x->c->window ? 0 : x->c->rate;
	wr_load_clock_end(clock, l, &r->busy_share, &r->cpu_share);
}

int wr_load_run(struct wr_load *l, const struct wr_load_run *c, struct wr_load_result *r,
	struct wr_errmsg *msg)
{
	struct run x = {.l = l,
		.c = c,
		.r = r,
		.sent_at_start = l->tx_frames,
		.follows_at_start = l->n_follows,
		.epoch_changes = l->epoch_changes};
	struct wr_load_clock clock;
	uint64_t full = l->tx_full, other = l->frames_other, bad = l->frames_bad,
		 undecoded = l->messages_bad;
	uint64_t malformed = 0;

	memset(r, 0, sizeof(*r));
	for (unsigned int i = 0; i < WR_ARRAY_LEN(l->malformed_answers); i++)
		malformed -= l->malformed_answers[i];
	int err = prepare(&x, msg);
	if (!err && l->options.realtime)
		err = wr_thread_realtime(l->options.realtime, msg);
	if (!err) {
		err = loop(&x, &clock, msg);
		if (l->options.realtime)
			(void)!wr_thread_realtime(0, NULL);
		conclude(&x, &clock);
		r->tx_full = l->tx_full - full;
		r->frames_other = l->frames_other - other;
		r->frames_bad = l->frames_bad - bad;
		r->messages_bad = l->messages_bad - undecoded;
		for (unsigned int i = 0; i < WR_ARRAY_LEN(l->malformed_answers); i++)
			malformed += l->malformed_answers[i];
		r->malformed_answered = malformed;
		blame(&x, r);
	}
	free(x.slots);
	wr_schedule_fini(&x.schedule);
	wr_watch_fini(&x.watch);
	wr_malformer_free(x.malformer);
	return err;
}
