/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside of lib/sim: the world's layout, its frozen parameters, exact arithmetic, the text tables.
 */
#ifndef SIM_INTERNAL_H
#define SIM_INTERNAL_H

#include "wr_sim.h"

/* ---- random streams: id = purpose << 40 | index. New fields take new purposes; none is ever
 * reused. ---- */
enum sim_stream {
	SIM_STREAM_THEME = 1,
	SIM_STREAM_TOPIC = 2,
	SIM_STREAM_GRAPH = 3,
	SIM_STREAM_ITEM = 4,
	SIM_STREAM_ORDER = 5,
	SIM_STREAM_TASTE = 6,
	SIM_STREAM_GOAL = 7,
	SIM_STREAM_STEP = 8,
	SIM_STREAM_SLATE = 9,
	SIM_STREAM_CLICK = 10,
	SIM_STREAM_CONVERT = 11,
	SIM_STREAM_TIME = 12,
	SIM_STREAM_SAY = 13,
};
static inline uint64_t sim_stream(enum sim_stream purpose, uint32_t index)
{
	return (uint64_t)purpose << 40 | index;
}

/* ---- arithmetic that is the same on every machine: +, -, *, / and sqrt of IEEE doubles only ----
 */
double wr_sim_exp(double x);
double wr_sim_log(double x); /* x > 0, normal */
double wr_sim_logistic(double x);
/* Sum of twelve uniforms less six: mean 0, variance 1. */
double wr_sim_normal(struct wr_rng *r);
/* Mean 1. */
double wr_sim_exponential(struct wr_rng *r);

/* ---- the world ---- */
#define SIM_THEMES   8
#define SIM_KINDS    5 /* enum wr_sim_kind */
#define SIM_SUBJECTS 6 /* of a category */

struct sim_topic {
	float vec[WR_SIM_DIM];
	uint32_t next[WR_SIM_NEXT];
};
struct wr_sim {
	uint64_t seed;
	uint32_t n_items, n_topics;
	struct sim_topic *topic;
	double *topic_cdf;             /* attractiveness, cumulated; last = 1 */
	float (*item_vec)[WR_SIM_DIM]; /* by row */
	float *item_bias;              /* by row */
	uint32_t *place_row;           /* topic * WR_SIM_TOPIC_ITEMS + step → row */
	uint32_t *row_place;           /* row → place */
};
static inline uint32_t sim_topic_size(const struct wr_sim *w, uint32_t topic)
{
	uint32_t first = topic * WR_SIM_TOPIC_ITEMS;
	return WR_MIN(WR_SIM_TOPIC_ITEMS, w->n_items - first);
}
/* Topic g belongs to category g % 40 = theme * 5 + kind, is about subject g / 40 % 6 of it, in
 * variant g / 240. */
static inline uint32_t sim_topic_category(uint32_t topic)
{
	return topic % WR_SIM_CATEGORIES;
}
static inline uint32_t sim_topic_subject(uint32_t topic)
{
	return topic / WR_SIM_CATEGORIES % SIM_SUBJECTS;
}
static inline uint32_t sim_topic_variant(uint32_t topic)
{
	return topic / (WR_SIM_CATEGORIES * SIM_SUBJECTS);
}
double wr_sim_dot(const float *a, const float *b);
/* A topic drawn by attractiveness. */
uint32_t wr_sim_topic_draw(const struct wr_sim *w, struct wr_rng *r);
/* Utility of a row for a state: what the logistic click model takes (docs/simulator.md). */
double wr_sim_utility(const struct wr_sim *w, const struct wr_sim_state *s, uint32_t row);
bool wr_sim_seen(const struct wr_sim_state *s, uint32_t row);
/* The next successor of a topic: 0 … WR_SIM_NEXT - 1. */
uint32_t wr_sim_next_draw(struct wr_rng *r);

/* ---- text ---- */
/* What a subject is called in titles, what a customer says, and the words that give it away.
 * Products have a title only. */
struct sim_subject {
	const char *title, *say, *pattern;
};
extern const struct sim_subject wr_sim_subjects[WR_SIM_CATEGORIES][SIM_SUBJECTS];
extern const char *const wr_sim_category_names[WR_SIM_CATEGORIES];

#endif
