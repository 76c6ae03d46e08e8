/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every counter and histogram of the corridor, declared once; registration, telemetry and tests are
 * made from these tables. One writer (the lcore), any reader, relaxed.
 *
 * Law: received = Σ outcomes + in flight. Every frame that a receive call returned ends in exactly
 * one outcome; a frame that was handed over is counted as received where it arrived and ends its
 * life in one outcome at the owner.
 */
#ifndef WR_METRICS_H
#define WR_METRICS_H

#include "wr_base.h"

/* X(name, help) – one per way a frame can end. */
#define WR_OUTCOMES(X)                                                                           \
	X(answered, "answered with status OK")                                                   \
	X(answered_error, "answered with an error status")                                       \
	X(answered_aside, "ARP, neighbour solicitation or echo request, answered")               \
	X(frame_not_ours, "not IPv4/IPv6, not our address or not UDP")                           \
	X(frame_other_mac, "sent to another station's Ethernet address")                         \
	X(frame_short, "frame too short for its headers")                                        \
	X(frame_bad_ip, "IP header, length or checksum wrong")                                   \
	X(frame_bad_source, "source address that no sender can have")                            \
	X(frame_source_route, "source route with hops left")                                     \
	X(frame_extension, "IPv6 extension headers: too many, or one that has to be understood") \
	X(frame_fragment, "IP fragment")                                                         \
	X(frame_bad_udp, "UDP length, source port or checksum wrong")                            \
	X(frame_other_port, "UDP, but none of our ports")                                        \
	X(kernel_tap, "not ours, and taken by the kernel tap")                                   \
	X(kernel_tap_full, "not ours, and the kernel tap had no room")                           \
	X(frame_segments, "frame in more than one mbuf")                                         \
	X(wire_short, "message shorter than a header")                                           \
	X(wire_length, "message length differs from its datagram")                               \
	X(wire_not_request, "an answer where a request belongs")                                 \
	X(denied_source, "source address not allowed")                                           \
	X(short_unproven, "too short for an answer to an unproven source")                       \
	X(deadline, "budget spent before the work began")                                        \
	X(handover_full, "hand-over ring full")                                                  \
	X(tx_full, "transmit queue full")                                                        \
	X(drained, "received but not served because the daemon stopped")

/* X(name, help) – more that is worth counting; not outcomes. */
#define WR_COUNTERS(X)                                                               \
	X(received, "frames received from the port")                                 \
	X(received_bytes, "their bytes")                                             \
	X(handed_over, "frames given to another lcore")                              \
	X(taken_over, "frames taken from other lcores")                              \
	X(bursts, "non-empty bursts")                                                \
	X(gathered, "bursts that waited for more frames, under load")                \
	X(recommends, "RECOMMEND with K > 0")                                        \
	X(echoes, "RECOMMEND with K = 0")                                            \
	X(event_messages, "EVENT messages")                                          \
	X(hellos, "HELLO messages")                                                  \
	X(forgets, "FORGET messages")                                                \
	X(events_applied, "events that entered a session")                           \
	X(events_duplicate, "events known already")                                  \
	X(events_unknown_item, "events with an item the bundle does not know")       \
	X(gaps, "gaps in numbered events")                                           \
	X(history_wanted, "answers that asked for history")                          \
	X(shortened, "answers shortened by the length rule")                         \
	X(deferred, "requests that waited for an earlier one of the same user")      \
	X(cold, "answers encoded from the event list")                               \
	X(warm, "answers encoded from cached rows and the clicks behind them")       \
	X(popular, "answers without a known click")                                  \
	X(intents, "utterances that matched")                                        \
	X(sessions_new, "sessions created")                                          \
	X(sessions_evicted, "sessions evicted")                                      \
	X(sessions_forgotten, "sessions erased by FORGET")                           \
	X(decode_errors, "messages answered with MALFORMED, VERSION or UNSUPPORTED") \
	X(encoded_tokens, "tokens that went through the encoder")                    \
	X(kernel_sent, "frames of the kernel tap, sent by the port")                 \
	X(kernel_dropped, "frames of the kernel tap that the port did not take")     \
	X(address_conflicts, "frames of others that claim one of our own addresses") \
	X(announced, "announcements of own addresses to neighbours")

#define WR_STAGES(X)                                           \
	X(idle, "polls without a frame")                       \
	X(rx, "receive call")                                  \
	X(parse, "headers, checksums, message")                \
	X(admit, "source rules, proof, deadline")              \
	X(locate, "user to session row")                       \
	X(recall, "events into sessions, intents, candidates") \
	X(encode, "clicks to user vectors")                    \
	X(score, "user vectors times items, top K, arrange")   \
	X(reply, "answers written into their requests")        \
	X(tx, "transmit call")                                 \
	X(kernel, "kernel tap, announcements")                 \
	X(housekeeping, "quiescence, statistics, control")

#define WR_ENUM_OUTCOME(name, help) WR_OUTCOME_##name,
#define WR_ENUM_COUNTER(name, help) WR_COUNTER_##name,
#define WR_ENUM_STAGE(name, help)   WR_STAGE_##name,
enum wr_outcome { WR_OUTCOMES(WR_ENUM_OUTCOME) WR_OUTCOME_N };
enum wr_counter { WR_COUNTERS(WR_ENUM_COUNTER) WR_COUNTER_N };
enum wr_stage { WR_STAGES(WR_ENUM_STAGE) WR_STAGE_N };

/* Whether a frame that ended so was lost to its sender: neither answered nor the kernel's. */
static inline bool wr_outcome_is_drop(enum wr_outcome outcome)
{
	return outcome != WR_OUTCOME_answered && outcome != WR_OUTCOME_answered_error &&
	       outcome != WR_OUTCOME_answered_aside && outcome != WR_OUTCOME_kernel_tap;
}

struct wr_metric_desc {
	const char *name, *help;
};
extern const struct wr_metric_desc wr_outcome_desc[WR_OUTCOME_N];
extern const struct wr_metric_desc wr_counter_desc[WR_COUNTER_N];
extern const struct wr_metric_desc wr_stage_desc[WR_STAGE_N];

/* One lcore's metrics; allocate it on the lcore's socket, 64-byte aligned. */
struct wr_metrics {
	uint64_t outcome[WR_OUTCOME_N];
	uint64_t counter[WR_COUNTER_N];
	uint64_t decode[16]; /* by enum wr_decode of lib/wire */
	uint64_t stage_cycles[WR_STAGE_N];
	struct wr_hist burst_size; /* frames a non-empty burst */
	struct wr_hist server_ns;  /* arrival (receive call) to transmit call, per answer */
	struct wr_hist stage_ns[WR_STAGE_N]; /* per burst */
} __attribute__((aligned(WR_CACHE_LINE)));

/* Writer's side. */
static inline void wr_count(uint64_t *c, uint64_t n)
{
	__atomic_store_n(c, __atomic_load_n(c, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}
/* Reader's side: a copy without tearing of single values. */
void wr_metrics_snapshot(struct wr_metrics *out, const struct wr_metrics *live);
void wr_metrics_merge(struct wr_metrics *into, const struct wr_metrics *from);
/* Σ outcomes. */
uint64_t wr_metrics_outcomes(const struct wr_metrics *m);

#endif
