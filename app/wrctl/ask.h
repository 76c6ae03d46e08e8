/* SPDX-License-Identifier: BSD-3-Clause */
/* wrctl ask: options, titles of items. */
#ifndef WRCTL_ASK_H
#define WRCTL_ASK_H

#include "wr_base.h"

/* As given on the command line, NULL = not given. */
struct ask_options {
	const char *server, *user, *click, *say, *k, *history, *exclude, *include_seen, *forget;
	const char *bundle, *items; /* where titles come from */
};

/* ---- ask_titles.c ---- */
struct titles;
/* Of a bundle. wanted_id: 16 bytes that its id must be, NULL = any; WR_ESTATE when it is another.
 */
int titles_of_bundle(struct titles **t, const char *path, const uint8_t *wanted_id,
	struct wr_errmsg *msg) WR_MUST_CHECK;
/* Of a dataset's items.tsv (docs/architecture.md): "id⇥name⇥category⇥title" lines. */
int titles_of_items(struct titles **t, const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Accepts NULL. */
void titles_free(struct titles *t);
/* The item's title, *bytes long, not terminated; "" when t is NULL or it has none. */
const char *titles_get(const struct titles *t, uint32_t item, uint32_t *bytes);

#endif
