/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The baselines that a trained model must beat: popularity and item-kNN. Plain arrays in, item rows
 * (id - 1) out; no threads, no files. Built for 10^3 … 10^6 items and 10^6 … 10^8 interactions;
 * item-kNN's sparse products dominate. The same input gives the same lists everywhere: sums are
 * exact integers or run in a fixed order, equal scores are ordered by row.
 */
#ifndef WR_BASELINE_H
#define WR_BASELINE_H

#include "wr_base.h"

/* Training sequences in CSR form; borrowed. User u's rows, oldest first: rows[offset[u] … offset[u
 * + 1] - 1]. */
struct wr_baseline_log {
	const uint64_t *offset; /* n_users + 1, ascending */
	const uint32_t *rows;   /* each < n_items, else WR_EINVAL */
	uint32_t n_users, n_items;
};

/* ---- popularity: an item's number of interactions in the log ---- */
struct wr_popularity; /* immutable, shared between threads */
int wr_popularity_new(struct wr_popularity **p, const struct wr_baseline_log *log,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_popularity_free(struct wr_popularity *p);
/* n_items interaction counts by row. */
const uint32_t *wr_popularity_counts(const struct wr_popularity *p);
/* All n_items rows, most popular first, ties by row. */
const uint32_t *wr_popularity_order(const struct wr_popularity *p);
/*
 * The k most popular rows into top, best first; their number (less than k when items run out). With
 * filter_seen the n rows of history are left out. history may be unsorted; n small (cost is O(n log
 * n + k + n)). Allocates its copy of the history; 0 when that fails and n > 0.
 */
uint32_t wr_popularity_top(const struct wr_popularity *p, const uint32_t *history, uint32_t n,
	bool filter_seen, uint32_t k, uint32_t *top);

/*
 * ---- item-kNN (Sarwar, Karypis, Konstan, Riedl 2001; Deshpande, Karypis 2004): ----
 * sim(i, j) = |U_i ∩ U_j| / (sqrt(|U_i|·|U_j|) + shrink), U_i = users who have i in the log; of
 * each item the n_neighbours most similar are kept (ties: lower row). score(i) = Σ over the last
 * n_history rows j of the history (each row once, at its newest place) decay^age(j) · sim(j, i), i
 * among j's neighbours.
 */
struct wr_knn_params {
	uint32_t n_neighbours; /* kept of each item; 0 = all */
	uint32_t n_history;    /* rows of the history that vote; 0 = all */
	double decay;  /* weight of a vote per step of age, (0, 1]; 1 = the standard form without
			  recency */
	double shrink; /* >= 0 */
};
/* Standard item-kNN: n_neighbours 0, whole history, no decay, no shrinkage. */
struct wr_knn_params wr_knn_params_default(void);

struct wr_knn; /* immutable, shared between threads */
/* WR_EINVAL (a row or a parameter out of range), WR_ENOMEM, WR_EINTR (wr_stop_requested). */
int wr_knn_new(struct wr_knn **m, const struct wr_baseline_log *log,
	const struct wr_knn_params *params, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_knn_free(struct wr_knn *m);
size_t wr_knn_bytes(const struct wr_knn *m);

/* One thread's scratch (n_items scores); reusable. Owned by the caller, freed before the model. */
struct wr_knn_scratch;
int wr_knn_scratch_new(
	struct wr_knn_scratch **s, const struct wr_knn *m, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_knn_scratch_free(struct wr_knn_scratch *s);
/*
 * The k best rows for a history of n rows, oldest first, into top, best first; their number. Rows
 * without any score are filled up by popularity in the log, so that k rows come back whenever so
 * many are left. With filter_seen the history's rows are left out.
 */
uint32_t wr_knn_top(const struct wr_knn *m, struct wr_knn_scratch *s, const uint32_t *history,
	uint32_t n, bool filter_seen, uint32_t k, uint32_t *top);

/*
 * ---- VMIS-kNN (Kersbergen, Sprangers, Schelter 2022, Serenade; after Ludewig, Jannach 2018) ----
 * Users of the log stand for sessions. Each of the newest n_history distinct rows of a history lets
 * its last n_users users of the log vote, 1 for the newest row falling linearly; the n_neighbours
 * users with most votes give vote · (1 - 0.1 · place of the newest shared row) · idf to their rows.
 */
struct wr_vmis_params {
	uint32_t n_history, n_users, n_neighbours; /* each at least 1 */
};
/* 20, 5000, 500. */
struct wr_vmis_params wr_vmis_params_default(void);
struct wr_vmis; /* immutable, shared between threads */
/* WR_EINVAL (a row or a parameter out of range), WR_ENOMEM. */
int wr_vmis_new(struct wr_vmis **m, const struct wr_baseline_log *log,
	const struct wr_vmis_params *params, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_vmis_free(struct wr_vmis *m);
/* One thread's scratch; freed before the model. */
struct wr_vmis_scratch;
int wr_vmis_scratch_new(
	struct wr_vmis_scratch **s, const struct wr_vmis *m, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_vmis_scratch_free(struct wr_vmis_scratch *s);
/* As wr_knn_top; self: the history's own user in the log, who does not vote (UINT32_MAX = none). */
uint32_t wr_vmis_top(const struct wr_vmis *m, struct wr_vmis_scratch *s, uint32_t self,
	const uint32_t *history, uint32_t n, bool filter_seen, uint32_t k, uint32_t *top);

/*
 * ---- implicit ALS (Hu, Koren, Volinsky 2008, with the loss of Rendle et al. 2021) ----
 * Vectors x_u, y_i that minimise Σ_(u,i) in the log (x·y - 1)² + unobserved · Σ_all (x·y)² +
 * regularisation · Σ (n + unobserved · n_all) |·|²; a history is folded in as a new user. The same
 * on the same machine for any number of threads.
 */
struct wr_als_params {
	uint32_t d, iterations, threads; /* threads: 0 = all */
	double unobserved, regularisation;
	uint64_t seed;
};
/* 64 dimensions, 12 sweeps, 0.1, 0.003. */
struct wr_als_params wr_als_params_default(void);
struct wr_als; /* immutable, shared between threads */
/* WR_EINVAL (a row or a parameter out of range), WR_ENOMEM, WR_EINTR. */
int wr_als_new(struct wr_als **m, const struct wr_baseline_log *log,
	const struct wr_als_params *params, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_als_free(struct wr_als *m);
/* [n_items][d]: item-to-item scores are their products. */
const float *wr_als_items(const struct wr_als *m);
/* One thread's scratch; freed before the model. */
struct wr_als_scratch;
int wr_als_scratch_new(
	struct wr_als_scratch **s, const struct wr_als *m, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_als_scratch_free(struct wr_als_scratch *s);
/* As wr_knn_top. */
uint32_t wr_als_top(const struct wr_als *m, struct wr_als_scratch *s, const uint32_t *history,
	uint32_t n, bool filter_seen, uint32_t k, uint32_t *top);

#endif
