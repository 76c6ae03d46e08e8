/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames of the generator: Ethernet, IPv4 or IPv6, UDP around a message, with valid checksums, and
 * the way back. Built for some millions a second: headers are rendered once, a frame costs a copy
 * and one pass over the bytes of its message that are not padding.
 */
#ifndef WR_LOAD_FRAME_H
#define WR_LOAD_FRAME_H

#include "wr_base.h"

#include <string.h>

#define WR_LOAD_FRAME_MAX_HEAD 62

/* Who talks to whom; IPv4 addresses stand as ::ffff:a.b.c.d. */
struct wr_load_address {
	uint8_t client_mac[6], server_mac[6];
	uint8_t client_ip[16], server_ip[16];
	bool ipv6;
	uint16_t client_port, server_port;
};

/* Parses "a.b.c.d" or an IPv6 address into 16 bytes. WR_EFORMAT. */
int wr_load_parse_ip(const char *text, uint8_t ip[16], bool *ipv6) WR_MUST_CHECK;
int wr_load_parse_mac(const char *text, uint8_t mac[6]) WR_MUST_CHECK;

/* Headers of one direction, rendered; bytes 0 … size-1 stand before the message. */
struct wr_load_head {
	uint8_t bytes[WR_LOAD_FRAME_MAX_HEAD];
	uint16_t size;
	bool ipv6;
	uint32_t ip_sum;  /* of the IPv4 header without its length */
	uint32_t udp_sum; /* of the pseudo header and UDP header without ports and lengths */
	uint16_t client_port;
	uint8_t client_ip[16];
};
void wr_load_head_init(struct wr_load_head *h, const struct wr_load_address *a);

/* Sum of n bytes as native 32-bit words (the tail as if zero-padded), for wr_load_frame_fold. */
static inline uint64_t wr_load_frame_sum(const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t sum = 0;
	uint32_t v;

	for (; n >= 4; n -= 4, p += 4) {
		memcpy(&v, p, 4);
		sum += v;
	}
	if (n) {
		v = 0;
		memcpy(&v, p, n);
		sum += v;
	}
	return sum;
}
/* One's-complement fold to 16 bits, not inverted. */
static inline uint16_t wr_load_frame_fold(uint64_t sum)
{
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)sum;
}

/*
 * Writes the headers before a message of n bytes that stands at frame + h->size already; bytes
 * behind the first n_used must be zero (padding is not summed). Returns the frame's size.
 */
uint16_t wr_load_frame_finish(const struct wr_load_head *h, uint8_t *frame, uint16_t n,
	uint16_t n_used, uint16_t server_port);

enum wr_load_frame {
	WR_LOAD_FRAME_OK,
	WR_LOAD_FRAME_OTHER,    /* not IP and UDP to us: ARP, router advertisements … */
	WR_LOAD_FRAME_LENGTH,   /* a length lies */
	WR_LOAD_FRAME_CHECKSUM, /* IPv4 or UDP checksum wrong */
};
/* Checks a received frame; on WR_LOAD_FRAME_OK the message's place and size, and the server's UDP
 * port. */
enum wr_load_frame wr_load_frame_parse(const struct wr_load_head *h, const uint8_t *frame,
	size_t bytes, const uint8_t **message, size_t *n, uint16_t *server_port);

#endif
