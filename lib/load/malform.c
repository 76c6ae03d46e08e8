/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Malformed frames in batches, and between them valid requests that must be answered: the server is
 * not only to survive but to go on serving. Ends when nothing is in flight any more, so that the
 * server's books can be compared.
 */
#include "load_malform.h"

#include <stdlib.h>
#include <unistd.h>

/* Answers to malformed messages that arrive while no question is open. */
static void ignore(void *ctx, const struct wr_message *m, uint64_t now)
{
	++*(uint64_t *)ctx;
}

static bool send_frame(struct wr_load *l, struct wr_malformer *m, struct wr_rng *rng,
	struct wr_load_malform_result *r)
{
	uint16_t queue = (uint16_t)wr_rng_below(rng, l->n_queues);
	uint8_t *frame = wr_load_stage(l, queue);

	if (!frame)
		return false;
	enum wr_malform_kind kind = wr_malformer_next_kind(m);
	wr_load_commit(l, queue, wr_malformer_make(m, kind, wr_clock_unix_ms(), frame));
	r->sent[kind]++;
	r->total++;
	return true;
}

static int send_valid(struct wr_load *l, struct wr_rng *rng, struct wr_load_malform_result *r,
	struct wr_errmsg *msg)
{
	uint8_t message[WR_WIRE_MAX_BYTES], answer[WR_WIRE_MAX_BYTES];
	uint64_t user = WR_USERS_TALK | wr_rng_below(rng, 1000);
	struct wr_wire_header h = wr_load_header(WR_OP_RECOMMEND, 0, user, 0);
	uint32_t item = 1 + wr_rng_below(rng, l->server.n_items);
	struct wr_wire_event e = {.item = item, .kind = WR_KIND_CLICK, .time_ms = h.time_ms};
	struct wr_writer w;
	struct wr_message m;

	wr_writer_init(&w, message, sizeof(message), &h);
	wr_writer_ask(&w, 10, 0);
	wr_writer_events(&w, 0, &e, 1);
	wr_writer_pad(&w, 512);
	int n = wr_writer_finish(&w);
	while (wr_load_staged(l) && !wr_stop_requested())
		(void)wr_load_flush(l);
	uint64_t frames = l->tx_frames;
	int err = n < 0 ? n : wr_load_ask(l, message, (size_t)n, 1.0, answer, &m, NULL, msg);
	if (err)
		return err;
	r->valid_sent++;
	r->valid_retried += l->tx_frames - frames - 1;
	struct wr_expect x = {.user = user,
		.op = WR_OP_RECOMMEND,
		.k = 10,
		.n_items = l->server.n_items,
		.seen = &item,
		.n_seen = 1};
	if (m.answer->status == WR_STATUS_OK && wr_verify_answer(&x, &m) == WR_VERDICT_OK)
		r->valid_answered++;
	else
		r->valid_wrong++;
	return 0;
}

/* Sends what is staged and waits until nothing has arrived for 50 ms. */
static void settle(struct wr_load *l, uint64_t *stray)
{
	uint64_t quiet_since = wr_clock_ns();

	while (wr_clock_ns() - quiet_since < 50000000) {
		bool flushed = wr_load_staged(l) && wr_load_flush(l);
		if (wr_load_poll(l, ignore, stray) || flushed)
			quiet_since = wr_clock_ns();
		else
			usleep(200);
		if (wr_stop_requested())
			return;
	}
}

int wr_load_malform(struct wr_load *l, const struct wr_load_malform *c,
	struct wr_load_malform_result *r, struct wr_errmsg *msg)
{
	struct wr_malformer *m;
	struct wr_progress progress;
	struct wr_rng rng;
	uint64_t start = wr_clock_ns(), frames = l->tx_frames;
	unsigned int every = c->valid_every ? c->valid_every : 50;

	memset(r, 0, sizeof(*r));
	memset(l->malformed_answers, 0, sizeof(l->malformed_answers));
	int err = wr_malformer_new(&m, l, c->seed, msg);
	if (err)
		return err;
	wr_rng_init(&rng, c->seed, 0x0ff);
	if (c->progress)
		wr_progress_start(&progress, "malformed", c->count);
	while (r->total < c->count && !err && !wr_stop_requested()) {
		uint64_t until = WR_MIN(c->count, r->total + every);
		while (r->total < until && !wr_stop_requested()) {
			if (!send_frame(l, m, &rng, r) || r->total % WR_LOAD_BURST == 0)
				(void)wr_load_flush(l);
			(void)wr_load_poll(l, ignore, &r->unknown);
		}
		err = send_valid(l, &rng, r, msg);
		if (c->progress)
			wr_progress_update(&progress, r->total, NULL);
	}
	if (!err && wr_stop_requested())
		err = wr_fail(msg, WR_EINTR, "stopped");
	if (!err)
		settle(l, &r->unknown);
	if (c->progress)
		wr_progress_end(&progress, r->total, NULL);
	for (unsigned int i = 0; i < WR_ARRAY_LEN(r->answered_status); i++)
		r->answered_status[i] = l->malformed_answers[i];
	r->frames_bad = l->frames_bad;
	r->messages_bad = l->messages_bad;
	r->frames_sent = l->tx_frames - frames;
	r->seconds = (double)(wr_clock_ns() - start) / 1e9;
	wr_malformer_free(m);
	return err;
}
