/* SPDX-License-Identifier: BSD-3-Clause */
/* Readers of /proc and /sys for wrctl doctor: small files, once or twice a run. */
#include "doctor.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

FILE *proc_open(const char *sysroot, const char *path)
{
	char full[768];
	snprintf(full, sizeof(full), "%s%s", sysroot, path);
	return fopen(full, "re");
}

bool proc_line(const char *sysroot, const char *path, char *out, size_t size)
{
	FILE *f = proc_open(sysroot, path);
	out[0] = '\0';
	if (!f)
		return false;
	bool ok = fgets(out, (int)size, f) != NULL;
	out[strcspn(out, "\n")] = '\0';
	fclose(f);
	return ok;
}

bool proc_value(const char *sysroot, const char *path, const char *key, char *out, size_t size)
{
	FILE *f = proc_open(sysroot, path);
	char *line = NULL;
	size_t room = 0, n = strlen(key);
	bool found = false;
	out[0] = '\0';
	while (f && !found && getline(&line, &room, f) > 0) {
		const char *v = line + n;
		if (strncmp(line, key, n) || !strchr(" \t:", *v))
			continue;
		v += strspn(v, " \t:");
		snprintf(out, size, "%.*s", (int)strcspn(v, "\n"), v);
		found = true;
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

uint64_t proc_number(const char *sysroot, const char *path, const char *key)
{
	char text[128];
	return proc_value(sysroot, path, key, text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

void cpu_set_parse(const char *list, struct cpu_set *set)
{
	memset(set, 0, sizeof(*set));
	while (isdigit((unsigned char)*list)) {
		char *end;
		unsigned long from = strtoul(list, &end, 10), to = from;
		if (*end == '-')
			to = strtoul(end + 1, &end, 10);
		for (; from <= to && from < DOCTOR_MAX_CPU; from++) {
			set->n += !set->in[from];
			set->in[from] = true;
		}
		list = end + (*end == ',');
	}
}

const char *cpu_set_text(const struct cpu_set *set, char *out, size_t size)
{
	size_t n = 0;
	snprintf(out, size, "none");
	for (unsigned int i = 0; i < DOCTOR_MAX_CPU && n < size; i++) {
		unsigned int last = i;
		if (!set->in[i])
			continue;
		while (last + 1 < DOCTOR_MAX_CPU && set->in[last + 1])
			last++;
		n += (size_t)snprintf(
			out + n, size - n, last > i ? "%s%u-%u" : "%s%u", n ? "," : "", i, last);
		i = last;
	}
	return out;
}

/* ---- looks ---- */
static void look_cpus(const char *sysroot, struct look *l)
{
	FILE *f = proc_open(sysroot, "/proc/stat");
	char *line = NULL;
	size_t room = 0;
	while (f && getline(&line, &room, f) > 0) {
		unsigned int cpu;
		unsigned long long v[8];
		if (sscanf(line, "cpu%u %llu %llu %llu %llu %llu %llu %llu %llu", &cpu, v, v + 1,
			    v + 2, v + 3, v + 4, v + 5, v + 6, v + 7) != 9 ||
			cpu >= DOCTOR_MAX_CPU)
			continue;
		l->steal[cpu] = v[7];
		for (unsigned int i = 0; i < 8; i++)
			l->all[cpu] += v[i];
	}
	free(line);
	if (f)
		fclose(f);
}

/* Columns are the CPUs that the heading names; rows with a number are devices'. */
static void look_interrupts(const char *sysroot, struct look *l)
{
	FILE *f = proc_open(sysroot, "/proc/interrupts");
	char *line = NULL;
	size_t room = 0;
	unsigned int cpus[DOCTOR_MAX_CPU], n = 0;
	if (f && getline(&line, &room, f) > 0)
		for (char *p = line; (p = strstr(p, "CPU")) && n < DOCTOR_MAX_CPU;)
			cpus[n++] = (unsigned int)strtoul(p + 3, &p, 10);
	while (f && n && getline(&line, &room, f) > 0) {
		char *p = line + strspn(line, " "), *end;
		if (!isdigit((unsigned char)*p) || !(p = strchr(p, ':')))
			continue;
		p++;
		for (unsigned int i = 0; i < n; i++, p = end) {
			unsigned long long v = strtoull(p, &end, 10);
			if (end == p)
				break;
			if (cpus[i] < DOCTOR_MAX_CPU)
				l->interrupts[cpus[i]] += v;
		}
	}
	free(line);
	if (f)
		fclose(f);
}

/* Name and last CPU of /proc/PID/task/TID/stat, run and wait time of its schedstat. */
static bool look_thread(const char *sysroot, int pid, int tid, struct thread_look *t)
{
	char path[128], text[1024];
	unsigned long long run, wait;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	if (!proc_line(sysroot, path, text, sizeof(text)))
		return false;
	char *open = strchr(text, '('), *close = strrchr(text, ')');
	if (!open || !close)
		return false;
	*t = (struct thread_look){.pid = pid, .tid = tid};
	snprintf(t->name, sizeof(t->name), "%.*s", (int)(close - open - 1), open + 1);
	/* The word behind the name is the third; the CPU is the 39th. */
	char *word = strtok(close + 1, " ");
	for (unsigned int i = 3; word && i < 39; i++)
		word = strtok(NULL, " ");
	t->cpu = word ? (unsigned int)strtoul(word, NULL, 10) : 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", pid, tid);
	if (!proc_line(sysroot, path, text, sizeof(text)) ||
		sscanf(text, "%llu %llu", &run, &wait) != 2)
		return false;
	t->run_ns = run;
	t->wait_ns = wait;
	return true;
}

static void look_process(const char *sysroot, int pid, struct look *l)
{
	char path[768];
	snprintf(path, sizeof(path), "%s/proc/%d/task", sysroot, pid);
	DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));) {
		int tid = atoi(e->d_name);
		if (tid <= 0)
			continue;
		if (l->n_threads % 256 == 0) {
			void *more =
				realloc(l->threads, (l->n_threads + 256) * sizeof(l->threads[0]));
			if (!more)
				break;
			l->threads = more;
		}
		l->n_threads += look_thread(sysroot, pid, tid, &l->threads[l->n_threads]);
	}
	if (d)
		closedir(d);
}

void look_take(const char *sysroot, struct look *l)
{
	char path[768];
	memset(l, 0, sizeof(*l));
	l->at_ns = wr_clock_ns();
	look_cpus(sysroot, l);
	look_interrupts(sysroot, l);
	snprintf(path, sizeof(path), "%s/proc", sysroot);
	DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));)
		if (isdigit((unsigned char)e->d_name[0]))
			look_process(sysroot, atoi(e->d_name), l);
	if (d)
		closedir(d);
}

void look_free(struct look *l)
{
	free(l->threads);
	l->threads = NULL;
}
