/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The schedule of an open-loop run: constant gaps or gaps from an exponential distribution, drawn
 * before the run into a table whose sum is made exact, so that the offered rate is the rate that
 * was asked for.
 */
#include "load_schedule.h"

#include <math.h>
#include <stdlib.h>

static const double fixed_one = 4294967296.0;

static int draw_gaps(struct wr_schedule *s, double ticks, uint64_t seed)
{
	struct wr_rng rng;
	double sum = 0;
	double *draws = malloc(WR_SCHEDULE_GAPS * sizeof(*draws));

	s->gaps = malloc(WR_SCHEDULE_GAPS * sizeof(*s->gaps));
	if (!draws || !s->gaps) {
		free(draws);
		wr_schedule_fini(s);
		return WR_ENOMEM;
	}
	wr_rng_init(&rng, seed, 0x5c4ed);
	for (uint32_t i = 0; i < WR_SCHEDULE_GAPS; i++)
		sum += draws[i] = wr_rng_exponential(&rng);
	/* Rounding down each gap would lose half a unit of 2^-32 ticks on average: nothing. */
	for (uint32_t i = 0; i < WR_SCHEDULE_GAPS; i++)
		s->gaps[i] = (uint64_t)(draws[i] / sum * WR_SCHEDULE_GAPS * ticks * fixed_one);
	free(draws);
	return 0;
}

int wr_schedule_init(
	struct wr_schedule *s, enum wr_arrivals kind, double rate, uint64_t tick_hz, uint64_t seed)
{
	*s = (struct wr_schedule){0};
	if (!(rate >= 1) || rate > (double)tick_hz)
		return WR_EINVAL;

	double ticks = (double)tick_hz / rate;
	/* An exponential gap is over 22 means once in four billion draws; 2^32 ticks must hold it.
	 */
	if (ticks * fixed_one * 32 >= 18446744073709551615.0 && kind == WR_ARRIVALS_POISSON)
		return WR_EINVAL;
	if (ticks >= fixed_one)
		return WR_EINVAL;
	s->gap = (uint64_t)(ticks * fixed_one);
	if (kind == WR_ARRIVALS_POISSON) {
		int err = draw_gaps(s, ticks, seed);
		if (err)
			return err;
	}
	wr_schedule_pop(s);
	s->n = 0;
	return 0;
}

void wr_schedule_fini(struct wr_schedule *s)
{
	free(s->gaps);
	s->gaps = NULL;
}

uint64_t wr_schedule_drain(struct wr_schedule *s, uint64_t end)
{
	uint64_t n = s->n;

	while (s->next < end)
		wr_schedule_pop(s);
	return s->n - n;
}
