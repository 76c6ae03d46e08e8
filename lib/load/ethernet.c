/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The generator's port: EAL without shared files, one virtual device (memif client as a rule), n
 * queue pairs, one pool; and its leaving without a trace.
 */
#include "load_core.h"

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { POOL_MBUFS = 8192, POOL_CACHE = 256, MIN_HUGE_PAGES = 64, RING_DESC = 1024 };

static unsigned long free_huge_pages(void)
{
	unsigned long n = 0;
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%lu", &n) != 1)
		n = 0;
	fclose(f);
	return n;
}

static int highest_core(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return 0;
	for (int i = CPU_SETSIZE - 1; i > 0; i--)
		if (CPU_ISSET(i, &set))
			return i;
	return 0;
}

/* EAL's own threads, too: else they run on the CPU that a server has for itself, for milliseconds
 * when a memif connects. EAL says what is wrong with the core. */
static void stay_on(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

static int start_eal(struct wr_load *l, const struct wr_load_port *port, struct wr_errmsg *msg)
{
	char prefix[64], lcores[64];
	char *argv[16];
	int argc = 0;
	bool huge = free_huge_pages() >= MIN_HUGE_PAGES;
	int core = port->core >= 0 ? port->core : highest_core();

	snprintf(prefix, sizeof(prefix), "--file-prefix=wrload-%d", (int)getpid());
	snprintf(lcores, sizeof(lcores), "--lcores=0@%d", core);
	argv[argc++] = (char *)"wrload";
	argv[argc++] = lcores;
	argv[argc++] = prefix;
	argv[argc++] = (char *)"--no-pci";
	argv[argc++] = (char *)"--no-telemetry";
	argv[argc++] = (char *)"--iova-mode=va";
	/* The driver says at every try to connect that it failed; we say it once. Of two patterns
	 * that match a driver which is loaded later, EAL takes the first. */
	argv[argc++] = (char *)"--log-level=pmd.net.memif:critical";
	argv[argc++] = (char *)"--log-level=*:error";
	if (huge) {
		argv[argc++] = (char *)"--in-memory";
		argv[argc++] = (char *)"--socket-limit=128";
	} else {
		argv[argc++] = (char *)"--no-huge";
		argv[argc++] = (char *)"--no-shconf";
		argv[argc++] = (char *)"-m";
		argv[argc++] = (char *)"128";
	}
	argv[argc] = NULL;
	stay_on(core);
	if (rte_eal_init(argc, argv) < 0)
		return wr_fail(msg, WR_EIO,
			"DPDK does not start (%s): is CPU %s of this machine allowed, are 128 MB "
			"free?",
			rte_strerror(rte_errno), lcores + strlen("--lcores=0@"));
	l->eal = true;
	return 0;
}

/* The client of a memif link connects once, at start: wait until there is something to connect to.
 */
static int wait_for_socket(
	const struct wr_load_port *port, uint64_t until_ns, struct wr_errmsg *msg)
{
	struct stat st;

	if (!port->memif)
		return 0;
	while (stat(port->memif, &st) != 0) {
		if (wr_stop_requested())
			return wr_fail(msg, WR_EINTR, "stopped");
		if (wr_clock_ns() > until_ns)
			return wr_fail(msg, WR_ENOENT,
				"%s: no such socket after %.1f s: does the server run, with [port] "
				"socket set to this path?",
				port->memif, port->wait_s);
		usleep(5000);
	}
	if (!S_ISSOCK(st.st_mode))
		return wr_fail(msg, WR_EINVAL, "%s is not a socket", port->memif);
	return 0;
}

static int create_device(struct wr_load *l, const struct wr_load_port *port, struct wr_errmsg *msg)
{
	char args[512], name[64];
	int n;

	if (port->vdev) {
		size_t bytes = strcspn(port->vdev, ",");
		if (bytes >= sizeof(name))
			return wr_fail(msg, WR_EINVAL, "--vdev=%s: the device's name is too long",
				port->vdev);
		memcpy(name, port->vdev, bytes);
		name[bytes] = 0;
		n = snprintf(
			args, sizeof(args), "%s", port->vdev[bytes] ? port->vdev + bytes + 1 : "");
	} else {
		snprintf(name, sizeof(name), "net_memif_wrload");
		n = snprintf(args, sizeof(args),
			"role=client,id=%u,socket=%s,socket-abstract=no,rsize=%u,bsize=%u,zero-"
			"copy=no",
			port->memif_id, port->memif, port->ring_log2, WR_LOAD_BUFFER);
	}
	if ((size_t)n >= sizeof(args))
		return wr_fail(msg, WR_EINVAL, "the device's description is too long");
	if (rte_eal_hotplug_add("vdev", name, args) != 0 ||
		rte_eth_dev_get_port_by_name(name, &l->port_id) != 0)
		return wr_fail(msg, WR_EIO,
			"the port %s,%s does not come up: is the DPDK driver installed, is the "
			"socket's folder writable?",
			name, args);
	return 0;
}

static int configure_port(struct wr_load *l, unsigned int n_queues, struct wr_errmsg *msg)
{
	struct rte_eth_conf conf = {0};

	l->n_queues = (uint16_t)n_queues;
	int err = rte_eth_dev_configure(l->port_id, l->n_queues, l->n_queues, &conf);

	if (err)
		return wr_fail(msg, WR_ENOTSUP,
			"the port takes no %u queue pairs (%s): set --queues lower", l->n_queues,
			rte_strerror(-err));
	l->configured = true;
	for (uint16_t q = 0; q < l->n_queues && !err; q++) {
		err = rte_eth_rx_queue_setup(
			l->port_id, q, RING_DESC, SOCKET_ID_ANY, NULL, l->pool);
		if (!err)
			err = rte_eth_tx_queue_setup(l->port_id, q, RING_DESC, SOCKET_ID_ANY, NULL);
	}
	if (err)
		return wr_fail(msg, WR_ENOMEM, "a queue of the port cannot be set up: %s",
			rte_strerror(-err));
	wr_gate_attach(l->port_id, l->n_queues, l->options.memif != NULL, false);
	l->attached = true;
	return 0;
}

static void stop_port(void *arg)
{
	struct wr_load *l = arg;

	if (l->started)
		(void)rte_eth_dev_stop(l->port_id);
	l->started = false;
}

static void start_port(void *arg)
{
	struct wr_load *l = arg;

	l->started = rte_eth_dev_start(l->port_id) == 0;
}

/* Whether the busy thread is in a loop that passes the gate: the driver's callbacks wait for it. */
static void set_online(struct wr_load *l, bool online)
{
	if (online && !l->online)
		wr_gate_worker_online(0);
	else if (!online && l->online)
		wr_gate_worker_offline(0);
	l->online = online;
}

/* A memif client tries to connect in start only, so start is what gets repeated. */
static int wait_for_link(struct wr_load *l, uint64_t until_ns, struct wr_errmsg *msg)
{
	const struct wr_load_port *port = &l->options;
	struct rte_eth_link link;
	uint64_t retry_ns = 0;

	for (;;) {
		if (wr_stop_requested())
			return wr_fail(msg, WR_EINTR, "stopped");
		if (l->started && rte_eth_link_get_nowait(l->port_id, &link) == 0 &&
			link.link_status == RTE_ETH_LINK_UP)
			return 0;
		uint64_t now = wr_clock_ns();
		if (now > until_ns)
			break;
		if (now > retry_ns) {
			wr_gate_run(stop_port, l);
			wr_gate_run(start_port, l);
			retry_ns = now + (l->started ? 1000000000u : 100000000u);
		}
		usleep(1000);
	}
	return wr_fail(msg, WR_EAGAIN,
		"no link within %.1f s: does the server serve memif id %u on %s, with at least %u "
		"queues (--queues), and is "
		"no other client connected?",
		port->wait_s, port->memif_id, port->memif ? port->memif : port->vdev, l->n_queues);
}

int wr_load_open(struct wr_load **out, const struct wr_load_port *port,
	const struct wr_load_address *address, struct wr_errmsg *msg)
{
	*out = NULL;
	if (!port->memif == !port->vdev)
		return wr_fail(msg, WR_EINVAL, "give either --memif=SOCKET or --vdev=DEVICE");
	if (port->n_queues < 1 || port->n_queues > WR_LOAD_MAX_QUEUES)
		return wr_fail(msg, WR_EINVAL, "--queues must be 1 … %d", WR_LOAD_MAX_QUEUES);

	struct wr_load *l = calloc(1, sizeof(*l));
	if (!l)
		return wr_fail(msg, WR_ENOMEM, "not enough memory");
	l->options = *port;
	l->address = *address;
	wr_load_head_init(&l->head, address);
	l->tsc_hz = wr_clock_tsc_hz();
	wr_wire_random(&l->tag, sizeof(l->tag));
	l->tag &= WR_ID_TAG_MASK;

	uint64_t until_ns = wr_clock_ns() + (uint64_t)(port->wait_s * 1e9);
	int err = wait_for_socket(port, until_ns, msg);
	if (!err)
		err = start_eal(l, port, msg);
	if (!err) {
		l->pool = rte_pktmbuf_pool_create("wrload", POOL_MBUFS, POOL_CACHE, 0,
			RTE_PKTMBUF_HEADROOM + WR_LOAD_BUFFER, SOCKET_ID_ANY);
		if (!l->pool)
			err = wr_fail(msg, WR_ENOMEM, "no memory for frames: %s",
				rte_strerror(rte_errno));
	}
	if (!err)
		err = create_device(l, port, msg);
	if (!err)
		err = configure_port(l, port->narrow && port->memif ? 1 : port->n_queues, msg);
	if (!err)
		err = wait_for_link(l, until_ns, msg);
	if (err) {
		wr_load_close(l);
		return err;
	}
	set_online(l, true);
	*out = l;
	return 0;
}

/* The link with n queue pairs: down, then up. */
static int relink(struct wr_load *l, unsigned int n, uint64_t until_ns, struct wr_errmsg *msg)
{
	set_online(l, false);
	wr_gate_run(stop_port, l);
	int err = configure_port(l, n, msg);
	if (!err)
		err = wait_for_link(l, until_ns, msg);
	set_online(l, true);
	return err;
}

/* HELLO over the one pair that every server takes says how many it has; then as many as are wanted
 * and there. */
static int widen(struct wr_load *l, uint64_t until_ns, struct wr_errmsg *msg)
{
	int err = wr_load_hello(l, msg);
	unsigned int n = err ? 1 : WR_MIN(l->options.n_queues, l->server.n_ports);

	return n > l->n_queues ? relink(l, n, until_ns, msg) : err;
}

int wr_load_greet(struct wr_load *l, struct wr_errmsg *msg)
{
	uint64_t until_ns = wr_clock_ns() + (uint64_t)(l->options.wait_s * 1e9);

	return l->options.memif ? widen(l, until_ns, msg) : wr_load_hello(l, msg);
}

int wr_load_reconnect(struct wr_load *l, double seconds, struct wr_errmsg *msg)
{
	uint64_t until_ns = wr_clock_ns() + (uint64_t)(seconds * 1e9);
	int err;

	l->hello_id = 0;
	do {
		err = relink(l, 1, until_ns, msg);
		if (!err)
			err = widen(l, until_ns, msg);
	} while (err == WR_EAGAIN && wr_clock_ns() < until_ns);
	if (err == WR_EAGAIN)
		(void)wr_fail(msg, err,
			"the server has gone, and none came within %.1f s (--outage)", seconds);
	return err;
}

void wr_load_close(struct wr_load *l)
{
	char folder[128];

	if (!l)
		return;
	(void)wr_load_unstage(l);
	set_online(l, false);
	wr_gate_run(stop_port, l);
	if (l->attached)
		wr_gate_detach();
	if (l->configured)
		(void)rte_eth_dev_close(l->port_id);
	if (l->pool)
		rte_mempool_free(l->pool);
	if (l->eal) {
		(void)rte_eal_cleanup();
		/* The EAL leaves its run-time folder behind; it holds nothing of ours. */
		snprintf(folder, sizeof(folder), "/var/run/dpdk/wrload-%d", (int)getpid());
		(void)rmdir(folder);
	}
	free(l);
}
