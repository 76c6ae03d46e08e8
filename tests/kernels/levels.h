/* SPDX-License-Identifier: BSD-3-Clause */
/* The level under test, named on the command line: avx2, avx512vnni, amx, or simde (the AVX-512
 * sources over SIMDe), or emulated (AMX' over SIMDe and emulated tiles). */
#ifndef WR_LEVELS_H
#define WR_LEVELS_H

#include "simde_names.h"

/* Its table; NULL when the CPU lacks the level. Aborts on an unknown name. */
static inline const struct wr_kernels *wr_level_kernels(const char *name)
{
	static struct wr_kernels simde;
	const bool emulated = strcmp(name, "emulated") == 0;
	if (emulated || strcmp(name, "simde") == 0) {
		if (!wr_kernels_supported(WR_KERNELS_AVX2))
			return NULL;
		simde = *wr_kernels_get(WR_KERNELS_AVX2);
		simde.gemm_s8 = wr_gemm_s8_simde;
		simde.dequantise = wr_dequantise_simde;
		simde.quantise = wr_quantise_simde;
		simde.relu_quantise = wr_relu_quantise_simde;
		simde.quantise_low = wr_quantise_low_simde;
		simde.norm_quantise = wr_norm_quantise_simde;
		simde.user_quantise = wr_user_quantise_simde;
		simde.embed = wr_embed_simde;
		simde.attend = wr_attend_simde;
		simde.attend_rows = wr_attend_rows_simde;
		simde.decode = wr_decode_simde;
		simde.topk_above = wr_topk_above_simde;
		simde.topk_order = wr_topk_order_simde;
		simde.score_users = wr_score_users_simde;
		simde.score_best = wr_score_best_simde;
		simde.score_bound = wr_score_bound_simde;
		simde.score_rows = wr_score_rows_simde;
		if (emulated) {
			simde.gemm_s8 = wr_gemm_s8_emulated;
			simde.score_users = wr_score_users_emulated;
			simde.score_best = wr_score_best_emulated;
		}
		return &simde;
	}
	for (int l = WR_KERNELS_AVX2; l < WR_KERNELS_N_LEVELS; l++)
		if (strcmp(name, wr_kernels_name((enum wr_kernels_level)l)) == 0)
			return wr_kernels_supported((enum wr_kernels_level)l)
				       ? wr_kernels_get((enum wr_kernels_level)l)
				       : NULL;
	abort();
}

#endif
