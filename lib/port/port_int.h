/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of lib/port that make a device share; the gate has its own header. */
#ifndef WR_PORT_INT_H
#define WR_PORT_INT_H

#include "wr_port.h"

#define PORT_NAME_BYTES 32 /* of DPDK's device name, NUL included */

/* ---- pool.c ---- */
#define PORT_DATA_ROOM  (RTE_PKTMBUF_HEADROOM + 2048)
#define PORT_POOL_CACHE 256 /* of every lcore */
/* dense: as AF_XDP wants it, in one piece and without gaps. The pool may be there on failure, too;
 * the caller frees it (rte_mempool_free). WR_ENOMEM. */
int wr_pool_make(struct rte_mempool **pool, unsigned int n, int socket_id, bool dense,
	struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- xdp.c: one shared interface a process, main thread ---- */
/* Whether the interface can be shared: it exists, is up, XDP is permitted. */
int wr_xdp_check(const struct wr_port_options *o, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Receive queues that the interface has, at least 1. */
unsigned int wr_xdp_n_queues(const char *interface);
/* Claims the interface, takes a dead daemon's program off it, refuses anybody else's; args: what
 * net_af_xdp is to be told. WR_EIO, WR_EPERM, WR_ENOENT. */
int wr_xdp_open(const struct wr_port_options *o, unsigned int n_queues, char *args, size_t size,
	struct wr_errmsg *msg) WR_MUST_CHECK;
/* Whether the interface was promiscuous when it was opened. */
bool wr_xdp_promiscuous(void);
/* AF_XDP sockets of this process, and those that got zero-copy. Any thread. */
void wr_xdp_sockets(unsigned int *n, unsigned int *n_zero_copy);
/* Buffers that the kernel refused to fill or to send; each is lost. Any thread. */
uint64_t wr_xdp_invalid(void);
/* The driver has its queues: looks at what it got. WR_ENOTSUP: less than asked for. */
int wr_xdp_configured(const struct wr_port_options *o, struct wr_errmsg *msg) WR_MUST_CHECK;
/* The driver has refused with errno ret: why, in words. Returns the error. */
int wr_xdp_refusal(const struct wr_port_options *o, int ret, struct wr_errmsg *msg) WR_MUST_CHECK;
/* From here on datagrams to UDP ports first … first + n - 1 come to us, until stop. */
int wr_xdp_start(uint16_t first, uint16_t n_ports, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_xdp_stop(void);
/* Some ten times a second: new local addresses are taken over within a second. */
void wr_xdp_tick(void);
void wr_xdp_describe(char *out, size_t size);
/* Safe on what was never opened. */
void wr_xdp_close(void);

#endif
