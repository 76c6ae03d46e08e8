/* SPDX-License-Identifier: BSD-3-Clause */
/* What port.c tells the gate; internal to lib/port. */
#ifndef WR_PORT_GATE_H
#define WR_PORT_GATE_H

#include <stdbool.h>
#include <stdint.h>

/* Reads the link's state again; under the gate only. */
void wr_gate_refresh(void *unused);
/*
 * net_memif (22.11) frees its listener when its last device is removed, and leaves the listener's
 * callback and descriptor, as well as those of peers in mid-greeting: a peer that comes back at
 * once then makes EAL's thread call into freed memory. driver_gone: under the gate, right behind
 * the removal; from here on such callbacks do nothing. remove_leftovers: outside of it, before the
 * next device or EAL's end.
 */
void wr_gate_driver_gone(void);
void wr_gate_remove_leftovers(void);
/* Callbacks that came through our interposed functions since the process began. */
bool wr_gate_is_interposed(void);

/* ---- guard.c: what a memif peer asks for, checked before the driver believes it ---- */
#define GUARD_MAX_REGIONS 4
struct guard {
	int fd; /* control socket of the peer, -1 = this callback is not a peer's */
	unsigned int n_regions, n_c2s, n_s2c;
	uint64_t region_bytes[GUARD_MAX_REGIONS];
	bool connect;   /* the last message asked for the connection */
	bool connected; /* it did once: rings and regions are settled */
};
/* fd: what a callback was registered for. Sets fd = -1 when it is no connected SEQPACKET socket. */
void wr_guard_init(struct guard *g, int fd);
/*
 * Looks at the message that waits on the socket. False: unsound; the socket was shut down, so that
 * the driver sees the peer's end instead.
 */
bool wr_guard_check(struct guard *g, unsigned int max_rings);

#endif
