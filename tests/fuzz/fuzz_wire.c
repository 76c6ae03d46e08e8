/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Both decoders on exactly sized heap copies: as it came, and with a sound length field and
 * direction, so that the sections are reached. Every range handed out is read whole; what was
 * decoded is encoded again and must decode to the same message.
 */
#include "fuzz.h"
#include "wr_wire.h"

#include <string.h>

static volatile uint8_t sink;

static void touch(const void *p, size_t n)
{
	uint8_t sum = 0;
	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)p)[i]);
	sink = sum;
}

static void touch_all(const struct wr_message *m, const void *data)
{
	static const uint8_t key[WR_WIRE_KEY_BYTES];
	int64_t times[WR_WIRE_MAX_HISTORY];
	if (m->ask)
		touch(m->ask, sizeof(*m->ask));
	if (m->events_head)
		touch(m->events_head, sizeof(*m->events_head));
	touch(m->events, m->n_events * sizeof(*m->events));
	if (m->history_head)
		touch(m->history_head, sizeof(*m->history_head));
	touch(m->history, m->n_history * sizeof(*m->history));
	touch(m->exclude, m->n_exclude * sizeof(*m->exclude));
	touch(m->context, m->n_context * sizeof(*m->context));
	touch(m->utterance, m->utterance_bytes);
	if (m->cookie)
		touch(m->cookie, sizeof(*m->cookie));
	if (m->auth)
		touch(m->auth, sizeof(*m->auth));
	if (m->answer)
		touch(m->answer, sizeof(*m->answer));
	touch(m->items, m->n_items * sizeof(*m->items));
	if (m->server)
		touch(m->server, sizeof(*m->server));
	if (m->shards)
		touch(m->shards, WR_WIRE_N_SHARDS);
	touch(m->ports, m->n_ports * sizeof(*m->ports));
	wr_wire_history_times(m, times);
	for (unsigned int i = 0; i < m->n_history; i++)
		FUZZ_CHECK(times[i] >= 0 && (i == 0 || times[i - 1] <= times[i]));
	sink = wr_wire_auth_check(m, data, key);
}

static void copy_section(
	struct wr_writer *w, uint8_t type, unsigned int arg, const void *body, size_t bytes)
{
	void *to = body ? wr_writer_section(w, type, (uint8_t)arg, bytes) : NULL;
	if (to)
		memcpy(to, body, bytes);
}

static size_t encode(const struct wr_message *m, uint8_t out[WR_WIRE_MAX_BYTES])
{
	struct wr_writer w;
	wr_writer_init(&w, out, WR_WIRE_MAX_BYTES, &m->header);
	copy_section(&w, WR_SEC_ASK, 0, m->ask, sizeof(*m->ask));
	if (m->events_head)
		wr_writer_events(&w, m->events_head->base_seq, m->events, m->n_events);
	copy_section(&w, WR_SEC_HISTORY, m->n_history, m->history_head,
		sizeof(*m->history_head) + m->n_history * sizeof(*m->history));
	copy_section(
		&w, WR_SEC_EXCLUDE, m->n_exclude, m->exclude, m->n_exclude * sizeof(*m->exclude));
	copy_section(
		&w, WR_SEC_CONTEXT, m->n_context, m->context, m->n_context * sizeof(*m->context));
	wr_writer_utterance(&w, m->utterance, m->utterance_bytes);
	if (m->cookie)
		wr_writer_cookie(&w, m->cookie);
	copy_section(&w, WR_SEC_ANSWER, 0, m->answer, sizeof(*m->answer));
	copy_section(&w, WR_SEC_ITEMS, m->n_items, m->items, m->n_items * sizeof(*m->items));
	copy_section(&w, WR_SEC_SERVER, 0, m->server, sizeof(*m->server));
	copy_section(&w, WR_SEC_SHARDS, 0, m->shards, WR_WIRE_N_SHARDS);
	copy_section(&w, WR_SEC_PORTS, m->n_ports, m->ports, m->n_ports * sizeof(*m->ports));
	copy_section(&w, WR_SEC_AUTH, 0, m->auth, sizeof(*m->auth));
	int bytes = wr_writer_finish(&w);
	FUZZ_CHECK(bytes >= WR_WIRE_HEADER_BYTES);
	return (size_t)bytes;
}

static bool same(const void *a, const void *b, size_t bytes)
{
	return (!a && !b) || (a && b && !memcmp(a, b, bytes));
}

static void check_same(const struct wr_message *a, const struct wr_message *b)
{
	struct wr_wire_header h = a->header;
	h.length = b->header.length; /* padding and unknown sections are not encoded again */
	FUZZ_CHECK(!memcmp(&h, &b->header, sizeof(h)));
	FUZZ_CHECK(a->n_events == b->n_events && a->n_history == b->n_history &&
		   a->n_exclude == b->n_exclude);
	FUZZ_CHECK(a->n_context == b->n_context && a->n_items == b->n_items &&
		   a->n_ports == b->n_ports);
	FUZZ_CHECK(a->utterance_bytes == b->utterance_bytes);
	FUZZ_CHECK(same(a->ask, b->ask, sizeof(*a->ask)));
	FUZZ_CHECK(same(a->events_head, b->events_head, sizeof(*a->events_head)));
	FUZZ_CHECK(same(a->events, b->events, a->n_events * sizeof(*a->events)));
	FUZZ_CHECK(same(a->history_head, b->history_head, sizeof(*a->history_head)));
	FUZZ_CHECK(same(a->history, b->history, a->n_history * sizeof(*a->history)));
	FUZZ_CHECK(same(a->exclude, b->exclude, a->n_exclude * sizeof(*a->exclude)));
	FUZZ_CHECK(same(a->context, b->context, a->n_context * sizeof(*a->context)));
	FUZZ_CHECK(same(a->utterance, b->utterance, a->utterance_bytes));
	FUZZ_CHECK(same(a->cookie, b->cookie, sizeof(*a->cookie)));
	FUZZ_CHECK(same(a->auth, b->auth, sizeof(*a->auth)));
	FUZZ_CHECK(same(a->answer, b->answer, sizeof(*a->answer)));
	FUZZ_CHECK(same(a->items, b->items, a->n_items * sizeof(*a->items)));
	FUZZ_CHECK(same(a->server, b->server, sizeof(*a->server)));
	FUZZ_CHECK(same(a->shards, b->shards, WR_WIRE_N_SHARDS));
	FUZZ_CHECK(same(a->ports, b->ports, a->n_ports * sizeof(*a->ports)));
}

typedef enum wr_decode decoder(const void *data, size_t size, struct wr_message *m);

static void check_one(decoder *decode, const void *data, size_t size)
{
	struct wr_message m, again;
	uint8_t copy[WR_WIRE_MAX_BYTES];
	enum wr_decode d = decode(data, size, &m);
	FUZZ_CHECK((unsigned int)d < WR_DECODE_N);
	if (d != WR_DECODE_OK) {
		struct wr_message empty = {.header = m.header};
		FUZZ_CHECK(!memcmp(&m, &empty, sizeof(m)));
		return;
	}
	fuzz_accepted++;
	touch_all(&m, data);
	size_t bytes = encode(&m, copy);
	FUZZ_CHECK(bytes <= size);
	FUZZ_CHECK(decode(copy, bytes, &again) == WR_DECODE_OK);
	check_same(&m, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *exact = calloc(size ? size : 1, 1);
	if (!exact)
		return 0;
	if (size)
		memcpy(exact, data, size);
	check_one(wr_wire_decode_request, exact, size);
	check_one(wr_wire_decode_answer, exact, size);
	free(exact);
	size = WR_MIN(size & ~(size_t)3, (size_t)WR_WIRE_MAX_BYTES);
	if (size < WR_WIRE_HEADER_BYTES || !(exact = malloc(size)))
		return 0;
	uint16_t length = (uint16_t)size;
	memcpy(exact, data, size);
	exact[offsetof(struct wr_wire_header, version)] = WR_WIRE_VERSION;
	memcpy(exact + offsetof(struct wr_wire_header, length), &length, sizeof(length));
	exact[offsetof(struct wr_wire_header, op)] &= 0x7f;
	check_one(wr_wire_decode_request, exact, size);
	exact[offsetof(struct wr_wire_header, op)] |= WR_OP_ANSWER;
	check_one(wr_wire_decode_answer, exact, size);
	free(exact);
	return 0;
}
