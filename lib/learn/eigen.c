/* SPDX-License-Identifier: BSD-3-Clause */
/* Eigenvectors of a symmetric matrix by cyclic Jacobi rotations (Golub, Van Loan, 8.5): some 10
 * sweeps of n² / 2 rotations, a second at n = 256. */
#include "eigen_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SWEEPS 60

static double off_diagonal(const double *a, uint32_t n)
{
	double sum = 0;
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t j = 0; j < i; j++)
			sum += a[i * n + j] * a[i * n + j];
	return sum;
}

/* Rows (and, with columns, columns) p and q of m turned by (c, s). */
static void turn_rows(double *m, uint32_t n, uint32_t p, uint32_t q, double c, double s)
{
	for (uint32_t k = 0; k < n; k++) {
		double x = m[p * n + k], y = m[q * n + k];
		m[p * n + k] = c * x - s * y;
		m[q * n + k] = s * x + c * y;
	}
}

static void turn_columns(double *m, uint32_t n, uint32_t p, uint32_t q, double c, double s)
{
	for (uint32_t k = 0; k < n; k++) {
		double x = m[k * n + p], y = m[k * n + q];
		m[k * n + p] = c * x - s * y;
		m[k * n + q] = s * x + c * y;
	}
}

/* Makes a[p][q] zero. */
static void rotate(double *a, double *v, uint32_t n, uint32_t p, uint32_t q)
{
	double apq = a[p * n + q];
	if (apq == 0)
		return;
	double theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
	double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1));
	double c = 1 / sqrt(t * t + 1), s = t * c;
	turn_rows(a, n, p, q, c, s);
	turn_columns(a, n, p, q, c, s);
	turn_rows(v, n, p, q, c, s);
}

/* Larger eigenvalues first. */
static void sort(double *value, double *v, uint32_t n, double *row)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t best = i;
		for (uint32_t j = i + 1; j < n; j++)
			best = value[j] > value[best] ? j : best;
		double keep = value[i];
		value[i] = value[best];
		value[best] = keep;
		memcpy(row, v + (size_t)i * n, n * sizeof(*v));
		memmove(v + (size_t)i * n, v + (size_t)best * n, n * sizeof(*v));
		memcpy(v + (size_t)best * n, row, n * sizeof(*v));
	}
}

int wr_learn_eigen(double *a, uint32_t n, double *value, double *v, struct wr_errmsg *msg)
{
	double *row = malloc(n * sizeof(*row)), total = 0;
	if (!row)
		return wr_fail(msg, WR_ENOMEM, "out of memory for eigenvectors");
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t j = 0; j < n; j++) {
			v[i * n + j] = i == j;
			total += a[i * n + j] * a[i * n + j];
		}
	for (int sweep = 0; sweep < MAX_SWEEPS && off_diagonal(a, n) > 1e-26 * total; sweep++)
		for (uint32_t p = 0; p + 1 < n; p++)
			for (uint32_t q = p + 1; q < n; q++)
				rotate(a, v, n, p, q);
	for (uint32_t i = 0; i < n; i++)
		value[i] = a[i * n + i];
	sort(value, v, n, row);
	free(row);
	return WR_OK;
}
