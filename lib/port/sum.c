/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One's complement sum of a payload, 64 … 1,300 bytes, at most twice a frame: 16-bit words are
 * added up in 32-bit lanes, folded at the end. rte_raw_cksum adds them one by one (two instructions
 * a word), which was a fifth of an echo.
 */
#include "frame_int.h"

#include <immintrin.h>

/* What the vectors leave: below 32 bytes. */
static inline uint64_t sum_tail(const uint8_t *p, uint32_t n)
{
	uint64_t sum = 0, words;
	uint32_t word;
	uint16_t half;

	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&words, p, 8);
		sum += (words & 0xffffffff) + (words >> 32);
	}
	if (n & 4) {
		memcpy(&word, p, 4);
		sum += word;
		p += 4;
	}
	if (n & 2) {
		memcpy(&half, p, 2);
		sum += half;
		p += 2;
	}
	return n & 1 ? sum + *p : sum;
}

/*
 * Words less 2^15 are signed, so that one multiply-add with ones sums two of them; what was taken
 * off is added at the end. A lane stays below 2^16 a vector, all lanes of 65,535 bytes below 2^31.
 */
#define TAKEN_OFF 0x8000u

uint64_t wr_frame_add_words_sse2(const uint8_t *p, uint32_t n)
{
	const __m128i off = _mm_set1_epi16((short)TAKEN_OFF), ones = _mm_set1_epi16(1);
	__m128i sum = _mm_setzero_si128();
	uint32_t n_words = n / 16 * 8;

	assert(n <= UINT16_MAX);
	for (; n >= 16; p += 16, n -= 16) {
		__m128i v = _mm_xor_si128(_mm_loadu_si128((const __m128i *)p), off);
		sum = _mm_add_epi32(sum, _mm_madd_epi16(v, ones));
	}
	sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
	sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
	int64_t total = _mm_cvtsi128_si32(sum) + (int64_t)n_words * TAKEN_OFF;
	return (uint64_t)total + sum_tail(p, n);
}

__attribute__((target("avx2,tune=haswell"))) uint64_t wr_frame_add_words_avx2(
	const uint8_t *p, uint32_t n)
{
	const __m256i off = _mm256_set1_epi16((short)TAKEN_OFF), ones = _mm256_set1_epi16(1);
	__m256i a = _mm256_setzero_si256(), b = a;
	uint32_t n_words = n / 32 * 16;

	assert(n <= UINT16_MAX);
	for (; n >= 64; p += 64, n -= 64) {
		__m256i v = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)p), off),
			w = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)p + 1), off);
		a = _mm256_add_epi32(a, _mm256_madd_epi16(v, ones));
		b = _mm256_add_epi32(b, _mm256_madd_epi16(w, ones));
	}
	if (n >= 32) {
		__m256i v = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)p), off);
		a = _mm256_add_epi32(a, _mm256_madd_epi16(v, ones));
		p += 32;
		n -= 32;
	}
	a = _mm256_add_epi32(a, b);
	__m128i sum = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
	sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
	sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
	int64_t total = _mm_cvtsi128_si32(sum) + (int64_t)n_words * TAKEN_OFF;
	_mm256_zeroupper(); /* gcc 12 leaves it out here; SSE code that follows would wait */
	return (uint64_t)total + sum_tail(p, n);
}

uint64_t wr_frame_add_words(const void *data, uint32_t n)
{
	return __builtin_cpu_supports("avx2") ? wr_frame_add_words_avx2(data, n)
					      : wr_frame_add_words_sse2(data, n);
}
