/* SPDX-License-Identifier: BSD-3-Clause */
/* oneDNN's int8 product against plain sums, exactly: every number of rows, adversarial fills.
 * Skipped without VNNI. */
#include "fills.h"
#include "gemm_onednn.h"
#include "wr_kernels.h"
#include "wr_test.h"

#include <string.h>

enum { MAX_N = 192, MAX_K = 256, ROWS = WR_GEMM_ONEDNN_ROWS };

static int8_t a[ROWS * MAX_K] __attribute__((aligned(64)));
static int32_t acc[ROWS * MAX_N] __attribute__((aligned(64)));
static int8_t weights[MAX_N * MAX_K];
static struct wr_rng rng;

static bool sums_are_right(size_t m, size_t n, size_t k)
{
	for (size_t i = 0; i < m; i++)
		for (size_t o = 0; o < n; o++)
			if (acc[i * n + o] != wr_dot_s8_ref(a + i * k, weights + o * k, k))
				return false;
	return true;
}

static void test_exact(void)
{
	static const struct {
		size_t n, k;
	} shape[] = {{192, 64}, {64, 64}, {128, 64}, {64, 128}, {16, 16}, {48, 80}, {16, 256}};
	struct wr_gemm_onednn *g;
	struct wr_errmsg msg;
	if (!wr_gemm_onednn_exact()) {
		CU_ASSERT_EQUAL(wr_gemm_onednn_new(&g, a, acc, &msg), WR_ENOTSUP);
		wr_test_skip(msg.text);
		return;
	}
	CU_ASSERT_FATAL(wr_gemm_onednn_new(&g, a, acc, &msg) == WR_OK);
	for (size_t s = 0; s < WR_ARRAY_LEN(shape); s++) {
		for (unsigned int fill = 0; fill < N_BYTE_FILLS; fill++) {
			size_t n = shape[s].n, k = shape[s].k;
			unsigned int matrix;
			wr_fill_bytes(weights, n * k, fill, &rng);
			CU_ASSERT_FATAL(
				wr_gemm_onednn_add(g, weights, n, k, &matrix, &msg) == WR_OK);
			for (size_t m = 1; m <= ROWS; m += fill ? 9 : 1) {
				wr_fill_bytes(a, m * k, (unsigned int)m % N_BYTE_FILLS, &rng);
				memset(acc, 0x55, sizeof(acc));
				wr_gemm_onednn_run(g, matrix, m);
				CU_ASSERT(sums_are_right(m, n, k));
			}
		}
	}
	wr_gemm_onednn_free(g);
}

int main(void)
{
	static const struct wr_test tests[] = {{"oneDNN sums are exact", test_exact}};
	wr_rng_init(&rng, 1, 0);
	return wr_test_run("onednn", tests, WR_ARRAY_LEN(tests));
}
