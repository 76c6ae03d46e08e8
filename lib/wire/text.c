/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of decode outcomes, and the statuses that answer them. */
#include "wr_wire.h"

static const struct {
	const char *name;
	enum wr_status status; /* OK: nothing is answered */
} decode_table[WR_DECODE_N] = {
	[WR_DECODE_OK] = {"ok", WR_STATUS_OK},
	[WR_DECODE_SHORT] = {"short", WR_STATUS_OK},
	[WR_DECODE_LENGTH] = {"length", WR_STATUS_OK},
	[WR_DECODE_NOT_REQUEST] = {"not_request", WR_STATUS_OK},
	[WR_DECODE_VERSION] = {"version", WR_STATUS_VERSION},
	[WR_DECODE_OPCODE] = {"opcode", WR_STATUS_UNSUPPORTED},
	[WR_DECODE_SECTION_LENGTH] = {"section_length", WR_STATUS_MALFORMED},
	[WR_DECODE_SECTION_TWICE] = {"section_twice", WR_STATUS_MALFORMED},
	[WR_DECODE_SECTION_UNKNOWN] = {"section_unknown", WR_STATUS_UNSUPPORTED},
	[WR_DECODE_SECTION_ORDER] = {"section_order", WR_STATUS_MALFORMED},
	[WR_DECODE_SECTION_MISSING] = {"section_missing", WR_STATUS_MALFORMED},
	[WR_DECODE_VALUE] = {"value", WR_STATUS_MALFORMED},
};

const char *wr_decode_name(enum wr_decode d)
{
	return (unsigned int)d < WR_DECODE_N ? decode_table[d].name : "unknown";
}

enum wr_status wr_decode_status(enum wr_decode d)
{
	return (unsigned int)d < WR_DECODE_N ? decode_table[d].status : WR_STATUS_MALFORMED;
}
