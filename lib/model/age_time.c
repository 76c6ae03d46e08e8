/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Age in time (docs/model.md): what the times of a query and of its keys add to its biases, and
 * what rings keep for it. A query has 50 buckets and 100 sums at the reference shape.
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

void wr_encoder_add_time_biases(const struct wr_encoder *e, unsigned int b, unsigned int seq,
	uint32_t t, uint32_t n, float *rows)
{
	const struct wr_bundle_model *s = &e->m->s;
	uint32_t entered = e->in_off[seq + 1] - e->in_off[seq];
	const int64_t *key = e->time + e->time_off[seq] + e->length[seq] - entered + t;
	int64_t now = b + 1 == s->n_blocks ? time_at(e->batch->asked, seq) : *key;
	uint8_t bucket[WR_ATTEND_MAX_WINDOW];
	for (uint32_t age = 0; age < n; age++)
		bucket[age] = (uint8_t)wr_time_bucket(now, key[-(ptrdiff_t)age], s->time_buckets);
	for (unsigned int h = 0; h < s->n_heads; h++) {
		const float *by_time = e->m->block[b].time + h * s->time_buckets;
		float *newest = rows + h * e->m->bias_ld + WR_ATTEND_BIAS_PAD + s->window - 1;
		for (uint32_t age = 0; age < n; age++)
			newest[-(ptrdiff_t)age] += by_time[bucket[age]];
	}
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
