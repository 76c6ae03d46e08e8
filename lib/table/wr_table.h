/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Session rows of one lcore: user → row, bounded, with eviction. Built for 10^5 … 10^6 rows of some
 * KB each in hugepages and bursts of 1 … 64 look-ups; a look-up is a few random cache lines, so
 * all of a burst are prefetched before any is read.
 *
 * Row = header (64 bytes) | ring of the last history_events tokens (16 bytes each) | seen filter:
 * exact bitmap of n_items bits. Behind all rows stand the encoder's rings: cached keys, values and
 * user vector, opaque here, seven times as large. Apart from them the rows are few pages, whose
 * translations stay near: a look-up waits for page walks more than for lines. Every part starts on
 * a cache line. The bitmap is exact for every catalogue size in this version; beyond 64 k items it
 * outweighs the rest of the session (1 M items: 125 KB), which the memory plan shows.
 *
 * Index: one cache line of tags and rows, then the row's own header: two random lines a look-up
 * where rte_hash takes three (its key slots) and asks for a fourth. Every row can be filled.
 * Eviction: CLOCK, the second-chance approximation of least recently
 * used (Corbató 1968), with at most WR_TABLE_CLOCK_STEPS looks a creation; rows of the running
 * burst are never taken.
 *
 * One thread owns a table: no function here is safe beside another call on the same table.
 */
#ifndef WR_TABLE_H
#define WR_TABLE_H

#include "wr_base.h"
#include "wr_wire.h"

#include <assert.h>

#define WR_TABLE_NONE        UINT32_MAX
#define WR_TABLE_MAX_BURST   64
#define WR_TABLE_MIN_ROWS    128
#define WR_TABLE_CLOCK_STEPS 192
#define WR_SESSION_REQUESTS  4 /* request ids that are remembered */

/* What a bundle fixes. */
struct wr_table_shape {
	uint32_t n_items;
	uint32_t history_events; /* blocks·(W-1)+1 */
	uint32_t ring_bytes;     /* of the encoder's ring, 0 = none */
	uint32_t max_pending; /* most tokens behind the ring's that it can still take, up to 255 */
};

enum {
	WR_SESSION_COMPLETE =
		1 << 0,           /* the ring and what fell out of it is the user's whole history */
	WR_SESSION_GAP = 1 << 1,  /* numbered events are missing since */
	WR_SESSION_TOLD = 1 << 2, /* a client was asked for older history and gave what it had */
	WR_SESSION_UNORDERED = 1 << 3, /* a token's time may be below that of one before it */
};
struct wr_session {
	uint64_t user;
	uint64_t last_seq;                         /* highest sequence number applied, 0 = none */
	uint64_t request_ids[WR_SESSION_REQUESTS]; /* of messages whose events had no time */
	uint32_t generation;     /* of the model that filled the ring; 0 = the ring is void */
	uint16_t n_events, head; /* tokens in the ring, place of the oldest */
	uint16_t n_contiguous;   /* newest tokens without a gap between them */
	uint8_t flags;           /* WR_SESSION_* */
	uint8_t used;            /* CLOCK's reference bit */
	uint8_t requests;  /* ids remembered; from WR_SESSION_REQUESTS on it goes round in the next
			      as  many numbers */
	uint8_t n_pending; /* newest tokens that the ring does not hold yet; 255 = that or more */
	uint8_t burst;     /* stamp of the burst that looked it up last */
	uint8_t live;
};
static_assert(sizeof(struct wr_session) == 64, "layout");

enum {
	WR_TOKEN_CONVERTED = 1 << 0, /* a conversion followed this click */
	WR_TOKEN_STAMPED = 1 << 1,   /* the time is the server's clock at arrival */
};
struct wr_session_token {
	uint32_t item; /* id, 1 … n_items */
	uint8_t kind;  /* WR_KIND_CLICK or WR_KIND_CONVERT */
	uint8_t flags; /* WR_TOKEN_* */
	uint16_t dwell_ds;
	int64_t time_ms;
};
static_assert(sizeof(struct wr_session_token) == 16, "layout");

/* Offsets inside a row, sizes; bytes. */
struct wr_table_layout {
	uint32_t tokens_off, seen_off, row_bytes;
	uint32_t ring_bytes; /* of a row's ring, which stands elsewhere */
	uint32_t seen_words; /* u64 */
};
void wr_table_layout(const struct wr_table_shape *s, struct wr_table_layout *out);
/* Rows and index, for the memory plan. */
uint64_t wr_table_bytes_needed(const struct wr_table_shape *s, uint32_t rows);

struct wr_table;
/* rows: WR_TABLE_MIN_ROWS or more. EAL must run; memory comes from its heap of this NUMA socket.
 * WR_EINVAL, WR_ENOMEM; *t is NULL then. */
int wr_table_new(struct wr_table **t, const struct wr_table_shape *s, uint32_t rows, int socket_id,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_table_free(struct wr_table *t);
uint32_t wr_table_rows(const struct wr_table *t);
/* Any thread. */
uint32_t wr_table_sessions(const struct wr_table *t);
uint64_t wr_table_evicted(const struct wr_table *t);

/*
 * What the requests of n users will want, asked for ahead of wr_table_locate while other work runs:
 * first the index's lines; then, some hundreds of nanoseconds later, the rows' headers. Neither is
 * needed, and neither changes anything. All users of a burst in one call: a core walks the page
 * tables for several prefetches at once only while they stand close together in the code.
 */
void wr_table_expect(const struct wr_table *t, unsigned int n, const uint64_t *users);
/* rows: [n], which the users probably have, WR_TABLE_NONE where there is none; may be NULL. A row
 * named here may be another user's, or anybody's later on: good for asking for its lines alone. */
void wr_table_expect_rows(
	const struct wr_table *t, unsigned int n, const uint64_t *users, uint32_t *rows);
/* What a request touches of a row beside its header. */
struct wr_table_want {
	uint32_t item; /* of its first event, 0 = none */
	bool tokens;   /* the newest token and the place behind it */
	bool filter;   /* the whole filter */
};
/*
 * Rows of n ≤ 64 users, WR_TABLE_NONE for unknown ones: hashes all, prefetches all, then reads all;
 * of the found rows the header has arrived, what want says is prefetched, and they are safe from
 * eviction until the next call.
 */
void wr_table_locate(struct wr_table *t, unsigned int n, const uint64_t *users,
	const struct wr_table_want *want, uint32_t *rows);
/* The user's row, made if need be (someone else's session may be evicted for it). WR_TABLE_NONE
 * only when every row belongs to this burst. */
uint32_t wr_table_get_or_create(struct wr_table *t, uint64_t user, bool *created);
/* Erases the session and every byte of its row; false when there was none. (Eviction empties header
 * and filter only: a row's next owner overwrites the rest as it is used.) */
bool wr_table_forget(struct wr_table *t, uint64_t user);

struct wr_session *wr_table_session(struct wr_table *t, uint32_t row);
/* The encoder's ring of the session. */
void *wr_table_ring(const struct wr_table *t, uint32_t row);
const uint64_t *wr_session_seen(const struct wr_table *t, const struct wr_session *s);

/* What a message did to a session. */
struct wr_session_change {
	uint16_t applied, duplicate, unknown_item;
	uint16_t gaps;
};
struct wr_session_batch {
	uint64_t request_id;
	uint64_t base_seq; /* 0 = unnumbered */
	const struct wr_wire_event *events;
	unsigned int n;
	int64_t now_ms; /* stamp for events without a time */
};
/*
 * New events, in their order. Duplicates (design: by number; by item, kind and time among the
 * stored; without a time by request id while that is remembered) change nothing. A conversion marks
 * the newest stored click of its item, and is a token of its own only when there is none; one that
 * is marked already is a duplicate. Views and intents are no tokens: neither applied nor duplicate.
 * Adds to *c. A new session whose first event has number 1 is complete.
 */
void wr_session_apply(struct wr_table *t, struct wr_session *s, const struct wr_session_batch *b,
	struct wr_session_change *c);
/* The encoder would see more than is known: not complete, and fewer contiguous tokens than
 * history_events. */
bool wr_session_approximate(const struct wr_table *t, const struct wr_session *s);
/*
 * Older history from a client, for a session that is approximate. With times, the ring becomes the
 * stored tokens that are older than its oldest entry (none when it is complete), the history, and
 * the stored tokens that are newer than its newest. Without times: the history and the stored
 * tokens behind the longest overlap of its end with the stored begin; one that the stored tokens
 * contain as a run changes nothing. An empty one that is not complete says that there is no more
 * and changes nothing else. Seen items are added. times: of the n entries (0 = unknown).
 */
void wr_session_history(struct wr_table *t, struct wr_session *s,
	const struct wr_wire_history_entry *entries, const int64_t *times, unsigned int n,
	bool complete, struct wr_session_change *c);
/* Item rows (id - 1) of the tokens, oldest first, into out (history_events at most); their number.
 */
unsigned int wr_session_tokens(const struct wr_table *t, const struct wr_session *s, uint32_t *out);
/* Times of the n ≤ n_events newest tokens, oldest first (unix ms, 0 = unknown). */
void wr_session_times(
	const struct wr_table *t, const struct wr_session *s, unsigned int n, int64_t *out);
/* Whether the ring is this generation's and lacks the newest s->n_pending tokens only, few enough
 * to add. */
bool wr_session_warm(const struct wr_table *t, const struct wr_session *s, uint32_t generation);
/* Item rows of the s->n_pending newest tokens, oldest first; their number. For a warm session. */
unsigned int wr_session_pending(
	const struct wr_table *t, const struct wr_session *s, uint32_t *out);
/* The ring holds all tokens now, by this generation of the model (not 0). */
void wr_session_encoded(struct wr_session *s, uint32_t generation);
/* Token i, 0 = oldest. */
const struct wr_session_token *wr_session_token(
	const struct wr_table *t, const struct wr_session *s, unsigned int i);

#endif
