/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first block's heads by item (wr_model.h): a table that the encoder itself fills at load, so
 * that what is looked up is what it would compute; and its use. 50 rows of 144 bytes a warm answer,
 * out of a table of 0.7 MB at the reference shape, in place of 7.5 KB of a session's own memory.
 */
#include "encoder_int.h"

#include "ring.h"

#include <math.h>
#include <string.h>

/* ---- the table ---- */

/* The table is const for everybody but this. */
static void put_heads(const struct wr_item_heads *to, const struct wr_bundle_model *s, size_t row,
	const int8_t *heads, const float *scale)
{
	size_t dh = s->head_dim, q = s->n_heads * dh, kv = (size_t)2 * s->n_kv_heads * dh;
	memcpy((int8_t *)(uintptr_t)to->q + row * q, heads, q);
	memcpy((int8_t *)(uintptr_t)to->kv.kv + row * kv, heads + q, kv);
	memcpy((float *)(uintptr_t)to->q_scale + row * s->n_heads, scale,
		s->n_heads * sizeof(float));
	memcpy((float *)(uintptr_t)to->kv.scale + row * wr_kv_table_scales(s->n_kv_heads),
		scale + s->n_heads, 2 * s->n_kv_heads * sizeof(float));
}

static void fill(struct wr_encoder *e)
{
	const struct wr_model *m = e->m;
	const struct wr_bundle_model *s = &m->s;
	size_t n_heads = s->n_heads + 2u * s->n_kv_heads;
	for (uint32_t first = 0, n; first < s->n_items; first += n) {
		n = WR_MIN(s->n_items - first, (uint32_t)TILE_OWN);
		for (uint32_t i = 0; i < n; i++)
			e->rows[i] = first + i;
		m->kernels->embed(n, s->d, m->item_q, m->item_in, e->rows, e->x, s->d);
		wr_encoder_heads(e, 0, QKV, 0, n);
		for (uint32_t i = 0; i < n; i++)
			put_heads(&m->item_heads, s, first + i,
				e->heads + i * n_heads * s->head_dim, e->head_scale + i * n_heads);
	}
}

int wr_model_fill_item_heads(struct wr_model *m, struct wr_errmsg *msg)
{
	enum wr_gemm_engine gemm = m->gemm;
	struct wr_encoder *e;
	m->gemm = WR_GEMM_OWN; /* both engines give the same; this one needs no preparation */
	int err = wr_encoder_new(&e, m, 1, TILE_OWN, NULL, msg);
	if (!err)
		fill(e);
	wr_encoder_free(e);
	m->gemm = gemm;
	return err;
}

/* ---- its use ---- */

uint32_t wr_encoder_known(const struct wr_encoder *e, unsigned int seq)
{
	if (!e->warm)
		return 0;
	const struct ring_head *head = e->batch->rings[seq];
	return WR_MIN(head->position, e->m->s.window - 1u);
}

/* Item rows of a sequence's keys: those that its ring knows, then the new ones; row 0 in front of
 * them and behind. */
static uint32_t *list_rows(const struct wr_encoder *e, unsigned int seq)
{
	uint32_t *rows = e->key_rows + seq * e->key_rows_ld + 16;
	const struct wr_bundle_model *s = &e->m->s;
	const struct place *p = &e->place[seq];
	uint32_t n = e->length[seq], slots = ring_slots(s), known = p->first;
	if (known) {
		struct ring_head *head = e->batch->rings[seq];
		const uint32_t *kept = ring_rows(s, head);
		uint32_t from = (head->position - known) % slots;
		uint32_t run = WR_MIN(known, slots - from);
		memcpy(rows, kept + from, run * sizeof(*rows));
		memcpy(rows + run, kept, (known - run) * sizeof(*rows));
	}
	memcpy(rows + known, e->rows + e->in_off[seq], n * sizeof(*rows));
	memset(rows - 16, 0, 16 * sizeof(*rows));
	memset(rows + known + n, 0, 16 * sizeof(*rows));
	return rows;
}

/* The new tokens' rows into the ring; its position is still the one before. */
static void keep_rows(const struct wr_encoder *e, unsigned int seq)
{
	const struct wr_bundle_model *s = &e->m->s;
	struct ring_head *head = e->batch->rings[seq];
	uint32_t *to = ring_rows(s, head), slots = ring_slots(s), n = e->length[seq];
	const uint32_t *from = e->rows + e->in_off[seq];
	if (e->warm) {
		for (uint32_t j = 0; j < n; j++)
			to[(head->position + j) % slots] = from[j];
	} else {
		uint32_t kept = WR_MIN(n, (uint32_t)s->window);
		memcpy(to, from + n - kept, kept * sizeof(*to));
	}
}

static void take_queries(const struct wr_encoder *e, unsigned int seq)
{
	const struct wr_bundle_model *s = &e->m->s;
	const struct wr_item_heads *by = &e->m->item_heads;
	size_t n = s->n_heads, width = n * s->head_dim, end = e->out_off[seq + 1];
	const uint32_t *row = e->rows + e->in_off[seq + 1];
	for (size_t i = e->out_off[seq]; i < end; i++) {
		size_t r = row[(ptrdiff_t)(i - end)];
		memcpy(e->q + i * width, by->q + r * width, width);
		memcpy(e->q_scale + i * n, by->q_scale + r * n, n * sizeof(float));
	}
}

/* Whether a sequence's query can do without panels. */
static bool is_alone(const struct wr_encoder *e, unsigned int seq)
{
	const struct wr_bundle_model *s = &e->m->s;
	return e->m->kernels->attend_rows && e->out_off[seq + 1] - e->out_off[seq] == 1 &&
	       wr_attend_rows_serves(s->n_heads, s->n_kv_heads, s->head_dim) &&
	       !wr_bundle_own_biases(s);
}

static struct wr_attend_rows job_of(
	const struct wr_encoder *e, unsigned int seq, const uint32_t *rows)
{
	const struct wr_model *m = e->m;
	uint32_t n = e->place[seq].first + e->length[seq], seen = WR_MIN(n, m->s.window);
	size_t at = e->out_off[seq];
	const int8_t *q = m->item_heads.q + rows[n - 1] * (size_t)m->s.n_heads * m->s.head_dim;
	const float *q_scale = m->item_heads.q_scale + rows[n - 1] * (size_t)m->s.n_heads;
	__builtin_prefetch(q);
	__builtin_prefetch(q_scale);
	return (struct wr_attend_rows){.table = &m->item_heads.kv,
		.rows = rows + n - seen,
		.n = seen,
		.q = q,
		.q_scale = q_scale,
		.bias = m->block[0].bias + WR_ATTEND_BIAS_PAD + m->s.window - 1,
		.bias_ld = m->bias_ld,
		.o = e->o + at * m->s.n_heads * m->s.head_dim,
		.inv_sqrt = 1.0f / sqrtf((float)m->s.head_dim)};
}

void wr_encoder_take_heads(struct wr_encoder *e, unsigned int seq)
{
	struct place *p = &e->place[seq];
	if (e->length[seq] == 0)
		return;
	const uint32_t *rows = list_rows(e, seq);
	if (is_alone(e, seq)) {
		e->row_jobs[e->n_row_jobs++] = job_of(e, seq, rows);
		p->slots = 0;
	} else {
		e->m->kernels->kv_gather(p->panels, p->slots, &e->m->item_heads.kv, rows,
			WR_ALIGN_UP(p->first + e->length[seq], 8u));
		take_queries(e, seq);
	}
	if (e->batch->rings)
		keep_rows(e, seq);
}

void wr_encoder_attend_alone(struct wr_encoder *e)
{
	if (e->n_row_jobs)
		e->m->kernels->attend_rows(e->row_jobs, e->n_row_jobs);
	e->n_row_jobs = 0;
}
