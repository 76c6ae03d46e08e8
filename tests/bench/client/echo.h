/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other end of the loopback bench: a thread that answers HELLO with a table of one port, and
 * everything else with status OK and no items, each answer as long as its request. One pass over
 * the header, so that the client's core is what is measured.
 */
#ifndef BENCH_ECHO_H
#define BENCH_ECHO_H

#include "bench_udp.h"

struct echo;
/* Starts the thread, pinned to the core (-1 = not). Listens on a port of its own choice on
 * 127.0.0.1. */
int echo_start(struct echo **e, bool offload, int core, struct wr_errmsg *msg) WR_MUST_CHECK;
const struct sockaddr_storage *echo_address(const struct echo *e);
bool echo_offload(const struct echo *e);
/* Stops it; CPU seconds that it took and datagrams that it answered. Accepts NULL. */
void echo_stop(struct echo *e, double *cpu_s, uint64_t *n_answered);

#endif
