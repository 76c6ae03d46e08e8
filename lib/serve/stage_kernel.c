/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What worker 0 does beside requests on ports that DPDK owns alone: it carries frames between the
 * port and the kernel tap, and tells neighbours our addresses. A few frames a pass, whatever waits:
 * requests come first.
 */
#include "serve_int.h"

#include <rte_mbuf.h>
#include <rte_ring.h>

#define A_PASS       8 /* frames in each direction; a system call of the driver for every one */
#define ANNOUNCED    3 /* times, a second apart (RFC 4861, MAX_NEIGHBOR_ADVERTISEMENT) */
#define ANNOUNCE_GAP (1000u * 1000u * 1000u)

bool wr_serve_kernel_takes(enum wr_outcome o)
{
	return o == WR_OUTCOME_frame_not_ours || o == WR_OUTCOME_frame_other_port ||
	       o == WR_OUTCOME_frame_fragment || o == WR_OUTCOME_frame_extension;
}

void wr_serve_to_kernel(struct worker *w, struct burst *b, unsigned int i)
{
	if (rte_ring_mp_enqueue(w->serve->to_kernel, b->mbuf[i]) != 0)
		wr_serve_frame_end(w, b, i, WR_OUTCOME_kernel_tap_full);
	b->todo[i] = TODO_NOTHING;
}

static bool give_to_kernel(struct worker *w)
{
	struct rte_mbuf *m[A_PASS];
	struct wr_serve *s = w->serve;
	unsigned int n = rte_ring_sc_dequeue_burst(s->to_kernel, (void **)m, A_PASS, NULL);
	if (n == 0)
		return false;
	unsigned int taken = wr_port_to_kernel(s->port, m, n);
	count_outcome(w, WR_OUTCOME_kernel_tap, taken);
	if (taken < n) {
		count_outcome(w, WR_OUTCOME_kernel_tap_full, n - taken);
		rte_pktmbuf_free_bulk(m + taken, n - taken);
	}
	return true;
}

/* Out by queue 0: sent of them are counted as what, the others as dropped ones. */
static void send_own(struct worker *w, struct rte_mbuf **m, unsigned int n, enum wr_counter what)
{
	unsigned int sent = wr_port_transmit(w->serve->port, w->index, m, n);
	count(w, what, sent);
	if (sent < n) {
		if (what == WR_COUNTER_kernel_sent)
			count(w, WR_COUNTER_kernel_dropped, n - sent);
		rte_pktmbuf_free_bulk(m + sent, n - sent);
	}
}

static bool take_from_kernel(struct worker *w)
{
	struct rte_mbuf *m[A_PASS];
	unsigned int n = wr_port_from_kernel(w->serve->port, m, A_PASS);
	if (n)
		send_own(w, m, n, WR_COUNTER_kernel_sent);
	return n != 0;
}

/* One announcement a pass until all addresses are through. */
static bool announce(struct worker *w)
{
	struct wr_serve *s = w->serve;
	unsigned int left = atomic_load_explicit(&s->announce, memory_order_acquire);
	if (left == 0)
		return false;
	struct rte_mbuf *m = rte_pktmbuf_alloc(wr_port_pool(s->port));
	if (!m)
		return false;
	uint32_t len = wr_frame_announce(&s->us, left - 1, rte_pktmbuf_mtod(m, uint8_t *));
	m->data_len = (uint16_t)len;
	m->pkt_len = len;
	send_own(w, &m, 1, WR_COUNTER_announced);
	atomic_store_explicit(&s->announce, left - 1, memory_order_release);
	return true;
}

void wr_serve_stage_kernel(struct worker *w, unsigned int n_live)
{
	bool busy = false;
	if (w->serve->to_kernel) {
		busy |= give_to_kernel(w);
		if (n_live)
			busy |= take_from_kernel(w);
	}
	if (n_live)
		busy |= announce(w);
	if (busy)
		end_stage(w, WR_STAGE_kernel);
}

bool wr_serve_kernel_waits(const struct worker *w)
{
	return w->beside && w->serve->to_kernel && !rte_ring_empty(w->serve->to_kernel);
}

void wr_serve_kernel_abandon(struct worker *w)
{
	void *m;
	while (w->beside && w->serve->to_kernel &&
		rte_ring_sc_dequeue(w->serve->to_kernel, &m) == 0) {
		count_outcome(w, WR_OUTCOME_drained, 1);
		rte_pktmbuf_free(m);
	}
}

/* ---- control ---- */
int wr_serve_kernel_new(struct wr_serve *s, struct wr_errmsg *msg)
{
	const struct wr_port_options *p = &s->o.port;
	/* On memif there is no neighbourhood, with AF_XDP it is the kernel's. */
	s->announces = p->kind != WR_PORT_MEMIF && p->kind != WR_PORT_AF_XDP;
	if (p->kernel_tap && p->kernel_tap[0]) {
		s->to_kernel = rte_ring_create("wr_to_kernel", s->o.handover_ring,
			s->workers[0]->socket_id, RING_F_SC_DEQ);
		if (!s->to_kernel)
			return wr_fail(msg, WR_ENOMEM,
				"ring of the kernel tap: DPDK's heap is exhausted; give it more "
				"hugepages");
	}
	s->workers[0]->beside = s->announces || s->to_kernel;
	return 0;
}

void wr_serve_kernel_tick(struct wr_serve *s, uint64_t now_ns)
{
	if (!s->announces || now_ns < s->announce_at_ns)
		return;
	s->announce_at_ns = now_ns + ANNOUNCE_GAP;
	bool up = wr_port_link_up(s->port);
	if (up && !s->was_up)
		s->announce_rounds = ANNOUNCED;
	s->was_up = up;
	if (!up || s->announce_rounds == 0)
		return;
	s->announce_rounds--;
	atomic_store_explicit(&s->announce, s->us.addresses.n_own_ipv4 + s->us.addresses.n_own_ipv6,
		memory_order_release);
}
