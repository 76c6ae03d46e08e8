/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The evaluation over the wire: every test user is forgotten, told again by EVENT chunks, and asked
 * twice, seen items filtered and not. A million events take some 40,000 messages; conversations
 * keep a user's messages in order.
 */
#include "load_talk.h"

#include <math.h>
#include <stdlib.h>

enum phase { PHASE_FORGET, PHASE_EVENTS, PHASE_ASK, PHASE_ASK_UNFILTERED };

enum { MIN_TOKENS = 3 }; /* users with fewer only train */

struct pupil {
	const struct wr_tokens_user *user;
	uint32_t at; /* events told so far */
	uint8_t phase;
	bool started;
};

/* Where the expected list of a user stands, for one lists file. */
struct key {
	const struct wr_lists *lists;
	uint32_t *step; /* by index of the user in tokens: step + 1, 0 = none */
};

struct eval {
	struct wr_load *l;
	const struct wr_load_eval *c;
	struct wr_load_eval_result *r;
	struct wr_tokens *tokens;
	struct pupil *pupil;
	struct key key[2]; /* filtered, unfiltered */
	size_t next;
	uint32_t shown;
	double hits[2], gains[2];
	uint64_t asked[2];
	struct wr_progress progress;
};

static uint32_t history(const struct wr_tokens_user *u)
{
	return u->n - 1;
}

static uint32_t chunk(const struct pupil *p)
{
	return WR_MIN(history(p->user) - p->at, (uint32_t)WR_WIRE_MAX_EVENTS);
}

static bool next_pupil(struct eval *e, struct pupil *p)
{
	if (e->c->max_users && e->r->users >= e->c->max_users)
		return false;
	while (e->next < e->tokens->n_users) {
		const struct wr_tokens_user *u = &e->tokens->users[e->next++];
		if (u->n < MIN_TOKENS)
			continue;
		*p = (struct pupil){.user = u, .started = true};
		e->r->users++;
		return true;
	}
	return false;
}

static void write_events(const struct eval *e, const struct pupil *p, struct wr_writer *w)
{
	struct wr_wire_event event[WR_WIRE_MAX_EVENTS];
	uint32_t n = chunk(p);

	for (uint32_t j = 0; j < n; j++) {
		size_t at = p->user->first + p->at + j;
		event[j] = (struct wr_wire_event){.item = e->tokens->items[at],
			.kind = WR_KIND_CLICK,
			.time_ms =
				e->tokens->timed ? e->tokens->times[at] : wr_lists_time(p->at + j)};
	}
	wr_writer_events(w, 0, event, n);
}

static bool render(void *ctx, unsigned int i, uint64_t id, struct wr_writer *w, uint64_t *user)
{
	static const uint8_t ops[] = {WR_OP_FORGET, WR_OP_EVENT, WR_OP_RECOMMEND, WR_OP_RECOMMEND};
	struct eval *e = ctx;
	struct pupil *p = &e->pupil[i];

	if (!p->started && !next_pupil(e, p))
		return false;
	*user = p->user->user;
	struct wr_wire_header h = wr_load_header(ops[p->phase], id, *user,
		p->phase == PHASE_ASK_UNFILTERED ? WR_REQ_INCLUDE_SEEN : 0);
	if (e->tokens->timed && p->phase >= PHASE_ASK) /* when the target came */
		h.time_ms = e->tokens->times[p->user->first + history(p->user)];
	wr_writer_init(w, w->data, w->size, &h);
	switch ((enum phase)p->phase) {
	case PHASE_FORGET:
		wr_writer_cookie(w, &e->l->server.cookie);
		break;
	case PHASE_EVENTS:
		write_events(e, p, w);
		break;
	case PHASE_ASK:
	case PHASE_ASK_UNFILTERED:
		wr_writer_ask(w, (uint8_t)e->c->k, 0);
		break;
	}
	wr_writer_pad(w, WR_MAX(128u, 104 + e->c->k * (unsigned int)sizeof(struct wr_wire_item)));
	return true;
}

/* ---- marks ---- */
static void print_difference(struct eval *e, const struct pupil *p, const char *which,
	const struct wr_lists *l, const struct wr_lists_step *s, const struct wr_message *m)
{
	char text[2048];
	size_t n = 0;

	if (e->shown++ >= e->c->show)
		return;
	n += (size_t)snprintf(text + n, sizeof(text) - n, "user %lu (%s): expected",
		(unsigned long)p->user->user, which);
	for (uint32_t i = 0; i < s->n_items && n < sizeof(text) - 32; i++)
		n += (size_t)snprintf(
			text + n, sizeof(text) - n, " %u", l->items[s->first_item + i]);
	n += (size_t)snprintf(text + n, sizeof(text) - n, ", got");
	for (uint32_t i = 0; i < m->n_items && n < sizeof(text) - 32; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, " %u", m->items[i].item);
	fprintf(stderr, "%s\n", text);
}

static void mark(struct eval *e, const struct pupil *p, bool unfiltered, const struct wr_message *m)
{
	uint32_t target = e->tokens->items[p->user->first + p->user->n - 1];
	struct wr_expect x = {.user = p->user->user,
		.op = WR_OP_RECOMMEND,
		.k = (uint8_t)e->c->k,
		.n_items = e->l->server.n_items};

	e->asked[unfiltered]++;
	if (!unfiltered) {
		x.seen = e->tokens->items + p->user->first;
		x.n_seen = history(p->user);
	}
	if (wr_verify_answer(&x, m) != WR_VERDICT_OK)
		e->r->wrong++;
	for (unsigned int i = 0; i < m->n_items; i++) {
		if (m->items[i].item != target)
			continue;
		e->hits[unfiltered]++;
		e->gains[unfiltered] += 1 / log2(i + 2.0);
	}
	const struct key *key = &e->key[unfiltered];
	if (!key->lists || !key->step[p->user - e->tokens->users])
		return;
	const struct wr_lists_step *s =
		&key->lists->steps[key->step[p->user - e->tokens->users] - 1];
	uint32_t n = WR_MIN(s->n_items, e->c->k);
	bool same = wr_verify_list(key->lists->items + s->first_item, n, m) == WR_VERDICT_OK &&
		    m->n_items == n;
	if (unfiltered) {
		e->r->compared_unfiltered++;
		e->r->different_unfiltered += !same;
	} else {
		e->r->compared++;
		e->r->different += !same;
	}
	if (!same)
		print_difference(
			e, p, unfiltered ? "seen included" : "seen filtered", key->lists, s, m);
}

static void advance(struct eval *e, struct pupil *p)
{
	switch ((enum phase)p->phase) {
	case PHASE_FORGET:
		p->phase = PHASE_EVENTS;
		break;
	case PHASE_EVENTS:
		e->r->events += chunk(p);
		p->at += chunk(p);
		if (p->at == history(p->user))
			p->phase = PHASE_ASK;
		break;
	case PHASE_ASK:
		p->phase = PHASE_ASK_UNFILTERED;
		break;
	case PHASE_ASK_UNFILTERED:
		p->started = false;
		break;
	}
}

static void take_answer(void *ctx, unsigned int i, const struct wr_message *m, uint64_t latency_ns)
{
	struct eval *e = ctx;
	struct pupil *p = &e->pupil[i];

	if (m->answer->status != WR_STATUS_OK) {
		e->r->errors++;
		/* A cookie that has aged: the refusal brought a new one (wr_talks_run keeps it). */
		if (p->phase == PHASE_FORGET && m->answer->status == WR_STATUS_DENIED && m->cookie)
			return;
	} else if (m->header.user_id != p->user->user) {
		e->r->wrong++;
	} else if (p->phase == PHASE_ASK || p->phase == PHASE_ASK_UNFILTERED) {
		mark(e, p, p->phase == PHASE_ASK_UNFILTERED, m);
	}
	advance(e, p);
}

static void fail(void *ctx, unsigned int i)
{
	struct eval *e = ctx;

	advance(e, &e->pupil[i]);
}

static void tick(void *ctx)
{
	struct eval *e = ctx;

	if (e->c->progress)
		wr_progress_update(&e->progress, e->next, NULL);
}

static const struct wr_talk_ops eval_ops = {render, take_answer, fail};

/* ---- lists of users ---- */
struct index_entry {
	uint64_t user;
	uint32_t at;
};

static int by_user(const void *a, const void *b)
{
	const struct index_entry *x = a, *y = b;

	return x->user < y->user ? -1 : x->user > y->user;
}

/* The step of a user of the lists after which the history is the user's first n tokens; 0 = none,
 * -1 = other events. */
static int64_t matching_step(
	const struct wr_lists *l, const struct wr_lists_user *u, const uint32_t *tokens, uint32_t n)
{
	uint32_t known = 0;

	for (uint32_t s = 0; s < u->n_steps; s++) {
		const struct wr_lists_step *step = &l->steps[u->first_step + s];
		for (uint32_t i = 0; i < step->n_events; i++, known++)
			if (known >= n + 1 || l->events[step->first_event + i] != tokens[known])
				return -1;
		if (known == n)
			return (int64_t)u->first_step + s + 1;
	}
	return 0;
}

/* Finds for every test user the step whose history is the one that will be told. */
static int make_key(struct eval *e, struct key *key, const struct wr_lists *l, bool filtered,
	struct wr_errmsg *msg)
{
	const struct wr_tokens *t = e->tokens;
	size_t found = 0;

	if (!l)
		return 0;
	if (l->filtered != filtered)
		return wr_fail(msg, WR_EINVAL, "the lists file for %s answers says filtered=%d",
			filtered ? "filtered" : "unfiltered", l->filtered);
	if (l->bundle[0] && strcmp(l->bundle, e->l->server.bundle) != 0)
		return wr_fail(msg, WR_EINVAL,
			"the lists are of bundle %s, the server serves %s: write them again with "
			"wrtrain eval --lists",
			l->bundle, e->l->server.bundle);
	struct index_entry *index = calloc(t->n_users, sizeof(*index));
	key->step = calloc(t->n_users, sizeof(*key->step));
	key->lists = l;
	if (!index || !key->step) {
		free(index);
		return wr_fail(msg, WR_ENOMEM, "not enough memory");
	}
	for (size_t i = 0; i < t->n_users; i++)
		index[i] = (struct index_entry){t->users[i].user, (uint32_t)i};
	qsort(index, t->n_users, sizeof(*index), by_user);
	int err = 0;
	for (size_t i = 0; i < l->n_users && !err; i++) {
		struct index_entry wanted = {.user = l->users[i].user};
		const struct index_entry *at =
			bsearch(&wanted, index, t->n_users, sizeof(*index), by_user);
		if (!at || t->users[at->at].n < MIN_TOKENS)
			continue;
		const struct wr_tokens_user *u = &t->users[at->at];
		int64_t step = matching_step(l, &l->users[i], t->items + u->first, history(u));
		if (step < 0)
			err = wr_fail(msg, WR_EINVAL,
				"user %lu has another history in the lists than in "
				"%s/interactions.tsv: were they made "
				"from this dataset?",
				(unsigned long)u->user, e->c->data);
		else
			key->step[at->at] = (uint32_t)step;
		found += step > 0;
	}
	free(index);
	if (!err && found == 0)
		err = wr_fail(msg, WR_EINVAL,
			"no user of the lists has a step whose history is all tokens of "
			"%s/interactions.tsv but the last",
			e->c->data);
	return err;
}

static void conclude(struct eval *e, const struct wr_talks *t)
{
	struct wr_load_eval_result *r = e->r;

	r->requests = t->requests;
	r->retried = t->retried;
	r->failed = t->failed;
	if (e->asked[0]) {
		r->hr = e->hits[0] / (double)e->asked[0];
		r->ndcg = e->gains[0] / (double)e->asked[0];
	}
	if (e->asked[1]) {
		r->hr_unfiltered = e->hits[1] / (double)e->asked[1];
		r->ndcg_unfiltered = e->gains[1] / (double)e->asked[1];
	}
}

int wr_load_eval(struct wr_load *l, const struct wr_load_eval *c, struct wr_load_eval_result *r,
	struct wr_errmsg *msg)
{
	struct eval e = {.l = l, .c = c, .r = r};
	struct wr_talks t = {.ops = &eval_ops,
		.ctx = &e,
		.n = c->window,
		.timeout_s = 0.5,
		.max_tries = 20,
		.tick = tick};

	memset(r, 0, sizeof(*r));
	if (c->window == 0 || c->k == 0 || c->k > WR_WIRE_MAX_K)
		return wr_fail(
			msg, WR_EINVAL, "the window must be above 0 and K 1 … %d", WR_WIRE_MAX_K);
	int err = wr_tokens_read(&e.tokens, c->data, msg);
	if (!err)
		err = make_key(&e, &e.key[0], c->filtered, true, msg);
	if (!err)
		err = make_key(&e, &e.key[1], c->unfiltered, false, msg);
	e.pupil = calloc(c->window, sizeof(*e.pupil));
	if (!err && !e.pupil)
		err = wr_fail(msg, WR_ENOMEM, "not enough memory");
	if (!err) {
		uint64_t start = wr_clock_ns();
		if (c->progress)
			wr_progress_start(&e.progress, "eval (users)", e.tokens->n_users);
		err = wr_talks_run(l, &t, msg);
		if (c->progress)
			wr_progress_end(&e.progress, e.next, NULL);
		r->seconds = (double)(wr_clock_ns() - start) / 1e9;
		conclude(&e, &t);
	}
	free(e.pupil);
	free(e.key[0].step);
	free(e.key[1].step);
	wr_tokens_free(e.tokens);
	return err;
}
