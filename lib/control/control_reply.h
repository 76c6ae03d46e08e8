/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/control: replies and the commands that fill them. */
#ifndef CONTROL_REPLY_H
#define CONTROL_REPLY_H

#include "wr_base.h"

struct rte_tel_data;
struct wr_serve;

#define CONTROL_PIECE 96 /* bytes of a string in one entry; DPDK takes 127 */

/* A dictionary being filled; a sticky failure when DPDK takes no more. */
struct reply {
	struct rte_tel_data *data;
	bool failed;
};
void wr_reply_u64(struct reply *r, const char *name, uint64_t value);
/* Bytes outside 0x20 … 0x7e become '?'; cut at 127. */
void wr_reply_text(struct reply *r, const char *name, const char *text);
/* As long as it takes: "name", then "name/1" … */
void wr_reply_long_text(struct reply *r, const char *name, const char *text);
/* A dictionary inside r; its owner after wr_reply_end is r. */
struct reply wr_reply_begin(void);
void wr_reply_end(struct reply *r, const char *name, struct reply *inner);

/* "WORKER,PAGE" as far as a command takes them. */
struct params {
	int worker; /* -1 = all */
	unsigned int page;
	const char *text; /* all of it, of commands with words of their own; "" = none */
};
enum takes { TAKES_NOTHING = 0, TAKES_WORKER = 1, TAKES_PAGE = 2, TAKES_TEXT = 4 };
struct wr_control_command;
/* Reads what stands behind the command's comma (NULL = nothing) as far as it takes it; n_workers:
 * at least 1. WR_EINVAL with a line for the asker. */
int wr_control_params(const char *s, unsigned int takes, const struct wr_control_command *c,
	unsigned int n_workers, struct params *p, struct wr_errmsg *msg) WR_MUST_CHECK;

/* Each fills r, "status" excepted. 0, or negative with msg: answered as an error. Called one at a
 * time. */
int wr_control_status(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg);
int wr_control_stats(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg);
int wr_control_latency(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg);
int wr_control_histogram(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg);
int wr_control_bundle(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg);
int wr_control_shards(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg);
int wr_control_capture_start(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg);
int wr_control_capture_stop(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg);
int wr_control_capture(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg);
int wr_control_port(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg);
int wr_control_machine(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg);
int wr_control_engines(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg);
/* What later answers are counted from; when commands start. */
void wr_control_note_start(const struct wr_serve *s);
int wr_control_config(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg);

#endif
