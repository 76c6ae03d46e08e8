/* SPDX-License-Identifier: BSD-3-Clause */
/* wrctl top: two moments of a daemon, the figures between them, and how they are shown. */
#ifndef TOP_H
#define TOP_H

#include "wrctl.h"

/* One moment. */
struct moment {
	uint64_t at_ns;
	int pid;
	json_t *status, *all, *workers; /* workers: an array of statistics */
	struct wr_hist *server_ns;      /* buckets and count only */
};
int moment_take(struct link *l, struct moment **m, struct wr_errmsg *msg) WR_MUST_CHECK;
void moment_free(struct moment *m);

/*
 * What happened between two moments, rates a second:
 * {"seconds", "restarted", "state", "workers": [{"worker", "cpu", "busy", "received", "answered",
 * "burst", "handed_over"}…], "received", "answered", "errors", "aside" (ARP, echo and the like,
 * and what the kernel tap took), "dropped", "drops": {reason: rate},
 * "recommends", "events", "handed_over", "deferred", "cold", "warm", "popular", "busy", "burst",
 * "sessions", "session_rows", "latency_us": {"count", "p50", "p99", "p999", "max"},
 * "stage_ns": {stage: ns an answer}}. busy: share of a worker's cycles that were not idle polls;
 * burst: frames a non-empty burst. After a restart (another process, a younger one) the earlier
 * moment counts as zero. A new reference.
 */
json_t *top_figures(const struct moment *before, const struct moment *now);

/* A screenful of at most rows × columns characters; paused is said. */
void top_draw(const char *name, const json_t *figures, unsigned int rows, unsigned int columns,
	bool paused);
/* One line of it, with a heading when line is a multiple of 20. */
void top_line(const json_t *figures, unsigned int line);

#endif
