/* SPDX-License-Identifier: BSD-3-Clause */
/* ISA levels by name; the table and the CPU test are the kernels'. */
#include "model_internal.h"

#include <assert.h>
#include <string.h>

static_assert((int)WR_ISA_REF == (int)WR_KERNELS_REF && (int)WR_ISA_AVX2 == (int)WR_KERNELS_AVX2 &&
		      (int)WR_ISA_AVX512VNNI == (int)WR_KERNELS_AVX512VNNI &&
		      (int)WR_ISA_AMX == (int)WR_KERNELS_AMX &&
		      (int)WR_ISA_AUTO == (int)WR_KERNELS_N_LEVELS,
	"levels have one numbering");

const char *wr_isa_name(enum wr_isa isa)
{
	return isa == WR_ISA_AUTO ? "auto" : wr_kernels_name((enum wr_kernels_level)isa);
}

int wr_isa_parse(const char *word, enum wr_isa *isa)
{
	for (int i = WR_ISA_REF; i <= WR_ISA_AUTO; i++) {
		if (strcmp(word, wr_isa_name((enum wr_isa)i)) == 0) {
			*isa = (enum wr_isa)i;
			return WR_OK;
		}
	}
	return WR_EINVAL;
}

bool wr_isa_supported(enum wr_isa isa)
{
	return isa == WR_ISA_AUTO || wr_kernels_supported((enum wr_kernels_level)isa);
}

enum wr_isa wr_isa_best(void)
{
	for (int i = WR_ISA_AUTO - 1; i > WR_ISA_REF; i--)
		if (wr_isa_supported((enum wr_isa)i))
			return (enum wr_isa)i;
	return WR_ISA_REF;
}

const char *wr_gemm_engine_name(enum wr_gemm_engine engine)
{
	static const char *const names[] = {
		[WR_GEMM_AUTO] = "auto", [WR_GEMM_OWN] = "own", [WR_GEMM_ONEDNN] = "onednn"};
	return (size_t)engine < WR_ARRAY_LEN(names) ? names[engine] : "unknown";
}
