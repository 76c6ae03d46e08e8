/* SPDX-License-Identifier: BSD-3-Clause */
/* Results as JSON objects, every counter under its name; only what happened is listed by kind. */
#include "load_report.h"

const char *wr_load_status_name(unsigned int status)
{
	return status <= WR_STATUS_INTERNAL ? wr_wire_status_name(status) : "other";
}

const char *wr_load_flag_name(unsigned int bit)
{
	return bit < WR_ANS_FLAGS ? wr_wire_flag_name(bit) : "other";
}

static void put(json_t *o, const char *name, uint64_t v)
{
	json_object_set_new(o, name, json_integer((json_int_t)v));
}

static void put_real(json_t *o, const char *name, double v)
{
	json_object_set_new(o, name, json_real(v));
}

/* Quantiles in microseconds of a histogram in units of 1/per_us of them. */
static void put_quantiles(json_t *o, const char *prefix, const struct wr_hist *h, double per_us)
{
	static const struct {
		const char *name;
		double q;
	} quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
	char name[64];

	for (unsigned int i = 0; i < WR_ARRAY_LEN(quantiles); i++) {
		snprintf(name, sizeof(name), "%s%s_us", prefix, quantiles[i].name);
		put_real(o, name, (double)wr_hist_quantile(h, quantiles[i].q) / per_us);
	}
	snprintf(name, sizeof(name), "%smax_us", prefix);
	put_real(o, name, (double)h->max / per_us);
}

/* Quantiles of all requests, a lost one having taken longer than any other; null where the quantile
 * is a lost one. */
static void put_whole(json_t *o, const struct wr_hist *h, uint64_t lost)
{
	static const struct {
		const char *name;
		double q;
	} quantiles[] = {{"whole_p50_us", 0.5}, {"whole_p99_us", 0.99}, {"whole_p999_us", 0.999}};

	for (unsigned int i = 0; i < WR_ARRAY_LEN(quantiles); i++) {
		double q = h->count ? quantiles[i].q * (double)(h->count + lost) / (double)h->count
				    : 2;
		if (q <= 1)
			put_real(o, quantiles[i].name, (double)wr_hist_quantile(h, q) / 1000);
		else
			json_object_set_new(o, quantiles[i].name, json_null());
	}
}

static json_t *watch_json(const struct wr_load_watch_counts *w)
{
	json_t *o = json_object();

	put(o, "sent", w->sent);
	put(o, "answers", w->answers);
	put(o, "lists_checked", w->lists_checked);
	put(o, "lists_wrong", w->lists_wrong);
	put(o, "cold_checked", w->cold_checked);
	put(o, "warm_checked", w->warm_checked);
	put(o, "handed_over_checked", w->handed_over_checked);
	put(o, "users_done", w->users_done);
	put(o, "restarted", w->restarted);
	put(o, "retried", w->retried);
	put(o, "failed", w->failed);
	return o;
}

static void put_kinds(json_t *o, const struct wr_load_result *r)
{
	json_t *kinds = json_object(), *errors = json_object(), *flags = json_object(),
	       *wrong = json_object();

	for (unsigned int k = 0; k < WR_LOAD_KIND_N; k++)
		if (r->sent_kind[k])
			put(kinds, wr_load_kind_name(k), r->sent_kind[k]);
	for (unsigned int s = 0; s < WR_ARRAY_LEN(r->errors); s++)
		if (r->errors[s])
			put(errors, wr_load_status_name(s), r->errors[s]);
	for (unsigned int b = 0; b < WR_ANS_FLAGS; b++)
		put(flags, wr_wire_flag_name(b), r->flags[b]);
	for (unsigned int v = 1; v < WR_VERDICT_N; v++)
		put(wrong, wr_verdict_name(v), r->verdicts[v]);
	json_object_set_new(o, "sent_by_kind", kinds);
	json_object_set_new(o, "errors", errors);
	json_object_set_new(o, "flags", flags);
	json_object_set_new(o, "wrong_by_reason", wrong);
}

json_t *wr_load_result_json(const struct wr_load_result *r)
{
	json_t *o = json_object();

	if (!o)
		return NULL;
	put_real(o, "seconds", r->seconds);
	put_real(o, "rate", r->rate);
	put_real(o, "qps", r->seconds > 0 ? (double)r->answered / r->seconds : 0);
	put_quantiles(o, "", &r->latency_ns, 1000);
	put_quantiles(o, "ask_", &r->ask_ns, 1000);
	put_whole(o, &r->latency_ns, r->lost + r->unsent);
	put(o, "offered", r->offered);
	put(o, "sent", r->sent);
	put(o, "unsent", r->unsent);
	put(o, "answered", r->answered);
	put(o, "late", r->late);
	put(o, "lost", r->lost);
	put(o, "wrong", r->wrong);
	put(o, "duplicate", r->duplicate);
	put(o, "after_lost", r->after_lost);
	put(o, "unknown", r->unknown);
	put_kinds(o, r);
	put(o, "wrong_queue_sent", r->wrong_queue_sent);
	put(o, "handover_missing", r->handover_missing);
	put(o, "handover_unexpected", r->handover_unexpected);
	put(o, "epoch_changes", r->epoch_changes);
	put(o, "reconnects", r->reconnects);
	put(o, "malformed_sent", r->malformed_sent);
	put(o, "malformed_answered", r->malformed_answered);
	put(o, "frames_other", r->frames_other);
	put(o, "frames_bad", r->frames_bad);
	put(o, "messages_bad", r->messages_bad);
	json_object_set_new(o, "watched", watch_json(&r->watch));
	put_quantiles(o, "server_", &r->server_us, 1);
	put_quantiles(o, "lag_", &r->lag_ns, 1000);
	put(o, "tx_full", r->tx_full);
	put_real(o, "generator_busy", r->busy_share);
	put_real(o, "generator_cpu", r->cpu_share);
	json_object_set_new(o, "generator_bound", json_boolean(r->generator_bound));
	json_object_set_new(o, "bottleneck", json_string(r->bottleneck));
	return o;
}

json_t *wr_load_eval_json(const struct wr_load_eval_result *r, unsigned int k)
{
	json_t *o = json_object();

	if (!o)
		return NULL;
	put(o, "k", k);
	put(o, "users", r->users);
	put_real(o, "hr", r->hr);
	put_real(o, "ndcg", r->ndcg);
	put_real(o, "hr_unfiltered", r->hr_unfiltered);
	put_real(o, "ndcg_unfiltered", r->ndcg_unfiltered);
	put(o, "compared", r->compared);
	put(o, "different", r->different);
	put(o, "compared_unfiltered", r->compared_unfiltered);
	put(o, "different_unfiltered", r->different_unfiltered);
	put(o, "wrong", r->wrong);
	put(o, "requests", r->requests);
	put(o, "events", r->events);
	put(o, "retried", r->retried);
	put(o, "failed", r->failed);
	put(o, "errors", r->errors);
	put_real(o, "seconds", r->seconds);
	return o;
}

json_t *wr_load_malform_json(const struct wr_load_malform_result *r)
{
	json_t *o = json_object(), *kinds = json_object(), *answers = json_object();

	if (!o)
		return NULL;
	put(o, "malformed", r->total);
	for (unsigned int k = 0; k < WR_MALFORM_KIND_N; k++)
		put(kinds, wr_malform_name(k), r->sent[k]);
	json_object_set_new(o, "kinds", kinds);
	for (unsigned int s = 0; s < WR_ARRAY_LEN(r->answered_status); s++)
		if (r->answered_status[s])
			put(answers, wr_load_status_name(s), r->answered_status[s]);
	json_object_set_new(o, "answers_to_malformed", answers);
	put(o, "valid_sent", r->valid_sent);
	put(o, "valid_answered", r->valid_answered);
	put(o, "valid_wrong", r->valid_wrong);
	put(o, "valid_retried", r->valid_retried);
	put(o, "frames_sent", r->frames_sent);
	put(o, "unknown", r->unknown);
	put(o, "frames_bad", r->frames_bad);
	put(o, "messages_bad", r->messages_bad);
	put_real(o, "seconds", r->seconds);
	return o;
}

json_t *wr_load_blast_json(const struct wr_load_blast_result *r)
{
	json_t *o = json_object();

	if (!o)
		return NULL;
	put_real(o, "mpps", r->mpps);
	put(o, "frame_bytes", r->frame_bytes);
	put(o, "sent", r->sent);
	put(o, "echoed", r->echoed);
	put(o, "lost", r->lost);
	put_real(o, "seconds", r->seconds);
	put_real(o, "generator_busy", r->busy_share);
	put_real(o, "generator_cpu", r->cpu_share);
	put_real(o, "generator_cycles_per_frame", r->cycles_per_frame);
	json_object_set_new(o, "generator_bound", json_boolean(r->generator_bound));
	return o;
}
