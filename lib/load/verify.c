/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checks of answers. K is at most 64 and lists of known items are short, so plain double loops do;
 * they cost the generator well under a microsecond an answer at K = 10.
 */
#include "load_verify.h"

static const char *const verdict_names[WR_VERDICT_N] = {"ok", "user", "op", "count", "item",
	"order", "twice", "excluded", "seen", "forgotten", "list"};

const char *wr_verdict_name(enum wr_verdict v)
{
	return (unsigned int)v < WR_VERDICT_N ? verdict_names[v] : "unknown";
}

static bool contains(const uint32_t *ids, unsigned int n, uint32_t id)
{
	for (unsigned int i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

static bool in_order(const struct wr_wire_item *a, const struct wr_wire_item *b)
{
	/* Comparisons with a NaN are false: an answer that holds one is out of order. */
	return a->score > b->score || (a->score == b->score && a->item < b->item);
}

/* Fewer than K is right when the server says so, or when the catalogue has no more to give. */
static bool count_ok(const struct wr_expect *e, const struct wr_message *m)
{
	if (m->n_items == e->k || (m->n_items < e->k && (m->header.flags & WR_ANS_SHORTENED)))
		return true;
	return m->n_items < e->k && e->n_items && e->n_items < e->k + e->n_exclude + e->n_seen;
}

enum wr_verdict wr_verify_answer(const struct wr_expect *e, const struct wr_message *m)
{
	if (m->header.user_id != e->user)
		return WR_VERDICT_USER;
	if (m->header.op != (e->op | WR_OP_ANSWER))
		return WR_VERDICT_OP;
	if (!count_ok(e, m))
		return WR_VERDICT_COUNT;
	for (unsigned int i = 0; i < m->n_items; i++) {
		const struct wr_wire_item *it = &m->items[i];
		if (it->item == 0 || it->item > WR_WIRE_MAX_ITEM ||
			(e->n_items && it->item > e->n_items))
			return WR_VERDICT_ITEM;
		for (unsigned int j = 0; j < i; j++)
			if (m->items[j].item == it->item)
				return WR_VERDICT_TWICE;
		if (it->score != it->score || (i && !in_order(it - 1, it)))
			return WR_VERDICT_ORDER;
		if (contains(e->exclude, e->n_exclude, it->item))
			return WR_VERDICT_EXCLUDED;
		if (e->seen && contains(e->seen, e->n_seen, it->item))
			return WR_VERDICT_SEEN;
		if (e->seen && e->n_seen && it->reason == WR_REASON_POPULAR)
			return WR_VERDICT_FORGOTTEN;
	}
	return WR_VERDICT_OK;
}

enum wr_verdict wr_verify_list(const uint32_t *list, unsigned int n, const struct wr_message *m)
{
	bool shortened = m->header.flags & WR_ANS_SHORTENED;

	if (m->n_items > n || (m->n_items < n && !shortened))
		return WR_VERDICT_LIST;
	for (unsigned int i = 0; i < m->n_items; i++)
		if (m->items[i].item != list[i])
			return WR_VERDICT_LIST;
	return WR_VERDICT_OK;
}
