/* SPDX-License-Identifier: BSD-3-Clause */
#include "amx_state.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux' asm/prctl.h and Intel's numbers (SDM 1, 13.1; 2A, CPUID): no header of Debian 12 has all.
 */
#define REQUEST_PERMISSION 0x1023 /* ARCH_REQ_XCOMP_PERM */
#define TILE_CONFIG        17
#define TILE_DATA          18
#define EDX_AMX_TILE       24
#define EDX_AMX_INT8       25
#define ECX_OSXSAVE        27

_Thread_local unsigned int wr_amx_rows;

static bool cpu_has_tiles(void)
{
	unsigned int a, b, c, d;
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
		return false;
	return (d >> EDX_AMX_TILE & 1) && (d >> EDX_AMX_INT8 & 1);
}

/* XCR0: the kernel keeps configuration and data of tiles for a thread. */
static bool kernel_keeps_tiles(void)
{
	unsigned int a, b, c, d;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> ECX_OSXSAVE & 1))
		return false;
	__asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (a >> TILE_CONFIG & 1) && (a >> TILE_DATA & 1);
}

bool wr_amx_allowed(void)
{
	return cpu_has_tiles() && kernel_keeps_tiles() &&
	       syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
