/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of lib/wire share. */
#ifndef WIRE_INTERNAL_H
#define WIRE_INTERNAL_H

#include "wr_wire.h"

/* Whether [text, text + n) is well-formed UTF-8 (Unicode 15, table 3-7: no overlong forms, no
 * surrogates). */
bool wr_wire_utf8_valid(const uint8_t *text, size_t n);

#endif
