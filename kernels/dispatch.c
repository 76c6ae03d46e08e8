/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Levels and their tables; where a level has nothing better, the next lower one's kernel stands.
 * __builtin_cpu_supports reads CPUID and, for AVX and later, XCR0.
 */
#include "wr_kernels.h"

#include "amx_state.h"

#include <assert.h>

/* What AMX leaves to AVX-512 VNNI. */
/* clang-format off */
#define AVX512VNNI_AND_AMX \
	.dequantise = wr_dequantise_avx512vnni, \
	.dot_s8 = wr_dot_s8_avx2, \
	.quantise = wr_quantise_avx512vnni, \
	.relu_quantise = wr_relu_quantise_avx512vnni, \
	.quantise_low = wr_quantise_low_avx512vnni, \
	.norm_quantise = wr_norm_quantise_avx512vnni, \
	.user_quantise = wr_user_quantise_avx512vnni, \
	.embed = wr_embed_avx512vnni, \
	.kv_store = wr_kv_store_avx2, \
	.kv_gather = wr_kv_gather_avx2, \
	.attend = wr_attend_avx512vnni, \
	.decode = wr_decode_avx512vnni, \
	.attend_rows = wr_attend_rows_avx512vnni, \
	.topk_above = wr_topk_above_avx512vnni, \
	.topk_items = wr_topk_items_avx2, \
	.topk_order = wr_topk_order_avx512vnni, \
	.score_bound = wr_score_bound_avx512vnni, \
	.score_rows = wr_score_rows_avx512vnni
/* clang-format on */

static const struct wr_kernels tables[WR_KERNELS_N_LEVELS] = {
	[WR_KERNELS_REF] =
		{
			.gemm_s8 = wr_gemm_s8_ref,
			.dequantise = wr_dequantise_ref,
			.dot_s8 = wr_dot_s8_ref,
			.quantise = wr_quantise_ref,
			.relu_quantise = wr_relu_quantise_ref,
			.quantise_low = wr_quantise_low_ref,
			.norm_quantise = wr_norm_quantise_ref,
			.user_quantise = wr_user_quantise_ref,
			.embed = wr_embed_ref,
			.kv_store = wr_kv_store_ref,
			.kv_gather = wr_kv_gather_ref,
			.attend = wr_attend_ref,
			.decode = wr_decode_ref,
			.topk_above = wr_topk_above_ref,
			.topk_items = wr_topk_items_ref,
			.topk_order = wr_topk_order_ref,
			.score_users = wr_score_users_ref,
			.score_best = wr_score_best_ref,
			.score_bound = wr_score_bound_ref,
			.score_rows = wr_score_rows_ref,
			.sweep_percent = 100,
		},
	[WR_KERNELS_AVX2] =
		{
			.gemm_s8 = wr_gemm_s8_avx2,
			.dequantise = wr_dequantise_avx2,
			.dot_s8 = wr_dot_s8_avx2,
			.quantise = wr_quantise_avx2,
			.relu_quantise = wr_relu_quantise_avx2,
			.quantise_low = wr_quantise_low_avx2,
			.norm_quantise = wr_norm_quantise_avx2,
			.user_quantise = wr_user_quantise_avx2,
			.embed = wr_embed_avx2,
			.kv_store = wr_kv_store_avx2,
			.kv_gather = wr_kv_gather_avx2,
			.attend = wr_attend_avx2,
			.decode = wr_decode_avx2,
			.topk_above = wr_topk_above_avx2,
			.topk_items = wr_topk_items_avx2,
			.topk_order = wr_topk_order_avx2,
			.score_users = wr_score_users_avx2,
			.score_best = wr_score_best_avx2,
			.score_bound = wr_score_bound_avx2,
			.score_rows = wr_score_rows_avx2,
			.sweep_percent = 100,
		},
	[WR_KERNELS_AVX512VNNI] =
		{
			AVX512VNNI_AND_AMX,
			.gemm_s8 = wr_gemm_s8_avx512vnni,
			.score_users = wr_score_users_avx512vnni,
			.score_best = wr_score_best_avx512vnni,
			.sweep_percent = 100,
		},
	[WR_KERNELS_AMX] =
		{
			AVX512VNNI_AND_AMX,
			.gemm_s8 = wr_gemm_s8_amx,
			.score_users = wr_score_users_amx,
			.score_best = wr_score_best_amx,
			.sweep_percent = 67,
		},
};

const char *wr_kernels_name(enum wr_kernels_level level)
{
	static const char *const names[] = {"ref", "avx2", "avx512vnni", "amx"};
	return level < WR_KERNELS_N_LEVELS ? names[level] : "unknown";
}

bool wr_kernels_supported(enum wr_kernels_level level)
{
	__builtin_cpu_init();
	switch (level) {
	case WR_KERNELS_REF:
		return true;
	case WR_KERNELS_AVX2:
		return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
	case WR_KERNELS_AVX512VNNI:
		return wr_kernels_supported(WR_KERNELS_AVX2) && __builtin_cpu_supports("avx512f") &&
		       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
		       __builtin_cpu_supports("avx512vnni");
	case WR_KERNELS_AMX:
		return wr_kernels_supported(WR_KERNELS_AVX512VNNI) && wr_amx_allowed();
	default:
		return false;
	}
}

const struct wr_kernels *wr_kernels_get(enum wr_kernels_level level)
{
	assert(level < WR_KERNELS_N_LEVELS);
	return &tables[level];
}
