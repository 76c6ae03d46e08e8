/* SPDX-License-Identifier: BSD-3-Clause */
/* What int8 costs by layer, printed and added to an object. */
#ifndef WRTRAIN_BY_LAYER_H
#define WRTRAIN_BY_LAYER_H

#include "wr_compact.h"
#include "wr_report.h"

/* As wr_layers_measure; adds "by_layer" to `to`. */
int wrtrain_by_layer(const struct wr_student *s, const struct wr_dataset *ds, enum wr_split split,
	uint32_t users, uint32_t threads, const char *keep, json_t *to,
	struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
