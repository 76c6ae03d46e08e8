/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The corridor: rx → parse → admit → locate → recall → encode → score → reply → tx on
 * run-to-completion lcores. One worker lcore owns one queue pair, one session table and its
 * scratch; nothing on the way locks, allocates, logs or makes a system call. Built for bursts of 1
 * … 64 requests; encode and score dominate.
 *
 * Life: options → wr_serve_eal_init → wr_serve_new (memory plan, tables, model, rules) →
 * wr_serve_warm (workers create and run their primitives, self-test) → wr_serve_open (the port
 * comes up) → … → wr_serve_stop (drain) → wr_serve_free. All of these are called by one thread, the
 * main lcore's, and in this order.
 */
#ifndef WR_SERVE_H
#define WR_SERVE_H

#include "wr_base.h"
#include "wr_bundle.h"
#include "wr_intent.h"
#include "wr_metrics.h"
#include "wr_model.h"
#include "wr_port.h"
#include "wr_wire.h"

#define WR_SERVE_MAX_WORKERS WR_WIRE_MAX_PORTS
#define WR_SERVE_MAX_BURST   64

struct wr_config; /* lib/config; only carried, for control */

struct wr_serve_options {
	const char *name; /* EAL file prefix, telemetry; letters, digits, '-', '_' */
	unsigned int n_workers;
	unsigned int cpus[WR_SERVE_MAX_WORKERS]; /* CPU of each worker lcore */
	unsigned int realtime; /* SCHED_FIFO priority of the workers, 0 = ordinary threads */
	const struct wr_bundle *bundle; /* outlives the server */
	/* For wr_serve_plan_lines alone: plans for this model, bundle may be NULL then. */
	const struct wr_bundle_model *shape;
	const struct wr_config *config; /* may be NULL; outlives the server */
	enum wr_isa isa;
	enum wr_gemm_engine gemm;
	struct wr_port_options
		port; /* n_queues and udp_port are the server's: queue i listens on udp_port + i */
	const char *allow; /* source prefixes, as lib/admit reads them */
	uint32_t rows_per_lcore;
	unsigned int burst; /* 1 … WR_SERVE_MAX_BURST */
	unsigned int
		gather_us; /* a burst may wait so long for more frames, under load; 0 = never */
	unsigned int handover_ring; /* slots, a power of two */
	uint32_t cookie_rotate_s;
	bool huge;                   /* false: EAL runs on ordinary pages (--no-huge) */
	bool capture;                /* memory for a packet capture is planned */
	uint64_t memory_limit_bytes; /* 0 = what the machine has free */
};

/* ---- memory plan, before anything is allocated ---- */
struct wr_serve_plan_line {
	const char *what;
	uint64_t bytes;
};
struct wr_serve_plan {
	unsigned int n_lines;
	struct wr_serve_plan_line line[16];
	uint64_t total_bytes; /* asked of EAL */
	uint64_t have_bytes;  /* free hugepages, or MemAvailable without them */
};
/* Fills plan (on failure too); WR_ENOMEM with the mend when it does not fit. WR_ENOTSUP: isa. */
int wr_serve_plan(const struct wr_serve_options *o, struct wr_serve_plan *plan,
	struct wr_errmsg *msg) WR_MUST_CHECK;

/* The same lines for any machine: nothing is looked at but o (have_bytes stays 0), nothing fails.
 */
void wr_serve_plan_lines(const struct wr_serve_options *o, struct wr_serve_plan *plan);

/* rte_eal_init with lcores mapped to the CPUs, once a process. */
int wr_serve_eal_init(const struct wr_serve_options *o, const struct wr_serve_plan *plan,
	struct wr_errmsg *msg) WR_MUST_CHECK;
/* rte_eal_cleanup: hugepage files and the telemetry socket go. */
void wr_serve_eal_cleanup(void);

struct wr_serve;
/* Tables, model and rules; o is copied. On failure *s is NULL. */
int wr_serve_new(struct wr_serve **s, const struct wr_serve_options *o,
	const struct wr_serve_plan *plan, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Starts the workers: each creates its encoder and ranker in its own thread, runs every burst shape
 * once and one known request, whose list must equal the reference level's. */
int wr_serve_warm(struct wr_serve *s, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Opens and starts the port; from here on frames are served. */
int wr_serve_open(struct wr_serve *s, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Control's share of the work: wall clock and cookie secrets. Call it some ten times a second while
 * the server lives. */
void wr_serve_tick(struct wr_serve *s);
/* Stops receiving, serves what is in rings (at most about a second), joins the workers and closes
 * the port. */
void wr_serve_stop(struct wr_serve *s);
void wr_serve_free(struct wr_serve *s);

/* ---- views, for control and tests; any thread, any time between new and free ---- */
enum wr_serve_state {
	WR_SERVE_LOADED,
	WR_SERVE_WARM,
	WR_SERVE_SERVING,
	WR_SERVE_DRAINING,
	WR_SERVE_STOPPED
};
enum wr_serve_state wr_serve_state(const struct wr_serve *s);
const char *wr_serve_state_name(enum wr_serve_state state);
unsigned int wr_serve_n_workers(const struct wr_serve *s);
/* Live metrics of worker i (read them with wr_metrics_snapshot), its CPU, its resident sessions. */
const struct wr_metrics *wr_serve_metrics(const struct wr_serve *s, unsigned int worker);
unsigned int wr_serve_worker_cpu(const struct wr_serve *s, unsigned int worker);
uint32_t wr_serve_sessions(const struct wr_serve *s, unsigned int worker);
uint32_t wr_serve_rows(const struct wr_serve *s); /* a worker's capacity */
const struct wr_config *wr_serve_config(const struct wr_serve *s);
const struct wr_bundle *wr_serve_bundle(const struct wr_serve *s);
const struct wr_intents *wr_serve_intents(const struct wr_serve *s); /* NULL without rules */
const struct wr_serve_plan *wr_serve_plan_of(const struct wr_serve *s);
enum wr_isa wr_serve_isa(const struct wr_serve *s);
const char *wr_serve_engine(const struct wr_serve *s); /* "auto", "onednn" or "own" */
/* What worker i measured of both engines; NULL unless the engine is auto, and before warm. */
const struct wr_engine_times *wr_serve_engines(const struct wr_serve *s, unsigned int worker);
/* Multiply-adds of all workers' encoders so far. */
void wr_serve_macs(const struct wr_serve *s, uint64_t *onednn, uint64_t *own);
bool wr_serve_huge(const struct wr_serve *s);          /* EAL runs on hugepages */
int64_t wr_serve_unix_us(const struct wr_serve *s);    /* the clock that answers are stamped with */
uint64_t wr_serve_uptime_ns(const struct wr_serve *s); /* since the port opened, 0 before */
uint32_t wr_serve_generation(const struct wr_serve *s);
/* Worker of each virtual shard, and the table's epoch; UDP port (host order) of a worker. */
const uint8_t *wr_serve_shards(const struct wr_serve *s, uint32_t *epoch);
uint16_t wr_serve_udp_port(const struct wr_serve *s, unsigned int worker);
const struct wr_port *wr_serve_port(const struct wr_serve *s); /* NULL before open */

#endif
