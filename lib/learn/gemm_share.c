/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much of the machine's float products a training run gets out. Work is what the model needs,
 * whatever the code does: no recomputed attention, nothing for dropped or padded elements.
 */
#include "gemm_share_int.h"
#include "sgemm.h"

#include <omp.h>
#include <stdlib.h>
#include <time.h>

#define SIDE   512 /* 3 MiB of operands: the shape that oneDNN likes best on the CPUs seen */
#define ROUNDS 12

double wr_learn_cpu_seconds(void)
{
	struct timespec t;
	return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t)
		       ? 0
		       : (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double wr_learn_peak_mib(void)
{
	char line[128];
	double kib = 0;
	FILE *f = fopen("/proc/self/status", "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmHWM: %lf", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib / 1024;
}

static double thread_seconds(void)
{
	struct timespec t;
	return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t)
		       ? 0
		       : (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* This thread's best of ROUNDS products, flops a second of its CPU time; 0 without memory. */
static double thread_peak(void)
{
	size_t n = (size_t)SIDE * SIDE;
	double best = 0;
	float *a = aligned_alloc(64, 3 * n * sizeof(*a));
	if (!a)
		return 0;
	for (size_t i = 0; i < 3 * n; i++)
		a[i] = (float)(i % 7) * 0.1f;
	for (int k = 0; k < ROUNDS; k++) {
		double start = thread_seconds();
		wr_sgemm(false, false, SIDE, SIDE, SIDE, a, SIDE, a + n, SIDE, 0, a + 2 * n, SIDE);
		double rate = 2.0 * (double)n * SIDE / WR_MAX(thread_seconds() - start, 1e-9);
		best = k ? WR_MAX(best, rate) : 0; /* the first one makes code */
	}
	free(a);
	return best;
}

double wr_learn_gemm_peak(int n_threads)
{
	double sum = 0;
#pragma omp parallel num_threads(n_threads) reduction(+ : sum)
	{
		omp_set_num_threads(1);
		sum += thread_peak();
	}
	return sum;
}

/* Multiply-adds of the forward pass over one sequence of n tokens, without the item softmax. */
static double forward_macs(const struct wr_student *s, uint32_t n)
{
	const struct wr_student_shape *p = &s->shape;
	uint32_t m = WR_MIN(n, p->window);
	double d = p->d, pairs = m * (m + 1.0) / 2 + (double)(n - m) * p->window;
	double token = d * (s->qkv_dim + s->o_dim + s->up_dim + p->ffn);
	return p->n_blocks * (n * token + (2 + p->age_keys) * pairs * s->o_dim);
}

double wr_learn_step_flops(const struct step *st, const struct batch *b)
{
	double macs = 0;
	uint32_t items = st->sample.n ? st->sample.n : st->s->shape.n_items;
	for (uint32_t i = 0; i < b->n_seqs; i++) {
		uint32_t n = b->off[i + 1] - b->off[i];
		/* Forward, and twice as much back. */
		macs += 3 * (forward_macs(st->s, n) + (double)n * items * st->s->shape.d);
		if (st->guide)
			macs += forward_macs(st->distil.teacher, n);
	}
	return 2 * macs;
}
