/* SPDX-License-Identifier: BSD-3-Clause */
/* Ages in time of a chunk's queries and keys, by bucket. */
#include "time_int.h"

/* Slot s of a query holds the key that is window-1-s tokens older; slots before the sequence are
 * not looked at. */
static void fill(const struct wr_student_shape *p, const int64_t *key, const int64_t *query,
	uint32_t n, uint8_t *bucket)
{
	for (uint32_t t = 0; t < n; t++) {
		uint32_t m = WR_MIN(t + 1, p->window), j0 = t + 1 - m;
		uint8_t *row = bucket + (size_t)t * p->window + p->window - m;
		for (uint32_t i = 0; i < m; i++)
			row[i] = (uint8_t)wr_time_bucket(query[t], key[j0 + i], p->time_buckets);
	}
}

void wr_learn_time_buckets(const struct wr_student *s, struct net_ws *ws, const struct ragged *in)
{
	const struct wr_student_shape *p = &s->shape;
	for (uint32_t i = 0; i < in->n_seqs; i++) {
		uint32_t first = in->off[i], n = in->off[i + 1] - first;
		const int64_t *key = in->times + first;
		fill(p, key, key, n, ws->bucket[0] + (size_t)first * p->window);
		fill(p, key, in->asked + first, n, ws->bucket[1] + (size_t)first * p->window);
	}
}
