/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of lib/admit share: source ranges and cookie secrets. */
#ifndef ADMIT_INTERNAL_H
#define ADMIT_INTERNAL_H

#include "wr_admit.h"

#include <stdatomic.h>

/* Addresses first … last as big-endian numbers; IPv4 in the low 32 bits. */
struct source_range {
	unsigned __int128 first, last;
};
/* Disjoint, ascending. */
struct source_list {
	unsigned int n;
	struct source_range range[WR_ADMIT_MAX_PREFIXES];
};
struct sources {
	struct source_list v4, v6;
};
int wr_admit_sources_parse(
	struct sources *s, const char *text, struct wr_errmsg *msg) WR_MUST_CHECK;
bool wr_admit_sources_match(const struct sources *s, const uint8_t address[16]);

/* The secret of epoch e lives in slot e % 4; a slot is reused four rotations later, when no reader
 * can still be in a check that began with it. */
struct cookie_slot {
	_Atomic uint64_t secret[2]; /* writer: housekeeping; readers: any lcore */
};
struct cookies {
	uint64_t rotate_ns;
	_Atomic uint32_t epoch; /* writer: housekeeping, release; readers: any lcore, acquire */
	struct cookie_slot slot[4];
};
enum cookie_state { COOKIE_BAD, COOKIE_CURRENT, COOKIE_PREVIOUS };
void wr_admit_cookies_init(struct cookies *c, uint32_t rotate_s, uint64_t now_ns);
void wr_admit_cookies_rotate(struct cookies *c, uint64_t now_ns);
/* source: what is remembered of the address, NULL = nothing is to be. */
enum cookie_state wr_admit_cookies_check(const struct cookies *c,
	const struct wr_wire_cookie *cookie, const uint8_t address[16],
	struct wr_admit_source *source);
void wr_admit_cookies_make(
	const struct cookies *c, const uint8_t address[16], struct wr_wire_cookie *out);

#endif
