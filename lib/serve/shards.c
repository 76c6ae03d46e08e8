/* SPDX-License-Identifier: BSD-3-Clause */
/* Which worker owns which virtual shard: 256 entries, made once at start. */
#include "serve_int.h"

#include <string.h>

/* The last shard of the worker that has most (the first of equals). */
static unsigned int spare(const uint8_t *shards, unsigned int n_workers)
{
	unsigned int count[WR_SERVE_MAX_WORKERS] = {0}, fullest = 0, at = WR_WIRE_N_SHARDS - 1;

	for (unsigned int i = 0; i < WR_WIRE_N_SHARDS; i++)
		count[shards[i]]++;
	for (unsigned int w = 1; w < n_workers; w++)
		if (count[w] > count[fullest])
			fullest = w;
	while (shards[at] != fullest)
		at--;
	return at;
}

/* Worker after worker joins and takes its even part from those that have most: balanced within one
 * shard, and one worker more or fewer moves no shard between two that stay. */
void wr_serve_share_out(uint8_t *shards, unsigned int n_workers)
{
	memset(shards, 0, WR_WIRE_N_SHARDS);
	for (unsigned int n = 2; n <= n_workers; n++)
		for (unsigned int i = 0; i < WR_WIRE_N_SHARDS / n; i++)
			shards[spare(shards, n - 1)] = (uint8_t)(n - 1);
}
