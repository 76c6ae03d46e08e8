/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libwirerank: the asynchronous client for edge proxies. Plain UDP sockets, no DPDK, no threads of
 * its own: the caller's event loop watches one file descriptor. Built for some hundred thousand to
 * a million 256-byte requests a second and core: requests leave in batches (sendmmsg, UDP_SEGMENT),
 * answers come in batches (recvmmsg, UDP_GRO), whatever the kernel has; nothing is allocated after
 * wr_client_new, and a request costs no system call of its own.
 *
 *   c = wr_client_new(NULL, &msg);
 *   wr_client_add_server(c, "192.0.2.7", 4700, 0, &msg);
 *   wr_client_recommend(c, &(struct wr_client_request){.user_id = 42, .k = 10, .done = shown});
 *   … whenever wr_client_fd(c) is readable: wr_client_process(c) …
 *
 * One client belongs to one thread; a program with four network threads makes four. Callbacks run
 * inside wr_client_process, wr_client_run or wr_client_free, never inside a call that submits; they
 * may submit, and must not call any of these three. Source of the rules for sending again, proof
 * and shards: docs/protocol.md.
 */
#ifndef WR_CLIENT_H
#define WR_CLIENT_H

#include "wr_wire.h"

#ifdef __cplusplus
extern "C" {
#endif

struct wr_client;

/* ---- answers ---- */
struct wr_client_answer {
	/* WR_OK: the server did it. WR_EPERM: it refused, see status. WR_EAGAIN: no answer after
	 * all tries; send the events again with the user's next request and show a default.
	 * WR_EINTR: the client was freed. */
	int result;
	enum wr_status status; /* of the answer; WR_STATUS_OK when none came */
	uint64_t user_id, request_id;
	uint64_t latency_ns; /* from the submission */
	unsigned int n_tries;
	unsigned int server; /* which one answered, or was asked last */
	/* The decoded answer: items, flags, ack_seq, … NULL when none came. It points into the
	 * receive buffer and is valid during the callback only. */
	const struct wr_message *message;
};
typedef void wr_client_done(void *arg, const struct wr_client_answer *a);

/* ---- history ---- */
/* What the user did earlier, oldest first, without the events of the request that is being built.
 * More than WR_WIRE_MAX_HISTORY: the newest are taken and `complete` is dropped. */
struct wr_client_history {
	const uint32_t *items;
	const uint8_t *kinds; /* enum wr_event_kind; NULL = clicks */
	const int64_t *times; /* unix ms, ascending; NULL = unknown */
	unsigned int n;
	bool complete; /* this is all the user ever did (n = 0: nothing) */
};
/* Called inside wr_client_recommend or wr_client_event when the server asked for the history of
 * this user in an earlier answer. n_wanted: the newest events that make the answer exact, 0 =
 * unknown. The arrays are read before the submitting call returns. False: none at hand; the server
 * will ask again. Must not submit. */
typedef bool wr_client_history_get(void *arg, uint64_t user_id, uint8_t domain,
	unsigned int n_wanted, struct wr_client_history *h);

/* ---- a client ---- */
/* 0 or NULL anywhere means the default. */
struct wr_client_options {
	unsigned int max_outstanding; /* requests without an answer: 1 … 65,536; 4,096 */
	unsigned int max_servers;     /* 1 … 32; 8 */
	/* Source ports; a user always leaves by the same one, so that ECMP brings it to the same
	 * server. More spread better, fewer make fuller batches. 1 … 64; 4 */
	unsigned int n_sources;
	unsigned int timeout_ms; /* of the first try, 1 … 10,000; later ones wait twice as long
				    each; a longer budget of the request counts instead; 50 */
	unsigned int max_tries;  /* 1 … 8; 3 */
	unsigned int down_after; /* time-outs in a row until a server counts as down; 3 */
	unsigned int hello_ms;  /* between the probes of a server that is down, 10 … 60,000; 1,000
				 */
	unsigned int pad_bytes; /* requests are padded to this, so that they form batches of one
				   size and answers fit; 96 … 1,232; 256 */
	bool no_offload;        /* keep to sendmmsg and recvmmsg even where the kernel has
				   UDP_SEGMENT and UDP_GRO */
	wr_client_history_get *history;
	void *history_arg;
	const uint8_t *key; /* WR_WIRE_KEY_BYTES, copied: every request carries a tag; NULL = none
			     */
	uint32_t key_id;
};
/* Allocates everything (about 1.4 KB an outstanding request and 1 MB of receive buffers). options
 * may be NULL. NULL with msg on failure; the caller frees with wr_client_free. */
struct wr_client *wr_client_new(
	const struct wr_client_options *options, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Ends every outstanding request with WR_EINTR (submitting is refused then), closes the sockets.
 * Accepts NULL. */
void wr_client_free(struct wr_client *c);

/*
 * Adds a server and says HELLO to it; requests may be submitted at once. host: an IPv4 or IPv6
 * address, or a name, which is looked up now and blocks. port: its base port, 0 = 4700. tier: 0 for
 * ordinary servers, over which users are spread (rendezvous hashing over address and port: every
 * proxy sends a user to the same one); higher tiers serve only while all lower ones are down.
 * Returns the server's index, or WR_EFULL, WR_ENOENT (name), WR_EIO (sockets).
 */
int wr_client_add_server(struct wr_client *c, const char *host, uint16_t port, unsigned int tier,
	struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- requests ---- */
/* What is pointed to is copied before the call returns. */
struct wr_client_request {
	uint64_t user_id; /* of a string: wr_wire_user_id */
	uint8_t domain;
	uint8_t k;          /* items wanted, 0 … 64; 0 = echo */
	uint16_t flags;     /* WR_REQ_* */
	uint32_t budget_us; /* 0 = none */
	int64_t time_ms;    /* unix ms of the request, 0 = now */
	/* Oldest first, at most 32. An event without a time gets the request's: so a datagram that
	 * is sent twice changes nothing. base_seq: number of the first, 0 = unnumbered. */
	const struct wr_wire_event *events;
	unsigned int n_events;
	uint64_t base_seq;
	const uint32_t *exclude;
	unsigned int n_exclude;
	const struct wr_wire_context *context;
	unsigned int n_context;
	const char *utterance; /* UTF-8 */
	size_t utterance_bytes;
	const struct wr_client_history *history; /* sent in any case; NULL: the callback is asked
						    when the server wants it */
	wr_client_done *done;                    /* NULL: nobody waits */
	void *arg;
};
/*
 * Submit a request; `done` is called exactly once for each that returned 0. It leaves when its
 * batch is full, at wr_client_flush, or at the next wr_client_process (the file descriptor becomes
 * readable for that). What does not fit into one datagram is left out in the order of the protocol:
 * context, the oldest history, the tail of exclude.
 * Errors (done is not called): WR_EFULL max_outstanding reached, try again after some answers;
 * WR_EINVAL a count or value is out of range, or events and utterance together exceed a datagram
 * (send the oldest as an EVENT of their own); WR_ESTATE no server was added.
 */
int wr_client_recommend(struct wr_client *c, const struct wr_client_request *r) WR_MUST_CHECK;
/* Reports events (n_events ≥ 1) and wants no items; k, exclude and utterance are ignored. */
int wr_client_event(struct wr_client *c, const struct wr_client_request *r) WR_MUST_CHECK;
/* Erases a user on the server that it belongs to now; only user_id, domain, time_ms, done and arg
 * count. */
int wr_client_forget(struct wr_client *c, const struct wr_client_request *r) WR_MUST_CHECK;

/* ---- the event loop ---- */
/* Readable (poll, epoll, select) when wr_client_process has something to do: answers, time-outs,
 * requests that wait to be sent. Stays the same for the client's life; never read from it. */
int wr_client_fd(const struct wr_client *c);
/* Receives, calls callbacks, sends again what timed out, flushes. Never blocks. The number of
 * requests that ended, or WR_ESTATE inside a callback. */
int wr_client_process(struct wr_client *c);
/* Sends what was submitted. Optional: saves the turn through the event loop. */
void wr_client_flush(struct wr_client *c);
/* For programs without an event loop: processes until nothing is outstanding (WR_OK) or max_ms
 * passed (WR_EAGAIN). WR_ESTATE inside a callback. */
int wr_client_run(struct wr_client *c, unsigned int max_ms) WR_MUST_CHECK;

/* ---- views ---- */
struct wr_client_stats {
	uint64_t n_submitted;
	/* Every submitted request ends in one of these four, or is outstanding. */
	uint64_t n_ok, n_refused, n_gave_up, n_interrupted;
	uint64_t n_timeouts, n_resent, n_failovers, n_hellos, n_histories, n_downs;
	uint64_t n_epoch_changes; /* shard tables that replaced an older one of their server */
	uint64_t n_sent, n_send_calls, n_send_errors; /* datagrams, system calls, refused by the
							 kernel */
	/* Every received datagram is one of these seven: ended a request, answered a HELLO, made us
	 * send again; or was ignored: undecodable, id not waiting (late, twice), from an address or
	 * port that was not asked, another op, user or domain than asked. */
	uint64_t n_received, n_recv_calls;
	uint64_t n_ended, n_hello_answers, n_again;
	uint64_t n_bad, n_unknown, n_wrong_source, n_mismatch;
	uint64_t n_segmented, n_coalesced; /* datagrams that left by UDP_SEGMENT, came by UDP_GRO */
	struct wr_hist latency_ns;         /* of the requests that were answered */
};
/* Valid for the client's life. */
const struct wr_client_stats *wr_client_stats(const struct wr_client *c);
/* Submitted and not yet ended. */
unsigned int wr_client_outstanding(const struct wr_client *c);

struct wr_client_server {
	bool up;      /* not known to be down */
	bool greeted; /* HELLO was answered: the fields below are known */
	bool proven;  /* a cookie is at hand */
	uint32_t epoch, bundle_version, model_generation, n_items, history_events;
	unsigned int n_ports;
	uint8_t bundle_id[16];
	unsigned int timeouts_in_a_row;
};
/* WR_EINVAL when there is no such server. */
int wr_client_server(
	const struct wr_client *c, unsigned int server, struct wr_client_server *out) WR_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
