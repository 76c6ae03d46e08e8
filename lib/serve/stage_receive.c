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

/* What the port has, behind the b->n frames that are there; false: nothing. Frames' arrival ends
 * the stage: one time stamp for both. */
static bool take(struct worker *w, struct burst *b, unsigned int max)
{
	uint16_t got = wr_port_receive(w->serve->port, w->index, b->mbuf + b->n, max - b->n);
	if (got == 0)
		return false;
	end_stage(w, WR_STAGE_rx);
	uint64_t now = w->stage_from, bytes = 0;
	for (unsigned int i = b->n; i < b->n + got; i++) {
		struct rte_mbuf *m = b->mbuf[i];
		struct frame_state *f = b->state[i] = rte_mbuf_to_priv(m);
		rte_prefetch0(rte_pktmbuf_mtod(m, void *));
		f->arrival_tsc = now;
		f->handed_over = f->deferred = false;
		b->todo[i] = TODO_ANSWER;
		bytes += rte_pktmbuf_pkt_len(m);
	}
	b->n += got;
	count(w, WR_COUNTER_received, got);
	count(w, WR_COUNTER_received_bytes, bytes);
	return true;
}

/* Frames that have been here before: put off, or given by other workers. */
static void take_known(struct worker *w, struct burst *b, unsigned int max)
{
	b->n = w->n_deferred;
	memcpy(b->mbuf, w->deferred, b->n * sizeof(b->mbuf[0]));
	w->n_deferred = 0;
	unsigned int taken =
		rte_ring_sc_dequeue_burst(w->handover, (void **)(b->mbuf + b->n), max - b->n, NULL);
	if (taken)
		count(w, WR_COUNTER_taken_over, taken);
	b->n += taken;
	for (unsigned int i = 0; i < b->n; i++) {
		b->state[i] = rte_mbuf_to_priv(b->mbuf[i]);
		rte_prefetch0(rte_pktmbuf_mtod(b->mbuf[i], void *));
		b->todo[i] = TODO_ANSWER;
	}
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

void wr_serve_stage_receive(struct worker *w, struct burst *b, unsigned int n_live)
{
	struct gather *g = &w->gather;
	unsigned int max = w->serve->o.burst;

	take_known(w, b, max);
	if (b->n)
		end_stage(w, WR_STAGE_rx);
	if (w->receiving && w->index < n_live && b->n < max) {
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
