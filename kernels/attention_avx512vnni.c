/* SPDX-License-Identifier: BSD-3-Clause */
/* attention.h on AVX-512 VNNI, the steps of attend_steps.h. */
#include "attend_steps.h"
#include "quantise.h"
#include "simd512.h"

#include <math.h>

#define TOGETHER 4 /* queries that a block of keys meets at once, at most */

SIMD_INLINE __m512i load_keys(const int8_t *keys)
{
	return _mm512_xor_si512(_mm512_load_si512(keys), _mm512_set1_epi32((int32_t)0x80808080u));
}

SIMD_INLINE size_t blocks_of(const struct attend_query *q)
{
	return q->over.last - q->over.block + 1;
}

/* Where a query's scores go and what they are made of, all from the first block on that is gone
 * through; slots by number are seen where number - low < n. Everything that the loops need is their
 * own: gcc would read it again behind every store. */
struct view {
	float *e;
	const float *bias;
	uint16_t *seen;
	__m512i from, n; /* of lanes, the first block's; low taken off */
	__m512 c, largest;
};

SIMD_INLINE struct view view_of(struct attend_tile *t, size_t i)
{
	struct attend_query *q = &t->query[i];
	const size_t first = q->over.block * 16;
	const __m512i lane =
		_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	return (struct view){.e = &t->e[i][ATTEND_FRONT],
		.bias = q->a->bias + (ptrdiff_t)first - (ptrdiff_t)q->slot,
		.seen = q->seen,
		.from = _mm512_add_epi32(lane, _mm512_set1_epi32((int32_t)first - (int32_t)q->low)),
		.n = _mm512_set1_epi32((int32_t)(q->slot + 1 - q->low)),
		.c = _mm512_set1_ps(q->c),
		.largest = _mm512_set1_ps(-INFINITY)};
}

/* Scores of block b of those from its products, -inf outside of the window, into e. */
SIMD_INLINE void score_block(struct view *v, size_t b, __m512i dot, __m512 k_scale)
{
	__m512i number = _mm512_add_epi32(v->from, _mm512_set1_epi32((int32_t)(b * 16)));
	__mmask16 mask = _mm512_cmplt_epu32_mask(number, v->n);
	v->seen[b] = mask;
	__m512 s = _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(dot), k_scale), v->c);
	s = _mm512_add_ps(s, _mm512_loadu_ps(v->bias + b * 16));
	s = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), mask, s);
	v->largest = _mm512_max_ps(s, v->largest);
	_mm512_store_ps(v->e + b * 16, s);
}

SIMD_INLINE void score(struct attend_tile *t, size_t i, size_t head_dim)
{
	struct attend_query *q = &t->query[i];
	const size_t blocks = blocks_of(q), first = q->over.block * 16;
	const int8_t *row = q->q, *keys = q->a->kv.k + first * head_dim;
	const float *k_scale = q->a->kv.k_scale + first;
	const __m512i start = simd512_shift_off(row, head_dim);
	struct view v = view_of(t, i);
	for (size_t b = 0; b < blocks; b++, keys += 16 * head_dim) {
		__m512i dot = start;
		for (size_t x = 0; x < head_dim; x += 4)
			dot = _mm512_dpbusd_epi32(
				dot, load_keys(keys + x * 16), simd512_broadcast4(row + x));
		score_block(&v, b, dot, _mm512_loadu_ps(k_scale + b * 16));
	}
	q->largest = simd512_largest(v.largest);
}

/* Of n = 2 … 4 queries of one job, from query i on. */
SIMD_INLINE void score_several(struct attend_tile *t, size_t i, size_t n, size_t head_dim)
{
	const struct attend_query *q = &t->query[i];
	const size_t blocks = blocks_of(q), first = q->over.block * 16;
	const int8_t *keys = q->a->kv.k + first * head_dim;
	const float *k_scale = q->a->kv.k_scale + first;
	const int8_t *row[TOGETHER];
	__m512i start[TOGETHER];
	struct view v[TOGETHER];
	for (size_t j = 0; j < n; j++) {
		row[j] = q[j].q;
		start[j] = simd512_shift_off(row[j], head_dim);
		v[j] = view_of(t, i + j);
	}
	for (size_t b = 0; b < blocks; b++, keys += 16 * head_dim) {
		const __m512 scale = _mm512_loadu_ps(k_scale + b * 16);
		__m512i dot[TOGETHER];
		for (size_t j = 0; j < n; j++)
			dot[j] = start[j];
		for (size_t x = 0; x < head_dim; x += 4) {
			const __m512i k = load_keys(keys + x * 16);
			for (size_t j = 0; j < n; j++)
				dot[j] = _mm512_dpbusd_epi32(
					dot[j], k, simd512_broadcast4(row[j] + x));
		}
		for (size_t j = 0; j < n; j++)
			score_block(&v[j], b, dot[j], scale);
	}
	for (size_t j = 0; j < n; j++)
		t->query[i + j].largest = simd512_largest(v[j].largest);
}

/* The number of queries is a constant in each. */
SIMD_INLINE void score_job(struct attend_tile *t, size_t head_dim)
{
	for (size_t i = 0; i < t->n; i += TOGETHER) {
		switch (t->n - i) {
		case 1:
			score(t, i, head_dim);
			break;
		case 2:
			score_several(t, i, 2, head_dim);
			break;
		case 3:
			score_several(t, i, 3, head_dim);
			break;
		default:
			score_several(t, i, TOGETHER, head_dim);
		}
	}
}

SIMD_INLINE void exponentials(struct attend_tile *t, size_t i)
{
	struct attend_query *q = &t->query[i];
	const size_t blocks = blocks_of(q);
	const __m512 m = _mm512_set1_ps(q->largest);
	const float *v_scale = q->a->kv.v_scale + q->over.block * 16;
	const uint16_t *seen = q->seen;
	float *e = &t->e[i][ATTEND_FRONT];
	__m512 aw = _mm512_setzero_ps();
	for (size_t b = 0; b < blocks; b++, e += 16, v_scale += 16) {
		__m512 v = _mm512_maskz_mov_ps(
			seen[b], simd512_exp(_mm512_sub_ps(_mm512_load_ps(e), m)));
		_mm512_store_ps(e, v);
		v = _mm512_mul_ps(v, _mm512_loadu_ps(v_scale));
		aw = _mm512_max_ps(_mm512_maskz_mov_ps(seen[b], v), aw);
	}
	float w = simd512_largest(aw);
	q->inv = w < WR_QUANTISE_TINY ? 0 : 127.0f / w;
	q->scale = w < WR_QUANTISE_TINY ? 0 : w / 127.0f;
}

SIMD_INLINE void weights(struct attend_tile *t, size_t i)
{
	struct attend_query *q = &t->query[i];
	const size_t blocks = blocks_of(q);
	const __m512 inv = _mm512_set1_ps(q->inv);
	const float *v_scale = q->a->kv.v_scale + q->over.block * 16;
	const uint16_t *seen = q->seen;
	const float *e = &t->e[i][ATTEND_FRONT], *end = &t->e[i][attend_at(q, q->slot + 1)];
	uint8_t *p = t->p[i];
	__m512 z = _mm512_setzero_ps();
	for (size_t n = q->over.windows; n; n--) {
		end -= 16;
		z = _mm512_add_ps(z, _mm512_loadu_ps(end));
	}
	for (size_t b = 0; b < blocks; b++, e += 16, v_scale += 16) {
		__m512 w = _mm512_mul_ps(_mm512_load_ps(e), _mm512_loadu_ps(v_scale));
		w = _mm512_maskz_mov_ps(seen[b], _mm512_mul_ps(w, inv));
		_mm_store_si128((__m128i *)(void *)(p + b * 16),
			_mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(w)));
	}
	q->scale = q->scale / simd512_fold(z);
}

SIMD_INLINE void output(struct attend_tile *t, size_t i, size_t head_dim)
{
	const struct attend_query *q = &t->query[i];
	const size_t first = q->over.group * 4;
	simd512_weigh_values(&t->p[i][attend_at(q, first) - ATTEND_FRONT],
		q->a->kv.v + first * head_dim, q->over.last_group - q->over.group + 1, head_dim,
		q->scale, q->o);
}

void wr_attend_avx512vnni(const struct wr_attend *jobs, size_t n_jobs)
{
	static const struct attend_steps steps = {score, score_job, exponentials, weights, output};
	attend_all(&steps, jobs, n_jobs);
}
