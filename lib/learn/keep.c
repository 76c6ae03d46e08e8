/* SPDX-License-Identifier: BSD-3-Clause */
/* The names of projections that a bundle keeps in two int8 planes: those of the checkpoint's
 * tensors, or as wr_layers_measure calls them. */
#include "wr_learn.h"

#include <string.h>

void wr_keep_name(uint32_t block, enum wr_bundle_projection p, char name[WR_KEEP_NAME])
{
	snprintf(name, WR_KEEP_NAME, "block.%u.%s.weight", block, wr_bundle_projection_name(p));
}

/* Whether word, of n bytes, is this projection's name. */
static bool is_called(const char *word, size_t n, uint32_t block, enum wr_bundle_projection p)
{
	char name[WR_KEEP_NAME], layer[WR_KEEP_NAME];
	wr_keep_name(block, p, name);
	snprintf(layer, sizeof(layer), "b%u.%s", block, wr_bundle_projection_name(p));
	return (strlen(name) == n && !memcmp(name, word, n)) ||
	       (strlen(layer) == n && !memcmp(layer, word, n));
}

int wr_keep_parse(const char *names, uint32_t n_blocks, uint16_t kept[WR_BUNDLE_PROJECTIONS],
	struct wr_errmsg *msg)
{
	memset(kept, 0, WR_BUNDLE_PROJECTIONS * sizeof(*kept));
	for (const char *word = names; word;) {
		size_t n = strcspn(word, ",");
		bool found = false;
		for (uint32_t i = 0; i < n_blocks * WR_BUNDLE_PROJECTIONS && !found; i++) {
			uint32_t b = i / WR_BUNDLE_PROJECTIONS, p = i % WR_BUNDLE_PROJECTIONS;
			found = is_called(word, n, b, (enum wr_bundle_projection)p);
			if (found)
				kept[p] = (uint16_t)(kept[p] | 1u << b);
		}
		if (!found)
			return wr_fail(msg, WR_EINVAL,
				"keep: '%.*s' is no projection of this model; it has "
				"block.B.qkv.weight, block.B.out.weight, block.B.up.weight and "
				"block.B.down.weight (or bB.qkv, …), B from 0 to %u; item vectors, "
				"biases and attention stay as they are",
				(int)WR_MIN(n, (size_t)64), word, n_blocks - 1);
		word = word[n] ? word + n + 1 : NULL;
	}
	return WR_OK;
}
