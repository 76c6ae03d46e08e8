/* SPDX-License-Identifier: BSD-3-Clause */
/* Asks wirerankd for its memory plan: the code that allocates is the code that plans, and wrctl
 * links no DPDK. */
#include "plan.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* The daemon of this installation, or of this build tree; else whatever PATH has. */
static void find_daemon(char *out, size_t size)
{
	static const char *const beside[] = {"wirerankd", "../wirerankd/wirerankd"};
	char self[512];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(self, '/');
	for (unsigned int i = 0; slash && i < WR_ARRAY_LEN(beside); i++) {
		snprintf(out, size, "%.*s/%s", (int)(slash - self), self, beside[i]);
		if (access(out, X_OK) == 0)
			return;
	}
	snprintf(out, size, "wirerankd");
}

static int collect(pid_t child, int fd, json_t **plan, struct wr_errmsg *msg)
{
	FILE *f = fdopen(fd, "r");
	json_error_t why;
	int status;
	*plan = f ? json_loadf(f, 0, &why) : NULL;
	if (f)
		fclose(f);
	else
		close(fd);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (*plan && status == 0)
		return 0;
	json_decref(*plan);
	*plan = NULL;
	return wr_fail(msg, WR_EIO, "wirerankd --plan ended with status %d and gave no plan",
		WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

int plan_memory(const struct wr_bundle_model *m, unsigned int workers, uint64_t rows, json_t **plan,
	struct wr_errmsg *msg)
{
	char path[600], model[200], lcores[512], per_lcore[64];
	int fds[2], n = snprintf(lcores, sizeof(lcores), "--set=server.lcores=0");
	pid_t child;
	find_daemon(path, sizeof(path));
	for (unsigned int i = 1; i < workers; i++)
		n += snprintf(lcores + n, sizeof(lcores) - (size_t)n, ",%u", i);
	snprintf(model, sizeof(model), "--model=%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u",
		m->n_items, m->d, m->n_blocks, m->n_heads, m->n_kv_heads, m->head_dim, m->window,
		m->ffn, m->time_buckets, m->kept[WR_BUNDLE_QKV], m->kept[WR_BUNDLE_OUT],
		m->kept[WR_BUNDLE_UP], m->kept[WR_BUNDLE_DOWN], m->age_keys);
	snprintf(
		per_lcore, sizeof(per_lcore), "--set=sessions.rows_per_lcore=%ju", (uintmax_t)rows);
	char plan_word[] = "--plan", kind[] = "--set=port.kind=nic";
	char *argv[] = {path, plan_word, model, lcores, per_lcore, kind, NULL};
	if (pipe(fds) != 0)
		return wr_fail(msg, WR_EIO, "pipe: %s", strerror(errno));
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addclose(&actions, fds[0]);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
	int err = posix_spawnp(&child, path, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);
	if (err) {
		close(fds[0]);
		return wr_fail(msg, WR_ENOENT,
			"%s: %s; the memory plan is wirerankd's: install it beside wrctl", path,
			strerror(err));
	}
	return collect(child, fds[0], plan, msg);
}
