/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The generator's core: port, staging of frames, receiving of answers, ids. Private to lib/load.
 *
 * Request ids: bit 63 = malformed traffic, bits 62 … 40 = tag of this process, bit 39 = a
 * conversation (bits 38 … 16 its sequence, 15 … 0 its index), else bits 38 … 0 = number of the
 * request.
 */
#ifndef WR_LOAD_CORE_H
#define WR_LOAD_CORE_H

#include "wr_load.h"
#include "wr_port.h"

#include <rte_mbuf.h>
#include <rte_mempool.h>

#define WR_LOAD_BURST      32
#define WR_LOAD_STAGE      64
#define WR_LOAD_BUFFER     2048 /* room of an mbuf; the largest frame has 1,294 bytes */
#define WR_ID_MALFORMED    ((uint64_t)1 << 63)
#define WR_ID_TALK         ((uint64_t)1 << 39)
#define WR_ID_NUMBER_MASK  (WR_ID_TALK - 1)
#define WR_ID_TAG_SHIFT    40
#define WR_ID_TAG_MASK     ((((uint64_t)1 << 23) - 1) << WR_ID_TAG_SHIFT)
#define WR_TALK_INDEX_BITS 16

/* User ids of generated load; decimal names of datasets lie far below. */
#define WR_USERS_LOAD      ((uint64_t)0x40 << 56)
#define WR_USERS_FRESH     ((uint64_t)0x50 << 56)
#define WR_USERS_MALFORMED ((uint64_t)0x38 << 56)
#define WR_USERS_TALK      ((uint64_t)0x61 << 56)

struct wr_load_queue {
	struct rte_mbuf *staged[WR_LOAD_STAGE];
	uint16_t n_staged;
};

struct wr_load {
	uint16_t port_id, n_queues;
	bool started, configured, eal, attached, online;
	struct wr_load_port options; /* as opened; its strings are the caller's */
	struct rte_mempool *pool;
	struct wr_load_queue queue[WR_LOAD_MAX_QUEUES];
	struct wr_load_address address;
	struct wr_load_head head;
	struct wr_load_server server;
	uint64_t tag; /* in its place in an id */
	uint64_t tsc_hz;
	uint32_t next_talk;
	uint64_t tx_frames, rx_frames, tx_full;
	uint64_t frames_other, frames_bad, messages_bad;
	/* Following the server's table: an answer named another epoch, HELLO is on its way. */
	bool stale;
	uint64_t hello_id, hello_tsc, epoch_changes, n_follows;
	uint64_t malformed_answers[16]; /* answers to ids with WR_ID_MALFORMED, by status */
	const uint8_t *datagram;        /* the one that is being handed to wr_load_answer */
	size_t datagram_bytes;
};

/* Where a user's requests go. */
struct wr_load_route {
	uint16_t queue, port;
	bool astray; /* on memif: not the owner's queue, so that the server hands over */
};
struct wr_load_route wr_load_route(const struct wr_load *l, uint64_t user);
/* The route over another queue than the owner's: n = 1 … n_queues - 1 queues further. */
struct wr_load_route wr_load_detour(
	const struct wr_load *l, struct wr_load_route r, unsigned int n);

/*
 * Room for one more frame on a queue: WR_LOAD_BUFFER bytes, to be committed with its size before
 * the next call. NULL: the queue's stage or the pool is full, flush and come back.
 */
uint8_t *wr_load_stage(struct wr_load *l, uint16_t queue);
void wr_load_commit(struct wr_load *l, uint16_t queue, uint16_t bytes);
/* Hands staged frames to the port; what it does not take stays staged. Returns the number taken. */
unsigned int wr_load_flush(struct wr_load *l);
bool wr_load_staged(const struct wr_load *l);
/* Drops what is staged (at the end of a run); the number dropped. */
unsigned int wr_load_unstage(struct wr_load *l);

/* Renders headers around the message of n bytes (the first n_used not zero) at frame + head.size,
 * and commits. */
void wr_load_send(
	struct wr_load *l, struct wr_load_route r, uint8_t *frame, uint16_t n, uint16_t n_used);

/* Receives what is there; every decoded answer goes to fn, but those to malformed requests and to
 * wr_load_follow. Returns the number of frames. now: TSC of the receive call. */
typedef void (*wr_load_answer)(void *ctx, const struct wr_message *m, uint64_t now);
unsigned int wr_load_poll(struct wr_load *l, wr_load_answer fn, void *ctx);

/*
 * Asks HELLO when an answer has named another epoch than the table's, now and then again until it
 * is answered; the new table counts in epoch_changes. Call it every few milliseconds.
 */
void wr_load_follow(struct wr_load *l, uint64_t now);
/* HELLO with this id into w, initialised with data and size. */
void wr_load_hello_message(struct wr_writer *w, uint64_t id);

/*
 * The server has gone (the link is down): connects again as soon as there is one, for at most
 * `seconds`, with as many queue pairs as it has and wr_load_open asked for, and asks HELLO. What
 * was staged must be gone. WR_EAGAIN: nobody came; WR_EINTR.
 */
int wr_load_reconnect(struct wr_load *l, double seconds, struct wr_errmsg *msg) WR_MUST_CHECK;

static inline uint64_t wr_load_ns(const struct wr_load *l, uint64_t ticks)
{
	return (uint64_t)((double)ticks * (1e9 / (double)l->tsc_hz));
}
static inline uint64_t wr_load_ticks(const struct wr_load *l, double seconds)
{
	return (uint64_t)(seconds * (double)l->tsc_hz);
}

/* Busy and idle time of a polling loop: one call a pass. */
struct wr_load_clock {
	uint64_t start, last, busy, cpu_start_ns;
};
void wr_load_clock_start(struct wr_load_clock *c);
static inline void wr_load_clock_pass(struct wr_load_clock *c, uint64_t now, bool worked)
{
	if (worked)
		c->busy += now - c->last;
	c->last = now;
}
/* Shares of the time since the start. */
void wr_load_clock_end(const struct wr_load_clock *c, const struct wr_load *l, double *busy_share,
	double *cpu_share);

/* Keeps what a HELLO answer says. WR_EFORMAT when it lacks something. */
int wr_load_take_hello(
	struct wr_load *l, const struct wr_message *m, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Adopts a newer cookie, if the answer carries one. */
void wr_load_take_cookie(struct wr_load *l, const struct wr_message *m);

/* A message header with the sender's wall-clock time. */
struct wr_wire_header wr_load_header(enum wr_op op, uint64_t id, uint64_t user, uint16_t flags);

#endif
