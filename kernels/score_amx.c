/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * score.h by AMX: 5 … 16 users × 32 items at a time, the sums by way of the stack; fewer users, and
 * widths that fill no tile, by AVX-512 VNNI.
 *
 * What a tile stores can be loaded only when the stores have left the core, and the vector work
 * of a step is more than a core looks ahead. Hence three steps are under way: the products of the
 * next one run and the sums of the one between lie in memory while the best of the last one are
 * chosen.
 */
#include "score.h"

#include "amx.h"
#include "score512.h"

#include <string.h>

#define FEWEST 5 /* users that are quicker here */
#define ITEMS  32
#define STEPS  (WR_SCORE_TILE / ITEMS) /* a tile */

/* Each user both ways: shifted, as AVX-512 VNNI reads it, and as it is, k bytes on. */
void wr_score_users_amx(size_t m, size_t k, const int8_t *q, size_t ldq, void *users)
{
	wr_score_users_avx512vnni(m, k, q, ldq, users);
	for (size_t i = 0; i < m; i++)
		memcpy((uint8_t *)users + i * WR_SCORE_USER_BYTES(k) + k, q + i * ldq, k);
}

struct run {
	const struct wr_score *s;
	size_t n;        /* users, as many as amx_rows was told; the first of them: */
	const int8_t *q; /* 2k bytes apart */
	const uint64_t *allowed;
	float *best;
	struct wr_prefetch *ahead;
	/* Of two steps, one of each half: 4 KB, so that no store meets a load modulo that. */
	int32_t sums[STEPS][AMX_ROWS][ITEMS] __attribute__((aligned(64)));
};

/* Products of step x, half h of a tile, into tiles 4 and 5, or 6 and 7. only: the whole sum is one
 * tile wide, and the users are in tile 0. */
SIMD_INLINE void multiply(const struct run *r, size_t x, int h, bool only)
{
	const struct wr_gemm_weights *w = r->s->items;
	const size_t block = 16 * (size_t)w->k, k = only ? AMX_CHANNELS : w->k;
	const int8_t *p = w->packed + 2 * x * block;
	/* Where there is no second block, the first one again: none of its items is allowed. */
	const size_t second = (2 * x + 2) * 16 <= w->n ? block : 0;
	amx_memory();
	if (h)
		amx_pair(6, 7, !only, r->q, 2 * (size_t)w->k, k, p, p + second);
	else
		amx_pair(4, 5, !only, r->q, 2 * (size_t)w->k, k, p, p + second);
	amx_memory();
}

SIMD_INLINE void store(struct run *r, int h)
{
	int32_t *to = r->sums[h][0];
	amx_memory();
	if (h) {
		_tile_stored(6, to, ITEMS * sizeof(*to));
		_tile_stored(7, to + 16, ITEMS * sizeof(*to));
	} else {
		_tile_stored(4, to, ITEMS * sizeof(*to));
		_tile_stored(5, to + 16, ITEMS * sizeof(*to));
	}
	amx_memory();
}

/* The sums of half h of a tile into its vector; more: into what stands there. Everything that the
 * loop needs is its own: gcc would read it again behind every store. ahead: asked for line by line,
 * for a core that is asked for 16 at once has no way left to L2 meanwhile. */
SIMD_INLINE void choose(const struct run *r, size_t tile, int h, size_t vector, bool more,
	struct wr_prefetch_lines ahead)
{
	const size_t n = r->n, lda = r->s->ld_allowed, ldb = r->s->ld_best;
	const size_t item = tile * WR_SCORE_TILE + h * ITEMS;
	const float *scale = r->s->items->scale + item;
	const __m512 first = _mm512_loadu_ps(scale),
		     second = _mm512_loadu_ps(scale + (item + 32 <= r->s->items->n ? 16 : 0));
	const uint64_t *allowed = r->allowed + tile;
	float *best = r->best + vector * WR_SCORE_LANES;
	const int32_t *sum = r->sums[h][0];
#pragma GCC unroll 4
	for (size_t i = 0; i < n; i++, sum += ITEMS, allowed += lda, best += ldb) {
		if (i < ahead.n)
			wr_prefetch_line(&ahead, (unsigned int)i);
		__mmask32 bits;
		memcpy(&bits, (const uint32_t *)(const void *)allowed + h, sizeof(bits));
		__m512i s = _mm512_load_si512(sum);
		__m512 b = more ? best16(_mm512_loadu_ps(best), s, first, bits)
				: first16(s, first, bits);
		b = best16(b, _mm512_load_si512(sum + 16), second, _kshiftri_mask32(bits, 16));
		_mm512_storeu_ps(best, b);
	}
	wr_prefetch_all(&ahead, (unsigned int)n);
}

/* This half's share of WR_SCORE_STEPS. */
SIMD_INLINE struct wr_prefetch_lines look_ahead(const struct run *r, int h)
{
	return wr_prefetch_steps(r->ahead, (unsigned int)(h ? r->n + 3 : r->n + 7) / 8);
}

/* In step x: products of x + 1, the best of x - 1, sums of x + 1 to where those were. */
SIMD_INLINE void all_steps(struct run *r, bool only)
{
	const size_t steps = (r->s->items->n + ITEMS - 1) / ITEMS, per = r->s->tiles_per_vector;
	size_t tile = 0, vector = 0, before = 0, taken = 0;
	if (only)
		_tile_loadd(0, r->q, 2 * AMX_CHANNELS);
	multiply(r, 0, 0, only);
	store(r, 0);
	for (size_t x = 0; x < steps; x += STEPS, tile++) {
		if (x + 1 < steps)
			multiply(r, x + 1, 1, only);
		struct wr_prefetch_lines ahead = look_ahead(r, 1);
		if (x > 0)
			choose(r, tile - 1, 1, before, true, ahead);
		else
			wr_prefetch_all(&ahead, 0);
		if (x + 1 < steps)
			store(r, 1);
		if (x + 2 < steps)
			multiply(r, x + 2, 0, only);
		ahead = look_ahead(r, 0);
		if (taken)
			choose(r, tile, 0, vector, true, ahead);
		else
			choose(r, tile, 0, vector, false, ahead);
		if (x + 2 < steps)
			store(r, 0);
		before = vector;
		if (++taken == per) {
			taken = 0;
			vector++;
		}
	}
	if (steps % STEPS == 0)
		choose(r, tile - 1, 1, before, true, (struct wr_prefetch_lines){0});
}

static void sweep(const struct wr_score *s, size_t first, size_t n, struct wr_prefetch *ahead)
{
	const size_t k = s->items->k;
	struct run r;
	r.s = s;
	r.n = n;
	r.q = (const int8_t *)s->users + first * WR_SCORE_USER_BYTES(k) + k;
	r.allowed = s->allowed + first * s->ld_allowed;
	r.best = s->best + first * s->ld_best;
	r.ahead = ahead;
	amx_rows(n);
	if (k == AMX_CHANNELS)
		all_steps(&r, true);
	else
		all_steps(&r, false);
}

void wr_score_best_amx(const struct wr_score *s, struct wr_prefetch *ahead)
{
	const size_t k = s->items->k;
	size_t first = 0, n;
	for (; k % AMX_CHANNELS == 0 && s->m - first >= FEWEST; first += n) {
		n = s->m - first < AMX_ROWS ? s->m - first : AMX_ROWS;
		sweep(s, first, n, ahead);
	}
	if (first == s->m)
		return;
	struct wr_score rest = *s;
	rest.m = s->m - first;
	rest.users = (const uint8_t *)s->users + first * WR_SCORE_USER_BYTES(k);
	rest.allowed += first * s->ld_allowed;
	rest.best += first * s->ld_best;
	wr_score_best_avx512vnni(&rest, ahead);
}
