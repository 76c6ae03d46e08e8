/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The simulated customer-service centre: articles and products, users whose tastes drift, sessions
 * that follow a goal through a graph of topics, what was shown, clicked and converted, and the
 * truth behind it. Equations, parameters and what is frozen: docs/simulator.md. Built for 10^3 …
 * 10^6 items; a world costs about 70 bytes an item, a user nothing but its walker. Everything is a
 * function of (seed, n_items, user index): users may be walked in any order, by any thread, and the
 * results are bit-identical on every x86-64 at every optimisation level (own exp and log, no libm,
 * no FMA).
 */
#ifndef WR_SIM_H
#define WR_SIM_H

#include "wr_base.h"

#define WR_SIM_MIN_ITEMS   1000u
#define WR_SIM_MAX_ITEMS   1000000u
#define WR_SIM_MAX_USERS   10000000u
#define WR_SIM_DIM         12  /* of the latent taste space */
#define WR_SIM_SLATE       10  /* items shown at once */
#define WR_SIM_MIN_CLICKS  20  /* of a user */
#define WR_SIM_MAX_CLICKS  150 /* of a user */
#define WR_SIM_TOPIC_ITEMS 16  /* items of a topic: its steps */
#define WR_SIM_NEXT        3   /* successors of a topic */
#define WR_SIM_CATEGORIES  40
#define WR_SIM_TEXT_BYTES  160 /* longest name, title or utterance, with its NUL */

struct wr_sim; /* a world: immutable, shared between threads */
/* WR_EINVAL (n_items outside WR_SIM_MIN_ITEMS … WR_SIM_MAX_ITEMS), WR_ENOMEM. */
int wr_sim_new(
	struct wr_sim **w, uint64_t seed, uint32_t n_items, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_sim_free(struct wr_sim *w);
uint32_t wr_sim_n_items(const struct wr_sim *w);
uint32_t wr_sim_n_topics(const struct wr_sim *w);

/* ---- what an item is; row = id - 1 < n_items ---- */
enum wr_sim_kind {
	WR_SIM_PROBLEM,
	WR_SIM_GUIDE,
	WR_SIM_PRODUCT,
	WR_SIM_PRODUCT_B,
	WR_SIM_ACCESSORY
};
struct wr_sim_item {
	char name[16];                 /* "ART-0000017" or "PRD-0000018", unique */
	char title[WR_SIM_TEXT_BYTES]; /* unique */
	const char *category;          /* of wr_sim_category */
	uint32_t topic, step; /* its topic and its place there, 0 … WR_SIM_TOPIC_ITEMS - 1 */
	enum wr_sim_kind kind;
};
void wr_sim_item_get(const struct wr_sim *w, uint32_t row, struct wr_sim_item *item);
/* Name of category 0 … WR_SIM_CATEGORIES - 1. */
const char *wr_sim_category(uint32_t category);

/* ---- intents: rules 0 … n_rules - 1 are subjects that customers speak about ---- */
uint32_t wr_sim_n_rules(const struct wr_sim *w);
/* The rule id, at most 31 characters, unique; and the pattern that finds it. */
void wr_sim_rule_get(uint32_t rule, char id[32], char pattern[WR_SIM_TEXT_BYTES]);
/* Rows of the items that the rule's subject is about into rows (at most max); their number. */
uint32_t wr_sim_rule_items(const struct wr_sim *w, uint32_t rule, uint32_t max, uint32_t *rows);
#define WR_SIM_PHRASES 12 /* ways of saying one subject */
void wr_sim_utterance(uint32_t rule, uint32_t phrase, char text[WR_SIM_TEXT_BYTES]);

/* ---- a user's hidden state when the next slate is shown ---- */
struct wr_sim_state {
	float taste[WR_SIM_DIM];
	uint32_t topic, step; /* what the user wants now: the intent */
	uint32_t session;     /* 0, 1, … */
	uint32_t slates;      /* shown in this session so far */
	int64_t time_ms;      /* unix ms */
	uint32_t n_seen;
	uint32_t seen[WR_SIM_MAX_CLICKS]; /* rows clicked so far, oldest first: the history that a
					     policy may know */
};

/* What one slate did. */
struct wr_sim_slate {
	int64_t time_ms; /* shown */
	uint32_t session;
	int32_t rule; /* said with it: rule and phrase; -1 = nothing */
	uint32_t phrase;
	uint32_t n;                       /* shown items */
	uint32_t rows[WR_SIM_SLATE];      /* by position */
	int64_t click_ms[WR_SIM_SLATE];   /* 0 = not clicked; ascending by position */
	int64_t convert_ms[WR_SIM_SLATE]; /* 0 = not converted; after its click, before the next one
					   */
};

/* ---- walking a user: one slate after the other under the centre's present (logging) policy ----
 */
struct wr_sim_walk {
	const struct wr_sim *world;
	struct wr_sim_state state;
	uint32_t user, n_target; /* index; clicks after which the user leaves */
	uint32_t n_slates;
	struct wr_rng taste, goal, step, slate, click, convert, time, say; /* a stream each */
};
/* Puts user (< WR_SIM_MAX_USERS) before the first slate. */
void wr_sim_walk_start(struct wr_sim_walk *walk, const struct wr_sim *w, uint32_t user);
/*
 * Shows one more slate: true and *slate; the state moves on to the next one. False when the user
 * has left; the state is then that of a slate that nobody saw: a held-out state, with the whole log
 * of the user as its history.
 */
bool wr_sim_walk_next(struct wr_sim_walk *walk, struct wr_sim_slate *slate);

/* ---- the truth ---- */
/* Probability that the position (0 …) is looked at. */
double wr_sim_examine(uint32_t position);
/* P(click | row shown there, state); 0 for a row seen before. */
double wr_sim_click_probability(
	const struct wr_sim *w, const struct wr_sim_state *s, uint32_t row, uint32_t position);
/* P(convert | clicked). */
double wr_sim_convert_probability(
	const struct wr_sim *w, const struct wr_sim_state *s, uint32_t row);
/* Expected clicks and conversions of a slate; rows are distinct. */
struct wr_sim_value {
	double clicks, conversions;
};
struct wr_sim_value wr_sim_slate_value(
	const struct wr_sim *w, const struct wr_sim_state *s, const uint32_t *rows, uint32_t n);
/* The slate with the most expected clicks: the n (<= WR_SIM_SLATE) rows of the highest click
 * probability, best first, ties by row. Looks at every item. */
void wr_sim_oracle(
	const struct wr_sim *w, const struct wr_sim_state *s, uint32_t n, uint32_t *rows);

/* ---- the dataset directory (docs/architecture.md), written whole or not at all ---- */
struct wr_sim_write_params {
	const char *dir;
	uint32_t n_users;
	bool impressions; /* also impressions.tsv */
	bool replace;     /* dir may exist; it is exchanged, its files of these names removed */
	/* The id of a user's name: wr_wire_user_id; this part may not include it. */
	uint64_t (*user_id)(const char *name, size_t bytes);
};
struct wr_sim_counts {
	uint64_t sessions, slates, impressions, clicks, conversions, utterances;
};
/*
 * Errors: WR_EINVAL (dir exists, is not empty and replace is off), WR_EIO, WR_ENOMEM, WR_EINTR
 * (wr_stop_requested); nothing is left behind then.
 */
int wr_sim_write(const struct wr_sim *w, const struct wr_sim_write_params *p,
	struct wr_sim_counts *counts, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
