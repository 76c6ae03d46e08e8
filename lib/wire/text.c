/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of decode outcomes, and UTF-8 validation: utterances of some 50 bytes, mostly ASCII. */
#include "wire_internal.h"

#include <string.h>

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

/* Bytes of the well-formed character at t (n ≥ 1 bytes left), 0 if there is none. */
static size_t utf8_char(const uint8_t *t, size_t n)
{
	uint8_t low = 0x80, high = 0xbf; /* bounds of the second byte */
	size_t len;
	if (t[0] < 0x80)
		return 1;
	if (t[0] >= 0xc2 && t[0] <= 0xdf)
		len = 2;
	else if ((t[0] & 0xf0) == 0xe0)
		len = 3;
	else if (t[0] >= 0xf0 && t[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (t[0] == 0xe0)
		low = 0xa0;
	else if (t[0] == 0xed)
		high = 0x9f;
	else if (t[0] == 0xf0)
		low = 0x90;
	else if (t[0] == 0xf4)
		high = 0x8f;
	if (n < len || t[1] < low || t[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((t[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

bool wr_wire_utf8_valid(const uint8_t *text, size_t n)
{
	size_t i = 0;
	while (i < n) {
		uint64_t eight;
		if (n - i >= sizeof(eight)) {
			memcpy(&eight, text + i, sizeof(eight));
			if (!(eight & 0x8080808080808080u)) {
				i += sizeof(eight);
				continue;
			}
		}
		size_t len = utf8_char(text + i, n - i);
		if (!len)
			return false;
		i += len;
	}
	return true;
}
