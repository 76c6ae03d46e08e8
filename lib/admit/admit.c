/* SPDX-License-Identifier: BSD-3-Clause */
/* The verdict: rules in a fixed order, the first that objects decides. */
#include "admit_internal.h"

#include <stdlib.h>
#include <string.h>

struct wr_admit {
	struct cookies cookies;
	uint64_t ticks_per_us;
	struct sources sources;
};

int wr_admit_new(struct wr_admit **a, const struct wr_admit_config *config, uint64_t now_ns,
	struct wr_errmsg *msg)
{
	*a = NULL;
	if (config->cookie_rotate_s < WR_ADMIT_MIN_ROTATE_S ||
		config->cookie_rotate_s > WR_ADMIT_MAX_ROTATE_S)
		return wr_fail(msg, WR_EINVAL, "cookie_rotate_s is %u; it must be %u … %u",
			config->cookie_rotate_s, WR_ADMIT_MIN_ROTATE_S, WR_ADMIT_MAX_ROTATE_S);
	if (config->tsc_hz < 1000000)
		return wr_fail(msg, WR_EINVAL, "a clock of %llu Hz cannot tell microseconds",
			(unsigned long long)config->tsc_hz);
	struct wr_admit *n =
		aligned_alloc(WR_CACHE_LINE, WR_ALIGN_UP(sizeof(*n), (size_t)WR_CACHE_LINE));
	if (!n)
		return wr_fail(msg, WR_ENOMEM, "no memory for the admission rules (%zu bytes)",
			sizeof(*n));
	int err = wr_admit_sources_parse(&n->sources, config->allow, msg);
	if (err) {
		free(n);
		return err;
	}
	n->ticks_per_us = config->tsc_hz / 1000000;
	wr_admit_cookies_init(&n->cookies, config->cookie_rotate_s, now_ns);
	*a = n;
	return WR_OK;
}

void wr_admit_free(struct wr_admit *a)
{
	free(a);
}

void wr_admit_rotate(struct wr_admit *a, uint64_t now_ns)
{
	wr_admit_cookies_rotate(&a->cookies, now_ns);
}

void wr_admit_cookie(
	const struct wr_admit *a, const uint8_t address[16], struct wr_wire_cookie *cookie)
{
	wr_admit_cookies_make(&a->cookies, address, cookie);
}

static void drop(struct wr_admit_verdict *v, enum wr_outcome outcome)
{
	v->action = WR_ADMIT_DROP;
	v->outcome = (uint8_t)outcome;
}

static void answer(struct wr_admit_verdict *v, enum wr_status status, enum wr_outcome outcome)
{
	v->action = WR_ADMIT_ANSWER;
	v->status = (uint8_t)status;
	v->outcome = (uint8_t)outcome;
}

static enum wr_outcome unsound_outcome(enum wr_decode d)
{
	switch (d) {
	case WR_DECODE_SHORT:
		return WR_OUTCOME_wire_short;
	case WR_DECODE_NOT_REQUEST:
		return WR_OUTCOME_wire_not_request;
	default:
		return WR_OUTCOME_wire_length;
	}
}

static bool too_late(const struct wr_admit *a, const struct wr_admit_request *r, uint64_t now_tsc)
{
	const struct wr_wire_ask *ask = r->message->ask;
	if (!ask || ask->budget_us == 0 || now_tsc <= r->arrival_tsc)
		return false;
	return now_tsc - r->arrival_tsc >= ask->budget_us * a->ticks_per_us;
}

/* The place of an address; what another one has left there is forgotten. */
static struct wr_admit_source *recall(
	const struct wr_admit *a, struct wr_admit_memo *memo, const uint8_t address[16])
{
	uint64_t high, low, was[2];
	memcpy(&high, address, 8);
	memcpy(&low, address + 8, 8);
	struct wr_admit_source *s = &memo->source[wr_mix64(high ^ low) & (WR_ADMIT_MEMO_SLOTS - 1)];
	memcpy(was, s->address, 16);
	if (s->known && was[0] == high && was[1] == low)
		return s;
	memcpy(s->address, address, 16);
	s->known = true;
	s->has_mac = false;
	s->allowed = wr_admit_sources_match(&a->sources, address);
	return s;
}

static inline void check_one(const struct wr_admit *a, struct wr_admit_memo *memo,
	const struct wr_admit_request *r, uint64_t now_tsc, struct wr_admit_verdict *v)
{
	const struct wr_message *m = r->message;
	memset(v, 0, sizeof(*v));
	v->action = WR_ADMIT_SERVE;
	v->outcome = WR_OUTCOME_answered;
	struct wr_admit_source *source = memo ? recall(a, memo, r->address) : NULL;
	if (source ? !source->allowed : !wr_admit_sources_match(&a->sources, r->address)) {
		drop(v, WR_OUTCOME_denied_source);
		return;
	}
	enum wr_status status =
		r->decoded == WR_DECODE_OK ? WR_STATUS_OK : wr_decode_status(r->decoded);
	if (r->decoded != WR_DECODE_OK && status == WR_STATUS_OK) {
		drop(v, unsound_outcome(r->decoded));
		return;
	}
	enum cookie_state cookie =
		m->cookie ? wr_admit_cookies_check(&a->cookies, m->cookie, r->address, source)
			  : COOKIE_BAD;
	v->proven = cookie != COOKIE_BAD;
	v->give_cookie = cookie != COOKIE_CURRENT || m->header.op == WR_OP_HELLO;
	v->reply_bytes = v->proven ? WR_WIRE_MAX_BYTES : (uint16_t)r->bytes;
	if (!v->proven && r->bytes < WR_WIRE_MIN_UNPROVEN)
		drop(v, WR_OUTCOME_short_unproven);
	else if (status != WR_STATUS_OK)
		answer(v, status, WR_OUTCOME_answered_error);
	else if (m->auth) /* this version's configuration has no keys: every key id is unknown */
		answer(v, WR_STATUS_DENIED, WR_OUTCOME_answered_error);
	else if (m->header.op == WR_OP_FORGET && !v->proven)
		answer(v, WR_STATUS_DENIED, WR_OUTCOME_answered_error);
	else if (too_late(a, r, now_tsc))
		answer(v, WR_STATUS_DEADLINE, WR_OUTCOME_deadline);
}

void wr_admit_check(const struct wr_admit *a, struct wr_admit_memo *memo,
	const struct wr_admit_request *requests, unsigned int n, uint64_t now_tsc,
	struct wr_admit_verdict *verdicts)
{
	for (unsigned int i = 0; i < n; i++)
		check_one(a, memo, &requests[i], now_tsc, &verdicts[i]);
}
