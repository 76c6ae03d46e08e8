/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Side features: vectors for categories of items and for profiles of users.
 *
 * Items: E[i] = V[i] + mean of C[c] over i's categories, at the input and, tied, at the output: an
 * item's vector is a sum over its features, its own id among them (Kula 2015, LightFM; a mean over
 * the categories, so that items with many do not grow). Linear, so training folds it into one table
 * once a step and everything behind sees E alone: files, teachers, bundles.
 *
 * Users: x_t = √d (E[i_t] + Σ P[v]) over the values v of the user's profile, at every position:
 * where SSE-PT (Wu, Li, Hsieh, Sharpnack 2020) puts its user vectors, added as SASRec adds
 * positions. A vector a value, not a user, so that new users have one. Teachers only: no request
 * tells a profile.
 */
#ifndef WR_LEARN_SIDE_INT_H
#define WR_LEARN_SIDE_INT_H

#include "learn_int.h"

/* Tells value names apart, with rows also which row has which; never 0. */
uint64_t wr_learn_side_key(const struct wr_side *side, uint32_t n_rows);
/* WR_EINVAL unless the profiles that s was trained with (if any) are those of ds. */
int wr_learn_check_profiles(const struct wr_student *s, const struct wr_dataset *ds,
	struct wr_errmsg *msg) WR_MUST_CHECK;
/* WR_EINVAL unless the categories that s was trained with (if any), of this key with rows, are
 * those of ds. */
int wr_learn_check_categories(const struct wr_student *s, uint64_t key, const struct wr_dataset *ds,
	struct wr_errmsg *msg) WR_MUST_CHECK;
/* WR_EINVAL with a line for students with profiles, for uses that know of no users; what: the use.
 */
int wr_learn_no_profiles(
	const struct wr_student *s, const char *what, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Sizes of the side features that fit asks for into its shape; WR_EINVAL when ds has none. */
int wr_learn_set_side(
	struct wr_fit *f, const struct wr_dataset *ds, struct wr_errmsg *msg) WR_MUST_CHECK;

/* e [n_items][d] = whole item vectors of w, laid out as s->w. */
void wr_learn_whole_items(const struct wr_student *s, const float *w, float *e);
/* A student without categories that stands for s; the caller's. */
int wr_learn_whole_new(
	struct wr_student **whole, const struct wr_student *s, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Its weights again. */
void wr_learn_whole_refresh(struct wr_student *whole, const struct wr_student *s);
/* From the gradient of whole item vectors, in the embedding's place, to the categories' too. */
void wr_learn_category_gradient(const struct wr_student *s, float *grad);

/* Adds the profiles' vectors to x [tokens][d]; nothing where s or in knows none. */
void wr_learn_profile_forward(const struct wr_student *s, const struct ragged *in, float *x);
/* Adds to grad from dx = d loss / d x. */
void wr_learn_profile_backward(
	const struct wr_student *s, const struct ragged *in, const float *dx, float *grad);

#endif
