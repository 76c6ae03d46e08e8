/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of lib/port that make a device share; the gate has its own header. */
#ifndef WR_PORT_INT_H
#define WR_PORT_INT_H

#include "wr_port.h"

#define PORT_NAME_BYTES 32 /* of DPDK's device name, NUL included */

/* ---- xdp.c ---- */
/* Whether the interface can be shared: it exists, is up, XDP is permitted. */
int wr_xdp_check(const struct wr_port_options *o, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Receive queues that the interface has, at least 1. */
unsigned int wr_xdp_n_queues(const char *interface);

#endif
