/* SPDX-License-Identifier: BSD-3-Clause */
/* Windows of measuring: which workers run together, for how long, and what came of it. */
#ifndef WR_CAPACITY_WINDOW_H
#define WR_CAPACITY_WINDOW_H

#include "source.h"

#include "wr_report.h"
#include "wr_serve.h"

struct windows {
	unsigned int n; /* workers */
	struct source *source[WR_SERVE_MAX_WORKERS];
	struct wr_serve *serve;
	unsigned int rounds;
	uint64_t window_ms, frames_mib;
	_Atomic bool dry;
};

/* Gives the order to the first n workers and waits until it is carried out, at most so long. */
int windows_do(struct windows *w, unsigned int n, enum order order, double seconds,
	struct wr_errmsg *msg) WR_MUST_CHECK;
/*
 * All rounds: 1 worker alone (each in turn), 2 together, 4 … all. *points: [{"lcores", "answers_s":
 * median of the sums of the workers' answers per second of their CPU time without feeding, …,
 * "scale": median of the rounds' ratios to the same round's single workers}], a new reference.
 * WR_ESTATE: an answer was wrong or missing.
 */
int windows_run(struct windows *w, json_t **points, struct wr_errmsg *msg) WR_MUST_CHECK;
/* The chart of a whole result. */
int windows_chart(const json_t *root, const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
