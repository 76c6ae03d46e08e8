/* SPDX-License-Identifier: BSD-3-Clause */
/* attention.h's decode on AVX-512 VNNI, the steps of decode_steps.h: blocks of 16 places. */
#include "decode_steps.h"
#include "quantise.h"
#include "simd512.h"

#include <math.h>

SIMD_INLINE __m512 load_floats(const float *p, size_t width)
{
	return width == 16 ? _mm512_loadu_ps(p)
			   : _mm512_maskz_loadu_ps((__mmask16)((1u << width) - 1), p);
}

SIMD_INLINE __m512i load_keys(const int8_t *p, size_t width)
{
	return width == 16 ? _mm512_load_si512(p)
			   : _mm512_maskz_loadu_epi32((__mmask16)((1u << width) - 1), p);
}

/* A query in use: four bytes in every lane, and what takes the keys' shift off. */
struct spread {
	__m512i start, four[WR_ATTEND_MAX_HEAD / 4];
};

/* Scores of the `width` places of block b into s, -inf where nothing is seen. Keys are shifted to
 * unsigned. width is a constant after inlining, as far as the ring is. */
SIMD_INLINE __m512 score_block(struct decode_tile *t, size_t i, const struct spread *row, size_t b,
	size_t width, size_t head_dim, size_t slots)
{
	struct decode_query *q = &t->query[i];
	const struct wr_attend *a = q->a;
	const __m512i sign = _mm512_set1_epi32((int32_t)0x80808080u);
	const __m512i lane =
		_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	const __m512i n = _mm512_set1_epi32((int32_t)q->n);
	const int8_t *keys = a->kv.k + b * 16 * head_dim;
	__m512i dot = row->start;
	for (size_t x = 0; x < head_dim; x += 4)
		dot = _mm512_dpbusd_epi32(dot,
			_mm512_xor_si512(load_keys(keys + x * width, width), sign),
			row->four[x / 4]);
	/* Ages of the places up to the query's own, and behind it. */
	ptrdiff_t near = (ptrdiff_t)(b * 16) - (ptrdiff_t)q->at;
	ptrdiff_t far = near - (ptrdiff_t)slots;
	__m512i age = _mm512_sub_epi32(_mm512_set1_epi32(-(int32_t)near), lane);
	__mmask16 up = _mm512_cmplt_epu32_mask(age, n);
	__mmask16 behind = _mm512_cmplt_epu32_mask(
		_mm512_add_epi32(age, _mm512_set1_epi32((int32_t)slots)), n);
	behind = (__mmask16)(behind & (0xffffu >> (16 - width)));
	__m512 bias = _mm512_mask_loadu_ps(
		_mm512_maskz_loadu_ps(up, a->bias + near), behind, a->bias + far);
	__m512 s =
		_mm512_mul_ps(_mm512_cvtepi32_ps(dot), load_floats(a->kv.k_scale + b * 16, width));
	s = _mm512_add_ps(_mm512_mul_ps(s, _mm512_set1_ps(q->c)), bias);
	q->seen[b] = (__mmask16)(up | behind);
	s = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), q->seen[b], s);
	_mm512_store_ps(&t->s[i][b * 16], s);
	return s;
}

SIMD_INLINE void score(struct decode_tile *t, size_t i, size_t head_dim, size_t slots)
{
	struct decode_query *q = &t->query[i];
	const size_t whole = slots / 16;
	struct spread row;
	row.start = simd512_shift_off(q->q, head_dim);
	for (size_t x = 0; x < head_dim; x += 4)
		row.four[x / 4] = simd512_broadcast4(q->q + x);
	__m512 largest = _mm512_set1_ps(-INFINITY);
	for (size_t b = 0; b < whole; b++)
		largest = _mm512_max_ps(score_block(t, i, &row, b, 16, head_dim, slots), largest);
	if (slots % 16)
		largest = _mm512_max_ps(
			score_block(t, i, &row, whole, slots % 16, head_dim, slots), largest);
	q->largest = simd512_largest(largest);
}

/* e of a block, and by the values' scales into s, which it gives. */
SIMD_INLINE __m512 exponentials_block(struct decode_tile *t, size_t i, size_t b, size_t width)
{
	struct decode_query *q = &t->query[i];
	float *s = &t->s[i][b * 16];
	const __m512 m = _mm512_set1_ps(q->largest);
	__m512 e =
		_mm512_maskz_mov_ps(q->seen[b], simd512_exp(_mm512_sub_ps(_mm512_load_ps(s), m)));
	_mm512_storeu_ps(&t->e[i][16 + b * 16], e);
	__m512 v = load_floats(q->a->kv.v_scale + b * 16, width);
	v = _mm512_maskz_mul_ps(q->seen[b], e, v);
	_mm512_store_ps(s, v);
	return v;
}

SIMD_INLINE void exponentials(struct decode_tile *t, size_t i, size_t slots)
{
	struct decode_query *q = &t->query[i];
	const size_t whole = slots / 16;
	__m512 aw = _mm512_setzero_ps();
	for (size_t b = 0; b < whole; b++)
		aw = _mm512_max_ps(exponentials_block(t, i, b, 16), aw);
	if (slots % 16)
		aw = _mm512_max_ps(exponentials_block(t, i, whole, slots % 16), aw);
	float w = simd512_largest(aw);
	q->inv = w < WR_QUANTISE_TINY ? 0 : 127.0f / w;
	q->scale = w < WR_QUANTISE_TINY ? 0 : w / 127.0f;
}

SIMD_INLINE void unroll(struct decode_tile *t, size_t i, size_t slots)
{
	float *e = &t->e[i][16];
	for (size_t b = 0; b * 16 <= t->query[i].at; b++)
		_mm512_storeu_ps(e + slots + b * 16, _mm512_loadu_ps(e + b * 16));
}

SIMD_INLINE void weights(struct decode_tile *t, size_t i, size_t slots)
{
	struct decode_query *q = &t->query[i];
	const __m512 inv = _mm512_set1_ps(q->inv);
	const float *end = &t->e[i][16 + slots + q->at + 1];
	__m512 z = _mm512_setzero_ps();
	for (size_t n = q->n;; n -= 16) {
		end -= 16;
		if (n <= 16) {
			__mmask16 rest = (__mmask16)(0xffffu << (16 - n));
			z = _mm512_add_ps(z, _mm512_maskz_loadu_ps(rest, end));
			break;
		}
		z = _mm512_add_ps(z, _mm512_loadu_ps(end));
	}
	for (size_t b = 0; b * 16 < slots; b++)
		_mm_store_si128((__m128i *)(void *)&t->p[i][b * 16],
			_mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(
				_mm512_mul_ps(_mm512_load_ps(&t->s[i][b * 16]), inv))));
	q->scale = q->scale / simd512_fold(z);
}

SIMD_INLINE void output(struct decode_tile *t, size_t i, size_t head_dim, size_t slots)
{
	const struct decode_query *q = &t->query[i];
	simd512_weigh_values(t->p[i], q->a->kv.v, slots / 4, head_dim, q->scale, q->o);
}

void wr_decode_avx512vnni(const struct wr_attend *jobs, size_t n_jobs)
{
	static const struct decode_steps steps = {score, exponentials, unroll, weights, output};
	decode_all(&steps, jobs, n_jobs);
}
