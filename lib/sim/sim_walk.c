/* SPDX-License-Identifier: BSD-3-Clause */
/* A user's life: sessions with a goal, slates of the centre's present policy, clicks that move the
 * intent along. */
#include "sim_internal.h"
#include "sim_params.h"

#include <math.h>
#include <string.h>

#define N_SEARCH  4 /* of a slate: what the user came for */
#define N_RELATED 2 /* the topic's successors */
#define N_POPULAR 2
#define N_TASTE   2 /* "for you" */
#define SEARCH_TAKE \
	0.6     /* probability that the search shows the next step rather than skipping it */
#define DRAWS 8 /* candidates of one popular or "for you" place */

static const double next_share[WR_SIM_NEXT] = {0.55, 0.30, 0.15};

/* 0 … WR_SIM_NEXT - 1 by next_share. */
uint32_t wr_sim_next_draw(struct wr_rng *r)
{
	double x = wr_rng_double(r);
	for (uint32_t i = 0; i < WR_SIM_NEXT - 1; i++) {
		if (x < next_share[i])
			return i;
		x -= next_share[i];
	}
	return WR_SIM_NEXT - 1;
}

static void drift(struct wr_sim_walk *k)
{
	double keep = k->state.session ? SIM_TASTE_KEEP : 0.0, fresh = sqrt(1.0 - keep * keep);
	for (unsigned int c = 0; c < WR_SIM_DIM; c++)
		k->state.taste[c] = (float)(keep * (double)k->state.taste[c] +
					    fresh * wr_sim_normal(&k->taste));
}

/* Softmax of taste among topics drawn by attractiveness; the wanted step is an early one. */
static void choose_goal(struct wr_sim_walk *k)
{
	uint32_t candidate[SIM_GOAL_CANDIDATES], a, b;
	double weight[SIM_GOAL_CANDIDATES], sum = 0.0;
	for (unsigned int i = 0; i < SIM_GOAL_CANDIDATES; i++) {
		candidate[i] = wr_sim_topic_draw(k->world, &k->goal);
		weight[i] = wr_sim_exp(SIM_GOAL_TASTE * wr_sim_dot(k->state.taste,
								k->world->topic[candidate[i]].vec));
		sum += weight[i];
	}
	double x = wr_rng_double(&k->goal) * sum;
	unsigned int i = 0;
	for (; i < SIM_GOAL_CANDIDATES - 1 && x >= weight[i]; i++)
		x -= weight[i];
	k->state.topic = candidate[i];
	a = wr_rng_below(&k->goal, WR_SIM_TOPIC_ITEMS);
	b = wr_rng_below(&k->goal, WR_SIM_TOPIC_ITEMS);
	k->state.step = WR_MIN(a, b);
}

/* Draws are made whether used or not, so that a session's length does not shift the streams of its
 * goal. */
static void open_session(struct wr_sim_walk *k)
{
	struct wr_sim_state before = k->state;
	drift(k);
	choose_goal(k);
	bool resume = wr_rng_double(&k->goal) < SIM_GOAL_RESUME;
	if (resume && before.session) {
		k->state.topic = before.topic;
		k->state.step = before.step;
	}
	k->state.session++;
	k->state.slates = 0;
}

void wr_sim_walk_start(struct wr_sim_walk *k, const struct wr_sim *w, uint32_t user)
{
	memset(k, 0, sizeof(*k));
	k->world = w;
	k->user = user;
	wr_rng_init(&k->taste, w->seed, sim_stream(SIM_STREAM_TASTE, user));
	wr_rng_init(&k->goal, w->seed, sim_stream(SIM_STREAM_GOAL, user));
	wr_rng_init(&k->step, w->seed, sim_stream(SIM_STREAM_STEP, user));
	wr_rng_init(&k->slate, w->seed, sim_stream(SIM_STREAM_SLATE, user));
	wr_rng_init(&k->click, w->seed, sim_stream(SIM_STREAM_CLICK, user));
	wr_rng_init(&k->convert, w->seed, sim_stream(SIM_STREAM_CONVERT, user));
	wr_rng_init(&k->time, w->seed, sim_stream(SIM_STREAM_TIME, user));
	wr_rng_init(&k->say, w->seed, sim_stream(SIM_STREAM_SAY, user));
	double more = SIM_CLICKS_MEAN * wr_sim_exponential(&k->step);
	k->n_target = WR_SIM_MIN_CLICKS + (uint32_t)WR_MIN(more, SIM_CLICKS_CUT);
	k->state.time_ms = SIM_EPOCH_MS + (int64_t)(SIM_START_SPREAD_MS * wr_rng_double(&k->time));
	open_session(k);
}

/* ---- the present policy ---- */

static bool shown(const struct wr_sim_slate *slate, uint32_t row)
{
	for (uint32_t i = 0; i < slate->n; i++)
		if (slate->rows[i] == row)
			return true;
	return false;
}

static bool show(const struct wr_sim_walk *k, struct wr_sim_slate *slate, uint32_t row)
{
	if (slate->n == WR_SIM_SLATE || shown(slate, row) || wr_sim_seen(&k->state, row))
		return false;
	slate->rows[slate->n++] = row;
	return true;
}

/* Up to n unseen items of a topic from step on, some skipped. */
static void show_topic(struct wr_sim_walk *k, struct wr_sim_slate *slate, uint32_t topic,
	uint32_t step, uint32_t n)
{
	uint32_t size = sim_topic_size(k->world, topic);
	for (uint32_t d = 0; d < size && n; d++) {
		bool take = wr_rng_double(&k->slate) < SEARCH_TAKE;
		if (take && show(k, slate,
				    k->world->place_row[topic * WR_SIM_TOPIC_ITEMS +
							(step + d) % size]))
			n--;
	}
}

/* The best of some drawn items, by bias or by taste. */
static void show_drawn(struct wr_sim_walk *k, struct wr_sim_slate *slate, bool by_taste)
{
	const struct wr_sim *w = k->world;
	double best = -1e30;
	uint32_t best_row = UINT32_MAX;
	for (unsigned int i = 0; i < DRAWS; i++) {
		uint32_t topic = wr_sim_topic_draw(w, &k->slate);
		uint32_t step = wr_rng_below(&k->slate, sim_topic_size(w, topic));
		uint32_t row = w->place_row[topic * WR_SIM_TOPIC_ITEMS + step];
		double x = by_taste ? wr_sim_dot(k->state.taste, w->item_vec[row])
				    : (double)w->item_bias[row];
		if (x > best && !shown(slate, row) && !wr_sim_seen(&k->state, row)) {
			best = x;
			best_row = row;
		}
	}
	if (best_row != UINT32_MAX)
		show(k, slate, best_row);
}

static void fill_slate(struct wr_sim_walk *k, struct wr_sim_slate *slate)
{
	const struct sim_topic *wanted = &k->world->topic[k->state.topic];
	show_topic(k, slate, k->state.topic, k->state.step, N_SEARCH);
	for (unsigned int i = 0; i < N_RELATED; i++)
		show_topic(k, slate, wanted->next[wr_sim_next_draw(&k->slate)], k->state.step, 1);
	for (unsigned int i = 0; i < N_POPULAR; i++)
		show_drawn(k, slate, false);
	for (unsigned int i = 0; i < N_TASTE; i++)
		show_drawn(k, slate, true);
	for (uint32_t i = slate->n; i > 1; i--) {
		uint32_t j = wr_rng_below(&k->slate, i), row = slate->rows[i - 1];
		slate->rows[i - 1] = slate->rows[j];
		slate->rows[j] = row;
	}
}

/* ---- one slate ---- */

/* The intent after a click: on in its topic, or to a successor; a click elsewhere may leave the
 * intent alone. */
static void move_intent(struct wr_sim_walk *k, uint32_t row)
{
	const struct wr_sim *w = k->world;
	uint32_t place = w->row_place[row], topic = place / WR_SIM_TOPIC_ITEMS,
		 step = place % WR_SIM_TOPIC_ITEMS;
	bool follow = wr_rng_double(&k->step) < SIM_FOLLOW,
	     stay = wr_rng_double(&k->step) < SIM_STAY;
	uint32_t next = wr_sim_next_draw(&k->step);
	if (topic != k->state.topic && !follow)
		return;
	k->state.topic = stay ? topic : w->topic[topic].next[next];
	k->state.step = stay ? (step + 1) % WR_SIM_TOPIC_ITEMS : step;
}

/* Clicks are drawn from the state in which the slate was shown; only then does the state move. */
static void look(struct wr_sim_walk *k, struct wr_sim_slate *slate)
{
	int64_t at = slate->time_ms;
	struct wr_sim_state before = k->state;
	for (uint32_t i = 0; i < slate->n; i++) {
		uint32_t row = slate->rows[i];
		bool click = wr_rng_double(&k->click) <
			     wr_sim_click_probability(k->world, &before, row, i);
		bool convert = wr_rng_double(&k->convert) <
			       wr_sim_convert_probability(k->world, &before, row);
		at += 1000 + (int64_t)(2000.0 * wr_rng_double(&k->time));
		if (!click || k->state.n_seen == WR_SIM_MAX_CLICKS)
			continue;
		slate->click_ms[i] = at;
		at += 3000 + (int64_t)(15000.0 * wr_sim_exponential(&k->time));
		if (convert)
			slate->convert_ms[i] = at;
		k->state.seen[k->state.n_seen++] = row;
		move_intent(k, row);
	}
	k->state.time_ms = at + 2000 + (int64_t)(SIM_SLATE_GAP_MS * wr_sim_exponential(&k->time));
}

static void say(struct wr_sim_walk *k, struct wr_sim_slate *slate)
{
	bool speaks = wr_rng_double(&k->say) < SIM_SAY;
	slate->phrase = wr_rng_below(&k->say, WR_SIM_PHRASES);
	slate->rule = -1;
	if (speaks && k->state.slates == 0)
		slate->rule = (int32_t)(k->state.topic % wr_sim_n_rules(k->world));
}

bool wr_sim_walk_next(struct wr_sim_walk *k, struct wr_sim_slate *slate)
{
	if (k->state.n_seen >= k->n_target || k->n_slates >= SIM_SLATES_PER_CLICK * k->n_target)
		return false;
	memset(slate, 0, sizeof(*slate));
	slate->time_ms = k->state.time_ms;
	slate->session = k->state.session - 1;
	say(k, slate);
	fill_slate(k, slate);
	look(k, slate);
	k->n_slates++;
	k->state.slates++;
	bool end = wr_rng_double(&k->step) < SIM_SESSION_END;
	if (end || k->state.slates >= SIM_SESSION_SLATES) {
		k->state.time_ms +=
			600000 + (int64_t)(SIM_SESSION_GAP_MS * wr_sim_exponential(&k->time));
		open_session(k);
	}
	return true;
}
