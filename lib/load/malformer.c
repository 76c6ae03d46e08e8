/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One function a kind of malformed frame. Each starts from a sound message in a sound frame and
 * breaks one thing, with the checksums of the layers below right, so that the lie reaches the check
 * that is meant to find it.
 */
#include "load_malform.h"

#include <arpa/inet.h>
#include <stdlib.h>

enum {
	ETH = 14,
	IP4 = 20,
	IP6 = 40,
	UDP = 8,
	MAX_SECTIONS = 16,
	MIN_ANSWERABLE = WR_WIRE_MIN_UNPROVEN
};

struct wr_malformer {
	const struct wr_load *l;
	struct wr_rng rng;
	uint64_t id;
	unsigned int next_kind;
	uint8_t message[WR_WIRE_MAX_BYTES + 64];
	uint16_t n;
	uint16_t section[MAX_SECTIONS]; /* offsets of section heads in message */
	unsigned int n_sections;
};

#define MALFORM_NAME(name, help) #name,
static const char *const malform_names[WR_MALFORM_KIND_N] = {WR_MALFORM_KINDS(MALFORM_NAME)};

const char *wr_malform_name(enum wr_malform_kind k)
{
	return (unsigned int)k < WR_MALFORM_KIND_N ? malform_names[k] : "unknown";
}

static uint32_t below(struct wr_malformer *m, uint32_t n)
{
	return wr_rng_below(&m->rng, n);
}

static void random_bytes(struct wr_malformer *m, uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(wr_rng_u64(&m->rng) >> 40);
}

static void put16be(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static unsigned int get16be(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

static void put16le(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
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
	return wr_load_header(op, WR_ID_MALFORMED | m->l->tag | (m->id++ & WR_ID_NUMBER_MASK),
		WR_USERS_MALFORMED | below(m, 4096), (uint16_t)below(m, 4));
}

static void finish_message(struct wr_malformer *m, struct wr_writer *w)
{
	int n = wr_writer_finish(w);

	m->n = n < 0 ? 0 : (uint16_t)n;
	find_sections(m);
}

/* With ASK, EVENTS, HISTORY, EXCLUDE, CONTEXT and UTTERANCE, each of random size. */
static void sound_recommend(struct wr_malformer *m)
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

static void sound_small(struct wr_malformer *m, enum wr_op op)
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

static void sound_any(struct wr_malformer *m)
{
	static const uint8_t ops[] = {WR_OP_RECOMMEND, WR_OP_EVENT, WR_OP_HELLO};
	unsigned int i = below(m, 4);

	if (i == 3)
		sound_recommend(m);
	else
		sound_small(m, ops[i]);
}

/* ---- frames ---- */
static uint16_t server_port(struct wr_malformer *m)
{
	const struct wr_load_server *s = &m->l->server;

	return s->known ? s->ports[below(m, s->n_ports)] : m->l->address.server_port;
}

static uint16_t wrap(struct wr_malformer *m, uint8_t *frame)
{
	memcpy(frame + m->l->head.size, m->message, m->n);
	return wr_load_frame_finish(&m->l->head, frame, m->n, m->n, server_port(m));
}

/* Makes the IPv4 header checksum right for `bytes` of header again. */
static void resum_ip(uint8_t *frame, size_t bytes)
{
	uint16_t sum;

	put16be(frame + ETH + 10, 0);
	sum = (uint16_t)~wr_load_frame_fold(wr_load_frame_sum(frame + ETH, bytes));
	memcpy(frame + ETH + 10, &sum, 2);
}

static bool over_ipv6(const struct wr_malformer *m)
{
	return m->l->head.ipv6;
}

static void resum(const struct wr_malformer *m, uint8_t *frame)
{
	if (!over_ipv6(m))
		resum_ip(frame, IP4);
}

static uint8_t *udp_of(const struct wr_malformer *m, uint8_t *frame)
{
	return frame + m->l->head.size - UDP;
}

static uint16_t frame_short(struct wr_malformer *m, uint8_t *frame)
{
	sound_any(m);
	(void)wrap(m, frame);
	return (uint16_t)(1 + below(m, m->l->head.size + WR_WIRE_HEADER_BYTES - 1u));
}

static uint16_t frame_vlan(struct wr_malformer *m, uint8_t *frame)
{
	sound_any(m);
	uint16_t n = wrap(m, frame);
	memmove(frame + 16, frame + 12, n - 12u);
	put16be(frame + 12, below(m, 2) ? 0x8100 : 0x88a8);
	put16be(frame + 14, 1 + below(m, 4094));
	return below(m, 2) ? (uint16_t)(n + 4) : (uint16_t)(13 + below(m, 24));
}

static uint16_t frame_type(struct wr_malformer *m, uint8_t *frame)
{
	static const uint16_t types[] = {0x0806, 0x88cc, 0x86dd, 0x0800, 0x0040, 0xffff, 0x8847};

	sound_any(m);
	uint16_t n = wrap(m, frame);
	unsigned int type = types[below(m, WR_ARRAY_LEN(types))];
	put16be(frame + 12, type);
	/* With a type of its own the content stays, under the other version's type; ARP gets noise.
	 */
	if (type == 0x0806)
		random_bytes(m, frame + ETH, 28 + below(m, 18));
	if (type == 0x0800 || type == 0x86dd)
		frame[ETH] ^= 0x20;
	return n;
}

static uint16_t ip_version(struct wr_malformer *m, uint8_t *frame)
{
	sound_any(m);
	uint16_t n = wrap(m, frame);
	uint8_t *ip = frame + ETH;
	if (below(m, 2) || over_ipv6(m)) {
		uint8_t version = (uint8_t)below(m, 16);
		ip[0] = (uint8_t)((version == 4 || version == 6 ? 5 : version) << 4 | (ip[0] & 15));
		resum(m, frame);
	} else {
		unsigned int words = below(m, 16);
		ip[0] = (uint8_t)(0x40 | words);
		resum_ip(frame, WR_MIN((size_t)WR_MAX(words, 5u) * 4, (size_t)n - ETH));
	}
	return n;
}

static uint16_t ip_length(struct wr_malformer *m, uint8_t *frame)
{
	sound_any(m);
	uint16_t n = wrap(m, frame);
	uint8_t *at = frame + ETH + (over_ipv6(m) ? 4 : 2);
	unsigned int right = get16be(at);
	const unsigned int lies[] = {0, 1, 19, right - 1, right + 1, right + 1 + below(m, 60000),
		65535, below(m, right)};
	put16be(at, lies[below(m, WR_ARRAY_LEN(lies))] & 0xffff);
	resum(m, frame);
	return n;
}

static uint16_t ip_checksum(struct wr_malformer *m, uint8_t *frame)
{
	sound_any(m);
	uint16_t n = wrap(m, frame);
	if (over_ipv6(m))
		put16be(udp_of(m, frame) + 6, 0); /* forbidden over IPv6 */
	else
		frame[ETH + 10 + below(m, 2)] ^= (uint8_t)(1u << below(m, 8));
	return n;
}

static uint16_t ip_fragment(struct wr_malformer *m, uint8_t *frame)
{
	sound_any(m);
	uint16_t n = wrap(m, frame);
	if (over_ipv6(m)) {
		uint8_t *ip = frame + ETH;
		memmove(ip + IP6 + 8, ip + IP6, (size_t)n - ETH - IP6);
		memset(ip + IP6, 0, 8);
		ip[IP6] = ip[6];
		put16be(ip + IP6 + 2, below(m, 2) ? 1 : 8 * (1 + below(m, 100)));
		ip[6] = 44;
		put16be(ip + 4, get16be(ip + 4) + 8);
		return (uint16_t)(n + 8);
	}
	/* First fragment (more follow), or a later one. */
	put16be(frame + ETH + 6, below(m, 2) ? 0x2000 : 1 + below(m, 0x1fff));
	resum_ip(frame, IP4);
	return n;
}

static uint16_t ip_protocol(struct wr_malformer *m, uint8_t *frame)
{
	static const uint8_t protocols[] = {1, 2, 6, 47, 50, 58, 132, 255};

	sound_any(m);
	uint16_t n = wrap(m, frame);
	frame[ETH + (over_ipv6(m) ? 6 : 9)] = protocols[below(m, WR_ARRAY_LEN(protocols))];
	resum(m, frame);
	return n;
}

/* Options that may be skipped, or noise; UDP and its checksum stay right. */
static uint16_t ip_extra(struct wr_malformer *m, uint8_t *frame)
{
	enum { OPTIONS = 60, PADDING = 1 };
	sound_any(m);
	uint16_t n = wrap(m, frame);
	uint8_t *ip = frame + ETH;
	unsigned int head = over_ipv6(m) ? IP6 : IP4, bytes = 4 * (1 + below(m, 10));
	if (over_ipv6(m))
		bytes = 8 * (1 + below(m, 10));
	memmove(ip + head + bytes, ip + head, (size_t)n - ETH - head);
	memset(ip + head, PADDING, bytes);
	if (below(m, 2))
		random_bytes(m, ip + head, bytes);
	if (over_ipv6(m)) {
		uint8_t *options = ip + head;
		options[0] = ip[6];
		options[1] = (uint8_t)(below(m, 8) ? bytes / 8 - 1 : below(m, 256));
		if (options[2] == PADDING && bytes < 256)
			options[3] = (uint8_t)(bytes - 4);
		ip[6] = below(m, 4) ? OPTIONS : (uint8_t[]){0, 43, 51, 135}[below(m, 4)];
		put16be(ip + 4, get16be(ip + 4) + bytes);
	} else {
		ip[0] = (uint8_t)(ip[0] + bytes / 4);
		put16be(ip + 2, get16be(ip + 2) + bytes);
		resum_ip(frame, IP4 + bytes);
	}
	return (uint16_t)(n + bytes);
}

static uint16_t ip_source(struct wr_malformer *m, uint8_t *frame)
{
	static const uint8_t first4[] = {0, 127, 224, 239, 240, 255};
	sound_any(m);
	uint16_t n = wrap(m, frame);
	uint8_t *ip = frame + ETH, *sum = udp_of(m, frame) + 6;
	unsigned int before, after;
	if (over_ipv6(m)) {
		/* The first half becomes zero: unspecified, loopback or an IPv4 address. */
		before = wr_load_frame_fold(wr_load_frame_sum(ip + 8, 16));
		memset(ip + 8, 0, 8 + 2 * below(m, 5));
		after = wr_load_frame_fold(wr_load_frame_sum(ip + 8, 16));
	} else {
		before = wr_load_frame_fold(wr_load_frame_sum(ip + 12, 4));
		ip[12] = first4[below(m, WR_ARRAY_LEN(first4))];
		after = wr_load_frame_fold(wr_load_frame_sum(ip + 12, 4));
		resum(m, frame);
	}
	/* RFC 1624: the checksum follows what changed. */
	uint16_t old, fixed;
	memcpy(&old, sum, 2);
	uint32_t t = (uint16_t)~old + (uint16_t)~before + after;
	t = (t & 0xffff) + (t >> 16);
	fixed = (uint16_t) ~((t & 0xffff) + (t >> 16));
	memcpy(sum, fixed ? &fixed : (const uint16_t[]){0xffff}, 2);
	return n;
}

static uint16_t ip_address(struct wr_malformer *m, uint8_t *frame)
{
	sound_any(m);
	uint16_t n = wrap(m, frame);
	frame[ETH + (over_ipv6(m) ? 24 + below(m, 16) : 16 + below(m, 4))] ^=
		(uint8_t)(1u << below(m, 8));
	resum(m, frame);
	return n;
}

static uint16_t udp_length(struct wr_malformer *m, uint8_t *frame)
{
	sound_any(m);
	uint16_t n = wrap(m, frame);
	uint8_t *udp = udp_of(m, frame);
	unsigned int right = get16be(udp + 4);
	const unsigned int lies[] = {0, 7, 8, right + 1, right - 1, 65535, below(m, right)};
	put16be(udp + 4, lies[below(m, WR_ARRAY_LEN(lies))]);
	if (!over_ipv6(m) && below(m, 2))
		put16be(udp + 6, 0); /* no checksum that could notice */
	return n;
}

static uint16_t udp_checksum(struct wr_malformer *m, uint8_t *frame)
{
	sound_any(m);
	uint16_t n = wrap(m, frame);
	uint8_t *at = udp_of(m, frame) + 6;
	unsigned int wrong = (get16be(at) ^ (1 + below(m, 0xfffe))) & 0xffff;
	put16be(at, wrong ? wrong : 0x1234);
	return n;
}

static uint16_t udp_port(struct wr_malformer *m, uint8_t *frame)
{
	sound_any(m);
	memcpy(frame + m->l->head.size, m->message, m->n);
	uint16_t port = (uint16_t)(server_port(m) + 1000 + below(m, 20000));
	return wr_load_frame_finish(&m->l->head, frame, m->n, m->n, port);
}

/* ---- messages ---- */
static uint16_t wire_truncated(struct wr_malformer *m, uint8_t *frame)
{
	sound_recommend(m);
	m->n = (uint16_t)below(m, m->n);
	/* Half of them admit to their length: what is cut then is a section. */
	if (below(m, 2) && m->n >= WR_WIRE_HEADER_BYTES) {
		m->n &= 0xfffc;
		put16le(m->message + offsetof(struct wr_wire_header, length), m->n);
	}
	return wrap(m, frame);
}

static uint16_t wire_length(struct wr_malformer *m, uint8_t *frame)
{
	sound_any(m);
	const unsigned int lies[] = {
		0, 31, m->n - 4u, m->n + 4u, m->n + 1u, 1236, 65535, below(m, m->n)};
	put16le(m->message + offsetof(struct wr_wire_header, length),
		lies[below(m, WR_ARRAY_LEN(lies))]);
	return wrap(m, frame);
}

static uint16_t wire_version(struct wr_malformer *m, uint8_t *frame)
{
	sound_any(m);
	uint8_t version = (uint8_t)below(m, 256);
	m->message[0] = version == WR_WIRE_VERSION ? 0 : version;
	return wrap(m, frame);
}

static uint16_t wire_op(struct wr_malformer *m, uint8_t *frame)
{
	sound_any(m);
	uint8_t op = (uint8_t)below(m, 256);
	m->message[1] = op >= WR_OP_HELLO && op <= WR_OP_FORGET ? (uint8_t)(op | WR_OP_ANSWER) : op;
	return wrap(m, frame);
}

static uint16_t section_length(struct wr_malformer *m, uint8_t *frame)
{
	sound_recommend(m);
	uint8_t *at = m->message + m->section[below(m, m->n_sections)] + 2;
	unsigned int right = (unsigned int)at[0] | (unsigned int)at[1] << 8;
	const unsigned int lies[] = {
		0, right + 1, right + 4, right ? right - 1 : 1, 1232, 65535, below(m, 65536)};
	put16le(at, lies[below(m, WR_ARRAY_LEN(lies))]);
	return wrap(m, frame);
}

/* Appends a section to the message, length fields right. */
static void append(
	struct wr_malformer *m, uint8_t type, uint8_t arg, const void *body, unsigned int bytes)
{
	unsigned int padded = WR_ALIGN_UP(bytes, 4u);

	if (m->n + WR_WIRE_SECTION_HEAD + padded > WR_WIRE_MAX_BYTES)
		sound_small(m, WR_OP_RECOMMEND);
	uint8_t *at = m->message + m->n;
	at[0] = type;
	at[1] = arg;
	put16le(at + 2, bytes);
	memset(at + WR_WIRE_SECTION_HEAD, 0, padded);
	memcpy(at + WR_WIRE_SECTION_HEAD, body, bytes);
	m->n = (uint16_t)(m->n + WR_WIRE_SECTION_HEAD + padded);
	put16le(m->message + offsetof(struct wr_wire_header, length), m->n);
}

static uint16_t section_twice(struct wr_malformer *m, uint8_t *frame)
{
	uint8_t body[256];

	sound_recommend(m);
	const uint8_t *s =
		m->message + m->section[below(m, m->n_sections - 1)]; /* the last one is PAD */
	unsigned int bytes =
		WR_MIN((unsigned int)s[2] | (unsigned int)s[3] << 8, (unsigned int)sizeof(body));
	uint8_t type = s[0], arg = s[1];
	memcpy(body, s + WR_WIRE_SECTION_HEAD, bytes);
	append(m, type, arg, body, bytes);
	return wrap(m, frame);
}

static uint16_t section_unknown(struct wr_malformer *m, uint8_t *frame)
{
	uint8_t body[64];

	sound_any(m);
	random_bytes(m, body, sizeof(body));
	append(m, (uint8_t)(0x80 | below(m, 128)), (uint8_t)below(m, 256), body,
		below(m, sizeof(body)));
	return wrap(m, frame);
}

static uint16_t section_missing(struct wr_malformer *m, uint8_t *frame)
{
	sound_small(m, WR_OP_HELLO);
	m->message[1] = below(m, 2) ? WR_OP_RECOMMEND : WR_OP_EVENT;
	return wrap(m, frame);
}

static uint16_t section_order(struct wr_malformer *m, uint8_t *frame)
{
	uint8_t body[sizeof(struct wr_wire_auth)];

	sound_small(m, WR_OP_RECOMMEND);
	random_bytes(m, body, sizeof(body));
	append(m, WR_SEC_AUTH, 0, body, sizeof(body));
	append(m, below(m, 2) ? WR_SEC_PAD : WR_SEC_UTTERANCE, 0, "late", 4);
	return wrap(m, frame);
}

static uint8_t *section_body(struct wr_malformer *m, uint8_t type)
{
	for (unsigned int i = 0; i < m->n_sections; i++)
		if (m->message[m->section[i]] == type)
			return m->message + m->section[i] + WR_WIRE_SECTION_HEAD;
	return NULL;
}

static uint16_t value(struct wr_malformer *m, uint8_t *frame)
{
	uint32_t item = below(m, 2) ? 0 : WR_WIRE_MAX_ITEM + 1 + below(m, 1000);

	sound_recommend(m);
	uint8_t *ask = section_body(m, WR_SEC_ASK), *event = section_body(m, WR_SEC_EVENTS);
	uint8_t *history = section_body(m, WR_SEC_HISTORY),
		*exclude = section_body(m, WR_SEC_EXCLUDE);
	uint8_t *utterance = section_body(m, WR_SEC_UTTERANCE);
	if (!ask || !event || !history || !exclude || !utterance)
		return wrap(m, frame);
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
	return wrap(m, frame);
}

static uint16_t proof(struct wr_malformer *m, uint8_t *frame)
{
	uint8_t body[sizeof(struct wr_wire_auth)];

	sound_small(m, WR_OP_FORGET);
	random_bytes(m, body, sizeof(body));
	if (below(m, 2))
		append(m, WR_SEC_COOKIE, 0, body, sizeof(struct wr_wire_cookie));
	else
		append(m, WR_SEC_AUTH, 0, body, sizeof(struct wr_wire_auth));
	return wrap(m, frame);
}

/* Noise keeps an id of ours where a message has one, so that no answer to it can be taken for
 * another's. */
static uint16_t random_message(struct wr_malformer *m, uint8_t *frame)
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
	return wrap(m, frame);
}

static uint16_t random_frame(struct wr_malformer *m, uint8_t *frame)
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

static uint16_t bit_flip(struct wr_malformer *m, uint8_t *frame)
{
	sound_any(m);
	for (unsigned int flips = 1 + below(m, 4); flips; flips--) {
		unsigned int at = below(m, m->n);
		/* Not in request and user id: answers must stay recognisable, other users
		 * untouched. */
		if (at >= offsetof(struct wr_wire_header, request_id) && at < 24)
			continue;
		m->message[at] ^= (uint8_t)(1u << below(m, 8));
	}
	return wrap(m, frame);
}

#define MALFORM_FUNCTION(name, help) name,
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

uint16_t wr_malformer_make(struct wr_malformer *m, enum wr_malform_kind kind, uint8_t *frame)
{
	return makers[kind](m, frame);
}
