/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's rounding in float (docs/model.md, "Student, as served"): a student whose weights,
 * activations, keys, values, attention weights and user vectors are rounded to what int8 can tell,
 * layer by layer, for training through it (Jacob et al. 2018) and for telling what each layer
 * costs. Sums are float, so single roundings fall otherwise than the server's.
 */
#ifndef WR_LEARN_FAKE_INT_H
#define WR_LEARN_FAKE_INT_H

#include "learn_int.h"

/* Layers of a block: a product with its input, or attention (heads and weights). */
enum { FAKE_QKV, FAKE_ATTENTION, FAKE_OUT, FAKE_UP, FAKE_DOWN, FAKE_PARTS };
struct wr_fake {
	const struct wr_student *real; /* the weights that are rounded; borrowed */
	bool items, user;
	uint8_t block[WR_BUNDLE_MAX_BLOCKS]; /* bits 1 << FAKE_… */
	/* As in struct wr_bundle_model: these round in two planes, if at all. */
	uint16_t kept[WR_BUNDLE_PROJECTIONS];
};
static inline bool fake_part(const struct wr_student *s, uint32_t b, unsigned int part)
{
	return s->fake && s->fake->block[b] >> part & 1;
}

/* x [rows][n]: each row to multiples of its largest magnitude / 127; of that / 254 when low. */
void wr_learn_fake_rows(float *x, size_t rows, uint32_t n, bool low);
/* The rows that enter a product (part not FAKE_ATTENTION), as s says. */
void wr_learn_fake_input(const struct wr_student *s, uint32_t b, unsigned int part, float *x,
	size_t rows, uint32_t n);
/* wr_fake with every layer. */
void wr_learn_fake_all(struct wr_fake *fake, const struct wr_student *real);
/*
 * A student of fake->real's shape (the caller's) that computes as fake says; fake is borrowed.
 * WR_EINVAL when the server could not run it (wr_learn_served), or windows are wider than 96.
 */
int wr_learn_fake_new(
	struct wr_student **s, const struct wr_fake *fake, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Its weights again, after the real ones changed. */
void wr_learn_fake_refresh(struct wr_student *s);
/* From the gradient in the rounded weights to that in the real ones, straight through the rounding
 * (Bengio et al. 2013); in place. */
void wr_learn_fake_gradient(const struct wr_student *s, float *grad);
/* Unit item vectors of s, rounded where s says so. */
void wr_learn_student_units(const struct wr_student *s, float *unit, float *norm);
/* WR_EINVAL with a line for students that the server's encoder cannot run; what: its name. */
int wr_learn_served(
	const struct wr_student_shape *p, const char *what, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
