/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * exp, log and distributions from the four operations alone: libm's versions differ in the last bit
 * between C libraries and between CPUs with and without FMA, and one bit is enough to flip a click.
 * Accurate to about 1e-15 relative.
 */
#include "sim_internal.h"

#include <math.h>
#include <string.h>

static double power_of_two(int n)
{
	uint64_t bits = (uint64_t)(n + 1023) << 52;
	double x;
	memcpy(&x, &bits, sizeof(x));
	return x;
}

double wr_sim_exp(double x)
{
	x = x > 700.0 ? 700.0 : x < -700.0 ? -700.0 : x;
	double n = floor(x * 1.4426950408889634 + 0.5);
	/* Cody and Waite: n ln 2 in two parts, so that the remainder is exact enough. */
	double r = x - n * 0.693145751953125 - n * 1.4286068203094173e-06, y = 1.0;
	for (int i = 14; i > 0; i--)
		y = 1.0 + y * r / (double)i;
	return y * power_of_two((int)n);
}

double wr_sim_log(double x)
{
	uint64_t bits;
	memcpy(&bits, &x, sizeof(bits));
	int n = (int)(bits >> 52) - 1023;
	double m = x * power_of_two(-n); /* 1 … 2 */
	if (m > 1.4142135623730951) {
		m *= 0.5;
		n++;
	}
	double s = (m - 1.0) / (m + 1.0), s2 = s * s, y = 0.0;
	for (int i = 23; i > 0; i -= 2)
		y = y * s2 + 1.0 / (double)i;
	return 2.0 * s * y + (double)n * 0.6931471805599453;
}

double wr_sim_logistic(double x)
{
	return 1.0 / (1.0 + wr_sim_exp(-x));
}

double wr_sim_normal(struct wr_rng *r)
{
	double sum = -6.0;
	for (int i = 0; i < 12; i++)
		sum += wr_rng_double(r);
	return sum;
}

double wr_sim_exponential(struct wr_rng *r)
{
	return -wr_sim_log(1.0 - wr_rng_double(r));
}
