/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * capacity: what 1 … n worker lcores serve without a generator's core. The server is lib/serve as
 * wirerankd runs it: its loop, its tables, a real bundle; only its port is net_ring, and what
 * stands behind the port is a source in the worker's own thread (source.h). Windows with different
 * sets of workers follow each other in one process, over the same sessions.
 */
#include "check.h"
#include "window.h"

#include "wr_report.h"
#include "wr_serve.h"

#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_ring.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RING = 1024, UDP_PORT = 4700, LISTS = 256 };

struct options {
	const char *bundle, *cpus, *workloads, *users, *seconds, *rounds, *gemm, *isa, *burst,
		*json, *svg, *huge, *memory;
};

struct bench {
	struct wr_bundle *bundle;
	struct wr_serve_options o;
	struct wr_serve_plan plan;
	struct wr_serve *serve;
	struct wr_load *l;
	struct rte_ring *rx[WR_SERVE_MAX_WORKERS], *tx[WR_SERVE_MAX_WORKERS];
	uint64_t users; /* a worker */
	struct windows w;
	struct check *check;
};

/* ---- options ---- */
static int parse(const struct options *in, struct bench *b, struct wr_errmsg *msg)
{
	struct wr_serve_options *o = &b->o;
	uint32_t cpus[WR_SERVE_MAX_WORKERS];
	uint64_t v = 0;
	unsigned int n = 0;
	int err = wr_opt_u32_list("cpus", in->cpus, 0, 1023, cpus, WR_SERVE_MAX_WORKERS, &n, msg);
	if (!err && n == 0)
		err = wr_fail(msg, WR_EINVAL, "--cpus names no CPU");
	if (!err)
		err = wr_opt_u64("users", in->users, 1000, 1 << 24, &b->users, msg);
	if (!err)
		err = wr_opt_u64("rounds", in->rounds, 1, 99, &v, msg);
	b->w.rounds = (unsigned int)v;
	if (!err)
		err = wr_opt_u64("ms", in->seconds, 50, 60000, &b->w.window_ms, msg);
	if (!err)
		err = wr_opt_u64("burst", in->burst, 1, WR_SERVE_MAX_BURST, &v, msg);
	o->burst = (unsigned int)v;
	if (!err)
		err = wr_opt_u64("frames-mib", in->memory, 16, 4096, &b->w.frames_mib, msg);
	o->isa = WR_ISA_AUTO;
	if (!err)
		err = wr_isa_parse(in->isa, &o->isa);
	if (err)
		return msg->text[0] ? err : wr_fail(msg, err, "--isa=%s: no such level", in->isa);
	o->gemm = WR_GEMM_AUTO;
	for (enum wr_gemm_engine g = WR_GEMM_AUTO; g <= WR_GEMM_ONEDNN; g++)
		if (!strcmp(in->gemm, wr_gemm_engine_name(g)))
			o->gemm = g;
	if (strcmp(in->gemm, wr_gemm_engine_name(o->gemm)) != 0)
		return wr_fail(msg, WR_EINVAL, "--gemm=%s: auto, own or onednn", in->gemm);
	o->n_workers = n;
	for (unsigned int i = 0; i < n; i++)
		o->cpus[i] = cpus[i];
	return 0;
}

static void fill(struct bench *b, const char *name, bool huge)
{
	struct wr_serve_options *o = &b->o;
	o->name = name;
	o->bundle = b->bundle;
	o->allow = "0.0.0.0/0,::/0";
	o->rows_per_lcore = (uint32_t)(b->users + b->users / 8);
	o->handover_ring = 1024;
	o->cookie_rotate_s = 86400;
	o->huge = huge;
	o->port = (struct wr_port_options){.kind = WR_PORT_VDEV,
		.device = "net_ring_wr_capacity",
		.udp_port = UDP_PORT,
		.n_queues = (uint16_t)o->n_workers,
		.n_udp_ports = (uint16_t)o->n_workers,
		.ring_size = RING,
		.mtu = 1500};
	o->port.addresses.n_ipv4 = o->port.addresses.n_own_ipv4 = 1;
	memcpy(o->port.addresses.ipv4[0], (const uint8_t[]){10, 47, 0, 1}, 4);
}

/* ---- the port and what is behind it ---- */
static int make_port(struct bench *b, struct wr_errmsg *msg)
{
	unsigned int n = b->o.n_workers;
	for (unsigned int i = 0; i < n; i++) {
		char name[RTE_RING_NAMESIZE];
		int socket = (int)rte_lcore_to_socket_id(i + 1);
		snprintf(name, sizeof(name), "wr_source%u", i);
		b->rx[i] = rte_ring_create(name, RING, socket, RING_F_SP_ENQ | RING_F_SC_DEQ);
		snprintf(name, sizeof(name), "wr_sink%u", i);
		b->tx[i] = rte_ring_create(name, RING, socket, RING_F_SP_ENQ | RING_F_SC_DEQ);
		if (!b->rx[i] || !b->tx[i])
			return wr_fail(msg, WR_ENOMEM, "no memory for rings");
	}
	if (rte_eth_from_rings("wr_capacity", b->rx, n, b->tx, n, (unsigned int)SOCKET_ID_ANY) < 0)
		return wr_fail(msg, WR_EIO, "net_ring does not come up");
	return 0;
}

static int make_sources(struct bench *b, struct wr_errmsg *msg)
{
	struct wr_load *l = b->l = calloc(1, sizeof(*l));
	const struct wr_port *port = wr_serve_port(b->serve);
	int err = l ? 0 : wr_fail(msg, WR_ENOMEM, "out of memory");
	if (err)
		return err;
	wr_port_mac(port, l->address.server_mac);
	memcpy(l->address.client_mac, (const uint8_t[]){2, 0, 0, 0, 0x47, 2}, 6);
	bool v6;
	if (wr_load_parse_ip("10.47.0.2", l->address.client_ip, &v6) ||
		wr_load_parse_ip("10.47.0.1", l->address.server_ip, &v6))
		abort();
	l->address.client_port = 40000;
	l->address.server_port = UDP_PORT;
	wr_load_head_init(&l->head, &l->address);
	l->n_queues = (uint16_t)b->o.n_workers;
	l->tag = (uint64_t)getpid() << WR_ID_TAG_SHIFT & WR_ID_TAG_MASK;
	l->tsc_hz = wr_clock_tsc_hz();
	b->w.n = b->o.n_workers;
	b->w.serve = b->serve;
	for (unsigned int i = 0; i < b->w.n && !err; i++) {
		struct source *s;
		err = source_new(&b->w.source[i], i, b->w.frames_mib << 20, msg);
		if (err)
			break;
		s = b->w.source[i];
		s->burst = b->o.burst;
		s->rx = b->rx[i];
		s->tx = b->tx[i];
		s->pool = wr_port_pool(port);
		s->l = l;
		s->metrics = wr_serve_metrics(b->serve, i);
		s->dry = &b->w.dry;
		s->n_users = (uint32_t)(b->users * b->w.n);
		err = source_attach(s, wr_port_ethdev(port), msg);
	}
	return err;
}

static int greet(struct bench *b, struct wr_errmsg *msg)
{
	struct source *s = b->w.source[0];
	struct wr_message m;
	int err = windows_do(&b->w, 1, ORDER_HELLO, 5, msg);
	if (!err)
		err = windows_do(&b->w, 1, ORDER_REST, 5, msg);
	if (!err && wr_wire_decode_answer(s->hello, s->hello_bytes, &m) != WR_DECODE_OK)
		err = wr_fail(msg, WR_EFORMAT, "the answer to HELLO cannot be read");
	return err ? err : wr_load_take_hello(b->l, &m, msg);
}

/* Every source gets the workload; what it renders follows from seed and worker. */
static int set_workload(struct bench *b, const char *name, struct wr_errmsg *msg)
{
	struct wr_load_workload w;
	static int64_t later;
	int err = wr_load_workload(&w, name);
	bool known = !err && (w.weight[WR_LOAD_ECHO] || w.weight[WR_LOAD_WARM] ||
				     w.weight[WR_LOAD_COLD] || w.weight[WR_LOAD_EVENT] || w.mixed);
	if (!known)
		return wr_fail(msg, WR_EINVAL,
			"no workload %s here: echo, warm, event, mixed, cold", name);
	w.n_users = (uint32_t)(b->users * b->w.n);
	/* The clicks of one workload are newer than those of the one before. */
	int64_t now = wr_clock_unix_ms() + later;
	later += 1000000000;
	for (unsigned int i = 0; i < b->w.n && !err; i++) {
		struct source *s = b->w.source[i];
		w.seed = 1 + i;
		err = wr_requests_init(&s->requests, b->l, &w, msg);
		s->first_ms = now - (int64_t)s->number;
		s->next = 0; /* nobody knows yet how many frames a window takes */
		if (!s->past_ms)
			s->past_ms = now - (int64_t)60000 * (WR_REQUEST_POPULATED + 1);
		s->cold = w.weight[WR_LOAD_COLD] != 0;
		s->events = w.weight[WR_LOAD_EVENT] || w.mixed;
		s->recommends = !w.weight[WR_LOAD_EVENT];
		s->stride = WR_ALIGN_UP(b->l->head.size + w.datagram, (size_t)WR_CACHE_LINE);
	}
	return err;
}

/* ---- results ---- */
static void check_lists(struct bench *b, const uint32_t *first, struct checked *sum)
{
	for (unsigned int i = 0; i < b->w.n; i++)
		check_source(b->check, b->w.source[i], first[i], LISTS / b->w.n, sum);
}

static json_t *engines(const struct wr_serve *s)
{
	const struct wr_engine_times *t = wr_serve_engines(s, 0);
	json_t *list = json_array();
	for (unsigned int i = 0; t && i < WR_ENGINE_SHAPES; i++) {
		json_t *steps = json_array();
		for (unsigned int j = 0; j < WR_ENGINE_STEPS; j++)
			json_array_append_new(steps,
				json_pack("{s:i, s:i, s:i, s:s}", "rows", (int)t[i].step[j].rows,
					"own_ns", (int)t[i].step[j].own_ns, "onednn_ns",
					(int)t[i].step[j].onednn_ns, "serves",
					t[i].step[j].onednn ? "onednn" : "own"));
		json_array_append_new(
			list, json_pack("{s:s, s:i, s:i, s:o}", "name", t[i].name, "k", (int)t[i].k,
				      "n", (int)t[i].n, "steps", steps));
	}
	return list;
}

static uint64_t answered(const struct bench *b)
{
	uint64_t n = 0;
	for (unsigned int i = 0; i < b->w.n; i++)
		n += b->w.source[i]->answered;
	return n;
}

static int run_workload(struct bench *b, const char *name, json_t *out, struct wr_errmsg *msg)
{
	uint32_t first[WR_SERVE_MAX_WORKERS];
	uint64_t onednn[2], own[2];
	struct checked checked = {0};
	json_t *points;
	int err = set_workload(b, name, msg);
	if (err)
		return err;
	for (unsigned int i = 0; i < b->w.n; i++)
		first[i] = b->w.source[i]->n_watched;
	wr_serve_macs(b->serve, &onednn[0], &own[0]);
	uint64_t answers = answered(b);
	fprintf(stderr, "capacity: %s\n", name);
	err = windows_run(&b->w, &points, msg);
	if (err)
		return err;
	wr_serve_macs(b->serve, &onednn[1], &own[1]);
	fprintf(stderr, "capacity: %s: lists by the reference kernels\n", name);
	check_lists(b, first, &checked);
	answers = WR_MAX(answered(b) - answers, (uint64_t)1);
	json_array_append_new(out,
		json_pack("{s:s, s:i, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "name", name, "datagram",
			(int)b->w.source[0]->requests.w.datagram, "points", points, "lists_checked",
			(json_int_t)checked.lists, "lists_wrong", (json_int_t)checked.wrong,
			"unanswered", (json_int_t)checked.unanswered, "encoder_macs_onednn",
			(json_int_t)(onednn[1] - onednn[0]), "encoder_macs_own",
			(json_int_t)(own[1] - own[0]), "encoder_macs_per_answer",
			(json_int_t)((onednn[1] - onednn[0] + own[1] - own[0]) / answers)));
	if (checked.wrong || checked.unanswered)
		return wr_fail(msg, WR_ESTATE,
			"%s: %lu of %lu lists differ from the reference's, %lu are missing", name,
			checked.wrong, checked.lists, checked.unanswered);
	return 0;
}

static int run_all(struct bench *b, const struct options *in, struct wr_errmsg *msg)
{
	json_t *workloads = json_array();
	char *names = strdup(in->workloads), *save = NULL;
	bool populated = false;
	int err = names ? greet(b, msg) : wr_fail(msg, WR_ENOMEM, "out of memory");
	for (char *name = strtok_r(names, ",", &save); name && !err;
		name = strtok_r(NULL, ",", &save)) {
		if (!populated && strcmp(name, "cold") != 0) {
			err = set_workload(b, name, msg);
			fprintf(stderr, "capacity: 99 clicks for %lu users\n", b->users * b->w.n);
			if (!err)
				err = windows_do(&b->w, b->w.n, ORDER_POPULATE, 600, msg);
			if (!err)
				err = windows_do(&b->w, b->w.n, ORDER_REST, 5, msg);
			populated = true;
		}
		if (!err)
			err = run_workload(b, name, workloads, msg);
	}
	free(names);
	json_t *root = json_pack("{s:o, s:s, s:s, s:I, s:b, s:i, s:I, s:i, s:o, s:o}", "machine",
		wr_report_machine(wr_isa_name(wr_serve_isa(b->serve))), "isa",
		wr_isa_name(wr_serve_isa(b->serve)), "gemm", wr_serve_engine(b->serve),
		"sessions_per_lcore", (json_int_t)b->users, "hugepages", (int)b->o.huge, "burst",
		(int)b->o.burst, "window_ms", (json_int_t)b->w.window_ms, "rounds",
		(int)b->w.rounds, "engines", engines(b->serve), "workloads", workloads);
	if (!err)
		err = wr_json_write(root, in->json, msg);
	if (!err && in->svg)
		err = windows_chart(root, in->svg, msg);
	json_decref(root);
	return err;
}

static int serve(struct bench *b, const struct options *in, struct wr_errmsg *msg)
{
	int err = make_port(b, msg);
	if (!err)
		err = wr_serve_new(&b->serve, &b->o, &b->plan, msg);
	if (!err)
		err = wr_serve_warm(b->serve, msg);
	if (!err)
		err = wr_serve_open(b->serve, msg);
	if (!err)
		err = make_sources(b, msg);
	if (!err)
		err = check_new(&b->check, b->bundle, msg);
	if (!err)
		err = run_all(b, in, msg);
	if (b->serve)
		wr_serve_stop(b->serve);
	wr_serve_free(b->serve);
	check_free(b->check);
	for (unsigned int i = 0; i < b->w.n; i++)
		source_free(b->w.source[i]);
	free(b->l);
	return err;
}

int main(int argc, char **argv)
{
	struct options in = {.cpus = "1",
		.workloads = "warm,event,echo,cold",
		.users = "50000",
		.seconds = "500",
		.rounds = "5",
		.gemm = "auto",
		.isa = "auto",
		.burst = "64",
		.memory = "256",
		.json = "-"};
	const struct wr_opt opts[] = {
		{"bundle", "FILE", "the bundle that is served", &in.bundle},
		{"cpus", "N,…", "CPUs of the workers (1)", &in.cpus},
		{"workloads", "NAME,…", "warm, event, echo, cold; cold last: it evicts everybody",
			&in.workloads},
		{"users", "N", "resident sessions of a worker (50000)", &in.users},
		{"ms", "MS", "length of a window (500); it ends when frames run out", &in.seconds},
		{"rounds", "N", "windows of every set of workers (5)", &in.rounds},
		{"frames-mib", "MIB", "memory of a worker's rendered frames (256)", &in.memory},
		{"gemm", "ENGINE", "auto, own or onednn", &in.gemm},
		{"isa", "LEVEL", "auto, ref, avx2, avx512vnni, amx", &in.isa},
		{"burst", "N", "largest burst (64)", &in.burst},
		{"no-huge", NULL, "ordinary pages", &in.huge},
		{"json", "FILE", "the result (standard output)", &in.json},
		{"svg", "FILE", "a chart of it", &in.svg},
	};
	static struct bench b;
	struct wr_errmsg msg = {""};
	unsigned int n_words;
	char name[32];
	int err = wr_opt_parse(argc, argv, "capacity --bundle=FILE [options]", opts,
		WR_ARRAY_LEN(opts), NULL, 0, &n_words, &msg);
	if (err == WR_EINTR)
		return 0;
	snprintf(name, sizeof(name), "wrcap%d", (int)getpid());
	if (!err && !in.bundle)
		err = wr_fail(&msg, WR_EINVAL, "--bundle is missing");
	if (!err)
		err = parse(&in, &b, &msg);
	if (!err)
		err = wr_bundle_open(&b.bundle, in.bundle, &msg);
	if (!err) {
		fill(&b, name, in.huge == NULL);
		wr_stop_catch_signals();
		err = wr_serve_plan(&b.o, &b.plan, &msg);
	}
	if (!err)
		err = wr_serve_eal_init(&b.o, &b.plan, &msg);
	if (!err) {
		err = serve(&b, &in, &msg);
		wr_serve_eal_cleanup();
	}
	wr_bundle_close(b.bundle);
	if (err)
		fprintf(stderr, "capacity: %s\n", msg.text[0] ? msg.text : wr_strerror(err));
	return err ? 1 : 0;
}
