/* SPDX-License-Identifier: BSD-3-Clause */
/* client_bench: options, results, modes. Exit: 0; 1 = could not, or lists stayed unanswered; 2 = an
 * answer was wrong. */
#ifndef CLIENT_BENCH_H
#define CLIENT_BENCH_H

#include "bench_udp.h"
#include "wr_client.h"
#include "wr_report.h"

#define MAX_SERVERS 8

enum workload { WORKLOAD_ECHO, WORKLOAD_WARM, WORKLOAD_EVENT, WORKLOAD_LISTS };

struct bench_server {
	char host[256];
	uint16_t port;
	struct sockaddr_storage address;
};

struct bench_options {
	struct bench_server server[MAX_SERVERS];
	unsigned int n_servers;
	bool tiers; /* servers behind the first one only take over */
	enum workload workload;
	const char *lists; /* file of WORKLOAD_LISTS */
	double rate;       /* messages a second; 0 = as many as the window lets */
	double seconds;    /* 0: until every list was checked once */
	double settle_s;   /* longest wait for the last answers */
	uint64_t users, seed;
	unsigned int window, bytes, k, history, sources, timeout_ms, tries, hello_ms;
	bool no_offload, progress;
	int core;
	unsigned int modes; /* loopback: bit set of those to run */
};

struct bench_result {
	double wall_s, cpu_s, steal_s; /* cpu_s: of the client's thread */
	uint64_t sent, answered, lost; /* messages; lost: not answered at the end */
	uint64_t unsent;               /* that the schedule had, but the window did not let out */
	double worst_debt_ms;          /* how late a message left, at worst */
	struct wr_hist latency_ns;     /* from the intended time where there is a rate */
	uint64_t n_send_calls, n_receive_calls, n_send_errors;
	bool offload; /* UDP_SEGMENT and UDP_GRO were in use */
	/* Library only. */
	struct wr_client_stats stats;
	struct wr_client_server server[MAX_SERVERS];
	unsigned int n_servers;
	uint64_t wrong, verdict[16]; /* by enum wr_verdict */
	uint64_t flag[8];            /* answers with each flag bit */
	uint64_t refused_status[16];
	/* WORKLOAD_LISTS only. */
	uint64_t lists_checked, lists_wrong, users_done, steps_again, retold, unanswered;
};

/* raw.c: datagrams that come back, whoever sends them. */
int raw_run(
	const struct bench_options *o, struct bench_result *r, struct wr_errmsg *msg) WR_MUST_CHECK;
/* drive.c: libwirerank under load. */
int drive_run(
	const struct bench_options *o, struct bench_result *r, struct wr_errmsg *msg) WR_MUST_CHECK;
/* loopback.c: both against the echo thread, by turns; the medians beside their limits. */
int loopback_run(const struct bench_options *o, unsigned int runs, int echo_core, json_t **out,
	struct wr_errmsg *msg) WR_MUST_CHECK;

/* report.c */
json_t *report_result(const struct bench_options *o, const struct bench_result *r, bool raw);
void report_print(const struct bench_result *r, bool raw);
/* Ticks that the hypervisor took since boot, in seconds; 0 where unknown. */
double report_steal_s(void);

#endif
