/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The burst of a pass: what was put off, what other workers gave, what the port has. Under load it
 * waits for more: a burst of four costs twice as much a frame as one of 32, and a core that is in
 * demand wins more by working on many at once than its clients lose by a few microseconds. An idle
 * one never waits.
 */
#include "serve_int.h"

#include <rte_mbuf.h>
#include <rte_pause.h>
#include <rte_prefetch.h>
#include <rte_ring.h>

#include <string.h>

#define GATHER_FROM     4  /* frames in a burst: fewer are no load */
#define GATHER_MAX_REST 63 /* bursts between two attempts that wait in vain */

/* At most so many frames that the port has. Their arrival ends the stage: one time stamp for both.
 */
static unsigned int receive(struct worker *w, struct rte_mbuf **m, unsigned int max)
{
	unsigned int n = wr_port_receive(w->serve->port, w->index, m, max);
	if (n == 0)
		return 0;
	end_stage(w, WR_STAGE_rx);
	uint64_t bytes = 0;
	for (unsigned int i = 0; i < n; i++) {
		struct frame_state *f = rte_mbuf_to_priv(m[i]);
		rte_prefetch0(rte_pktmbuf_mtod(m[i], void *));
		f->arrival_tsc = w->stage_from;
		f->handed_over = f->deferred = false;
		bytes += rte_pktmbuf_pkt_len(m[i]);
	}
	count(w, WR_COUNTER_received, n);
	count(w, WR_COUNTER_received_bytes, bytes);
	return n;
}

/* n more frames stand in b->mbuf. */
static void add_frames(struct burst *b, unsigned int n)
{
	for (unsigned int end = b->n + n; b->n < end; b->n++) {
		b->state[b->n] = rte_mbuf_to_priv(b->mbuf[b->n]);
		b->todo[b->n] = TODO_ANSWER;
	}
}

/* What the port has, behind the b->n frames that are there; false: nothing. */
static bool take(struct worker *w, struct burst *b, unsigned int max)
{
	unsigned int n = receive(w, b->mbuf + b->n, max - b->n);
	add_frames(b, n);
	return n != 0;
}

/* Frames that were received for this burst before it began. */
static void take_early(struct worker *w, struct burst *b, unsigned int max)
{
	unsigned int n = WR_MIN(w->n_early, max - b->n);
	b->n_near = b->n ? 0 : w->n_near;
	memcpy(b->mbuf + b->n, w->early, n * sizeof(b->mbuf[0]));
	add_frames(b, n);
	w->n_early -= n;
	memmove(w->early, w->early + n, w->n_early * sizeof(w->early[0]));
	w->n_near = 0;
}

/* Frames that have been here before: put off, given by other workers, or early. */
static void take_known(struct worker *w, struct burst *b, unsigned int max)
{
	unsigned int n = w->n_deferred;
	b->n = b->n_replied = 0;
	memcpy(b->mbuf, w->deferred, n * sizeof(b->mbuf[0]));
	w->n_deferred = 0;
	unsigned int taken =
		rte_ring_sc_dequeue_burst(w->handover, (void **)(b->mbuf + n), max - n, NULL);
	if (taken)
		count(w, WR_COUNTER_taken_over, taken);
	add_frames(b, n + taken);
	for (unsigned int i = 0; i < b->n; i++)
		rte_prefetch0(rte_pktmbuf_mtod(b->mbuf[i], void *));
	take_early(w, b, max);
}

/* The users of early frames from `first` on, as they stand where a payload is usually found, and
 * which of them ask for recommendations; their number. */
static unsigned int early_users(
	const struct worker *w, unsigned int first, uint64_t *users, uint64_t *asks)
{
	unsigned int n = 0;
	*asks = 0;
	for (unsigned int i = first; i < w->n_early; i++) {
		const uint8_t *data = rte_pktmbuf_mtod(w->early[i], const uint8_t *);
		uint32_t len = rte_pktmbuf_data_len(w->early[i]),
			 at = wr_frame_guess_payload(data, len);
		if (at == 0 || len - at < WR_WIRE_HEADER_BYTES)
			continue;
		const struct wr_wire_header *h = (const void *)(data + at);
		*asks |= (uint64_t)(h->op == WR_OP_RECOMMEND) << n;
		users[n++] = h->user_id;
	}
	return n;
}

unsigned int wr_serve_receive_early(struct worker *w, void **ring)
{
	unsigned int had = w->n_early, max = w->serve->o.burst;
	uint64_t users[BURST], asks;
	uint32_t rows[BURST];
	if (!w->receiving || w->index >= w->n_live || had == max)
		return 0;
	w->n_early += receive(w, w->early + had, max - had);
	if (w->n_early == had) {
		end_stage(w, WR_STAGE_rx);
		return 0;
	}
	unsigned int n = early_users(w, had, users, &asks);
	wr_table_expect(w->table, n, users);
	wr_table_expect_rows(w->table, n, users, rows);
	w->n_near = 0;
	for (unsigned int i = 0; i < n && w->n_near < w->serve->group; i++)
		if ((asks >> i & 1) && rows[i] != WR_TABLE_NONE)
			ring[w->n_near++] = wr_table_ring(w->table, rows[i]);
	end_stage(w, WR_STAGE_locate);
	return w->n_near;
}

/*
 * How many frames the next burst is worth waiting for. It doubles as long as bursts come that large
 * in time; when one does not, it falls back, and the next attempt comes after twice as many bursts
 * as the last one, so that clients who have no more to send wait in vain in one burst of 64.
 */
void wr_serve_gather_next(struct gather *g, unsigned int n, unsigned int max, bool in_vain)
{
	if (in_vain) {
		g->target = n < GATHER_FROM ? 1 : n - n / 4;
		g->back_off = WR_MIN(2 * g->back_off + 1, GATHER_MAX_REST);
		g->rest = g->back_off;
		g->trying = false;
		return;
	}
	if (n < GATHER_FROM) {
		g->target = 1;
		g->trying = false;
	} else if (g->rest) {
		g->rest--;
	} else {
		if (g->trying)
			g->back_off /= 2;
		g->target = WR_MIN(max, 2 * n);
		g->trying = g->target > n;
	}
}

/* Polls until the burst is as large as it is worth, or the time for that is over; empty polls count
 * as idle. */
static void gather(struct worker *w, struct burst *b, unsigned int max)
{
	struct gather *g = &w->gather;
	uint64_t until = w->stage_from + w->serve->gather_ticks, idle = 0;

	while (b->n < g->target && w->stage_from < until) {
		if (take(w, b, max))
			continue;
		uint64_t now = wr_clock_tsc();
		idle += now - w->stage_from;
		w->stage_from = now;
		rte_pause();
	}
	wr_count(&w->metrics->stage_cycles[WR_STAGE_idle], idle);
	if (idle)
		count(w, WR_COUNTER_gathered, 1);
}

void wr_serve_stage_receive(struct worker *w, struct burst *b)
{
	struct gather *g = &w->gather;
	unsigned int max = w->serve->o.burst;

	take_known(w, b, max);
	if (b->n)
		end_stage(w, WR_STAGE_rx);
	if (w->receiving && w->index < w->n_live && b->n < max) {
		(void)take(w, b, max);
		bool waits = b->n && b->n < g->target && w->serve->gather_ticks;
		if (waits)
			gather(w, b, max);
		if (b->n)
			wr_serve_gather_next(g, b->n, max, waits && b->n < g->target);
		else
			g->target = 1; /* nothing to do: the next one is served at once */
	}
	b->had_frames = b->n != 0;
}
