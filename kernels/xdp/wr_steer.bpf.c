/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * XDP program of kernel interfaces that Wirerank shares: datagrams for the service go to the
 * AF_XDP socket of the receive queue they came in on, everything else goes on to the kernel as if
 * this program were not there. It runs for every frame of the interface, most of which are not
 * ours: one pass over at most 64 bytes, two map look-ups for ours.
 *
 * Taken are: Ethernet to one station, at most two VLAN tags in the frame, IPv4 without options and
 * not fragmented or IPv6 without extension headers, to a local address, UDP to one of the
 * service's ports, in one buffer. net_af_xdp (DPDK 22.11) asks for the map's name xsks_map; the
 * other maps are filled by lib/port/xdp.c, which finds them by theirs. Until it has, the range of
 * ports is empty and everything passes.
 */
#include "wr_steer.h"

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_VLAN_TAGS    2
#define IPV4_VERSION_IHL 0x45   /* no options */
#define IPV4_MF_OFFSET   0x3fff /* more fragments, or a fragment's place */

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, WR_STEER_MAX_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} xsks_map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wr_steer_ports);
} wr_steer_ports SEC(".maps");

/* Local addresses, IPv4 as ::ffff:a.b.c.d. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WR_STEER_MAX_ADDRESSES);
	__type(key, struct wr_steer_address);
	__type(value, __u8);
} wr_steer_local SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WR_STEER_N_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} wr_steer_counts SEC(".maps");

struct vlan_tag {
	__be16 tci, type;
};

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&wr_steer_counts, &what);
	if (n)
		(*n)++;
}

/* The UDP header of an IPv4 packet at l3 that may be ours; NULL = it is not. */
static __always_inline struct udphdr *udp_of_ipv4(void *l3, void *end, struct wr_steer_address *to)
{
	struct iphdr *ip = l3;
	struct udphdr *udp = (void *)(ip + 1);

	if ((void *)(udp + 1) > end || *(__u8 *)l3 != IPV4_VERSION_IHL ||
		ip->protocol != IPPROTO_UDP || (ip->frag_off & bpf_htons(IPV4_MF_OFFSET)))
		return NULL;
	/* more than lies here: the rest is in another buffer */
	if (l3 + bpf_ntohs(ip->tot_len) > end)
		return NULL;
	to->word[2] = bpf_htonl(0xffff);
	to->word[3] = ip->daddr;
	return udp;
}

static __always_inline struct udphdr *udp_of_ipv6(void *l3, void *end, struct wr_steer_address *to)
{
	struct ipv6hdr *ip = l3;
	struct udphdr *udp = (void *)(ip + 1);

	if ((void *)(udp + 1) > end || ip->version != 6 || ip->nexthdr != IPPROTO_UDP)
		return NULL;
	if ((void *)udp + bpf_ntohs(ip->payload_len) > end)
		return NULL;
	__builtin_memcpy(to, &ip->daddr, sizeof(*to));
	return udp;
}

/* Whether the frame is the service's. */
static __always_inline int is_ours(void *data, void *end)
{
	struct ethhdr *eth = data;
	struct wr_steer_address to = {};
	struct udphdr *udp = NULL;
	void *l3 = eth + 1;
	__u32 zero = 0;

	if (l3 > end || (eth->h_dest[0] & 1))
		return 0;
	__be16 type = eth->h_proto;
#pragma unroll
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		struct vlan_tag *tag = l3;
		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 1) > end)
			return 0;
		type = tag->type;
		l3 = tag + 1;
	}
	if (type == bpf_htons(ETH_P_IP))
		udp = udp_of_ipv4(l3, end, &to);
	else if (type == bpf_htons(ETH_P_IPV6))
		udp = udp_of_ipv6(l3, end, &to);
	if (!udp)
		return 0;
	const struct wr_steer_ports *ports = bpf_map_lookup_elem(&wr_steer_ports, &zero);
	if (!ports || (__u32)bpf_ntohs(udp->dest) - ports->first >= ports->n)
		return 0;
	return bpf_map_lookup_elem(&wr_steer_local, &to) != NULL;
}

/* xdp.frags: may be attached where the MTU exceeds a buffer; such frames are not ours. */
SEC("xdp.frags")
int wr_steer(struct xdp_md *ctx)
{
	if (!is_ours((void *)(long)ctx->data, (void *)(long)ctx->data_end)) {
		count(WR_STEER_PASSED);
		return XDP_PASS;
	}
	/* XDP_PASS: what to do when no socket sits on this queue */
	int action = bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
	count(action == XDP_REDIRECT ? WR_STEER_TAKEN : WR_STEER_NO_SOCKET);
	return action;
}

char _license[] SEC("license") = "Dual BSD/GPL";
