/* SPDX-License-Identifier: BSD-3-Clause */
/* The echo thread: receive a batch, turn each datagram into its answer in place, send it back. */
#include "echo.h"
#include "bench_pin.h"
#include "wr_wire.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define N_ITEMS     1000
#define SPIN_NS     200000u   /* after the last datagram; waking costs the sender more */
#define STOP_LOOK   50000000u /* ns */
#define FIXED_BYTES (WR_WIRE_ANSWER_BYTES + WR_WIRE_SECTION_HEAD)

struct echo {
	struct udp u;
	struct sockaddr_storage address;
	uint16_t port;
	int core;
	pthread_t thread;
	atomic_bool stop; /* writer: owner; reader: thread */
	double cpu_s;     /* these two: written by the thread, read after it ended */
	uint64_t n_answered;
};

static void answer_hello(struct echo *e, uint8_t *data, size_t bytes, struct wr_wire_header h)
{
	struct wr_writer w;
	wr_writer_init(&w, data, bytes, &h);
	struct wr_wire_answer *a = wr_writer_section(&w, WR_SEC_ANSWER, 0, sizeof(*a));
	struct wr_wire_server *s = wr_writer_section(&w, WR_SEC_SERVER, 0, sizeof(*s));
	wr_writer_section(&w, WR_SEC_SHARDS, 0, WR_WIRE_N_SHARDS);
	wr_wire_u16 *port = wr_writer_section(&w, WR_SEC_PORTS, 1, sizeof(*port));
	wr_writer_cookie(&w, &(struct wr_wire_cookie){.epoch = 1, .mac = 1});
	if (w.failed)
		return; /* too short for all of it: no answer */
	a->shard_epoch = s->shard_epoch = 1;
	s->n_items = N_ITEMS;
	s->version_min = s->version_max = WR_WIRE_VERSION;
	*port = e->port;
	wr_writer_pad(&w, bytes);
	if (wr_writer_finish(&w) < 0)
		memset(data, 0, bytes);
}

static void answer(struct echo *e, uint8_t *data, size_t bytes)
{
	struct wr_wire_header *h = (void *)data;
	if (bytes < FIXED_BYTES || h->length != bytes || (h->op & WR_OP_ANSWER))
		return; /* goes back as it came */
	h->op |= WR_OP_ANSWER;
	h->flags = 0;
	if (h->op == (WR_OP_HELLO | WR_OP_ANSWER)) {
		answer_hello(e, data, bytes, *h);
		return;
	}
	struct wr_wire_answer a = {.shard_epoch = 1};
	uint16_t pad = (uint16_t)(bytes - FIXED_BYTES);
	uint8_t *section = data + sizeof(*h);
	section[0] = WR_SEC_ANSWER;
	section[1] = 0;
	memcpy(section + 2, &(uint16_t){sizeof(a)}, 2);
	memcpy(section + WR_WIRE_SECTION_HEAD, &a, sizeof(a));
	section = data + WR_WIRE_ANSWER_BYTES;
	section[0] = WR_SEC_PAD;
	section[1] = 0;
	memcpy(section + 2, &pad, 2);
}

static void take(
	void *arg, uint8_t *data, size_t total, size_t step, const struct sockaddr_storage *from)
{
	struct echo *e = arg;
	(void)from;
	for (size_t at = 0; at < total; at += step) {
		answer(e, data + at, WR_MIN(step, total - at));
		e->n_answered++;
	}
}

static void *run(void *arg)
{
	struct echo *e = arg;
	uint64_t last = wr_clock_ns();
	pin_thread(e->core);
	while (!atomic_load_explicit(&e->stop, memory_order_relaxed)) {
		unsigned int n = udp_receive(&e->u, take, e);
		if (n) {
			udp_send_back(&e->u, n);
			last = wr_clock_ns();
		} else if (wr_clock_ns() - last > SPIN_NS) {
			udp_wait(e->u.fd, STOP_LOOK);
		}
	}
	e->cpu_s = (double)wr_clock_thread_cpu_ns() / 1e9;
	return NULL;
}

int echo_start(struct echo **out, bool offload, int core, struct wr_errmsg *msg)
{
	struct echo *e = calloc(1, sizeof(*e));
	socklen_t size = sizeof(struct sockaddr_in);
	*out = NULL;
	if (!e)
		return wr_fail(msg, WR_ENOMEM, "no memory for the echo server");
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	memcpy(&e->address, &at, sizeof(at));
	e->core = core;
	int err = udp_open(&e->u, &e->address, offload, msg);
	if (!err && getsockname(e->u.fd, (struct sockaddr *)&e->address, &size) != 0)
		err = wr_fail(msg, WR_EIO, "the echo server has no address");
	e->port = ntohs(((struct sockaddr_in *)&e->address)->sin_port);
	if (!err && pthread_create(&e->thread, NULL, run, e) != 0)
		err = wr_fail(msg, WR_ENOMEM, "cannot start the echo server's thread");
	if (err) {
		udp_close(&e->u);
		free(e);
		return err;
	}
	*out = e;
	return WR_OK;
}

const struct sockaddr_storage *echo_address(const struct echo *e)
{
	return &e->address;
}

bool echo_offload(const struct echo *e)
{
	return e->u.offload;
}

void echo_stop(struct echo *e, double *cpu_s, uint64_t *n_answered)
{
	if (!e)
		return;
	atomic_store_explicit(&e->stop, true, memory_order_relaxed);
	pthread_join(e->thread, NULL);
	*cpu_s = e->cpu_s;
	*n_answered = e->n_answered;
	udp_close(&e->u);
	free(e);
}
