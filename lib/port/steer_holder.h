/* SPDX-License-Identifier: BSD-3-Clause */
/* Who holds a BPF program; internal to lib/port. */
#ifndef WR_PORT_STEER_HOLDER_H
#define WR_PORT_STEER_HOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether another process that we can see has a descriptor of the program or of a link to it;
 * who: "process 123 (name)". */
bool wr_steer_holder(uint32_t prog_id, char *who, size_t size);

#endif
