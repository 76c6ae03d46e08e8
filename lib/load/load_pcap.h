/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A workload's requests as a capture file that tcpreplay, Pktgen and DPDK's net_pcap can send. No
 * port, no EAL, no server: what HELLO would say is given.
 */
#ifndef WR_LOAD_PCAP_H
#define WR_LOAD_PCAP_H

#include "wr_load.h"

struct wr_load_pcap {
	const char *path;                 /* "-" = stdout; a file is written whole or not at all */
	struct wr_load_workload workload; /* without wrong_queue */
	uint64_t count;                   /* frames, malformed ones included */
	bool past;   /* before them: 99 clicks of every user, four messages each */
	double rate; /* frames a second of the time stamps, 1 … 1e9 */
	enum wr_arrivals arrivals;
	int64_t start_ms;      /* unix time of the first, not negative */
	bool micro;            /* time stamps in microseconds, for readers that know no others */
	uint32_t n_items;      /* items are 1 … n_items */
	unsigned int n_queues; /* UDP ports server_port … + n - 1, shards over them in turn */
	const struct wr_wire_cookie *cookie; /* NULL = unproven; must fit client_ip and server */
	bool progress;
};

struct wr_load_pcap_result {
	uint64_t frames, bytes; /* Ethernet frames without their FCS */
	uint64_t past;          /* of the frames, those that tell users' pasts */
	uint64_t sent_kind[WR_LOAD_KIND_N];
	double seconds; /* from start_ms to the last time stamp */
};

/*
 * Request ids are unique within a file and, but for a chance of 2^-23, among files of other seeds
 * or start times; the same values write the same file, malformed frames' own times excepted.
 * WR_EINVAL, WR_EIO, WR_ENOMEM, WR_EINTR (stopped: nothing was written).
 */
int wr_load_pcap(const struct wr_load_pcap *c, const struct wr_load_address *address,
	struct wr_load_pcap_result *r, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
