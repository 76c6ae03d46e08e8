/* SPDX-License-Identifier: BSD-3-Clause */
/* Figures between two moments of a daemon: differences of counters, and of histograms' buckets. */
#include "top.h"
#include "wr_metrics.h"

#include <stdlib.h>
#include <string.h>

/* ---- moments ---- */
static int take_workers(struct link *l, struct moment *m, struct wr_errmsg *msg)
{
	int err = WR_OK;
	uint64_t n = number_at(m->all, "workers");
	m->workers = json_array();
	for (uint64_t i = 0; i < n && !err; i++) {
		char worker[24];
		json_t *one;
		snprintf(worker, sizeof(worker), "%ju", (uintmax_t)i);
		err = link_ask(l, "/wirerank/stats", worker, &one, msg);
		if (!err)
			json_array_append_new(m->workers, one);
	}
	return err;
}

static int take_histogram(struct link *l, struct moment *m, struct wr_errmsg *msg)
{
	uint64_t from = 0;
	m->server_ns = calloc(1, sizeof(*m->server_ns));
	if (!m->server_ns)
		return wr_fail(msg, WR_ENOMEM, "out of memory");
	do {
		char params[32];
		const char *index;
		json_t *body, *count, *shaped = json_object();
		snprintf(params, sizeof(params), "all,%ju", (uintmax_t)from);
		int err = link_ask_raw(l, "/wirerank/histogram", params, &body, msg);
		if (!err)
			err = answer_merge(shaped, body, msg);
		if (err) {
			json_decref(shaped);
			return err;
		}
		json_object_foreach(json_object_get(shaped, "bucket"), index, count)
		{
			uint64_t i = strtoull(index, NULL, 10);
			uint64_t n = (uint64_t)json_integer_value(count);
			if (i >= WR_HIST_BUCKETS)
				continue;
			m->server_ns->bucket[i] = n;
			m->server_ns->count += n;
		}
		uint64_t next = number_at(body, "next");
		from = next > from ? next : 0;
		json_decref(shaped);
		json_decref(body);
	} while (from);
	return WR_OK;
}

int moment_take(struct link *l, struct moment **out, struct wr_errmsg *msg)
{
	struct moment *m = calloc(1, sizeof(*m));
	*out = NULL;
	if (!m)
		return wr_fail(msg, WR_ENOMEM, "out of memory");
	m->pid = link_pid(l);
	int err = link_ask(l, "/wirerank/status", NULL, &m->status, msg);
	if (!err)
		err = link_ask(l, "/wirerank/stats", "all", &m->all, msg);
	m->at_ns = wr_clock_ns();
	if (!err)
		err = take_workers(l, m, msg);
	if (!err)
		err = take_histogram(l, m, msg);
	if (err) {
		moment_free(m);
		return err;
	}
	*out = m;
	return WR_OK;
}

void moment_free(struct moment *m)
{
	if (!m)
		return;
	json_decref(m->status);
	json_decref(m->all);
	json_decref(m->workers);
	free(m->server_ns);
	free(m);
}

/* ---- differences ---- */
/* What path grew by; a value that went back counts from zero. */
static double grown(const json_t *before, const json_t *now, const char *path)
{
	uint64_t a = number_at(before, path), b = number_at(now, path);
	return (double)(b >= a ? b - a : b);
}

static void put_rate(json_t *out, const char *name, const json_t *before, const json_t *now,
	const char *path, double seconds)
{
	json_object_set_new(out, name, json_real(grown(before, now, path) / seconds));
}

/* Share of cycles that were not idle polls. */
static double busy_share(const json_t *before, const json_t *now)
{
	double all = 0.0, idle = 0.0;
	for (unsigned int i = 0; i < WR_STAGE_N; i++) {
		char path[64];
		snprintf(path, sizeof(path), "cycles/%s", wr_stage_desc[i].name);
		double n = grown(before, now, path);
		all += n;
		idle += i == WR_STAGE_idle ? n : 0.0;
	}
	return all > 0.0 ? 1.0 - idle / all : 0.0;
}

static double burst_frames(const json_t *before, const json_t *now)
{
	double frames = grown(before, now, "counter/received") +
			grown(before, now, "counter/taken_over"),
	       bursts = grown(before, now, "counter/bursts");
	return bursts > 0.0 ? frames / bursts : 0.0;
}

static json_t *worker_figures(const json_t *before, const json_t *now, double seconds)
{
	json_t *w = json_pack("{s:O?, s:O?, s:f, s:f}", "worker", json_object_get(now, "worker"),
		"cpu", json_object_get(now, "cpu"), "busy", busy_share(before, now), "burst",
		burst_frames(before, now));
	put_rate(w, "received", before, now, "counter/received", seconds);
	put_rate(w, "answered", before, now, "outcome/answered", seconds);
	put_rate(w, "handed_over", before, now, "counter/handed_over", seconds);
	json_object_set(w, "sessions", json_object_get(now, "sessions"));
	return w;
}

static void put_drops(json_t *out, const json_t *before, const json_t *now, double seconds)
{
	double sum = 0.0;
	json_t *drops = json_object();
	for (unsigned int i = 0; i < WR_OUTCOME_N; i++) {
		char path[64];
		snprintf(path, sizeof(path), "outcome/%s", wr_outcome_desc[i].name);
		double rate = grown(before, now, path) / seconds;
		if (!wr_outcome_is_drop(i) || rate <= 0.0)
			continue;
		json_object_set_new(drops, wr_outcome_desc[i].name, json_real(rate));
		sum += rate;
	}
	json_object_set_new(out, "aside",
		json_real((grown(before, now, "outcome/answered_aside") +
				  grown(before, now, "outcome/kernel_tap")) /
			  seconds));
	json_object_set_new(out, "dropped", json_real(sum));
	json_object_set_new(out, "drops", drops);
}

static void put_stages(json_t *out, const json_t *before, const json_t *now)
{
	double answers = grown(before, now, "outcome/answered") +
			 grown(before, now, "outcome/answered_error"),
	       hz = (double)number_at(now, "tsc_hz");
	json_t *stages = json_object();
	for (unsigned int i = 0; i < WR_STAGE_N; i++) {
		char path[64];
		if (i == WR_STAGE_idle)
			continue;
		snprintf(path, sizeof(path), "cycles/%s", wr_stage_desc[i].name);
		double ns = answers > 0.0 && hz > 0.0
				    ? grown(before, now, path) / hz * 1e9 / answers
				    : 0.0;
		json_object_set_new(stages, wr_stage_desc[i].name, json_real(ns));
	}
	json_object_set_new(out, "stage_ns", stages);
}

static void put_latency(json_t *out, const struct wr_hist *before, const struct wr_hist *now)
{
	struct wr_hist *h = calloc(1, sizeof(*h));
	if (!h)
		return;
	for (unsigned int i = 0; i < WR_HIST_BUCKETS; i++) {
		uint64_t was = before ? before->bucket[i] : 0;
		h->bucket[i] = now->bucket[i] >= was ? now->bucket[i] - was : now->bucket[i];
		h->count += h->bucket[i];
		if (h->bucket[i])
			h->max = i + 1 < WR_HIST_BUCKETS ? wr_hist_bucket_floor(i + 1) - 1
							 : wr_hist_bucket_floor(i);
	}
	json_object_set_new(out, "latency_us",
		json_pack("{s:I, s:f, s:f, s:f, s:f}", "count", (json_int_t)h->count, "p50",
			(double)wr_hist_quantile(h, 0.5) / 1e3, "p99",
			(double)wr_hist_quantile(h, 0.99) / 1e3, "p999",
			(double)wr_hist_quantile(h, 0.999) / 1e3, "max", (double)h->max / 1e3));
	free(h);
}

json_t *top_figures(const struct moment *before, const struct moment *now)
{
	static const struct {
		const char *name, *path;
	} rates[] = {{"received", "counter/received"}, {"answered", "outcome/answered"},
		{"errors", "outcome/answered_error"}, {"recommends", "counter/recommends"},
		{"events", "counter/events_applied"}, {"handed_over", "counter/handed_over"},
		{"deferred", "counter/deferred"}, {"cold", "counter/cold"},
		{"warm", "counter/warm"}, {"popular", "counter/popular"}};
	uint64_t uptime_ms = number_at(now->status, "uptime_ms");
	double seconds = (double)(now->at_ns - before->at_ns) / 1e9;
	bool restarted =
		before->pid != now->pid || number_at(before->status, "uptime_ms") > uptime_ms;
	const json_t *was = restarted ? NULL : before->all;
	if (restarted)
		seconds = WR_MIN(seconds, (double)uptime_ms / 1e3);
	seconds = WR_MAX(seconds, 1e-3);
	json_t *f = json_pack("{s:f, s:b, s:O?, s:I, s:I, s:I}", "seconds", seconds, "restarted",
		restarted, "state", json_object_get(now->status, "state"), "uptime_ms",
		(json_int_t)uptime_ms, "sessions", (json_int_t)number_at(now->status, "sessions"),
		"session_rows", (json_int_t)number_at(now->status, "session_rows"));
	for (unsigned int i = 0; i < WR_ARRAY_LEN(rates); i++)
		put_rate(f, rates[i].name, was, now->all, rates[i].path, seconds);
	json_object_set_new(f, "busy", json_real(busy_share(was, now->all)));
	json_object_set_new(f, "burst", json_real(burst_frames(was, now->all)));
	put_drops(f, was, now->all, seconds);
	put_latency(f, restarted ? NULL : before->server_ns, now->server_ns);
	put_stages(f, was, now->all);
	json_t *workers = json_array();
	for (size_t i = 0; i < json_array_size(now->workers); i++)
		json_array_append_new(workers,
			worker_figures(restarted ? NULL : json_array_get(before->workers, i),
				json_array_get(now->workers, i), seconds));
	json_object_set_new(f, "workers", workers);
	return f;
}
