/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of a workload: rendered once a kind, then copied and patched. What a request contains
 * follows from its number and user alone, so that the verifier needs to remember nothing else.
 */
#ifndef WR_LOAD_REQUEST_H
#define WR_LOAD_REQUEST_H

#include "load_core.h"

#define WR_REQUEST_POPULATED 99 /* clicks that wr_load_populate gives every user */
#define WR_REQUEST_MAX_SEEN  128

struct wr_request {
	uint64_t number;
	uint64_t user;
	enum wr_load_kind kind;
};

struct wr_request_template {
	uint8_t bytes[WR_WIRE_MAX_BYTES];
	uint16_t n, used; /* used: without the padding's zero bytes */
	uint16_t event_at, history_at, exclude_at, cookie_at; /* offsets of bodies, 0 = none */
	uint8_t op, k, n_history, n_exclude;
};

struct wr_requests {
	const struct wr_load *l;
	struct wr_load_workload w;
	struct wr_request_template t[WR_LOAD_KIND_N];
	uint8_t mix[1024];
	struct wr_zipf zipf;
	struct wr_rng rng;
	uint64_t mixed_user;
};

/* WR_EINVAL: a message does not fit its datagram, nothing in the mix; WR_ESTATE: HELLO is not
 * known. */
int wr_requests_init(struct wr_requests *r, const struct wr_load *l,
	const struct wr_load_workload *w, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Puts the server's newest cookie into the templates. */
void wr_requests_refresh_cookie(struct wr_requests *r);
/* Kind and user of the next request; call with ascending numbers. */
void wr_requests_pick(struct wr_requests *r, uint64_t number, struct wr_request *q);
/* Writes the message at `message` (q->kind is not WR_LOAD_MALFORMED); returns its template, for n
 * and used. */
const struct wr_request_template *wr_requests_render(const struct wr_requests *r,
	const struct wr_request *q, uint64_t id, int64_t now_ms, uint8_t *message);
/* The click that request `number` reports. */
uint32_t wr_requests_item(const struct wr_requests *r, uint64_t number);
/* Click j of a user's earlier history (populated or sent along). */
uint32_t wr_requests_past_item(const struct wr_requests *r, uint64_t user, uint32_t j);
/*
 * Writes the message that tells clicks at … of a user's past (first_ms: the time of click 0, a
 * minute to the next) into w's room: EVENT, the last one RECOMMEND with K = 1, so that the session
 * is encoded. Returns how many clicks it tells; past ends at WR_REQUEST_POPULATED.
 */
uint32_t wr_requests_past(const struct wr_requests *r, uint64_t user, uint32_t at, int64_t first_ms,
	uint64_t id, struct wr_writer *w);
/*
 * What the answer must be like. n_prior: so many requests right before this one reported clicks of
 * the same user that the server has acknowledged. n_past: clicks of past history that it has for
 * certain. seen: WR_REQUEST_MAX_SEEN ids, exclude: WR_WIRE_MAX_EXCLUDE ids of scratch, which e
 * points into.
 */
void wr_requests_expect(const struct wr_requests *r, const struct wr_request *q,
	unsigned int n_prior, unsigned int n_past, uint32_t *seen, uint32_t *exclude,
	struct wr_expect *e);

#endif
