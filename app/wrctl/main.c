/* SPDX-License-Identifier: BSD-3-Clause */
/* wrctl: looks into a running wirerankd through its telemetry socket. Links no DPDK. Exit: 0, 1 =
 * failed, 2 = usage. */
#include "wrctl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct context {
	struct link *link;
	const char *worker; /* NULL = not given */
	const char *argument;
	bool json, zeros;
	unsigned int watch_s;
};

static int print_json(const json_t *root, struct wr_errmsg *msg)
{
	return wr_json_write(root, "-", msg);
}

/* ---- commands ---- */
static int ask_and_show(const struct context *c, const char *path, const char *worker,
	void (*show)(json_t *, bool), struct wr_errmsg *msg)
{
	json_t *body;
	int err = link_ask(c->link, path, worker, &body, msg);
	if (err)
		return err;
	if (c->json)
		err = print_json(body, msg);
	else
		show(body, c->zeros);
	json_decref(body);
	return err;
}

static int cmd_status(const struct context *c, struct wr_errmsg *msg)
{
	return ask_and_show(c, "/wirerank/status", NULL, show_status, msg);
}

static int cmd_latency(const struct context *c, struct wr_errmsg *msg)
{
	return ask_and_show(
		c, "/wirerank/latency", c->worker ? c->worker : "all", show_latency, msg);
}

static int cmd_bundle(const struct context *c, struct wr_errmsg *msg)
{
	return ask_and_show(c, "/wirerank/bundle", NULL, show_bundle, msg);
}

static int cmd_shards(const struct context *c, struct wr_errmsg *msg)
{
	return ask_and_show(c, "/wirerank/shards", NULL, show_shards, msg);
}

static int cmd_config(const struct context *c, struct wr_errmsg *msg)
{
	json_t *body;
	int err = link_ask(c->link, "/wirerank/config", NULL, &body, msg);
	if (err)
		return err;
	json_t *config = answer_config(body);
	if (c->json)
		err = print_json(config, msg);
	else
		show_config(config);
	json_decref(config);
	json_decref(body);
	return err;
}

/* {"all": sum, "workers": [each]}, or the one worker asked for in "workers". */
static int gather_stats(const struct context *c, json_t **out, struct wr_errmsg *msg)
{
	json_t *one, *stats = json_object(), *workers = json_array();
	json_object_set_new(stats, "workers", workers);
	int err = link_ask(c->link, "/wirerank/stats", c->worker ? c->worker : "all", &one, msg);
	if (!err && c->worker && strcmp(c->worker, "all")) {
		json_array_append_new(workers, one);
	} else if (!err) {
		uint64_t n = number_at(one, "workers");
		json_object_set_new(stats, "all", one);
		for (uint64_t i = 0; i < n && !err; i++) {
			char worker[24];
			snprintf(worker, sizeof(worker), "%ju", (uintmax_t)i);
			err = link_ask(c->link, "/wirerank/stats", worker, &one, msg);
			if (!err)
				json_array_append_new(workers, one);
		}
	}
	if (err) {
		json_decref(stats);
		return err;
	}
	*out = stats;
	return WR_OK;
}

static int watch_stats(const struct context *c, struct wr_errmsg *msg)
{
	json_t *before = NULL, *now;
	uint64_t before_ns = 0;
	int err = WR_OK;
	wr_stop_catch_signals();
	for (unsigned int line = 0; !wr_stop_requested(); line++) {
		err = link_ask(
			c->link, "/wirerank/stats", c->worker ? c->worker : "all", &now, msg);
		if (err)
			break;
		uint64_t now_ns = wr_clock_ns();
		if (c->json)
			json_dumpf(now, stdout, JSON_COMPACT), putchar('\n'), fflush(stdout);
		else if (before)
			show_rates(before, now, (double)(now_ns - before_ns) / 1e9, line - 1);
		json_decref(before);
		before = now;
		before_ns = now_ns;
		sleep(c->watch_s); /* a signal ends it early */
	}
	json_decref(before);
	return err;
}

static int cmd_stats(const struct context *c, struct wr_errmsg *msg)
{
	json_t *stats;
	if (c->watch_s)
		return watch_stats(c, msg);
	int err = gather_stats(c, &stats, msg);
	if (err)
		return err;
	if (c->json)
		err = print_json(stats, msg);
	else
		show_stats(stats, c->zeros);
	json_decref(stats);
	return err;
}

static int cmd_raw(const struct context *c, struct wr_errmsg *msg)
{
	json_t *body;
	int err = link_ask_raw(c->link, c->argument, NULL, &body, msg);
	if (err)
		return err;
	err = json_is_null(body)
		      ? wr_fail(msg, WR_ENOENT, "%s: null: unknown to the process, or it failed",
				c->argument)
		      : print_json(body, msg);
	json_decref(body);
	return err;
}

static const struct command {
	const char *name, *argument, *help;
	int (*run)(const struct context *c, struct wr_errmsg *msg);
} commands[] = {
	{"status", NULL, "state, bundle, sessions, peers, sums of answers and drops", cmd_status},
	{"stats", NULL, "every counter of every worker: how frames ended, stages", cmd_stats},
	{"latency", NULL, "quantiles of the server's time and of every stage", cmd_latency},
	{"bundle", NULL, "the bundle that is served", cmd_bundle},
	{"shards", NULL, "the shard table: its epoch, every worker's UDP port and shards",
		cmd_shards},
	{"config", NULL, "every configuration key, its value and where it came from", cmd_config},
	{"raw", "PATH", "any telemetry command, such as /ethdev/list or /wirerank/stats,all,0",
		cmd_raw},
};

/* ---- command line ---- */
static void make_usage(char *out, size_t size)
{
	size_t n = (size_t)snprintf(out, size, "usage: wrctl [options] COMMAND\n\nCommands:\n");
	for (unsigned int i = 0; i < WR_ARRAY_LEN(commands) && n < size; i++) {
		const struct command *c = &commands[i];
		char left[32];
		snprintf(left, sizeof(left), "%s%s%s", c->name, c->argument ? " " : "",
			c->argument ? c->argument : "");
		n += (size_t)snprintf(out + n, size - n, "  %-28s %s\n", left, c->help);
	}
	if (n < size)
		snprintf(out + n, size - n, "\nOptions:");
}

static const struct command *find_command(
	const char *const *words, unsigned int n, struct wr_errmsg *msg)
{
	if (n == 0) {
		(void)wr_fail(msg, WR_EINVAL, "no command; see --help");
		return NULL;
	}
	for (unsigned int i = 0; i < WR_ARRAY_LEN(commands); i++) {
		const struct command *c = &commands[i];
		if (strcmp(c->name, words[0]))
			continue;
		if (n == (c->argument ? 2 : 1))
			return c;
		(void)wr_fail(msg, WR_EINVAL,
			c->argument ? "%s needs one word (%s)" : "%s takes no word", c->name,
			c->argument);
		return NULL;
	}
	(void)wr_fail(msg, WR_EINVAL, "'%s': no such command; see --help", words[0]);
	return NULL;
}

static int parse_seconds(
	const char *option, const char *text, unsigned int *out, struct wr_errmsg *msg)
{
	uint64_t v;
	if (wr_parse_u64(text, 1, 3600, &v))
		return wr_fail(msg, WR_EINVAL,
			"--%s=%s: must be a number of seconds from 1 to 3600", option, text);
	*out = (unsigned int)v;
	return WR_OK;
}

static int check_worker(const char *worker, struct wr_errmsg *msg)
{
	uint64_t v;
	if (worker && strcmp(worker, "all") && wr_parse_u64(worker, 0, 999, &v))
		return wr_fail(msg, WR_EINVAL, "--worker=%s: must be all or a number", worker);
	return WR_OK;
}

static int fail(const struct wr_errmsg *msg, int code)
{
	fprintf(stderr, "wrctl: %s\n", msg->text);
	return code;
}

int main(int argc, char **argv)
{
	const char *name = "wirerank", *socket = NULL, *json = NULL, *zeros = NULL, *worker = NULL;
	const char *watch = NULL, *timeout = "5", *words[2] = {NULL, NULL};
	const struct wr_opt opts[] = {
		{"name", "NAME", "the daemon's [server] name", &name},
		{"socket", "PATH", "its telemetry socket, instead of --name", &socket},
		{"json", NULL, "JSON instead of a table", &json},
		{"worker", "N", "stats, latency: one worker, or all", &worker},
		{"all", NULL, "stats, latency: show zeros too", &zeros},
		{"watch", "SEC", "stats: rates every SEC seconds until interrupted", &watch},
		{"timeout", "SEC", "longest wait for the daemon", &timeout},
	};
	char usage[2048], path[512];
	unsigned int n_words, timeout_s;
	struct context c = {0};
	struct wr_errmsg msg;
	make_usage(usage, sizeof(usage));
	int err = wr_opt_parse(argc, argv, usage, opts, WR_ARRAY_LEN(opts), words,
		WR_ARRAY_LEN(words), &n_words, &msg);
	if (err == WR_EINTR)
		return 0;
	if (!err)
		err = parse_seconds("timeout", timeout, &timeout_s, &msg);
	if (!err && watch)
		err = parse_seconds("watch", watch, &c.watch_s, &msg);
	if (!err)
		err = check_worker(worker, &msg);
	const struct command *command = err ? NULL : find_command(words, n_words, &msg);
	if (!command)
		return fail(&msg, 2);
	c.worker = worker;
	c.argument = words[1];
	c.json = json != NULL;
	c.zeros = zeros != NULL;
	if (socket)
		snprintf(path, sizeof(path), "%s", socket);
	else
		link_path(name, path, sizeof(path));
	err = link_open(&c.link, path, socket ? NULL : name, timeout_s, &msg);
	if (!err)
		err = command->run(&c, &msg);
	link_close(c.link);
	return err ? fail(&msg, 1) : 0;
}
