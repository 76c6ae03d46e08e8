/* SPDX-License-Identifier: BSD-3-Clause */
/* The reference's side: users as the protocol describes them, in plain arrays. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

struct user {
	uint64_t id;
	uint32_t n, room;
	uint32_t *rows;
	int64_t *times;
};

struct check {
	struct wr_model *model;
	struct wr_encoder *encoder;
	struct wr_ranker *ranker;
	uint32_t n_items, history;
	uint64_t *seen;
	struct user *users;
	uint32_t n_users;
};

int check_new(struct check **out, const struct wr_bundle *b, struct wr_errmsg *msg)
{
	struct check *c = calloc(1, sizeof(*c));
	*out = c;
	if (!c)
		return wr_fail(msg, WR_ENOMEM, "out of memory");
	c->n_items = wr_bundle_model(b)->n_items;
	c->history = wr_bundle_history_events(wr_bundle_model(b));
	c->seen = calloc((c->n_items + 63) / 64, sizeof(*c->seen));
	int err = c->seen ? 0 : wr_fail(msg, WR_ENOMEM, "out of memory");
	if (!err)
		err = wr_model_new(&c->model, b, WR_ISA_REF, WR_GEMM_OWN, NULL, msg);
	if (!err)
		err = wr_encoder_new(&c->encoder, c->model, 1, c->history, NULL, msg);
	if (!err)
		err = wr_ranker_new(&c->ranker, c->model, b, 1, NULL, msg);
	return err;
}

void check_forget(struct check *c)
{
	for (uint32_t i = 0; i < c->n_users; i++) {
		free(c->users[i].rows);
		free(c->users[i].times);
	}
	c->n_users = 0;
}

void check_free(struct check *c)
{
	if (!c)
		return;
	check_forget(c);
	free(c->users);
	free(c->seen);
	wr_ranker_free(c->ranker);
	wr_encoder_free(c->encoder);
	wr_model_free(c->model);
	free(c);
}

static void click(struct user *u, uint32_t item, int64_t time)
{
	if (u->n == u->room) {
		u->room = u->room ? 2 * u->room : 256;
		u->rows = realloc(u->rows, u->room * sizeof(*u->rows));
		u->times = realloc(u->times, u->room * sizeof(*u->times));
		if (!u->rows || !u->times)
			abort();
	}
	u->rows[u->n] = item - 1;
	u->times[u->n++] = time;
}

/* The user, with the past that the sources tell of everybody they populate. */
static struct user *user_of(struct check *c, const struct source *s, uint64_t id)
{
	for (uint32_t i = 0; i < c->n_users; i++)
		if (c->users[i].id == id)
			return &c->users[i];
	if ((c->n_users & (c->n_users + 1)) == 0 || !c->users) {
		c->users = realloc(c->users, 2 * (c->n_users + 1) * sizeof(*c->users));
		if (!c->users)
			abort();
	}
	struct user *u = &c->users[c->n_users++];
	*u = (struct user){.id = id};
	for (uint32_t j = 0; !s->cold && j < WR_REQUEST_POPULATED; j++)
		click(u, wr_requests_past_item(&s->requests, id, j),
			s->past_ms + 60000 * (int64_t)j);
	return u;
}

static bool list_is_same(
	struct check *c, const struct user *u, const struct wr_message *m, const struct watched *w)
{
	struct wr_rank_item items[WR_RANK_MAX_K];
	uint8_t n = 0, out = 0;
	uint32_t tokens = WR_MIN(u->n, c->history), off[2] = {0, tokens};
	int64_t asked = m->header.time_ms;
	struct wr_encoder_batch batch = {.n_seqs = 1,
		.seq_off = off,
		.rows = u->rows + u->n - tokens,
		.times = u->times + u->n - tokens,
		.asked = &asked,
		.out = &out};
	struct wr_rank_query q = {.k = m->ask->k, .seen = c->seen};

	memset(c->seen, 0, (c->n_items + 63) / 64 * sizeof(*c->seen));
	for (uint32_t i = 0; i < u->n; i++)
		c->seen[u->rows[i] / 64] |= (uint64_t)1 << u->rows[i] % 64;
	struct wr_user_vectors v = wr_encoder_cold(c->encoder, &batch);
	wr_ranker_rank(c->ranker, 1, &v, &q, items, &n);
	bool same = n == w->n_items;
	for (unsigned int i = 0; i < n && same; i++)
		same = items[i].item == w->items[i].item && items[i].score == w->items[i].score;
	return same;
}

void check_source(struct check *c, const struct source *s, uint32_t first, uint32_t lists,
	struct checked *sum)
{
	uint32_t n = 0, step, at = 0;

	for (uint32_t i = first; i < s->n_watched; i++)
		n += s->watched[i].fed;
	step = n / WR_MAX(lists, 1u) + 1;
	for (uint32_t i = first; i < s->n_watched; i++) {
		const struct watched *w = &s->watched[i];
		struct wr_message m;
		if (!w->fed)
			continue;
		sum->unanswered += !w->answered;
		if (wr_wire_decode_request(w->message, w->n, &m) != WR_DECODE_OK)
			continue;
		struct user *u = user_of(c, s, m.header.user_id);
		if (m.n_history && u->n == 0) {
			int64_t times[WR_WIRE_MAX_HISTORY];
			wr_wire_history_times(&m, times);
			for (uint32_t j = 0; j < m.n_history; j++)
				click(u, m.history[j].item_kind & 0x3fffffff, times[j]);
		}
		for (uint32_t j = 0; j < m.n_events; j++)
			click(u, m.events[j].item, m.events[j].time_ms);
		if (m.header.op != WR_OP_RECOMMEND || !m.ask->k || at++ % step || !w->answered)
			continue;
		sum->lists++;
		sum->wrong += !list_is_same(c, u, &m, w);
	}
}
