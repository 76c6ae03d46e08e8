/* SPDX-License-Identifier: BSD-3-Clause */
/* What a workload's requests are: options that `run` and `pcap` share. */
#ifndef WRLOAD_WORKLOAD_H
#define WRLOAD_WORKLOAD_H

#include "wr_load.h"

extern const struct wr_opt workload_opts[];
extern const unsigned int workload_opts_n;

/* The workload that the options describe, proof and wrong_queue at their defaults. WR_EINVAL names
 * the option. */
int workload_parse(struct wr_load_workload *w, struct wr_errmsg *msg) WR_MUST_CHECK;
/* The words of --mix or --workload. */
const char *workload_name(void);
/* "poisson" or "constant". */
int arrivals_parse(const char *text, enum wr_arrivals *out, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
