/* SPDX-License-Identifier: BSD-3-Clause */
/* Buffers that end at a page which may not be touched, with canaries before them: over-reads and
 * over-writes show. */
#ifndef WR_GUARDED_H
#define WR_GUARDED_H

#include "wr_base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WR_GUARDED_CANARY 0xa5

struct wr_guarded {
	void *p;
	uint8_t *map;
	size_t bytes, map_bytes;
};

/* bytes end exactly at the guard page; p is as aligned as bytes are. Filled with canaries. Aborts
 * when out of memory. */
static inline struct wr_guarded wr_guarded_new(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), body = WR_ALIGN_UP(bytes + 64, page);
	struct wr_guarded g = {.bytes = bytes, .map_bytes = body + page};
	g.map = mmap(NULL, g.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (g.map == MAP_FAILED || mprotect(g.map + body, page, PROT_NONE))
		abort();
	memset(g.map, WR_GUARDED_CANARY, body);
	g.p = g.map + body - bytes;
	return g;
}

/* Whether the bytes before the buffer are untouched. */
static inline bool wr_guarded_intact(const struct wr_guarded *g)
{
	for (const uint8_t *c = g->map; c < (const uint8_t *)g->p; c++)
		if (*c != WR_GUARDED_CANARY)
			return false;
	return true;
}

static inline void wr_guarded_free(struct wr_guarded *g)
{
	munmap(g->map, g->map_bytes);
}

#endif
