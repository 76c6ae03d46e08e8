/* SPDX-License-Identifier: BSD-3-Clause */
/* Time and medians of the limits. */
#include "limits.h"

#include <stdlib.h>
#include <time.h>

uint64_t limits_cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

struct limit limits_summary(double *v, unsigned int n, const char *how)
{
	qsort(v, n, sizeof(*v), compare);
	return (struct limit){v[n / 2], v[0], v[n - 1], how};
}
