/* SPDX-License-Identifier: BSD-3-Clause */
/* The world: topics in a taste space and a graph, items around their topics, ids in random order.
 */
#include "sim_internal.h"
#include "sim_params.h"

#include <math.h>
#include <stdlib.h>

double wr_sim_dot(const float *a, const float *b)
{
	double sum = 0.0;
	for (unsigned int c = 0; c < WR_SIM_DIM; c++)
		sum += (double)a[c] * (double)b[c];
	return sum;
}

/* vec = base (or nothing) + length × a random direction. */
static void add_direction(float *vec, const float *base, double length, struct wr_rng *r)
{
	double x[WR_SIM_DIM], ss = 0.0;
	for (unsigned int c = 0; c < WR_SIM_DIM; c++) {
		x[c] = wr_sim_normal(r);
		ss += x[c] * x[c];
	}
	double f = length / sqrt(ss);
	for (unsigned int c = 0; c < WR_SIM_DIM; c++)
		vec[c] = (float)((base ? (double)base[c] : 0.0) + f * x[c]);
}

/* A random topic of a category. */
static uint32_t topic_of_category(const struct wr_sim *w, uint32_t category, struct wr_rng *r)
{
	uint32_t n = (w->n_topics - category + WR_SIM_CATEGORIES - 1) / WR_SIM_CATEGORIES;
	return category + WR_SIM_CATEGORIES * wr_rng_below(r, n);
}

/* What a customer of a kind of page goes to: problem → guide → product → accessory → the next
 * problem. */
static uint32_t next_kind(uint32_t kind, struct wr_rng *r)
{
	static const uint32_t next[SIM_KINDS] = {
		WR_SIM_GUIDE, WR_SIM_PRODUCT, WR_SIM_ACCESSORY, WR_SIM_ACCESSORY, WR_SIM_PROBLEM};
	return next[kind] + (kind == WR_SIM_GUIDE ? wr_rng_below(r, 2) : 0);
}

/* All successors but the last stay in the theme. */
static void link_topic(struct wr_sim *w, uint32_t topic, struct wr_rng *r)
{
	uint32_t category = sim_topic_category(topic), theme = category / SIM_KINDS;
	for (unsigned int i = 0; i < WR_SIM_NEXT; i++) {
		uint32_t to = i < WR_SIM_NEXT - 1 ? theme : wr_rng_below(r, SIM_THEMES);
		w->topic[topic].next[i] = topic_of_category(
			w, to * SIM_KINDS + next_kind(category % SIM_KINDS, r), r);
	}
}

static void make_topics(struct wr_sim *w)
{
	struct wr_rng theme, topic, graph;
	float theme_vec[SIM_THEMES][WR_SIM_DIM];
	double sum = 0.0;
	wr_rng_init(&theme, w->seed, sim_stream(SIM_STREAM_THEME, 0));
	wr_rng_init(&topic, w->seed, sim_stream(SIM_STREAM_TOPIC, 0));
	wr_rng_init(&graph, w->seed, sim_stream(SIM_STREAM_GRAPH, 0));
	for (unsigned int t = 0; t < SIM_THEMES; t++)
		add_direction(theme_vec[t], NULL, SIM_THEME_LENGTH, &theme);
	for (uint32_t g = 0; g < w->n_topics; g++) {
		add_direction(w->topic[g].vec, theme_vec[sim_topic_category(g) / SIM_KINDS],
			SIM_TOPIC_LENGTH, &topic);
		sum += wr_sim_exp(SIM_TOPIC_SPREAD * wr_sim_normal(&topic));
		w->topic_cdf[g] = sum;
		link_topic(w, g, &graph);
	}
	for (uint32_t g = 0; g < w->n_topics; g++)
		w->topic_cdf[g] /= sum;
	w->topic_cdf[w->n_topics - 1] = 1.0;
}

static void make_items(struct wr_sim *w)
{
	struct wr_rng item, order;
	wr_rng_init(&item, w->seed, sim_stream(SIM_STREAM_ITEM, 0));
	wr_rng_init(&order, w->seed, sim_stream(SIM_STREAM_ORDER, 0));
	for (uint32_t p = 0; p < w->n_items; p++)
		w->place_row[p] = p;
	for (uint32_t p = w->n_items - 1; p > 0; p--) {
		uint32_t q = wr_rng_below(&order, p + 1), t = w->place_row[p];
		w->place_row[p] = w->place_row[q];
		w->place_row[q] = t;
	}
	for (uint32_t p = 0; p < w->n_items; p++) {
		uint32_t row = w->place_row[p];
		w->row_place[row] = p;
		add_direction(w->item_vec[row], w->topic[p / WR_SIM_TOPIC_ITEMS].vec,
			SIM_ITEM_LENGTH, &item);
		w->item_bias[row] = (float)(SIM_ITEM_SPREAD * wr_sim_normal(&item));
	}
}

int wr_sim_new(struct wr_sim **out, uint64_t seed, uint32_t n_items, struct wr_errmsg *msg)
{
	*out = NULL;
	if (n_items < WR_SIM_MIN_ITEMS || n_items > WR_SIM_MAX_ITEMS)
		return wr_fail(msg, WR_EINVAL, "a simulated centre has %u to %u items, not %u",
			WR_SIM_MIN_ITEMS, WR_SIM_MAX_ITEMS, n_items);
	struct wr_sim *w = calloc(1, sizeof(*w));
	if (!w)
		goto oom;
	w->seed = seed;
	w->n_items = n_items;
	w->n_topics = (n_items + WR_SIM_TOPIC_ITEMS - 1) / WR_SIM_TOPIC_ITEMS;
	w->topic = calloc(w->n_topics, sizeof(*w->topic));
	w->topic_cdf = calloc(w->n_topics, sizeof(*w->topic_cdf));
	w->item_vec = calloc(n_items, sizeof(*w->item_vec));
	w->item_bias = calloc(n_items, sizeof(*w->item_bias));
	w->place_row = calloc(n_items, sizeof(*w->place_row));
	w->row_place = calloc(n_items, sizeof(*w->row_place));
	if (!w->topic || !w->topic_cdf || !w->item_vec || !w->item_bias || !w->place_row ||
		!w->row_place)
		goto oom;
	make_topics(w);
	make_items(w);
	*out = w;
	return WR_OK;
oom:
	wr_sim_free(w);
	return wr_fail(msg, WR_ENOMEM, "no memory for a simulated centre of %u items", n_items);
}

void wr_sim_free(struct wr_sim *w)
{
	if (!w)
		return;
	free(w->topic);
	free(w->topic_cdf);
	free(w->item_vec);
	free(w->item_bias);
	free(w->place_row);
	free(w->row_place);
	free(w);
}

uint32_t wr_sim_n_items(const struct wr_sim *w)
{
	return w->n_items;
}

uint32_t wr_sim_n_topics(const struct wr_sim *w)
{
	return w->n_topics;
}

uint32_t wr_sim_topic_draw(const struct wr_sim *w, struct wr_rng *r)
{
	double x = wr_rng_double(r);
	uint32_t low = 0, high = w->n_topics - 1;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (w->topic_cdf[mid] > x)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}
