/* SPDX-License-Identifier: BSD-3-Clause */
/* attention.h on AVX2, the steps of attend_steps.h: blocks of 16 slots are two vectors. */
#include "attend_steps.h"
#include "quantise.h"
#include "simd256.h"

#include <math.h>

/* All ones in the lanes of slots at … at+7 that the query sees. */
SIMD_INLINE __m256 seen(const struct attend_query *q, size_t at)
{
	const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	__m256i slot = _mm256_add_epi32(_mm256_set1_epi32((int32_t)at), lane);
	__m256i before = _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)q->low), slot);
	__m256i after = _mm256_cmpgt_epi32(slot, _mm256_set1_epi32((int32_t)q->slot));
	return _mm256_castsi256_ps(
		_mm256_andnot_si256(_mm256_or_si256(before, after), _mm256_set1_epi32(-1)));
}

/* Dot products of the query and the 16 keys of a block. */
SIMD_INLINE void dots(
	const int8_t *keys, const int8_t *row, size_t head_dim, __m256i *low, __m256i *high)
{
	*low = *high = _mm256_setzero_si256();
	for (size_t x = 0; x < head_dim; x += 4) {
		const __m256i *k = (const __m256i *)(const void *)(keys + x * 16);
		__m256i q = simd256_broadcast4(row + x), size = _mm256_abs_epi8(q);
		*low = simd256_dot4(*low, size, _mm256_sign_epi8(_mm256_load_si256(k), q));
		*high = simd256_dot4(*high, size, _mm256_sign_epi8(_mm256_load_si256(k + 1), q));
	}
}

/* Scores of query i into e, -inf outside of its window. */
SIMD_INLINE void score(struct attend_tile *t, size_t i, size_t head_dim)
{
	struct attend_query *q = &t->query[i];
	const struct wr_attend *a = q->a;
	const __m256 lowest = _mm256_set1_ps(-INFINITY);
	const __m256 c = _mm256_set1_ps(q->c);
	__m256 largest = lowest;
	for (size_t b = q->over.block; b <= q->over.last; b++) {
		__m256i dot[2];
		const size_t from = b * 16;
		dots(a->kv.k + from * head_dim, q->q, head_dim, &dot[0], &dot[1]);
		for (size_t half = 0; half < 2; half++) {
			size_t at = b * 16 + half * 8;
			__m256 s = _mm256_mul_ps(_mm256_cvtepi32_ps(dot[half]),
				_mm256_loadu_ps(a->kv.k_scale + from + half * 8));
			s = _mm256_add_ps(_mm256_mul_ps(s, c),
				_mm256_loadu_ps(a->bias + (ptrdiff_t)at - (ptrdiff_t)q->slot));
			s = _mm256_blendv_ps(lowest, s, seen(q, at));
			largest = _mm256_max_ps(s, largest);
			_mm256_store_ps(&t->e[i][attend_at(q, at)], s);
		}
	}
	q->largest = simd256_largest(largest);
}

SIMD_INLINE void score_job(struct attend_tile *t, size_t head_dim)
{
	for (size_t i = 0; i < t->n; i++)
		score(t, i, head_dim);
}

SIMD_INLINE void exponentials(struct attend_tile *t, size_t i)
{
	struct attend_query *q = &t->query[i];
	const __m256 m = _mm256_set1_ps(q->largest);
	__m256 aw = _mm256_setzero_ps();
	for (size_t at = q->over.block * 16; at < (q->over.last + 1) * 16; at += 8) {
		float *e = &t->e[i][attend_at(q, at)];
		__m256 in = seen(q, at);
		__m256 v = _mm256_and_ps(in, simd256_exp(_mm256_sub_ps(_mm256_load_ps(e), m)));
		_mm256_store_ps(e, v);
		v = _mm256_mul_ps(v, _mm256_loadu_ps(q->a->kv.v_scale + at));
		aw = _mm256_max_ps(_mm256_and_ps(in, v), aw);
	}
	float w = simd256_largest(aw);
	q->inv = w < WR_QUANTISE_TINY ? 0 : 127.0f / w;
	q->scale = w < WR_QUANTISE_TINY ? 0 : w / 127.0f;
}

SIMD_INLINE __m256i weight8(const struct attend_tile *t, size_t i, size_t at, __m256 inv)
{
	const struct attend_query *q = &t->query[i];
	__m256 w = _mm256_mul_ps(
		_mm256_load_ps(&t->e[i][attend_at(q, at)]), _mm256_loadu_ps(q->a->kv.v_scale + at));
	return _mm256_cvtps_epi32(_mm256_and_ps(seen(q, at), _mm256_mul_ps(w, inv)));
}

SIMD_INLINE void weights(struct attend_tile *t, size_t i)
{
	struct attend_query *q = &t->query[i];
	const __m256 inv = _mm256_set1_ps(q->inv);
	__m256 low = _mm256_setzero_ps(), high = low;
	const float *end = &t->e[i][attend_at(q, q->slot + 1)];
	for (size_t n = 1; n <= q->over.windows; n++) {
		low = _mm256_add_ps(low, _mm256_loadu_ps(end - n * 16));
		high = _mm256_add_ps(high, _mm256_loadu_ps(end - n * 16 + 8));
	}
	for (size_t at = q->over.block * 16; at < (q->over.last + 1) * 16; at += 16)
		_mm_store_si128((__m128i *)(void *)&t->p[i][attend_at(q, at) - ATTEND_FRONT],
			simd256_pack16(weight8(t, i, at, inv), weight8(t, i, at + 8, inv)));
	q->scale = q->scale / simd256_fold(low, high);
}

SIMD_INLINE void output(struct attend_tile *t, size_t i, size_t head_dim)
{
	const struct attend_query *q = &t->query[i];
	const struct wr_attend *a = q->a;
	const __m256 scale = _mm256_set1_ps(q->scale);
	for (size_t c = 0; c < head_dim; c += 16) {
		__m256i low = _mm256_setzero_si256(), high = low;
		for (size_t g = q->over.group; g <= q->over.last_group; g++) {
			const __m256i *v =
				(const __m256i *)(const void *)(a->kv.v + g * 4 * head_dim + c * 4);
			__m256i p =
				simd256_broadcast4(&t->p[i][attend_at(q, g * 4) - ATTEND_FRONT]);
			low = simd256_dot4(low, p, _mm256_load_si256(v));
			high = simd256_dot4(high, p, _mm256_load_si256(v + 1));
		}
		float *o = q->o + c;
		_mm256_storeu_ps(o, _mm256_mul_ps(_mm256_cvtepi32_ps(low), scale));
		_mm256_storeu_ps(o + 8, _mm256_mul_ps(_mm256_cvtepi32_ps(high), scale));
	}
}

void wr_attend_avx2(const struct wr_attend *jobs, size_t n_jobs)
{
	static const struct attend_steps steps = {score, score_job, exponentials, weights, output};
	attend_all(&steps, jobs, n_jobs);
}

/* ---- storing ---- */

/* Four values a channel side by side, 16 channels at a time. */
SIMD_INLINE void store_four_values(int8_t *out, const int8_t *v, size_t ld, size_t head_dim)
{
	for (size_t c = 0; c < head_dim; c += 16) {
		__m128i r[4];
		for (size_t i = 0; i < 4; i++)
			r[i] = _mm_loadu_si128((const __m128i *)(const void *)(v + i * ld + c));
		__m128i a0 = _mm_unpacklo_epi8(r[0], r[1]), b0 = _mm_unpacklo_epi8(r[2], r[3]);
		__m128i a1 = _mm_unpackhi_epi8(r[0], r[1]), b1 = _mm_unpackhi_epi8(r[2], r[3]);
		__m128i *to = (__m128i *)(void *)(out + c * 4);
		_mm_store_si128(to, _mm_unpacklo_epi16(a0, b0));
		_mm_store_si128(to + 1, _mm_unpackhi_epi16(a0, b0));
		_mm_store_si128(to + 2, _mm_unpacklo_epi16(a1, b1));
		_mm_store_si128(to + 3, _mm_unpackhi_epi16(a1, b1));
	}
}

/* One value into its lane of a group: whole vectors are read, changed and written, so that who
 * reads the group next does not wait for single bytes. */
SIMD_INLINE void store_value(int8_t *out, const int8_t *v, size_t lane, size_t head_dim)
{
	const __m128i by = _mm_cvtsi32_si128((int)(8 * lane));
	const __m256i mask = _mm256_sll_epi32(_mm256_set1_epi32(0xff), by);
	for (size_t c = 0; c < head_dim; c += 8) {
		__m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(v + c));
		__m256i *to = (__m256i *)(void *)(out + c * 4);
		__m256i old = _mm256_andnot_si256(mask, _mm256_load_si256(to));
		_mm256_store_si256(to,
			_mm256_or_si256(old, _mm256_sll_epi32(_mm256_cvtepu8_epi32(bytes), by)));
	}
}

SIMD_INLINE void store(const struct wr_kv_panel *p, size_t head_dim, size_t first, size_t m,
	const int8_t *k, const int8_t *v, size_t ld, const float *k_scale, const float *v_scale,
	size_t ld_scale)
{
	for (size_t i = 0; i < m; i++) {
		size_t slot = first + i;
		size_t block = slot / 16 * 16,
		       width = p->slots - block < 16 ? p->slots - block : 16;
		int8_t *key = p->k + block * head_dim + slot % 16 * 4;
		for (size_t c = 0; c < head_dim; c += 4)
			memcpy(key + c * width, k + i * ld + c, 4);
		p->k_scale[slot] = k_scale[i * ld_scale];
		p->v_scale[slot] = v_scale[i * ld_scale];
	}
	for (size_t i = 0, n; i < m; i += n) {
		size_t slot = first + i;
		int8_t *group = p->v + slot / 4 * 4 * head_dim;
		n = slot % 4 == 0 && i + 4 <= m ? 4 : 1;
		if (n == 4)
			store_four_values(group, v + i * ld, ld, head_dim);
		else
			store_value(group, v + i * ld, slot % 4, head_dim);
	}
}

void wr_kv_store_avx2(const struct wr_kv_panel *p, size_t head_dim, size_t first, size_t m,
	const int8_t *k, const int8_t *v, size_t ld, const float *k_scale, const float *v_scale,
	size_t ld_scale)
{
	if (head_dim == 32)
		store(p, 32, first, m, k, v, ld, k_scale, v_scale, ld_scale);
	else
		store(p, head_dim, first, m, k, v, ld, k_scale, v_scale, ld_scale);
}
