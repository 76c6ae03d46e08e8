/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * attention.h's attend_rows on AVX-512 VNNI, for two heads of 32 channels: a row of keys or values
 * is one cache line. A key's line meets both heads' query in one product and its sums are added
 * across, 16 keys in a tree; values of four rows change places in registers on their way into the
 * sums. Ages are lanes, the newest the last one, so that a first block may begin with places of
 * nobody. Eight queries go through each step together.
 */
#include "attention.h"
#include "quantise.h"
#include "simd512.h"

#include <math.h>

#define QUERIES 8
#define HEADS   2
#define WIDTH   64 /* of a row's keys, and values */

struct query {
	const struct wr_attend_rows *a;
	size_t blocks, empty; /* places of nobody, at the beginning */
	float largest[HEADS], inv[HEADS], scale[HEADS];
};

struct tile {
	struct query query[QUERIES];
	/* Rows by place as offsets: of scales in bytes, of keys and values in eights of them. */
	uint32_t at[QUERIES][WR_ATTEND_MAX_WINDOW] __attribute__((aligned(64)));
	/* By place: keys' scales, then scores; values' scales, then weights. */
	float e[QUERIES][HEADS][WR_ATTEND_MAX_WINDOW] __attribute__((aligned(64)));
	float v[QUERIES][HEADS][WR_ATTEND_MAX_WINDOW] __attribute__((aligned(64)));
	/* Weights of both heads by turns, four of each. */
	uint8_t p[QUERIES][HEADS * WR_ATTEND_MAX_WINDOW] __attribute__((aligned(64)));
};

SIMD_INLINE __m512i load_row(const int8_t *kv, uint32_t at)
{
	return _mm512_loadu_si512(kv + (size_t)at * 8);
}

/* Products of four keys, shifted to unsigned, with a query, added within 16 bytes: a lane's words
 * are keys. */
SIMD_INLINE __m512i dot_four(const int8_t *kv, const uint32_t *at, __m512i q)
{
	const __m512i sign = _mm512_set1_epi32((int32_t)0x80808080u);
	__m512i d[4];
	for (size_t i = 0; i < 4; i++)
		d[i] = _mm512_dpbusd_epi32(
			_mm512_setzero_si512(), _mm512_xor_si512(load_row(kv, at[i]), sign), q);
	return simd512_sum_words4(d);
}

/* Of 16 keys, by head; the first `skip` of them, whole fours, are nobody's. */
SIMD_INLINE void dot_block(
	const int8_t *kv, const uint32_t *at, size_t skip, __m512i q, __m512i dot[HEADS])
{
	__m512i four[4];
	for (size_t i = 0; i < 4; i++)
		four[i] = i * 4 < skip ? _mm512_setzero_si512() : dot_four(kv, at + i * 4, q);
	for (size_t i = 0; i < 4; i += 2)
		four[i] = _mm512_add_epi32(_mm512_shuffle_i32x4(four[i], four[i + 1], 0x88),
			_mm512_shuffle_i32x4(four[i], four[i + 1], 0xdd));
	dot[0] = _mm512_shuffle_i32x4(four[0], four[2], 0x88);
	dot[1] = _mm512_shuffle_i32x4(four[0], four[2], 0xdd);
}

SIMD_INLINE __m128 load_scale(const float *scale, uint32_t at)
{
	return _mm_loadu_ps((const float *)(const void *)((const char *)scale + at));
}

/* Scales of 16 rows: keys' of both heads, then values'. */
SIMD_INLINE void load_scales(const float *scale, const uint32_t *at, __m512 out[2 * HEADS])
{
	__m512 r[4];
	for (size_t i = 0; i < 4; i++) {
		r[i] = _mm512_castps128_ps512(load_scale(scale, at[i]));
		r[i] = _mm512_insertf32x4(r[i], load_scale(scale, at[i + 4]), 1);
		r[i] = _mm512_insertf32x4(r[i], load_scale(scale, at[i + 8]), 2);
		r[i] = _mm512_insertf32x4(r[i], load_scale(scale, at[i + 12]), 3);
	}
	__m512d k01 = _mm512_castps_pd(_mm512_unpacklo_ps(r[0], r[1])),
		k23 = _mm512_castps_pd(_mm512_unpacklo_ps(r[2], r[3])),
		v01 = _mm512_castps_pd(_mm512_unpackhi_ps(r[0], r[1])),
		v23 = _mm512_castps_pd(_mm512_unpackhi_ps(r[2], r[3]));
	out[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(k01, k23));
	out[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(k01, k23));
	out[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(v01, v23));
	out[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(v01, v23));
}

/* Scales of the keys into e, of the values into v. */
SIMD_INLINE void scales(struct tile *t, size_t i)
{
	const struct query *x = &t->query[i];
	const float *from = x->a->table->scale;
	for (size_t b = 0; b < x->blocks; b++) {
		__m512 scale[2 * HEADS];
		load_scales(from, &t->at[i][b * 16], scale);
		for (size_t h = 0; h < HEADS; h++) {
			_mm512_store_ps(&t->e[i][h][b * 16], scale[h]);
			_mm512_store_ps(&t->v[i][h][b * 16], scale[HEADS + h]);
		}
	}
}

/* Scores of block b over the keys' scales in e, -inf at the first `empty` places, which are
 * nobody's. */
SIMD_INLINE void score_block(struct tile *t, size_t i, size_t b, size_t empty, __m512i q,
	const __m512i off[HEADS], const __m512 c[HEADS], __m512 largest[HEADS])
{
	const struct query *x = &t->query[i];
	const struct wr_attend_rows *a = x->a;
	const __mmask16 seen = (__mmask16)(0xffffu << empty);
	__m512i dot[HEADS];
	dot_block(a->table->kv, &t->at[i][b * 16], empty / 4 * 4, q, dot);
	for (size_t h = 0; h < HEADS; h++) {
		/* Of the newest key: bias[0]. */
		const float *bias = a->bias + h * a->bias_ld - (x->blocks - b) * 16 + 1;
		float *e = &t->e[i][h][b * 16];
		__m512 s = _mm512_mul_ps(
			_mm512_cvtepi32_ps(_mm512_add_epi32(dot[h], off[h])), _mm512_load_ps(e));
		s = _mm512_mul_ps(s, c[h]);
		if (empty)
			s = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), seen,
				_mm512_add_ps(s, _mm512_maskz_loadu_ps(seen, bias)));
		else
			s = _mm512_add_ps(s, _mm512_loadu_ps(bias));
		largest[h] = _mm512_max_ps(s, largest[h]);
		_mm512_store_ps(e, s);
	}
}

/* Scores into e, -inf at places of nobody, the largest of them. */
SIMD_INLINE void score(struct tile *t, size_t i)
{
	struct query *x = &t->query[i];
	const struct wr_attend_rows *a = x->a;
	const __m512i q = simd512_keep(_mm512_loadu_si512(a->q));
	const __m512 lowest = _mm512_set1_ps(-INFINITY);
	const __m512i off[HEADS] = {simd512_shift_off(a->q, WIDTH / HEADS),
		simd512_shift_off(a->q + WIDTH / HEADS, WIDTH / HEADS)};
	const __m512 c[HEADS] = {_mm512_set1_ps(a->q_scale[0] * a->inv_sqrt),
		_mm512_set1_ps(a->q_scale[1] * a->inv_sqrt)};
	__m512 largest[HEADS] = {lowest, lowest};
	score_block(t, i, 0, x->empty, q, off, c, largest);
	for (size_t b = 1; b < x->blocks; b++)
		score_block(t, i, b, 0, q, off, c, largest);
	for (size_t h = 0; h < HEADS; h++)
		x->largest[h] = simd512_largest(largest[h]);
}

/* Exponentials of a block by the values' scales into v, which it gives as well; their sum into z.
 */
SIMD_INLINE __m512 exponentials_block(
	struct tile *t, size_t i, size_t h, size_t b, size_t empty, __m512 m, __m512 *z)
{
	float *v = &t->v[i][h][b * 16];
	const __mmask16 seen = (__mmask16)(0xffffu << empty);
	__m512 e = simd512_exp(_mm512_sub_ps(_mm512_load_ps(&t->e[i][h][b * 16]), m));
	if (empty)
		e = _mm512_maskz_mov_ps(seen, e);
	*z = _mm512_add_ps(*z, e);
	__m512 w = empty ? _mm512_maskz_mul_ps(seen, e, _mm512_load_ps(v))
			 : _mm512_mul_ps(e, _mm512_load_ps(v));
	_mm512_store_ps(v, w);
	return w;
}

/* Exponentials, their sum by age, by the value's scale into v; the weights' scale. */
SIMD_INLINE void exponentials(struct tile *t, size_t i)
{
	struct query *x = &t->query[i];
	__m512 m[HEADS], z[HEADS], aw[HEADS];
	for (size_t h = 0; h < HEADS; h++) {
		m[h] = _mm512_set1_ps(x->largest[h]);
		aw[h] = z[h] = _mm512_setzero_ps();
	}
	for (size_t b = x->blocks; b-- > 1;)
		for (size_t h = 0; h < HEADS; h++)
			aw[h] = _mm512_max_ps(
				exponentials_block(t, i, h, b, 0, m[h], &z[h]), aw[h]);
	for (size_t h = 0; h < HEADS; h++) {
		aw[h] = _mm512_max_ps(exponentials_block(t, i, h, 0, x->empty, m[h], &z[h]), aw[h]);
		float w = simd512_largest(aw[h]);
		x->inv[h] = w < WR_QUANTISE_TINY ? 0 : 127.0f / w;
		x->scale[h] = w < WR_QUANTISE_TINY ? 0 : w / 127.0f / simd512_fold(z[h]);
	}
}

SIMD_INLINE void weights(struct tile *t, size_t i)
{
	for (size_t b = 0; b < t->query[i].blocks; b++) {
		__m128i p[HEADS];
		for (size_t h = 0; h < HEADS; h++)
			p[h] = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(
				_mm512_mul_ps(_mm512_load_ps(&t->v[i][h][b * 16]),
					_mm512_set1_ps(t->query[i].inv[h]))));
		__m128i *to = (__m128i *)(void *)&t->p[i][b * 32];
		_mm_store_si128(to, _mm_unpacklo_epi32(p[0], p[1]));
		_mm_store_si128(to + 1, _mm_unpackhi_epi32(p[0], p[1]));
	}
}

SIMD_INLINE void output(struct tile *t, size_t i)
{
	const struct query *x = &t->query[i];
	__m512i acc[4] = {0};
	for (size_t g = x->empty / 4; g < x->blocks * 4; g++) {
		const uint32_t *at = &t->at[i][g * 4];
		__m512i r[4];
		for (size_t j = 0; j < 4; j++)
			r[j] = load_row(x->a->table->kv + WIDTH, at[j]);
		__m512i ab = _mm512_unpacklo_epi8(r[0], r[1]),
			cd = _mm512_unpacklo_epi8(r[2], r[3]);
		__m512i p = _mm512_mask_mov_epi32(simd512_broadcast4(&t->p[i][g * 8]), 0xff00,
			simd512_broadcast4(&t->p[i][g * 8 + 4]));
		acc[0] = _mm512_dpbusd_epi32(acc[0], p, _mm512_unpacklo_epi16(ab, cd));
		acc[1] = _mm512_dpbusd_epi32(acc[1], p, _mm512_unpackhi_epi16(ab, cd));
		ab = _mm512_unpackhi_epi8(r[0], r[1]), cd = _mm512_unpackhi_epi8(r[2], r[3]);
		acc[2] = _mm512_dpbusd_epi32(acc[2], p, _mm512_unpacklo_epi16(ab, cd));
		acc[3] = _mm512_dpbusd_epi32(acc[3], p, _mm512_unpackhi_epi16(ab, cd));
		/* Else gcc keeps copies of all four from step to step. */
		for (size_t j = 0; j < 4; j++)
			acc[j] = simd512_keep(acc[j]);
	}
	/* Lane l of acc j has channels 16·l + 4·j … + 3. */
	__m512i low01 = _mm512_shuffle_i32x4(acc[0], acc[1], 0x44),
		low23 = _mm512_shuffle_i32x4(acc[2], acc[3], 0x44),
		high01 = _mm512_shuffle_i32x4(acc[0], acc[1], 0xee),
		high23 = _mm512_shuffle_i32x4(acc[2], acc[3], 0xee);
	__m512i out[4] = {_mm512_shuffle_i32x4(low01, low23, 0x88),
		_mm512_shuffle_i32x4(low01, low23, 0xdd),
		_mm512_shuffle_i32x4(high01, high23, 0x88),
		_mm512_shuffle_i32x4(high01, high23, 0xdd)};
	for (size_t j = 0; j < 4; j++)
		_mm512_storeu_ps(x->a->o + j * 16,
			_mm512_mul_ps(_mm512_cvtepi32_ps(out[j]), _mm512_set1_ps(x->scale[j / 2])));
}

SIMD_INLINE void start(struct tile *t, size_t i, const struct wr_attend_rows *a)
{
	size_t blocks = (a->n + 15) / 16, empty = blocks * 16 - a->n;
	t->query[i] = (struct query){.a = a, .blocks = blocks, .empty = empty};
	for (size_t b = 0; b < blocks; b++)
		_mm512_store_si512(&t->at[i][b * 16],
			_mm512_slli_epi32(_mm512_loadu_si512(a->rows - empty + b * 16), 4));
}

void wr_attend_rows_avx512vnni(const struct wr_attend_rows *jobs, size_t n_jobs)
{
	struct tile t;
	for (size_t first = 0, n; first < n_jobs; first += n) {
		n = n_jobs - first < QUERIES ? n_jobs - first : QUERIES;
		for (size_t i = 0; i < n; i++)
			start(&t, i, &jobs[first + i]);
		for (size_t i = 0; i < n; i++)
			scales(&t, i);
		for (size_t i = 0; i < n; i++)
			score(&t, i);
		for (size_t i = 0; i < n; i++)
			exponentials(&t, i);
		for (size_t i = 0; i < n; i++)
			weights(&t, i);
		for (size_t i = 0; i < n; i++)
			output(&t, i);
	}
}
