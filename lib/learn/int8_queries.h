/* SPDX-License-Identifier: BSD-3-Clause */
/* Answers of the served model to many histories at once, in parallel. Shared by hit rates and
 * expected lists. */
#ifndef WR_LEARN_INT8_QUERIES_H
#define WR_LEARN_INT8_QUERIES_H

#include "wr_learn.h"
#include "wr_rank.h"

/* A user whose history is tokens [begin, end) of the data set: all of it is seen, its end is
 * encoded. One asks when token `end` of the user comes, which is there. */
struct int8_query {
	uint32_t begin, end;
};
/*
 * items[i·k …] = the k best of query i, n_items[i] of them (row order as the server answers). k ≤
 * WR_RANK_MAX_K. filter: seen items are left out.
 */
int wr_learn_int8_answer(const struct wr_int8 *x, const struct wr_dataset *ds,
	const struct int8_query *q, size_t n, uint32_t k, bool filter, uint32_t *items,
	uint8_t *n_items, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
