/* SPDX-License-Identifier: BSD-3-Clause */
/* Principal components: the covariance of d columns (some 10 … 200), then orthogonal iteration. */
#include "wr_features.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS    2000
#define CONVERGED 1e-12

/* Columns' means and the factors that they are multiplied with. */
static void column_scales(
	const float *x, uint32_t n, uint32_t d, bool scale, double *mean, double *factor)
{
	memset(mean, 0, d * sizeof(*mean));
	memset(factor, 0, d * sizeof(*factor));
	for (size_t i = 0; i < n; i++)
		for (uint32_t c = 0; c < d; c++)
			mean[c] += (double)x[i * d + c] / n;
	for (size_t i = 0; i < n; i++)
		for (uint32_t c = 0; c < d; c++) {
			double v = (double)x[i * d + c] - mean[c];
			factor[c] += v * v / n;
		}
	/* A column that never changes says nothing. */
	for (uint32_t c = 0; c < d; c++)
		factor[c] = !scale ? 1 : factor[c] > 1e-20 ? 1 / sqrt(factor[c]) : 0;
}

static void covariance(const float *x, uint32_t n, uint32_t d, const double *mean,
	const double *factor, double *row, double *s)
{
	memset(s, 0, (size_t)d * d * sizeof(*s));
	for (size_t i = 0; i < n; i++) {
		for (uint32_t c = 0; c < d; c++)
			row[c] = ((double)x[i * d + c] - mean[c]) * factor[c];
		for (uint32_t a = 0; a < d; a++)
			for (uint32_t b = 0; b <= a; b++)
				s[(size_t)a * d + b] += row[a] * row[b] / n;
	}
	for (uint32_t a = 0; a < d; a++)
		for (uint32_t b = a + 1; b < d; b++)
			s[(size_t)a * d + b] = s[(size_t)b * d + a];
}

/* Gram and Schmidt, twice for the rounding; what is nothing becomes a unit vector of its own. */
static void orthonormalise(double *v, uint32_t k, uint32_t d)
{
	for (uint32_t a = 0; a < k; a++) {
		double *x = v + (size_t)a * d, len = 0;
		for (int pass = 0; pass < 2; pass++)
			for (uint32_t b = 0; b < a; b++) {
				const double *y = v + (size_t)b * d;
				double dot = 0;
				for (uint32_t c = 0; c < d; c++)
					dot += x[c] * y[c];
				for (uint32_t c = 0; c < d; c++)
					x[c] -= dot * y[c];
			}
		for (uint32_t c = 0; c < d; c++)
			len += x[c] * x[c];
		for (uint32_t c = 0; c < d; c++)
			x[c] = len > 1e-60 ? x[c] / sqrt(len) : c == a;
	}
}

/* v[k][d] to the leading eigenvectors of s; value[k]. */
static void iterate(const double *s, uint32_t d, uint32_t k, double *v, double *next, double *value)
{
	for (uint32_t round = 0; round < ROUNDS; round++) {
		double moved = 0;
		for (uint32_t a = 0; a < k; a++)
			for (uint32_t r = 0; r < d; r++) {
				double sum = 0;
				for (uint32_t c = 0; c < d; c++)
					sum += s[(size_t)r * d + c] * v[(size_t)a * d + c];
				next[(size_t)a * d + r] = sum;
			}
		for (uint32_t a = 0; a < k; a++) {
			double len = 0;
			for (uint32_t c = 0; c < d; c++)
				len += next[(size_t)a * d + c] * v[(size_t)a * d + c];
			moved = WR_MAX(moved, fabs(len - value[a]) / WR_MAX(fabs(len), 1e-30));
			value[a] = len;
		}
		memcpy(v, next, (size_t)k * d * sizeof(*v));
		orthonormalise(v, k, d);
		if (round > 20 && moved < CONVERGED)
			break;
	}
}

/* Places of the rows, and directions with their largest entry positive. */
static void finish(const float *x, uint32_t n, uint32_t d, const double *mean, const double *factor,
	uint32_t k, double *v, float *direction, float *y)
{
	for (uint32_t a = 0; a < k; a++) {
		double *e = v + (size_t)a * d, most = 0;
		for (uint32_t c = 0; c < d; c++)
			most = fabs(e[c]) > fabs(most) ? e[c] : most;
		for (uint32_t c = 0; c < d; c++) {
			e[c] = most < 0 ? -e[c] : e[c];
			direction[(size_t)a * d + c] = (float)e[c];
		}
	}
	for (size_t i = 0; i < n && y; i++)
		for (uint32_t a = 0; a < k; a++) {
			double sum = 0;
			for (uint32_t c = 0; c < d; c++)
				sum += ((double)x[i * d + c] - mean[c]) * factor[c] *
				       v[(size_t)a * d + c];
			y[i * k + a] = (float)sum;
		}
}

int wr_pca(const float *x, uint32_t n, uint32_t d, bool scale, uint32_t k, float *direction,
	double *share, float *y, struct wr_errmsg *msg)
{
	if (n < 2 || !k || k > d)
		return wr_fail(msg, WR_EINVAL, "%u components of %u rows with %u columns", k, n, d);
	double *mean = malloc(d * sizeof(*mean)), *factor = malloc(d * sizeof(*factor)),
	       *row = malloc(d * sizeof(*row)), *s = malloc((size_t)d * d * sizeof(*s)),
	       *v = malloc((size_t)k * d * sizeof(*v)),
	       *next = malloc((size_t)k * d * sizeof(*next)), all = 0;
	int err = mean && factor && row && s && v && next
			  ? WR_OK
			  : wr_fail(msg, WR_ENOMEM, "out of memory for components");
	if (!err) {
		struct wr_rng r;
		wr_rng_init(&r, 1, 0x9ca);
		column_scales(x, n, d, scale, mean, factor);
		covariance(x, n, d, mean, factor, row, s);
		double size = 0; /* what rounding may leave of it */
		for (uint32_t c = 0; c < d; c++) {
			all += s[(size_t)c * d + c];
			size += mean[c] * mean[c] * factor[c] * factor[c];
		}
		if (!(all > 1e-20 * size))
			err = wr_fail(msg, WR_EINVAL, "all rows are alike: there is no variance");
		for (size_t i = 0; i < (size_t)k * d; i++)
			v[i] = wr_rng_normal(&r);
		orthonormalise(v, k, d);
		memset(share, 0, k * sizeof(*share));
	}
	if (!err) {
		iterate(s, d, k, v, next, share);
		for (uint32_t a = 0; a < k; a++)
			share[a] /= all;
		finish(x, n, d, mean, factor, k, v, direction, y);
	}
	free(mean);
	free(factor);
	free(row);
	free(s);
	free(v);
	free(next);
	return err;
}
