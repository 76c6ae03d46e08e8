/* SPDX-License-Identifier: BSD-3-Clause */
/* How well probabilities order and fit what happened: AUC, log loss, calibration by bins. */
#include "wr_policy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BINS    10
#define TINIEST 1e-7

struct pair {
	float p;
	uint8_t y;
};

static int by_p(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	return x->p < y->p ? -1 : x->p > y->p;
}

static double log_loss(double p, bool y)
{
	p = WR_MIN(WR_MAX(p, TINIEST), 1 - TINIEST);
	return -log(y ? p : 1 - p);
}

/* Share of (positive, negative) pairs in order, ties one half (Mann, Whitney 1947); ascending. */
static double auc_of(const struct pair *x, uint64_t n, uint64_t positive)
{
	double sum = 0;
	for (uint64_t i = 0, j; i < n; i = j) {
		uint64_t here = 0;
		for (j = i; j < n && x[j].p == x[i].p; j++)
			here += x[j].y;
		sum += (double)here * (((double)i + 1 + (double)j) / 2);
	}
	double k = (double)positive, rest = (double)(n - positive);
	return k > 0 && rest > 0 ? (sum - k * (k + 1) / 2) / (k * rest) : (double)NAN;
}

static void bins_of(const struct pair *x, uint64_t n, struct wr_calibration *c)
{
	for (uint64_t b = 0; b < BINS; b++) {
		uint64_t from = b * n / BINS, to = (b + 1) * n / BINS;
		double p = 0, y = 0, m = (double)WR_MAX(to - from, (uint64_t)1);
		for (uint64_t i = from; i < to; i++) {
			p += (double)x[i].p;
			y += x[i].y;
		}
		c->bin_predicted[b] = p / m;
		c->bin_observed[b] = y / m;
		c->error += fabs(p - y) / (double)n;
	}
}

int wr_calibration_of(const float *p, const uint8_t *y, uint64_t n, struct wr_calibration *c,
	struct wr_errmsg *msg)
{
	struct pair *x = malloc((n + 1) * sizeof(*x));
	*c = (struct wr_calibration){.n = n};
	if (!x)
		return wr_fail(msg, WR_ENOMEM, "out of memory for calibration");
	for (uint64_t i = 0; i < n; i++) {
		x[i] = (struct pair){p[i], y[i]};
		c->positive += y[i];
		c->predicted += (double)p[i] / (double)n;
		c->log_loss += log_loss((double)p[i], y[i]) / (double)n;
	}
	if (n) {
		qsort(x, n, sizeof(*x), by_p);
		c->observed = (double)c->positive / (double)n;
		c->base_log_loss = c->observed * log_loss(c->observed, true) +
				   (1 - c->observed) * log_loss(c->observed, false);
		c->auc = auc_of(x, n, c->positive);
		bins_of(x, n, c);
	}
	free(x);
	return WR_OK;
}
