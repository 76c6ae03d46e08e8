/* SPDX-License-Identifier: BSD-3-Clause */
/* The server as a whole: what is built at start, in which order, and how it ends. Control path. */
#include "serve_int.h"

#include <rte_lcore.h>
#include <rte_launch.h>
#include <rte_malloc.h>
#include <rte_ring.h>

#include <string.h>
#include <unistd.h>

#define DRAIN_NS (1000u * 1000u * 1000u)

static void *allocate(void *ctx, size_t bytes, size_t align)
{
	(void)ctx;
	return rte_zmalloc("wr", bytes, (unsigned int)align);
}

static void release(void *ctx, void *p)
{
	(void)ctx;
	rte_free(p);
}

const struct wr_allocator wr_serve_allocator = {allocate, release, NULL};

void wr_serve_rebase_clock(struct wr_serve *s)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	int64_t now_us = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
	int64_t offset = now_us - (int64_t)(tsc_to_ns(s, wr_clock_tsc()) / 1000);
	atomic_store_explicit(&s->unix_offset_us, offset, memory_order_relaxed);
}

/* ---- building ---- */
static int new_sequences(const struct wr_serve *s, struct sequences *x, int socket)
{
	size_t tokens = (size_t)s->o.burst * s->history_events;
	x->rows = rte_zmalloc_socket("wr_tokens", tokens * sizeof(*x->rows), WR_CACHE_LINE, socket);
	if (s->shape.time_buckets)
		x->times = rte_zmalloc_socket(
			"wr_times", tokens * sizeof(*x->times), WR_CACHE_LINE, socket);
	return x->rows && (x->times || !s->shape.time_buckets) ? WR_OK : WR_ENOMEM;
}

static int new_worker(struct wr_serve *s, unsigned int i, struct wr_errmsg *msg)
{
	const struct wr_serve_options *o = &s->o;
	int socket = (int)rte_lcore_to_socket_id(i + 1);
	char name[RTE_RING_NAMESIZE];
	struct worker *w = rte_zmalloc_socket("wr_worker", sizeof(*w), WR_CACHE_LINE, socket);
	if (!w)
		goto nomem;
	s->workers[i] = w;
	w->serve = s;
	w->index = i;
	w->lcore = i + 1;
	w->cpu = o->cpus[i];
	w->socket_id = socket;
	w->metrics = rte_zmalloc_socket("wr_metrics", sizeof(*w->metrics), WR_CACHE_LINE, socket);
	if (new_sequences(s, &w->burst.cold, socket) || new_sequences(s, &w->burst.warm, socket))
		goto nomem;
	w->lifts = rte_zmalloc_socket(
		"wr_lifts", LIFT_POOL * sizeof(*w->lifts), WR_CACHE_LINE, socket);
	w->items = rte_zmalloc_socket("wr_items",
		(size_t)o->burst * WR_RANK_MAX_K * sizeof(*w->items), WR_CACHE_LINE, socket);
	snprintf(name, sizeof(name), "wr_handover%u", i);
	w->handover = rte_ring_create(name, o->handover_ring, socket, RING_F_SC_DEQ);
	snprintf(name, sizeof(name), "wr_returns%u", i);
	w->returns = rte_ring_create(name, o->handover_ring, socket, RING_F_SC_DEQ);
	if (!w->metrics || !w->lifts || !w->items || !w->handover || !w->returns)
		goto nomem;
	struct wr_table_shape shape = wr_serve_table_shape(o);
	return wr_table_new(&w->table, &shape, o->rows_per_lcore, socket, msg);
nomem:
	return wr_fail(
		msg, WR_ENOMEM, "worker %u: DPDK's heap is exhausted; give it more hugepages", i);
}

static void free_worker(struct worker *w)
{
	if (!w)
		return;
	wr_table_free(w->table);
	wr_intent_scanner_free(w->scanner);
	wr_ranker_free(w->ranker);
	wr_encoder_free(w->encoder);
	rte_ring_free(w->handover);
	rte_ring_free(w->returns);
	rte_free(w->items);
	rte_free(w->lifts);
	rte_free(w->burst.cold.rows);
	rte_free(w->burst.cold.times);
	rte_free(w->burst.warm.rows);
	rte_free(w->burst.warm.times);
	rte_free(w->metrics);
	rte_free(w);
}

static void describe(struct wr_serve *s)
{
	const struct wr_serve_options *o = &s->o;

	for (unsigned int i = 0; i < o->n_workers; i++)
		s->ports[i] = (uint16_t)(o->port.udp_port + i);
	wr_wire_share_out(s->shards, o->n_workers);
	s->epoch = wr_wire_table_epoch(s->shards, s->ports, o->n_workers);
	s->generation = 1;
	s->hello = (struct wr_wire_server){
		.version_min = WR_WIRE_VERSION,
		.version_max = WR_WIRE_VERSION,
		.max_bytes = WR_WIRE_MAX_BYTES,
		.max_k = WR_WIRE_MAX_K,
		.max_events = WR_WIRE_MAX_EVENTS,
		.max_history = WR_WIRE_MAX_HISTORY,
		.max_exclude = WR_WIRE_MAX_EXCLUDE,
		.max_utterance = WR_WIRE_MAX_UTTERANCE,
		.min_unproven = WR_WIRE_MIN_UNPROVEN,
		.bundle_version = s->shape.bundle_version,
		.model_generation = s->generation,
		.shard_epoch = s->epoch,
		.n_items = s->shape.n_items,
		.history_events = s->history_events,
	};
	wr_bundle_id(o->bundle, s->hello.bundle_id);
}

static int compile_rules(struct wr_serve *s, struct wr_errmsg *msg)
{
	size_t bytes;
	const char *text = wr_bundle_section(s->o.bundle, WR_SEC_RULES, &bytes);
	if (!text || bytes == 0)
		return 0;
	return wr_intents_new(&s->intents, text, bytes, "bundle section rules", s->o.bundle, msg);
}

int wr_serve_new(struct wr_serve **out, const struct wr_serve_options *o,
	const struct wr_serve_plan *plan, struct wr_errmsg *msg)
{
	*out = NULL;
	if (o->n_workers == 0 || o->n_workers > WR_SERVE_MAX_WORKERS || o->burst == 0 ||
		o->burst > BURST)
		return wr_fail(msg, WR_EINVAL, "1 … %d workers and bursts of 1 … %d, not %u and %u",
			WR_SERVE_MAX_WORKERS, BURST, o->n_workers, o->burst);
	struct wr_serve *s =
		aligned_alloc(WR_CACHE_LINE, WR_ALIGN_UP(sizeof(*s), (size_t)WR_CACHE_LINE));
	if (!s)
		return wr_fail(msg, WR_ENOMEM, "out of memory");
	memset(s, 0, sizeof(*s));
	s->o = *o;
	s->plan = *plan;
	snprintf(s->name, sizeof(s->name), "%s", o->name);
	snprintf(s->allow, sizeof(s->allow), "%s", o->allow);
	snprintf(
		s->socket_path, sizeof(s->socket_path), "%s", o->port.socket ? o->port.socket : "");
	s->o.name = s->name;
	s->o.allow = s->allow;
	s->o.port.socket = s->socket_path;
	s->o.port.n_queues = (uint16_t)o->n_workers;
	s->o.port.n_udp_ports = (uint16_t)o->n_workers;
	s->o.port.n_mbufs = wr_serve_mbufs(o);
	s->shape = *wr_bundle_model(o->bundle);
	s->history_events = wr_bundle_history_events(&s->shape);
	s->ring_bytes = (uint32_t)wr_ring_bytes(&s->shape);
	s->group = wr_serve_group(&s->o);
	s->first_group = wr_serve_first_group(&s->o);
	s->tsc_hz = wr_clock_tsc_hz();
	s->ns_mult = (uint64_t)(((unsigned __int128)1000000000 << 32) / s->tsc_hz);
	s->gather_ticks = o->gather_us * s->tsc_hz / 1000000;
	wr_serve_rebase_clock(s);
	describe(s);
	struct wr_admit_config admit = {
		.allow = s->allow, .cookie_rotate_s = o->cookie_rotate_s, .tsc_hz = s->tsc_hz};
	int err = wr_admit_new(&s->admit, &admit, wr_clock_ns(), msg);
	if (!err)
		err = compile_rules(s, msg);
	if (!err)
		err = wr_model_new(&s->model, o->bundle, o->isa, o->gemm, &wr_serve_allocator, msg);
	for (unsigned int i = 0; i < o->n_workers && !err; i++)
		err = new_worker(s, i, msg);
	if (!err)
		err = wr_serve_kernel_new(s, msg);
	if (err) {
		wr_serve_free(s);
		return err;
	}
	*out = s;
	return 0;
}

void wr_serve_free(struct wr_serve *s)
{
	if (!s)
		return;
	wr_serve_stop(s);
	for (unsigned int i = 0; i < s->o.n_workers; i++)
		free_worker(s->workers[i]);
	rte_ring_free(s->to_kernel);
	wr_model_free(s->model);
	wr_intents_free(s->intents);
	wr_admit_free(s->admit);
	free(s);
}

/* ---- life ---- */
int wr_serve_warm(struct wr_serve *s, struct wr_errmsg *msg)
{
	int err = wr_serve_selftest_prepare(s, msg);
	for (unsigned int i = 0; i < s->o.n_workers && !err; i++)
		if (rte_eal_remote_launch(
			    wr_serve_worker_main, s->workers[i], s->workers[i]->lcore) != 0)
			return wr_fail(msg, WR_ESTATE, "worker %u does not start on CPU %u", i,
				s->o.cpus[i]);
	for (unsigned int i = 0; i < s->o.n_workers && !err; i++) {
		struct worker *w = s->workers[i];
		while (!atomic_load_explicit(&w->ready, memory_order_acquire))
			(void)usleep(1000);
		err = w->err;
		if (err && msg)
			*msg = w->msg;
	}
	if (!err)
		atomic_store(&s->state, WR_SERVE_WARM);
	return err;
}

int wr_serve_open(struct wr_serve *s, struct wr_errmsg *msg)
{
	int err = wr_port_open(&s->port, &s->o.port, msg);
	if (err)
		return err;
	err = wr_port_local(s->port, (uint16_t)s->o.n_workers, &s->us);
	if (err)
		err = wr_fail(
			msg, err, "port.ipv4, port.ipv6, port.service: an address stands twice");
	else
		err = wr_port_start(s->port, msg);
	if (err) {
		wr_port_close(s->port);
		s->port = NULL;
		return err;
	}
	wr_serve_map_code(); /* the driver's, too */
	s->opened_ns = wr_clock_ns();
	wr_serve_rebase_clock(s);
	atomic_store_explicit(&s->open, true, memory_order_release);
	atomic_store(&s->state, WR_SERVE_SERVING);
	return 0;
}

void wr_serve_tick(struct wr_serve *s)
{
	wr_serve_rebase_clock(s);
	wr_admit_rotate(s->admit, wr_clock_ns());
	wr_port_tick(s->port);
	wr_serve_kernel_tick(s, wr_clock_ns());
}

void wr_serve_stop(struct wr_serve *s)
{
	if (atomic_load(&s->state) == WR_SERVE_STOPPED)
		return;
	uint64_t until = wr_clock_ns() + DRAIN_NS;
	atomic_store(&s->state, WR_SERVE_DRAINING);
	atomic_store_explicit(&s->run, RUN_DRAIN, memory_order_release);
	for (unsigned int i = 0; i < s->o.n_workers; i++) {
		struct worker *w = s->workers[i];
		while (w && rte_eal_get_lcore_state(w->lcore) == RUNNING) {
			if (wr_clock_ns() > until)
				atomic_store_explicit(&s->run, RUN_ABORT, memory_order_release);
			(void)usleep(200);
		}
		if (w)
			(void)rte_eal_wait_lcore(w->lcore);
	}
	wr_port_close(s->port);
	s->port = NULL;
	atomic_store(&s->state, WR_SERVE_STOPPED);
}
