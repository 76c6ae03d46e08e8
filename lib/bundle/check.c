/* SPDX-License-Identifier: BSD-3-Clause */
/* What a bundle must hold before anybody computes with it: presence, sizes, ranges. */
#include "bundle_file.h"

#include <math.h>
#include <string.h>

#define MAX_ITEMS (1u << 30)

static int check_shape(const struct wr_bundle_model *m, struct wr_errmsg *msg)
{
	if (m->n_items == 0 || m->n_items >= MAX_ITEMS)
		return wr_fail(
			msg, WR_EFORMAT, "model: n_items %u is not in 1 … 2^30-1", m->n_items);
	if (m->d == 0 || m->d % 16 || m->d > 256)
		return wr_fail(
			msg, WR_EFORMAT, "model: width %u is not a multiple of 16 up to 256", m->d);
	if (m->n_blocks == 0 || m->n_blocks > WR_BUNDLE_MAX_BLOCKS)
		return wr_fail(msg, WR_EFORMAT, "model: %u blocks, not 1 … %u", m->n_blocks,
			WR_BUNDLE_MAX_BLOCKS);
	if (m->n_heads == 0 || m->n_heads > 16 || m->n_kv_heads == 0 || m->n_heads % m->n_kv_heads)
		return wr_fail(msg, WR_EFORMAT, "model: %u heads over %u key heads", m->n_heads,
			m->n_kv_heads);
	if (m->head_dim == 0 || m->head_dim % 16 || m->head_dim > 128 ||
		m->n_heads * m->head_dim > 256)
		return wr_fail(msg, WR_EFORMAT,
			"model: head width %u is not a multiple of 16 up to 128", m->head_dim);
	if (m->window == 0 || m->window > 256)
		return wr_fail(msg, WR_EFORMAT, "model: window %u is not in 1 … 256", m->window);
	if (m->ffn == 0 || m->ffn % 16 || m->ffn > 1024)
		return wr_fail(msg, WR_EFORMAT,
			"model: feed-forward width %u is not a multiple of 16 up to 1024", m->ffn);
	if (m->time_buckets == 1 || m->time_buckets > 256)
		return wr_fail(msg, WR_EFORMAT,
			"model: %u buckets of age in time, not 0 or 2 … 256", m->time_buckets);
	if (m->age_keys > 1)
		return wr_fail(msg, WR_EFORMAT, "model: age_keys %u, not 0 or 1", m->age_keys);
	for (unsigned int p = 0; p < WR_BUNDLE_PROJECTIONS; p++)
		if (m->kept[p] >> m->n_blocks)
			return wr_fail(msg, WR_EFORMAT,
				"model: keeps a projection of a block that it has not");
	if (!(m->logit_scale > 0) || !isfinite(m->logit_scale) || !(m->norm_eps > 0) ||
		!(m->norm_eps < 1))
		return wr_fail(msg, WR_EFORMAT, "model: logit scale or norm epsilon out of range");
	return WR_OK;
}

/* The section exists with exactly n elements of elem bytes. */
static int require(const struct wr_bundle *b, const char *name, size_t n, size_t elem,
	const void **data, struct wr_errmsg *msg)
{
	size_t size;
	*data = wr_bundle_section(b, name, &size);
	if (!*data)
		return wr_fail(msg, WR_EFORMAT, "section %s is missing", name);
	if (size != n * elem)
		return wr_fail(msg, WR_EFORMAT, "section %s has %zu bytes, the model needs %zu",
			name, size, n * elem);
	return WR_OK;
}

static int require_s8(const struct wr_bundle *b, const char *name, size_t n, struct wr_errmsg *msg)
{
	const void *p;
	int err = require(b, name, n, 1, &p, msg);
	/* -128 would overflow the 16-bit pair sums of the AVX2 kernels. */
	if (!err && memchr(p, -128, n))
		err = wr_fail(
			msg, WR_EFORMAT, "section %s holds -128; weights are in [-127, 127]", name);
	return err;
}

static int require_f32(const struct wr_bundle *b, const char *name, size_t n, bool may_be_negative,
	struct wr_errmsg *msg)
{
	const void *p;
	int err = require(b, name, n, sizeof(float), &p, msg);
	if (err)
		return err;
	const float *f = p;
	for (size_t i = 0; i < n; i++)
		if (!isfinite(f[i]) || (!may_be_negative && f[i] < 0))
			return wr_fail(msg, WR_EFORMAT,
				"section %s: element %zu is not a sound number", name, i);
	return WR_OK;
}

static int check_strings(
	const struct wr_bundle *b, const char *name, uint32_t n, bool exact, struct wr_errmsg *msg)
{
	size_t size;
	const uint32_t *s = wr_bundle_section(b, name, &size);
	if (!s)
		return WR_OK;
	if (size < 8 || (exact && s[0] != n) || s[0] > (size - 8) / 4)
		return wr_fail(msg, WR_EFORMAT, "section %s does not hold its strings", name);
	size_t room = size - 8 - (size_t)s[0] * 4;
	if (s[1] != 0 || s[s[0] + 1] > room)
		return wr_fail(msg, WR_EFORMAT, "section %s: strings reach beyond it", name);
	for (uint32_t i = 0; i < s[0]; i++)
		if (s[i + 2] < s[i + 1])
			return wr_fail(msg, WR_EFORMAT,
				"section %s: string %u has a negative length", name, i);
	return WR_OK;
}

static int check_age_keys(const struct wr_bundle *b, const struct wr_bundle_model *m,
	unsigned int block, struct wr_errmsg *msg)
{
	char name[32];
	size_t n = (size_t)m->n_heads * m->window;
	snprintf(name, sizeof(name), "b%u.age.q", block);
	int err = require_s8(b, name, n * m->head_dim, msg);
	snprintf(name, sizeof(name), "b%u.age.s", block);
	return err ? err : require_f32(b, name, n, false, msg);
}

static int check_block(const struct wr_bundle *b, const struct wr_bundle_model *m,
	unsigned int block, struct wr_errmsg *msg)
{
	char name[32];
	for (unsigned int i = 0; i < WR_BUNDLE_PROJECTIONS; i++) {
		enum wr_bundle_projection p = (enum wr_bundle_projection)i;
		const char *part = wr_bundle_projection_name(p);
		size_t out = wr_bundle_outputs(m, p), in = wr_bundle_inputs(m, p);
		snprintf(name, sizeof(name), "b%u.%s.q", block, part);
		int err = require_s8(b, name, out * in, msg);
		snprintf(name, sizeof(name), "b%u.%s.low", block, part);
		if (!err && wr_bundle_kept(m, block, p))
			err = require_s8(b, name, out * in, msg);
		snprintf(name, sizeof(name), "b%u.%s.s", block, part);
		if (!err)
			err = require_f32(b, name, out, false, msg);
		if (err)
			return err;
	}
	snprintf(name, sizeof(name), "b%u.bias", block);
	int err = require_f32(b, name, (size_t)m->n_heads * m->window, true, msg);
	snprintf(name, sizeof(name), "b%u.time", block);
	if (!err && m->time_buckets)
		err = require_f32(b, name, (size_t)m->n_heads * m->time_buckets, true, msg);
	return err || !m->age_keys ? err : check_age_keys(b, m, block, msg);
}

static int check_category(const struct wr_bundle *b, size_t n, struct wr_errmsg *msg)
{
	const void *p;
	if (!wr_bundle_section(b, WR_SEC_CATEGORY, NULL))
		return WR_OK;
	int err = require(b, WR_SEC_CATEGORY, n, 2, &p, msg);
	if (err)
		return err;
	const uint32_t *names = wr_bundle_section(b, WR_SEC_CAT_NAMES, NULL);
	for (size_t i = 0; i < n; i++)
		if (!names || ((const uint16_t *)p)[i] >= names[0])
			return wr_fail(msg, WR_EFORMAT,
				"section %s: item row %zu has a category without a name",
				WR_SEC_CATEGORY, i);
	return WR_OK;
}

int wr_bundle_check_contents(const struct wr_bundle *b, struct wr_errmsg *msg)
{
	const void *p;
	int err = require(b, WR_SEC_MODEL, 1, sizeof(struct wr_bundle_model), &p, msg);
	if (err)
		return err;
	const struct wr_bundle_model *m = p;
	err = check_shape(m, msg);
	if (err)
		return err;
	size_t n = m->n_items;
	if ((err = require_s8(b, WR_SEC_ITEM_Q, n * m->d, msg)) ||
		(err = require_f32(b, WR_SEC_ITEM_SCALE, n, false, msg)) ||
		(err = require_f32(b, WR_SEC_ITEM_IN, n, false, msg)) ||
		(err = require(b, WR_SEC_ITEM_FLAGS, n, 1, &p, msg)) ||
		(err = require_f32(b, WR_SEC_FINAL_GAIN, m->d, true, msg)) ||
		(err = require(b, WR_SEC_POPULARITY, n, 4, &p, msg)) ||
		(err = check_strings(b, WR_SEC_ITEM_NAMES, m->n_items, true, msg)) ||
		(err = check_strings(b, WR_SEC_TITLES, m->n_items, true, msg)) ||
		(err = check_strings(b, WR_SEC_CAT_NAMES, 0, false, msg)) ||
		(err = check_category(b, n, msg)))
		return err;
	for (unsigned int i = 0; i < m->n_blocks; i++)
		if ((err = check_block(b, m, i, msg)))
			return err;
	return WR_OK;
}
