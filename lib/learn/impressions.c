/* SPDX-License-Identifier: BSD-3-Clause */
/* Logged slates: what was shown, where, when, what became of it, and how probable it was to be
 * shown. Some million lines, read whole. */
#include "text_file.h"
#include "wr_policy.h"

#include <stdlib.h>
#include <string.h>

struct user_place {
	uint64_t id;
	uint32_t user;
};

struct loader {
	const struct wr_dataset *ds;
	struct wr_impressions *x;
	struct user_place *place; /* by id */
	size_t cap_slates, cap[5];
	uint64_t last_id;
};

static int by_id(const void *a, const void *b)
{
	const struct user_place *x = a, *y = b;
	return x->id < y->id ? -1 : x->id > y->id;
}

static uint32_t find_user(const struct loader *l, uint64_t id)
{
	uint32_t low = 0, high = l->ds->n_users;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (l->place[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low < l->ds->n_users && l->place[low].id == id ? l->place[low].user : UINT32_MAX;
}

/* The user's tokens before time; they ascend. */
static uint32_t tokens_before(const struct wr_dataset *ds, uint32_t user, int64_t time_ms)
{
	if (user == UINT32_MAX)
		return 0;
	uint32_t low = ds->token_off[user], begin = low, high = ds->token_off[user + 1];
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (ds->token_time[mid] < time_ms)
			low = mid + 1;
		else
			high = mid;
	}
	return low - begin;
}

static int open_slate(
	struct loader *l, const struct text *t, uint64_t id, int64_t time_ms, struct wr_errmsg *msg)
{
	struct wr_impressions *x = l->x;
	struct wr_slate *last = x->n_slates ? &x->slate[x->n_slates - 1] : NULL;
	bool same = last && l->last_id == id;
	if (same && last->time_ms == time_ms)
		return WR_OK;
	uint32_t user = same ? last->user : find_user(l, id); /* before slates move */
	if (x->n_slates == UINT32_MAX - 1 ||
		wr_learn_grow(&x->slate, &l->cap_slates, x->n_slates, sizeof(*x->slate)))
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory for slates", t->path);
	x->slate[x->n_slates++] = (struct wr_slate){.user = user,
		.n_history = tokens_before(l->ds, user, time_ms),
		.first = x->n,
		.time_ms = time_ms};
	l->last_id = id;
	return WR_OK;
}

static int add_line(struct loader *l, const struct text *t, char **field, unsigned int n_fields,
	struct wr_errmsg *msg)
{
	struct wr_impressions *x = l->x;
	uint64_t id, item, position, clicked, converted;
	int64_t time_ms;
	double propensity = 1;
	if (wr_parse_u64(field[0], 0, UINT64_MAX, &id))
		return wr_learn_text_fail(t, msg, "user '%s' is no number", field[0]);
	if (wr_parse_u64(field[1], 1, l->ds->n_items, &item))
		return wr_learn_text_fail(t, msg, "item '%s' is not in items.tsv", field[1]);
	if (wr_parse_u64(field[2], 0, 255, &position) ||
		wr_parse_i64(field[3], 1, INT64_MAX, &time_ms))
		return wr_learn_text_fail(t, msg,
			"position '%s', time '%s': expected 0 … 255 and unix milliseconds",
			field[2], field[3]);
	if (wr_parse_u64(field[4], 0, 1, &clicked) || wr_parse_u64(field[5], 0, 1, &converted) ||
		converted > clicked)
		return wr_learn_text_fail(t, msg,
			"clicked '%s', converted '%s': expected 0 or 1, and a click where it was "
			"converted",
			field[4], field[5]);
	if (n_fields == 7 && (wr_parse_double(field[6], 0, 1, &propensity) || !(propensity > 0)))
		return wr_learn_text_fail(
			t, msg, "propensity '%s': expected above 0, at most 1", field[6]);
	int err = open_slate(l, t, id, time_ms, msg);
	if (err)
		return err;
	if (wr_learn_grow(&x->row, &l->cap[0], x->n, sizeof(*x->row)) ||
		wr_learn_grow(&x->position, &l->cap[1], x->n, 1) ||
		wr_learn_grow(&x->clicked, &l->cap[2], x->n, 1) ||
		wr_learn_grow(&x->converted, &l->cap[3], x->n, 1) ||
		(n_fields == 7 && wr_learn_grow(&x->propensity, &l->cap[4], x->n, sizeof(float))))
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory for what was shown", t->path);
	x->row[x->n] = (uint32_t)item - 1;
	x->position[x->n] = (uint8_t)position;
	x->clicked[x->n] = (uint8_t)clicked;
	x->converted[x->n] = (uint8_t)converted;
	if (n_fields == 7)
		x->propensity[x->n] = (float)propensity;
	x->n_positions = WR_MAX(x->n_positions, (uint32_t)position + 1);
	x->slate[x->n_slates - 1].n++;
	x->n++;
	return WR_OK;
}

static int read_lines(struct loader *l, const char *path, struct wr_errmsg *msg)
{
	struct text t;
	char *line, *field[8];
	unsigned int n_fields = 0;
	int err = wr_learn_text_open(&t, path, msg);
	while (!err && (line = wr_learn_text_next(&t, NULL))) {
		if (line[0] == '#')
			continue;
		unsigned int n = wr_learn_text_split(line, "\t", field, 8);
		if ((n != 6 && n != 7) || (n_fields && n != n_fields))
			err = wr_learn_text_fail(&t, msg,
				"expected user, item, position, time, clicked, converted and, in "
				"every line or in none, a propensity between tabs");
		else
			err = add_line(l, &t, field, n, msg);
		n_fields = n;
	}
	wr_learn_text_close(&t);
	return err || l->x->n ? err : wr_fail(msg, WR_EFORMAT, "%s: nothing was shown", path);
}

int wr_impressions_load(struct wr_impressions **out, const struct wr_dataset *ds, const char *path,
	struct wr_errmsg *msg)
{
	*out = NULL;
	if (!ds->timed)
		return wr_fail(msg, WR_EINVAL,
			"%s: the interactions have no times, so nobody knows what came before what",
			path);
	struct loader l = {.ds = ds,
		.x = calloc(1, sizeof(*l.x)),
		.place = malloc(((size_t)ds->n_users + 1) * sizeof(*l.place))};
	int err = l.x && l.place ? WR_OK : wr_fail(msg, WR_ENOMEM, "%s: out of memory", path);
	if (!err) {
		for (uint32_t u = 0; u < ds->n_users; u++)
			l.place[u] = (struct user_place){ds->user_id[u], u};
		qsort(l.place, ds->n_users, sizeof(*l.place), by_id);
		err = read_lines(&l, path, msg);
	}
	free(l.place);
	if (err)
		wr_impressions_free(l.x);
	else
		*out = l.x;
	return err;
}

void wr_impressions_free(struct wr_impressions *x)
{
	if (!x)
		return;
	free(x->slate);
	free(x->row);
	free(x->position);
	free(x->clicked);
	free(x->converted);
	free(x->propensity);
	free(x);
}
