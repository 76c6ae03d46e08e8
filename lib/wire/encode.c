/* SPDX-License-Identifier: BSD-3-Clause */
/* The writer: bounded, with a sticky error, straight into the caller's buffer. */
#include "wr_wire.h"

#include <string.h>

void wr_writer_init(struct wr_writer *w, void *data, size_t size, const struct wr_wire_header *h)
{
	w->data = data;
	w->size = (uint32_t)WR_MIN(size, (size_t)WR_WIRE_MAX_BYTES);
	w->used = 0;
	w->failed = size < sizeof(*h);
	if (w->failed)
		return;
	memcpy(w->data, h, sizeof(*h));
	memset(w->data + offsetof(struct wr_wire_header, length), 0, sizeof(h->length));
	w->used = sizeof(*h);
}

#if __has_attribute(noipa)
#define OUT_OF_LINE __attribute__((noipa))
#else
#define OUT_OF_LINE __attribute__((noinline))
#endif

/* Out of line, so that gcc does not know the largest n: for some hundred bytes it writes a loop
 * that clears the last ones, up to 63 of them, one by one. */
OUT_OF_LINE static void clear(void *p, size_t n)
{
	memset(p, 0, n);
}

void *wr_writer_section(struct wr_writer *w, uint8_t type, uint8_t arg, size_t body_bytes)
{
	size_t padded = WR_ALIGN_UP(body_bytes, (size_t)4);
	if (w->failed || body_bytes > WR_WIRE_MAX_BYTES ||
		padded + WR_WIRE_SECTION_HEAD > w->size - w->used) {
		w->failed = true;
		return NULL;
	}
	uint8_t *head = w->data + w->used;
	uint16_t length = (uint16_t)body_bytes;
	head[0] = type;
	head[1] = arg;
	memcpy(head + 2, &length, sizeof(length));
	clear(head + WR_WIRE_SECTION_HEAD, padded);
	w->used += (uint32_t)(WR_WIRE_SECTION_HEAD + padded);
	return head + WR_WIRE_SECTION_HEAD;
}

void wr_writer_ask(struct wr_writer *w, uint8_t k, uint32_t budget_us)
{
	if (k > WR_WIRE_MAX_K)
		w->failed = true;
	struct wr_wire_ask *a = wr_writer_section(w, WR_SEC_ASK, 0, sizeof(*a));
	if (!a)
		return;
	a->k = k;
	a->budget_us = budget_us;
}

void wr_writer_events(
	struct wr_writer *w, uint64_t base_seq, const struct wr_wire_event *e, unsigned int n)
{
	if (n == 0)
		return;
	if (n > WR_WIRE_MAX_EVENTS)
		w->failed = true;
	struct wr_wire_events_head *head =
		wr_writer_section(w, WR_SEC_EVENTS, (uint8_t)n, sizeof(*head) + n * sizeof(*e));
	if (!head)
		return;
	head->base_seq = base_seq;
	memcpy(head + 1, e, n * sizeof(*e));
}

/* Units of unit_ms between time t and the newest, rounded down: deltas of these never drift. */
static uint64_t units_before(int64_t newest, int64_t t, uint32_t unit_ms)
{
	return t >= newest ? 0 : (uint64_t)(newest - t) / unit_ms;
}

static uint32_t history_unit(const int64_t *times, unsigned int n)
{
	for (unsigned int i = 0; i + 1 < n; i++)
		if (times[i] < times[i + 1] && times[i + 1] - times[i] > (int64_t)UINT32_MAX)
			return 1000;
	return 1;
}

void wr_writer_history(struct wr_writer *w, const uint32_t *items, const uint8_t *kinds,
	const int64_t *times, unsigned int n, bool complete)
{
	if (n == 0 && !complete)
		return;
	if (n > WR_WIRE_MAX_HISTORY)
		w->failed = true;
	struct wr_wire_history_head *head = wr_writer_section(w, WR_SEC_HISTORY, (uint8_t)n,
		sizeof(*head) + n * sizeof(struct wr_wire_history_entry));
	if (!head)
		return;
	struct wr_wire_history_entry *entry = (void *)(head + 1);
	int64_t newest = times && n ? WR_MAX(times[n - 1], 0) : 0;
	head->flags = complete ? WR_HISTORY_COMPLETE : 0;
	head->newest_ms = newest;
	head->unit_ms = newest ? history_unit(times, n) : 1;
	for (unsigned int i = 0; i < n; i++) {
		uint8_t kind = kinds ? kinds[i] : WR_KIND_CLICK;
		if (items[i] - 1 >= WR_WIRE_MAX_ITEM || kind < WR_KIND_VIEW ||
			kind > WR_KIND_INTENT)
			w->failed = true;
		entry[i].item_kind = (uint32_t)(kind - 1) << 30 | (items[i] & WR_WIRE_MAX_ITEM);
		if (!newest || i + 1 == n)
			continue;
		uint64_t here = units_before(newest, times[i], head->unit_ms);
		uint64_t newer = units_before(newest, times[i + 1], head->unit_ms);
		uint64_t delta = here > newer ? here - newer : 0;
		entry[i].delta = (uint32_t)WR_MIN(delta, (uint64_t)UINT32_MAX);
	}
}

void wr_writer_exclude(struct wr_writer *w, const uint32_t *items, unsigned int n)
{
	if (n == 0)
		return;
	if (n > WR_WIRE_MAX_EXCLUDE)
		w->failed = true;
	void *body = wr_writer_section(w, WR_SEC_EXCLUDE, (uint8_t)n, n * sizeof(*items));
	if (body)
		memcpy(body, items, n * sizeof(*items));
}

void wr_writer_utterance(struct wr_writer *w, const char *text, size_t bytes)
{
	if (bytes == 0)
		return;
	if (bytes > WR_WIRE_MAX_UTTERANCE)
		w->failed = true;
	void *body = wr_writer_section(w, WR_SEC_UTTERANCE, 0, bytes);
	if (body)
		memcpy(body, text, bytes);
}

void wr_writer_cookie(struct wr_writer *w, const struct wr_wire_cookie *c)
{
	void *body = wr_writer_section(w, WR_SEC_COOKIE, 0, sizeof(*c));
	if (body)
		memcpy(body, c, sizeof(*c));
}

void wr_writer_pad(struct wr_writer *w, size_t bytes)
{
	bytes = WR_ALIGN_UP(bytes, (size_t)4);
	if (!w->failed && bytes > w->used)
		wr_writer_section(w, WR_SEC_PAD, 0, bytes - w->used - WR_WIRE_SECTION_HEAD);
}

int wr_writer_finish(struct wr_writer *w)
{
	if (w->failed)
		return WR_EFULL;
	uint16_t length = (uint16_t)w->used;
	memcpy(w->data + offsetof(struct wr_wire_header, length), &length, sizeof(length));
	return (int)w->used;
}

void wr_wire_history_times(const struct wr_message *m, int64_t *out)
{
	if (m->n_history == 0)
		return;
	int64_t t = m->history_head->newest_ms, unit = m->history_head->unit_ms;
	for (unsigned int i = m->n_history; i-- > 0;) {
		if (t && i + 1u < m->n_history)
			t = WR_MAX(t - unit * (int64_t)m->history[i].delta, (int64_t)1);
		out[i] = t;
	}
}
