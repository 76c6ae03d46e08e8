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
	void *const *block; /* those still to be asked for, cache lines of `bytes` bytes each */
	unsigned int n;
	uint32_t bytes; /* a multiple of WR_CACHE_LINE */
	uint32_t at;    /* asked for of the first one */
};

/* Lines that are left; p may be NULL. */
static inline unsigned int wr_prefetch_left(const struct wr_prefetch *p)
{
	return p && p->n ? (p->n * p->bytes - p->at) / WR_CACHE_LINE : 0;
}

/* Asks for the next n lines, as far as there are; p may be NULL. */
static inline void wr_prefetch_lines(struct wr_prefetch *p, unsigned int n)
{
	while (p && p->n && n) {
		unsigned int here = WR_MIN(n, (p->bytes - p->at) / WR_CACHE_LINE);
		const uint8_t *from = (const uint8_t *)*p->block + p->at;
		for (unsigned int i = 0; i < here; i++)
			__builtin_prefetch(from + (size_t)i * WR_CACHE_LINE, 0, 2);
		n -= here;
		p->at += here * WR_CACHE_LINE;
		if (p->at == p->bytes) {
			p->at = 0;
			p->block++;
			p->n--;
		}
	}
}

#endif
