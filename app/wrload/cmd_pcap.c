/* SPDX-License-Identifier: BSD-3-Clause */
/* wrload pcap: a workload's requests as a file, for other people's generators. */
#include "load_pcap.h"
#include "workload.h"
#include "wrload.h"

#include <stdlib.h>
#include <string.h>

static struct {
	const char *output, *count, *past, *rate, *arrivals, *start, *micro, *items, *queues,
		*cookie;
} o = {.count = "10000", .rate = "10000", .arrivals = "constant", .items = "1000", .queues = "1"};

static const struct wr_opt opts[] = {
	{"output", "FILE", "the file to write, - = stdout", &o.output},
	{"count", "N", "frames", &o.count},
	{"populate", NULL, "before them 99 clicks of every user, in 4 messages each", &o.past},
	{"rate", "N", "frames a second of the time stamps", &o.rate},
	{"arrivals", "KIND", "constant or poisson", &o.arrivals},
	{"start", "UNIX_MS", "time of the first frame (now); same start and seed, same file",
		&o.start},
	{"micro", NULL, "time stamps in microseconds: Pktgen reads no others", &o.micro},
	{"items", "N", "the catalogue: items are 1 … N", &o.items},
	{"server-queues", "N", "the daemon's lcores: users' requests go to their owners' UDP ports",
		&o.queues},
	{"cookie", "EPOCH:MAC", "the cookie that HELLO gave to --client-ip (unproven, else)",
		&o.cookie},
};

static int parse_cookie(const char *text, struct wr_wire_cookie *c, struct wr_errmsg *msg)
{
	const char *colon = strchr(text, ':');
	char *epoch = strndup(text, colon ? (size_t)(colon - text) : strlen(text));
	uint64_t e = 0, mac = 0;
	bool ok = colon && epoch && wr_parse_u64(epoch, 0, UINT32_MAX, &e) == 0 &&
		  wr_parse_u64(colon + 1, 0, UINT64_MAX, &mac) == 0;

	free(epoch);
	if (!ok)
		return wr_fail(msg, WR_EINVAL,
			"--cookie=%s: two whole numbers such as 12:1234605616436508552", text);
	*c = (struct wr_wire_cookie){.epoch = (uint32_t)e, .mac = mac};
	return 0;
}

static int pcap_options(
	struct wr_load_pcap *c, struct wr_wire_cookie *cookie, struct wr_errmsg *msg)
{
	uint64_t items = 0, queues = 0;
	int err = workload_parse(&c->workload, msg);

	if (!err && !o.output)
		err = wr_fail(msg, WR_EINVAL, "--output=FILE is missing");
	if (!err)
		err = wr_opt_u64("count", o.count, 0, UINT32_MAX, &c->count, msg);
	if (!err)
		err = real("rate", o.rate, 1, 1e9, &c->rate, msg);
	if (!err)
		err = arrivals_parse(o.arrivals, &c->arrivals, msg);
	if (!err)
		err = wr_opt_u64("items", o.items, 1, WR_WIRE_MAX_ITEM, &items, msg);
	if (!err)
		err = wr_opt_u64("server-queues", o.queues, 1, WR_WIRE_MAX_PORTS, &queues, msg);
	c->start_ms = wr_clock_unix_ms();
	if (!err && o.start && wr_parse_i64(o.start, 0, (int64_t)1 << 50, &c->start_ms) != 0)
		err = wr_fail(msg, WR_EINVAL,
			"--start=%s: unix milliseconds, such as 1600000000000", o.start);
	if (!err && o.cookie) {
		err = parse_cookie(o.cookie, cookie, msg);
		c->cookie = cookie;
	}
	c->path = o.output;
	c->past = o.past != NULL;
	c->micro = o.micro != NULL;
	c->n_items = (uint32_t)items;
	c->n_queues = (unsigned int)queues;
	c->progress = !quiet();
	return err;
}

static json_t *result_json(const struct wr_load_pcap_result *r)
{
	json_t *kinds = json_object();

	for (unsigned int k = 0; k < WR_LOAD_KIND_N; k++)
		if (r->sent_kind[k])
			json_object_set_new(kinds, wr_load_kind_name(k),
				json_integer((json_int_t)r->sent_kind[k]));
	return json_pack("{s:I, s:I, s:I, s:f, s:o}", "frames", (json_int_t)r->frames, "bytes",
		(json_int_t)r->bytes, "past", (json_int_t)r->past, "seconds", r->seconds, "kinds",
		kinds);
}

int cmd_pcap(int argc, char **argv)
{
	struct wr_load_pcap c = {0};
	struct wr_load_pcap_result r = {0};
	struct wr_load_address address = {0};
	struct wr_wire_cookie cookie;
	struct wr_errmsg msg;
	int code = parse_options(argc, argv,
		"usage: wrload pcap --output=FILE [--workload=NAME] [--count=N] [--OPTION=VALUE …]",
		opts, WR_ARRAY_LEN(opts), OPT_WORKLOAD);

	if (code >= 0)
		return code;
	int err = pcap_options(&c, &cookie, &msg);
	if (!err)
		err = addresses(&address, &msg);
	wr_stop_catch_signals();
	if (!err)
		err = wr_load_pcap(&c, &address, &r, &msg);
	if (!err && !quiet())
		fprintf(stderr, "%s: %lu frames of %s, %.1f MB, %.3f s at %g/s\n", c.path,
			(unsigned long)r.frames, workload_name(), (double)r.bytes / 1e6, r.seconds,
			c.rate);
	if (!err)
		err = write_json(result_json(&r), &msg);
	if (err)
		fprintf(stderr, "wrload: %s\n", msg.text);
	return err ? EXIT_ERROR : EXIT_OK;
}
