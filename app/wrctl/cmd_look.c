/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands that ask and show: status, stats, latency, bundle, config, raw. */
#include "wrctl.h"

#include <string.h>
#include <unistd.h>

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

int cmd_status(const struct context *c, struct wr_errmsg *msg)
{
	return ask_and_show(c, "/wirerank/status", NULL, show_status, msg);
}

int cmd_latency(const struct context *c, struct wr_errmsg *msg)
{
	return ask_and_show(
		c, "/wirerank/latency", c->worker ? c->worker : "all", show_latency, msg);
}

int cmd_bundle(const struct context *c, struct wr_errmsg *msg)
{
	return ask_and_show(c, "/wirerank/bundle", NULL, show_bundle, msg);
}

int cmd_shards(const struct context *c, struct wr_errmsg *msg)
{
	return ask_and_show(c, "/wirerank/shards", NULL, show_shards, msg);
}

int cmd_config(const struct context *c, struct wr_errmsg *msg)
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

int cmd_stats(const struct context *c, struct wr_errmsg *msg)
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

int cmd_raw(const struct context *c, struct wr_errmsg *msg)
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

int check_stats(struct context *c, struct wr_errmsg *msg)
{
	uint64_t v;
	if (c->worker && strcmp(c->worker, "all") && wr_parse_u64(c->worker, 0, 999, &v))
		return wr_fail(msg, WR_EINVAL, "--worker=%s: must be all or a number", c->worker);
	return c->watch ? option_seconds("watch", c->watch, &c->watch_s, msg) : WR_OK;
}
