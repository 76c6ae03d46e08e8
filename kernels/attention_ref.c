/* SPDX-License-Identifier: BSD-3-Clause */
/* The specification of attention.h: plain loops by age. */
#include "attention.h"

#include "attention_exp.h"
#include "lane_sum.h"
#include "quantise.h"

#include <math.h>
#include <string.h>

static size_t key_at(const struct wr_kv_panel *p, size_t head_dim, size_t slot, size_t c)
{
	size_t block = slot / 16 * 16, width = p->slots - block < 16 ? p->slots - block : 16;
	return block * head_dim + c / 4 * 4 * width + slot % 16 * 4 + c % 4;
}

static size_t value_at(size_t head_dim, size_t slot, size_t c)
{
	return slot / 4 * 4 * head_dim + c * 4 + slot % 4;
}

void wr_kv_store_ref(const struct wr_kv_panel *p, size_t head_dim, size_t first, size_t m,
	const int8_t *k, const int8_t *v, size_t ld, const float *k_scale, const float *v_scale,
	size_t ld_scale)
{
	for (size_t i = 0; i < m; i++) {
		for (size_t c = 0; c < head_dim; c++) {
			p->k[key_at(p, head_dim, first + i, c)] = k[i * ld + c];
			p->v[value_at(head_dim, first + i, c)] = v[i * ld + c];
		}
		p->k_scale[first + i] = k_scale[i * ld_scale];
		p->v_scale[first + i] = v_scale[i * ld_scale];
	}
}

void wr_kv_gather_ref(
	void *panels, size_t slots, const struct wr_kv_table *t, const uint32_t *rows, size_t n)
{
	size_t dh = t->head_dim, ld = t->n_heads * dh;
	for (unsigned int g = 0; g < t->n_heads; g++) {
		struct wr_kv_panel p = wr_kv_panel_at(
			(uint8_t *)panels + g * wr_kv_panel_bytes(slots, dh), slots, dh);
		for (size_t i = 0; i < n; i++) {
			const int8_t *k = t->kv + rows[i] * 2 * ld + g * dh;
			const float *s = t->scale + rows[i] * wr_kv_table_scales(t->n_heads) + g;
			wr_kv_store_ref(&p, dh, i, 1, k, k + ld, 0, s, s + t->n_heads, 0);
		}
	}
}

float wr_attend_exp_ref(float x)
{
	x = x > WR_EXP_MIN ? x : WR_EXP_MIN;
	float whole = fmaf(x, WR_EXP_LOG2E, WR_EXP_WHOLE);
	float f = fmaf(x, WR_EXP_LOG2E, WR_EXP_WHOLE - whole);
	float y = fmaf(WR_EXP_P4, f, WR_EXP_P3);
	y = fmaf(y, f, WR_EXP_P2);
	y = fmaf(y, f, WR_EXP_P1);
	y = fmaf(y, f, 1.0f);
	uint32_t bits, n;
	memcpy(&bits, &y, sizeof(bits));
	memcpy(&n, &whole, sizeof(n));
	bits += n << 23;
	memcpy(&y, &bits, sizeof(bits));
	return y;
}

/* Where slot j of a job lies: panels have all slots. */
static size_t place(const struct wr_attend *a, size_t slot)
{
	return slot % a->kv.slots;
}

/* e[a] = exp(score - largest) for ages 0 … n-1; their lane sum. */
static float softmax_terms(const struct wr_attend *a, unsigned int i, size_t n, float *e)
{
	size_t slot = a->first + i;
	const int8_t *q = a->q + i * a->ldq;
	float c = a->q_scale[i * a->ld_scale] * a->inv_sqrt, largest = -INFINITY;
	for (size_t age = 0; age < n; age++) {
		size_t at = place(a, slot - age);
		int32_t dot = 0;
		for (size_t x = 0; x < a->head_dim; x++)
			dot += q[x] * a->kv.k[key_at(&a->kv, a->head_dim, at, x)];
		e[age] = ((float)dot * a->kv.k_scale[at]) * c + a->bias[-(ptrdiff_t)age];
		largest = e[age] > largest ? e[age] : largest;
	}
	float lane[WR_LANES] = {0};
	for (size_t age = 0; age < n; age++) {
		e[age] = wr_attend_exp_ref(e[age] - largest);
		lane[age % WR_LANES] += e[age];
	}
	return wr_lane_fold(lane);
}

static void attend_one(const struct wr_attend *a, unsigned int i)
{
	size_t slot = a->first + i, n = slot + 1 - a->origin;
	n = n < a->window ? n : a->window;
	float w[WR_ATTEND_MAX_WINDOW], aw = 0;
	int32_t p[WR_ATTEND_MAX_WINDOW];
	float z = softmax_terms(a, i, n, w);
	for (size_t age = 0; age < n; age++) {
		w[age] *= a->kv.v_scale[place(a, slot - age)];
		aw = w[age] > aw ? w[age] : aw;
	}
	float inv = aw < WR_QUANTISE_TINY ? 0 : 127.0f / aw;
	for (size_t age = 0; age < n; age++)
		p[age] = (int32_t)rintf(w[age] * inv);
	float scale = aw < WR_QUANTISE_TINY ? 0 : (aw / 127.0f) / z;
	for (size_t c = 0; c < a->head_dim; c++) {
		int32_t acc = 0;
		for (size_t age = 0; age < n; age++)
			acc += p[age] * a->kv.v[value_at(a->head_dim, place(a, slot - age), c)];
		a->o[i * a->ldo + c] = (float)acc * scale;
	}
}

void wr_attend_ref(const struct wr_attend *jobs, size_t n_jobs)
{
	for (size_t j = 0; j < n_jobs; j++)
		for (unsigned int i = 0; i < jobs[j].n_queries; i++)
			attend_one(&jobs[j], i);
}

void wr_decode_ref(const struct wr_attend *jobs, size_t n_jobs)
{
	wr_attend_ref(jobs, n_jobs);
}
