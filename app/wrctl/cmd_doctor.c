/* SPDX-License-Identifier: BSD-3-Clause */
/* wrctl doctor: gathers, lets every check speak, prints. Exit status 0 when nothing is bad, else 1.
 */
#include "doctor.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_US 500000

static const char *const verdict_names[VERDICT_N] = {"ok", "hint", "bad"};

/* ---- findings ---- */
void doctor_value(struct doctor *d, const char *check, const char *fmt, ...)
{
	char value[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	/* Names of devices, programs and files come from outside. */
	json_t *text = json_string(value);
	json_array_append_new(d->checks,
		json_pack("{s:s, s:s, s:o}", "check", check, "verdict", verdict_names[VERDICT_OK],
			"value", text ? text : json_string("not text")));
	d->n[VERDICT_OK]++;
}

static enum verdict verdict_of(const json_t *finding)
{
	const char *name = json_string_value(json_object_get(finding, "verdict"));
	unsigned int v = 0;
	while (v < VERDICT_BAD && strcmp(name, verdict_names[v]))
		v++;
	return (enum verdict)v;
}

static void worsen(struct doctor *d, enum verdict v, const char *fmt, va_list ap)
{
	json_t *finding = json_array_get(d->checks, json_array_size(d->checks) - 1);
	enum verdict was = verdict_of(finding);
	const char *so_far = json_string_value(json_object_get(finding, "do"));
	char change[1024];
	int n = snprintf(change, sizeof(change), "%s%s", so_far ? so_far : "", so_far ? "; " : "");
	vsnprintf(change + n, sizeof(change) - (size_t)n, fmt, ap);
	json_object_set_new(finding, "do", json_string(change));
	if (v <= was)
		return;
	d->n[was]--;
	d->n[v]++;
	json_object_set_new(finding, "verdict", json_string(verdict_names[v]));
}

void doctor_hint(struct doctor *d, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	worsen(d, VERDICT_HINT, fmt, ap);
	va_end(ap);
}

void doctor_bad(struct doctor *d, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	worsen(d, VERDICT_BAD, fmt, ap);
	va_end(ap);
}

/* ---- gathering ---- */
/* The daemon's own values, key by key; a key that this build does not know is left out. */
static int config_of_daemon(struct doctor *d, struct link *l, struct wr_errmsg *msg)
{
	json_t *body, *keys, *entry;
	const char *section, *key;
	int err = link_ask(l, "/wirerank/config", NULL, &body, msg);
	if (err)
		return err;
	json_t *config = answer_config(body);
	json_object_foreach(config, section, keys)
	{
		json_object_foreach(keys, key, entry)
		{
			char set[WR_CONFIG_MAX_VALUE + 128];
			struct wr_errmsg ignored;
			const char *value = json_string_value(json_object_get(entry, "value"));
			snprintf(set, sizeof(set), "%s.%s=%s", section, key, value ? value : "");
			if (wr_config_set(&d->config, set, &ignored))
				continue;
		}
	}
	d->has_config = true;
	json_decref(config);
	json_decref(body);
	return WR_OK;
}

static int stats_of(struct link *l, json_t **all, json_t **workers, struct wr_errmsg *msg)
{
	int err = link_ask(l, "/wirerank/stats", "all", all, msg);
	uint64_t n = err ? 0 : number_at(*all, "workers");
	*workers = json_array();
	for (uint64_t i = 0; i < n && !err; i++) {
		char worker[24];
		json_t *one;
		snprintf(worker, sizeof(worker), "%ju", (uintmax_t)i);
		err = link_ask(l, "/wirerank/stats", worker, &one, msg);
		if (!err)
			json_array_append_new(*workers, one);
	}
	return err;
}

static int ask_daemon(struct doctor *d, struct link *l, struct wr_errmsg *msg)
{
	struct wr_errmsg closed;
	d->pid = link_pid(l);
	int err = link_ask(l, "/wirerank/status", NULL, &d->status, msg);
	if (!err)
		err = config_of_daemon(d, l, msg);
	if (!err)
		err = link_ask(l, "/wirerank/machine", NULL, &d->machine, msg);
	d->asked_unix_ms = wr_clock_unix_ms();
	/* Closed while it starts and stops. */
	if (!err && link_ask(l, "/wirerank/port", NULL, &d->port, &closed))
		d->port = NULL;
	return err;
}

static void workers_of_config(struct doctor *d)
{
	char cpus[WR_CONFIG_MAX_VALUE];
	if (!d->has_config)
		return;
	wr_config_value(&d->config, WR_CONFIG_server_lcores, cpus, sizeof(cpus));
	cpu_set_parse(cpus, &d->workers);
}

/* Two looks at the machine and at the daemon's counters. */
static int look_twice(struct doctor *d, struct link *l, struct wr_errmsg *msg)
{
	int err = WR_OK;
	look_take(d->sysroot, &d->before);
	if (l)
		err = stats_of(l, &d->stats_before, &d->worker_before, msg);
	if (!err && !d->sysroot[0])
		(void)usleep(LOOK_US);
	if (!err && l)
		err = stats_of(l, &d->stats, &d->worker, msg);
	if (!err && l)
		err = link_ask(l, "/wirerank/latency", "all", &d->latency, msg);
	look_take(d->sysroot, &d->after);
	d->seconds = (double)(d->after.at_ns - d->before.at_ns) / 1e9;
	return err;
}

/* ---- showing ---- */
static void show(const struct doctor *d)
{
	size_t i;
	json_t *finding;
	bool tty = isatty(STDOUT_FILENO);
	static const char *const colours[VERDICT_N] = {"\033[32m", "\033[33m", "\033[31m"};
	json_array_foreach(d->checks, i, finding)
	{
		enum verdict v = verdict_of(finding);
		const char *change = json_string_value(json_object_get(finding, "do"));
		printf("%s%-4s%s  %-24s %s\n", tty ? colours[v] : "", verdict_names[v],
			tty ? "\033[0m" : "", json_string_value(json_object_get(finding, "check")),
			json_string_value(json_object_get(finding, "value")));
		if (change)
			printf("      %-24s → %s\n", "", change);
	}
	printf("%u ok, %u hints, %u bad\n", d->n[VERDICT_OK], d->n[VERDICT_HINT],
		d->n[VERDICT_BAD]);
}

static int show_json(const struct doctor *d, struct wr_errmsg *msg)
{
	enum verdict worst = d->n[VERDICT_BAD]    ? VERDICT_BAD
			     : d->n[VERDICT_HINT] ? VERDICT_HINT
						  : VERDICT_OK;
	json_t *root = json_pack("{s:s, s:i, s:i, s:i, s:O}", "verdict", verdict_names[worst], "ok",
		(int)d->n[VERDICT_OK], "hints", (int)d->n[VERDICT_HINT], "bad",
		(int)d->n[VERDICT_BAD], "checks", d->checks);
	int err = wr_json_write(root, "-", msg);
	json_decref(root);
	return err;
}

static void free_doctor(struct doctor *d)
{
	json_t *all[] = {d->checks, d->status, d->port, d->machine, d->latency, d->stats,
		d->stats_before, d->worker, d->worker_before};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(all); i++)
		json_decref(all[i]);
	look_free(&d->before);
	look_free(&d->after);
	free(d);
}

int check_doctor(struct context *c, struct wr_errmsg *msg)
{
	if (c->config && !c->machine)
		return wr_fail(msg, WR_EINVAL,
			"--config goes with --machine: a running daemon "
			"tells its own");
	return WR_OK;
}

static int gather(struct doctor *d, const struct context *c, struct wr_errmsg *msg)
{
	struct link *l = c->machine ? NULL : c->link;
	int err = WR_OK;
	wr_config_init(&d->config);
	if (c->config) {
		err = wr_config_read(&d->config, c->config, msg);
		d->has_config = true;
	} else if (l) {
		err = ask_daemon(d, l, msg);
	}
	if (!err)
		workers_of_config(d);
	return err ? err : look_twice(d, l, msg);
}

int cmd_doctor(const struct context *c, struct wr_errmsg *msg)
{
	struct doctor *d = calloc(1, sizeof(*d));
	if (!d)
		return wr_fail(msg, WR_ENOMEM, "out of memory");
	d->sysroot = c->sysroot;
	d->checks = json_array();
	int err = gather(d, c, msg);
	if (!err) {
		doctor_machine(d);
		if (!c->machine && !c->link) {
			doctor_value(d, "daemon", "%s", c->no_link.text);
			doctor_bad(d, "start it, or give --machine to look at the machine alone");
		} else if (!d->workers.n) {
			doctor_value(d, "workers.cpus", "unknown");
			doctor_hint(d, "--config=FILE tells which CPUs the workers will take");
		}
		doctor_workers(d);
		if (d->status) {
			doctor_network(d);
			doctor_daemon(d);
			doctor_traffic(d);
		}
		if (c->json)
			err = show_json(d, msg);
		else
			show(d);
	}
	int status = d->n[VERDICT_BAD] ? 1 : 0;
	free_doctor(d);
	return err ? err : status;
}
