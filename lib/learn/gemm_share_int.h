/* SPDX-License-Identifier: BSD-3-Clause */
/* Training speed as a share of the machine's own float products. */
#ifndef WR_LEARN_GEMM_SHARE_INT_H
#define WR_LEARN_GEMM_SHARE_INT_H

#include "step_int.h"

/* CPU seconds of the process, all threads. */
double wr_learn_cpu_seconds(void);
/* Most memory that the process held so far (VmHWM), MiB; 0 when the system does not tell. */
double wr_learn_peak_mib(void);
/* Sum over n_threads threads at once of what each gets out of 512³ products, flops a second of its
 * own CPU time (best of some). Takes some 50 ms; 0 when memory is out. */
double wr_learn_gemm_peak(int n_threads);
/* Floating-point operations in the matrix products of a step, 2 a multiply-add. */
double wr_learn_step_flops(const struct step *st, const struct batch *b);

#endif
