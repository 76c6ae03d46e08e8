/* SPDX-License-Identifier: BSD-3-Clause */
/* What a kernel is put together of: inlined always, so that a caller's constants unroll its loops
 * and its level's flags hold. */
#ifndef WR_SIMD_INLINE_H
#define WR_SIMD_INLINE_H

#define SIMD_INLINE static inline __attribute__((always_inline))

#endif
