/* SPDX-License-Identifier: BSD-3-Clause */
/* wrload run: one rate, closed loop, or a ramp to the highest rate whose p99 stays under a bound.
 */
#include "run_print.h"
#include "workload.h"
#include "wrload.h"

#include <stdlib.h>
#include <string.h>

static struct {
	const char *rate, *arrivals, *seconds, *max, *timeout_ms, *late_us, *max_lag_us, *warmup,
		*outage;
	const char *lists, *verify_share, *verify_users, *wrong_queue, *unproven, *populate;
	const char *ramp, *ramp_step, *p99_us, *svg;
} o = {.rate = "10000",
	.arrivals = "poisson",
	.seconds = "5",
	.timeout_ms = "1000",
	.late_us = "50000",
	.max_lag_us = "500",
	.warmup = "0",
	.outage = "0",
	.verify_share = "0.05",
	.verify_users = "256",
	.ramp_step = "1.25",
	.p99_us = "1000"};

static const struct wr_opt opts[] = {
	{"rate", "N", "requests a second (open loop)", &o.rate},
	{"arrivals", "KIND", "poisson or constant", &o.arrivals},
	{"seconds", "S", "how long (of every step of a ramp)", &o.seconds},
	{"warmup", "S", "run this long before, not counted", &o.warmup},
	{"max", "N", "closed loop: N requests in flight, as fast as answers come", &o.max},
	{"timeout-ms", "MS", "without an answer for so long a request is lost", &o.timeout_ms},
	{"outage", "S", "memif: when the server goes, wait so long for it to come back (0: end)",
		&o.outage},
	{"late-us", "US", "an answer that took longer is late", &o.late_us},
	{"max-lag-us", "US", "schedule lag (p99) from which this side is called the bottleneck",
		&o.max_lag_us},
	{"populate", NULL, "give every user 99 clicks before the run", &o.populate},
	{"lists", "FILE", "expected lists for watched users (wrtrain eval --int8 --lists)",
		&o.lists},
	{"verify-share", "SHARE", "of requests that go to watched users", &o.verify_share},
	{"verify-users", "N", "watched users at a time", &o.verify_users},
	{"wrong-queue", "SHARE", "of requests sent to another queue than the owner's",
		&o.wrong_queue},
	{"unproven", NULL, "do not carry the cookie: answers may not outgrow requests then",
		&o.unproven},
	{"ramp", NULL, "raise the rate from --rate until the p99 bound breaks", &o.ramp},
	{"ramp-step", "FACTOR", "from one step to the next", &o.ramp_step},
	{"p99-us", "US", "the ramp's bound", &o.p99_us},
	{"svg", "FILE", "latency against load of the ramp", &o.svg},
};

static int run_options(struct wr_load_run *c, struct wr_errmsg *msg)
{
	uint64_t v = 0, users = 0;
	double timeout_ms = 0;
	int err = workload_parse(&c->workload, msg);

	if (!err && o.wrong_queue)
		err = real("wrong-queue", o.wrong_queue, 0, 1, &c->workload.wrong_queue, msg);
	c->workload.proof = !o.unproven;
	if (!err)
		err = arrivals_parse(o.arrivals, &c->arrivals, msg);
	if (!err)
		err = real("rate", o.rate, 1, 1e9, &c->rate, msg);
	if (!err)
		err = real("seconds", o.seconds, 0.01, 86400, &c->seconds, msg);
	if (!err && o.max)
		err = wr_opt_u64("max", o.max, 1, 65536, &v, msg);
	c->window = (unsigned int)v;
	if (!err)
		err = real("timeout-ms", o.timeout_ms, 1, 60000, &timeout_ms, msg);
	c->timeout_s = timeout_ms / 1000;
	if (!err)
		err = real("outage", o.outage, 0, 3600, &c->outage_s, msg);
	if (!err)
		err = wr_opt_u64("late-us", o.late_us, 1, 60000000, &c->late_us, msg);
	if (!err)
		err = wr_opt_u64("max-lag-us", o.max_lag_us, 1, 60000000, &c->max_lag_us, msg);
	if (!err)
		err = real("verify-share", o.verify_share, 0, 1, &c->verify_share, msg);
	if (!err)
		err = wr_opt_u64("verify-users", o.verify_users, 1, 65535, &users, msg);
	c->verify_users = (unsigned int)users;
	return err;
}

static void show(const struct wr_load_result *r)
{
	if (!quiet())
		print_result(r);
	else if (r->bottleneck[0])
		fprintf(stderr, "wrload: %s\n", r->bottleneck);
}

/* The lists must be of the bundle that is being served. */
static int check_bundle(
	const struct wr_load *l, const struct wr_lists *lists, struct wr_errmsg *msg)
{
	const char *served = wr_load_server(l)->bundle;

	if (!lists || !lists->bundle[0] || strcmp(lists->bundle, served) == 0)
		return 0;
	return wr_fail(msg, WR_EINVAL,
		"%s is of bundle %s, the server serves %s: write it again with wrtrain eval --int8 "
		"--lists",
		o.lists, lists->bundle, served);
}

static int ramp(struct wr_load *l, struct wr_load_run *c, bool *wrong, struct wr_errmsg *msg)
{
	struct ramp_config rc = {.l = l, .run = c, .svg = o.svg, .show = !quiet()};
	json_t *result = NULL;
	int err = real("ramp-step", o.ramp_step, 1.01, 10, &rc.step, msg);

	if (!err)
		err = real("p99-us", o.p99_us, 1, 1e9, &rc.p99_us, msg);
	if (!err)
		err = ramp_run(&rc, &result, wrong, msg);
	if (!err && result)
		json_object_set_new(result, "workload", json_string(workload_name()));
	return err ? err : write_json(result, msg);
}

static int once(struct wr_load *l, const struct wr_load_run *c, bool *wrong, struct wr_errmsg *msg)
{
	struct wr_load_result *r = calloc(1, sizeof(*r));

	if (!r)
		return wr_fail(msg, WR_ENOMEM, "not enough memory");
	int err = wr_load_run(l, c, r, msg);
	if (!err || err == WR_EINTR ||
		err == WR_EAGAIN) { /* stopped, or the server has gone: what was measured counts */
		json_t *j = wr_load_result_json(r);
		struct wr_errmsg json_msg;
		show(r);
		*wrong = r->wrong > 0;
		if (j) {
			json_object_set_new(j, "workload", json_string(workload_name()));
			json_object_set_new(j, "datagram", json_integer(c->workload.datagram));
			json_object_set_new(j, "window", json_integer(c->window));
		}
		int json_err = write_json(j, &json_msg);
		if (!err && json_err) {
			err = json_err;
			*msg = json_msg;
		}
	}
	free(r);
	return err;
}

static int warm_up(struct wr_load *l, const struct wr_load_run *c, struct wr_errmsg *msg)
{
	struct wr_load_run w = *c;
	struct wr_load_result *r = calloc(1, sizeof(*r));

	if (!r)
		return wr_fail(msg, WR_ENOMEM, "not enough memory");
	w.progress = false;
	int err = real("warmup", o.warmup, 0, 3600, &w.seconds, msg);
	if (!err && w.seconds > 0)
		err = wr_load_run(l, &w, r, msg);
	free(r);
	return err;
}

int cmd_run(int argc, char **argv)
{
	struct wr_load_run c = {0};
	struct wr_lists *lists = NULL;
	struct wr_load *l = NULL;
	struct wr_errmsg msg;
	bool wrong = false;
	int code = parse_options(argc, argv,
		"usage: wrload run --memif=SOCKET [--workload=NAME] [--rate=N | --max=N | --ramp] "
		"[--OPTION=VALUE …]",
		opts, WR_ARRAY_LEN(opts), OPT_WORKLOAD | OPT_PORT);

	if (code >= 0)
		return code;
	int err = run_options(&c, &msg);
	if (!err && o.svg && !o.ramp)
		err = wr_fail(&msg, WR_EINVAL, "--svg draws a ramp: give --ramp, too");
	if (!err && o.lists)
		err = wr_lists_read(&lists, o.lists, &msg);
	c.lists = lists;
	c.populated = o.populate != NULL;
	c.progress = !quiet() && !o.ramp;
	if (!err)
		err = open_load(&l, true, &msg);
	if (!err)
		err = check_bundle(l, lists, &msg);
	if (!err && c.populated)
		err = wr_load_populate(l, &c.workload, !quiet(), &msg);
	if (!err)
		err = warm_up(l, &c, &msg);
	if (!err)
		err = o.ramp ? ramp(l, &c, &wrong, &msg) : once(l, &c, &wrong, &msg);
	wr_lists_free(lists);
	code = close_load(l, err, &msg);
	return code == EXIT_OK && wrong ? EXIT_WRONG : code;
}
