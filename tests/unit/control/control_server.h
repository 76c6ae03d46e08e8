/* SPDX-License-Identifier: BSD-3-Clause */
/* A real EAL and a real server object for the control suite; the port stays closed. */
#ifndef CONTROL_TEST_SERVER_H
#define CONTROL_TEST_SERVER_H

#include "wr_config.h"
#include "wr_control.h"
#include "wr_serve.h"

struct server {
	char name[32], socket_path[108], bundle_path[300];
	struct wr_bundle *bundle;
	struct wr_config config;
	struct wr_serve *serve;
};
/* Once a process. s is zeroed memory; server_end accepts what a failed start left. */
int server_start(struct server *s, struct wr_errmsg *msg);
void server_end(struct server *s);

#endif
