/* SPDX-License-Identifier: BSD-3-Clause */
/* What can be known of a port before EAL runs: values, sockets, interfaces, devices. */
#include "port_int.h"

#include "kernel_tap.h"

#include <net/if.h>

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_RING 16384

static int check_socket(const char *path, struct wr_errmsg *msg)
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

/* A name that the kernel takes and that survives inside of devargs. */
static int check_interface_name(const char *name, struct wr_errmsg *msg)
{
	size_t n = name ? strlen(name) : 0;
	bool ok = n > 0 && n < IFNAMSIZ && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
	for (size_t i = 0; i < n && ok; i++)
		ok = isgraph((unsigned char)name[i]) && !strchr("/:,=[]\"'", name[i]);
	if (!ok)
		return wr_fail(msg, WR_EINVAL,
			"port.interface = %s: no name of an interface: 1 to %d characters without "
			"spaces, '/', ':', ',' and '='",
			name ? name : "", IFNAMSIZ - 1);
	return 0;
}

static int check_tap(const struct wr_port_options *o, struct wr_errmsg *msg)
{
	int err = check_interface_name(o->interface, msg);
	if (err)
		return err;
	if (if_nametoindex(o->interface) != 0)
		return wr_fail(msg, WR_EIO,
			"port.interface = %s: exists already; choose another name, or remove it "
			"(ip "
			"link del %s)",
			o->interface, o->interface);
	if (access("/dev/net/tun", R_OK | W_OK) != 0)
		return wr_fail(msg, WR_EPERM,
			"port.kind = tap: /dev/net/tun: %s; run as root, or give the daemon that "
			"device and CAP_NET_ADMIN (modprobe tun where it is missing)",
			strerror(errno));
	return 0;
}

/* Name of the kernel driver that holds a PCI device; "" = none. */
static void pci_driver(const char *address, char *out, size_t size)
{
	char path[128], target[256];
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", address);
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = '\0';
	const char *slash = strrchr(target, '/');
	snprintf(out, size, "%.*s", (int)size - 1, slash ? slash + 1 : target);
}

static int check_nic(const struct wr_port_options *o, struct wr_errmsg *msg)
{
	/* Drivers that leave the NIC with the kernel and work beside it. */
	static const char *const dpdk[] = {
		"vfio-pci", "uio_pci_generic", "igb_uio", "mlx5_core", "mlx4_core", "mana"};
	unsigned int domain, bus, slot, function;
	char canonical[32], path[128], driver[64], end;
	if (!o->device ||
		sscanf(o->device, "%x:%x:%x.%x%c", &domain, &bus, &slot, &function, &end) != 4 ||
		domain > 0xffff || bus > 0xff || slot > 0x1f || function > 7)
		return wr_fail(msg, WR_EINVAL,
			"port.device = %s: no PCI address such as 0000:03:00.0; dpdk-devbind.py -s "
			"lists them",
			o->device ? o->device : "");
	snprintf(canonical, sizeof(canonical), "%04x:%02x:%02x.%x", domain, bus, slot, function);
	if (strcmp(canonical, o->device) != 0)
		return wr_fail(msg, WR_EINVAL, "port.device = %s: write %s", o->device, canonical);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", o->device);
	if (access(path, F_OK) != 0)
		return wr_fail(msg, WR_ENOENT,
			"port.device = %s: this machine has no such PCI device; dpdk-devbind.py -s "
			"lists them",
			o->device);
	pci_driver(o->device, driver, sizeof(driver));
	for (unsigned int i = 0; i < WR_ARRAY_LEN(dpdk); i++)
		if (strcmp(driver, dpdk[i]) == 0)
			return 0;
	return wr_fail(msg, WR_EIO,
		"port.device = %s: held by %s%s; bind it to DPDK: dpdk-devbind.py -b vfio-pci %s",
		o->device, driver[0] ? "the kernel's driver " : "no driver", driver, o->device);
}

static int check_vdev(const struct wr_port_options *o, struct wr_errmsg *msg)
{
	size_t n = o->device ? strcspn(o->device, ",") : 0;
	if (n == 0 || n >= PORT_NAME_BYTES)
		return wr_fail(msg, WR_EINVAL,
			"port.device = %s: give a device of DPDK with a name of at most %d "
			"characters, such as net_ring0",
			o->device ? o->device : "", PORT_NAME_BYTES - 1);
	return 0;
}

int wr_port_check(const struct wr_port_options *o, struct wr_errmsg *msg)
{
	if (o->n_queues == 0 || o->n_queues > WR_PORT_MAX_QUEUES)
		return wr_fail(msg, WR_EINVAL, "a port has 1 … %d queue pairs, not %u",
			WR_PORT_MAX_QUEUES, o->n_queues);
	if (o->ring_size < 32 || o->ring_size > MAX_RING || (o->ring_size & (o->ring_size - 1)))
		return wr_fail(msg, WR_EINVAL, "port.ring_size = %u: a power of two from 32 to %d",
			o->ring_size, MAX_RING);
	if (o->kernel_tap && o->kernel_tap[0]) {
		int err = wr_kernel_tap_check(o->kernel_tap, msg);
		if (err)
			return err;
	}
	switch (o->kind) {
	case WR_PORT_MEMIF:
		return o->server ? check_socket(o->socket, msg) : 0;
	case WR_PORT_AF_XDP: {
		int err = check_interface_name(o->interface, msg);
		return err ? err : wr_xdp_check(o, msg);
	}
	case WR_PORT_TAP:
		return check_tap(o, msg);
	case WR_PORT_NIC:
		return check_nic(o, msg);
	case WR_PORT_VDEV:
		return check_vdev(o, msg);
	}
	return wr_fail(msg, WR_EINVAL, "port.kind %d is none", (int)o->kind);
}
