/* SPDX-License-Identifier: BSD-3-Clause */
/* How much memory a configuration takes, line by line, and whether the machine has it. Then EAL
 * with that much. */
#include "serve_int.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_ring.h>

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define EAL_BYTES                                                                       \
	(24u << 20) /* heap overhead, ethdev, telemetry, rings' names: seen below 16 MB \
		     */

static const struct wr_bundle_model *shape_of(const struct wr_serve_options *o)
{
	return o->shape ? o->shape : wr_bundle_model(o->bundle);
}

struct wr_table_shape wr_serve_table_shape(const struct wr_serve_options *o)
{
	const struct wr_bundle_model *m = shape_of(o);
	return (struct wr_table_shape){
		.n_items = m->n_items,
		.history_events = wr_bundle_history_events(m),
		.ring_bytes = (uint32_t)wr_ring_bytes(m),
		.max_pending = wr_ring_max_new(m),
	};
}

/* Few, so that the rings of one group come near while another is scored; tiles take 16 rows. Where
 * oneDNN does all products half a burst, for a call of its costs as much for 8 rows as for one. */
static unsigned int group_of(const struct wr_serve_options *o, bool tiles)
{
	unsigned int few = WR_MIN(o->burst, tiles ? 16u : 8u);
	return o->gemm == WR_GEMM_ONEDNN ? WR_MAX(few, WR_MIN(o->burst / 2, (unsigned int)GROUP))
					 : few;
}

unsigned int wr_serve_group(const struct wr_serve_options *o)
{
	return group_of(o, (o->isa == WR_ISA_AUTO ? wr_isa_best() : o->isa) == WR_ISA_AMX);
}

/* Smaller than the others, for there is no arithmetic yet behind which its rings could come near;
 * products take users by four. */
unsigned int wr_serve_first_group(const struct wr_serve_options *o)
{
	unsigned int group = wr_serve_group(o);
	return o->gemm == WR_GEMM_ONEDNN ? (group + 1) / 2 : WR_MIN(group, 4u);
}

unsigned int wr_serve_mbufs(const struct wr_serve_options *o)
{
	struct wr_port_options p = o->port;
	p.n_queues = (uint16_t)o->n_workers;
	p.n_mbufs = 0;
	/* both rings of every worker may be full while bursts are under way */
	unsigned int rings = 2 * o->n_workers + (p.kernel_tap && p.kernel_tap[0]);
	return wr_port_mbufs_needed(&p) + rings * o->handover_ring;
}

static uint64_t worker_scratch_bytes(const struct wr_serve_options *o, uint32_t history_events)
{
	bool timed = shape_of(o)->time_buckets;
	uint64_t token = sizeof(uint32_t) + (timed ? sizeof(int64_t) : 0);
	return sizeof(struct worker) + sizeof(struct wr_metrics) +
	       (uint64_t)LIFT_POOL * sizeof(struct wr_rank_lift) +
	       (uint64_t)o->burst *
		       (2 * history_events * token + WR_RANK_MAX_K * sizeof(struct wr_rank_item)) +
	       2 * (uint64_t)rte_ring_get_memsize(o->handover_ring);
}

static void add_line(struct wr_serve_plan *p, const char *what, uint64_t bytes)
{
	p->line[p->n_lines++] = (struct wr_serve_plan_line){what, bytes};
	p->total_bytes += bytes;
}

/* A line "Name:   123 kB" of /proc/meminfo, in its unit. */
static uint64_t meminfo(const char *name)
{
	FILE *f = fopen("/proc/meminfo", "re");
	char line[128];
	uint64_t v = 0;
	size_t n = strlen(name);
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, name, n) == 0 && line[n] == ':') {
			v = strtoull(line + n + 1, NULL, 10);
			break;
		}
	if (f)
		fclose(f);
	return v;
}

static int check_cpus(const struct wr_serve_options *o, struct wr_errmsg *msg)
{
	cpu_set_t allowed;
	CPU_ZERO(&allowed);
	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return 0;
	for (unsigned int i = 0; i < o->n_workers; i++)
		if (o->cpus[i] >= CPU_SETSIZE || !CPU_ISSET(o->cpus[i], &allowed))
			return wr_fail(msg, WR_EINVAL,
				"server.lcores: CPU %u does not exist here or is not ours; see "
				"nproc and "
				"taskset",
				o->cpus[i]);
	return 0;
}

void wr_serve_plan_lines(const struct wr_serve_options *o, struct wr_serve_plan *plan)
{
	const struct wr_bundle_model *m = shape_of(o);
	struct wr_table_shape shape = wr_serve_table_shape(o);
	struct wr_port_options port = o->port;
	uint64_t n = o->n_workers;
	uint32_t history = wr_bundle_history_events(m);
	/* The larger one on any CPU: what is planned on one machine holds on another. */
	unsigned int group = group_of(o, true);

	memset(plan, 0, sizeof(*plan));
	port.n_mbufs = wr_serve_mbufs(o);
	add_line(plan, "session tables", n * wr_table_bytes_needed(&shape, o->rows_per_lcore));
	add_line(plan, "model", wr_model_bytes_needed(m));
	add_line(plan, "encoders", n * wr_encoder_bytes_needed(m, o->burst, group * history));
	add_line(plan, "rankers", n * wr_ranker_bytes_needed(m, group));
	add_line(plan, "rings and scratch", n * worker_scratch_bytes(o, history));
	add_line(plan, "packet buffers", wr_port_bytes_needed(&port));
	if (o->capture)
		add_line(plan, "packet capture", wr_capture_bytes_needed((unsigned int)n));
	add_line(plan, "DPDK itself", EAL_BYTES);
}

int wr_serve_plan(
	const struct wr_serve_options *o, struct wr_serve_plan *plan, struct wr_errmsg *msg)
{
	memset(plan, 0, sizeof(*plan));
	if (o->isa != WR_ISA_AUTO && !wr_isa_supported(o->isa))
		return wr_fail(msg, WR_ENOTSUP,
			"server.isa = %s: this CPU has %s at most; use auto", wr_isa_name(o->isa),
			wr_isa_name(wr_isa_best()));
	int err = check_cpus(o, msg);
	if (err)
		return err;
	wr_serve_plan_lines(o, plan);
	plan->have_bytes = o->huge ? meminfo("HugePages_Free") * meminfo("Hugepagesize") << 10
				   : meminfo("MemAvailable") << 10;
	if (o->memory_limit_bytes && plan->total_bytes > o->memory_limit_bytes)
		return wr_fail(msg, WR_ENOMEM,
			"the memory plan needs %.1f MB, memory.limit allows %.1f; lower "
			"sessions.rows_per_lcore (%u) or raise the limit",
			(double)plan->total_bytes / 1e6, (double)o->memory_limit_bytes / 1e6,
			o->rows_per_lcore);
	if (plan->total_bytes > plan->have_bytes)
		return wr_fail(msg, WR_ENOMEM,
			"the memory plan needs %.1f MB, the machine has %.1f MB of %s; lower "
			"sessions.rows_per_lcore (%u)%s",
			(double)plan->total_bytes / 1e6, (double)plan->have_bytes / 1e6,
			o->huge ? "free hugepages" : "free memory", o->rows_per_lcore,
			o->huge ? " or reserve more (vm.nr_hugepages), or set memory.huge = no"
				: "");
	return 0;
}

/* "0,3-7": the CPUs that are ours and no worker's; all that are ours when workers take every one.
 */
static void control_cpus(const struct wr_serve_options *o, char *out, size_t size)
{
	cpu_set_t allowed, rest;
	int n = 0;

	CPU_ZERO(&allowed);
	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		CPU_SET(o->cpus[0], &allowed);
	rest = allowed;
	for (unsigned int i = 0; i < o->n_workers; i++)
		CPU_CLR(o->cpus[i], &rest);
	if (CPU_COUNT(&rest) == 0)
		rest = allowed;
	for (unsigned int cpu = 0; cpu < CPU_SETSIZE && (size_t)n < size; cpu++) {
		unsigned int last = cpu;
		if (!CPU_ISSET(cpu, &rest))
			continue;
		while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &rest))
			last++;
		n += snprintf(out + n, size - (size_t)n, last > cpu ? "%s%u-%u" : "%s%u",
			n ? "," : "", cpu, last);
		cpu = last;
	}
}

/*
 * "0@(0,3-127),1@1,2@2": lcore i + 1 is worker i, bound. Lcore 0 is main and floats over the CPUs
 * that no worker has; EAL's own threads (interrupts, telemetry, multi-process) follow it there.
 */
static void lcores_argument(const struct wr_serve_options *o, char *out, size_t size)
{
	char control[2048];
	control_cpus(o, control, sizeof(control));
	int n = snprintf(out, size, "0@(%s)", control);
	for (unsigned int i = 0; i < o->n_workers && n > 0 && (size_t)n < size; i++)
		n += snprintf(out + n, size - (size_t)n, ",%u@%u", i + 1, o->cpus[i]);
}

/*
 * A name is one daemon's: EAL, run without its shared configuration, would let a second one take
 * the telemetry socket of the first. The claim is an abstract Unix socket (it leaves no file and
 * ends with the process, however that ends).
 */
static int claim_name(const char *name, struct wr_errmsg *msg)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int n = snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "wirerankd/%s", name);
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, len) != 0) {
		int why = errno;
		if (fd >= 0)
			close(fd);
		return wr_fail(msg, WR_ESTATE,
			why == EADDRINUSE
				? "a daemon named %s is running already; choose another server.name"
				: "the name %s cannot be claimed: no socket to be had",
			name);
	}
	return 0; /* fd stays open for the life of the process */
}

int wr_serve_eal_init(
	const struct wr_serve_options *o, const struct wr_serve_plan *plan, struct wr_errmsg *msg)
{
	char lcores[4096], prefix[64], memory[32];
	int err = claim_name(o->name, msg);
	if (err)
		return err;
	lcores_argument(o, lcores, sizeof(lcores));
	snprintf(prefix, sizeof(prefix), "--file-prefix=%s", o->name);
	/* a tenth more than planned: the heap has holes */
	snprintf(memory, sizeof(memory), "%llu",
		(unsigned long long)((plan->total_bytes + plan->total_bytes / 10) >> 20));
	const char *args[16] = {"wirerankd", "--lcores", lcores, "--main-lcore", "0", prefix,
		"--log-level=*:error"};
	int n = 7;
	n += (int)wr_port_eal_arguments(&o->port, args + n);
	if (o->huge) {
		args[n++] = "--in-memory"; /* needs no hugetlbfs mount, leaves no file */
	} else {
		args[n++] = "--no-huge";
		args[n++] = "--no-shconf";
		args[n++] = "-m";
		args[n++] = memory;
	}
	char *argv[17];
	for (int i = 0; i < n; i++)
		argv[i] = (char *)(uintptr_t)args[i];
	argv[n] = NULL;
	if (rte_eal_init(n, argv) < 0)
		return wr_fail(msg, WR_ESTATE,
			"DPDK does not start: %s; is another daemon named %s running "
			"(server.name), are "
			"there %s?",
			rte_strerror(rte_errno), o->name,
			o->huge ? "hugepages on every node" : "enough pages");
	return 0;
}

void wr_serve_eal_cleanup(void)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/dpdk_telemetry.v2", rte_eal_get_runtime_dir());
	(void)rte_eal_cleanup();
	/* EAL leaves its folder, and the socket until the process ends. */
	(void)unlink(path);
	*strrchr(path, '/') = '\0';
	(void)rmdir(path);
}
