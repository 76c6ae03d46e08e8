/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames on exactly sized heap copies: the first byte says what the port knows of checksums and
 * whether our MAC, and right IPv4 and transport checksums, are written into the frame first, so
 * that what lies behind those checks is reached. What is taken apart is turned round, and what is
 * answered aside must keep within its room.
 */
#include "fuzz.h"
#include "wr_port.h"

#include <string.h>

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0x47, 0};
static const struct wr_port_addresses addresses = {
	.n_ipv4 = 3,
	.n_own_ipv4 = 2,
	.n_ipv6 = 3,
	.n_own_ipv6 = 2,
	.ipv4 = {{10, 47, 0, 1}, {10, 47, 0, 3}, {192, 0, 2, 47}},
	.ipv6 = {{0xfd, 0x47, [15] = 1}, {0xfd, 0x47, [15] = 3}, {0x20, 1, 0xd, 0xb8, [15] = 0x47}},
};

static uint32_t sum16(const uint8_t *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static void put_sum(uint8_t *at, uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	at[0] = (uint8_t)(~sum >> 8);
	at[1] = (uint8_t)~sum;
}

/* Right checksums for IPv4's header, and for UDP, ICMP and ICMPv6 where they stand in `size` bytes.
 */
static void mend(uint8_t *f, size_t size)
{
	size_t ip = 14, head, bytes;
	while (ip + 4 <= size && (f[ip - 2] == 0x81 || f[ip - 2] == 0x88) && ip < 22)
		ip += 4;
	if (ip + 40 > size)
		return;
	bool v6 = f[ip] >> 4 == 6;
	uint8_t protocol = f[ip + (v6 ? 6 : 9)];
	head = v6 ? 40 : (f[ip] & 15u) * 4u;
	bytes = (size_t)f[ip + (v6 ? 4 : 2)] << 8 | f[ip + (v6 ? 5 : 3)];
	bytes = v6 ? bytes : bytes - WR_MIN(bytes, head);
	if (head < 20 || ip + head + bytes > size || bytes < 8)
		return;
	if (!v6) {
		f[ip + 10] = f[ip + 11] = 0;
		put_sum(f + ip + 10, sum16(f + ip, head, 0));
	}
	size_t field = ip + head + (protocol == 17 ? 6 : 2);
	f[field] = f[field + 1] = 0;
	uint32_t sum = sum16(f + ip + head, bytes, 0);
	if (v6 || protocol == 17)
		sum += sum16(f + ip + (v6 ? 8 : 12), v6 ? 32 : 8, protocol + (uint32_t)bytes);
	put_sum(f + field, sum);
}

static void check_reply(uint8_t *f, size_t size, const struct wr_frame *at, bool offload)
{
	FUZZ_CHECK(at->payload_off + (size_t)at->payload_len <= size);
	FUZZ_CHECK(at->reply_off <= at->payload_off && at->reply_off >= at->l3_off + 28u);
	uint32_t n = wr_frame_reply(f, at, at->payload_len, at->payload_len, offload);
	FUZZ_CHECK(n == (uint32_t)at->reply_off + at->payload_len && n <= size);
	struct wr_port_addresses peer = {.n_ipv4 = !at->ipv6, .n_ipv6 = at->ipv6};
	memcpy(peer.ipv4[0], at->source + 12, 4);
	memcpy(peer.ipv6[0], at->source, 16);
	static struct wr_frame_local them;
	struct wr_frame back;
	FUZZ_CHECK(wr_frame_local_init(&them, f, &peer, at->src_port, 1) == 0);
	FUZZ_CHECK(wr_frame_parse(&them, f, n, offload ? 3 : 0, &back) == WR_OUTCOME_answered);
	FUZZ_CHECK(back.payload_len == at->payload_len && back.src_port == at->dst_port);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct wr_frame_local us;
	struct wr_frame at;
	if (size < 1 || size > 2048)
		return 0;
	uint8_t how = *data++;
	size--;
	FUZZ_CHECK(wr_frame_local_init(&us, our_mac, &addresses, 4700, 2) == 0);
	uint8_t *exact = malloc(size ? size : 1), *aside = malloc(size + WR_FRAME_ASIDE_GROW);
	FUZZ_CHECK(exact && aside);
	memcpy(exact, data, size);
	if (how & 4 && size >= 6 && !(exact[0] & 1))
		memcpy(exact, our_mac, 6);
	if (how & 8)
		mend(exact, size);
	enum wr_outcome o = wr_frame_parse(&us, exact, (uint32_t)size, how & 3, &at);
	FUZZ_CHECK((unsigned int)o < WR_OUTCOME_N);
	(void)wr_frame_is_conflict(&us, exact, (uint32_t)size);
	memcpy(aside, exact, size);
	uint32_t n = wr_frame_aside(&us, aside, (uint32_t)size);
	FUZZ_CHECK(n <= size + WR_FRAME_ASIDE_GROW);
	FUZZ_CHECK(n == 0 || o != WR_OUTCOME_answered);
	if (o == WR_OUTCOME_answered) {
		fuzz_accepted++;
		check_reply(exact, size, &at, how & 16);
	}
	free(exact);
	free(aside);
	return 0;
}
