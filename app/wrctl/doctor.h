/* SPDX-License-Identifier: BSD-3-Clause */
/* wrctl doctor: findings, what they are made from, and readers of /proc and /sys. */
#ifndef DOCTOR_H
#define DOCTOR_H

#include "wr_config.h"
#include "wrctl.h"

#define DOCTOR_MAX_CPU 1024

enum verdict { VERDICT_OK, VERDICT_HINT, VERDICT_BAD, VERDICT_N };

struct cpu_set {
	bool in[DOCTOR_MAX_CPU];
	unsigned int n;
};

/* One look at a CPU (/proc/stat, /proc/interrupts) and at all threads; two make a rate. */
struct thread_look {
	int pid, tid;
	unsigned int cpu; /* where it ran last */
	uint64_t run_ns, wait_ns;
	char name[32];
};
struct look {
	uint64_t at_ns;
	uint64_t steal[DOCTOR_MAX_CPU], all[DOCTOR_MAX_CPU]; /* ticks */
	uint64_t interrupts[DOCTOR_MAX_CPU];                 /* of devices */
	struct thread_look *threads;
	size_t n_threads;
};

struct doctor {
	const char *sysroot; /* in front of /proc and /sys */
	json_t *checks;      /* [{"check", "verdict", "value", "do"?}, …] */
	unsigned int n[VERDICT_N];
	/* what the daemon runs with, or would; workers: its CPUs */
	bool has_config;
	struct wr_config config;
	struct cpu_set workers;
	struct look before, after;
	double seconds; /* between the two */
	/* the daemon, NULL and 0 without one */
	int pid;
	int64_t asked_unix_ms; /* our clock when machine was told */
	json_t *status, *port, *machine, *latency;
	json_t *stats, *stats_before;   /* of all workers */
	json_t *worker, *worker_before; /* arrays */
};

/* Starts a finding that is ok; the next two make the finding begun last worse and say what to
 * change (several are joined). */
void doctor_value(struct doctor *d, const char *check, const char *fmt, ...) WR_PRINTF(3, 4);
void doctor_hint(struct doctor *d, const char *fmt, ...) WR_PRINTF(2, 3);
void doctor_bad(struct doctor *d, const char *fmt, ...) WR_PRINTF(2, 3);

/* ---- the checks ---- */
void doctor_machine(struct doctor *d);
void doctor_workers(struct doctor *d); /* the workers' CPUs; needs both looks */
void doctor_network(struct doctor *d); /* kernel settings of an AF_XDP interface */
void doctor_daemon(struct doctor *d);
void doctor_traffic(struct doctor *d);

/* ---- proc.c: all below sysroot ---- */
FILE *proc_open(const char *sysroot, const char *path);
/* First line of a file without its newline; false: no such file. */
bool proc_line(const char *sysroot, const char *path, char *out, size_t size);
/* Value of the first line "key : value" or "key value"; false when absent. */
bool proc_value(const char *sysroot, const char *path, const char *key, char *out, size_t size);
/* The same as a number; 0 when absent. */
uint64_t proc_number(const char *sysroot, const char *path, const char *key);
/* "0-2,5" */
void cpu_set_parse(const char *list, struct cpu_set *set);
/* The CPUs of set as "0-2,5"; "none". */
const char *cpu_set_text(const struct cpu_set *set, char *out, size_t size);
void look_take(const char *sysroot, struct look *l);
void look_free(struct look *l);

#endif
