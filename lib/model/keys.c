/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a pass's keys and values go: panels of its own (cold), or the sequences' rings (warm, and
 * what a cold pass leaves behind). Copies of a few dozen bytes a token and head; rings lie far
 * away.
 */
#include "encoder_int.h"

#include "ring.h"

#include <string.h>

/* In a cold panel the last W tokens begin at a multiple of 16, so that the ring takes them as whole
 * blocks. */
void wr_encoder_place(struct wr_encoder *e, unsigned int b, unsigned int n_seqs)
{
	const struct wr_bundle_model *s = &e->m->s;
	bool by_item = encoder_by_item(e, b);
	e->in_rings = e->warm && !by_item;
	for (unsigned int i = 0; i < n_seqs; i++) {
		uint32_t n = e->in_off[i + 1] - e->in_off[i];
		uint32_t before = e->slot_off[i];
		if (by_item)
			before -= e->slot_off[encoder_first_near(e, i)];
		uint8_t *panels = e->kv + s->n_kv_heads * wr_kv_panel_bytes(before, s->head_dim);
		struct place *p = &e->place[i];
		if (by_item) {
			uint32_t known = wr_encoder_known(e, i);
			*p = (struct place){panels, WR_ALIGN_UP(known + n, 16u), known, 0};
		} else if (e->warm) {
			struct ring_head *head = e->batch->rings[i];
			uint32_t dropped = e->length[i] - n;
			*p = (struct place){ring_block(s, head, b), ring_slots(s),
				head->position + dropped - e->again, 0};
		} else {
			uint32_t first = n <= s->window ? 0 : (s->window - n) % 16;
			*p = (struct place){
				panels, e->slot_off[i + 1] - e->slot_off[i], first, first};
		}
	}
}

void wr_encoder_store_run(
	struct wr_encoder *e, unsigned int seq, size_t token, size_t n, struct fresh_kv f)
{
	const struct wr_bundle_model *s = &e->m->s;
	const struct place *at = &e->place[seq];
	size_t dh = s->head_dim, slot = (at->first + token) % at->slots;
	for (size_t run; n; n -= run, slot = 0) {
		run = WR_MIN(n, at->slots - slot);
		for (unsigned int g = 0; g < s->n_kv_heads; g++) {
			struct wr_kv_panel p = encoder_panel(e, seq, g);
			const int8_t *k = f.kv + g * dh;
			const float *scale = f.scale + g;
			e->m->kernels->kv_store(&p, dh, slot, run, k, k + s->n_kv_heads * dh, f.ld,
				scale, scale + s->n_kv_heads, f.ld_scale);
		}
		f.kv += run * f.ld;
		f.scale += run * f.ld_scale;
	}
}

void wr_encoder_store(
	struct wr_encoder *e, size_t first, size_t m, struct fresh_kv f, unsigned int *seq)
{
	for (size_t i = 0, n; i < m; i += n) {
		while (e->in_off[*seq + 1] <= first + i)
			(*seq)++;
		n = WR_MIN(m - i, e->in_off[*seq + 1] - (first + i));
		wr_encoder_store_run(e, *seq, first + i - e->in_off[*seq], n, f);
		f.kv += n * f.ld;
		f.scale += n * f.ld_scale;
	}
}

struct fresh_kv wr_encoder_staged(const struct wr_encoder *e, size_t token)
{
	const struct wr_bundle_model *s = &e->m->s;
	size_t heads = 2 * s->n_kv_heads, ld = heads * s->head_dim;
	float *scale = (float *)(void *)(e->kv + e->max_tokens * ld);
	return (struct fresh_kv){.kv = (int8_t *)e->kv + token * ld,
		.scale = scale + token * heads,
		.ld = ld,
		.ld_scale = heads};
}

void wr_encoder_stage(struct wr_encoder *e, size_t first, size_t m, struct fresh_kv f)
{
	for (size_t i = 0; i < m; i++) {
		struct fresh_kv to = wr_encoder_staged(e, first + i);
		memcpy((int8_t *)(uintptr_t)to.kv, f.kv + i * f.ld, to.ld);
		memcpy((float *)(uintptr_t)to.scale, f.scale + i * f.ld_scale,
			to.ld_scale * sizeof(float));
	}
}

/* The last W rows of a cold sequence's panels, which begin at a block, to the start of its ring's
 * block b. */
static void fill_ring(struct wr_encoder *e, unsigned int b, unsigned int seq)
{
	const struct wr_bundle_model *s = &e->m->s;
	const struct place *p = &e->place[seq];
	size_t dh = s->head_dim, slots = ring_slots(s), n = e->in_off[seq + 1] - e->in_off[seq];
	size_t rows = WR_MIN(n, (size_t)s->window), at = p->first + n - rows;
	size_t whole = WR_MIN(WR_ALIGN_UP(rows, (size_t)16), slots / 16 * 16), left = slots % 16;
	size_t groups = WR_ALIGN_UP(rows, (size_t)4);
	uint8_t *to = ring_block(s, e->batch->rings[seq], b);
	for (unsigned int g = 0; g < s->n_kv_heads && rows; g++) {
		struct wr_kv_panel from = encoder_panel(e, seq, g);
		struct wr_kv_panel ring =
			wr_kv_panel_at(to + g * wr_kv_panel_bytes(slots, dh), slots, dh);
		memcpy(ring.k, from.k + at * dh, whole * dh);
		for (size_t c = 0; c < dh && rows > whole; c += 4)
			memcpy(ring.k + whole * dh + c * left, from.k + (at + whole) * dh + c * 16,
				left * 4);
		memcpy(ring.v, from.v + at * dh, groups * dh);
		memcpy(ring.k_scale, from.k_scale + at, rows * sizeof(float));
		memcpy(ring.v_scale, from.v_scale + at, rows * sizeof(float));
	}
}

void wr_encoder_fill_rings(struct wr_encoder *e, unsigned int b, unsigned int n_seqs)
{
	for (unsigned int i = 0; i < n_seqs; i++)
		if (e->length[i])
			fill_ring(e, b, i);
}

void wr_encoder_old_user(struct wr_encoder *e, unsigned int seq, int8_t *q, float *scale)
{
	size_t d = e->m->s.d;
	if (e->warm) {
		struct ring_head *head = e->batch->rings[seq];
		memcpy(q, ring_user(head), d);
		*scale = head->user_scale;
	} else {
		memset(q, 0, d);
		*scale = 0;
	}
}

void wr_encoder_close_ring(struct wr_encoder *e, unsigned int seq, const int8_t *q, float scale)
{
	struct ring_head *head = e->batch->rings[seq];
	uint32_t slots = ring_slots(&e->m->s), n = e->length[seq];
	n = e->warm ? head->position + n : WR_MIN(n, (uint32_t)e->m->s.window);
	if (e->m->s.time_buckets)
		wr_encoder_keep_times(e, seq);
	head->position = n < slots ? n : slots + n % slots;
	head->user_scale = scale;
	memcpy(ring_user(head), q, e->m->s.d);
}
