/* SPDX-License-Identifier: BSD-3-Clause */
/* One lcore's life: create and warm what belongs to the thread, then the loop, then the drain. */
#include "serve_int.h"

#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_pause.h>
#include <rte_ring.h>

#include <string.h>

/* Encoders and rankers belong to the thread that runs them (OpenMP keeps state per thread). */
static int prepare(struct worker *w)
{
	struct wr_serve *s = w->serve;
	/* Vectors of a burst, scratch of a group. */
	unsigned int burst = s->o.burst, group = s->group;
	int err = wr_encoder_new(&w->encoder, s->model, burst, group * s->history_events,
		&wr_serve_allocator, &w->msg);
	if (!err)
		err = wr_ranker_new(
			&w->ranker, s->model, s->o.bundle, group, &wr_serve_allocator, &w->msg);
	if (!err && s->intents)
		err = wr_intent_scanner_new(&w->scanner, s->intents, &w->msg);
	if (!err)
		err = wr_serve_selftest_run(w, &w->msg);
	return err;
}

void wr_serve_account(struct worker *w)
{
	for (unsigned int g = 0; g < WR_STAGE_N; g++) {
		uint64_t cycles = w->stage_cycles[g];
		if (cycles == 0)
			continue;
		wr_count(&w->metrics->stage_cycles[g], cycles);
		wr_hist_add(&w->metrics->stage_ns[g], tsc_to_ns(w->serve, cycles), 1);
		w->stage_cycles[g] = 0;
	}
}

/* One burst through the corridor. */
static void pass(struct worker *w, unsigned int n_live)
{
	struct burst *b = &w->burst;

	if (w->beside)
		wr_serve_stage_kernel(w, n_live);
	w->n_live = n_live;
	wr_serve_stage_receive(w, b);
	if (!b->had_frames) {
		uint64_t now = wr_clock_tsc();
		wr_count(&w->metrics->stage_cycles[WR_STAGE_idle], now - w->stage_from);
		w->stage_from = now;
		if (rte_ring_empty(w->returns))
			return;
	} else {
		count(w, WR_COUNTER_bursts, 1);
		wr_hist_add(&w->metrics->burst_size, b->n, 1);
		wr_serve_stage_parse(w, b);
		end_stage(w, WR_STAGE_parse);
		wr_serve_stage_admit(w, b);
		end_stage(w, WR_STAGE_admit);
		if (b->any_stateful) {
			wr_serve_stage_locate(w, b);
			end_stage(w, WR_STAGE_locate);
			wr_serve_stage_recall(w, b);
			end_stage(w, WR_STAGE_recall);
			wr_serve_stage_score(w, b);
		}
		wr_serve_stage_reply(w, b, b->n);
		end_stage(w, WR_STAGE_reply);
	}
	wr_serve_stage_transmit(w, b);
	end_stage(w, WR_STAGE_tx);
	wr_serve_account(w);
}

static bool own_work_left(const struct worker *w)
{
	return w->n_deferred || w->n_early || !rte_ring_empty(w->handover) ||
	       wr_serve_kernel_waits(w);
}

/*
 * Draining: nobody receives any more; when all have seen that, no frame can be handed over anew, so
 * that empty rings stay empty. A worker then reports, and goes on sending what others return until
 * all have reported. True = done.
 */
static bool drained(struct worker *w, enum run run)
{
	struct wr_serve *s = w->serve;

	if (w->receiving) {
		w->receiving = false;
		atomic_fetch_add_explicit(&s->n_stopped_rx, 1, memory_order_acq_rel);
	}
	if (run == RUN_ABORT)
		return true;
	if (atomic_load_explicit(&s->n_stopped_rx, memory_order_acquire) < s->o.n_workers ||
		own_work_left(w))
		return false;
	if (!w->finished) {
		w->finished = true;
		atomic_fetch_add_explicit(&s->n_finished, 1, memory_order_acq_rel);
	}
	return atomic_load_explicit(&s->n_finished, memory_order_acquire) == s->o.n_workers &&
	       rte_ring_empty(w->returns);
}

/* What an abandoned drain leaves: every frame gets its outcome. */
static void abandon(struct worker *w)
{
	void *m;
	for (; w->n_deferred; count_outcome(w, WR_OUTCOME_drained, 1))
		rte_pktmbuf_free(w->deferred[--w->n_deferred]);
	for (; w->n_early; count_outcome(w, WR_OUTCOME_drained, 1))
		rte_pktmbuf_free(w->early[--w->n_early]);
	for (; rte_ring_sc_dequeue(w->handover, &m) == 0; count_outcome(w, WR_OUTCOME_drained, 1))
		rte_pktmbuf_free(m);
	for (; rte_ring_sc_dequeue(w->returns, &m) == 0; count_outcome(w, WR_OUTCOME_tx_full, 1))
		rte_pktmbuf_free(m);
	wr_serve_kernel_abandon(w);
}

static void loop(struct worker *w)
{
	struct wr_serve *s = w->serve;
	unsigned int n_live;

	while (!atomic_load_explicit(&s->open, memory_order_acquire)) {
		if (atomic_load_explicit(&s->run, memory_order_acquire) != RUN_SERVE)
			return;
		rte_delay_us_sleep(1000);
	}
	wr_gate_worker_online(w->index);
	w->receiving = true;
	w->stage_from = wr_clock_tsc();
	for (;;) {
		bool passed = wr_gate_pass(w->index, &n_live);
		/* housekeeping: the stop flag; the clock and the cookies are main's (wr_serve_tick)
		 */
		enum run run = (enum run)atomic_load_explicit(&s->run, memory_order_acquire);
		if (run != RUN_SERVE && drained(w, run))
			break;
		if (passed)
			pass(w, n_live);
		else
			rte_pause();
	}
	abandon(w);
	wr_gate_worker_offline(w->index);
}

int wr_serve_worker_main(void *arg)
{
	struct worker *w = arg;

	w->err = prepare(w);
	if (!w->err && w->serve->o.realtime)
		w->err = wr_thread_realtime(w->serve->o.realtime, &w->msg);
	atomic_store_explicit(&w->ready, true, memory_order_release);
	if (!w->err)
		loop(w);
	return w->err;
}
