/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names of items and categories to rows. Runs once at load; catalogues of up to a million items, so
 * names are found by binary search and a category's rows are kept once, however many rules name it.
 */
#include "intent_rules.h"

#include <stdlib.h>
#include <string.h>

struct lookup {
	const struct intent_rules *r;
	struct wr_errmsg *msg;
	const uint32_t *item_names, *category_names; /* strings sections; NULL = absent */
	uint32_t n_items, n_categories;
	const uint16_t *category; /* of row, NULL without the section */
	uint32_t *by_name; /* rows in the order of their names; NULL when no rule names an item */
};

static int no_memory(const struct lookup *l)
{
	return wr_fail(l->msg, WR_ENOMEM, "%s: no memory for the rules' targets", l->r->source);
}

/* String i of a strings section (wr_bundle.h has the layout): the section is looked up once, not
 * per comparison. */
static const char *string_at(const uint32_t *section, uint32_t i, uint32_t *bytes)
{
	*bytes = section[i + 2] - section[i + 1];
	return (const char *)(section + section[0] + 2) + section[i + 1];
}

/* ---- item names ---- */
static int compare_text(const char *a, size_t n, const char *b, size_t m)
{
	int order = memcmp(a, b, WR_MIN(n, m));
	return order ? order : (n > m) - (n < m);
}

static int by_name(const void *a, const void *b, void *names)
{
	uint32_t n, m;
	const char *x = string_at(*(const uint32_t **)names, *(const uint32_t *)a, &n);
	const char *y = string_at(*(const uint32_t **)names, *(const uint32_t *)b, &m);
	return compare_text(x, n, y, m);
}

static int sort_names(struct lookup *l)
{
	l->by_name = malloc(((size_t)l->n_items + 1) * sizeof(*l->by_name));
	if (!l->by_name)
		return no_memory(l);
	for (uint32_t i = 0; i < l->n_items; i++)
		l->by_name[i] = i;
	qsort_r(l->by_name, l->n_items, sizeof(*l->by_name), by_name, &l->item_names);
	return WR_OK;
}

static int find_item(const struct lookup *l, const char *name, size_t bytes, uint32_t *row)
{
	uint32_t low = 0, high = l->by_name ? l->n_items : 0;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2, n;
		const char *s = string_at(l->item_names, l->by_name[middle], &n);
		int order = compare_text(name, bytes, s, n);
		if (order == 0) {
			*row = l->by_name[middle];
			return WR_OK;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return WR_ENOENT;
}

/* ---- categories ---- */
/* Rows of every category, one behind the other: counted, then dealt. */
static int sort_categories(struct lookup *l, struct intent_targets *t)
{
	size_t n = (size_t)l->n_categories + 1;
	t->category_first = calloc(n + 1, sizeof(uint32_t));
	t->category_rows = malloc(((size_t)l->n_items + 1) * sizeof(uint32_t));
	if (!t->category_first || !t->category_rows)
		return no_memory(l);
	t->bytes += (n + 1 + l->n_items) * sizeof(uint32_t);
	uint32_t *first = t->category_first;
	for (uint32_t i = 0; i < l->n_items; i++)
		if (l->category[i] < l->n_categories)
			first[l->category[i] + 2]++;
	for (size_t c = 2; c <= n; c++)
		first[c] += first[c - 1];
	/* first[c + 1] is category c's next free place now, and its end afterwards. */
	for (uint32_t i = 0; i < l->n_items; i++)
		if (l->category[i] < l->n_categories)
			t->category_rows[first[l->category[i] + 1]++] = i;
	return WR_OK;
}

static int find_category(const struct lookup *l, const char *name, size_t bytes, uint32_t *category)
{
	for (uint32_t c = 1; c < l->n_categories; c++) {
		uint32_t n;
		const char *s = string_at(l->category_names, c, &n);
		if (!compare_text(s, n, name, bytes)) {
			*category = c;
			return WR_OK;
		}
	}
	return WR_ENOENT;
}

/* ---- rules ---- */
struct rows {
	uint32_t *row;
	size_t n, room;
};

static int add_rows(struct rows *out, const uint32_t *rows, size_t n)
{
	if (n == 0)
		return WR_OK;
	if (n > out->room - out->n) {
		size_t room = WR_MAX(out->room * 2, out->n + n);
		uint32_t *larger = realloc(out->row, room * sizeof(*larger));
		if (!larger)
			return WR_ENOMEM;
		out->row = larger;
		out->room = room;
	}
	memcpy(out->row + out->n, rows, n * sizeof(*rows));
	out->n += n;
	return WR_OK;
}

static int fail_target(const struct lookup *l, const struct intent_target *target, const char *kind,
	const char *name, size_t bytes)
{
	return wr_fail(l->msg, WR_ENOENT, "%s:%u: rule [%s]: the bundle has no %s named '%.*s'",
		l->r->source, target->line, l->r->rule[target->rule].id, kind,
		(int)WR_MIN(bytes, 80), name);
}

static int add_items(const struct lookup *l, const struct intent_target *target, struct rows *out)
{
	const char *s = target->text, *end = s + target->bytes;
	while (s < end) {
		const char *word = s;
		while (s < end && *s != ' ' && *s != '\t')
			s++;
		size_t n = (size_t)(s - word);
		while (s < end && (*s == ' ' || *s == '\t'))
			s++;
		uint32_t row;
		if (find_item(l, word, n, &row))
			return fail_target(l, target, "item", word, n);
		if (add_rows(out, &row, 1))
			return no_memory(l);
	}
	return WR_OK;
}

static int by_row(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

/* Ascending, each once. */
static void sort_rows(struct rows *r)
{
	size_t kept = 0;
	if (r->n)
		qsort(r->row, r->n, sizeof(*r->row), by_row);
	for (size_t i = 0; i < r->n; i++)
		if (kept == 0 || r->row[i] != r->row[kept - 1])
			r->row[kept++] = r->row[i];
	r->n = kept;
}

static int resolve_rule(const struct lookup *l, struct intent_targets *t, uint32_t rule,
	const struct intent_target *target, uint32_t n)
{
	struct rows all = {0};
	int err = WR_OK;
	for (uint32_t i = 0; i < n && !err; i++) {
		if (!target[i].is_category) {
			err = add_items(l, &target[i], &all);
			continue;
		}
		uint32_t c;
		if (find_category(l, target[i].text, target[i].bytes, &c)) {
			err = fail_target(
				l, &target[i], "category", target[i].text, target[i].bytes);
			break;
		}
		const uint32_t *rows = t->category_rows + t->category_first[c];
		uint32_t n_rows = t->category_first[c + 1] - t->category_first[c];
		if (n == 1) {
			t->rows[rule] = rows;
			t->n_rows[rule] = n_rows;
			return WR_OK;
		}
		if (add_rows(&all, rows, n_rows))
			err = no_memory(l);
	}
	if (err) {
		free(all.row);
		return err;
	}
	sort_rows(&all);
	t->rows[rule] = t->own[rule] = all.row;
	t->n_rows[rule] = (uint32_t)all.n;
	t->bytes += all.room * sizeof(*all.row);
	return WR_OK;
}

static int resolve_all(struct lookup *l, struct intent_targets *t)
{
	const struct intent_rules *r = l->r;
	bool names = false, categories = false;
	for (uint32_t i = 0; i < r->n_targets; i++) {
		names |= !r->target[i].is_category;
		categories |= r->target[i].is_category;
	}
	int err = names && l->item_names ? sort_names(l) : WR_OK;
	if (!err && categories && l->n_categories)
		err = sort_categories(l, t);
	for (uint32_t first = 0; first < r->n_targets && !err;) {
		uint32_t end = first;
		while (end < r->n_targets && r->target[end].rule == r->target[first].rule)
			end++;
		err = resolve_rule(l, t, r->target[first].rule, r->target + first, end - first);
		first = end;
	}
	return err;
}

int wr_intent_targets_init(struct intent_targets *t, const struct intent_rules *r,
	const struct wr_bundle *b, struct wr_errmsg *msg)
{
	struct lookup l = {.r = r,
		.msg = msg,
		.n_items = wr_bundle_model(b)->n_items,
		.item_names = wr_bundle_section(b, WR_SEC_ITEM_NAMES, NULL),
		.category_names = wr_bundle_section(b, WR_SEC_CAT_NAMES, NULL),
		.category = wr_bundle_section(b, WR_SEC_CATEGORY, NULL)};
	if (l.category && l.category_names)
		l.n_categories = l.category_names[0];
	size_t n = (size_t)r->n_rules + 1;
	*t = (struct intent_targets){.n_rules = r->n_rules,
		.own = calloc(n, sizeof(*t->own)),
		.rows = calloc(n, sizeof(*t->rows)),
		.n_rows = calloc(n, sizeof(*t->n_rows)),
		.bytes = n * (sizeof(*t->own) + sizeof(*t->rows) + sizeof(*t->n_rows))};
	int err = t->own && t->rows && t->n_rows ? resolve_all(&l, t) : no_memory(&l);
	free(l.by_name);
	if (err)
		wr_intent_targets_fini(t);
	return err;
}

void wr_intent_targets_fini(struct intent_targets *t)
{
	for (uint32_t i = 0; t->own && i < t->n_rules; i++)
		free(t->own[i]);
	free(t->own);
	free(t->rows);
	free(t->n_rows);
	free(t->category_first);
	free(t->category_rows);
	*t = (struct intent_targets){0};
}
