/* SPDX-License-Identifier: BSD-3-Clause */
/* client_bench: load over ordinary sockets. docs/benchmarking.md says how to use it. */
#include "bench.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>

static struct {
	const char *loopback, *raw, *server, *tiers, *workload, *lists, *rate, *seconds, *settle,
		*users, *window, *bytes, *k, *history, *sources, *timeout, *tries, *hello, *plain,
		*core, *echo_core, *runs, *modes, *seed, *json, *quiet;
} t = {.workload = "echo",
	.rate = "max",
	.settle = "2",
	.users = "10000",
	.window = "1024",
	.bytes = "256",
	.k = "10",
	.history = "49",
	.sources = "4",
	.timeout = "50",
	.tries = "3",
	.hello = "1000",
	.core = "-1",
	.echo_core = "-1",
	.runs = "5",
	.modes = "15",
	.seed = "1"};

static const struct wr_opt opts[] = {
	{"server", "HOST[:PORT],…", "servers, up to 8; default port 4700", &t.server},
	{"tiers", NULL, "servers behind the first one only take over", &t.tiers},
	{"workload", "NAME", "echo, warm, event or lists (the library's)", &t.workload},
	{"lists", "FILE", "expected lists (wrtrain eval --int8 --lists); implies --workload=lists",
		&t.lists},
	{"raw", NULL, "system calls alone: count the datagrams that come back", &t.raw},
	{"loopback", NULL, "library and system calls by turns against an echo thread", &t.loopback},
	{"rate", "N", "messages a second, or max", &t.rate},
	{"seconds", "S", "length (5; lists: 0 = until all were checked; loopback: 1 a run)",
		&t.seconds},
	{"settle", "S", "longest wait for the last answers", &t.settle},
	{"users", "N", "users; lists: users at a time", &t.users},
	{"window", "N", "most messages without an answer", &t.window},
	{"bytes", "N", "size of a request", &t.bytes},
	{"k", "N", "warm: items asked for", &t.k},
	{"history", "N", "warm, event: clicks told when the server wants the history", &t.history},
	{"sources", "N", "source ports", &t.sources},
	{"timeout-ms", "N", "of the first try", &t.timeout},
	{"tries", "N", "of a request, at most", &t.tries},
	{"hello-ms", "N", "between probes of a server that is down", &t.hello},
	{"no-offload", NULL, "no UDP_SEGMENT and UDP_GRO", &t.plain},
	{"core", "N", "CPU of the client, -1 = any", &t.core},
	{"echo-core", "N", "loopback: CPU of the echo thread", &t.echo_core},
	{"runs", "N", "loopback: runs of each mode", &t.runs},
	{"modes", "N", "loopback: sum of 1, 4 = system calls plain, offload; 2, 8 = library",
		&t.modes},
	{"seed", "N", "of users and items", &t.seed},
	{"json", "FILE", "write the result there, - = standard output", &t.json},
	{"quiet", NULL, "no progress, no summary", &t.quiet},
};

static int seconds(const char *name, const char *text, double *out, struct wr_errmsg *msg)
{
	if (wr_parse_double(text, 0, 1e6, out) == WR_OK)
		return WR_OK;
	return wr_fail(msg, WR_EINVAL, "--%s=%s: must be seconds", name, text);
}

static int look_up(struct bench_server *s, struct wr_errmsg *msg)
{
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found = NULL;
	int err = getaddrinfo(s->host, NULL, &hints, &found);
	if (err)
		return wr_fail(msg, WR_ENOENT, "--server: %s: %s", s->host, gai_strerror(err));
	memcpy(&s->address, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	/* The port stands at the same place in both. */
	((struct sockaddr_in *)&s->address)->sin_port = htons(s->port);
	return WR_OK;
}

static int servers(struct bench_options *o, struct wr_errmsg *msg)
{
	char *copy = strdup(t.server), *save = NULL;
	int err = copy ? WR_OK : wr_fail(msg, WR_ENOMEM, "no memory");
	for (char *w = err ? NULL : strtok_r(copy, ",", &save); w && !err;
		w = strtok_r(NULL, ",", &save)) {
		struct bench_server *s = &o->server[o->n_servers];
		if (o->n_servers++ == MAX_SERVERS)
			err = wr_fail(msg, WR_EINVAL, "--server: at most %d", MAX_SERVERS);
		else if (wr_parse_host_port(w, s->host, sizeof(s->host), &s->port))
			err = wr_fail(msg, WR_EINVAL, "--server: '%s': must be HOST[:PORT]", w);
		else if (s->port == 0)
			s->port = WR_WIRE_DEFAULT_PORT;
		if (!err)
			err = look_up(s, msg);
	}
	free(copy);
	return err;
}

static int workload(struct bench_options *o, struct wr_errmsg *msg)
{
	static const char *const names[] = {"echo", "warm", "event", "lists"};
	o->lists = t.lists;
	if (t.lists)
		t.workload = "lists";
	for (unsigned int i = 0; i < WR_ARRAY_LEN(names); i++)
		if (!strcmp(t.workload, names[i])) {
			o->workload = i;
			return i == WORKLOAD_LISTS && !t.lists
				       ? wr_fail(msg, WR_EINVAL, "--workload=lists needs --lists")
				       : WR_OK;
		}
	return wr_fail(
		msg, WR_EINVAL, "--workload=%s: must be echo, warm, event or lists", t.workload);
}

static int core(const char *name, const char *text, int *out, struct wr_errmsg *msg)
{
	int64_t v;
	if (wr_parse_i64(text, -1, 1023, &v))
		return wr_fail(msg, WR_EINVAL, "--%s=%s: must be a CPU, or -1", name, text);
	*out = (int)v;
	return WR_OK;
}

static int options(struct bench_options *o, struct wr_errmsg *msg)
{
	const struct {
		const char *name, *text;
		uint64_t min, max;
		unsigned int *out;
	} numbers[] = {{"window", t.window, 1, 65536, &o->window},
		{"bytes", t.bytes, 96, WR_WIRE_MAX_BYTES, &o->bytes},
		{"k", t.k, 1, WR_WIRE_MAX_K, &o->k},
		{"history", t.history, 0, WR_WIRE_MAX_HISTORY, &o->history},
		{"sources", t.sources, 1, 64, &o->sources},
		{"timeout-ms", t.timeout, 1, 10000, &o->timeout_ms},
		{"modes", t.modes, 1, 15, &o->modes}, {"tries", t.tries, 1, 8, &o->tries},
		{"hello-ms", t.hello, 10, 60000, &o->hello_ms}};
	uint64_t v;
	int err = workload(o, msg);
	for (unsigned int i = 0; i < WR_ARRAY_LEN(numbers) && !err; i++) {
		err = wr_opt_u64(
			numbers[i].name, numbers[i].text, numbers[i].min, numbers[i].max, &v, msg);
		if (!err)
			*numbers[i].out = (unsigned int)v;
	}
	if (!err)
		err = wr_opt_u64("users", t.users, 1, 1u << 30, &o->users, msg);
	if (!err)
		err = wr_opt_u64("seed", t.seed, 0, UINT64_MAX, &o->seed, msg);
	if (!err && strcmp(t.rate, "max") && wr_parse_double(t.rate, 0.001, 1e9, &o->rate))
		err = wr_fail(
			msg, WR_EINVAL, "--rate=%s: must be messages a second, or max", t.rate);
	o->seconds = o->workload == WORKLOAD_LISTS ? 0 : t.loopback ? 1 : 5;
	if (!err && t.seconds)
		err = seconds("seconds", t.seconds, &o->seconds, msg);
	if (!err)
		err = seconds("settle", t.settle, &o->settle_s, msg);
	if (!err)
		err = core("core", t.core, &o->core, msg);
	if (!err && o->workload != WORKLOAD_LISTS && o->seconds <= 0)
		err = wr_fail(msg, WR_EINVAL, "--seconds: must be above 0");
	o->tiers = t.tiers;
	o->no_offload = t.plain;
	o->progress = !t.quiet;
	if (err || t.loopback)
		return err;
	return t.server ? servers(o, msg)
			: wr_fail(msg, WR_EINVAL, "which --server? (or --loopback)");
}

static int fail(const struct wr_errmsg *msg, int code)
{
	fprintf(stderr, "client_bench: %s\n", msg->text);
	return code;
}

static int write_result(json_t *j, struct wr_errmsg *msg)
{
	int err = t.json ? wr_json_write(j, t.json, msg) : WR_OK;
	json_decref(j);
	return err;
}

int main(int argc, char **argv)
{
	static struct bench_result r;
	struct bench_options o = {0};
	struct wr_errmsg msg;
	json_t *j = NULL;
	uint64_t runs;
	int echo_core;
	int err = wr_opt_parse(argc, argv, "usage: client_bench [options]", opts,
		WR_ARRAY_LEN(opts), NULL, 0, &(unsigned int){0}, &msg);
	if (err == WR_EINTR)
		return 0;
	if (!err)
		err = options(&o, &msg);
	if (!err)
		err = wr_opt_u64("runs", t.runs, 1, 99, &runs, &msg);
	if (!err)
		err = core("echo-core", t.echo_core, &echo_core, &msg);
	if (err)
		return fail(&msg, 1);
	wr_stop_catch_signals();
	if (t.loopback) {
		err = loopback_run(&o, (unsigned int)runs, echo_core, &j, &msg);
	} else {
		err = t.raw ? raw_run(&o, &r, &msg) : drive_run(&o, &r, &msg);
		if (!err && !t.quiet)
			report_print(&r, t.raw);
		if (!err)
			j = report_result(&o, &r, t.raw);
	}
	if (!err)
		err = write_result(j, &msg);
	if (err)
		return fail(&msg, 1);
	return r.wrong ? 2 : r.unanswered ? 1 : 0;
}
