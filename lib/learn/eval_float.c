/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Evaluation of the float student: every user's history through the encoder, the target's rank
 * among all items. Chunks of 16 users go to OpenMP threads; the encoder sees the last
 * wr_student_reach tokens, which is all that reaches the last position.
 */
#include "learn_int.h"
#include "sgemm.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 16

struct job {
	const struct wr_student *s;
	const struct wr_dataset *ds;
	enum wr_split split;
	uint32_t events; /* most tokens that matter */
	const uint32_t *user;
	uint32_t n_users;
	const float *unit;
	uint32_t (*rank)[2]; /* by position in user: filtered, unfiltered */
};

struct thread_ws {
	struct net_ws net;
	uint64_t *seen;
	uint32_t *rows;
};

static int thread_ws_new(struct thread_ws *t, const struct job *j, struct wr_errmsg *msg)
{
	memset(t, 0, sizeof(*t));
	int err = wr_learn_net_ws_new(&t->net, j->s, CHUNK * j->events, msg);
	t->seen = malloc(((size_t)j->ds->n_items + 63) / 64 * sizeof(uint64_t));
	t->rows = malloc((size_t)CHUNK * j->events * sizeof(uint32_t));
	if (!err && (!t->seen || !t->rows))
		err = wr_fail(msg, WR_ENOMEM, "out of memory for evaluation");
	return err;
}

static void thread_ws_free(struct thread_ws *t)
{
	wr_learn_net_ws_free(&t->net);
	free(t->seen);
	free(t->rows);
}

/* The last history token of user u, one behind it, and where the user begins. */
static void history_of(const struct job *j, uint32_t u, uint32_t *begin, uint32_t *end)
{
	uint32_t n = j->ds->token_off[u + 1] - j->ds->token_off[u], h = 0;
	(void)wr_split_user(n, j->split, &h);
	*begin = j->ds->token_off[u];
	*end = *begin + h;
}

static void rank_user(const struct job *j, struct thread_ws *t, uint32_t at, const float *scores)
{
	uint32_t begin, end, n = j->ds->n_items;
	history_of(j, j->user[at], &begin, &end);
	memset(t->seen, 0, ((size_t)n + 63) / 64 * sizeof(uint64_t));
	for (uint32_t i = begin; i < end; i++)
		t->seen[j->ds->token_row[i] / 64] |= (uint64_t)1 << (j->ds->token_row[i] % 64);
	j->rank[at][0] = wr_rank_of(scores, n, j->ds->token_row[end], t->seen);
	j->rank[at][1] = wr_rank_of(scores, n, j->ds->token_row[end], NULL);
}

static void rank_chunk(const struct job *j, struct thread_ws *t, uint32_t first)
{
	static const struct dropout none = {0};
	uint32_t off[CHUNK + 1] = {0}, n = WR_MIN((uint32_t)CHUNK, j->n_users - first),
			     d = j->s->shape.d;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t begin, end;
		history_of(j, j->user[first + i], &begin, &end);
		uint32_t m = WR_MIN(end - begin, j->events);
		memcpy(t->rows + off[i], j->ds->token_row + end - m, m * sizeof(uint32_t));
		off[i + 1] = off[i] + m;
	}
	struct ragged in = {.n_seqs = n, .off = off, .rows = t->rows};
	wr_learn_net_forward(j->s, &t->net, &in, &none);
	for (uint32_t i = 0; i < n; i++)
		memcpy(t->net.tile_u + (size_t)i * d, t->net.u + (size_t)(off[i + 1] - 1) * d,
			d * sizeof(float));
	wr_sgemm(false, true, n, j->ds->n_items, d, t->net.tile_u, d, j->unit, d, 0, t->net.tile_z,
		j->ds->n_items);
	for (uint32_t i = 0; i < n; i++)
		rank_user(j, t, first + i, t->net.tile_z + (size_t)i * j->ds->n_items);
}

static int run_job(const struct job *j, uint32_t threads, struct wr_errmsg *msg)
{
	int err = WR_OK, n_threads = threads ? (int)threads : omp_get_max_threads();
#pragma omp parallel num_threads(n_threads)
	{
		struct thread_ws t;
		struct wr_errmsg why;
		omp_set_num_threads(1); /* for products inside: a team of one is not "parallel" */
		int mine = thread_ws_new(&t, j, &why);
		if (mine) {
#pragma omp critical
			{
				err = mine;
				if (msg)
					*msg = why;
			}
		}
#pragma omp barrier
		if (!err) {
#pragma omp for schedule(dynamic, 1)
			for (uint32_t first = 0; first < j->n_users; first += CHUNK)
				rank_chunk(j, &t, first);
		}
		thread_ws_free(&t);
	}
	return err;
}

int wr_eval_float(const struct wr_student *s, const struct wr_dataset *ds, enum wr_split split,
	uint32_t max_users, uint32_t threads, struct wr_metrics_at *m, struct wr_errmsg *msg)
{
	size_t n = ds->n_items, d = s->shape.d;
	memset(m, 0, sizeof(*m));
	if (s->shape.n_items != ds->n_items)
		return wr_fail(msg, WR_EINVAL,
			"the model knows %u items, the data %u: train on this data",
			s->shape.n_items, ds->n_items);
	uint32_t *user = malloc((ds->n_users + 1) * sizeof(*user));
	float *unit = aligned_alloc(64, WR_ALIGN_UP(n * d * sizeof(float), (size_t)64)),
	      *norm = malloc(n * sizeof(float));
	struct job j = {.s = s,
		.ds = ds,
		.split = split,
		.user = user,
		.unit = unit,
		.events = wr_student_reach(&s->shape),
		.rank = malloc((ds->n_users + 1) * sizeof(*j.rank))};
	int err = WR_OK;
	if (!user || !unit || !norm || !j.rank) {
		err = wr_fail(msg, WR_ENOMEM, "out of memory for evaluation");
		goto out;
	}
	for (uint32_t u = 0, h; u < ds->n_users && (!max_users || j.n_users < max_users); u++)
		if (wr_split_user(ds->token_off[u + 1] - ds->token_off[u], split, &h))
			user[j.n_users++] = u;
	wr_learn_unit_rows(s->w + s->embedding, s->shape.n_items, s->shape.d, unit, norm);
	err = run_job(&j, threads, msg);
	for (uint32_t i = 0; i < j.n_users && !err; i++)
		wr_metrics_at_add(m, j.rank[i][0], j.rank[i][1]);
	wr_metrics_at_mean(m);
out:
	free(user);
	free(unit);
	free(norm);
	free(j.rank);
	return err;
}
