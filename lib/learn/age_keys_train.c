/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys by age between a student's weights, [H][age][dh], and the slots of attention. */
#include "age_keys_int.h"

#include <string.h>

static size_t at_age(const struct wr_student *s, uint32_t h, uint32_t age)
{
	return ((size_t)h * s->shape.window + age) * s->head_dim;
}

void wr_learn_age_keys_load(const struct wr_student *s, uint32_t b, struct net_ws *ws)
{
	uint32_t w = s->shape.window, dh = s->head_dim;
	if (!s->shape.age_keys)
		return;
	memset(ws->d_age_key, 0, at_age(s, s->shape.n_heads, 0) * sizeof(float));
	for (uint32_t h = 0; h < s->shape.n_heads; h++)
		for (uint32_t slot = 0; slot < w; slot++) {
			const float *key = s->w + s->block[b].age_key + at_age(s, h, w - 1 - slot);
			memcpy(ws->age_key + at_age(s, h, slot), key, dh * sizeof(float));
			for (uint32_t c = 0; c < dh; c++)
				ws->age_key_t[at_age(s, h, 0) + (size_t)c * w + slot] = key[c];
		}
}

void wr_learn_age_keys_store(
	const struct wr_student *s, uint32_t b, const struct net_ws *ws, float *grad)
{
	uint32_t w = s->shape.window;
	if (!s->shape.age_keys)
		return;
	for (uint32_t h = 0; h < s->shape.n_heads; h++)
		for (uint32_t slot = 0; slot < w; slot++) {
			const float *from = ws->d_age_key + at_age(s, h, slot);
			float *to = grad + s->block[b].age_key + at_age(s, h, w - 1 - slot);
			for (uint32_t c = 0; c < s->head_dim; c++)
				to[c] += from[c];
		}
}
