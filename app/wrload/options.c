/* SPDX-License-Identifier: BSD-3-Clause */
/* The options that every command has: which port, who talks to whom, where the JSON goes. */
#include "workload.h"
#include "wrload.h"

struct common common = {
	.id = "0",
	.queues = "1",
	.ring = "10",
	.wait = "5",
	.realtime = "0",
	.server_ip = "10.47.0.1",
	.server_mac = "02:00:00:00:47:00",
	.server_port = "4700",
	.client_mac = "02:00:00:00:47:02",
	.client_port = "40000",
};

static const struct wr_opt port_opts[] = {
	{"memif", "SOCKET", "memif socket of the server", &common.memif},
	{"vdev", "DEVICE", "instead of it: a DPDK virtual device (net_ring0, net_tap0,iface=…)",
		&common.vdev},
	{"id", "N", "memif interface id", &common.id},
	{"queues", "N", "queue pairs, as far as the server has lcores; queue i leads to lcore i",
		&common.queues},
	{"ring", "N", "log2 of descriptors of a memif ring", &common.ring},
	{"core", "CPU", "CPU of the busy thread (the highest that is allowed, else)", &common.core},
	{"realtime", "PRIORITY",
		"SCHED_FIFO priority (1 … 99) of the busy thread while a run lasts; 0 = none",
		&common.realtime},
	{"wait", "SECONDS", "how long to wait for the socket and the link", &common.wait},
};

static const struct wr_opt common_opts[] = {
	{"server-ip", "ADDRESS", "IPv4 or IPv6 address of the server", &common.server_ip},
	{"server-mac", "MAC", "its Ethernet address", &common.server_mac},
	{"server-port", "PORT", "UDP port for HELLO; HELLO tells the others", &common.server_port},
	{"client-ip", "ADDRESS", "our address (10.47.0.2 or fd47::2, else)", &common.client_ip},
	{"client-mac", "MAC", "our Ethernet address", &common.client_mac},
	{"client-port", "PORT", "our UDP port", &common.client_port},
	{"json", "FILE", "write the result there, - = stdout", &common.json},
	{"quiet", NULL, "no progress, no report", &common.quiet},
};

static unsigned int append(
	struct wr_opt *all, unsigned int n, const struct wr_opt *more, unsigned int n_more)
{
	for (unsigned int i = 0; i < n_more && n < MAX_OPTS; i++)
		all[n++] = more[i];
	return n;
}

int parse_options(int argc, char **argv, const char *usage, const struct wr_opt *own,
	unsigned int n_own, unsigned int more)
{
	struct wr_opt all[MAX_OPTS];
	struct wr_errmsg msg;
	const char *words[1];
	unsigned int n_words = 0, n = 0;

	if (more & OPT_WORKLOAD)
		n = append(all, n, workload_opts, workload_opts_n);
	n = append(all, n, own, n_own);
	if (more & OPT_PORT)
		n = append(all, n, port_opts, WR_ARRAY_LEN(port_opts));
	n = append(all, n, common_opts, WR_ARRAY_LEN(common_opts));
	int err = wr_opt_parse(argc, argv, usage, all, n, words, 0, &n_words, &msg);
	if (err == WR_EINTR)
		return EXIT_OK;
	if (err) {
		fprintf(stderr, "wrload: %s\n", msg.text);
		return EXIT_ERROR;
	}
	return -1;
}

int real(const char *option, const char *value, double min, double max, double *out,
	struct wr_errmsg *msg)
{
	if (wr_parse_double(value, min, max, out) != 0)
		return wr_fail(msg, WR_EINVAL, "--%s=%s: must be a number, %g … %g", option, value,
			min, max);
	return 0;
}

int addresses(struct wr_load_address *a, struct wr_errmsg *msg)
{
	uint64_t server_port, client_port;
	bool client_ipv6;

	if (wr_load_parse_ip(common.server_ip, a->server_ip, &a->ipv6) != 0)
		return wr_fail(
			msg, WR_EINVAL, "--server-ip=%s is not an address", common.server_ip);
	const char *client = common.client_ip ? common.client_ip
			     : a->ipv6        ? "fd47::2"
					      : "10.47.0.2";
	if (wr_load_parse_ip(client, a->client_ip, &client_ipv6) != 0)
		return wr_fail(msg, WR_EINVAL, "--client-ip=%s is not an address", client);
	if (client_ipv6 != a->ipv6)
		return wr_fail(msg, WR_EINVAL, "--client-ip and --server-ip must be of one family");
	if (wr_load_parse_mac(common.server_mac, a->server_mac) != 0 ||
		wr_load_parse_mac(common.client_mac, a->client_mac) != 0)
		return wr_fail(msg, WR_EINVAL, "a MAC looks like 02:00:00:00:47:00");
	int err = wr_opt_u64("server-port", common.server_port, 1, 65535, &server_port, msg);
	if (!err)
		err = wr_opt_u64("client-port", common.client_port, 1, 65535, &client_port, msg);
	if (err)
		return err;
	a->server_port = (uint16_t)server_port;
	a->client_port = (uint16_t)client_port;
	return 0;
}

int open_load(struct wr_load **l, bool hello, struct wr_errmsg *msg)
{
	struct wr_load_port port = {.memif = common.memif, .vdev = common.vdev, .core = -1};
	struct wr_load_address address = {0};
	uint64_t id = 0, queues = 0, ring = 0, core = 0, realtime = 0;

	*l = NULL;
	int err = addresses(&address, msg);
	if (!err)
		err = wr_opt_u64("id", common.id, 0, 65535, &id, msg);
	if (!err)
		err = wr_opt_u64("queues", common.queues, 1, WR_LOAD_MAX_QUEUES, &queues, msg);
	if (!err)
		err = wr_opt_u64("ring", common.ring, 6, 14, &ring, msg);
	if (!err)
		err = wr_opt_u64("realtime", common.realtime, 0, 99, &realtime, msg);
	if (!err)
		err = real("wait", common.wait, 0, 3600, &port.wait_s, msg);
	if (!err && common.core)
		err = wr_opt_u64("core", common.core, 0, 4095, &core, msg);
	if (err)
		return err;
	if (common.core)
		port.core = (int)core;
	port.memif_id = (unsigned int)id;
	port.n_queues = (unsigned int)queues;
	port.ring_log2 = (unsigned int)ring;
	port.realtime = (unsigned int)realtime;
	wr_stop_catch_signals();
	port.narrow = hello;
	err = wr_load_open(l, &port, &address, msg);
	if (!err && hello)
		err = wr_load_greet(*l, msg);
	if (err || !hello)
		return err;
	const struct wr_load_server *s = wr_load_server(*l);
	if (s->n_ports < port.n_queues && common.memif && !common.quiet)
		wr_log(WR_LOG_WARN, "wrload", "the server has %u queue(s), fewer than --queues=%u",
			s->n_ports, port.n_queues);
	if (s->n_ports > port.n_queues && !common.quiet)
		wr_log(WR_LOG_WARN, "wrload",
			"the server has %u queues, --queues=%u: users of the others go through "
			"queue 0 and are handed over",
			s->n_ports, port.n_queues);
	return 0;
}

int close_load(struct wr_load *l, int err, const struct wr_errmsg *msg)
{
	wr_load_close(l);
	if (err == 0)
		return EXIT_OK;
	fprintf(stderr, "wrload: %s\n", msg->text);
	return EXIT_ERROR;
}

bool quiet(void)
{
	return common.quiet != NULL;
}

int write_json(json_t *o, struct wr_errmsg *msg)
{
	int err = 0;

	if (common.json)
		err = o ? wr_json_write(o, common.json, msg)
			: wr_fail(msg, WR_ENOMEM, "not enough memory");
	json_decref(o);
	return err;
}
