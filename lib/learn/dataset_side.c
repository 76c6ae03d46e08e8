/* SPDX-License-Identifier: BSD-3-Clause */
/* Categories of items and profiles of users as numbered values by row. */
#include "dataset_int.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_FIELDS 32 /* columns of users.tsv */

static int add_value(struct side_builder *b, const char *name, struct wr_errmsg *msg)
{
	uint32_t v = wr_learn_names_put(&b->names, name), first = b->off[b->n_rows];
	if (v == UINT32_MAX)
		return wr_fail(msg, WR_ENOMEM, "out of memory for side data");
	for (size_t i = first; i < b->n_value; i++)
		if (b->value[i] == v)
			return WR_OK;
	if (b->n_value >= UINT32_MAX - 1 ||
		wr_learn_grow(&b->value, &b->cap_value, b->n_value, sizeof(*b->value)))
		return wr_fail(msg, WR_ENOMEM, "out of memory for side data");
	b->value[b->n_value++] = v;
	return WR_OK;
}

static int begin_row(struct side_builder *b, struct wr_errmsg *msg)
{
	if (wr_learn_grow(&b->off, &b->cap_off, b->n_rows + 1, sizeof(*b->off)))
		return wr_fail(msg, WR_ENOMEM, "out of memory for side data");
	b->off[b->n_rows] = (uint32_t)b->n_value;
	return WR_OK;
}

static void end_row(struct side_builder *b)
{
	b->off[++b->n_rows] = (uint32_t)b->n_value;
}

int wr_learn_side_add_all(struct side_builder *b, const char *text, struct wr_errmsg *msg)
{
	char *copy = strdup(text), *rest = NULL;
	int err = copy ? begin_row(b, msg) : wr_fail(msg, WR_ENOMEM, "out of memory for side data");
	for (char *at = copy ? strtok_r(copy, "|", &rest) : NULL; at && !err;
		at = strtok_r(NULL, "|", &rest))
		err = add_value(b, at, msg);
	if (!err)
		end_row(b);
	free(copy);
	return err;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int wr_learn_side_finish(struct side_builder *b, struct wr_side *side, struct wr_errmsg *msg)
{
	uint32_t n = b->names.n, *to = malloc(((size_t)n + 1) * sizeof(*to));
	char **sorted = malloc(((size_t)n + 1) * sizeof(*sorted));
	int err = to && sorted ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for side data");
	if (!err && n) {
		memcpy(sorted, b->names.name, n * sizeof(*sorted));
		qsort(sorted, n, sizeof(*sorted), by_name);
		for (uint32_t i = 0; i < n; i++)
			to[wr_learn_names_find(&b->names, sorted[i])] = i;
		for (size_t i = 0; i < b->n_value; i++)
			b->value[i] = to[b->value[i]];
		*side = (struct wr_side){n, sorted, b->off, b->value};
		b->names.n = 0; /* its strings are handed over */
		b->off = b->value = NULL;
		sorted = NULL;
	}
	free(to);
	free(sorted);
	return err;
}

void wr_learn_side_discard(struct side_builder *b)
{
	wr_learn_names_free(&b->names);
	free(b->off);
	free(b->value);
}

void wr_learn_side_free(struct wr_side *side)
{
	for (uint32_t i = 0; i < side->n_values; i++)
		free(side->value_name[i]);
	free(side->value_name);
	free(side->off);
	free(side->value);
}

/* ---- users ---- */
struct by_id {
	uint64_t id;
	uint32_t user;
};
/* What users.tsv says; line[u] points into its text, NULL = nothing. */
struct profiles {
	struct text t;
	unsigned int n_fields; /* columns behind the name */
	char *field[MAX_FIELDS];
	char **line;
	struct by_id *id; /* ascending */
};

static int by_user_id(const void *a, const void *b)
{
	const struct by_id *x = a, *y = b;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* `#user name field…`; false: names alone. */
static int read_header(struct profiles *p, bool *any, struct wr_errmsg *msg)
{
	char *line = wr_learn_text_next(&p->t, NULL);
	*any = false;
	if (!line || line[0] != '#')
		return WR_OK;
	unsigned int n = wr_learn_text_split(line, "\t", p->field, MAX_FIELDS);
	if (n >= MAX_FIELDS)
		return wr_learn_text_fail(&p->t, msg, "more than %d columns", MAX_FIELDS - 1);
	for (unsigned int i = 2; i < n; i++)
		if (!p->field[i][0])
			return wr_learn_text_fail(&p->t, msg, "column %u has no name", i + 1);
	p->n_fields = n > 2 ? n - 2 : 0;
	*any = p->n_fields > 0;
	return WR_OK;
}

/* Finds the line's user; the profile's columns stay one string for add_profile to cut. */
static int note_line(
	const struct wr_dataset *ds, struct profiles *p, char *line, struct wr_errmsg *msg)
{
	unsigned int tabs = 0;
	char *rest = line;
	for (char *at = line; *at; at++)
		if (*at == '\t' && ++tabs == 2)
			rest = at + 1;
	if (tabs != p->n_fields + 1)
		return wr_learn_text_fail(
			&p->t, msg, "expected %u columns as in the header", p->n_fields + 2);
	line[strcspn(line, "\t")] = '\0';
	struct by_id key = {0};
	if (wr_parse_u64(line, 0, UINT64_MAX, &key.id))
		return wr_learn_text_fail(&p->t, msg, "user '%s' is no number", line);
	const struct by_id *found = bsearch(&key, p->id, ds->n_users, sizeof(*p->id), by_user_id);
	if (!found)
		return WR_OK;
	if (p->line[found->user])
		return wr_learn_text_fail(&p->t, msg, "user '%s' has two lines", line);
	p->line[found->user] = rest;
	return WR_OK;
}

/* MovieLens' age groups; what is no age is taken as it is. */
static const char *age_group(const char *age)
{
	static const struct {
		double below;
		const char *name;
	} group[] = {{18, "under 18"}, {25, "18-24"}, {35, "25-34"}, {45, "35-44"}, {50, "45-49"},
		{56, "50-55"}, {1000, "56+"}};
	double years;
	if (wr_parse_double(age, 0, 999, &years))
		return age;
	for (size_t i = 0;; i++)
		if (years < group[i].below)
			return group[i].name;
}

static int add_profile(
	struct side_builder *b, struct profiles *p, char *line, struct wr_errmsg *msg)
{
	char *value[MAX_FIELDS], *name;
	int err = begin_row(b, msg);
	unsigned int n = line ? wr_learn_text_split(line, "\t", value, MAX_FIELDS) : 0;
	for (unsigned int i = 0; i < n && !err; i++) {
		const char *field = p->field[i + 2];
		if (!value[i][0])
			continue;
		if (asprintf(&name, "%s=%s", field,
			    strcmp(field, "age") ? value[i] : age_group(value[i])) < 0)
			return wr_fail(msg, WR_ENOMEM, "out of memory for side data");
		err = add_value(b, name, msg);
		free(name);
	}
	if (!err)
		end_row(b);
	return err;
}

static int read_profiles(struct wr_dataset *ds, struct profiles *p, struct wr_errmsg *msg)
{
	struct side_builder b = {0};
	bool any;
	char *line;
	wr_learn_names_init(&b.names);
	int err = read_header(p, &any, msg);
	while (!err && any && (line = wr_learn_text_next(&p->t, NULL)))
		if (line[0] != '#')
			err = note_line(ds, p, line, msg);
	for (uint32_t u = 0; u < ds->n_users && any && !err; u++)
		err = add_profile(&b, p, p->line[u], msg);
	if (!err && any)
		err = wr_learn_side_finish(&b, &ds->user_side, msg);
	wr_learn_side_discard(&b);
	return err;
}

int wr_learn_users_load(struct wr_dataset *ds, const char *dir, struct wr_errmsg *msg)
{
	struct profiles p = {0};
	struct stat st;
	char *path;
	if (asprintf(&path, "%s/users.tsv", dir) < 0)
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", dir);
	int err = WR_OK;
	if (stat(path, &st))
		goto out;
	err = wr_learn_text_open(&p.t, path, msg);
	p.line = calloc((size_t)ds->n_users + 1, sizeof(*p.line));
	p.id = malloc(((size_t)ds->n_users + 1) * sizeof(*p.id));
	if (!err && (!p.line || !p.id))
		err = wr_fail(msg, WR_ENOMEM, "%s: out of memory", path);
	if (!err) {
		for (uint32_t u = 0; u < ds->n_users; u++)
			p.id[u] = (struct by_id){ds->user_id[u], u};
		qsort(p.id, ds->n_users, sizeof(*p.id), by_user_id);
		err = read_profiles(ds, &p, msg);
	}
	wr_learn_text_close(&p.t);
	free(p.line);
	free(p.id);
out:
	free(path);
	return err;
}
