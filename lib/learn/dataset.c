/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads a dataset directory (docs/architecture.md) and turns its log into tokens (docs/model.md).
 */
#include "dataset_int.h"

#include <stdlib.h>
#include <string.h>

struct loader {
	struct wr_dataset *ds;
	struct names categories;
	struct side_builder side;
	size_t cap_items[3], cap_users, cap_off, cap_tokens, cap_times;
	size_t n_tokens;
};

static int add_item(struct loader *l, struct text *t, char **field, struct wr_errmsg *msg)
{
	struct wr_dataset *ds = l->ds;
	uint64_t id;
	if (wr_parse_u64(field[0], 1, UINT32_MAX - 1, &id) || id != (uint64_t)ds->n_items + 1)
		return wr_learn_text_fail(t, msg,
			"item id '%s': ids ascend by one from 1; expected %u", field[0],
			ds->n_items + 1);
	int err = wr_learn_side_add_all(&l->side, field[2], msg);
	if (err)
		return err;
	field[2][strcspn(field[2], "|")] = '\0';
	uint32_t category = field[2][0] ? wr_learn_names_put(&l->categories, field[2]) : 0;
	if (category > UINT16_MAX)
		return wr_learn_text_fail(t, msg, "more than %d categories", UINT16_MAX);
	size_t n = ds->n_items;
	if (wr_learn_grow(&ds->item_name, &l->cap_items[0], n, sizeof(char *)) ||
		wr_learn_grow(&ds->item_title, &l->cap_items[1], n, sizeof(char *)) ||
		wr_learn_grow(&ds->item_category, &l->cap_items[2], n, sizeof(uint16_t)))
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", t->path);
	ds->item_name[n] = strdup(field[1]);
	ds->item_title[n] = strdup(field[3]);
	ds->item_category[n] = (uint16_t)category;
	ds->n_items++;
	if (!ds->item_name[n] || !ds->item_title[n])
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", t->path);
	return WR_OK;
}

static int load_items(struct loader *l, const char *path, struct wr_errmsg *msg)
{
	struct text t;
	int err = wr_learn_text_open(&t, path, msg);
	if (err)
		return err;
	char *line, *field[5];
	while (!err && (line = wr_learn_text_next(&t, NULL))) {
		if (line[0] == '#')
			continue;
		if (wr_learn_text_split(line, "\t", field, 5) != 4)
			err = wr_learn_text_fail(
				&t, msg, "expected id, name, category and title between tabs");
		else
			err = add_item(l, &t, field, msg);
	}
	wr_learn_text_close(&t);
	if (!err && l->ds->n_items == 0)
		err = wr_fail(msg, WR_EFORMAT, "%s: no items", path);
	return err;
}

/* A conversion marks the item's click where there is one and is a token of its own only where there
 * is none. */
static bool is_token(const struct loader *l, const char *kind, uint32_t row)
{
	const struct wr_dataset *ds = l->ds;
	if (!strcmp(kind, "click"))
		return true;
	if (strcmp(kind, "convert"))
		return false;
	for (size_t i = ds->token_off[ds->n_users - 1]; i < l->n_tokens; i++)
		if (ds->token_row[i] == row)
			return false;
	return true;
}

static int add_user(struct loader *l, uint64_t user, struct wr_errmsg *msg)
{
	struct wr_dataset *ds = l->ds;
	if (wr_learn_grow(&ds->user_id, &l->cap_users, ds->n_users, sizeof(uint64_t)) ||
		wr_learn_grow(
			&ds->token_off, &l->cap_off, (size_t)ds->n_users + 1, sizeof(uint32_t)))
		return wr_fail(msg, WR_ENOMEM, "out of memory for users");
	ds->user_id[ds->n_users] = user;
	ds->token_off[ds->n_users] = (uint32_t)l->n_tokens;
	ds->n_users++;
	return WR_OK;
}

static int add_interaction(struct loader *l, struct text *t, char **field, struct wr_errmsg *msg)
{
	struct wr_dataset *ds = l->ds;
	uint64_t user, item;
	int64_t time_ms;
	if (wr_parse_u64(field[0], 0, UINT64_MAX, &user))
		return wr_learn_text_fail(t, msg, "user '%s' is no number", field[0]);
	if (wr_parse_u64(field[1], 1, ds->n_items, &item))
		return wr_learn_text_fail(t, msg, "item '%s' is not in items.tsv", field[1]);
	if (strcmp(field[2], "click") && strcmp(field[2], "convert") && strcmp(field[2], "view"))
		return wr_learn_text_fail(
			t, msg, "kind '%s': expected click, convert or view", field[2]);
	if (wr_parse_i64(field[3], 0, INT64_MAX, &time_ms))
		return wr_learn_text_fail(
			t, msg, "time '%s': expected unix milliseconds or 0", field[3]);
	int err = ds->n_users && ds->user_id[ds->n_users - 1] == user ? WR_OK
								      : add_user(l, user, msg);
	if (err || !is_token(l, field[2], (uint32_t)item - 1))
		return err;
	if (l->n_tokens >= UINT32_MAX - 1 ||
		wr_learn_grow(&ds->token_row, &l->cap_tokens, l->n_tokens, sizeof(uint32_t)) ||
		wr_learn_grow(&ds->token_time, &l->cap_times, l->n_tokens, sizeof(int64_t)))
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory for clicks", t->path);
	ds->timed |= time_ms > 0;
	ds->token_time[l->n_tokens] = time_ms;
	ds->token_row[l->n_tokens++] = (uint32_t)item - 1;
	return WR_OK;
}

static int by_u64(const void *a, const void *b)
{
	uint64_t x, y;
	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

/* A user's lines are contiguous, so no id may begin twice. */
static int check_users(const struct wr_dataset *ds, const char *path, struct wr_errmsg *msg)
{
	uint64_t *sorted = malloc((ds->n_users + 1) * sizeof(*sorted));
	if (!sorted)
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", path);
	memcpy(sorted, ds->user_id, ds->n_users * sizeof(*sorted));
	qsort(sorted, ds->n_users, sizeof(*sorted), by_u64);
	int err = WR_OK;
	for (uint32_t i = 1; i < ds->n_users && !err; i++)
		if (sorted[i] == sorted[i - 1])
			err = wr_fail(msg, WR_EFORMAT,
				"%s: user %llu: lines are not contiguous; sort the log by user",
				path, (unsigned long long)sorted[i]);
	free(sorted);
	return err;
}

static int load_interactions(struct loader *l, const char *path, struct wr_errmsg *msg)
{
	struct text t;
	int err = wr_learn_text_open(&t, path, msg);
	if (err)
		return err;
	char *line, *field[5];
	while (!err && (line = wr_learn_text_next(&t, NULL))) {
		if (line[0] == '#')
			continue;
		if (wr_learn_text_split(line, "\t", field, 5) != 4)
			err = wr_learn_text_fail(
				&t, msg, "expected user, item, kind and time between tabs");
		else
			err = add_interaction(l, &t, field, msg);
	}
	wr_learn_text_close(&t);
	if (!err && l->n_tokens == 0)
		err = wr_fail(msg, WR_EFORMAT, "%s: no clicks", path);
	if (err)
		return err;
	l->ds->token_off[l->ds->n_users] = (uint32_t)l->n_tokens;
	return check_users(l->ds, path, msg);
}

int wr_dataset_load(struct wr_dataset **out, const char *dir, struct wr_errmsg *msg)
{
	*out = NULL;
	struct loader l = {.ds = calloc(1, sizeof(struct wr_dataset))};
	char *items = NULL, *log = NULL;
	int err = WR_ENOMEM;
	wr_learn_names_init(&l.categories);
	wr_learn_names_init(&l.side.names);
	if (!l.ds || asprintf(&items, "%s/items.tsv", dir) < 0 ||
		asprintf(&log, "%s/interactions.tsv", dir) < 0 ||
		wr_learn_names_put(&l.categories, "") == UINT32_MAX) {
		wr_fail(msg, err, "%s: out of memory", dir);
		goto out;
	}
	err = load_items(&l, items, msg);
	if (!err)
		err = wr_learn_side_finish(&l.side, &l.ds->item_side, msg);
	if (!err)
		err = load_interactions(&l, log, msg);
	if (!err)
		err = wr_learn_users_load(l.ds, dir, msg);
	l.ds->category_name = l.categories.name; /* handed over */
	l.ds->n_categories = l.categories.n;
	l.categories.name = NULL;
	l.categories.n = 0;
out:
	wr_learn_names_free(&l.categories);
	wr_learn_side_discard(&l.side);
	free(items);
	free(log);
	if (err)
		wr_dataset_free(l.ds);
	else
		*out = l.ds;
	return err;
}

void wr_dataset_free(struct wr_dataset *ds)
{
	if (!ds)
		return;
	for (uint32_t i = 0; i < ds->n_items; i++) {
		free(ds->item_name[i]);
		free(ds->item_title[i]);
	}
	for (uint32_t i = 0; i < ds->n_categories; i++)
		free(ds->category_name[i]);
	free(ds->item_name);
	free(ds->item_title);
	free(ds->item_category);
	free(ds->category_name);
	free(ds->user_id);
	free(ds->token_off);
	free(ds->token_row);
	free(ds->token_time);
	wr_learn_side_free(&ds->item_side);
	wr_learn_side_free(&ds->user_side);
	free(ds);
}
