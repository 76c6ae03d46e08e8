/* SPDX-License-Identifier: BSD-3-Clause */
/* score.h by AMX: 6 … 16 users × 64 items at a time, the sums by way of the stack; fewer users, and
 * widths that fill no tile, by AVX-512 VNNI. */
#include "score.h"

#include "amx.h"
#include "score512.h"

#include <string.h>

#define FEWEST 6 /* users that are quicker here */

/* Each user both ways: shifted, as AVX-512 VNNI reads it, and as it is, k bytes on. */
void wr_score_users_amx(size_t m, size_t k, const int8_t *q, size_t ldq, void *users)
{
	wr_score_users_avx512vnni(m, k, q, ldq, users);
	for (size_t i = 0; i < m; i++)
		memcpy((uint8_t *)users + i * WR_SCORE_USER_BYTES(k) + k, q + i * ldq, k);
}

/* As many users as amx_rows was told. */
SIMD_INLINE void few(size_t n_blocks, const struct wr_gemm_weights *tile, size_t n,
	const int8_t *users, const uint64_t *allowed, size_t ld_allowed, float *best,
	size_t ld_best, bool more, struct wr_prefetch *ahead)
{
	int32_t sums[AMX_SUMS] __attribute__((aligned(64)));
	amx_sums(n_blocks, tile, users + tile->k, WR_SCORE_USER_BYTES(tile->k), sums);
	for (size_t i = 0; i < n; i++) {
		const int32_t *s = sums + i * 16 * AMX_BLOCKS;
		struct row r = {.b0 = _mm512_load_si512(s)};
		r.b1 = n_blocks > 1 ? _mm512_load_si512(s + 16) : r.b0;
		r.b2 = n_blocks > 2 ? _mm512_load_si512(s + 32) : r.b0;
		r.b3 = n_blocks > 3 ? _mm512_load_si512(s + 48) : r.b0;
		row_best(n_blocks, &r, tile->scale, allowed[i * ld_allowed], best + i * ld_best,
			more);
		if (i % 4 == 0)
			wr_prefetch_step(ahead);
	}
}

static void by_tiles(const struct wr_gemm_weights *tile, size_t n, const int8_t *users,
	const uint64_t *allowed, size_t ld_allowed, float *best, size_t ld_best, bool more,
	struct wr_prefetch *ahead)
{
	amx_rows(n);
	switch (tile->n / WR_GEMM_BLOCK) {
	case 4:
		if (more)
			few(4, tile, n, users, allowed, ld_allowed, best, ld_best, true, ahead);
		else
			few(4, tile, n, users, allowed, ld_allowed, best, ld_best, false, ahead);
		break;
	case 3:
		few(3, tile, n, users, allowed, ld_allowed, best, ld_best, more, ahead);
		break;
	case 2:
		few(2, tile, n, users, allowed, ld_allowed, best, ld_best, more, ahead);
		break;
	default:
		few(1, tile, n, users, allowed, ld_allowed, best, ld_best, more, ahead);
	}
}

void wr_score_best_amx(const struct wr_gemm_weights *tile, size_t m, const void *users,
	const uint64_t *allowed, size_t ld_allowed, float *best, size_t ld_best, bool more,
	struct wr_prefetch *ahead)
{
	const int8_t *u = users;
	size_t bytes = WR_SCORE_USER_BYTES(tile->k), i = 0, n;
	for (; tile->k % AMX_CHANNELS == 0 && m - i >= FEWEST; i += n) {
		n = m - i < AMX_ROWS ? m - i : AMX_ROWS;
		by_tiles(tile, n, u + i * bytes, allowed + i * ld_allowed, ld_allowed,
			best + i * ld_best, ld_best, more, ahead);
	}
	if (i < m)
		wr_score_best_avx512vnni(tile, m - i, u + i * bytes, allowed + i * ld_allowed,
			ld_allowed, best + i * ld_best, ld_best, more, ahead);
}
