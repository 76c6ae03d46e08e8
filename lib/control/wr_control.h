/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon's telemetry commands, read by wrctl. Answers are small, paged, and always hold
 * "status": "ok", "error" (with "error": one line) or "stopped". Nothing here changes the daemon;
 * who may ask is decided by the socket's folder.
 *
 * What DPDK 22.11 does to a reply, and what is done about it: a failed command answers null like an
 * unknown one (ours do not fail); above 16 KB entries are dropped without a word (pages stay below
 * 4 KB); strings are cut at 127 bytes (longer ones are sent in pieces "name", "name/1", …); a byte
 * above 0x7f makes it read outside a table (replaced by '?').
 */
#ifndef WR_CONTROL_H
#define WR_CONTROL_H

#include "wr_base.h"

struct wr_serve;

/*
 * Registers the commands (once a process) and answers for s, from EAL's telemetry threads, until
 * wr_control_stop. EAL must run; call it after wr_serve_open, since "status" asks the port for its
 * link. WR_ESTATE: already started; WR_EIO: EAL refused a command.
 */
int wr_control_start(struct wr_serve *s, struct wr_errmsg *msg) WR_MUST_CHECK;
/* No command reads the server any more when this returns; call it before wr_serve_stop, which
 * closes the port. */
void wr_control_stop(void);

/* The table behind registration and documentation. */
struct wr_control_command {
	const char *path;   /* "/wirerank/stats" */
	const char *params; /* "" = none */
	const char *help;   /* below 128 bytes with params */
};
/* Command i, NULL behind the last one. */
const struct wr_control_command *wr_control_command(unsigned int i);

#endif
