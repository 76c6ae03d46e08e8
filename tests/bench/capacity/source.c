/* SPDX-License-Identifier: BSD-3-Clause */
/* The worker's side of the bench: rendering, feeding, taking answers. */
#include "source.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_ring.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SLEEP_US = 200, SINK = 128, MAX_FRAMES = 1 << 22, MAX_CALL_US = 30 };

/* ---- rendering ---- */
static bool is_own(const struct source *s, uint64_t user)
{
	return wr_load_route(s->l, user).queue == s->index;
}

static uint16_t finish(const struct source *s, uint8_t *frame, uint16_t n, uint16_t used)
{
	return wr_load_frame_finish(&s->l->head, frame, n, used, s->l->server.ports[s->index]);
}

/* Watched requests are kept whole: what the server knows of such a user can be told again. */
static void watch(struct source *s, const struct wr_request *q, uint64_t id, const uint8_t *message,
	uint16_t n)
{
	struct watched *w = &s->watched[s->n_watched++];
	*w = (struct watched){.id = id, .frame = (uint32_t)s->n_frames, .n = n};
	memcpy(w->message, message, n);
}

static void render_one(struct source *s)
{
	uint8_t *frame = s->frames + s->n_frames * s->stride, *message = frame + s->l->head.size;
	struct wr_request q;

	do
		wr_requests_pick(&s->requests, s->number++, &q);
	while (!is_own(s, q.user));
	uint64_t id = s->l->tag | (q.number & (ID_WATCHED - 1));
	bool watched = wr_mix64(q.user ^ 0x3a3a) % WATCHED_OF == 0 && s->n_watched < MAX_WATCHED;
	if (watched)
		id |= ID_WATCHED;
	/* A millisecond a request: the clicks of a user stay in order. */
	const struct wr_request_template *t =
		wr_requests_render(&s->requests, &q, id, s->first_ms + (int64_t)q.number, message);
	if (watched && t->n <= sizeof(s->watched[0].message))
		watch(s, &q, id, message, t->n);
	s->sizes[s->n_frames++] = finish(s, frame, t->n, t->used);
}

/* Some frames a poll, until memory is full. True = done. */
static bool render_some(struct source *s)
{
	if (atomic_load_explicit(&s->carried, memory_order_relaxed) == ORDER_REST) {
		/* Twice what the window before this one took. */
		s->enough = s->next ? 2 * s->next + 8192 : SIZE_MAX;
		s->n_frames = s->next = 0;
		s->first_watched = s->n_watched;
		atomic_store_explicit(&s->carried, -1, memory_order_relaxed);
	}
	size_t most = WR_MIN(WR_MIN(s->frame_bytes / s->stride, (size_t)MAX_FRAMES), s->enough);
	for (unsigned int i = 0; i < 256 && s->n_frames < most; i++)
		render_one(s);
	return s->n_frames == most;
}

/* ---- feeding ---- */
static void put(struct source *s, struct rte_mbuf *m, const uint8_t *frame, uint16_t bytes)
{
	memcpy(rte_pktmbuf_mtod(m, void *), frame, bytes);
	m->data_len = bytes;
	m->pkt_len = bytes;
}

/* The next pre-rendered frames into m; their number. */
static unsigned int next_frames(struct source *s, struct rte_mbuf **m, unsigned int n)
{
	unsigned int i = 0;
	for (; i < n && s->next < s->n_frames; i++, s->next++)
		put(s, m[i], s->frames + s->next * s->stride, s->sizes[s->next]);
	if (i < n)
		atomic_store_explicit(s->dry, true, memory_order_relaxed);
	return i;
}

/* Messages of users' past, made on the spot: this is not measured. */
static unsigned int past_frames(struct source *s, struct rte_mbuf **m, unsigned int n)
{
	uint8_t frame[WR_LOAD_BUFFER];
	unsigned int i = 0;
	while (i < n && s->populated_user < s->n_users) {
		uint64_t user = WR_USERS_LOAD | s->populated_user;
		if (!is_own(s, user)) {
			s->populated_user++;
			continue;
		}
		struct wr_writer w = {.data = frame + s->l->head.size, .size = WR_WIRE_MAX_BYTES};
		s->populated_at += wr_requests_past(&s->requests, user, s->populated_at, s->past_ms,
			s->l->tag | WR_ID_TALK | s->past++, &w);
		int bytes = wr_writer_finish(&w);
		assert(bytes > 0);
		put(s, m[i++], frame, finish(s, frame, (uint16_t)bytes, (uint16_t)bytes));
		if (s->populated_at == WR_REQUEST_POPULATED) {
			s->populated_at = 0;
			s->populated_user++;
		}
	}
	return i;
}

static unsigned int hello_frame(struct source *s, struct rte_mbuf **m)
{
	uint8_t frame[WR_LOAD_BUFFER];
	struct wr_writer w = {.data = frame + s->l->head.size, .size = WR_WIRE_MAX_BYTES};
	if (s->hello_bytes || s->sent)
		return 0;
	wr_load_hello_message(&w, s->l->tag | WR_ID_TALK);
	int bytes = wr_writer_finish(&w);
	assert(bytes > 0);
	put(s, m[0], frame,
		wr_load_frame_finish(&s->l->head, frame, (uint16_t)bytes, (uint16_t)bytes,
			(uint16_t)(s->l->address.server_port + s->index)));
	return 1;
}

static uint64_t id_of(const struct source *s, struct rte_mbuf *m)
{
	uint64_t id;
	memcpy(&id,
		rte_pktmbuf_mtod_offset(m, uint8_t *,
			s->l->head.size + offsetof(struct wr_wire_header, request_id)),
		sizeof(id));
	return id;
}

/* Fills the receive ring up to one burst. */
static void feed(struct source *s, enum order order)
{
	struct rte_mbuf *m[WR_PORT_MAX_BURST];
	unsigned int have = rte_ring_count(s->rx), n = 0, want;

	if (have >= s->burst)
		return;
	want = s->burst - have;
	if (rte_pktmbuf_alloc_bulk(s->pool, m, want) != 0)
		return;
	if (order == ORDER_RUN)
		n = next_frames(s, m, want);
	else if (order == ORDER_POPULATE)
		n = past_frames(s, m, want);
	else if (order == ORDER_HELLO)
		n = hello_frame(s, m);
	for (unsigned int i = 0; i < n; i++)
		s->ids ^= id_of(s, m[i]);
	if (n < want)
		rte_pktmbuf_free_bulk(m + n, want - n);
	unsigned int put_in = rte_ring_sp_enqueue_bulk(s->rx, (void **)m, n, NULL);
	assert(put_in == n);
	s->sent += put_in;
}

/* ---- answers ---- */
static void keep(struct source *s, uint64_t id, const uint8_t *message, size_t n)
{
	struct wr_message m;
	if (id & WR_ID_TALK) { /* the past, or HELLO */
		if (message[1] == (WR_OP_HELLO | WR_OP_ANSWER) && n <= sizeof(s->hello)) {
			memcpy(s->hello, message, n);
			s->hello_bytes = (uint16_t)n;
		}
		return;
	}
	for (uint32_t i = s->first_watched; i < s->n_watched; i++) {
		struct watched *w = &s->watched[i];
		if (w->id != id)
			continue;
		if (w->answered || wr_wire_decode_answer(message, n, &m) != WR_DECODE_OK ||
			m.n_items > WR_ARRAY_LEN(w->items)) {
			s->wrong++;
			return;
		}
		w->answered = true;
		w->n_items = (uint8_t)m.n_items;
		memcpy(w->items, m.items, m.n_items * sizeof(m.items[0]));
		return;
	}
}

static bool is_asked(const struct source *s, uint8_t op)
{
	return (s->events && op == (WR_OP_EVENT | WR_OP_ANSWER)) ||
	       (s->recommends && op == (WR_OP_RECOMMEND | WR_OP_ANSWER));
}

/* Every answer: operation, status, flags; that each request was answered once follows from the sums
 * of ids. */
static void take(struct source *s, struct rte_mbuf *m)
{
	const uint8_t *message = rte_pktmbuf_mtod_offset(m, const uint8_t *, s->l->head.size);
	const uint8_t *status = message + WR_WIRE_HEADER_BYTES + WR_WIRE_SECTION_HEAD;
	uint64_t id = id_of(s, m);
	struct wr_wire_header h;

	memcpy(&h, message, sizeof(h));
	s->ids ^= id;
	s->answered++;
	bool talk = id & WR_ID_TALK;
	uint16_t bad = WR_ANS_SHORTENED | WR_ANS_DUPLICATE |
		       (s->cold || talk ? 0 : WR_ANS_COLD | WR_ANS_HISTORY_WANTED);
	bool right = *status == WR_STATUS_OK && !(h.flags & bad) &&
		     (talk || (is_asked(s, h.op) && (!s->cold || (h.flags & WR_ANS_COLD))));
	if (!right && s->wrong++ == 0)
		s->wrong_id = id;
	if (talk || (id & ID_WATCHED))
		keep(s, id, message, rte_pktmbuf_data_len(m) - s->l->head.size);
}

/* A station also announces its addresses. */
static bool is_answer(const struct source *s, struct rte_mbuf *m)
{
	const uint8_t *type = rte_pktmbuf_mtod_offset(m, const uint8_t *, 12);
	return rte_pktmbuf_data_len(m) >= s->l->head.size + WR_WIRE_ANSWER_BYTES &&
	       type[0] == 0x08 && type[1] == 0x00;
}

static void drain(struct source *s)
{
	struct rte_mbuf *m[SINK];
	unsigned int n = rte_ring_sc_dequeue_burst(s->tx, (void **)m, SINK, NULL);
	for (unsigned int i = 0; i < n; i++)
		if (is_answer(s, m[i]))
			take(s, m[i]);
	if (n)
		rte_pktmbuf_free_bulk(m, n);
}

/* ---- the window ---- */
static uint64_t thread_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void look(struct source *s, struct snapshot *to)
{
	to->cpu_ns = thread_ns();
	to->wall_ns = wr_clock_ns();
	to->tsc = wr_clock_tsc();
	to->feed_tsc = s->feed_tsc;
	to->answered = s->answered;
	memcpy(to->stage, s->metrics->stage_cycles, sizeof(to->stage));
}

static void follow_window(struct source *s)
{
	int now = atomic_load_explicit(&s->measure, memory_order_relaxed);
	/* Frames have run out somewhere: the window ends for all. */
	if (now == 1 && atomic_load_explicit(s->dry, memory_order_relaxed)) {
		atomic_store_explicit(&s->measure, 2, memory_order_relaxed);
		now = 2;
	}
	if (now == s->seen_measure)
		return;
	if (now == 1)
		look(s, &s->from);
	else if (now == 2 && s->seen_measure == 1)
		look(s, &s->to);
	s->seen_measure = now;
}

/* ---- the callback ---- */
static void carry(struct source *s, enum order order, bool done)
{
	if (done)
		atomic_store_explicit(&s->carried, (int)order, memory_order_release);
}

static void serve_order(struct source *s)
{
	enum order order = (enum order)atomic_load_explicit(&s->order, memory_order_acquire);

	switch (order) {
	case ORDER_RENDER:
		if (!source_carried(s))
			carry(s, order, render_some(s));
		break;
	case ORDER_HELLO:
		feed(s, order);
		carry(s, order, s->hello_bytes != 0);
		break;
	case ORDER_POPULATE:
		feed(s, order);
		carry(s, order, s->populated_user == s->n_users && s->answered == s->sent);
		break;
	case ORDER_RUN:
		feed(s, order);
		carry(s, order, true);
		break;
	case ORDER_REST:
		carry(s, order, s->answered == s->sent);
		break;
	}
	if ((order == ORDER_REST || order == ORDER_RENDER) && source_carried(s))
		rte_delay_us_sleep(SLEEP_US);
}

/* A burst is fed in a few microseconds. What took longer had no CPU meanwhile, which CPU time does
 * not count either: such a call counts like the others. */
static void account(struct source *s, uint64_t took)
{
	if (atomic_load_explicit(&s->measure, memory_order_relaxed) == 1) {
		if (took > s->l->tsc_hz / 1000000 * MAX_CALL_US) {
			took = s->calls ? s->calls_tsc / s->calls : 0;
		} else {
			s->calls++;
			s->calls_tsc += took;
		}
	}
	s->feed_tsc += took;
}

static uint16_t on_receive(
	uint16_t port, uint16_t queue, struct rte_mbuf **m, uint16_t n, uint16_t max, void *arg)
{
	struct source *s = arg;
	uint64_t from = wr_clock_tsc();

	(void)port, (void)queue, (void)m, (void)max;
	drain(s);
	follow_window(s);
	serve_order(s);
	account(s, wr_clock_tsc() - from);
	return n;
}

int source_attach(struct source *s, uint16_t ethdev, struct wr_errmsg *msg)
{
	if (!rte_eth_add_rx_callback(ethdev, (uint16_t)s->index, on_receive, s))
		return wr_fail(msg, WR_ENOTSUP,
			"this DPDK was built without receive callbacks "
			"(RTE_ETHDEV_RXTX_CALLBACKS)");
	return 0;
}

void source_order(struct source *s, enum order order)
{
	atomic_store_explicit(&s->order, (int)order, memory_order_release);
}

static void *big(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	(void)madvise(p, bytes, MADV_HUGEPAGE);
	return p;
}

int source_new(struct source **out, unsigned int index, size_t frame_bytes, struct wr_errmsg *msg)
{
	struct source *s = calloc(1, sizeof(*s));
	*out = s;
	if (!s)
		return wr_fail(msg, WR_ENOMEM, "out of memory");
	s->index = index;
	s->frame_bytes = frame_bytes;
	s->frames = big(frame_bytes);
	s->sizes = calloc(MAX_FRAMES, sizeof(*s->sizes));
	s->watched = calloc(MAX_WATCHED, sizeof(*s->watched));
	if (!s->frames || !s->sizes || !s->watched)
		return wr_fail(msg, WR_ENOMEM, "no memory for %zu MB of frames", frame_bytes >> 20);
	return 0;
}

void source_free(struct source *s)
{
	if (!s)
		return;
	if (s->frames)
		munmap(s->frames, s->frame_bytes);
	free(s->sizes);
	free(s->watched);
	free(s);
}
