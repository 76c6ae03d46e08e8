/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the accounting of stages costs a burst: the worker's own calls and nothing else, nanoseconds
 * for bursts of 1 … WR_STAGE_N stages. The first one ends when frames arrive: that time stamp is
 * theirs (answers and deadlines go by it), so it is not counted. JSON on stdout: {"ns": [for 1
 * stage, for 2, …]}. The least of many rounds, as nothing can make it faster than it is; counters
 * and histograms lie in L1, which they may leave behind a heavy burst.
 */
#include "serve_int.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 200, BURSTS = 2000 };

static struct wr_serve serve;
static struct worker worker;

static uint64_t round_ticks(unsigned int n_stages)
{
	uint64_t start = wr_clock_tsc();
	worker.stage_from = start;
	for (unsigned int i = 0; i < BURSTS; i++) {
		worker.stage_cycles[0] += i + 1;
		for (unsigned int s = 1; s < n_stages; s++)
			end_stage(&worker, (enum wr_stage)s);
		wr_serve_account(&worker);
	}
	return wr_clock_tsc() - start;
}

static double burst_ns(unsigned int n_stages)
{
	uint64_t least = UINT64_MAX;
	for (unsigned int r = 0; r < ROUNDS; r++) {
		uint64_t ticks = round_ticks(n_stages);
		least = ticks < least ? ticks : least;
	}
	return (double)least * 1e9 / (double)serve.tsc_hz / BURSTS;
}

int main(void)
{
	serve.tsc_hz = wr_clock_tsc_hz();
	serve.ns_mult = (uint64_t)(((unsigned __int128)1000000000 << 32) / serve.tsc_hz);
	worker.serve = &serve;
	worker.metrics = calloc(1, sizeof(*worker.metrics));
	if (!worker.metrics) {
		fprintf(stderr, "accounting: no memory\n");
		return 1;
	}
	printf("{\"ns\": [");
	for (unsigned int n = 1; n <= WR_STAGE_N; n++)
		printf("%s%.1f", n > 1 ? ", " : "", burst_ns(n));
	printf("]}\n");
	free(worker.metrics);
	return 0;
}
