/* SPDX-License-Identifier: BSD-3-Clause */
/* Evaluation by lists of the 20 best: the served int8 model, popularity, item-kNN, VMIS-kNN. */
#include "int8_queries.h"
#include "judge_int.h"
#include "wr_baseline.h"

#include <stdlib.h>
#include <string.h>

#define TOP WR_JUDGE_TOP

int wr_judge_int8(struct wr_judge *j, const struct wr_int8 *x, struct wr_errmsg *msg)
{
	uint32_t *items[2] = {NULL};
	uint8_t *n[2] = {NULL};
	struct int8_query *q = malloc(((size_t)j->n_users + 1) * sizeof(*q));
	int err = q ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for evaluation");
	for (uint32_t i = 0; i < j->n_users && !err; i++)
		q[i] = (struct int8_query){j->user[i].begin, j->user[i].end};
	for (int f = 0; f < 2 && !err; f++) {
		items[f] = malloc(((size_t)j->n_users + 1) * TOP * sizeof(uint32_t));
		n[f] = malloc((size_t)j->n_users + 1);
		if (!items[f] || !n[f])
			err = wr_fail(msg, WR_ENOMEM, "out of memory for evaluation");
		else
			err = wr_learn_int8_answer(
				x, j->ds, q, j->n_users, TOP, f == 0, items[f], n[f], msg);
	}
	for (uint32_t i = 0; i < j->n_users && !err; i++) {
		uint32_t *a = items[0] + (size_t)i * TOP, *b = items[1] + (size_t)i * TOP;
		for (uint32_t k = 0; k < TOP; k++) { /* ids to rows */
			a[k] -= k < n[0][i];
			b[k] -= k < n[1][i];
		}
		wr_learn_judge_lists(j, i, a, n[0][i], b, n[1][i]);
	}
	for (int f = 0; f < 2; f++) {
		free(items[f]);
		free(n[f]);
	}
	free(q);
	return err;
}

/* Training tokens in the baselines' form: all but the two held out, for validation and test alike;
 * or, of the judged users, all that is known when one asks. */
struct log_copy {
	struct wr_baseline_log log;
	uint64_t *offset;
	uint32_t *rows;
};

static int log_copy_new(
	struct log_copy *l, const struct wr_judge *j, bool known, struct wr_errmsg *msg)
{
	const struct wr_dataset *ds = j->ds;
	uint64_t at = 0;
	uint32_t judged = 0;
	*l = (struct log_copy){.offset = malloc((ds->n_users + 1) * sizeof(*l->offset)),
		.rows = malloc(((size_t)ds->token_off[ds->n_users] + 1) * sizeof(*l->rows))};
	if (!l->offset || !l->rows)
		return wr_fail(msg, WR_ENOMEM, "out of memory for baselines");
	for (uint32_t u = 0; u < ds->n_users; u++) {
		uint32_t begin = ds->token_off[u],
			 n = wr_split_training(ds->token_off[u + 1] - begin);
		if (judged < j->n_users && j->user[judged].user == u) {
			n = known ? j->user[judged].end - begin : n;
			judged++;
		}
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

/* A baseline's list for the user at `at` of the judge. */
typedef uint32_t list_fn(
	void *model, const struct wr_judge *j, uint32_t at, bool filter, uint32_t *top);

static void judge_all(struct wr_judge *j, list_fn *list, void *model)
{
	for (uint32_t i = 0; i < j->n_users; i++) {
		uint32_t a[TOP], b[TOP], n = list(model, j, i, true, a);
		wr_learn_judge_lists(j, i, a, n, b, list(model, j, i, false, b));
	}
}

static uint32_t popularity_list(
	void *model, const struct wr_judge *j, uint32_t at, bool filter, uint32_t *top)
{
	const struct wr_judged *u = &j->user[at];
	return wr_popularity_top(
		model, j->ds->token_row + u->begin, u->end - u->begin, filter, TOP, top);
}

int wr_judge_popularity(struct wr_judge *j, struct wr_errmsg *msg)
{
	struct log_copy l;
	struct wr_popularity *p = NULL;
	int err = log_copy_new(&l, j, false, msg);
	if (!err)
		err = wr_popularity_new(&p, &l.log, msg);
	if (!err)
		judge_all(j, popularity_list, p);
	wr_popularity_free(p);
	log_copy_free(&l);
	return err;
}

struct knn {
	struct wr_knn *m;
	struct wr_knn_scratch *s;
};

static uint32_t knn_list(
	void *model, const struct wr_judge *j, uint32_t at, bool filter, uint32_t *top)
{
	const struct wr_judged *u = &j->user[at];
	struct knn *k = model;
	return wr_knn_top(
		k->m, k->s, j->ds->token_row + u->begin, u->end - u->begin, filter, TOP, top);
}

static int judge_knn(
	struct wr_judge *j, const struct wr_knn_params *params, bool known, struct wr_errmsg *msg)
{
	struct log_copy l;
	struct knn k = {0};
	int err = log_copy_new(&l, j, known, msg);
	if (!err)
		err = wr_knn_new(&k.m, &l.log, params, msg);
	if (!err)
		err = wr_knn_scratch_new(&k.s, k.m, msg);
	if (!err)
		judge_all(j, knn_list, &k);
	wr_knn_scratch_free(k.s);
	wr_knn_free(k.m);
	log_copy_free(&l);
	return err;
}

int wr_judge_item_knn(struct wr_judge *j, struct wr_errmsg *msg)
{
	struct wr_knn_params params = wr_knn_params_default();
	return judge_knn(j, &params, false, msg);
}

int wr_judge_item_knn_recent(struct wr_judge *j, struct wr_errmsg *msg)
{
	struct wr_knn_params params = wr_knn_params_default();
	params.decay = 0.5;
	return judge_knn(j, &params, true, msg);
}

struct vmis {
	struct wr_vmis *m;
	struct wr_vmis_scratch *s;
};

static uint32_t vmis_list(
	void *model, const struct wr_judge *j, uint32_t at, bool filter, uint32_t *top)
{
	const struct wr_judged *u = &j->user[at];
	struct vmis *k = model;
	return wr_vmis_top(k->m, k->s, u->user, j->ds->token_row + u->begin, u->end - u->begin,
		filter, TOP, top);
}

int wr_judge_vmis_knn(struct wr_judge *j, struct wr_errmsg *msg)
{
	struct log_copy l;
	struct vmis k = {0};
	struct wr_vmis_params params = wr_vmis_params_default();
	int err = log_copy_new(&l, j, false, msg);
	if (!err)
		err = wr_vmis_new(&k.m, &l.log, &params, msg);
	if (!err)
		err = wr_vmis_scratch_new(&k.s, k.m, msg);
	if (!err)
		judge_all(j, vmis_list, &k);
	wr_vmis_scratch_free(k.s);
	wr_vmis_free(k.m);
	log_copy_free(&l);
	return err;
}

struct als {
	struct wr_als *m;
	struct wr_als_scratch *s;
};

static uint32_t als_list(
	void *model, const struct wr_judge *j, uint32_t at, bool filter, uint32_t *top)
{
	const struct wr_judged *u = &j->user[at];
	struct als *k = model;
	return wr_als_top(
		k->m, k->s, j->ds->token_row + u->begin, u->end - u->begin, filter, TOP, top);
}

int wr_judge_als(struct wr_judge *j, uint32_t threads, struct wr_errmsg *msg)
{
	struct log_copy l;
	struct als k = {0};
	struct wr_als_params params = wr_als_params_default();
	params.threads = threads;
	int err = log_copy_new(&l, j, false, msg);
	if (!err)
		err = wr_als_new(&k.m, &l.log, &params, msg);
	if (!err)
		err = wr_als_scratch_new(&k.s, k.m, msg);
	if (!err)
		judge_all(j, als_list, &k);
	wr_als_scratch_free(k.s);
	wr_als_free(k.m);
	log_copy_free(&l);
	return err;
}

/* Judge, figures, done. */
static int finish(struct wr_judge *j, int err, struct wr_metrics_at *m, struct wr_errmsg *msg)
{
	memset(m, 0, sizeof(*m));
	if (!err)
		err = wr_judge_metrics(j, m, msg);
	wr_judge_free(j);
	return err;
}

int wr_eval_int8(const struct wr_int8 *x, const struct wr_dataset *ds, enum wr_split split,
	uint32_t max_users, struct wr_metrics_at *m, struct wr_errmsg *msg)
{
	struct wr_judge *j;
	int err = wr_judge_new(&j, ds, split, max_users, msg);
	return finish(j, err ? err : wr_judge_int8(j, x, msg), m, msg);
}

int wr_eval_popularity(const struct wr_dataset *ds, enum wr_split split, uint32_t max_users,
	struct wr_metrics_at *m, struct wr_errmsg *msg)
{
	struct wr_judge *j;
	int err = wr_judge_new(&j, ds, split, max_users, msg);
	return finish(j, err ? err : wr_judge_popularity(j, msg), m, msg);
}

int wr_eval_item_knn(const struct wr_dataset *ds, enum wr_split split, uint32_t max_users,
	struct wr_metrics_at *m, struct wr_errmsg *msg)
{
	struct wr_judge *j;
	int err = wr_judge_new(&j, ds, split, max_users, msg);
	return finish(j, err ? err : wr_judge_item_knn(j, msg), m, msg);
}
