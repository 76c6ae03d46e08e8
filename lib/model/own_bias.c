/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queries with biases of their own (docs/model.md): by age in clicks, by age in time and by what a
 * query's content says to an age. Each is a job of its own for the kernels of attention, which see
 * a row of biases and know nothing of where it came from. Keys by age are a product of all queries
 * of a call with 50 rows of 32 channels a head.
 */
#include "encoder_int.h"

#include <math.h>
#include <string.h>

/* Consecutive outputs of a block that run together. */
struct own_call {
	size_t first; /* row of the first in q and o */
	size_t n;
};

/* B + (q · key by age): the scores' factor is the one that attention gives to products with keys.
 */
static void add_age_keys(struct wr_encoder *e, unsigned int b, const struct own_call *call)
{
	const struct wr_bundle_model *s = &e->m->s;
	size_t dh = s->head_dim, width = s->n_heads * dh, ld = s->n_heads * e->m->bias_ld;
	float inv_sqrt = 1.0f / sqrtf((float)s->head_dim);
	for (unsigned int h = 0; h < s->n_heads; h++) {
		const struct wr_gemm_weights *w = &e->m->block[b].age_key[h];
		for (size_t i = 0; i < call->n; i++)
			e->own_scale[i] = e->q_scale[(call->first + i) * s->n_heads + h] * inv_sqrt;
		e->m->kernels->gemm_s8(w, call->n, e->q + call->first * width + h * dh, width,
			e->own_scale, e->own_bias + h * e->m->bias_ld + WR_ATTEND_BIAS_PAD, ld,
			true);
		e->macs_own += (uint64_t)call->n * w->n * w->k;
	}
}

static void run(struct wr_encoder *e, unsigned int b, struct own_call *call)
{
	size_t n_jobs = call->n * e->m->s.n_heads;
	if (e->m->s.age_keys)
		add_age_keys(e, b, call);
	if (e->in_rings)
		e->m->kernels->decode(e->jobs, n_jobs);
	else
		e->m->kernels->attend(e->jobs, n_jobs);
	call->n = 0;
}

/* The jobs of token t (of those that entered the block) of a sequence, whose output is row `out`,
 * as query number n of the running call. */
static void add_query(
	struct wr_encoder *e, unsigned int b, unsigned int seq, uint32_t t, size_t out, size_t n)
{
	const struct wr_bundle_model *s = &e->m->s;
	const struct place *p = &e->place[seq];
	size_t dh = s->head_dim, width = s->n_heads * dh, ld = e->m->bias_ld;
	uint32_t slot = p->first + t, origin = p->origin;
	while (e->in_rings && slot >= 2 * p->slots)
		slot -= p->slots;
	float *rows = e->own_bias + n * s->n_heads * ld;
	memcpy(rows, e->m->block[b].bias, s->n_heads * ld * sizeof(*rows));
	if (s->time_buckets)
		wr_encoder_add_time_biases(
			e, b, seq, t, WR_MIN(slot + 1 - origin, s->window), rows);
	for (unsigned int h = 0; h < s->n_heads; h++)
		e->jobs[n * s->n_heads + h] = (struct wr_attend){
			.kv = encoder_panel(e, seq, h * s->n_kv_heads / s->n_heads),
			.q = e->q + out * width + h * dh,
			.ldq = width,
			.q_scale = e->q_scale + out * s->n_heads + h,
			.ld_scale = s->n_heads,
			.bias = rows + h * ld + WR_ATTEND_BIAS_PAD + s->window - 1,
			.o = e->o + out * width + h * dh,
			.ldo = width,
			.n_queries = 1,
			.first = slot,
			.origin = origin,
			.window = s->window,
			.head_dim = s->head_dim,
			.inv_sqrt = 1.0f / sqrtf((float)s->head_dim)};
}

void wr_encoder_attend_own(struct wr_encoder *e, unsigned int b, uint32_t from, uint32_t end)
{
	struct own_call call = {0};
	for (unsigned int i = 0; i < e->batch->n_seqs; i++) {
		uint32_t entered = e->in_off[i + 1] - e->in_off[i];
		uint32_t skip = entered - (e->out_off[i + 1] - e->out_off[i]);
		for (uint32_t t = WR_MAX(from, skip); t < WR_MIN(end, entered); t++) {
			size_t out = e->out_off[i] + t - skip;
			if (call.n == OWN_QUERIES || (call.n && out != call.first + call.n))
				run(e, b, &call);
			if (call.n == 0)
				call.first = out;
			add_query(e, b, i, t, out, call.n++);
		}
	}
	run(e, b, &call);
}
