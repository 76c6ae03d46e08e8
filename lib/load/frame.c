/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rendering and checking of Ethernet, IPv4 (RFC 791), IPv6 (RFC 8200) and UDP (RFC 768) headers.
 * Sums are taken over native words: the one's-complement sum does not depend on the byte order (RFC
 * 1071).
 */
#include "load_frame.h"

#include <arpa/inet.h>
#include <stdio.h>

enum {
	ETH_BYTES = 14,
	IP4_BYTES = 20,
	IP6_BYTES = 40,
	UDP_BYTES = 8,
	TYPE_IP4 = 0x0800,
	TYPE_IP6 = 0x86dd,
	PROTO_UDP = 17,
};

static void put16(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static unsigned int get16(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

int wr_load_parse_ip(const char *text, uint8_t ip[16], bool *ipv6)
{
	memset(ip, 0, 16);
	if (inet_pton(AF_INET, text, ip + 12) == 1) {
		ip[10] = ip[11] = 0xff;
		*ipv6 = false;
		return 0;
	}
	if (inet_pton(AF_INET6, text, ip) == 1) {
		*ipv6 = true;
		return 0;
	}
	return WR_EFORMAT;
}

int wr_load_parse_mac(const char *text, uint8_t mac[6])
{
	char end;

	if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", mac, mac + 1, mac + 2, mac + 3,
		    mac + 4, mac + 5, &end) != 6)
		return WR_EFORMAT;
	return 0;
}

void wr_load_head_init(struct wr_load_head *h, const struct wr_load_address *a)
{
	*h = (struct wr_load_head){.ipv6 = a->ipv6, .client_port = a->client_port};
	memcpy(h->client_ip, a->client_ip, 16);
	memcpy(h->bytes, a->server_mac, 6);
	memcpy(h->bytes + 6, a->client_mac, 6);

	uint8_t *ip = h->bytes + ETH_BYTES, *udp;
	if (a->ipv6) {
		put16(h->bytes + 12, TYPE_IP6);
		ip[0] = 0x60;
		ip[6] = PROTO_UDP;
		ip[7] = 64;
		memcpy(ip + 8, a->client_ip, 16);
		memcpy(ip + 24, a->server_ip, 16);
		h->udp_sum = wr_load_frame_fold(wr_load_frame_sum(ip + 8, 32));
		udp = ip + IP6_BYTES;
	} else {
		put16(h->bytes + 12, TYPE_IP4);
		ip[0] = 0x45;
		ip[6] = 0x40; /* don't fragment */
		ip[8] = 64;
		ip[9] = PROTO_UDP;
		memcpy(ip + 12, a->client_ip + 12, 4);
		memcpy(ip + 16, a->server_ip + 12, 4);
		h->ip_sum = wr_load_frame_fold(wr_load_frame_sum(ip, IP4_BYTES));
		h->udp_sum = wr_load_frame_fold(wr_load_frame_sum(ip + 12, 8));
		udp = ip + IP4_BYTES;
	}
	h->udp_sum += htons(PROTO_UDP);
	put16(udp, a->client_port);
	h->udp_sum += htons(a->client_port);
	h->size = (uint16_t)(udp + UDP_BYTES - h->bytes);
}

uint16_t wr_load_frame_finish(const struct wr_load_head *h, uint8_t *frame, uint16_t n,
	uint16_t n_used, uint16_t server_port)
{
	uint16_t udp_bytes = (uint16_t)(n + UDP_BYTES);
	uint8_t *udp = frame + h->size - UDP_BYTES, *ip = frame + ETH_BYTES;

	memcpy(frame, h->bytes, h->size);
	if (h->ipv6) {
		put16(ip + 4, udp_bytes);
	} else {
		unsigned int total = udp_bytes + IP4_BYTES;
		uint16_t sum =
			(uint16_t)~wr_load_frame_fold((uint64_t)h->ip_sum + htons((uint16_t)total));
		put16(ip + 2, total);
		memcpy(ip + 10, &sum, 2);
	}
	put16(udp + 2, server_port);
	put16(udp + 4, udp_bytes);
	/* The length counts twice: in the pseudo header and in the header. */
	uint64_t sum = (uint64_t)h->udp_sum + 2u * htons(udp_bytes) + htons(server_port) +
		       wr_load_frame_sum(frame + h->size, n_used);
	uint16_t udp_sum = (uint16_t)~wr_load_frame_fold(sum);
	if (udp_sum == 0)
		udp_sum = 0xffff;
	memcpy(udp + 6, &udp_sum, 2);
	return (uint16_t)(h->size + n);
}

static enum wr_load_frame parse_udp(const struct wr_load_head *h, const uint8_t *udp, size_t room,
	uint64_t pseudo, const uint8_t **message, size_t *n, uint16_t *server_port)
{
	if (room < UDP_BYTES)
		return WR_LOAD_FRAME_LENGTH;
	unsigned int bytes = get16(udp + 4);
	if (bytes < UDP_BYTES || bytes > room)
		return WR_LOAD_FRAME_LENGTH;
	if (get16(udp + 2) != h->client_port)
		return WR_LOAD_FRAME_OTHER;
	/* A zero checksum means "none" over IPv4 only. */
	if (udp[6] | udp[7]) {
		if (wr_load_frame_fold(pseudo + htons((uint16_t)bytes) +
				       wr_load_frame_sum(udp, bytes)) != 0xffff)
			return WR_LOAD_FRAME_CHECKSUM;
	} else if (h->ipv6) {
		return WR_LOAD_FRAME_CHECKSUM;
	}
	*server_port = (uint16_t)get16(udp);
	*message = udp + UDP_BYTES;
	*n = bytes - UDP_BYTES;
	return WR_LOAD_FRAME_OK;
}

enum wr_load_frame wr_load_frame_parse(const struct wr_load_head *h, const uint8_t *frame,
	size_t bytes, const uint8_t **message, size_t *n, uint16_t *server_port)
{
	if (bytes < h->size)
		return WR_LOAD_FRAME_OTHER;

	const uint8_t *ip = frame + ETH_BYTES;
	size_t room = bytes - ETH_BYTES;
	uint64_t pseudo = htons(PROTO_UDP);
	if (h->ipv6) {
		if (get16(frame + 12) != TYPE_IP6 || ip[6] != PROTO_UDP ||
			memcmp(ip + 24, h->client_ip, 16) != 0)
			return WR_LOAD_FRAME_OTHER;
		size_t payload = get16(ip + 4);
		if (payload > room - IP6_BYTES)
			return WR_LOAD_FRAME_LENGTH;
		pseudo += wr_load_frame_sum(ip + 8, 32);
		return parse_udp(h, ip + IP6_BYTES, payload, pseudo, message, n, server_port);
	}
	if (get16(frame + 12) != TYPE_IP4 || ip[9] != PROTO_UDP ||
		memcmp(ip + 16, h->client_ip + 12, 4) != 0)
		return WR_LOAD_FRAME_OTHER;
	size_t head = (size_t)(ip[0] & 15) * 4, total = get16(ip + 2);
	if (ip[0] >> 4 != 4 || head < IP4_BYTES || total < head || total > room)
		return WR_LOAD_FRAME_LENGTH;
	if (wr_load_frame_fold(wr_load_frame_sum(ip, head)) != 0xffff)
		return WR_LOAD_FRAME_CHECKSUM;
	pseudo += wr_load_frame_sum(ip + 12, 8);
	return parse_udp(h, ip + head, total - head, pseudo, message, n, server_port);
}
