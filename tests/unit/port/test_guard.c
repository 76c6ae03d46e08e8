/* SPDX-License-Identifier: BSD-3-Clause */
/* What a memif peer may ask for: real sockets, messages laid out as the protocol has them. */
#include "gate.h"
#include "wr_test.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int pair[2];

/* Bytes of message `type`, then a peek at it, then the driver's read. */
static bool check(struct guard *g, uint16_t type, const void *body, size_t bytes)
{
	uint8_t m[128] = {0};
	memcpy(m, &type, 2);
	memcpy(m + 2, body, bytes);
	if (send(pair[1], m, sizeof(m), MSG_NOSIGNAL) != sizeof(m))
		return false;
	bool sound = wr_guard_check(g, 2);
	if (sound)
		CU_ASSERT_EQUAL(recv(pair[0], m, sizeof(m), MSG_DONTWAIT), (ssize_t)sizeof(m));
	return sound;
}

static bool region(struct guard *g, uint16_t index, uint64_t bytes)
{
	struct __attribute__((packed)) {
		uint16_t index;
		uint64_t bytes;
	} m = {index, bytes};
	return check(g, 4, &m, sizeof(m));
}

static bool ring(
	struct guard *g, bool c2s, uint16_t index, uint16_t in, uint32_t offset, uint8_t log2_size)
{
	struct __attribute__((packed)) {
		uint16_t flags, index, region;
		uint32_t offset;
		uint8_t log2_size;
	} m = {c2s, index, in, offset, log2_size};
	return check(g, 5, &m, sizeof(m));
}

static void begin(struct guard *g)
{
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	wr_guard_init(g, pair[0]);
	CU_ASSERT_EQUAL(g->fd, pair[0]);
}

static void end(void)
{
	close(pair[0]);
	close(pair[1]);
}

#define RING_BYTES (128 + 16 * 1024)

static void test_sound(void)
{
	struct guard g;
	begin(&g);
	CU_ASSERT(region(&g, 0, 4 * RING_BYTES));
	CU_ASSERT(ring(&g, true, 0, 0, 0, 10));
	CU_ASSERT(ring(&g, true, 1, 0, RING_BYTES, 10));
	CU_ASSERT(ring(&g, false, 0, 0, 2 * RING_BYTES, 10));
	CU_ASSERT(ring(&g, false, 1, 0, 3 * RING_BYTES, 10));
	CU_ASSERT_FALSE(g.connect);
	CU_ASSERT(check(&g, 6, "peer", 5));
	CU_ASSERT(g.connect);
	CU_ASSERT_EQUAL(g.n_c2s, 2);
	CU_ASSERT_EQUAL(g.n_s2c, 2);
	CU_ASSERT_FALSE(region(&g, 1, 4096)); /* settled by then */
	end();
}

#define UNSOUND(request)                         \
	do {                                     \
		struct guard g;                  \
		begin(&g);                       \
		CU_ASSERT(region(&g, 0, 65536)); \
		CU_ASSERT_FALSE(request);        \
		end();                           \
	} while (0)

static void test_unsound(void)
{
	UNSOUND(ring(&g, true, 0, 0, 65536, 10));     /* begins behind the region */
	UNSOUND(ring(&g, true, 0, 0, 65536 - 64, 1)); /* ends behind it */
	UNSOUND(ring(&g, true, 0, 0, 0, 14));         /* too large for it */
	UNSOUND(ring(&g, true, 0, 0, 0xffffffc0u, 10));
	UNSOUND(ring(&g, true, 0, 0, 8, 10)); /* not on a line */
	UNSOUND(ring(&g, true, 0, 1, 0, 10)); /* no such region */
	UNSOUND(ring(&g, true, 1, 0, 0, 10)); /* the first is missing */
	UNSOUND(ring(&g, true, 0, 0, 0, 15));
	UNSOUND(ring(&g, true, 0, 0, 0, 0));
	UNSOUND(region(&g, 0, 65536));    /* twice */
	UNSOUND(check(&g, 6, "peer", 5)); /* no rings */
	UNSOUND(ring(&g, true, 0, 0, 0, 10) && ring(&g, true, 0, 0, 0, 10));
	UNSOUND(ring(&g, true, 0, 0, 0, 8) && ring(&g, true, 1, 0, 8192, 8) &&
		ring(&g, true, 2, 0, 16384, 8));
}

static void test_not_a_peer(void)
{
	struct guard g;
	int udp = socket(AF_INET, SOCK_DGRAM, 0);
	wr_guard_init(&g, udp);
	CU_ASSERT_EQUAL(g.fd, -1);
	wr_guard_init(&g, -1);
	CU_ASSERT_EQUAL(g.fd, -1);
	close(udp);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"a sound peer", test_sound},
		{"unsound requests", test_unsound},
		{"other descriptors", test_not_a_peer},
	};
	return wr_test_run("guard", tests, WR_ARRAY_LEN(tests));
}
