/* SPDX-License-Identifier: BSD-3-Clause */
/* Training's keys by age: what a query's content says to an age (DeBERTa's content-to-position
 * term, He et al. 2021; relative keys, Shaw et al. 2018). 50 ages of 32 channels a head. */
#ifndef WR_LEARN_AGE_KEYS_INT_H
#define WR_LEARN_AGE_KEYS_INT_H

#include "learn_int.h"

/* Of one head, by slot: slot s holds age window-1-s. NULL = the net has none. */
struct age_keys {
	const float *by_slot;    /* [window][dh] */
	const float *by_channel; /* [dh][window] */
	float *d_by_slot;        /* [window][dh] */
	uint32_t window;
};

static inline struct age_keys age_keys_of(
	const struct wr_student *s, const struct net_ws *ws, uint32_t h)
{
	size_t at = (size_t)h * s->shape.window * s->head_dim;
	if (!s->shape.age_keys)
		return (struct age_keys){0};
	return (struct age_keys){.by_slot = ws->age_key + at,
		.by_channel = ws->age_key_t + at,
		.d_by_slot = ws->d_age_key + at,
		.window = s->shape.window};
}

/* e[i] += q · the key of slot s0 + i. */
WR_INLINE void age_keys_score(const struct age_keys *x, const float *q, uint32_t s0, uint32_t m,
	float *e, const uint32_t dh)
{
	if (!x->by_slot)
		return;
	for (uint32_t c = 0; c < dh; c++) {
		const float *key = x->by_channel + (size_t)c * x->window + s0;
		float qc = q[c];
#pragma omp simd
		for (uint32_t i = 0; i < m; i++)
			e[i] += qc * key[i];
	}
}

/* From ds = d loss / d product: adds to dq and to the gradients of the keys. */
WR_INLINE void age_keys_gradient(const struct age_keys *x, const float *q, uint32_t s0, uint32_t m,
	const float *ds, float *dq, const uint32_t dh)
{
	if (!x->by_slot)
		return;
	for (uint32_t i = 0; i < m; i++) {
		const float *key = x->by_slot + (size_t)(s0 + i) * dh;
		float *d_key = x->d_by_slot + (size_t)(s0 + i) * dh, dsi = ds[i];
#pragma omp simd
		for (uint32_t c = 0; c < dh; c++) {
			dq[c] += dsi * key[c];
			d_key[c] += dsi * q[c];
		}
	}
}

/* A block's keys into ws, their gradients there to 0; and these into the block's place in grad. */
void wr_learn_age_keys_load(const struct wr_student *s, uint32_t b, struct net_ws *ws);
void wr_learn_age_keys_store(
	const struct wr_student *s, uint32_t b, const struct net_ws *ws, float *grad);

#endif
