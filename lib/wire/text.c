/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of decode outcomes, with the statuses that answer them; of statuses, flags and reasons. */
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

static const char *name_of(const char *const *names, unsigned int n, unsigned int i)
{
	return i < n ? names[i] : "unknown";
}

const char *wr_wire_status_name(unsigned int status)
{
	static const char *const names[] = {"ok", "malformed", "unsupported", "version", "denied",
		"busy", "deadline", "domain", "internal"};
	return name_of(names, WR_ARRAY_LEN(names), status);
}

const char *wr_wire_flag_name(unsigned int bit)
{
	static const char *const names[WR_ANS_FLAGS] = {"history_wanted", "shortened",
		"handed_over", "approximate", "cold", "duplicate", "intent"};
	return name_of(names, WR_ARRAY_LEN(names), bit);
}

const char *wr_wire_reason_name(unsigned int reason)
{
	static const char *const names[] = {"none", "model", "intent", "popular"};
	return name_of(names, WR_ARRAY_LEN(names), reason);
}
