/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Time-outs: a hashed wheel of 1,024 ticks of 1 ms (Varghese, Lauck 1987, scheme 6). Setting and
 * clearing are constant; nearly every timer is cleared by its answer. The timer descriptor is set
 * only when it must fire earlier than it stands, hence some times a second under load.
 */
#include "client_internal.h"

#include <sys/timerfd.h>

static uint64_t tick_of(uint64_t ns)
{
	return ns / NS_PER_MS;
}

void wr_client_timer_clear(struct wr_client *c, struct client_slot *s)
{
	if (s->wheel_at == NONE)
		return;
	struct client_bucket *b = &c->wheel[s->wheel_at];
	if (s->wheel_prev != NONE)
		c->slots[s->wheel_prev].wheel_next = s->wheel_next;
	else
		b->head = s->wheel_next;
	if (s->wheel_next != NONE)
		c->slots[s->wheel_next].wheel_prev = s->wheel_prev;
	else
		b->tail = s->wheel_prev;
	if (--b->n == 0)
		c->wheel_bits[s->wheel_at / 64] &= ~((uint64_t)1 << s->wheel_at % 64);
	s->wheel_at = NONE;
}

void wr_client_timer_set(struct wr_client *c, struct client_slot *s, uint64_t deadline_ns)
{
	wr_client_timer_clear(c, s);
	uint64_t tick = tick_of(deadline_ns) + 1;
	if (tick <= c->wheel_tick)
		tick = c->wheel_tick + 1;
	uint32_t at = (uint32_t)tick % WHEEL_SIZE;
	struct client_bucket *b = &c->wheel[at];
	s->deadline_ns = deadline_ns;
	s->wheel_at = at;
	s->wheel_next = NONE;
	s->wheel_prev = b->n ? b->tail : NONE;
	if (b->n)
		c->slots[b->tail].wheel_next = slot_index(c, s);
	else
		b->head = slot_index(c, s);
	b->tail = slot_index(c, s);
	b->n++;
	c->wheel_bits[at / 64] |= (uint64_t)1 << at % 64;
}

/* Those of a later turn of the wheel go to the tail again. Firing may set and clear any timer. */
static void expire_bucket(struct wr_client *c, uint32_t at)
{
	struct client_bucket *b = &c->wheel[at];
	for (uint32_t left = b->n; left && b->n; left--) {
		struct client_slot *s = &c->slots[b->head];
		if (s->deadline_ns > c->now_ns) {
			wr_client_timer_set(c, s, s->deadline_ns);
			continue;
		}
		wr_client_timer_clear(c, s);
		wr_client_slot_due(c, s);
	}
}

void wr_client_timer_expire(struct wr_client *c)
{
	uint64_t last = tick_of(c->now_ns);
	uint64_t from = WR_MAX(c->wheel_tick + 1, last >= WHEEL_SIZE ? last - WHEEL_SIZE + 1 : 0);
	for (uint64_t tick = from; tick <= last; tick++) {
		c->wheel_tick = tick;
		if (c->wheel[tick % WHEEL_SIZE].n)
			expire_bucket(c, (uint32_t)(tick % WHEEL_SIZE));
	}
}

/* When the next occupied bucket is due; of a later turn perhaps, then we wake in vain. */
static uint64_t next_due_ns(const struct wr_client *c)
{
	for (uint32_t i = 1; i <= WHEEL_SIZE;) {
		uint32_t at = (uint32_t)(c->wheel_tick + i) % WHEEL_SIZE;
		uint64_t word = c->wheel_bits[at / 64] >> at % 64;
		if (word)
			return (c->wheel_tick + i + (uint32_t)__builtin_ctzll(word)) * NS_PER_MS;
		i += 64 - at % 64;
	}
	return UINT64_MAX;
}

void wr_client_timer_arm(struct wr_client *c)
{
	uint64_t want = next_due_ns(c);
	if (c->n_queued) {
		bool blocked = false;
		for (unsigned int i = 0; i < 2 * c->o.n_sources; i++)
			blocked |= c->sockets[i].blocked;
		want = blocked ? WR_MIN(want, c->now_ns + NS_PER_MS) : 1;
	}
	if (want == c->armed_ns || (want > c->armed_ns && c->armed_ns > c->now_ns))
		return;
	struct itimerspec t = {0};
	if (want != UINT64_MAX) {
		t.it_value.tv_sec = (time_t)(want / 1000000000u);
		t.it_value.tv_nsec = (long)(want % 1000000000u);
	}
	int err = timerfd_settime(c->timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
	assert(err == 0); /* fails for bad arguments only */
	(void)err;
	c->armed_ns = want;
}
