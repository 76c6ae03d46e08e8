/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes of a session's cached rows. */
#include "ring.h"

size_t wr_ring_bytes(const struct wr_bundle_model *s)
{
	return ring_panels_off(s) + s->n_blocks * ring_block_bytes(s);
}

unsigned int wr_ring_max_new(const struct wr_bundle_model *s)
{
	return WR_MIN(s->window, 254u);
}
