/* SPDX-License-Identifier: BSD-3-Clause */
/* Binding the calling thread to a CPU. */
#ifndef BENCH_PIN_H
#define BENCH_PIN_H

#include <sched.h>
#include <stdbool.h>

/* core -1: left where it is. False when the CPU does not exist or is not ours. */
static inline bool pin_thread(int core)
{
	cpu_set_t set;
	if (core < 0)
		return true;
	CPU_ZERO(&set);
	CPU_SET(core, &set);
	return sched_setaffinity(0, sizeof(set), &set) == 0;
}

#endif
