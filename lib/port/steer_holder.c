/* SPDX-License-Identifier: BSD-3-Clause */
/* Who holds a BPF program: /proc says of every descriptor what it is. Once a start, and only when a
 * program of ours is found on the interface. */
#include "steer_holder.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_bpf(const char *pid, const char *fd)
{
	char path[64], target[64];
	snprintf(path, sizeof(path), "/proc/%.12s/fd/%.12s", pid, fd);
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = '\0';
	return strcmp(target, "anon_inode:bpf-prog") == 0 ||
	       strcmp(target, "anon_inode:bpf_link") == 0;
}

static bool has_program(const char *pid, const char *fd, uint32_t prog_id)
{
	char path[64], line[128];
	unsigned int id = 0;
	bool found = false;

	if (!is_bpf(pid, fd))
		return false;
	snprintf(path, sizeof(path), "/proc/%.12s/fdinfo/%.12s", pid, fd);
	FILE *f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "prog_id: %u", &id) == 1 && id == prog_id;
	if (f)
		fclose(f);
	return found;
}

static bool process_has_program(const char *pid, uint32_t prog_id)
{
	char path[64];
	bool found = false;
	snprintf(path, sizeof(path), "/proc/%.12s/fd", pid);
	DIR *d = opendir(path);
	for (const struct dirent *e; d && !found && (e = readdir(d)) != NULL;)
		found = isdigit((unsigned char)e->d_name[0]) &&
			has_program(pid, e->d_name, prog_id);
	if (d)
		closedir(d);
	return found;
}

bool wr_steer_holder(uint32_t prog_id, char *who, size_t size)
{
	DIR *d = opendir("/proc");
	bool found = false;

	for (const struct dirent *e; d && !found && (e = readdir(d)) != NULL;) {
		if (!isdigit((unsigned char)e->d_name[0]) || atoi(e->d_name) == getpid())
			continue;
		found = process_has_program(e->d_name, prog_id);
		if (found) {
			char path[64], name[32] = "?";
			snprintf(path, sizeof(path), "/proc/%.12s/comm", e->d_name);
			FILE *f = fopen(path, "re");
			if (f && fgets(name, sizeof(name), f))
				name[strcspn(name, "\n")] = '\0';
			if (f)
				fclose(f);
			snprintf(who, size, "process %.12s (%s)", e->d_name, name);
		}
	}
	if (d)
		closedir(d);
	return found;
}
