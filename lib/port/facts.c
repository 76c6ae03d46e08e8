/* SPDX-License-Identifier: BSD-3-Clause */
/* What a running port is made of, for people who look at it. A few calls a second at most. */
#include "port_int.h"

#include "steer.h"

#include <rte_ethdev.h>
#include <rte_mempool.h>

#include <net/if.h>
#include <string.h>

#define CHECKSUMS (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM)

void wr_port_facts(const struct wr_port *p, struct wr_port_facts *f)
{
	uint16_t id = wr_port_ethdev(p);
	struct rte_eth_dev_info info = {0};
	struct rte_eth_conf conf = {0};
	struct rte_eth_rxq_info rxq = {0};
	struct rte_eth_txq_info txq = {0};
	struct rte_eth_stats stats = {0};

	memset(f, 0, sizeof(*f));
	if (rte_eth_dev_info_get(id, &info) == 0) {
		snprintf(f->driver, sizeof(f->driver), "%s", info.driver_name);
		f->rx_queues = info.nb_rx_queues;
		f->tx_queues = info.nb_tx_queues;
		if (!info.if_index || !if_indextoname(info.if_index, f->interface))
			f->interface[0] = '\0';
	}
	(void)rte_eth_dev_get_name_by_port(id, f->device);
	if (rte_eth_dev_conf_get(id, &conf) == 0)
		f->rx_checksum = (conf.rxmode.offloads & CHECKSUMS) == CHECKSUMS;
	/* Not every driver tells (memif does not): 0 then. */
	if (rte_eth_rx_queue_info_get(id, 0, &rxq) == 0)
		f->rx_descriptors = rxq.nb_desc;
	if (rte_eth_tx_queue_info_get(id, 0, &txq) == 0)
		f->tx_descriptors = txq.nb_desc;
	(void)rte_eth_dev_get_mtu(id, &f->mtu);
	if (rte_eth_stats_get(id, &stats) == 0) {
		f->rx_missed = stats.imissed;
		f->rx_errors = stats.ierrors;
		f->rx_no_mbuf = stats.rx_nombuf;
		f->tx_errors = stats.oerrors;
	}
	struct rte_mempool *pool = wr_port_pool(p);
	f->mbufs = pool->size;
	f->mbufs_free = rte_mempool_avail_count(pool);
	f->numa = rte_eth_dev_socket_id(id);
	wr_xdp_sockets(&f->xdp_sockets, &f->xdp_zero_copy);
	if (f->xdp_sockets == 0)
		return;
	f->xdp_invalid = wr_xdp_invalid();
	f->xdp_native = wr_steer_native();
	wr_steer_counts(&f->xdp_passed, &f->xdp_taken, &f->xdp_no_socket);
}
