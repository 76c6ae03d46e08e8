/* SPDX-License-Identifier: BSD-3-Clause */
/* The file is kept as it was read; an item's title is a place in it. */
#include "titles.h"
#include "load_text.h"

#include <stdlib.h>
#include <string.h>

struct titles {
	struct wr_text text;
	char path[4096];
	const char **title; /* by id - 1 */
	size_t n, room;
};

static int line(struct titles *t, struct wr_errmsg *msg)
{
	uint64_t id;
	const char *name, *category, *title;

	if (!wr_text_number(&t->text, UINT32_MAX, &id) || id != t->n + 1 ||
		!wr_text_char(&t->text, '\t'))
		return wr_text_fail(
			&t->text, msg, "expected the next item id (1, 2, 3, …) and a tab");
	name = t->text.cursor;
	category = strchr(name, '\t');
	title = category ? strchr(category + 1, '\t') : NULL;
	if (!title)
		return wr_text_fail(
			&t->text, msg, "expected id, name, category, title with tabs between");
	if (wr_text_grow((void **)&t->title, &t->room, t->n, sizeof(*t->title)) != 0)
		return wr_fail(msg, WR_ENOMEM, "%s: not enough memory", t->path);
	t->title[t->n++] = title + 1;
	return 0;
}

int titles_read(struct titles **out, const char *dir, struct wr_errmsg *msg)
{
	struct titles *t = calloc(1, sizeof(*t));

	*out = NULL;
	if (!t)
		return wr_fail(msg, WR_ENOMEM, "not enough memory");
	if ((size_t)snprintf(t->path, sizeof(t->path), "%s/items.tsv", dir) >= sizeof(t->path)) {
		free(t);
		return wr_fail(msg, WR_EINVAL, "%.100s…: the folder's name is too long", dir);
	}
	int err = wr_text_open(&t->text, t->path, msg);
	while (!err && wr_text_line(&t->text))
		if (!wr_text_end(&t->text) && *t->text.cursor != '#')
			err = line(t, msg);
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
	wr_text_close(&t->text);
	free(t->title);
	free(t);
}

const char *titles_get(const struct titles *t, uint32_t item)
{
	return t && item >= 1 && item <= t->n ? t->title[item - 1] : "";
}
