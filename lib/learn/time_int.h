/* SPDX-License-Identifier: BSD-3-Clause */
/* Training's bias by age in time: what both ways of attention add to the bias by age in clicks. The
 * buckets of a chunk (some 1,600 tokens × 50 keys, twice) are found once for all blocks and heads.
 */
#ifndef WR_LEARN_TIME_INT_H
#define WR_LEARN_TIME_INT_H

#include "learn_int.h"

/* Of one head of one sequence; bucket NULL = the net has none. */
struct time_bias {
	const uint8_t *bucket; /* [n][window], by slot */
	const float *bias;     /* [time_buckets] */
	float *d_bias;         /* the same */
	float *row;            /* [window] of scratch */
	uint32_t window;
};

/* Fills ws->bucket from in->times and in->asked. */
void wr_learn_time_buckets(const struct wr_student *s, struct net_ws *ws, const struct ragged *in);

/* Block b's, of head h of the sequence that begins at token `first`: the last block's queries ask
 * when the request comes, all others when their token came. */
static inline struct time_bias time_bias_of(const struct wr_student *s, const struct net_ws *ws,
	const struct block_ws *b, uint32_t first, uint32_t h)
{
	const struct wr_student_shape *p = &s->shape;
	size_t block = (size_t)(b - ws->b);
	if (!p->time_buckets)
		return (struct time_bias){0};
	return (struct time_bias){
		.bucket = ws->bucket[block + 1 == p->n_blocks] + (size_t)first * p->window,
		.bias = s->w + s->block[block].time + (size_t)h * p->time_buckets,
		.d_bias = ws->d_time + (size_t)h * p->time_buckets,
		.row = ws->time_row,
		.window = p->window};
}

/* The biases of query t's m keys, from slot s0 on: bias (by age in clicks), and by age in time. */
WR_INLINE const float *time_row(
	const struct time_bias *x, const float *bias, uint32_t t, uint32_t s0, uint32_t m)
{
	if (!x->bucket)
		return bias;
	const uint8_t *bucket = x->bucket + (size_t)t * x->window + s0;
	for (uint32_t i = 0; i < m; i++)
		x->row[i] = bias[i] + x->bias[bucket[i]];
	return x->row;
}

/* Adds the gradients of the biases from those of the products, which are inv_sqrt times as large.
 */
WR_INLINE void time_gradient(const struct time_bias *x, uint32_t t, uint32_t s0, uint32_t m,
	const float *ds, float inv_sqrt)
{
	if (!x->bucket)
		return;
	const uint8_t *bucket = x->bucket + (size_t)t * x->window + s0;
	float back = 1.0f / inv_sqrt;
	for (uint32_t i = 0; i < m; i++)
		x->d_bias[bucket[i]] += ds[i] * back;
}

#endif
