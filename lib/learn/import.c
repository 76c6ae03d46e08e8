/* SPDX-License-Identifier: BSD-3-Clause */
/* Turns a log into a dataset directory: append-only item ids, users' lines together and in order,
 * all or nothing. */
#include "import_int.h"
#include "wr_report.h"
#include "wr_wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_NAME 255

int wr_learn_import_add(struct import_log *l, const struct text *t, char *user, char *item,
	int64_t time_ms, struct wr_errmsg *msg)
{
	if (!user[0] || !item[0])
		return wr_learn_text_fail(t, msg, "user or item is empty");
	if (strlen(user) > MAX_NAME || strlen(item) > MAX_NAME)
		return wr_learn_text_fail(t, msg, "user or item longer than %d bytes", MAX_NAME);
	if (!wr_utf8_valid(user, strlen(user)) || !wr_utf8_valid(item, strlen(item)))
		return wr_learn_text_fail(t, msg, "user or item is no UTF-8");
	wr_learn_text_clean(user);
	wr_learn_text_clean(item);
	uint32_t u = wr_learn_names_put(&l->users, user), i = wr_learn_names_put(&l->items, item);
	if (u == UINT32_MAX || i == UINT32_MAX || l->n_events >= UINT32_MAX - 1 ||
		wr_learn_grow(&l->event, &l->cap_events, l->n_events, sizeof(*l->event)))
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory at line %u", t->path, t->line);
	l->event[l->n_events] = (struct import_event){
		.user = u, .item = i, .order = (uint32_t)l->n_events, .time_ms = time_ms};
	l->n_events++;
	return WR_OK;
}

static int put_text(char ***array, size_t *cap, uint32_t i, const char *s)
{
	size_t old = *cap;
	if (wr_learn_grow(array, cap, i, sizeof(char *)))
		return WR_ENOMEM;
	for (size_t k = old; k < *cap; k++)
		(*array)[k] = NULL;
	free((*array)[i]);
	(*array)[i] = strdup(s);
	if (!(*array)[i])
		return WR_ENOMEM;
	wr_learn_text_clean((*array)[i]);
	return WR_OK;
}

int wr_learn_import_describe(struct import_log *l, const char *item, const char *title,
	const char *category, struct wr_errmsg *msg)
{
	uint32_t i = wr_learn_names_find(&l->items, item);
	if (i == UINT32_MAX)
		return WR_OK;
	if (put_text(&l->title, &l->cap_title, i, title) ||
		(category && put_text(&l->category, &l->cap_category, i, category)))
		return wr_fail(msg, WR_ENOMEM, "out of memory for titles");
	return WR_OK;
}

int wr_learn_import_profile(
	struct import_log *l, const char *user, const char *const *value, struct wr_errmsg *msg)
{
	uint32_t u = wr_learn_names_find(&l->users, user);
	l->profiled = true;
	for (int i = 0; i < N_PROFILE && u != UINT32_MAX; i++)
		if (put_text(&l->profile[i], &l->cap_profile[i], u, value[i]))
			return wr_fail(msg, WR_ENOMEM, "out of memory for profiles");
	return WR_OK;
}

/* ---- ids ---- */
struct catalogue {
	struct names names; /* number = id - 1 */
	char **title, **category;
	uint32_t n_old, *id; /* id - 1 of the log's items */
};

static int catalogue_old_line(
	struct catalogue *c, struct text *t, char *line, struct wr_errmsg *msg)
{
	char *field[5];
	uint64_t id;
	if (wr_learn_text_split(line, "\t", field, 5) != 4 ||
		wr_parse_u64(field[0], 1, UINT32_MAX, &id) || id != (uint64_t)c->names.n + 1 ||
		wr_learn_names_put(&c->names, field[1]) != id - 1)
		return wr_learn_text_fail(t, msg,
			"damaged item list; import into an empty directory, or restore this file");
	c->title = reallocarray(c->title, (size_t)id, sizeof(char *));
	c->category = reallocarray(c->category, (size_t)id, sizeof(char *));
	if (!c->title || !c->category)
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", t->path);
	c->category[id - 1] = strdup(field[2]);
	c->title[id - 1] = strdup(field[3]);
	return c->category[id - 1] && c->title[id - 1]
		       ? WR_OK
		       : wr_fail(msg, WR_ENOMEM, "%s: out of memory", t->path);
}

static int catalogue_load_old(struct catalogue *c, const char *path, struct wr_errmsg *msg)
{
	struct text t;
	struct stat st;
	if (stat(path, &st) && errno == ENOENT)
		return WR_OK;
	int err = wr_learn_text_open(&t, path, msg);
	char *line;
	while (!err && (line = wr_learn_text_next(&t, NULL)))
		if (line[0] != '#')
			err = catalogue_old_line(c, &t, line, msg);
	wr_learn_text_close(&t);
	c->n_old = c->names.n;
	return err;
}

static int by_number(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	uint64_t p = strtoull(x, NULL, 10), q = strtoull(y, NULL, 10);
	return p < q ? -1 : p > q ? 1 : strcmp(x, y);
}

/* New names get ids in numeric order when all are decimal numbers, else in order of first
 * appearance. */
static int catalogue_add_new(struct catalogue *c, const struct import_log *l, struct wr_errmsg *msg)
{
	uint32_t n = 0;
	bool numbers = true;
	char **fresh = malloc((l->items.n + 1) * sizeof(*fresh));
	c->id = malloc((l->items.n + 1) * sizeof(*c->id));
	if (!fresh || !c->id)
		goto nomem;
	for (uint32_t i = 0; i < l->items.n; i++) {
		uint64_t v;
		if (wr_learn_names_find(&c->names, l->items.name[i]) != UINT32_MAX)
			continue;
		fresh[n++] = l->items.name[i];
		numbers = numbers && !wr_parse_u64(l->items.name[i], 0, UINT64_MAX, &v);
	}
	if (numbers)
		qsort(fresh, n, sizeof(*fresh), by_number);
	for (uint32_t i = 0; i < n; i++)
		if (wr_learn_names_put(&c->names, fresh[i]) == UINT32_MAX)
			goto nomem;
	if (c->names.n > WR_WIRE_MAX_ITEM) {
		free(fresh);
		return wr_fail(msg, WR_EINVAL, "more than %u items", WR_WIRE_MAX_ITEM);
	}
	for (uint32_t i = 0; i < l->items.n; i++)
		c->id[i] = wr_learn_names_find(&c->names, l->items.name[i]);
	free(fresh);
	return WR_OK;
nomem:
	free(fresh);
	return wr_fail(msg, WR_ENOMEM, "out of memory for item ids");
}

static void catalogue_free(struct catalogue *c)
{
	for (uint32_t i = 0; i < c->n_old; i++) {
		free(c->title[i]);
		free(c->category[i]);
	}
	free(c->title);
	free(c->category);
	free(c->id);
	wr_learn_names_free(&c->names);
}

/* ---- writing ---- */
static void write_items(FILE *f, const struct catalogue *c, const struct import_log *l)
{
	fputs("#id\tname\tcategory\ttitle\n", f);
	for (uint32_t r = 0; r < c->names.n; r++) {
		uint32_t i = wr_learn_names_find(&l->items, c->names.name[r]);
		const char *title = i < l->cap_title ? l->title[i] : NULL;
		const char *category = i < l->cap_category ? l->category[i] : NULL;
		if (!title)
			title = r < c->n_old ? c->title[r] : "";
		if (!category)
			category = r < c->n_old ? c->category[r] : "";
		fprintf(f, "%u\t%s\t%s\t%s\n", r + 1, c->names.name[r], category, title);
	}
}

static int by_user_time(const void *a, const void *b)
{
	const struct import_event *x = a, *y = b;
	if (x->user != y->user)
		return x->user < y->user ? -1 : 1;
	if (x->time_ms != y->time_ms)
		return x->time_ms < y->time_ms ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static void write_interactions(
	FILE *f, const struct catalogue *c, const struct import_log *l, const uint64_t *user_id)
{
	fputs("#user\titem\tkind\ttime_ms\n", f);
	for (size_t i = 0; i < l->n_events; i++)
		fprintf(f, "%llu\t%u\tclick\t%lld\n", (unsigned long long)user_id[l->event[i].user],
			c->id[l->event[i].item] + 1, (long long)l->event[i].time_ms);
}

static void write_users(FILE *f, const struct import_log *l, const uint64_t *user_id)
{
	fputs(l->profiled ? "#user\tname\tage\tgender\toccupation\n" : "#user\tname\n", f);
	for (uint32_t u = 0; u < l->users.n; u++) {
		fprintf(f, "%llu\t%s", (unsigned long long)user_id[u], l->users.name[u]);
		for (int i = 0; i < N_PROFILE && l->profiled; i++) {
			const char *value = u < l->cap_profile[i] ? l->profile[i][u] : NULL;
			fprintf(f, "\t%s", value ? value : "");
		}
		fputc('\n', f);
	}
}

static int write_summary(
	FILE *f, const struct wr_import *in, const struct catalogue *c, const struct import_log *l)
{
	static const char *const format[] = {"sasrec", "recbole", "movielens"};
	json_t *sources = json_array();
	for (unsigned int i = 0; i < in->n_sources; i++)
		json_array_append_new(sources, json_string(in->sources[i]));
	json_t *j = json_pack("{s:s, s:o, s:I, s:I, s:I, s:I, s:b}", "format", format[in->format],
		"sources", sources, "users", (json_int_t)l->users.n, "items",
		(json_int_t)c->names.n, "items_kept", (json_int_t)c->n_old, "interactions",
		(json_int_t)l->n_events, "timed", l->timed);
	int err =
		j && !json_dumpf(j, f, JSON_INDENT(2)) && fputc('\n', f) != EOF ? WR_OK : WR_ENOMEM;
	json_decref(j);
	return err;
}

enum { FILE_ITEMS, FILE_LOG, FILE_USERS, FILE_SUMMARY, N_FILES };

static int write_all(const char *out, const struct wr_import *in, const struct catalogue *c,
	const struct import_log *l, const uint64_t *user_id, struct wr_errmsg *msg)
{
	static const char *const name[N_FILES] = {
		"items.tsv", "interactions.tsv", "users.tsv", "dataset.json"};
	struct wr_file_writer *w[N_FILES] = {NULL};
	char *path = NULL;
	int err = WR_OK;
	for (int i = 0; i < N_FILES && !err; i++) {
		if (asprintf(&path, "%s/%s", out, name[i]) < 0)
			return wr_fail(msg, WR_ENOMEM, "%s: out of memory", out);
		err = wr_file_writer_open(&w[i], path, msg);
		free(path);
	}
	if (!err) {
		write_items(wr_file_writer_stream(w[FILE_ITEMS]), c, l);
		write_interactions(wr_file_writer_stream(w[FILE_LOG]), c, l, user_id);
		write_users(wr_file_writer_stream(w[FILE_USERS]), l, user_id);
		if (write_summary(wr_file_writer_stream(w[FILE_SUMMARY]), in, c, l))
			err = wr_fail(msg, WR_ENOMEM, "%s/dataset.json: out of memory", out);
	}
	for (int i = 0; i < N_FILES; i++) {
		if (err)
			wr_file_writer_abort(w[i]);
		else
			err = wr_file_writer_commit(w[i], msg);
	}
	return err;
}

/* ids[u] of user number u; two names with one id are refused. */
static int user_ids(const struct import_log *l, uint64_t *id, struct wr_errmsg *msg)
{
	struct names taken;
	char text[32];
	int err = WR_OK;
	wr_learn_names_init(&taken);
	for (uint32_t u = 0; u < l->users.n && !err; u++) {
		id[u] = wr_wire_user_id(l->users.name[u], strlen(l->users.name[u]));
		snprintf(text, sizeof(text), "%llu", (unsigned long long)id[u]);
		uint32_t k = wr_learn_names_put(&taken, text);
		if (k == UINT32_MAX)
			err = wr_fail(msg, WR_ENOMEM, "out of memory for users");
		else if (k != u)
			err = wr_fail(msg, WR_EFORMAT,
				"users '%s' and '%s' have the same id %s: rename one",
				l->users.name[k], l->users.name[u], text);
	}
	wr_learn_names_free(&taken);
	return err;
}

static int write_dataset(
	const struct wr_import *in, struct import_log *l, const char *out, struct wr_errmsg *msg)
{
	struct catalogue c = {0};
	char *items = NULL;
	uint64_t *ids = malloc((l->users.n + 1) * sizeof(*ids));
	int err = WR_OK;
	wr_learn_names_init(&c.names);
	if (!ids || asprintf(&items, "%s/items.tsv", out) < 0)
		err = wr_fail(msg, WR_ENOMEM, "%s: out of memory", out);
	if (!err)
		err = user_ids(l, ids, msg);
	if (!err)
		err = wr_learn_make_dirs(out, msg);
	if (!err)
		err = catalogue_load_old(&c, items, msg);
	if (!err)
		err = catalogue_add_new(&c, l, msg);
	if (!err)
		err = write_all(out, in, &c, l, ids, msg);
	catalogue_free(&c);
	free(items);
	free(ids);
	return err;
}

static void log_free(struct import_log *l)
{
	for (size_t i = 0; i < l->cap_title; i++)
		free(l->title[i]);
	for (size_t i = 0; i < l->cap_category; i++)
		free(l->category[i]);
	for (int k = 0; k < N_PROFILE; k++) {
		for (size_t i = 0; i < l->cap_profile[k]; i++)
			free(l->profile[k][i]);
		free(l->profile[k]);
	}
	free(l->title);
	free(l->category);
	free(l->event);
	wr_learn_names_free(&l->users);
	wr_learn_names_free(&l->items);
}

int wr_import_run(const struct wr_import *in, const char *out, struct wr_errmsg *msg)
{
	struct import_log l = {0};
	int err;
	if (in->format == WR_IMPORT_SASREC)
		err = wr_learn_import_read_sasrec(&l, in, msg);
	else if (in->format == WR_IMPORT_RECBOLE)
		err = wr_learn_import_read_recbole(&l, in, msg);
	else
		err = wr_learn_import_read_movielens(&l, in, msg);
	if (!err && l.n_events == 0)
		err = wr_fail(msg, WR_EFORMAT, "%s: no interactions", in->sources[0]);
	if (!err) {
		/* Without times the order of appearance decides (all times are 0). */
		qsort(l.event, l.n_events, sizeof(*l.event), by_user_time);
		err = write_dataset(in, &l, out, msg);
	}
	log_free(&l);
	return err;
}
