/* SPDX-License-Identifier: BSD-3-Clause */
/* Kinds that lie below the message: Ethernet, IPv4, IPv6, UDP. */
#include "malformer_int.h"

/* Makes the IPv4 header checksum right for `bytes` of header again. */
static void resum_ip(uint8_t *frame, size_t bytes)
{
	uint16_t sum;

	put16be(frame + ETH + 10, 0);
	sum = (uint16_t)~wr_load_frame_fold(wr_load_frame_sum(frame + ETH, bytes));
	memcpy(frame + ETH + 10, &sum, 2);
}

static bool over_ipv6(const struct wr_malformer *m)
{
	return m->l->head.ipv6;
}

static void resum(const struct wr_malformer *m, uint8_t *frame)
{
	if (!over_ipv6(m))
		resum_ip(frame, IP4);
}

static uint8_t *udp_of(const struct wr_malformer *m, uint8_t *frame)
{
	return frame + m->l->head.size - UDP;
}

uint16_t wr_malform_frame_short(struct wr_malformer *m, uint8_t *frame)
{
	wr_malform_sound_any(m);
	(void)wr_malform_wrap(m, frame);
	return (uint16_t)(1 + below(m, m->l->head.size + WR_WIRE_HEADER_BYTES - 1u));
}

uint16_t wr_malform_frame_vlan(struct wr_malformer *m, uint8_t *frame)
{
	wr_malform_sound_any(m);
	uint16_t n = wr_malform_wrap(m, frame);
	memmove(frame + 16, frame + 12, n - 12u);
	put16be(frame + 12, below(m, 2) ? 0x8100 : 0x88a8);
	put16be(frame + 14, 1 + below(m, 4094));
	return below(m, 2) ? (uint16_t)(n + 4) : (uint16_t)(13 + below(m, 24));
}

uint16_t wr_malform_frame_type(struct wr_malformer *m, uint8_t *frame)
{
	static const uint16_t types[] = {0x0806, 0x88cc, 0x86dd, 0x0800, 0x0040, 0xffff, 0x8847};

	wr_malform_sound_any(m);
	uint16_t n = wr_malform_wrap(m, frame);
	unsigned int type = types[below(m, WR_ARRAY_LEN(types))];
	put16be(frame + 12, type);
	/* With a type of its own the content stays, under the other version's type; ARP gets noise.
	 */
	if (type == 0x0806)
		random_bytes(m, frame + ETH, 28 + below(m, 18));
	if (type == 0x0800 || type == 0x86dd)
		frame[ETH] ^= 0x20;
	return n;
}

uint16_t wr_malform_ip_version(struct wr_malformer *m, uint8_t *frame)
{
	wr_malform_sound_any(m);
	uint16_t n = wr_malform_wrap(m, frame);
	uint8_t *ip = frame + ETH;
	if (below(m, 2) || over_ipv6(m)) {
		uint8_t version = (uint8_t)below(m, 16);
		ip[0] = (uint8_t)((version == 4 || version == 6 ? 5 : version) << 4 | (ip[0] & 15));
		resum(m, frame);
	} else {
		unsigned int words = below(m, 16);
		ip[0] = (uint8_t)(0x40 | words);
		resum_ip(frame, WR_MIN((size_t)WR_MAX(words, 5u) * 4, (size_t)n - ETH));
	}
	return n;
}

uint16_t wr_malform_ip_length(struct wr_malformer *m, uint8_t *frame)
{
	wr_malform_sound_any(m);
	uint16_t n = wr_malform_wrap(m, frame);
	uint8_t *at = frame + ETH + (over_ipv6(m) ? 4 : 2);
	unsigned int right = get16be(at);
	const unsigned int lies[] = {0, 1, 19, right - 1, right + 1, right + 1 + below(m, 60000),
		65535, below(m, right)};
	put16be(at, lies[below(m, WR_ARRAY_LEN(lies))] & 0xffff);
	resum(m, frame);
	return n;
}

uint16_t wr_malform_ip_checksum(struct wr_malformer *m, uint8_t *frame)
{
	wr_malform_sound_any(m);
	uint16_t n = wr_malform_wrap(m, frame);
	if (over_ipv6(m))
		put16be(udp_of(m, frame) + 6, 0); /* forbidden over IPv6 */
	else
		frame[ETH + 10 + below(m, 2)] ^= (uint8_t)(1u << below(m, 8));
	return n;
}

uint16_t wr_malform_ip_fragment(struct wr_malformer *m, uint8_t *frame)
{
	wr_malform_sound_any(m);
	uint16_t n = wr_malform_wrap(m, frame);
	if (over_ipv6(m)) {
		uint8_t *ip = frame + ETH;
		memmove(ip + IP6 + 8, ip + IP6, (size_t)n - ETH - IP6);
		memset(ip + IP6, 0, 8);
		ip[IP6] = ip[6];
		put16be(ip + IP6 + 2, below(m, 2) ? 1 : 8 * (1 + below(m, 100)));
		ip[6] = 44;
		put16be(ip + 4, get16be(ip + 4) + 8);
		return (uint16_t)(n + 8);
	}
	/* First fragment (more follow), or a later one. */
	put16be(frame + ETH + 6, below(m, 2) ? 0x2000 : 1 + below(m, 0x1fff));
	resum_ip(frame, IP4);
	return n;
}

uint16_t wr_malform_ip_protocol(struct wr_malformer *m, uint8_t *frame)
{
	static const uint8_t protocols[] = {1, 2, 6, 47, 50, 58, 132, 255};

	wr_malform_sound_any(m);
	uint16_t n = wr_malform_wrap(m, frame);
	frame[ETH + (over_ipv6(m) ? 6 : 9)] = protocols[below(m, WR_ARRAY_LEN(protocols))];
	resum(m, frame);
	return n;
}

/* Options that may be skipped, or noise; UDP and its checksum stay right. */
uint16_t wr_malform_ip_extra(struct wr_malformer *m, uint8_t *frame)
{
	enum { OPTIONS = 60, PADDING = 1 };
	wr_malform_sound_any(m);
	uint16_t n = wr_malform_wrap(m, frame);
	uint8_t *ip = frame + ETH;
	unsigned int head = over_ipv6(m) ? IP6 : IP4, bytes = 4 * (1 + below(m, 10));
	if (over_ipv6(m))
		bytes = 8 * (1 + below(m, 10));
	memmove(ip + head + bytes, ip + head, (size_t)n - ETH - head);
	memset(ip + head, PADDING, bytes);
	if (below(m, 2))
		random_bytes(m, ip + head, bytes);
	if (over_ipv6(m)) {
		uint8_t *options = ip + head;
		options[0] = ip[6];
		options[1] = (uint8_t)(below(m, 8) ? bytes / 8 - 1 : below(m, 256));
		if (options[2] == PADDING && bytes < 256)
			options[3] = (uint8_t)(bytes - 4);
		ip[6] = below(m, 4) ? OPTIONS : (uint8_t[]){0, 43, 51, 135}[below(m, 4)];
		put16be(ip + 4, get16be(ip + 4) + bytes);
	} else {
		ip[0] = (uint8_t)(ip[0] + bytes / 4);
		put16be(ip + 2, get16be(ip + 2) + bytes);
		resum_ip(frame, IP4 + bytes);
	}
	return (uint16_t)(n + bytes);
}

uint16_t wr_malform_ip_source(struct wr_malformer *m, uint8_t *frame)
{
	static const uint8_t first4[] = {0, 127, 224, 239, 240, 255};
	wr_malform_sound_any(m);
	uint16_t n = wr_malform_wrap(m, frame);
	uint8_t *ip = frame + ETH, *sum = udp_of(m, frame) + 6;
	unsigned int before, after;
	if (over_ipv6(m)) {
		/* The first half becomes zero: unspecified, loopback or an IPv4 address. */
		before = wr_load_frame_fold(wr_load_frame_sum(ip + 8, 16));
		memset(ip + 8, 0, 8 + 2 * below(m, 5));
		after = wr_load_frame_fold(wr_load_frame_sum(ip + 8, 16));
	} else {
		before = wr_load_frame_fold(wr_load_frame_sum(ip + 12, 4));
		ip[12] = first4[below(m, WR_ARRAY_LEN(first4))];
		after = wr_load_frame_fold(wr_load_frame_sum(ip + 12, 4));
		resum(m, frame);
	}
	/* RFC 1624: the checksum follows what changed. */
	uint16_t old, fixed;
	memcpy(&old, sum, 2);
	uint32_t t = (uint16_t)~old + (uint16_t)~before + after;
	t = (t & 0xffff) + (t >> 16);
	fixed = (uint16_t) ~((t & 0xffff) + (t >> 16));
	memcpy(sum, fixed ? &fixed : (const uint16_t[]){0xffff}, 2);
	return n;
}

uint16_t wr_malform_ip_address(struct wr_malformer *m, uint8_t *frame)
{
	wr_malform_sound_any(m);
	uint16_t n = wr_malform_wrap(m, frame);
	frame[ETH + (over_ipv6(m) ? 24 + below(m, 16) : 16 + below(m, 4))] ^=
		(uint8_t)(1u << below(m, 8));
	resum(m, frame);
	return n;
}

uint16_t wr_malform_udp_length(struct wr_malformer *m, uint8_t *frame)
{
	wr_malform_sound_any(m);
	uint16_t n = wr_malform_wrap(m, frame);
	uint8_t *udp = udp_of(m, frame);
	unsigned int right = get16be(udp + 4);
	const unsigned int lies[] = {0, 7, 8, right + 1, right - 1, 65535, below(m, right)};
	put16be(udp + 4, lies[below(m, WR_ARRAY_LEN(lies))]);
	if (!over_ipv6(m) && below(m, 2))
		put16be(udp + 6, 0); /* no checksum that could notice */
	return n;
}

uint16_t wr_malform_udp_checksum(struct wr_malformer *m, uint8_t *frame)
{
	wr_malform_sound_any(m);
	uint16_t n = wr_malform_wrap(m, frame);
	uint8_t *at = udp_of(m, frame) + 6;
	unsigned int wrong = (get16be(at) ^ (1 + below(m, 0xfffe))) & 0xffff;
	put16be(at, wrong ? wrong : 0x1234);
	return n;
}

uint16_t wr_malform_udp_port(struct wr_malformer *m, uint8_t *frame)
{
	wr_malform_sound_any(m);
	memcpy(frame + m->l->head.size, m->message, m->n);
	uint16_t port = (uint16_t)(wr_malform_server_port(m) + 1000 + below(m, 20000));
	return wr_load_frame_finish(&m->l->head, frame, m->n, m->n, port);
}
