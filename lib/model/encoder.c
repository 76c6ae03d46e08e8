/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ragged burst of sequences through all blocks: whole histories (cold) or what is new behind
 * cached rows (warm). Tokens of all sequences stand one behind another; products run over tiles of
 * them, attention over all sequences and heads.
 * Block b needs its output for the last (L-1-b)·(W-1)+1 tokens of a sequence only, and keys and
 * values for W-1 more; the rest is dropped before it is computed. Nothing of one sequence enters
 * another's numbers, so a result does not depend on the burst.
 */
#include "encoder_int.h"

#include "ring.h"

#include <math.h>
#include <string.h>

/* ---- memory ---- */

static void layout(struct wr_carve *c, const struct wr_bundle_model *s, struct wr_encoder *e)
{
	size_t o = (size_t)s->n_heads * s->head_dim, qkv = wr_bundle_outputs(s, WR_BUNDLE_QKV);
	size_t n = e->max_seqs, t = e->max_tokens;
	if (s->time_buckets) /* each may be asked again */
		t = WR_MAX(t, n);
	/* A warm sequence's panels of the first block hold what its ring knows, too. */
	bool by_item = wr_model_heads_by_item(s);
	e->max_slots = t + (by_item ? 30u + s->window : 31) * n;
	e->rows = wr_carve(c, t * sizeof(*e->rows));
	e->length = wr_carve(c, n * sizeof(*e->length));
	e->place = wr_carve(c, n * sizeof(*e->place));
	size_t queries = wr_bundle_own_biases(s) ? WR_MAX(n, (size_t)OWN_QUERIES) : n;
	e->jobs = wr_carve(c, queries * s->n_heads * sizeof(*e->jobs));
	e->in_off = wr_carve(c, (n + 1) * sizeof(*e->in_off));
	e->out_off = wr_carve(c, (n + 1) * sizeof(*e->out_off));
	e->slot_off = wr_carve(c, (n + 1) * sizeof(*e->slot_off));
	/* More in front of them and behind than any kernel reads. */
	e->key_rows_ld = WR_ALIGN_UP(WR_MAX(wr_bundle_history_events(s), 2u * s->window), 16u) + 32;
	e->key_rows = wr_carve(c, by_item ? n * e->key_rows_ld * sizeof(*e->key_rows) : 0);
	e->row_jobs = wr_carve(c, by_item ? n * sizeof(*e->row_jobs) : 0);
	e->x = wr_carve(c, t * s->d * sizeof(float));
	e->q = wr_carve(c, t * o);
	e->q_scale = wr_carve(c, t * s->n_heads * sizeof(float));
	e->kv = wr_carve(c, s->n_kv_heads * wr_kv_panel_bytes(e->max_slots, s->head_dim));
	e->o = wr_carve(c, t * o * sizeof(float));
	size_t input = WR_MAX(WR_MAX((size_t)s->d, o), (size_t)s->ffn);
	e->act = wr_carve(c, TILE * input);
	e->act_scale = wr_carve(c, TILE * sizeof(float));
	size_t low = wr_bundle_n_kept(s) ? TILE : 0;
	e->act_low = wr_carve(c, low * input);
	e->act_low_scale = wr_carve(c, low * sizeof(float));
	size_t widest = WR_MAX(WR_MAX(qkv, (size_t)s->d), (size_t)s->ffn);
	e->y = wr_carve(c, TILE * widest * sizeof(float));
	e->acc = wr_carve(c, TILE * widest * sizeof(int32_t));
	e->heads = wr_carve(c, TILE * qkv);
	e->head_scale = wr_carve(c, TILE * qkv / s->head_dim * sizeof(float));
	e->ahead_block = wr_carve(c, n * sizeof(*e->ahead_block));
	e->user_q = wr_carve(c, n * s->d);
	e->user_scale = wr_carve(c, n * sizeof(float));
	if (s->time_buckets) {
		e->time = wr_carve(c, (t + n * s->window) * sizeof(*e->time));
		e->time_off = wr_carve(c, n * sizeof(*e->time_off));
	}
	if (wr_bundle_own_biases(s)) {
		e->own_bias =
			wr_carve(c, OWN_QUERIES * s->n_heads *
					    (s->window + 2 * WR_ATTEND_BIAS_PAD) * sizeof(float));
		e->own_scale = wr_carve(c, OWN_QUERIES * sizeof(float));
	}
}

size_t wr_encoder_bytes_needed(
	const struct wr_bundle_model *s, unsigned int max_seqs, unsigned int max_tokens)
{
	struct wr_carve c = {0};
	struct wr_encoder e = {.max_seqs = max_seqs, .max_tokens = max_tokens};
	wr_carve(&c, sizeof(e));
	layout(&c, s, &e);
	return c.used;
}

int wr_encoder_new(struct wr_encoder **out, const struct wr_model *m, unsigned int max_seqs,
	unsigned int max_tokens, const struct wr_allocator *alloc, struct wr_errmsg *msg)
{
	*out = NULL;
	if (max_seqs == 0 || max_tokens == 0)
		return wr_fail(msg, WR_EINVAL, "encoder: a burst of %u sequences, %u tokens",
			max_seqs, max_tokens);
	struct wr_allocator a = wr_model_allocator(alloc);
	size_t bytes = wr_encoder_bytes_needed(&m->s, max_seqs, max_tokens);
	struct wr_carve c = {.base = a.alloc(a.ctx, bytes, WR_CACHE_LINE)};
	if (!c.base)
		return wr_fail(msg, WR_ENOMEM,
			"encoder: no %zu bytes left; reserve more hugepages or use a smaller burst",
			bytes);
	struct wr_encoder *e = wr_carve(&c, sizeof(*e));
	*e = (struct wr_encoder){
		.m = m, .max_seqs = max_seqs, .max_tokens = max_tokens, .alloc = a};
	layout(&c, &m->s, e);
	assert(c.used == bytes);
	int err = m->gemm == WR_GEMM_OWN ? WR_OK : wr_encoder_start_onednn(e, msg);
	if (err)
		wr_encoder_free(e);
	else
		*out = e;
	return err;
}

void wr_encoder_free(struct wr_encoder *e)
{
	if (e) {
		struct wr_allocator a = e->alloc;
		wr_gemm_onednn_free(e->onednn);
		a.free(a.ctx, e);
	}
}

/* ---- steps ---- */

/*
 * A cold pass leaves new rings behind, far away: the next ones to be written are block b's, asked
 * for in so many portions, between products.
 */
static void ask_rings(struct wr_encoder *e, unsigned int b, size_t portions)
{
	const struct wr_bundle_model *s = &e->m->s;
	e->ahead = (struct wr_prefetch){
		.block = e->ahead_block, .bytes = (uint32_t)ring_block_bytes(s, b)};
	if (e->warm || !e->batch->rings || b >= s->n_blocks)
		return;
	for (unsigned int i = 0; i < e->batch->n_seqs; i++)
		if (e->length[i])
			e->ahead_block[e->ahead.n++] = ring_block(s, e->batch->rings[i], b);
	wr_prefetch_pace(&e->ahead, (unsigned int)WR_MAX(portions, 1u));
}

/* Products that n tokens take, about. */
static size_t tiles(const struct wr_encoder *e, size_t n)
{
	size_t most = wr_encoder_tile(e, TILE);
	return (n + most - 1) / most;
}

static void ask_portion(struct wr_encoder *e)
{
	wr_prefetch_step(&e->ahead);
}

void wr_encoder_heads(
	struct wr_encoder *e, unsigned int b, enum product part, size_t first, size_t m)
{
	const struct wr_bundle_model *s = &e->m->s;
	const struct wr_kernels *k = e->m->kernels;
	uint32_t outputs = wr_encoder_weights(e, b, part).n;
	const float *x = e->x + first * s->d;
	k->norm_quantise(m, s->d, s->norm_eps, x, s->d, e->act, s->d, e->act_scale);
	ask_portion(e);
	wr_encoder_linear(e, b, part, m, x, e->y, outputs, false);
	ask_portion(e);
	k->quantise(m * outputs / s->head_dim, s->head_dim, e->y, s->head_dim, e->heads,
		s->head_dim, e->head_scale, 1);
	ask_portion(e);
}

/*
 * Projects the first n_tokens of x onto all heads of block b (QKV), or its key and value heads
 * (KV), or its query heads (Q): what is a query goes to q, what is a key or value to the panels.
 */
static void project(struct wr_encoder *e, unsigned int b, enum product part, size_t n_tokens)
{
	const struct wr_bundle_model *s = &e->m->s;
	unsigned int n_heads = (part == KV ? 0 : s->n_heads) + (part == Q ? 0 : 2 * s->n_kv_heads);
	size_t dh = s->head_dim, n_q = part == KV ? 0 : s->n_heads;
	size_t ld = n_heads * dh;
	unsigned int seq = 0;
	for (size_t first = 0, m; first < n_tokens; first += m) {
		m = wr_encoder_tile(e, n_tokens - first);
		wr_encoder_heads(e, b, part, first, m);
		for (size_t i = 0; i < m && n_q; i++) {
			memcpy(e->q + (first + i) * n_q * dh, e->heads + i * ld, n_q * dh);
			memcpy(e->q_scale + (first + i) * n_q, e->head_scale + i * n_heads,
				n_q * sizeof(float));
		}
		struct fresh_kv f = {e->heads + n_q * dh, e->head_scale + n_q, ld, n_heads};
		if (n_heads > n_q && e->stage)
			wr_encoder_stage(e, first, m, f);
		else if (n_heads > n_q)
			wr_encoder_store(e, first, m, f, &seq);
	}
}

/* Of sequences first … last-1 the queries of tokens from … end-1, as far as the block needs their
 * output; with biases of their own, of all sequences. */
static void attend(struct wr_encoder *e, unsigned int b, unsigned int first, unsigned int last,
	uint32_t from, uint32_t end)
{
	const struct wr_bundle_model *s = &e->m->s;
	const struct wr_model_block *block = &e->m->block[b];
	if (wr_bundle_own_biases(s)) {
		wr_encoder_attend_own(e, b, from, end);
		return;
	}
	size_t dh = s->head_dim, width = s->n_heads * dh;
	struct wr_attend a = {.ldq = width,
		.ld_scale = s->n_heads,
		.ldo = width,
		.window = s->window,
		.head_dim = s->head_dim,
		.inv_sqrt = 1.0f / sqrtf((float)s->head_dim)};
	size_t n_jobs = 0;
	for (unsigned int i = first; i < last; i++) {
		const struct place *p = &e->place[i];
		uint32_t n = e->in_off[i + 1] - e->in_off[i];
		uint32_t skip = n - (e->out_off[i + 1] - e->out_off[i]);
		uint32_t low = WR_MAX(from, skip), high = WR_MIN(end, n);
		if (low >= high || p->slots == 0)
			continue;
		size_t out = e->out_off[i] + low - skip;
		a.n_queries = high - low;
		a.first = p->first + low;
		a.origin = p->origin;
		while (e->in_rings && a.first + a.n_queries > 2 * p->slots)
			a.first -= p->slots;
		for (unsigned int h = 0; h < s->n_heads; h++) {
			a.kv = encoder_panel(e, i, h * s->n_kv_heads / s->n_heads);
			a.q = e->q + out * width + h * dh;
			a.q_scale = e->q_scale + out * s->n_heads + h;
			a.bias = block->bias + h * e->m->bias_ld + WR_ATTEND_BIAS_PAD + s->window -
				 1;
			a.o = e->o + out * width + h * dh;
			e->jobs[n_jobs++] = a;
		}
	}
	if (e->in_rings)
		e->m->kernels->decode(e->jobs, n_jobs);
	else
		e->m->kernels->attend(e->jobs, n_jobs);
}

/* A few new tokens at a time into the rings, then their queries: no token may overwrite what an
 * earlier one still sees. */
static void attend_in_rounds(struct wr_encoder *e, unsigned int b, unsigned int n_seqs)
{
	uint32_t step = ring_at_once(&e->m->s), longest = 0;
	for (unsigned int i = 0; i < n_seqs; i++)
		longest = WR_MAX(longest, e->in_off[i + 1] - e->in_off[i]);
	for (uint32_t from = 0; from < longest; from += step) {
		for (unsigned int i = 0; i < n_seqs; i++) {
			uint32_t n = e->in_off[i + 1] - e->in_off[i];
			if (from < n)
				wr_encoder_store_run(e, i, from, WR_MIN(step, n - from),
					wr_encoder_staged(e, e->in_off[i] + from));
		}
		attend(e, b, 0, n_seqs, from, from + step);
	}
}

/* What project and attend do, of a block whose heads are looked up. */
static void attend_by_item(struct wr_encoder *e, unsigned int b, unsigned int n_seqs)
{
	for (unsigned int i = 0, last; i < n_seqs; i = last) {
		for (last = i; last < n_seqs && encoder_first_near(e, last) == i; last++)
			wr_encoder_take_heads(e, last);
		attend(e, b, i, last, 0, UINT32_MAX);
	}
	wr_encoder_attend_alone(e);
}

/* Output projection and feed-forward, both onto the residual stream. */
static void feed_forward(struct wr_encoder *e, unsigned int b, size_t n_tokens)
{
	const struct wr_bundle_model *s = &e->m->s;
	const struct wr_kernels *k = e->m->kernels;
	size_t width = (size_t)s->n_heads * s->head_dim;
	ask_rings(e, b + 1, 5 * tiles(e, n_tokens));
	for (size_t first = 0, m; first < n_tokens; first += m) {
		m = wr_encoder_tile(e, n_tokens - first);
		float *x = e->x + first * s->d, *o = e->o + first * width;
		k->quantise(m, width, o, width, e->act, width, e->act_scale, 1);
		ask_portion(e);
		wr_encoder_linear(e, b, OUT, m, o, x, s->d, true);
		ask_portion(e);
		k->norm_quantise(m, s->d, s->norm_eps, x, s->d, e->act, s->d, e->act_scale);
		ask_portion(e);
		wr_encoder_linear(e, b, UP, m, x, e->y, s->ffn, false);
		ask_portion(e);
		k->relu_quantise(m, s->ffn, e->y, s->ffn, e->act, s->ffn, e->act_scale, 1);
		ask_portion(e);
		wr_encoder_linear(e, b, DOWN, m, e->y, x, s->d, true);
	}
}

/* ---- the burst ---- */

/* Keeps the tokens of each sequence that can matter; rows, in_off, slot_off. */
static void trim(
	struct wr_encoder *e, unsigned int n_seqs, const uint32_t *seq_off, const uint32_t *rows)
{
	uint32_t history = wr_bundle_history_events(&e->m->s);
	e->in_off[0] = e->slot_off[0] = 0;
	for (unsigned int i = 0; i < n_seqs; i++) {
		uint32_t n = WR_MIN(seq_off[i + 1] - seq_off[i], history);
		memcpy(e->rows + e->in_off[i], rows + seq_off[i + 1] - n, n * sizeof(*rows));
		e->in_off[i + 1] = e->in_off[i] + n;
		uint32_t keys = n + (encoder_by_item(e, 0) ? wr_encoder_known(e, i) : 0);
		e->slot_off[i + 1] = e->slot_off[i] + WR_ALIGN_UP(keys + 15u, 16u);
		e->length[i] = n;
	}
}

/* out_off: the last `keep` tokens of each sequence. Whether that drops any. */
static bool narrow(struct wr_encoder *e, unsigned int n_seqs, uint32_t keep)
{
	e->out_off[0] = 0;
	for (unsigned int i = 0; i < n_seqs; i++)
		e->out_off[i + 1] = e->out_off[i] + WR_MIN(e->in_off[i + 1] - e->in_off[i], keep);
	return e->out_off[n_seqs] != e->in_off[n_seqs];
}

static void compact(struct wr_encoder *e, unsigned int n_seqs)
{
	size_t d = e->m->s.d;
	for (unsigned int i = 0; i < n_seqs; i++) {
		size_t n = e->out_off[i + 1] - e->out_off[i];
		memmove(e->x + e->out_off[i] * d, e->x + (e->in_off[i + 1] - n) * d,
			n * d * sizeof(float));
	}
}

static uint32_t longest_output(const struct wr_encoder *e, unsigned int n_seqs)
{
	uint32_t longest = 0;
	for (unsigned int i = 0; i < n_seqs; i++)
		longest = WR_MAX(longest, e->out_off[i + 1] - e->out_off[i]);
	return longest;
}

static void run_block(struct wr_encoder *e, unsigned int b, unsigned int n_seqs)
{
	const struct wr_bundle_model *s = &e->m->s;
	wr_encoder_place(e, b, n_seqs);
	if (s->time_buckets && b + 1 == s->n_blocks && e->batch->rings && !e->again)
		wr_encoder_keep_last_x(e);
	uint32_t keep = (s->n_blocks - 1 - b) * (s->window - 1) + 1;
	bool narrowed = narrow(e, n_seqs, keep);
	e->stage = e->in_rings && longest_output(e, n_seqs) > ring_at_once(s);
	if (b == 0)
		ask_rings(e, 0, 3 * tiles(e, e->in_off[n_seqs]));
	bool by_item = encoder_by_item(e, b);
	if (by_item) {
		attend_by_item(e, b, n_seqs);
		if (narrowed)
			compact(e, n_seqs);
	} else if (narrowed) {
		project(e, b, KV, e->in_off[n_seqs]);
		compact(e, n_seqs);
		project(e, b, Q, e->out_off[n_seqs]);
	} else {
		project(e, b, QKV, e->in_off[n_seqs]);
	}
	if (e->batch->rings && !e->warm && !by_item)
		wr_encoder_fill_rings(e, b, n_seqs);
	if (e->stage)
		attend_in_rounds(e, b, n_seqs);
	else if (!by_item)
		attend(e, b, 0, n_seqs, 0, UINT32_MAX);
	feed_forward(e, b, e->out_off[n_seqs]);
	memcpy(e->in_off, e->out_off, (n_seqs + 1) * sizeof(*e->in_off));
}

/* User vectors of the sequences that have tokens in this pass, of the others only in the first one.
 */
static void write_users(struct wr_encoder *e)
{
	const struct wr_encoder_batch *batch = e->batch;
	const struct wr_model *m = e->m;
	for (unsigned int i = 0; i < batch->n_seqs; i++) {
		unsigned int out = batch->out ? batch->out[i] : i;
		int8_t *q = e->user_q + (size_t)out * m->s.d;
		float *scale = &e->user_scale[out];
		if (e->length[i] == 0) {
			if (!e->again)
				wr_encoder_old_user(e, i, q, scale);
			continue;
		}
		m->kernels->user_quantise(1, m->s.d, m->final_gain, m->s.logit_scale,
			e->x + (size_t)e->in_off[i] * m->s.d, m->s.d, q, m->s.d, scale);
		if (batch->rings && !e->again)
			wr_encoder_close_ring(e, i, q, *scale);
	}
}

static struct wr_user_vectors encode(
	struct wr_encoder *e, const struct wr_encoder_batch *batch, bool warm)
{
	const struct wr_model *m = e->m;
	unsigned int n_seqs = batch->n_seqs, last = m->s.n_blocks - 1;
	assert(n_seqs <= e->max_seqs &&
		batch->seq_off[n_seqs] - batch->seq_off[0] <= e->max_tokens);
	e->batch = batch;
	e->warm = warm;
	e->again = false;
	trim(e, n_seqs, batch->seq_off, batch->rows);
	for (unsigned int i = 0; i < n_seqs && warm; i++)
		assert(e->length[i] <= wr_ring_max_new(&m->s));
	if (m->s.time_buckets)
		wr_encoder_take_times(e);
	m->kernels->embed(e->in_off[n_seqs], m->s.d, m->item_q, m->item_in, e->rows, e->x, m->s.d);
	for (unsigned int b = 0; b < m->s.n_blocks && e->in_off[n_seqs]; b++)
		run_block(e, b, n_seqs);
	write_users(e);
	if (warm && m->s.time_buckets && wr_encoder_ask_again(e)) {
		run_block(e, last, n_seqs);
		write_users(e);
	}
	return (struct wr_user_vectors){.q = e->user_q, .scale = e->user_scale};
}

struct wr_user_vectors wr_encoder_encode(
	struct wr_encoder *e, unsigned int n_seqs, const uint32_t *seq_off, const uint32_t *rows)
{
	struct wr_encoder_batch batch = {.n_seqs = n_seqs, .seq_off = seq_off, .rows = rows};
	return encode(e, &batch, false);
}

struct wr_user_vectors wr_encoder_cold(struct wr_encoder *e, const struct wr_encoder_batch *batch)
{
	return encode(e, batch, false);
}

struct wr_user_vectors wr_encoder_warm(struct wr_encoder *e, const struct wr_encoder_batch *batch)
{
	return encode(e, batch, true);
}
