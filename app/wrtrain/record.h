/* SPDX-License-Identifier: BSD-3-Clause */
/* docs/records/NAME.json: what a run reached and how to redo it. */
#ifndef WRTRAIN_RECORD_H
#define WRTRAIN_RECORD_H

#include "wr_learn.h"
#include "wr_report.h"

struct wrtrain_record {
	const char *run; /* its settings.json and log.jsonl are read */
	const char *dataset, *model, *where;
	const char *commit; /* NULL = unknown */
};
/* Test figures m of the run; all or nothing. WR_ENOENT, WR_EIO, WR_EFORMAT, WR_ENOMEM. */
int wrtrain_record_write(const struct wrtrain_record *r, const struct wr_metrics_at *m,
	const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
