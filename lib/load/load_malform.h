/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames that a server must survive: every layer's lies, one at a time, and noise. Deterministic by
 * seed and time. None of them can be mistaken for a sound request of another user: ids carry
 * WR_ID_MALFORMED, users lie in their own range.
 */
#ifndef WR_LOAD_MALFORM_H
#define WR_LOAD_MALFORM_H

#include "load_core.h"

struct wr_malformer;
int wr_malformer_new(struct wr_malformer **m, const struct wr_load *l, uint64_t seed,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_malformer_free(struct wr_malformer *m);
/* Kinds in turn. */
enum wr_malform_kind wr_malformer_next_kind(struct wr_malformer *m);
/* Writes one frame of this time (WR_LOAD_BUFFER bytes of room); its size. */
uint16_t wr_malformer_make(
	struct wr_malformer *m, enum wr_malform_kind kind, int64_t now_ms, uint8_t *frame);

#endif
