/* SPDX-License-Identifier: BSD-3-Clause */
/* UTF-8 by the byte, eight ASCII characters at a time: utterances of some 50 bytes on the corridor,
 * names in logs. */
#include "wr_base.h"

#include <string.h>

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

bool wr_utf8_valid(const char *s, size_t n)
{
	const uint8_t *text = (const uint8_t *)s;
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
