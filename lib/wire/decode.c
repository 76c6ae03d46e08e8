/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The decoder: a cursor over [data, data + size) with a sticky error, one pass, pointers into the
 * datagram. Built for 256-byte requests with three to five sections at some millions a second a
 * core.
 */
#include "wr_wire.h"

#include <string.h>

struct cursor {
	const uint8_t *data;
	uint32_t size;
	enum wr_decode error; /* the first one stays */
};

struct section {
	uint8_t type, arg;
	uint16_t length;
	uint32_t at; /* of the body */
	const uint8_t *body;
};

static void fail(struct cursor *c, enum wr_decode why)
{
	if (c->error == WR_DECODE_OK)
		c->error = why;
}

/* The body must have exactly this length. */
static inline bool want_length(struct cursor *c, const struct section *s, uint32_t bytes)
{
	if (s->length != bytes)
		fail(c, WR_DECODE_SECTION_LENGTH);
	return s->length == bytes;
}

/* The count in arg must be within [min, max] and the body head + count * entry bytes long. */
static inline bool want_entries(struct cursor *c, const struct section *s, uint32_t min,
	uint32_t max, uint32_t head, uint32_t entry)
{
	if (s->arg < min || s->arg > max) {
		fail(c, WR_DECODE_VALUE);
		return false;
	}
	return want_length(c, s, head + s->arg * entry);
}

static bool item_ok(uint32_t item)
{
	return item - 1 < WR_WIRE_MAX_ITEM;
}

static inline void read_ask(struct cursor *c, struct wr_message *m, const struct section *s)
{
	if (!want_length(c, s, sizeof(*m->ask)))
		return;
	m->ask = (const void *)s->body;
	if (m->ask->k > WR_WIRE_MAX_K)
		fail(c, WR_DECODE_VALUE);
}

static inline void read_events(struct cursor *c, struct wr_message *m, const struct section *s)
{
	if (!want_entries(c, s, 1, WR_WIRE_MAX_EVENTS, sizeof(*m->events_head), sizeof(*m->events)))
		return;
	m->events_head = (const void *)s->body;
	m->events = (const void *)(s->body + sizeof(*m->events_head));
	m->n_events = s->arg;
	bool ok = m->events_head->base_seq <= UINT64_MAX - (s->arg - 1u);
	for (unsigned int i = 0; i < s->arg; i++) {
		const struct wr_wire_event *e = &m->events[i];
		ok &= item_ok(e->item) & (e->kind >= WR_KIND_VIEW) & (e->kind <= WR_KIND_INTENT) &
		      (e->time_ms >= 0);
	}
	if (!ok)
		fail(c, WR_DECODE_VALUE);
}

static inline void read_history(struct cursor *c, struct wr_message *m, const struct section *s)
{
	if (!want_entries(
		    c, s, 0, WR_WIRE_MAX_HISTORY, sizeof(*m->history_head), sizeof(*m->history)))
		return;
	m->history_head = (const void *)s->body;
	m->history = (const void *)(s->body + sizeof(*m->history_head));
	m->n_history = s->arg;
	bool ok = m->history_head->newest_ms >= 0 &&
		  (m->history_head->unit_ms == 1 || m->history_head->unit_ms == 1000);
	for (unsigned int i = 0; i < s->arg; i++)
		ok &= (m->history[i].item_kind & WR_WIRE_MAX_ITEM) != 0;
	if (!ok)
		fail(c, WR_DECODE_VALUE);
}

static inline void read_exclude(struct cursor *c, struct wr_message *m, const struct section *s)
{
	if (!want_entries(c, s, 1, WR_WIRE_MAX_EXCLUDE, 0, sizeof(*m->exclude)))
		return;
	m->exclude = (const void *)s->body;
	m->n_exclude = s->arg;
	bool ok = true;
	for (unsigned int i = 0; i < s->arg; i++)
		ok &= item_ok(m->exclude[i]);
	if (!ok)
		fail(c, WR_DECODE_VALUE);
}

static inline void read_context(struct cursor *c, struct wr_message *m, const struct section *s)
{
	if (!want_entries(c, s, 1, WR_WIRE_MAX_CONTEXT, 0, sizeof(*m->context)))
		return;
	m->context = (const void *)s->body;
	m->n_context = s->arg;
}

static inline void read_utterance(struct cursor *c, struct wr_message *m, const struct section *s)
{
	if (s->length < 1 || s->length > WR_WIRE_MAX_UTTERANCE) {
		fail(c, WR_DECODE_SECTION_LENGTH);
		return;
	}
	m->utterance = (const char *)s->body;
	m->utterance_bytes = s->length;
	if (!wr_utf8_valid((const char *)s->body, s->length))
		fail(c, WR_DECODE_VALUE);
}

static inline void read_cookie(struct cursor *c, struct wr_message *m, const struct section *s)
{
	if (want_length(c, s, sizeof(*m->cookie)))
		m->cookie = (const void *)s->body;
}

static inline void read_auth(struct cursor *c, struct wr_message *m, const struct section *s)
{
	if (!want_length(c, s, sizeof(*m->auth)))
		return;
	m->auth = (const void *)s->body;
	m->auth_offset = (uint16_t)(s->at + offsetof(struct wr_wire_auth, tag));
}

static inline void read_items(struct cursor *c, struct wr_message *m, const struct section *s)
{
	if (!want_entries(c, s, 0, WR_WIRE_MAX_K, 0, sizeof(*m->items)))
		return;
	m->items = (const void *)s->body;
	m->n_items = s->arg;
	bool ok = true;
	for (unsigned int i = 0; i < s->arg; i++)
		ok &= item_ok(m->items[i].item);
	if (!ok)
		fail(c, WR_DECODE_VALUE);
}

static inline void read_answer(struct cursor *c, struct wr_message *m, const struct section *s)
{
	if (want_length(c, s, sizeof(*m->answer)))
		m->answer = (const void *)s->body;
}

static inline void read_server(struct cursor *c, struct wr_message *m, const struct section *s)
{
	if (want_length(c, s, sizeof(*m->server)))
		m->server = (const void *)s->body;
}

static inline void read_shards(struct cursor *c, struct wr_message *m, const struct section *s)
{
	if (want_length(c, s, WR_WIRE_N_SHARDS))
		m->shards = s->body;
}

static inline void read_ports(struct cursor *c, struct wr_message *m, const struct section *s)
{
	if (!want_entries(c, s, 1, WR_WIRE_MAX_PORTS, 0, sizeof(*m->ports)))
		return;
	m->ports = (const void *)s->body;
	m->n_ports = s->arg;
}

#define BIT(type) (1u << (type))
#define REQUEST_SECTIONS                                                                    \
	(BIT(WR_SEC_ASK) | BIT(WR_SEC_EVENTS) | BIT(WR_SEC_HISTORY) | BIT(WR_SEC_EXCLUDE) | \
		BIT(WR_SEC_CONTEXT) | BIT(WR_SEC_UTTERANCE) | BIT(WR_SEC_COOKIE) |          \
		BIT(WR_SEC_AUTH))
#define ANSWER_SECTIONS                                                                   \
	(BIT(WR_SEC_COOKIE) | BIT(WR_SEC_AUTH) | BIT(WR_SEC_ANSWER) | BIT(WR_SEC_ITEMS) | \
		BIT(WR_SEC_SERVER) | BIT(WR_SEC_SHARDS) | BIT(WR_SEC_PORTS))

static inline void read_section(struct cursor *c, struct wr_message *m, const struct section *s)
{
	switch (s->type) {
	case WR_SEC_ASK:
		read_ask(c, m, s);
		break;
	case WR_SEC_EVENTS:
		read_events(c, m, s);
		break;
	case WR_SEC_HISTORY:
		read_history(c, m, s);
		break;
	case WR_SEC_EXCLUDE:
		read_exclude(c, m, s);
		break;
	case WR_SEC_CONTEXT:
		read_context(c, m, s);
		break;
	case WR_SEC_UTTERANCE:
		read_utterance(c, m, s);
		break;
	case WR_SEC_COOKIE:
		read_cookie(c, m, s);
		break;
	case WR_SEC_AUTH:
		read_auth(c, m, s);
		break;
	case WR_SEC_ANSWER:
		read_answer(c, m, s);
		break;
	case WR_SEC_ITEMS:
		read_items(c, m, s);
		break;
	case WR_SEC_SERVER:
		read_server(c, m, s);
		break;
	case WR_SEC_SHARDS:
		read_shards(c, m, s);
		break;
	case WR_SEC_PORTS:
		read_ports(c, m, s);
		break;
	default:
		break;
	}
}

/*
 * Reads every section whose bit is in `known`; skips the others unless they must be understood. A
 * body and its padding lie inside the message, or the cursor fails; messages and sections are
 * multiples of 4, so that a head is whole when there is one.
 */
static inline void read_sections(struct cursor *c, struct wr_message *m, uint32_t known)
{
	uint32_t seen = 0, at = WR_WIRE_HEADER_BYTES, size = c->size;
	while (at < size && !c->error) {
		uint32_t head;
		memcpy(&head, c->data + at, sizeof(head));
		at += WR_WIRE_SECTION_HEAD;
		struct section s = {.type = (uint8_t)head,
			.arg = (uint8_t)(head >> 8),
			.length = (uint16_t)(head >> 16),
			.at = at,
			.body = c->data + at};
		uint32_t padded = WR_ALIGN_UP((uint32_t)s.length, 4u);
		if (padded > size - at) {
			fail(c, WR_DECODE_SECTION_LENGTH);
			return;
		}
		at += padded;
		uint32_t bit = s.type < 32 ? BIT(s.type) & known : 0;
		if (m->auth)
			fail(c, WR_DECODE_SECTION_ORDER);
		else if (s.type & 0x80)
			fail(c, WR_DECODE_SECTION_UNKNOWN);
		else if (seen & bit)
			fail(c, WR_DECODE_SECTION_TWICE);
		else if (bit)
			read_section(c, m, &s);
		seen |= bit;
	}
}

/* Size, length field, direction, version: what makes a header sound. */
static enum wr_decode read_header(
	const void *data, size_t size, struct wr_message *m, uint8_t direction)
{
	memset(m, 0, sizeof(*m));
	if (size < WR_WIRE_HEADER_BYTES)
		return WR_DECODE_SHORT;
	memcpy(&m->header, data, sizeof(m->header));
	if (m->header.length != size || size > WR_WIRE_MAX_BYTES || size % 4)
		return WR_DECODE_LENGTH;
	if ((m->header.op & WR_OP_ANSWER) != direction)
		return WR_DECODE_NOT_REQUEST;
	return m->header.version == WR_WIRE_VERSION ? WR_DECODE_OK : WR_DECODE_VERSION;
}

static enum wr_decode finish(const struct cursor *c, struct wr_message *m)
{
	if (c->error) {
		struct wr_wire_header h = m->header;
		memset(m, 0, sizeof(*m));
		m->header = h;
	}
	return c->error;
}

enum wr_decode wr_wire_decode_request(const void *data, size_t size, struct wr_message *m)
{
	enum wr_decode d = read_header(data, size, m, 0);
	if (d)
		return d;
	if (m->header.op < WR_OP_HELLO || m->header.op > WR_OP_FORGET)
		return WR_DECODE_OPCODE;
	struct cursor c = {data, (uint32_t)size, WR_DECODE_OK};
	if (m->header.time_ms < 0)
		fail(&c, WR_DECODE_VALUE);
	read_sections(&c, m, REQUEST_SECTIONS);
	if ((m->header.op == WR_OP_RECOMMEND && !m->ask) ||
		(m->header.op == WR_OP_EVENT && !m->events))
		fail(&c, WR_DECODE_SECTION_MISSING);
#ifdef WR_SEED_OVERREAD /* deliberate fault (meson -Dseed_fault=overread): one byte behind one \
			   message in eight */
	if (m->header.request_id % 8 == 7 && *(const volatile uint8_t *)(c.data + c.size) == 0xa5)
		fail(&c, WR_DECODE_VALUE);
#endif
	return finish(&c, m);
}

enum wr_decode wr_wire_decode_answer(const void *data, size_t size, struct wr_message *m)
{
	enum wr_decode d = read_header(data, size, m, WR_OP_ANSWER);
	if (d)
		return d;
	uint8_t op = m->header.op & 0x7f;
	if ((op < WR_OP_HELLO || op > WR_OP_FORGET) && op != WR_OP_ERROR)
		return WR_DECODE_OPCODE;
	struct cursor c = {data, (uint32_t)size, WR_DECODE_OK};
	if (m->header.time_ms < 0)
		fail(&c, WR_DECODE_VALUE);
	read_sections(&c, m, ANSWER_SECTIONS);
	if (!m->answer)
		fail(&c, WR_DECODE_SECTION_MISSING);
	for (unsigned int i = 0; m->shards && m->ports && i < WR_WIRE_N_SHARDS; i++)
		if (m->shards[i] >= m->n_ports)
			fail(&c, WR_DECODE_VALUE);
	return finish(&c, m);
}
