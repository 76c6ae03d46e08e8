/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Constants of the exponential in docs/model.md, shared by all levels. P1 … P4: 1 + P1·f + … +
 * P4·f⁴ is 2^f for |f| ≤ 0.5 with the smallest largest relative error, 2.9e-6 (by Lawson's
 * iteration): weights are rounded to 127 steps next.
 */
#ifndef WR_ATTENTION_EXP_H
#define WR_ATTENTION_EXP_H

#define WR_EXP_MIN   (-87.0f)
#define WR_EXP_LOG2E 1.44269504f
/* 1.5·2^23: what is added to this is rounded to a whole number, which its lowest bits hold. */
#define WR_EXP_WHOLE 12582912.0f
#define WR_EXP_P4    9.5828534649e-3f
#define WR_EXP_P3    5.5906426286e-2f
#define WR_EXP_P2    2.4024098614e-1f
#define WR_EXP_P1    6.9312419323e-1f

#endif
