/* SPDX-License-Identifier: BSD-3-Clause */
/* Evaluation by lists of the 20 best: the served int8 model, popularity, item-kNN. */
#include "int8_queries.h"
#include "wr_baseline.h"

#include <stdlib.h>
#include <string.h>

#define TOP 20 /* the largest cut */

/* The users of a split, their histories and targets. */
struct cases {
	struct int8_query *q;
	uint32_t *target, n;
};

static int cases_new(struct cases *c, const struct wr_dataset *ds, enum wr_split split,
	uint32_t max_users, struct wr_errmsg *msg)
{
	*c = (struct cases){.q = malloc((ds->n_users + 1) * sizeof(*c->q)),
		.target = malloc((ds->n_users + 1) * sizeof(*c->target))};
	if (!c->q || !c->target)
		return wr_fail(msg, WR_ENOMEM, "out of memory for evaluation");
	for (uint32_t u = 0, h; u < ds->n_users && (!max_users || c->n < max_users); u++) {
		uint32_t begin = ds->token_off[u];
		if (!wr_split_user(ds->token_off[u + 1] - begin, split, &h))
			continue;
		c->q[c->n] = (struct int8_query){begin, begin + h};
		c->target[c->n++] = ds->token_row[begin + h];
	}
	return WR_OK;
}

static void cases_free(struct cases *c)
{
	free(c->q);
	free(c->target);
}

/* Place of row in list, UINT32_MAX = not there. */
static uint32_t place_of(uint32_t row, const uint32_t *list, uint32_t n, uint32_t base)
{
	for (uint32_t i = 0; i < n; i++)
		if (list[i] - base == row)
			return i;
	return UINT32_MAX;
}

int wr_eval_int8(const struct wr_int8 *x, const struct wr_dataset *ds, enum wr_split split,
	uint32_t max_users, struct wr_metrics_at *m, struct wr_errmsg *msg)
{
	struct cases c;
	uint32_t *items[2] = {NULL};
	uint8_t *n[2] = {NULL};
	memset(m, 0, sizeof(*m));
	int err = cases_new(&c, ds, split, max_users, msg);
	for (int f = 0; f < 2 && !err; f++) {
		items[f] = malloc(((size_t)c.n + 1) * TOP * sizeof(uint32_t));
		n[f] = malloc((size_t)c.n + 1);
		if (!items[f] || !n[f])
			err = wr_fail(msg, WR_ENOMEM, "out of memory for evaluation");
		else
			err = wr_learn_int8_answer(
				x, ds, c.q, c.n, TOP, f == 0, items[f], n[f], msg);
	}
	for (uint32_t i = 0; i < c.n && !err; i++)
		wr_metrics_at_add(m, place_of(c.target[i], items[0] + (size_t)i * TOP, n[0][i], 1),
			place_of(c.target[i], items[1] + (size_t)i * TOP, n[1][i], 1));
	wr_metrics_at_mean(m);
	for (int f = 0; f < 2; f++) {
		free(items[f]);
		free(n[f]);
	}
	cases_free(&c);
	return err;
}

/* Training tokens in the baselines' form: all but the two held out, for validation and test alike.
 */
struct log_copy {
	struct wr_baseline_log log;
	uint64_t *offset;
	uint32_t *rows;
};

static int log_copy_new(struct log_copy *l, const struct wr_dataset *ds, struct wr_errmsg *msg)
{
	uint64_t at = 0;
	*l = (struct log_copy){.offset = malloc((ds->n_users + 1) * sizeof(*l->offset)),
		.rows = malloc(((size_t)ds->token_off[ds->n_users] + 1) * sizeof(*l->rows))};
	if (!l->offset || !l->rows)
		return wr_fail(msg, WR_ENOMEM, "out of memory for baselines");
	for (uint32_t u = 0; u < ds->n_users; u++) {
		uint32_t begin = ds->token_off[u],
			 n = wr_split_training(ds->token_off[u + 1] - begin);
		l->offset[u] = at;
		memcpy(l->rows + at, ds->token_row + begin, n * sizeof(*l->rows));
		at += n;
	}
	l->offset[ds->n_users] = at;
	l->log = (struct wr_baseline_log){.offset = l->offset,
		.rows = l->rows,
		.n_users = ds->n_users,
		.n_items = ds->n_items};
	return WR_OK;
}

static void log_copy_free(struct log_copy *l)
{
	free(l->offset);
	free(l->rows);
}

int wr_eval_popularity(const struct wr_dataset *ds, enum wr_split split, uint32_t max_users,
	struct wr_metrics_at *m, struct wr_errmsg *msg)
{
	struct cases c = {0};
	struct log_copy l;
	struct wr_popularity *p = NULL;
	memset(m, 0, sizeof(*m));
	int err = log_copy_new(&l, ds, msg);
	if (!err)
		err = cases_new(&c, ds, split, max_users, msg);
	if (!err)
		err = wr_popularity_new(&p, &l.log, msg);
	for (uint32_t i = 0; i < c.n && !err; i++) {
		uint32_t top[2][TOP], place[2];
		for (int f = 0; f < 2; f++) {
			uint32_t n = wr_popularity_top(p, ds->token_row + c.q[i].begin,
				c.q[i].end - c.q[i].begin, f == 0, TOP, top[f]);
			place[f] = place_of(c.target[i], top[f], n, 0);
		}
		wr_metrics_at_add(m, place[0], place[1]);
	}
	wr_metrics_at_mean(m);
	wr_popularity_free(p);
	cases_free(&c);
	log_copy_free(&l);
	return err;
}

int wr_eval_item_knn(const struct wr_dataset *ds, enum wr_split split, uint32_t max_users,
	struct wr_metrics_at *m, struct wr_errmsg *msg)
{
	struct cases c = {0};
	struct log_copy l;
	struct wr_knn *k = NULL;
	struct wr_knn_scratch *s = NULL;
	struct wr_knn_params params = wr_knn_params_default();
	memset(m, 0, sizeof(*m));
	int err = log_copy_new(&l, ds, msg);
	if (!err)
		err = cases_new(&c, ds, split, max_users, msg);
	if (!err)
		err = wr_knn_new(&k, &l.log, &params, msg);
	if (!err)
		err = wr_knn_scratch_new(&s, k, msg);
	for (uint32_t i = 0; i < c.n && !err; i++) {
		uint32_t top[2][TOP], place[2];
		for (int f = 0; f < 2; f++) {
			uint32_t n = wr_knn_top(k, s, ds->token_row + c.q[i].begin,
				c.q[i].end - c.q[i].begin, f == 0, TOP, top[f]);
			place[f] = place_of(c.target[i], top[f], n, 0);
		}
		wr_metrics_at_add(m, place[0], place[1]);
	}
	wr_metrics_at_mean(m);
	wr_knn_scratch_free(s);
	wr_knn_free(k);
	cases_free(&c);
	log_copy_free(&l);
	return err;
}
