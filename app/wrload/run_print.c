/* SPDX-License-Identifier: BSD-3-Clause */
/* A run's result in a few lines, nothing left out that went wrong. */
#include "run_print.h"

static double us(const struct wr_hist *h, double q)
{
	return (double)wr_hist_quantile(h, q) / 1000;
}

static unsigned long ul(uint64_t v)
{
	return (unsigned long)v;
}

static void print_trouble(const struct wr_load_result *r)
{
	for (unsigned int s = 0; s < WR_ARRAY_LEN(r->errors); s++)
		if (r->errors[s])
			printf("  status %s: %lu\n", wr_load_status_name(s), ul(r->errors[s]));
	for (unsigned int v = 1; v < WR_VERDICT_N; v++)
		if (r->verdicts[v])
			printf("  WRONG, %s: %lu\n", wr_verdict_name(v), ul(r->verdicts[v]));
	if (r->duplicate || r->unknown || r->after_lost || r->frames_bad || r->messages_bad)
		printf("  answered twice %lu, unknown %lu, after being lost %lu, bad frames %lu, "
		       "bad messages %lu\n",
			ul(r->duplicate), ul(r->unknown), ul(r->after_lost), ul(r->frames_bad),
			ul(r->messages_bad));
	if (r->handover_missing || r->handover_unexpected)
		printf("  handed over without the flag %lu, flagged without need %lu\n",
			ul(r->handover_missing), ul(r->handover_unexpected));
	if (r->epoch_changes || r->reconnects)
		printf("  server gone and come back %lu, new shard tables %lu\n", ul(r->reconnects),
			ul(r->epoch_changes));
	if (r->malformed_sent)
		printf("  malformed frames %lu, answered with an error %lu\n",
			ul(r->malformed_sent), ul(r->malformed_answered));
}

void print_result(const struct wr_load_result *r)
{
	const struct wr_load_watch_counts *w = &r->watch;
	bool flagged = false;

	printf("offered %lu, sent %lu, answered %lu, late %lu, lost %lu, wrong %lu", ul(r->offered),
		ul(r->sent), ul(r->answered), ul(r->late), ul(r->lost), ul(r->wrong));
	if (r->unsent)
		printf(", NEVER SENT %lu", ul(r->unsent));
	printf("\n%.0f answers/s over %.1f s\n",
		r->seconds > 0 ? (double)r->answered / r->seconds : 0, r->seconds);
	printf("latency from the intended time, us: p50 %.1f, p99 %.1f, p99.9 %.1f, max %.1f\n",
		us(&r->latency_ns, 0.5), us(&r->latency_ns, 0.99), us(&r->latency_ns, 0.999),
		(double)r->latency_ns.max / 1000);
	printf("the server's own time, us: p50 %lu, p99 %lu, max %lu\n",
		ul(wr_hist_quantile(&r->server_us, 0.5)), ul(wr_hist_quantile(&r->server_us, 0.99)),
		ul(r->server_us.max));
	for (unsigned int b = 0; b < WR_ARRAY_LEN(r->flags); b++) {
		if (!r->flags[b])
			continue;
		printf("%s %s %lu", flagged ? "," : "flags:", wr_load_flag_name(b),
			ul(r->flags[b]));
		flagged = true;
	}
	if (flagged)
		printf("\n");
	if (w->sent)
		printf("watched users: %lu lists compared (%lu cold, %lu warm, %lu handed over), "
		       "%lu different; %lu lives "
		       "finished, %lu restarted, %lu requests repeated\n",
			ul(w->lists_checked), ul(w->cold_checked), ul(w->warm_checked),
			ul(w->handed_over_checked), ul(w->lists_wrong), ul(w->users_done),
			ul(w->restarted), ul(w->retried));
	print_trouble(r);
	printf("this side: busy %.0f %%, had a CPU %.0f %% of the time", 100 * r->busy_share,
		100 * r->cpu_share);
	if (r->lag_ns.count)
		printf(", schedule lag p99 %.1f us, max %.1f us", us(&r->lag_ns, 0.99),
			(double)r->lag_ns.max / 1000);
	printf("\n");
	if (r->bottleneck[0])
		printf("*** %s ***\n", r->bottleneck);
}
