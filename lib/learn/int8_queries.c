/* SPDX-License-Identifier: BSD-3-Clause */
/* Bursts of 32 histories through lib/model and lib/rank, one encoder and ranker a thread. */
#include "int8_queries.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#define BURST 32

struct work {
	const struct wr_model *model;
	const struct wr_bundle *bundle;
	const struct wr_dataset *ds;
	const struct int8_query *q;
	size_t n;
	uint32_t k, events;
	bool filter;
	uint32_t *items;
	uint8_t *n_items;
};

struct worker {
	struct wr_encoder *encoder;
	struct wr_ranker *ranker;
	uint32_t *rows;
	int64_t *times; /* as rows */
	uint64_t *seen; /* [BURST][words] */
	struct wr_rank_item *answer;
	size_t words;
};

static int worker_new(struct worker *w, const struct work *k, struct wr_errmsg *msg)
{
	*w = (struct worker){.words = ((size_t)k->ds->n_items + 63) / 64};
	w->rows = malloc((size_t)BURST * k->events * sizeof(*w->rows));
	w->times = malloc((size_t)BURST * k->events * sizeof(*w->times));
	w->seen = malloc(BURST * w->words * sizeof(*w->seen));
	w->answer = malloc((size_t)BURST * WR_RANK_MAX_K * sizeof(*w->answer));
	if (!w->rows || !w->times || !w->seen || !w->answer)
		return wr_fail(msg, WR_ENOMEM, "out of memory for evaluation");
	int err = wr_encoder_new(&w->encoder, k->model, BURST, BURST * k->events, NULL, msg);
	return err ? err : wr_ranker_new(&w->ranker, k->model, k->bundle, BURST, NULL, msg);
}

static void worker_free(struct worker *w)
{
	wr_ranker_free(w->ranker);
	wr_encoder_free(w->encoder);
	free(w->rows);
	free(w->times);
	free(w->seen);
	free(w->answer);
}

static void answer_burst(const struct work *k, struct worker *w, size_t first)
{
	struct wr_rank_query query[BURST];
	uint32_t off[BURST + 1] = {0}, n = (uint32_t)WR_MIN((size_t)BURST, k->n - first);
	int64_t asked[BURST];
	uint8_t n_items[BURST];
	memset(w->seen, 0, n * w->words * sizeof(*w->seen));
	for (uint32_t i = 0; i < n; i++) {
		const struct int8_query *q = &k->q[first + i];
		uint64_t *seen = w->seen + i * w->words;
		uint32_t m = WR_MIN(q->end - q->begin, k->events);
		for (uint32_t t = q->begin; t < q->end; t++)
			seen[k->ds->token_row[t] / 64] |= (uint64_t)1 << (k->ds->token_row[t] % 64);
		memcpy(w->rows + off[i], k->ds->token_row + q->end - m, m * sizeof(*w->rows));
		memcpy(w->times + off[i], k->ds->token_time + q->end - m, m * sizeof(*w->times));
		asked[i] = k->ds->token_time[q->end];
		off[i + 1] = off[i] + m;
		query[i] = (struct wr_rank_query){
			.seen = k->filter ? seen : NULL, .k = (uint8_t)k->k, .popular = m == 0};
	}
	struct wr_encoder_batch batch = {
		.n_seqs = n, .seq_off = off, .rows = w->rows, .times = w->times, .asked = asked};
	struct wr_user_vectors users = wr_encoder_cold(w->encoder, &batch);
	wr_ranker_rank(w->ranker, n, &users, query, w->answer, n_items);
	for (uint32_t i = 0; i < n; i++) {
		k->n_items[first + i] = n_items[i];
		for (uint32_t j = 0; j < n_items[i]; j++)
			k->items[(first + i) * k->k + j] =
				w->answer[(size_t)i * WR_RANK_MAX_K + j].item;
	}
}

static int run(const struct work *k, uint32_t threads, struct wr_errmsg *msg)
{
	int err = WR_OK, n_threads = threads ? (int)threads : omp_get_max_threads();
#pragma omp parallel num_threads(n_threads)
	{
		struct worker w;
		struct wr_errmsg why;
		int mine = worker_new(&w, k, &why);
		if (mine) {
#pragma omp critical
			{
				err = mine;
				if (msg)
					*msg = why;
			}
		}
#pragma omp barrier
		if (!err) {
#pragma omp for schedule(dynamic, 1)
			for (size_t first = 0; first < k->n; first += BURST)
				answer_burst(k, &w, first);
		}
		worker_free(&w);
	}
	return err;
}

int wr_learn_int8_answer(const struct wr_int8 *x, const struct wr_dataset *ds,
	const struct int8_query *q, size_t n, uint32_t k, bool filter, uint32_t *items,
	uint8_t *n_items, struct wr_errmsg *msg)
{
	const struct wr_bundle_model *shape = wr_bundle_model(x->bundle);
	struct wr_model *model;
	if (shape->n_items != ds->n_items)
		return wr_fail(msg, WR_EINVAL,
			"the bundle knows %u items, the data %u: give the data it was packed from",
			shape->n_items, ds->n_items);
	int err = wr_model_new(&model, x->bundle, x->isa, x->gemm, NULL, msg);
	if (err)
		return err;
	struct work work = {.model = model,
		.bundle = x->bundle,
		.ds = ds,
		.q = q,
		.n = n,
		.k = k,
		.events = wr_bundle_history_events(shape),
		.filter = filter,
		.items = items,
		.n_items = n_items};
	err = run(&work, x->threads, msg);
	wr_model_free(model);
	return err;
}
