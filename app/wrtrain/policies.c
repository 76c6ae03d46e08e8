/* SPDX-License-Identifier: BSD-3-Clause */
/* What lift and replay share. */
#include "policies.h"

#include <stdlib.h>

int wrtrain_log_of(const struct wr_dataset *ds, struct wr_baseline_log *log, uint64_t **offset,
	struct wr_errmsg *msg)
{
	*offset = malloc(((size_t)ds->n_users + 1) * sizeof(**offset));
	if (!*offset)
		return wr_fail(msg, WR_ENOMEM, "out of memory for a log");
	for (uint32_t u = 0; u <= ds->n_users; u++)
		(*offset)[u] = ds->token_off[u];
	*log = (struct wr_baseline_log){.offset = *offset,
		.rows = ds->token_row,
		.n_users = ds->n_users,
		.n_items = ds->n_items};
	return WR_OK;
}

json_t *wrtrain_interval_json(const struct wr_interval *x)
{
	return json_pack("{s:f, s:f, s:f}", "mean", x->mean, "low", x->low, "high", x->high);
}
