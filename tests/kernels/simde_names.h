/* SPDX-License-Identifier: BSD-3-Clause */
/* The AVX-512 kernels as compiled over SIMDe; contracts are those of kernels/. */
#ifndef WR_SIMDE_NAMES_H
#define WR_SIMDE_NAMES_H

#include "wr_kernels.h"

wr_gemm_s8_fn wr_gemm_s8_simde;
wr_dequantise_fn wr_dequantise_simde;
wr_quantise_fn wr_quantise_simde, wr_relu_quantise_simde;
wr_quantise_low_fn wr_quantise_low_simde;
wr_norm_quantise_fn wr_norm_quantise_simde;
wr_user_quantise_fn wr_user_quantise_simde;
wr_embed_fn wr_embed_simde;
wr_attend_fn wr_attend_simde, wr_decode_simde;
wr_attend_rows_fn wr_attend_rows_simde;
wr_topk_above_fn wr_topk_above_simde;
wr_topk_order_fn wr_topk_order_simde;
wr_score_users_fn wr_score_users_simde;
wr_score_best_fn wr_score_best_simde;
wr_score_bound_fn wr_score_bound_simde;
wr_score_rows_fn wr_score_rows_simde;
/* The AMX kernels over SIMDe and wr_amx_emulated.h. */
wr_gemm_s8_fn wr_gemm_s8_emulated;
wr_score_users_fn wr_score_users_emulated;
wr_score_best_fn wr_score_best_emulated;

#endif
