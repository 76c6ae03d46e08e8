/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of a workload as a capture file, for other people's generators: the same templates,
 * users and items as a run, without a port and without a server. Built for some millions of frames;
 * libpcap writes the file.
 */
#include "load_malform.h"
#include "load_pcap.h"
#include "load_request.h"

#include <pcap/pcap.h>

#include <stdlib.h>
#include <unistd.h>

enum { SECOND_NS = 1000000000, SNAP_BYTES = 65535 };

struct writer {
	const struct wr_load_pcap *c;
	struct wr_load_pcap_result *r;
	struct wr_load *l; /* never opened: address, shard table, catalogue and tag only */
	struct wr_requests requests;
	struct wr_malformer *malformer;
	struct wr_schedule schedule;
	struct wr_rng rng;
	pcap_dumper_t *out;
	uint8_t frame[WR_LOAD_BUFFER];
};

static int64_t now_ms(const struct writer *x)
{
	return x->c->start_ms + (int64_t)(x->schedule.next / 1000000);
}

/* The frame of n bytes leaves at the schedule's next arrival. */
static void put_frame(struct writer *x, uint16_t n)
{
	uint64_t ns = (uint64_t)x->c->start_ms % 1000 * 1000000 + x->schedule.next;
	struct pcap_pkthdr h = {.caplen = n, .len = n};

	h.ts.tv_sec = (time_t)(x->c->start_ms / 1000 + (int64_t)(ns / SECOND_NS));
	h.ts.tv_usec = (suseconds_t)(ns % SECOND_NS / (x->c->micro ? 1000 : 1));
	pcap_dump((u_char *)x->out, &h, x->frame);
	x->r->frames++;
	x->r->bytes += n;
	x->r->seconds = (double)x->schedule.next / SECOND_NS;
	wr_schedule_pop(&x->schedule);
}

static void put_message(struct writer *x, uint64_t user, uint16_t n, uint16_t used)
{
	uint16_t port = wr_load_route(x->l, user).port;

	put_frame(x, wr_load_frame_finish(&x->l->head, x->frame, n, used, port));
}

static int write_past(struct writer *x, struct wr_errmsg *msg)
{
	int64_t first_ms = x->c->start_ms - (int64_t)60000 * WR_REQUEST_POPULATED;

	for (uint32_t i = 0; i < x->c->workload.n_users && !wr_stop_requested(); i++) {
		uint64_t user = WR_USERS_LOAD | i;
		for (uint32_t at = 0; at < WR_REQUEST_POPULATED;) {
			struct wr_writer w = {
				.data = x->frame + x->l->head.size, .size = WR_WIRE_MAX_BYTES};
			uint64_t id = x->l->tag | WR_ID_TALK | x->r->past++;
			at += wr_requests_past(&x->requests, user, at, first_ms, id, &w);
			int n = wr_writer_finish(&w);
			if (n < 0)
				return wr_fail(msg, n, "a message of a user's past does not fit");
			put_message(x, user, (uint16_t)n, (uint16_t)n);
		}
	}
	return 0;
}

static void write_requests(struct writer *x, struct wr_progress *progress)
{
	double malformed = x->c->workload.malformed;

	for (uint64_t i = 0; i < x->c->count && !wr_stop_requested(); i++) {
		struct wr_request q;
		if (malformed > 0 && wr_rng_double(&x->rng) < malformed) {
			x->r->sent_kind[WR_LOAD_MALFORMED]++;
			put_frame(x,
				wr_malformer_make(x->malformer,
					wr_malformer_next_kind(x->malformer), now_ms(x), x->frame));
			continue;
		}
		wr_requests_pick(&x->requests, i, &q);
		const struct wr_request_template *t = wr_requests_render(&x->requests, &q,
			x->l->tag | (i & WR_ID_NUMBER_MASK), now_ms(x), x->frame + x->l->head.size);
		x->r->sent_kind[q.kind]++;
		put_message(x, q.user, t->n, t->used);
		if (progress)
			wr_progress_update(progress, i, NULL);
	}
}

/* A generator that has no port, and knows what HELLO would have said. */
static void imagine_server(
	struct wr_load *l, const struct wr_load_pcap *c, const struct wr_load_address *address)
{
	struct wr_load_server *s = &l->server;

	l->n_queues = 1;
	l->address = *address;
	wr_load_head_init(&l->head, address);
	/* Files of other seeds or times have other ids; the same seed and time make the same file.
	 */
	l->tag = wr_mix64(c->workload.seed ^ wr_mix64((uint64_t)c->start_ms)) & WR_ID_TAG_MASK;
	s->known = true;
	s->n_items = c->n_items;
	s->n_ports = c->n_queues;
	for (unsigned int i = 0; i < c->n_queues; i++)
		s->ports[i] = (uint16_t)(address->server_port + i);
	wr_wire_share_out(s->shards, c->n_queues);
	s->has_cookie = c->cookie != NULL;
	if (c->cookie)
		s->cookie = *c->cookie;
}

static int prepare(struct writer *x, const struct wr_load_address *address, struct wr_errmsg *msg)
{
	const struct wr_load_pcap *c = x->c;

	if (c->n_items == 0 || c->n_queues == 0 || c->n_queues > WR_WIRE_MAX_PORTS ||
		address->server_port + c->n_queues > 65536u)
		return wr_fail(msg, WR_EINVAL,
			"a catalogue has items; a server has 1 … %d queues, whose ports end at "
			"65535",
			WR_WIRE_MAX_PORTS);
	x->l = calloc(1, sizeof(*x->l));
	if (!x->l)
		return wr_fail(msg, WR_ENOMEM, "not enough memory");
	imagine_server(x->l, c, address);
	wr_rng_init(&x->rng, c->workload.seed, 0xca9);
	int err = wr_requests_init(&x->requests, x->l, &c->workload, msg);
	if (!err && c->workload.malformed > 0)
		err = wr_malformer_new(&x->malformer, x->l, c->workload.seed, msg);
	if (!err &&
		wr_schedule_init(&x->schedule, c->arrivals, c->rate, SECOND_NS, c->workload.seed))
		err = wr_fail(msg, WR_EINVAL, "no schedule for %g frames a second", c->rate);
	return err;
}

/* libpcap closes the stream that it writes to: it gets one of its own. */
static int open_dump(struct writer *x, FILE *file, struct wr_errmsg *msg)
{
	pcap_t *p = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, SNAP_BYTES,
		x->c->micro ? PCAP_TSTAMP_PRECISION_MICRO : PCAP_TSTAMP_PRECISION_NANO);
	int fd = dup(fileno(file));
	FILE *own = fd >= 0 ? fdopen(fd, "w") : NULL;

	if (p && own)
		x->out = pcap_dump_fopen(p, own);
	if (p)
		pcap_close(p);
	if (x->out)
		return 0;
	if (own)
		fclose(own);
	else if (fd >= 0)
		close(fd);
	return wr_fail(msg, WR_EIO, "%s: libpcap cannot write to it", x->c->path);
}

static int write_frames(struct writer *x, struct wr_errmsg *msg)
{
	struct wr_progress progress;
	int err = 0;

	if (x->c->progress)
		wr_progress_start(&progress, "write (requests)", x->c->count);
	if (x->c->past)
		err = write_past(x, msg);
	if (!err)
		write_requests(x, x->c->progress ? &progress : NULL);
	if (x->c->progress)
		wr_progress_end(&progress, x->r->frames - x->r->past, NULL);
	if (!err && wr_stop_requested())
		err = wr_fail(msg, WR_EINTR, "stopped: %s was not written", x->c->path);
	bool bad = pcap_dump_flush(x->out) != 0 || ferror(pcap_dump_file(x->out));
	if (!err && bad)
		err = wr_fail(msg, WR_EIO, "%s: cannot be written (disk full?)", x->c->path);
	pcap_dump_close(x->out);
	return err;
}

int wr_load_pcap(const struct wr_load_pcap *c, const struct wr_load_address *address,
	struct wr_load_pcap_result *r, struct wr_errmsg *msg)
{
	struct writer *x = calloc(1, sizeof(*x));
	struct wr_file_writer *file = NULL;

	if (!x)
		return wr_fail(msg, WR_ENOMEM, "not enough memory");
	*r = (struct wr_load_pcap_result){0};
	x->c = c;
	x->r = r;
	int err = prepare(x, address, msg);
	if (!err && strcmp(c->path, "-") != 0)
		err = wr_file_writer_open(&file, c->path, msg);
	if (!err)
		err = open_dump(x, file ? wr_file_writer_stream(file) : stdout, msg);
	if (!err)
		err = write_frames(x, msg);
	if (err)
		wr_file_writer_abort(file);
	else if (file)
		err = wr_file_writer_commit(file, msg);
	wr_schedule_fini(&x->schedule);
	wr_malformer_free(x->malformer);
	free(x->l);
	free(x);
	return err;
}
