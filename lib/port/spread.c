/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which queue a frame comes to. Flow rules where the driver takes them; else RSS over the UDP
 * destination port alone, with a key and a table that lead every port to its queue; else the
 * workers hand over. Each way is tried for what it is, none is configured.
 */
#include "spread.h"

#include <rte_byteorder.h>

#include <stdlib.h>
#include <string.h>

#define UDP_TYPES (RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP)

const char *wr_port_spread_name(enum wr_port_spread how)
{
	static const char *const names[] = {
		[WR_PORT_SPREAD_ONE] = "one queue",
		[WR_PORT_SPREAD_SENDER] = "the sender's choice",
		[WR_PORT_SPREAD_FLOWS] = "flow rules",
		[WR_PORT_SPREAD_RSS] = "RSS on the UDP port",
		[WR_PORT_SPREAD_KERNEL] = "the kernel's rules (ethtool), hand-over",
		[WR_PORT_SPREAD_HANDOVER] = "hand-over",
	};
	return names[how];
}

static unsigned int queue_of(const struct spread *s, unsigned int i)
{
	return i % s->n_queues;
}

/* ---- flow rules ---- */
/* eth / ipv4 or ipv6 / udp dst is PORT / end → queue. */
static struct rte_flow *flow_rule(
	struct spread *s, unsigned int i, bool ipv6, bool create, int *ret)
{
	struct rte_flow_item_udp spec = {0}, mask = {0};
	spec.hdr.dst_port = rte_cpu_to_be_16((uint16_t)(s->first_port + i));
	mask.hdr.dst_port = UINT16_MAX;
	const struct rte_flow_item pattern[] = {
		{.type = RTE_FLOW_ITEM_TYPE_ETH},
		{.type = ipv6 ? RTE_FLOW_ITEM_TYPE_IPV6 : RTE_FLOW_ITEM_TYPE_IPV4},
		{.type = RTE_FLOW_ITEM_TYPE_UDP, .spec = &spec, .mask = &mask},
		{.type = RTE_FLOW_ITEM_TYPE_END},
	};
	const struct rte_flow_action_queue queue = {.index = (uint16_t)queue_of(s, i)};
	const struct rte_flow_action actions[] = {
		{.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &queue},
		{.type = RTE_FLOW_ACTION_TYPE_END},
	};
	const struct rte_flow_attr attr = {.ingress = 1};
	struct rte_flow_error error = {0};
	struct rte_flow *flow = NULL;

	if (create) {
		flow = rte_flow_create(s->ethdev, &attr, pattern, actions, &error);
		*ret = flow ? 0 : -rte_errno;
	} else {
		*ret = rte_flow_validate(s->ethdev, &attr, pattern, actions, &error);
	}
	if (*ret != 0)
		snprintf(s->refusal, sizeof(s->refusal), "%s",
			error.message ? error.message : rte_strerror(abs(*ret)));
	return flow;
}

bool wr_spread_flows(struct spread *s)
{
	int ret = 0;

	/* Everything is asked before anything is done: most drivers refuse here. */
	for (unsigned int i = 0; i < 2 * s->n_ports && ret == 0; i++)
		(void)flow_rule(s, i / 2, i & 1, false, &ret);
	for (unsigned int i = 0; i < 2 * s->n_ports && ret == 0; i++) {
		struct rte_flow *flow = flow_rule(s, i / 2, i & 1, true, &ret);
		if (flow)
			s->flow[s->n_flows++] = flow;
	}
	if (ret != 0)
		wr_spread_stop(s);
	return ret == 0;
}

void wr_spread_stop(struct spread *s)
{
	struct rte_flow_error error;

	while (s->n_flows > 0)
		if (rte_flow_destroy(s->ethdev, s->flow[--s->n_flows], &error) != 0)
			wr_log(WR_LOG_WARN, "port", "a flow rule stays on the port: %s",
				error.message ? error.message : "the driver does not say why");
}

/* ---- RSS ---- */
void wr_spread_key(uint8_t *key, unsigned int n, unsigned int table_log2)
{
	/* The one bit of 16 that leads bit b of the port to bit table_log2 - 1 - b of the hash. */
	unsigned int bit = (32 - 1 - table_log2) % 16;

	for (unsigned int i = 0; i < n; i++)
		key[i] = i % 2 == bit / 8 ? (uint8_t)(0x80u >> bit % 8) : 0;
}

uint32_t wr_spread_hash(const uint8_t *key, uint16_t port)
{
	uint64_t window;
	uint32_t hash = 0;

	memcpy(&window, key, sizeof(window));
	window = rte_be_to_cpu_64(window);
	for (unsigned int bit = 0; bit < 16; bit++)
		if (port & 0x8000u >> bit)
			hash ^= (uint32_t)(window >> (32 - bit));
	return hash;
}

/* log2 of a table's size, at least 1; a size that is no power of two counts as the next lower. */
static unsigned int table_log2(unsigned int size)
{
	unsigned int log2 = 1;

	while (log2 < 16 && 2u << log2 <= size)
		log2++;
	return log2;
}

void wr_spread_configure(
	struct spread *s, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
	uint64_t can = info->flow_type_rss_offloads;

	s->dst_only = false;
	if (s->n_queues < 2 || (can & UDP_TYPES) == 0)
		return;
	conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	conf->rx_adv_conf.rss_conf.rss_hf = can & UDP_TYPES;
	if (!(can & RTE_ETH_RSS_L4_DST_ONLY))
		return;
	s->dst_only = true;
	conf->rx_adv_conf.rss_conf.rss_hf |= RTE_ETH_RSS_L4_DST_ONLY;
	if (info->hash_key_size < 8 || info->hash_key_size > sizeof(s->key) || !info->reta_size)
		return; /* the driver's own key, which wr_spread_rss_table reads */
	wr_spread_key(s->key, info->hash_key_size, table_log2(info->reta_size));
	conf->rx_adv_conf.rss_conf.rss_key = s->key;
	conf->rx_adv_conf.rss_conf.rss_key_len = info->hash_key_size;
}

#define RETA_MAX_GROUPS (RTE_ETH_RSS_RETA_SIZE_512 / RTE_ETH_RETA_GROUP_SIZE)

static uint16_t *entry(struct rte_eth_rss_reta_entry64 *table, unsigned int i)
{
	return &table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
}

unsigned int wr_spread_rss_table(struct spread *s)
{
	struct rte_eth_rss_reta_entry64 table[RETA_MAX_GROUPS] = {0};
	uint8_t key[SPREAD_KEY_BYTES] = {0};
	static const uint8_t unknown[8];
	struct rte_eth_rss_conf conf = {.rss_key = key};
	struct rte_eth_dev_info info;
	unsigned int n = 0;

	if (rte_eth_dev_info_get(s->ethdev, &info) != 0 || info.reta_size == 0 ||
		info.reta_size > RTE_ETH_RSS_RETA_SIZE_512 || info.hash_key_size > sizeof(key))
		return 0;
	conf.rss_key_len = info.hash_key_size;
	if (rte_eth_dev_rss_hash_conf_get(s->ethdev, &conf) != 0 ||
		memcmp(key, unknown, sizeof(unknown)) == 0)
		return 0;
	for (unsigned int i = 0; i < info.reta_size; i++)
		*entry(table, i) = (uint16_t)(i % s->n_queues);
	/* Backwards: of two ports in one entry the lower has it. */
	for (unsigned int i = s->n_ports; i-- > 0;)
		*entry(table, wr_spread_hash(key, (uint16_t)(s->first_port + i)) % info.reta_size) =
			(uint16_t)queue_of(s, i);
	for (unsigned int g = 0; g < RETA_MAX_GROUPS; g++)
		table[g].mask = UINT64_MAX;
	/* What the driver refuses to change may still be right for some. */
	(void)!rte_eth_dev_rss_reta_update(s->ethdev, table, info.reta_size);
	memset(table, 0, sizeof(table));
	for (unsigned int g = 0; g < RETA_MAX_GROUPS; g++)
		table[g].mask = UINT64_MAX;
	if (rte_eth_dev_rss_reta_query(s->ethdev, table, info.reta_size) != 0)
		return 0;
	for (unsigned int i = 0; i < s->n_ports; i++)
		n += *entry(table, wr_spread_hash(key, (uint16_t)(s->first_port + i)) %
					   info.reta_size) == queue_of(s, i);
	return n;
}

/* ---- the order ---- */
void wr_spread_start(struct spread *s)
{
	struct rte_eth_rss_conf conf = {0};

	s->how = WR_PORT_SPREAD_ONE;
	if (s->n_queues < 2)
		return;
	if (wr_spread_flows(s)) {
		s->how = WR_PORT_SPREAD_FLOWS;
		return;
	}
	s->how = WR_PORT_SPREAD_HANDOVER;
	if (!s->dst_only || rte_eth_dev_rss_hash_conf_get(s->ethdev, &conf) != 0 ||
		!(conf.rss_hf & RTE_ETH_RSS_L4_DST_ONLY))
		return;
	s->n_placed = wr_spread_rss_table(s);
	if (s->n_placed > 0)
		s->how = WR_PORT_SPREAD_RSS;
}

void wr_spread_describe(const struct spread *s, char *out, size_t size)
{
	out[0] = '\0';
	if (s->how == WR_PORT_SPREAD_FLOWS)
		snprintf(out, size, ", %u flow rules", s->n_flows);
	else if (s->how == WR_PORT_SPREAD_RSS)
		snprintf(out, size, ", RSS on the UDP port (%u of %u)", s->n_placed, s->n_ports);
	else if (s->how == WR_PORT_SPREAD_HANDOVER)
		snprintf(out, size, ", hand-over (no flow rules: %s)", s->refusal);
	else if (s->how == WR_PORT_SPREAD_KERNEL)
		snprintf(out, size, ", %s", wr_port_spread_name(s->how));
}
