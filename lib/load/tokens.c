/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Users' tokens from DIR/interactions.tsv ("user⇥item⇥kind⇥time_ms"), by the rule of docs/model.md:
 * clicks are tokens, a conversion only when the user has not clicked that item, views never.
 */
#include "load_lists.h"
#include "load_text.h"

#include <stdlib.h>
#include <string.h>

struct reader {
	struct wr_text text;
	struct wr_tokens *t;
	size_t room_users, room_items, room_times;
	struct wr_errmsg *msg;
};

static bool known(const struct wr_tokens *t, const struct wr_tokens_user *u, uint32_t item)
{
	for (size_t i = u->first; i < t->n_items; i++)
		if (t->items[i] == item)
			return true;
	return false;
}

static int line(struct reader *r)
{
	struct wr_tokens *t = r->t;
	uint64_t user, item, ms;

	if (!wr_text_number(&r->text, UINT64_MAX, &user) || !wr_text_char(&r->text, '\t') ||
		!wr_text_number(&r->text, WR_WIRE_MAX_ITEM, &item) || item == 0 ||
		!wr_text_char(&r->text, '\t'))
		return wr_text_fail(&r->text, r->msg, "expected user, tab, item id, tab, kind");
	const char *kind = r->text.cursor;
	size_t bytes = strcspn(kind, "\t");
	bool click = bytes == 5 && memcmp(kind, "click", 5) == 0;
	bool convert = bytes == 7 && memcmp(kind, "convert", 7) == 0;
	if (!click && !convert && !(bytes == 4 && memcmp(kind, "view", 4) == 0))
		return wr_text_fail(&r->text, r->msg, "the kind must be click, convert or view");

	struct wr_tokens_user *u = t->n_users ? &t->users[t->n_users - 1] : NULL;
	if (!u || u->user != user) {
		if (wr_text_grow(
			    (void **)&t->users, &r->room_users, t->n_users, sizeof(*t->users)) != 0)
			return wr_fail(r->msg, WR_ENOMEM, "%s: not enough memory", r->text.path);
		u = &t->users[t->n_users++];
		*u = (struct wr_tokens_user){.user = user, .first = t->n_items};
	}
	if (!click && !(convert && !known(t, u, (uint32_t)item)))
		return 0;
	r->text.cursor += bytes;
	if (!wr_text_char(&r->text, '\t') || !wr_text_number(&r->text, INT64_MAX, &ms))
		return wr_text_fail(
			&r->text, r->msg, "expected a tab and the time in unix milliseconds");
	if (wr_text_grow((void **)&t->items, &r->room_items, t->n_items, sizeof(*t->items)) != 0 ||
		wr_text_grow((void **)&t->times, &r->room_times, t->n_items, sizeof(*t->times)) !=
			0)
		return wr_fail(r->msg, WR_ENOMEM, "%s: not enough memory", r->text.path);
	t->timed |= ms > 0;
	t->times[t->n_items] = (int64_t)ms;
	t->items[t->n_items++] = (uint32_t)item;
	u->n++;
	return 0;
}

int wr_tokens_read(struct wr_tokens **out, const char *dir, struct wr_errmsg *msg)
{
	struct reader r = {.msg = msg};
	char path[4096];

	*out = NULL;
	if ((size_t)snprintf(path, sizeof(path), "%s/interactions.tsv", dir) >= sizeof(path))
		return wr_fail(msg, WR_EINVAL, "%.100s…: the folder's name is too long", dir);
	int err = wr_text_open(&r.text, path, msg);
	if (err)
		return err;
	r.t = calloc(1, sizeof(*r.t));
	if (!r.t)
		err = wr_fail(msg, WR_ENOMEM, "%s: not enough memory", path);
	while (!err && wr_text_line(&r.text))
		if (!wr_text_end(&r.text) && *r.text.cursor != '#')
			err = line(&r);
	if (!err && r.t->n_items == 0)
		err = wr_text_fail(&r.text, msg, "no click in this file");
	wr_text_close(&r.text);
	if (err)
		wr_tokens_free(r.t);
	else
		*out = r.t;
	return err;
}

void wr_tokens_free(struct wr_tokens *t)
{
	if (!t)
		return;
	free(t->users);
	free(t->items);
	free(t->times);
	free(t);
}
