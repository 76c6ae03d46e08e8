/* SPDX-License-Identifier: BSD-3-Clause */
/* Customers of a simulated world whom nothing was trained on, and what policies show them. */
#ifndef WRTRAIN_LIFT_H
#define WRTRAIN_LIFT_H

#include "policies.h"
#include "wr_sim.h"

#define LIFT_STREAM 2 /* random draws of lift; lib/sim's streams start at 2^40 */

/* A policy's slates for every customer and what they are truly worth there, per shown item. */
struct judged {
	const char *name;
	uint32_t *rows, *n_rows; /* [n_states][WR_SIM_SLATE], [n_states] */
	double *clicks, *conversions;
	double diversity, coverage;
};
struct lift {
	struct wr_sim *world;
	struct wr_dataset *ds; /* the log of the customers before first_user */
	uint64_t seed;
	uint32_t first_user, n_states;
	struct wr_sim_state *state; /* hidden: behind the last click */
	uint64_t *off;              /* what policies know: clicks and their times */
	uint32_t *rows;
	int64_t *time_ms, *asked_ms; /* asked: by customer, when the slate is shown */
	struct judged policy[WRTRAIN_MAX_POLICIES + 2];
	unsigned int n_policies;
};

/*
 * Shows every customer one slate of a policy that explores, draws what becomes of it, and writes
 * dir (made when missing): items.tsv, interactions.tsv (the clicks before) and impressions.tsv with
 * propensities. The policy: with 0.2 ten random items, else the 20 best of one of the named
 * policies (alike probable) in random order, the first ten. What an item's propensity at a place is
 * follows exactly.
 */
int wrtrain_lift_slates(const struct lift *l, const struct wr_baseline_log *log,
	const char *const *names, unsigned int n_names, uint32_t threads, const char *dir,
	struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
