/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A teacher's answers for every training position. Long users are read in windows of the teacher's
 * context that overlap by half, so that no answer but a user's first ones comes from less than half
 * a context. Softmax over all items and the choice of the best dominate.
 */
#include "sgemm.h"
#include "side_int.h"
#include "soft_targets_int.h"

#include <errno.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WINDOWS 4 /* a chunk */

/* Tokens first … first+n-1 of the data set are read, those from `from` on are answered. */
struct window {
	uint32_t first, n, from, user;
};

struct teaching {
	const struct wr_student *s;
	const struct wr_dataset *ds;
	struct window *window;
	uint32_t n_windows, context;
	const float *unit;
	struct soft_targets out;
	uint32_t n_done; /* chunks */
	struct wr_progress bar;
	bool quiet;
};

static int plan(struct teaching *t, struct wr_errmsg *msg)
{
	const struct wr_dataset *ds = t->ds;
	uint32_t half = WR_MAX(t->context / 2, 1u);
	size_t most = ds->n_users + ds->token_off[ds->n_users] / half + 1;
	t->window = malloc(most * sizeof(*t->window));
	if (!t->window)
		return wr_fail(msg, WR_ENOMEM, "out of memory for %zu windows", most);
	for (uint32_t u = 0; u < ds->n_users; u++) {
		uint32_t begin = ds->token_off[u],
			 n = wr_split_training(ds->token_off[u + 1] - begin);
		for (uint32_t at = 0, done = 0; n >= 2 && done < n - 1; at += half) {
			uint32_t m = WR_MIN(n - 1 - at, t->context);
			t->window[t->n_windows++] = (struct window){begin + at, m, begin + done, u};
			done = at + m;
		}
	}
	return WR_OK;
}

/* The `top` largest of n into row (ids) in falling order, ties by id. A heap of the best so far. */
static void best_of(const float *p, uint32_t n, uint32_t top, uint32_t *row)
{
	uint32_t m = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (m == top && !(p[i] > p[row[0]]))
			continue;
		uint32_t at;
		if (m < top) { /* sift up */
			for (at = m++; at && p[i] <= p[row[(at - 1) / 2]]; at = (at - 1) / 2)
				row[at] = row[(at - 1) / 2];
		} else { /* replace the least, sift down */
			at = 0;
			for (uint32_t c; (c = 2 * at + 1) < m; at = c) {
				if (c + 1 < m && p[row[c + 1]] <= p[row[c]] &&
					(p[row[c + 1]] < p[row[c]] || row[c + 1] > row[c]))
					c++;
				if (p[row[c]] >= p[i])
					break;
				row[at] = row[c];
			}
		}
		row[at] = i;
	}
	for (uint32_t i = 1; i < m; i++) { /* insertion sort of some 64 */
		uint32_t x = row[i], at = i;
		for (; at && (p[row[at - 1]] < p[x] || (p[row[at - 1]] == p[x] && row[at - 1] > x));
			at--)
			row[at] = row[at - 1];
		row[at] = x;
	}
}

WR_CLONES static float exp_cosines(float *z, uint32_t n, float k)
{
	float sum = 0;
#pragma omp simd reduction(+ : sum)
	for (uint32_t i = 0; i < n; i++) {
		z[i] = fast_expf(k * z[i] - k);
		sum += z[i];
	}
	return sum;
}

static void answer(struct teaching *t, uint32_t token, float *z, uint32_t *row)
{
	struct soft_targets *x = &t->out;
	uint32_t n = t->ds->n_items, top = WR_MIN(x->top, n);
	float k = t->s->w[t->s->logit_scale] / (float)x->temperature, sum = exp_cosines(z, n, k);
	best_of(z, n, top, row);
	for (uint32_t i = 0; i < x->top; i++) {
		uint64_t at = (uint64_t)token * x->top + i;
		uint32_t r = row[WR_MIN(i, top - 1)];
		float s = i < top ? logf(sum / WR_MAX(z[r], 1e-38f)) / SOFT_STEP : 65535.0f;
		((uint16_t *)(uintptr_t)x->surprisals)[at] = (uint16_t)WR_MIN(s + 0.5f, 65535.0f);
		if (x->wide)
			((uint32_t *)(uintptr_t)x->ids)[at] = r;
		else
			((uint16_t *)(uintptr_t)x->ids)[at] = (uint16_t)r;
	}
}

/* A thread's input: rows, times and when one asks, by token. */
struct reading {
	uint32_t *rows;
	int64_t *times, *asked;
};

static void run_chunk(struct teaching *t, struct net_ws *ws, const struct reading *read,
	uint32_t *best, uint32_t first)
{
	static const struct dropout none = {0};
	uint32_t n = WR_MIN((uint32_t)WINDOWS, t->n_windows - first), off[WINDOWS + 1] = {0},
		 user[WINDOWS], d = t->s->shape.d, items = t->ds->n_items;
	const struct window *w = t->window + first;
	for (uint32_t i = 0; i < n; i++) {
		const int64_t *time = t->ds->token_time + w[i].first;
		memcpy(read->rows + off[i], t->ds->token_row + w[i].first,
			w[i].n * sizeof(uint32_t));
		memcpy(read->times + off[i], time, w[i].n * sizeof(int64_t));
		memcpy(read->asked + off[i], time + 1, w[i].n * sizeof(int64_t));
		user[i] = w[i].user;
		off[i + 1] = off[i] + w[i].n;
	}
	struct ragged in = {.n_seqs = n,
		.off = off,
		.rows = read->rows,
		.times = read->times,
		.asked = read->asked,
		.profile = &t->ds->user_side,
		.user = user};
	wr_learn_net_forward(t->s, ws, &in, &none);
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t from = w[i].from - w[i].first; from < w[i].n; from += SOFTMAX_TILE) {
			uint32_t m = WR_MIN((uint32_t)SOFTMAX_TILE, w[i].n - from);
			wr_sgemm(false, true, m, items, d, ws->u + (size_t)(off[i] + from) * d, d,
				t->unit, d, 0, ws->tile_z, items);
			for (uint32_t r = 0; r < m; r++)
				answer(t, w[i].first + from + r, ws->tile_z + (size_t)r * items,
					best);
		}
}

static void show(struct teaching *t, uint32_t chunks)
{
#pragma omp critical
	{
		if (!t->n_done++ && !t->quiet)
			wr_progress_start(&t->bar, "teach", chunks);
		if (!t->quiet)
			wr_progress_update(&t->bar, t->n_done, "");
	}
}

static int run_all(struct teaching *t, uint32_t threads, struct wr_errmsg *msg)
{
	int err = WR_OK, n_threads = threads ? (int)threads : omp_get_max_threads();
	uint32_t chunks = (t->n_windows + WINDOWS - 1) / WINDOWS;
#pragma omp parallel num_threads(n_threads)
	{
		struct net_ws ws;
		struct wr_errmsg why;
		omp_set_num_threads(1);
		size_t most = (size_t)WINDOWS * t->context;
		struct reading read = {.rows = malloc(most * sizeof(uint32_t)),
			.times = malloc(most * sizeof(int64_t)),
			.asked = malloc(most * sizeof(int64_t))};
		uint32_t best[SOFT_MAX_TOP];
		int mine = wr_learn_net_ws_new(&ws, t->s, WINDOWS * t->context, &why);
		if (!mine && (!read.rows || !read.times || !read.asked))
			mine = wr_fail(&why, WR_ENOMEM, "out of memory");
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
			for (uint32_t c = 0; c < chunks; c++)
				if (!wr_stop_requested()) {
					run_chunk(t, &ws, &read, best, c * WINDOWS);
					show(t, chunks);
				}
		}
		wr_learn_net_ws_free(&ws);
		free(read.rows);
		free(read.times);
		free(read.asked);
	}
	if (!t->quiet && t->n_done && t->bar.tty)
		wr_progress_end(&t->bar, t->n_done, "");
	if (!err && wr_stop_requested())
		err = wr_fail(msg, WR_ESTATE, "stopped: nothing was written");
	return err;
}

int wr_teach_run(const struct wr_teach *p, const struct wr_student *teacher,
	const struct wr_dataset *ds, const char *path, struct wr_errmsg *msg)
{
	size_t n = ds->n_items, d = teacher->shape.d;
	char *draft = NULL;
	struct teaching t = {.s = teacher,
		.ds = ds,
		.quiet = p->quiet,
		.context = WR_MIN(wr_student_reach(&teacher->shape), 1024u)};
	if (teacher->shape.n_items != ds->n_items)
		return wr_fail(msg, WR_EINVAL, "the teacher knows %u items, the data %u",
			teacher->shape.n_items, ds->n_items);
	if (teacher->shape.time_buckets && !ds->timed)
		return wr_fail(msg, WR_EINVAL,
			"the teacher looks at event times, the data has none: give the data it "
			"was trained on");
	int bad = wr_learn_check_profiles(teacher, ds, msg);
	if (bad)
		return bad;
	if (p->top < 1 || p->top > SOFT_MAX_TOP || !(p->temperature >= 0.1) || p->temperature > 10)
		return wr_fail(msg, WR_EINVAL, "give 1 … %d items and a temperature in 0.1 … 10",
			SOFT_MAX_TOP);
	float *unit = aligned_alloc(64, WR_ALIGN_UP(n * d * sizeof(float), (size_t)64)),
	      *norm = malloc(n * sizeof(float));
	int err = unit && norm && asprintf(&draft, "%s.draft", path) > 0
			  ? plan(&t, msg)
			  : wr_fail(msg, WR_ENOMEM, "out of memory for a teacher's answers");
	if (!err)
		err = wr_learn_soft_targets_create(&t.out, draft, ds, p->top, p->temperature, msg);
	if (!err) {
		wr_learn_unit_rows(
			teacher->w + teacher->embedding, ds->n_items, teacher->shape.d, unit, norm);
		t.unit = unit;
		err = run_all(&t, p->threads, msg);
		if (!err && msync(t.out.map, t.out.bytes, MS_SYNC))
			err = wr_fail(msg, WR_EIO, "%s: cannot write: %s", path, strerror(errno));
		wr_learn_soft_targets_close(&t.out);
		if (!err && rename(draft, path))
			err = wr_fail(msg, WR_EIO, "%s: cannot write: %s", path, strerror(errno));
		if (err)
			unlink(draft);
	}
	free(draft);
	free(unit);
	free(norm);
	free(t.window);
	return err;
}
