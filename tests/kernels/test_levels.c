/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every kernel of one level against the reference, bit for bit: all shapes and tails, adversarial
 * fills, unaligned pointers, guard pages behind every buffer and canaries before it. Products and
 * quantisers are here, the rest in test_levels_*.c.
 */
#include "level_test.h"

#include "levels.h"

const struct wr_kernels *level, *ref;
struct wr_rng rng;

/* ---- products ---- */

static bool gemm_case(
	size_t m, size_t n, size_t k, unsigned int a_fill, unsigned int w_fill, bool add)
{
	size_t lda = k + pick(0, 5), ldy = n + pick(0, 5);
	struct weights w = weights_new(n, k, w_fill);
	struct wr_guarded a = bytes(m ? (m - 1) * lda + k : 0, a_fill), s = floats(m, 0);
	struct wr_guarded y[2];
	y[0] = floats(m ? (m - 1) * ldy + n : 0, 0);
	y[1] = wr_guarded_new(y[0].bytes);
	memcpy(y[1].p, y[0].p, y[0].bytes);
	ref->gemm_s8(&w.w, m, a.p, lda, s.p, y[0].p, ldy, add);
	level->gemm_s8(&w.w, m, a.p, lda, s.p, y[1].p, ldy, add);
	bool ok = same(&y[0], &y[1]);
	weights_free(&w);
	wr_guarded_free(&a);
	wr_guarded_free(&s);
	wr_guarded_free(&y[0]);
	wr_guarded_free(&y[1]);
	return ok;
}

static void test_gemm(void)
{
	for (size_t m = 0; m <= 35; m++)
		for (size_t n = 16; n <= 208; n += 16)
			for (size_t k = 16; k <= 64; k += 16)
				CU_ASSERT(gemm_case(m, n, k, 0, 0, (m + n / 16) % 2));
	for (unsigned int a = 0; a < N_BYTE_FILLS; a++)
		for (unsigned int w = 0; w < N_BYTE_FILLS; w++)
			for (size_t k = 16; k <= WR_GEMM_MAX_K; k *= 4)
				CU_ASSERT(gemm_case(pick(1, 20), 16 * pick(1, 9), k, a, w, a % 2));
}

static void test_dequantise(void)
{
	for (unsigned int i = 0; i < 300; i++) {
		size_t m = pick(1, 9), n = 16 * pick(1, 9), lda = n + pick(0, 3),
		       ldy = n + pick(0, 3);
		struct wr_guarded acc = wr_guarded_new(((m - 1) * lda + n) * sizeof(int32_t));
		for (size_t j = 0; j < (m - 1) * lda + n; j++)
			((int32_t *)acc.p)[j] = (int32_t)wr_rng_below(&rng, 1u << 25) - (1 << 24);
		struct wr_guarded scale = floats(n, 0), s = floats(m, 0), y[2];
		y[0] = floats((m - 1) * ldy + n, 0);
		y[1] = wr_guarded_new(y[0].bytes);
		memcpy(y[1].p, y[0].p, y[0].bytes);
		ref->dequantise(m, n, acc.p, lda, scale.p, s.p, y[0].p, ldy, i % 2);
		level->dequantise(m, n, acc.p, lda, scale.p, s.p, y[1].p, ldy, i % 2);
		CU_ASSERT(same(&y[0], &y[1]));
		struct wr_guarded *all[] = {&acc, &scale, &s, &y[0], &y[1]};
		for (size_t j = 0; j < WR_ARRAY_LEN(all); j++)
			wr_guarded_free(all[j]);
	}
}

static void test_dot(void)
{
	for (size_t k = 16; k <= 1024; k += 16) {
		for (unsigned int f = 0; f < N_BYTE_FILLS * N_BYTE_FILLS; f++) {
			struct wr_guarded a = bytes(k, f % N_BYTE_FILLS),
					  b = bytes(k + 1, f / N_BYTE_FILLS);
			const int8_t *odd = (int8_t *)b.p + 1;
			CU_ASSERT_EQUAL(level->dot_s8(a.p, odd, k), ref->dot_s8(a.p, odd, k));
			wr_guarded_free(&a);
			wr_guarded_free(&b);
		}
	}
}

/* ---- quantisers ---- */

struct rows {
	size_t m, n, ldx, ldq, lds;
	struct wr_guarded x, q[2], s[2];
};

static struct rows rows_new(size_t m, size_t n, size_t lds, unsigned int fill)
{
	struct rows r = {.m = m, .n = n, .ldx = n + pick(0, 4), .ldq = n + pick(0, 4), .lds = lds};
	r.x = floats((m - 1) * r.ldx + n, fill);
	for (int i = 0; i < 2; i++) {
		r.q[i] = wr_guarded_new((m - 1) * r.ldq + n);
		r.s[i] = wr_guarded_new(((m - 1) * lds + 1) * sizeof(float));
	}
	return r;
}

static bool rows_same_and_free(struct rows *r)
{
	bool ok = same(&r->q[0], &r->q[1]) && same(&r->s[0], &r->s[1]) && wr_guarded_intact(&r->x);
	wr_guarded_free(&r->x);
	for (int i = 0; i < 2; i++) {
		wr_guarded_free(&r->q[i]);
		wr_guarded_free(&r->s[i]);
	}
	return ok;
}

static void test_quantise(void)
{
	for (unsigned int fill = 0; fill < N_FLOAT_FILLS; fill++) {
		for (size_t n = 16; n <= 1024; n += n < 256 ? 16 : 256) {
			for (int relu = 0; relu < 2; relu++) {
				struct rows r = rows_new(pick(1, 5), n, pick(1, 3), fill);
				for (int i = 0; i < 2; i++) {
					const struct wr_kernels *k = i ? level : ref;
					(relu ? k->relu_quantise : k->quantise)(r.m, n, r.x.p,
						r.ldx, r.q[i].p, r.ldq, r.s[i].p, r.lds);
				}
				CU_ASSERT(rows_same_and_free(&r));
			}
		}
	}
}

static void test_quantise_low(void)
{
	for (unsigned int fill = 0; fill < N_FLOAT_FILLS; fill++) {
		for (size_t n = 16; n <= 1024; n += n < 256 ? 16 : 256) {
			for (int relu = 0; relu < 2; relu++) {
				struct rows r = rows_new(pick(1, 5), n, 1, fill);
				struct wr_guarded q = wr_guarded_new((r.m - 1) * n + n);
				struct wr_guarded scale = wr_guarded_new(r.m * sizeof(float));
				(relu ? ref->relu_quantise : ref->quantise)(
					r.m, n, r.x.p, r.ldx, q.p, n, scale.p, 1);
				for (int i = 0; i < 2; i++)
					(i ? level : ref)
						->quantise_low(r.m, n, r.x.p, r.ldx, relu, q.p, n,
							scale.p, r.q[i].p, r.ldq, r.s[i].p);
				CU_ASSERT(rows_same_and_free(&r));
				wr_guarded_free(&q);
				wr_guarded_free(&scale);
			}
		}
	}
}

static void test_norm_quantise(void)
{
	for (unsigned int fill = 0; fill < N_FLOAT_FILLS; fill++) {
		for (size_t n = 16; n <= 256; n += 16) {
			struct rows r = rows_new(pick(1, 5), n, 1, fill);
			for (int i = 0; i < 2; i++)
				(i ? level : ref)
					->norm_quantise(r.m, n, 1e-6f, r.x.p, r.ldx, r.q[i].p,
						r.ldq, r.s[i].p);
			CU_ASSERT(rows_same_and_free(&r));
		}
	}
}

static void test_user_quantise(void)
{
	for (unsigned int fill = 0; fill < N_FLOAT_FILLS; fill++) {
		for (size_t n = 16; n <= 256; n += 16) {
			struct rows r = rows_new(pick(1, 5), n, 1, fill);
			struct wr_guarded gain = floats(n, 0);
			for (int i = 0; i < 2; i++)
				(i ? level : ref)
					->user_quantise(r.m, n, gain.p, 20, r.x.p, r.ldx, r.q[i].p,
						r.ldq, r.s[i].p);
			CU_ASSERT(rows_same_and_free(&r));
			wr_guarded_free(&gain);
		}
	}
}

static void test_embed(void)
{
	enum { ITEMS = 50 };
	for (size_t n = 16; n <= 256; n += 16) {
		size_t m = pick(1, 7), ldx = n + pick(0, 4);
		struct wr_guarded items = bytes(ITEMS * n, 0), in = floats(ITEMS, 0);
		struct wr_guarded rows = wr_guarded_new(m * sizeof(uint32_t)), x[2];
		for (size_t i = 0; i < m; i++)
			((uint32_t *)rows.p)[i] = i ? wr_rng_below(&rng, ITEMS) : ITEMS - 1;
		for (int i = 0; i < 2; i++) {
			x[i] = wr_guarded_new(((m - 1) * ldx + n) * sizeof(float));
			(i ? level : ref)->embed(m, n, items.p, in.p, rows.p, x[i].p, ldx);
		}
		CU_ASSERT(same(&x[0], &x[1]));
		struct wr_guarded *all[] = {&items, &in, &rows, &x[0], &x[1]};
		for (size_t i = 0; i < WR_ARRAY_LEN(all); i++)
			wr_guarded_free(all[i]);
	}
}

int main(int argc, char **argv)
{
	static const struct wr_test tests[] = {{"product", test_gemm},
		{"dequantisation", test_dequantise}, {"dot product", test_dot},
		{"quantise and relu + quantise", test_quantise},
		{"second plane", test_quantise_low}, {"norm + quantise", test_norm_quantise},
		{"user vector", test_user_quantise}, {"input", test_embed},
		{"storing keys and values", test_kv_store},
		{"gathering keys and values", test_kv_gather}, {"attention", test_attend},
		{"attention over rows", test_attend_rows}, {"origin", test_origin},
		{"scores above a threshold", test_topk_above}, {"items of groups", test_topk_items},
		{"order of candidates", test_topk_order}, {"best of groups", test_score_best},
		{"bound", test_score_bound}, {"bound, exactly", test_score_bound_exact},
		{"items one by one", test_score_rows}};
	if (argc != 2) {
		fprintf(stderr, "usage: %s avx2|avx512vnni|amx|simde|emulated\n", argv[0]);
		return 2;
	}
	ref = wr_kernels_get(WR_KERNELS_REF);
	level = wr_level_kernels(argv[1]);
	if (!level) {
		printf("SKIP: this CPU lacks what level %s needs\n", argv[1]);
		return WR_TEST_SKIP;
	}
	wr_rng_init(&rng, 1, 0);
	return wr_test_run(argv[1], tests, WR_ARRAY_LEN(tests));
}
