/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checks of a memif peer's control messages. The driver (DPDK 22.11) takes ring offsets as they
 * come, and keeps those of the peer before for rings that the next one does not add: both end
 * outside of a mapping. Here such a peer is refused before the driver reads its message. Layouts:
 * the memif protocol, version 2.0 (libmemif, DPDK's memif.h).
 */
#include "gate.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define MSG_BYTES         128
#define MSG_ADD_REGION    4
#define MSG_ADD_RING      5
#define MSG_CONNECT       6
#define ADD_RING_FLAG_C2S 1
#define RING_HEAD_BYTES   128
#define DESC_BYTES        16
#define MAX_LOG2_RING     14

struct __attribute__((packed)) msg_add_region {
	uint16_t type, index;
	uint64_t bytes;
};
struct __attribute__((packed)) msg_add_ring {
	uint16_t type, flags, index, region;
	uint32_t offset;
	uint8_t log2_size;
};

void wr_guard_init(struct guard *g, int fd)
{
	int type = 0, listening = 1;
	socklen_t n = sizeof(type), m = sizeof(listening);

	memset(g, 0, sizeof(*g));
	g->fd = -1;
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_SEQPACKET &&
		getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &m) == 0 && !listening)
		g->fd = fd;
}

static bool add_region(struct guard *g, const uint8_t *bytes)
{
	struct msg_add_region r;
	memcpy(&r, bytes, sizeof(r));
	if (r.index != g->n_regions || g->n_regions == GUARD_MAX_REGIONS)
		return false;
	g->region_bytes[g->n_regions++] = r.bytes;
	return true;
}

static bool add_ring(struct guard *g, const uint8_t *bytes, unsigned int max_rings)
{
	struct msg_add_ring r;
	memcpy(&r, bytes, sizeof(r));
	unsigned int *count = r.flags & ADD_RING_FLAG_C2S ? &g->n_c2s : &g->n_s2c;
	if (r.index != *count || r.index >= max_rings || r.region >= g->n_regions ||
		r.log2_size == 0 || r.log2_size > MAX_LOG2_RING || r.offset % 64 != 0)
		return false;
	uint64_t end = (uint64_t)r.offset + RING_HEAD_BYTES + ((uint64_t)DESC_BYTES << r.log2_size);
	if (end > g->region_bytes[r.region])
		return false;
	(*count)++;
	return true;
}

bool wr_guard_check(struct guard *g, unsigned int max_rings)
{
	uint8_t bytes[MSG_BYTES];
	uint16_t type;
	bool sound = true;

	g->connect = false;
	ssize_t n = recv(g->fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
	if (n != sizeof(bytes))
		return true; /* the end, an error, or a size that the driver refuses itself */
	memcpy(&type, bytes, sizeof(type));
	if (type == MSG_ADD_REGION) {
		sound = !g->connected && add_region(g, bytes);
	} else if (type == MSG_ADD_RING) {
		sound = !g->connected && add_ring(g, bytes, max_rings);
	} else if (type == MSG_CONNECT) {
		sound = !g->connected && g->n_c2s > 0 && g->n_s2c > 0;
		g->connect = g->connected = true;
	}
	if (!sound) {
		(void)recv(g->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		(void)shutdown(g->fd, SHUT_RDWR);
	}
	return sound;
}
