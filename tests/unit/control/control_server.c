/* SPDX-License-Identifier: BSD-3-Clause */
/* The server object of the suite: two workers that never run, a bundle with one rule, a
 * configuration that needs pieces. */
#include "control_server.h"

#include "wr_test_bundle.h"

#include <sched.h>
#include <unistd.h>

static int make_bundle(struct server *s, struct wr_errmsg *msg)
{
	static const char rules[] = "[refund]\npattern = refund\ncategory = Billing\n";
	struct wr_bundle_model m = wr_test_bundle_reference(50);
	struct wr_bundle_builder *w;
	int err = wr_bundle_builder_new(&w, msg);
	if (err)
		return err;
	wr_test_bundle_fill(w, &m, 3);
	err = wr_bundle_builder_add(w, WR_SEC_RULES, rules, sizeof(rules) - 1);
	if (!err)
		err = wr_bundle_builder_write(w, s->bundle_path, msg);
	wr_bundle_builder_free(w);
	return err ? err : wr_bundle_open(&s->bundle, s->bundle_path, msg);
}

/* Longer than one telemetry string, so that pieces are needed; with what DPDK must escape. */
static int make_config(struct server *s, struct wr_errmsg *msg)
{
	char set[700];
	wr_config_init(&s->config);
	snprintf(set, sizeof(set), "bundle.path=%s", s->bundle_path);
	int err = wr_config_set(&s->config, set, msg);
	if (!err)
		err = wr_config_set(&s->config, "port.socket=/tmp/a\"b\\c", msg);
	return err ? err
		   : wr_config_set(&s->config,
			     "admit.allow=2001:db8:1:2:3:4:5:1/128, 2001:db8:1:2:3:4:5:2/128, "
			     "2001:db8:1:2:3:4:5:3/128, 2001:db8:1:2:3:4:5:4/128, "
			     "2001:db8:1:2:3:4:5:5/128, 10.0.0.0/8",
			     msg);
}

static int make_server(struct server *s, struct wr_errmsg *msg)
{
	struct wr_serve_options o = {.name = s->name,
		.n_workers = 2,
		.bundle = s->bundle,
		.config = &s->config,
		.isa = WR_ISA_REF,
		.port = {.kind = WR_PORT_MEMIF,
			.socket = "/tmp/unused",
			.server = true,
			.addresses = {.n_ipv4 = 1, .n_own_ipv4 = 1, .ipv4 = {{10, 47, 0, 1}}},
			.udp_port = 4700,
			.ring_size = 1024,
			.mtu = 1500},
		.allow = "0.0.0.0/0",
		.rows_per_lcore = 256,
		.burst = 32,
		.handover_ring = 64,
		.cookie_rotate_s = 600};
	struct wr_serve_plan plan;
	cpu_set_t cpus;
	unsigned int first = 0;
	if (sched_getaffinity(0, sizeof(cpus), &cpus))
		return WR_EIO;
	while (!CPU_ISSET(first, &cpus))
		first++;
	o.cpus[0] = o.cpus[1] = first; /* they never run */
	int err = wr_serve_plan(&o, &plan, msg);
	if (!err)
		err = wr_serve_eal_init(&o, &plan, msg);
	if (!err)
		err = wr_serve_new(&s->serve, &o, &plan, msg);
	return err ? err : wr_control_start(s->serve, msg);
}

int server_start(struct server *s, struct wr_errmsg *msg)
{
	snprintf(s->name, sizeof(s->name), "wrtest%d", (int)getpid());
	const char *folder = getenv("RUNTIME_DIRECTORY");
	if (!folder)
		folder = getuid() == 0               ? "/var/run"
			 : getenv("XDG_RUNTIME_DIR") ? getenv("XDG_RUNTIME_DIR")
						     : "/tmp";
	snprintf(s->socket_path, sizeof(s->socket_path), "%.40s/dpdk/%s/dpdk_telemetry.v2", folder,
		s->name);
	/* A path of more than 127 bytes. */
	snprintf(s->bundle_path, sizeof(s->bundle_path), "/tmp/%0120d-%s.bundle", 7, s->name);
	int err = make_bundle(s, msg);
	if (!err)
		err = make_config(s, msg);
	return err ? err : make_server(s, msg);
}

void server_end(struct server *s)
{
	wr_serve_free(s->serve);
	if (s->serve)
		wr_serve_eal_cleanup();
	wr_bundle_close(s->bundle);
	unlink(s->bundle_path);
}
