/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our addresses, found in a few instructions: the first of a family by one comparison, the others
 * (up to 31) in a table of 128 slots with linear probing, a quarter full at most.
 */
#include "frame_int.h"

#define SLOT_SHIFT (32 - 7)
static_assert(WR_FRAME_SLOTS == 1 << (32 - SLOT_SHIFT), "a slot is the top bits of a product");
static_assert(WR_FRAME_SLOTS >= 4 * WR_PORT_MAX_ADDRESSES, "probing ends soon");

unsigned int wr_frame_slot_ipv4(uint32_t address)
{
	return address * 0x9e3779b1u >> SLOT_SHIFT; /* Knuth, multiplicative hashing */
}

unsigned int wr_frame_slot_ipv6(const uint8_t address[16])
{
	uint64_t high, low;
	memcpy(&high, address, 8);
	memcpy(&low, address + 8, 8);
	uint64_t mixed = (high * 0x9e3779b97f4a7c15u ^ low) * 0xd6e8feb86659fd93u;
	return (unsigned int)(mixed >> (32 + SLOT_SHIFT));
}

int wr_frame_find_other_ipv4(const struct wr_frame_local *us, uint32_t address)
{
	for (unsigned int at = wr_frame_slot_ipv4(address); us->slot_ipv4[at];
		at = (at + 1) % WR_FRAME_SLOTS)
		if (memcmp(us->addresses.ipv4[us->slot_ipv4[at] - 1], &address, 4) == 0)
			return us->slot_ipv4[at] - 1;
	return -1;
}

int wr_frame_find_other_ipv6(const struct wr_frame_local *us, const uint8_t address[16])
{
	for (unsigned int at = wr_frame_slot_ipv6(address); us->slot_ipv6[at];
		at = (at + 1) % WR_FRAME_SLOTS)
		if (memcmp(us->addresses.ipv6[us->slot_ipv6[at] - 1], address, 16) == 0)
			return us->slot_ipv6[at] - 1;
	return -1;
}

/* Puts address i into its table; false: it is there already. The first ones stand in no slot. */
static bool add_ipv4(struct wr_frame_local *us, unsigned int i)
{
	uint32_t address;
	memcpy(&address, us->addresses.ipv4[i], 4);
	if (i == 0) {
		us->first_ipv4 = address;
		return true;
	}
	if (wr_frame_find_ipv4(us, address) >= 0)
		return false;
	unsigned int at = wr_frame_slot_ipv4(address);
	while (us->slot_ipv4[at])
		at = (at + 1) % WR_FRAME_SLOTS;
	us->slot_ipv4[at] = (uint8_t)(i + 1);
	return true;
}

static bool add_ipv6(struct wr_frame_local *us, unsigned int i)
{
	const uint8_t *address = us->addresses.ipv6[i];
	if (i == 0) {
		memcpy(us->first_ipv6, address, 16);
		return true;
	}
	if (wr_frame_find_ipv6(us, address) >= 0)
		return false;
	unsigned int at = wr_frame_slot_ipv6(address);
	while (us->slot_ipv6[at])
		at = (at + 1) % WR_FRAME_SLOTS;
	us->slot_ipv6[at] = (uint8_t)(i + 1);
	return true;
}

int wr_frame_local_init(struct wr_frame_local *us, const uint8_t mac[6],
	const struct wr_port_addresses *a, uint16_t udp_port, uint16_t n_ports)
{
	memset(us, 0, sizeof(*us));
	if (a->n_ipv4 > WR_PORT_MAX_ADDRESSES || a->n_ipv6 > WR_PORT_MAX_ADDRESSES ||
		a->n_own_ipv4 > a->n_ipv4 || a->n_own_ipv6 > a->n_ipv6 ||
		(uint32_t)udp_port + n_ports > 65536)
		return WR_EINVAL;
	memcpy(us->mac, mac, 6);
	memcpy(&us->mac_word, mac, 6);
	us->udp_port = udp_port;
	us->n_ports = n_ports;
	us->addresses = *a;
	for (unsigned int i = 0; i < a->n_ipv4; i++)
		if (!add_ipv4(us, i))
			return WR_EINVAL;
	for (unsigned int i = 0; i < a->n_ipv6; i++)
		if (!add_ipv6(us, i))
			return WR_EINVAL;
	us->n_ipv4 = a->n_ipv4;
	us->n_ipv6 = a->n_ipv6;
	return 0;
}
