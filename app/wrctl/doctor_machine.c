/* SPDX-License-Identifier: BSD-3-Clause */
/* The machine whatever runs on it: CPU, clock, pages, limits, daemons that move interrupts. */
#include "doctor.h"

#include <inttypes.h>
#include <string.h>
#include <sys/timex.h>
#include <unistd.h>

/* ---- CPU ---- */
static bool has_flag(const char *flags, const char *flag)
{
	size_t n = strlen(flag);
	for (const char *p = flags; (p = strstr(p, flag)); p += n)
		if ((p == flags || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
			return true;
	return false;
}

static void check_cpu(struct doctor *d, const char *flags)
{
	char model[128];
	if (!proc_value(d->sysroot, "/proc/cpuinfo", "model name", model, sizeof(model)))
		snprintf(model, sizeof(model), "unknown");
	doctor_value(d, "cpu.model", "%s", model);
	bool avx2 = has_flag(flags, "avx2"), fma = has_flag(flags, "fma");
	bool vnni = has_flag(flags, "avx512_vnni") && has_flag(flags, "avx512vl") &&
		    has_flag(flags, "avx512bw");
	bool amx = vnni && has_flag(flags, "amx_tile") && has_flag(flags, "amx_int8");
	doctor_value(d, "cpu.levels", "%s; AVX-512 VNNI %s, AVX-VNNI %s, AMX int8 %s",
		amx           ? "amx"
		: vnni        ? "avx512vnni"
		: avx2 && fma ? "avx2"
			      : "ref",
		vnni ? "yes" : "no", has_flag(flags, "avx_vnni") ? "yes" : "no",
		amx ? "yes" : "no");
	if (!avx2 || !fma)
		doctor_bad(d,
			"this CPU has no AVX2: only the reference kernels run, which are for "
			"tests; use a CPU of 2015 or later, or let the hypervisor pass AVX2 on");
	else if (!vnni)
		doctor_hint(d,
			"int8 products cost several times as much without AVX-512 VNNI "
			"(Ice Lake, Zen 4 and later); in a virtual machine, choose a CPU model "
			"that passes it on");
}

static void check_clock(struct doctor *d, const char *flags)
{
	char source[64];
	bool constant = has_flag(flags, "constant_tsc"), nonstop = has_flag(flags, "nonstop_tsc");
	if (!proc_line(d->sysroot,
		    "/sys/devices/system/clocksource/clocksource0/current_clocksource", source,
		    sizeof(source)))
		snprintf(source, sizeof(source), "unknown");
	doctor_value(d, "clock.source", "%s; constant_tsc %s, nonstop_tsc %s", source,
		constant ? "yes" : "no", nonstop ? "yes" : "no");
	if (!constant)
		doctor_bad(d, "the time stamp counter changes its rate: every age and latency is "
			      "wrong; use another machine type");
	else if (!nonstop || strcmp(source, "tsc") != 0)
		doctor_hint(d,
			"the kernel does not trust the time stamp counter: read `dmesg | grep "
			"-i tsc`; in a virtual machine, have the host pass an invariant TSC");
	if (d->sysroot[0])
		return; /* the kernel's own state, which no file shows */
	struct timex t = {0};
	int state = adjtimex(&t);
	doctor_value(d, "clock.sync", "%s, error at most %.1f ms",
		state == TIME_ERROR ? "not synchronised" : "synchronised",
		(double)t.maxerror / 1000.0);
	if (state == TIME_ERROR)
		doctor_hint(d, "events carry unix time: let chrony or another NTP client keep it "
			       "(apt-get install chrony)");
}

/* ---- memory ---- */
static void check_node_pages(struct doctor *d)
{
	for (unsigned int node = 0; node < 64; node++) {
		char path[160], list[256], free_pages[32];
		struct cpu_set cpus;
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", node);
		if (!proc_line(d->sysroot, path, list, sizeof(list)))
			continue;
		cpu_set_parse(list, &cpus);
		bool used = false;
		for (unsigned int i = 0; i < DOCTOR_MAX_CPU; i++)
			used |= cpus.in[i] && d->workers.in[i];
		snprintf(path, sizeof(path),
			"/sys/devices/system/node/node%u/hugepages/hugepages-2048kB/nr_hugepages",
			node);
		if (used && proc_line(d->sysroot, path, free_pages, sizeof(free_pages)) &&
			!strcmp(free_pages, "0"))
			doctor_bad(
				d, "node %u has workers and no hugepages: echo N > %s", node, path);
	}
}

static void check_pages(struct doctor *d)
{
	static const char meminfo[] = "/proc/meminfo";
	uint64_t total = proc_number(d->sysroot, meminfo, "HugePages_Total"),
		 free = proc_number(d->sysroot, meminfo, "HugePages_Free"),
		 kb = proc_number(d->sysroot, meminfo, "Hugepagesize");
	uint64_t plan = d->machine ? number_at(d->machine, "memory_bytes") : 0;
	const char *pages =
		d->machine ? json_string_value(json_object_get(d->machine, "page_size")) : NULL;
	bool ordinary = pages && !strcmp(pages, "ordinary");
	doctor_value(d, "memory.hugepages",
		"%" PRIu64 " of %" PRIu64 " free, %" PRIu64 " kB each%s%s%s", free, total, kb,
		pages ? "; the daemon runs on " : "", pages ? pages : "", pages ? " ones" : "");
	uint64_t wanted = (plan + plan / 10) / 2097152 + 64;
	if (ordinary && d->config.memory_huge != WR_CONFIG_HUGE_NO)
		doctor_bad(d,
			"sysctl vm.nr_hugepages=%" PRIu64
			" (and in /etc/sysctl.d), then restart the daemon",
			wanted);
	else if (ordinary)
		doctor_hint(d,
			"memory.huge = no: sessions miss the TLB; sysctl vm.nr_hugepages=%" PRIu64
			", then memory.huge = auto",
			wanted);
	else if (!d->machine && total == 0)
		doctor_hint(d, "reserve what `wirerankd --config=FILE --check` asks for: sysctl "
			       "vm.nr_hugepages=N");
	if (total && !ordinary)
		check_node_pages(d);
	uint64_t available = proc_number(d->sysroot, meminfo, "MemAvailable");
	doctor_value(d, "memory.available", "%.1f GB of %.1f GB", (double)available / 1e6,
		(double)proc_number(d->sysroot, meminfo, "MemTotal") / 1e6);
	uint64_t swapped = ordinary ? proc_number(d->sysroot, meminfo, "SwapTotal") -
					      proc_number(d->sysroot, meminfo, "SwapFree")
				    : 0;
	if (swapped)
		doctor_hint(d,
			"%.1f MB are swapped out and the daemon's tables may be next: "
			"swapoff -a, or use hugepages",
			(double)swapped / 1e3);
}

/* ---- NUMA, kernel, limits ---- */
static void check_numa(struct doctor *d)
{
	char nodes[64];
	if (!proc_line(d->sysroot, "/sys/devices/system/node/online", nodes, sizeof(nodes)))
		snprintf(nodes, sizeof(nodes), "0");
	doctor_value(d, "memory.nodes", "%s", nodes);
}

/* "Max open files            20000   …" → its soft limit; UINT64_MAX = unlimited. */
static uint64_t soft_limit(const char *sysroot, const char *path, const char *name)
{
	char text[128];
	unsigned long long v;
	if (!proc_value(sysroot, path, name, text, sizeof(text)) || sscanf(text, "%llu", &v) != 1)
		return UINT64_MAX;
	return v;
}

static void check_limits(struct doctor *d)
{
	char path[64], locked_text[32] = "unlimited", status[64], uid[64];
	snprintf(path, sizeof(path), "/proc/%d/limits", d->pid ? d->pid : (int)getpid());
	if (d->sysroot[0] && !d->pid)
		snprintf(path, sizeof(path), "/proc/1/limits");
	uint64_t locked = soft_limit(d->sysroot, path, "Max locked memory"),
		 files = soft_limit(d->sysroot, path, "Max open files");
	if (locked != UINT64_MAX)
		snprintf(locked_text, sizeof(locked_text), "%" PRIu64 " kB", locked / 1024);
	doctor_value(d, "limits", "%s: locked memory %s, open files %" PRIu64,
		d->pid ? "daemon" : "this shell", locked_text, files);
	snprintf(status, sizeof(status), "/proc/%d/status", d->pid);
	bool root = d->pid && proc_value(d->sysroot, status, "Uid", uid, sizeof(uid)) &&
		    !strncmp(uid, "0", 1);
	if (d->pid && !root && locked < (64u << 20))
		doctor_hint(d, "AF_XDP locks its buffers: LimitMEMLOCK=infinity in the unit, or "
			       "ulimit -l unlimited");
	if (files < 1024)
		doctor_hint(d, "every memif peer takes descriptors: LimitNOFILE=65536 in the unit, "
			       "or ulimit -n 65536");
}

/* A process that moves interrupts about by itself. */
static void check_irqbalance(struct doctor *d)
{
	bool runs = false;
	for (size_t i = 0; i < d->after.n_threads; i++)
		runs |= !strcmp(d->after.threads[i].name, "irqbalance");
	doctor_value(d, "irqbalance", runs ? "runs" : "does not run");
	if (runs && d->workers.n) {
		char cpus[256];
		doctor_hint(d,
			"keep it off the workers' CPUs: IRQBALANCE_BANNED_CPULIST=%s in "
			"/etc/default/irqbalance, then restart it",
			cpu_set_text(&d->workers, cpus, sizeof(cpus)));
	}
}

void doctor_machine(struct doctor *d)
{
	char flags[4096], kernel[128];
	if (!proc_value(d->sysroot, "/proc/cpuinfo", "flags", flags, sizeof(flags)))
		flags[0] = '\0';
	check_cpu(d, flags);
	check_clock(d, flags);
	if (proc_line(d->sysroot, "/proc/sys/kernel/osrelease", kernel, sizeof(kernel)))
		doctor_value(d, "kernel", "%s", kernel);
	check_numa(d);
	check_pages(d);
	check_limits(d);
	check_irqbalance(d);
}
