/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes tests/fuzz/corpus/frame anew (make_frame_corpus FOLDER): one small frame of every kind,
 * behind a byte that says how it is looked at (fuzz_frame.c). */
#include "frames.h"

#include <stdio.h>

static const uint8_t peer4[4] = {10, 47, 0, 2}, peer6[16] = {0xfd, 0x47, [15] = 2};
static const char *folder;
static int n_failed;

static void save(const char *name, const uint8_t *frame, uint32_t n)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "wb");
	if (!f || fputc(0x0c, f) == EOF || fwrite(frame, 1, n, f) != n)
		n_failed++;
	if (f)
		n_failed += fclose(f) != 0;
}

static struct frame_spec from_peer(bool ipv6, uint8_t protocol, const uint8_t *payload, size_t n)
{
	struct frame_spec s = {.ipv6 = ipv6,
		.protocol = protocol,
		.payload = payload,
		.n = n,
		.src_port = 5000,
		.dst_port = 4700};
	memcpy(s.src, ipv6 ? peer6 : peer4, ipv6 ? 16 : 4);
	memcpy(s.dst, ipv6 ? our_addresses.ipv6[0] : our_addresses.ipv4[0], ipv6 ? 16 : 4);
	return s;
}

static void save_spec(const char *name, const struct frame_spec *s)
{
	uint8_t frame[512];
	save(name, frame, build_frame(frame, s));
}

static void datagrams(void)
{
	static const uint8_t text[16] = "a message", options[8] = {148, 4, 0, 0, 7, 3, 4, 0};
	static const uint8_t headers[24] = {
		60, 0, 1, 4, 0, 0, 0, 0, 43, 0, 1, 4, 0, 0, 0, 0, 17, 0, 4, 0, 0, 0, 0, 0};
	static const char *const names[2][4] = {{"udp4", "udp4_vlan", "udp4_qinq", "udp4_options"},
		{"udp6", "udp6_vlan", "udp6_qinq", "udp6_extensions"}};
	for (unsigned int v6 = 0; v6 < 2; v6++)
		for (unsigned int i = 0; i < 4; i++) {
			struct frame_spec s = from_peer(v6, 17, text, sizeof(text));
			s.vlans = i % 3;
			if (i == 3) {
				s.extra = v6 ? headers : options;
				s.n_extra = v6 ? sizeof(headers) : sizeof(options);
			}
			save_spec(names[v6][i], &s);
		}
}

static void questions(void)
{
	static const uint8_t ping[16] = {8, 0, 0, 0, 1, 2, 0, 1},
			     ping6[16] = {128, 0, 0, 0, 1, 2, 0, 1};
	static const uint8_t arp[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, PEER_MAC, 8, 6, 0, 1, 8,
		0, 6, 4, 0, 1, PEER_MAC, 10, 47, 0, 2, 0, 0, 0, 0, 0, 0, 10, 47, 0, 1};
	uint8_t ns[32] = {135, [24] = 1, 1, PEER_MAC};
	struct frame_spec s = from_peer(false, 1, ping, sizeof(ping));
	save_spec("echo4", &s);
	s = from_peer(true, 58, ping6, sizeof(ping6));
	save_spec("echo6", &s);
	memcpy(ns + 8, our_addresses.ipv6[0], 16);
	s = from_peer(true, 58, ns, sizeof(ns));
	s.hops = 255;
	save_spec("solicitation", &s);
	s.n = 24;
	memset(s.src, 0, 16);
	memcpy(s.dst, (const uint8_t[16]){0xff, 2, [11] = 1, 0xff, 0, 0, 1}, 16);
	save_spec("duplicate_address", &s);
	save("arp", arp, sizeof(arp));
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: make_frame_corpus FOLDER\n");
		return 2;
	}
	folder = argv[1];
	make_us();
	datagrams();
	questions();
	return n_failed != 0;
}
