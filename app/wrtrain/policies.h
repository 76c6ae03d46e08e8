/* SPDX-License-Identifier: BSD-3-Clause */
/* What lift and replay share: logs of data sets in the policies' form. */
#ifndef WRTRAIN_POLICIES_H
#define WRTRAIN_POLICIES_H

#include "wr_policy.h"
#include "wr_report.h"

#define WRTRAIN_MAX_POLICIES 12

/* All tokens of ds as a log; offset is the caller's to free. */
int wrtrain_log_of(const struct wr_dataset *ds, struct wr_baseline_log *log, uint64_t **offset,
	struct wr_errmsg *msg) WR_MUST_CHECK;
/* {"mean": …, "low": …, "high": …}; new reference. */
json_t *wrtrain_interval_json(const struct wr_interval *x);

#endif
