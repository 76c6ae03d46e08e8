/* SPDX-License-Identifier: BSD-3-Clause */
/* One optimiser step over a ragged batch, the same for any number of threads. */
#ifndef WR_LEARN_STEP_INT_H
#define WR_LEARN_STEP_INT_H

#include "fake_int.h"
#include "guide_int.h"
#include "sampled_int.h"
#include "soft_targets_int.h"

#define STEP_CHUNK \
	8 /* sequences that one thread takes at a time; gradients are added in chunk order */

/* Sequences and what follows each of their tokens. */
struct batch {
	uint32_t n_seqs, *off, *rows, *targets; /* off[n_seqs + 1] */
	uint32_t *user;         /* [n_seqs]; of a net or a teacher with profiles only */
	uint32_t *token;        /* [n_seqs] place of each sequence's first token in the data set */
	int64_t *times, *asked; /* as struct ragged; of a net with time_buckets only */
};

struct step {
	const struct wr_fit *fit;
	struct wr_student *s;
	struct wr_student *whole; /* s with whole item vectors; NULL = s has no categories */
	const struct wr_dataset *ds;
	struct wr_fake fake;
	struct wr_student *served; /* s through the server's rounding; NULL = trained in float */
	int n_threads;
	uint32_t n_chunks;
	struct net_ws *ws; /* by thread */
	float *chunk_grad; /* [n_chunks][n_weights] */
	float *grad;
	struct optimiser *opt;   /* the caller's */
	struct targets targets;  /* next is set by chunk */
	float *unit, *norm, *dx; /* dx: [tokens][d] gradients of inputs */
	struct loss_terms *chunk_loss;
	struct negatives sample;  /* n 0 = the whole catalogue */
	struct soft_targets soft; /* map NULL = none */
	struct soft_ws *soft_ws;  /* by thread */
	struct distil distil;     /* teacher NULL = no guides */
	struct guide *guide;      /* by thread */
};
/* ds is looked at for soft answers, for side data, and for how often items occur, which decides
 * what is sampled; else it may be NULL. s->item_side is set when s has categories. */
int wr_learn_step_new(struct step *st, const struct wr_fit *fit, struct wr_student *s,
	struct optimiser *opt, const struct wr_dataset *ds, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_learn_step_free(struct step *st);
/* Gradient of the mean loss over the batch's tokens into st->grad; *loss: sums over the tokens. key
 * seeds dropout. */
void wr_learn_step_gradient(
	struct step *st, const struct batch *b, uint64_t key, struct loss_terms *loss);
/* A model laid out as st->s with whole item vectors: itself, or, where it has categories, st's
 * copy, good until the next step. */
const struct wr_student *wr_learn_step_whole(struct step *st, const struct wr_student *s);
/* What the weights are trained for: the terms with the weights of the fit. */
double wr_learn_step_total(const struct step *st, const struct loss_terms *loss);
/* Adam with st->grad, weight decay and the running mean; step counts from 1. */
void wr_learn_step_apply(struct step *st, float lr, uint64_t adam_step);

#endif
