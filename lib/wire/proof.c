/* SPDX-License-Identifier: BSD-3-Clause */
/* Cookies, tags and secrets over libsodium. A cookie costs one SipHash of 20 bytes a request. */
#include "wr_wire.h"

#include <sodium.h>
#include <string.h>

static_assert(WR_WIRE_SECRET_BYTES == crypto_shorthash_KEYBYTES, "SipHash-2-4 has 16-byte keys");

static uint64_t cookie_mac(const uint8_t address[16], uint32_t epoch, const uint8_t secret[16])
{
	uint8_t text[20];
	uint64_t mac;
	memcpy(text, address, 16);
	memcpy(text + 16, &epoch, sizeof(epoch));
	crypto_shorthash((uint8_t *)&mac, text, sizeof(text), secret);
	return mac;
}

void wr_wire_cookie_make(struct wr_wire_cookie *c, const uint8_t address[16], uint32_t epoch,
	const uint8_t secret[16])
{
	c->epoch = epoch;
	c->reserved = 0;
	c->mac = cookie_mac(address, epoch, secret);
}

bool wr_wire_cookie_check(
	const struct wr_wire_cookie *c, const uint8_t address[16], const uint8_t secret[16])
{
	/* One comparison of two registers: no time depends on how many bytes agree. */
	return c->mac == cookie_mac(address, c->epoch, secret);
}

static void message_tag(uint8_t tag[16], const void *data, size_t bytes, const uint8_t key[32])
{
	int err = crypto_generichash(tag, 16, data, bytes, key, WR_WIRE_KEY_BYTES);
	assert(err == 0); /* only wrong sizes fail */
	(void)err;
}

void wr_writer_auth(struct wr_writer *w, uint32_t key_id, const uint8_t key[32])
{
	struct wr_wire_auth *a = wr_writer_section(w, WR_SEC_AUTH, 0, sizeof(*a));
	if (!a)
		return;
	a->key_id = key_id;
	/* The tag covers the length field, which is final now. */
	int bytes = wr_writer_finish(w);
	message_tag(a->tag, w->data, (size_t)bytes - sizeof(a->tag), key);
}

bool wr_wire_auth_check(const struct wr_message *m, const void *data, const uint8_t key[32])
{
	uint8_t tag[16];
	if (!m->auth)
		return false;
	message_tag(tag, data, m->auth_offset, key);
	return sodium_memcmp(tag, m->auth->tag, sizeof(tag)) == 0;
}

void wr_wire_random(void *out, size_t n)
{
	/* Idempotent and thread-safe; it fails only when the kernel has no randomness, and then
	 * aborting beats secrets that can be guessed. */
	if (sodium_init() < 0)
		sodium_misuse();
	randombytes_buf(out, n);
}
