/* SPDX-License-Identifier: BSD-3-Clause */
/* The header that users of libwirerank include; pkg-config libwirerank names its folder. */
#ifndef WIRERANK_H
#define WIRERANK_H

#include "wr_client.h"

#endif
