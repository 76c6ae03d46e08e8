/* SPDX-License-Identifier: BSD-3-Clause */
/* Gives every user of a workload its past: 99 clicks in EVENT messages, the last of them in a
 * RECOMMEND, so that the session is encoded and warm; closed loop, nothing lost. */
#include "load_request.h"
#include "load_talk.h"

#include <stdlib.h>

enum { WINDOW = 256 };

struct filler {
	uint32_t user; /* index */
	uint32_t at;   /* clicks told so far */
};

struct populate {
	struct wr_requests *requests;
	struct filler filler[WINDOW];
	uint32_t next_user, n_users, n_done;
	int64_t first_ms;
	uint64_t errors;
	enum wr_status last_error;
	struct wr_progress progress;
	bool show;
};

static uint32_t chunk_at(uint32_t at)
{
	return WR_MIN(WR_REQUEST_POPULATED - at, (uint32_t)WR_WIRE_MAX_EVENTS);
}

uint32_t wr_requests_past(const struct wr_requests *r, uint64_t user, uint32_t at, int64_t first_ms,
	uint64_t id, struct wr_writer *w)
{
	struct wr_wire_event e[WR_WIRE_MAX_EVENTS];
	uint32_t n = chunk_at(at);

	for (uint32_t j = 0; j < n; j++)
		e[j] = (struct wr_wire_event){.item = wr_requests_past_item(r, user, at + j),
			.kind = WR_KIND_CLICK,
			.time_ms = first_ms + 60000 * (int64_t)(at + j)};
	bool last = at + n == WR_REQUEST_POPULATED;
	struct wr_wire_header h = wr_load_header(last ? WR_OP_RECOMMEND : WR_OP_EVENT, id, user, 0);
	h.time_ms = e[n - 1].time_ms;
	wr_writer_init(w, w->data, w->size, &h);
	if (last)
		wr_writer_ask(w, 1, 0);
	wr_writer_events(w, 0, e, n);
	wr_writer_pad(w, 128);
	return n;
}

static bool render(void *ctx, unsigned int i, uint64_t id, struct wr_writer *w, uint64_t *user)
{
	struct populate *p = ctx;
	struct filler *f = &p->filler[i];

	if (f->at == WR_REQUEST_POPULATED || f->user == UINT32_MAX) {
		if (p->next_user == p->n_users)
			return false;
		*f = (struct filler){.user = p->next_user++};
	}
	*user = WR_USERS_LOAD | f->user;
	(void)wr_requests_past(p->requests, *user, f->at, p->first_ms, id, w);
	return true;
}

static void done_with(struct populate *p, struct filler *f, uint32_t n)
{
	f->at += n;
	if (f->at == WR_REQUEST_POPULATED)
		p->n_done++;
}

static void take_answer(void *ctx, unsigned int i, const struct wr_message *m, uint64_t latency_ns)
{
	struct populate *p = ctx;

	if (m->answer->status != WR_STATUS_OK) {
		p->errors++;
		p->last_error = m->answer->status;
	}
	done_with(p, &p->filler[i], chunk_at(p->filler[i].at));
}

static void fail(void *ctx, unsigned int i)
{
	struct populate *p = ctx;

	p->errors++;
	done_with(p, &p->filler[i], chunk_at(p->filler[i].at));
}

static void tick(void *ctx)
{
	struct populate *p = ctx;

	if (p->show)
		wr_progress_update(&p->progress, p->n_done, NULL);
}

static const struct wr_talk_ops populate_ops = {render, take_answer, fail};

int wr_load_populate(
	struct wr_load *l, const struct wr_load_workload *w, bool progress, struct wr_errmsg *msg)
{
	struct populate *p = calloc(1, sizeof(*p));
	struct wr_load_workload echo = *w; /* any sound mix: only its users and seed matter here */

	if (!p)
		return wr_fail(msg, WR_ENOMEM, "not enough memory");
	p->requests = calloc(1, sizeof(*p->requests));
	int err = p->requests ? wr_requests_init(p->requests, l, &echo, msg)
			      : wr_fail(msg, WR_ENOMEM, "not enough memory");
	struct wr_talks t = {.ops = &populate_ops,
		.ctx = p,
		.n = WR_MIN((uint32_t)WINDOW, w->n_users),
		.timeout_s = 0.5,
		.max_tries = 20,
		.tick = tick};
	for (unsigned int i = 0; i < WINDOW; i++)
		p->filler[i].user = UINT32_MAX;
	p->n_users = w->n_users;
	p->first_ms = wr_clock_unix_ms() - (int64_t)60000 * WR_REQUEST_POPULATED;
	p->show = progress;
	if (!err && progress)
		wr_progress_start(&p->progress, "populate (users)", p->n_users);
	if (!err) {
		err = wr_talks_run(l, &t, msg);
		if (progress)
			wr_progress_end(&p->progress, p->n_done, NULL);
	}
	if (!err && p->errors)
		err = wr_fail(msg, WR_EIO,
			"%lu of the messages that fill the sessions were refused or lost "
			"(last status %d)",
			(unsigned long)p->errors, (int)p->last_error);
	free(p->requests);
	free(p);
	return err;
}
