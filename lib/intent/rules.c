/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rules file, line by line. Not libinih: keys repeat here, and a pattern may hold ';' or '#'. A
 * thousand rules, read once.
 */
#include "intent_rules.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct piece {
	const char *text;
	size_t bytes;
};

struct parser {
	struct intent_rules *r;
	struct wr_errmsg *msg;
	uint32_t line, room_rules, room_targets;
};

static int fail_at(const struct parser *p, const char *what)
{
	return wr_fail(p->msg, WR_EFORMAT, "%s:%u: %s", p->r->source, p->line, what);
}

static struct piece trim(struct piece s)
{
	while (s.bytes && isspace((unsigned char)s.text[0]))
		s.text++, s.bytes--;
	while (s.bytes && isspace((unsigned char)s.text[s.bytes - 1]))
		s.bytes--;
	return s;
}

static bool is_word(struct piece s, const char *word)
{
	return s.bytes == strlen(word) && !memcmp(s.text, word, s.bytes);
}

/* Makes room for one more element of an array that doubles. */
static int grow(void *array, size_t element, uint32_t n, uint32_t *room)
{
	if (n < *room)
		return WR_OK;
	uint32_t wanted = *room ? *room * 2 : 64;
	void **place = array;
	void *larger = realloc(*place, wanted * element);
	if (!larger)
		return WR_ENOMEM;
	*place = larger;
	*room = wanted;
	return WR_OK;
}

static int no_memory(const struct parser *p)
{
	return wr_fail(p->msg, WR_ENOMEM, "%s:%u: out of memory", p->r->source, p->line);
}

static int check_id(const struct parser *p, struct piece id)
{
	if (id.bytes == 0 || id.bytes >= INTENT_ID_SIZE)
		return fail_at(p, "a rule's id has 1 to 31 characters");
	for (size_t i = 0; i < id.bytes; i++)
		if (!isalnum((unsigned char)id.text[i]) && !memchr("-_.", id.text[i], 3))
			return fail_at(
				p, "a rule's id is made of letters, digits, '-', '_' and '.'");
	return WR_OK;
}

/* The rule at hand is complete: a pattern and a target. */
static int finish_rule(const struct parser *p)
{
	const struct intent_rules *r = p->r;
	if (r->n_rules == 0)
		return WR_OK;
	const struct intent_rule *rule = &r->rule[r->n_rules - 1];
	if (!rule->pattern_line)
		return wr_fail(p->msg, WR_EFORMAT, "%s:%u: rule [%s] has no 'pattern = …'",
			r->source, rule->line, rule->id);
	if (r->n_targets == 0 || r->target[r->n_targets - 1].rule != r->n_rules - 1)
		return wr_fail(p->msg, WR_EFORMAT,
			"%s:%u: rule [%s] has no target: add 'items = …' or 'category = …'",
			r->source, rule->line, rule->id);
	return WR_OK;
}

static int start_rule(struct parser *p, struct piece s)
{
	if (s.text[s.bytes - 1] != ']')
		return fail_at(p, "a rule starts with '[id]' alone on its line");
	struct piece id = {s.text + 1, s.bytes - 2};
	int err = check_id(p, id);
	if (!err)
		err = finish_rule(p);
	if (err)
		return err;
	if (p->r->n_rules == INTENT_MAX_RULES)
		return fail_at(p, "more than 65,535 rules");
	if (grow(&p->r->rule, sizeof(*p->r->rule), p->r->n_rules, &p->room_rules))
		return no_memory(p);
	struct intent_rule *rule = &p->r->rule[p->r->n_rules++];
	*rule = (struct intent_rule){.line = p->line, .weight = 1.0f};
	memcpy(rule->id, id.text, id.bytes);
	return WR_OK;
}

static int take_weight(const struct parser *p, struct intent_rule *rule, struct piece value)
{
	char number[64];
	double weight;
	if (rule->weight_line)
		return fail_at(p, "the rule has a weight already");
	snprintf(number, sizeof(number), "%.*s", (int)WR_MIN(value.bytes, sizeof(number) - 1),
		value.text);
	if (wr_parse_double(number, 0.0, 100.0, &weight))
		return fail_at(p, "weight must be a number from 0 to 100 (logits)");
	rule->weight = (float)weight;
	rule->weight_line = p->line;
	return WR_OK;
}

static int take_target(struct parser *p, bool is_category, struct piece value)
{
	if (grow(&p->r->target, sizeof(*p->r->target), p->r->n_targets, &p->room_targets))
		return no_memory(p);
	p->r->target[p->r->n_targets++] = (struct intent_target){.rule = p->r->n_rules - 1,
		.line = p->line,
		.is_category = is_category,
		.text = value.text,
		.bytes = (uint32_t)value.bytes};
	return WR_OK;
}

static int take_pair(struct parser *p, struct piece s)
{
	const char *equals = memchr(s.text, '=', s.bytes);
	if (!equals)
		return fail_at(p, "must be 'key = value', '[rule id]' or a comment ('# …')");
	struct piece key = trim((struct piece){s.text, (size_t)(equals - s.text)});
	struct piece value =
		trim((struct piece){equals + 1, s.bytes - (size_t)(equals + 1 - s.text)});
	if (p->r->n_rules == 0)
		return fail_at(p, "a key before the first '[rule id]'");
	if (value.bytes == 0)
		return fail_at(p, "no value behind '='");
	struct intent_rule *rule = &p->r->rule[p->r->n_rules - 1];
	if (is_word(key, "pattern")) {
		if (rule->pattern_line)
			return fail_at(p, "the rule has a pattern already; join the two with '|'");
		rule->pattern_line = p->line;
		rule->pattern = value.text;
		rule->pattern_bytes = (uint32_t)value.bytes;
		return WR_OK;
	}
	if (is_word(key, "weight"))
		return take_weight(p, rule, value);
	if (is_word(key, "items"))
		return take_target(p, false, value);
	if (is_word(key, "category"))
		return take_target(p, true, value);
	return fail_at(p, "unknown key; a rule knows pattern, items, category and weight");
}

static int take_line(struct parser *p, struct piece s)
{
	if (memchr(s.text, '\0', s.bytes))
		return fail_at(p, "a NUL byte; this is not a text file");
	s = trim(s);
	if (s.bytes == 0 || s.text[0] == '#' || s.text[0] == ';')
		return WR_OK;
	return s.text[0] == '[' ? start_rule(p, s) : take_pair(p, s);
}

static int by_id(const void *a, const void *b)
{
	const struct intent_rule *x = *(const struct intent_rule *const *)a,
				 *y = *(const struct intent_rule *const *)b;
	int order = strcmp(x->id, y->id);
	return order ? order : (x->line > y->line) - (x->line < y->line);
}

static int check_unique(const struct parser *p)
{
	const struct intent_rules *r = p->r;
	const struct intent_rule **sorted = malloc((r->n_rules + 1) * sizeof(*sorted));
	if (!sorted)
		return no_memory(p);
	int err = WR_OK;
	for (uint32_t i = 0; i < r->n_rules; i++)
		sorted[i] = &r->rule[i];
	qsort(sorted, r->n_rules, sizeof(*sorted), by_id);
	for (uint32_t i = 1; i < r->n_rules && !err; i++)
		if (!strcmp(sorted[i]->id, sorted[i - 1]->id))
			err = wr_fail(p->msg, WR_EFORMAT,
				"%s:%u: rule [%s] exists already, in line %u", r->source,
				sorted[i]->line, sorted[i]->id, sorted[i - 1]->line);
	free(sorted);
	return err;
}

int wr_intent_rules_parse(struct intent_rules *r, const char *text, size_t bytes,
	const char *source, struct wr_errmsg *msg)
{
	*r = (struct intent_rules){.source = source};
	struct parser p = {.r = r, .msg = msg};
	int err = WR_OK;
	if (bytes > UINT32_MAX)
		return wr_fail(msg, WR_EINVAL, "%s: larger than 4 GiB", source);
	if (bytes >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
		text += 3, bytes -= 3;
	while (bytes && !err) {
		const char *newline = memchr(text, '\n', bytes);
		size_t n = newline ? (size_t)(newline - text) : bytes, step = newline ? n + 1 : n;
		p.line++;
		err = take_line(&p, (struct piece){text, n});
		text += step;
		bytes -= step;
	}
	if (!err)
		err = finish_rule(&p);
	if (!err)
		err = check_unique(&p);
	if (err)
		wr_intent_rules_fini(r);
	return err;
}

void wr_intent_rules_fini(struct intent_rules *r)
{
	free(r->rule);
	free(r->target);
	*r = (struct intent_rules){.source = r->source};
}
