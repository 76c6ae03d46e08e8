/* SPDX-License-Identifier: BSD-3-Clause */
/* attention.h on AVX-512 VNNI, the steps of attend_steps.h. */
#include "attend_steps.h"
#include "quantise.h"
#include "simd512.h"

#include <math.h>

#define TOGETHER 4 /* queries that a block of keys meets at once */

/* Lanes of a block that the query sees. */
SIMD_INLINE __mmask16 see(const struct attend_query *q, size_t block)
{
	const __m512i lane =
		_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	__m512i from = _mm512_set1_epi32((int32_t)(block * 16) - (int32_t)q->low);
	return _mm512_cmplt_epu32_mask(
		_mm512_add_epi32(from, lane), _mm512_set1_epi32((int32_t)(q->slot + 1 - q->low)));
}

SIMD_INLINE __mmask16 seen(const struct attend_query *q, size_t block)
{
	return (__mmask16)q->seen[block - q->over.block];
}

SIMD_INLINE __m512i load_keys(const int8_t *keys)
{
	return _mm512_xor_si512(_mm512_load_si512(keys), _mm512_set1_epi32((int32_t)0x80808080u));
}

/* Scores of a block from its products, -inf outside of the window, into e. */
SIMD_INLINE __m512 score_block(struct attend_tile *t, size_t i, size_t block, __m512i dot)
{
	struct attend_query *q = &t->query[i];
	const struct wr_attend *a = q->a;
	size_t at = block * 16;
	__mmask16 mask = see(q, block);
	q->seen[block - q->over.block] = mask;
	__m512 s = _mm512_mul_ps(_mm512_cvtepi32_ps(dot), _mm512_loadu_ps(a->kv.k_scale + at));
	s = _mm512_add_ps(_mm512_mul_ps(s, _mm512_set1_ps(q->c)),
		_mm512_loadu_ps(a->bias + (ptrdiff_t)at - (ptrdiff_t)q->slot));
	s = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), mask, s);
	_mm512_store_ps(&t->e[i][attend_at(q, at)], s);
	return s;
}

SIMD_INLINE void score(struct attend_tile *t, size_t i, size_t head_dim)
{
	struct attend_query *q = &t->query[i];
	const __m512i start = simd512_shift_off(q->q, head_dim);
	__m512 largest = _mm512_set1_ps(-INFINITY);
	for (size_t b = q->over.block; b <= q->over.last; b++) {
		const int8_t *keys = q->a->kv.k + b * 16 * head_dim;
		__m512i dot = start;
		for (size_t x = 0; x < head_dim; x += 4)
			dot = _mm512_dpbusd_epi32(
				dot, load_keys(keys + x * 16), simd512_broadcast4(q->q + x));
		largest = _mm512_max_ps(score_block(t, i, b, dot), largest);
	}
	q->largest = simd512_largest(largest);
}

/* Of up to four queries of one job, from query i on. */
SIMD_INLINE void score_four(struct attend_tile *t, size_t i, size_t head_dim)
{
	const struct attend_range *over = &t->query[i].over;
	size_t n = t->n - i < TOGETHER ? t->n - i : TOGETHER;
	const int8_t *row[TOGETHER];
	__m512i start[TOGETHER];
	__m512 largest[TOGETHER];
	for (size_t j = 0; j < TOGETHER; j++) { /* the last one again fills up */
		row[j] = t->query[i + (j < n ? j : n - 1)].q;
		start[j] = simd512_shift_off(row[j], head_dim);
		largest[j] = _mm512_set1_ps(-INFINITY);
	}
	for (size_t b = over->block; b <= over->last; b++) {
		const int8_t *keys = t->query[i].a->kv.k + b * 16 * head_dim;
		__m512i dot[TOGETHER] = {start[0], start[1], start[2], start[3]};
		for (size_t x = 0; x < head_dim; x += 4) {
			const __m512i k = load_keys(keys + x * 16);
			for (size_t j = 0; j < TOGETHER; j++)
				dot[j] = _mm512_dpbusd_epi32(
					dot[j], k, simd512_broadcast4(row[j] + x));
		}
		for (size_t j = 0; j < TOGETHER; j++)
			if (j < n)
				largest[j] =
					_mm512_max_ps(score_block(t, i + j, b, dot[j]), largest[j]);
	}
	for (size_t j = 0; j < n; j++)
		t->query[i + j].largest = simd512_largest(largest[j]);
}

SIMD_INLINE void score_job(struct attend_tile *t, size_t head_dim)
{
	for (size_t i = 0; i < t->n; i += TOGETHER)
		if (i + 1 == t->n)
			score(t, i, head_dim);
		else
			score_four(t, i, head_dim);
}

SIMD_INLINE void exponentials(struct attend_tile *t, size_t i)
{
	struct attend_query *q = &t->query[i];
	const __m512 m = _mm512_set1_ps(q->largest);
	__m512 aw = _mm512_setzero_ps();
	for (size_t b = q->over.block; b <= q->over.last; b++) {
		float *e = &t->e[i][attend_at(q, b * 16)];
		__m512 v = _mm512_maskz_mov_ps(
			seen(q, b), simd512_exp(_mm512_sub_ps(_mm512_load_ps(e), m)));
		_mm512_store_ps(e, v);
		v = _mm512_mul_ps(v, _mm512_loadu_ps(q->a->kv.v_scale + b * 16));
		aw = _mm512_max_ps(_mm512_maskz_mov_ps(seen(q, b), v), aw);
	}
	float w = simd512_largest(aw);
	q->inv = w < WR_QUANTISE_TINY ? 0 : 127.0f / w;
	q->scale = w < WR_QUANTISE_TINY ? 0 : w / 127.0f;
}

SIMD_INLINE void weights(struct attend_tile *t, size_t i)
{
	struct attend_query *q = &t->query[i];
	const __m512 inv = _mm512_set1_ps(q->inv);
	__m512 z = _mm512_setzero_ps();
	const float *end = &t->e[i][attend_at(q, q->slot + 1)];
	for (size_t n = 1; n <= q->over.windows; n++)
		z = _mm512_add_ps(z, _mm512_loadu_ps(end - n * 16));
	for (size_t b = q->over.block; b <= q->over.last; b++) {
		size_t at = attend_at(q, b * 16);
		__m512 w = _mm512_mul_ps(
			_mm512_load_ps(&t->e[i][at]), _mm512_loadu_ps(q->a->kv.v_scale + b * 16));
		w = _mm512_maskz_mov_ps(seen(q, b), _mm512_mul_ps(w, inv));
		_mm_store_si128((__m128i *)(void *)&t->p[i][at - ATTEND_FRONT],
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
