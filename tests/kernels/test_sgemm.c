/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Training's products in every math: rounding to bf16 bit for bit; matmul over floats and over
 * rounded floats against sums in double, transposed, strided and accumulated; bf16 itself where the
 * CPU has it, and float in its place where not.
 */
#include "sgemm_int.h"
#include "wr_base.h"
#include "wr_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PAD 5 /* elements between rows that belong to nobody */

static float of_bits(uint32_t u)
{
	float f;
	memcpy(&f, &u, sizeof(f));
	return f;
}

static uint32_t bits_of(float f)
{
	uint32_t u;
	memcpy(&u, &f, sizeof(u));
	return u;
}

static float rounded(float x)
{
	return of_bits((uint32_t)wr_sgemm_to_bf16(x) << 16);
}

/* Neighbouring bf16s are what cutting gives and one step further from 0. */
static bool rounds_right(uint32_t u)
{
	uint32_t low = u & 0xffff0000u, high = low + 0x10000u, got = bits_of(rounded(of_bits(u)));
	uint32_t rest = u & 0xffffu;
	uint32_t want = rest < 0x8000u || (rest == 0x8000u && !(low >> 16 & 1)) ? low : high;
	return isnan(of_bits(u)) ? isnan(of_bits(got)) : got == want;
}

static void test_rounding(void)
{
	static const uint32_t edge[] = {0, 0x80000000u, 1, 0x7f800000u, 0xff800000u, 0x7f7fffffu,
		0x7f800001u, 0xffffffffu, 0x3f808000u, 0x3f818000u, 0x3f807fffu, 0x3f808001u,
		0x00008000u, 0x7f7f8000u};
	struct wr_rng r;
	for (size_t i = 0; i < WR_ARRAY_LEN(edge); i++)
		CU_ASSERT(rounds_right(edge[i]));
	wr_rng_init(&r, 1, 2);
	int wrong = 0;
	for (int i = 0; i < 100000; i++)
		wrong += !rounds_right((uint32_t)wr_rng_u64(&r));
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(rounded(1.0f), 1.0f);
	CU_ASSERT_EQUAL(rounded(1.00390625f), 1.0f);      /* half a step: to even, down */
	CU_ASSERT_EQUAL(rounded(1.01171875f), 1.015625f); /* half a step: to even, up */
}

struct product {
	bool trans_a, trans_b;
	size_t m, n, k;
	float beta;
};
struct operands {
	float *a, *b, *c;
	size_t lda, ldb, ldc, n_c;
};

static float *fill(size_t n, struct wr_rng *r)
{
	float *x = malloc(n * sizeof(*x));
	for (size_t i = 0; i < n; i++)
		x[i] = (float)wr_rng_normal(r);
	return x;
}

static struct operands make(const struct product *p)
{
	struct wr_rng r;
	struct operands o = {.lda = (p->trans_a ? p->m : p->k) + PAD,
		.ldb = (p->trans_b ? p->k : p->n) + PAD,
		.ldc = p->n + PAD};
	wr_rng_init(&r, 3, 4);
	o.n_c = p->m * o.ldc;
	o.a = fill((p->trans_a ? p->k : p->m) * o.lda, &r);
	o.b = fill((p->trans_b ? p->n : p->k) * o.ldb, &r);
	o.c = fill(o.n_c, &r);
	return o;
}

static void discard(struct operands *o)
{
	free(o->a);
	free(o->b);
	free(o->c);
}

static bool multiply(enum wr_math math, const struct product *p, const struct operands *o, float *c)
{
	return wr_sgemm_matmul(math, p->trans_a, p->trans_b, p->m, p->n, p->k, o->a, o->lda, o->b,
		o->ldb, p->beta, c, o->ldc);
}

/*
 * Sums in double of what goes in. A float sum of k products errs by at most k·2^-24 of the sum of
 * their magnitudes (Higham 2002, 3.1), and beta·C and its addition by 2^-23 of theirs.
 */
static void check_sums(
	const struct product *p, const struct operands *o, bool round, const float *got)
{
	size_t wrong = 0;
	for (size_t i = 0; i < p->m; i++)
		for (size_t j = 0; j < o->ldc; j++) {
			size_t at = i * o->ldc + j;
			if (j >= p->n) {
				wrong += bits_of(got[at]) != bits_of(o->c[at]);
				continue;
			}
			double sum = (double)p->beta * (double)o->c[at], size = fabs(sum);
			for (size_t t = 0; t < p->k; t++) {
				float x = p->trans_a ? o->a[t * o->lda + i] : o->a[i * o->lda + t],
				      y = p->trans_b ? o->b[j * o->ldb + t] : o->b[t * o->ldb + j];
				double z = (double)(round ? rounded(x) : x) *
					   (double)(round ? rounded(y) : y);
				sum += z;
				size += fabs(z);
			}
			double bound = size * ((double)p->k + 2) / (1 << 24) * 2;
			wrong += !(fabs((double)got[at] - sum) <= bound + 1e-30);
		}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void check(enum wr_math math, const struct product *p)
{
	struct operands o = make(p);
	float *c = malloc(o.n_c * sizeof(*c));
	memcpy(c, o.c, o.n_c * sizeof(*c));
	bool ok = multiply(math, p, &o, c);
	CU_ASSERT(ok);
	if (ok)
		check_sums(p, &o, math != WR_MATH_FLOAT, c);
	free(c);
	discard(&o);
}

static const size_t shape[][3] = {{1, 1, 1}, {3, 7, 5}, {64, 33, 16}, {17, 128, 64}, {2, 300, 31},
	{65, 64, 100}, {64, 1, 48}};

static void check_all(enum wr_math math)
{
	static const float betas[] = {0, 1, 0.5f};
	for (size_t i = 0; i < WR_ARRAY_LEN(shape); i++)
		for (int t = 0; t < 4; t++)
			for (size_t b = 0; b < WR_ARRAY_LEN(betas); b++)
				check(math, &(struct product){t & 1, t >> 1, shape[i][0],
						    shape[i][1], shape[i][2], betas[b]});
}

static void test_floats(void)
{
	check_all(WR_MATH_FLOAT);
}

static void test_rounded(void)
{
	check_all(WR_MATH_ROUNDED);
}

/* wr_sgemm goes where it is told to: rounded operands give other sums, and float is what it was. */
static void test_set(void)
{
	const struct product p = {false, true, 131, 130, 64, 1}; /* not small */
	struct operands o = make(&p);
	float *c[4];
	static const enum wr_math math[4] = {
		WR_MATH_FLOAT, WR_MATH_ROUNDED, WR_MATH_BF16, WR_MATH_FLOAT};
	for (int i = 0; i < 4; i++) {
		c[i] = malloc(o.n_c * sizeof(float));
		memcpy(c[i], o.c, o.n_c * sizeof(float));
		wr_sgemm_set_math(wr_math_used(math[i]));
		wr_sgemm(false, true, p.m, p.n, p.k, o.a, o.lda, o.b, o.ldb, 1, c[i], o.ldc);
	}
	check_sums(&p, &o, false, c[0]);
	check_sums(&p, &o, true, c[1]);
	check_sums(&p, &o, wr_math_used(WR_MATH_BF16) == WR_MATH_BF16, c[2]);
	CU_ASSERT_NOT_EQUAL(memcmp(c[0], c[1], o.n_c * sizeof(float)), 0);
	CU_ASSERT_EQUAL(memcmp(c[0], c[3], o.n_c * sizeof(float)), 0);
	for (int i = 0; i < 4; i++)
		free(c[i]);
	discard(&o);
}

static void test_bf16(void)
{
	if (wr_math_used(WR_MATH_BF16) == WR_MATH_BF16)
		check_all(WR_MATH_BF16);
	else
		wr_test_skip("this CPU has neither avx512_bf16 nor AMX");
}

/* Without bf16, float is what there is instead, and a product that is asked for all the same leaves
 * C alone when it cannot be. */
static void test_without(void)
{
	const struct product p = {false, false, 8, 8, 8, 1};
	struct operands o = make(&p);
	float *c = malloc(o.n_c * sizeof(*c));
	memcpy(c, o.c, o.n_c * sizeof(*c));
	if (multiply(WR_MATH_BF16, &p, &o, c))
		check_sums(&p, &o, true, c);
	else
		CU_ASSERT_EQUAL(memcmp(c, o.c, o.n_c * sizeof(*c)), 0);
	wr_sgemm_set_math(WR_MATH_BF16);
	bool there = wr_math_used(WR_MATH_BF16) == WR_MATH_BF16;
	memcpy(c, o.c, o.n_c * sizeof(*c));
	wr_sgemm(false, false, 8, 8, 8, o.a, o.lda, o.b, o.ldb, 1, c, o.ldc);
	wr_sgemm_set_math(WR_MATH_FLOAT);
	if (!there && !multiply(WR_MATH_BF16, &p, &o, o.c))
		check_sums(&p, &o, false, c);
	free(c);
	discard(&o);
}

static void test_names(void)
{
	for (unsigned int i = 0; i < WR_N_MATHS; i++)
		CU_ASSERT_EQUAL(wr_math_parse(wr_math_name((enum wr_math)i)), i);
	CU_ASSERT_EQUAL(wr_math_parse("half"), WR_N_MATHS);
}

int main(int argc, char **argv)
{
	static const struct wr_test tests[] = {
		{"floats are rounded to the nearest bf16, ties to even", test_rounding},
		{"matmul over floats", test_floats},
		{"matmul over rounded floats", test_rounded},
		{"products are in the math that is set", test_set},
		{"without bf16 products are float", test_without},
		{"names", test_names},
	};
	static const struct wr_test bf16[] = {{"matmul over bf16", test_bf16}};
	if (argc < 2)
		return wr_test_run("kernels sgemm", tests, WR_ARRAY_LEN(tests));
	if (strcmp(argv[1], "bf16") != 0)
		return 2;
	return wr_test_run("kernels sgemm bf16", bf16, WR_ARRAY_LEN(bf16));
}
