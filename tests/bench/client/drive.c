/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libwirerank under load: submissions from a schedule that was fixed before the run, or as fast as
 * a window of outstanding requests lets; each answer checked.
 */
#include "load_verify.h"
#include "bench_pin.h"
#include "talks.h"

#include <stdlib.h>
#include <string.h>

#define GREET_MS     3000
#define HISTORY_MAX  128
#define PAST_TIME_MS 1600000000000

struct flight {
	uint64_t intended_ns, user;
	uint32_t item; /* that this request reports */
	uint32_t talk; /* of WORKLOAD_LISTS */
	uint32_t next; /* free one */
};

struct drive {
	const struct bench_options *o;
	struct bench_result *r;
	struct wr_client *c;
	struct talks *talks;
	struct flight *flight;
	uint32_t free, n_flight, n_items;
	uint64_t start, now, number, n_failed_submits;
	int64_t now_ms; /* wall clock of the turn */
	struct wr_rng rng;
	uint32_t past_item[HISTORY_MAX];
	int64_t past_time[HISTORY_MAX];
	bool finish;
};

/* ---- what a user did before ---- */
static bool past(void *arg, uint64_t user, uint8_t domain, unsigned int n_wanted,
	struct wr_client_history *h)
{
	struct drive *d = arg;
	(void)domain;
	(void)n_wanted;
	for (unsigned int i = 0; i < d->o->history; i++) {
		d->past_item[i] = 1 + (uint32_t)(wr_mix64(user * 131 + i + 1) % d->n_items);
		d->past_time[i] = PAST_TIME_MS + 60000 * (int64_t)i;
	}
	*h = (struct wr_client_history){
		.items = d->past_item, .times = d->past_time, .n = d->o->history, .complete = true};
	return true;
}

/* ---- answers ---- */
static void check(struct drive *d, const struct flight *f, const struct wr_client_answer *a)
{
	bool wants = d->o->workload == WORKLOAD_WARM;
	struct wr_expect x = {.user = f->user,
		.op = d->o->workload == WORKLOAD_EVENT ? WR_OP_EVENT : WR_OP_RECOMMEND,
		.k = wants ? (uint8_t)d->o->k : 0,
		.n_items = d->n_items,
		.seen = wants ? &f->item : NULL,
		.n_seen = wants};
	enum wr_verdict v = wr_verify_answer(&x, a->message);
	d->r->verdict[v]++;
	d->r->wrong += v != WR_VERDICT_OK;
}

static struct drive *running; /* one run at a time; a flight alone is the callback's argument */

static void done(void *arg, const struct wr_client_answer *a)
{
	struct drive *d = running;
	struct flight *f = arg;
	if (a->result == WR_OK) {
		uint64_t latency = a->latency_ns;
		if (d->o->rate > 0) {
			uint64_t now = wr_clock_ns();
			latency = now > f->intended_ns ? now - f->intended_ns : 0;
		}
		d->r->answered++;
		wr_hist_add(&d->r->latency_ns, latency, 1);
		for (unsigned int flags = a->message->header.flags & 0xff; flags;
			flags &= flags - 1)
			d->r->flag[__builtin_ctz(flags)]++;
		if (!d->talks)
			check(d, f, a);
	} else if (a->result == WR_EPERM) {
		d->r->refused_status[a->status & 15]++;
	}
	if (d->talks)
		talks_answer(d->talks, f->talk, a, d->r);
	f->next = d->free;
	d->free = (uint32_t)(f - d->flight);
	d->n_flight--;
}

/* ---- requests ---- */
static int submit_synthetic(struct drive *d, struct flight *f)
{
	struct wr_wire_event e = {.kind = WR_KIND_CLICK};
	struct wr_client_request r = {.user_id = 1 + wr_rng_u64(&d->rng) % d->o->users,
		.time_ms = d->now_ms,
		.done = done,
		.arg = f};
	f->user = r.user_id;
	if (d->o->workload == WORKLOAD_ECHO) {
		r.flags = WR_REQ_PAD_ANSWER;
		return wr_client_recommend(d->c, &r);
	}
	f->item = e.item = 1 + wr_rng_below(&d->rng, d->n_items);
	e.time_ms = r.time_ms;
	r.events = &e;
	r.n_events = 1;
	r.k = (uint8_t)d->o->k;
	return d->o->workload == WORKLOAD_EVENT ? wr_client_event(d->c, &r)
						: wr_client_recommend(d->c, &r);
}

/* WR_EAGAIN: no user of the lists is ready. */
static int submit_talk(struct drive *d, struct flight *f)
{
	struct wr_client_request r;
	uint8_t op;
	if (!talks_next(d->talks, &r, &op, &f->talk))
		return WR_EAGAIN;
	r.done = done;
	r.arg = f;
	f->user = r.user_id;
	if (op == WR_OP_FORGET)
		return wr_client_forget(d->c, &r);
	return op == WR_OP_EVENT ? wr_client_event(d->c, &r) : wr_client_recommend(d->c, &r);
}

static bool submit(struct drive *d, uint64_t intended_ns)
{
	struct flight *f = &d->flight[d->free];
	uint32_t next = f->next;
	f->intended_ns = intended_ns;
	int err = d->talks ? submit_talk(d, f) : submit_synthetic(d, f);
	if (err) {
		d->n_failed_submits += err != WR_EAGAIN;
		return false;
	}
	d->free = next;
	d->n_flight++;
	d->r->sent++;
	return true;
}

static uint64_t intended(const struct drive *d, uint64_t number)
{
	return d->start + (uint64_t)((double)number * 1e9 / d->o->rate);
}

static void submit_due(struct drive *d)
{
	while (d->n_flight < d->o->window) {
		uint64_t at = d->now;
		if (d->o->rate > 0 && !d->finish) {
			at = intended(d, d->number);
			if (at > d->now)
				return;
			double debt = (double)(d->now - at) / 1e6;
			d->r->worst_debt_ms = WR_MAX(d->r->worst_debt_ms, debt);
		}
		if (!submit(d, at))
			return;
		d->number++;
	}
}

static void turn(struct drive *d)
{
	d->now_ms = wr_clock_unix_ms();
	submit_due(d);
	if (wr_client_process(d->c) == 0) {
		uint64_t ns = 1000000;
		d->now = wr_clock_ns();
		if (d->o->rate > 0 && !d->finish && d->n_flight < d->o->window) {
			uint64_t next = intended(d, d->number);
			ns = next > d->now ? WR_MIN(next - d->now, ns) : 0;
		}
		/* With something to submit already, only a look. */
		if (d->talks && !talks_ready(d->talks))
			ns = 1000000;
		if (ns)
			udp_wait(wr_client_fd(d->c), ns);
	}
	d->now = wr_clock_ns();
}

static void loop(struct drive *d)
{
	const struct bench_options *o = d->o;
	struct wr_progress p;
	uint64_t end = o->seconds > 0 ? (uint64_t)(o->seconds * 1e9) : UINT64_MAX / 2;
	wr_progress_start(&p, "client_bench", 0);
	d->now = d->start = wr_clock_ns();
	while (d->now - d->start < end && !wr_stop_requested() && d->n_failed_submits == 0) {
		if (d->talks && talks_done(d->talks))
			break;
		turn(d);
		if (o->progress)
			wr_progress_update(&p, d->r->answered, NULL);
	}
	d->r->wall_s = (double)(d->now - d->start) / 1e9;
	if (o->rate > 0 && d->now - d->start >= end) {
		/* What was due while the last turn ran. */
		d->now = d->start + end - 1;
		submit_due(d);
		uint64_t scheduled = (uint64_t)(o->seconds * o->rate);
		d->r->unsent = scheduled > d->number ? scheduled - d->number : 0;
	}
	d->finish = true;
	if (d->talks)
		talks_finish(d->talks);
	uint64_t settle = wr_clock_ns() + (uint64_t)(o->settle_s * 1e9);
	while (d->now < settle && (d->n_flight || (d->talks && talks_ready(d->talks)))) {
		if (d->talks)
			submit_due(d);
		udp_wait(wr_client_fd(d->c), 10000000);
		wr_client_process(d->c);
		d->now = wr_clock_ns();
	}
	if (o->progress)
		wr_progress_end(&p, d->r->answered, NULL);
}

/* ---- start and end ---- */
static int greet(struct drive *d, struct wr_errmsg *msg)
{
	const struct bench_options *o = d->o;
	unsigned int n = 0;
	for (uint64_t end = wr_clock_ns() + GREET_MS * 1000000ull;
		n < o->n_servers && wr_clock_ns() < end;) {
		udp_wait(wr_client_fd(d->c), 10000000);
		wr_client_process(d->c);
		n = 0;
		for (unsigned int i = 0; i < o->n_servers; i++) {
			struct wr_client_server v;
			if (wr_client_server(d->c, i, &v) == WR_OK && v.greeted) {
				n++;
				d->n_items = v.n_items;
			}
		}
	}
	if (n == 0)
		return wr_fail(msg, WR_EAGAIN,
			"no server answered HELLO in %d ms: do host and port match its [port] "
			"section, does its [admit] allow us, are checksums complete?",
			GREET_MS);
	if (d->n_items == 0)
		return wr_fail(msg, WR_EFORMAT, "the server says that it has no items");
	return WR_OK;
}

static int check_bundle(struct drive *d, struct wr_errmsg *msg)
{
	struct wr_client_server v;
	char id[33];
	if (!d->talks || !talks_bundle(d->talks)[0])
		return WR_OK;
	for (unsigned int i = 0; i < d->o->n_servers; i++) {
		if (wr_client_server(d->c, i, &v) || !v.greeted)
			continue;
		for (unsigned int j = 0; j < sizeof(v.bundle_id); j++)
			snprintf(id + 2 * j, 3, "%02x", v.bundle_id[j]);
		if (strcmp(id, talks_bundle(d->talks)))
			return wr_fail(msg, WR_EINVAL,
				"the lists are of bundle %s, %s serves %s: write them again with "
				"wrtrain eval --int8 --lists",
				talks_bundle(d->talks), d->o->server[i].host, id);
	}
	return WR_OK;
}

static int prepare(struct drive *d, struct wr_errmsg *msg)
{
	const struct bench_options *o = d->o;
	struct wr_client_options options = {.max_outstanding = o->window,
		.n_sources = o->sources,
		.timeout_ms = o->timeout_ms,
		.max_tries = o->tries,
		.hello_ms = o->hello_ms,
		.pad_bytes = o->bytes,
		.no_offload = o->no_offload};
	int err = WR_OK;
	if (o->workload == WORKLOAD_LISTS)
		err = talks_open(&d->talks, o->lists, o->users, o->seconds > 0, msg);
	if (err)
		return err;
	options.history = d->talks ? talks_history : past;
	options.history_arg = d->talks ? (void *)d->talks : d;
	d->flight = calloc(o->window, sizeof(*d->flight));
	if (!d->flight)
		return wr_fail(msg, WR_ENOMEM, "no memory for a window of %u", o->window);
	for (uint32_t i = 0; i < o->window; i++)
		d->flight[i].next = i + 1;
	wr_rng_init(&d->rng, o->seed, 1);
	d->c = wr_client_new(&options, msg);
	for (unsigned int i = 0; d->c && i < o->n_servers; i++) {
		int n = wr_client_add_server(
			d->c, o->server[i].host, o->server[i].port, o->tiers ? i : 0, msg);
		if (n < 0)
			return n;
	}
	if (!d->c)
		return WR_ENOMEM;
	err = greet(d, msg);
	return err ? err : check_bundle(d, msg);
}

static void conclude(struct drive *d)
{
	struct bench_result *r = d->r;
	const struct wr_client_stats *s = wr_client_stats(d->c);
	r->stats = *s;
	r->n_send_calls = s->n_send_calls;
	r->n_receive_calls = s->n_recv_calls;
	r->n_send_errors = s->n_send_errors;
	r->offload = s->n_segmented > 0;
	r->lost = r->sent - r->answered - s->n_refused;
	r->n_servers = d->o->n_servers;
	for (unsigned int i = 0; i < r->n_servers; i++)
		if (wr_client_server(d->c, i, &r->server[i]) != WR_OK)
			r->n_servers = i;
	if (d->talks)
		r->unanswered = talks_unanswered(d->talks);
}

int drive_run(const struct bench_options *o, struct bench_result *r, struct wr_errmsg *msg)
{
	struct drive d = {.o = o, .r = r};
	memset(r, 0, sizeof(*r));
	pin_thread(o->core);
	running = &d;
	int err = prepare(&d, msg);
	if (!err) {
		double steal = report_steal_s();
		uint64_t cpu = wr_clock_thread_cpu_ns();
		loop(&d);
		r->cpu_s = (double)(wr_clock_thread_cpu_ns() - cpu) / 1e9;
		r->steal_s = report_steal_s() - steal;
		conclude(&d);
		if (d.n_failed_submits)
			err = wr_fail(msg, WR_ESTATE, "the library refused a request");
	}
	wr_client_free(d.c);
	talks_close(d.talks);
	free(d.flight);
	running = NULL;
	return err;
}
