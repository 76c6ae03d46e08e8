/* SPDX-License-Identifier: BSD-3-Clause */
/* wrctl: one connection to a daemon's telemetry socket, and the tables made from its answers. */
#ifndef WRCTL_H
#define WRCTL_H

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
