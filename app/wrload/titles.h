/* SPDX-License-Identifier: BSD-3-Clause */
/* Titles of items, from items.tsv of a dataset directory ("id⇥name⇥category⇥title"). */
#ifndef WRLOAD_TITLES_H
#define WRLOAD_TITLES_H

#include "wr_base.h"

struct titles;
/* WR_EFORMAT names file and line. titles_free accepts NULL. */
int titles_read(struct titles **t, const char *dir, struct wr_errmsg *msg) WR_MUST_CHECK;
void titles_free(struct titles *t);
/* "" when t is NULL or the item has none. */
const char *titles_get(const struct titles *t, uint32_t item);

#endif
