/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The way to the kernel for frames that are not ours: a second device, net_tap, with one queue. BGP
 * and SSH keep-alives and transfers of some thousand frames a second are what it is built for: each
 * frame costs its worker one system call of the driver (about 1.5 µs), in both directions. An idle
 * one costs a comparison a poll: the kernel's frames raise a signal, and only then the driver
 * reads. (vhost-net behind virtio_user would spare the calls and cost a kernel thread; it needs a
 * module that not every host has.)
 */
#include "kernel_tap.h"

#include <rte_bus_vdev.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

#define TAP_MTU 1500 /* net_tap takes no longer frames */

int wr_kernel_tap_check(const char *interface, struct wr_errmsg *msg)
{
	if (if_nametoindex(interface) != 0)
		return wr_fail(msg, WR_EIO,
			"port.kernel_tap = %s: there is an interface of that name; choose another",
			interface);
	if (access("/dev/net/tun", R_OK | W_OK) != 0)
		return wr_fail(msg, WR_EPERM,
			"port.kernel_tap = %s: /dev/net/tun: %s; load the module tun, or give the "
			"daemon access to it",
			interface, strerror(errno));
	return 0;
}

static int configure(struct kernel_tap *k, unsigned int mtu, struct rte_mempool *pool)
{
	struct rte_eth_conf conf = {0};
	int ret = rte_eth_dev_configure(k->ethdev, 1, 1, &conf);
	if (ret == 0)
		ret = rte_eth_rx_queue_setup(
			k->ethdev, 0, KERNEL_TAP_MBUFS, SOCKET_ID_ANY, NULL, pool);
	if (ret == 0)
		ret = rte_eth_tx_queue_setup(k->ethdev, 0, KERNEL_TAP_MBUFS, SOCKET_ID_ANY, NULL);
	if (ret == 0)
		ret = rte_eth_dev_set_mtu(k->ethdev, (uint16_t)WR_MIN(mtu, TAP_MTU));
	if (ret == 0)
		ret = rte_eth_dev_start(k->ethdev);
	k->started = ret == 0;
	return ret;
}

int wr_kernel_tap_open(struct kernel_tap *k, const char *interface, const uint8_t mac[6],
	unsigned int mtu, struct rte_mempool *pool, struct wr_errmsg *msg)
{
	static unsigned int n_opened;
	char args[96];

	int err = wr_kernel_tap_check(interface, msg);
	if (err)
		return err;
	snprintf(k->name, sizeof(k->name), "net_tap_kernel%u", n_opened++);
	snprintf(args, sizeof(args), "iface=%s,mac=%02x:%02x:%02x:%02x:%02x:%02x", interface,
		mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	int ret = rte_eal_hotplug_add("vdev", k->name, args);
	k->probed = ret == 0;
	if (ret == 0)
		ret = rte_eth_dev_get_port_by_name(k->name, &k->ethdev);
	if (ret == 0)
		ret = configure(k, mtu, pool);
	if (ret != 0)
		return wr_fail(msg, WR_EIO,
			"port.kernel_tap = %s: net_tap does not make it (%s); it needs "
			"CAP_NET_ADMIN, see its line above",
			interface, rte_strerror(-ret));
	return 0;
}

void wr_kernel_tap_close(struct kernel_tap *k)
{
	if (k->started && rte_eth_dev_stop(k->ethdev) != 0)
		wr_log(WR_LOG_WARN, "port", "%s did not stop cleanly", k->name);
	if (k->probed && rte_eal_hotplug_remove("vdev", k->name) != 0)
		wr_log(WR_LOG_WARN, "port", "%s was not removed cleanly", k->name);
	k->started = k->probed = false;
}
