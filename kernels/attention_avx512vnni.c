/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * attention.h on AVX-512 VNNI. Eight queries go through each step together, so that the long
 * latencies of one (reductions, divisions) hide behind the others. Everything is indexed by slot,
 * in blocks of 16; sums over ages are taken in windows that end at the query, whose lanes are those
 * of the specification mirrored, and folding by halves does not notice that.
 */
#include "attention.h"

#include "quantise.h"
#include "simd512.h"

#include <math.h>

#define QUERIES 8
/* Slots that a query can touch, whole blocks, and one block of zeros before them. */
#define SPAN (WR_ATTEND_MAX_WINDOW + 32)

struct query {
	const struct wr_attend *a;
	const int8_t *q;
	float *o;
	float c;            /* the query's scale and 1 / sqrt(head_dim) */
	size_t slot, low;   /* sees slots low … slot */
	size_t block, last; /* low / 16, slot / 16 */
	size_t base;        /* slot of e[i][16] and p[i][16] in struct tile: block · 16 */
	float largest, inv, scale;
};

struct tile {
	size_t n; /* queries */
	struct query query[QUERIES];
	float e[QUERIES][SPAN] __attribute__((aligned(64)));
	uint8_t p[QUERIES][SPAN] __attribute__((aligned(64)));
};

/* Lanes of a block that the query sees. */
SIMD_INLINE __mmask16 seen(const struct query *q, size_t block)
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
SIMD_INLINE void score(struct tile *t, size_t i, size_t head_dim)
{
	struct query *q = &t->query[i];
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

/* e = exp(score - largest), 0 outside of the window; the weights' scale. */
SIMD_INLINE void exponentials(struct tile *t, size_t i)
{
	struct query *q = &t->query[i];
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

/* The sum of e by age, and the weights as bytes. */
SIMD_INLINE void weights(struct tile *t, size_t i)
{
	struct query *q = &t->query[i];
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

SIMD_INLINE void output(struct tile *t, size_t i, size_t head_dim)
{
	const struct query *q = &t->query[i];
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

SIMD_INLINE void finish(struct tile *t, size_t head_dim)
{
	for (size_t i = 0; i < t->n; i++)
		score(t, i, head_dim);
	for (size_t i = 0; i < t->n; i++)
		exponentials(t, i);
	for (size_t i = 0; i < t->n; i++)
		weights(t, i);
	for (size_t i = 0; i < t->n; i++)
		output(t, i, head_dim);
	t->n = 0;
}

SIMD_INLINE void add_query(struct tile *t, const struct wr_attend *a, size_t i)
{
	size_t slot = a->first + i, low = a->origin;
	low = slot + 1 > low + a->window ? slot + 1 - a->window : low;
	t->query[t->n++] = (struct query){.a = a,
		.q = a->q + i * a->ldq,
		.o = a->o + i * a->ldo,
		.c = a->q_scale[i * a->ld_scale] * a->inv_sqrt,
		.slot = slot,
		.low = low,
		.block = low / 16,
		.last = slot / 16,
		.base = low / 16 * 16};
}

SIMD_INLINE void attend(const struct wr_attend *jobs, size_t n_jobs, size_t head_dim)
{
	struct tile t;
	t.n = 0;
	for (size_t j = 0; j < n_jobs; j++) {
		for (unsigned int i = 0; i < jobs[j].n_queries; i++) {
			add_query(&t, &jobs[j], i);
			if (t.n == QUERIES)
				finish(&t, head_dim);
		}
	}
	finish(&t, head_dim);
}

/* The reference student's head width as a constant, so that its loops unroll. */
void wr_attend_avx512vnni(const struct wr_attend *jobs, size_t n_jobs)
{
	if (n_jobs == 0)
		return;
	if (jobs[0].head_dim == 32)
		attend(jobs, n_jobs, 32);
	else
		attend(jobs, n_jobs, jobs[0].head_dim);
}
