/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Admission: who may ask, what a reply may weigh, what is too late. Source allow-list, rolling
 * cookie secrets, the length rule, the deadline. Built for bursts of 1 … 64 decoded requests at
 * some millions a second a core: a check is a binary search over at most a few dozen ranges, and
 * one SipHash where a cookie came, both remembered for the sources that ask most. Rates, keys and
 * load levels join here later.
 *
 * The allow-list is a sorted array of disjoint ranges, not rte_lpm or rte_acl: lists of tens of
 * prefixes fit in two cache lines, while rte_lpm's first level alone is 64 MB and both want an EAL.
 */
#ifndef WR_ADMIT_H
#define WR_ADMIT_H

#include "wr_metrics.h"
#include "wr_wire.h"

#define WR_ADMIT_MAX_PREFIXES 256
#define WR_ADMIT_MIN_ROTATE_S 1
#define WR_ADMIT_MAX_ROTATE_S 86400

struct wr_admit_config {
	/* CIDRs of both families, separated by commas or blanks: "10.0.0.0/8, 2001:db8::/32,
	 * 192.0.2.7". An address without a length is one host. "0.0.0.0/0, ::/0" allows everybody;
	 * ::/0 holds no IPv4. */
	const char *allow;
	uint32_t cookie_rotate_s; /* a cookie proves its source for one to two of these */
	uint64_t tsc_hz;          /* of the clock that arrival_tsc and now_tsc are read from */
};

struct wr_admit;
/*
 * now_ns: wr_clock_ns(). On success *a is the caller's, for wr_admit_free(); NULL else. WR_EINVAL:
 * a bad word in the list (msg names it), an empty list, a rotation out of range, tsc_hz below 1
 * MHz; WR_ENOMEM.
 */
int wr_admit_new(struct wr_admit **a, const struct wr_admit_config *config, uint64_t now_ns,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_admit_free(struct wr_admit *a);

/*
 * Rolls the secrets when their time has come; call it about once a second from one housekeeping
 * thread, while others check. Draws from the kernel's random source then: not for the corridor.
 * Late calls lengthen the old secrets' life; a clock that jumps ahead by two rotations ends the
 * previous secret, one that steps back changes nothing.
 */
void wr_admit_rotate(struct wr_admit *a, uint64_t now_ns);

/*
 * What a worker has found out about sources: whether the rules let them in, and the mark that their
 * cookie must bear. Proxies are few and ask again and again; a source that is not among the last
 * ones costs what it would cost without. Zeroed before first use; one thread at a time.
 */
#define WR_ADMIT_MEMO_SLOTS 256 /* power of two */
struct wr_admit_memo {
	struct wr_admit_source {
		uint8_t address[16];
		uint64_t secret[2], mac; /* mac of address and epoch under secret, when has_mac */
		uint32_t epoch;
		bool known, allowed, has_mac;
	} __attribute__((aligned(64))) source[WR_ADMIT_MEMO_SLOTS];
};

struct wr_admit_request {
	uint8_t address[16];              /* of the source; IPv4 as ::ffff:a.b.c.d */
	const struct wr_message *message; /* as decoded; header valid unless decoded = SHORT */
	uint64_t arrival_tsc;             /* when the receive call returned it */
	uint32_t bytes;                   /* of the datagram */
	enum wr_decode decoded;
};

enum wr_admit_action {
	WR_ADMIT_SERVE,  /* do the work */
	WR_ADMIT_ANSWER, /* answer at once with `status`, no work */
	WR_ADMIT_DROP,   /* no answer */
};
struct wr_admit_verdict {
	uint8_t action;   /* enum wr_admit_action */
	uint8_t status;   /* enum wr_status; OK unless ANSWER */
	uint8_t outcome;  /* enum wr_outcome to count when the verdict has been carried out */
	bool proven;      /* the source has shown that it receives at its address */
	bool give_cookie; /* the answer carries a fresh cookie: unproven, HELLO, or the cookie will
			     end soon */
	uint16_t reply_bytes; /* the reply, cookie included, may not be longer */
};

/*
 * One verdict for each of n requests; memo: of the calling thread, or NULL. Order of the rules:
 * source, sound header, length, decode status, tag, FORGET without proof, deadline. Any thread,
 * also during wr_admit_rotate(); no allocation, no system call.
 */
void wr_admit_check(const struct wr_admit *a, struct wr_admit_memo *memo,
	const struct wr_admit_request *requests, unsigned int n, uint64_t now_tsc,
	struct wr_admit_verdict *verdicts);

/* The cookie to give to this address now. Any thread. */
void wr_admit_cookie(
	const struct wr_admit *a, const uint8_t address[16], struct wr_wire_cookie *cookie);

#endif
