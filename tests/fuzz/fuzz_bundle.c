/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A bundle as it came, and once more with its sizes and checksums made right, so that the checks
 * behind them are reached. Whatever opens is read whole: every section, string and block.
 */
#include "bundle_file.h"
#include "fuzz_file.h"

#include <string.h>

static volatile uint8_t sink;

static void touch(const void *p, size_t n)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)p)[i]);
	sink = sum;
}

static void touch_strings(const struct wr_bundle *b, const char *name)
{
	size_t size;
	const uint32_t *s = wr_bundle_section(b, name, &size);
	uint32_t bytes;

	for (uint32_t i = 0; s && i <= s[0]; i++) {
		const char *text = wr_bundle_string(b, name, i, &bytes);
		FUZZ_CHECK(bytes <= size && (i < s[0] || bytes == 0));
		touch(text, bytes);
	}
}

static void read_whole(const struct wr_bundle *b)
{
	static const char *const plain[] = {WR_SEC_MODEL, WR_SEC_ITEM_Q, WR_SEC_ITEM_SCALE,
		WR_SEC_ITEM_IN, WR_SEC_ITEM_FLAGS, WR_SEC_FINAL_GAIN, WR_SEC_POPULARITY,
		WR_SEC_CATEGORY, WR_SEC_RULES};
	static const char *const parts[] = {
		"qkv.q", "qkv.s", "out.q", "out.s", "up.q", "up.s", "down.q", "down.s", "bias"};
	const struct wr_bundle_model *m = wr_bundle_model(b);
	uint8_t id[16];
	size_t size;

	for (size_t i = 0; i < WR_ARRAY_LEN(plain); i++) {
		const void *p = wr_bundle_section(b, plain[i], &size);
		touch(p, size);
	}
	FUZZ_CHECK(m && m->n_items > 0 && m->n_blocks > 0);
	for (unsigned int k = 0; k < m->n_blocks; k++)
		for (size_t i = 0; i < WR_ARRAY_LEN(parts); i++)
			FUZZ_CHECK(wr_bundle_block(b, k, parts[i]));
	for (unsigned int k = 0; k < m->n_blocks * WR_BUNDLE_PROJECTIONS; k++) {
		enum wr_bundle_projection p =
			(enum wr_bundle_projection)(k % WR_BUNDLE_PROJECTIONS);
		unsigned int block = k / WR_BUNDLE_PROJECTIONS;
		char name[32];
		snprintf(name, sizeof(name), "b%u.%s.low", block, wr_bundle_projection_name(p));
		const void *low = wr_bundle_section(b, name, &size);
		if (wr_bundle_kept(m, block, p))
			FUZZ_CHECK(low && size == wr_bundle_outputs(m, p) * wr_bundle_inputs(m, p));
		touch(low, size);
	}
	touch_strings(b, WR_SEC_ITEM_NAMES);
	touch_strings(b, WR_SEC_TITLES);
	touch_strings(b, WR_SEC_CAT_NAMES);
	const uint16_t *category = wr_bundle_section(b, WR_SEC_CATEGORY, NULL);
	const uint32_t *names = wr_bundle_section(b, WR_SEC_CAT_NAMES, NULL);
	for (uint32_t i = 0; category && i < m->n_items; i++)
		FUZZ_CHECK(names && category[i] < names[0]);
	wr_bundle_id(b, id);
	FUZZ_CHECK(wr_bundle_bytes(b) >= sizeof(struct bundle_head));
}

static void open_bytes(const void *data, size_t size)
{
	struct wr_bundle *b = NULL;
	struct wr_errmsg msg = {""};
	int err = wr_bundle_open(&b, fuzz_file(data, size), &msg);

	FUZZ_CHECK(!err == (b != NULL) && (!err || msg.text[0]));
	if (!err) {
		fuzz_accepted++;
		read_whole(b);
	}
	wr_bundle_close(b);
}

/* Sizes and checksums of whatever the table says. */
static void mend(uint8_t *data, size_t size)
{
	struct bundle_head *head = (struct bundle_head *)data;
	struct bundle_entry *e = (struct bundle_entry *)(head + 1);

	if (size < sizeof(*head))
		return;
	memcpy(head->magic, BUNDLE_MAGIC, sizeof(head->magic));
	if (head->format != WR_BUNDLE_FORMAT_KEPT)
		head->format = WR_BUNDLE_FORMAT;
	head->file_bytes = size;
	if (head->n_sections > (size - sizeof(*head)) / sizeof(*e))
		head->n_sections = (uint32_t)((size - sizeof(*head)) / sizeof(*e));
	for (uint32_t i = 0; i < head->n_sections; i++)
		if (e[i].offset <= size && e[i].bytes <= size - e[i].offset)
			e[i].crc = wr_bundle_crc32(0, data + e[i].offset, e[i].bytes);
	head->crc = 0;
	uint32_t crc = wr_bundle_crc32(0, head, sizeof(*head));
	head->crc = wr_bundle_crc32(crc, e, head->n_sections * sizeof(*e));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + 1);

	FUZZ_CHECK(copy);
	memcpy(copy, data, size);
	open_bytes(copy, size);
	mend(copy, size);
	open_bytes(copy, size);
	free(copy);
	return 0;
}
