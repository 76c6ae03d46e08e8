/* SPDX-License-Identifier: BSD-3-Clause */
/* The truth: click and conversion probabilities of a state, a slate's value, the oracle. */
#include "sim_internal.h"
#include "sim_params.h"

bool wr_sim_seen(const struct wr_sim_state *s, uint32_t row)
{
	for (uint32_t i = 0; i < s->n_seen; i++)
		if (s->seen[i] == row)
			return true;
	return false;
}

/* 2^-d for an item d steps ahead of the wanted one in its topic. */
static double step_fit(const struct wr_sim *w, const struct wr_sim_state *s, uint32_t place)
{
	uint32_t n = sim_topic_size(w, place / WR_SIM_TOPIC_ITEMS);
	uint32_t ahead = (place % WR_SIM_TOPIC_ITEMS + n - s->step % n) % n;
	return 1.0 / (double)(1u << ahead);
}

static bool follows(const struct sim_topic *wanted, uint32_t topic)
{
	for (unsigned int i = 0; i < WR_SIM_NEXT; i++)
		if (wanted->next[i] == topic)
			return true;
	return false;
}

double wr_sim_utility(const struct wr_sim *w, const struct wr_sim_state *s, uint32_t row)
{
	uint32_t place = w->row_place[row], topic = place / WR_SIM_TOPIC_ITEMS;
	double x = SIM_CLICK_BASE + (double)w->item_bias[row] +
		   SIM_CLICK_TASTE * wr_sim_dot(s->taste, w->item_vec[row]);
	if (topic == s->topic)
		x += SIM_CLICK_TOPIC + SIM_CLICK_STEP * step_fit(w, s, place);
	else if (follows(&w->topic[s->topic], topic))
		x += SIM_CLICK_NEXT;
	return x;
}

double wr_sim_examine(uint32_t position)
{
	return 1.0 / (1.0 + SIM_EXAMINE_DECAY * (double)position);
}

double wr_sim_click_probability(
	const struct wr_sim *w, const struct wr_sim_state *s, uint32_t row, uint32_t position)
{
	if (wr_sim_seen(s, row))
		return 0.0;
	return wr_sim_examine(position) * wr_sim_logistic(wr_sim_utility(w, s, row));
}

double wr_sim_convert_probability(
	const struct wr_sim *w, const struct wr_sim_state *s, uint32_t row)
{
	uint32_t place = w->row_place[row];
	double x = SIM_CONVERT_BASE + SIM_CONVERT_TASTE * wr_sim_dot(s->taste, w->item_vec[row]);
	if (place / WR_SIM_TOPIC_ITEMS == s->topic)
		x += SIM_CONVERT_TOPIC + SIM_CONVERT_STEP * step_fit(w, s, place);
	return wr_sim_logistic(x);
}

struct wr_sim_value wr_sim_slate_value(
	const struct wr_sim *w, const struct wr_sim_state *s, const uint32_t *rows, uint32_t n)
{
	struct wr_sim_value v = {0.0, 0.0};
	for (uint32_t i = 0; i < n; i++) {
		double click = wr_sim_click_probability(w, s, rows[i], i);
		v.clicks += click;
		v.conversions += click * wr_sim_convert_probability(w, s, rows[i]);
	}
	return v;
}

void wr_sim_oracle(const struct wr_sim *w, const struct wr_sim_state *s, uint32_t n, uint32_t *rows)
{
	double best[WR_SIM_SLATE];
	uint32_t found = 0;
	n = WR_MIN(n, WR_SIM_SLATE);
	for (uint32_t row = 0; n && row < w->n_items; row++) {
		double x = wr_sim_utility(w, s, row);
		if ((found == n && x <= best[n - 1]) || wr_sim_seen(s, row))
			continue;
		uint32_t at = found < n ? found++ : n - 1;
		for (; at > 0 && x > best[at - 1]; at--) {
			best[at] = best[at - 1];
			rows[at] = rows[at - 1];
		}
		best[at] = x;
		rows[at] = row;
	}
}
