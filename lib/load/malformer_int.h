/* SPDX-License-Identifier: BSD-3-Clause */
/* What malformer.c and the files of its kinds share; internal to lib/load. */
#ifndef WR_MALFORMER_INT_H
#define WR_MALFORMER_INT_H

#include "load_malform.h"

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
	int64_t now_ms; /* in the header of the frame that is made */
	unsigned int next_kind;
	uint8_t message[WR_WIRE_MAX_BYTES + 64];
	uint16_t n;
	uint16_t section[MAX_SECTIONS]; /* offsets of section heads in message */
	unsigned int n_sections;
};

static inline uint32_t below(struct wr_malformer *m, uint32_t n)
{
	return wr_rng_below(&m->rng, n);
}

static inline void random_bytes(struct wr_malformer *m, uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(wr_rng_u64(&m->rng) >> 40);
}

static inline void put16be(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline unsigned int get16be(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

static inline void put16le(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

/* ---- malformer.c ---- */

/* A message of random content into m->message, sound in every layer: any, a small one, or a
 * RECOMMEND with ASK, EVENTS, HISTORY, EXCLUDE, CONTEXT, UTTERANCE and PAD. */
void wr_malform_sound_any(struct wr_malformer *m);
void wr_malform_sound_small(struct wr_malformer *m, enum wr_op op);
void wr_malform_sound_recommend(struct wr_malformer *m);
uint16_t wr_malform_server_port(struct wr_malformer *m);
/* The message in a sound frame; the frame's bytes. */
uint16_t wr_malform_wrap(struct wr_malformer *m, uint8_t *frame);

/* ---- a function a kind: writes one such frame, its bytes ---- */

#define MALFORM_PROTOTYPE(name, help) \
	uint16_t wr_malform_##name(struct wr_malformer *m, uint8_t *frame);
WR_MALFORM_KINDS(MALFORM_PROTOTYPE)

#endif
