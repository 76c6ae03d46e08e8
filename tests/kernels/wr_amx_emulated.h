/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tile instructions that kernels/amx.h uses, in C (Intel SDM 2, LDTILECFG … TDPBSSD), so that
 * the AMX sources are tested on any CPU. What the CPU would answer with #UD or #GP aborts.
 */
#ifndef WR_AMX_EMULATED_H
#define WR_AMX_EMULATED_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct wr_emulated_tile {
	unsigned int rows, row_bytes;
	int8_t at[16][64];
};

/* One set for all sources, as a thread has. */
extern _Thread_local struct wr_emulated_tile wr_emulated_tiles[8];

static inline void wr_emulated_require(int holds)
{
	if (!holds)
		abort();
}

static inline void wr_emulated_config(const void *shapes)
{
	const uint8_t *b = shapes;
	wr_emulated_require(b[0] == 1 && b[1] == 0);
	for (int i = 2; i < 16; i++)
		wr_emulated_require(b[i] == 0);
	for (int t = 0; t < 8; t++) {
		struct wr_emulated_tile *x = &wr_emulated_tiles[t];
		x->rows = b[48 + t];
		x->row_bytes = (unsigned int)b[16 + 2 * t] | (unsigned int)b[17 + 2 * t] << 8;
		wr_emulated_require(x->rows <= 16 && x->row_bytes <= 64);
		wr_emulated_require((x->rows == 0) == (x->row_bytes == 0));
		memset(x->at, 0, sizeof(x->at));
	}
	for (int t = 8; t < 16; t++)
		wr_emulated_require(b[48 + t] == 0 && b[16 + 2 * t] == 0 && b[17 + 2 * t] == 0);
}

static inline void wr_emulated_zero(int t)
{
	wr_emulated_require(wr_emulated_tiles[t].rows > 0);
	memset(wr_emulated_tiles[t].at, 0, sizeof(wr_emulated_tiles[t].at));
}

static inline void wr_emulated_load(int t, const void *base, size_t stride)
{
	struct wr_emulated_tile *x = &wr_emulated_tiles[t];
	wr_emulated_zero(t);
	for (size_t r = 0; r < x->rows; r++)
		memcpy(x->at[r], (const char *)base + r * stride, x->row_bytes);
}

static inline void wr_emulated_store(int t, void *base, size_t stride)
{
	const struct wr_emulated_tile *x = &wr_emulated_tiles[t];
	wr_emulated_require(x->rows > 0);
	for (size_t r = 0; r < x->rows; r++)
		memcpy((char *)base + r * stride, x->at[r], x->row_bytes);
}

/* c[m][n] += Σ over k of four products a[m][4k + i] · b[k][4n + i]. */
static inline void wr_emulated_dpbssd(int to, int first, int second)
{
	struct wr_emulated_tile *c = &wr_emulated_tiles[to];
	const struct wr_emulated_tile *a = &wr_emulated_tiles[first],
				      *b = &wr_emulated_tiles[second];
	wr_emulated_require(c->rows > 0 && c->rows == a->rows && b->rows == a->row_bytes / 4 &&
			    b->row_bytes == c->row_bytes && to != first && to != second &&
			    first != second);
	for (size_t m = 0; m < c->rows; m++) {
		for (size_t n = 0; n < c->row_bytes / 4; n++) {
			int32_t sum;
			memcpy(&sum, &c->at[m][4 * n], sizeof(sum));
			for (size_t k = 0; k < a->row_bytes; k++)
				sum += a->at[m][k] * b->at[k / 4][4 * n + k % 4];
			memcpy(&c->at[m][4 * n], &sum, sizeof(sum));
		}
	}
}

/* gcc's are macros, whatever the CPU. */
#undef _tile_loadconfig
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbssd
#define _tile_loadconfig(shapes)        wr_emulated_config(shapes)
#define _tile_zero(t)                   wr_emulated_zero(t)
#define _tile_loadd(t, base, stride)    wr_emulated_load(t, base, stride)
#define _tile_stored(t, base, stride)   wr_emulated_store(t, base, stride)
#define _tile_dpbssd(to, first, second) wr_emulated_dpbssd(to, first, second)

#endif
