/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Products by AMX tiles, for the sources of that level: up to 16 rows × 4 blocks of 16 outputs at a
 * time, signed by signed, hence no shift and no column sums. A block of packed weights
 * (gemm_s8.h), 64 channels of it, is a tile as tdpbssd wants it: groups of four channels × 16
 * outputs.
 *
 * A thread's tiles stay shaped between calls, for shaping takes 100 ns (under a hypervisor), as
 * much as a product. Whoever else shapes tiles in such a thread says so with wr_amx_forget().
 */
#ifndef WR_AMX_H
#define WR_AMX_H

#include "amx_state.h"
#include "gemm_s8.h"
#include "simd512.h"

#define AMX_ROWS     16
#define AMX_CHANNELS 64 /* a step of a sum; k is a multiple of it */
#define AMX_BLOCKS   4
#define AMX_SUMS     (AMX_ROWS * AMX_BLOCKS * 16)

/* What ldtilecfg reads (Intel SDM 1, 18.2, palette 1). */
struct amx_shapes {
	uint8_t palette, start_row, reserved[14];
	uint16_t row_bytes[16];
	uint8_t rows[16];
};

/* The compiler knows of no memory that a tile instruction reads or writes. */
SIMD_INLINE void amx_memory(void)
{
	__asm__ volatile("" ::: "memory");
}

/* Tile 0 holds n ≤ 16 rows, 1 … 3 blocks of weights, 4 … 7 the rows' sums. */
SIMD_INLINE void amx_rows(size_t n)
{
	if (wr_amx_rows == n)
		return;
	struct amx_shapes s = {.palette = 1};
	for (int t = 0; t < 8; t++) {
		s.row_bytes[t] = 64;
		s.rows[t] = (uint8_t)(t >= 1 && t <= 3 ? 16 : n);
	}
	amx_memory();
	_tile_loadconfig(&s);
	wr_amx_rows = (unsigned int)n;
}

/*
 * Sums of the rows a + i·lda (as many as amx_rows was told) times the first n_blocks ≤ 4 blocks of
 * w, n_blocks a constant after inlining: row i's block j at sums + i·64 + j·16.
 */
SIMD_INLINE void amx_sums(size_t n_blocks, const struct wr_gemm_weights *w, const int8_t *a,
	size_t lda, int32_t *sums)
{
	enum { LINE = 64 };
	const size_t block = 16 * (size_t)w->k;
	const int8_t *p = w->packed;
	amx_memory();
	_tile_zero(4);
	_tile_zero(5);
	_tile_zero(6);
	_tile_zero(7);
	for (size_t c = 0; c < w->k; c += AMX_CHANNELS, p += 16 * AMX_CHANNELS) {
		_tile_loadd(0, a + c, lda);
		_tile_loadd(1, p, LINE);
		_tile_dpbssd(4, 0, 1);
		if (n_blocks > 1) {
			_tile_loadd(2, p + block, LINE);
			_tile_dpbssd(5, 0, 2);
		}
		if (n_blocks > 2) {
			_tile_loadd(3, p + 2 * block, LINE);
			_tile_dpbssd(6, 0, 3);
		}
		if (n_blocks > 3) {
			_tile_loadd(1, p + 3 * block, LINE);
			_tile_dpbssd(7, 0, 1);
		}
	}
	_tile_stored(4, sums, AMX_BLOCKS * LINE);
	if (n_blocks > 1)
		_tile_stored(5, sums + 16, AMX_BLOCKS * LINE);
	if (n_blocks > 2)
		_tile_stored(6, sums + 32, AMX_BLOCKS * LINE);
	if (n_blocks > 3)
		_tile_stored(7, sums + 48, AMX_BLOCKS * LINE);
	amx_memory();
}

/*
 * Tiles `one` and `two` (numbers, hence a macro): sums of the rows a + i·lda over k channels times
 * the blocks at p and at next. The rows go through tile 0 if load says so, else they are there.
 */
#define amx_pair(one, two, load, a, lda, k, p, next)                         \
	do {                                                                 \
		_tile_zero(one);                                             \
		_tile_zero(two);                                             \
		for (size_t amx_c = 0; amx_c < (k); amx_c += AMX_CHANNELS) { \
			if (load)                                            \
				_tile_loadd(0, (a) + amx_c, lda);            \
			_tile_loadd(1, (p) + 16 * amx_c, 64);                \
			_tile_loadd(2, (next) + 16 * amx_c, 64);             \
			_tile_dpbssd(one, 0, 1);                             \
			_tile_dpbssd(two, 0, 2);                             \
		}                                                            \
	} while (0)

#endif
