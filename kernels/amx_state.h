/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may use AMX tiles, and how a thread has shaped them. */
#ifndef WR_AMX_STATE_H
#define WR_AMX_STATE_H

#include <stdbool.h>

/* Rows of this thread's tiles (amx.h); 0 = not shaped, or by somebody else. */
extern _Thread_local unsigned int wr_amx_rows;

/* Another library may have shaped this thread's tiles. Any thread, cheap. */
static inline void wr_amx_forget(void)
{
	wr_amx_rows = 0;
}

/* Whether CPU and kernel have int8 tiles and the kernel lets this process use them, which it is
 * asked for (arch_prctl, ARCH_REQ_XCOMP_PERM): once for all threads, no harm in asking again. */
bool wr_amx_allowed(void);

#endif
