/* SPDX-License-Identifier: BSD-3-Clause */
/* The lists file: "user⇥step⇥events⇥list" a line, behind a header "#k=10 filtered=1 bundle=HEX";
 * with times=1 there, two more columns: the events' times and that of the request. */
#include "load_lists.h"
#include "load_text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct wr_text text;
	struct wr_lists *l;
	size_t room_users, room_steps, room_events, room_items, room_times;
	struct wr_errmsg *msg;
};

static int no_memory(struct wr_errmsg *msg, const char *path)
{
	return wr_fail(msg, WR_ENOMEM, "%s: not enough memory for this file", path);
}

/* One word of the header line: NAME=VALUE. Unknown names are left for later versions. */
static int header_word(struct reader *r, const char *word)
{
	struct wr_lists *l = r->l;
	uint64_t v;

	if (strncmp(word, "k=", 2) == 0) {
		if (wr_parse_u64(word + 2, 1, WR_WIRE_MAX_K, &v) != 0)
			return wr_text_fail(&r->text, r->msg, "k must be 1 … 64");
		l->k = (unsigned int)v;
	} else if (strncmp(word, "filtered=", 9) == 0) {
		if (wr_parse_u64(word + 9, 0, 1, &v) != 0)
			return wr_text_fail(&r->text, r->msg, "filtered must be 0 or 1");
		l->filtered = v;
	} else if (strncmp(word, "times=", 6) == 0) {
		if (wr_parse_u64(word + 6, 0, 1, &v) != 0)
			return wr_text_fail(&r->text, r->msg, "times must be 0 or 1");
		l->timed = v;
	} else if (strncmp(word, "bundle=", 7) == 0) {
		size_t n = strlen(word + 7);
		if (n >= sizeof(l->bundle) || strspn(word + 7, "0123456789abcdefABCDEF") != n)
			return wr_text_fail(
				&r->text, r->msg, "bundle must be up to 32 hexadecimal digits");
		for (size_t i = 0; i <= n; i++)
			l->bundle[i] = (char)tolower((unsigned char)word[7 + i]);
	}
	return 0;
}

static int header(struct reader *r)
{
	if (!wr_text_line(&r->text) || !wr_text_char(&r->text, '#'))
		return wr_text_fail(&r->text, r->msg,
			"a lists file starts with \"#k=… filtered=…\"; write it with wrtrain eval "
			"--int8 --lists");
	char *copy = strdup(r->text.cursor), *save = NULL;
	if (!copy)
		return no_memory(r->msg, r->text.path);
	int err = 0;
	for (char *w = strtok_r(copy, " \t", &save); w && !err; w = strtok_r(NULL, " \t", &save))
		err = header_word(r, w);
	free(copy);
	if (!err && r->l->k == 0)
		err = wr_text_fail(&r->text, r->msg, "the header does not say k");
	return err;
}

/* Comma-separated item ids up to the end of the field. */
static int ids(struct reader *r, uint32_t **array, size_t *room, size_t *n, const char *what)
{
	uint64_t id;

	do {
		if (!wr_text_number(&r->text, WR_WIRE_MAX_ITEM, &id) || id == 0)
			return wr_text_fail(&r->text, r->msg, what);
		if (wr_text_grow((void **)array, room, *n, sizeof(**array)) != 0)
			return no_memory(r->msg, r->text.path);
		(*array)[(*n)++] = (uint32_t)id;
	} while (wr_text_char(&r->text, ','));
	return 0;
}

/* Times of a step's events, and of its request, from the file's last two columns. */
static int file_times(struct reader *r, struct wr_lists_step *s)
{
	struct wr_text *t = &r->text;
	uint64_t ms;

	if (!wr_text_char(t, '\t'))
		return wr_text_fail(t, r->msg, "expected a tab and the events' times");
	for (uint32_t i = 0; i < s->n_events; i++) {
		if ((i && !wr_text_char(t, ',')) || !wr_text_number(t, INT64_MAX, &ms))
			return wr_text_fail(
				t, r->msg, "times must be unix milliseconds, one for each event");
		r->l->times[s->first_event + i] = (int64_t)ms;
	}
	if (!wr_text_char(t, '\t') || !wr_text_number(t, INT64_MAX, &ms))
		return wr_text_fail(t, r->msg, "expected a tab and the request's time");
	s->asked_ms = (int64_t)ms;
	return 0;
}

/* Times of the step's events; known: those of its user before. */
static int take_times(struct reader *r, struct wr_lists_step *s, uint32_t known)
{
	for (size_t i = s->first_event; i < r->l->n_events; i++) {
		if (wr_text_grow((void **)&r->l->times, &r->room_times, i, sizeof(*r->l->times)) !=
			0)
			return no_memory(r->msg, r->text.path);
		r->l->times[i] = wr_lists_time(known + (uint32_t)(i - s->first_event));
	}
	return r->l->timed ? file_times(r, s) : 0;
}

static int check_list(struct reader *r, const struct wr_lists_step *s)
{
	const uint32_t *list = r->l->items + s->first_item;

	if (s->n_items > r->l->k)
		return wr_text_fail(&r->text, r->msg, "the list is longer than the header's k");
	for (uint32_t i = 0; i < s->n_items; i++)
		for (uint32_t j = 0; j < i; j++)
			if (list[i] == list[j])
				return wr_text_fail(
					&r->text, r->msg, "an item stands twice in the list");
	return 0;
}

static int new_user(struct reader *r, uint64_t user, uint64_t step)
{
	struct wr_lists *l = r->l;

	if (step != 0)
		return wr_text_fail(&r->text, r->msg,
			"a user's lines must start with step 0 and stand together");
	if (wr_text_grow((void **)&l->users, &r->room_users, l->n_users, sizeof(*l->users)) != 0)
		return no_memory(r->msg, r->text.path);
	l->users[l->n_users++] =
		(struct wr_lists_user){.user = user, .first_step = (uint32_t)l->n_steps};
	return 0;
}

static int line(struct reader *r)
{
	struct wr_lists *l = r->l;
	struct wr_text *t = &r->text;
	uint64_t user, step;

	if (!wr_text_number(t, UINT64_MAX, &user) || !wr_text_char(t, '\t') ||
		!wr_text_number(t, UINT32_MAX, &step) || !wr_text_char(t, '\t'))
		return wr_text_fail(t, r->msg, "expected user, tab, step, tab");

	struct wr_lists_user *last = l->n_users ? &l->users[l->n_users - 1] : NULL;
	int err = 0;
	if (!last || last->user != user || (step == 0 && last->n_steps > 0)) {
		if (last && last->user == user)
			return wr_text_fail(t, r->msg, "this user's step 0 was given before");
		err = new_user(r, user, step);
		if (err)
			return err;
		last = &l->users[l->n_users - 1];
	} else if (step != last->n_steps) {
		return wr_text_fail(t, r->msg, "steps of a user must count 0, 1, 2, …");
	}
	struct wr_lists_step s = {
		.first_event = (uint32_t)l->n_events, .first_item = (uint32_t)l->n_items};
	err = ids(r, &l->events, &r->room_events, &l->n_events,
		"events must be item ids with commas between");
	if (err)
		return err;
	s.n_events = (uint32_t)l->n_events - s.first_event;
	if (step > 0 && s.n_events != 1)
		return wr_text_fail(t, r->msg, "a step behind the first shows exactly one click");
	if (!wr_text_char(t, '\t'))
		return wr_text_fail(t, r->msg, "expected a tab and the list");
	err = ids(r, &l->items, &r->room_items, &l->n_items,
		"the list must be item ids with commas between");
	if (err)
		return err;
	s.n_items = (uint32_t)l->n_items - s.first_item;
	uint32_t first = last->n_steps ? l->steps[last->first_step].first_event : s.first_event;
	err = take_times(r, &s, s.first_event - first);
	if (err)
		return err;
	if (!wr_text_end(t))
		return wr_text_fail(t, r->msg, "something stands behind the list");
	err = check_list(r, &s);
	if (err)
		return err;
	if (wr_text_grow((void **)&l->steps, &r->room_steps, l->n_steps, sizeof(*l->steps)) != 0)
		return no_memory(r->msg, t->path);
	l->steps[l->n_steps++] = s;
	last->n_steps++;
	return 0;
}

int wr_lists_read(struct wr_lists **out, const char *path, struct wr_errmsg *msg)
{
	struct reader r = {.msg = msg};

	*out = NULL;
	int err = wr_text_open(&r.text, path, msg);
	if (err)
		return err;
	r.l = calloc(1, sizeof(*r.l));
	if (!r.l) {
		err = no_memory(msg, path);
		goto done;
	}
	err = header(&r);
	while (!err && wr_text_line(&r.text))
		if (!wr_text_end(&r.text) && *r.text.cursor != '#')
			err = line(&r);
	if (!err && r.l->n_users == 0)
		err = wr_text_fail(&r.text, msg, "no user in this file");
done:
	wr_text_close(&r.text);
	if (err)
		wr_lists_free(r.l);
	else
		*out = r.l;
	return err;
}

void wr_lists_free(struct wr_lists *l)
{
	if (!l)
		return;
	free(l->users);
	free(l->steps);
	free(l->events);
	free(l->items);
	free(l->times);
	free(l);
}
