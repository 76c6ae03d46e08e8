/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules compiled to one Hyperscan block-mode database; scans of 50-byte utterances against 1,000
 * rules. Only the scan runs on the corridor: it neither allocates nor locks.
 */
#include "intent_rules.h"
#include "wr_intent.h"

#include <hs.h>
#include <stdlib.h>
#include <string.h>

/* SINGLEMATCH: one report a rule, however often it matches. */
#define PATTERN_FLAGS (HS_FLAG_CASELESS | HS_FLAG_UTF8 | HS_FLAG_SINGLEMATCH)

struct wr_intents {
	hs_database_t *db; /* NULL: no rules */
	size_t db_bytes;
	unsigned int n;
	char (*id)[INTENT_ID_SIZE];
	float *weight;
	struct intent_targets targets;
};

struct wr_intent_scanner {
	const hs_database_t *db;
	hs_scratch_t *scratch;
};

/* What hs_compile_multi wants, and the text of the patterns behind it. */
struct compile_input {
	const char **expression;
	unsigned int *flags, *id;
	char *text;
};

static void compile_input_fini(struct compile_input *in)
{
	free(in->expression);
	free(in->flags);
	free(in->id);
	free(in->text);
}

static int compile_input_init(struct compile_input *in, const struct intent_rules *r)
{
	size_t bytes = 0, n = r->n_rules;
	for (size_t i = 0; i < n; i++)
		bytes += r->rule[i].pattern_bytes + 1;
	*in = (struct compile_input){malloc(n * sizeof(*in->expression)),
		malloc(n * sizeof(*in->flags)), malloc(n * sizeof(*in->id)), malloc(bytes)};
	if (!in->expression || !in->flags || !in->id || !in->text)
		return WR_ENOMEM;
	char *text = in->text;
	for (size_t i = 0; i < n; i++) {
		const struct intent_rule *rule = &r->rule[i];
		memcpy(text, rule->pattern, rule->pattern_bytes);
		text[rule->pattern_bytes] = '\0';
		in->expression[i] = text;
		in->flags[i] = PATTERN_FLAGS;
		in->id[i] = (unsigned int)i;
		text += rule->pattern_bytes + 1;
	}
	return WR_OK;
}

static int compile_failed(
	const struct intent_rules *r, const hs_compile_error_t *e, struct wr_errmsg *msg)
{
	if (!e)
		return wr_fail(msg, WR_ENOMEM, "%s: no memory to compile %u patterns", r->source,
			r->n_rules);
	if (e->expression < 0 || (uint32_t)e->expression >= r->n_rules)
		return wr_fail(msg, WR_EFORMAT, "%s: the patterns together do not compile: %s",
			r->source, e->message);
	const struct intent_rule *rule = &r->rule[e->expression];
	return wr_fail(msg, WR_EFORMAT, "%s:%u: rule [%s]: pattern does not compile: %s", r->source,
		rule->pattern_line, rule->id, e->message);
}

static int compile(struct wr_intents *x, const struct intent_rules *r, struct wr_errmsg *msg)
{
	if (hs_valid_platform() != HS_SUCCESS)
		return wr_fail(msg, WR_ENOTSUP,
			"%s: Hyperscan needs a CPU with SSSE3; serve a bundle without rules",
			r->source);
	struct compile_input in;
	hs_compile_error_t *e = NULL;
	int err = compile_input_init(&in, r);
	if (err)
		err = compile_failed(r, NULL, msg);
	else if (hs_compile_multi(in.expression, in.flags, in.id, r->n_rules, HS_MODE_BLOCK, NULL,
			 &x->db, &e) != HS_SUCCESS)
		err = compile_failed(r, e, msg);
	else if (hs_database_size(x->db, &x->db_bytes) != HS_SUCCESS)
		err = wr_fail(msg, WR_ENOMEM, "%s: the compiled database tells no size", r->source);
	hs_free_compile_error(e);
	compile_input_fini(&in);
	return err;
}

static int fill(struct wr_intents *x, const struct intent_rules *r, const struct wr_bundle *b,
	struct wr_errmsg *msg)
{
	x->n = r->n_rules;
	x->id = calloc((size_t)x->n + 1, sizeof(*x->id));
	x->weight = calloc((size_t)x->n + 1, sizeof(*x->weight));
	if (!x->id || !x->weight)
		return wr_fail(msg, WR_ENOMEM, "%s: no memory for %u rules", r->source, x->n);
	for (unsigned int i = 0; i < x->n; i++) {
		memcpy(x->id[i], r->rule[i].id, INTENT_ID_SIZE);
		x->weight[i] = r->rule[i].weight;
	}
	int err = wr_intent_targets_init(&x->targets, r, b, msg);
	return err || x->n == 0 ? err : compile(x, r, msg);
}

int wr_intents_new(struct wr_intents **out, const char *text, size_t bytes, const char *source,
	const struct wr_bundle *b, struct wr_errmsg *msg)
{
	struct intent_rules r;
	*out = NULL;
	int err = wr_intent_rules_parse(&r, text, bytes, source, msg);
	if (err)
		return err;
	struct wr_intents *x = calloc(1, sizeof(*x));
	err = x ? fill(x, &r, b, msg) : wr_fail(msg, WR_ENOMEM, "%s: out of memory", source);
	wr_intent_rules_fini(&r);
	if (err) {
		wr_intents_free(x);
		return err;
	}
	*out = x;
	return WR_OK;
}

void wr_intents_free(struct wr_intents *x)
{
	if (!x)
		return;
	hs_free_database(x->db);
	wr_intent_targets_fini(&x->targets);
	free(x->id);
	free(x->weight);
	free(x);
}

unsigned int wr_intents_count(const struct wr_intents *x)
{
	return x->n;
}

const char *wr_intents_rule_id(const struct wr_intents *x, unsigned int rule)
{
	return x->id[rule];
}

size_t wr_intents_bytes(const struct wr_intents *x)
{
	return x->db_bytes + x->targets.bytes + x->n * (sizeof(*x->id) + sizeof(*x->weight));
}

const uint32_t *wr_intents_targets(
	const struct wr_intents *x, unsigned int rule, uint32_t *n, float *weight)
{
	*n = x->targets.n_rows[rule];
	*weight = x->weight[rule];
	return x->targets.rows[rule];
}

/* ---- scanning ---- */
int wr_intent_scanner_new(
	struct wr_intent_scanner **out, const struct wr_intents *x, struct wr_errmsg *msg)
{
	*out = NULL;
	struct wr_intent_scanner *s = calloc(1, sizeof(*s));
	if (!s || (x->db && hs_alloc_scratch(x->db, &s->scratch) != HS_SUCCESS)) {
		free(s);
		return wr_fail(
			msg, WR_ENOMEM, "no memory for the scratch of %u intent rules", x->n);
	}
	s->db = x->db;
	*out = s;
	return WR_OK;
}

void wr_intent_scanner_free(struct wr_intent_scanner *s)
{
	if (!s)
		return;
	hs_free_scratch(s->scratch);
	free(s);
}

struct matches {
	uint16_t *rules; /* ascending */
	unsigned int n;
};

/* Matches come in no promised order: the lowest rules are kept. */
static int take_match(unsigned int rule, unsigned long long from, unsigned long long to,
	unsigned int flags, void *user)
{
	struct matches *m = user;
	unsigned int at = m->n;
	while (at > 0 && m->rules[at - 1] > rule)
		at--;
	if (at == WR_INTENT_MAX_MATCHES || (at > 0 && m->rules[at - 1] == rule))
		return 0;
	if (m->n < WR_INTENT_MAX_MATCHES)
		m->n++;
	for (unsigned int i = m->n - 1; i > at; i--)
		m->rules[i] = m->rules[i - 1];
	m->rules[at] = (uint16_t)rule;
	return 0;
}

unsigned int wr_intent_scan(struct wr_intent_scanner *s, const char *text, size_t bytes,
	uint16_t rules[WR_INTENT_MAX_MATCHES])
{
	struct matches m = {.rules = rules};
	/* Hyperscan promises nothing for text that is no UTF-8. */
	if (!s->db || bytes > UINT16_MAX || !wr_utf8_valid(text, bytes))
		return 0;
	if (hs_scan(s->db, text, (unsigned int)bytes, 0, s->scratch, take_match, &m) != HS_SUCCESS)
		return 0;
	return m.n;
}
