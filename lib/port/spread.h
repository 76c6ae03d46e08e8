/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How frames come to the queue of the worker that their UDP port names; internal to lib/port. UDP
 * port first + i belongs to queue i modulo the number of queues. Control path only, one port.
 */
#ifndef WR_PORT_SPREAD_H
#define WR_PORT_SPREAD_H

#include "wr_port.h"

#include <rte_ethdev.h>
#include <rte_flow.h>

#define SPREAD_MAX_FLOWS (2 * WR_PORT_MAX_QUEUES) /* a UDP port, an IP version */
#define SPREAD_KEY_BYTES 64                       /* the longest of DPDK's drivers has 52 */

struct spread {
	enum wr_port_spread how;
	uint16_t ethdev, first_port;
	unsigned int n_ports, n_queues;
	bool dst_only; /* RSS was asked for over the destination port alone */
	uint8_t key[SPREAD_KEY_BYTES];
	unsigned int n_flows;
	struct rte_flow *flow[SPREAD_MAX_FLOWS];
	unsigned int n_placed; /* rss: UDP ports whose frames come to their queue */
	char refusal[128];     /* flows: what the driver said */
};

/*
 * Before rte_eth_dev_configure: asks for RSS in conf where the port can do it and has more than one
 * queue: over the UDP destination port alone, else over what it can of UDP, so that at least the
 * work of receiving is spread. s keeps the key that conf points to.
 */
void wr_spread_configure(
	struct spread *s, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf);
/* When the port runs: flow rules, else the RSS table, else nothing; s->how says which. s has
 * ethdev, first_port, n_ports and n_queues (1 … WR_PORT_MAX_QUEUES each). */
void wr_spread_start(struct spread *s);
/* Takes the flow rules off; before the port stops. */
void wr_spread_stop(struct spread *s);
/* ", flow rules" …: for operators, behind the number of queues. */
void wr_spread_describe(const struct spread *s, char *out, size_t size);

/* ---- the parts of it ---- */
/*
 * A key of n bytes (a multiple of 4) with which the Toeplitz hash of a destination port, modulo a
 * table of 2^table_log2 (1 … 16) entries, is the port's low bits in reverse: neighbours never
 * meet. It repeats every 16 bits, so that it does not matter at which field's place a NIC puts the
 * port when it leaves out the others.
 */
void wr_spread_key(uint8_t *key, unsigned int n, unsigned int table_log2);
/* Toeplitz hash of the destination port alone; the first 8 bytes of a key count. */
uint32_t wr_spread_hash(const uint8_t *key, uint16_t port);
/*
 * Reads the port's key, writes its table so that UDP port i comes to queue i modulo n_queues, reads
 * it back: the number of UDP ports for which that holds; 0 when key or table are not to be had.
 */
unsigned int wr_spread_rss_table(struct spread *s);
/* A flow rule for every UDP port and IP version, all or none. */
bool wr_spread_flows(struct spread *s);

#endif
