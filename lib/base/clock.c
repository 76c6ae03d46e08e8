/* SPDX-License-Identifier: BSD-3-Clause */
/* Clocks, stop flag. */
#include "wr_base.h"

#include <signal.h>
#include <stdatomic.h>

static uint64_t read_clock_ns(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t wr_clock_ns(void)
{
	return read_clock_ns(CLOCK_MONOTONIC);
}

int64_t wr_clock_unix_ms(void)
{
	return (int64_t)(read_clock_ns(CLOCK_REALTIME) / 1000000u);
}

uint64_t wr_clock_thread_cpu_ns(void)
{
	return read_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t wr_clock_tsc_hz(void)
{
	static _Atomic uint64_t hz; /* writers: any thread, all with nearly the same value */
	uint64_t known = atomic_load_explicit(&hz, memory_order_relaxed);
	if (known)
		return known;
	uint64_t t0 = wr_clock_ns(), c0 = wr_clock_tsc(), t1;
	do
		t1 = wr_clock_ns();
	while (t1 - t0 < 50000000u);
	known = (uint64_t)((double)(wr_clock_tsc() - c0) * 1e9 / (double)(t1 - t0));
	atomic_store_explicit(&hz, known, memory_order_relaxed);
	return known;
}

static atomic_bool stop_flag; /* writer: signal handler; readers: all */

static void on_signal(int sig)
{
	atomic_store_explicit(&stop_flag, true, memory_order_relaxed);
	/* A second signal ends the process at once, should a loop not look. */
	signal(sig, SIG_DFL);
}

/* oneDNN's float products use the stack pointer as a pointer into the heap while they run: a
 * handler on that stack writes into what lies there. So the calling thread, which the kernel
 * prefers for a process' signals, gets a stack of its own for them. */
void wr_stop_catch_signals(void)
{
	static char stack[65536];
	const stack_t own = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction sa = {.sa_handler = on_signal};
	if (!sigaltstack(&own, NULL))
		sa.sa_flags = SA_ONSTACK;
	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

bool wr_stop_requested(void)
{
	return atomic_load_explicit(&stop_flag, memory_order_relaxed);
}
