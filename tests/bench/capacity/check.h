/* SPDX-License-Identifier: BSD-3-Clause */
/* Watched users' lists made again, click by click, by the reference kernels: what the workers
 * answered must be the same items with the same scores. After the runs, main thread. */
#ifndef WR_CAPACITY_CHECK_H
#define WR_CAPACITY_CHECK_H

#include "source.h"
#include "wr_rank.h"

struct checked {
	uint64_t lists, wrong, unanswered;
};
struct check;
int check_new(struct check **c, const struct wr_bundle *b, struct wr_errmsg *msg) WR_MUST_CHECK;
void check_free(struct check *c);
/* Goes through the source's watched requests from its number first on, as they were fed; about
 * `lists` lists of them, evenly spread, are made again. */
void check_source(struct check *c, const struct source *s, uint32_t first, uint32_t lists,
	struct checked *sum);
/* A new server: nothing is known of anybody. */
void check_forget(struct check *c);

#endif
