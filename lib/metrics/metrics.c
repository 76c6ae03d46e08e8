/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names of the metrics, snapshots and sums. A snapshot is 230 KB of plain loads; readers take one a
 * second or so, never on the corridor.
 */
#include "wr_metrics.h"

#include <assert.h>

#define DESC(name, help) {#name, help},
const struct wr_metric_desc wr_outcome_desc[WR_OUTCOME_N] = {WR_OUTCOMES(DESC)};
const struct wr_metric_desc wr_counter_desc[WR_COUNTER_N] = {WR_COUNTERS(DESC)};
const struct wr_metric_desc wr_stage_desc[WR_STAGE_N] = {WR_STAGES(DESC)};

/* Snapshot and merge treat the head of the struct as one array of u64, histograms through lib/base.
 */
#define N_PLAIN (offsetof(struct wr_metrics, burst_size) / sizeof(uint64_t))
static_assert(offsetof(struct wr_metrics, burst_size) ==
		      (WR_OUTCOME_N + WR_COUNTER_N + 16 + WR_STAGE_N) * sizeof(uint64_t),
	"the plain counters stand together, before the histograms");
static_assert(sizeof(struct wr_metrics) % sizeof(uint64_t) == 0, "u64 throughout");

void wr_metrics_snapshot(struct wr_metrics *out, const struct wr_metrics *live)
{
	uint64_t *to = (uint64_t *)out;
	const uint64_t *from = (const uint64_t *)live;
	for (size_t i = 0; i < sizeof(*out) / sizeof(*to); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

void wr_metrics_merge(struct wr_metrics *into, const struct wr_metrics *from)
{
	uint64_t *to = (uint64_t *)into;
	const uint64_t *add = (const uint64_t *)from;
	for (size_t i = 0; i < N_PLAIN; i++)
		to[i] += add[i];
	wr_hist_merge(&into->burst_size, &from->burst_size);
	wr_hist_merge(&into->server_ns, &from->server_ns);
	for (unsigned int s = 0; s < WR_STAGE_N; s++)
		wr_hist_merge(&into->stage_ns[s], &from->stage_ns[s]);
}

uint64_t wr_metrics_outcomes(const struct wr_metrics *m)
{
	uint64_t sum = 0;
	for (unsigned int i = 0; i < WR_OUTCOME_N; i++)
		sum += m->outcome[i];
	return sum;
}
