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

/* A line of each of n blocks. */
struct wr_prefetch_lines {
	void *const *block;
	unsigned int n;
	uint32_t at; /* bytes from a block's start */
};

static inline void wr_prefetch_line(const struct wr_prefetch_lines *l, unsigned int block)
{
	__builtin_prefetch((const uint8_t *)l->block[block] + l->at, 0, 3);
}

/* Those of blocks `first` and following. */
static inline void wr_prefetch_all(const struct wr_prefetch_lines *l, unsigned int first)
{
	for (unsigned int i = first; i < l->n; i++)
		wr_prefetch_line(l, i);
}

/* Asks for what is due by so many steps, but for the last line of each block: that is the caller's,
 * who spreads it over a loop of other work (n = 0: none is due). p may be NULL. */
static inline struct wr_prefetch_lines wr_prefetch_steps(struct wr_prefetch *p, unsigned int steps)
{
	struct wr_prefetch_lines l = {0};
	if (!p || p->n == 0)
		return l;
	l.block = p->block;
	p->due += steps * p->pace;
	for (; p->due >> 16 && p->at < p->bytes; p->due -= 1 << 16) {
		wr_prefetch_all(&l, 0);
		l.n = p->n;
		l.at = p->at;
		p->at += WR_CACHE_LINE;
	}
	p->due &= 0xffff;
	return l;
}

/* Asks for what is due by this step; p may be NULL. */
static inline void wr_prefetch_step(struct wr_prefetch *p)
{
	struct wr_prefetch_lines l = wr_prefetch_steps(p, 1);
	wr_prefetch_all(&l, 0);
}

#endif
