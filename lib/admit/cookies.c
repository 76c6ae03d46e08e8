/* SPDX-License-Identifier: BSD-3-Clause */
/* Rolling cookie secrets: one writer, readers without locks. The epoch is the clock divided by the
 * rotation. */
#include "admit_internal.h"

#include <string.h>

static uint32_t epoch_at(const struct cookies *c, uint64_t now_ns)
{
	return (uint32_t)(now_ns / c->rotate_ns);
}

/* Fills the slot before the epoch that uses it is published. */
static void publish(struct cookies *c, uint32_t epoch)
{
	struct cookie_slot *s = &c->slot[epoch % WR_ARRAY_LEN(c->slot)];
	uint64_t secret[2];
	static_assert(sizeof(secret) == WR_WIRE_SECRET_BYTES, "two words");
	wr_wire_random(secret, sizeof(secret));
	atomic_store_explicit(&s->secret[0], secret[0], memory_order_relaxed);
	atomic_store_explicit(&s->secret[1], secret[1], memory_order_relaxed);
	atomic_store_explicit(&c->epoch, epoch, memory_order_release);
}

void wr_admit_cookies_init(struct cookies *c, uint32_t rotate_s, uint64_t now_ns)
{
	c->rotate_ns = rotate_s * (uint64_t)1000000000;
	uint32_t epoch = epoch_at(c, now_ns);
	/* All slots: the previous epoch's secret is read too, and one of zeros could be guessed. */
	for (uint32_t i = 0; i < WR_ARRAY_LEN(c->slot); i++)
		publish(c, epoch - 3 + i);
}

void wr_admit_cookies_rotate(struct cookies *c, uint64_t now_ns)
{
	uint32_t now = epoch_at(c, now_ns),
		 current = atomic_load_explicit(&c->epoch, memory_order_relaxed);
	if ((int32_t)(now - current) > 0)
		publish(c, now);
}

/* Of an epoch that the clock jumped over this is an older one's secret: no cookie was ever made
 * with the two. */
static void read_secret(const struct cookies *c, uint32_t epoch, uint64_t secret[2])
{
	const struct cookie_slot *s = &c->slot[epoch % WR_ARRAY_LEN(c->slot)];
	secret[0] = atomic_load_explicit(&s->secret[0], memory_order_relaxed);
	secret[1] = atomic_load_explicit(&s->secret[1], memory_order_relaxed);
}

/* The secret is part of what is compared: a mark is never taken for that of another secret. */
static uint64_t remembered_mac(struct wr_admit_source *s, const uint8_t address[16], uint32_t epoch,
	const uint64_t secret[2])
{
	if (s->has_mac && s->epoch == epoch && s->secret[0] == secret[0] &&
		s->secret[1] == secret[1])
		return s->mac;
	struct wr_wire_cookie c;
	wr_wire_cookie_make(&c, address, epoch, (const uint8_t *)secret);
	s->mac = c.mac;
	s->epoch = epoch;
	s->secret[0] = secret[0];
	s->secret[1] = secret[1];
	s->has_mac = true;
	return s->mac;
}

enum cookie_state wr_admit_cookies_check(const struct cookies *c,
	const struct wr_wire_cookie *cookie, const uint8_t address[16],
	struct wr_admit_source *source)
{
	uint32_t current = atomic_load_explicit(&c->epoch, memory_order_acquire);
	uint32_t age = current - cookie->epoch;
	uint64_t secret[2];
	if (age > 1)
		return COOKIE_BAD;
	read_secret(c, cookie->epoch, secret);
	bool right = source ? cookie->mac == remembered_mac(source, address, cookie->epoch, secret)
			    : wr_wire_cookie_check(cookie, address, (const uint8_t *)secret);
	if (!right)
		return COOKIE_BAD;
	return age ? COOKIE_PREVIOUS : COOKIE_CURRENT;
}

void wr_admit_cookies_make(
	const struct cookies *c, const uint8_t address[16], struct wr_wire_cookie *out)
{
	uint32_t current = atomic_load_explicit(&c->epoch, memory_order_acquire);
	uint64_t secret[2];
	read_secret(c, current, secret);
	wr_wire_cookie_make(out, address, current, (const uint8_t *)secret);
}
