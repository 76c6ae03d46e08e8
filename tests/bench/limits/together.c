/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * limits_together CPU,CPU[,…] [MiB]: every limit on each CPU alone, then on all of them at once,
 * each by its thread's CPU time. Where "together" is less than the sum of "alone", the CPUs share
 * something: an execution core (int8), or the way to memory (blocks, lines). One JSON object.
 */
#include "limits.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { RUNS = 3, MAX_CPUS = 64 };

struct job {
	unsigned int cpu;
	double (*measure)(const struct job *j); /* more is better */
	const uint8_t *memory;
	size_t bytes;
	pthread_barrier_t *start;
	double figure;
	bool bound;
};

static double int8(const struct job *j)
{
	(void)j;
	return limits_int8(RUNS, false).median;
}

static double blocks(const struct job *j)
{
	return limits_blocks(j->memory, j->bytes, RUNS).median;
}

/* Millions of lines a second. */
static double lines(const struct job *j)
{
	return 1e3 / limits_lines(j->memory, j->bytes / 64, RUNS).median;
}

static void *run(void *arg)
{
	struct job *j = arg;
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(j->cpu, &set);
	j->bound = sched_setaffinity(0, sizeof(set), &set) == 0;
	(void)pthread_barrier_wait(j->start);
	if (j->bound)
		j->figure = j->measure(j);
	return NULL;
}

/* Runs n jobs at once; false when a CPU is not to be had. */
static bool at_once(struct job *j, unsigned int n)
{
	pthread_barrier_t start;
	pthread_t thread[MAX_CPUS];
	bool ok = pthread_barrier_init(&start, NULL, n) == 0;
	for (unsigned int i = 0; i < n && ok; i++) {
		j[i].start = &start;
		if (pthread_create(&thread[i], NULL, run, &j[i]) != 0) {
			fprintf(stderr, "limits_together: no thread\n");
			exit(1); /* the others wait at the barrier for ever */
		}
	}
	for (unsigned int i = 0; i < n && ok; i++)
		(void)pthread_join(thread[i], NULL);
	for (unsigned int i = 0; i < n && ok; i++)
		ok = j[i].bound;
	if (ok)
		(void)pthread_barrier_destroy(&start);
	return ok;
}

static bool compare(const char *name, double (*measure)(const struct job *j), struct job *j,
	unsigned int n, const char *behind)
{
	double alone[MAX_CPUS], sum = 0, together = 0;
	for (unsigned int i = 0; i < n; i++) {
		j[i].measure = measure;
		if (!at_once(&j[i], 1))
			return false;
		alone[i] = j[i].figure;
		sum += alone[i];
	}
	if (!at_once(j, n))
		return false;
	printf("\"%s\": {\"alone\": [", name);
	for (unsigned int i = 0; i < n; i++)
		printf("%s%.2f", i ? ", " : "", alone[i]);
	printf("], \"together\": [");
	for (unsigned int i = 0; i < n; i++) {
		printf("%s%.2f", i ? ", " : "", j[i].figure);
		together += j[i].figure;
	}
	printf("], \"scale\": %.3f}%s", together / (sum / n), behind);
	return true;
}

int main(int argc, char **argv)
{
	struct job job[MAX_CPUS] = {{0}};
	unsigned int n = 0;
	size_t mib = argc > 2 ? strtoul(argv[2], NULL, 10) : 1024;
	char *words = argc > 1 ? argv[1] : NULL, *save = NULL;
	for (char *w = words ? strtok_r(words, ",", &save) : NULL; w && n < MAX_CPUS;
		w = strtok_r(NULL, ",", &save))
		job[n++].cpu = (unsigned int)strtoul(w, NULL, 10);
	if (n == 0 || mib < 64 || !__builtin_cpu_supports("avx2")) {
		fprintf(stderr, "usage: limits_together CPU,CPU… [MiB, at least 64]; needs AVX2\n");
		return 1;
	}
	size_t bytes = mib << 20;
	uint8_t *memory =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		fprintf(stderr, "limits_together: no %zu MiB of memory\n", mib);
		return 1;
	}
	(void)madvise(memory, bytes, MADV_HUGEPAGE);
	memset(memory, 1, bytes);
	for (unsigned int i = 0; i < n; i++) {
		job[i].memory = memory;
		job[i].bytes = bytes;
	}
	printf("{");
	bool ok = compare("int8_gmacs", int8, job, n, ", ") &&
		  compare("mem_block_gbs", blocks, job, n, ", ") &&
		  compare("mem_mlines", lines, job, n, "}\n");
	if (!ok)
		fprintf(stderr, "limits_together: a CPU is not to be had\n");
	munmap(memory, bytes);
	return ok ? 0 : 1;
}
