/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels of one ISA level as a table: filled with the reference and overridden upward. All
 * levels give the same bits (tests/kernels). Contracts stand in the headers of the topics.
 */
#ifndef WR_KERNELS_H
#define WR_KERNELS_H

#include "attention.h"
#include "gemm_s8.h"
#include "quantise.h"
#include "score.h"
#include "topk.h"

/* Values are those of enum wr_isa. */
enum wr_kernels_level {
	WR_KERNELS_REF,
	WR_KERNELS_AVX2,
	WR_KERNELS_AVX512VNNI,
	WR_KERNELS_AMX, /* beside AVX-512 VNNI */
	WR_KERNELS_N_LEVELS
};

struct wr_kernels {
	wr_gemm_s8_fn *gemm_s8;
	wr_dequantise_fn *dequantise;
	wr_dot_s8_fn *dot_s8;
	wr_quantise_fn *quantise, *relu_quantise;
	wr_quantise_low_fn *quantise_low;
	wr_norm_quantise_fn *norm_quantise;
	wr_user_quantise_fn *user_quantise;
	wr_embed_fn *embed;
	wr_kv_store_fn *kv_store;
	wr_kv_gather_fn *kv_gather;
	wr_attend_fn *attend, *decode;
	wr_attend_rows_fn *attend_rows; /* NULL where the level has none */
	wr_topk_above_fn *topk_above;
	wr_topk_items_fn *topk_items;
	wr_topk_order_fn *topk_order;
	wr_score_users_fn *score_users;
	wr_score_best_fn *score_best;
	wr_score_bound_fn *score_bound;
	wr_score_rows_fn *score_rows;
	/* Of what a ranking asks for ahead, so much beside score_best, the rest beside choosing: a
	 * sweep by tiles passes quicker than memory comes. 1 … 100. */
	unsigned int sweep_percent;
};

/* "ref", "avx2", "avx512vnni", "amx". */
const char *wr_kernels_name(enum wr_kernels_level level);
/* Whether CPUID, XCR0 (the kernel saves the registers) and, for AMX, the kernel's leave allow the
 * level. */
bool wr_kernels_supported(enum wr_kernels_level level);
/* The table of a level, whether or not the CPU has it: constant, shared by all threads. */
const struct wr_kernels *wr_kernels_get(enum wr_kernels_level level);

#endif
