/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/intent: the rules file as parsed, before names are looked up and patterns
 * compiled. */
#ifndef INTENT_RULES_H
#define INTENT_RULES_H

#include "wr_base.h"
#include "wr_bundle.h"

#define INTENT_MAX_RULES 65535 /* rule numbers are u16 */
#define INTENT_ID_SIZE   32

/* One "items" or "category" line: a piece of the text. */
struct intent_target {
	uint32_t rule, line;
	bool is_category;
	const char *text;
	uint32_t bytes;
};
struct intent_rule {
	char id[INTENT_ID_SIZE];
	uint32_t line;         /* of its [id] */
	uint32_t pattern_line; /* 0 = none yet */
	uint32_t weight_line;  /* 0 = default */
	const char *pattern;   /* a piece of the text */
	uint32_t pattern_bytes;
	float weight;
};
struct intent_rules {
	const char *source; /* for messages */
	struct intent_rule *rule;
	struct intent_target *target; /* ascending by rule */
	uint32_t n_rules, n_targets;
};
/* text must outlive r. On failure r is empty. The caller frees with intent_rules_fini. */
int wr_intent_rules_parse(struct intent_rules *r, const char *text, size_t bytes,
	const char *source, struct wr_errmsg *msg);
void wr_intent_rules_fini(struct intent_rules *r);

/* Rows of every rule. Rules that name one category and no item share that category's slice. */
struct intent_targets {
	uint32_t *category_first; /* [n_categories + 1] into category_rows; NULL when no rule names
				     one */
	uint32_t *category_rows;
	uint32_t **own;        /* [n_rules]: rows of a rule that shares nothing, else NULL */
	const uint32_t **rows; /* [n_rules] */
	uint32_t *n_rows;      /* [n_rules] */
	uint32_t n_rules;
	size_t bytes;
};
/* Looks up every name in b. WR_ENOENT names the line. On failure t is empty. */
int wr_intent_targets_init(struct intent_targets *t, const struct intent_rules *r,
	const struct wr_bundle *b, struct wr_errmsg *msg);
void wr_intent_targets_fini(struct intent_targets *t);

#endif
