/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Times the served encoder and ranking on one thread: bursts of 32 users of a table of 2,048
 * sessions (some 30 MB: not in the caches), as the daemon's workers do it, without packets.
 */
#include "wr_compact.h"
#include "wr_rank.h"

#include <stdlib.h>
#include <string.h>

#define BURST      32
#define SESSIONS   2048
#define MAX_CLICKS 200
#define MAX_ROUNDS 20000
#define FEWEST     20
#define TOP        10

struct bench {
	const struct wr_bundle_model *s;
	struct wr_model *model;
	struct wr_encoder *encoder;
	struct wr_ranker *ranker;
	size_t ring_bytes, words;
	uint8_t *rings;
	uint64_t *seen; /* [BURST][words] */
	uint32_t *rows, off[BURST + 1], clicks;
	struct wr_rank_item *answer;
	struct wr_rng r;
};

static int bench_new(struct bench *b, const struct wr_bundle *bundle, struct wr_errmsg *msg)
{
	const struct wr_bundle_model *s = wr_bundle_model(bundle);
	*b = (struct bench){.s = s,
		.ring_bytes = WR_ALIGN_UP(wr_ring_bytes(s), (size_t)64),
		.words = ((size_t)s->n_items + 63) / 64,
		.clicks = WR_MIN(wr_bundle_history_events(s), (uint32_t)MAX_CLICKS)};
	wr_rng_init(&b->r, 1, 2);
	b->rings = aligned_alloc(64, SESSIONS * b->ring_bytes);
	b->seen = calloc(BURST * b->words, sizeof(*b->seen));
	b->rows = malloc((size_t)BURST * b->clicks * sizeof(*b->rows));
	b->answer = malloc((size_t)BURST * WR_RANK_MAX_K * sizeof(*b->answer));
	if (!b->rings || !b->seen || !b->rows || !b->answer)
		return wr_fail(msg, WR_ENOMEM, "out of memory for timing");
	for (uint32_t i = 0; i < BURST; i++) /* some 100 seen items each */
		for (uint32_t k = 0; k < 100; k++) {
			uint32_t row = wr_rng_below(&b->r, s->n_items);
			b->seen[i * b->words + row / 64] |= UINT64_C(1) << row % 64;
		}
	int err = wr_model_new(&b->model, bundle, WR_ISA_AUTO, WR_GEMM_AUTO, NULL, msg);
	if (!err)
		err = wr_encoder_new(&b->encoder, b->model, BURST, BURST * b->clicks, NULL, msg);
	if (!err)
		err = wr_ranker_new(&b->ranker, b->model, bundle, BURST, NULL, msg);
	return err;
}

static void bench_free(struct bench *b)
{
	wr_ranker_free(b->ranker);
	wr_encoder_free(b->encoder);
	wr_model_free(b->model);
	free(b->rings);
	free(b->seen);
	free(b->rows);
	free(b->answer);
}

/* A burst of n clicks each for sessions from `first` on. */
static struct wr_user_vectors encode(struct bench *b, uint32_t first, uint32_t n, bool warm)
{
	void *rings[BURST];
	uint8_t out[BURST];
	for (uint32_t i = 0; i < BURST; i++) {
		rings[i] = b->rings + (first + i) % SESSIONS * b->ring_bytes;
		out[i] = (uint8_t)i;
		b->off[i + 1] = b->off[i] + n;
	}
	struct wr_encoder_batch batch = {
		.n_seqs = BURST, .seq_off = b->off, .rows = b->rows, .rings = rings, .out = out};
	return warm ? wr_encoder_warm(b->encoder, &batch) : wr_encoder_cold(b->encoder, &batch);
}

static int by_value(const void *x, const void *y)
{
	const uint64_t *a = x, *b = y;
	return *a < *b ? -1 : *a > *b;
}

/* Medians of a burst, in µs an answer; *score_us of its ranking. */
static double time_bursts(struct bench *b, uint32_t n, bool warm, double seconds, double *score_us)
{
	static uint64_t all[MAX_ROUNDS], rank[MAX_ROUNDS]; /* one call at a time */
	struct wr_rank_query query[BURST];
	uint8_t n_items[BURST];
	uint32_t rounds = 0, first = 0;
	uint64_t begin = wr_clock_ns();
	for (uint32_t i = 0; i < BURST; i++)
		query[i] = (struct wr_rank_query){.seen = b->seen + i * b->words, .k = TOP};
	while (rounds < MAX_ROUNDS &&
		(rounds < FEWEST || (double)(wr_clock_ns() - begin) < seconds * 1e9)) {
		for (uint32_t i = 0; i < BURST * n; i++)
			b->rows[i] = wr_rng_below(&b->r, b->s->n_items);
		uint64_t t0 = wr_clock_ns();
		struct wr_user_vectors users = encode(b, first, n, warm);
		uint64_t t1 = wr_clock_ns();
		wr_ranker_rank(b->ranker, BURST, &users, query, b->answer, n_items);
		uint64_t t2 = wr_clock_ns();
		all[rounds] = t2 - t0;
		rank[rounds++] = t2 - t1;
		first = (first + BURST) % SESSIONS;
	}
	qsort(all, rounds, sizeof(*all), by_value);
	qsort(rank, rounds, sizeof(*rank), by_value);
	*score_us = (double)rank[rounds / 2] / 1e3 / BURST;
	return (double)all[rounds / 2] / 1e3 / BURST;
}

/* Products of a projection for one of int8 by int8. */
static uint64_t products(const struct wr_bundle_model *s, uint32_t b, enum wr_bundle_projection p)
{
	return wr_bundle_kept(s, b, p) ? 3 : 1;
}

/* Of n tokens that enter, by block: all projected to keys and values, those that are still needed
 * to the rest. */
static uint64_t macs(const struct wr_bundle_model *s, uint32_t n, uint32_t keys)
{
	uint64_t sum = 0, d = s->d, o = (uint64_t)s->n_heads * s->head_dim;
	for (uint32_t b = 0; b < s->n_blocks; b++) {
		uint32_t keep = (s->n_blocks - 1 - b) * (s->window - 1) + 1, out = WR_MIN(n, keep);
		uint64_t qkv = products(s, b, WR_BUNDLE_QKV);
		uint64_t ffn = products(s, b, WR_BUNDLE_UP) + products(s, b, WR_BUNDLE_DOWN);
		sum += qkv * n * d * 2 * s->n_kv_heads * s->head_dim;
		sum += out * d * ((qkv + products(s, b, WR_BUNDLE_OUT)) * o + ffn * s->ffn);
		for (uint32_t t = n - out; t < n; t++)
			sum += (2 + s->age_keys) * o * WR_MIN((keys ? keys : t + 1), s->window);
		n = out;
	}
	return sum;
}

int wr_cost_measure(
	const struct wr_bundle *bundle, double seconds, struct wr_cost *out, struct wr_errmsg *msg)
{
	struct bench b;
	double score;
	int err = bench_new(&b, bundle, msg);
	*out = (struct wr_cost){0};
	if (!err) {
		*out = (struct wr_cost){.model_bytes = wr_model_bytes(b.model),
			.session_bytes = (uint32_t)wr_ring_bytes(b.s),
			.cold_clicks = b.clicks,
			.warm_macs = macs(b.s, 1, b.s->window),
			.cold_macs = macs(b.s, b.clicks, 0),
			.score_macs = (uint64_t)b.s->n_items * b.s->d};
		for (uint32_t i = 0; i < SESSIONS; i += BURST) { /* full rings */
			for (uint32_t k = 0; k < BURST * b.clicks; k++)
				b.rows[k] = wr_rng_below(&b.r, b.s->n_items);
			(void)encode(&b, i, b.clicks, false);
		}
		out->warm_us = time_bursts(&b, 1, true, seconds, &out->score_us);
		out->cold_us = time_bursts(&b, b.clicks, false, seconds, &score);
	}
	bench_free(&b);
	return err;
}
