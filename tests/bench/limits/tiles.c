/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Exact int8 multiply-adds per second by AMX tiles, operands in tile registers: what products alone
 * could run at on a CPU that has them. Nothing else of a model (softmax, norms, quantising, the
 * choice of the best) is tiles' work, so that this stands beside int8.c's figure, not in its place.
 */
#include "limits.h"

#include <sys/syscall.h>
#include <unistd.h>

#define STEPS         2000
#define PERMISSION    0x1023 /* ARCH_REQ_XCOMP_PERM */
#define TILE_DATA     18
#define MULTIPLY_ADDS (16 * 16 * 64)
#define TDPBSSD(to)   "tdpbssd %%tmm1, %%tmm0, %%tmm" to "\n\t"
#define SIX(x)        x("2") x("3") x("4") x("5") x("6") x("7")

static bool tiles_allowed(void)
{
	unsigned int a, b, c, d;
	__asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0));
	if (a < 7)
		return false;
	__asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
	return (d >> 24 & 1) && (d >> 25 & 1) &&
	       syscall(SYS_arch_prctl, PERMISSION, TILE_DATA) == 0;
}

struct limit limits_tiles(unsigned int runs)
{
	if (!tiles_allowed())
		return (struct limit){0, 0, 0, "none"};
	/* Palette 1, eight tiles of 16 rows of 64 bytes. */
	uint8_t shapes[64] __attribute__((aligned(64))) = {1};
	for (int t = 0; t < 8; t++) {
		shapes[16 + 2 * t] = 64;
		shapes[48 + t] = 16;
	}
	double v[LIMITS_MAX_RUNS];
	__asm__ volatile("ldtilecfg %0" : : "m"(shapes));
	for (unsigned int r = 0; r < runs; r++) {
		uint64_t macs = 0, start = limits_cpu_ns(), now;
		do {
			for (int s = 0; s < STEPS; s++)
				__asm__ volatile(SIX(TDPBSSD) :);
			macs += (uint64_t)STEPS * 6 * MULTIPLY_ADDS;
			now = limits_cpu_ns();
		} while (now - start < 100000000);
		v[r] = (double)macs / (double)(now - start);
	}
	__asm__ volatile("tilerelease");
	return limits_summary(v, runs, "tdpbssd");
}
