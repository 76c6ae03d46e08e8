/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Layouts of wr_steer.bpf.c's maps, for the program and for lib/port/xdp.c, which fills them. */
#ifndef WR_STEER_H
#define WR_STEER_H

#include <linux/types.h>

#define WR_STEER_PROGRAM "wr_steer" /* name of the program, by which a stale one is known */

#define WR_STEER_MAX_QUEUES    64
#define WR_STEER_MAX_ADDRESSES 4096

/* Map wr_steer_ports, one entry: UDP ports first … first + n - 1 are the service's. */
struct wr_steer_ports {
	__u32 first, n; /* host order */
};

/* Map wr_steer_local: a local address in network order, IPv4 as ::ffff:a.b.c.d. */
struct wr_steer_address {
	__be32 word[4];
};

/* Map wr_steer_counts, per CPU: frames that … */
enum wr_steer_count {
	WR_STEER_PASSED,    /* went on to the kernel */
	WR_STEER_TAKEN,     /* went to a socket of ours */
	WR_STEER_NO_SOCKET, /* were ours, but came in on a queue without a socket: to the kernel */
	WR_STEER_N_COUNTS
};

#endif
