/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Evaluation of the float student: every user's history through the encoder, the target's rank
 * among all items. Chunks of 16 users go to OpenMP threads; the encoder sees the last
 * wr_student_reach tokens, which is all that reaches the last position.
 */
#include "fake_int.h"
#include "judge_int.h"
#include "sgemm.h"
#include "side_int.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 16

struct job {
	const struct wr_student *s;
	const struct wr_dataset *ds;
	struct wr_judge *judge;
	uint32_t events; /* most tokens that matter */
	const float *unit;
};

struct thread_ws {
	struct net_ws net;
	uint64_t *seen;
	uint32_t *rows, user[CHUNK];
	int64_t *times, *asked;
};

static int thread_ws_new(struct thread_ws *t, const struct job *j, struct wr_errmsg *msg)
{
	memset(t, 0, sizeof(*t));
	int err = wr_learn_net_ws_new(&t->net, j->s, CHUNK * j->events, msg);
	t->seen = malloc(((size_t)j->ds->n_items + 63) / 64 * sizeof(uint64_t));
	t->rows = malloc((size_t)CHUNK * j->events * sizeof(uint32_t));
	t->times = malloc((size_t)CHUNK * j->events * sizeof(int64_t));
	t->asked = malloc((size_t)CHUNK * j->events * sizeof(int64_t));
	if (!err && (!t->seen || !t->rows || !t->times || !t->asked))
		err = wr_fail(msg, WR_ENOMEM, "out of memory for evaluation");
	return err;
}

static void thread_ws_free(struct thread_ws *t)
{
	wr_learn_net_ws_free(&t->net);
	free(t->seen);
	free(t->rows);
	free(t->times);
	free(t->asked);
}

static void rank_user(const struct job *j, struct thread_ws *t, uint32_t at, const float *scores)
{
	const struct wr_judged *u = &j->judge->user[at];
	memset(t->seen, 0, ((size_t)j->ds->n_items + 63) / 64 * sizeof(uint64_t));
	for (uint32_t i = u->begin; i < u->end; i++)
		t->seen[j->ds->token_row[i] / 64] |= (uint64_t)1 << (j->ds->token_row[i] % 64);
	wr_learn_judge_scores(j->judge, at, scores, t->seen);
}

static void rank_chunk(const struct job *j, struct thread_ws *t, uint32_t first)
{
	static const struct dropout none = {0};
	uint32_t off[CHUNK + 1] = {0}, n = WR_MIN((uint32_t)CHUNK, j->judge->n_users - first),
			     d = j->s->shape.d;
	for (uint32_t i = 0; i < n; i++) {
		const struct wr_judged *u = &j->judge->user[first + i];
		uint32_t m = WR_MIN(u->end - u->begin, j->events);
		memcpy(t->rows + off[i], j->ds->token_row + u->end - m, m * sizeof(uint32_t));
		/* One asks when the next event comes, the last time for the target. */
		memcpy(t->times + off[i], j->ds->token_time + u->end - m, m * sizeof(int64_t));
		memcpy(t->asked + off[i], j->ds->token_time + u->end - m + 1, m * sizeof(int64_t));
		t->user[i] = u->user;
		off[i + 1] = off[i] + m;
	}
	struct ragged in = {.n_seqs = n,
		.off = off,
		.rows = t->rows,
		.times = t->times,
		.asked = t->asked,
		.profile = &j->ds->user_side,
		.user = t->user};
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
			for (uint32_t first = 0; first < j->judge->n_users; first += CHUNK)
				rank_chunk(j, &t, first);
		}
		thread_ws_free(&t);
	}
	return err;
}

int wr_judge_float(
	struct wr_judge *judge, const struct wr_student *s, uint32_t threads, struct wr_errmsg *msg)
{
	const struct wr_dataset *ds = judge->ds;
	size_t n = ds->n_items, d = s->shape.d;
	if (s->shape.n_items != ds->n_items)
		return wr_fail(msg, WR_EINVAL,
			"the model knows %u items, the data %u: train on this data",
			s->shape.n_items, ds->n_items);
	int bad = wr_learn_check_profiles(s, ds, msg);
	if (bad)
		return bad;
	float *unit = aligned_alloc(64, WR_ALIGN_UP(n * d * sizeof(float), (size_t)64)),
	      *norm = malloc(n * sizeof(float));
	const struct job j = {.s = s,
		.ds = ds,
		.judge = judge,
		.unit = unit,
		.events = wr_student_reach(&s->shape)};
	int err = unit && norm ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for evaluation");
	if (!err) {
		wr_learn_student_units(s, unit, norm);
		err = run_job(&j, threads, msg);
	}
	free(unit);
	free(norm);
	return err;
}

int wr_eval_float(const struct wr_student *s, const struct wr_dataset *ds, enum wr_split split,
	uint32_t max_users, uint32_t threads, struct wr_metrics_at *m, struct wr_errmsg *msg)
{
	struct wr_judge *j;
	memset(m, 0, sizeof(*m));
	int err = wr_judge_new(&j, ds, split, max_users, msg);
	if (!err)
		err = wr_judge_float(j, s, threads, msg);
	if (!err)
		err = wr_judge_metrics(j, m, msg);
	wr_judge_free(j);
	return err;
}
