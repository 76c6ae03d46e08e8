/* SPDX-License-Identifier: BSD-3-Clause */
/* Hashes of user names (once per name at import and in clients) and of shard tables (once at
 * start); never on the corridor. */
#include "wr_wire.h"

#include <sodium.h>
#include <string.h>

#define HASHED_USER ((uint64_t)1 << 63)

/* A decimal number below 2^63 without leading zeros. */
static bool parse_number(const char *name, size_t bytes, uint64_t *out)
{
	if (bytes == 0 || bytes > 19 || (bytes > 1 && name[0] == '0'))
		return false;
	uint64_t v = 0; /* 19 digits stay below 2^64 */
	for (size_t i = 0; i < bytes; i++) {
		if (name[i] < '0' || name[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(name[i] - '0');
	}
	*out = v;
	return v < HASHED_USER;
}

uint64_t wr_wire_user_id(const char *name, size_t bytes)
{
	uint64_t id;
	if (parse_number(name, bytes, &id))
		return id;
	uint8_t digest[crypto_generichash_BYTES_MIN];
	int err = crypto_generichash(digest, sizeof(digest), (const uint8_t *)name, bytes, NULL, 0);
	assert(err == 0); /* only wrong sizes fail */
	(void)err;
	memcpy(&id, digest, sizeof(id));
	return id | HASHED_USER;
}
