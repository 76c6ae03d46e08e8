/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Datagrams out, datagrams back, nothing else: the ceiling of sockets, kernel and peer. A datagram
 * is a RECOMMEND with K = 0, so that a Wirerank server echoes it too; its request id holds the
 * time at which it was to leave. Any peer that returns the payload unchanged up to that id will do.
 */
#include "bench.h"
#include "bench_pin.h"

#include <stdlib.h>
#include <string.h>

#define GIVE_UP_NS 50000000u /* without one datagram back: what is out counts as lost */

struct raw {
	const struct bench_options *o;
	struct bench_result *r;
	struct udp *sock; /* per source */
	unsigned int n_sock;
	uint8_t *batch; /* UDP_BATCH datagrams */
	uint64_t now, start, out;
};

static int make_batch(struct raw *w, struct wr_errmsg *msg)
{
	struct wr_wire_header h = {.version = WR_WIRE_VERSION,
		.op = WR_OP_RECOMMEND,
		.flags = WR_REQ_PAD_ANSWER,
		.request_id = 1,
		.user_id = 1,
		.time_ms = wr_clock_unix_ms()};
	struct wr_writer x;
	w->batch = calloc(UDP_BATCH, w->o->bytes);
	if (!w->batch)
		return wr_fail(msg, WR_ENOMEM, "no memory for a batch");
	wr_writer_init(&x, w->batch, w->o->bytes, &h);
	wr_writer_ask(&x, 0, 0);
	wr_writer_pad(&x, w->o->bytes);
	if (wr_writer_finish(&x) != (int)w->o->bytes)
		return wr_fail(msg, WR_EINVAL, "--bytes=%u: must be a multiple of 4 from 96 to %d",
			w->o->bytes, WR_WIRE_MAX_BYTES);
	for (unsigned int i = 1; i < UDP_BATCH; i++)
		memcpy(w->batch + i * w->o->bytes, w->batch, w->o->bytes);
	return WR_OK;
}

static int open_sockets(struct raw *w, struct wr_errmsg *msg)
{
	struct sockaddr_storage any = {.ss_family = w->o->server[0].address.ss_family};
	w->sock = calloc(w->o->sources, sizeof(*w->sock));
	if (!w->sock)
		return wr_fail(msg, WR_ENOMEM, "no memory for sockets");
	for (; w->n_sock < w->o->sources; w->n_sock++) {
		int err = udp_open(&w->sock[w->n_sock], &any, !w->o->no_offload, msg);
		if (err)
			return err;
	}
	w->r->offload = w->sock[0].offload;
	return WR_OK;
}

static void take(
	void *arg, uint8_t *data, size_t total, size_t step, const struct sockaddr_storage *from)
{
	struct raw *w = arg;
	(void)from;
	for (size_t at = 0; at < total; at += step) {
		struct wr_wire_header h;
		if (total - at < sizeof(h))
			break;
		memcpy(&h, data + at, sizeof(h));
		w->r->answered++;
		w->out -= w->out > 0;
		wr_hist_add(
			&w->r->latency_ns, w->now > h.request_id ? w->now - h.request_id : 0, 1);
	}
}

static bool receive(struct raw *w)
{
	bool any = false;
	for (unsigned int i = 0; i < w->n_sock; i++) {
		unsigned int n;
		do {
			w->now = wr_clock_ns();
			n = udp_receive(&w->sock[i], take, w);
			any |= n > 0;
		} while (n >= UDP_BATCH / 4);
	}
	return any;
}

/* The next batch of at most n, by one source to one server. */
static unsigned int send_some(struct raw *w, unsigned int n)
{
	uint64_t turn = w->r->sent / UDP_BATCH;
	struct udp *u = &w->sock[turn % w->n_sock];
	const struct bench_server *to = &w->o->server[turn % w->o->n_servers];
	n = WR_MIN(n, (unsigned int)UDP_BATCH);
	for (unsigned int i = 0; i < n; i++) {
		uint64_t intended = w->now;
		if (w->o->rate > 0)
			intended =
				w->start + (uint64_t)((double)(w->r->sent + i) * 1e9 / w->o->rate);
		memcpy(w->batch + i * w->o->bytes + offsetof(struct wr_wire_header, request_id),
			&intended, sizeof(intended));
	}
	unsigned int sent = udp_send(u, &to->address, w->batch, n, w->o->bytes);
	w->r->sent += sent;
	w->out += sent;
	return sent;
}

/* How many are due now and may leave. */
static unsigned int due(struct raw *w, uint64_t end)
{
	uint64_t room = w->o->window > w->out ? w->o->window - w->out : 0;
	if (w->o->rate <= 0) /* in whole batches, as the library does under load */
		return room >= UDP_BATCH ? UDP_BATCH : 0;
	uint64_t scheduled =
		(uint64_t)((double)(WR_MIN(w->now, end) - w->start) * w->o->rate / 1e9) + 1;
	uint64_t want = scheduled > w->r->sent ? scheduled - w->r->sent : 0;
	double late_ms = (double)want / w->o->rate * 1e3;
	w->r->worst_debt_ms = WR_MAX(w->r->worst_debt_ms, late_ms);
	return (unsigned int)WR_MIN(WR_MIN(want, room), (uint64_t)UDP_BATCH);
}

static void wait_for_more(struct raw *w)
{
	uint64_t ns = 1000000;
	if (w->o->rate > 0) {
		uint64_t next = w->start + (uint64_t)((double)w->r->sent * 1e9 / w->o->rate);
		ns = next > w->now ? WR_MIN(next - w->now, ns) : 0;
	}
	udp_wait_any(w->sock, w->n_sock, ns);
}

static void loop(struct raw *w)
{
	uint64_t end, heard;
	w->now = w->start = heard = wr_clock_ns();
	end = w->start + (uint64_t)(w->o->seconds * 1e9);
	while (w->now < end && !wr_stop_requested()) {
		unsigned int n;
		while ((n = due(w, end)) && send_some(w, n))
			;
		if (receive(w))
			heard = w->now;
		else if (!due(w, end))
			wait_for_more(w);
		w->now = wr_clock_ns();
		if (w->out && w->now - heard > GIVE_UP_NS) {
			w->out = 0;
			heard = w->now;
		}
	}
	w->r->wall_s = (double)(w->now - w->start) / 1e9;
	if (w->o->rate > 0) {
		unsigned int n;
		w->now = WR_MIN(w->now, end - 1); /* what was due while the last turn ran */
		while ((n = due(w, end)) && send_some(w, n))
			;
		uint64_t scheduled = (uint64_t)(w->o->seconds * w->o->rate);
		w->r->unsent = scheduled > w->r->sent ? scheduled - w->r->sent : 0;
	}
	/* What is on its way still. */
	for (heard = w->now; w->r->answered < w->r->sent && w->now - heard < GIVE_UP_NS;) {
		if (receive(w))
			heard = w->now;
		else
			udp_wait_any(w->sock, w->n_sock, 1000000);
		w->now = wr_clock_ns();
	}
	w->r->lost = w->r->sent > w->r->answered ? w->r->sent - w->r->answered : 0;
}

int raw_run(const struct bench_options *o, struct bench_result *r, struct wr_errmsg *msg)
{
	struct raw w = {.o = o, .r = r};
	memset(r, 0, sizeof(*r));
	pin_thread(o->core);
	int err = make_batch(&w, msg);
	if (!err)
		err = open_sockets(&w, msg);
	if (!err) {
		double steal = report_steal_s();
		uint64_t cpu = wr_clock_thread_cpu_ns();
		loop(&w);
		r->cpu_s = (double)(wr_clock_thread_cpu_ns() - cpu) / 1e9;
		r->steal_s = report_steal_s() - steal;
	}
	for (unsigned int i = 0; i < w.n_sock; i++) {
		r->n_send_calls += w.sock[i].n_send_calls;
		r->n_receive_calls += w.sock[i].n_receive_calls;
		r->n_send_errors += w.sock[i].n_send_errors;
		udp_close(&w.sock[i]);
	}
	free(w.sock);
	free(w.batch);
	return err;
}
