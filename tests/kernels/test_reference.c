/* SPDX-License-Identifier: BSD-3-Clause */
/* The reference kernels against independent forms: unpacked products, double-precision softmax,
 * libm's exponential. */
#include "fills.h"
#include "wr_test.h"

#include "wr_kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct wr_rng rng;

static void test_gemm_against_unpacked_rows(void)
{
	enum { M = 3, N = 40, PADDED = 48, K = 32 };
	static int8_t a[M * K], w[N * K];
	static int8_t packed[PADDED * K] __attribute__((aligned(64)));
	int32_t start[PADDED];
	float scale[PADDED], a_scale[M], y[M * PADDED];
	wr_fill_bytes(a, sizeof(a), 0, &rng);
	wr_fill_bytes(w, sizeof(w), 0, &rng);
	wr_fill_floats(scale, PADDED, 0, &rng);
	wr_fill_floats(a_scale, M, 0, &rng);
	wr_gemm_s8_pack(w, N, PADDED, K, packed, start);
	struct wr_gemm_weights g = {packed, start, scale, PADDED, K};
	wr_gemm_s8_ref(&g, M, a, K, a_scale, y, PADDED, false);
	for (size_t o = 0; o < PADDED; o++) {
		int32_t sum = 0;
		for (size_t c = 0; c < K && o < N; c++)
			sum += w[o * K + c];
		CU_ASSERT_EQUAL(start[o], -128 * sum);
		for (size_t i = 0; i < M; i++) {
			int32_t dot = o < N ? wr_dot_s8_ref(a + i * K, w + o * K, K) : 0;
			CU_ASSERT_EQUAL(y[i * PADDED + o], ((float)dot * scale[o]) * a_scale[i]);
		}
	}
}

static void test_quantise_error_is_half_a_step(void)
{
	float x[64], scale;
	int8_t q[64];
	for (unsigned int fill = 0; fill < N_FLOAT_FILLS; fill++) {
		wr_fill_floats(x, 64, fill, &rng);
		wr_quantise_ref(1, 64, x, 64, q, 64, &scale, 1);
		for (size_t i = 0; i < 64; i++) {
			CU_ASSERT(q[i] >= -127);
			/* Half a step, and the roundings of inv, the product and scale: below 2^-21
			 * of it each. */
			CU_ASSERT(fabs((double)x[i] - q[i] * (double)scale) <=
				  (double)scale * 0.5001 + 1e-30);
		}
	}
}

/* A step of the second plane is 1 / 254 of the first's. */
static void test_second_plane(void)
{
	float x[64], scale, low_scale;
	int8_t q[64], low[64];
	for (unsigned int fill = 0; fill < 2 * N_FLOAT_FILLS; fill++) {
		bool relu = fill >= N_FLOAT_FILLS;
		wr_fill_floats(x, 64, fill % N_FLOAT_FILLS, &rng);
		(relu ? wr_relu_quantise_ref : wr_quantise_ref)(1, 64, x, 64, q, 64, &scale, 1);
		wr_quantise_low_ref(1, 64, x, 64, relu, q, 64, &scale, low, 64, &low_scale);
		CU_ASSERT_EQUAL(low_scale, scale / 254.0f);
		for (size_t i = 0; i < 64; i++) {
			double want = relu ? fmax((double)x[i], 0) : (double)x[i];
			double got = q[i] * (double)scale + low[i] * (double)low_scale;
			CU_ASSERT(low[i] >= -127);
			/* Half a step, and roundings of 127 steps of the first plane: 3 · 2^-24 of
			 * 127 · 254 small ones are 0.006. */
			CU_ASSERT(fabs(want - got) <= (double)low_scale * 0.51 + 1e-30);
		}
	}
}

/* Rows times weights in two planes each, against doubles and against one plane. */
static void test_product_in_two_planes(void)
{
	enum { M = 8, N = 32, K = 128 };
	static float x[M * K], w[N * K], y[M * N];
	static int8_t a[M * K], a_low[M * K], q[N * K], q_low[N * K];
	static int8_t packed[2][N * K] __attribute__((aligned(64)));
	int32_t start[2][N];
	float a_scale[M], a_low_scale[M], s[N], s_low[N];
	double off[2] = {0};
	wr_fill_floats(x, M * K, 0, &rng);
	wr_fill_floats(w, N * K, 0, &rng);
	wr_quantise_ref(M, K, x, K, a, K, a_scale, 1);
	wr_quantise_low_ref(M, K, x, K, false, a, K, a_scale, a_low, K, a_low_scale);
	wr_quantise_ref(N, K, w, K, q, K, s, 1);
	wr_quantise_low_ref(N, K, w, K, false, q, K, s, q_low, K, s_low);
	wr_gemm_s8_pack(q, N, N, K, packed[0], start[0]);
	wr_gemm_s8_pack(q_low, N, N, K, packed[1], start[1]);
	struct wr_gemm_weights g = {packed[0], start[0], s, N, K},
			       low = {packed[1], start[1], s_low, N, K};
	for (int planes = 0; planes < 2; planes++) {
		wr_gemm_s8_ref(&g, M, a, K, a_scale, y, N, false);
		if (planes) {
			wr_gemm_s8_ref(&low, M, a, K, a_scale, y, N, true);
			wr_gemm_s8_ref(&g, M, a_low, K, a_low_scale, y, N, true);
		}
		for (size_t i = 0; i < M * N; i++) {
			double want = 0;
			for (size_t c = 0; c < K; c++)
				want += (double)x[i / N * K + c] * (double)w[i % N * K + c];
			off[planes] += fabs(want - (double)y[i]);
		}
	}
	printf("(error of two planes: 1/%.0f of one's) ", off[0] / off[1]);
	CU_ASSERT(off[1] < off[0] / 100);
}

static void test_exponential(void)
{
	CU_ASSERT_EQUAL(wr_attend_exp_ref(0), 1.0f);
	double worst = 0;
	for (double x = -86.99; x <= 0; x += 1.7e-4) {
		double e = exp((double)(float)x);
		worst = fmax(worst, fabs((double)wr_attend_exp_ref((float)x) - e) / e);
	}
	/* The polynomial's 2.9e-6, and 1.2e-6 of a rounded log2(e) at the far end. */
	CU_ASSERT(worst < 4.3e-6);
	CU_ASSERT(
		wr_attend_exp_ref(-1e30f) == wr_attend_exp_ref(-87) && wr_attend_exp_ref(-87) > 0);
}

/* One query over n slots, in doubles. */
static void softmax_in_doubles(
	const struct wr_attend *a, const int8_t *k, const int8_t *v, size_t n, double *o)
{
	double e[64], z = 0, largest = -1e300;
	for (size_t j = 0; j < n; j++) {
		e[j] = (double)wr_dot_s8_ref(a->q, k + j * a->head_dim, a->head_dim) *
			       (double)a->kv.k_scale[j] * (double)a->q_scale[0] /
			       sqrt(a->head_dim) +
		       (double)a->bias[-(ptrdiff_t)(n - 1 - j)];
		largest = fmax(largest, e[j]);
	}
	for (size_t j = 0; j < n; j++)
		z += e[j] = exp(e[j] - largest);
	for (size_t c = 0; c < a->head_dim; c++) {
		o[c] = 0;
		for (size_t j = 0; j < n; j++)
			o[c] += e[j] / z * v[j * a->head_dim + c] * (double)a->kv.v_scale[j];
	}
}

static void test_attention_against_doubles(void)
{
	enum { N = 50, DH = 32, SLOTS = 64 };
	static int8_t memory[SLOTS * (2 * DH + 8)] __attribute__((aligned(64)));
	int8_t k[N * DH], v[N * DH], q[DH];
	float ks[N], vs[N], qs = 0.02f, bias[N + 2 * WR_ATTEND_BIAS_PAD], o[DH];
	for (unsigned int round = 0; round < 50; round++) {
		wr_fill_bytes(k, sizeof(k), 0, &rng);
		wr_fill_bytes(v, sizeof(v), 0, &rng);
		wr_fill_bytes(q, sizeof(q), 0, &rng);
		wr_fill_floats(bias, WR_ARRAY_LEN(bias), 0, &rng);
		double largest = 0;
		for (size_t j = 0; j < N; j++) {
			ks[j] = 0.01f + 0.01f * (float)wr_rng_double(&rng);
			vs[j] = 0.01f + 0.01f * (float)wr_rng_double(&rng);
			largest = fmax(largest, (double)vs[j]);
		}
		struct wr_attend a = {.kv = wr_kv_panel_at(memory, SLOTS, DH),
			.q = q,
			.q_scale = &qs,
			.bias = bias + WR_ATTEND_BIAS_PAD + N - 1,
			.o = o,
			.n_queries = 1,
			.first = N - 1,
			.window = N,
			.head_dim = DH,
			.inv_sqrt = 1.0f / sqrtf(DH)};
		wr_kv_store_ref(&a.kv, DH, 0, N, k, v, DH, ks, vs, 1);
		wr_attend_ref(&a, 1);
		double want[DH];
		softmax_in_doubles(&a, k, v, N, want);
		/*
		 * A weight w_a = e_a·sv_a is off by at most half of aw/127, with aw ≤ largest sv
		 * and z ≥ 1: 50 of them, each times |v| ≤ 127, are off by 25 · largest sv. Errors
		 * are random, so a fifth of it is generous.
		 */
		for (size_t c = 0; c < DH; c++)
			CU_ASSERT(fabs((double)o[c] - want[c]) < 5 * largest);
	}
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"product and packing against unpacked rows", test_gemm_against_unpacked_rows},
		{"quantisation error", test_quantise_error_is_half_a_step},
		{"error of two planes", test_second_plane},
		{"product in two planes", test_product_in_two_planes},
		{"exponential against libm", test_exponential},
		{"attention against doubles", test_attention_against_doubles}};
	wr_rng_init(&rng, 1, 0);
	return wr_test_run("reference", tests, WR_ARRAY_LEN(tests));
}
