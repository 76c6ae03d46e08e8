/* SPDX-License-Identifier: BSD-3-Clause */
/* Templates of the workloads' messages, and what is patched into them per request. */
#include "load_request.h"

#include <stdlib.h>

static const char *const kind_names[WR_LOAD_KIND_N] = {"echo", "warm", "cold", "cold-99", "event",
	"ask", "utterance", "hello", "forget", "malformed"};

const char *wr_load_kind_name(enum wr_load_kind k)
{
	return (unsigned int)k < WR_LOAD_KIND_N ? kind_names[k] : "unknown";
}

/* ---- workloads by name ---- */
int wr_load_workload(struct wr_load_workload *w, const char *name)
{
	*w = (struct wr_load_workload){
		.datagram = 256, .k = 10, .n_users = 200000, .seed = 1, .proof = true};
	if (strcmp(name, "mixed") == 0) {
		w->mixed = true;
		return 0;
	}
	for (unsigned int i = 0; i <= WR_LOAD_HELLO; i++) {
		if (i == WR_LOAD_ASK || strcmp(name, kind_names[i]) != 0)
			continue;
		w->weight[i] = 1;
		if (i == WR_LOAD_COLD || i == WR_LOAD_HELLO)
			w->datagram = 640;
		if (i == WR_LOAD_COLD99)
			w->datagram = 1024;
		if (i == WR_LOAD_UTTERANCE)
			w->utterance = "where is the parcel that I have ordered last week?";
		return 0;
	}
	return WR_ENOENT;
}

static int mix_word(struct wr_load_workload *w, char *word, struct wr_errmsg *msg)
{
	char *colon = strchr(word, ':');
	uint64_t weight = 1;

	if (colon)
		*colon = 0;
	if (colon && wr_parse_u64(colon + 1, 0, 1000000, &weight) != 0)
		return wr_fail(
			msg, WR_EINVAL, "--mix: the weight of %s must be a whole number", word);
	if (strcmp(word, "recommend") == 0)
		word = (char *)"warm";
	for (unsigned int i = 0; i < WR_LOAD_MALFORMED; i++) {
		if (strcmp(word, kind_names[i]) == 0) {
			w->weight[i] = (unsigned int)weight;
			return 0;
		}
	}
	return wr_fail(msg, WR_EINVAL,
		"--mix: no operation %s; there are recommend, echo, cold, cold-99, event, ask, "
		"utterance, hello, forget",
		word);
}

int wr_load_parse_mix(struct wr_load_workload *w, const char *text, struct wr_errmsg *msg)
{
	char *copy = strdup(text), *save = NULL;
	int err = 0;

	if (!copy)
		return wr_fail(msg, WR_ENOMEM, "not enough memory");
	memset(w->weight, 0, sizeof(w->weight));
	w->mixed = false;
	for (char *word = strtok_r(copy, ",", &save); word && !err;
		word = strtok_r(NULL, ",", &save))
		err = mix_word(w, word, msg);
	free(copy);
	return err;
}

/* ---- ids ---- */
static uint32_t item_from(const struct wr_requests *r, uint64_t x)
{
	/* High half of a product: uniform enough over catalogues far below 2^32. */
	return 1 + (uint32_t)(((wr_mix64(x) >> 32) * r->l->server.n_items) >> 32);
}

/* Five requests in a row report five different items: those of a "mixed" group must not look like
 * duplicates. */
uint32_t wr_requests_item(const struct wr_requests *r, uint64_t number)
{
	uint64_t n = r->l->server.n_items;
	uint64_t first = item_from(r, (number / 5) ^ r->w.seed << 48 ^ (uint64_t)0xc11c << 32);

	return 1 + (uint32_t)((first - 1 + number % 5 * (n / 5 + 1)) % n);
}

uint32_t wr_requests_past_item(const struct wr_requests *r, uint64_t user, uint32_t j)
{
	return item_from(r, wr_mix64(user) + j);
}

static uint32_t exclude_item(const struct wr_requests *r, uint64_t number, uint32_t j)
{
	return item_from(r, wr_mix64(number + 0x5eed) ^ j);
}

/* ---- templates ---- */
static uint16_t begin_body(const struct wr_writer *w)
{
	return (uint16_t)(w->used + WR_WIRE_SECTION_HEAD);
}

static void write_sections(struct wr_requests *r, enum wr_load_kind kind,
	struct wr_request_template *t, struct wr_writer *w)
{
	static const uint32_t ones[WR_WIRE_MAX_HISTORY] = {[0 ... WR_WIRE_MAX_HISTORY - 1] = 1};
	bool recommend = t->op == WR_OP_RECOMMEND;

	if (recommend)
		wr_writer_ask(w, t->k, 0);
	if (kind == WR_LOAD_WARM || kind == WR_LOAD_EVENT || kind == WR_LOAD_UTTERANCE) {
		struct wr_wire_event e = {.item = 1, .kind = WR_KIND_CLICK};
		t->event_at = (uint16_t)(begin_body(w) + sizeof(struct wr_wire_events_head));
		wr_writer_events(w, 0, &e, 1);
	}
	if (t->n_history) {
		int64_t times[WR_WIRE_MAX_HISTORY];
		for (uint32_t i = 0; i < t->n_history; i++)
			times[i] = wr_lists_time(i);
		t->history_at = begin_body(w);
		wr_writer_history(w, ones, NULL, times, t->n_history, true);
	}
	if (t->n_exclude) {
		t->exclude_at = begin_body(w);
		wr_writer_exclude(w, ones, t->n_exclude);
	}
	if (kind == WR_LOAD_UTTERANCE && r->w.utterance)
		wr_writer_utterance(w, r->w.utterance, strlen(r->w.utterance));
	if (kind == WR_LOAD_FORGET ||
		(r->w.proof && kind != WR_LOAD_HELLO && r->l->server.has_cookie)) {
		t->cookie_at = begin_body(w);
		wr_writer_cookie(w, &r->l->server.cookie);
	}
}

static int make_template(struct wr_requests *r, enum wr_load_kind kind, struct wr_errmsg *msg)
{
	struct wr_request_template *t = &r->t[kind];
	unsigned int datagram = r->w.datagram;
	struct wr_writer w;

	*t = (struct wr_request_template){.op = WR_OP_RECOMMEND, .k = (uint8_t)r->w.k};
	if (kind == WR_LOAD_ECHO)
		t->k = 0;
	if (kind == WR_LOAD_EVENT || kind == WR_LOAD_HELLO || kind == WR_LOAD_FORGET) {
		t->op = kind == WR_LOAD_EVENT   ? WR_OP_EVENT
			: kind == WR_LOAD_HELLO ? WR_OP_HELLO
						: WR_OP_FORGET;
		t->k = 0;
	}
	if (kind == WR_LOAD_COLD)
		t->n_history = 50;
	if (kind == WR_LOAD_COLD99)
		t->n_history = 99;
	if (t->k)
		t->n_exclude = (uint8_t)r->w.n_exclude;
	/* Kinds that cannot do with the mix's size get what they need. */
	if (kind == WR_LOAD_COLD || kind == WR_LOAD_HELLO)
		datagram = WR_MAX(datagram, 640u);
	if (kind == WR_LOAD_COLD99)
		datagram = WR_MAX(datagram, 1024u);

	struct wr_wire_header h = wr_load_header(t->op, 0, 0, WR_REQ_PAD_ANSWER);
	wr_writer_init(&w, t->bytes, sizeof(t->bytes), &h);
	write_sections(r, kind, t, &w);
	uint32_t used = w.used;
	wr_writer_pad(&w, datagram);
	int n = wr_writer_finish(&w);
	if (n < 0 || (unsigned int)n > datagram)
		return wr_fail(msg, WR_EINVAL,
			"a %s request does not fit %u bytes: set --size higher", kind_names[kind],
			datagram);
	t->n = (uint16_t)n;
	t->used = (uint16_t)WR_MIN((uint32_t)n, used + WR_WIRE_SECTION_HEAD);
	return 0;
}

static int fill_mix(struct wr_requests *r, struct wr_errmsg *msg)
{
	uint64_t total = 0, before = 0;

	for (unsigned int k = 0; k < WR_LOAD_MALFORMED; k++)
		total += r->w.weight[k];
	if (total == 0 && !r->w.mixed)
		return wr_fail(msg, WR_EINVAL, "the mix of operations is empty");
	for (unsigned int k = 0; k < WR_LOAD_MALFORMED && total; k++) {
		uint64_t from = before * WR_ARRAY_LEN(r->mix) / total;
		before += r->w.weight[k];
		uint64_t to = before * WR_ARRAY_LEN(r->mix) / total;
		/* A weight that is given gets at least one slot in 1,024. */
		if (r->w.weight[k] && from == to)
			from = from ? from - 1 : to++;
		memset(r->mix + from, (int)k, to - from);
	}
	return 0;
}

int wr_requests_init(struct wr_requests *r, const struct wr_load *l,
	const struct wr_load_workload *w, struct wr_errmsg *msg)
{
	*r = (struct wr_requests){.l = l, .w = *w};
	if (!l->server.known || l->server.n_items == 0)
		return wr_fail(msg, WR_ESTATE, "HELLO has not been answered yet");
	if (w->k > WR_WIRE_MAX_K || w->n_exclude > WR_WIRE_MAX_EXCLUDE || w->n_users == 0)
		return wr_fail(msg, WR_EINVAL,
			"K is at most %d, exclusions at most %d, users at least 1", WR_WIRE_MAX_K,
			WR_WIRE_MAX_EXCLUDE);
	int err = fill_mix(r, msg);
	for (unsigned int k = 0; k < WR_LOAD_MALFORMED && !err; k++) {
		bool used = w->weight[k] || (w->mixed && (k == WR_LOAD_EVENT || k == WR_LOAD_ASK));
		if (used)
			err = make_template(r, k, msg);
	}
	if (err)
		return err;
	if (w->zipf > 0)
		wr_zipf_init(&r->zipf, w->n_users, w->zipf);
	wr_rng_init(&r->rng, w->seed, 0x10ad);
	return 0;
}

void wr_requests_refresh_cookie(struct wr_requests *r)
{
	for (unsigned int k = 0; k < WR_LOAD_KIND_N; k++)
		if (r->t[k].cookie_at)
			memcpy(r->t[k].bytes + r->t[k].cookie_at, &r->l->server.cookie,
				sizeof(struct wr_wire_cookie));
}

static uint64_t draw_user(struct wr_requests *r)
{
	uint64_t i = r->w.zipf > 0 ? wr_zipf_draw(&r->zipf, &r->rng)
				   : wr_rng_below(&r->rng, r->w.n_users);

	return WR_USERS_LOAD | i;
}

void wr_requests_pick(struct wr_requests *r, uint64_t number, struct wr_request *q)
{
	q->number = number;
	if (r->w.mixed) {
		if (number % 5 == 0 || !r->mixed_user)
			r->mixed_user = draw_user(r);
		q->user = r->mixed_user;
		q->kind = number % 5 == 4 ? WR_LOAD_ASK : WR_LOAD_EVENT;
		return;
	}
	q->kind = r->mix[wr_rng_u64(&r->rng) >> 54];
	if (q->kind == WR_LOAD_COLD || q->kind == WR_LOAD_COLD99)
		q->user = WR_USERS_FRESH | (r->l->tag >> WR_ID_TAG_SHIFT) << 32 | (uint32_t)number;
	else
		q->user = draw_user(r);
}

const struct wr_request_template *wr_requests_render(const struct wr_requests *r,
	const struct wr_request *q, uint64_t id, int64_t now_ms, uint8_t *message)
{
	const struct wr_request_template *t = &r->t[q->kind];
	uint32_t item;

	memcpy(message, t->bytes, t->n);
	memcpy(message + offsetof(struct wr_wire_header, request_id), &id, 8);
	memcpy(message + offsetof(struct wr_wire_header, user_id), &q->user, 8);
	memcpy(message + offsetof(struct wr_wire_header, time_ms), &now_ms, 8);
	if (t->event_at) {
		item = wr_requests_item(r, q->number);
		memcpy(message + t->event_at, &item, 4);
		memcpy(message + t->event_at + offsetof(struct wr_wire_event, time_ms), &now_ms, 8);
	}
	if (t->history_at) {
		uint8_t *entry = message + t->history_at + sizeof(struct wr_wire_history_head);
		memcpy(message + t->history_at, &now_ms, 8);
		for (uint32_t j = 0; j < t->n_history;
			j++, entry += sizeof(struct wr_wire_history_entry)) {
			item = wr_requests_past_item(r, q->user, j) | (uint32_t)(WR_KIND_CLICK - 1)
									      << 30;
			memcpy(entry, &item, 4);
		}
	}
	for (uint32_t j = 0; j < t->n_exclude; j++) {
		item = exclude_item(r, q->number, j);
		memcpy(message + t->exclude_at + 4 * j, &item, 4);
	}
	return t;
}

void wr_requests_expect(const struct wr_requests *r, const struct wr_request *q,
	unsigned int n_prior, unsigned int n_past, uint32_t *seen, uint32_t *exclude,
	struct wr_expect *e)
{
	const struct wr_request_template *t = &r->t[q->kind];

	*e = (struct wr_expect){.user = q->user,
		.op = t->op,
		.k = t->k,
		.n_items = r->l->server.n_items,
		.exclude = exclude,
		.n_exclude = t->n_exclude,
		.seen = seen};
	if (t->k == 0)
		return;
	for (uint32_t j = 0; j < t->n_exclude; j++)
		exclude[j] = exclude_item(r, q->number, j);
	if (t->event_at)
		seen[e->n_seen++] = wr_requests_item(r, q->number);
	for (uint32_t j = 0; j < n_prior && e->n_seen < WR_REQUEST_MAX_SEEN; j++)
		seen[e->n_seen++] = wr_requests_item(r, q->number - 1 - j);
	if (t->n_history > n_past)
		n_past = t->n_history;
	for (uint32_t j = 0; j < n_past && e->n_seen < WR_REQUEST_MAX_SEEN; j++)
		seen[e->n_seen++] = wr_requests_past_item(r, q->user, j);
}
