/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sound messages, noise, and kinds in turn. A kind is a function (malform_frames.c,
 * malform_messages.c) that starts from a sound message in a sound frame and breaks one thing, with
 * the checksums of the layers below right, so that the lie reaches the check that is meant to find
 * it.
 */
#include "malformer_int.h"

#include <stdlib.h>

#define MALFORM_NAME(name, help) #name,
static const char *const malform_names[WR_MALFORM_KIND_N] = {WR_MALFORM_KINDS(MALFORM_NAME)};

const char *wr_malform_name(enum wr_malform_kind k)
{
	return (unsigned int)k < WR_MALFORM_KIND_N ? malform_names[k] : "unknown";
}

/* ---- a sound message ---- */
static void find_sections(struct wr_malformer *m)
{
	m->n_sections = 0;
	for (unsigned int at = WR_WIRE_HEADER_BYTES;
		at + WR_WIRE_SECTION_HEAD <= m->n && m->n_sections < MAX_SECTIONS;) {
		unsigned int length =
			(unsigned int)m->message[at + 2] | (unsigned int)m->message[at + 3] << 8;
		m->section[m->n_sections++] = (uint16_t)at;
		at += WR_WIRE_SECTION_HEAD + WR_ALIGN_UP(length, 4u);
	}
}

static struct wr_wire_header sound_header(struct wr_malformer *m, enum wr_op op)
{
	struct wr_wire_header h =
		wr_load_header(op, WR_ID_MALFORMED | m->l->tag | (m->id++ & WR_ID_NUMBER_MASK),
			WR_USERS_MALFORMED | below(m, 4096), (uint16_t)below(m, 4));
	h.time_ms = m->now_ms;
	return h;
}

static void finish_message(struct wr_malformer *m, struct wr_writer *w)
{
	int n = wr_writer_finish(w);

	m->n = n < 0 ? 0 : (uint16_t)n;
	find_sections(m);
}

/* With ASK, EVENTS, HISTORY, EXCLUDE, CONTEXT and UTTERANCE, each of random size. */
void wr_malform_sound_recommend(struct wr_malformer *m)
{
	struct wr_wire_header h = sound_header(m, WR_OP_RECOMMEND);
	struct wr_wire_event e[4];
	uint32_t items[16];
	struct wr_writer w;

	for (unsigned int i = 0; i < WR_ARRAY_LEN(items); i++)
		items[i] = 1 + below(m, WR_MAX(m->l->server.n_items, 100u));
	for (unsigned int i = 0; i < WR_ARRAY_LEN(e); i++)
		e[i] = (struct wr_wire_event){
			.item = items[i], .kind = (uint8_t)(1 + below(m, 4)), .time_ms = h.time_ms};
	wr_writer_init(&w, m->message, WR_WIRE_MAX_BYTES, &h);
	wr_writer_ask(&w, (uint8_t)below(m, WR_WIRE_MAX_K + 1), 0);
	wr_writer_events(&w, 0, e, 1 + below(m, WR_ARRAY_LEN(e)));
	wr_writer_history(&w, items, NULL, NULL, 1 + below(m, WR_ARRAY_LEN(items)), below(m, 2));
	wr_writer_exclude(&w, items, 1 + below(m, WR_ARRAY_LEN(items)));
	struct wr_wire_context *c = wr_writer_section(&w, WR_SEC_CONTEXT, 1, sizeof(*c));
	if (c)
		*c = (struct wr_wire_context){.key = 1, .value = below(m, 100)};
	wr_writer_utterance(&w, "my parcel is lost", 1 + below(m, 17));
	wr_writer_pad(&w, MIN_ANSWERABLE + 4 * below(m, 64));
	finish_message(m, &w);
}

void wr_malform_sound_small(struct wr_malformer *m, enum wr_op op)
{
	struct wr_wire_header h = sound_header(m, op);
	struct wr_wire_event e = {
		.item = 1 + below(m, 100), .kind = WR_KIND_CLICK, .time_ms = h.time_ms};
	struct wr_writer w;

	wr_writer_init(&w, m->message, WR_WIRE_MAX_BYTES, &h);
	if (op == WR_OP_RECOMMEND)
		wr_writer_ask(&w, 10, 0);
	if (op == WR_OP_EVENT)
		wr_writer_events(&w, 0, &e, 1);
	wr_writer_pad(&w, MIN_ANSWERABLE);
	finish_message(m, &w);
}

void wr_malform_sound_any(struct wr_malformer *m)
{
	static const uint8_t ops[] = {WR_OP_RECOMMEND, WR_OP_EVENT, WR_OP_HELLO};
	unsigned int i = below(m, 4);

	if (i == 3)
		wr_malform_sound_recommend(m);
	else
		wr_malform_sound_small(m, ops[i]);
}

uint16_t wr_malform_server_port(struct wr_malformer *m)
{
	const struct wr_load_server *s = &m->l->server;

	return s->known ? s->ports[below(m, s->n_ports)] : m->l->address.server_port;
}

uint16_t wr_malform_wrap(struct wr_malformer *m, uint8_t *frame)
{
	memcpy(frame + m->l->head.size, m->message, m->n);
	return wr_load_frame_finish(&m->l->head, frame, m->n, m->n, wr_malform_server_port(m));
}

/* ---- noise ---- */

/* Noise keeps an id of ours where a message has one, so that no answer to it can be taken for
 * another's. */
uint16_t wr_malform_random_message(struct wr_malformer *m, uint8_t *frame)
{
	struct wr_wire_header h = sound_header(m, WR_OP_RECOMMEND);

	m->n = (uint16_t)(1 + below(m, WR_WIRE_MAX_BYTES));
	random_bytes(m, m->message, m->n);
	if (below(m, 4) == 0 && m->n >= WR_WIRE_HEADER_BYTES) { /* noise behind a sound header */
		m->n &= 0xfffc;
		h.op = (uint8_t)(1 + below(m, 4));
		h.length = m->n;
		memcpy(m->message, &h, sizeof(h));
	}
	if (m->n >= 24)
		memcpy(m->message + offsetof(struct wr_wire_header, request_id), &h.request_id, 16);
	return wr_malform_wrap(m, frame);
}

uint16_t wr_malform_random_frame(struct wr_malformer *m, uint8_t *frame)
{
	uint16_t n = (uint16_t)(1 + below(m, 1500));

	random_bytes(m, frame, n);
	/* Half of them have our address and a type that leads further in. */
	if (n > ETH && below(m, 2)) {
		memcpy(frame, m->l->head.bytes, 12);
		put16be(frame + 12, below(m, 2) ? 0x0800 : 0x86dd);
	}
	return n;
}

uint16_t wr_malform_bit_flip(struct wr_malformer *m, uint8_t *frame)
{
	wr_malform_sound_any(m);
	for (unsigned int flips = 1 + below(m, 4); flips; flips--) {
		unsigned int at = below(m, m->n);
		/* Not in request and user id: answers must stay recognisable, other users
		 * untouched. */
		if (at >= offsetof(struct wr_wire_header, request_id) && at < 24)
			continue;
		m->message[at] ^= (uint8_t)(1u << below(m, 8));
	}
	return wr_malform_wrap(m, frame);
}

#define MALFORM_FUNCTION(name, help) wr_malform_##name,
static uint16_t (*const makers[WR_MALFORM_KIND_N])(struct wr_malformer *m, uint8_t *frame) = {
	WR_MALFORM_KINDS(MALFORM_FUNCTION)};

int wr_malformer_new(
	struct wr_malformer **out, const struct wr_load *l, uint64_t seed, struct wr_errmsg *msg)
{
	struct wr_malformer *m = calloc(1, sizeof(*m));

	*out = m;
	if (!m)
		return wr_fail(msg, WR_ENOMEM, "not enough memory");
	m->l = l;
	wr_rng_init(&m->rng, seed, 0xbad);
	return 0;
}

void wr_malformer_free(struct wr_malformer *m)
{
	free(m);
}

enum wr_malform_kind wr_malformer_next_kind(struct wr_malformer *m)
{
	return m->next_kind++ % WR_MALFORM_KIND_N;
}

uint16_t wr_malformer_make(
	struct wr_malformer *m, enum wr_malform_kind kind, int64_t now_ms, uint8_t *frame)
{
	m->now_ms = now_ms;
	return makers[kind](m, frame);
}
