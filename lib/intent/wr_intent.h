/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Intents of an utterance: rules (id, pattern, targets, weight) compiled by Hyperscan before the
 * port opens; a scan gives the targets' lifts. Built for 50-byte utterances against 1,000 rules.
 *
 * Rules file: INI-like, one section a rule:
 *   [refund]                      rule id: letters, digits, '-', '_', '.', at most 31 characters,
 * unique pattern = refund|money back   Hyperscan (PCRE subset), matched caseless, as UTF-8 items =
 * name1 name2           external item names, and/or category = Billing            a category's
 * name: all its items (may be given several times) weight = 2.5                  logit lift, 0 …
 * 100, default 1 Comments start with '#' or ';'. At least one target.
 */
#ifndef WR_INTENT_H
#define WR_INTENT_H

#include "wr_base.h"
#include "wr_bundle.h"

#define WR_INTENT_MAX_MATCHES \
	8 /* distinct rules of one utterance that act; more are ignored, in rule order */

struct wr_intents; /* immutable, shared */
/* source: name for messages ("rules.ini" or "bundle section rules"). Errors name source:line.
 * WR_EFORMAT, WR_ENOMEM, WR_ENOENT (unknown item or category). */
int wr_intents_new(struct wr_intents **x, const char *text, size_t bytes, const char *source,
	const struct wr_bundle *b, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_intents_free(struct wr_intents *x);
unsigned int wr_intents_count(const struct wr_intents *x);
const char *wr_intents_rule_id(const struct wr_intents *x, unsigned int rule);
size_t wr_intents_bytes(const struct wr_intents *x); /* database and targets */

/* One thread's Hyperscan scratch. */
struct wr_intent_scanner;
int wr_intent_scanner_new(struct wr_intent_scanner **s, const struct wr_intents *x,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_intent_scanner_free(struct wr_intent_scanner *s);
/* Distinct matched rules, ascending, at most WR_INTENT_MAX_MATCHES, into rules; their number. No
 * allocation. */
unsigned int wr_intent_scan(struct wr_intent_scanner *s, const char *text, size_t bytes,
	uint16_t rules[WR_INTENT_MAX_MATCHES]);
/* Target rows (item id - 1) of a rule and its weight. */
const uint32_t *wr_intents_targets(
	const struct wr_intents *x, unsigned int rule, uint32_t *n, float *weight);

#endif
