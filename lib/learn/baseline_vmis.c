/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VMIS-kNN: for the newest items of a history, the users who have them vote by how new the items
 * are; the votes of the best users go to their items. Work is Σ of the voters of the newest items;
 * memory an inverted log.
 */
#include "baseline_int.h"
#include "wr_baseline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct wr_vmis {
	struct wr_vmis_params params;
	uint32_t n_items, n_users;
	uint64_t *user_offset, *item_offset;
	uint32_t *user_rows,
		*item_users; /* distinct rows of a user; users of an item, last first */
	float *idf;          /* ln(n_users / users of the item) */
	struct wr_popularity *popularity;
};

struct wr_vmis_scratch {
	float *vote;       /* by user; 0 = none */
	uint32_t *newest;  /* by user: place of the newest shared item, from 1 */
	uint32_t *voter;   /* users with a vote */
	double *score;     /* by row */
	uint32_t *touched; /* rows with a score */
	uint8_t *seen;     /* by row */
};

struct wr_vmis_params wr_vmis_params_default(void)
{
	return (struct wr_vmis_params){.n_history = 20, .n_users = 5000, .n_neighbours = 500};
}

void wr_vmis_free(struct wr_vmis *m)
{
	if (!m)
		return;
	wr_popularity_free(m->popularity);
	free(m->user_offset);
	free(m->item_offset);
	free(m->user_rows);
	free(m->item_users);
	free(m->idf);
	free(m);
}

/* Distinct rows of each user, and from these the users of each row. */
static int invert(struct wr_vmis *m, const struct wr_baseline_log *log)
{
	uint64_t n = 0, n_events = log->offset[log->n_users];
	uint32_t *last = calloc((size_t)log->n_items + 1, sizeof(*last));
	m->user_offset = calloc((size_t)log->n_users + 1, sizeof(*m->user_offset));
	m->item_offset = calloc((size_t)log->n_items + 2, sizeof(*m->item_offset));
	m->user_rows = malloc((n_events + 1) * sizeof(*m->user_rows));
	m->item_users = malloc((n_events + 1) * sizeof(*m->item_users));
	m->idf = malloc(((size_t)log->n_items + 1) * sizeof(*m->idf));
	if (!last || !m->user_offset || !m->item_offset || !m->user_rows || !m->item_users ||
		!m->idf) {
		free(last);
		return WR_ENOMEM;
	}
	for (uint32_t u = 0; u < log->n_users; u++) {
		for (uint64_t e = log->offset[u]; e < log->offset[u + 1]; e++) {
			uint32_t row = log->rows[e];
			if (last[row] == u + 1)
				continue;
			last[row] = u + 1;
			m->user_rows[n++] = row;
			m->item_offset[row + 2]++;
		}
		m->user_offset[u + 1] = n;
	}
	free(last);
	for (uint32_t r = 0; r < log->n_items; r++) {
		uint64_t users = m->item_offset[r + 2];
		m->idf[r] = users ? logf((float)log->n_users / (float)users) : 0.0f;
		m->item_offset[r + 2] += m->item_offset[r + 1];
	}
	for (uint32_t u = log->n_users; u-- > 0;)
		for (uint64_t e = m->user_offset[u]; e < m->user_offset[u + 1]; e++)
			m->item_users[m->item_offset[m->user_rows[e] + 1]++] = u;
	return WR_OK;
}

int wr_vmis_new(struct wr_vmis **out, const struct wr_baseline_log *log,
	const struct wr_vmis_params *params, struct wr_errmsg *msg)
{
	*out = NULL;
	if (!params->n_history || !params->n_users || !params->n_neighbours)
		return wr_fail(msg, WR_EINVAL, "VMIS-kNN: every parameter must be at least 1");
	struct wr_vmis *m = calloc(1, sizeof(*m));
	if (!m)
		return wr_fail(msg, WR_ENOMEM, "no memory for VMIS-kNN");
	m->params = *params;
	m->n_items = log->n_items;
	m->n_users = log->n_users;
	int err = wr_popularity_new(&m->popularity, log, msg); /* checks rows */
	if (!err && invert(m, log))
		err = wr_fail(msg, WR_ENOMEM, "no memory for VMIS-kNN over %u users", log->n_users);
	if (err)
		wr_vmis_free(m);
	else
		*out = m;
	return err;
}

int wr_vmis_scratch_new(
	struct wr_vmis_scratch **out, const struct wr_vmis *m, struct wr_errmsg *msg)
{
	struct wr_vmis_scratch *s = calloc(1, sizeof(*s));
	*out = NULL;
	if (s) {
		s->vote = calloc((size_t)m->n_users + 1, sizeof(*s->vote));
		s->newest = calloc((size_t)m->n_users + 1, sizeof(*s->newest));
		s->voter = calloc((size_t)m->n_users + 1, sizeof(*s->voter));
		s->score = calloc((size_t)m->n_items + 1, sizeof(*s->score));
		s->touched = calloc((size_t)m->n_items + 1, sizeof(*s->touched));
		s->seen = calloc((size_t)m->n_items + 1, sizeof(*s->seen));
	}
	if (!s || !s->vote || !s->newest || !s->voter || !s->score || !s->touched || !s->seen) {
		wr_vmis_scratch_free(s);
		return wr_fail(msg, WR_ENOMEM, "no memory for VMIS-kNN's scratch");
	}
	*out = s;
	return WR_OK;
}

void wr_vmis_scratch_free(struct wr_vmis_scratch *s)
{
	if (!s)
		return;
	free(s->vote);
	free(s->newest);
	free(s->voter);
	free(s->score);
	free(s->touched);
	free(s->seen);
	free(s);
}

/* Votes of users for the newest distinct items, 1 for the newest falling to 1/n; their number. */
static uint32_t gather(const struct wr_vmis *m, struct wr_vmis_scratch *s, uint32_t self,
	const uint32_t *history, uint32_t n)
{
	uint32_t voters = 0, place = 0, most = WR_MIN(n, m->params.n_history);
	for (uint32_t age = 0; age < n && place < most; age++) {
		uint32_t row = history[n - 1 - age];
		if (s->seen[row])
			continue;
		s->seen[row] = 1;
		float vote = (float)(most - place) / (float)most;
		uint64_t from = m->item_offset[row], to = m->item_offset[row + 1];
		place++;
		for (uint64_t e = from; e < to && e - from < m->params.n_users; e++) {
			uint32_t u = m->item_users[e];
			if (u == self)
				continue;
			if (s->vote[u] == 0) {
				s->voter[voters++] = u;
				s->newest[u] = place;
			}
			s->vote[u] += vote;
		}
	}
	return voters;
}

/* a before b: more votes, then the later user. */
static bool before(const struct wr_vmis_scratch *s, uint32_t a, uint32_t b)
{
	return s->vote[a] > s->vote[b] || (s->vote[a] == s->vote[b] && a > b);
}

/* Restores the heap v[0 … k-1], whose head is the last of them, below `at`. */
static void sift_down(const struct wr_vmis_scratch *s, uint32_t *v, uint32_t k, uint32_t at)
{
	uint32_t x = v[at];
	for (uint32_t c; (c = 2 * at + 1) < k; at = c) {
		if (c + 1 < k && before(s, v[c], v[c + 1]))
			c++;
		if (!before(s, x, v[c]))
			break;
		v[at] = v[c];
	}
	v[at] = x;
}

/* Brings the k best of n voters to the front, in no order. */
static void select_voters(const struct wr_vmis_scratch *s, uint32_t n, uint32_t k)
{
	uint32_t *v = s->voter;
	for (uint32_t i = k / 2; i-- > 0;)
		sift_down(s, v, k, i);
	for (uint32_t i = k; i < n; i++)
		if (before(s, v[i], v[0])) {
			uint32_t x = v[0];
			v[0] = v[i];
			v[i] = x;
			sift_down(s, v, k, 0);
		}
}

static int ascending(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* Scores of the voters' items: vote · (1 - 0.1 · place of the newest shared item, at least 0) · idf
 * (Kersbergen et al., algorithm 2). The voters are added in order, so that sums have one value. */
static uint32_t score(const struct wr_vmis *m, struct wr_vmis_scratch *s, uint32_t n_voters)
{
	uint32_t touched = 0;
	qsort(s->voter, n_voters, sizeof(*s->voter), ascending);
	for (uint32_t i = 0; i < n_voters; i++) {
		uint32_t u = s->voter[i], place = s->newest[u];
		double match = place < 10 ? 1 - 0.1 * place : 0;
		if (match <= 0)
			continue;
		for (uint64_t e = m->user_offset[u]; e < m->user_offset[u + 1]; e++) {
			uint32_t row = m->user_rows[e];
			if (s->score[row] == 0)
				s->touched[touched++] = row;
			s->score[row] += (double)s->vote[u] * match * (1e-9 + (double)m->idf[row]);
		}
	}
	return touched;
}

uint32_t wr_vmis_top(const struct wr_vmis *m, struct wr_vmis_scratch *s, uint32_t self,
	const uint32_t *history, uint32_t n, bool filter_seen, uint32_t k, uint32_t *top)
{
	uint32_t found = 0, all = gather(m, s, self, history, n), kept = all;
	if (all > m->params.n_neighbours) {
		kept = m->params.n_neighbours;
		select_voters(s, all, kept);
	}
	for (uint32_t i = kept; i < all; i++)
		s->vote[s->voter[i]] = 0;
	uint32_t touched = score(m, s, kept);
	for (uint32_t i = 0; i < kept; i++)
		s->vote[s->voter[i]] = 0;
	for (uint32_t i = 0; i < n; i++)
		s->seen[history[i]] = 1;
	for (uint32_t t = 0; t < touched; t++)
		if (!(filter_seen && s->seen[s->touched[t]]))
			found = insert_best(s->score, top, found, k, s->touched[t]);
	const uint32_t *order = wr_popularity_order(m->popularity);
	for (uint32_t i = 0; i < m->n_items && found < k; i++)
		if (s->score[order[i]] == 0 && !(filter_seen && s->seen[order[i]]))
			top[found++] = order[i];
	for (uint32_t t = 0; t < touched; t++)
		s->score[s->touched[t]] = 0;
	for (uint32_t i = 0; i < n; i++)
		s->seen[history[i]] = 0;
	return found;
}
