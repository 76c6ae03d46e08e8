/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gaps SECONDS PRIORITY CPU[,CPU]: how long this machine takes CPUs away from threads that never
 * give them up. One thread a CPU reads the time stamp counter; two readings further apart than
 * GAP_US are a gap: a timer tick, an interrupt, another thread, or the host. PRIORITY 0 is an
 * ordinary thread, 1 … 99 SCHED_FIFO. Prints one JSON object; starts of gaps are microseconds
 * from the common start. What a polling server and its generator can promise ends here.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

#define GAP_US   5
#define MAX_GAPS 200000
#define MAX_CPUS 2

struct gap {
	double at_us, us;
};

struct spinner {
	unsigned int cpu, n;
	int priority, err;
	double hz, seconds;
	uint64_t start;
	struct gap *gaps;
	pthread_t thread;
};

static double now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double tsc_hz(void)
{
	double from = now_s(), to;
	uint64_t ticks = __rdtsc();
	do
		to = now_s();
	while (to - from < 0.1);
	return (double)(__rdtsc() - ticks) / (to - from);
}

static void *spin(void *arg)
{
	struct spinner *s = arg;
	struct sched_param p = {.sched_priority = s->priority};
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(s->cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0 ||
		(s->priority && sched_setscheduler(0, SCHED_FIFO, &p) != 0)) {
		s->err = errno;
		return NULL;
	}
	memset(s->gaps, 0, MAX_GAPS * sizeof(*s->gaps)); /* no page fault later */
	uint64_t least = (uint64_t)(GAP_US * s->hz / 1e6), last = s->start, now;
	uint64_t end = s->start + (uint64_t)(s->seconds * s->hz);
	while ((last = __rdtsc()) < s->start)
		;
	for (; last < end; last = now) {
		now = __rdtsc();
		if (now - last > least && s->n < MAX_GAPS)
			s->gaps[s->n++] = (struct gap){(double)(last - s->start) / s->hz * 1e6,
				(double)(now - last) / s->hz * 1e6};
	}
	return NULL;
}

static void print(const struct spinner *s, bool first)
{
	printf("%s{\"cpu\": %u, \"gaps\": [", first ? "" : ", ", s->cpu);
	for (unsigned int i = 0; i < s->n; i++)
		printf("%s[%.1f, %.1f]", i ? ", " : "", s->gaps[i].at_us, s->gaps[i].us);
	printf("]}");
}

int main(int argc, char **argv)
{
	struct spinner s[MAX_CPUS] = {0};
	unsigned int n = 0;
	int err = 0;

	if (argc != 4) {
		fprintf(stderr, "usage: gaps SECONDS PRIORITY CPU[,CPU]\n");
		return 2;
	}
	double hz = tsc_hz(), seconds = strtod(argv[1], NULL);
	int priority = atoi(argv[2]);
	uint64_t start = __rdtsc() + (uint64_t)(0.05 * hz);
	for (char *at = strtok(argv[3], ","); at && n < MAX_CPUS; at = strtok(NULL, ","), n++) {
		s[n] = (struct spinner){.cpu = (unsigned int)atoi(at),
			.priority = priority,
			.hz = hz,
			.seconds = seconds,
			.start = start,
			.gaps = malloc(MAX_GAPS * sizeof(struct gap))};
		if (!s[n].gaps || pthread_create(&s[n].thread, NULL, spin, &s[n]) != 0) {
			fprintf(stderr, "gaps: no memory or thread\n");
			return 1;
		}
	}
	for (unsigned int i = 0; i < n; i++) {
		pthread_join(s[i].thread, NULL);
		if (s[i].err) {
			fprintf(stderr, "gaps: CPU %u, priority %d: %s\n", s[i].cpu, priority,
				strerror(s[i].err));
			err = 1;
		}
	}
	if (!err) {
		printf("{\"seconds\": %.3f, \"priority\": %d, \"shortest_us\": %d, \"cpus\": [",
			seconds, priority, GAP_US);
		for (unsigned int i = 0; i < n; i++)
			print(&s[i], i == 0);
		printf("]}\n");
	}
	for (unsigned int i = 0; i < n; i++)
		free(s[i].gaps);
	return err;
}
