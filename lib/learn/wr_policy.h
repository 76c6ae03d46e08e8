/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Policies: what a model would show to whoever has a history, offline; heads that tell clicks and
 * conversions apart; estimates of a policy's worth from logged slates. Built for some 10^5
 * histories against catalogues of 10^3 … 10^5 items. docs/learning.md, "Clicks and conversions" and
 * "Replay". Not thread-safe unless said; work inside runs on OpenMP threads.
 */
#ifndef WR_POLICY_H
#define WR_POLICY_H

#include "wr_baseline.h"
#include "wr_learn.h"

/* Histories, oldest first: rows[off[i] … off[i + 1] - 1], each row < n_items. Borrowed. */
struct wr_histories {
	uint32_t n;
	const uint64_t *off; /* n + 1 */
	const uint32_t *rows;
	/* For students with age in time, else NULL: unix ms of each row, and of when is asked [n].
	 */
	const int64_t *times, *asked;
};

/* Unit user vectors u[n][d] of the float student behind the histories; zeros for empty ones.
 * WR_EINVAL (a student with age in time, and no times), WR_ENOMEM. */
int wr_encode_histories(const struct wr_student *s, const struct wr_histories *h, uint32_t threads,
	float *u, struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- logged slates ---- */
struct wr_slate {
	uint32_t user;      /* of the data set; UINT32_MAX: one without a click */
	uint32_t n_history; /* tokens of the user before it was shown */
	uint32_t n;         /* shown items */
	uint64_t first;     /* the first of them */
	int64_t time_ms;
};
struct wr_impressions {
	uint32_t n_slates, n_positions; /* one more than the largest position */
	struct wr_slate *slate;
	uint64_t n;
	uint32_t *row;
	uint8_t *position, *clicked, *converted; /* converted: only where clicked */
	float *propensity; /* P(this item at this place | history) when it was shown, (0, 1]; NULL =
			      not logged */
};
/*
 * Reads lines `user item position time_ms clicked converted [propensity]`; neighbouring lines of
 * one user and time are a slate. Histories are the user's tokens in ds from before that time.
 * WR_ENOENT, WR_EIO, WR_EFORMAT (file:line: reason), WR_EINVAL (ds has no times), WR_ENOMEM.
 */
int wr_impressions_load(struct wr_impressions **x, const struct wr_dataset *ds, const char *path,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_impressions_free(struct wr_impressions *x);

/* ---- heads for clicks and conversions ---- */
/*
 * On vectors of a student that stay as they are: u the user's, m the direction of the sum of the
 * history's item vectors (long-term taste), e an item's. P(click at k) = looked(k) · σ(z),
 * P(convert | click) = σ(v); z and v from one hidden layer over (u, m, e, u ⊙ e, m ⊙ e, u·e, m·e)
 * and a bias by item. Looked at (k): 1 at position 0, learned behind (Guo et al. 2019). Both are
 * trained on everything that was shown (Ma et al. 2018, ESMM).
 */
struct wr_heads;
struct wr_heads_fit {
	uint32_t hidden, epochs, batch, threads; /* 32, 3, 2048, 0 = all */
	double lr, decay;                        /* 0.002, 1: of Adam, decoupled */
	uint64_t seed;
	bool quiet;
};
void wr_heads_fit_defaults(struct wr_heads_fit *f);
/* How well probabilities fit what happened. */
struct wr_calibration {
	uint64_t n, positive;
	double auc, log_loss, base_log_loss; /* base: of the share of positives for all, nats */
	double predicted, observed;          /* means */
	double error;                        /* mean |predicted - observed| of ten equal bins */
	double bin_predicted[10], bin_observed[10];
};
/* n pairs. WR_ENOMEM. */
int wr_calibration_of(const float *p, const uint8_t *y, uint64_t n, struct wr_calibration *c,
	struct wr_errmsg *msg) WR_MUST_CHECK;
struct wr_heads_report {
	uint32_t epochs, best_epoch;
	double seconds;
	/* Of users who were kept out (a tenth): clicks of what was shown, conversions of what was
	   clicked, clicked and converted of what was shown. */
	struct wr_calibration click, convert, both;
};
/*
 * Trains on eight tenths of the users, stops by one, reports on the last. The student's tokens may
 * have been of all of them. WR_EINVAL (no slate, no click, no conversion), WR_ENOMEM, WR_EINTR.
 */
int wr_heads_train(struct wr_heads **h, const struct wr_heads_fit *f, const struct wr_student *s,
	const struct wr_dataset *ds, const struct wr_impressions *x, struct wr_heads_report *r,
	struct wr_errmsg *msg) WR_MUST_CHECK;
int wr_heads_write(const struct wr_heads *h, const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;
/* s: the student it was trained on; another one is WR_EINVAL. */
int wr_heads_load(struct wr_heads **h, const char *path, const struct wr_student *s,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_heads_free(struct wr_heads *h);
/* Probability that position k is looked at. */
double wr_heads_looked(const struct wr_heads *h, uint32_t position);
/* What heads know of users, v[n][wr_heads_user_floats(h)]. */
uint32_t wr_heads_user_floats(const struct wr_heads *h);
int wr_heads_users(const struct wr_heads *h, const struct wr_student *s,
	const struct wr_histories *x, uint32_t threads, float *v,
	struct wr_errmsg *msg) WR_MUST_CHECK;
/* click[i], convert[i]: P(click at position 0), P(convert | click) of rows[0 … n-1] for the user v.
 * Thread-safe with a scratch of wr_heads_scratch(h, n) floats each. */
void wr_heads_score(const struct wr_heads *h, const float *v, const uint32_t *rows, uint32_t n,
	float *scratch, float *click, float *convert);
size_t wr_heads_scratch(const struct wr_heads *h, uint32_t n);
/* The same for every shown item of x, at its position. */
int wr_heads_predict(const struct wr_heads *h, const struct wr_student *s,
	const struct wr_dataset *ds, const struct wr_impressions *x, uint32_t threads, float *click,
	float *convert, struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- policies ---- */
/*
 * By name: `popularity`, `item-knn`, `vmis-knn`, `als` (made from log), a run's directory (its
 * float student), `click:RUNDIR` and `convert:RUNDIR` (the student's best 200, ordered by the
 * heads' P(click) and P(click and convert)); behind any `~M`: at most M items of a category in a
 * list.
 */
struct wr_policy;
int wr_policy_new(struct wr_policy **p, const char *name, const struct wr_baseline_log *log,
	const uint16_t *category, uint32_t threads, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_policy_free(struct wr_policy *p);
/* The k best rows of each history into rows[n][k], what it holds left out; n_rows[i] of them.
 * WR_ENOMEM. */
int wr_policy_lists(const struct wr_policy *p, const struct wr_histories *h, uint32_t k,
	uint32_t *rows, uint32_t *n_rows, struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- replay ---- */
enum wr_reward { WR_REWARD_CLICK, WR_REWARD_CONVERT, WR_N_REWARDS };
/* What a slate says of a policy, by shown place; made by wr_replay_slates. */
struct wr_replay_sums {
	double match;             /* Σ weight · reward over matching places */
	double weight, weight_sq; /* Σ weight, Σ weight² */
	double direct;            /* Σ predicted reward of the policy's own list */
	double residual; /* Σ weight · (reward - predicted reward) over matching places */
	uint32_t places, n_match, n_clipped;
};
/*
 * lists[n_slates][k]: what the policy would have shown. Place j of a slate matches when both show
 * the same item there; its weight is 1 / propensity, at most clip (0 = no limit). h may be NULL:
 * the predicted rewards are 0 then.
 */
int wr_replay_slates(const struct wr_impressions *x, const struct wr_dataset *ds,
	const struct wr_student *s, const struct wr_heads *h, enum wr_reward reward,
	const uint32_t *lists, const uint32_t *n_lists, uint32_t k, double clip, uint32_t threads,
	struct wr_replay_sums *sums, struct wr_errmsg *msg) WR_MUST_CHECK;
enum wr_estimator { WR_ESTIMATE_IPS, WR_ESTIMATE_SNIPS, WR_ESTIMATE_DR, WR_N_ESTIMATORS };
/* Reward per shown item with its 95 % interval from bootstrap samples of slates; base (may be
 * NULL): of another policy on the same slates: then the relative gain over it, a / base - 1. */
int wr_replay_estimate(const struct wr_replay_sums *a, const struct wr_replay_sums *base,
	uint32_t n, enum wr_estimator e, uint32_t resamples, uint64_t seed, struct wr_interval *out,
	struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
