/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What tools hand to people and to other programs: JSON (over jansson) and SVG charts. Not for the
 * corridor.
 */
#ifndef WR_REPORT_H
#define WR_REPORT_H

#include "wr_base.h"

/* ---- JSON: the library itself, through this one door: include wr_report.h, not jansson.h. ---- */
#include <jansson.h>

/* Writes root (not consumed) to path, all or nothing, indented by 2, keys in insertion order. "-" =
 * stdout. */
int wr_json_write(const json_t *root, const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Reads a whole JSON file; the caller json_decref's. Errors name file:line. */
int wr_json_read(const char *path, json_t **root, struct wr_errmsg *msg) WR_MUST_CHECK;
/* {"cpu": model name, "cores": n, "isa": best level word, "kernel": release, "steal_ticks": …} of
 * this machine; new reference. */
json_t *wr_report_machine(const char *isa);

/* ---- SVG line charts ---- */
struct wr_chart_series {
	const char *name;
	const double *x, *y;
	size_t n;
	bool points_only;
};
struct wr_chart {
	const char *title, *x_label, *y_label;
	bool x_log, y_log; /* values ≤ 0 are left out then */
	const struct wr_chart_series *series;
	size_t n_series;  /* at most 8 */
	const char *note; /* one line under the chart: CPU, command */
};
/* 800 × 480, light background, axes with ticks at round values, legend, direct labels; no script,
 * no outside font. */
int wr_chart_write(const struct wr_chart *c, const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
