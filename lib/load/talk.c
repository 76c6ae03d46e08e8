/* SPDX-License-Identifier: BSD-3-Clause */
/* The closed loop over conversations: fill, flush, poll, look for lost ones now and then. */
#include "load_talk.h"

#include <rte_ethdev.h>

#include <stdlib.h>

static const double tick_s = 0.05;
/* So many seconds without a single answer, and the server is gone. */
static const double silence_s = 10;

static void finish(struct wr_talks *t, struct wr_talk *k)
{
	if (k->id)
		t->n_flight--;
	k->id = 0;
	k->over = true;
	t->n_open--;
}

/* False: no room to send now. A render that fails its writer is a defect of the caller, seen in
 * tests: over. */
static bool send_one(struct wr_talks *t, unsigned int i, uint64_t now)
{
	struct wr_load *l = t->l;
	struct wr_talk *k = &t->talk[i];
	uint8_t message[WR_WIRE_MAX_BYTES];
	struct wr_writer w = {.data = message, .size = sizeof(message)};
	uint64_t id = k->id;

	if (!id)
		id = l->tag | WR_ID_TALK |
		     ((uint64_t)l->next_talk & 0x7fffff) << WR_TALK_INDEX_BITS | i;
	if (!t->ops->render(t->ctx, i, id, &w, &k->user)) {
		finish(t, k);
		return true;
	}
	int n = wr_writer_finish(&w);
	if (n < 0) {
		t->ops->fail(t->ctx, i);
		t->failed++;
		finish(t, k);
		return true;
	}
	struct wr_load_route r = wr_load_route(l, k->user);
	if (t->hello)
		r = (struct wr_load_route){.port = l->address.server_port};
	uint8_t *frame = wr_load_stage(l, r.queue);
	if (!frame)
		return false;
	memcpy(frame + l->head.size, message, (size_t)n);
	wr_load_send(l, r, frame, (uint16_t)n, (uint16_t)n);
	if (!k->id) {
		t->n_flight++;
		t->requests++;
		l->next_talk++;
		k->tries = 0;
	} else {
		t->retried++;
	}
	k->id = id;
	k->tries++;
	k->sent_tsc = now;
	return true;
}

static void on_answer(void *ctx, const struct wr_message *m, uint64_t now)
{
	struct wr_talks *t = ctx;
	uint64_t id = m->header.request_id;
	unsigned int i = id & ((1u << WR_TALK_INDEX_BITS) - 1);

	if (i >= t->n || t->talk[i].id != id) {
		t->unknown++;
		return;
	}
	struct wr_talk *k = &t->talk[i];
	if (m->answer->status == WR_STATUS_BUSY) {
		t->busy++;
		return; /* its time-out sends it again */
	}
	k->id = 0;
	t->n_flight--;
	t->answered++;
	wr_load_take_cookie(t->l, m);
	t->ops->answer(t->ctx, i, m, wr_load_ns(t->l, now - k->sent_tsc));
}

static void retry_lost(struct wr_talks *t, uint64_t now)
{
	uint64_t timeout = wr_load_ticks(t->l, t->timeout_s);

	for (unsigned int i = 0; i < t->n; i++) {
		struct wr_talk *k = &t->talk[i];
		if (!k->id || now - k->sent_tsc < timeout)
			continue;
		if (k->tries < t->max_tries) {
			if (!send_one(t, i, now))
				return;
			continue;
		}
		k->id = 0;
		t->n_flight--;
		t->failed++;
		t->ops->fail(t->ctx, i);
	}
}

static int check_peer(struct wr_talks *t, uint64_t now, uint64_t heard, struct wr_errmsg *msg)
{
	struct rte_eth_link link;

	if (rte_eth_link_get_nowait(t->l->port_id, &link) == 0 &&
		link.link_status != RTE_ETH_LINK_UP)
		return wr_fail(msg, WR_EAGAIN, "the link went down: the server has gone");
	if (now - heard > wr_load_ticks(t->l, WR_MAX(silence_s, t->timeout_s * (t->max_tries + 1))))
		return wr_fail(msg, WR_EAGAIN,
			"no answer for %.0f s although the link is up: do addresses and ports "
			"(--server-ip, "
			"--server-mac, --server-port) match the server's [port] section, and does "
			"[admit] allow us?",
			(double)(now - heard) / (double)t->l->tsc_hz);
	return 0;
}

static int loop(struct wr_talks *t, struct wr_errmsg *msg)
{
	struct wr_load *l = t->l;
	struct wr_load_clock clock;
	uint64_t tick = wr_load_ticks(l, tick_s), next_tick, end, heard;
	unsigned int cursor = 0;
	int err = 0;

	wr_load_clock_start(&clock);
	heard = clock.start;
	next_tick = clock.start + tick;
	end = t->seconds > 0 ? clock.start + wr_load_ticks(l, t->seconds) : UINT64_MAX;
	while (t->n_open && !err) {
		uint64_t now = wr_clock_tsc();
		unsigned int sent = 0;
		/* Idle conversations in turn, a burst at a time; none is idle when all are in
		 * flight. */
		if (t->n_flight < t->n_open && now < end) {
			for (unsigned int s = 0; s < t->n && sent < WR_LOAD_BURST; s++) {
				unsigned int i = cursor;
				if (!t->talk[i].over && !t->talk[i].id) {
					if (!send_one(t, i, now))
						break;
					sent++;
				}
				cursor = cursor + 1 == t->n ? 0 : cursor + 1;
			}
		}
		bool flushed = wr_load_staged(l) && wr_load_flush(l) > 0;
		unsigned int received = wr_load_poll(l, on_answer, t);
		if (received)
			heard = now;
		wr_load_clock_pass(&clock, now, sent || flushed || received);
		if (now >= end && t->n_flight == 0)
			break;
		if (now < next_tick)
			continue;
		next_tick = now + tick;
		wr_load_follow(l, now);
		retry_lost(t, now);
		if (t->tick)
			t->tick(t->ctx);
		if (wr_stop_requested())
			err = wr_fail(msg, WR_EINTR, "stopped");
		else
			err = check_peer(t, now, heard, msg);
	}
	while (!err && wr_load_staged(l) && wr_load_flush(l) > 0)
		;
	wr_load_clock_end(&clock, l, &t->busy_share, &t->cpu_share);
	return err;
}

int wr_talks_run(struct wr_load *l, struct wr_talks *t, struct wr_errmsg *msg)
{
	if (t->n == 0 || t->n > 1u << WR_TALK_INDEX_BITS)
		return wr_fail(msg, WR_EINVAL, "the window must be 1 … 65536");
	t->l = l;
	t->talk = calloc(t->n, sizeof(*t->talk));
	if (!t->talk)
		return wr_fail(msg, WR_ENOMEM, "not enough memory");
	t->n_open = t->n;
	t->n_flight = 0;
	int err = loop(t, msg);
	(void)wr_load_unstage(l);
	free(t->talk);
	t->talk = NULL;
	return err;
}
