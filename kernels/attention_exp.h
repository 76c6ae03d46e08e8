/* SPDX-License-Identifier: BSD-3-Clause */
/* Constants of the exponential in docs/model.md: Cephes expf (S. Moshier), shared by all levels. */
#ifndef WR_ATTENTION_EXP_H
#define WR_ATTENTION_EXP_H

#define WR_EXP_MIN    (-87.0f)
#define WR_EXP_LOG2E  1.44269504f
#define WR_EXP_LN2_HI 0.693359375f
#define WR_EXP_LN2_LO (-2.12194440e-4f)
#define WR_EXP_P0     1.9875691500e-4f
#define WR_EXP_P1     1.3981999507e-3f
#define WR_EXP_P2     8.3334519073e-3f
#define WR_EXP_P3     4.1665795894e-2f
#define WR_EXP_P4     1.6666665459e-1f
#define WR_EXP_P5     5.0000001201e-1f

#endif
