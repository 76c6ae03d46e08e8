/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * t-SNE, exact (van der Maaten, Hinton 2008): n² similarities, some 500 steps over all pairs. 2,000
 * points take half a minute on two cores. Every point sums in its own order, so the number of
 * threads changes nothing.
 */
#include "learn_int.h"
#include "wr_features.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#define EXAGGERATION 12 /* of similarities, in the first steps */
#define MAX_POINTS   20000

struct tsne {
	const struct wr_tsne *p;
	uint32_t n;
	int threads;
	float *sim; /* [n][n]; P */
	float *y, *step, *gain, *pull;
	double *z; /* by point: Σ of its kernels */
};

WR_CLONES static void distances(const float *x, uint32_t n, uint32_t d, uint32_t i, float *out)
{
	const float *a = x + (size_t)i * d;
	for (uint32_t j = 0; j < n; j++) {
		const float *b = x + (size_t)j * d;
		float sum = 0;
#pragma omp simd reduction(+ : sum)
		for (uint32_t c = 0; c < d; c++)
			sum += (a[c] - b[c]) * (a[c] - b[c]);
		out[j] = sum;
	}
}

/* Row i of conditional similarities with the wanted perplexity, by bisection over the precision. */
static void neighbours(float *row, uint32_t n, uint32_t i, double perplexity)
{
	double beta = 1, low = 0, high = HUGE_VAL, want = log(perplexity), nearest = HUGE_VAL,
	       sum = 0;
	for (uint32_t j = 0; j < n; j++)
		if (j != i)
			nearest = WR_MIN(nearest, (double)row[j]);
	for (int k = 0; k < 64; k++) {
		double weighted = 0;
		sum = 0;
		for (uint32_t j = 0; j < n; j++) {
			double dist = (double)row[j] - nearest, e = j == i ? 0 : exp(-beta * dist);
			sum += e;
			weighted += e * dist;
		}
		double entropy = log(sum) + beta * weighted / sum;
		if (fabs(entropy - want) < 1e-5)
			break;
		if (entropy > want) {
			low = beta;
			beta = isinf(high) ? beta * 2 : (beta + high) / 2;
		} else {
			high = beta;
			beta = (beta + low) / 2;
		}
	}
	for (uint32_t j = 0; j < n; j++)
		row[j] = j == i ? 0 : (float)(exp(-beta * ((double)row[j] - nearest)) / sum);
}

static void similarities(struct tsne *t, const float *x, uint32_t d)
{
	size_t n = t->n;
#pragma omp parallel for num_threads(t->threads) schedule(dynamic, 16)
	for (uint32_t i = 0; i < t->n; i++) {
		distances(x, t->n, d, i, t->sim + i * n);
		neighbours(t->sim + i * n, t->n, i, t->p->perplexity);
	}
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++) {
			float s = (t->sim[i * n + j] + t->sim[j * n + i]) / (2 * (float)n);
			t->sim[i * n + j] = t->sim[j * n + i] = WR_MAX(s, 1e-12f);
		}
}

/* Of point i: attraction Σ p k (y_i - y_j), repulsion Σ k² (y_i - y_j), and Σ k, k = 1 / (1 + |y_i
 * - y_j|²). */
WR_CLONES static void forces(
	const float *sim, const float *y0, const float *y1, uint32_t n, uint32_t i, float out[5])
{
	float a0 = 0, a1 = 0, r0 = 0, r1 = 0, z = 0, x0 = y0[i], x1 = y1[i];
#pragma omp simd reduction(+ : a0, a1, r0, r1, z)
	for (uint32_t j = 0; j < n; j++) {
		float d0 = x0 - y0[j], d1 = x1 - y1[j], k = 1 / (1 + d0 * d0 + d1 * d1);
		a0 += sim[j] * k * d0;
		a1 += sim[j] * k * d1;
		r0 += k * k * d0;
		r1 += k * k * d1;
		z += k;
	}
	out[0] = a0;
	out[1] = a1;
	out[2] = r0;
	out[3] = r1;
	out[4] = z - 1; /* without itself */
}

/* One step of descent with momentum and gains by coordinate (Jacobs 1988). */
static void descend(struct tsne *t, uint32_t step)
{
	uint32_t n = t->n, early = t->p->steps / 4;
	float *y0 = t->y, *y1 = t->y + n, exaggerate = step < early ? EXAGGERATION : 1,
	      momentum = step < early ? 0.5f : 0.8f, rate = WR_MAX((float)n / EXAGGERATION, 50.0f);
	double z = 0;
#pragma omp parallel for num_threads(t->threads) schedule(static)
	for (uint32_t i = 0; i < n; i++) {
		forces(t->sim + (size_t)i * n, y0, y1, n, i, t->pull + (size_t)i * 5);
		t->z[i] = (double)t->pull[(size_t)i * 5 + 4];
	}
	for (uint32_t i = 0; i < n; i++)
		z += t->z[i];
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t c = 0; c < 2; c++) {
			size_t at = (size_t)c * n + i;
			const float *f = t->pull + (size_t)i * 5;
			float g = 4 * (exaggerate * f[c] - f[2 + c] / (float)z);
			t->gain[at] = (g > 0) != (t->step[at] > 0)
					      ? t->gain[at] + 0.2f
					      : WR_MAX(t->gain[at] * 0.8f, 0.01f);
			t->step[at] = momentum * t->step[at] - rate * t->gain[at] * g;
			t->y[at] += t->step[at];
		}
	for (uint32_t c = 0; c < 2; c++) {
		double mean = 0;
		for (uint32_t i = 0; i < n; i++)
			mean += (double)t->y[(size_t)c * n + i] / n;
		for (uint32_t i = 0; i < n; i++)
			t->y[(size_t)c * n + i] -= (float)mean;
	}
}

static double divergence_of(const struct tsne *t)
{
	size_t n = t->n;
	double z = 0, kl = 0;
	for (size_t i = 0; i < n; i++)
		z += t->z[i];
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++) {
			double d0 = (double)(t->y[i] - t->y[j]),
			       d1 = (double)(t->y[n + i] - t->y[n + j]);
			double p = (double)t->sim[i * n + j];
			if (i != j)
				kl += p * log(p * z * (1 + d0 * d0 + d1 * d1));
		}
	return kl;
}

static int check(const struct wr_tsne *p, uint32_t n, struct wr_errmsg *msg)
{
	if (n < 10 || n > MAX_POINTS)
		return wr_fail(msg, WR_EINVAL, "t-SNE of %u points: give 10 … %d", n, MAX_POINTS);
	if (!(p->perplexity >= 2) || p->perplexity > (n - 1) / 3.0)
		return wr_fail(msg, WR_EINVAL, "perplexity %g: give 2 … a third of the points",
			p->perplexity);
	return p->steps < 50 ? wr_fail(msg, WR_EINVAL, "%u steps: give at least 50", p->steps)
			     : WR_OK;
}

int wr_tsne_run(const struct wr_tsne *p, const float *x, uint32_t n, uint32_t d, float *y,
	double *divergence, struct wr_errmsg *msg)
{
	struct tsne t = {
		.p = p, .n = n, .threads = p->threads ? (int)p->threads : omp_get_max_threads()};
	int err = check(p, n, msg);
	if (err)
		return err;
	t.sim = malloc((size_t)n * n * sizeof(*t.sim));
	t.y = malloc(2 * (size_t)n * sizeof(*t.y));
	t.step = calloc(2 * (size_t)n, sizeof(*t.step));
	t.gain = malloc(2 * (size_t)n * sizeof(*t.gain));
	t.pull = malloc(5 * (size_t)n * sizeof(*t.pull));
	t.z = malloc(n * sizeof(*t.z));
	if (!t.sim || !t.y || !t.step || !t.gain || !t.pull || !t.z) {
		err = wr_fail(msg, WR_ENOMEM, "out of memory for %u² pairs: give fewer points", n);
		goto out;
	}
	struct wr_rng r;
	struct wr_progress bar;
	wr_rng_init(&r, p->seed, 0x75e);
	for (size_t i = 0; i < 2 * (size_t)n; i++) {
		t.y[i] = 1e-2f * (float)wr_rng_normal(&r);
		t.gain[i] = 1;
	}
	similarities(&t, x, d);
	if (!p->quiet)
		wr_progress_start(&bar, "t-SNE", p->steps);
	for (uint32_t s = 0; s < p->steps && !err; s++) {
		descend(&t, s);
		if (!p->quiet)
			wr_progress_update(&bar, s + 1, NULL);
		if (wr_stop_requested())
			err = wr_fail(msg, WR_EINTR, "stopped; nothing was written");
	}
	if (!p->quiet)
		wr_progress_end(&bar, p->steps, NULL);
	for (uint32_t i = 0; i < n && !err; i++) {
		y[2 * (size_t)i] = t.y[i];
		y[2 * (size_t)i + 1] = t.y[n + i];
	}
	if (!err && divergence)
		*divergence = divergence_of(&t);
out:
	free(t.sim);
	free(t.y);
	free(t.step);
	free(t.gain);
	free(t.pull);
	free(t.z);
	return err;
}

/* The k nearest of point i, in no order. */
static void nearest(const float *dist, uint32_t n, uint32_t i, uint32_t k, uint32_t *top)
{
	uint32_t found = 0;
	for (uint32_t j = 0; j < n; j++) {
		if (j == i || (found == k && !(dist[j] < dist[top[k - 1]])))
			continue;
		uint32_t at = found < k ? found++ : k - 1;
		for (; at && dist[j] < dist[top[at - 1]]; at--)
			top[at] = top[at - 1];
		top[at] = j;
	}
}

int wr_map_kept(const float *x, uint32_t d, const float *y, uint32_t e, uint32_t n, uint32_t k,
	double *kept, struct wr_errmsg *msg)
{
	float *dist = malloc(((size_t)n + 1) * sizeof(*dist));
	uint32_t *top = malloc(2 * ((size_t)k + 1) * sizeof(*top)), same = 0;
	*kept = 0;
	if (!dist || !top || !k || k >= n) {
		free(dist);
		free(top);
		return wr_fail(msg, WR_EINVAL, "%u neighbours of %u points", k, n);
	}
	for (uint32_t i = 0; i < n; i++) {
		distances(x, n, d, i, dist);
		nearest(dist, n, i, k, top);
		distances(y, n, e, i, dist);
		nearest(dist, n, i, k, top + k);
		for (uint32_t a = 0; a < k; a++)
			for (uint32_t b = 0; b < k; b++)
				same += top[a] == top[k + b];
	}
	*kept = (double)same / ((double)n * k);
	free(dist);
	free(top);
	return WR_OK;
}
