/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory limits of one core: random blocks of a session row's size, and independent random lines.
 * Addresses come from a generator in registers, so that nothing but the memory under test is read;
 * each figure is the best of a plain loop and of prefetching ahead.
 */
#include "limits.h"

#include <immintrin.h>

#define BLOCK_MIN 6144
#define BLOCK_MAX 13312
#define MAX_BATCH 64

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static uint64_t below(uint64_t random, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)random * n) >> 64);
}

struct block {
	const uint8_t *at;
	size_t bytes;
};

static struct block draw_block(uint64_t *s, const uint8_t *memory, size_t bytes)
{
	uint64_t r = next_random(s);
	size_t size = BLOCK_MIN + (r & 127) * 64 % (BLOCK_MAX - BLOCK_MIN);
	return (struct block){memory + below(next_random(s), (bytes - BLOCK_MAX) / 64) * 64, size};
}

/* Reads the block; with ahead lines > 0 prefetches the same stretch of the next one as it goes. */
__attribute__((target("avx2"))) static void read_block(struct block b, struct block next, int ahead)
{
	__m256i sum = _mm256_setzero_si256();
	for (size_t i = 0; i < b.bytes; i += 64) {
		if (ahead && i < next.bytes)
			_mm_prefetch((const char *)next.at + i, _MM_HINT_T0);
		sum = _mm256_add_epi64(sum, _mm256_load_si256((const __m256i *)(b.at + i)));
		sum = _mm256_add_epi64(sum, _mm256_load_si256((const __m256i *)(b.at + i + 32)));
	}
	__asm__ volatile("" : : "x"(sum));
}

static struct limit blocks(
	const uint8_t *memory, size_t bytes, unsigned int runs, int ahead, const char *how)
{
	double v[LIMITS_MAX_RUNS];
	uint64_t s = 0x9e3779b97f4a7c15u;
	for (unsigned int r = 0; r < runs; r++) {
		struct block b = draw_block(&s, memory, bytes);
		uint64_t done = 0, start = limits_cpu_ns(), now;
		do {
			for (int i = 0; i < 256; i++) {
				struct block next = draw_block(&s, memory, bytes);
				read_block(b, next, ahead);
				done += b.bytes;
				b = next;
			}
			now = limits_cpu_ns();
		} while (now - start < 200000000);
		v[r] = (double)done / (double)(now - start);
	}
	return limits_summary(v, runs, how);
}

struct limit limits_blocks(const uint8_t *memory, size_t bytes, unsigned int runs)
{
	struct limit plain = blocks(memory, bytes, runs, 0, "plain loads");
	struct limit ahead = blocks(memory, bytes, runs, 1, "next block prefetched");
	return ahead.median > plain.median ? ahead : plain;
}

static struct limit lines(const uint8_t *memory, size_t n_lines, unsigned int runs,
	unsigned int batch, const char *how)
{
	double v[LIMITS_MAX_RUNS];
	uint64_t s = 0xd1b54a32d192ed03u, sum = 0;
	const uint8_t *at[MAX_BATCH];
	for (unsigned int r = 0; r < runs; r++) {
		uint64_t done = 0, start = limits_cpu_ns(), now;
		do {
			for (int i = 0; i < 256; i++) {
				for (unsigned int k = 0; k < batch; k++) {
					at[k] = memory + below(next_random(&s), n_lines) * 64;
					_mm_prefetch((const char *)at[k], _MM_HINT_T0);
				}
				for (unsigned int k = 0; k < batch; k++)
					sum += *(const uint64_t *)at[k];
				done += batch;
			}
			now = limits_cpu_ns();
		} while (now - start < 200000000);
		v[r] = (double)(now - start) / (double)done;
	}
	__asm__ volatile("" : : "r"(sum));
	return limits_summary(v, runs, how);
}

struct limit limits_lines(const uint8_t *memory, size_t n_lines, unsigned int runs)
{
	static const struct {
		unsigned int batch;
		const char *how;
	} variants[] = {
		{8, "prefetch 8"}, {16, "prefetch 16"}, {32, "prefetch 32"}, {64, "prefetch 64"}};
	struct limit best = {0, 0, 0, "none"};
	for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
		struct limit l = lines(memory, n_lines, runs, variants[i].batch, variants[i].how);
		if (i == 0 || l.median < best.median)
			best = l;
	}
	return best;
}
