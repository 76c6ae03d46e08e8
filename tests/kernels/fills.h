/* SPDX-License-Identifier: BSD-3-Clause */
/* Adversarial contents for kernel tests: bytes and floats by pattern number. */
#ifndef WR_FILLS_H
#define WR_FILLS_H

#include "wr_base.h"

enum { N_BYTE_FILLS = 6, N_FLOAT_FILLS = 8 };

/* Bytes in [-127, 127]: uniform, all smallest, all largest, extremes mixed, zeros, alternating
 * extremes. */
static inline int8_t wr_fill_byte(unsigned int fill, size_t i, struct wr_rng *r)
{
	switch (fill) {
	case 0:
		return (int8_t)((int)wr_rng_below(r, 255) - 127);
	case 1:
		return -127;
	case 2:
		return 127;
	case 3:
		return wr_rng_below(r, 2) ? 127 : -127;
	case 4:
		return 0;
	default:
		return i % 2 ? 127 : -127;
	}
}

static inline void wr_fill_bytes(int8_t *p, size_t n, unsigned int fill, struct wr_rng *r)
{
	for (size_t i = 0; i < n; i++)
		p[i] = wr_fill_byte(fill, i, r);
}

/* Floats: normal, all equal, zeros, below the quantiser's floor, one spike, negative, wide range,
 * exact halves. */
static inline float wr_fill_float(unsigned int fill, size_t i, struct wr_rng *r)
{
	switch (fill) {
	case 0:
		return (float)wr_rng_normal(r);
	case 1:
		return 0.37f;
	case 2:
		return 0;
	case 3:
		return (float)wr_rng_normal(r) * 1e-32f;
	case 4:
		return i % 37 == 5 ? 1e6f : (float)wr_rng_normal(r);
	case 5:
		return -(float)wr_rng_double(r);
	case 6:
		return (float)wr_rng_normal(r) * __builtin_ldexpf(1, (int)wr_rng_below(r, 60) - 30);
	default:
		/* With a row's largest of 127 every product is k + 0.5: ties of the rounding. */
		return i % 16 == 0 ? 127.0f : (float)((int)wr_rng_below(r, 253) - 126) + 0.5f;
	}
}

static inline void wr_fill_floats(float *p, size_t n, unsigned int fill, struct wr_rng *r)
{
	for (size_t i = 0; i < n; i++)
		p[i] = wr_fill_float(fill, i, r);
}

#endif
