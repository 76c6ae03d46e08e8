/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The load generator and verifier: one thread, one port, one server. Open-loop runs (send times
 * fixed before the run, latency from the intended time), closed-loop runs, the evaluation over the
 * wire, malformed traffic and raw frames. Built to be faster than the server that it measures, and
 * to say so when it was not.
 *
 * Nothing here may be called from two threads.
 */
#ifndef WR_LOAD_H
#define WR_LOAD_H

#include "load_frame.h"
#include "load_lists.h"
#include "load_schedule.h"
#include "load_verify.h"
#include "wr_wire.h"

#define WR_LOAD_MAX_QUEUES 64

struct wr_load_port {
	const char *memif; /* socket of a memif server; this side is the client */
	const char *vdev;  /* instead of it: any DPDK virtual device */
	unsigned int memif_id;
	unsigned int n_queues; /* pairs; on memif queue i = owner i */
	bool narrow; /* memif: begin with one pair, whatever the server has; wr_load_greet adds */
	unsigned int ring_log2; /* descriptors of a memif ring */
	int core;               /* CPU of the one busy thread; -1 = the highest one allowed */
	unsigned int realtime;  /* SCHED_FIFO priority while a run lasts, 0 = none */
	double wait_s;          /* for socket and link */
	bool quiet;
};

/* What HELLO said. */
struct wr_load_server {
	bool known;
	uint32_t n_items, history_events, shard_epoch, bundle_version, model_generation;
	char bundle[33];
	uint8_t shards[WR_WIRE_N_SHARDS];
	uint16_t ports[WR_WIRE_MAX_PORTS];
	unsigned int n_ports;
	struct wr_wire_cookie cookie;
	bool has_cookie;
};

/* ---- the generator ---- */
struct wr_load;
/*
 * Starts the EAL (hugepages when they are there, else ordinary pages), opens the port, waits for
 * the link. One at a time in a process. Failure: *l is NULL, msg names the cause. wr_load_close
 * accepts NULL.
 */
int wr_load_open(struct wr_load **l, const struct wr_load_port *port,
	const struct wr_load_address *address, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_load_close(struct wr_load *l);
/* Asks HELLO (again): shard table, ports, catalogue, cookie. WR_EAGAIN when nobody answers. */
int wr_load_hello(struct wr_load *l, struct wr_errmsg *msg) WR_MUST_CHECK;
/* HELLO, and on memif as many queue pairs as the server has and n_queues wants. */
int wr_load_greet(struct wr_load *l, struct wr_errmsg *msg) WR_MUST_CHECK;
const struct wr_load_server *wr_load_server(const struct wr_load *l);

/* ---- one request ---- */
/*
 * Sends the message of n bytes to its user's owner (queue and port by the shard table), waits for
 * its answer up to timeout_s and five times. The answer is copied to answer (WR_WIRE_MAX_BYTES) and
 * decoded into m. WR_EAGAIN: none came.
 */
int wr_load_ask(struct wr_load *l, const void *message, size_t n, double timeout_s, void *answer,
	struct wr_message *m, uint64_t *latency_ns, struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- workloads ---- */
enum wr_load_kind {
	WR_LOAD_ECHO,      /* RECOMMEND, K = 0 */
	WR_LOAD_WARM,      /* one new click, K = 10 */
	WR_LOAD_COLD,      /* 50 clicks of history, a user never seen before, K = 10 */
	WR_LOAD_COLD99,    /* 99 of them */
	WR_LOAD_EVENT,     /* EVENT with one click */
	WR_LOAD_ASK,       /* RECOMMEND, K = 10, nothing new */
	WR_LOAD_UTTERANCE, /* warm plus an utterance */
	WR_LOAD_HELLO,
	WR_LOAD_FORGET,
	WR_LOAD_MALFORMED,
	WR_LOAD_KIND_N,
};
const char *wr_load_kind_name(enum wr_load_kind k);

struct wr_load_workload {
	unsigned int weight[WR_LOAD_KIND_N]; /* shares of the mix */
	bool mixed;                          /* instead: 4 EVENT and 1 ASK of one user, in turn */
	unsigned int datagram; /* bytes of a request (cold ones may need more than they get) */
	unsigned int k;
	unsigned int n_exclude; /* random exclusions in every warm, ask and cold request */
	uint32_t n_users;
	double zipf;        /* 0 = uniform */
	double malformed;   /* share of all sends */
	double wrong_queue; /* share that goes to a queue other than the owner's */
	bool proof;         /* carry HELLO's cookie in every request, as clients do */
	const char *utterance;
	uint64_t seed;
};
/* Fills in the named workload of docs/benchmarking.md. WR_ENOENT: no such name. */
int wr_load_workload(struct wr_load_workload *w, const char *name) WR_MUST_CHECK;
/* "warm:80,event:15,hello:1"; recommend is another word for warm. */
int wr_load_parse_mix(
	struct wr_load_workload *w, const char *text, struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- runs ---- */
struct wr_load_run {
	struct wr_load_workload workload;
	double seconds;
	/* open loop */
	enum wr_arrivals arrivals;
	double rate;
	/* closed loop: this many requests in flight; 0 = open loop */
	unsigned int window;
	double timeout_s;    /* an answer later than this is lost */
	double outage_s;     /* memif: wait so long for a server that went; 0 = the run ends */
	uint64_t late_us;    /* an answer later than this is late */
	uint64_t max_lag_us; /* schedule lag (p99) above which the generator calls itself the
				bottleneck */
	const struct wr_lists *lists; /* expected answers; NULL = none */
	double verify_share;          /* of all sends that go to users of lists */
	unsigned int verify_users;    /* of them in progress at a time */
	bool populated; /* sessions were filled by wr_load_populate with the same workload */
	bool progress;
};

struct wr_load_watch_counts {
	uint64_t sent, answers, lists_checked, lists_wrong, cold_checked, warm_checked,
		handed_over_checked;
	uint64_t users_done, restarted, retried, failed;
};

struct wr_load_result {
	double seconds, rate;
	uint64_t offered, sent, unsent; /* unsent = offered - sent: the debt at the end */
	uint64_t answered, late, lost, wrong, after_lost, duplicate, unknown;
	uint64_t sent_kind[WR_LOAD_KIND_N], answered_kind[WR_LOAD_KIND_N];
	uint64_t errors[16]; /* answers by enum wr_status, without OK */
	uint64_t flags[8];   /* answers by bit of WR_ANS_* */
	uint64_t verdicts[WR_VERDICT_N];
	uint64_t wrong_queue_sent, handover_missing, handover_unexpected;
	uint64_t epoch_changes; /* new shard tables that the run went on with */
	uint64_t reconnects;    /* servers that came in place of one that went */
	uint64_t malformed_sent, malformed_answered;
	uint64_t frames_other, frames_bad, messages_bad;
	struct wr_load_watch_counts watch;
	struct wr_hist latency_ns, lag_ns, server_us;
	struct wr_hist ask_ns; /* of RECOMMENDs alone: EVENTs beside them (mixed) left out */
	uint64_t tx_full;      /* transmit calls that the ring did not take whole */
	double busy_share;     /* of the wall time in loop passes that sent or received something */
	double cpu_share;      /* of the wall time that the thread had a CPU */
	bool generator_bound;
	char bottleneck[256]; /* words for people: who held the run back, if anyone */
};
/* WR_EINTR: stopped by a signal, *r holds what was measured. WR_ESTATE: wr_load_hello has not
 * succeeded. */
int wr_load_run(struct wr_load *l, const struct wr_load_run *run, struct wr_load_result *r,
	struct wr_errmsg *msg) WR_MUST_CHECK;

/* Gives every user of the workload 99 clicks, losing none. */
int wr_load_populate(struct wr_load *l, const struct wr_load_workload *w, bool progress,
	struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- evaluation over the wire ---- */
struct wr_load_eval {
	const char *data;                /* dataset directory */
	const struct wr_lists *filtered; /* expected lists, NULL = none */
	const struct wr_lists *unfiltered;
	unsigned int k, window;
	uint32_t max_users; /* 0 = all */
	uint32_t show;      /* mismatches to print */
	bool progress;
};
struct wr_load_eval_result {
	double seconds;
	uint64_t users, requests, events, retried, failed, errors;
	double hr, ndcg; /* seen filtered */
	double hr_unfiltered, ndcg_unfiltered;
	uint64_t compared, different, compared_unfiltered, different_unfiltered;
	uint64_t wrong; /* answers that broke another rule of load_verify.h */
};
int wr_load_eval(struct wr_load *l, const struct wr_load_eval *e, struct wr_load_eval_result *r,
	struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- malformed traffic ---- */
#define WR_MALFORM_KINDS(X)                                                                \
	X(frame_short, "frame cut inside Ethernet, IP or UDP")                             \
	X(frame_vlan, "VLAN tag of a VLAN that is not ours, or cut behind the tag")        \
	X(frame_type, "another EtherType, ARP noise")                                      \
	X(ip_version, "IP version or header length that cannot be")                        \
	X(ip_length, "IP total length beyond or below the frame")                          \
	X(ip_checksum, "IPv4 header checksum wrong")                                       \
	X(ip_fragment, "IP fragment, first or later")                                      \
	X(ip_protocol, "not UDP")                                                          \
	X(ip_extra, "IPv4 options or IPv6 extension headers, sound or not")                \
	X(ip_source, "a source that no sender can have")                                   \
	X(ip_address, "not our address")                                                   \
	X(udp_length, "UDP length beyond or below the packet")                             \
	X(udp_checksum, "UDP checksum wrong")                                              \
	X(udp_port, "a port that is not ours")                                             \
	X(wire_truncated, "message cut anywhere, lengths of the layers below right")       \
	X(wire_length, "length field that lies")                                           \
	X(wire_version, "a version not spoken")                                            \
	X(wire_op, "reserved, unknown and answer opcodes")                                 \
	X(section_length, "section that reaches beyond the message or has a wrong length") \
	X(section_twice, "a section twice")                                                \
	X(section_unknown, "an unknown section that must be understood")                   \
	X(section_missing, "RECOMMEND without ASK, EVENT without EVENTS")                  \
	X(section_order, "something behind AUTH")                                          \
	X(value, "K, kind, item id, unit or UTF-8 out of range")                           \
	X(proof, "FORGET with a cookie or tag that is not right")                          \
	X(random_message, "random bytes in a sound datagram")                              \
	X(random_frame, "random bytes as a frame")                                         \
	X(bit_flip, "a valid message with bits flipped, checksums right")
#define WR_ENUM_MALFORM(name, help) WR_MALFORM_##name,
enum wr_malform_kind { WR_MALFORM_KINDS(WR_ENUM_MALFORM) WR_MALFORM_KIND_N };
const char *wr_malform_name(enum wr_malform_kind k);

struct wr_load_malform {
	uint64_t count, seed;
	unsigned int valid_every; /* a valid request behind every n malformed frames */
	bool progress;
};
struct wr_load_malform_result {
	uint64_t sent[WR_MALFORM_KIND_N], total;
	uint64_t valid_sent, valid_answered, valid_wrong, valid_retried;
	uint64_t answered_status[16]; /* answers to malformed ones by status */
	uint64_t unknown, frames_bad, messages_bad;
	uint64_t frames_sent; /* all together, retries included: what the server must have received
			       */
	double seconds;
};
int wr_load_malform(struct wr_load *l, const struct wr_load_malform *c,
	struct wr_load_malform_result *r, struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- raw frames against an echo ---- */
struct wr_load_blast {
	unsigned int datagram; /* UDP payload bytes; with `frame` the whole frame's */
	bool frame;
	double seconds;
	unsigned int window; /* frames in flight */
};
struct wr_load_blast_result {
	double seconds;
	unsigned int frame_bytes;
	uint64_t sent, echoed, lost;
	double mpps, busy_share, cpu_share, cycles_per_frame; /* own cycles of busy passes */
	bool generator_bound;
};
int wr_load_blast(struct wr_load *l, const struct wr_load_blast *c, struct wr_load_blast_result *r,
	struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
