/* SPDX-License-Identifier: BSD-3-Clause */
/* Titles, from the bundle that is served or from the dataset that it was made of. */
#include "ask.h"
#include "wr_bundle.h"

#include <stdlib.h>
#include <string.h>

#define MAX_ITEMS_BYTES ((size_t)4 << 30)

struct title {
	const char *text;
	uint32_t bytes;
};

struct titles {
	struct wr_bundle *bundle; /* or: */
	char *data;
	struct title *title; /* by id - 1 */
	size_t n, room;
};

static struct titles *new_titles(struct wr_errmsg *msg)
{
	struct titles *t = calloc(1, sizeof(*t));
	if (!t)
		(void)wr_fail(msg, WR_ENOMEM, "no memory for titles");
	return t;
}

int titles_of_bundle(
	struct titles **out, const char *path, const uint8_t *wanted_id, struct wr_errmsg *msg)
{
	uint8_t id[16];
	*out = NULL;
	struct titles *t = new_titles(msg);
	if (!t)
		return WR_ENOMEM;
	int err = wr_bundle_open(&t->bundle, path, msg);
	if (!err) {
		wr_bundle_id(t->bundle, id);
		if (wanted_id && memcmp(id, wanted_id, sizeof(id)))
			err = wr_fail(msg, WR_ESTATE,
				"%s is not the bundle that the server serves: its titles may name "
				"other items",
				path);
	}
	if (err)
		titles_free(t);
	else
		*out = t;
	return err;
}

/* One line, its newline replaced by NUL. */
static int take_line(
	struct titles *t, const char *path, unsigned int number, char *line, struct wr_errmsg *msg)
{
	char *tab[3], *at = line;
	uint64_t id;
	for (unsigned int i = 0; i < WR_ARRAY_LEN(tab); i++, at = tab[i - 1] + 1) {
		tab[i] = strchr(at, '\t');
		if (!tab[i])
			return wr_fail(msg, WR_EFORMAT,
				"%s:%u: expected id, name, category, title with tabs between", path,
				number);
	}
	*tab[0] = '\0';
	if (wr_parse_u64(line, 1, UINT32_MAX, &id) || id != t->n + 1)
		return wr_fail(
			msg, WR_EFORMAT, "%s:%u: expected item id %zu", path, number, t->n + 1);
	if (t->n == t->room) {
		size_t room = t->room ? 2 * t->room : 1024;
		struct title *grown = realloc(t->title, room * sizeof(*grown));
		if (!grown)
			return wr_fail(msg, WR_ENOMEM, "no memory for titles");
		t->title = grown;
		t->room = room;
	}
	t->title[t->n++] = (struct title){tab[2] + 1, (uint32_t)strlen(tab[2] + 1)};
	return WR_OK;
}

int titles_of_items(struct titles **out, const char *path, struct wr_errmsg *msg)
{
	size_t size;
	unsigned int number = 0;
	*out = NULL;
	struct titles *t = new_titles(msg);
	if (!t)
		return WR_ENOMEM;
	int err = wr_file_read(path, MAX_ITEMS_BYTES, &t->data, &size, msg);
	char *line = t->data, *end = err ? NULL : t->data + size;
	while (!err && line < end) {
		char *newline = memchr(line, '\n', (size_t)(end - line));
		char *next = newline ? newline + 1 : end;
		number++;
		if (newline)
			*newline = '\0';
		if (*line && *line != '#')
			err = take_line(t, path, number, line, msg);
		line = next;
	}
	if (err)
		titles_free(t);
	else
		*out = t;
	return err;
}

void titles_free(struct titles *t)
{
	if (!t)
		return;
	wr_bundle_close(t->bundle);
	free(t->data);
	free(t->title);
	free(t);
}

const char *titles_get(const struct titles *t, uint32_t item, uint32_t *bytes)
{
	*bytes = 0;
	if (!t || item == 0)
		return "";
	if (t->bundle)
		return item <= wr_bundle_model(t->bundle)->n_items
			       ? wr_bundle_string(t->bundle, WR_SEC_TITLES, item - 1, bytes)
			       : "";
	if (item > t->n)
		return "";
	*bytes = t->title[item - 1].bytes;
	return t->title[item - 1].text;
}
