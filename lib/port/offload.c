/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a port does for us: checksums received and sent, and the multicast groups that it lets
 * through. A driver without them costs a pass over each frame, nothing else. One call a frame in
 * each direction; the rest at start.
 */
#include "offload.h"

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <errno.h>
#include <string.h>

#define RX_CHECKSUMS (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM)
#define TX_CHECKSUMS (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM)

void wr_offload_request(
	const struct rte_eth_dev_info *info, bool trust_rx, struct rte_eth_conf *conf)
{
	if (!trust_rx)
		conf->rxmode.offloads |= info->rx_offload_capa & RX_CHECKSUMS;
	/* Both or none: a reply's checksums are made in one place. */
	if ((info->tx_offload_capa & TX_CHECKSUMS) == TX_CHECKSUMS)
		conf->txmode.offloads |= TX_CHECKSUMS;
}

void wr_offload_apply(uint16_t ethdev, bool trust_rx, struct wr_frame_local *us)
{
	struct rte_eth_conf conf;

	us->known = trust_rx ? WR_FRAME_UDP_KNOWN : 0;
	us->tx_checksums = rte_eth_dev_conf_get(ethdev, &conf) == 0 &&
			   (conf.txmode.offloads & TX_CHECKSUMS) == TX_CHECKSUMS;
}

int wr_offload_join(uint16_t ethdev, const struct wr_port_addresses *a, bool all)
{
	struct rte_ether_addr group[WR_PORT_MAX_ADDRESSES];
	unsigned int n = 0;

	for (unsigned int i = 0; i < a->n_own_ipv6; i++) {
		const uint8_t *low = a->ipv6[i] + 13;
		unsigned int k = 0;
		group[n] = (struct rte_ether_addr){{0x33, 0x33, 0xff, low[0], low[1], low[2]}};
		while (!rte_is_same_ether_addr(&group[k], &group[n]))
			k++;
		n += k == n;
	}
	if (!all && (n == 0 || rte_eth_dev_set_mc_addr_list(ethdev, group, n) == 0))
		return 0;
	return rte_eth_allmulticast_enable(ethdev);
}

/* A port's word that a checksum is right counts, and so does "the data was not touched, the field
 * is unfinished" (NONE). "Wrong" is looked at again: some NICs say so of an absent UDP checksum. */
static uint32_t known_of(uint64_t flags)
{
	uint64_t ip = flags & RTE_MBUF_F_RX_IP_CKSUM_MASK, l4 = flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	uint32_t known = 0;

	if (ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD || ip == RTE_MBUF_F_RX_IP_CKSUM_NONE)
		known |= WR_FRAME_IP_KNOWN;
	if (l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD || l4 == RTE_MBUF_F_RX_L4_CKSUM_NONE)
		known |= WR_FRAME_UDP_KNOWN;
	return known;
}

enum wr_outcome wr_port_parse(const struct wr_frame_local *us, const struct rte_mbuf *m,
	const uint8_t *data, struct wr_frame *f)
{
	return wr_frame_parse(
		us, data, rte_pktmbuf_data_len(m), us->known | known_of(m->ol_flags), f);
}

void wr_port_reply(const struct wr_frame_local *us, struct rte_mbuf *m, const struct wr_frame *f,
	uint32_t payload_len, uint32_t used)
{
	const uint64_t owned = RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT; /* of the buffer itself */
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
	uint32_t len = wr_frame_reply(data, f, payload_len, used, us->tx_checksums);

	m->data_len = (uint16_t)len;
	m->pkt_len = len;
	m->ol_flags &= owned;
	if (us->tx_checksums) {
		m->tx_offload = rte_mbuf_tx_offload(f->l3_off, f->ipv6 ? 40 : 20, 0, 0, 0, 0, 0);
		m->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM |
			       (f->ipv6 ? RTE_MBUF_F_TX_IPV6
					: RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM);
	}
}
