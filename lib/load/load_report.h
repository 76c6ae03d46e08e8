/* SPDX-License-Identifier: BSD-3-Clause */
/* Results as JSON, for benches, the demo and scripts; field names are documented in
 * docs/benchmarking.md. */
#ifndef WR_LOAD_REPORT_H
#define WR_LOAD_REPORT_H

#include "wr_load.h"
#include "wr_report.h"

/* New references; the caller json_decref's. NULL: no memory. */
json_t *wr_load_result_json(const struct wr_load_result *r);
json_t *wr_load_eval_json(const struct wr_load_eval_result *r, unsigned int k);
json_t *wr_load_malform_json(const struct wr_load_malform_result *r);
json_t *wr_load_blast_json(const struct wr_load_blast_result *r);
/* A name for a status of the protocol ("busy"), and for bit b of the answer flags ("handed_over").
 */
const char *wr_load_status_name(unsigned int status);
const char *wr_load_flag_name(unsigned int bit);

#endif
