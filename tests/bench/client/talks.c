/* SPDX-License-Identifier: BSD-3-Clause */
/* Conversations from a lists file. */
#include "talks.h"
#include "load_lists.h"
#include "load_verify.h"

#include <stdlib.h>
#include <string.h>

#define TELL_ABOVE   120 /* more events than a history holds go ahead as numbered EVENTs */
#define MAX_ATTEMPTS 64  /* answers to one step; then it counts as wrong */

enum phase { PHASE_FORGET, PHASE_TELL, PHASE_CLICK, PHASE_AGAIN };

struct talk {
	const struct wr_lists_user *of;
	uint64_t user;
	uint32_t step, total; /* events up to and with this step's */
	uint32_t told;        /* by EVENT ahead */
	uint8_t phase, attempts;
	bool numbered, waits, failed;
};

struct talks {
	struct wr_lists *lists;
	struct talk *talk;
	uint32_t n_talks, *ready, n_ready, head, current;
	uint64_t next, round;
	bool endless, finish;
	uint64_t n_open; /* talks that have a user */
	struct wr_wire_event events[WR_WIRE_MAX_EVENTS];
};

static uint64_t user_of_round(uint64_t user, uint64_t round)
{
	return round ? wr_mix64(user + round * 0x9e3779b97f4a7c15u) : user;
}

/* Gives the talk its next user, if there is one. */
static bool begin(struct talks *t, struct talk *k)
{
	const struct wr_lists *l = t->lists;
	if (t->next == l->n_users) {
		if (!t->endless)
			return false;
		t->next = 0;
		t->round++;
	}
	const struct wr_lists_user *of = &l->users[t->next++];
	*k = (struct talk){.of = of,
		.user = user_of_round(of->user, t->round),
		.total = l->steps[of->first_step].n_events};
	k->numbered = k->total + of->n_steps > TELL_ABOVE;
	return true;
}

static void push(struct talks *t, uint32_t talk)
{
	t->ready[(t->head + t->n_ready++) % t->n_talks] = talk;
}

int talks_open(struct talks **out, const char *lists, uint64_t n_talks, bool endless,
	struct wr_errmsg *msg)
{
	struct talks *t = calloc(1, sizeof(*t));
	*out = NULL;
	if (!t)
		return wr_fail(msg, WR_ENOMEM, "no memory for the lists");
	int err = wr_lists_read(&t->lists, lists, msg);
	if (!err) {
		t->endless = endless;
		t->n_talks = (uint32_t)WR_MIN(n_talks, (uint64_t)t->lists->n_users);
		t->talk = calloc(t->n_talks, sizeof(*t->talk));
		t->ready = calloc(t->n_talks, sizeof(*t->ready));
		if (!t->talk || !t->ready)
			err = wr_fail(msg, WR_ENOMEM, "no memory for the lists");
	}
	for (uint32_t i = 0; !err && i < t->n_talks && begin(t, &t->talk[i]); i++) {
		t->n_open++;
		push(t, i);
	}
	if (err)
		talks_close(t);
	else
		*out = t;
	return err;
}

void talks_close(struct talks *t)
{
	if (!t)
		return;
	wr_lists_free(t->lists);
	free(t->talk);
	free(t->ready);
	free(t);
}

const char *talks_bundle(const struct talks *t)
{
	return t->lists->bundle;
}

unsigned int talks_k(const struct talks *t)
{
	return t->lists->k;
}

static const uint32_t *events_of(const struct talks *t, const struct talk *k)
{
	return t->lists->events + t->lists->steps[k->of->first_step].first_event;
}

static const int64_t *times_of(const struct talks *t, const struct talk *k)
{
	return t->lists->times + t->lists->steps[k->of->first_step].first_event;
}

static void put_events(struct talks *t, const struct talk *k, uint32_t from, uint32_t n,
	struct wr_client_request *r)
{
	for (uint32_t i = 0; i < n; i++)
		t->events[i] = (struct wr_wire_event){.item = events_of(t, k)[from + i],
			.kind = WR_KIND_CLICK,
			.time_ms = times_of(t, k)[from + i]};
	r->events = t->events;
	r->n_events = n;
	r->base_seq = k->numbered ? from + 1 : 0;
}

static uint32_t chunk(const struct talk *k)
{
	return WR_MIN(k->total - 1 - k->told, (uint32_t)WR_WIRE_MAX_EVENTS);
}

bool talks_next(struct talks *t, struct wr_client_request *r, uint8_t *op, uint32_t *talk)
{
	if (t->n_ready == 0)
		return false;
	t->current = *talk = t->ready[t->head];
	t->head = (t->head + 1) % t->n_talks;
	t->n_ready--;
	struct talk *k = &t->talk[*talk];
	k->waits = true;
	*r = (struct wr_client_request){.user_id = k->user};
	switch ((enum phase)k->phase) {
	case PHASE_FORGET:
		*op = WR_OP_FORGET;
		break;
	case PHASE_TELL:
		*op = WR_OP_EVENT;
		put_events(t, k, k->told, chunk(k), r);
		break;
	case PHASE_CLICK:
		put_events(t, k, k->total - 1, 1, r);
		/* fall through */
	case PHASE_AGAIN:
		*op = WR_OP_RECOMMEND;
		r->k = (uint8_t)t->lists->k;
		r->time_ms = t->lists->steps[k->of->first_step + k->step].asked_ms;
		break;
	}
	return true;
}

bool talks_history(void *arg, uint64_t user_id, uint8_t domain, unsigned int n_wanted,
	struct wr_client_history *h)
{
	struct talks *t = arg;
	const struct talk *k = &t->talk[t->current];
	(void)domain;
	(void)n_wanted;
	if (user_id != k->user || k->numbered)
		return false;
	h->items = events_of(t, k);
	h->times = times_of(t, k);
	h->n = k->total - (k->phase == PHASE_CLICK);
	h->complete = true;
	return true;
}

static void forgotten(struct talk *k)
{
	k->told = 0;
	k->phase = k->numbered && k->total > 1 ? PHASE_TELL : PHASE_CLICK;
}

static void next_step(struct talks *t, struct talk *k, struct bench_result *r)
{
	k->attempts = 0;
	k->phase = PHASE_CLICK;
	k->total++;
	if (++k->step < k->of->n_steps)
		return;
	r->users_done++;
	if (!begin(t, k)) {
		k->of = NULL;
		t->n_open--;
	}
}

static void compare(
	struct talks *t, struct talk *k, const struct wr_message *m, struct bench_result *r)
{
	const struct wr_lists_step *s = &t->lists->steps[k->of->first_step + k->step];
	bool same = m->n_items == s->n_items &&
		    wr_verify_list(t->lists->items + s->first_item, s->n_items, m) == WR_VERDICT_OK;
	r->lists_checked++;
	r->lists_wrong += !same;
	r->wrong += !same;
	r->verdict[WR_VERDICT_LIST] += !same;
	if (!same && r->lists_wrong <= 3)
		fprintf(stderr, "client_bench: user %lu, step %u: another list than expected\n",
			(unsigned long)k->user, k->step);
	next_step(t, k, r);
}

/* What the server had of the user was not enough. A history tells it; where events were numbered,
 * those below the gap would count as known: all from the start. */
static void retell(struct talk *k, struct bench_result *r)
{
	r->retold++;
	k->phase = k->numbered ? PHASE_FORGET : PHASE_AGAIN;
}

void talks_answer(
	struct talks *t, uint32_t talk, const struct wr_client_answer *a, struct bench_result *r)
{
	struct talk *k = &t->talk[talk];
	k->waits = false;
	k->failed = a->result != WR_OK;
	/* A server may be away for long; one that answers must come to a list. */
	k->attempts += !k->failed;
	if (k->attempts > MAX_ATTEMPTS) {
		fprintf(stderr, "client_bench: user %lu, step %u: no list after %d attempts\n",
			(unsigned long)k->user, k->step, MAX_ATTEMPTS);
		r->wrong++;
		r->lists_wrong++;
		next_step(t, k, r);
	} else if (k->failed) {
		r->steps_again++;
	} else if (k->phase == PHASE_FORGET) {
		forgotten(k);
	} else if (a->message->header.flags & (WR_ANS_HISTORY_WANTED | WR_ANS_APPROXIMATE)) {
		retell(k, r);
	} else if (k->phase == PHASE_TELL) {
		k->attempts = 0;
		k->told += chunk(k);
		if (k->told == k->total - 1)
			k->phase = PHASE_CLICK;
	} else {
		compare(t, k, a->message, r);
	}
	if (k->of && (!t->finish || k->failed))
		push(t, talk);
}

void talks_finish(struct talks *t)
{
	uint32_t n = t->n_ready;
	t->finish = true;
	for (; n > 0; n--) {
		uint32_t talk = t->ready[t->head];
		t->head = (t->head + 1) % t->n_talks;
		t->n_ready--;
		if (t->talk[talk].failed)
			push(t, talk);
	}
}

bool talks_ready(const struct talks *t)
{
	return t->n_ready > 0;
}

bool talks_done(const struct talks *t)
{
	return t->n_open == 0;
}

uint64_t talks_unanswered(const struct talks *t)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < t->n_talks; i++)
		n += t->talk[i].of && (t->talk[i].waits || t->talk[i].failed);
	return n;
}
