/* SPDX-License-Identifier: BSD-3-Clause */
/* What port.c asks a driver for beyond queues; internal to lib/port. Control path. */
#ifndef WR_PORT_OFFLOAD_H
#define WR_PORT_OFFLOAD_H

#include "wr_port.h"

struct rte_eth_conf;
struct rte_eth_dev_info;

/* Adds the checksum offloads that the device has to conf; trust_rx: received ones are not wanted.
 */
void wr_offload_request(
	const struct rte_eth_dev_info *info, bool trust_rx, struct rte_eth_conf *conf);
/* Tells the frames' side which of them hold for a configured device. */
void wr_offload_apply(uint16_t ethdev, bool trust_rx, struct wr_frame_local *us);
/*
 * The solicited-node groups of the own IPv6 addresses through the port's filter; all: every group.
 * Drivers without a list get every group too. 0, or the driver's errno (-ENOTSUP: it has no filter,
 * or nobody can change it). After start.
 */
int wr_offload_join(uint16_t ethdev, const struct wr_port_addresses *a, bool all);

#endif
