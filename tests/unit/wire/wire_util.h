/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared by the wire suites: decoding from exactly sized heap copies, so that a sanitizer sees
 * every over-read. */
#ifndef WIRE_UTIL_H
#define WIRE_UTIL_H

#include "wr_wire.h"

#include <stdlib.h>
#include <string.h>

/* A datagram on the heap, without a byte behind it, and what the decoder made of it. */
struct exact {
	uint8_t *data;
	size_t size;
	struct wr_message m;
	enum wr_decode d;
};

static inline void exact_decode(struct exact *e, const void *data, size_t size, bool answer)
{
	e->data = malloc(size ? size : 1);
	e->size = size;
	memcpy(e->data, data, size);
	e->d = answer ? wr_wire_decode_answer(e->data, size, &e->m)
		      : wr_wire_decode_request(e->data, size, &e->m);
}

static inline void exact_free(struct exact *e)
{
	free(e->data);
}

/* Decodes and forgets; WR_DECODE_N, which no decoder gives, when an error left more than the header
 * behind. */
static inline enum wr_decode decode_only(const void *data, size_t size, bool answer)
{
	struct exact e;
	exact_decode(&e, data, size, answer);
	struct wr_message empty = {.header = e.m.header};
	if (e.d != WR_DECODE_OK && memcmp(&e.m, &empty, sizeof(empty)) != 0)
		e.d = WR_DECODE_N;
	exact_free(&e);
	return e.d;
}

static inline struct wr_wire_header header_of(uint8_t op)
{
	return (struct wr_wire_header){.version = WR_WIRE_VERSION,
		.op = op,
		.domain = 3,
		.request_id = 0x1122334455667787,
		.user_id = 42,
		.time_ms = 1600000000000};
}

/* A message under construction; finish() may be called again after more was added. */
struct draft {
	struct wr_writer w;
	uint8_t data[WR_WIRE_MAX_BYTES + 64];
};

static inline void draft_begin(struct draft *b, uint8_t op)
{
	struct wr_wire_header h = header_of(op);
	wr_writer_init(&b->w, b->data, sizeof(b->data), &h);
}

/* A section with every body byte set to `byte`. */
static inline uint8_t *draft_fill(
	struct draft *b, uint8_t type, uint8_t arg, uint8_t byte, size_t bytes)
{
	uint8_t *body = wr_writer_section(&b->w, type, arg, bytes);
	if (body)
		memset(body, byte, bytes);
	return body;
}

static inline void draft_copy(
	struct draft *b, uint8_t type, uint8_t arg, const void *from, size_t bytes)
{
	void *body = wr_writer_section(&b->w, type, arg, bytes);
	if (body)
		memcpy(body, from, bytes);
}

static inline size_t draft_finish(struct draft *b)
{
	int bytes = wr_writer_finish(&b->w);
	return bytes < 0 ? 0 : (size_t)bytes;
}

static inline enum wr_decode draft_decode(struct draft *b)
{
	return decode_only(b->data, draft_finish(b), b->data[1] & WR_OP_ANSWER);
}

#endif
