/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Send times of an open-loop run, fixed before it starts: a pure function of (kind, rate, seed),
 * never of the answers. Built for 1 … 10 M arrivals a second; taking one costs an addition.
 */
#ifndef WR_LOAD_SCHEDULE_H
#define WR_LOAD_SCHEDULE_H

#include "wr_base.h"

enum wr_arrivals { WR_ARRIVALS_CONSTANT, WR_ARRIVALS_POISSON };

/* Poisson gaps are drawn once and repeat after this many arrivals; their mean is exactly 1 / rate.
 */
#define WR_SCHEDULE_GAPS (1u << 17)

struct wr_schedule {
	uint64_t gap;   /* ticks between two arrivals, 32.32 fixed point (constant) */
	uint64_t *gaps; /* WR_SCHEDULE_GAPS of them (Poisson), else NULL */
	uint32_t pos;
	uint32_t next_frac;
	uint64_t next; /* ticks from the start of the run to the next arrival */
	uint64_t n;    /* arrivals taken */
};

/*
 * rate: arrivals a second, at least 1 (and at most one a tick); tick_hz: ticks a second. The first
 * arrival is one gap after the start. WR_EINVAL, WR_ENOMEM. wr_schedule_fini frees; a zeroed
 * schedule may be passed.
 */
int wr_schedule_init(struct wr_schedule *s, enum wr_arrivals kind, double rate, uint64_t tick_hz,
	uint64_t seed) WR_MUST_CHECK;
void wr_schedule_fini(struct wr_schedule *s);

/* Moves on to the arrival behind the next one. */
static inline void wr_schedule_pop(struct wr_schedule *s)
{
	uint64_t gap = s->gap;

	if (s->gaps) {
		gap = s->gaps[s->pos];
		s->pos = (s->pos + 1) & (WR_SCHEDULE_GAPS - 1);
	}
	uint64_t frac = (uint64_t)s->next_frac + (uint32_t)gap;
	s->next_frac = (uint32_t)frac;
	s->next += (gap >> 32) + (frac >> 32);
	s->n++;
}

/* Arrivals before `end` ticks that were not taken yet: the debt of a run that ends there. Takes
 * them. */
uint64_t wr_schedule_drain(struct wr_schedule *s, uint64_t end);

#endif
