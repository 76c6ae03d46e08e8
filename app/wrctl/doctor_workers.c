/* SPDX-License-Identifier: BSD-3-Clause */
/* The workers' CPUs: whether they are theirs alone, and what else happened on them between two
 * looks. */
#include "doctor.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void set_minus(struct cpu_set *a, const struct cpu_set *b)
{
	for (unsigned int i = 0; i < DOCTOR_MAX_CPU; i++)
		if (a->in[i] && b->in[i]) {
			a->in[i] = false;
			a->n--;
		}
}

static void read_set(const struct doctor *d, const char *path, struct cpu_set *set)
{
	char list[1024];
	(void)proc_line(d->sysroot, path, list, sizeof(list));
	cpu_set_parse(list, set);
}

/* ---- what the kernel was told at boot ---- */
static void check_online(struct doctor *d)
{
	struct cpu_set online, missing = d->workers;
	char text[256], all[256];
	read_set(d, "/sys/devices/system/cpu/online", &online);
	set_minus(&missing, &online);
	doctor_value(d, "workers.cpus", "%s of %s", cpu_set_text(&d->workers, text, sizeof(text)),
		cpu_set_text(&online, all, sizeof(all)));
	if (missing.n)
		doctor_bad(d, "CPU %s does not exist or is off line: change server.lcores",
			cpu_set_text(&missing, text, sizeof(text)));
	else if (online.n > 0 && d->workers.n >= online.n)
		doctor_hint(d, "workers poll on every CPU and leave none to the rest of the "
			       "machine: take one out of server.lcores");
}

static void check_isolated(struct doctor *d)
{
	struct cpu_set isolated, full, left = d->workers, ticking = d->workers;
	char text[256], workers[256];
	read_set(d, "/sys/devices/system/cpu/isolated", &isolated);
	read_set(d, "/sys/devices/system/cpu/nohz_full", &full);
	set_minus(&left, &isolated);
	set_minus(&ticking, &full);
	cpu_set_text(&d->workers, workers, sizeof(workers));
	doctor_value(d, "workers.isolated", "isolated CPUs: %s",
		cpu_set_text(&isolated, text, sizeof(text)));
	if (left.n)
		doctor_hint(d,
			"the kernel schedules others on CPU %s: boot with "
			"isolcpus=managed_irq,domain,%s",
			cpu_set_text(&left, text, sizeof(text)), workers);
	doctor_value(d, "workers.tickless", "nohz_full CPUs: %s",
		cpu_set_text(&full, text, sizeof(text)));
	if (ticking.n)
		doctor_hint(d,
			"the scheduler's tick interrupts CPU %s: boot with nohz_full=%s "
			"rcu_nocbs=%s (a kernel with CONFIG_NO_HZ_FULL)",
			cpu_set_text(&ticking, text, sizeof(text)), workers, workers);
}

/* A worker that polls at real-time priority is paused by the kernel for the rest of each period. */
static void check_realtime(struct doctor *d)
{
	char text[32] = "unknown";
	uint64_t priority = d->has_config ? d->config.server_realtime : 0;
	(void)proc_line(d->sysroot, "/proc/sys/kernel/sched_rt_runtime_us", text, sizeof(text));
	doctor_value(d, "workers.realtime", "server.realtime %" PRIu64 ", sched_rt_runtime_us %s",
		priority, text);
	if (priority && text[0] != '-' && strcmp(text, "unknown") != 0)
		doctor_bad(d,
			"the kernel takes a real-time worker off its CPU for the rest of each "
			"period: sysctl -w kernel.sched_rt_runtime_us=-1");
	if (priority && d->workers.n > 0) {
		struct cpu_set online;
		read_set(d, "/sys/devices/system/cpu/online", &online);
		if (online.n > 0 && d->workers.n >= online.n)
			doctor_bad(d, "real-time workers on every CPU leave none to control, "
				      "kernel threads and your shell: take one out of "
				      "server.lcores, or server.realtime = 0");
	}
}

static void check_siblings(struct doctor *d)
{
	char path[128], text[256];
	struct cpu_set twice = {.n = 0}, beside = {.n = 0};
	for (unsigned int cpu = 0; cpu < DOCTOR_MAX_CPU; cpu++) {
		struct cpu_set siblings;
		if (!d->workers.in[cpu])
			continue;
		snprintf(path, sizeof(path),
			"/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", cpu);
		read_set(d, path, &siblings);
		for (unsigned int i = 0; i < DOCTOR_MAX_CPU; i++) {
			if (!siblings.in[i] || i == cpu)
				continue;
			struct cpu_set *to = d->workers.in[i] ? &twice : &beside;
			to->n += !to->in[i];
			to->in[i] = true;
		}
	}
	doctor_value(d, "workers.siblings", "hyperthreads beside workers: %s",
		cpu_set_text(&beside, text, sizeof(text)));
	if (twice.n)
		doctor_bad(d,
			"CPU %s are hyperthreads of one core and share its multipliers: one "
			"worker a core in server.lcores",
			cpu_set_text(&twice, text, sizeof(text)));
	if (beside.n)
		doctor_hint(d,
			"what runs on CPU %s takes from a worker: keep it idle, or echo 0 > "
			"/sys/devices/system/cpu/cpuN/online",
			cpu_set_text(&beside, text, sizeof(text)));
}

static void check_frequency(struct doctor *d)
{
	char path[128], governor[32], slow[32] = "", mhz[32];
	unsigned int known = 0;
	for (unsigned int cpu = 0; cpu < DOCTOR_MAX_CPU; cpu++) {
		if (!d->workers.in[cpu])
			continue;
		snprintf(path, sizeof(path),
			"/sys/devices/system/cpu/cpu%u/cpufreq/scaling_governor", cpu);
		if (!proc_line(d->sysroot, path, governor, sizeof(governor)))
			continue;
		known++;
		if (strcmp(governor, "performance") != 0)
			snprintf(slow, sizeof(slow), "%s", governor);
	}
	if (!proc_value(d->sysroot, "/proc/cpuinfo", "cpu MHz", mhz, sizeof(mhz)))
		snprintf(mhz, sizeof(mhz), "unknown");
	doctor_value(d, "workers.frequency", "governor %s, %s MHz now",
		!known    ? "not shown (the hypervisor's)"
		: slow[0] ? slow
			  : "performance",
		mhz);
	if (slow[0])
		doctor_hint(d, "cpupower frequency-set -g performance");
}

static void check_nodes(struct doctor *d)
{
	char path[96], list[256], used_text[64] = "";
	unsigned int n = 0;
	for (unsigned int node = 0; node < 64; node++) {
		struct cpu_set cpus;
		bool used = false;
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", node);
		if (!proc_line(d->sysroot, path, list, sizeof(list)))
			continue;
		cpu_set_parse(list, &cpus);
		for (unsigned int i = 0; i < DOCTOR_MAX_CPU; i++)
			used |= cpus.in[i] && d->workers.in[i];
		size_t at = strlen(used_text);
		if (used)
			snprintf(used_text + at, sizeof(used_text) - at, "%s%u", n++ ? "," : "",
				node);
	}
	const char *numa = d->port ? json_string_value(json_object_get(d->port, "numa")) : NULL;
	doctor_value(d, "workers.nodes", "workers on node %s, port on node %s", n ? used_text : "0",
		numa ? numa : "unknown");
	if (n > 1)
		doctor_hint(d, "packet buffers lie on one node: run one daemon a node, each with "
			       "its own NIC");
	else if (numa && strcmp(numa, "any") && n == 1 && strcmp(numa, used_text))
		doctor_hint(d, "the NIC is on node %s: choose CPUs of that node in server.lcores",
			numa);
}

/* ---- what happened between two looks ---- */
static const struct thread_look *before_of(const struct doctor *d, const struct thread_look *t)
{
	/* Both were read in the order of /proc: near the same place. */
	const struct look *b = &d->before;
	for (size_t i = 0; i < b->n_threads; i++)
		if (b->threads[i].tid == t->tid && b->threads[i].pid == t->pid)
			return &b->threads[i];
	return NULL;
}

/* EAL names them rte-worker-N, lcore-worker-N in later releases. */
static bool is_our_worker(const struct doctor *d, const struct thread_look *t)
{
	return d->pid && t->pid == d->pid && strstr(t->name, "-worker-") != NULL;
}

static double share_of_time(const struct doctor *d, uint64_t ns)
{
	return d->seconds > 0.0 ? (double)ns / 1e9 / d->seconds : 0.0;
}

struct intruder {
	const struct thread_look *thread;
	double share;
};

static int by_share(const void *a, const void *b)
{
	double x = ((const struct intruder *)a)->share, y = ((const struct intruder *)b)->share;
	return (x < y) - (x > y);
}

/* Threads of others that ran on a worker's CPU, the busiest first; their number, and the sum of
 * their shares. A main lcore's ten ticks a second are below the threshold. */
static size_t find_intruders(const struct doctor *d, struct intruder *found, double *sum)
{
	size_t n = 0;
	*sum = 0.0;
	for (size_t i = 0; i < d->after.n_threads; i++) {
		const struct thread_look *t = &d->after.threads[i], *b = before_of(d, t);
		if (t->cpu >= DOCTOR_MAX_CPU || !d->workers.in[t->cpu] || is_our_worker(d, t))
			continue;
		/* One that was not there before began between the looks. */
		double share = share_of_time(d, t->run_ns - (b ? b->run_ns : 0));
		if (share < 0.02)
			continue;
		*sum += share;
		found[n++] = (struct intruder){t, share};
	}
	qsort(found, n, sizeof(*found), by_share);
	return n;
}

static void check_intruders(struct doctor *d)
{
	enum { MAX_SHOWN = 5 };
	struct intruder *found = calloc(d->after.n_threads + 1, sizeof(*found));
	char text[512] = "";
	double sum;
	if (!found)
		return;
	size_t n = find_intruders(d, found, &sum);
	for (size_t i = 0; i < WR_MIN(n, (size_t)MAX_SHOWN); i++) {
		size_t at = strlen(text);
		const struct thread_look *t = found[i].thread;
		snprintf(text + at, sizeof(text) - at, "%s%s (process %d) %.0f %% of CPU %u",
			at ? ", " : "", t->name, t->pid, 100.0 * found[i].share, t->cpu);
	}
	free(found);
	doctor_value(d, "workers.shared", "%s", n ? text : "no other thread ran on workers' CPUs");
	if (sum > 0.25)
		doctor_bad(d,
			"others poll or compute on a worker's CPU: move them (taskset -pc CPUS "
			"PID), or give this daemon other CPUs (server.lcores)");
	else if (n)
		doctor_hint(d, "move these to other CPUs: taskset -pc CPUS PID");
}

/* How long workers were ready and not running: the sum of all that took their CPU. */
static void check_waiting(struct doctor *d)
{
	char text[256] = "";
	double most = 0.0;
	for (size_t i = 0; i < d->after.n_threads; i++) {
		const struct thread_look *t = &d->after.threads[i], *b = before_of(d, t);
		if (!is_our_worker(d, t) || !b)
			continue;
		double share = share_of_time(d, t->wait_ns - b->wait_ns);
		most = WR_MAX(most, share);
		size_t at = strlen(text);
		snprintf(text + at, sizeof(text) - at, "%sCPU %u %.1f %%", at ? ", " : "", t->cpu,
			100.0 * share);
	}
	if (!text[0])
		return;
	doctor_value(
		d, "workers.waiting", "of %.1f s not running though ready: %s", d->seconds, text);
	if (most > 0.1)
		doctor_bad(d, "answers wait as long as the worker does: see workers.shared and "
			      "workers.isolated");
	else if (most > 0.005)
		doctor_hint(d, "see workers.isolated and workers.tickless");
}

static void check_interrupts(struct doctor *d)
{
	char text[256] = "";
	double most = 0.0;
	for (unsigned int i = 0; i < DOCTOR_MAX_CPU; i++) {
		if (!d->workers.in[i] || d->seconds <= 0.0)
			continue;
		double rate =
			(double)(d->after.interrupts[i] - d->before.interrupts[i]) / d->seconds;
		most = WR_MAX(most, rate);
		size_t at = strlen(text);
		if (at < sizeof(text) - 1)
			snprintf(text + at, sizeof(text) - at, "%sCPU %u %.0f/s", at ? ", " : "", i,
				rate);
	}
	doctor_value(d, "workers.interrupts", "of devices: %s", text[0] ? text : "unknown");
	if (most > 1000.0)
		doctor_hint(d, "devices interrupt workers: write other CPUs to "
			       "/proc/irq/N/smp_affinity_list (N from /proc/interrupts)");
}

static void check_steal(struct doctor *d)
{
	uint64_t stolen = 0, all = 0;
	for (unsigned int i = 0; i < DOCTOR_MAX_CPU; i++) {
		if (!d->workers.in[i])
			continue;
		stolen += d->after.steal[i] - d->before.steal[i];
		all += d->after.all[i] - d->before.all[i];
	}
	double now = all ? (double)stolen / (double)all : 0.0, since = 0.0;
	uint64_t up = d->machine ? number_at(d->machine, "uptime_ms") * d->workers.n : 0;
	if (up)
		since = (double)number_at(d->machine, "steal_ms") / (double)up;
	doctor_value(d, "workers.steal", "%.1f %% now, %.2f %% since the daemon's start",
		100.0 * now, 100.0 * since);
	if (now > 0.1 || since > 0.02)
		doctor_bad(d, "the host gives these CPUs to other machines: take dedicated ones");
	else if (now > 0.01 || since > 0.002)
		doctor_hint(d, "the host takes CPU time: figures and tails suffer from it");
}

void doctor_workers(struct doctor *d)
{
	if (!d->workers.n)
		return;
	check_online(d);
	check_nodes(d);
	check_isolated(d);
	check_realtime(d);
	check_siblings(d);
	check_frequency(d);
	check_intruders(d);
	check_waiting(d);
	check_interrupts(d);
	check_steal(d);
}

/* ---- the kernel's side of an AF_XDP port ---- */
static void check_busy_poll(struct doctor *d, const char *interface)
{
	char path[128], defer[32] = "0", flush[32] = "0", poll[32] = "0";
	snprintf(path, sizeof(path), "/sys/class/net/%s/napi_defer_hard_irqs", interface);
	(void)proc_line(d->sysroot, path, defer, sizeof(defer));
	snprintf(path, sizeof(path), "/sys/class/net/%s/gro_flush_timeout", interface);
	(void)proc_line(d->sysroot, path, flush, sizeof(flush));
	(void)proc_line(d->sysroot, "/proc/sys/net/core/busy_poll", poll, sizeof(poll));
	doctor_value(d, "network.busy_poll",
		"net.core.busy_poll %s, napi_defer_hard_irqs %s, gro_flush_timeout %s", poll, defer,
		flush);
	if (!strcmp(defer, "0") || !strcmp(flush, "0"))
		doctor_hint(d,
			"an AF_XDP worker polls the driver itself when interrupts are "
			"deferred: echo 2 > /sys/class/net/%s/napi_defer_hard_irqs; echo "
			"200000 > /sys/class/net/%s/gro_flush_timeout",
			interface, interface);
}

/* Receive packet steering moves the kernel's share of the traffic, perhaps onto workers. */
static void check_steering(struct doctor *d, const char *interface)
{
	char path[128], mask[512];
	unsigned int n = 0;
	for (unsigned int q = 0; q < 256; q++) {
		snprintf(path, sizeof(path), "/sys/class/net/%s/queues/rx-%u/rps_cpus", interface,
			q);
		if (!proc_line(d->sysroot, path, mask, sizeof(mask)))
			break;
		n += strspn(mask, "0,") != strlen(mask);
	}
	doctor_value(d, "network.rps", "on for %u queues of %s", n, interface);
	if (n)
		doctor_hint(d,
			"keep the workers' CPUs out of /sys/class/net/%s/queues/rx-*/rps_cpus",
			interface);
}

void doctor_network(struct doctor *d)
{
	const char *driver = d->port ? json_string_value(json_object_get(d->port, "driver")) : NULL;
	const char *interface =
		d->port ? json_string_value(json_object_get(d->port, "interface")) : NULL;
	if (!driver || strcmp(driver, "net_af_xdp") || !interface || !interface[0])
		return;
	check_busy_poll(d, interface);
	check_steering(d, interface);
}
