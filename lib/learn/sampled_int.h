/* SPDX-License-Identifier: BSD-3-Clause */
/* Softmax cross-entropy over the target and a sample of the catalogue, corrected so that its sum is
 * an unbiased estimate of the full one's. */
#ifndef WR_LEARN_SAMPLED_INT_H
#define WR_LEARN_SAMPLED_INT_H

#include "learn_int.h"

/* A step's sample, shared by all of its positions. */
struct negatives {
	uint32_t n;
	uint32_t *row;       /* [n] */
	float *log_expected; /* [n]: log of how often the item is expected among the n */
	float *unit;         /* [n][d]: their unit vectors */
	float *grad;         /* [chunks][n][d]: d loss / d unit of each chunk */
	float *said;         /* [tokens][d]: d loss / d unit vector of each position's target */
	double *cdf;         /* [n_items]: of the distribution */
};
/* Items are drawn with probability ∝ (count + 1)^0.75 (Mikolov et al. 2013); counts [n_items] of
 * the training tokens, NULL = all the same. WR_ENOMEM. */
int wr_learn_negatives_new(struct negatives *x, uint32_t n, const struct wr_student *s,
	const uint32_t *counts, uint32_t chunks, size_t tokens,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_learn_negatives_free(struct negatives *x);
/* Draws rows with their expected counts; a function of the key. */
void wr_learn_negatives_draw(struct negatives *x, uint32_t n_items, uint64_t key);
/* Their unit vectors out of [n_items][d]. */
void wr_learn_negatives_gather(struct negatives *x, const float *unit, uint32_t d);

/*
 * loss_t = log(e^s_t + Σ_j e^(s_j - log_expected_j)) - s_t over the sample's j that are not the
 * target, whose sum is expected to be the full one (Bengio, Senécal 2008; that the target itself
 * takes no correction: Khrylchenko et al. 2025). As wr_learn_softmax_loss, but the gradients of
 * unit vectors go to x->grad of this chunk and x->said from token `first` on.
 */
void wr_learn_sampled_loss(const struct wr_student *s, struct net_ws *ws, const float *unit,
	struct negatives *x, uint32_t chunk, size_t first, const struct ragged *in,
	const struct targets *y, float weight, float *grad, struct loss_terms *loss);
/* The chunks' gradients, in order, to those of all unit vectors, which are overwritten. */
void wr_learn_sampled_scatter(const struct negatives *x, uint32_t chunks, const uint32_t *targets,
	size_t tokens, uint32_t n_items, uint32_t d, float *to);

#endif
