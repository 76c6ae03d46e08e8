/* SPDX-License-Identifier: BSD-3-Clause */
/* Cookies, tags, randomness. The published hashes are checked against docs/protocol.md in
 * test_protocol. */
#include "wr_test.h"
#include "wire_util.h"

static void test_siphash_vector(void)
{
	/* SipHash-2-4 of the 20 bytes 00 … 13 under the key 00 … 0f: vectors_sip64 of the authors'
	 * reference code. */
	uint8_t address[16], secret[16];
	static const uint8_t want[8] = {0x98, 0xee, 0xa2, 0x1a, 0xf2, 0x5c, 0xd6, 0xbe};
	struct wr_wire_cookie c;
	for (uint8_t i = 0; i < 16; i++)
		address[i] = secret[i] = i;
	wr_wire_cookie_make(&c, address, 0x13121110, secret);
	CU_ASSERT_EQUAL(c.epoch, 0x13121110);
	CU_ASSERT_EQUAL(c.reserved, 0);
	CU_ASSERT(!memcmp(
		(const uint8_t *)&c + offsetof(struct wr_wire_cookie, mac), want, sizeof(want)));
}

static void test_cookie(void)
{
	uint8_t address[16], secret[16];
	struct wr_wire_cookie c;
	wr_wire_random(address, sizeof(address));
	wr_wire_random(secret, sizeof(secret));
	wr_wire_cookie_make(&c, address, 9, secret);
	CU_ASSERT_TRUE(wr_wire_cookie_check(&c, address, secret));
	for (unsigned int bit = 0; bit < 128; bit++) {
		address[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CU_ASSERT_FALSE(wr_wire_cookie_check(&c, address, secret));
		address[bit / 8] ^= (uint8_t)(1u << bit % 8);
		secret[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CU_ASSERT_FALSE(wr_wire_cookie_check(&c, address, secret));
		secret[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (unsigned int bit = 0; bit < 64; bit++) {
		struct wr_wire_cookie bad = c;
		bad.mac ^= (uint64_t)1 << bit;
		CU_ASSERT_FALSE(wr_wire_cookie_check(&bad, address, secret));
		bad = c;
		bad.epoch ^= 1u << bit % 32;
		CU_ASSERT_FALSE(wr_wire_cookie_check(&bad, address, secret));
	}
}

static void test_tag(void)
{
	struct draft b;
	struct exact e;
	uint8_t key[32], other[32];
	wr_wire_random(key, sizeof(key));
	memcpy(other, key, sizeof(key));
	other[31] ^= 1;
	draft_begin(&b, WR_OP_FORGET);
	wr_writer_utterance(&b.w, "abc", 3);
	wr_writer_auth(&b.w, 5, key);
	size_t n = draft_finish(&b);
	exact_decode(&e, b.data, n, false);
	CU_ASSERT_EQUAL_FATAL(e.d, WR_DECODE_OK);
	CU_ASSERT_EQUAL(e.m.auth->key_id, 5);
	CU_ASSERT_EQUAL(e.m.auth_offset, n - 16);
	CU_ASSERT_TRUE(wr_wire_auth_check(&e.m, e.data, key));
	CU_ASSERT_FALSE(wr_wire_auth_check(&e.m, e.data, other));
	/* Every bit of the message counts: header, padding, key id, the tag itself. */
	for (size_t bit = 0; bit < 8 * n; bit++) {
		e.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CU_ASSERT_FALSE(wr_wire_auth_check(&e.m, e.data, key));
		e.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	CU_ASSERT_TRUE(wr_wire_auth_check(&e.m, e.data, key));
	exact_free(&e);
	/* No AUTH is no proof. */
	draft_begin(&b, WR_OP_FORGET);
	exact_decode(&e, b.data, draft_finish(&b), false);
	CU_ASSERT_FALSE(wr_wire_auth_check(&e.m, e.data, key));
	exact_free(&e);
	/* A tag that does not fit fails the writer and nothing else. */
	draft_begin(&b, WR_OP_FORGET);
	wr_writer_pad(&b.w, 1212);
	wr_writer_auth(&b.w, 5, key);
	CU_ASSERT_EQUAL(wr_writer_finish(&b.w), WR_EFULL);
}

static void test_random_bytes(void)
{
	uint8_t a[32] = {0}, b[32] = {0};
	wr_wire_random(a, sizeof(a));
	wr_wire_random(b, sizeof(b));
	CU_ASSERT(memcmp(a, b, sizeof(a)) != 0);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"cookie is the standard SipHash-2-4", test_siphash_vector},
		{"cookies: accepted, and refused at every bit", test_cookie},
		{"tags: accepted, and refused at every bit", test_tag},
		{"randomness", test_random_bytes},
	};
	return wr_test_run("wire_proof", tests, WR_ARRAY_LEN(tests));
}
