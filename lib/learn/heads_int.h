/* SPDX-License-Identifier: BSD-3-Clause */
/* The heads' weights, forward and backward pass over a chunk of shown items. */
#ifndef WR_LEARN_HEADS_INT_H
#define WR_LEARN_HEADS_INT_H

#include "learn_int.h"
#include "wr_policy.h"

#define HEADS_CHUNK 256 /* shown items that one thread takes at a time */

/* Offsets of the tensors in w, in floats. */
struct wr_heads {
	uint32_t n_items, d, hidden, n_positions;
	uint32_t n_in; /* 5d + 2, each of variance about 1: u, m, e, u ⊙ e, m ⊙ e, u·e, m·e */
	uint64_t key;  /* of the student */
	float *unit;   /* [n_items][d] its unit item vectors */
	size_t in, in_bias;    /* [hidden][n_in], [hidden] */
	size_t out, out_bias;  /* [2][hidden], [2]: click, convert */
	size_t item, position; /* [2][n_items]; [n_positions], the first is not used */
	size_t n_weights;
	float *w;
};
int wr_learn_heads_new(struct wr_heads **h, const struct wr_student *s, uint32_t hidden,
	uint32_t n_positions, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_learn_heads_init(struct wr_heads *h, uint64_t seed, double click_rate, double convert_rate);

/* What heads know of a user, 2d floats: the student's vector, and the direction of the sum of all
 * item vectors of the history. */
int wr_learn_heads_users_of_slates(const struct wr_heads *h, const struct wr_student *s,
	const struct wr_dataset *ds, const struct wr_impressions *x, uint32_t threads, float *v,
	struct wr_errmsg *msg) WR_MUST_CHECK;

/* One thread's memory. */
struct heads_ws {
	float *x, *h, *dh;            /* [HEADS_CHUNK][n_in], [HEADS_CHUNK][hidden] */
	float *z[2], *dz[2], *looked; /* [HEADS_CHUNK] */
};
int wr_learn_heads_ws_new(
	struct heads_ws *ws, const struct wr_heads *h, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_learn_heads_ws_free(struct heads_ws *ws);

/* n <= HEADS_CHUNK shown items; u[i] points to what is known of its user. */
struct heads_batch {
	uint32_t n;
	const float **u;
	const uint32_t *row;
	const uint8_t *position, *clicked, *converted;
};
/* Fills ws->z (logits) and ws->looked. */
void wr_learn_heads_forward(
	const struct wr_heads *h, struct heads_ws *ws, const struct heads_batch *b);
/* Behind forward: the loss summed over the batch; adds weight times its gradient to grad. */
double wr_learn_heads_backward(const struct wr_heads *h, struct heads_ws *ws,
	const struct heads_batch *b, float weight, float *grad);

#endif
