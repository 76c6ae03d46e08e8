/* SPDX-License-Identifier: BSD-3-Clause */
/* Our XDP program on a kernel interface: attached in net_af_xdp's place, its maps filled, gone with
 * this process. Internal to lib/port; one thread, and one interface a process. */
#ifndef WR_PORT_STEER_H
#define WR_PORT_STEER_H

#include "wr_port.h"

/*
 * Prepares the interface: a program of ours that a dead process left is taken off; any other
 * program, or one of ours whose owner lives, is an error. From here on net_af_xdp's requests to
 * attach a program to this interface come to us. WR_EIO, WR_EPERM.
 */
int wr_steer_open(const char *interface, unsigned int ifindex, enum wr_port_xdp_mode mode,
	struct wr_errmsg *msg) WR_MUST_CHECK;
/* Path of the program's object file, for net_af_xdp: valid until wr_steer_close. */
const char *wr_steer_path(void);
/* After the driver has set up its queues: finds the maps. WR_EIO: the driver attached nothing. */
int wr_steer_find_maps(struct wr_errmsg *msg) WR_MUST_CHECK;
/* Why the last attachment failed, as an errno; 0 = it did not. */
int wr_steer_attach_errno(void);
bool wr_steer_native(void);
/* UDP ports first … first + n - 1 are taken; n = 0: nothing is. */
int wr_steer_set_ports(uint16_t first, uint16_t n) WR_MUST_CHECK;
/* Looks at the addresses of this network namespace and takes over what has changed. */
void wr_steer_refresh_addresses(void);
void wr_steer_counts(uint64_t *passed, uint64_t *taken, uint64_t *no_socket);
/* The program is detached and unloaded, if the driver has not said so yet. */
void wr_steer_close(void);

#endif
