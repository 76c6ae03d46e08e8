/* SPDX-License-Identifier: BSD-3-Clause */
/* A run's result for people, and the ramp over many runs. */
#ifndef WRLOAD_RUN_PRINT_H
#define WRLOAD_RUN_PRINT_H

#include "load_report.h"
#include "wr_load.h"

void print_result(const struct wr_load_result *r);

struct ramp_config {
	struct wr_load *l;
	struct wr_load_run *run; /* its rate is where the ramp starts; changed on the way */
	double step, p99_us;
	const char *svg; /* NULL = none */
	bool show;
};
/*
 * Raises the rate step by step until a run breaks the bound (p99, or anything lost or unsent), then
 * halves the last step three times. *result: new reference with every step. *wrong: some answer was
 * wrong. Errors of wr_load_run, and WR_EIO from the chart.
 */
int ramp_run(const struct ramp_config *c, json_t **result, bool *wrong,
	struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
