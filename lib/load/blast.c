/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Raw frames against an echo (testpmd with --forward-mode=macswap): how many the machine moves when
 * nobody does any work with them. Mbufs are filled once each and sent again as they come back, so
 * that only the driver's copies count.
 */
#include "load_core.h"

#include <rte_ethdev.h>

struct blast {
	struct wr_load *l;
	uint8_t frame[WR_LOAD_BUFFER];
	uint16_t bytes;
	uint64_t sent, echoed, in_flight;
};

static unsigned int receive(struct blast *b)
{
	struct rte_mbuf *burst[WR_LOAD_STAGE];
	unsigned int total = 0;

	for (uint16_t q = 0; q < b->l->n_queues; q++) {
		uint16_t n = rte_eth_rx_burst(b->l->port_id, q, burst, WR_LOAD_STAGE);
		if (n)
			rte_pktmbuf_free_bulk(burst, n);
		total += n;
	}
	b->echoed += total;
	b->in_flight -= WR_MIN(b->in_flight, (uint64_t)total);
	return total;
}

static unsigned int send_frames(struct blast *b, uint16_t queue, unsigned int room)
{
	struct rte_mbuf *burst[WR_LOAD_STAGE];
	uint16_t n = (uint16_t)WR_MIN(room, (unsigned int)WR_LOAD_STAGE);

	if (n == 0 || rte_pktmbuf_alloc_bulk(b->l->pool, burst, n) != 0)
		return 0;
	for (uint16_t i = 0; i < n; i++) {
		uint8_t *data = rte_pktmbuf_mtod(burst[i], uint8_t *);
		/* Headers only: what lies behind them is never looked at. */
		memcpy(data, b->frame, WR_MIN(b->bytes, (uint16_t)64));
		burst[i]->data_len = b->bytes;
		burst[i]->pkt_len = b->bytes;
	}
	uint16_t taken = rte_eth_tx_burst(b->l->port_id, queue, burst, n);
	if (taken < n) {
		b->l->tx_full++;
		rte_pktmbuf_free_bulk(burst + taken, n - taken);
	}
	b->sent += taken;
	b->in_flight += taken;
	return taken;
}

static int loop(struct blast *b, const struct wr_load_blast *c, struct wr_load_clock *clock,
	uint64_t *end, struct wr_errmsg *msg)
{
	struct wr_load *l = b->l;
	uint64_t drain = wr_load_ticks(l, 0.2), tick = wr_load_ticks(l, 0.01), next_tick;
	struct rte_eth_link link;

	wr_load_clock_start(clock);
	*end = clock->start + wr_load_ticks(l, c->seconds);
	next_tick = clock->start + tick;
	for (;;) {
		uint64_t now = wr_clock_tsc();
		unsigned int worked = 0, n_live;
		if (wr_gate_pass(0, &n_live) && n_live >= l->n_queues) {
			for (uint16_t q = 0;
				q < l->n_queues && now < *end && b->in_flight < c->window; q++)
				worked +=
					send_frames(b, q, (unsigned int)(c->window - b->in_flight));
			worked += receive(b);
		}
		if (now < *end)
			wr_load_clock_pass(clock, now, worked);
		if (now > *end && (b->in_flight == 0 || now > *end + drain))
			return 0;
		if (now < next_tick)
			continue;
		next_tick = now + tick;
		if (wr_stop_requested())
			return wr_fail(msg, WR_EINTR, "stopped");
		if (rte_eth_link_get_nowait(l->port_id, &link) == 0 &&
			link.link_status != RTE_ETH_LINK_UP)
			return wr_fail(msg, WR_EAGAIN, "the link went down: the echo has gone");
	}
}

int wr_load_blast(struct wr_load *l, const struct wr_load_blast *c, struct wr_load_blast_result *r,
	struct wr_errmsg *msg)
{
	struct blast b = {.l = l};
	struct wr_load_clock clock;
	uint64_t end = 0;
	unsigned int payload = c->frame ? c->datagram - l->head.size : c->datagram;

	memset(r, 0, sizeof(*r));
	if ((c->frame && c->datagram < l->head.size) ||
		payload > WR_LOAD_BUFFER - WR_LOAD_FRAME_MAX_HEAD)
		return wr_fail(msg, WR_EINVAL, "--size must be 1 … %d",
			WR_LOAD_BUFFER - WR_LOAD_FRAME_MAX_HEAD);
	if (c->window == 0 || c->seconds <= 0)
		return wr_fail(msg, WR_EINVAL, "window and seconds must be above 0");
	b.bytes = wr_load_frame_finish(
		&l->head, b.frame, (uint16_t)payload, (uint16_t)payload, l->address.server_port);
	int err = loop(&b, c, &clock, &end, msg);
	uint64_t busy = clock.busy;
	double seconds = (double)(WR_MIN(wr_clock_tsc(), end) - clock.start) / (double)l->tsc_hz;
	wr_load_clock_end(&clock, l, &r->busy_share, &r->cpu_share);
	r->seconds = seconds;
	r->busy_share = seconds > 0 ? (double)busy / (seconds * (double)l->tsc_hz) : 0;
	r->frame_bytes = b.bytes;
	r->sent = b.sent;
	r->echoed = b.echoed;
	r->lost = b.in_flight;
	r->mpps = seconds > 0 ? (double)b.echoed / seconds / 1e6 : 0;
	r->cycles_per_frame = b.echoed ? (double)busy / (double)b.echoed : 0;
	r->generator_bound = r->busy_share > 0.95;
	return err;
}
