/* SPDX-License-Identifier: BSD-3-Clause */
/* Categories of items folded into item vectors, profiles of users added to the input. Once a step,
 * n_items · d adds; beside the softmax nothing. */
#include "side_int.h"

#include <string.h>

uint64_t wr_learn_side_key(const struct wr_side *side, uint32_t n_rows)
{
	uint64_t key = wr_mix64(side->n_values + 1);
	for (uint32_t v = 0; v < side->n_values; v++) {
		for (const char *c = side->value_name[v]; *c; c++)
			key = (key ^ (unsigned char)*c) * 0x100000001b3u;
		key = wr_mix64(key);
	}
	for (uint32_t r = 0; side->off && r < n_rows; r++)
		for (uint32_t i = side->off[r]; i < side->off[r + 1]; i++)
			key = wr_mix64(key ^ ((uint64_t)r << 32 | side->value[i]));
	return key ? key : 1;
}

int wr_learn_check_profiles(
	const struct wr_student *s, const struct wr_dataset *ds, struct wr_errmsg *msg)
{
	if (!s->shape.profile_values)
		return WR_OK;
	if (!ds->user_side.n_values)
		return wr_fail(msg, WR_EINVAL,
			"the model reads profiles of users, the data has none: import it with its "
			"users' file");
	if (s->shape.profile_values != ds->user_side.n_values ||
		s->shape.profile_key != wr_learn_side_key(&ds->user_side, 0))
		return wr_fail(msg, WR_EINVAL,
			"the model reads %u values of profiles, the data's %u are others: give the "
			"data it was trained on",
			s->shape.profile_values, ds->user_side.n_values);
	return WR_OK;
}

int wr_learn_check_categories(const struct wr_student *s, uint64_t key, const struct wr_dataset *ds,
	struct wr_errmsg *msg)
{
	const struct wr_side *side = &ds->item_side;
	if (!s->shape.categories || (s->shape.categories == side->n_values &&
					    key == wr_learn_side_key(side, ds->n_items)))
		return WR_OK;
	return wr_fail(msg, WR_EINVAL,
		"the run was trained with other categories of items than the data has: give its "
		"data, or start a new run");
}

int wr_learn_no_profiles(const struct wr_student *s, const char *what, struct wr_errmsg *msg)
{
	return s->shape.profile_values ? wr_fail(msg, WR_EINVAL,
						 "%s knows no profiles of users, which the model "
						 "reads: fit, teach, "
						 "eval --run and compare do",
						 what)
				       : WR_OK;
}

int wr_learn_set_side(struct wr_fit *f, const struct wr_dataset *ds, struct wr_errmsg *msg)
{
	const struct wr_side *items = &ds->item_side, *users = &ds->user_side;
	if (f->side_items && !items->n_values)
		return wr_fail(msg, WR_EINVAL,
			"no item of this data has a category: import it with its items' file, or "
			"train without");
	if (f->side_users && !users->n_values)
		return wr_fail(msg, WR_EINVAL,
			"no user of this data has a profile: import it with its users' file, or "
			"train without");
	if (f->side_items)
		f->shape.categories = items->n_values;
	if (f->side_users) {
		f->shape.profile_values = users->n_values;
		f->shape.profile_key = wr_learn_side_key(users, 0);
	}
	return WR_OK;
}

/* y += x·k */
WR_CLONES static void add_row(float *y, const float *x, float k, uint32_t d)
{
#pragma omp simd
	for (uint32_t c = 0; c < d; c++)
		y[c] += x[c] * k;
}

void wr_learn_whole_items(const struct wr_student *s, const float *w, float *e)
{
	const struct wr_side *side = s->item_side;
	uint32_t d = s->shape.d;
	memcpy(e, w + s->embedding, (size_t)s->shape.n_items * d * sizeof(*e));
	for (uint32_t r = 0; r < s->shape.n_items; r++) {
		uint32_t first = side->off[r], last = side->off[r + 1];
		for (uint32_t i = first; i < last; i++)
			add_row(e + (size_t)r * d, w + s->category + (size_t)side->value[i] * d,
				1.0f / (float)(last - first), d);
	}
}

int wr_learn_whole_new(struct wr_student **whole, const struct wr_student *s, struct wr_errmsg *msg)
{
	struct wr_student_shape shape = s->shape;
	shape.categories = 0;
	return wr_student_new(whole, &shape, msg);
}

void wr_learn_whole_refresh(struct wr_student *whole, const struct wr_student *s)
{
	size_t behind = (size_t)s->shape.n_items * s->shape.d;
	wr_learn_whole_items(s, s->w, whole->w + whole->embedding);
	memcpy(whole->w + behind, s->w + behind, (whole->n_weights - behind) * sizeof(*s->w));
}

void wr_learn_category_gradient(const struct wr_student *s, float *grad)
{
	const struct wr_side *side = s->item_side;
	uint32_t d = s->shape.d;
	memset(grad + s->category, 0, (size_t)s->shape.categories * d * sizeof(*grad));
	for (uint32_t r = 0; r < s->shape.n_items; r++) {
		uint32_t first = side->off[r], last = side->off[r + 1];
		for (uint32_t i = first; i < last; i++)
			add_row(grad + s->category + (size_t)side->value[i] * d,
				grad + s->embedding + (size_t)r * d, 1.0f / (float)(last - first),
				d);
	}
}

void wr_learn_profile_forward(const struct wr_student *s, const struct ragged *in, float *x)
{
	const struct wr_side *side = in->profile;
	uint32_t d = s->shape.d;
	float k = sqrtf((float)d);
	if (!s->shape.profile_values || !side || !side->off)
		return;
	for (uint32_t q = 0; q < in->n_seqs; q++) {
		uint32_t u = in->user[q];
		for (uint32_t i = side->off[u]; i < side->off[u + 1]; i++)
			for (uint32_t t = in->off[q]; t < in->off[q + 1]; t++)
				add_row(x + (size_t)t * d,
					s->w + s->profile + (size_t)side->value[i] * d, k, d);
	}
}

void wr_learn_profile_backward(
	const struct wr_student *s, const struct ragged *in, const float *dx, float *grad)
{
	const struct wr_side *side = in->profile;
	uint32_t d = s->shape.d;
	float k = sqrtf((float)d);
	if (!s->shape.profile_values || !side || !side->off)
		return;
	for (uint32_t q = 0; q < in->n_seqs; q++) {
		uint32_t u = in->user[q];
		for (uint32_t i = side->off[u]; i < side->off[u + 1]; i++)
			for (uint32_t t = in->off[q]; t < in->off[q + 1]; t++)
				add_row(grad + s->profile + (size_t)side->value[i] * d,
					dx + (size_t)t * d, k, d);
	}
}
