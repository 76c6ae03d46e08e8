/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each command tells. A worker's metrics are copied (230 KB) and summed under the caller's
 * lock, so the scratch is static.
 */
#include "control_reply.h"
#include "wr_config.h"
#include "wr_serve.h"

#include <string.h>

enum { STATS_PAGE = 64, HIST_PAGE = 128, SHARDS_PAGE = 16, CONFIG_PAGE = 8, MAX_NAME = 64 };

/* Of the worker asked for, or the sum of all. */
static const struct wr_metrics *gather(const struct wr_serve *s, int worker)
{
	static struct wr_metrics sum, one;
	memset(&sum, 0, sizeof(sum));
	for (unsigned int i = 0; i < wr_serve_n_workers(s); i++) {
		if (worker >= 0 && (unsigned int)worker != i)
			continue;
		wr_metrics_snapshot(&one, wr_serve_metrics(s, i));
		wr_metrics_merge(&sum, &one);
	}
	return &sum;
}

static uint64_t sessions_of(const struct wr_serve *s, int worker)
{
	uint64_t n = 0;
	for (unsigned int i = 0; i < wr_serve_n_workers(s); i++)
		if (worker < 0 || (unsigned int)worker == i)
			n += wr_serve_sessions(s, i);
	return n;
}

static void put_worker(const struct wr_serve *s, int worker, struct reply *r)
{
	char name[16] = "all";
	if (worker >= 0)
		snprintf(name, sizeof(name), "%d", worker);
	wr_reply_text(r, "worker", name);
	wr_reply_u64(r, "workers", wr_serve_n_workers(s));
	if (worker >= 0)
		wr_reply_u64(r, "cpu", wr_serve_worker_cpu(s, (unsigned int)worker));
}

static void put_bundle_id(const struct wr_serve *s, struct reply *r)
{
	uint8_t id[16];
	char hex[2 * sizeof(id) + 1];
	wr_bundle_id(wr_serve_bundle(s), id);
	for (unsigned int i = 0; i < sizeof(id); i++)
		snprintf(hex + 2 * i, 3, "%02x", id[i]);
	wr_reply_text(r, "bundle", hex);
}

/* ---- status ---- */
static void put_port(const struct wr_serve *s, struct reply *r)
{
	/* Before and after that state the port is being made or taken apart. */
	bool serving = wr_serve_state(s) == WR_SERVE_SERVING;
	const struct wr_port *port = serving ? wr_serve_port(s) : NULL;
	struct wr_gate_stats gate;
	wr_gate_stats(&gate);
	wr_reply_text(r, "link", !port ? "closed" : wr_port_link_up(port) ? "up" : "down");
	wr_reply_u64(r, "peers_connected", gate.connects);
	wr_reply_u64(r, "peers_left", gate.disconnects);
	wr_reply_u64(r, "peers_refused", gate.refused);
}

int wr_control_status(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg)
{
	const struct wr_metrics *m = gather(s, -1);
	const struct wr_bundle_model *model = wr_bundle_model(wr_serve_bundle(s));
	uint64_t onednn, own;
	uint32_t epoch;
	wr_serve_macs(s, &onednn, &own);
	wr_serve_shards(s, &epoch);
	wr_reply_text(r, "version", WR_VERSION);
	wr_reply_text(r, "state", wr_serve_state_name(wr_serve_state(s)));
	wr_reply_u64(r, "uptime_ms", wr_serve_uptime_ns(s) / 1000000);
	wr_reply_text(r, "isa", wr_isa_name(wr_serve_isa(s)));
	wr_reply_text(r, "gemm", wr_serve_engine(s));
	put_bundle_id(s, r);
	wr_reply_u64(r, "bundle_version", model->bundle_version);
	wr_reply_u64(r, "generation", wr_serve_generation(s));
	wr_reply_u64(r, "shard_epoch", epoch);
	wr_reply_u64(r, "workers", wr_serve_n_workers(s));
	wr_reply_u64(r, "sessions", sessions_of(s, -1));
	wr_reply_u64(r, "session_rows", (uint64_t)wr_serve_rows(s) * wr_serve_n_workers(s));
	wr_reply_u64(r, "memory_bytes", wr_serve_plan_of(s)->total_bytes);
	put_port(s, r);
	uint64_t answered = m->outcome[WR_OUTCOME_answered],
		 errors = m->outcome[WR_OUTCOME_answered_error];
	wr_reply_u64(r, "received", m->counter[WR_COUNTER_received]);
	wr_reply_u64(r, "answered", answered);
	wr_reply_u64(r, "answered_error", errors);
	wr_reply_u64(r, "dropped", wr_metrics_outcomes(m) - answered - errors);
	wr_reply_u64(r, "macs_onednn", onednn);
	wr_reply_u64(r, "macs_own", own);
	return WR_OK;
}

/* ---- stats ---- */
/* Counter i of the long list outcomes, counters, decode errors, stage cycles; false behind its end.
 */
static bool stat_at(
	const struct wr_metrics *m, unsigned int i, char name[MAX_NAME], uint64_t *value)
{
	const struct {
		const char *group;
		const struct wr_metric_desc *desc;
		const uint64_t *value;
		unsigned int n;
	} groups[] = {
		{"outcome", wr_outcome_desc, m->outcome, WR_OUTCOME_N},
		{"counter", wr_counter_desc, m->counter, WR_COUNTER_N},
		{"decode", NULL, m->decode, WR_DECODE_N},
		{"cycles", wr_stage_desc, m->stage_cycles, WR_STAGE_N},
	};
	for (unsigned int g = 0; g < WR_ARRAY_LEN(groups); i -= groups[g++].n) {
		if (i >= groups[g].n)
			continue;
		snprintf(name, MAX_NAME, "%s/%s", groups[g].group,
			groups[g].desc ? groups[g].desc[i].name
				       : wr_decode_name((enum wr_decode)i));
		*value = groups[g].value[i];
		return true;
	}
	return false;
}

int wr_control_stats(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg)
{
	const unsigned int n = WR_OUTCOME_N + WR_COUNTER_N + WR_DECODE_N + WR_STAGE_N;
	const unsigned int n_pages = (n + STATS_PAGE - 1) / STATS_PAGE;
	const struct wr_metrics *m = gather(s, p->worker);
	char name[MAX_NAME];
	uint64_t value;
	if (p->page >= n_pages)
		return wr_fail(
			msg, WR_EINVAL, "no page %u: the last one is %u", p->page, n_pages - 1);
	put_worker(s, p->worker, r);
	wr_reply_u64(r, "sessions", sessions_of(s, p->worker));
	wr_reply_u64(r, "tsc_hz", wr_clock_tsc_hz());
	wr_reply_u64(r, "page", p->page);
	wr_reply_u64(r, "pages", n_pages);
	for (unsigned int i = p->page * STATS_PAGE; i < (p->page + 1) * STATS_PAGE; i++)
		if (stat_at(m, i, name, &value))
			wr_reply_u64(r, name, value);
	return WR_OK;
}

/* ---- latency ---- */
static void put_hist(struct reply *r, const char *name, const struct wr_hist *h)
{
	static const struct {
		const char *name;
		double q;
	} quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
	struct reply inner = wr_reply_begin();
	wr_reply_u64(&inner, "count", h->count);
	for (unsigned int i = 0; i < WR_ARRAY_LEN(quantiles); i++)
		wr_reply_u64(&inner, quantiles[i].name, wr_hist_quantile(h, quantiles[i].q));
	wr_reply_u64(&inner, "max", h->max);
	wr_reply_end(r, name, &inner);
}

int wr_control_latency(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg)
{
	const struct wr_metrics *m = gather(s, p->worker);
	char name[MAX_NAME];
	put_worker(s, p->worker, r);
	put_hist(r, "server_ns", &m->server_ns);
	for (unsigned int i = 0; i < WR_STAGE_N; i++) {
		snprintf(name, sizeof(name), "stage_ns/%s", wr_stage_desc[i].name);
		put_hist(r, name, &m->stage_ns[i]);
	}
	put_hist(r, "burst_frames", &m->burst_size);
	return WR_OK;
}

/*
 * Buckets by index ("bucket/INDEX"), so that a reader can take differences of two moments. A reply
 * holds HIST_PAGE of them; "next" is where to go on, 0 at the end. Pages are cut by index: what
 * grows meanwhile moves no bucket to another page.
 */
int wr_control_histogram(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg)
{
	const struct wr_hist *h = &gather(s, p->worker)->server_ns;
	unsigned int i = p->page, n = 0;
	char name[MAX_NAME];
	if (p->page >= WR_HIST_BUCKETS)
		return wr_fail(msg, WR_EINVAL, "no bucket %u: the last one is %u", p->page,
			WR_HIST_BUCKETS - 1);
	for (; i < WR_HIST_BUCKETS && n < HIST_PAGE; i++) {
		if (!h->bucket[i])
			continue;
		snprintf(name, sizeof(name), "bucket/%u", i);
		wr_reply_u64(r, name, h->bucket[i]);
		n++;
	}
	wr_reply_u64(r, "next", i < WR_HIST_BUCKETS ? i : 0);
	return WR_OK;
}

/* ---- engines ---- */
/* A product a line: for up to so many rows own kernels take so many ns, oneDNN so many; the engine
 * that serves. */
int wr_control_engines(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg)
{
	unsigned int worker = p->worker < 0 ? 0 : (unsigned int)p->worker;
	const struct wr_engine_times *t = wr_serve_engines(s, worker);
	char name[MAX_NAME], text[WR_ENGINE_STEPS * 48];
	put_worker(s, (int)worker, r);
	wr_reply_text(r, "gemm", wr_serve_engine(s));
	for (unsigned int i = 0; t && i < WR_ENGINE_SHAPES; i++) {
		size_t n = 0;
		for (unsigned int j = 0; j < WR_ENGINE_STEPS; j++)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%u: %u %u %s",
				j ? ", " : "", t[i].step[j].rows, t[i].step[j].own_ns,
				t[i].step[j].onednn_ns, t[i].step[j].onednn ? "onednn" : "own");
		snprintf(name, sizeof(name), "%s %ux%u", t[i].name, t[i].k, t[i].n);
		wr_reply_long_text(r, name, text);
	}
	return WR_OK;
}

/* ---- bundle ---- */
int wr_control_bundle(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg)
{
	const struct wr_bundle *b = wr_serve_bundle(s);
	const struct wr_bundle_model *m = wr_bundle_model(b);
	const struct wr_config *c = wr_serve_config(s);
	const struct wr_intents *x = wr_serve_intents(s);
	put_bundle_id(s, r);
	if (c)
		wr_reply_long_text(r, "path", c->bundle_path);
	const struct {
		const char *name;
		uint64_t value;
	} figures[] = {{"bundle_version", m->bundle_version},
		{"generation", wr_serve_generation(s)}, {"bytes", wr_bundle_bytes(b)},
		{"items", m->n_items}, {"d", m->d}, {"blocks", m->n_blocks}, {"heads", m->n_heads},
		{"kv_heads", m->n_kv_heads}, {"head_dim", m->head_dim}, {"window", m->window},
		{"ffn", m->ffn}, {"kept", wr_bundle_n_kept(m)},
		{"history_events", wr_bundle_history_events(m)},
		{"rules", x ? wr_intents_count(x) : 0},
		{"rules_bytes", x ? wr_intents_bytes(x) : 0}};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(figures); i++)
		wr_reply_u64(r, figures[i].name, figures[i].value);
	return WR_OK;
}

/* ---- shards ---- */
/* "0-127, 130" of the shards that are this worker's; their number. */
static unsigned int shards_text(const uint8_t *shards, unsigned int worker, char *out, size_t size)
{
	unsigned int n = 0;
	size_t used = 0;
	out[0] = '\0';
	for (unsigned int i = 0, end; i < WR_WIRE_N_SHARDS; i = end) {
		for (end = i; end < WR_WIRE_N_SHARDS && shards[end] == worker;)
			end++;
		if (end == i) {
			end++;
			continue;
		}
		n += end - i;
		used += (size_t)snprintf(out + used, size - used, "%s%u", used ? ", " : "", i);
		if (end > i + 1)
			used += (size_t)snprintf(out + used, size - used, "-%u", end - 1);
	}
	return n;
}

int wr_control_shards(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg)
{
	unsigned int n = wr_serve_n_workers(s), n_pages = (n + SHARDS_PAGE - 1) / SHARDS_PAGE;
	char name[MAX_NAME], text[WR_WIRE_N_SHARDS * 5 + 1];
	uint32_t epoch;
	const uint8_t *shards = wr_serve_shards(s, &epoch);
	if (p->page >= n_pages)
		return wr_fail(
			msg, WR_EINVAL, "no page %u: the last one is %u", p->page, n_pages - 1);
	const struct wr_port *port =
		wr_serve_state(s) == WR_SERVE_SERVING ? wr_serve_port(s) : NULL;
	wr_reply_u64(r, "epoch", epoch);
	wr_reply_u64(r, "workers", n);
	wr_reply_u64(r, "queues", port ? wr_port_n_queues(port) : 0);
	wr_reply_text(r, "spread", port ? wr_port_spread_name(wr_port_spread(port)) : "closed");
	wr_reply_u64(r, "page", p->page);
	wr_reply_u64(r, "pages", n_pages);
	for (unsigned int i = p->page * SHARDS_PAGE; i < WR_MIN(n, (p->page + 1) * SHARDS_PAGE);
		i++) {
		unsigned int count = shards_text(shards, i, text, sizeof(text));
		const struct {
			const char *name;
			uint64_t value;
		} figures[] = {{"cpu", wr_serve_worker_cpu(s, i)},
			{"udp_port", wr_serve_udp_port(s, i)}, {"count", count}};
		for (unsigned int f = 0; f < WR_ARRAY_LEN(figures); f++) {
			snprintf(name, sizeof(name), "%s/%u", figures[f].name, i);
			wr_reply_u64(r, name, figures[f].value);
		}
		snprintf(name, sizeof(name), "shards/%u", i);
		wr_reply_long_text(r, name, text);
	}
	return WR_OK;
}

/* ---- configuration ---- */
int wr_control_config(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg)
{
	const unsigned int n_pages = (WR_CONFIG_N + CONFIG_PAGE - 1) / CONFIG_PAGE;
	const struct wr_config *c = wr_serve_config(s);
	if (!c)
		return wr_fail(msg, WR_ENOENT, "this server was started without a configuration");
	if (p->page >= n_pages)
		return wr_fail(
			msg, WR_EINVAL, "no page %u: the last one is %u", p->page, n_pages - 1);
	wr_reply_u64(r, "page", p->page);
	wr_reply_u64(r, "pages", n_pages);
	unsigned int end = WR_MIN((p->page + 1) * CONFIG_PAGE, (unsigned int)WR_CONFIG_N);
	for (unsigned int i = p->page * CONFIG_PAGE; i < end; i++) {
		char value[WR_CONFIG_MAX_VALUE], name[MAX_NAME], origin_name[MAX_NAME + 8];
		wr_config_value(c, (enum wr_config_id)i, value, sizeof(value));
		snprintf(name, sizeof(name), "%s/%s", wr_config_keys[i].section,
			wr_config_keys[i].key);
		wr_reply_long_text(r, name, value);
		wr_config_origin(c, (enum wr_config_id)i, value, sizeof(value));
		snprintf(origin_name, sizeof(origin_name), "%s/from", name);
		wr_reply_long_text(r, origin_name, value);
	}
	return WR_OK;
}
