/* SPDX-License-Identifier: BSD-3-Clause */
/* Expected answers, written for wrload: what the served model must say to every test user, step by
 * step. */
#include "int8_queries.h"

#include <stdlib.h>

/* Steps and histories of all users, in file order. */
struct plan {
	struct int8_query *q;
	uint32_t *user, *step;
	size_t n;
};

static int plan_new(struct plan *p, const struct wr_dataset *ds, const struct wr_lists *l,
	struct wr_errmsg *msg)
{
	size_t most = (size_t)ds->n_users * (l->steps + 1) + 1;
	uint32_t users = 0;
	*p = (struct plan){.q = malloc(most * sizeof(*p->q)),
		.user = malloc(most * sizeof(*p->user)),
		.step = malloc(most * sizeof(*p->step))};
	if (!p->q || !p->user || !p->step)
		return wr_fail(msg, WR_ENOMEM,
			"no memory for %zu lists: use fewer --steps or --users", most);
	for (uint32_t u = 0; u < ds->n_users && (!l->max_users || users < l->max_users); u++) {
		uint32_t begin = ds->token_off[u], n = ds->token_off[u + 1] - begin;
		if (n < 3)
			continue;
		uint32_t steps = WR_MIN(l->steps, n - 2), shown = n - 1 - steps;
		uint32_t from =
			l->max_history && shown > l->max_history ? shown - l->max_history : 0;
		users++;
		for (uint32_t s = 0; s <= steps; s++) {
			p->q[p->n] = (struct int8_query){begin + from, begin + shown + s};
			p->user[p->n] = u;
			p->step[p->n++] = s;
		}
	}
	return WR_OK;
}

static void write_events(
	FILE *f, const struct wr_dataset *ds, const struct int8_query *q, uint32_t step)
{
	for (uint32_t t = step ? q->end - 1 : q->begin; t < q->end; t++)
		fprintf(f, "%u%s", ds->token_row[t] + 1, t + 1 < q->end ? "," : "");
}

/* Of the line's events, and of the request: that of the event behind them. */
static void write_times(
	FILE *f, const struct wr_dataset *ds, const struct int8_query *q, uint32_t step)
{
	uint32_t first = step ? q->end - 1 : q->begin;
	for (uint32_t t = first; t < q->end; t++)
		fprintf(f, "%c%lld", t == first ? '\t' : ',', (long long)ds->token_time[t]);
	fprintf(f, "\t%lld", (long long)ds->token_time[q->end]);
}

static void write_lists(FILE *f, const struct wr_int8 *x, const struct wr_dataset *ds,
	const struct plan *p, uint32_t k, const uint32_t *items, const uint8_t *n_items)
{
	uint8_t id[16];
	wr_bundle_id(x->bundle, id);
	bool timed = wr_bundle_model(x->bundle)->time_buckets;
	fprintf(f, "#k=%u filtered=1%s bundle=", k, timed ? " times=1" : "");
	for (size_t i = 0; i < sizeof(id); i++)
		fprintf(f, "%02x", id[i]);
	fputc('\n', f);
	for (size_t i = 0; i < p->n; i++) {
		fprintf(f, "%llu\t%u\t", (unsigned long long)ds->user_id[p->user[i]], p->step[i]);
		write_events(f, ds, &p->q[i], p->step[i]);
		for (uint32_t j = 0; j < n_items[i]; j++)
			fprintf(f, "%c%u", j ? ',' : '\t', items[i * k + j]);
		fputs(n_items[i] ? "" : "\t", f);
		if (timed)
			write_times(f, ds, &p->q[i], p->step[i]);
		fputc('\n', f);
	}
}

int wr_lists_write(const struct wr_int8 *x, const struct wr_dataset *ds, const struct wr_lists *l,
	const char *path, uint64_t *n_lists, struct wr_errmsg *msg)
{
	struct plan p = {0};
	struct wr_file_writer *w;
	uint32_t *items = NULL;
	uint8_t *n_items = NULL;
	if (l->k < 1 || l->k > WR_RANK_MAX_K)
		return wr_fail(
			msg, WR_EINVAL, "lists of %u items: give 1 … %d", l->k, WR_RANK_MAX_K);
	int err = plan_new(&p, ds, l, msg);
	if (!err) {
		items = malloc((p.n + 1) * l->k * sizeof(*items));
		n_items = malloc(p.n + 1);
		if (!items || !n_items)
			err = wr_fail(msg, WR_ENOMEM,
				"no memory for %zu lists: use fewer --steps or --users", p.n);
	}
	if (!err)
		err = wr_learn_int8_answer(x, ds, p.q, p.n, l->k, true, items, n_items, msg);
	if (!err)
		err = wr_file_writer_open(&w, path, msg);
	if (!err) {
		write_lists(wr_file_writer_stream(w), x, ds, &p, l->k, items, n_items);
		err = wr_file_writer_commit(w, msg);
	}
	if (!err && n_lists)
		*n_lists = p.n;
	free(items);
	free(n_items);
	free(p.q);
	free(p.user);
	free(p.step);
	return err;
}
