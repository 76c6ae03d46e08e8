/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that will be wanted soon, asked for in small portions between steps of other work: one
 * core has a dozen misses in flight, and whoever asks for more stands still until they are served.
 * A line of each block by turns, so that neighbours do not come at once. Into all levels: what L1
 * does not keep until it is wanted lies in L2.
 */
#ifndef WR_PREFETCH_H
#define WR_PREFETCH_H

#include "wr_base.h"

struct wr_prefetch {
	void *const *block; /* n of them, `bytes` bytes each, cache lines */
	unsigned int n;
	uint32_t bytes;     /* a multiple of WR_CACHE_LINE, below 4 MB */
	uint32_t at;        /* bytes of each that were asked for */
	uint32_t pace, due; /* lines of each a step, and left over by the last one; in 65,536ths */
};

/* Spreads what is left over so many steps, 1 or more; p may be NULL. */
static inline void wr_prefetch_pace(struct wr_prefetch *p, unsigned int steps)
{
	if (p) {
		p->pace = (((p->bytes - p->at) / WR_CACHE_LINE << 16) + steps - 1) / steps;
		p->due = 0;
	}
}

/* Asks for what is due by this step; p may be NULL. */
static inline void wr_prefetch_step(struct wr_prefetch *p)
{
	if (!p || p->n == 0)
		return;
	p->due += p->pace;
	for (; p->due >> 16 && p->at < p->bytes; p->due -= 1 << 16) {
		for (unsigned int i = 0; i < p->n; i++)
			__builtin_prefetch((const uint8_t *)p->block[i] + p->at, 0, 3);
		p->at += WR_CACHE_LINE;
	}
	p->due &= 0xffff;
}

#endif
