/* SPDX-License-Identifier: BSD-3-Clause */
/* Real-time priority of polling threads: set when a thread begins to poll, not on any hot path. */
#include "wr_base.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

int wr_thread_realtime(unsigned int priority, struct wr_errmsg *msg)
{
	struct sched_param p = {.sched_priority = (int)priority};

	if (sched_setscheduler(0, priority ? SCHED_FIFO | SCHED_RESET_ON_FORK : SCHED_OTHER, &p) ==
		0)
		return 0;
	return wr_fail(msg, errno == EINVAL ? WR_EINVAL : WR_EPERM,
		"real-time priority %u is refused (%s): it needs root, CAP_SYS_NICE or "
		"RLIMIT_RTPRIO, and a control group with real-time budget (cpu.rt_runtime_us)",
		priority, strerror(errno));
}

bool wr_thread_throttled(void)
{
	long runtime = -1, period = 0;
	FILE *f = fopen("/proc/sys/kernel/sched_rt_runtime_us", "re");

	if (f) {
		if (fscanf(f, "%ld", &runtime) != 1)
			runtime = -1;
		fclose(f);
	}
	f = fopen("/proc/sys/kernel/sched_rt_period_us", "re");
	if (f) {
		if (fscanf(f, "%ld", &period) != 1)
			period = 0;
		fclose(f);
	}
	return runtime >= 0 && runtime < period;
}
