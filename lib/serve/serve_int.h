/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The corridor's objects; internal to lib/serve. A worker is one lcore's world: nothing in it is
 * written by anybody else, but for the rings. A burst is a struct of arrays that the stages pass
 * along.
 */
#ifndef WR_SERVE_INT_H
#define WR_SERVE_INT_H

#include "wr_admit.h"
#include "wr_rank.h"
#include "wr_serve.h"
#include "wr_table.h"

#include <stdatomic.h>

struct rte_ring;
struct rte_mbuf;

#define BURST        WR_SERVE_MAX_BURST
#define GROUP        32     /* most recommendations that are encoded and scored together */
#define LIFT_POOL    65535u /* lifts of one burst; one request's are cut there */
#define MARK_SLOTS   256    /* power of two, at least 4 · BURST */
#define MAX_SEQ_WARM 4

/* What a frame needs to be taken up again, in its mbuf's private area: survives hand-over and
 * deferral. */
struct frame_state {
	uint64_t arrival_tsc;
	struct wr_frame frame;
	uint8_t outcome; /* enum wr_outcome that it earns when it is sent */
	bool handed_over, deferred;
};
static_assert(sizeof(struct frame_state) <= WR_PORT_PRIV_BYTES, "private area");

/* What is still to be done for a request of the burst. */
enum todo {
	TODO_NOTHING, /* it has left the burst: freed, handed over or deferred */
	TODO_ANSWER,  /* only the answer */
	TODO_ECHO,
	TODO_HELLO,
	TODO_FORGET,
	TODO_EVENT,
	TODO_RECOMMEND,
};

/* What one call of the encoder gets. */
struct sequences {
	unsigned int n;
	uint32_t off[BURST + 1];
	void *ring[BURST];
	uint8_t out[BURST]; /* recommendation of sequence i */
	uint32_t *rows;     /* item rows: [burst][history_events] */
	/* Event times as rows, and of each request; NULL, unused when the model looks at none. */
	int64_t *times, asked[BURST];
};

struct burst {
	unsigned int n;
	struct rte_mbuf *mbuf[BURST];
	struct frame_state *state[BURST];
	const uint8_t *bytes[BURST]; /* the frame, or its exactly sized copy in a sanitizer build */
	uint8_t todo[BURST];         /* enum todo */
	uint8_t decoded[BURST];      /* enum wr_decode */
	uint8_t status[BURST];       /* enum wr_status */
	uint8_t k[BURST];
	uint16_t flags[BURST]; /* WR_ANS_* */
	struct wr_message message[BURST];
	struct wr_admit_request request[BURST];
	struct wr_admit_verdict verdict[BURST];
	unsigned int n_expected;
	uint64_t expected[BURST]; /* users whose sessions parse takes to be wanted */
	uint64_t users[BURST];    /* of the stateful requests, packed */
	uint32_t row[BURST];      /* of the session, WR_TABLE_NONE */
	uint64_t ack_seq[BURST];
	uint8_t durability[BURST], degrade[BURST], n_intents[BURST];
	/* recommendations only, by their own index */
	unsigned int n_recommends;
	uint8_t of[BURST];     /* request of recommendation j */
	uint8_t rec_of[BURST]; /* recommendation of request i */
	struct wr_rank_query query[BURST];
	struct sequences cold, warm;
	unsigned int n_lifts;
	/* replies in order; frames of which those of the requests before have gone */
	unsigned int n_out, n_replied;
	struct rte_mbuf *out[2 * BURST];
	bool had_frames, any_stateful; /* a request of the burst needs its user's session */
	/* Recommendations, the first ones, whose rings were asked for before the burst began. */
	unsigned int n_near;
};

/* How large a burst is waited for: stage_receive.c. */
struct gather {
	unsigned int target;         /* frames; 1 = none is waited for */
	bool trying;                 /* target is more than has come before */
	unsigned int rest, back_off; /* bursts until the next attempt; of the last one in vain */
};

struct worker {
	struct wr_serve *serve;
	unsigned int index, lcore, cpu;
	int socket_id;
	struct wr_metrics *metrics;
	struct wr_table *table;
	struct wr_encoder *encoder;
	struct wr_ranker *ranker;
	struct wr_intent_scanner *scanner;
	struct rte_ring *handover; /* frames from other workers: many producers, this consumer */
	struct rte_ring *returns; /* replies of workers without a queue, to be sent on this one's */
	struct burst burst;
	struct gather gather;
	struct wr_admit_memo memo;
	unsigned int n_deferred;
	struct rte_mbuf *deferred[BURST];
	unsigned int n_early, n_near; /* received for the next burst; n_near of it, as foreseen */
	struct rte_mbuf *early[BURST];
	struct wr_rank_lift *lifts; /* LIFT_POOL */
	struct wr_rank_item *items; /* [burst][WR_RANK_MAX_K] */
	uint8_t n_items[BURST];
	uint32_t exclude[BURST][WR_WIRE_MAX_EXCLUDE];
	struct {
		uint64_t user;
		uint32_t stamp;
	} mark[MARK_SLOTS]; /* users whose later requests wait */
	uint32_t mark_stamp;
	uint64_t stage_from;               /* TSC at which the running stage began */
	uint64_t stage_cycles[WR_STAGE_N]; /* of the running burst */
	unsigned int n_live;               /* queue pairs that the peer has, in this pass */
	bool receiving, finished;
	bool beside;        /* worker 0 of a port with a kernel tap or neighbours: stage_kernel.c */
	_Atomic bool ready; /* writer: the worker; reader: main */
	int err;
	struct wr_errmsg msg;
};

enum run { RUN_SERVE, RUN_DRAIN, RUN_ABORT };

struct wr_serve {
	struct wr_serve_options o;
	struct wr_serve_plan plan;
	char name[32], allow[2048], socket_path[108];
	_Atomic int state; /* enum wr_serve_state; writer: main, readers: any */
	_Atomic int run;   /* enum run; writer: main, readers: workers */
	_Atomic bool open; /* the port may be polled; same */
	_Atomic unsigned int n_stopped_rx, n_finished; /* writers: workers */
	_Atomic int64_t unix_offset_us; /* unix time = TSC time + this; writer: main */
	struct wr_port *port;
	struct wr_frame_local us;
	struct rte_ring
		*to_kernel; /* frames for the kernel tap, NULL without one: consumer worker 0 */
	/* addresses that are still to be announced; writers: main (all), worker 0 (one less) */
	_Atomic unsigned int announce;
	bool announces, was_up; /* main's */
	unsigned int announce_rounds;
	uint64_t announce_at_ns;
	struct wr_admit *admit;
	struct wr_model *model;
	struct wr_intents *intents;
	struct wr_bundle_model shape;
	struct wr_wire_server hello;
	uint16_t ports[WR_SERVE_MAX_WORKERS];
	uint8_t shards[WR_WIRE_N_SHARDS];
	uint32_t epoch, generation, history_events;
	uint32_t ring_bytes; /* of the encoder's rings */
	/* Recommendations that are encoded and scored together: at most, and first in a burst. */
	unsigned int group, first_group;
	uint64_t tsc_hz, ns_mult, opened_ns;
	uint64_t gather_ticks; /* that a burst may wait for frames */
	/* the known request of the self-test and its list at the reference level */
	uint32_t n_test_rows, test_rows[8];
	int64_t test_times[9]; /* of the clicks, and of the request */
	uint8_t n_expected;
	struct wr_rank_item expected[WR_RANK_MAX_K];
	struct worker *workers[WR_SERVE_MAX_WORKERS];
};

/* ---- time ---- */
static inline uint64_t tsc_to_ns(const struct wr_serve *s, uint64_t tsc)
{
	return (uint64_t)(((unsigned __int128)tsc * s->ns_mult) >> 32);
}
static inline int64_t unix_ms(const struct wr_serve *s, uint64_t tsc)
{
	int64_t offset = atomic_load_explicit(&s->unix_offset_us, memory_order_relaxed);
	return ((int64_t)(tsc_to_ns(s, tsc) / 1000) + offset) / 1000;
}
void wr_serve_rebase_clock(struct wr_serve *s);

/* ---- counting; one writer, the worker ---- */
static inline void count(struct worker *w, enum wr_counter c, uint64_t n)
{
	wr_count(&w->metrics->counter[c], n);
}
static inline void count_outcome(struct worker *w, enum wr_outcome o, uint64_t n)
{
	wr_count(&w->metrics->outcome[o], n);
}
/* Ends the running stage: its cycles go to `stage`. */
static inline void end_stage(struct worker *w, enum wr_stage stage)
{
	uint64_t now = wr_clock_tsc();
	w->stage_cycles[stage] += now - w->stage_from;
	w->stage_from = now;
}

/* The cycles of a burst's stages into counters and histograms, once a burst. */
void wr_serve_account(struct worker *w);

/* ---- stages, in order ---- */
/* Deferred first, then handed over, then early ones, then the port. Ends rx itself, at the last
 * frames' arrival. */
void wr_serve_stage_receive(struct worker *w, struct burst *b);
/*
 * Receives what has come while a burst is worked on, and finds the rings that it will want: up to
 * GROUP of them, into ring; their number. The frames are the next burst's first ones.
 */
unsigned int wr_serve_receive_early(struct worker *w, void **ring);
/* A burst of n frames has come, in_vain: after a wait for more that did not come. max: largest. */
void wr_serve_gather_next(struct gather *g, unsigned int n, unsigned int max, bool in_vain);
void wr_serve_stage_parse(struct worker *w, struct burst *b);
void wr_serve_stage_admit(struct worker *w, struct burst *b);
void wr_serve_stage_locate(struct worker *w, struct burst *b);
void wr_serve_stage_recall(struct worker *w, struct burst *b);
/* Encode and score, and all but the last requests' replies and their transmission. */
void wr_serve_stage_score(struct worker *w, struct burst *b);
/* Of requests b->n_replied … end-1, which all stages before have done. */
void wr_serve_stage_reply(struct worker *w, struct burst *b, unsigned int end);
void wr_serve_stage_transmit(struct worker *w, struct burst *b);
/* The frame leaves with this outcome, unanswered. */
void wr_serve_frame_end(struct worker *w, struct burst *b, unsigned int i, enum wr_outcome outcome);
/* The frame waits for the next pass. */
void wr_serve_frame_defer(struct worker *w, struct burst *b, unsigned int i);

/* ---- stage_kernel.c ---- */
/* Whether frames that earned this outcome go to the kernel tap, where there is one. */
bool wr_serve_kernel_takes(enum wr_outcome o);
/* Into its ring; it gets its outcome there, or now when the ring is full. */
void wr_serve_to_kernel(struct worker *w, struct burst *b, unsigned int i);
/* Worker 0, once a pass. */
void wr_serve_stage_kernel(struct worker *w, unsigned int n_live);
bool wr_serve_kernel_waits(const struct worker *w); /* frames wait in its ring */
void wr_serve_kernel_abandon(struct worker *w);
int wr_serve_kernel_new(struct wr_serve *s, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_serve_kernel_tick(struct wr_serve *s, uint64_t now_ns); /* main */

/* ---- plan.c ---- */
struct wr_table_shape wr_serve_table_shape(const struct wr_serve_options *o);
unsigned int wr_serve_mbufs(const struct wr_serve_options *o);
/* Recommendations that are encoded and scored together, at most GROUP. */
unsigned int wr_serve_group(const struct wr_serve_options *o);
unsigned int wr_serve_first_group(const struct wr_serve_options *o);

/* ---- worker.c, selftest.c ---- */
int wr_serve_worker_main(void *arg); /* lcore_function_t */
/* Encodes and ranks one known request at the reference level, for the workers to compare with. */
int wr_serve_selftest_prepare(struct wr_serve *s, struct wr_errmsg *msg) WR_MUST_CHECK;
int wr_serve_selftest_run(struct worker *w, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Asks the kernel to map all code now, not page by page while the first requests wait. */
void wr_serve_map_code(void);
/* Hugepages (or ordinary pages) of a NUMA socket for lib/model and lib/rank. */
extern const struct wr_allocator wr_serve_allocator;

#endif
