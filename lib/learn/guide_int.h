/* SPDX-License-Identifier: BSD-3-Clause */
/* A teacher beside the student: its blocks as further targets. */
#ifndef WR_LEARN_GUIDE_INT_H
#define WR_LEARN_GUIDE_INT_H

#include "learn_int.h"

/* match[b]: 1 + the teacher's block that block b learns from, 0 = none. */
struct distil {
	const struct wr_student *teacher;
	uint8_t match[WR_BUNDLE_MAX_BLOCKS];
	double hidden_weight, attention_weight;
};

/* Where a teacher's attention weights go. */
struct collector {
	const struct wr_student_shape *student, *teacher;
	float *out; /* [T][H][W] by slot, the student's */
};

/* One thread's teacher. attention[b]: what block b's weights shall be, NULL = free. */
struct guide {
	const struct distil *distil;
	struct net_ws teacher;
	float *arena, *y;
	float *attention[WR_BUNDLE_MAX_BLOCKS];
};
int wr_learn_guide_new(struct guide *g, const struct distil *x, const struct wr_student *s,
	uint32_t max_tokens, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_learn_guide_free(struct guide *g);
/* Runs the teacher on the chunk. */
void wr_learn_guide_forward(struct guide *g, const struct wr_student *s, const struct ragged *in);
/* Cosine distances of block b's outputs x [t][d], projected, from the teacher's: returns their sum,
 * adds weight · hidden_weight times the gradient to dx and to the projection's in grad. */
double wr_learn_guide_hidden(struct guide *g, const struct wr_student *s, uint32_t b,
	const float *x, uint32_t t, float weight, float *dx, float *grad);

#endif
