/* SPDX-License-Identifier: BSD-3-Clause */
/* attention.h on AVX-512 VNNI, the steps of attend_steps.h. */
#include "attend_steps.h"
#include "quantise.h"
#include "simd512.h"

#include <math.h>

/* Lanes of a block that the query sees. */
SIMD_INLINE __mmask16 seen(const struct attend_query *q, size_t block)
{
	uint32_t mask = 0xffff;
	if (block == q->block)
		mask = mask << (q->low - block * 16);
	if (block == q->last)
		mask &= 0xffffu >> (15 - (q->slot - block * 16));
	return (__mmask16)mask;
}

/* Scores of query i into e, -inf outside of its window. Keys are shifted to unsigned; 128·Σq goes
 * off again. */
SIMD_INLINE void score(struct attend_tile *t, size_t i, size_t head_dim)
{
	struct attend_query *q = &t->query[i];
	const struct wr_attend *a = q->a;
	const int8_t *row = q->q;
	const __m512i sign = _mm512_set1_epi32((int32_t)0x80808080u);
	const __m512 lowest = _mm512_set1_ps(-INFINITY);
	const __m512 c = _mm512_set1_ps(q->c);
	__m512i offset = _mm512_setzero_si512();
	for (size_t x = 0; x < head_dim; x += 4)
		offset = _mm512_dpbusd_epi32(offset, sign, simd512_broadcast4(row + x));
	const __m512i start = _mm512_sub_epi32(_mm512_setzero_si512(), offset);
	__m512 largest = lowest;
	for (size_t b = q->block; b <= q->last; b++) {
		size_t at = b * 16;
		const int8_t *keys = a->kv.k + at * head_dim;
		__m512i dot = start;
		for (size_t x = 0; x < head_dim; x += 4)
			dot = _mm512_dpbusd_epi32(dot,
				_mm512_xor_si512(_mm512_load_si512(keys + x * 16), sign),
				simd512_broadcast4(row + x));
		__m512 s =
			_mm512_mul_ps(_mm512_cvtepi32_ps(dot), _mm512_loadu_ps(a->kv.k_scale + at));
		s = _mm512_add_ps(_mm512_mul_ps(s, c),
			_mm512_loadu_ps(a->bias + (ptrdiff_t)(b * 16) - (ptrdiff_t)q->slot));
		s = _mm512_mask_mov_ps(lowest, seen(q, b), s);
		largest = _mm512_max_ps(s, largest);
		_mm512_store_ps(&t->e[i][b * 16 + 16 - q->base], s);
	}
	q->largest = simd512_largest(largest);
}

SIMD_INLINE void exponentials(struct attend_tile *t, size_t i)
{
	struct attend_query *q = &t->query[i];
	const __m512 m = _mm512_set1_ps(q->largest);
	__m512 aw = _mm512_setzero_ps();
	_mm512_store_ps(&t->e[i][q->block * 16 - q->base], _mm512_setzero_ps());
	for (size_t b = q->block; b <= q->last; b++) {
		float *e = &t->e[i][b * 16 + 16 - q->base];
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
	for (size_t n = q->slot - q->low + 1, end = q->slot + 1 + 16 - q->base;;) {
		z = _mm512_add_ps(z, _mm512_loadu_ps(&t->e[i][end - 16]));
		if (n <= 16)
			break;
		n -= 16;
		end -= 16;
	}
	for (size_t b = q->block; b <= q->last; b++) {
		size_t at = b * 16 + 16 - q->base;
		__m512 w = _mm512_mul_ps(
			_mm512_load_ps(&t->e[i][at]), _mm512_loadu_ps(q->a->kv.v_scale + b * 16));
		w = _mm512_maskz_mov_ps(seen(q, b), _mm512_mul_ps(w, inv));
		_mm_store_si128((__m128i *)(void *)&t->p[i][at],
			_mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(w)));
	}
	q->scale = q->scale / simd512_fold(z);
}

SIMD_INLINE void output(struct attend_tile *t, size_t i, size_t head_dim)
{
	const struct attend_query *q = &t->query[i];
	const struct wr_attend *a = q->a;
	const __m512 scale = _mm512_set1_ps(q->scale);
	for (size_t c = 0; c < head_dim; c += 16) {
		__m512i acc = _mm512_setzero_si512();
		for (size_t g = q->low / 4; g <= q->slot / 4; g++)
			acc = _mm512_dpbusd_epi32(acc,
				simd512_broadcast4(&t->p[i][g * 4 + 16 - q->base]),
				_mm512_load_si512(a->kv.v + g * 4 * head_dim + c * 4));
		_mm512_storeu_ps(q->o + c, _mm512_mul_ps(_mm512_cvtepi32_ps(acc), scale));
	}
}

void wr_attend_avx512vnni(const struct wr_attend *jobs, size_t n_jobs)
{
	static const struct attend_steps steps = {score, exponentials, weights, output};
	attend_all(&steps, jobs, n_jobs);
}
