/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names, titles, utterances and rules, made from templates on demand: nothing is stored per item. A
 * title is unique by construction: (subject, step, variant) can be read back from it.
 */
#include "sim_internal.h"

#include <ctype.h>
#include <string.h>

/* %s is the subject; one that a title begins with gets a capital. */
static const char *const problem_titles[WR_SIM_TOPIC_ITEMS] = {"What to do about %s",
	"Why you may have %s", "Fixing %s step by step", "Reporting %s", "Refund for %s",
	"Replacement because of %s", "Warranty and %s", "%s: first checks", "%s after an update",
	"%s: common causes", "Solved in our chat: %s", "Preventing %s",
	"Talking to a technician about %s", "%s: when it comes back", "What to send us about %s",
	"Compensation for %s"};
static const char *const guide_titles[WR_SIM_TOPIC_ITEMS] = {"A short guide to %s",
	"%s step by step", "%s: the settings that matter", "Checklist for %s", "Five tips for %s",
	"%s without an app", "%s with the app", "Before you start %s", "Help with %s",
	"%s for beginners", "%s for experts", "Video: %s", "%s on older devices",
	"Common mistakes when %s", "%s explained", "Advanced ways of %s"};
/* The last category goes with no device. */
#define SOLD_ALONE (WR_SIM_CATEGORIES - 1)

static const char *const groups[] = {"business customers", "students", "family accounts",
	"customers abroad", "shop purchases", "online orders", "older devices", "new customers",
	"shared homes", "rural areas", "trial customers", "refurbished devices", "rented devices",
	"second devices", "large households", "partner shops"};
static const char *const phrases[WR_SIM_PHRASES] = {"%s", "Hello, %s", "Please help, %s",
	"%s, can you help me?", "Hi there! %s", "%s, please", "Good morning, %s", "%s!!",
	"Quick question: %s", "%s, thanks", "I have looked everywhere: %s",
	"Second time I ask: %s"};

/* Appends n bytes of text at *at; what does not fit is cut. */
static void append(char *out, size_t bytes, size_t *at, const char *text, size_t n)
{
	n = WR_MIN(n, bytes - 1 - *at);
	memcpy(out + *at, text, n);
	*at += n;
	out[*at] = '\0';
}

/* Replaces the one %s of template by text, with a capital when it stands first. The result is cut
 * at bytes. */
static void expand(char *out, size_t bytes, const char *template, const char *text)
{
	const char *hole = strstr(template, "%s");
	size_t at = 0;
	append(out, bytes, &at, template, (size_t)(hole - template));
	append(out, bytes, &at, text, strlen(text));
	append(out, bytes, &at, hole + 2, strlen(hole + 2));
	if (hole == template)
		out[0] = (char)toupper((unsigned char)out[0]);
}

/* Model series of a variant: X, Y, Z, A … W, then two letters. */
static void series_of(uint32_t variant, char series[3])
{
	uint32_t first = variant / 26, last = (variant + 23) % 26;
	char *p = series;
	if (first)
		*p++ = (char)('A' + (first - 1) % 26);
	*p++ = (char)('A' + last);
	*p = '\0';
}

const char *wr_sim_category(uint32_t category)
{
	return wr_sim_category_names[category];
}

static void title_make(char title[WR_SIM_TEXT_BYTES], uint32_t topic, uint32_t step)
{
	uint32_t category = sim_topic_category(topic), variant = sim_topic_variant(topic);
	enum wr_sim_kind kind = (enum wr_sim_kind)(category % SIM_KINDS);
	const char *subject = wr_sim_subjects[category][sim_topic_subject(topic)].title;
	if (kind == WR_SIM_PROBLEM || kind == WR_SIM_GUIDE) {
		const char *const *titles = kind == WR_SIM_PROBLEM ? problem_titles : guide_titles;
		expand(title, WR_SIM_TEXT_BYTES, titles[step], subject);
		size_t n = strlen(title);
		uint32_t n_groups = WR_ARRAY_LEN(groups);
		if (variant > n_groups)
			snprintf(title + n, WR_SIM_TEXT_BYTES - n, " (%s, part %u)",
				groups[(variant - 1) % n_groups], (variant - 1) / n_groups + 1);
		else if (variant)
			snprintf(title + n, WR_SIM_TEXT_BYTES - n, " (%s)", groups[variant - 1]);
		return;
	}
	char series[3];
	series_of(variant, series);
	snprintf(title, WR_SIM_TEXT_BYTES,
		category < SOLD_ALONE && kind == WR_SIM_ACCESSORY ? "%s for %s%u models"
								  : "%s %s%u",
		subject, series, 200 + 20 * step);
}

void wr_sim_item_get(const struct wr_sim *w, uint32_t row, struct wr_sim_item *item)
{
	uint32_t place = w->row_place[row];
	item->topic = place / WR_SIM_TOPIC_ITEMS;
	item->step = place % WR_SIM_TOPIC_ITEMS;
	uint32_t category = sim_topic_category(item->topic);
	item->kind = (enum wr_sim_kind)(category % SIM_KINDS);
	item->category = wr_sim_category_names[category];
	snprintf(item->name, sizeof(item->name), "%s-%07u",
		item->kind <= WR_SIM_GUIDE ? "ART" : "PRD", row + 1);
	title_make(item->title, item->topic, item->step);
}

uint32_t wr_sim_n_rules(const struct wr_sim *w)
{
	return WR_MIN(w->n_topics, WR_SIM_CATEGORIES * SIM_SUBJECTS);
}

/* Lower case; anything but letters and digits becomes one dash; cut at 31. */
static void slug(char id[32], const char *text)
{
	size_t n = 0;
	for (; *text && n < 31; text++) {
		if (isalnum((unsigned char)*text))
			id[n++] = (char)tolower((unsigned char)*text);
		else if (n && id[n - 1] != '-')
			id[n++] = '-';
	}
	while (n && id[n - 1] == '-')
		n--;
	id[n] = '\0';
}

void wr_sim_rule_get(uint32_t rule, char id[32], char pattern[WR_SIM_TEXT_BYTES])
{
	const struct sim_subject *s =
		&wr_sim_subjects[sim_topic_category(rule)][sim_topic_subject(rule)];
	const char *title = s->title;
	if (!strncmp(title, "a ", 2) || !strncmp(title, "an ", 3))
		title = strchr(title, ' ') + 1;
	slug(id, title);
	if (s->pattern)
		snprintf(pattern, WR_SIM_TEXT_BYTES, "%s", s->pattern);
	else
		snprintf(pattern, WR_SIM_TEXT_BYTES, "(right|which|your) %s", s->title);
}

uint32_t wr_sim_rule_items(const struct wr_sim *w, uint32_t rule, uint32_t max, uint32_t *rows)
{
	uint32_t n = 0;
	for (uint32_t topic = rule; topic < w->n_topics && n < max;
		topic += WR_SIM_CATEGORIES * SIM_SUBJECTS)
		for (uint32_t s = 0; s < sim_topic_size(w, topic) && n < max; s++)
			rows[n++] = w->place_row[topic * WR_SIM_TOPIC_ITEMS + s];
	return n;
}

void wr_sim_utterance(uint32_t rule, uint32_t phrase, char text[WR_SIM_TEXT_BYTES])
{
	static const char *const wishes[] = {"I am looking for the right %s",
		"which %s can you recommend", "show me your %s range"};
	const struct sim_subject *s =
		&wr_sim_subjects[sim_topic_category(rule)][sim_topic_subject(rule)];
	char say[WR_SIM_TEXT_BYTES];
	if (s->say)
		snprintf(say, sizeof(say), "%s", s->say);
	else {
		char product[WR_SIM_TEXT_BYTES];
		snprintf(product, sizeof(product), "%s", s->title);
		if (islower((unsigned char)product[1]))
			product[0] = (char)tolower((unsigned char)product[0]);
		expand(say, sizeof(say), wishes[phrase % WR_ARRAY_LEN(wishes)], product);
	}
	expand(text, WR_SIM_TEXT_BYTES, phrases[phrase], say);
}
