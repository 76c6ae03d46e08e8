/* SPDX-License-Identifier: BSD-3-Clause */
/* Options that wrload's commands share, and what they do with results. */
#ifndef WRLOAD_H
#define WRLOAD_H

#include "load_report.h"
#include "wr_load.h"

enum { EXIT_OK = 0, EXIT_ERROR = 1, EXIT_WRONG = 2 };

struct common {
	const char *memif, *vdev, *id, *queues, *ring, *core, *realtime, *wait;
	const char *server_ip, *server_mac, *server_port, *client_ip, *client_mac, *client_port;
	const char *json, *quiet;
};
extern struct common common;

#define MAX_OPTS 64
enum { OPT_PORT = 1, OPT_WORKLOAD = 2 };
/* Parses own options, those that `more` (OPT_…) names, addresses and output. Returns -1 to go on,
 * else the exit code. */
int parse_options(int argc, char **argv, const char *usage, const struct wr_opt *own,
	unsigned int n_own, unsigned int more);
/* Who talks to whom. WR_EINVAL names the option. */
int addresses(struct wr_load_address *a, struct wr_errmsg *msg) WR_MUST_CHECK;

/* A number of an option; 0, or WR_EINVAL with the option's name in msg. */
int real(const char *option, const char *value, double min, double max, double *out,
	struct wr_errmsg *msg) WR_MUST_CHECK;

/* Opens the generator with the common options; asks HELLO unless told not to. */
int open_load(struct wr_load **l, bool hello, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Prints the message, closes, gives the exit code for err. */
int close_load(struct wr_load *l, int err, const struct wr_errmsg *msg);
bool quiet(void);
/* Writes --json, if asked for; steals o. */
int write_json(json_t *o, struct wr_errmsg *msg) WR_MUST_CHECK;

int cmd_run(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_malform(int argc, char **argv);
int cmd_blast(int argc, char **argv);
int cmd_ask(int argc, char **argv);
int cmd_hello(int argc, char **argv);
int cmd_pcap(int argc, char **argv);

#endif
