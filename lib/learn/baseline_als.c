/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Implicit alternating least squares (Hu, Koren, Volinsky 2008; scaled regularisation of Rendle,
 * Krichene, Zhang, Koren 2021). A sweep costs interactions · d² + (users + items) · d³ / 3
 * multiply-adds; a history is folded in by one such system.
 */
#include "baseline_int.h"
#include "learn_int.h"
#include "wr_baseline.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

struct wr_als {
	struct wr_als_params params;
	uint32_t n_items, d;
	float *item;  /* [n_items][d] */
	double *gram; /* [d][d]: α · Σ_i y_i y_iᵀ */
	struct wr_popularity *popularity;
};

struct wr_als_scratch {
	double *a, *b;  /* the system: [d][d], [d] */
	double *score;  /* by row */
	uint8_t *seen;  /* by row */
	uint32_t *once; /* distinct rows of a history */
};

struct wr_als_params wr_als_params_default(void)
{
	return (struct wr_als_params){
		.d = 64, .iterations = 12, .unobserved = 0.1, .regularisation = 0.003, .seed = 1};
}

/* A side of the log as sets of the other side's numbers. */
struct side {
	uint64_t *off;
	uint32_t *other, n;
};

static void side_free(struct side *s)
{
	free(s->off);
	free(s->other);
}

/* Users' distinct rows, then items' users. */
static int sides_init(struct side s[2], const struct wr_baseline_log *log, struct wr_errmsg *msg)
{
	uint64_t n_events = log->offset[log->n_users], n = 0;
	uint32_t *last = calloc((size_t)log->n_items + 1, sizeof(*last));
	for (int k = 0; k < 2; k++) {
		s[k].n = k ? log->n_items : log->n_users;
		s[k].off = calloc((size_t)s[k].n + 2, sizeof(*s[k].off));
		s[k].other = malloc((n_events + 1) * sizeof(*s[k].other));
	}
	if (!last || !s[0].off || !s[1].off || !s[0].other || !s[1].other) {
		free(last);
		return wr_fail(msg, WR_ENOMEM, "out of memory for als");
	}
	for (uint32_t u = 0; u < log->n_users; u++) {
		for (uint64_t i = log->offset[u]; i < log->offset[u + 1]; i++) {
			uint32_t row = log->rows[i];
			if (last[row] == u + 1)
				continue;
			last[row] = u + 1;
			s[0].other[n++] = row;
			s[1].off[row + 2]++;
		}
		s[0].off[u + 1] = n;
	}
	for (uint32_t r = 0; r < log->n_items; r++)
		s[1].off[r + 2] += s[1].off[r + 1];
	for (uint32_t u = 0; u < log->n_users; u++)
		for (uint64_t i = s[0].off[u]; i < s[0].off[u + 1]; i++)
			s[1].other[s[1].off[s[0].other[i] + 1]++] = u;
	free(last);
	return WR_OK;
}

WR_CLONES static void add_outer(double *a, const float *y, uint32_t d)
{
	for (uint32_t r = 0; r < d; r++) {
		double k = (double)y[r], *row = a + (size_t)r * d;
#pragma omp simd
		for (uint32_t c = 0; c <= r; c++)
			row[c] += k * (double)y[c];
	}
}

/* Solves A x = b for a positive definite A (lower triangle) in place: Cholesky, then both
 * substitutions. */
WR_CLONES static void solve(double *a, double *b, uint32_t d)
{
	for (uint32_t j = 0; j < d; j++) {
		double *aj = a + (size_t)j * d;
		for (uint32_t i = j; i < d; i++) {
			double *ai = a + (size_t)i * d, sum = ai[j];
#pragma omp simd reduction(- : sum)
			for (uint32_t c = 0; c < j; c++)
				sum -= ai[c] * aj[c];
			ai[j] = i == j ? sqrt(WR_MAX(sum, 1e-12)) : sum / aj[j];
		}
	}
	for (uint32_t i = 0; i < d; i++) {
		const double *ai = a + (size_t)i * d;
		for (uint32_t c = 0; c < i; c++)
			b[i] -= ai[c] * b[c];
		b[i] /= ai[i];
	}
	for (uint32_t i = d; i-- > 0;) {
		for (uint32_t c = i + 1; c < d; c++)
			b[i] -= a[(size_t)c * d + i] * b[c];
		b[i] /= a[(size_t)i * d + i];
	}
}

/* gram = α Σ y yᵀ of n vectors. */
static void gram_of(const float *y, uint32_t n, uint32_t d, double alpha, double *gram)
{
	memset(gram, 0, (size_t)d * d * sizeof(*gram));
	for (uint32_t i = 0; i < n; i++)
		add_outer(gram, y + (size_t)i * d, d);
	for (size_t i = 0; i < (size_t)d * d; i++)
		gram[i] *= alpha;
}

/* The vector that fits ones at `other` among the n_all vectors y: minimises Σ_other (x·y - 1)² +
 * α Σ_all (x·y)² + λ (m + α n_all) |x|². */
static void fit_vector(const struct wr_als_params *p, const float *y, uint32_t n_all, uint32_t d,
	const double *gram, const uint32_t *other, uint64_t m, double *a, double *b)
{
	double keep = p->regularisation * ((double)m + p->unobserved * n_all);
	memcpy(a, gram, (size_t)d * d * sizeof(*a));
	memset(b, 0, d * sizeof(*b));
	for (uint64_t i = 0; i < m; i++) {
		const float *v = y + (size_t)other[i] * d;
		add_outer(a, v, d);
		for (uint32_t c = 0; c < d; c++)
			b[c] += (double)v[c];
	}
	for (uint32_t c = 0; c < d; c++)
		a[(size_t)c * d + c] += keep;
	solve(a, b, d);
}

/* x of every member of side from y. */
static int sweep(const struct wr_als_params *p, const struct side *side, const float *y,
	uint32_t n_y, float *x, double *gram)
{
	uint32_t d = p->d;
	int bad = 0, n_threads = p->threads ? (int)p->threads : omp_get_max_threads();
	gram_of(y, n_y, d, p->unobserved, gram);
#pragma omp parallel num_threads(n_threads)
	{
		double *a = malloc(((size_t)d * d + d) * sizeof(*a));
		if (!a) {
#pragma omp atomic write
			bad = 1;
		}
#pragma omp barrier
#pragma omp for schedule(dynamic, 32)
		for (uint32_t i = 0; i < side->n; i++) {
			if (bad)
				continue;
			double *b = a + (size_t)d * d;
			fit_vector(p, y, n_y, d, gram, side->other + side->off[i],
				side->off[i + 1] - side->off[i], a, b);
			for (uint32_t c = 0; c < d; c++)
				x[(size_t)i * d + c] = (float)b[c];
		}
		free(a);
	}
	return bad ? WR_ENOMEM : WR_OK;
}

static int check(
	const struct wr_baseline_log *log, const struct wr_als_params *p, struct wr_errmsg *msg)
{
	if (p->d < 1 || p->d > 1024 || p->iterations < 1 || !(p->unobserved > 0) ||
		!(p->regularisation > 0))
		return wr_fail(msg, WR_EINVAL,
			"als: give 1 … 1024 dimensions, at least a sweep, and weights above 0");
	for (uint64_t i = 0; i < log->offset[log->n_users]; i++)
		if (log->rows[i] >= log->n_items)
			return wr_fail(
				msg, WR_EINVAL, "row %u of %u items", log->rows[i], log->n_items);
	return WR_OK;
}

int wr_als_new(struct wr_als **out, const struct wr_baseline_log *log,
	const struct wr_als_params *params, struct wr_errmsg *msg)
{
	struct side side[2] = {0};
	struct wr_rng r;
	size_t d = params->d;
	*out = NULL;
	int err = check(log, params, msg);
	if (err)
		return err;
	struct wr_als *m = calloc(1, sizeof(*m));
	float *user = malloc(((size_t)log->n_users + 1) * d * sizeof(*user));
	if (m) {
		*m = (struct wr_als){.params = *params, .n_items = log->n_items, .d = params->d};
		m->item = malloc(((size_t)log->n_items + 1) * d * sizeof(*m->item));
		m->gram = malloc(d * d * sizeof(*m->gram));
	}
	if (!m || !user || !m->item || !m->gram)
		err = wr_fail(msg, WR_ENOMEM, "out of memory for als");
	if (!err)
		err = wr_popularity_new(&m->popularity, log, msg);
	if (!err)
		err = sides_init(side, log, msg);
	wr_rng_init(&r, params->seed, 0xa15);
	for (size_t i = 0; !err && i < log->n_items * d; i++)
		m->item[i] = (float)(wr_rng_normal(&r) * 0.1 / sqrt((double)d));
	for (uint32_t k = 0; k < params->iterations && !err; k++) {
		if (wr_stop_requested())
			err = wr_fail(msg, WR_EINTR, "stopped");
		if (!err)
			err = sweep(params, &side[0], m->item, log->n_items, user, m->gram);
		if (!err)
			err = sweep(params, &side[1], user, log->n_users, m->item, m->gram);
		if (err == WR_ENOMEM)
			wr_fail(msg, err, "out of memory for als");
	}
	if (!err)
		gram_of(m->item, m->n_items, m->d, params->unobserved, m->gram);
	side_free(&side[0]);
	side_free(&side[1]);
	free(user);
	if (err)
		wr_als_free(m);
	else
		*out = m;
	return err;
}

void wr_als_free(struct wr_als *m)
{
	if (!m)
		return;
	wr_popularity_free(m->popularity);
	free(m->item);
	free(m->gram);
	free(m);
}

const float *wr_als_items(const struct wr_als *m)
{
	return m->item;
}

int wr_als_scratch_new(struct wr_als_scratch **out, const struct wr_als *m, struct wr_errmsg *msg)
{
	struct wr_als_scratch *s = calloc(1, sizeof(*s));
	*out = NULL;
	if (s) {
		s->a = malloc((size_t)m->d * m->d * sizeof(*s->a));
		s->b = malloc(m->d * sizeof(*s->b));
		s->score = malloc(((size_t)m->n_items + 1) * sizeof(*s->score));
		s->seen = calloc((size_t)m->n_items + 1, 1);
		s->once = malloc(((size_t)m->n_items + 1) * sizeof(*s->once));
	}
	if (!s || !s->a || !s->b || !s->score || !s->seen || !s->once) {
		wr_als_scratch_free(s);
		return wr_fail(msg, WR_ENOMEM, "out of memory for als");
	}
	*out = s;
	return WR_OK;
}

void wr_als_scratch_free(struct wr_als_scratch *s)
{
	if (!s)
		return;
	free(s->a);
	free(s->b);
	free(s->score);
	free(s->seen);
	free(s->once);
	free(s);
}

WR_CLONES static void score_all(
	const float *y, uint32_t n, uint32_t d, const double *x, double *score)
{
	for (uint32_t r = 0; r < n; r++) {
		const float *v = y + (size_t)r * d;
		double sum = 0;
#pragma omp simd reduction(+ : sum)
		for (uint32_t c = 0; c < d; c++)
			sum += (double)v[c] * x[c];
		score[r] = sum;
	}
}

uint32_t wr_als_top(const struct wr_als *m, struct wr_als_scratch *s, const uint32_t *history,
	uint32_t n, bool filter_seen, uint32_t k, uint32_t *top)
{
	uint32_t n_once = 0, found = 0;
	if (!n)
		return wr_popularity_top(m->popularity, history, n, filter_seen, k, top);
	for (uint32_t i = 0; i < n; i++)
		if (!s->seen[history[i]]) {
			s->seen[history[i]] = 1;
			s->once[n_once++] = history[i];
		}
	fit_vector(&m->params, m->item, m->n_items, m->d, m->gram, s->once, n_once, s->a, s->b);
	score_all(m->item, m->n_items, m->d, s->b, s->score);
	for (uint32_t r = 0; r < m->n_items && k; r++)
		if (!filter_seen || !s->seen[r])
			found = insert_best(s->score, top, found, k, r);
	for (uint32_t i = 0; i < n_once; i++)
		s->seen[s->once[i]] = 0;
	return found;
}
