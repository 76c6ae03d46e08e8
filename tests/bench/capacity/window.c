/* SPDX-License-Identifier: BSD-3-Clause */
/* The main thread's side of the bench. */
#include "window.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	SETTLE_MS = 50,
	LEAST_NS = 10000000,
	TRIES = 5,
	MAX_SIZES = 8,
	MAX_ROUNDS = 99,
	MAX_CHART = 8
};

/* What one window gave. */
struct yield {
	double answers_s, wall_s;            /* by CPU time without feeding; by wall time */
	double single[WR_SERVE_MAX_WORKERS]; /* of each worker in it, by its index */
	double feed_share, cpu_share;
	double stage_ns[WR_STAGE_N]; /* an answer */
};

/* The windows of one number of workers. */
struct size {
	unsigned int k, n;
	struct yield yield[MAX_ROUNDS * 4];
	double scale[MAX_ROUNDS * 4];
};

static int wait_for(struct windows *w, const unsigned int *set, unsigned int n, double seconds,
	struct wr_errmsg *msg)
{
	uint64_t end = wr_clock_ns() + (uint64_t)(seconds * 1e9);
	for (unsigned int i = 0; i < n; i++)
		while (!source_carried(w->source[set[i]])) {
			if (wr_stop_requested())
				return wr_fail(msg, WR_EINTR, "stopped");
			if (wr_clock_ns() > end)
				return wr_fail(msg, WR_ESTATE,
					"worker %u is not done after %.0f s: %lu sent, %lu "
					"answered",
					set[i], seconds, w->source[set[i]]->sent,
					w->source[set[i]]->answered);
			wr_serve_tick(w->serve);
			(void)usleep(2000);
		}
	return 0;
}

static int order_set(struct windows *w, const unsigned int *set, unsigned int n, enum order order,
	double seconds, struct wr_errmsg *msg)
{
	for (unsigned int i = 0; i < n; i++)
		source_order(w->source[set[i]], order);
	return wait_for(w, set, n, seconds, msg);
}

int windows_do(
	struct windows *w, unsigned int n, enum order order, double seconds, struct wr_errmsg *msg)
{
	unsigned int set[WR_SERVE_MAX_WORKERS];
	for (unsigned int i = 0; i < n; i++)
		set[i] = i;
	return order_set(w, set, n, order, seconds, msg);
}

/* ---- one window ---- */
static void rest_until(struct windows *w, uint64_t end_ns)
{
	while (wr_clock_ns() < end_ns && !atomic_load(&w->dry) && !wr_stop_requested())
		(void)usleep(1000);
}

static void set_measure(struct windows *w, const unsigned int *set, unsigned int n, int to)
{
	for (unsigned int i = 0; i < n; i++)
		atomic_store(&w->source[set[i]]->measure, to);
}

static int sound(struct source *s, struct wr_errmsg *msg)
{
	for (uint32_t i = s->first_watched; i < s->n_watched; i++)
		s->watched[i].fed = s->watched[i].frame < s->next;
	if (s->wrong)
		return wr_fail(msg, WR_ESTATE, "worker %u: %lu answers wrong, first of id %lx",
			s->index, s->wrong, s->wrong_id);
	if (s->ids || s->sent != s->answered)
		return wr_fail(msg, WR_ESTATE,
			"worker %u: %lu sent, %lu answered, or not each of them once", s->index,
			s->sent, s->answered);
	if (s->to.answered <= s->from.answered || s->to.cpu_ns - s->from.cpu_ns < LEAST_NS)
		return wr_fail(msg, WR_EAGAIN,
			"worker %u had its CPU for less than %d ms of a window; give --frames-mib "
			"more, or a quieter machine",
			s->index, LEAST_NS / 1000000);
	return 0;
}

static void add_up(
	const struct windows *w, const unsigned int *set, unsigned int n, struct yield *y)
{
	double ns = 1e9 / (double)wr_clock_tsc_hz(), answers = 0, feed = 0, cpu = 0, wall = 0;
	*y = (struct yield){0};
	for (unsigned int i = 0; i < n; i++) {
		const struct source *s = w->source[set[i]];
		double a = (double)(s->to.answered - s->from.answered),
		       f = (double)(s->to.feed_tsc - s->from.feed_tsc) * ns,
		       c = (double)(s->to.cpu_ns - s->from.cpu_ns),
		       e = (double)(s->to.wall_ns - s->from.wall_ns);
		y->single[set[i]] = a / (c - f) * 1e9;
		y->answers_s += y->single[set[i]];
		y->wall_s += a / e * 1e9;
		answers += a;
		feed += f;
		cpu += c;
		wall += e;
		for (unsigned int g = 0; g < WR_STAGE_N; g++)
			y->stage_ns[g] += (double)(s->to.stage[g] - s->from.stage[g]) * ns;
	}
	y->stage_ns[WR_STAGE_rx] -= feed;
	for (unsigned int g = 0; g < WR_STAGE_N; g++)
		y->stage_ns[g] /= answers;
	y->feed_share = feed / cpu;
	y->cpu_share = cpu / wall;
}

static int window(struct windows *w, const unsigned int *set, unsigned int n, struct yield *y,
	struct wr_errmsg *msg)
{
	int err = order_set(w, set, n, ORDER_RENDER, 60, msg);
	atomic_store(&w->dry, false);
	for (unsigned int i = 0; i < n; i++)
		w->source[set[i]]->from = w->source[set[i]]->to = (struct snapshot){0};
	set_measure(w, set, n, 0);
	if (!err)
		err = order_set(w, set, n, ORDER_RUN, 5, msg);
	if (err)
		return err;
	rest_until(w, wr_clock_ns() + SETTLE_MS * 1000000ull);
	if (atomic_load(&w->dry))
		return wr_fail(msg, WR_ESTATE,
			"the frames were gone before the window began; give --frames-mib more");
	set_measure(w, set, n, 1);
	rest_until(w, wr_clock_ns() + w->window_ms * 1000000ull);
	set_measure(w, set, n, 2);
	(void)usleep(5000);
	err = order_set(w, set, n, ORDER_REST, 5, msg);
	for (unsigned int i = 0; i < n && !err; i++)
		err = sound(w->source[set[i]], msg);
	if (!err)
		add_up(w, set, n, y);
	return err;
}

/* ---- rounds ---- */
/* What one worker alone gave in this round. */
static double alone_in(const struct windows *w, const struct size *singles, unsigned int round)
{
	unsigned int n = w->n <= 4 ? w->n : 1;
	double sum = 0;
	for (unsigned int i = 0; i < n; i++)
		sum += singles->yield[round * n + i].answers_s;
	return sum / n;
}

/* Sets of k neighbours; up to 4 workers every one gets its turn, of more another one a round. */
static int round_of(struct windows *w, struct size *size, unsigned int round,
	const struct size *singles, struct wr_errmsg *msg)
{
	unsigned int set[WR_SERVE_MAX_WORKERS],
		sets = w->n <= 4 ? (w->n + size->k - 1) / size->k : 1;
	int err = 0;
	for (unsigned int i = 0; i < sets && !err; i++) {
		struct yield *y = &size->yield[size->n];
		for (unsigned int j = 0; j < size->k; j++)
			set[j] = ((i + (sets == 1 ? round : 0)) * size->k + j) % w->n;
		err = WR_EAGAIN;
		for (unsigned int try = 0; try < TRIES && err == WR_EAGAIN; try++)
			err = window(w, set, size->k, y, msg);
		if (err)
			break;
		size->scale[size->n++] =
			size->k == 1 ? 1 : y->answers_s / alone_in(w, singles, round);
	}
	return err;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double quantile(const double *v, unsigned int n, unsigned int at, unsigned int of)
{
	double sorted[MAX_ROUNDS * 4];
	memcpy(sorted, v, n * sizeof(*v));
	qsort(sorted, n, sizeof(*sorted), ascending);
	return sorted[(n - 1) * at / of];
}

static json_t *rounded(double v, double unit)
{
	double n = v / unit;
	return json_real((double)(long long)(n + (n < 0 ? -0.5 : 0.5)) * unit);
}

static json_t *point(const struct size *s)
{
	double v[MAX_ROUNDS * 4];
	json_t *p = json_object(), *stages = json_object();
#define COLLECT(field)                          \
	for (unsigned int i = 0; i < s->n; i++) \
	v[i] = s->yield[i].field
	json_object_set_new(p, "lcores", json_integer((json_int_t)s->k));
	COLLECT(answers_s);
	json_object_set_new(p, "answers_s", rounded(quantile(v, s->n, 1, 2), 1));
	json_object_set_new(p, "least", rounded(quantile(v, s->n, 0, 1), 1));
	json_object_set_new(p, "most", rounded(quantile(v, s->n, 1, 1), 1));
	json_object_set_new(p, "windows", json_integer((json_int_t)s->n));
	json_object_set_new(p, "scale", rounded(quantile(s->scale, s->n, 1, 2), 0.001));
	json_object_set_new(p, "scale_least", rounded(quantile(s->scale, s->n, 0, 1), 0.001));
	json_object_set_new(p, "scale_most", rounded(quantile(s->scale, s->n, 1, 1), 0.001));
	COLLECT(wall_s);
	json_object_set_new(p, "answers_wall_s", rounded(quantile(v, s->n, 1, 2), 1));
	COLLECT(feed_share);
	json_object_set_new(p, "feed_share", rounded(quantile(v, s->n, 1, 2), 0.0001));
	COLLECT(cpu_share);
	json_object_set_new(p, "cpu_share", rounded(quantile(v, s->n, 1, 2), 0.001));
	for (unsigned int g = 0; g < WR_STAGE_N; g++) {
		COLLECT(stage_ns[g]);
		double ns = quantile(v, s->n, 1, 2);
		if (ns > 0.05)
			json_object_set_new(stages, wr_stage_desc[g].name, rounded(ns, 0.1));
	}
#undef COLLECT
	json_object_set_new(p, "stage_ns_per_answer", stages);
	return p;
}

int windows_run(struct windows *w, json_t **points, struct wr_errmsg *msg)
{
	unsigned int n_sizes = 0;
	struct size *size = calloc(MAX_SIZES, sizeof(*size));
	int err = size ? 0 : wr_fail(msg, WR_ENOMEM, "out of memory");
	*points = json_array();
	for (unsigned int k = 1; !err && k <= w->n; k = k < w->n && 2 * k > w->n ? w->n : 2 * k)
		size[n_sizes++].k = k;
	for (unsigned int r = 0; r < w->rounds; r++)
		for (unsigned int i = 0; i < n_sizes && !err; i++)
			err = round_of(w, &size[i], r, &size[0], msg);
	for (unsigned int i = 0; i < n_sizes && !err; i++)
		json_array_append_new(*points, point(&size[i]));
	if (err)
		json_decref(*points);
	free(size);
	return err;
}

/* ---- chart ---- */
int windows_chart(const json_t *root, const char *path, struct wr_errmsg *msg)
{
	static double x[MAX_CHART][MAX_SIZES], y[MAX_CHART][MAX_SIZES];
	static char names[MAX_CHART][48], note[160];
	struct wr_chart_series series[MAX_CHART];
	size_t i, j, n = 0;
	json_t *workload, *p;
	json_array_foreach(json_object_get(root, "workloads"), i, workload)
	{
		json_t *points = json_object_get(workload, "points");
		const char *name = json_string_value(json_object_get(workload, "name"));
		double one =
			json_number_value(json_object_get(json_array_get(points, 0), "answers_s"));
		if (n + 2 > MAX_CHART)
			break;
		for (unsigned int ideal = 0; ideal < 2; ideal++, n++) {
			json_array_foreach(points, j, p)
			{
				x[n][j] = json_number_value(json_object_get(p, "lcores"));
				y[n][j] =
					ideal ? one * x[n][j]
					      : json_number_value(json_object_get(p, "answers_s"));
			}
			snprintf(names[n], sizeof(names[n]), "%s%s", name, ideal ? ", linear" : "");
			series[n] = (struct wr_chart_series){
				names[n], x[n], y[n], json_array_size(points), ideal != 0};
		}
	}
	snprintf(note, sizeof(note),
		"%s; gemm %s; no generator; points: one lcore times their number",
		json_string_value(json_object_get(json_object_get(root, "machine"), "cpu")),
		json_string_value(json_object_get(root, "gemm")));
	struct wr_chart c = {.title = "Capacity against worker lcores",
		.x_label = "worker lcores",
		.y_label = "answers per second of CPU time, sum",
		.y_log = true,
		.series = series,
		.n_series = n,
		.note = note};
	return wr_chart_write(&c, path, msg);
}
