/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker's own source of requests and sink of answers, in its thread: net_ring rings and one
 * receive callback. The callback frees and checks what the worker has sent and puts the next
 * pre-rendered frames into its receive ring, so that the worker's next poll finds a full burst. The
 * cycles in the callback are counted apart. Built for some millions of frames a second.
 */
#ifndef WR_CAPACITY_SOURCE_H
#define WR_CAPACITY_SOURCE_H

#include "load_request.h"
#include "wr_metrics.h"

#include <stdatomic.h>

struct rte_ring;

/* What main tells a source to do. */
enum order {
	ORDER_REST,     /* wait for what is under way, then sleep: the core is idle */
	ORDER_HELLO,    /* ask HELLO once */
	ORDER_POPULATE, /* 99 clicks for every user of this worker */
	ORDER_RENDER,   /* write the next frames of the workload into memory */
	ORDER_RUN,      /* feed them */
};

/* What a worker's thread has used up and done, as it saw it itself. */
struct snapshot {
	uint64_t cpu_ns, wall_ns, tsc, feed_tsc, answered;
	uint64_t stage[WR_STAGE_N];
};

/* Users whose requests are kept, so that their lists can be made again: one in so many. */
#define WATCHED_OF 512
/* In the id of a watched user's request. */
#define ID_WATCHED  (WR_ID_TALK >> 1)
#define MAX_WATCHED (1u << 16)

struct watched { /* a request of a watched user and its answer */
	uint64_t id;
	uint32_t frame; /* of the running buffer */
	bool fed, answered;
	uint16_t n;
	uint8_t message[768];
	uint8_t n_items;
	struct wr_wire_item items[10];
};

struct source {
	/* main writes these before its worker runs, or while the source rests */
	unsigned int index, burst;
	struct rte_ring *rx, *tx;
	struct rte_mempool *pool;
	const struct wr_load *l;
	const struct wr_metrics *metrics;
	struct wr_requests requests;
	uint32_t n_users; /* of all workers */
	int64_t first_ms, past_ms;
	uint8_t *frames;
	size_t frame_bytes, stride;
	bool cold;               /* answers must be cold, else warm */
	bool events, recommends; /* which operations' answers come */

	_Atomic int order;   /* writer: main; reader: the worker */
	_Atomic int carried; /* the order that is done; writer: the worker; reader: main */
	_Atomic int measure; /* 0 before, 1 in, 2 behind the window; writers: main, 1 → 2 workers */
	_Atomic bool *dry;   /* a source of the window has come to its end; shared */
	struct snapshot from, to; /* of the window; read behind carried */
	int seen_measure;

	/* the worker's */
	uint64_t number, past, populated_user;
	uint32_t populated_at;
	size_t n_frames, next, enough; /* rendered, fed, wanted */
	uint16_t *sizes;
	uint64_t calls, calls_tsc;              /* of the callback in windows */
	uint64_t feed_tsc, sent, answered, ids; /* ids: of requests, xor of answers' */
	uint64_t wrong, wrong_id;
	unsigned int idle_polls;
	uint8_t hello[WR_WIRE_MAX_BYTES];
	uint16_t hello_bytes;
	struct watched *watched;
	uint32_t n_watched, first_watched; /* first of the running buffer */
};

/* frame_bytes: memory for rendered frames. WR_ENOMEM. */
int source_new(struct source **s, unsigned int index, size_t frame_bytes,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void source_free(struct source *s);
/* Puts it between the port (an ethdev over s->rx and s->tx, queue s->index) and its worker. */
int source_attach(struct source *s, uint16_t ethdev, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Main's: gives the order; whether it was carried out. */
void source_order(struct source *s, enum order order);
static inline bool source_carried(const struct source *s)
{
	return atomic_load_explicit(&s->carried, memory_order_acquire) ==
	       atomic_load_explicit(&s->order, memory_order_relaxed);
}

#endif
