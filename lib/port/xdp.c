/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A kernel interface shared with the kernel over AF_XDP: whether it can be, what net_af_xdp is
 * told, and what came of it. The program on the interface is steer.c's. Control path only.
 */
#include "port_int.h"

#include "steer.h"

#include <rte_eal.h>

#include <bpf/bpf.h>
#include <linux/ethtool.h>
#include <linux/if_xdp.h>
#include <linux/sockios.h>
#include <net/if.h>

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* What an mbuf of 2,048 bytes of data room leaves to a frame: the kernel keeps 256 bytes in front,
 * two VLAN tags and the Ethernet header lie before the packet. */
#define XDP_MAX_MTU   (2048 - 256 - 18 - 4)
#define REFRESH_TICKS 10

static struct {
	char interface[IFNAMSIZ];
	int claim_fd;
	bool promiscuous, zero_copy;
	unsigned int ticks;
} xdp = {.claim_fd = -1};

static int interface_ioctl(const char *interface, unsigned long request, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", interface);
	int ret = ioctl(fd, request, ifr) == 0 ? 0 : -errno;
	close(fd);
	return ret;
}

unsigned int wr_xdp_n_queues(const char *interface)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq ifr = {.ifr_data = (void *)&channels};
	/* An interface without combined channels (veth) has one stream for an AF_XDP socket. */
	if (interface_ioctl(interface, SIOCETHTOOL, &ifr) != 0 || channels.max_combined == 0)
		return 1;
	return WR_MAX(channels.combined_count, 1u);
}

/* ---- before EAL ---- */
/* AF_XDP sockets and BPF maps, tried out. */
static int check_permitted(struct wr_errmsg *msg)
{
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return wr_fail(msg, errno == EAFNOSUPPORT ? WR_ENOTSUP : WR_EPERM,
			errno == EAFNOSUPPORT
				? "port.kind = af_xdp: this kernel was built without AF_XDP "
				  "(CONFIG_XDP_SOCKETS): %s"
				: "port.kind = af_xdp: no AF_XDP socket is granted: %s; run as "
				  "root, or with CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF and "
				  "CAP_IPC_LOCK",
			strerror(errno));
	close(fd);
	fd = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "wr_probe", 4, 4, 1, NULL);
	if (fd < 0)
		return wr_fail(msg, WR_EPERM,
			"port.kind = af_xdp: no BPF map is granted: %s; run as root, or with "
			"CAP_NET_ADMIN, CAP_BPF and CAP_IPC_LOCK",
			strerror(errno));
	close(fd);
	return 0;
}

int wr_xdp_check(const struct wr_port_options *o, struct wr_errmsg *msg)
{
	struct ifreq ifr = {0};
	int ret = interface_ioctl(o->interface, SIOCGIFFLAGS, &ifr);
	if (ret != 0)
		return wr_fail(msg, WR_ENOENT, "port.interface = %s: %s; ip link lists them",
			o->interface, strerror(-ret));
	if (!(ifr.ifr_flags & IFF_UP))
		return wr_fail(msg, WR_EIO,
			"port.interface = %s: is down; ip link set %s up, then start again",
			o->interface, o->interface);
	if (o->mtu > XDP_MAX_MTU)
		return wr_fail(msg, WR_EINVAL,
			"port.mtu = %u: an AF_XDP frame holds packets of %d bytes; set at most "
			"that (the interface's own MTU may be larger)",
			o->mtu, XDP_MAX_MTU);
	return check_permitted(msg);
}

/* ---- open ---- */
/*
 * An interface is one daemon's. Abstract Unix sockets live in the network namespace, like the
 * interface's index, and end with the process.
 */
static int claim(unsigned int ifindex, struct wr_errmsg *msg)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int n = snprintf(
		un.sun_path + 1, sizeof(un.sun_path) - 1, "wirerankd/interface/%u", ifindex);
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);

	xdp.claim_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (xdp.claim_fd < 0 || bind(xdp.claim_fd, (struct sockaddr *)&un, len) != 0)
		return wr_fail(msg, WR_EIO,
			errno == EADDRINUSE ? "port.interface = %s: another wirerankd shares it "
					      "already; stop that or share another interface"
					    : "port.interface = %s: cannot be claimed",
			xdp.interface);
	return 0;
}

int wr_xdp_open(const struct wr_port_options *o, unsigned int n_queues, char *args, size_t size,
	struct wr_errmsg *msg)
{
	struct ifreq ifr = {0};
	unsigned int ifindex = if_nametoindex(o->interface);

	if (xdp.claim_fd >= 0)
		return wr_fail(msg, WR_ESTATE, "a process can share one interface only");
	if (ifindex == 0)
		return wr_fail(
			msg, WR_ENOENT, "port.interface = %s: %s", o->interface, strerror(errno));
	snprintf(xdp.interface, sizeof(xdp.interface), "%s", o->interface);
	int err = claim(ifindex, msg);
	if (!err)
		err = wr_steer_open(o->interface, ifindex, o->xdp_mode, msg);
	if (err) {
		wr_xdp_close();
		return err;
	}
	/* DPDK sets this flag as it thinks it is when a port starts. */
	xdp.promiscuous = interface_ioctl(o->interface, SIOCGIFFLAGS, &ifr) == 0 &&
			  (ifr.ifr_flags & IFF_PROMISC);
	/* Zero-copy drivers take no buffer that lies in two pages which are not neighbours in
	 * memory: without hugepages most do. */
	bool copy = o->xdp_copy == WR_PORT_XDP_COPY ||
		    (o->xdp_copy == WR_PORT_XDP_COPY_AUTO && !rte_eal_has_hugepages());
	/* Never 0: the driver would sleep in poll, a second at a time, where it now asks at once.
	 */
	snprintf(args, size, "iface=%s,queue_count=%u,xdp_prog=%s,busy_budget=%u,force_copy=%d",
		o->interface, n_queues, wr_steer_path(), WR_MAX(o->xdp_busy_budget, 1u), copy);
	return 0;
}

bool wr_xdp_promiscuous(void)
{
	return xdp.promiscuous;
}

/* AF_XDP sockets of this process: the driver keeps them to itself, /proc does not. Calls f for
 * each; their number. */
static unsigned int each_socket(void (*f)(int fd, void *arg), void *arg)
{
	unsigned int n = 0;
	DIR *d = opendir("/proc/self/fd");
	for (const struct dirent *e; d && (e = readdir(d)) != NULL;) {
		socklen_t len = sizeof(int);
		int fd = atoi(e->d_name), domain = 0;
		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0 || domain != AF_XDP)
			continue;
		n++;
		f(fd, arg);
	}
	if (d)
		closedir(d);
	return n;
}

static void count_zero_copy(int fd, void *arg)
{
	struct xdp_options got = {0};
	socklen_t len = sizeof(got);
	unsigned int *n = arg;
	if (getsockopt(fd, SOL_XDP, XDP_OPTIONS, &got, &len) == 0)
		*n += (got.flags & XDP_OPTIONS_ZEROCOPY) != 0;
}

void wr_xdp_sockets(unsigned int *n, unsigned int *n_zero_copy)
{
	*n_zero_copy = 0;
	*n = each_socket(count_zero_copy, n_zero_copy);
}

static void add_invalid(int fd, void *arg)
{
	struct xdp_statistics got = {0};
	socklen_t len = sizeof(got);
	uint64_t *n = arg;
	if (getsockopt(fd, SOL_XDP, XDP_STATISTICS, &got, &len) == 0)
		*n += got.rx_invalid_descs + got.tx_invalid_descs;
}

uint64_t wr_xdp_invalid(void)
{
	uint64_t n = 0;
	(void)each_socket(add_invalid, &n);
	return n;
}

static void leave_polling_to_kernel(int fd, void *arg)
{
	int zero = 0;
	(void)arg;
	(void)setsockopt(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &zero, sizeof(zero));
	(void)setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &zero, sizeof(zero));
}

int wr_xdp_configured(const struct wr_port_options *o, struct wr_errmsg *msg)
{
	int err = wr_steer_find_maps(msg);
	if (err)
		return err;
	if (o->xdp_busy_budget == 0)
		(void)each_socket(leave_polling_to_kernel, NULL);
	unsigned int n, n_zero_copy;
	wr_xdp_sockets(&n, &n_zero_copy);
	xdp.zero_copy = n > 0 && n == n_zero_copy;
	if (o->xdp_copy == WR_PORT_XDP_ZERO_COPY && !xdp.zero_copy)
		return wr_fail(msg, WR_ENOTSUP,
			"port.xdp_copy = zero_copy: the driver of %s has none; set auto",
			o->interface);
	unsigned int has = wr_xdp_n_queues(o->interface);
	if (has > o->n_queues)
		wr_log(WR_LOG_WARN, "port",
			"%s has %u receive queues and the first %u are served: steer the service "
			"there (ethtool -N %s flow-type udp4 dst-port %u action 0 …) or lower the "
			"number (ethtool -L %s combined %u)",
			o->interface, has, o->n_queues, o->interface, o->udp_port, o->interface,
			o->n_queues);
	return 0;
}

int wr_xdp_refusal(const struct wr_port_options *o, int ret, struct wr_errmsg *msg)
{
	int why = wr_steer_attach_errno();
	if (why)
		return wr_fail(msg, why == EPERM ? WR_EPERM : WR_EIO,
			"port.interface = %s: takes no XDP program in this mode: %s; a driver may "
			"want a smaller MTU, fewer channels (ethtool -L) or LRO off (ethtool -K): "
			"see dmesg; or set port.xdp_mode = generic",
			o->interface, strerror(why));
	return wr_fail(msg, WR_EIO,
		"port.interface = %s: no AF_XDP sockets on its first queues (%s): is another "
		"program's socket there (ss --xdp), or is too little memory allowed to be locked "
		"(ulimit -l, CAP_IPC_LOCK)?",
		o->interface, strerror(ret));
}

/* ---- life ---- */
int wr_xdp_start(uint16_t first, uint16_t n_ports, struct wr_errmsg *msg)
{
	wr_steer_refresh_addresses();
	if (wr_steer_set_ports(first, n_ports) != 0)
		return wr_fail(
			msg, WR_EIO, "XDP program of %s: its ports cannot be set", xdp.interface);
	return 0;
}

void wr_xdp_tick(void)
{
	if (xdp.ticks++ % REFRESH_TICKS == 0)
		wr_steer_refresh_addresses();
}

void wr_xdp_stop(void)
{
	if (wr_steer_set_ports(0, 0) != 0)
		wr_log(WR_LOG_WARN, "port", "%s: its ports could not be given back", xdp.interface);
}

void wr_xdp_describe(char *out, size_t size)
{
	snprintf(out, size, "%s XDP, %s", wr_steer_native() ? "native" : "generic",
		xdp.zero_copy ? "zero-copy" : "copy");
}

void wr_xdp_close(void)
{
	wr_steer_close();
	if (xdp.claim_fd >= 0)
		close(xdp.claim_fd);
	xdp.claim_fd = -1;
}
