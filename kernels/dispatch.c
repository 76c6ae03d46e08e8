/* SPDX-License-Identifier: BSD-3-Clause */
/* Levels and their tables. __builtin_cpu_supports reads CPUID and, for AVX and later, XCR0. */
#include "wr_kernels.h"

#include <assert.h>

#define TABLE(level) \
	{.gemm_s8 = wr_gemm_s8_##level, \
		.dequantise = wr_dequantise_##level, \
		.dot_s8 = wr_dot_s8_##level, \
		.quantise = wr_quantise_##level, \
		.relu_quantise = wr_relu_quantise_##level, \
		.norm_quantise = wr_norm_quantise_##level, \
		.user_quantise = wr_user_quantise_##level, \
		.embed = wr_embed_##level, \
		.kv_store = wr_kv_store_##level, \
		.attend = wr_attend_##level, \
		.topk_above = wr_topk_above_##level}

static const struct wr_kernels tables[WR_KERNELS_N_LEVELS] = {
	[WR_KERNELS_REF] = TABLE(ref),
	[WR_KERNELS_AVX2] = TABLE(ref),
	[WR_KERNELS_AVX512VNNI] = TABLE(ref),
};

const char *wr_kernels_name(enum wr_kernels_level level)
{
	static const char *const names[] = {"ref", "avx2", "avx512vnni"};
	return level < WR_KERNELS_N_LEVELS ? names[level] : "unknown";
}

_Bool wr_kernels_supported(enum wr_kernels_level level)
{
	__builtin_cpu_init();
	switch (level) {
	case WR_KERNELS_REF:
		return 1;
	case WR_KERNELS_AVX2:
		return __builtin_cpu_supports("avx2");
	case WR_KERNELS_AVX512VNNI:
		return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
			__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
	default:
		return 0;
	}
}

const struct wr_kernels *wr_kernels_get(enum wr_kernels_level level)
{
	assert(level < WR_KERNELS_N_LEVELS);
	return &tables[level];
}
