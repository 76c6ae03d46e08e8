/* SPDX-License-Identifier: BSD-3-Clause */
/* The kernel's interface behind a port; internal to lib/port. One a port. */
#ifndef WR_PORT_KERNEL_TAP_H
#define WR_PORT_KERNEL_TAP_H

#include "wr_port.h"

#define KERNEL_TAP_MBUFS 128u /* that its receive side holds */

struct kernel_tap {
	char name[32]; /* DPDK's */
	uint16_t ethdev;
	bool probed, started;
};
/* Whether an interface of that name can be made. WR_EIO (taken), WR_EPERM. */
int wr_kernel_tap_check(const char *interface, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Makes the interface `interface` with our MAC; mbufs of what the kernel sends come from pool. Main
 * thread. WR_EIO, WR_EPERM with the mend. */
int wr_kernel_tap_open(struct kernel_tap *k, const char *interface, const uint8_t mac[6],
	unsigned int mtu, struct rte_mempool *pool, struct wr_errmsg *msg) WR_MUST_CHECK;
/* No worker may use it any more. Safe on what was never opened. */
void wr_kernel_tap_close(struct kernel_tap *k);

#endif
