/* SPDX-License-Identifier: BSD-3-Clause */
/* wirerankd: options, configuration, and the order of start and end. Everything else is in lib/. */
#include "wr_base.h"
#include "wr_bundle.h"
#include "wr_config.h"
#include "wr_serve.h"
#include "wr_control.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_SETS 32

/* "10.0.0.0/8,fd00::/8" of the parsed prefixes, as lib/admit reads them. */
static void allow_text(const struct wr_config *c, char *out, size_t size)
{
	wr_config_value(c, WR_CONFIG_admit_allow, out, size);
}

static void add_addresses(struct wr_port_addresses *to, const struct wr_config_addresses *from)
{
	static_assert(WR_CONFIG_MAX_OWN + WR_CONFIG_MAX_ADDRESSES <= WR_PORT_MAX_ADDRESSES,
		"own and service addresses of one family");
	for (uint32_t i = 0; i < from->n; i++)
		if (from->a[i].v6)
			memcpy(to->ipv6[to->n_ipv6++], from->a[i].addr, 16);
		else
			memcpy(to->ipv4[to->n_ipv4++], from->a[i].addr, 4);
}

static void fill_port(const struct wr_config *c, struct wr_port_options *o)
{
	static const enum wr_port_kind kind[] = {
		[WR_CONFIG_KIND_MEMIF] = WR_PORT_MEMIF,
		[WR_CONFIG_KIND_AF_XDP] = WR_PORT_AF_XDP,
		[WR_CONFIG_KIND_TAP] = WR_PORT_TAP,
		[WR_CONFIG_KIND_NIC] = WR_PORT_NIC,
		[WR_CONFIG_KIND_VDEV] = WR_PORT_VDEV,
	};
	static const enum wr_port_xdp_mode xdp_mode[] = {
		[WR_CONFIG_XDP_MODE_AUTO] = WR_PORT_XDP_AUTO,
		[WR_CONFIG_XDP_MODE_NATIVE] = WR_PORT_XDP_NATIVE,
		[WR_CONFIG_XDP_MODE_GENERIC] = WR_PORT_XDP_GENERIC,
	};
	static const enum wr_port_xdp_copy xdp_copy[] = {
		[WR_CONFIG_XDP_COPY_AUTO] = WR_PORT_XDP_COPY_AUTO,
		[WR_CONFIG_XDP_COPY_COPY] = WR_PORT_XDP_COPY,
		[WR_CONFIG_XDP_COPY_ZERO_COPY] = WR_PORT_XDP_ZERO_COPY,
	};
	*o = (struct wr_port_options){
		.kind = kind[c->port_kind],
		.socket = c->port_socket,
		.interface = c->port_interface,
		.device = c->port_device,
		.kernel_tap = c->port_kernel_tap,
		.xdp_mode = xdp_mode[c->port_xdp_mode],
		.xdp_copy = xdp_copy[c->port_xdp_copy],
		.xdp_busy_budget = (unsigned int)c->port_xdp_busy_budget,
		.id = (unsigned int)c->port_id,
		.server = c->port_role == WR_CONFIG_ROLE_SERVER,
		.udp_port = (uint16_t)c->port_udp_port,
		.n_queues = (uint16_t)c->server_lcores.n,
		.ring_size = 1u << c->port_ring_size,
		.mtu = (unsigned int)c->port_mtu,
	};
	memcpy(o->mac, c->port_mac.addr, 6);
	add_addresses(&o->addresses, &c->port_ipv4);
	add_addresses(&o->addresses, &c->port_ipv6);
	o->addresses.n_own_ipv4 = o->addresses.n_ipv4;
	o->addresses.n_own_ipv6 = o->addresses.n_ipv6;
	add_addresses(&o->addresses, &c->port_service);
	o->trust_checksums = c->port_rx_checksum == WR_CONFIG_RX_CHECKSUM_TRUST;
}

static void fill_options(const struct wr_config *c, const struct wr_bundle *b, const char *allow,
	bool huge, struct wr_serve_options *o)
{
	static const enum wr_isa isa[] = {
		[WR_CONFIG_ISA_AUTO] = WR_ISA_AUTO,
		[WR_CONFIG_ISA_REF] = WR_ISA_REF,
		[WR_CONFIG_ISA_AVX2] = WR_ISA_AVX2,
		[WR_CONFIG_ISA_AVX512VNNI] = WR_ISA_AVX512VNNI,
		[WR_CONFIG_ISA_AMX] = WR_ISA_AMX,
	};
	static const enum wr_gemm_engine gemm[] = {
		[WR_CONFIG_GEMM_AUTO] = WR_GEMM_AUTO,
		[WR_CONFIG_GEMM_OWN] = WR_GEMM_OWN,
		[WR_CONFIG_GEMM_ONEDNN] = WR_GEMM_ONEDNN,
	};
	*o = (struct wr_serve_options){
		.name = c->server_name,
		.n_workers = c->server_lcores.n,
		.realtime = (unsigned int)c->server_realtime,
		.bundle = b,
		.config = c,
		.isa = isa[c->server_isa],
		.gemm = gemm[c->server_gemm],
		.allow = allow,
		.rows_per_lcore = (uint32_t)c->sessions_rows_per_lcore,
		.burst = (unsigned int)c->corridor_burst,
		.gather_us = (unsigned int)c->corridor_gather,
		.handover_ring = (unsigned int)c->corridor_handover_ring,
		.cookie_rotate_s = (uint32_t)c->admit_cookie_rotate_s,
		.huge = huge,
		.capture = strcmp(c->control_capture_folder, "none") != 0,
		.memory_limit_bytes = c->memory_limit,
	};
	for (uint32_t i = 0; i < c->server_lcores.n; i++)
		o->cpus[i] = c->server_lcores.cpu[i];
	fill_port(c, &o->port);
}

static int read_config(struct wr_config *c, const char *file, const char *const *sets,
	unsigned int n_sets, struct wr_errmsg *msg)
{
	wr_config_init(c);
	int err = file ? wr_config_read(c, file, msg) : 0;
	for (unsigned int i = 0; i < n_sets && !err; i++)
		err = wr_config_set(c, sets[i], msg);
	return err;
}

static void print_plan(const struct wr_serve_plan *p, bool huge)
{
	printf("memory plan (%s):\n", huge ? "hugepages" : "ordinary pages");
	for (unsigned int i = 0; i < p->n_lines; i++)
		printf("  %-20s %10.1f MB\n", p->line[i].what, (double)p->line[i].bytes / 1e6);
	printf("  %-20s %10.1f MB of %.1f\n", "total", (double)p->total_bytes / 1e6,
		(double)p->have_bytes / 1e6);
	fflush(stdout);
}

/* The plan for the page size that memory.huge asks for; auto falls back to ordinary pages, and says
 * so. */
static int plan_memory(const struct wr_config *c, struct wr_serve_options *o,
	struct wr_serve_plan *plan, struct wr_errmsg *msg)
{
	o->huge = c->memory_huge != WR_CONFIG_HUGE_NO;
	int err = wr_serve_plan(o, plan, msg);
	if (err == WR_ENOMEM && c->memory_huge == WR_CONFIG_HUGE_AUTO &&
		plan->have_bytes < plan->total_bytes) {
		wr_log(WR_LOG_WARN, "wirerankd",
			"%.1f MB of free hugepages, %.1f MB wanted: running on ordinary pages, "
			"which "
			"costs speed; reserve hugepages (sysctl vm.nr_hugepages=%" PRIu64
			") or set memory.huge = no",
			(double)plan->have_bytes / 1e6, (double)plan->total_bytes / 1e6,
			(plan->total_bytes >> 21) + 64);
		o->huge = false;
		err = wr_serve_plan(o, plan, msg);
	}
	print_plan(plan, o->huge);
	return err;
}

/* "items,d,blocks,heads,key heads,head width,window,ffn,time buckets", and, by kind of projection,
 * the blocks (bits) that keep it, and 1 for keys by age: none when left out. */
static int parse_model(const char *text, struct wr_bundle_model *m, struct wr_errmsg *msg)
{
	enum { SHAPE = 9, KEPT = SHAPE + WR_BUNDLE_PROJECTIONS, ALL = KEPT + 1 };
	uint32_t v[ALL];
	unsigned int n = 0;
	int err = wr_opt_u32_list("model", text, 0, 1u << 30, v, WR_ARRAY_LEN(v), &n, msg);
	if (err)
		return err;
	if ((n != SHAPE && n != KEPT && n != ALL) || !v[0] || !v[1] || !v[2] ||
		v[2] > WR_BUNDLE_MAX_BLOCKS || !v[3] || !v[4] || !v[5] || !v[6] || !v[7])
		return wr_fail(msg, WR_EINVAL,
			"--model=%s: items, d, blocks, heads, key heads, head width, window, ffn, "
			"time "
			"buckets, all but the last above 0; kept blocks of qkv, out, up, down (or "
			"none of these four); 1 with keys by age (or none of these five)",
			text);
	*m = (struct wr_bundle_model){.n_items = v[0],
		.d = v[1],
		.n_blocks = v[2],
		.n_heads = v[3],
		.n_kv_heads = v[4],
		.head_dim = v[5],
		.window = v[6],
		.ffn = v[7],
		.time_buckets = v[8],
		.age_keys = n == ALL && v[KEPT]};
	for (unsigned int i = SHAPE; i < WR_MIN(n, (unsigned int)KEPT); i++) {
		if (v[i] >> m->n_blocks)
			return wr_fail(msg, WR_EINVAL, "--model=%s: %u: keeps a block too many",
				text, v[i]);
		m->kept[i - SHAPE] = (uint16_t)v[i];
	}
	return 0;
}

/* The memory plan of this configuration on any machine, as JSON. */
static int print_plan_json(const struct wr_config *c, const char *model, struct wr_errmsg *msg)
{
	struct wr_bundle *b = NULL;
	struct wr_bundle_model shape;
	struct wr_serve_options o;
	struct wr_serve_plan p;
	int err = model ? parse_model(model, &shape, msg) : wr_bundle_open(&b, c->bundle_path, msg);
	if (err)
		return err;
	fill_options(c, b, "", true, &o);
	o.shape = model ? &shape : NULL;
	wr_serve_plan_lines(&o, &p);
	printf("{\"workers\": %u, \"rows_per_lcore\": %" PRIu32 ", \"lines\": [", o.n_workers,
		o.rows_per_lcore);
	for (unsigned int i = 0; i < p.n_lines; i++)
		printf("%s{\"what\": \"%s\", \"bytes\": %" PRIu64 "}", i ? ", " : "",
			p.line[i].what, p.line[i].bytes);
	printf("], \"total_bytes\": %" PRIu64 "}\n", p.total_bytes);
	wr_bundle_close(b);
	return 0;
}

static void report_end(const struct wr_serve *s)
{
	struct wr_metrics *sum = aligned_alloc(WR_CACHE_LINE, sizeof(*sum));
	struct wr_gate_stats gate;
	if (!sum)
		return;
	memset(sum, 0, sizeof(*sum));
	for (unsigned int i = 0; i < wr_serve_n_workers(s); i++)
		wr_metrics_merge(sum, wr_serve_metrics(s, i));
	wr_gate_stats(&gate);
	printf("stopped: received %" PRIu64 ", answered %" PRIu64 ", with an error %" PRIu64
	       ", drained %" PRIu64 ", outcomes %" PRIu64 ", handed over %" PRIu64
	       ", deferred %" PRIu64 ", peers %" PRIu64 "\n",
		sum->counter[WR_COUNTER_received], sum->outcome[WR_OUTCOME_answered],
		sum->outcome[WR_OUTCOME_answered_error], sum->outcome[WR_OUTCOME_drained],
		wr_metrics_outcomes(sum), sum->counter[WR_COUNTER_handed_over],
		sum->counter[WR_COUNTER_deferred], gate.connects);
	free(sum);
}

static void print_ready(const struct wr_serve *s, const struct wr_config *c)
{
	char cpus[WR_CONFIG_MAX_VALUE], port[256];
	wr_config_value(c, WR_CONFIG_server_lcores, cpus, sizeof(cpus));
	wr_port_describe(wr_serve_port(s), port, sizeof(port));
	printf("ready: %u worker(s) on CPU %s, isa %s, gemm %s, %s, UDP port %u, bundle %s\n",
		wr_serve_n_workers(s), cpus, wr_isa_name(wr_serve_isa(s)), wr_serve_engine(s), port,
		(unsigned int)c->port_udp_port, c->bundle_path);
	fflush(stdout);
}

/* What takes three products for one. */
static void print_kept(const struct wr_bundle_model *m)
{
	if (!wr_bundle_n_kept(m))
		return;
	printf("kept in two int8 planes, three products each:");
	for (unsigned int b = 0; b < m->n_blocks; b++)
		for (unsigned int p = 0; p < WR_BUNDLE_PROJECTIONS; p++)
			if (wr_bundle_kept(m, b, (enum wr_bundle_projection)p))
				printf(" b%u.%s", b,
					wr_bundle_projection_name((enum wr_bundle_projection)p));
	putchar('\n');
}

/* What the first worker measured: "own/oneDNN" in ns, the engine that serves marked. */
static void print_engines(const struct wr_serve *s)
{
	const struct wr_engine_times *t = wr_serve_engines(s, 0);
	if (!t)
		return;
	printf("matrix products, ns by own kernels/oneDNN, * = serves; rows:\n%-14s", "");
	for (unsigned int j = 0; j < WR_ENGINE_STEPS; j++)
		printf(" %11u", t->step[j].rows);
	for (unsigned int i = 0; i < WR_ENGINE_SHAPES; i++) {
		printf("\n  %-4s %3u>%3u", t[i].name, t[i].k, t[i].n);
		for (unsigned int j = 0; j < WR_ENGINE_STEPS; j++)
			printf(" %4u%s/%4u%s", t[i].step[j].own_ns, t[i].step[j].onednn ? "" : "*",
				t[i].step[j].onednn_ns, t[i].step[j].onednn ? "*" : "");
	}
	putchar('\n');
	fflush(stdout);
}

/* Between EAL's start and its end. */
static int serve(const struct wr_config *c, const struct wr_serve_options *o,
	const struct wr_serve_plan *plan, struct wr_errmsg *msg)
{
	struct wr_serve *s = NULL;
	int err = wr_serve_new(&s, o, plan, msg);
	if (!err && o->realtime && wr_thread_throttled())
		wr_log(WR_LOG_WARN, "wirerankd",
			"server.realtime = %u, but the kernel takes real-time threads off their "
			"CPU for a part of every second (50 ms by default): sysctl -w "
			"kernel.sched_rt_runtime_us=-1",
			o->realtime);
	if (!err)
		err = wr_serve_warm(s, msg);
	if (!err) {
		print_kept(wr_bundle_model(o->bundle));
		print_engines(s);
		err = wr_serve_open(s, msg);
	}
	if (!err)
		err = wr_control_start(s, msg);
	if (!err) {
		print_ready(s, c);
		while (!wr_stop_requested()) {
			wr_serve_tick(s);
			(void)usleep(100000);
		}
		wr_control_stop();
		wr_serve_stop(s);
		report_end(s);
	}
	wr_serve_free(s);
	return err;
}

static int run(struct wr_config *c, bool check_only, struct wr_errmsg *msg)
{
	static char allow[WR_CONFIG_MAX_VALUE];
	struct wr_bundle *b = NULL;
	struct wr_serve_options o;
	struct wr_serve_plan plan;

	int err = wr_bundle_open(&b, c->bundle_path, msg);
	if (err)
		return err;
	allow_text(c, allow, sizeof(allow));
	fill_options(c, b, allow, false, &o);
	err = plan_memory(c, &o, &plan, msg);
	/* Before EAL, so that the commonest mistakes cost nothing; tried again when the port opens.
	 */
	if (!err)
		err = wr_port_check(&o.port, msg);
	if (!err && !check_only) {
		err = wr_serve_eal_init(&o, &plan, msg);
		if (!err) {
			err = serve(c, &o, &plan, msg);
			wr_serve_eal_cleanup();
		}
	}
	wr_bundle_close(b);
	return err;
}

int main(int argc, char **argv)
{
	const char *file = NULL, *check = NULL, *dump = NULL, *isa = NULL, *no_huge = NULL;
	const char *plan = NULL, *model = NULL;
	const struct wr_opt opts[] = {
		{"config", "FILE", "INI file; every key has a default but bundle.path", &file},
		{"check", NULL, "check configuration, bundle, memory and socket; start nothing",
			&check},
		{"dump-config", NULL, "print every key with its value and where it came from",
			&dump},
		{"plan", NULL,
			"print the memory plan as JSON, whatever this machine has (wrctl plan)",
			&plan},
		{"model", "N,…",
			"plan: instead of a bundle: items, d, blocks, heads, key heads, head "
			"width, "
			"window, ffn, time buckets, what is kept: 4 masks of blocks, and 1 with "
			"keys by age",
			&model},
		{"isa", "LEVEL", "same as --set=server.isa=LEVEL: auto, ref, avx2, avx512vnni, amx",
			&isa},
		{"no-huge", NULL, "same as --set=memory.huge=no", &no_huge},
	};
	static struct wr_config c;
	struct wr_errmsg msg = {""};
	const char *sets[MAX_SETS];
	unsigned int n_sets = 0, n_words = 0;
	char isa_set[64];

	int err = wr_config_take_sets(&argc, argv, sets, MAX_SETS - 2, &n_sets, &msg);
	if (!err)
		err = wr_opt_parse(argc, argv,
			"wirerankd --config=FILE [--set=section.key=value …]", opts,
			WR_ARRAY_LEN(opts), NULL, 0, &n_words, &msg);
	if (err == WR_EINTR)
		return EXIT_SUCCESS;
	if (isa) {
		snprintf(isa_set, sizeof(isa_set), "server.isa=%s", isa);
		sets[n_sets++] = isa_set;
	}
	if (no_huge)
		sets[n_sets++] = "memory.huge=no";
	if (!err)
		err = read_config(&c, file, sets, n_sets, &msg);
	if (!err && dump) {
		wr_config_dump(&c, stdout);
		return EXIT_SUCCESS;
	}
	if (!err && plan) {
		err = print_plan_json(&c, model, &msg);
		if (!err)
			return EXIT_SUCCESS;
	}
	if (!err)
		err = wr_config_check(&c, &msg);
	if (!err) {
		wr_stop_catch_signals();
		(void)signal(SIGPIPE, SIG_IGN); /* a memif peer that is gone is no reason to die */
		/* net_tap asks for a queued signal a frame; when the queue is full this one comes.
		 */
		(void)signal(SIGIO, SIG_IGN);
		err = run(&c, check != NULL, &msg);
	}
	if (err) {
		fflush(stdout);
		fprintf(stderr, "wirerankd: %s\n", msg.text[0] ? msg.text : wr_strerror(err));
		return EXIT_FAILURE;
	}
	if (check)
		puts("check: ok");
	return EXIT_SUCCESS;
}
