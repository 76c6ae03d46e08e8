/* SPDX-License-Identifier: BSD-3-Clause */
/* Kinds whose frame is sound and whose message lies: header, sections, values, proofs. */
#include "malformer_int.h"

uint16_t wr_malform_wire_truncated(struct wr_malformer *m, uint8_t *frame)
{
	wr_malform_sound_recommend(m);
	m->n = (uint16_t)below(m, m->n);
	/* Half of them admit to their length: what is cut then is a section. */
	if (below(m, 2) && m->n >= WR_WIRE_HEADER_BYTES) {
		m->n &= 0xfffc;
		put16le(m->message + offsetof(struct wr_wire_header, length), m->n);
	}
	return wr_malform_wrap(m, frame);
}

uint16_t wr_malform_wire_length(struct wr_malformer *m, uint8_t *frame)
{
	wr_malform_sound_any(m);
	const unsigned int lies[] = {
		0, 31, m->n - 4u, m->n + 4u, m->n + 1u, 1236, 65535, below(m, m->n)};
	put16le(m->message + offsetof(struct wr_wire_header, length),
		lies[below(m, WR_ARRAY_LEN(lies))]);
	return wr_malform_wrap(m, frame);
}

uint16_t wr_malform_wire_version(struct wr_malformer *m, uint8_t *frame)
{
	wr_malform_sound_any(m);
	uint8_t version = (uint8_t)below(m, 256);
	m->message[0] = version == WR_WIRE_VERSION ? 0 : version;
	return wr_malform_wrap(m, frame);
}

uint16_t wr_malform_wire_op(struct wr_malformer *m, uint8_t *frame)
{
	wr_malform_sound_any(m);
	uint8_t op = (uint8_t)below(m, 256);
	m->message[1] = op >= WR_OP_HELLO && op <= WR_OP_FORGET ? (uint8_t)(op | WR_OP_ANSWER) : op;
	return wr_malform_wrap(m, frame);
}

uint16_t wr_malform_section_length(struct wr_malformer *m, uint8_t *frame)
{
	wr_malform_sound_recommend(m);
	uint8_t *at = m->message + m->section[below(m, m->n_sections)] + 2;
	unsigned int right = (unsigned int)at[0] | (unsigned int)at[1] << 8;
	const unsigned int lies[] = {
		0, right + 1, right + 4, right ? right - 1 : 1, 1232, 65535, below(m, 65536)};
	put16le(at, lies[below(m, WR_ARRAY_LEN(lies))]);
	return wr_malform_wrap(m, frame);
}

/* Appends a section to the message, length fields right. */
static void append(
	struct wr_malformer *m, uint8_t type, uint8_t arg, const void *body, unsigned int bytes)
{
	unsigned int padded = WR_ALIGN_UP(bytes, 4u);

	if (m->n + WR_WIRE_SECTION_HEAD + padded > WR_WIRE_MAX_BYTES)
		wr_malform_sound_small(m, WR_OP_RECOMMEND);
	uint8_t *at = m->message + m->n;
	at[0] = type;
	at[1] = arg;
	put16le(at + 2, bytes);
	memset(at + WR_WIRE_SECTION_HEAD, 0, padded);
	memcpy(at + WR_WIRE_SECTION_HEAD, body, bytes);
	m->n = (uint16_t)(m->n + WR_WIRE_SECTION_HEAD + padded);
	put16le(m->message + offsetof(struct wr_wire_header, length), m->n);
}

uint16_t wr_malform_section_twice(struct wr_malformer *m, uint8_t *frame)
{
	uint8_t body[256];

	wr_malform_sound_recommend(m);
	const uint8_t *s =
		m->message + m->section[below(m, m->n_sections - 1)]; /* the last one is PAD */
	unsigned int bytes =
		WR_MIN((unsigned int)s[2] | (unsigned int)s[3] << 8, (unsigned int)sizeof(body));
	uint8_t type = s[0], arg = s[1];
	memcpy(body, s + WR_WIRE_SECTION_HEAD, bytes);
	append(m, type, arg, body, bytes);
	return wr_malform_wrap(m, frame);
}

uint16_t wr_malform_section_unknown(struct wr_malformer *m, uint8_t *frame)
{
	uint8_t body[64];

	wr_malform_sound_any(m);
	random_bytes(m, body, sizeof(body));
	append(m, (uint8_t)(0x80 | below(m, 128)), (uint8_t)below(m, 256), body,
		below(m, sizeof(body)));
	return wr_malform_wrap(m, frame);
}

uint16_t wr_malform_section_missing(struct wr_malformer *m, uint8_t *frame)
{
	wr_malform_sound_small(m, WR_OP_HELLO);
	m->message[1] = below(m, 2) ? WR_OP_RECOMMEND : WR_OP_EVENT;
	return wr_malform_wrap(m, frame);
}

uint16_t wr_malform_section_order(struct wr_malformer *m, uint8_t *frame)
{
	uint8_t body[sizeof(struct wr_wire_auth)];

	wr_malform_sound_small(m, WR_OP_RECOMMEND);
	random_bytes(m, body, sizeof(body));
	append(m, WR_SEC_AUTH, 0, body, sizeof(body));
	append(m, below(m, 2) ? WR_SEC_PAD : WR_SEC_UTTERANCE, 0, "late", 4);
	return wr_malform_wrap(m, frame);
}

static uint8_t *section_body(struct wr_malformer *m, uint8_t type)
{
	for (unsigned int i = 0; i < m->n_sections; i++)
		if (m->message[m->section[i]] == type)
			return m->message + m->section[i] + WR_WIRE_SECTION_HEAD;
	return NULL;
}

uint16_t wr_malform_value(struct wr_malformer *m, uint8_t *frame)
{
	uint32_t item = below(m, 2) ? 0 : WR_WIRE_MAX_ITEM + 1 + below(m, 1000);

	wr_malform_sound_recommend(m);
	uint8_t *ask = section_body(m, WR_SEC_ASK), *event = section_body(m, WR_SEC_EVENTS);
	uint8_t *history = section_body(m, WR_SEC_HISTORY),
		*exclude = section_body(m, WR_SEC_EXCLUDE);
	uint8_t *utterance = section_body(m, WR_SEC_UTTERANCE);
	if (!ask || !event || !history || !exclude || !utterance)
		return wr_malform_wrap(m, frame);
	event += sizeof(struct wr_wire_events_head);
	switch (below(m, 7)) {
	case 0:
		ask[0] = (uint8_t)(WR_WIRE_MAX_K + 1 + below(m, 255 - WR_WIRE_MAX_K));
		break;
	case 1:
		memcpy(event, &item, 4);
		break;
	case 2:
		event[4] = below(m, 2) ? 0 : (uint8_t)(5 + below(m, 250));
		break;
	case 3:
		put16le(history + offsetof(struct wr_wire_history_head, unit_ms),
			2 + below(m, 900));
		break;
	case 4:
		memcpy(exclude, &item, 4);
		break;
	case 5:
		utterance[0] =
			(uint8_t)(0x80 |
				  below(m, 0x40)); /* a continuation byte that continues nothing */
		break;
	default:
		(event - sizeof(struct wr_wire_events_head) - WR_WIRE_SECTION_HEAD)[1] ^=
			(uint8_t)(32 + below(m, 200));
		break;
	}
	return wr_malform_wrap(m, frame);
}

uint16_t wr_malform_proof(struct wr_malformer *m, uint8_t *frame)
{
	uint8_t body[sizeof(struct wr_wire_auth)];

	wr_malform_sound_small(m, WR_OP_FORGET);
	random_bytes(m, body, sizeof(body));
	if (below(m, 2))
		append(m, WR_SEC_COOKIE, 0, body, sizeof(struct wr_wire_cookie));
	else
		append(m, WR_SEC_AUTH, 0, body, sizeof(struct wr_wire_auth));
	return wr_malform_wrap(m, frame);
}
