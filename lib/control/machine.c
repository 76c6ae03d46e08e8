/* SPDX-License-Identifier: BSD-3-Clause */
/* The port and the memory under the server, for `wrctl doctor`. */
#include "control_reply.h"
#include "wr_serve.h"

#include <string.h>
#include <unistd.h>

int wr_control_port(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg)
{
	struct wr_port_facts f;
	char numa[16];
	if (wr_serve_state(s) != WR_SERVE_SERVING)
		return wr_fail(msg, WR_ESTATE, "the port is closed");
	wr_port_facts(wr_serve_port(s), &f);
	wr_reply_text(r, "driver", f.driver);
	wr_reply_text(r, "device", f.device);
	wr_reply_text(r, "interface", f.interface);
	snprintf(numa, sizeof(numa), "%d", f.numa);
	wr_reply_text(r, "numa", f.numa < 0 ? "any" : numa);
	const struct {
		const char *name;
		uint64_t value;
	} figures[] = {{"rx_queues", f.rx_queues}, {"tx_queues", f.tx_queues}, {"mtu", f.mtu},
		{"rx_descriptors", f.rx_descriptors}, {"tx_descriptors", f.tx_descriptors},
		{"rx_checksum", f.rx_checksum}, {"mbufs", f.mbufs}, {"mbufs_free", f.mbufs_free},
		{"xdp_sockets", f.xdp_sockets}, {"xdp_zero_copy", f.xdp_zero_copy},
		{"xdp_invalid", f.xdp_invalid}, {"xdp_native", f.xdp_native},
		{"xdp_passed", f.xdp_passed}, {"xdp_taken", f.xdp_taken},
		{"xdp_no_socket", f.xdp_no_socket}, {"rx_missed", f.rx_missed},
		{"rx_errors", f.rx_errors}, {"rx_no_mbuf", f.rx_no_mbuf},
		{"tx_errors", f.tx_errors}};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(figures); i++)
		wr_reply_u64(r, figures[i].name, figures[i].value);
	return WR_OK;
}

/* Milliseconds that the hypervisor took from the workers' CPUs since the machine started. */
static uint64_t stolen_ms(const struct wr_serve *s)
{
	FILE *f = fopen("/proc/stat", "re");
	unsigned long long steal, sum = 0;
	unsigned int cpu;
	char line[512];
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "cpu%u %*u %*u %*u %*u %*u %*u %*u %llu", &cpu, &steal) != 2)
			continue;
		for (unsigned int i = 0; i < wr_serve_n_workers(s); i++)
			sum += wr_serve_worker_cpu(s, i) == cpu ? steal : 0;
	}
	if (f)
		fclose(f);
	long hz = sysconf(_SC_CLK_TCK);
	return hz > 0 ? sum * 1000 / (uint64_t)hz : 0;
}

static uint64_t stolen_at_start_ms;

void wr_control_note_start(const struct wr_serve *s)
{
	stolen_at_start_ms = stolen_ms(s);
}

/* "plan/session_tables": DPDK takes letters, digits, '_' and '/' in a name. */
static void put_plan(const struct wr_serve_plan *plan, struct reply *r)
{
	for (unsigned int i = 0; i < plan->n_lines; i++) {
		char name[64];
		snprintf(name, sizeof(name), "plan/%s", plan->line[i].what);
		for (char *c = name; (c = strchr(c, ' '));)
			*c = '_';
		wr_reply_u64(r, name, plan->line[i].bytes);
	}
}

int wr_control_machine(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg)
{
	const struct wr_serve_plan *plan = wr_serve_plan_of(s);
	wr_reply_text(r, "page_size", wr_serve_huge(s) ? "huge" : "ordinary");
	wr_reply_u64(r, "memory_bytes", plan->total_bytes);
	wr_reply_u64(r, "unix_us", (uint64_t)wr_serve_unix_us(s));
	wr_reply_u64(r, "tsc_hz", wr_clock_tsc_hz());
	wr_reply_u64(r, "uptime_ms", wr_serve_uptime_ns(s) / 1000000);
	wr_reply_u64(r, "steal_ms", stolen_ms(s) - stolen_at_start_ms);
	put_plan(plan, r);
	return WR_OK;
}
