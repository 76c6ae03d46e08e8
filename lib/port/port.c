/* SPDX-License-Identifier: BSD-3-Clause */
/* The device: vdev arguments, pool, queues, start and end. Control path only. */
#include "port_int.h"

#include "gate.h"
#include "kernel_tap.h"
#include "offload.h"
#include "spread.h"

#include <rte_bus_vdev.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <string.h>
#include <unistd.h>

/* Buffers that net_af_xdp gives a queue's fill ring, and entries of its completion ring. */
#define XDP_FILL       2048
#define XDP_COMPLETION 2048

struct wr_port {
	struct wr_port_options o;
	char name[PORT_NAME_BYTES]; /* DPDK's */
	char socket[108];
	uint16_t ethdev, n_queues;
	bool memif, probed, started;
	bool xdp; /* the shared interface is open */
	struct kernel_tap kernel;
	struct rte_mempool *pool;
	struct spread spread;
};

const char *wr_port_kind_name(enum wr_port_kind kind)
{
	static const char *const names[] = {
		[WR_PORT_MEMIF] = "memif",
		[WR_PORT_AF_XDP] = "af_xdp",
		[WR_PORT_TAP] = "tap",
		[WR_PORT_NIC] = "nic",
		[WR_PORT_VDEV] = "vdev",
	};
	return names[kind];
}

unsigned int wr_port_mbufs_needed(const struct wr_port_options *o)
{
	/* memif copies: only bursts in flight and every lcore's cache hold mbufs; other drivers
	 * fill their rings. */
	unsigned int rings = 2 * o->ring_size;
	if (o->kind == WR_PORT_MEMIF)
		rings = 0;
	else if (o->kind == WR_PORT_AF_XDP)
		rings = XDP_FILL + o->ring_size + XDP_COMPLETION;
	unsigned int kernel = o->kernel_tap && o->kernel_tap[0] ? KERNEL_TAP_MBUFS : 0;
	return kernel + o->n_queues * (rings + 4 * WR_PORT_MAX_BURST + 2 * PORT_POOL_CACHE) + 1024;
}

static unsigned int pool_size(const struct wr_port_options *o)
{
	return o->n_mbufs ? o->n_mbufs : wr_port_mbufs_needed(o);
}

uint64_t wr_port_bytes_needed(const struct wr_port_options *o)
{
	return (uint64_t)pool_size(o) *
	       (PORT_DATA_ROOM + WR_PORT_PRIV_BYTES + sizeof(struct rte_mbuf) + 2 * WR_CACHE_LINE);
}

/* The device's name and arguments. */
static int device_arguments(struct wr_port *p, char *args, size_t size, struct wr_errmsg *msg)
{
	const struct wr_port_options *o = &p->o;
	static const uint8_t none[6];
	static unsigned int n_opened;

	args[0] = '\0';
	if (o->kind == WR_PORT_MEMIF) {
		int n = snprintf(args, size,
			"role=%s,id=%u,socket-abstract=no,socket=%s,rsize=%d,bsize=2048",
			o->server ? "server" : "client", o->id, p->socket,
			__builtin_ctz(o->ring_size));
		if (memcmp(o->mac, none, 6) != 0)
			snprintf(args + n, size - (size_t)n, ",mac=%02x:%02x:%02x:%02x:%02x:%02x",
				o->mac[0], o->mac[1], o->mac[2], o->mac[3], o->mac[4], o->mac[5]);
	} else if (o->kind == WR_PORT_TAP) {
		snprintf(args, size, "iface=%s", o->interface);
	} else if (o->kind == WR_PORT_VDEV && strchr(o->device, ',')) {
		snprintf(args, size, "%s", strchr(o->device, ',') + 1);
	}
	if (o->kind == WR_PORT_NIC)
		snprintf(p->name, sizeof(p->name), "%s", o->device);
	else if (o->kind == WR_PORT_VDEV)
		snprintf(p->name, sizeof(p->name), "%.*s", (int)strcspn(o->device, ","), o->device);
	else
		snprintf(p->name, sizeof(p->name), "net_%s%u", wr_port_kind_name(o->kind),
			n_opened++);
	return o->kind == WR_PORT_AF_XDP ? wr_xdp_open(o, p->n_queues, args, size, msg) : 0;
}

static int probe(struct wr_port *p, struct wr_errmsg *msg)
{
	const struct wr_port_options *o = &p->o;
	char args[512];

	int err = device_arguments(p, args, sizeof(args), msg);
	if (err)
		return err;
	p->xdp = o->kind == WR_PORT_AF_XDP;
	bool nic = o->kind == WR_PORT_NIC; /* EAL probed it when it started */
	/* A virtual device that the process has made itself (rte_eth_from_rings) is taken as it is.
	 */
	bool made =
		o->kind == WR_PORT_VDEV && rte_eth_dev_get_port_by_name(p->name, &p->ethdev) == 0;
	if ((!nic && !made && rte_eal_hotplug_add("vdev", p->name, args) != 0) ||
		rte_eth_dev_get_port_by_name(p->name, &p->ethdev) != 0)
		return wr_fail(msg, WR_EIO,
			"port %s does not come up: the driver refused \"%s\"; see its line above, "
			"or check that its library is installed (dpdk)",
			p->name, args);
	p->probed = true;
	if (p->memif && !wr_gate_is_interposed() && o->server)
		return wr_fail(msg, WR_ESTATE,
			"the memif driver is not behind the gate: this executable was linked "
			"without exported symbols (-rdynamic); mend the build");
	return 0;
}

static int configure(struct wr_port *p, struct wr_errmsg *msg)
{
	struct rte_eth_conf conf = {0};
	struct rte_eth_dev_info info;
	int ret = rte_eth_dev_info_get(p->ethdev, &info);
	uint16_t n = p->n_queues;

	if (ret == 0)
		n = p->n_queues = WR_MIN(n, WR_MIN(info.max_rx_queues, info.max_tx_queues));
	if (n == 0)
		return wr_fail(msg, WR_EIO, "port %s has no queues", p->name);
	conf.rxmode.mtu = p->o.mtu;
	wr_offload_request(&info, p->o.trust_checksums, &conf);
	uint16_t n_rx = (uint16_t)p->o.ring_size, n_tx = n_rx;
	p->spread.n_queues = n;
	if (ret == 0) {
		wr_spread_configure(&p->spread, &info, &conf);
		ret = rte_eth_dev_configure(p->ethdev, n, n, &conf);
	}
	if (ret != 0 && conf.rxmode.mq_mode != RTE_ETH_MQ_RX_NONE) {
		/* It promised RSS of this kind and refuses it: hand-over does without. */
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
		memset(&conf.rx_adv_conf, 0, sizeof(conf.rx_adv_conf));
		p->spread.dst_only = false;
		ret = rte_eth_dev_configure(p->ethdev, n, n, &conf);
	}
	if (ret == 0)
		ret = rte_eth_dev_adjust_nb_rx_tx_desc(p->ethdev, &n_rx, &n_tx);
	for (uint16_t q = 0; q < n && ret == 0; q++) {
		ret = rte_eth_rx_queue_setup(
			p->ethdev, q, n_rx, (unsigned int)p->o.socket_id, NULL, p->pool);
		if (ret == 0)
			ret = rte_eth_tx_queue_setup(
				p->ethdev, q, n_tx, (unsigned int)p->o.socket_id, NULL);
	}
	if (ret != 0 && p->xdp)
		return wr_xdp_refusal(&p->o, -ret, msg);
	if (ret != 0)
		return wr_fail(msg, WR_EIO,
			"port %s: the driver refuses %u queues of %u with mtu %u: %s", p->name, n,
			p->o.ring_size, p->o.mtu, rte_strerror(-ret));
	return 0;
}

int wr_port_open(struct wr_port **out, const struct wr_port_options *o, struct wr_errmsg *msg)
{
	*out = NULL;
	int err = wr_port_check(o, msg);
	if (err)
		return err;
	struct wr_port *p = calloc(1, sizeof(*p));
	if (!p)
		return wr_fail(msg, WR_ENOMEM, "out of memory");
	p->o = *o;
	p->memif = o->kind == WR_PORT_MEMIF;
	p->n_queues = o->n_queues;
	if (o->kind == WR_PORT_AF_XDP)
		p->n_queues = (uint16_t)WR_MIN(p->n_queues, wr_xdp_n_queues(o->interface));
	if (p->memif)
		snprintf(p->socket, sizeof(p->socket), "%s", o->socket);
	err = wr_pool_make(&p->pool, pool_size(o), o->socket_id, o->kind == WR_PORT_AF_XDP, msg);
	if (!err)
		err = probe(p, msg);
	if (!err)
		err = configure(p, msg);
	if (!err && p->xdp)
		err = wr_xdp_configured(&p->o, msg);
	if (!err && o->kernel_tap && o->kernel_tap[0]) {
		uint8_t mac[6];
		wr_port_mac(p, mac);
		err = wr_kernel_tap_open(&p->kernel, o->kernel_tap, mac, o->mtu, p->pool, msg);
	}
	if (err) {
		wr_port_close(p);
		return err;
	}
	wr_gate_attach(p->ethdev, p->n_queues, p->memif, p->memif && p->o.server);
	*out = p;
	return 0;
}

static void start_spread(struct wr_port *p)
{
	struct spread *s = &p->spread;

	s->ethdev = p->ethdev;
	s->first_port = p->o.udp_port;
	s->n_ports = WR_MAX(p->o.n_udp_ports, p->n_queues);
	if (p->memif)
		s->how = WR_PORT_SPREAD_SENDER;
	else if (p->xdp)
		s->how = p->n_queues > 1 ? WR_PORT_SPREAD_KERNEL : WR_PORT_SPREAD_ONE;
	else
		wr_spread_start(s);
}

int wr_port_start(struct wr_port *p, struct wr_errmsg *msg)
{
	if (p->xdp && wr_xdp_promiscuous())
		(void)rte_eth_promiscuous_enable(p->ethdev);
	int ret = rte_eth_dev_start(p->ethdev);
	if (ret != 0) {
		if (p->memif && !p->o.server)
			return wr_fail(msg, WR_EIO, "no memif server answers at %s; start it first",
				p->socket);
		return wr_fail(
			msg, WR_EIO, "port %s does not start: %s", p->name, rte_strerror(-ret));
	}
	p->started = true;
	/* Virtual devices without a filter refuse, and let everything through. */
	if (!p->xdp && wr_offload_join(p->ethdev, &p->o.addresses, p->kernel.started) != 0 &&
		p->o.kind == WR_PORT_NIC)
		wr_log(WR_LOG_WARN, "port",
			"%s: its driver has no multicast filter to change; when neighbours do not "
			"find the IPv6 addresses, give them static entries",
			p->name);
	start_spread(p);
	wr_gate_run(wr_gate_refresh, NULL);
	return p->xdp ? wr_xdp_start(p->o.udp_port, p->o.n_udp_ports, msg) : 0;
}

enum wr_port_spread wr_port_spread(const struct wr_port *p)
{
	return p->spread.how;
}

void wr_port_tick(struct wr_port *p)
{
	if (p->xdp)
		wr_xdp_tick();
}

static void stop_device(void *arg)
{
	struct wr_port *p = arg;
	if (rte_eth_dev_stop(p->ethdev) != 0)
		wr_log(WR_LOG_WARN, "port", "%s did not stop cleanly", p->name);
	wr_gate_refresh(NULL);
}

static void remove_device(void *arg)
{
	struct wr_port *p = arg;
	wr_kernel_tap_close(&p->kernel);
	/* A NIC stays EAL's: it is closed, and let go by rte_eal_cleanup. */
	int ret = p->o.kind == WR_PORT_NIC ? rte_eth_dev_close(p->ethdev)
					   : rte_eal_hotplug_remove("vdev", p->name);
	if (ret != 0)
		wr_log(WR_LOG_WARN, "port", "%s was not removed cleanly", p->name);
	if (p->memif)
		wr_gate_driver_gone();
}

void wr_port_close(struct wr_port *p)
{
	if (!p)
		return;
	wr_capture_stop();
	if (p->xdp && p->started)
		wr_xdp_stop();
	wr_spread_stop(&p->spread);
	if (p->started)
		wr_gate_run(stop_device, p);
	if (p->probed) {
		wr_gate_detach();
		/* The driver lets go of its last control channel in EAL's interrupt thread. */
		(void)usleep(20000);
		wr_gate_run(remove_device, p);
		wr_gate_remove_leftovers();
	}
	if (p->memif && p->o.server && p->probed)
		(void)unlink(p->socket);
	if (p->xdp)
		wr_xdp_close();
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

unsigned int wr_port_n_queues(const struct wr_port *p)
{
	return p->n_queues;
}

void wr_port_mac(const struct wr_port *p, uint8_t mac[6])
{
	static const uint8_t none[6];
	struct rte_ether_addr a = {0};
	/* net_tap's own address is the one of the kernel's interface: we are another station. */
	if (p->o.kind == WR_PORT_TAP && memcmp(p->o.mac, none, 6) != 0) {
		memcpy(mac, p->o.mac, 6);
		return;
	}
	(void)rte_eth_macaddr_get(p->ethdev, &a);
	memcpy(mac, a.addr_bytes, 6);
}

void wr_port_describe(const struct wr_port *p, char *out, size_t size)
{
	const struct wr_port_options *o = &p->o;
	const char *kind = wr_port_kind_name(o->kind);
	char how[64] = "", spread[192] = "";
	if (p->xdp)
		wr_xdp_describe(how, sizeof(how));
	if (p->started)
		wr_spread_describe(&p->spread, spread, sizeof(spread));
	if (o->kind == WR_PORT_MEMIF)
		snprintf(out, size, "memif %s id %u", p->socket, o->id);
	else
		snprintf(out, size, "%s %s, %u queue%s%s%s%s", kind,
			o->kind == WR_PORT_AF_XDP || o->kind == WR_PORT_TAP ? o->interface : o->device,
			p->n_queues, p->n_queues == 1 ? "" : "s", how[0] ? ", " : "", how, spread);
	size_t n = strlen(out);
	if (p->kernel.started)
		snprintf(out + n, size - n, ", kernel tap %s", o->kernel_tap);
}

unsigned int wr_port_eal_arguments(const struct wr_port_options *o, const char **args)
{
	if (o->kind == WR_PORT_NIC) {
		args[0] = "-a";
		args[1] = o->device;
		return 2;
	}
	args[0] = "--no-pci";
	/* One piece of memory to the driver, whatever lies behind it physically. */
	args[1] = "--iova-mode=va";
	return o->kind == WR_PORT_AF_XDP ? 2 : 1;
}

int wr_port_local(const struct wr_port *p, uint16_t n_ports, struct wr_frame_local *us)
{
	static const struct wr_port_addresses kernels;
	uint8_t mac[6];

	wr_port_mac(p, mac);
	int err = wr_frame_local_init(
		us, mac, p->xdp ? &kernels : &p->o.addresses, p->o.udp_port, n_ports);
	us->any = p->xdp;
	if (!err)
		wr_offload_apply(p->ethdev, p->o.trust_checksums, us);
	return err;
}

bool wr_port_has_kernel_tap(const struct wr_port *p)
{
	return p->kernel.started;
}

uint16_t wr_port_to_kernel(struct wr_port *p, struct rte_mbuf **m, unsigned int n)
{
	return rte_eth_tx_burst(p->kernel.ethdev, 0, m, (uint16_t)n);
}

uint16_t wr_port_from_kernel(struct wr_port *p, struct rte_mbuf **m, unsigned int n)
{
	return rte_eth_rx_burst(p->kernel.ethdev, 0, m, (uint16_t)n);
}
