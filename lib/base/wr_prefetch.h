/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that will be wanted soon, asked for in small portions between steps of other work: one
 * core has a few dozen misses in flight, and whoever asks for more stands still until they are
 * served. Into L2.
 */
#ifndef WR_PREFETCH_H
#define WR_PREFETCH_H

#include "wr_base.h"

struct wr_prefetch {
	void *const *block; /* n of them, `bytes` bytes each, cache lines */
	unsigned int n;
	uint32_t bytes;    /* a multiple of WR_CACHE_LINE */
	uint32_t at;       /* of the line that is asked for next, in `next` */
	unsigned int next; /* block */
};

/* Lines that are left; p may be NULL. */
static inline unsigned int wr_prefetch_left(const struct wr_prefetch *p)
{
	return p && p->at < p->bytes ? (p->bytes - p->at) / WR_CACHE_LINE * p->n - p->next : 0;
}

/* Asks for the next n lines, as far as there are: a line of each block by turns, so that neighbours
 * do not come at once. p may be NULL. */
static inline void wr_prefetch_lines(struct wr_prefetch *p, unsigned int n)
{
	for (n = WR_MIN(n, wr_prefetch_left(p)); n; n--) {
		__builtin_prefetch((const uint8_t *)p->block[p->next] + p->at, 0, 2);
		if (++p->next == p->n) {
			p->next = 0;
			p->at += WR_CACHE_LINE;
		}
	}
}

#endif
