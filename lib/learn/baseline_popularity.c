/* SPDX-License-Identifier: BSD-3-Clause */
/* The popularity baseline: counts once, then walks the items in order of count; a top list costs
 * O(k + history). */
#include "wr_baseline.h"

#include <stdlib.h>
#include <string.h>

struct wr_popularity {
	uint32_t n_items;
	uint32_t *count; /* by row */
	uint32_t *order; /* rows, most popular first */
};

struct counted {
	uint32_t count, row;
};

static int by_count_then_row(const void *a, const void *b)
{
	const struct counted *x = a, *y = b;
	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

static int by_row(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

static int count_rows(
	struct wr_popularity *p, const struct wr_baseline_log *log, struct wr_errmsg *msg)
{
	for (uint64_t e = 0; e < log->offset[log->n_users]; e++) {
		if (log->rows[e] >= log->n_items)
			return wr_fail(msg, WR_EINVAL,
				"interaction %llu names item row %u, there are %u",
				(unsigned long long)e, log->rows[e], log->n_items);
		p->count[log->rows[e]]++;
	}
	return WR_OK;
}

int wr_popularity_new(
	struct wr_popularity **out, const struct wr_baseline_log *log, struct wr_errmsg *msg)
{
	int err = WR_ENOMEM;
	struct counted *c = NULL;
	struct wr_popularity *p = calloc(1, sizeof(*p));
	*out = NULL;
	if (!p)
		goto oom;
	p->n_items = log->n_items;
	p->count = calloc((size_t)log->n_items + 1, sizeof(*p->count));
	p->order = calloc((size_t)log->n_items + 1, sizeof(*p->order));
	c = calloc((size_t)log->n_items + 1, sizeof(*c));
	if (!p->count || !p->order || !c)
		goto oom;
	err = count_rows(p, log, msg);
	if (err)
		goto fail;
	for (uint32_t r = 0; r < p->n_items; r++)
		c[r] = (struct counted){p->count[r], r};
	qsort(c, p->n_items, sizeof(*c), by_count_then_row);
	for (uint32_t r = 0; r < p->n_items; r++)
		p->order[r] = c[r].row;
	free(c);
	*out = p;
	return WR_OK;
oom:
	err = wr_fail(msg, WR_ENOMEM, "no memory for the popularity of %u items", log->n_items);
fail:
	free(c);
	wr_popularity_free(p);
	return err;
}

void wr_popularity_free(struct wr_popularity *p)
{
	if (!p)
		return;
	free(p->count);
	free(p->order);
	free(p);
}

const uint32_t *wr_popularity_counts(const struct wr_popularity *p)
{
	return p->count;
}

const uint32_t *wr_popularity_order(const struct wr_popularity *p)
{
	return p->order;
}

uint32_t wr_popularity_top(const struct wr_popularity *p, const uint32_t *history, uint32_t n,
	bool filter_seen, uint32_t k, uint32_t *top)
{
	uint32_t *seen = NULL, found = 0;
	if (filter_seen && n) {
		seen = malloc(n * sizeof(*seen));
		if (!seen)
			return 0;
		memcpy(seen, history, n * sizeof(*seen));
		qsort(seen, n, sizeof(*seen), by_row);
	}
	for (uint32_t i = 0; i < p->n_items && found < k; i++)
		if (!seen || !bsearch(&p->order[i], seen, n, sizeof(*seen), by_row))
			top[found++] = p->order[i];
	free(seen);
	return found;
}
