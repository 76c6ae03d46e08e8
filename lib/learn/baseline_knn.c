/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Item-kNN: co-occurrence counts item by item over the inverted log (Σ_users |history|² additions,
 * memory of one row of counts), neighbours as CSR; scoring adds the neighbours of the history and
 * keeps the best k of the rows touched.
 */
#include "baseline_int.h"
#include "wr_baseline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct neighbour {
	float sim;
	uint32_t row;
};

struct wr_knn {
	struct wr_knn_params params;
	uint32_t n_items;
	uint64_t *offset;       /* n_items + 1, into near */
	struct neighbour *near; /* most similar first */
	uint64_t n_near, max_near;
	struct wr_popularity *popularity;
};

struct wr_knn_scratch {
	double *score;     /* by row; 0 = not touched */
	uint8_t *seen;     /* by row */
	uint32_t *touched; /* rows with a score */
};

/* The log as sets: each user's distinct rows, and each row's users. */
struct sets {
	uint64_t *user_offset, *item_offset;
	uint32_t *user_rows, *item_users;
	uint32_t *last_user; /* by row; while building: 1 + the last user who had it */
};

struct wr_knn_params wr_knn_params_default(void)
{
	return (struct wr_knn_params){
		.n_neighbours = 0, .n_history = 0, .decay = 1.0, .shrink = 0.0};
}

static void sets_fini(struct sets *s)
{
	free(s->user_offset);
	free(s->item_offset);
	free(s->user_rows);
	free(s->item_users);
	free(s->last_user);
}

/* Rows are known to be in range. */
static int sets_init(struct sets *s, const struct wr_baseline_log *log)
{
	uint64_t n_events = log->offset[log->n_users], n = 0;
	memset(s, 0, sizeof(*s));
	s->user_offset = calloc((size_t)log->n_users + 1, sizeof(*s->user_offset));
	s->item_offset = calloc((size_t)log->n_items + 2, sizeof(*s->item_offset));
	s->user_rows = malloc((n_events + 1) * sizeof(*s->user_rows));
	s->item_users = malloc((n_events + 1) * sizeof(*s->item_users));
	s->last_user = calloc((size_t)log->n_items + 1, sizeof(*s->last_user));
	if (!s->user_offset || !s->item_offset || !s->user_rows || !s->item_users || !s->last_user)
		return WR_ENOMEM;
	for (uint32_t u = 0; u < log->n_users; u++) {
		for (uint64_t e = log->offset[u]; e < log->offset[u + 1]; e++) {
			uint32_t row = log->rows[e];
			if (s->last_user[row] == u + 1)
				continue;
			s->last_user[row] = u + 1;
			s->user_rows[n++] = row;
			s->item_offset[row + 2]++;
		}
		s->user_offset[u + 1] = n;
	}
	/* item_offset[row + 1] is where row's users go next; after the loop it is where they end.
	 */
	for (uint32_t r = 0; r < log->n_items; r++)
		s->item_offset[r + 2] += s->item_offset[r + 1];
	for (uint32_t u = 0; u < log->n_users; u++)
		for (uint64_t e = s->user_offset[u]; e < s->user_offset[u + 1]; e++)
			s->item_users[s->item_offset[s->user_rows[e] + 1]++] = u;
	return WR_OK;
}

static int by_similarity(const void *a, const void *b)
{
	const struct neighbour *x = a, *y = b;
	if (x->sim != y->sim)
		return x->sim > y->sim ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

static int grow(struct wr_knn *m, uint64_t n)
{
	if (n <= m->max_near)
		return WR_OK;
	uint64_t max = WR_MAX(n, m->max_near + m->max_near / 2);
	struct neighbour *p = realloc(m->near, max * sizeof(*p));
	if (!p)
		return WR_ENOMEM;
	m->near = p;
	m->max_near = max;
	return WR_OK;
}

/* Neighbours of one row behind those of the rows before it. count (n_items zeros) is zero again
 * afterwards. */
static int add_row(
	struct wr_knn *m, const struct sets *s, uint32_t row, uint32_t *count, uint32_t *touched)
{
	uint32_t n = 0;
	uint64_t n_users = s->item_offset[row + 1] - s->item_offset[row];
	for (uint64_t e = s->item_offset[row]; e < s->item_offset[row + 1]; e++) {
		uint32_t u = s->item_users[e];
		for (uint64_t f = s->user_offset[u]; f < s->user_offset[u + 1]; f++) {
			uint32_t other = s->user_rows[f];
			if (count[other]++ == 0)
				touched[n++] = other;
		}
	}
	if (grow(m, m->n_near + n))
		return WR_ENOMEM;
	struct neighbour *near = m->near + m->n_near;
	uint32_t kept = 0;
	for (uint32_t t = 0; t < n; t++) {
		uint32_t other = touched[t];
		uint64_t n_other = s->item_offset[other + 1] - s->item_offset[other];
		double norm = sqrt((double)n_users * (double)n_other) + m->params.shrink;
		if (other != row)
			near[kept++] =
				(struct neighbour){(float)((double)count[other] / norm), other};
		count[other] = 0;
	}
	qsort(near, kept, sizeof(*near), by_similarity);
	if (m->params.n_neighbours)
		kept = WR_MIN(kept, m->params.n_neighbours);
	m->n_near += kept;
	m->offset[row + 1] = m->n_near;
	return WR_OK;
}

static int add_rows(struct wr_knn *m, const struct wr_baseline_log *log, struct wr_errmsg *msg)
{
	struct sets s = {0};
	uint32_t *count = calloc((size_t)m->n_items + 1, sizeof(*count));
	uint32_t *touched = calloc((size_t)m->n_items + 1, sizeof(*touched));
	int err = count && touched ? sets_init(&s, log) : WR_ENOMEM;
	for (uint32_t r = 0; !err && r < m->n_items; r++)
		err = wr_stop_requested() ? WR_EINTR : add_row(m, &s, r, count, touched);
	sets_fini(&s);
	free(count);
	free(touched);
	if (err)
		wr_fail(msg, err,
			err == WR_EINTR
				? "stopped while counting neighbours of %u items"
				: "no memory for the neighbours of %u items; keep fewer of each",
			m->n_items);
	return err;
}

int wr_knn_new(struct wr_knn **out, const struct wr_baseline_log *log,
	const struct wr_knn_params *params, struct wr_errmsg *msg)
{
	*out = NULL;
	if (!(params->decay > 0.0 && params->decay <= 1.0) || !(params->shrink >= 0.0))
		return wr_fail(msg, WR_EINVAL,
			"item-kNN: decay %g must lie in (0, 1], shrink %g must not be negative",
			params->decay, params->shrink);
	struct wr_knn *m = calloc(1, sizeof(*m));
	if (!m)
		return wr_fail(msg, WR_ENOMEM, "no memory for item-kNN");
	m->params = *params;
	m->n_items = log->n_items;
	int err = wr_popularity_new(&m->popularity, log, msg);
	if (err)
		goto fail;
	m->offset = calloc((size_t)m->n_items + 1, sizeof(*m->offset));
	if (!m->offset) {
		err = wr_fail(msg, WR_ENOMEM, "no memory for item-kNN over %u items", m->n_items);
		goto fail;
	}
	err = add_rows(m, log, msg);
	if (err)
		goto fail;
	*out = m;
	return WR_OK;
fail:
	wr_knn_free(m);
	return err;
}

void wr_knn_free(struct wr_knn *m)
{
	if (!m)
		return;
	wr_popularity_free(m->popularity);
	free(m->offset);
	free(m->near);
	free(m);
}

size_t wr_knn_bytes(const struct wr_knn *m)
{
	return sizeof(*m) + ((size_t)m->n_items + 1) * sizeof(*m->offset) +
	       m->max_near * sizeof(*m->near);
}

int wr_knn_scratch_new(struct wr_knn_scratch **out, const struct wr_knn *m, struct wr_errmsg *msg)
{
	struct wr_knn_scratch *s = calloc(1, sizeof(*s));
	*out = NULL;
	if (s) {
		s->score = calloc((size_t)m->n_items + 1, sizeof(*s->score));
		s->seen = calloc((size_t)m->n_items + 1, sizeof(*s->seen));
		s->touched = calloc((size_t)m->n_items + 1, sizeof(*s->touched));
	}
	if (!s || !s->score || !s->seen || !s->touched) {
		wr_knn_scratch_free(s);
		return wr_fail(msg, WR_ENOMEM, "no memory for scores of %u items", m->n_items);
	}
	*out = s;
	return WR_OK;
}

void wr_knn_scratch_free(struct wr_knn_scratch *s)
{
	if (!s)
		return;
	free(s->score);
	free(s->seen);
	free(s->touched);
	free(s);
}

/* Adds the votes of the history, newest first, each row at its newest place; the number of rows
 * touched. */
static uint32_t vote(
	const struct wr_knn *m, struct wr_knn_scratch *s, const uint32_t *history, uint32_t n)
{
	uint32_t n_touched = 0, voters = m->params.n_history ? WR_MIN(n, m->params.n_history) : n;
	double weight = 1.0;
	for (uint32_t age = 0; age < voters; age++, weight *= m->params.decay) {
		uint32_t row = history[n - 1 - age];
		if (s->seen[row])
			continue;
		s->seen[row] = 1;
		for (uint64_t e = m->offset[row]; e < m->offset[row + 1]; e++) {
			uint32_t other = m->near[e].row;
			if (s->score[other] == 0.0)
				s->touched[n_touched++] = other;
			s->score[other] += weight * (double)m->near[e].sim;
		}
	}
	for (uint32_t i = 0; i < n; i++)
		s->seen[history[i]] = 1;
	return n_touched;
}

/* Popular rows without a score behind the found ones. */
static uint32_t fill_up(const struct wr_knn *m, const struct wr_knn_scratch *s, bool filter_seen,
	uint32_t found, uint32_t k, uint32_t *top)
{
	uint32_t n = m->n_items;
	const uint32_t *order = wr_popularity_order(m->popularity);
	for (uint32_t i = 0; i < n && found < k; i++)
		if (s->score[order[i]] == 0.0 && !(filter_seen && s->seen[order[i]]))
			top[found++] = order[i];
	return found;
}

uint32_t wr_knn_top(const struct wr_knn *m, struct wr_knn_scratch *s, const uint32_t *history,
	uint32_t n, bool filter_seen, uint32_t k, uint32_t *top)
{
	uint32_t found = 0, n_touched = k ? vote(m, s, history, n) : 0;
	for (uint32_t t = 0; t < n_touched; t++)
		if (!(filter_seen && s->seen[s->touched[t]]))
			found = insert_best(s->score, top, found, k, s->touched[t]);
	found = fill_up(m, s, filter_seen, found, k, top);
	for (uint32_t t = 0; t < n_touched; t++)
		s->score[s->touched[t]] = 0.0;
	for (uint32_t i = 0; i < n; i++)
		s->seen[history[i]] = 0;
	return found;
}
