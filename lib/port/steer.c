/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_af_xdp (22.11) attaches its program by netlink: it stays on the interface when the process
 * is killed, and the driver takes off whatever it finds there when it closes. This file therefore
 * defines the three functions of libbpf that the driver attaches and detaches with (drivers are
 * shared objects that bind to the executable first, as in gate.c) and holds the program by a BPF
 * link: the kernel detaches it with the last descriptor, however the process ends, and lets nobody
 * detach it meanwhile. Control path only.
 */
#include "steer.h"

#include "steer_holder.h"

#include "wr_steer.h"
#include "wr_steer_object.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include <dlfcn.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct {
	char interface[16];
	unsigned int ifindex; /* 0 = closed */
	enum wr_port_xdp_mode mode;
	int object_fd; /* the object file, in memory */
	char object_path[32];
	int link_fd, attach_errno;
	bool native;
	uint32_t prog_id;
	int ports_fd, local_fd, counts_fd;
	unsigned int n_local;
	struct wr_steer_address local[WR_STEER_MAX_ADDRESSES];
} steer = {.object_fd = -1, .link_fd = -1, .ports_fd = -1, .local_fd = -1, .counts_fd = -1};

/* ---- libbpf's own functions ---- */
static struct {
	int (*attach)(int, int, __u32, const struct bpf_xdp_attach_opts *);
	int (*detach)(int, __u32, const struct bpf_xdp_attach_opts *);
	int (*query_id)(int, int, __u32 *);
} next;

static int find_next(void)
{
	*(void **)&next.attach = dlsym(RTLD_NEXT, "bpf_xdp_attach");
	*(void **)&next.detach = dlsym(RTLD_NEXT, "bpf_xdp_detach");
	*(void **)&next.query_id = dlsym(RTLD_NEXT, "bpf_xdp_query_id");
	return next.attach && next.detach && next.query_id ? 0 : -ENOSYS;
}

/* ---- in libbpf's place ---- */
static int attach_in(int prog_fd, __u32 mode)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = mode);
	int fd = bpf_link_create(prog_fd, (int)steer.ifindex, BPF_XDP, &opts);
	if (fd < 0)
		return -errno;
	steer.link_fd = fd;
	return 0;
}

int bpf_xdp_attach(int ifindex, int prog_fd, __u32 flags, const struct bpf_xdp_attach_opts *opts)
{
	struct bpf_prog_info info = {0};
	__u32 size = sizeof(info);

	/* libbpf's own bpf_xdp_detach comes here, too, with -1 */
	if (prog_fd < 0 || steer.ifindex == 0 || (unsigned int)ifindex != steer.ifindex) {
		if (!next.attach && find_next() != 0)
			return -ENOSYS;
		return next.attach(ifindex, prog_fd, flags, opts);
	}
	bool generic = steer.mode == WR_PORT_XDP_GENERIC;
	int ret = attach_in(prog_fd, generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
	if (ret != 0 && steer.mode == WR_PORT_XDP_AUTO) {
		if (ret != -EOPNOTSUPP)
			wr_log(WR_LOG_WARN, "port",
				"%s: its driver refuses XDP (%s): generic XDP is used, which is "
				"slower",
				steer.interface, strerror(-ret));
		generic = true;
		ret = attach_in(prog_fd, XDP_FLAGS_SKB_MODE);
	}
	steer.attach_errno = -ret;
	steer.native = !generic;
	if (ret == 0 && bpf_obj_get_info_by_fd(prog_fd, &info, &size) == 0)
		steer.prog_id = info.id;
	return ret;
}

static void detach(void)
{
	if (steer.link_fd < 0)
		return;
	(void)bpf_link_detach(steer.link_fd);
	close(steer.link_fd);
	steer.link_fd = -1;
}

int bpf_xdp_detach(int ifindex, __u32 flags, const struct bpf_xdp_attach_opts *opts)
{
	if (steer.ifindex == 0 || (unsigned int)ifindex != steer.ifindex) {
		if (!next.detach && find_next() != 0)
			return -ENOSYS;
		return next.detach(ifindex, flags, opts);
	}
	detach();
	return 0;
}

int bpf_xdp_query_id(int ifindex, int flags, __u32 *prog_id)
{
	if (steer.ifindex == 0 || (unsigned int)ifindex != steer.ifindex) {
		if (!next.query_id && find_next() != 0)
			return -ENOSYS;
		return next.query_id(ifindex, flags, prog_id);
	}
	*prog_id = steer.link_fd >= 0 ? steer.prog_id : 0;
	return 0;
}

/* ---- what is on the interface already ---- */
static int program_name(uint32_t id, char name[BPF_OBJ_NAME_LEN])
{
	struct bpf_prog_info info = {0};
	__u32 size = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);
	if (fd < 0)
		return -errno;
	int ret = bpf_obj_get_info_by_fd(fd, &info, &size) == 0 ? 0 : -errno;
	close(fd);
	memcpy(name, info.name, BPF_OBJ_NAME_LEN);
	return ret;
}

static int clear_program(uint32_t id, __u32 mode, struct wr_errmsg *msg)
{
	char name[BPF_OBJ_NAME_LEN] = "", holder[64];
	int ret = program_name(id, name);

	if (ret != 0 && ret != -ENOENT)
		return wr_fail(msg, WR_EPERM, "port.interface = %s: its XDP program %u: %s",
			steer.interface, id, strerror(-ret));
	if (strcmp(name, WR_STEER_PROGRAM) != 0)
		return wr_fail(msg, WR_EIO,
			"port.interface = %s: carries the XDP program %s (id %u) of somebody else; "
			"end its owner (or: ip link set dev %s xdp off), or share another "
			"interface",
			steer.interface, name[0] ? name : "without a name", id, steer.interface);
	if (wr_steer_holder(id, holder, sizeof(holder)))
		return wr_fail(msg, WR_EIO,
			"port.interface = %s: is used by %s; stop it or share another interface",
			steer.interface, holder);
	ret = next.detach((int)steer.ifindex, mode, NULL);
	if (ret != 0)
		return wr_fail(msg, WR_EIO,
			"port.interface = %s: a living process holds the XDP program %s (id %u): "
			"%s; stop it or share another interface",
			steer.interface, name, id, strerror(-ret));
	wr_log(WR_LOG_WARN, "port", "%s: the XDP program that a dead process left is taken off",
		steer.interface);
	return 0;
}

static int clear_interface(struct wr_errmsg *msg)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, q);
	int ret = bpf_xdp_query((int)steer.ifindex, 0, &q), err = 0;
	if (ret != 0)
		return wr_fail(msg, WR_EIO,
			"port.interface = %s: the kernel does not tell its XDP "
			"programs: %s",
			steer.interface, strerror(-ret));
	if (q.hw_prog_id)
		err = clear_program(q.hw_prog_id, XDP_FLAGS_HW_MODE, msg);
	if (q.drv_prog_id && !err)
		err = clear_program(q.drv_prog_id, XDP_FLAGS_DRV_MODE, msg);
	if (q.skb_prog_id && !err)
		err = clear_program(q.skb_prog_id, XDP_FLAGS_SKB_MODE, msg);
	return err;
}

/* ---- life ---- */
static int write_object(struct wr_errmsg *msg)
{
	steer.object_fd = memfd_create("wr_steer.bpf.o", MFD_CLOEXEC);
	size_t done = 0;
	while (steer.object_fd >= 0 && done < sizeof(wr_steer_object)) {
		ssize_t n = write(
			steer.object_fd, wr_steer_object + done, sizeof(wr_steer_object) - done);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (done < sizeof(wr_steer_object))
		return wr_fail(msg, WR_EIO, "XDP program: no file in memory: %s", strerror(errno));
	snprintf(steer.object_path, sizeof(steer.object_path), "/proc/self/fd/%d", steer.object_fd);
	return 0;
}

int wr_steer_open(const char *interface, unsigned int ifindex, enum wr_port_xdp_mode mode,
	struct wr_errmsg *msg)
{
	assert(steer.ifindex == 0);
	if (find_next() != 0)
		return wr_fail(msg, WR_ESTATE, "libbpf lacks bpf_xdp_attach; mend the build");
	snprintf(steer.interface, sizeof(steer.interface), "%s", interface);
	steer.mode = mode;
	steer.ifindex = ifindex;
	steer.n_local = 0;
	steer.attach_errno = 0;
	int err = clear_interface(msg);
	if (!err)
		err = write_object(msg);
	if (err)
		wr_steer_close();
	return err;
}

const char *wr_steer_path(void)
{
	return steer.object_path;
}

/* Descriptor of the program's map of that name, -1 = it has none. */
static int find_map(const uint32_t *ids, unsigned int n, const char *name)
{
	for (unsigned int i = 0; i < n; i++) {
		struct bpf_map_info info = {0};
		__u32 size = sizeof(info);
		int fd = bpf_map_get_fd_by_id(ids[i]);
		if (fd < 0)
			continue;
		if (bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && strcmp(info.name, name) == 0)
			return fd;
		close(fd);
	}
	return -1;
}

int wr_steer_find_maps(struct wr_errmsg *msg)
{
	uint32_t ids[16];
	struct bpf_prog_info info = {
		.nr_map_ids = WR_ARRAY_LEN(ids), .map_ids = (uint64_t)(uintptr_t)ids};
	__u32 size = sizeof(info);

	if (steer.link_fd < 0)
		return wr_fail(msg, WR_ESTATE,
			"net_af_xdp attaches its program past us: this executable was linked "
			"without exported symbols (-rdynamic); mend the build");
	int fd = bpf_prog_get_fd_by_id(steer.prog_id);
	int ret = fd < 0 ? -1 : bpf_obj_get_info_by_fd(fd, &info, &size);
	int why = errno;
	if (fd >= 0)
		close(fd);
	if (ret != 0)
		return wr_fail(
			msg, WR_EIO, "XDP program of %s: %s", steer.interface, strerror(why));
	unsigned int n = WR_MIN(info.nr_map_ids, (uint32_t)WR_ARRAY_LEN(ids));
	steer.ports_fd = find_map(ids, n, "wr_steer_ports");
	steer.local_fd = find_map(ids, n, "wr_steer_local");
	steer.counts_fd = find_map(ids, n, "wr_steer_counts");
	if (steer.ports_fd < 0 || steer.local_fd < 0 || steer.counts_fd < 0)
		return wr_fail(msg, WR_EIO, "XDP program of %s: its maps are not to be found",
			steer.interface);
	return 0;
}

int wr_steer_attach_errno(void)
{
	return steer.attach_errno;
}

bool wr_steer_native(void)
{
	return steer.native;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void wr_steer_close(void)
{
	detach();
	close_fd(&steer.ports_fd);
	close_fd(&steer.local_fd);
	close_fd(&steer.counts_fd);
	close_fd(&steer.object_fd);
	steer.ifindex = 0;
}

/* ---- maps ---- */
int wr_steer_set_ports(uint16_t first, uint16_t n)
{
	struct wr_steer_ports ports = {first, n};
	__u32 zero = 0;
	return bpf_map_update_elem(steer.ports_fd, &zero, &ports, BPF_ANY) == 0 ? 0 : WR_EIO;
}

static bool to_address(const struct sockaddr *sa, struct wr_steer_address *a)
{
	memset(a, 0, sizeof(*a));
	if (sa && sa->sa_family == AF_INET) {
		a->word[2] = htonl(0xffff);
		memcpy(&a->word[3], &((const struct sockaddr_in *)sa)->sin_addr, 4);
	} else if (sa && sa->sa_family == AF_INET6) {
		memcpy(a, &((const struct sockaddr_in6 *)sa)->sin6_addr, 16);
	} else {
		return false;
	}
	return true;
}

static int compare_addresses(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct wr_steer_address));
}

/* The addresses of this namespace, sorted, each once. */
static unsigned int read_addresses(struct wr_steer_address *out)
{
	struct ifaddrs *list = NULL;
	unsigned int n = 0, kept = 0;

	if (getifaddrs(&list) != 0)
		return 0;
	for (const struct ifaddrs *i = list; i && n < WR_STEER_MAX_ADDRESSES; i = i->ifa_next)
		n += to_address(i->ifa_addr, &out[n]);
	freeifaddrs(list);
	qsort(out, n, sizeof(*out), compare_addresses);
	for (unsigned int i = 0; i < n; i++)
		if (i == 0 || compare_addresses(&out[i], &out[kept - 1]) != 0)
			out[kept++] = out[i];
	return kept;
}

void wr_steer_refresh_addresses(void)
{
	static struct wr_steer_address now[WR_STEER_MAX_ADDRESSES];
	unsigned int n = read_addresses(now), i = 0, j = 0;
	__u8 one = 1;

	/* both lists are sorted: what only the old one has goes, what only the new one has comes */
	while (i < steer.n_local || j < n) {
		int order = i == steer.n_local ? 1
			    : j == n           ? -1
					       : compare_addresses(&steer.local[i], &now[j]);
		if (order < 0)
			(void)bpf_map_delete_elem(steer.local_fd, &steer.local[i++]);
		else if (order > 0)
			(void)bpf_map_update_elem(steer.local_fd, &now[j++], &one, BPF_ANY);
		else
			i++, j++;
	}
	memcpy(steer.local, now, n * sizeof(now[0]));
	steer.n_local = n;
}

void wr_steer_counts(uint64_t *passed, uint64_t *taken, uint64_t *no_socket)
{
	uint64_t *const out[WR_STEER_N_COUNTS] = {
		[WR_STEER_PASSED] = passed,
		[WR_STEER_TAKEN] = taken,
		[WR_STEER_NO_SOCKET] = no_socket,
	};
	int n_cpus = libbpf_num_possible_cpus();
	uint64_t *values = n_cpus > 0 ? calloc((size_t)n_cpus, sizeof(*values)) : NULL;

	for (__u32 i = 0; i < WR_STEER_N_COUNTS; i++) {
		*out[i] = 0;
		if (!values || bpf_map_lookup_elem(steer.counts_fd, &i, values) != 0)
			continue;
		for (int c = 0; c < n_cpus; c++)
			*out[i] += values[c];
	}
	free(values);
}
