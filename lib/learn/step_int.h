/* SPDX-License-Identifier: BSD-3-Clause */
/* One optimiser step over a ragged batch, the same for any number of threads. */
#ifndef WR_LEARN_STEP_INT_H
#define WR_LEARN_STEP_INT_H

#include "learn_int.h"

#define STEP_CHUNK \
	8 /* sequences that one thread takes at a time; gradients are added in chunk order */

/* Sequences and what follows each of their tokens. */
struct batch {
	uint32_t n_seqs, *off, *rows, *targets; /* off[n_seqs + 1] */
};

struct step {
	const struct wr_fit *fit;
	struct wr_student *s;
	int n_threads;
	uint32_t n_chunks;
	struct net_ws *ws; /* by thread */
	float *chunk_grad; /* [n_chunks][n_weights] */
	float *grad;
	struct optimiser *opt;   /* the caller's */
	struct targets targets;  /* next is set by chunk */
	float *unit, *norm, *dx; /* dx: [tokens][d] gradients of inputs */
	double *chunk_loss;
};
int wr_learn_step_new(struct step *st, const struct wr_fit *fit, struct wr_student *s,
	struct optimiser *opt, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_learn_step_free(struct step *st);
/* Gradient of the mean loss over the batch's tokens into st->grad; returns the summed loss. key
 * seeds dropout. */
double wr_learn_step_gradient(struct step *st, const struct batch *b, uint64_t key);
/* Adam with st->grad, weight decay and the running mean; step counts from 1. */
void wr_learn_step_apply(struct step *st, float lr, uint64_t adam_step);

#endif
