/* SPDX-License-Identifier: BSD-3-Clause */
/* The device: vdev arguments, pool, queues, start and end. Control path only. */
#include "wr_port.h"

#include "gate.h"

#include <rte_bus_vdev.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DATA_ROOM  (RTE_PKTMBUF_HEADROOM + 2048)
#define PRIV_BYTES WR_PORT_PRIV_BYTES
#define POOL_CACHE 256
#define MAX_RING   16384

struct wr_port {
	struct wr_port_options o;
	char vdev[32];
	char socket[108];
	uint16_t ethdev;
	bool memif, probed, started;
	struct rte_mempool *pool;
};

static bool is_memif(const struct wr_port_options *o)
{
	return strcmp(o->kind, "memif") == 0;
}

unsigned int wr_port_mbufs_needed(const struct wr_port_options *o)
{
	/* memif copies: only bursts in flight and every lcore's cache hold mbufs; other drivers
	 * fill their rings. */
	unsigned int rings = is_memif(o) ? 0 : 2 * o->ring_size;
	return o->n_queues * (rings + 4 * WR_PORT_MAX_BURST + 2 * POOL_CACHE) + 1024;
}

static unsigned int pool_size(const struct wr_port_options *o)
{
	return o->n_mbufs ? o->n_mbufs : wr_port_mbufs_needed(o);
}

uint64_t wr_port_bytes_needed(const struct wr_port_options *o)
{
	return (uint64_t)pool_size(o) *
	       (DATA_ROOM + PRIV_BYTES + sizeof(struct rte_mbuf) + 2 * WR_CACHE_LINE);
}

int wr_port_check_socket(const char *path, struct wr_errmsg *msg)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct stat st;
	char dir[sizeof(un.sun_path)];

	if (path[0] != '/' || strlen(path) >= sizeof(un.sun_path))
		return wr_fail(msg, WR_EINVAL,
			"port.socket = %s: give an absolute path of at most %zu characters", path,
			sizeof(un.sun_path) - 1);
	strcpy(un.sun_path, path);
	strcpy(dir, path);
	*strrchr(dir, '/') = '\0';
	if (access(dir[0] ? dir : "/", R_OK | W_OK | X_OK) != 0)
		return wr_fail(msg, WR_EPERM,
			"port.socket = %s: folder %s: %s; create it or choose another", path, dir,
			strerror(errno));
	if (stat(path, &st) != 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return wr_fail(msg, WR_EIO,
			"port.socket = %s: exists and is no socket; remove it or choose another",
			path);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return wr_fail(msg, WR_EIO, "socket: %s", strerror(errno));
	int alive = connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0 || errno != ECONNREFUSED;
	close(fd);
	if (alive)
		return wr_fail(msg, WR_EIO,
			"port.socket = %s: in use by another process; stop it or choose another",
			path);
	if (unlink(path) != 0)
		return wr_fail(msg, WR_EIO,
			"port.socket = %s: a dead server's socket cannot be removed: %s", path,
			strerror(errno));
	return 0;
}

static int check_options(const struct wr_port_options *o, struct wr_errmsg *msg)
{
	if (o->n_queues == 0 || o->n_queues > WR_PORT_MAX_QUEUES)
		return wr_fail(msg, WR_EINVAL, "a port has 1 … %d queue pairs, not %u",
			WR_PORT_MAX_QUEUES, o->n_queues);
	if (o->ring_size < 32 || o->ring_size > MAX_RING || (o->ring_size & (o->ring_size - 1)))
		return wr_fail(msg, WR_EINVAL, "port.ring_size = %u: a power of two from 32 to %d",
			o->ring_size, MAX_RING);
	if (is_memif(o) && o->server)
		return wr_port_check_socket(o->socket, msg);
	return 0;
}

static int probe(struct wr_port *p, struct wr_errmsg *msg)
{
	const struct wr_port_options *o = &p->o;
	char args[256];

	if (p->memif) {
		static unsigned int n_opened;
		static const uint8_t none[6];
		snprintf(p->vdev, sizeof(p->vdev), "net_memif%u", n_opened++);
		int n = snprintf(args, sizeof(args),
			"role=%s,id=%u,socket-abstract=no,socket=%s,rsize=%d,bsize=2048",
			o->server ? "server" : "client", o->id, p->socket,
			__builtin_ctz(o->ring_size));
		if (memcmp(o->mac, none, 6) != 0)
			snprintf(args + n, sizeof(args) - (size_t)n,
				",mac=%02x:%02x:%02x:%02x:%02x:%02x", o->mac[0], o->mac[1],
				o->mac[2], o->mac[3], o->mac[4], o->mac[5]);
	} else {
		const char *comma = strchr(o->kind, ',');
		size_t n = comma ? (size_t)(comma - o->kind) : strlen(o->kind);
		if (n >= sizeof(p->vdev))
			return wr_fail(
				msg, WR_EINVAL, "port.kind = %s: device name too long", o->kind);
		memcpy(p->vdev, o->kind, n);
		snprintf(args, sizeof(args), "%s", comma ? comma + 1 : "");
	}
	if (rte_eal_hotplug_add("vdev", p->vdev, args) != 0 ||
		rte_eth_dev_get_port_by_name(p->vdev, &p->ethdev) != 0)
		return wr_fail(msg, WR_EIO,
			"port %s does not come up: the driver refused \"%s\"; see its line above, "
			"or check "
			"that its library is installed (dpdk)",
			p->vdev, args);
	p->probed = true;
	if (p->memif && !wr_gate_is_interposed() && o->server)
		return wr_fail(msg, WR_ESTATE,
			"the memif driver is not behind the gate: this executable was linked "
			"without "
			"exported symbols (-rdynamic); mend the build");
	return 0;
}

static int make_pool(struct wr_port *p, struct wr_errmsg *msg)
{
	static unsigned int n_made;
	char name[RTE_MEMPOOL_NAMESIZE];
	snprintf(name, sizeof(name), "wr_pool%u", n_made++);
	p->pool = rte_pktmbuf_pool_create(
		name, pool_size(&p->o), POOL_CACHE, PRIV_BYTES, DATA_ROOM, p->o.socket_id);
	if (!p->pool)
		return wr_fail(msg, WR_ENOMEM,
			"mbuf pool of %u: %s; give EAL more memory (memory.limit, hugepages)",
			pool_size(&p->o), rte_strerror(rte_errno));
	return 0;
}

static int configure(struct wr_port *p, struct wr_errmsg *msg)
{
	struct rte_eth_conf conf = {0};
	struct rte_eth_dev_info info;
	uint16_t n = p->o.n_queues;
	int ret = rte_eth_dev_info_get(p->ethdev, &info);

	if (ret == 0 && (info.max_rx_queues < n || info.max_tx_queues < n))
		return wr_fail(msg, WR_EINVAL,
			"port %s has %u/%u queues, %u worker lcores need one each; use fewer "
			"(server.lcores)",
			p->vdev, info.max_rx_queues, info.max_tx_queues, n);
	conf.rxmode.mtu = p->o.mtu;
	if (ret == 0)
		ret = rte_eth_dev_configure(p->ethdev, n, n, &conf);
	for (uint16_t q = 0; q < n && ret == 0; q++) {
		ret = rte_eth_rx_queue_setup(p->ethdev, q, (uint16_t)p->o.ring_size,
			(unsigned int)p->o.socket_id, NULL, p->pool);
		if (ret == 0)
			ret = rte_eth_tx_queue_setup(p->ethdev, q, (uint16_t)p->o.ring_size,
				(unsigned int)p->o.socket_id, NULL);
	}
	if (ret != 0)
		return wr_fail(msg, WR_EIO,
			"port %s: the driver refuses %u queues of %u with mtu %u: %s", p->vdev, n,
			p->o.ring_size, p->o.mtu, rte_strerror(-ret));
	return 0;
}

int wr_port_open(struct wr_port **out, const struct wr_port_options *o, struct wr_errmsg *msg)
{
	*out = NULL;
	int err = check_options(o, msg);
	if (err)
		return err;
	struct wr_port *p = calloc(1, sizeof(*p));
	if (!p)
		return wr_fail(msg, WR_ENOMEM, "out of memory");
	p->o = *o;
	p->memif = is_memif(o);
	if (p->memif)
		snprintf(p->socket, sizeof(p->socket), "%s", o->socket);
	err = make_pool(p, msg);
	if (!err)
		err = probe(p, msg);
	if (!err)
		err = configure(p, msg);
	if (err) {
		wr_port_close(p);
		return err;
	}
	wr_gate_attach(p->ethdev, p->o.n_queues, p->memif, p->memif && p->o.server);
	*out = p;
	return 0;
}

int wr_port_start(struct wr_port *p, struct wr_errmsg *msg)
{
	int ret = rte_eth_dev_start(p->ethdev);
	if (ret != 0) {
		if (p->memif && !p->o.server)
			return wr_fail(msg, WR_EIO, "no memif server answers at %s; start it first",
				p->socket);
		return wr_fail(
			msg, WR_EIO, "port %s does not start: %s", p->vdev, rte_strerror(-ret));
	}
	p->started = true;
	wr_gate_run(wr_gate_refresh, NULL);
	return 0;
}

static void stop_device(void *arg)
{
	struct wr_port *p = arg;
	if (rte_eth_dev_stop(p->ethdev) != 0)
		wr_log(WR_LOG_WARN, "port", "%s did not stop cleanly", p->vdev);
	wr_gate_refresh(NULL);
}

static void remove_device(void *arg)
{
	struct wr_port *p = arg;
	if (rte_eal_hotplug_remove("vdev", p->vdev) != 0)
		wr_log(WR_LOG_WARN, "port", "%s was not removed cleanly", p->vdev);
}

void wr_port_close(struct wr_port *p)
{
	if (!p)
		return;
	if (p->started)
		wr_gate_run(stop_device, p);
	if (p->probed) {
		wr_gate_detach();
		/* The driver lets go of its last control channel in EAL's interrupt thread. */
		(void)usleep(20000);
		wr_gate_run(remove_device, p);
	}
	if (p->memif && p->o.server && p->probed)
		(void)unlink(p->socket);
	rte_mempool_free(p->pool);
	free(p);
}

uint16_t wr_port_receive(struct wr_port *p, unsigned int queue, struct rte_mbuf **m, unsigned int n)
{
	return rte_eth_rx_burst(p->ethdev, (uint16_t)queue, m, (uint16_t)n);
}

uint16_t wr_port_transmit(
	struct wr_port *p, unsigned int queue, struct rte_mbuf **m, unsigned int n)
{
	return rte_eth_tx_burst(p->ethdev, (uint16_t)queue, m, (uint16_t)n);
}

uint16_t wr_port_ethdev(const struct wr_port *p)
{
	return p->ethdev;
}

struct rte_mempool *wr_port_pool(const struct wr_port *p)
{
	return p->pool;
}

bool wr_port_link_up(const struct wr_port *p)
{
	struct rte_eth_link link = {0};
	return rte_eth_link_get_nowait(p->ethdev, &link) == 0 &&
	       link.link_status == RTE_ETH_LINK_UP;
}

void wr_port_mac(const struct wr_port *p, uint8_t mac[6])
{
	struct rte_ether_addr a = {0};
	(void)rte_eth_macaddr_get(p->ethdev, &a);
	memcpy(mac, a.addr_bytes, 6);
}
