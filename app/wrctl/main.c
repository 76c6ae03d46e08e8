/* SPDX-License-Identifier: BSD-3-Clause */
/* wrctl: looks into a running wirerankd through its telemetry socket. Links no DPDK. Exit: 0, 1 =
 * failed, 2 = usage. */
#include "wrctl.h"

#include <stdlib.h>
#include <string.h>

static int cmd_completion(const struct context *c, struct wr_errmsg *msg);

static const struct command {
	const char *name, *argument, *help;
	enum daemon_need need;
	int (*run)(const struct context *c, struct wr_errmsg *msg);
	/* Option values, before anything is asked; NULL = none of its own. */
	int (*check)(struct context *c, struct wr_errmsg *msg);
} commands[] = {
	{"status", NULL, "state, bundle, sessions, peers, sums of answers and drops", NEEDS_DAEMON,
		cmd_status, NULL},
	{"stats", NULL, "every counter of every worker: how frames ended, stages", NEEDS_DAEMON,
		cmd_stats, check_stats},
	{"latency", NULL, "quantiles of the server's time and of every stage", NEEDS_DAEMON,
		cmd_latency, check_stats},
	{"bundle", NULL, "the bundle that is served", NEEDS_DAEMON, cmd_bundle, NULL},
	{"shards", NULL, "the shard table: its epoch, every worker's UDP port and shards",
		NEEDS_DAEMON, cmd_shards, NULL},
	{"config", NULL, "every configuration key, its value and where it came from", NEEDS_DAEMON,
		cmd_config, NULL},
	{"doctor", NULL, "what this machine and the daemon lack for full speed, and what to change",
		MAY_LACK_DAEMON, cmd_doctor, check_doctor},
	{"capture", "[start|stop|status]",
		"packets of the running daemon into a pcapng file; alone: until its end",
		NEEDS_DAEMON, cmd_capture, check_capture},
	{"ask", NULL, "asks a server for recommendations through libwirerank, over UDP",
		MAY_LACK_DAEMON, cmd_ask, check_ask},
	{"top", NULL, "live view: rates, latency, workers, stages; q quits, p pauses", NO_DAEMON,
		cmd_top, check_top},
	{"plan", NULL,
		"cores, memory, network and servers for a load, a model and a catalogue; no daemon",
		NO_DAEMON, cmd_plan, check_plan},
	{"completion", NULL, "a completion script for bash: source <(wrctl completion)", NO_DAEMON,
		cmd_completion, NULL},
	{"raw", "PATH", "any telemetry command, such as /ethdev/list or /wirerank/stats,all,0",
		NEEDS_DAEMON, cmd_raw, NULL},
};

/* ---- command line ---- */
/* Words of the tables, so that help and completion cannot part. */
static int cmd_completion(const struct context *c, struct wr_errmsg *msg)
{
	printf("_wrctl()\n{\n\tlocal word=${COMP_WORDS[COMP_CWORD]} "
	       "before=${COMP_WORDS[COMP_CWORD-1]}\n"
	       "\tcase $before in\n"
	       "\t\tcapture) COMPREPLY=($(compgen -W 'start stop status' -- \"$word\")); return "
	       ";;\n"
	       "\tesac\n\tCOMPREPLY=($(compgen -W '");
	for (unsigned int i = 0; i < WR_ARRAY_LEN(commands); i++)
		printf("%s ", commands[i].name);
	for (unsigned int i = 0; i < c->n_opts; i++)
		printf("--%s%s ", c->opts[i].name, c->opts[i].arg ? "=" : "");
	printf("--help' -- \"$word\"))\n\t[[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace\n}\n"
	       "complete -o default -F _wrctl wrctl\n");
	return 0;
}

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
		/* A word in brackets may be left out. */
		bool optional = c->argument && c->argument[0] == '[';
		if (n == (c->argument ? 2 : 1) || (optional && n == 1))
			return c;
		(void)wr_fail(msg, WR_EINVAL,
			c->argument ? "%s needs one word (%s)" : "%s takes no word", c->name,
			c->argument);
		return NULL;
	}
	(void)wr_fail(msg, WR_EINVAL, "'%s': no such command; see --help", words[0]);
	return NULL;
}

int option_seconds(const char *option, const char *text, unsigned int *out, struct wr_errmsg *msg)
{
	uint64_t v;
	if (wr_parse_u64(text, 1, 3600, &v))
		return wr_fail(msg, WR_EINVAL,
			"--%s=%s: must be a number of seconds from 1 to 3600", option, text);
	*out = (unsigned int)v;
	return WR_OK;
}

static int fail(const struct wr_errmsg *msg, int code)
{
	fprintf(stderr, "wrctl: %s\n", msg->text);
	return code;
}

/* Runs a command with a connection, where it needs one; its exit status. */
static int run_command(const struct command *command, struct context *c, const char *socket,
	const char *name, struct wr_errmsg *msg)
{
	if (socket)
		snprintf(c->path, sizeof(c->path), "%s", socket);
	else
		link_path(name, c->path, sizeof(c->path));
	c->name = socket ? NULL : name;
	int err = WR_OK;
	if (command->need != NO_DAEMON)
		err = link_open(&c->link, c->path, c->name, c->timeout_s, msg);
	if (err && command->need == MAY_LACK_DAEMON) {
		c->no_link = *msg;
		err = WR_OK;
	}
	if (!err)
		err = command->run(c, msg);
	link_close(c->link);
	return err < 0 ? fail(msg, 1) : err;
}

int main(int argc, char **argv)
{
	const char *name = "wirerank", *socket = NULL, *json = NULL, *zeros = NULL, *once = NULL;
	const char *timeout = "5", *words[2] = {NULL, NULL};
	struct context c = {.sysroot = ""};
	const struct wr_opt opts[] = {
		{"name", "NAME", "the daemon's [server] name", &name},
		{"socket", "PATH", "its telemetry socket, instead of --name", &socket},
		{"json", NULL, "JSON instead of a table", &json},
		{"worker", "N", "stats, latency: one worker, or all", &c.worker},
		{"all", NULL, "stats, latency: show zeros too", &zeros},
		{"watch", "SEC", "stats: rates every SEC seconds until interrupted", &c.watch},
		{"interval", "SEC", "top: seconds between two looks (1)", &c.interval},
		{"once", NULL, "top: one interval, then end", &once},
		{"output", "FILE",
			"capture: a name in control.capture_folder, or a path to take it to",
			&c.capture.output},
		{"packets", "N", "capture: at most so many (as many as --bytes holds)",
			&c.capture.packets},
		{"seconds", "S", "capture: at most so long (10)", &c.capture.seconds},
		{"snaplen", "B", "capture: bytes of each frame that are kept (2048)",
			&c.capture.snaplen},
		{"bytes", "B", "capture: largest file (control.capture_limit)", &c.capture.bytes},
		{"filter", "DIR", "capture: in, out or both (both)", &c.capture.filter},
		{"timeout", "SEC", "longest wait for the daemon", &timeout},
		{"machine", NULL, "doctor: the machine alone; no daemon need run", &c.machine},
		{"config", "FILE", "doctor --machine: for a daemon with this configuration",
			&c.config},
		{"sysroot", "DIR", "doctor: read DIR/proc and DIR/sys", &c.sysroot},
		{"server", "HOST[:PORT]", "ask: the server; else the daemon that runs here",
			&c.ask.server},
		{"user", "NAME", "ask, capture: a number, or a name that is hashed", &c.ask.user},
		{"click", "ID,…", "ask: new clicks, oldest first", &c.ask.click},
		{"say", "TEXT", "ask: an utterance", &c.ask.say},
		{"k", "N", "ask: items wanted, 10 if not given, 0 = echo", &c.ask.k},
		{"history", "ID,…", "ask: all that the user clicked before, told when wanted",
			&c.ask.history},
		{"exclude", "ID,…", "ask: items that are not wanted", &c.ask.exclude},
		{"include-seen", NULL, "ask: items seen before may come back", &c.ask.include_seen},
		{"forget", NULL, "ask: erase the user first", &c.ask.forget},
		{"bundle", "FILE", "ask: titles from this bundle; plan: the model", &c.ask.bundle},
		{"items", "FILE", "ask: titles from this items.tsv", &c.ask.items},
		{"load", "N", "plan: requests a second; k, M, G may follow a number (1M)",
			&c.plan.load},
		{"mix", "KIND:N,…", "plan: weights of warm, cold, event, echo (warm)", &c.plan.mix},
		{"users", "N", "plan: resident users (1M)", &c.plan.users},
		{"model", "KEY:N,…",
			"plan: items, d, blocks, heads, kv, W, ffn, time, age-keys; else the "
			"reference "
			"student",
			&c.plan.model},
		{"bench", "FILE", "plan: rates from a bench's JSON; else those of docs/capacity.md",
			&c.plan.bench},
		{"cores", "N", "plan: worker cores of a server (10)", &c.plan.cores},
		{"memory", "BYTES", "plan: hugepages of a server, such as 64G (no limit)",
			&c.plan.memory},
		{"nic", "BITS", "plan: a server's link, bits a second (100G)", &c.plan.nic},
		{"headroom", "SHARE", "plan: share of a core that stays idle (0.3)",
			&c.plan.headroom},
		{"spare", "N", "plan: servers that may fail (1)", &c.plan.spare},
	};
	char usage[8192];
	unsigned int n_words;
	struct wr_errmsg msg;
	make_usage(usage, sizeof(usage));
	int err = wr_opt_parse(argc, argv, usage, opts, WR_ARRAY_LEN(opts), words,
		WR_ARRAY_LEN(words), &n_words, &msg);
	if (err == WR_EINTR)
		return 0;
	if (!err)
		err = option_seconds("timeout", timeout, &c.timeout_s, &msg);
	const struct command *command = err ? NULL : find_command(words, n_words, &msg);
	if (!command)
		return fail(&msg, 2);
	c.opts = opts;
	c.n_opts = WR_ARRAY_LEN(opts);
	c.argument = words[1];
	c.json = json != NULL;
	c.zeros = zeros != NULL;
	c.once = once != NULL;
	if (command->check && command->check(&c, &msg))
		return fail(&msg, 2);
	return run_command(command, &c, socket, name, &msg);
}
