/* SPDX-License-Identifier: BSD-3-Clause */
/* Which scores of a tile beat a user's threshold: the running top-K looks at those alone. Built for
 * tiles of 128 scores. */
#ifndef WR_TOPK_H
#define WR_TOPK_H

#include <stddef.h>
#include <stdint.h>

/*
 * Indices (ascending) of the s[i] > threshold into index; their number. n ≤ 65,535, any; s 4-byte
 * aligned, nothing beyond n is read; index has room for n. NaN never passes.
 */
typedef size_t wr_topk_above_fn(const float *s, size_t n, float threshold, uint16_t *index);
wr_topk_above_fn wr_topk_above_ref, wr_topk_above_avx2, wr_topk_above_avx512vnni;

#endif
