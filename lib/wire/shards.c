/* SPDX-License-Identifier: BSD-3-Clause */
/* The shard table that a server makes and its epoch: once at start, never on the corridor. */
#include "wr_wire.h"

#include <sodium.h>
#include <string.h>

/* The last shard of the port that has most (the first of equals). */
static unsigned int spare(const uint8_t *shards, unsigned int n_ports)
{
	unsigned int count[WR_WIRE_MAX_PORTS] = {0}, fullest = 0, at = WR_WIRE_N_SHARDS - 1;

	for (unsigned int i = 0; i < WR_WIRE_N_SHARDS; i++)
		count[shards[i]]++;
	for (unsigned int w = 1; w < n_ports; w++)
		if (count[w] > count[fullest])
			fullest = w;
	while (shards[at] != fullest)
		at--;
	return at;
}

/* Port after port joins and takes its even part from those that have most: balanced within one
 * shard, and one port more or fewer moves no shard between two that stay. */
void wr_wire_share_out(uint8_t shards[WR_WIRE_N_SHARDS], unsigned int n_ports)
{
	memset(shards, 0, WR_WIRE_N_SHARDS);
	for (unsigned int n = 2; n <= n_ports; n++)
		for (unsigned int i = 0; i < WR_WIRE_N_SHARDS / n; i++)
			shards[spare(shards, n - 1)] = (uint8_t)(n - 1);
}

uint32_t wr_wire_table_epoch(
	const uint8_t shards[WR_WIRE_N_SHARDS], const uint16_t *ports, unsigned int n_ports)
{
	uint8_t table[WR_WIRE_N_SHARDS + sizeof(uint16_t) * WR_WIRE_MAX_PORTS];
	uint8_t digest[crypto_generichash_BYTES_MIN];
	uint32_t epoch;

	assert(n_ports <= WR_WIRE_MAX_PORTS);
	memcpy(table, shards, WR_WIRE_N_SHARDS);
	memcpy(table + WR_WIRE_N_SHARDS, ports, n_ports * sizeof(ports[0]));
	int err = crypto_generichash(digest, sizeof(digest), table,
		WR_WIRE_N_SHARDS + n_ports * sizeof(ports[0]), NULL, 0);
	assert(err == 0); /* only wrong sizes fail */
	(void)err;
	memcpy(&epoch, digest, sizeof(epoch));
	return epoch ? epoch : 1;
}
