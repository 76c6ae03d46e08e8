/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the daemon must answer, computed here: a user as a plain array of tokens, the list by the
 * reference level. Slow and obvious.
 */
#ifndef WR_REFERENCE_H
#define WR_REFERENCE_H

#include "wr_rank.h"
#include "wr_wire.h"

#include <stdlib.h>

#define REF_MAX_TOKENS 4096

struct reference {
	struct wr_bundle *bundle;
	struct wr_model *model;
	struct wr_encoder *encoder;
	struct wr_ranker *ranker;
	uint32_t n_items, history_events;
};
struct ref_user {
	uint64_t id;
	unsigned int n; /* tokens, oldest first */
	uint32_t item[REF_MAX_TOKENS];
};

static inline void reference_open(struct reference *r, const char *bundle)
{
	struct wr_errmsg msg;
	if (wr_bundle_open(&r->bundle, bundle, &msg))
		abort();
	const struct wr_bundle_model *m = wr_bundle_model(r->bundle);
	r->n_items = m->n_items;
	r->history_events = wr_bundle_history_events(m);
	if (wr_model_new(&r->model, r->bundle, WR_ISA_REF, WR_GEMM_OWN, NULL, &msg) ||
		wr_encoder_new(&r->encoder, r->model, 1, r->history_events, NULL, &msg) ||
		wr_ranker_new(&r->ranker, r->model, r->bundle, 1, NULL, &msg))
		abort();
}

static inline void reference_close(struct reference *r)
{
	wr_ranker_free(r->ranker);
	wr_encoder_free(r->encoder);
	wr_model_free(r->model);
	wr_bundle_close(r->bundle);
}

static inline void ref_click(struct ref_user *u, uint32_t item)
{
	if (u->n < REF_MAX_TOKENS)
		u->item[u->n++] = item;
}

/* The list for a user; exclude may be NULL. Its length. */
static inline unsigned int reference_list(struct reference *r, const struct ref_user *u,
	unsigned int k, bool filter_seen, const uint32_t *exclude, unsigned int n_exclude,
	struct wr_rank_item items[WR_RANK_MAX_K])
{
	uint64_t *seen = calloc((r->n_items + 63) / 64, sizeof(*seen));
	uint32_t *rows = calloc(r->history_events, sizeof(*rows));
	if (!seen || !rows)
		abort();
	for (unsigned int i = 0; i < u->n; i++)
		seen[(u->item[i] - 1) / 64] |= UINT64_C(1) << ((u->item[i] - 1) % 64);
	unsigned int n = WR_MIN(u->n, r->history_events);
	for (unsigned int i = 0; i < n; i++)
		rows[i] = u->item[u->n - n + i] - 1;
	uint32_t off[2] = {0, n};
	struct wr_user_vectors v = wr_encoder_encode(r->encoder, 1, off, rows);
	struct wr_rank_query q = {.seen = filter_seen ? seen : NULL,
		.exclude = exclude,
		.n_exclude = (uint16_t)n_exclude,
		.k = (uint8_t)k,
		.popular = n == 0};
	uint8_t got = 0;
	wr_ranker_rank(r->ranker, 1, &v, &q, items, &got);
	free(seen);
	free(rows);
	return got;
}

#endif
