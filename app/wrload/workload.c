/* SPDX-License-Identifier: BSD-3-Clause */
/* The options that say what a workload's requests are, for every command that makes some. */
#include "workload.h"

#include "wrload.h"

#include <string.h>

static struct {
	const char *workload, *mix, *size, *k, *users, *zipf, *exclude, *utterance, *seed,
		*malformed;
} o = {.workload = "warm", .users = "200000", .seed = "1"};

const struct wr_opt workload_opts[] = {
	{"workload", "NAME", "echo, warm, cold, cold-99, event, mixed, utterance, hello",
		&o.workload},
	{"mix", "OP:N,…", "instead: operations by weight, such as recommend:80,event:15,hello:1",
		&o.mix},
	{"size", "BYTES", "datagram of a request (the workload's, else)", &o.size},
	{"k", "N", "items to ask for (10)", &o.k},
	{"users", "N", "users that requests are drawn from", &o.users},
	{"zipf", "S", "users by Zipf's law with this exponent (uniform, else)", &o.zipf},
	{"exclude", "N", "random exclusions in every RECOMMEND", &o.exclude},
	{"utterance", "TEXT", "what the users of --workload=utterance say", &o.utterance},
	{"seed", "N", "same seed, same schedule and requests", &o.seed},
	{"malformed", "SHARE", "of frames that are malformed", &o.malformed},
};
const unsigned int workload_opts_n = WR_ARRAY_LEN(workload_opts);

const char *workload_name(void)
{
	return o.mix ? o.mix : o.workload;
}

int workload_parse(struct wr_load_workload *w, struct wr_errmsg *msg)
{
	uint64_t v = 0;
	int err = 0;

	if (wr_load_workload(w, o.workload) != 0)
		return wr_fail(msg, WR_EINVAL,
			"--workload=%s: there are echo, warm, cold, cold-99, event, mixed, "
			"utterance, hello",
			o.workload);
	if (o.utterance)
		w->utterance = o.utterance;
	if (o.mix)
		err = wr_load_parse_mix(w, o.mix, msg);
	if (!err && o.size) {
		err = wr_opt_u64("size", o.size, WR_WIRE_MIN_UNPROVEN, WR_WIRE_MAX_BYTES, &v, msg);
		w->datagram = (unsigned int)v;
	}
	if (!err && o.k) {
		err = wr_opt_u64("k", o.k, 0, WR_WIRE_MAX_K, &v, msg);
		w->k = (unsigned int)v;
	}
	if (!err) {
		err = wr_opt_u64("users", o.users, 1, UINT32_MAX - 1, &v, msg);
		w->n_users = (uint32_t)v;
	}
	if (!err && o.exclude) {
		err = wr_opt_u64("exclude", o.exclude, 0, WR_WIRE_MAX_EXCLUDE, &v, msg);
		w->n_exclude = (unsigned int)v;
	}
	if (!err)
		err = wr_opt_u64("seed", o.seed, 0, UINT64_MAX, &w->seed, msg);
	if (!err && o.zipf)
		err = real("zipf", o.zipf, 0.01, 10, &w->zipf, msg);
	if (!err && o.malformed)
		err = real("malformed", o.malformed, 0, 1, &w->malformed, msg);
	return err;
}

int arrivals_parse(const char *text, enum wr_arrivals *out, struct wr_errmsg *msg)
{
	if (!strcmp(text, "constant"))
		*out = WR_ARRIVALS_CONSTANT;
	else if (!strcmp(text, "poisson"))
		*out = WR_ARRIVALS_POISSON;
	else
		return wr_fail(msg, WR_EINVAL, "--arrivals=%s: poisson or constant", text);
	return 0;
}
