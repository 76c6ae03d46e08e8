/* SPDX-License-Identifier: BSD-3-Clause */
/* wrctl: one connection to a daemon's telemetry socket, and the tables made from its answers. */
#ifndef WRCTL_H
#define WRCTL_H

#include "ask.h"
#include "wr_report.h"

/* ---- link.c: the socket ---- */
struct link;
/* The path of daemon name's socket, where EAL would make it for this user. */
void link_path(const char *name, char *out, size_t size);
/*
 * Connects and reads the greeting; each step takes at most timeout_s seconds. name is for messages
 * (NULL = --socket was given). Errors say what was looked for and which daemons run.
 */
int link_open(struct link **l, const char *path, const char *name, unsigned int timeout_s,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void link_close(struct link *l);
/* Sends "path,params" (params may be NULL) and gives the answer's body, whatever it is; the caller
 * json_decref's. */
int link_ask_raw(struct link *l, const char *path, const char *params, json_t **body,
	struct wr_errmsg *msg) WR_MUST_CHECK;
/*
 * The body of a Wirerank command, without "status": an error unless that is "ok". Pieces of long
 * strings are joined, "group/name" becomes {"group": {"name": …}}; pages (where the answer has
 * them) are all fetched and merged. worker: "all", a number, or NULL for a command without one.
 */
int link_ask(struct link *l, const char *path, const char *worker, json_t **body,
	struct wr_errmsg *msg) WR_MUST_CHECK;

/* Process id of the daemon, from its greeting; 0 when it gave none. */
int link_pid(const struct link *l);

/* ---- main.c: what a command gets ---- */
enum daemon_need { NEEDS_DAEMON, MAY_LACK_DAEMON, NO_DAEMON };
struct capture_options {
	const char *output, *packets, *seconds, *snaplen, *bytes, *filter;
};
struct plan_options {
	const char *load, *mix, *users, *model, *bench, *cores, *memory, *nic, *headroom, *spare;
};
struct context {
	struct link *link;        /* NULL: none was needed, or none could be made */
	struct wr_errmsg no_link; /* why, for MAY_LACK_DAEMON */
	const char *argument;     /* the word behind the command */
	char path[512];           /* of the daemon's socket */
	const char *name;         /* of the daemon; NULL = --socket was given */
	bool json, zeros, once;
	unsigned int timeout_s, watch_s;
	double interval_s;
	/* options as given, NULL = not given; a command's check parses its own */
	const char *worker, *watch, *machine, *config, *sysroot, *interval;
	const struct wr_opt *opts; /* the table of options, for completion */
	unsigned int n_opts;
	struct ask_options ask;
	struct capture_options capture;
	struct plan_options plan;
};
/* A number of seconds from 1 to 3600. */
int option_seconds(const char *option, const char *text, unsigned int *out,
	struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- commands: 0, an exit status above 0, or negative with msg ---- */
int cmd_status(const struct context *c, struct wr_errmsg *msg);
int cmd_stats(const struct context *c, struct wr_errmsg *msg);
int cmd_latency(const struct context *c, struct wr_errmsg *msg);
int cmd_bundle(const struct context *c, struct wr_errmsg *msg);
int cmd_shards(const struct context *c, struct wr_errmsg *msg);
int cmd_config(const struct context *c, struct wr_errmsg *msg);
int cmd_raw(const struct context *c, struct wr_errmsg *msg);
int cmd_doctor(const struct context *c, struct wr_errmsg *msg);
int cmd_ask(const struct context *c, struct wr_errmsg *msg);
int check_ask(struct context *c, struct wr_errmsg *msg);
int cmd_capture(const struct context *c, struct wr_errmsg *msg);
int check_capture(struct context *c, struct wr_errmsg *msg);
int cmd_top(const struct context *c, struct wr_errmsg *msg);
int cmd_plan(const struct context *c, struct wr_errmsg *msg);
int check_plan(struct context *c, struct wr_errmsg *msg);
int check_stats(struct context *c, struct wr_errmsg *msg);
int check_doctor(struct context *c, struct wr_errmsg *msg);
int check_top(struct context *c, struct wr_errmsg *msg);

/* ---- answer.c: merging ---- */
/* Adds the entries of a page to body, as link_ask says. */
int answer_merge(json_t *body, json_t *page, struct wr_errmsg *msg) WR_MUST_CHECK;
/* {"section": {"key": value, "key/from": origin}} to {"section": {"key": {"value": …, "from": …}}};
 * a new reference. */
json_t *answer_config(json_t *body);

/* ---- show.c: tables on stdout; zeros: rows that are all zero are shown too, where a table has any
 * ---- */
void show_status(json_t *status, bool zeros);
void show_stats(json_t *stats, bool zeros);
void show_latency(json_t *latency, bool zeros);
void show_bundle(json_t *bundle, bool zeros);
void show_shards(json_t *shards, bool zeros);
void show_config(json_t *config);
/* One line of rates between two "all" statistics, seconds apart; a heading when line is 0. */
void show_rates(const json_t *before, const json_t *now, double seconds, unsigned int line);
/* Number key of object (0 when absent); path "outcome/answered" looks one level down. */
uint64_t number_at(const json_t *object, const char *path);

#endif
