/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pace SECONDS CPU,CPU LOAD SERVICE_US: what requests would wait for a perfect server on this
 * machine. A thread on each CPU does the same small work over and over (multiply-adds over 96 KB
 * out of L2, about 2 us) and notes how long each piece took: gaps, and the CPU's own changes of
 * speed when something else runs on its core or host. Then a queue is computed: requests at random
 * times (Poisson), each as much work as takes SERVICE_US at the first CPU's median speed, LOAD of
 * what that speed could serve, first come first served, nothing lost between them. Prints one JSON
 * object: the pieces' quantiles, ns, and the requests' p50, p99, p99.9, us, from arrival to end.
 * Shares no code with the server.
 */
#include <immintrin.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PIECE_BYTES (96 * 1024)
#define MAX_PIECES  4000000
#define N_CPUS      2

struct worker {
	unsigned int cpu;
	bool failed;
	double seconds;
	size_t n;
	float *ns; /* [MAX_PIECES]: from the end of a piece to the end of the next */
	uint8_t *memory;
	int32_t sink;
	pthread_t thread;
};

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

__attribute__((target("avx2"))) static int32_t piece(const uint8_t *m)
{
	const __m256i ones = _mm256_set1_epi16(1), by = _mm256_set1_epi8(3);
	__m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
#define STEP(to, at)                              \
	to = _mm256_add_epi32(                    \
		to, _mm256_madd_epi16(ones,       \
			    _mm256_maddubs_epi16( \
				    _mm256_load_si256((const __m256i *)(const void *)(at)), by)))
	for (const uint8_t *end = m + PIECE_BYTES; m < end; m += 128) {
		STEP(a, m);
		STEP(b, m + 32);
		STEP(c, m + 64);
		STEP(d, m + 96);
	}
#undef STEP
	a = _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
	return _mm256_extract_epi32(a, 0);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(w->cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0) {
		w->failed = true;
		return NULL;
	}
	memset(w->ns, 0, MAX_PIECES * sizeof(*w->ns)); /* no page fault later */
	memset(w->memory, 1, PIECE_BYTES);
	double last = now_ns(), end = last + w->seconds * 1e9;
	while (last < end && w->n < MAX_PIECES) {
		w->sink += piece(w->memory);
		double now = now_ns();
		w->ns[w->n++] = (float)(now - last);
		last = now;
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return x < y ? -1 : x > y;
}

static double quantile(const float *sorted, size_t n, double q)
{
	return n ? (double)sorted[(size_t)(q * (double)(n - 1))] : 0;
}

/* Uniform in (0, 1]: xorshift64* (Vigna 2016). */
static double uniform(uint64_t *x)
{
	*x ^= *x >> 12;
	*x ^= *x << 25;
	*x ^= *x >> 27;
	return ((double)(*x * 0x2545f4914f6cdd1dull >> 11) + 1) / 0x1p53;
}

/* Walks along the pieces: end[i] is when piece i ends, so that pieces done are a function of time
 * and time one of pieces done. */
static size_t queue(const double *end, size_t n, double pieces, double load, double median_ns,
	float *waits, size_t room)
{
	double gap = pieces * median_ns / load, at = 0, done = 0;
	size_t arrived = 0, finished = 0, n_waits = 0;
	uint64_t random = 88172645463325252ull;

	while (n_waits < room) {
		at -= gap * log(uniform(&random));
		while (arrived < n && end[arrived] <= at)
			arrived++;
		if (arrived == n)
			break;
		double from = arrived ? end[arrived - 1] : 0;
		double now = (double)arrived + (at - from) / (end[arrived] - from);
		done = fmax(done, now) + pieces;
		while (finished < n && (double)(finished + 1) <= done)
			finished++;
		if (finished == n)
			break;
		from = finished ? end[finished - 1] : 0;
		double finish = from + (done - (double)finished) * (end[finished] - from);
		waits[n_waits++] = (float)(finish - at);
	}
	return n_waits;
}

static int report(struct worker *w, double load, double service_us)
{
	size_t n = w->n, room = 2 * MAX_PIECES;
	double *end = malloc(n * sizeof(*end)), sum = 0;
	float *waits = malloc(room * sizeof(*waits));

	if (!end || !waits || n < 1000) {
		fprintf(stderr, "pace: no memory, or no time on CPU %u\n", w->cpu);
		free(end);
		free(waits);
		return 1;
	}
	for (size_t i = 0; i < n; i++)
		end[i] = sum += (double)w->ns[i];
	qsort(w->ns, n, sizeof(*w->ns), compare);
	double median = quantile(w->ns, n, 0.5);
	size_t m = queue(end, n, service_us * 1e3 / median, load, median, waits, room);
	qsort(waits, m, sizeof(*waits), compare);
	printf("{\"cpu\": %u, \"pieces\": %zu, \"piece_ns\": {\"p1\": %.0f, \"p50\": %.0f, "
	       "\"p90\": %.0f, "
	       "\"p99\": %.0f}, \"load\": %.3f, \"service_us\": %.3f, \"requests\": %zu, "
	       "\"p50_us\": "
	       "%.1f, \"p99_us\": %.1f, \"p999_us\": %.1f}\n",
		w->cpu, n, quantile(w->ns, n, 0.01), median, quantile(w->ns, n, 0.9),
		quantile(w->ns, n, 0.99), load, service_us, m, quantile(waits, m, 0.5) / 1e3,
		quantile(waits, m, 0.99) / 1e3, quantile(waits, m, 0.999) / 1e3);
	free(end);
	free(waits);
	return 0;
}

int main(int argc, char **argv)
{
	struct worker w[N_CPUS] = {0};
	char rest;
	int err = 0;

	if (argc != 5 || sscanf(argv[2], "%u,%u%c", &w[0].cpu, &w[1].cpu, &rest) != 2 ||
		!(strtod(argv[1], NULL) > 0) || !(strtod(argv[3], NULL) > 0) ||
		!(strtod(argv[4], NULL) > 0) || !__builtin_cpu_supports("avx2")) {
		fprintf(stderr, "usage: pace SECONDS CPU,CPU LOAD SERVICE_US (with AVX2)\n");
		return 2;
	}
	for (int i = 0; i < N_CPUS; i++) {
		w[i].seconds = strtod(argv[1], NULL);
		w[i].ns = malloc(MAX_PIECES * sizeof(*w[i].ns));
		w[i].memory = aligned_alloc(64, PIECE_BYTES);
		if (!w[i].ns || !w[i].memory || pthread_create(&w[i].thread, NULL, work, &w[i])) {
			fprintf(stderr, "pace: no memory or thread\n");
			return 1;
		}
	}
	for (int i = 0; i < N_CPUS; i++) {
		pthread_join(w[i].thread, NULL);
		err |= w[i].failed;
	}
	if (err)
		fprintf(stderr, "pace: cannot run on CPU %s\n", argv[2]);
	else
		err = report(&w[0], strtod(argv[3], NULL), strtod(argv[4], NULL));
	for (int i = 0; i < N_CPUS; i++) {
		free(w[i].ns);
		free(w[i].memory);
	}
	return err;
}
