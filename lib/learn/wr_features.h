/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Features for people and for other models: hashed tokens, statistics of items and of behaviour,
 * their principal components, popularity over time, maps in two dimensions. Plain arrays, offline;
 * 10^3 … 10^6 rows of 10 … 200 columns. docs/learning.md, "Features".
 */
#ifndef WR_FEATURES_H
#define WR_FEATURES_H

#include "wr_learn.h"

/* ---- hashing (Weinberger et al. 2009) ---- */
/* Bucket 0 … 2^bits - 1 of a token; the same on every machine. */
uint32_t wr_feature_hash(const char *token, unsigned int bits);
/* +1 or -1, independent of the bucket: sums of hashed tokens stay unbiased. */
int wr_feature_sign(const char *token);
struct wr_collisions {
	uint32_t n_tokens, n_buckets, used; /* distinct tokens, buckets, buckets with a token */
	double shared;                      /* share of tokens that are not alone in their bucket */
	double expected; /* of a perfect hash: 1 - (1 - 1/buckets)^(tokens - 1) */
};
/* tokens are distinct. WR_EINVAL (bits outside 1 … 30), WR_ENOMEM. */
int wr_feature_collisions(const char *const *tokens, uint32_t n, unsigned int bits,
	struct wr_collisions *c, struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- tables ---- */
struct wr_table {
	uint32_t n_rows, n_cols;
	const char *const *column; /* [n_cols] names, static */
	float *x;                  /* [n_rows][n_cols] */
};
void wr_table_free(struct wr_table *t);
/* By item: clicks, their share in each of eight periods of the log, mean place in a history,
 * distinct users, mean popularity of the clicks before and behind, categories around. Needs no
 * times (then periods are those of places). */
int wr_features_items(
	const struct wr_dataset *ds, struct wr_table *t, struct wr_errmsg *msg) WR_MUST_CHECK;
/* By user: clicks, distinct items and categories, entropy of categories, repeats, mean and newest
 * popularity, share of clicks in the same category as the one before, gaps in time. */
int wr_features_users(
	const struct wr_dataset *ds, struct wr_table *t, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Clicks by item and period: counts[n_items][n_periods], and the periods' limits (unix ms, or
 * places in the log without times) limit[n_periods + 1]. WR_ENOMEM. */
int wr_popularity_over_time(const struct wr_dataset *ds, uint32_t n_periods, uint32_t *counts,
	int64_t *limit, struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- principal components (Pearson 1901; by orthogonal iteration) ---- */
/*
 * The k directions of largest variance of x[n][d], columns centred (and, with scale, divided by
 * their deviation): direction[k][d] unit and orthogonal, share[k] of all variance, y[n][k] the
 * rows' places (may be NULL). Signs are such that the largest entry of a direction is positive.
 * WR_EINVAL (k > d, n < 2, no variance), WR_ENOMEM.
 */
int wr_pca(const float *x, uint32_t n, uint32_t d, bool scale, uint32_t k, float *direction,
	double *share, float *y, struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- t-SNE (van der Maaten, Hinton 2008), exact: n² pairs a step; n of some thousands ---- */
struct wr_tsne {
	double perplexity; /* effective neighbours, 5 … 50; at most a third of n - 1 */
	uint32_t steps;    /* 500 … 1000 */
	uint32_t threads;  /* 0 = all */
	uint64_t seed;
	bool quiet;
};
/* y[n][2] of x[n][d]; *divergence (may be NULL): KL at the end, nats. WR_EINVAL, WR_ENOMEM,
 * WR_EINTR. */
int wr_tsne_run(const struct wr_tsne *p, const float *x, uint32_t n, uint32_t d, float *y,
	double *divergence, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Mean share of the k nearest of each point of x[n][d] that are among its k nearest in y[n][e]: how
 * much of the neighbourhoods a map keeps. WR_ENOMEM. */
int wr_map_kept(const float *x, uint32_t d, const float *y, uint32_t e, uint32_t n, uint32_t k,
	double *kept, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
