/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Float user vectors behind histories, and before logged slates. Histories go through the encoder
 * 16 at a time, as long as its reach; slates share their user's pass: one over up to 512 tokens
 * answers for every slate in between.
 */
#include "encode_int.h"
#include "side_int.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK   16
#define SEGMENT 512 /* tokens that one pass answers for */

static const struct dropout none = {0};

/* One thread's memory: the net's, and rows of one chunk. */
struct encoder {
	struct net_ws net;
	uint32_t *rows;
	int64_t *times, *asked;
};

static int encoder_new(
	struct encoder *e, const struct wr_student *s, uint32_t tokens, struct wr_errmsg *msg)
{
	int err = wr_learn_net_ws_new(&e->net, s, tokens, msg);
	e->rows = malloc(((size_t)tokens + 1) * sizeof(*e->rows));
	e->times = malloc(((size_t)tokens + 1) * sizeof(*e->times));
	e->asked = malloc(((size_t)tokens + 1) * sizeof(*e->asked));
	return err || (e->rows && e->times && e->asked)
		       ? err
		       : wr_fail(msg, WR_ENOMEM, "out of memory for user vectors");
}

static void encoder_free(struct encoder *e)
{
	wr_learn_net_ws_free(&e->net);
	free(e->rows);
	free(e->times);
	free(e->asked);
}

/* One asks when the next event comes, the last time when h says. */
static void copy_times(
	struct encoder *e, const struct wr_histories *h, uint32_t i, uint32_t at, uint64_t m)
{
	const int64_t *from = h->times + h->off[i + 1] - m;
	memcpy(e->times + at, from, m * sizeof(*from));
	memcpy(e->asked + at, from + 1, (m - 1) * sizeof(*from));
	e->asked[at + m - 1] = h->asked[i];
}

static void encode_chunk(const struct wr_student *s, struct encoder *e,
	const struct wr_histories *h, uint32_t first, float *u)
{
	uint32_t off[CHUNK + 1] = {0}, at[CHUNK], n = 0, reach = wr_student_reach(&s->shape);
	size_t d = s->shape.d;
	for (uint32_t i = first; i < h->n && i < first + CHUNK; i++) {
		uint64_t m = WR_MIN(h->off[i + 1] - h->off[i], (uint64_t)reach);
		memset(u + i * d, 0, d * sizeof(*u));
		if (!m)
			continue;
		memcpy(e->rows + off[n], h->rows + h->off[i + 1] - m, m * sizeof(*e->rows));
		if (h->times)
			copy_times(e, h, i, off[n], m);
		at[n] = i;
		off[n + 1] = off[n] + (uint32_t)m;
		n++;
	}
	if (!n)
		return;
	struct ragged in = {.n_seqs = n,
		.off = off,
		.rows = e->rows,
		.times = h->times ? e->times : NULL,
		.asked = h->times ? e->asked : NULL};
	wr_learn_net_forward(s, &e->net, &in, &none);
	for (uint32_t i = 0; i < n; i++)
		memcpy(u + at[i] * d, e->net.u + (size_t)(off[i + 1] - 1) * d, d * sizeof(*u));
}

/* A user's slates from slate[from] to slate[to - 1], whose histories end within SEGMENT tokens. */
struct segment {
	uint32_t from, to, first, last; /* tokens first … last - 1 end a history */
};

static void encode_segment(const struct wr_student *s, struct encoder *e,
	const struct wr_dataset *ds, const struct wr_impressions *x, const struct segment *g,
	float *u)
{
	uint32_t reach = wr_student_reach(&s->shape), user = x->slate[g->from].user;
	size_t d = s->shape.d;
	uint32_t begin = g->first + 1 > reach ? g->first + 1 - reach : 0, n = g->last - begin;
	const uint32_t off[2] = {0, n};
	memset(u + g->from * d, 0, (g->to - g->from) * d * sizeof(*u));
	if (user == UINT32_MAX || g->last == 0)
		return;
	struct ragged in = {
		.n_seqs = 1, .off = off, .rows = ds->token_row + ds->token_off[user] + begin};
	wr_learn_net_forward(s, &e->net, &in, &none);
	for (uint32_t i = g->from; i < g->to; i++)
		if (x->slate[i].n_history)
			memcpy(u + i * d,
				e->net.u + (size_t)(x->slate[i].n_history - 1 - begin) * d,
				d * sizeof(*u));
}

/* Cuts the slates into segments; NULL when memory is out. */
static struct segment *make_segments(const struct wr_impressions *x, uint32_t *n)
{
	struct segment *g = malloc(((size_t)x->n_slates + 1) * sizeof(*g));
	*n = 0;
	for (uint32_t i = 0; g && i < x->n_slates; i++) {
		const struct wr_slate *s = &x->slate[i];
		struct segment *last = *n ? &g[*n - 1] : NULL;
		uint32_t end = s->n_history ? s->n_history - 1 : 0;
		if (!last || x->slate[last->from].user != s->user || s->n_history < last->last ||
			end >= last->first + SEGMENT)
			g[(*n)++] = (struct segment){.from = i, .first = end};
		last = &g[*n - 1];
		last->to = i + 1;
		last->last = s->n_history;
	}
	return g;
}

struct work {
	const struct wr_student *s;
	uint32_t tokens, n, threads;
	const struct wr_histories *h;
	const struct wr_dataset *ds;
	const struct wr_impressions *x;
	const struct segment *segment;
	float *u;
};

static void work_one(const struct work *w, struct encoder *e, uint32_t i)
{
	if (w->h)
		encode_chunk(w->s, e, w->h, i * CHUNK, w->u);
	else
		encode_segment(w->s, e, w->ds, w->x, &w->segment[i], w->u);
}

static int work_all(const struct work *w, struct wr_errmsg *msg)
{
	int err = WR_OK, n_threads = w->threads ? (int)w->threads : omp_get_max_threads();
#pragma omp parallel num_threads(n_threads)
	{
		struct encoder e = {0};
		struct wr_errmsg why;
		omp_set_num_threads(1); /* for products inside: a team of one is not "parallel" */
		int mine = encoder_new(&e, w->s, w->tokens, &why);
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
#pragma omp for schedule(dynamic, 4)
			for (uint32_t i = 0; i < w->n; i++)
				work_one(w, &e, i);
		}
		encoder_free(&e);
	}
	return err;
}

int wr_encode_histories(const struct wr_student *s, const struct wr_histories *h, uint32_t threads,
	float *u, struct wr_errmsg *msg)
{
	const struct work w = {.s = s,
		.tokens = CHUNK * wr_student_reach(&s->shape),
		.n = (h->n + CHUNK - 1) / CHUNK,
		.threads = threads,
		.h = h,
		.u = u};
	if (s->shape.time_buckets && (!h->times || !h->asked))
		return wr_fail(
			msg, WR_EINVAL, "the student looks at times, and the histories have none");
	int bad = wr_learn_no_profiles(s, "this use", msg);
	return bad ? bad : work_all(&w, msg);
}

/* Where the moment of asking counts, no pass answers for two slates: each has its own history. */
static int encode_timed(const struct wr_student *s, const struct wr_dataset *ds,
	const struct wr_impressions *x, uint32_t threads, float *u, struct wr_errmsg *msg)
{
	uint64_t reach = wr_student_reach(&s->shape), n = 0;
	uint64_t *off = calloc((size_t)x->n_slates + 1, sizeof(*off));
	for (uint32_t i = 0; off && i < x->n_slates; i++)
		off[i + 1] = n += WR_MIN((uint64_t)x->slate[i].n_history, reach);
	uint32_t *rows = malloc((n + 1) * sizeof(*rows));
	int64_t *times = malloc((n + 1) * sizeof(*times)),
		*asked = malloc(((size_t)x->n_slates + 1) * sizeof(*asked));
	int err = off && rows && times && asked
			  ? WR_OK
			  : wr_fail(msg, WR_ENOMEM, "out of memory for user vectors");
	for (uint32_t i = 0; i < x->n_slates && !err; i++) {
		const struct wr_slate *g = &x->slate[i];
		uint64_t m = off[i + 1] - off[i];
		asked[i] = g->time_ms;
		if (!m)
			continue;
		size_t end = (size_t)ds->token_off[g->user] + g->n_history;
		memcpy(rows + off[i], ds->token_row + end - m, m * sizeof(*rows));
		memcpy(times + off[i], ds->token_time + end - m, m * sizeof(*times));
	}
	const struct wr_histories h = {x->n_slates, off, rows, times, asked};
	if (!err)
		err = wr_encode_histories(s, &h, threads, u, msg);
	free(off);
	free(rows);
	free(times);
	free(asked);
	return err;
}

int wr_learn_encode_slates(const struct wr_student *s, const struct wr_dataset *ds,
	const struct wr_impressions *x, uint32_t threads, float *u, struct wr_errmsg *msg)
{
	struct work w = {.s = s,
		.tokens = SEGMENT + wr_student_reach(&s->shape),
		.threads = threads,
		.ds = ds,
		.x = x,
		.u = u};
	if (s->shape.n_items != ds->n_items)
		return wr_fail(msg, WR_EINVAL, "the model knows %u items, the data %u",
			s->shape.n_items, ds->n_items);
	int bad = wr_learn_no_profiles(s, "this use", msg);
	if (bad)
		return bad;
	if (s->shape.time_buckets)
		return encode_timed(s, ds, x, threads, u, msg);
	struct segment *g = make_segments(x, &w.n);
	if (!g)
		return wr_fail(msg, WR_ENOMEM, "out of memory for user vectors");
	w.segment = g;
	int err = work_all(&w, msg);
	free(g);
	return err;
}
