/* SPDX-License-Identifier: BSD-3-Clause */
/* The shard table and its epoch, for every number of ports. */
#include "wr_test.h"
#include "wr_wire.h"

#include <string.h>

static uint8_t table[WR_WIRE_MAX_PORTS + 1][WR_WIRE_N_SHARDS];

static uint32_t epoch_of(unsigned int n, uint16_t udp_port)
{
	uint16_t ports[WR_WIRE_MAX_PORTS];
	for (unsigned int i = 0; i < n; i++)
		ports[i] = (uint16_t)(udp_port + i);
	return wr_wire_table_epoch(table[n], ports, n);
}

static void test_balance(void)
{
	for (unsigned int n = 1; n <= WR_WIRE_MAX_PORTS; n++) {
		unsigned int count[WR_WIRE_MAX_PORTS] = {0}, least = WR_WIRE_N_SHARDS, most = 0;
		for (unsigned int i = 0; i < WR_WIRE_N_SHARDS; i++) {
			CU_ASSERT_FATAL(table[n][i] < n);
			count[table[n][i]]++;
		}
		for (unsigned int w = 0; w < n; w++) {
			least = WR_MIN(least, count[w]);
			most = WR_MAX(most, count[w]);
		}
		CU_ASSERT(least == WR_WIRE_N_SHARDS / n && most <= least + 1);
	}
}

static void test_moves(void)
{
	for (unsigned int n = 2; n <= WR_WIRE_MAX_PORTS; n++) {
		unsigned int moved = 0;
		for (unsigned int i = 0; i < WR_WIRE_N_SHARDS; i++) {
			bool differs = table[n][i] != table[n - 1][i];
			CU_ASSERT(!differs || table[n][i] == n - 1);
			moved += differs;
		}
		CU_ASSERT_EQUAL(moved, WR_WIRE_N_SHARDS / n);
	}
}

static void test_epochs(void)
{
	static uint32_t seen[2 * WR_WIRE_MAX_PORTS];
	unsigned int n_seen = 0;
	for (unsigned int n = 1; n <= WR_WIRE_MAX_PORTS; n++)
		for (unsigned int base = 0; base < 2; base++) {
			uint32_t e = epoch_of(n, (uint16_t)(4700 + base));
			CU_ASSERT(e != 0);
			CU_ASSERT_EQUAL(e, epoch_of(n, (uint16_t)(4700 + base)));
			for (unsigned int i = 0; i < n_seen; i++)
				CU_ASSERT_NOT_EQUAL(e, seen[i]);
			seen[n_seen++] = e;
		}
	/* One shard at another owner. */
	uint32_t before = epoch_of(2, 4700);
	table[2][77] ^= 1;
	CU_ASSERT_NOT_EQUAL(epoch_of(2, 4700), before);
	table[2][77] ^= 1;
	CU_ASSERT_EQUAL(epoch_of(2, 4700), before);
}

/* Two that are written down: the same over machines and versions. */
static void test_known(void)
{
	CU_ASSERT_EQUAL(epoch_of(1, 4700), 0x143081ee);
	CU_ASSERT_EQUAL(epoch_of(2, 4700), 0x28c551ec);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"every port has its even part", test_balance},
		{"one port more moves only what that one gets", test_moves},
		{"another table, another epoch; the same, the same", test_epochs},
		{"known epochs", test_known},
	};
	for (unsigned int n = 1; n <= WR_WIRE_MAX_PORTS; n++)
		wr_wire_share_out(table[n], n);
	return wr_test_run("shards", tests, WR_ARRAY_LEN(tests));
}
