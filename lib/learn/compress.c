/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Item vectors in fewer bytes: int8 by row, principal directions (Pearson 1901), product
 * quantisation (Jégou, Douze, Schmid 2011). Every way is judged by the item vectors that it gives
 * back: scores by them are what asymmetric distances to the codes would be. k-means over some
 * thousand rows dominates.
 */
#include "eigen_int.h"
#include "judge_int.h"
#include "sgemm.h"
#include "wr_compact.h"
#include "wr_policy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CENTROIDS  256
#define ITERATIONS 20
#define TOP        10
#define TILE       64 /* users */

/* ---- ways: from [n][d] unit rows to what comes back of them ---- */

static void by_int8(const float *from, uint32_t n, uint32_t d, float *to)
{
	for (uint32_t r = 0; r < n; r++) {
		const float *x = from + (size_t)r * d;
		float top = 1e-30f;
		for (uint32_t c = 0; c < d; c++)
			top = fmaxf(top, fabsf(x[c]));
		for (uint32_t c = 0; c < d; c++)
			to[(size_t)r * d + c] = rintf(x[c] * (127.0f / top)) * (top / 127.0f);
	}
}

/* Onto the first k directions v and back. */
static int by_pca(
	const float *from, uint32_t n, uint32_t d, const float *v, uint32_t k, bool int8, float *to)
{
	float *part = malloc((size_t)n * k * sizeof(*part)),
	      *rounded = malloc((size_t)n * k * sizeof(*rounded));
	int err = part && rounded ? WR_OK : WR_ENOMEM;
	if (!err) {
		wr_sgemm(false, true, n, k, d, from, d, v, d, 0, part, k);
		if (int8)
			by_int8(part, n, k, rounded);
		wr_sgemm(false, false, n, d, k, int8 ? rounded : part, k, v, d, 0, to, d);
	}
	free(part);
	free(rounded);
	return err;
}

/* The nearest of k centroids, by |c|² - 2 x·c. */
static uint32_t nearest(const float *x, const float *c, uint32_t k, uint32_t d)
{
	uint32_t best = 0;
	float least = INFINITY;
	for (uint32_t i = 0; i < k; i++) {
		float far = 0;
		for (uint32_t j = 0; j < d; j++)
			far += (x[j] - c[i * d + j]) * (x[j] - c[i * d + j]);
		if (far < least) {
			least = far;
			best = i;
		}
	}
	return best;
}

/* One part of a product quantiser: Lloyd's k-means over columns from … from+w-1. A centroid that
 * nobody takes stays where it is. */
static void quantise_part(const float *x, uint32_t n, uint32_t d, uint32_t from, uint32_t w,
	float *to, float *c, float *sum, uint32_t *code, struct wr_rng *r)
{
	uint32_t k = WR_MIN(n, (uint32_t)CENTROIDS), count[CENTROIDS];
	for (uint32_t i = 0; i < k; i++) /* rows from as many equal shares */
		memcpy(c + i * w,
			x + ((size_t)((uint64_t)i * n / k) + wr_rng_below(r, n / k)) * d + from,
			w * sizeof(float));
	for (uint32_t step = 0; step < ITERATIONS; step++) {
		memset(sum, 0, (size_t)k * w * sizeof(float));
		memset(count, 0, sizeof(count));
		for (uint32_t i = 0; i < n; i++) {
			const float *row = x + (size_t)i * d + from;
			code[i] = nearest(row, c, k, w);
			count[code[i]]++;
			for (uint32_t j = 0; j < w; j++)
				sum[code[i] * w + j] += row[j];
		}
		for (uint32_t i = 0; i < k; i++)
			for (uint32_t j = 0; j < w && count[i]; j++)
				c[i * w + j] = sum[i * w + j] / (float)count[i];
	}
	for (uint32_t i = 0; i < n; i++)
		memcpy(to + (size_t)i * d + from,
			c + nearest(x + (size_t)i * d + from, c, k, w) * w, w * sizeof(float));
}

static int by_pq(const float *from, uint32_t n, uint32_t d, uint32_t parts, float *to)
{
	uint32_t w = d / parts, *code = malloc((size_t)n * sizeof(*code));
	float *c = malloc((size_t)CENTROIDS * w * sizeof(*c)),
	      *sum = malloc((size_t)CENTROIDS * w * sizeof(*sum));
	struct wr_rng r;
	int err = code && c && sum ? WR_OK : WR_ENOMEM;
	wr_rng_init(&r, 1, 0x9d);
	for (uint32_t p = 0; p < parts && !err; p++)
		quantise_part(from, n, d, p * w, w, to, c, sum, code, &r);
	free(code);
	free(c);
	free(sum);
	return err;
}

/* ---- judging ---- */

struct work {
	const struct wr_student *s;
	const struct wr_dataset *ds;
	struct wr_judge *judge;
	float *user, *unit, *back, *v, *scores; /* v: [d][d] principal directions */
	uint32_t *top;                          /* [users][TOP] by exact scores */
	uint64_t *seen;
};

/* The TOP rows of highest score, ties by row. */
static void top_rows(const float *score, uint32_t n, uint32_t *list)
{
	uint32_t m = 0;
	for (uint32_t r = 0; r < n; r++) {
		if (m == TOP && !(score[r] > score[list[m - 1]]))
			continue;
		uint32_t k = m < TOP ? m++ : m - 1;
		for (; k && score[r] > score[list[k - 1]]; k--)
			list[k] = list[k - 1];
		list[k] = r;
	}
}

static uint32_t shared(const uint32_t *a, const uint32_t *b, uint32_t n)
{
	uint32_t both = 0;
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < n; k++)
			both += a[i] == b[k];
	return both;
}

static int judge_items(struct work *w, const float *items, bool exact, struct wr_compressed *out,
	struct wr_errmsg *msg)
{
	uint32_t n = w->s->shape.n_items, d = w->s->shape.d, list[TOP],
		 k = WR_MIN(n, (uint32_t)TOP);
	struct wr_metrics_at m;
	uint64_t both = 0;
	for (uint32_t first = 0; first < w->judge->n_users; first += TILE) {
		uint32_t rows = WR_MIN((uint32_t)TILE, w->judge->n_users - first);
		wr_sgemm(false, true, rows, n, d, w->user + (size_t)first * d, d, items, d, 0,
			w->scores, n);
		for (uint32_t i = 0; i < rows; i++) {
			const struct wr_judged *u = &w->judge->user[first + i];
			const float *score = w->scores + (size_t)i * n;
			uint32_t *top = w->top + (size_t)(first + i) * TOP;
			top_rows(score, n, exact ? top : list);
			both += exact ? k : shared(list, top, k);
			memset(w->seen, 0, ((size_t)n + 63) / 64 * sizeof(*w->seen));
			for (uint32_t t = u->begin; t < u->end; t++)
				w->seen[w->ds->token_row[t] / 64] |= (uint64_t)1
								     << (w->ds->token_row[t] % 64);
			wr_learn_judge_scores(w->judge, first + i, score, w->seen);
		}
	}
	int err = wr_judge_metrics(w->judge, &m, msg);
	out->recall10 = (double)both / WR_MAX((double)w->judge->n_users * k, 1.0);
	out->hr10 = m.hr[0][1];
	out->ndcg10 = m.ndcg[0][1];
	return err;
}

static int encode_users(struct work *w, uint32_t threads, struct wr_errmsg *msg)
{
	uint32_t n = w->judge->n_users, reach = wr_student_reach(&w->s->shape);
	size_t room = (size_t)n * reach + 1, at = 0;
	uint64_t *off = calloc((size_t)n + 1, sizeof(*off));
	uint32_t *rows = malloc(room * sizeof(*rows));
	int64_t *times = malloc(room * sizeof(*times)),
		*asked = malloc(((size_t)n + 1) * sizeof(*asked));
	int err = off && rows && times && asked
			  ? WR_OK
			  : wr_fail(msg, WR_ENOMEM, "out of memory for user vectors");
	for (uint32_t i = 0; i < n && !err; i++) {
		const struct wr_judged *u = &w->judge->user[i];
		uint32_t m = WR_MIN(u->end - u->begin, reach);
		memcpy(rows + at, w->ds->token_row + u->end - m, m * sizeof(*rows));
		memcpy(times + at, w->ds->token_time + u->end - m, m * sizeof(*times));
		asked[i] = w->ds->token_time[u->end];
		off[i + 1] = at += m;
	}
	const struct wr_histories h = {
		.n = n, .off = off, .rows = rows, .times = times, .asked = asked};
	if (!err)
		err = wr_encode_histories(w->s, &h, threads, w->user, msg);
	free(off);
	free(rows);
	free(times);
	free(asked);
	return err;
}

/* Directions of most of the unit vectors' squares, as a row each. */
static int find_directions(struct work *w, struct wr_errmsg *msg)
{
	uint32_t n = w->s->shape.n_items, d = w->s->shape.d;
	size_t cells = (size_t)d * d;
	double *a = malloc(cells * sizeof(*a)), *v = malloc(cells * sizeof(*v)),
	       *value = malloc(d * sizeof(*value));
	int err = a && v && value ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for directions");
	if (!err) {
		wr_sgemm(true, false, d, d, n, w->unit, d, w->unit, d, 0, w->v, d);
		for (size_t i = 0; i < cells; i++)
			a[i] = (double)w->v[i];
		err = wr_learn_eigen(a, d, value, v, msg);
	}
	for (size_t i = 0; i < cells && !err; i++)
		w->v[i] = (float)v[i];
	free(a);
	free(v);
	free(value);
	return err;
}

static int work_new(struct work *w, enum wr_split split, uint32_t users, uint32_t threads,
	struct wr_errmsg *msg)
{
	size_t n = w->s->shape.n_items, d = w->s->shape.d;
	float *norm = malloc(n * sizeof(*norm));
	int err = wr_judge_new(&w->judge, w->ds, split, users, msg);
	size_t people = err ? 0 : w->judge->n_users;
	w->user = malloc((people + 1) * d * sizeof(float));
	w->unit = malloc(n * d * sizeof(float));
	w->back = malloc(n * d * sizeof(float));
	w->v = malloc(d * d * sizeof(float));
	w->scores = malloc(TILE * n * sizeof(float));
	w->top = calloc((people + 1) * TOP, sizeof(*w->top));
	w->seen = malloc((n + 63) / 64 * sizeof(*w->seen));
	if (!err && (!norm || !w->user || !w->unit || !w->back || !w->v || !w->scores || !w->top ||
			    !w->seen))
		err = wr_fail(msg, WR_ENOMEM, "out of memory for compressing");
	if (!err) {
		wr_learn_unit_rows(
			w->s->w + w->s->embedding, (uint32_t)n, (uint32_t)d, w->unit, norm);
		err = encode_users(w, threads, msg);
	}
	if (!err)
		err = find_directions(w, msg);
	free(norm);
	return err;
}

static void work_free(struct work *w)
{
	wr_judge_free(w->judge);
	free(w->user);
	free(w->unit);
	free(w->back);
	free(w->v);
	free(w->scores);
	free(w->top);
	free(w->seen);
}

/* The rows of way `out` into w->back, and what they take. */
static int make_way(struct work *w, struct wr_compressed *out)
{
	uint32_t n = w->s->shape.n_items, d = w->s->shape.d, k = out->size;
	switch (out->way) {
	case WR_COMPRESS_FLOAT:
		out->bytes = 4 * d;
		memcpy(w->back, w->unit, (size_t)n * d * sizeof(float));
		return WR_OK;
	case WR_COMPRESS_INT8:
		out->bytes = d + 4;
		by_int8(w->unit, n, d, w->back);
		return WR_OK;
	case WR_COMPRESS_PCA:
		out->bytes = 4 * k;
		return by_pca(w->unit, n, d, w->v, k, false, w->back);
	case WR_COMPRESS_PCA_INT8:
		out->bytes = k + 4;
		return by_pca(w->unit, n, d, w->v, k, true, w->back);
	default:
		out->bytes = k;
		return by_pq(w->unit, n, d, k, w->back);
	}
}

const char *wr_compress_name(enum wr_compress_way way)
{
	static const char *const name[] = {"float", "int8", "pca", "pca int8", "pq"};
	return name[way];
}

static int check_way(const struct wr_student *s, const struct wr_dataset *ds,
	const struct wr_compressed *way, struct wr_errmsg *msg)
{
	uint32_t d = s->shape.d;
	if (s->shape.n_items != ds->n_items)
		return wr_fail(msg, WR_EINVAL, "the run knows %u items, the data %u",
			s->shape.n_items, ds->n_items);
	if (way->way == WR_COMPRESS_PQ && (!way->size || d % way->size))
		return wr_fail(
			msg, WR_EINVAL, "%u parts do not divide a width of %u", way->size, d);
	if ((way->way == WR_COMPRESS_PCA || way->way == WR_COMPRESS_PCA_INT8) &&
		(!way->size || way->size > d))
		return wr_fail(msg, WR_EINVAL, "%u directions of %u", way->size, d);
	return WR_OK;
}

int wr_compress_measure(const struct wr_student *s, const struct wr_dataset *ds,
	enum wr_split split, uint32_t users, uint32_t threads, struct wr_compressed *ways,
	uint32_t n_ways, struct wr_errmsg *msg)
{
	struct work w = {.s = s, .ds = ds};
	struct wr_compressed exact = {.way = WR_COMPRESS_FLOAT};
	int err = WR_OK;
	for (uint32_t i = 0; i < n_ways && !err; i++)
		err = check_way(s, ds, &ways[i], msg);
	if (!err)
		err = work_new(&w, split, users, threads, msg);
	if (!err)
		err = judge_items(&w, w.unit, true, &exact, msg);
	for (uint32_t i = 0; i < n_ways && !err; i++) {
		if (make_way(&w, &ways[i]))
			err = wr_fail(msg, WR_ENOMEM, "out of memory for compressing");
		else
			err = judge_items(&w, w.back, false, &ways[i], msg);
	}
	work_free(&w);
	return err;
}
