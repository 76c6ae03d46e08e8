/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which queue a frame comes to. Keys and hashes against a Toeplitz hash written down bit by
 * bit and DPDK's own;
 * the table through a real port (net_null keeps a key and a table, though it hashes nothing); flow
 * rules against a flow table of this file's own, because no driver that runs without a NIC takes
 * them from this kernel: rte_flow's three functions are defined here.
 */
#include "spread.h"
#include "wr_test.h"

#include <rte_bus_vdev.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_thash.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a flow table ---- */
struct rte_flow {
	bool used, ipv6;
	uint16_t dst_port, queue;
};
static struct rte_flow rules[SPREAD_MAX_FLOWS];
static unsigned int n_validated, n_created, validate_fails_at, create_fails_at;

static int refuse(struct rte_flow_error *error)
{
	error->message = "no";
	rte_errno = ENOTSUP;
	return -ENOTSUP;
}

/* eth / ipv4|ipv6 / udp dst is PORT / end, queue Q / end: nothing else. */
static bool parse(const struct rte_flow_attr *attr, const struct rte_flow_item *p,
	const struct rte_flow_action *a, struct rte_flow *out)
{
	const struct rte_flow_item_udp *spec = p[2].spec, *mask = p[2].mask;
	if (!attr->ingress || attr->egress || p[0].type != RTE_FLOW_ITEM_TYPE_ETH || p[0].spec ||
		(p[1].type != RTE_FLOW_ITEM_TYPE_IPV4 && p[1].type != RTE_FLOW_ITEM_TYPE_IPV6) ||
		p[1].spec || p[2].type != RTE_FLOW_ITEM_TYPE_UDP ||
		p[3].type != RTE_FLOW_ITEM_TYPE_END || p[2].last ||
		mask->hdr.dst_port != UINT16_MAX || mask->hdr.src_port ||
		a[0].type != RTE_FLOW_ACTION_TYPE_QUEUE || a[1].type != RTE_FLOW_ACTION_TYPE_END)
		return false;
	*out = (struct rte_flow){.used = true,
		.ipv6 = p[1].type == RTE_FLOW_ITEM_TYPE_IPV6,
		.dst_port = rte_be_to_cpu_16(spec->hdr.dst_port),
		.queue = ((const struct rte_flow_action_queue *)a[0].conf)->index};
	return true;
}

int rte_flow_validate(uint16_t port, const struct rte_flow_attr *attr,
	const struct rte_flow_item p[], const struct rte_flow_action a[],
	struct rte_flow_error *error)
{
	struct rte_flow rule;
	if (!parse(attr, p, a, &rule) || ++n_validated == validate_fails_at)
		return refuse(error);
	return 0;
}

struct rte_flow *rte_flow_create(uint16_t port, const struct rte_flow_attr *attr,
	const struct rte_flow_item p[], const struct rte_flow_action a[],
	struct rte_flow_error *error)
{
	struct rte_flow rule;
	if (!parse(attr, p, a, &rule) || ++n_created == create_fails_at) {
		(void)refuse(error);
		return NULL;
	}
	for (unsigned int i = 0; i < SPREAD_MAX_FLOWS; i++)
		if (!rules[i].used) {
			rules[i] = rule;
			return &rules[i];
		}
	(void)refuse(error);
	return NULL;
}

int rte_flow_destroy(uint16_t port, struct rte_flow *flow, struct rte_flow_error *error)
{
	if (!flow->used)
		return refuse(error);
	flow->used = false;
	return 0;
}

static unsigned int n_rules(void)
{
	unsigned int n = 0;
	for (unsigned int i = 0; i < SPREAD_MAX_FLOWS; i++)
		n += rules[i].used;
	return n;
}

/* The queue that a datagram comes to; -1 = no rule, -2 = more than one. */
static int queue_by_rules(bool ipv6, uint16_t dst_port)
{
	int queue = -1;
	for (unsigned int i = 0; i < SPREAD_MAX_FLOWS; i++)
		if (rules[i].used && rules[i].ipv6 == ipv6 && rules[i].dst_port == dst_port)
			queue = queue == -1 ? rules[i].queue : -2;
	return queue;
}

static void fresh(struct spread *s, unsigned int n_ports, unsigned int n_queues)
{
	*s = (struct spread){.first_port = 4700, .n_ports = n_ports, .n_queues = n_queues};
	memset(rules, 0, sizeof(rules));
	n_validated = n_created = validate_fails_at = create_fails_at = 0;
}

static void test_flows(void)
{
	static const unsigned int shapes[][2] = {{2, 2}, {4, 4}, {5, 2}, {64, 64}, {64, 3}};
	static struct spread s;
	for (unsigned int t = 0; t < WR_ARRAY_LEN(shapes); t++) {
		fresh(&s, shapes[t][0], shapes[t][1]);
		wr_spread_start(&s);
		CU_ASSERT_EQUAL(s.how, WR_PORT_SPREAD_FLOWS);
		CU_ASSERT_EQUAL(n_rules(), 2 * s.n_ports);
		for (unsigned int i = 0; i < s.n_ports; i++) {
			CU_ASSERT_EQUAL(
				queue_by_rules(false, (uint16_t)(4700 + i)), (int)(i % s.n_queues));
			CU_ASSERT_EQUAL(
				queue_by_rules(true, (uint16_t)(4700 + i)), (int)(i % s.n_queues));
		}
		CU_ASSERT_EQUAL(queue_by_rules(false, (uint16_t)(4700 + s.n_ports)), -1);
		wr_spread_stop(&s);
		CU_ASSERT_EQUAL(n_rules(), 0);
		wr_spread_stop(&s);
	}
	fresh(&s, 3, 1);
	wr_spread_start(&s);
	CU_ASSERT(s.how == WR_PORT_SPREAD_ONE && n_validated == 0 && n_rules() == 0);
}

/* Whatever is refused, and when: nothing stays, and the next way is taken. */
static void test_refusals(void)
{
	static struct spread s;
	char text[192];
	for (unsigned int at = 1; at <= 2 * 4; at++) {
		fresh(&s, 4, 4);
		validate_fails_at = at;
		wr_spread_start(&s);
		CU_ASSERT(s.how == WR_PORT_SPREAD_HANDOVER && n_created == 0 && n_rules() == 0);
		fresh(&s, 4, 4);
		create_fails_at = at;
		wr_spread_start(&s);
		CU_ASSERT(s.how == WR_PORT_SPREAD_HANDOVER && n_created == at && n_rules() == 0);
	}
	wr_spread_describe(&s, text, sizeof(text));
	CU_ASSERT_STRING_EQUAL(text, ", hand-over (no flow rules: no)");
}

/* ---- RSS ---- */
/* Toeplitz as its inventors describe it: for every set bit of the input, the 32 bits of the key
 * from there on. */
static uint32_t toeplitz(
	const uint8_t *key, unsigned int key_bytes, const uint8_t *in, unsigned int n)
{
	uint32_t hash = 0;
	for (unsigned int bit = 0; bit < 8 * n; bit++) {
		if (!(in[bit / 8] & 0x80u >> bit % 8))
			continue;
		for (unsigned int j = 0; j < 32; j++) {
			unsigned int at = (bit + j) % (8 * key_bytes);
			if (key[at / 8] & 0x80u >> at % 8)
				hash ^= 0x80000000u >> j;
		}
	}
	return hash;
}

static void test_hash(void)
{
	/* Microsoft's verification key and vector: 66.9.149.187:2794 to 161.142.100.80:1766 */
	static const uint8_t known[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41,
		0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30,
		0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe,
		0xac, 0x01, 0xfa};
	static const uint8_t vector[12] = {
		66, 9, 149, 187, 161, 142, 100, 80, 2794 >> 8, 2794 & 255, 1766 >> 8, 1766 & 255};
	struct wr_rng rng;
	wr_rng_init(&rng, 11, 0);
	CU_ASSERT_EQUAL(toeplitz(known, sizeof(known), vector, sizeof(vector)), 0x51ccc178);
	for (unsigned int i = 0; i < 2000; i++) {
		_Alignas(uint32_t) uint8_t key[8];
		uint16_t port = (uint16_t)wr_rng_u64(&rng);
		uint8_t bytes[2] = {(uint8_t)(port >> 8), (uint8_t)port};
		for (unsigned int b = 0; b < sizeof(key); b++)
			key[b] = (uint8_t)wr_rng_u64(&rng);
		CU_ASSERT_EQUAL(wr_spread_hash(key, port), toeplitz(key, sizeof(key), bytes, 2));
		uint32_t tuple = (uint32_t)port << 16;
		CU_ASSERT_EQUAL(wr_spread_hash(key, port), rte_softrss(&tuple, 1, key));
	}
}

/* 2^log2 ports from any first one on come to as many entries, wherever a NIC puts the port. */
static void test_key(void)
{
	static bool taken[1 << 16];
	static const uint16_t firsts[] = {1, 4700, 4701, 32767, 60000};
	static const unsigned int places[] = {
		0, 2, 10, 34}; /* alone, v4 and v6 tuples with zeros */
	uint8_t key[52];
	for (unsigned int log2 = 1; log2 <= 9; log2++) {
		wr_spread_key(key, 40, log2);
		for (unsigned int f = 0; f < WR_ARRAY_LEN(firsts); f++) {
			unsigned int size = 1u << log2, n = 0;
			memset(taken, 0, sizeof(taken));
			for (unsigned int i = 0; i < size; i++) {
				uint16_t port = (uint16_t)(firsts[f] + i);
				uint32_t hash = wr_spread_hash(key, port);
				n += !taken[hash % size];
				taken[hash % size] = true;
				for (unsigned int p = 0; p < WR_ARRAY_LEN(places); p++) {
					uint8_t in[36] = {0};
					in[places[p]] = (uint8_t)(port >> 8);
					in[places[p] + 1] = (uint8_t)port;
					CU_ASSERT_EQUAL_FATAL(toeplitz(key, 40, in, 36), hash);
				}
			}
			CU_ASSERT_EQUAL(n, size);
		}
	}
}

/* ---- a real port ---- */
static uint16_t null_port(const uint8_t *key, unsigned int n_queues)
{
	static unsigned int n_made;
	struct rte_eth_conf conf = {.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS};
	struct rte_mempool *pool = rte_mempool_lookup("spread");
	uint16_t port, n = (uint16_t)n_queues;
	char name[32];

	snprintf(name, sizeof(name), "net_null%u", n_made++);
	if (!pool)
		pool = rte_pktmbuf_pool_create(
			"spread", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	conf.rx_adv_conf.rss_conf.rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
	conf.rx_adv_conf.rss_conf.rss_key = (uint8_t *)(uintptr_t)key;
	conf.rx_adv_conf.rss_conf.rss_key_len = 40;
	CU_ASSERT_EQUAL_FATAL(rte_eal_hotplug_add("vdev", name, ""), 0);
	CU_ASSERT_EQUAL_FATAL(rte_eth_dev_get_port_by_name(name, &port), 0);
	CU_ASSERT_EQUAL_FATAL(rte_eth_dev_configure(port, n, n, &conf), 0);
	for (uint16_t q = 0; q < n; q++) {
		CU_ASSERT_EQUAL_FATAL(
			rte_eth_rx_queue_setup(port, q, 64, SOCKET_ID_ANY, NULL, pool), 0);
		CU_ASSERT_EQUAL_FATAL(rte_eth_tx_queue_setup(port, q, 64, SOCKET_ID_ANY, NULL), 0);
	}
	struct rte_eth_rss_conf rss = conf.rx_adv_conf.rss_conf;
	CU_ASSERT_EQUAL_FATAL(rte_eth_dev_rss_hash_update(port, &rss), 0);
	return port;
}

/* The queue of a datagram by the key and the table that the port holds now. */
static unsigned int queue_by_table(uint16_t ethdev, uint16_t dst_port)
{
	struct rte_eth_rss_reta_entry64 table[8] = {0};
	struct rte_eth_dev_info info;
	uint8_t key[40] = {0}, bytes[2] = {(uint8_t)(dst_port >> 8), (uint8_t)dst_port};
	struct rte_eth_rss_conf conf = {.rss_key = key, .rss_key_len = sizeof(key)};

	CU_ASSERT_EQUAL_FATAL(rte_eth_dev_info_get(ethdev, &info), 0);
	CU_ASSERT_FATAL(info.reta_size > 0 && info.reta_size <= 512);
	for (unsigned int g = 0; g < WR_ARRAY_LEN(table); g++)
		table[g].mask = UINT64_MAX;
	CU_ASSERT_EQUAL_FATAL(rte_eth_dev_rss_hash_conf_get(ethdev, &conf), 0);
	CU_ASSERT_EQUAL_FATAL(rte_eth_dev_rss_reta_query(ethdev, table, info.reta_size), 0);
	unsigned int i = toeplitz(key, sizeof(key), bytes, 2) % info.reta_size;
	return table[i / 64].reta[i % 64];
}

static void test_table(void)
{
	static const unsigned int shapes[][2] = {{2, 2}, {5, 2}, {64, 64}, {64, 7}};
	static struct spread s;
	uint8_t key[40];
	wr_spread_key(key, sizeof(key), 7); /* net_null's table has 128 entries */
	for (unsigned int t = 0; t < WR_ARRAY_LEN(shapes); t++) {
		fresh(&s, shapes[t][0], shapes[t][1]);
		s.ethdev = null_port(key, s.n_queues);
		CU_ASSERT_EQUAL(wr_spread_rss_table(&s), s.n_ports);
		for (unsigned int i = 0; i < s.n_ports; i++)
			CU_ASSERT_EQUAL(
				queue_by_table(s.ethdev, (uint16_t)(4700 + i)), i % s.n_queues);
	}
	/* Any key that a driver insists on: the count is what the table does. */
	struct wr_rng rng;
	wr_rng_init(&rng, 5, 0);
	fresh(&s, 64, 64);
	s.ethdev = null_port(key, 64);
	unsigned int least = 64;
	for (unsigned int round = 0; round < 20; round++) {
		unsigned int placed = 0;
		for (unsigned int b = 0; b < sizeof(key); b++)
			key[b] = (uint8_t)wr_rng_u64(&rng);
		struct rte_eth_rss_conf conf = {.rss_key = key,
			.rss_key_len = sizeof(key),
			.rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_UDP};
		CU_ASSERT_EQUAL_FATAL(rte_eth_dev_rss_hash_update(s.ethdev, &conf), 0);
		unsigned int said = wr_spread_rss_table(&s);
		for (unsigned int i = 0; i < s.n_ports; i++)
			placed += queue_by_table(s.ethdev, (uint16_t)(4700 + i)) == i;
		CU_ASSERT(said == placed && said > 0);
		least = WR_MIN(least, said);
	}
	CU_ASSERT(least < 64); /* some keys make neighbours meet: the count must see it */
	/* A key that cannot be read. */
	memset(key, 0, sizeof(key));
	struct rte_eth_rss_conf none = {
		.rss_key = key, .rss_key_len = sizeof(key), .rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_UDP};
	CU_ASSERT_EQUAL_FATAL(rte_eth_dev_rss_hash_update(s.ethdev, &none), 0);
	CU_ASSERT_EQUAL(wr_spread_rss_table(&s), 0);
}

/* What is asked of ports that can this and that. */
static void test_configure(void)
{
	const uint64_t udp = RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP;
	static struct spread s;
	struct rte_eth_dev_info info = {
		.reta_size = 64, .hash_key_size = 40, .flow_type_rss_offloads = udp};
	struct rte_eth_conf conf = {0};
	uint8_t key[40];

	fresh(&s, 4, 4);
	wr_spread_configure(&s, &info, &conf); /* spreads receiving only */
	CU_ASSERT(!s.dst_only && conf.rxmode.mq_mode == RTE_ETH_MQ_RX_RSS);
	CU_ASSERT(conf.rx_adv_conf.rss_conf.rss_hf == udp && !conf.rx_adv_conf.rss_conf.rss_key);
	info.flow_type_rss_offloads |= RTE_ETH_RSS_L4_DST_ONLY;
	wr_spread_configure(&s, &info, &conf);
	wr_spread_key(key, sizeof(key), 6);
	CU_ASSERT(
		s.dst_only && conf.rx_adv_conf.rss_conf.rss_hf == (udp | RTE_ETH_RSS_L4_DST_ONLY));
	CU_ASSERT_PTR_NOT_NULL_FATAL(conf.rx_adv_conf.rss_conf.rss_key);
	CU_ASSERT(memcmp(conf.rx_adv_conf.rss_conf.rss_key, key, sizeof(key)) == 0);
	CU_ASSERT_EQUAL(conf.rx_adv_conf.rss_conf.rss_key_len, 40);
	conf = (struct rte_eth_conf){0};
	info.hash_key_size = 0; /* its own key */
	wr_spread_configure(&s, &info, &conf);
	CU_ASSERT(s.dst_only && !conf.rx_adv_conf.rss_conf.rss_key);
	conf = (struct rte_eth_conf){0};
	s.n_queues = 1;
	wr_spread_configure(&s, &info, &conf);
	CU_ASSERT(!s.dst_only && conf.rxmode.mq_mode == RTE_ETH_MQ_RX_NONE);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"a rule for every UDP port and IP version", test_flows},
		{"refused rules leave nothing behind", test_refusals},
		{"the hash of a port", test_hash},
		{"a key under which neighbours never meet", test_key},
		{"what a port is asked for", test_configure},
		{"the table of a real port", test_table},
	};
	char prefix[64], folder[96];
	char *argv[] = {(char *)"test_spread", prefix, (char *)"--no-huge", (char *)"--no-pci",
		(char *)"--no-telemetry", (char *)"--no-shconf", (char *)"-m", (char *)"64",
		(char *)"--lcores=0@0", (char *)"--log-level=*:error", NULL};
	snprintf(prefix, sizeof(prefix), "--file-prefix=wr-spread-%d", (int)getpid());
	if (rte_eal_init((int)WR_ARRAY_LEN(argv) - 1, argv) < 0)
		return EXIT_FAILURE;
	int rc = wr_test_run("spread", tests, WR_ARRAY_LEN(tests));
	(void)rte_eal_cleanup();
	snprintf(folder, sizeof(folder), "/var/run/dpdk/wr-spread-%d", (int)getpid());
	(void)rmdir(folder);
	return rc;
}
