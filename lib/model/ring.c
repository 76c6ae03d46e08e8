/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes of a session's cached rows. */
#include "ring.h"

size_t wr_ring_bytes(const struct wr_bundle_model *s)
{
	size_t bytes = ring_block_off(s, s->n_blocks);
	if (s->time_buckets)
		bytes += ring_times_bytes(s) +
			 WR_ALIGN_UP(s->d * sizeof(float), (size_t)WR_CACHE_LINE);
	return bytes;
}

unsigned int wr_ring_max_new(const struct wr_bundle_model *s)
{
	return WR_MIN(s->window, 254u);
}
