/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client library and the system calls alone against the echo thread on another core, with and
 * without UDP_SEGMENT and UDP_GRO, by turns, so that a busy moment of the machine hits all of them.
 */
#include "bench.h"
#include "echo.h"

#include <stdlib.h>
#include <string.h>

#define MAX_RUNS 99

static const struct mode {
	const char *name;
	bool library, offload;
	double limit; /* requests a second and core that the library must reach */
} modes[] = {
	{"system calls, plain", false, false, 0},
	{"library, plain", true, false, 250e3},
	{"system calls, offload", false, true, 0},
	{"library, offload", true, true, 1e6},
};
#define N_MODES WR_ARRAY_LEN(modes)

struct sample {
	double per_cpu, per_wall, cpu_share, echo_cpu, steal, per_send, per_receive, lost, p50_us;
	double of_calls; /* share of the system calls' rate of the same turn; 0 = those did not run
			  */
};

static int one_run(const struct bench_options *base, const struct mode *m, int echo_core,
	struct sample *out, struct wr_errmsg *msg)
{
	struct bench_options o = *base;
	o.progress = false;
	struct bench_result *r = calloc(1, sizeof(*r));
	struct echo *e = NULL;
	uint64_t n_answered;
	double echo_cpu = 0;
	int err = r ? echo_start(&e, m->offload, echo_core, msg)
		    : wr_fail(msg, WR_ENOMEM, "no memory for a result");
	if (!err && m->offload && !echo_offload(e))
		err = wr_fail(msg, WR_ENOTSUP, "this kernel has no UDP_SEGMENT or no UDP_GRO");
	if (!err) {
		struct bench_server *s = &o.server[0];
		s->address = *echo_address(e);
		s->port = ntohs(((struct sockaddr_in *)&s->address)->sin_port);
		snprintf(s->host, sizeof(s->host), "127.0.0.1");
		o.n_servers = 1;
		o.no_offload = !m->offload;
		err = m->library ? drive_run(&o, r, msg) : raw_run(&o, r, msg);
	}
	echo_stop(e, &echo_cpu, &n_answered);
	if (!err && (r->wrong || r->answered == 0))
		err = wr_fail(msg, WR_EFORMAT, "%s: %lu answered, %lu wrong", m->name,
			(unsigned long)r->answered, (unsigned long)r->wrong);
	if (!err)
		*out = (struct sample){
			.per_cpu = (double)r->answered / r->cpu_s,
			.per_wall = (double)r->answered / r->wall_s,
			.cpu_share = r->cpu_s / r->wall_s,
			.echo_cpu = echo_cpu / r->wall_s,
			.steal = r->steal_s,
			.per_send = (double)r->sent / (double)r->n_send_calls,
			.per_receive = (double)r->answered / (double)r->n_receive_calls,
			.lost = (double)r->lost,
			.p50_us = (double)wr_hist_quantile(&r->latency_ns, 0.5) / 1e3,
		};
	free(r);
	return err;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* {"median", "min", "max"} of the field at `offset` of n samples. */
static json_t *spread(const struct sample *s, unsigned int n, size_t offset)
{
	double v[MAX_RUNS];
	for (unsigned int i = 0; i < n; i++)
		memcpy(&v[i], (const char *)&s[i] + offset, sizeof(v[i]));
	qsort(v, n, sizeof(v[0]), by_value);
	double median = n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
	return json_pack("{s:f, s:f, s:f}", "median", median, "min", v[0], "max", v[n - 1]);
}

static double median_of(const json_t *mode, const char *field)
{
	return json_real_value(json_object_get(json_object_get(mode, field), "median"));
}

static json_t *mode_json(const struct mode *m, const struct sample *s, unsigned int n)
{
	static const struct {
		const char *name;
		size_t offset;
	} fields[] = {{"per_core", offsetof(struct sample, per_cpu)},
		{"per_wall", offsetof(struct sample, per_wall)},
		{"cpu_share", offsetof(struct sample, cpu_share)},
		{"echo_cpu_share", offsetof(struct sample, echo_cpu)},
		{"steal_s", offsetof(struct sample, steal)},
		{"datagrams_per_send_call", offsetof(struct sample, per_send)},
		{"datagrams_per_receive_call", offsetof(struct sample, per_receive)},
		{"lost", offsetof(struct sample, lost)},
		{"p50_us", offsetof(struct sample, p50_us)},
		{"of_system_calls", offsetof(struct sample, of_calls)}};
	json_t *j = json_pack("{s:s}", "mode", m->name);
	for (unsigned int f = 0; f < WR_ARRAY_LEN(fields); f++)
		json_object_set_new(j, fields[f].name, spread(s, n, fields[f].offset));
	if (m->limit > 0) {
		json_object_set_new(j, "must", json_real(m->limit));
		json_object_set_new(j, "met", json_boolean(median_of(j, "per_core") >= m->limit));
	}
	return j;
}

static void print_mode(const json_t *j)
{
	const json_t *must = json_object_get(j, "must");
	printf("  %-22s %12.0f %12.0f %7.2f %9.1f %9.1f",
		json_string_value(json_object_get(j, "mode")), median_of(j, "per_core"),
		median_of(j, "per_wall"), median_of(j, "cpu_share"),
		median_of(j, "datagrams_per_send_call"),
		median_of(j, "datagrams_per_receive_call"));
	if (must)
		printf("  must %.0f: %s; %.2f of the system calls", json_real_value(must),
			json_is_true(json_object_get(j, "met")) ? "met" : "NOT MET",
			median_of(j, "of_system_calls"));
	printf("\n");
}

static void print_head(const struct bench_options *o, unsigned int runs, int echo_core)
{
	printf("loopback, %u bytes, window %u, medians of %u runs of %.1f s; client on core %d, "
	       "echo "
	       "on %d\n  %-22s %12s %12s %7s %9s %9s\n",
		o->bytes, o->window, runs, o->seconds, o->core, echo_core, "mode", "per CPU s",
		"per wall s", "CPU", "a send", "a receive");
}

int loopback_run(const struct bench_options *o, unsigned int runs, int echo_core, json_t **out,
	struct wr_errmsg *msg)
{
	static struct sample sample[N_MODES][MAX_RUNS];
	bool met = true;
	for (unsigned int i = 0; i < runs; i++)
		for (unsigned int m = 0; m < N_MODES; m++) {
			if (!(o->modes >> m & 1))
				continue;
			int err = one_run(o, &modes[m], echo_core, &sample[m][i], msg);
			/* The mode before a library's is its system calls alone. */
			if (!err && modes[m].library && (o->modes >> (m - 1) & 1))
				sample[m][i].of_calls =
					sample[m][i].per_cpu / sample[m - 1][i].per_cpu;
			if (!err && wr_stop_requested())
				err = wr_fail(msg, WR_EINTR, "stopped");
			if (err)
				return err;
		}
	json_t *list = json_array();
	if (o->progress)
		print_head(o, runs, echo_core);
	for (unsigned int m = 0; m < N_MODES; m++) {
		if (!(o->modes >> m & 1))
			continue;
		json_t *j = mode_json(&modes[m], sample[m], runs);
		if (o->progress)
			print_mode(j);
		met &= !json_is_false(json_object_get(j, "met"));
		json_array_append_new(list, j);
	}
	*out = json_pack("{s:s, s:o, s:i, s:f, s:i, s:i, s:o, s:b}", "what", "loopback", "machine",
		wr_report_machine(""), "runs", (int)runs, "seconds", o->seconds, "bytes",
		(int)o->bytes, "window", (int)o->window, "modes", list, "met", met);
	return WR_OK;
}
