/* SPDX-License-Identifier: BSD-3-Clause */
/* Intent rules, parsed and looked up in a small bundle, without the patterns' compiler (Hyperscan's
 * business). What is taken has all that a rule must have; targets are rows of the bundle. */
#include "fuzz_file.h"
#include "intent_rules.h"
#include "wr_test_bundle.h"

#include <string.h>

static struct wr_bundle *bundle;

static void make_bundle(void)
{
	char path[64];
	struct wr_errmsg msg;
	struct wr_bundle_model m = {.n_items = 40,
		.d = 16,
		.n_blocks = 1,
		.n_heads = 1,
		.n_kv_heads = 1,
		.head_dim = 16,
		.window = 2,
		.ffn = 16,
		.logit_scale = 1,
		.norm_eps = 1e-6f};

	snprintf(path, sizeof(path), "/tmp/wr-fuzz-intent-%d.wrb", (int)getpid());
	wr_test_bundle_write(path, &m, 1);
	FUZZ_CHECK(wr_bundle_open(&bundle, path, &msg) == 0);
	unlink(path);
}

static void check_rules(const struct intent_rules *r, const char *text, size_t size)
{
	uint32_t rule = 0;

	for (uint32_t i = 0; i < r->n_rules; i++) {
		const struct intent_rule *x = &r->rule[i];
		FUZZ_CHECK(x->id[0] && memchr(x->id, 0, sizeof(x->id)) && x->line);
		FUZZ_CHECK(x->pattern >= text && x->pattern_bytes > 0 &&
			   x->pattern + x->pattern_bytes <= text + size);
		FUZZ_CHECK(x->weight >= 0 && x->weight <= 100);
	}
	for (uint32_t i = 0; i < r->n_targets; i++) {
		const struct intent_target *t = &r->target[i];
		FUZZ_CHECK(t->rule >= rule && t->rule < r->n_rules);
		FUZZ_CHECK(t->text >= text && t->text + t->bytes <= text + size);
		rule = t->rule;
	}
}

static void check_targets(const struct intent_targets *t, const struct intent_rules *r)
{
	FUZZ_CHECK(t->n_rules == r->n_rules);
	for (uint32_t i = 0; i < t->n_rules; i++) {
		FUZZ_CHECK(t->n_rows[i] == 0 || t->rows[i]);
		for (uint32_t j = 0; j < t->n_rows[i]; j++)
			FUZZ_CHECK(t->rows[i][j] < wr_bundle_model(bundle)->n_items);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct intent_rules r;
	struct intent_targets t;
	struct wr_errmsg msg = {""};
	char *text = malloc(size + 1);

	if (!bundle)
		make_bundle();
	FUZZ_CHECK(text);
	memcpy(text, data, size);
	int err = wr_intent_rules_parse(&r, text, size, "fuzz", &msg);
	FUZZ_CHECK(!err || msg.text[0]);
	if (!err) {
		check_rules(&r, text, size);
		err = wr_intent_targets_init(&t, &r, bundle, &msg);
		FUZZ_CHECK(!err || msg.text[0]);
		if (!err) {
			fuzz_accepted += r.n_rules > 0;
			check_targets(&t, &r);
		}
		wr_intent_targets_fini(&t);
	}
	wr_intent_rules_fini(&r);
	free(text);
	return 0;
}
