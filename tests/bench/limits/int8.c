/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Exact int8 multiply-adds per second from registers only. Each sequence is one that gives the
 * exact product sum for operands in [-127, 127]: dpbusd (u8 × s8 into s32; a signed operand costs
 * an offset once a row, not a product), on AVX2 |a| × (b with a's sign) through maddubs and madd,
 * or both widened to 16 bits and madd.
 */
#include "limits.h"

#include <stdbool.h>

#define STEPS 20000

/* Registers 0 and 1 hold operands, 2 ones, 3 is spare; accumulators and temporaries follow. Eight
 * chains of accumulators: more than latency times throughput of the instruction that carries them.
 */
#define CLOBBERED                                                                                \
	"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
		"xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#define EIGHT(x) x("4") x("5") x("6") x("7") x("8") x("9") x("10") x("11")

#define DPBUSD_ZMM(n) "vpdpbusd %%zmm1, %%zmm0, %%zmm" n "\n\t"
#define DPBUSD_YMM(n) "%{vex%} vpdpbusd %%ymm1, %%ymm0, %%ymm" n "\n\t"
/* |a| in 0, a in 3, b in 1: b with a's sign, pair sums (at most 2 · 127², which fits), sums of
 * four. */
#define MADDUBS(n)                                                                   \
	"vpsignb %%ymm3, %%ymm1, %%ymm12\n\tvpmaddubsw %%ymm12, %%ymm0, %%ymm13\n\t" \
	"vpmaddwd %%ymm2, %%ymm13, %%ymm14\n\tvpaddd %%ymm14, %%ymm" n ", %%ymm" n "\n\t"
#define MADD16(n) "vpmaddwd %%ymm1, %%ymm0, %%ymm12\n\tvpaddd %%ymm12, %%ymm" n ", %%ymm" n "\n\t"

static uint64_t run_dpbusd_zmm(void)
{
	for (int s = 0; s < STEPS; s++)
		__asm__ volatile(EIGHT(DPBUSD_ZMM) EIGHT(DPBUSD_ZMM) : : : CLOBBERED);
	return (uint64_t)STEPS * 16 * 64;
}

static uint64_t run_dpbusd_ymm(void)
{
	for (int s = 0; s < STEPS; s++)
		__asm__ volatile(EIGHT(DPBUSD_YMM) EIGHT(DPBUSD_YMM) : : : CLOBBERED);
	return (uint64_t)STEPS * 16 * 32;
}

static uint64_t run_maddubs(void)
{
	for (int s = 0; s < STEPS; s++)
		__asm__ volatile(EIGHT(MADDUBS) EIGHT(MADDUBS) : : : CLOBBERED);
	return (uint64_t)STEPS * 16 * 32;
}

static uint64_t run_madd16(void)
{
	for (int s = 0; s < STEPS; s++)
		__asm__ volatile(EIGHT(MADD16) EIGHT(MADD16) : : : CLOBBERED);
	return (uint64_t)STEPS * 16 * 16;
}

static bool has_avxvnni(void)
{
	unsigned int a, b, c, d;
	__asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0));
	if (a < 7 || !__builtin_cpu_supports("avx2"))
		return false;
	__asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(1));
	return a >> 4 & 1;
}

static struct limit measure(uint64_t (*run)(void), unsigned int runs, const char *how)
{
	double v[LIMITS_MAX_RUNS];
	for (unsigned int r = 0; r < runs; r++) {
		uint64_t macs = 0, start = limits_cpu_ns(), now;
		do {
			macs += run();
			now = limits_cpu_ns();
		} while (now - start < 100000000);
		v[r] = (double)macs / (double)(now - start);
	}
	return limits_summary(v, runs, how);
}

struct limit limits_int8(unsigned int runs, bool avx2_only)
{
	const bool more = !avx2_only;
	const struct {
		bool have;
		uint64_t (*run)(void);
		const char *how;
	} sequences[] = {
		{more && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw"),
			run_dpbusd_zmm, "dpbusd zmm"},
		{more && has_avxvnni(), run_dpbusd_ymm, "dpbusd ymm"},
		{__builtin_cpu_supports("avx2"), run_maddubs, "sign, maddubs, madd, add ymm"},
		{__builtin_cpu_supports("avx2"), run_madd16, "madd, add ymm (16 bit)"},
	};
	struct limit best = {0, 0, 0, "none"};
	for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++) {
		if (!sequences[i].have)
			continue;
		struct limit l = measure(sequences[i].run, runs, sequences[i].how);
		if (l.median > best.median)
			best = l;
	}
	return best;
}
