/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The machine's own limits, measured on one core by code that shares nothing with ours: exact int8
 * multiply-adds from registers, bytes of random blocks, random lines. A share in
 * docs/performance.md is a time at these limits over a measured one.
 */
#ifndef WR_LIMITS_H
#define WR_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIMITS_MAX_RUNS 15

/* A figure: the median of n runs and their extremes. how names the sequence or variant that was
 * best. */
struct limit {
	double median, least, most;
	const char *how;
};

/* CPU time of this thread: what else runs on the core does not count. */
uint64_t limits_cpu_ns(void);
/* Sorts v[0 … n-1], n ≥ 1. */
struct limit limits_summary(double *v, unsigned int n, const char *how);

/* Billions of exact s8 × s8 multiply-adds a second, the best sequence of this CPU's vector
 * instructions, operands in registers. */
struct limit limits_int8(unsigned int runs, bool avx2_only);
/* The same by AMX tiles; 0, "none" where the CPU has none or the kernel does not let us. */
struct limit limits_tiles(unsigned int runs);
/* Memory of bytes bytes is the caller's, filled. GB/s (1e9) of random blocks of 6 … 13 KB, every
 * byte read. */
struct limit limits_blocks(const uint8_t *memory, size_t bytes, unsigned int runs);
/* ns per independent random 64-byte line among n_lines. */
struct limit limits_lines(const uint8_t *memory, size_t n_lines, unsigned int runs);

#endif
