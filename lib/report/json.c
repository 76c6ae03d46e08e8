/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON files and the description of the machine that a figure was measured on. */
#include "wr_report.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MAX_JSON_BYTES ((size_t)1 << 30)
/* 12 digits keep every figure that we measure and print 0.1 as 0.1. */
#define DUMP_FLAGS (JSON_INDENT(2) | JSON_REAL_PRECISION(12) | JSON_ENCODE_ANY)

int wr_json_write(const json_t *root, const char *path, struct wr_errmsg *msg)
{
	if (!strcmp(path, "-")) {
		if (json_dumpf(root, stdout, DUMP_FLAGS) || putchar('\n') == EOF || fflush(stdout))
			return wr_fail(msg, WR_EIO, "standard output: writing failed");
		return WR_OK;
	}
	struct wr_file_writer *w;
	int err = wr_file_writer_open(&w, path, msg);
	if (err)
		return err;
	FILE *f = wr_file_writer_stream(w);
	if (json_dumpf(root, f, DUMP_FLAGS) || fputc('\n', f) == EOF) {
		wr_file_writer_abort(w);
		return wr_fail(msg, WR_EIO, "%s: writing failed; nothing was changed", path);
	}
	return wr_file_writer_commit(w, msg);
}

int wr_json_read(const char *path, json_t **root, struct wr_errmsg *msg)
{
	char *text;
	size_t bytes;
	*root = NULL;
	int err = wr_file_read(path, MAX_JSON_BYTES, &text, &bytes, msg);
	if (err)
		return err;
	json_error_t at;
	*root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &at);
	if (!*root)
		err = wr_fail(msg, WR_EFORMAT, "%s:%d: not JSON: %s", path, at.line, at.text);
	free(text);
	return err;
}

/* The value of the first line "key … : value" of a file such as /proc/cpuinfo into out; "unknown"
 * else. */
static void proc_value(const char *path, const char *key, char *out, size_t size)
{
	char line[512];
	snprintf(out, size, "unknown");
	FILE *f = fopen(path, "r");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		char *colon = strchr(line, ':');
		if (strncmp(line, key, strlen(key)) || !colon)
			continue;
		colon += 1 + strspn(colon + 1, " \t");
		colon[strcspn(colon, "\n")] = '\0';
		snprintf(out, size, "%s", colon);
		break;
	}
	fclose(f);
}

/* Ticks that the hypervisor took from all our CPUs since boot: eighth number of /proc/stat's first
 * line; -1 = unknown. */
static long long steal_ticks(void)
{
	long long steal = -1;
	FILE *f = fopen("/proc/stat", "r");
	if (!f)
		return -1;
	if (fscanf(f, "cpu %*d %*d %*d %*d %*d %*d %*d %lld", &steal) != 1)
		steal = -1;
	fclose(f);
	return steal;
}

json_t *wr_report_machine(const char *isa)
{
	char cpu[256];
	struct utsname name;
	proc_value("/proc/cpuinfo", "model name", cpu, sizeof(cpu));
	if (uname(&name))
		snprintf(name.release, sizeof(name.release), "unknown");
	return json_pack("{s:s, s:I, s:s, s:s, s:I}", "cpu", cpu, "cores",
		(json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "isa", isa, "kernel", name.release,
		"steal_ticks", (json_int_t)steal_ticks());
}
