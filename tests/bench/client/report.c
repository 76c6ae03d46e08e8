/* SPDX-License-Identifier: BSD-3-Clause */
/* Results as JSON and as a few lines for people. */
#include "bench.h"
#include "load_verify.h"

#include <unistd.h>

double report_steal_s(void)
{
	long long steal;
	FILE *f = fopen("/proc/stat", "r");
	if (!f)
		return 0;
	if (fscanf(f, "cpu %*d %*d %*d %*d %*d %*d %*d %lld", &steal) != 1)
		steal = 0;
	fclose(f);
	return (double)steal / (double)sysconf(_SC_CLK_TCK);
}

static double us(const struct bench_result *r, double q)
{
	return (double)wr_hist_quantile(&r->latency_ns, q) / 1e3;
}

static void set_n(json_t *j, const char *key, uint64_t n)
{
	json_object_set_new(j, key, json_integer((json_int_t)n));
}

static json_t *library_json(const struct bench_result *r)
{
	const struct wr_client_stats *s = &r->stats;
	json_t *j = json_object(), *f = json_object(), *v = json_object(), *st = json_object();
	for (unsigned int i = 0; i < WR_ANS_FLAGS; i++)
		set_n(f, wr_wire_flag_name(i), r->flag[i]);
	for (unsigned int i = 1; i < WR_VERDICT_N; i++)
		set_n(v, wr_verdict_name(i), r->verdict[i]);
	for (unsigned int i = 1; i <= WR_STATUS_INTERNAL; i++)
		set_n(st, wr_wire_status_name(i), r->refused_status[i]);
	set_n(j, "refused", s->n_refused);
	set_n(j, "gave_up", s->n_gave_up);
	set_n(j, "timeouts", s->n_timeouts);
	set_n(j, "resent", s->n_resent);
	set_n(j, "failovers", s->n_failovers);
	set_n(j, "epoch_changes", s->n_epoch_changes);
	set_n(j, "hellos", s->n_hellos);
	set_n(j, "downs", s->n_downs);
	set_n(j, "histories", s->n_histories);
	set_n(j, "again", s->n_again);
	set_n(j, "ignored", s->n_bad + s->n_unknown + s->n_wrong_source + s->n_mismatch);
	set_n(j, "segmented", s->n_segmented);
	set_n(j, "coalesced", s->n_coalesced);
	set_n(j, "wrong", r->wrong);
	json_object_set_new(j, "verdicts", v);
	json_object_set_new(j, "flags", f);
	json_object_set_new(j, "refusals", st);
	return j;
}

static json_t *servers_json(const struct bench_options *o, const struct bench_result *r)
{
	json_t *list = json_array();
	for (unsigned int i = 0; i < r->n_servers; i++) {
		const struct wr_client_server *v = &r->server[i];
		json_array_append_new(
			list, json_pack("{s:s, s:i, s:b, s:b, s:b, s:I, s:i, s:I}", "host",
				      o->server[i].host, "port", (int)o->server[i].port, "up",
				      v->up, "greeted", v->greeted, "proven", v->proven, "epoch",
				      (json_int_t)v->epoch, "ports", (int)v->n_ports, "items",
				      (json_int_t)v->n_items));
	}
	return list;
}

static json_t *lists_json(const struct bench_result *r)
{
	json_t *j = json_object();
	set_n(j, "checked", r->lists_checked);
	set_n(j, "wrong", r->lists_wrong);
	set_n(j, "users_done", r->users_done);
	set_n(j, "told_again", r->retold);
	set_n(j, "asked_again", r->steps_again);
	set_n(j, "unanswered", r->unanswered);
	return j;
}

json_t *report_result(const struct bench_options *o, const struct bench_result *r, bool raw)
{
	static const char *const workloads[] = {"echo", "warm", "event", "lists"};
	json_t *j = json_pack("{s:s, s:o, s:i, s:f, s:i}", "what",
		raw ? "raw" : workloads[o->workload], "machine", wr_report_machine(""), "bytes",
		(int)o->bytes, "rate", o->rate, "window", (int)o->window);
	set_n(j, "submitted", r->sent);
	set_n(j, "ok", r->answered);
	set_n(j, "lost", r->lost);
	set_n(j, "unsent", r->unsent);
	json_object_set_new(j, "seconds", json_real(r->wall_s));
	json_object_set_new(j, "qps", json_real((double)r->answered / r->wall_s));
	json_object_set_new(j, "per_cpu_s", json_real((double)r->answered / r->cpu_s));
	json_object_set_new(j, "cpu_s", json_real(r->cpu_s));
	json_object_set_new(j, "steal_s", json_real(r->steal_s));
	json_object_set_new(j, "worst_debt_ms", json_real(r->worst_debt_ms));
	json_object_set_new(j, "p50_us", json_real(us(r, 0.5)));
	json_object_set_new(j, "p99_us", json_real(us(r, 0.99)));
	json_object_set_new(j, "p999_us", json_real(us(r, 0.999)));
	json_object_set_new(j, "max_us", json_real((double)r->latency_ns.max / 1e3));
	json_object_set_new(j, "offload", json_boolean(r->offload));
	set_n(j, "send_calls", r->n_send_calls);
	set_n(j, "receive_calls", r->n_receive_calls);
	set_n(j, "send_errors", r->n_send_errors);
	if (raw)
		return j;
	json_t *library = library_json(r);
	json_object_update(j, library);
	json_decref(library);
	json_object_set_new(j, "servers", servers_json(o, r));
	if (o->workload == WORKLOAD_LISTS)
		json_object_set_new(j, "lists", lists_json(r));
	return j;
}

void report_print(const struct bench_result *r, bool raw)
{
	const struct wr_client_stats *s = &r->stats;
	printf("%lu sent, %lu answered, %lu lost, %lu unsent in %.1f s: %.0f/s, %.0f a CPU "
	       "second\n",
		(unsigned long)r->sent, (unsigned long)r->answered, (unsigned long)r->lost,
		(unsigned long)r->unsent, r->wall_s, (double)r->answered / r->wall_s,
		(double)r->answered / r->cpu_s);
	printf("latency p50 %.1f us, p99 %.1f us, p99.9 %.1f us, max %.1f us; worst debt %.1f ms\n",
		us(r, 0.5), us(r, 0.99), us(r, 0.999), (double)r->latency_ns.max / 1e3,
		r->worst_debt_ms);
	if (raw)
		return;
	printf("%lu refused, %lu gave up, %lu wrong, %lu time-outs, %lu failovers, %lu epoch "
	       "changes, "
	       "%lu histories\n",
		(unsigned long)s->n_refused, (unsigned long)s->n_gave_up, (unsigned long)r->wrong,
		(unsigned long)s->n_timeouts, (unsigned long)s->n_failovers,
		(unsigned long)s->n_epoch_changes, (unsigned long)s->n_histories);
	if (r->lists_checked)
		printf("%lu lists checked, %lu wrong, %lu users done, %lu told again, %lu asked "
		       "again, "
		       "%lu unanswered\n",
			(unsigned long)r->lists_checked, (unsigned long)r->lists_wrong,
			(unsigned long)r->users_done, (unsigned long)r->retold,
			(unsigned long)r->steps_again, (unsigned long)r->unanswered);
}
