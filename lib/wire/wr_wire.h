/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Protocol v1: one binary UDP datagram a message, little-endian, at most 1,232 bytes. Layouts,
 * limits, the bounded decoder, the encoder, the published hashes, cookies and tags. Used by server
 * and clients; no DPDK. docs/protocol.md is the same text for people, with examples that a test
 * re-checks.
 *
 * Built for 256-byte messages at some millions a second a core: the decoder makes one pass, copies
 * nothing but the header, and hands out pointers into the datagram. No function here allocates, and
 * all are safe to call from any thread on different objects.
 *
 * Message = header (32 bytes), then sections, each a 4-byte head {type u8, arg u8, length u16:
 * bytes of the body} and the body, padded with zero bytes to a multiple of 4 (the padding is not in
 * length). A section type with bit 7 set must be understood: an unknown one is answered with
 * WR_STATUS_UNSUPPORTED. Unknown types without it are skipped. A known type may appear once (PAD
 * any number of times), in any order, AUTH last.
 */
#ifndef WR_WIRE_H
#define WR_WIRE_H

#include "wr_base.h"

#include <assert.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WR_WIRE_VERSION      1
#define WR_WIRE_MAX_BYTES    1232 /* UDP payload: IPv6's minimum MTU less its and UDP's headers */
#define WR_WIRE_HEADER_BYTES 32
#define WR_WIRE_SECTION_HEAD 4
#define WR_WIRE_MIN_UNPROVEN \
	96 /* shorter requests of sources without proof are dropped: no error fits */
#define WR_WIRE_DEFAULT_PORT  4700
#define WR_WIRE_MAX_K         64
#define WR_WIRE_MAX_EVENTS    32
#define WR_WIRE_MAX_HISTORY   128
#define WR_WIRE_MAX_EXCLUDE   64
#define WR_WIRE_MAX_CONTEXT   8
#define WR_WIRE_MAX_UTTERANCE 512
#define WR_WIRE_N_SHARDS      256
#define WR_WIRE_KEY_BYTES     32
#define WR_WIRE_SECRET_BYTES  16
/* Whole sections, heads included; an answer without items is header + ANSWER, 76 bytes. */
#define WR_WIRE_COOKIE_BYTES 20
#define WR_WIRE_AUTH_BYTES   24
#define WR_WIRE_ANSWER_BYTES 76
#define WR_WIRE_MAX_PORTS    64
/* Item ids are 1 … 2^30-1; the upper two bits of a packed history word hold the event's kind. */
#define WR_WIRE_MAX_ITEM ((1u << 30) - 1)

enum wr_op {
	WR_OP_HELLO = 1,     /* version, bundle, shard table and epoch, ports, limits, cookie */
	WR_OP_RECOMMEND = 2, /* report events and ask for K items */
	WR_OP_EVENT = 3,     /* report events, no items wanted */
	WR_OP_FORGET = 4,    /* erase a user; needs a cookie or a tag */
	WR_OP_FEATURES = 5,  /* 5 … 8 reserved: WR_STATUS_UNSUPPORTED */
	WR_OP_RECALL = 6,
	WR_OP_ENCODE = 7,
	WR_OP_RANK = 8,
	WR_OP_ERROR = 0x7f, /* an error answer, sent as 0xff */
};
#define WR_OP_ANSWER 0x80 /* set in the op of every answer */

/* Header flags of requests. */
enum {
	WR_REQ_PAD_ANSWER = 1 << 0,   /* pad the answer to the request's length */
	WR_REQ_INCLUDE_SEEN = 1 << 1, /* items already seen may be recommended */
};
/* Header flags of answers. */
enum {
	WR_ANS_HISTORY_WANTED = 1 << 0, /* unknown user or a gap: send history */
	WR_ANS_SHORTENED =
		1 << 1, /* fewer items than asked: the reply may not outgrow the request */
	WR_ANS_HANDED_OVER = 1 << 2, /* arrived at another lcore's queue */
	WR_ANS_APPROXIMATE =
		1 << 3,            /* the session lacks part of the history the encoder would see */
	WR_ANS_COLD = 1 << 4,      /* encoded from the event list, not from cached rows */
	WR_ANS_DUPLICATE = 1 << 5, /* at least one event was known already and changed nothing */
	WR_ANS_INTENT = 1 << 6,    /* the utterance matched at least one intent */
};
#define WR_ANS_FLAGS 7 /* bits in use */

enum wr_status {
	WR_STATUS_OK = 0,
	WR_STATUS_MALFORMED = 1,   /* sound header, bad section */
	WR_STATUS_UNSUPPORTED = 2, /* opcode or must-understand section unknown here */
	WR_STATUS_VERSION = 3,     /* version not spoken; the answer's header says which is */
	WR_STATUS_DENIED = 4,      /* source, cookie or tag not accepted */
	WR_STATUS_BUSY = 5,        /* load: see retry-after */
	WR_STATUS_DEADLINE = 6,    /* the budget was spent before work began */
	WR_STATUS_DOMAIN = 7,      /* no such business domain here */
	WR_STATUS_INTERNAL = 8,
};

enum wr_section_type {
	WR_SEC_PAD = 0,
	WR_SEC_ASK = 1,
	WR_SEC_EVENTS = 2,
	WR_SEC_HISTORY = 3,
	WR_SEC_EXCLUDE = 4,
	WR_SEC_CONTEXT = 5,
	WR_SEC_UTTERANCE = 6, /* UTF-8, 1 … 512 bytes, not terminated */
	WR_SEC_COOKIE = 7,
	WR_SEC_AUTH = 8,
	WR_SEC_ANSWER = 16,
	WR_SEC_ITEMS = 17,
	WR_SEC_SERVER = 18,
	WR_SEC_SHARDS = 19, /* 256 x u8: virtual shard -> index into PORTS */
	WR_SEC_PORTS = 20,  /* 1 … 64 x u16: UDP port of every queue */
};

enum wr_event_kind { WR_KIND_VIEW = 1, WR_KIND_CLICK = 2, WR_KIND_CONVERT = 3, WR_KIND_INTENT = 4 };

enum wr_degrade { WR_DEGRADE_NONE = 0, WR_DEGRADE_POPULAR = 1 };
enum wr_durability { WR_DURABLE_NONE = 0, WR_DURABLE_MEMORY = 1, WR_DURABLE_DISK = 2 };
enum wr_reason {
	WR_REASON_NONE = 0,
	WR_REASON_MODEL = 1,   /* the encoder's own choice */
	WR_REASON_INTENT = 2,  /* lifted by an intent of the utterance */
	WR_REASON_POPULAR = 3, /* nothing known of the user */
};
/* Names for people and JSON ("history_wanted"): of a status, of bit 0 … of an answer's flags, of a
 * reason; "unknown" beyond. */
const char *wr_wire_status_name(unsigned int status);
const char *wr_wire_flag_name(unsigned int bit);
const char *wr_wire_reason_name(unsigned int reason);

/* ---- layouts; all fields little-endian, all sections 4-byte aligned in the message. A UDP payload
 * starts at any even address, hence packed: plain loads on x86-64, and UBSan has nothing to say.
 * ---- */
#define WR_WIRE_LAYOUT __attribute__((packed, may_alias))
typedef uint32_t wr_wire_u32 __attribute__((aligned(1), may_alias));
typedef uint16_t wr_wire_u16 __attribute__((aligned(1), may_alias));
struct wr_wire_header {
	uint8_t version;
	uint8_t op;
	uint16_t length; /* of the whole message; equals the UDP payload */
	uint16_t flags;
	uint8_t domain;
	uint8_t reserved; /* sent as 0, ignored */
	uint64_t request_id;
	uint64_t user_id;
	int64_t time_ms; /* unix ms, 0 = unknown; in answers the server's clock */
} WR_WIRE_LAYOUT;
static_assert(sizeof(struct wr_wire_header) == WR_WIRE_HEADER_BYTES, "layout");

struct wr_wire_ask {
	uint8_t k; /* 0 = echo */
	uint8_t reserved[3];
	uint32_t budget_us; /* 0 = none; counted from arrival at the server */
} WR_WIRE_LAYOUT;
static_assert(sizeof(struct wr_wire_ask) == 8, "layout");

/* EVENTS: this head, then n = arg events, oldest first. base_seq numbers the first, the others
 * follow; 0 = unnumbered. */
struct wr_wire_events_head {
	uint64_t base_seq;
} WR_WIRE_LAYOUT;
struct wr_wire_event {
	uint32_t item;
	uint8_t kind;
	uint8_t reserved;
	uint16_t dwell_ds;   /* tenths of a second, 0 = unknown, 65535 = that or more */
	int64_t time_ms;     /* unix ms, 0 = unknown: the server stamps arrival */
	uint64_t answers_id; /* request id of the answer that showed the item, 0 = none */
} WR_WIRE_LAYOUT;
static_assert(sizeof(struct wr_wire_event) == 24, "layout");

/* HISTORY: this head, then n = arg entries (0 … 128), oldest first. The last entry's time is
 * newest_ms (its delta is sent as 0 and ignored); every other entry's time is the next newer one's
 * less delta · unit_ms, never below 1. With newest_ms = 0 no time is known and deltas are ignored.
 */
struct wr_wire_history_head {
	int64_t newest_ms;
	uint8_t flags; /* WR_HISTORY_* */
	uint8_t reserved[3];
	uint32_t unit_ms; /* of the deltas: 1 or 1000 */
} WR_WIRE_LAYOUT;
enum { WR_HISTORY_COMPLETE = 1 }; /* the user's whole history */
struct wr_wire_history_entry {
	uint32_t item_kind; /* (kind - 1) << 30 | item */
	uint32_t delta;
} WR_WIRE_LAYOUT;
static_assert(sizeof(struct wr_wire_history_head) == 16, "layout");
static_assert(sizeof(struct wr_wire_history_entry) == 8, "layout");

struct wr_wire_context {
	uint16_t key;
	uint16_t reserved;
	uint32_t value;
} WR_WIRE_LAYOUT;
static_assert(sizeof(struct wr_wire_context) == 8, "layout");

struct wr_wire_cookie {
	uint32_t epoch;
	uint32_t reserved;
	uint64_t mac;
} WR_WIRE_LAYOUT;
static_assert(sizeof(struct wr_wire_cookie) == 16, "layout");

/* Tag: keyed BLAKE2b (RFC 7693), 16 bytes of output, 32-byte key, over every byte of the message
 * before the tag itself, AUTH's head and key_id included. */
struct wr_wire_auth {
	uint32_t key_id;
	uint8_t tag[16];
} WR_WIRE_LAYOUT;
static_assert(sizeof(struct wr_wire_auth) == 20, "layout");

struct wr_wire_answer {
	uint8_t status;
	uint8_t degrade;
	uint8_t durability;
	uint8_t n_intents;
	uint32_t bundle_version;
	uint32_t model_generation;
	uint32_t shard_epoch;
	uint32_t server_us;
	uint32_t retry_after_ms;
	uint32_t policy_id;
	uint32_t reserved;
	uint64_t ack_seq; /* highest sequence number applied, 0 = none */
} WR_WIRE_LAYOUT;
static_assert(sizeof(struct wr_wire_answer) == 40, "layout");

struct wr_wire_item {
	uint32_t item;
	float score; /* logit, lifts included */
	uint16_t reason;
	uint16_t reserved;
	float propensity; /* probability that this policy shows this item here; 1 when deterministic
			   */
} WR_WIRE_LAYOUT;
static_assert(sizeof(struct wr_wire_item) == 16, "layout");

struct wr_wire_server {
	uint8_t version_min, version_max;
	uint16_t max_bytes;
	uint8_t max_k, max_events, max_history, max_exclude;
	uint16_t max_utterance;
	uint16_t min_unproven;
	uint32_t bundle_version;
	uint32_t model_generation;
	uint32_t shard_epoch;
	uint32_t n_items;
	uint32_t history_events; /* blocks·(W-1)+1: newest events that make a cold answer exact */
	uint8_t bundle_id[16];
} WR_WIRE_LAYOUT;
static_assert(sizeof(struct wr_wire_server) == 48, "layout");

/* ---- decoding ---- */
enum wr_decode {
	WR_DECODE_OK = 0,
	/* Not answerable: dropped and counted. */
	WR_DECODE_SHORT,  /* under 32 bytes */
	WR_DECODE_LENGTH, /* length field differs from the datagram, over 1,232, not a multiple of 4
			   */
	WR_DECODE_NOT_REQUEST, /* answer bit set (where a request was expected), or unset */
	/* Header sound: answered with a status. */
	WR_DECODE_VERSION,
	WR_DECODE_OPCODE,
	WR_DECODE_SECTION_LENGTH, /* a section reaches beyond the message or has a length that its
				     type forbids */
	WR_DECODE_SECTION_TWICE,
	WR_DECODE_SECTION_UNKNOWN, /* must-understand */
	WR_DECODE_SECTION_ORDER,   /* something behind AUTH */
	WR_DECODE_SECTION_MISSING, /* ASK in RECOMMEND, EVENTS in EVENT, ANSWER in answers */
	WR_DECODE_VALUE, /* a field out of its range: K, kind, item id, time, unit, count, UTF-8 */
	WR_DECODE_N,
};
/* A name for counters and logs ("section_length"); and the status to answer with (0 = drop). */
const char *wr_decode_name(enum wr_decode d);
enum wr_status wr_decode_status(enum wr_decode d);

/* A decoded message; pointers look into the datagram, NULL = section absent. Valid as long as it
 * is. On an error header is still filled when the datagram had 32 bytes, all else is zero. Sections
 * that belong to the other direction only (ASK in an answer, ITEMS in a request) are skipped like
 * unknown ones. */
struct wr_message {
	struct wr_wire_header header;
	uint16_t n_events, n_history, n_exclude, n_context, n_items, n_ports;
	uint16_t utterance_bytes;
	uint16_t auth_offset; /* of the tag, for verification */
	const struct wr_wire_ask *ask;
	const struct wr_wire_events_head *events_head;
	const struct wr_wire_event *events;
	const struct wr_wire_history_head *history_head;
	const struct wr_wire_history_entry *history;
	const wr_wire_u32 *exclude;
	const struct wr_wire_context *context;
	const char *utterance;
	const struct wr_wire_cookie *cookie;
	const struct wr_wire_auth *auth;
	const struct wr_wire_answer *answer;
	const struct wr_wire_item *items;
	const struct wr_wire_server *server;
	const uint8_t *shards; /* 256 */
	const wr_wire_u16 *ports;
};
/* data: the UDP payload, size bytes, no alignment required. Never reads outside [data, data +
 * size). Order of the checks: size, length field, answer bit, version, opcode, then the sections as
 * they come. */
enum wr_decode wr_wire_decode_request(const void *data, size_t size, struct wr_message *m);
enum wr_decode wr_wire_decode_answer(const void *data, size_t size, struct wr_message *m);

/* ---- encoding: a bounded writer with a sticky error ---- */
struct wr_writer {
	uint8_t *data;
	uint32_t size, used; /* size: capacity in bytes, at most 1,232 counts */
	bool failed;         /* something did not fit; finish reports it */
};
/* Starts a message: header with length 0 for now. */
void wr_writer_init(struct wr_writer *w, void *data, size_t size, const struct wr_wire_header *h);
/* Appends a section head and returns the place of its body (zeroed, padded), NULL when it does not
 * fit. */
void *wr_writer_section(struct wr_writer *w, uint8_t type, uint8_t arg, size_t body_bytes);
/* Convenience over section(). Counts beyond the protocol's limits make the writer fail; events,
 * exclusions and utterances of none write nothing. */
void wr_writer_ask(struct wr_writer *w, uint8_t k, uint32_t budget_us);
void wr_writer_events(
	struct wr_writer *w, uint64_t base_seq, const struct wr_wire_event *e, unsigned int n);
/* times: unix ms, ascending, or NULL (unknown); kinds: NULL = clicks. The unit is 1 ms unless a
 * delta needs 1 s (times are then rounded to whole seconds before the newest; rounding does not add
 * up). An item id out of range fails. Nothing is written for n = 0 without complete. */
void wr_writer_history(struct wr_writer *w, const uint32_t *items, const uint8_t *kinds,
	const int64_t *times, unsigned int n, bool complete);
void wr_writer_exclude(struct wr_writer *w, const uint32_t *items, unsigned int n);
void wr_writer_utterance(struct wr_writer *w, const char *text, size_t bytes);
void wr_writer_cookie(struct wr_writer *w, const struct wr_wire_cookie *c);
/* Pads with a PAD section so that the message has `bytes` bytes (rounded up to a multiple of 4;
 * no-op if larger already). AUTH may follow: it adds WR_WIRE_AUTH_BYTES. */
void wr_writer_pad(struct wr_writer *w, size_t bytes);
/* Appends AUTH over all that was written; must be the last section. key: 32 bytes. */
void wr_writer_auth(struct wr_writer *w, uint32_t key_id, const uint8_t key[32]);
/* Stores the length; the message's bytes, or WR_EFULL. */
int wr_writer_finish(struct wr_writer *w) WR_MUST_CHECK;

/* Items that fit into an answer of at most `bytes` bytes, with or without a cookie. */
static inline unsigned int wr_wire_items_fit(unsigned int bytes, bool cookie)
{
	unsigned int fixed =
		WR_WIRE_ANSWER_BYTES + WR_WIRE_SECTION_HEAD + (cookie ? WR_WIRE_COOKIE_BYTES : 0);
	if (bytes < fixed)
		return 0;
	return WR_MIN((bytes - fixed) / 16, (unsigned int)WR_WIRE_MAX_K);
}

/* Times of history entry 0 … n-1 into out (unix ms, 0 = unknown). */
void wr_wire_history_times(const struct wr_message *m, int64_t *out);

/* ---- published hashes (test vectors in docs/protocol.md) ---- */
/* Virtual shard of a user: top 8 bits of the murmur3 / Stafford-13 finaliser wr_mix64(user_id). */
static inline uint8_t wr_wire_shard(uint64_t user_id)
{
	return (uint8_t)(wr_mix64(user_id) >> 56);
}
/* User id of a string: a decimal number below 2^63 without leading zeros is itself; any other
 * string is the first 8 bytes of its unkeyed BLAKE2b with 16 bytes of output, read little-endian,
 * with bit 63 set. */
uint64_t wr_wire_user_id(const char *name, size_t bytes);
/* The table of a server with n_ports (1 … 64) ports: the port of every shard. Each has 256 /
 * n_ports of them, rounded down or up; one port more moves only the shards that it gets. Clients
 * take the table from HELLO and assume nothing. */
void wr_wire_share_out(uint8_t shards[WR_WIRE_N_SHARDS], unsigned int n_ports);
/*
 * A server's epoch: the first four bytes of the unkeyed BLAKE2b (16 bytes of output) of SHARDS and
 * PORTS as they stand in HELLO's answer, 1 where they are 0. So equal tables have equal epochs,
 * over restarts and servers, and a server need remember nothing. Clients compare epochs only.
 */
uint32_t wr_wire_table_epoch(
	const uint8_t shards[WR_WIRE_N_SHARDS], const uint16_t *ports, unsigned int n_ports);

/* ---- proofs ---- */
/* Cookie: SipHash-2-4 (libsodium) over {address (16 bytes, IPv4 as ::ffff:a.b.c.d), epoch} with a
 * 16-byte secret. */
void wr_wire_cookie_make(struct wr_wire_cookie *c, const uint8_t address[16], uint32_t epoch,
	const uint8_t secret[16]);
bool wr_wire_cookie_check(
	const struct wr_wire_cookie *c, const uint8_t address[16], const uint8_t secret[16]);
/* Constant-time check of m's tag; data is the datagram that m was decoded from. */
bool wr_wire_auth_check(const struct wr_message *m, const void *data, const uint8_t key[32]);
/* Fills n bytes from the kernel's random source (libsodium); for secrets. */
void wr_wire_random(void *out, size_t n);

#ifdef __cplusplus
}
#endif

#endif
