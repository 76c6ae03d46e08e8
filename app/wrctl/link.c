/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DPDK's telemetry socket, version 2: SOCK_SEQPACKET, a JSON greeting, then one JSON answer a
 * request. At most ten clients at a time are served; a client too many is hung up on.
 */
#include "wrctl.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_ANSWER  (64 * 1024) /* the daemon's limit is 16 KB */
#define MAX_PAGES   100
#define SOCKET_NAME "dpdk_telemetry.v2"

struct link {
	int fd, pid;
	const char *path;
	char answer[MAX_ANSWER];
};

/* EAL's rule for its runtime folder. */
static void runtime_folder(char *out, size_t size)
{
	const char *folder = getenv("RUNTIME_DIRECTORY");
	if (!folder && getuid() == 0)
		folder = "/var/run";
	if (!folder)
		folder = getenv("XDG_RUNTIME_DIR");
	snprintf(out, size, "%s/dpdk", folder ? folder : "/tmp");
}

void link_path(const char *name, char *out, size_t size)
{
	char folder[256];
	runtime_folder(folder, sizeof(folder));
	snprintf(out, size, "%s/%s/" SOCKET_NAME, folder, name);
}

/* A connected socket, or -1 with errno. */
static int connect_to(const char *path, unsigned int timeout_s)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(to.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(to.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	/* The send time limit holds for connect too. */
	struct timeval limit = {.tv_sec = timeout_s};
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) ||
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
		connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		int why = errno;
		close(fd);
		errno = why;
		return -1;
	}
	return fd;
}

/* "a, b", the names of daemons (any DPDK process) whose socket answers; "none" where there is none.
 */
static void list_running(char *out, size_t size)
{
	char folder[256], path[512];
	size_t used = 0;
	runtime_folder(folder, sizeof(folder));
	DIR *d = opendir(folder);
	snprintf(out, size, "none");
	for (struct dirent *e; d && (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%.200s/" SOCKET_NAME, folder, e->d_name);
		int fd = connect_to(path, 1);
		if (fd < 0)
			continue;
		close(fd);
		if (used < size)
			used += (size_t)snprintf(
				out + used, size - used, "%s%.64s", used ? ", " : "", e->d_name);
	}
	if (d)
		closedir(d);
}

static int cannot_connect(const char *path, const char *name, struct wr_errmsg *msg)
{
	char running[256];
	int why = errno;
	if (why == EACCES || why == EPERM)
		return wr_fail(msg, WR_EPERM,
			"%s: permission denied; run wrctl as the daemon's user", path);
	if (why == ENAMETOOLONG)
		return wr_fail(
			msg, WR_EINVAL, "%s: longer than a socket's path may be (107 bytes)", path);
	const char *what = why == ENOENT ? "no such socket"
			   : why == ECONNREFUSED
				   ? "nobody listens; the daemon ended without cleaning up"
			   : why == EAGAIN ? "the daemon does not take connections"
					   : strerror(why);
	if (!name)
		return wr_fail(msg, WR_ENOENT, "%s: %s", path, what);
	list_running(running, sizeof(running));
	return wr_fail(msg, WR_ENOENT,
		"daemon '%s' does not run here: %s: %s; running: %s (choose with --name=NAME)",
		name, path, what, running);
}

/* One message into l->answer as JSON. */
static int receive(struct link *l, json_t **out, struct wr_errmsg *msg)
{
	json_error_t at;
	ssize_t n = recv(l->fd, l->answer, sizeof(l->answer), 0);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return wr_fail(msg, WR_EAGAIN,
			"%s: no answer in time; the daemon hangs or is overloaded", l->path);
	if (n < 0)
		return wr_fail(msg, WR_EIO, "%s: %s", l->path, strerror(errno));
	if (n == 0)
		return wr_fail(msg, WR_EIO,
			"%s: the daemon closed the connection (it ends, or has ten clients "
			"already)",
			l->path);
	*out = json_loadb(l->answer, (size_t)n, JSON_DECODE_ANY, &at);
	if (!*out)
		return wr_fail(msg, WR_EFORMAT, "%s: not the answer of a DPDK process: %s", l->path,
			at.text);
	return WR_OK;
}

int link_open(struct link **out, const char *path, const char *name, unsigned int timeout_s,
	struct wr_errmsg *msg)
{
	*out = NULL;
	struct link *l = malloc(sizeof(*l));
	if (!l)
		return wr_fail(msg, WR_ENOMEM, "out of memory");
	l->path = path;
	l->fd = connect_to(path, timeout_s);
	if (l->fd < 0) {
		int err = cannot_connect(path, name, msg);
		free(l);
		return err;
	}
	json_t *greeting;
	int err = receive(l, &greeting, msg);
	if (err) {
		link_close(l);
		return err;
	}
	l->pid = (int)number_at(greeting, "pid");
	json_decref(greeting);
	*out = l;
	return WR_OK;
}

void link_close(struct link *l)
{
	if (!l)
		return;
	close(l->fd);
	free(l);
}

int link_pid(const struct link *l)
{
	return l->pid;
}

int link_ask_raw(
	struct link *l, const char *path, const char *params, json_t **body, struct wr_errmsg *msg)
{
	char request[512];
	json_t *answer;
	int n = snprintf(
		request, sizeof(request), "%s%s%s", path, params ? "," : "", params ? params : "");
	if (n <= 0 || (size_t)n >= sizeof(request))
		return wr_fail(msg, WR_EINVAL, "'%.40s…': a request has 1 to %zu bytes", path,
			sizeof(request) - 1);
	if (send(l->fd, request, (size_t)n, MSG_NOSIGNAL) != n)
		return wr_fail(msg, WR_EIO, "%s: cannot send: %s", l->path, strerror(errno));
	int err = receive(l, &answer, msg);
	if (err)
		return err;
	/* {"/the/command": body} */
	*body = json_object_iter_value(json_object_iter(answer));
	json_incref(*body);
	json_decref(answer);
	return *body ? WR_OK
		     : wr_fail(msg, WR_EFORMAT, "%s: an answer without a body to %s", l->path,
			       request);
}

static int check_status(const char *path, const json_t *body, struct wr_errmsg *msg)
{
	const char *status = json_string_value(json_object_get(body, "status"));
	const char *error = json_string_value(json_object_get(body, "error"));
	if (!status)
		return wr_fail(msg, WR_ENOTSUP,
			"the process does not know %s: it is no wirerankd, still starts, or is of "
			"another version",
			path);
	if (!strcmp(status, "stopped"))
		return wr_fail(msg, WR_ESTATE, "the daemon is stopping");
	if (strcmp(status, "ok"))
		return wr_fail(msg, WR_EINVAL, "%s: %s", path, error ? error : status);
	return WR_OK;
}

int link_ask(
	struct link *l, const char *path, const char *worker, json_t **out, struct wr_errmsg *msg)
{
	char params[64];
	uint64_t n_pages = 1;
	int err = WR_OK;
	*out = NULL;
	json_t *body = json_object();
	for (uint64_t page = 0; page < n_pages && page < MAX_PAGES && !err; page++) {
		json_t *answer;
		snprintf(params, sizeof(params), "%s%s%ju", worker ? worker : "", worker ? "," : "",
			(uintmax_t)page);
		/* A command without pages gets no page number, and takes none. */
		const char *given = page > 0 ? params : worker;
		err = link_ask_raw(l, path, given, &answer, msg);
		if (err)
			break;
		err = check_status(path, answer, msg);
		if (!err && json_object_get(answer, "pages"))
			n_pages = number_at(answer, "pages");
		if (!err)
			err = answer_merge(body, answer, msg);
		json_decref(answer);
	}
	if (err) {
		json_decref(body);
		return err;
	}
	*out = body;
	return WR_OK;
}
