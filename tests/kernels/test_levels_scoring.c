/* SPDX-License-Identifier: BSD-3-Clause */
/* Scoring and choice of test_levels: thresholds, groups, bounds, order. */
#include "level_test.h"

#include <math.h>

/* ---- thresholds ---- */

/* Every number up to 300, then some beyond what a kernel takes at once. */
void test_topk_above(void)
{
	for (unsigned int n = 0; n <= 4400; n += n < 300 ? 1 : 341) {
		for (unsigned int fill = 0; fill < N_FLOAT_FILLS; fill++) {
			struct wr_guarded s = floats(n, fill), index[2];
			float *v = s.p, t = n ? v[n / 2] : 0;
			if (n > 3 && fill == 0)
				v[3] = NAN;
			if (fill == 1)
				t = n % 2 ? -INFINITY : INFINITY;
			size_t found[2];
			for (int i = 0; i < 2; i++) {
				index[i] = wr_guarded_new((n + 16) * sizeof(uint16_t));
				found[i] = (i ? level : ref)->topk_above(v, n, t, index[i].p);
			}
			CU_ASSERT_EQUAL(found[0], found[1]);
			CU_ASSERT(memcmp(index[0].p, index[1].p, found[0] * sizeof(uint16_t)) == 0);
			CU_ASSERT(wr_guarded_intact(&index[0]) && wr_guarded_intact(&index[1]));
			wr_guarded_free(&s);
			wr_guarded_free(&index[0]);
			wr_guarded_free(&index[1]);
		}
	}
}

static int by_row(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* Groups of bitmaps with few and with many bits; the last vector's tiles are not all there. */
void test_topk_items(void)
{
	for (unsigned int i = 0; i < 3000; i++) {
		struct wr_topk_groups g = {
			.words = pick(1, 70), .tiles_per_vector = i % 2 ? 1 : pick(1, 5)};
		size_t vectors = (g.words + g.tiles_per_vector - 1) / g.tiles_per_vector, n = 0;
		struct wr_guarded allowed = wr_guarded_new(g.words * sizeof(uint64_t)), row[2];
		struct wr_guarded group = wr_guarded_new(vectors * 16 * sizeof(uint16_t));
		uint64_t *bits = allowed.p;
		for (size_t w = 0; w < g.words; w++) {
			bits[w] = (uint64_t)wr_rng_below(&rng, UINT32_MAX) << 32 |
				  wr_rng_below(&rng, UINT32_MAX);
			if (i % 3 == 0)
				bits[w] |= bits[w] << 7 | bits[w] >> 3;
		}
		g.allowed = bits;
		for (uint16_t at = (uint16_t)pick(0, 20); at < vectors * 16;
			at = (uint16_t)(at + pick(1, i % 5 ? 40 : 1)))
			((uint16_t *)group.p)[n++] = at;
		for (size_t t = 0; t < g.tiles_per_vector; t++) {
			size_t found[2];
			for (int l = 0; l < 2; l++) {
				row[l] = wr_guarded_new(4 * n * sizeof(uint32_t));
				found[l] =
					(l ? level : ref)->topk_items(&g, t, group.p, n, row[l].p);
				qsort(row[l].p, found[l], sizeof(uint32_t), by_row);
			}
			CU_ASSERT_EQUAL(found[0], found[1]);
			CU_ASSERT(memcmp(row[0].p, row[1].p, found[0] * sizeof(uint32_t)) == 0);
			CU_ASSERT(wr_guarded_intact(&row[0]) && wr_guarded_intact(&row[1]));
			wr_guarded_free(&row[0]);
			wr_guarded_free(&row[1]);
		}
		wr_guarded_free(&allowed);
		wr_guarded_free(&group);
	}
}

/* Few distinct scores, so that rows decide often; zeros of both signs; what lies behind the
 * candidates would come first. */
void test_topk_order(void)
{
	for (unsigned int i = 0; i < 3000; i++) {
		size_t n = pick(0, WR_TOPK_ORDER_MAX), room = WR_ALIGN_UP(n, (size_t)16);
		struct wr_guarded score = wr_guarded_new(room * sizeof(float)), place[2];
		struct wr_guarded row = wr_guarded_new(room * sizeof(uint32_t));
		float *s = score.p;
		uint32_t *r = row.p, at = pick(0, 9);
		for (size_t j = 0; j < room; j++) {
			s[j] = (float)wr_rng_below(&rng, i % 3 ? 5 : 1000) - 2;
			s[j] = s[j] == 0 && pick(0, 1) ? -0.0f : s[j];
			r[j] = at += pick(1, 100);
			if (j >= n) {
				s[j] = INFINITY;
				r[j] = 0;
			}
		}
		for (size_t j = n; j-- > 1;) {
			size_t k = wr_rng_below(&rng, (uint32_t)j + 1);
			uint32_t t = r[j];
			r[j] = r[k];
			r[k] = t;
		}
		for (int l = 0; l < 2; l++) {
			place[l] = wr_guarded_new(n);
			(l ? level : ref)->topk_order(s, r, n, place[l].p);
		}
		CU_ASSERT(same(&place[0], &place[1]));
		struct wr_guarded *all[] = {&score, &row, &place[0], &place[1]};
		for (size_t j = 0; j < WR_ARRAY_LEN(all); j++)
			wr_guarded_free(all[j]);
	}
}

/* ---- scoring by groups ---- */

/* Bitmaps of m users, lda words apart: of n items, and none beyond. */
static struct wr_guarded bitmaps(size_t m, size_t lda, size_t n)
{
	size_t words = (n + 63) / 64;
	struct wr_guarded all = wr_guarded_new((m ? (m - 1) * lda + words : 0) * sizeof(uint64_t));
	for (size_t i = 0; i < all.bytes / sizeof(uint64_t); i++) {
		uint64_t bits = (uint64_t)wr_rng_below(&rng, UINT32_MAX) << 32 |
				wr_rng_below(&rng, UINT32_MAX);
		bits = i % 5 == 1 ? 0 : i % 5 == 2 ? UINT64_MAX : bits;
		bool last = i % lda == words - 1;
		((uint64_t *)all.p)[i] =
			last && n % 64 ? bits & (((uint64_t)1 << n % 64) - 1) : bits;
	}
	return all;
}

static bool score_best_case(size_t m, size_t n, size_t k, unsigned int fill, size_t per_vector)
{
	size_t tiles = (n + 63) / 64, vectors = (tiles + per_vector - 1) / per_vector;
	size_t ldq = k + pick(0, 5), ldb = vectors * WR_SCORE_LANES + pick(0, 5),
	       lda = tiles + pick(0, 2);
	struct weights w = weights_new(n, k, fill % N_BYTE_FILLS);
	struct wr_guarded q = bytes(m ? (m - 1) * ldq + k : 0, fill / N_BYTE_FILLS);
	struct wr_guarded allowed = bitmaps(m, lda, n);
	struct wr_guarded best[2];
	best[0] = floats(m ? (m - 1) * ldb + vectors * WR_SCORE_LANES : 0, 0);
	best[1] = wr_guarded_new(best[0].bytes);
	memcpy(best[1].p, best[0].p, best[0].bytes);
	struct wr_guarded users = wr_guarded_new(m * WR_SCORE_USER_BYTES(k));
	static uint8_t lines[256 * WR_CACHE_LINE];
	void *near = lines;
	bool ok = true;
	for (int i = 0; i < 2; i++) {
		const struct wr_kernels *x = i ? level : ref;
		/* A line a step. */
		struct wr_prefetch ahead = {
			.block = &near, .n = 1, .bytes = sizeof(lines), .pace = 1 << 16};
		struct wr_score s = {.items = &w.w,
			.m = m,
			.users = users.p,
			.allowed = allowed.p,
			.ld_allowed = lda,
			.tiles_per_vector = per_vector,
			.best = best[i].p,
			.ld_best = ldb};
		x->score_users(m, k, q.p, ldq, users.p);
		x->score_best(&s, &ahead);
		ok = ok && ahead.at == tiles * WR_SCORE_STEPS(m) * WR_CACHE_LINE;
		ok = ok && wr_guarded_intact(&users);
	}
	ok = ok && wr_guarded_intact(&best[0]) && wr_guarded_intact(&best[1]);
	const float *a = best[0].p, *b = best[1].p;
	for (size_t i = 0; i < best[0].bytes / sizeof(float); i++)
		ok = ok && a[i] == b[i]; /* a zero's sign is free */
	weights_free(&w);
	struct wr_guarded *all[] = {&q, &users, &allowed, &best[0], &best[1]};
	for (size_t i = 0; i < WR_ARRAY_LEN(all); i++)
		wr_guarded_free(all[i]);
	return ok;
}

void test_score_best(void)
{
	for (size_t m = 0; m <= 35; m++)
		for (size_t n = 16; n <= 3 * WR_SCORE_TILE; n += 16)
			for (size_t k = 16; k <= 80; k += 16)
				CU_ASSERT(score_best_case(m, n, k, 0, 1 + (m + k / 16) % 3));
	for (unsigned int fill = 0; fill < N_BYTE_FILLS * N_BYTE_FILLS; fill++)
		for (size_t k = 16; k <= WR_GEMM_MAX_K; k *= 4)
			CU_ASSERT(score_best_case(
				pick(1, 20), 16 * pick(1, 16), k, fill, pick(1, 4)));
}

/* The bound is one of the values, at least k of them reach it, and not many more than k do. */
void test_score_bound(void)
{
	double reached = 0, asked = 0;
	for (unsigned int i = 0; i < 2000; i++) {
		size_t n = pick(1, 64), k = pick(1, 64), at_least = 0, real = 0, is_one = 0;
		struct wr_guarded s = floats(n * WR_SCORE_LANES, i % N_FLOAT_FILLS);
		float *v = s.p;
		unsigned int none = pick(0, 3) ? 0 : pick(0, 100);
		for (size_t j = 0; j < n * WR_SCORE_LANES; j++)
			if (wr_rng_below(&rng, 100) < none)
				v[j] = -INFINITY;
		float bound = (i % 2 ? level : ref)->score_bound(v, n, k);
		for (size_t j = 0; j < n * WR_SCORE_LANES; j++) {
			at_least += v[j] >= bound;
			real += v[j] > -INFINITY;
			is_one += v[j] == bound;
		}
		CU_ASSERT(bound == -INFINITY || (at_least >= k && is_one));
		CU_ASSERT(
			bound > -INFINITY || real < n * WR_SCORE_LANES || n < k / 6 + 2 || k > 16);
		if (i % N_FLOAT_FILLS == 0 && n > 40 && !none) {
			reached += (double)at_least;
			asked += (double)k;
		}
		wr_guarded_free(&s);
	}
	CU_ASSERT(reached < 1.6 * asked);
}

/* Every k from 1 to 16 of permuted whole numbers, where the answer is known: the fold of two
 * vectors is exact. */
void test_score_bound_exact(void)
{
	float v[32];
	for (unsigned int round = 0; round < 500; round++) {
		for (unsigned int i = 0; i < 32; i++)
			v[i] = (float)i;
		for (unsigned int i = 31; i > 0; i--) {
			unsigned int j = wr_rng_below(&rng, i + 1);
			float t = v[i];
			v[i] = v[j];
			v[j] = t;
		}
		for (size_t k = 1; k <= 16; k++)
			CU_ASSERT_EQUAL(level->score_bound(v, 2, k), (float)(32 - k));
	}
}

void test_score_rows(void)
{
	enum { ITEMS = 40 };
	for (size_t k = 16; k <= 272; k += 16) {
		for (unsigned int f = 0; f < N_BYTE_FILLS * N_BYTE_FILLS; f++) {
			size_t n = pick(0, 19);
			struct wr_guarded q = bytes(k, f % N_BYTE_FILLS),
					  items = bytes(ITEMS * k, f / N_BYTE_FILLS),
					  scale = floats(ITEMS, f % N_FLOAT_FILLS);
			struct wr_guarded rows = wr_guarded_new(n * sizeof(uint32_t)), v[2];
			for (size_t i = 0; i < n; i++)
				((uint32_t *)rows.p)[i] = i ? wr_rng_below(&rng, ITEMS) : ITEMS - 1;
			for (int i = 0; i < 2; i++) {
				v[i] = wr_guarded_new(n * sizeof(float));
				(i ? level : ref)
					->score_rows(q.p, items.p, scale.p, k, rows.p, n, v[i].p);
			}
			CU_ASSERT(same(&v[0], &v[1]));
			struct wr_guarded *all[] = {&q, &items, &scale, &rows, &v[0], &v[1]};
			for (size_t i = 0; i < WR_ARRAY_LEN(all); i++)
				wr_guarded_free(all[i]);
		}
	}
}
