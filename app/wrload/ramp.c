/* SPDX-License-Identifier: BSD-3-Clause */
/* The highest rate under a p99 bound: geometric steps up, then a bisection of the last one. */
#include "run_print.h"

#include <stdlib.h>

enum { MAX_POINTS = 128, BISECTIONS = 3 };

struct points {
	double rate[MAX_POINTS], p50[MAX_POINTS], p99[MAX_POINTS], p999[MAX_POINTS];
	size_t n;
};

struct ramp {
	const struct ramp_config *c;
	struct wr_load_result *r;
	struct points points;
	json_t *steps;
	double best, best_qps;
	bool wrong, generator_bound;
};

static double us(const struct wr_hist *h, double q)
{
	return (double)wr_hist_quantile(h, q) / 1000;
}

/* Runs one rate; *held: the bound was kept. */
static int step(struct ramp *x, double rate, bool *held, struct wr_errmsg *msg)
{
	struct wr_load_result *r = x->r;
	struct points *p = &x->points;

	x->c->run->rate = rate;
	int err = wr_load_run(x->c->l, x->c->run, r, msg);
	if (err)
		return err;
	double p99 = us(&r->latency_ns, 0.99);
	*held = p99 <= x->c->p99_us && r->lost == 0 && r->unsent == 0;
	x->wrong |= r->wrong > 0;
	if (!*held)
		x->generator_bound = r->generator_bound;
	if (*held && rate > x->best) {
		x->best = rate;
		x->best_qps = r->seconds > 0 ? (double)r->answered / r->seconds : 0;
	}
	if (p->n < MAX_POINTS) {
		p->rate[p->n] = rate;
		p->p50[p->n] = us(&r->latency_ns, 0.5);
		p->p99[p->n] = p99;
		p->p999[p->n++] = us(&r->latency_ns, 0.999);
	}
	json_array_append_new(x->steps, wr_load_result_json(r));
	if (x->c->show)
		printf("%10.0f /s  p50 %8.1f  p99 %8.1f  p99.9 %8.1f us  lost %lu unsent %lu wrong "
		       "%lu  %s%s\n",
			rate, us(&r->latency_ns, 0.5), p99, us(&r->latency_ns, 0.999),
			(unsigned long)r->lost, (unsigned long)r->unsent, (unsigned long)r->wrong,
			*held ? "held" : "broken",
			r->generator_bound ? " (THE GENERATOR WAS THE BOTTLENECK)" : "");
	fflush(stdout);
	return 0;
}

/* Charts want ascending x. */
static void sort(struct points *p)
{
	double *const columns[] = {p->rate, p->p50, p->p99, p->p999};

	for (size_t i = 1; i < p->n; i++)
		for (size_t j = i; j > 0 && p->rate[j] < p->rate[j - 1]; j--)
			for (size_t k = 0; k < WR_ARRAY_LEN(columns); k++) {
				double v = columns[k][j];
				columns[k][j] = columns[k][j - 1];
				columns[k][j - 1] = v;
			}
}

static int draw(struct ramp *x, struct wr_errmsg *msg)
{
	struct points *p = &x->points;

	sort(p);
	const struct wr_chart_series series[] = {
		{"p50", p->rate, p->p50, p->n, false},
		{"p99", p->rate, p->p99, p->n, false},
		{"p99.9", p->rate, p->p999, p->n, false},
	};
	const struct wr_chart chart = {.title = "Latency from the intended send time",
		.x_label = "requests a second",
		.y_label = "microseconds",
		.y_log = true,
		.series = series,
		.n_series = WR_ARRAY_LEN(series),
		.note = "wrload run --ramp, open loop"};
	return wr_chart_write(&chart, x->c->svg, msg);
}

static int climb(struct ramp *x, struct wr_errmsg *msg)
{
	double low = 0, high = x->c->run->rate;
	bool held = true;
	int err = 0;

	while (held && !err && x->points.n < MAX_POINTS - BISECTIONS) {
		err = step(x, high, &held, msg);
		if (!err && held) {
			low = high;
			high *= x->c->step;
		}
	}
	for (unsigned int i = 0; i < BISECTIONS && !err && low > 0; i++) {
		double middle = (low + high) / 2;
		err = step(x, middle, &held, msg);
		if (held)
			low = middle;
		else
			high = middle;
	}
	return err;
}

int ramp_run(const struct ramp_config *c, json_t **result, bool *wrong, struct wr_errmsg *msg)
{
	struct ramp x = {.c = c, .r = calloc(1, sizeof(*x.r)), .steps = json_array()};
	int err = 0;

	*result = NULL;
	if (!x.r || !x.steps)
		err = wr_fail(msg, WR_ENOMEM, "not enough memory");
	if (!err)
		err = climb(&x, msg);
	if (!err && c->svg)
		err = draw(&x, msg);
	if (!err && c->show)
		printf("highest rate with p99 ≤ %.0f us: %.0f /s%s\n", c->p99_us, x.best,
			x.generator_bound ? " (THE GENERATOR WAS THE BOTTLENECK above it)" : "");
	*wrong = x.wrong;
	if (!err) {
		*result = json_object();
		json_object_set_new(*result, "best_rate", json_real(x.best));
		json_object_set_new(*result, "best_qps", json_real(x.best_qps));
		json_object_set_new(*result, "p99_bound_us", json_real(c->p99_us));
		json_object_set_new(*result, "generator_bound", json_boolean(x.generator_bound));
		json_object_set(*result, "steps", x.steps);
	}
	json_decref(x.steps);
	free(x.r);
	return err;
}
