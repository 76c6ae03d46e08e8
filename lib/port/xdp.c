/* SPDX-License-Identifier: BSD-3-Clause */
/* A kernel interface shared with the kernel over AF_XDP. Control path only. */
#include "port_int.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

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
	return 0;
}
