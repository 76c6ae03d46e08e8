/* SPDX-License-Identifier: BSD-3-Clause */
/* Small random but sane bundles for tests: header-only, so that every suite can make its own. */
#ifndef WR_TEST_BUNDLE_H
#define WR_TEST_BUNDLE_H

#include "wr_bundle.h"

#include <stdlib.h>
#include <string.h>

static inline void wr_test_bundle_s8(
	struct wr_bundle_builder *w, const char *name, size_t n, struct wr_rng *r)
{
	int8_t *q = malloc(n);
	for (size_t i = 0; i < n; i++)
		q[i] = (int8_t)((int)wr_rng_below(r, 255) - 127);
	if (!q || wr_bundle_builder_add(w, name, q, n))
		abort();
	free(q);
}

/* n floats, uniform in [low, high). */
static inline void wr_test_bundle_f32(struct wr_bundle_builder *w, const char *name, size_t n,
	double low, double high, struct wr_rng *r)
{
	float *f = malloc(n * sizeof(*f));
	for (size_t i = 0; i < n; i++)
		f[i] = (float)(low + (high - low) * wr_rng_double(r));
	if (!f || wr_bundle_builder_add(w, name, f, n * sizeof(*f)))
		abort();
	free(f);
}

static inline void wr_test_bundle_block(struct wr_bundle_builder *w,
	const struct wr_bundle_model *m, unsigned int block, struct wr_rng *r)
{
	char name[32];
	for (unsigned int i = 0; i < WR_BUNDLE_PROJECTIONS; i++) {
		enum wr_bundle_projection p = (enum wr_bundle_projection)i;
		const char *part = wr_bundle_projection_name(p);
		size_t out = wr_bundle_outputs(m, p), in = wr_bundle_inputs(m, p);
		snprintf(name, sizeof(name), "b%u.%s.q", block, part);
		wr_test_bundle_s8(w, name, out * in, r);
		snprintf(name, sizeof(name), "b%u.%s.s", block, part);
		wr_test_bundle_f32(w, name, out, 0.0005, 0.003, r);
		snprintf(name, sizeof(name), "b%u.%s.low", block, part);
		if (wr_bundle_kept(m, block, p))
			wr_test_bundle_s8(w, name, out * in, r);
	}
	snprintf(name, sizeof(name), "b%u.bias", block);
	wr_test_bundle_f32(w, name, m->n_heads * m->window, -1.0, 1.0, r);
	snprintf(name, sizeof(name), "b%u.time", block);
	if (m->time_buckets)
		wr_test_bundle_f32(w, name, m->n_heads * m->time_buckets, -1.0, 1.0, r);
	if (!m->age_keys)
		return;
	size_t keys = (size_t)m->n_heads * m->window;
	snprintf(name, sizeof(name), "b%u.age.q", block);
	wr_test_bundle_s8(w, name, keys * m->head_dim, r);
	snprintf(name, sizeof(name), "b%u.age.s", block);
	wr_test_bundle_f32(w, name, keys, 0.0005, 0.003, r);
}

/* Everything but the "model" section, with random weights; item names "item1"…, titles "Title 1"…,
 * two categories. */
static inline void wr_test_bundle_fill_tensors(
	struct wr_bundle_builder *w, const struct wr_bundle_model *m, uint64_t seed)
{
	struct wr_rng r;
	wr_rng_init(&r, seed, 77);
	uint32_t n = m->n_items;
	char **names = calloc(n, sizeof(*names)), **titles = calloc(n, sizeof(*titles));
	uint8_t *flags = malloc(n);
	uint32_t *popularity = malloc(n * sizeof(*popularity));
	uint16_t *category = malloc(n * sizeof(*category));
	static const char *const categories[] = {"", "Billing", "Devices"};
	for (uint32_t i = 0; i < n; i++) {
		if (asprintf(&names[i], "item%u", i + 1) < 0 ||
			asprintf(&titles[i], "Title %u", i + 1) < 0)
			abort();
		flags[i] = 1;
		popularity[i] = wr_rng_below(&r, 1000);
		category[i] = (uint16_t)(1 + i % 2);
	}
	wr_test_bundle_s8(w, WR_SEC_ITEM_Q, (size_t)n * m->d, &r);
	wr_test_bundle_f32(w, WR_SEC_ITEM_SCALE, n, 0.001, 0.003, &r);
	wr_test_bundle_f32(w, WR_SEC_ITEM_IN, n, 0.005, 0.02, &r);
	wr_test_bundle_f32(w, WR_SEC_FINAL_GAIN, m->d, 0.5, 1.5, &r);
	for (unsigned int i = 0; i < m->n_blocks; i++)
		wr_test_bundle_block(w, m, i, &r);
	if (wr_bundle_builder_add(w, WR_SEC_ITEM_FLAGS, flags, n) ||
		wr_bundle_builder_add(w, WR_SEC_POPULARITY, popularity, n * sizeof(*popularity)) ||
		wr_bundle_builder_add(w, WR_SEC_CATEGORY, category, n * sizeof(*category)) ||
		wr_bundle_builder_add_strings(w, WR_SEC_CAT_NAMES, categories, 3) ||
		wr_bundle_builder_add_strings(
			w, WR_SEC_ITEM_NAMES, (const char *const *)names, n) ||
		wr_bundle_builder_add_strings(w, WR_SEC_TITLES, (const char *const *)titles, n))
		abort();
	for (uint32_t i = 0; i < n; i++) {
		free(names[i]);
		free(titles[i]);
	}
	free(names);
	free(titles);
	free(flags);
	free(popularity);
	free(category);
}

static inline void wr_test_bundle_fill(
	struct wr_bundle_builder *w, const struct wr_bundle_model *m, uint64_t seed)
{
	wr_test_bundle_fill_tensors(w, m, seed);
	if (wr_bundle_builder_add(w, WR_SEC_MODEL, m, sizeof(*m)))
		abort();
}

/* The reference student's shape with n items. */
static inline struct wr_bundle_model wr_test_bundle_reference(uint32_t n_items)
{
	return (struct wr_bundle_model){.n_items = n_items,
		.d = 64,
		.n_blocks = 2,
		.n_heads = 2,
		.n_kv_heads = 2,
		.head_dim = 32,
		.window = 50,
		.ffn = 128,
		.logit_scale = 20,
		.norm_eps = 1e-6f,
		.bundle_version = 1};
}

/* Writes such a bundle to path; aborts on failure. */
static inline void wr_test_bundle_write(
	const char *path, const struct wr_bundle_model *m, uint64_t seed)
{
	struct wr_bundle_builder *w;
	struct wr_errmsg msg;
	if (wr_bundle_builder_new(&w, &msg))
		abort();
	wr_test_bundle_fill(w, m, seed);
	if (wr_bundle_builder_write(w, path, &msg)) {
		fprintf(stderr, "%s\n", msg.text);
		abort();
	}
	wr_bundle_builder_free(w);
}

#endif
