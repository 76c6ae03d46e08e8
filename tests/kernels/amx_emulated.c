/* SPDX-License-Identifier: BSD-3-Clause */
#include "wr_amx_emulated.h"

_Thread_local struct wr_emulated_tile wr_emulated_tiles[8];
