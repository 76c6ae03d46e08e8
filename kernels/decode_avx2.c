/* SPDX-License-Identifier: BSD-3-Clause */
/* attention.h's decode on AVX2, the steps of decode_steps.h: blocks of 16 places are two vectors.
 */
#include "decode_steps.h"
#include "quantise.h"
#include "simd256.h"

#include <math.h>

/* All ones in the first n lanes; n may be beyond 8 or below 0. */
SIMD_INLINE __m256i first_lanes(int32_t n)
{
	const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane);
}

/* All ones in lanes from … end-1. */
SIMD_INLINE __m256i lanes(int32_t from, int32_t end)
{
	return _mm256_andnot_si256(first_lanes(from), first_lanes(end));
}

SIMD_INLINE __m256 load_floats(const float *p, size_t left)
{
	return left >= 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, first_lanes((int32_t)left));
}

/* Keys of a half block, `left` slots of it, four channels. */
SIMD_INLINE __m256i load_keys(const int8_t *p, size_t left)
{
	if (left >= 8)
		return _mm256_loadu_si256((const __m256i *)(const void *)p);
	return _mm256_castsi128_si256(_mm_load_si128((const __m128i *)(const void *)p));
}

/* Dot products of the query and the `left` keys (4 or 8) of a half block whose channel groups lie
 * `step` bytes apart. */
SIMD_INLINE __m256i dots(
	const int8_t *keys, const int8_t *row, size_t head_dim, size_t step, size_t left)
{
	__m256i dot = _mm256_setzero_si256();
	for (size_t x = 0; x < head_dim; x += 4, keys += step) {
		__m256i q = simd256_broadcast4(row + x);
		dot = simd256_dot4(
			dot, _mm256_abs_epi8(q), _mm256_sign_epi8(load_keys(keys, left), q));
	}
	return dot;
}

/* Scores of query i into s, -inf where it sees nothing. */
SIMD_INLINE void score(struct decode_tile *t, size_t i, size_t head_dim, size_t slots)
{
	struct decode_query *q = &t->query[i];
	const struct wr_attend *a = q->a;
	const __m256 lowest = _mm256_set1_ps(-INFINITY), c = _mm256_set1_ps(q->c);
	const int32_t own = (int32_t)q->at, n = (int32_t)q->n, ring = (int32_t)slots;
	__m256 largest = lowest;
	for (size_t at = 0; at < slots; at += 8) {
		const size_t block = at / 16 * 16, left = slots - at;
		const size_t width = slots - block < 16 ? slots - block : 16;
		__m256i dot = dots(a->kv.k + block * head_dim + (at - block) * 4, q->q, head_dim,
			width * 4, left);
		/* Lanes of the places up to the query's own, and behind it. */
		int32_t near = (int32_t)at - own, far = near - ring;
		int32_t end = ring - (int32_t)at;
		__m256i up = lanes(-near - n + 1, -near + 1);
		__m256i behind = lanes(-far - n + 1, end);
		__m256 bias = _mm256_or_ps(_mm256_maskload_ps(a->bias + near, up),
			_mm256_maskload_ps(a->bias + far, behind));
		__m256 s = _mm256_mul_ps(
			_mm256_cvtepi32_ps(dot), load_floats(a->kv.k_scale + at, left));
		s = _mm256_add_ps(_mm256_mul_ps(s, c), bias);
		s = _mm256_blendv_ps(lowest, s, _mm256_castsi256_ps(_mm256_or_si256(up, behind)));
		largest = _mm256_max_ps(s, largest);
		_mm256_store_ps(&t->s[i][at], s);
	}
	q->largest = simd256_largest(largest);
}

SIMD_INLINE void exponentials(struct decode_tile *t, size_t i, size_t slots)
{
	struct decode_query *q = &t->query[i];
	const __m256 m = _mm256_set1_ps(q->largest), lowest = _mm256_set1_ps(-INFINITY);
	__m256 aw = _mm256_setzero_ps();
	for (size_t at = 0; at < slots; at += 8) {
		float *s = &t->s[i][at];
		__m256 score = _mm256_load_ps(s);
		__m256 seen = _mm256_cmp_ps(score, lowest, _CMP_NEQ_OQ);
		__m256 e = _mm256_and_ps(seen, simd256_exp(_mm256_sub_ps(score, m)));
		_mm256_storeu_ps(&t->e[i][16 + at], e);
		__m256 v = load_floats(q->a->kv.v_scale + at, slots - at);
		v = _mm256_and_ps(seen, _mm256_mul_ps(e, v));
		_mm256_store_ps(s, v);
		aw = _mm256_max_ps(v, aw);
	}
	float w = simd256_largest(aw);
	q->inv = w < WR_QUANTISE_TINY ? 0 : 127.0f / w;
	q->scale = w < WR_QUANTISE_TINY ? 0 : w / 127.0f;
}

SIMD_INLINE void unroll(struct decode_tile *t, size_t i, size_t slots)
{
	float *e = &t->e[i][16];
	for (size_t at = 0; at <= t->query[i].at; at += 8)
		_mm256_storeu_ps(e + slots + at, _mm256_loadu_ps(e + at));
}

SIMD_INLINE void weights(struct decode_tile *t, size_t i, size_t slots)
{
	struct decode_query *q = &t->query[i];
	const __m256 inv = _mm256_set1_ps(q->inv);
	const float *end = &t->e[i][16 + slots + q->at + 1];
	__m256 low = _mm256_setzero_ps(), high = low;
	for (int32_t n = (int32_t)q->n;; n -= 16) {
		end -= 16;
		if (n <= 16) {
			low = _mm256_add_ps(low, _mm256_maskload_ps(end, lanes(16 - n, 8)));
			high = _mm256_add_ps(high, _mm256_maskload_ps(end + 8, lanes(8 - n, 8)));
			break;
		}
		low = _mm256_add_ps(low, _mm256_loadu_ps(end));
		high = _mm256_add_ps(high, _mm256_loadu_ps(end + 8));
	}
	for (size_t at = 0; at < slots; at += 16) {
		const float *s = &t->s[i][at];
		__m256i w[2] = {_mm256_cvtps_epi32(_mm256_mul_ps(_mm256_load_ps(s), inv)),
			_mm256_setzero_si256()};
		if (at + 8 < slots)
			w[1] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_load_ps(s + 8), inv));
		_mm_store_si128((__m128i *)(void *)&t->p[i][at], simd256_pack16(w[0], w[1]));
	}
	q->scale = q->scale / simd256_fold(low, high);
}

SIMD_INLINE void output(struct decode_tile *t, size_t i, size_t head_dim, size_t slots)
{
	const struct decode_query *q = &t->query[i];
	const __m256 scale = _mm256_set1_ps(q->scale);
	for (size_t c = 0; c < head_dim; c += 16) {
		__m256i low = _mm256_setzero_si256(), high = low;
		for (size_t g = 0; g < slots; g += 4) {
			const __m256i *v =
				(const __m256i *)(const void *)(q->a->kv.v + g * head_dim + c * 4);
			__m256i p = simd256_broadcast4(&t->p[i][g]);
			low = simd256_dot4(low, p, _mm256_load_si256(v));
			high = simd256_dot4(high, p, _mm256_load_si256(v + 1));
		}
		_mm256_storeu_ps(q->o + c, _mm256_mul_ps(_mm256_cvtepi32_ps(low), scale));
		_mm256_storeu_ps(q->o + c + 8, _mm256_mul_ps(_mm256_cvtepi32_ps(high), scale));
	}
}

void wr_decode_avx2(const struct wr_attend *jobs, size_t n_jobs)
{
	static const struct decode_steps steps = {score, exponentials, unroll, weights, output};
	decode_all(&steps, jobs, n_jobs);
}
