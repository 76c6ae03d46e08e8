/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Age in time (docs/model.md): every query gets a row of biases of its own, by age in clicks and by
 * bucket of age in time, and is a job of its own for the kernels of attention, which know nothing
 * of times. A row is 50 buckets and 100 sums at the reference shape.
 */
#include "encoder_int.h"

#include "ring.h"

#include <math.h>
#include <string.h>

static int64_t time_at(const int64_t *times, size_t i)
{
	return times ? times[i] : 0;
}

void wr_encoder_take_times(struct wr_encoder *e)
{
	const struct wr_bundle_model *s = &e->m->s;
	const struct wr_encoder_batch *batch = e->batch;
	uint32_t slots = ring_slots(s), at = 0;
	for (unsigned int i = 0; i < batch->n_seqs; i++) {
		if (e->warm) {
			struct ring_head *head = batch->rings[i];
			const int64_t *kept = ring_times(s, head);
			uint32_t n = WR_MIN(head->position, s->window);
			for (uint32_t j = head->position - n; j < head->position; j++)
				e->time[at++] = kept[j % slots];
		}
		e->time_off[i] = at;
		for (uint32_t j = batch->seq_off[i + 1] - e->length[i]; j < batch->seq_off[i + 1];
			j++)
			e->time[at++] = time_at(batch->times, j);
	}
}

/* The biases of a query that comes at `now` for its n keys, of ages 0 … n-1 at key, key - 1, …: for
 * every head a row like block->bias. */
static void bias_rows(const struct wr_encoder *e, const struct wr_model_block *block, int64_t now,
	const int64_t *key, uint32_t n, float *rows)
{
	const struct wr_bundle_model *s = &e->m->s;
	size_t ld = e->m->bias_ld, newest = WR_ATTEND_BIAS_PAD + s->window - 1;
	uint8_t bucket[WR_ATTEND_MAX_WINDOW];
	for (uint32_t age = 0; age < n; age++)
		bucket[age] = (uint8_t)wr_time_bucket(now, key[-(ptrdiff_t)age], s->time_buckets);
	for (unsigned int h = 0; h < s->n_heads; h++) {
		const float *by_click = block->bias + h * ld + newest,
			    *by_time = block->time + h * s->time_buckets;
		float *row = rows + h * ld + newest;
		for (uint32_t age = 0; age < n; age++)
			row[-(ptrdiff_t)age] = by_click[-(ptrdiff_t)age] + by_time[bucket[age]];
	}
}

static void run_jobs(struct wr_encoder *e, size_t n_queries)
{
	size_t n = n_queries * e->m->s.n_heads;
	if (e->warm)
		e->m->kernels->decode(e->jobs, n);
	else
		e->m->kernels->attend(e->jobs, n);
}

/* The jobs of token t (of those that entered the block) of a sequence, as query number n of the
 * running call. */
static void add_query(struct wr_encoder *e, unsigned int b, unsigned int seq, uint32_t t, size_t n)
{
	const struct wr_bundle_model *s = &e->m->s;
	const struct place *p = &e->place[seq];
	size_t dh = s->head_dim, width = s->n_heads * dh, ld = e->m->bias_ld;
	uint32_t entered = e->in_off[seq + 1] - e->in_off[seq];
	uint32_t skip = entered - (e->out_off[seq + 1] - e->out_off[seq]);
	uint32_t slot = p->first + t, origin = e->warm ? 0 : p->first;
	while (e->warm && slot >= 2 * p->slots)
		slot -= p->slots;
	const int64_t *key = e->time + e->time_off[seq] + e->length[seq] - entered + t;
	int64_t now = b + 1 == s->n_blocks ? time_at(e->batch->asked, seq) : *key;
	float *rows = e->time_bias + n * s->n_heads * ld;
	bias_rows(e, &e->m->block[b], now, key, WR_MIN(slot + 1 - origin, s->window), rows);
	size_t out = e->out_off[seq] + t - skip;
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

void wr_encoder_attend_timed(struct wr_encoder *e, unsigned int b, uint32_t from, uint32_t end)
{
	size_t n = 0;
	for (unsigned int i = 0; i < e->batch->n_seqs; i++) {
		uint32_t entered = e->in_off[i + 1] - e->in_off[i];
		uint32_t skip = entered - (e->out_off[i + 1] - e->out_off[i]);
		for (uint32_t t = WR_MAX(from, skip); t < WR_MIN(end, entered); t++) {
			add_query(e, b, i, t, n++);
			if (n == TIMED_QUERIES) {
				run_jobs(e, n);
				n = 0;
			}
		}
	}
	run_jobs(e, n);
}

void wr_encoder_keep_last_x(struct wr_encoder *e)
{
	const struct wr_bundle_model *s = &e->m->s;
	for (unsigned int i = 0; i < e->batch->n_seqs; i++)
		if (e->length[i])
			memcpy(ring_last_x(s, e->batch->rings[i]),
				e->x + (size_t)(e->in_off[i + 1] - 1) * s->d, s->d * sizeof(float));
}

/* Slots as store_run and fill_ring take them; the ring's position is still the one before. */
void wr_encoder_keep_times(struct wr_encoder *e, unsigned int seq)
{
	const struct wr_bundle_model *s = &e->m->s;
	struct ring_head *head = e->batch->rings[seq];
	uint32_t slots = ring_slots(s), n = e->length[seq];
	const int64_t *from = e->time + e->time_off[seq];
	int64_t *to = ring_times(s, head);
	uint32_t skip = !e->warm && n > s->window ? n - s->window : 0;
	for (uint32_t j = skip; j < n; j++)
		to[e->warm ? (head->position + j) % slots : j - skip] = from[j];
}

bool wr_encoder_ask_again(struct wr_encoder *e)
{
	const struct wr_bundle_model *s = &e->m->s;
	unsigned int n_seqs = e->batch->n_seqs;
	e->again = true;
	e->in_off[0] = 0;
	for (unsigned int i = 0; i < n_seqs; i++) {
		struct ring_head *head = e->batch->rings[i];
		bool empty = e->length[i] || head->position == 0;
		e->length[i] = !empty;
		e->in_off[i + 1] = e->in_off[i] + e->length[i];
		if (empty)
			continue;
		e->time_off[i]--; /* of its last token */
		memcpy(e->x + (size_t)e->in_off[i] * s->d, ring_last_x(s, head),
			s->d * sizeof(float));
	}
	return e->in_off[n_seqs] > 0;
}
