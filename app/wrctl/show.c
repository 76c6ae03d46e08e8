/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables for people. Meanings of counters come from lib/metrics, so that help and code cannot part.
 */
#include "wrctl.h"
#include "wr_metrics.h"

#include <inttypes.h>
#include <string.h>

#define MAX_COLUMNS \
	8 /* workers beside each other; more are shown as their sum (--worker=N shows one) */

/* 1234567 as 1,234,567. */
static const char *grouped(uint64_t v, char out[32])
{
	char digits[32];
	int n = snprintf(digits, sizeof(digits), "%" PRIu64, v), at = 0;
	for (int i = 0; i < n; i++) {
		if (i && (n - i) % 3 == 0)
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = '\0';
	return out;
}

static const char *text_at(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));
	return s ? s : "-";
}

static void line_text(const char *label, const char *value)
{
	printf("%-18s %s\n", label, value);
}

static void line_number(const char *label, uint64_t value, const char *unit)
{
	char text[32];
	printf("%-18s %s%s%s\n", label, grouped(value, text), unit[0] ? " " : "", unit);
}

/* ---- status ---- */
static void line_uptime(uint64_t ms)
{
	uint64_t s = ms / 1000;
	printf("%-18s ", "uptime");
	if (s >= 86400)
		printf("%" PRIu64 " d ", s / 86400);
	if (s >= 3600)
		printf("%" PRIu64 " h ", s / 3600 % 24);
	if (s >= 60)
		printf("%" PRIu64 " min ", s / 60 % 60);
	printf("%" PRIu64 ".%" PRIu64 " s\n", s % 60, ms % 1000 / 100);
}

void show_status(json_t *st, bool zeros)
{
	char a[32], b[32];
	line_text("state", text_at(st, "state"));
	line_text("version", text_at(st, "version"));
	line_uptime(number_at(st, "uptime_ms"));
	line_number("workers", number_at(st, "workers"), "");
	printf("%-18s %s, matrix products by %s\n", "isa", text_at(st, "isa"), text_at(st, "gemm"));
	uint64_t onednn = number_at(st, "macs_onednn"), own = number_at(st, "macs_own");
	if (onednn + own)
		printf("%-18s %.1f %% of %.3g multiply-adds\n", "oneDNN's share",
			100.0 * (double)onednn / (double)(onednn + own), (double)(onednn + own));
	line_text("bundle", text_at(st, "bundle"));
	printf("%-18s version %" PRIu64 ", generation %" PRIu64 "\n", "",
		number_at(st, "bundle_version"), number_at(st, "generation"));
	line_number("shard epoch", number_at(st, "shard_epoch"), "");
	printf("%-18s %s; peers: %" PRIu64 " connected, %" PRIu64 " left, %" PRIu64 " refused\n",
		"link", text_at(st, "link"), number_at(st, "peers_connected"),
		number_at(st, "peers_left"), number_at(st, "peers_refused"));
	printf("%-18s %s of %s rows\n", "sessions", grouped(number_at(st, "sessions"), a),
		grouped(number_at(st, "session_rows"), b));
	printf("%-18s %.1f MB planned\n", "memory", (double)number_at(st, "memory_bytes") / 1e6);
	line_number("received", number_at(st, "received"), "frames");
	line_number("answered", number_at(st, "answered"), "");
	line_number("answered, error", number_at(st, "answered_error"), "");
	line_number("dropped", number_at(st, "dropped"), "");
}

/* ---- stats: {"all": {…}, "workers": [{…}, …]} ---- */
struct columns {
	json_t *column[MAX_COLUMNS + 1];
	unsigned int n;
};

static struct columns columns_of(json_t *stats)
{
	struct columns c = {.n = 0};
	json_t *workers = json_object_get(stats, "workers"), *all = json_object_get(stats, "all");
	size_t n = json_array_size(workers);
	if (all)
		c.column[c.n++] = all;
	/* One worker alone is the sum already. */
	for (size_t i = 0; i < n && n <= MAX_COLUMNS && (n > 1 || !all); i++)
		c.column[c.n++] = json_array_get(workers, i);
	return c;
}

static void heading(const struct columns *c)
{
	printf("%-26s", "");
	for (unsigned int i = 0; i < c->n; i++) {
		const char *worker = text_at(c->column[i], "worker");
		char label[32] = "total";
		if (strcmp(worker, "all"))
			snprintf(label, sizeof(label), "%s (CPU %" PRIu64 ")", worker,
				number_at(c->column[i], "cpu"));
		printf(" %16s", label);
	}
	printf("\n");
}

static const char *help_of(const char *group, const char *name)
{
	const struct {
		const char *group;
		const struct wr_metric_desc *desc;
		unsigned int n;
	} tables[] = {{"outcome", wr_outcome_desc, WR_OUTCOME_N},
		{"counter", wr_counter_desc, WR_COUNTER_N}};
	for (unsigned int t = 0; t < WR_ARRAY_LEN(tables); t++)
		for (unsigned int i = 0; !strcmp(tables[t].group, group) && i < tables[t].n; i++)
			if (!strcmp(tables[t].desc[i].name, name))
				return tables[t].desc[i].help;
	return "";
}

static void show_group(const struct columns *c, const char *group, const char *title, bool zeros)
{
	const char *name;
	json_t *value;
	bool titled = false;
	json_object_foreach(json_object_get(c->column[0], group), name, value)
	{
		uint64_t v[MAX_COLUMNS + 1], any = 0;
		for (unsigned int i = 0; i < c->n; i++) {
			json_t *in = json_object_get(json_object_get(c->column[i], group), name);
			v[i] = (uint64_t)json_integer_value(in);
			any |= v[i];
		}
		if (!any && !zeros)
			continue;
		if (!titled)
			printf("%s\n", title);
		titled = true;
		printf("  %-24s", name);
		char text[32];
		for (unsigned int i = 0; i < c->n; i++)
			printf(" %16s", grouped(v[i], text));
		const char *help = help_of(group, name);
		printf("%s%s\n", help[0] ? "  " : "", help);
	}
}

/* Where the workers' time went: shares of all cycles and of those that were not idle, and what a
 * received frame cost. */
static void show_stages(json_t *all, bool zeros)
{
	const char *name;
	json_t *value;
	json_t *cycles = json_object_get(all, "cycles");
	uint64_t total = 0, idle = number_at(cycles, "idle");
	uint64_t frames = number_at(all, "counter/received") + number_at(all, "counter/taken_over");
	json_object_foreach(cycles, name, value) total += (uint64_t)json_integer_value(value);
	if (!total)
		return;
	printf("%-26s %16s %16s %16s\n", "stages", "of all cycles", "of busy cycles",
		"cycles a frame");
	json_object_foreach(cycles, name, value)
	{
		double n = (double)json_integer_value(value), busy = (double)(total - idle);
		if (n <= 0.0 && !zeros)
			continue;
		printf("  %-24s %14.2f %%", name, 100.0 * n / (double)total);
		if (!strcmp(name, wr_stage_desc[WR_STAGE_idle].name) || busy <= 0.0 || !frames)
			printf("\n");
		else
			printf(" %14.2f %% %16.1f\n", 100.0 * n / busy, n / (double)frames);
	}
}

void show_stats(json_t *stats, bool zeros)
{
	struct columns c = columns_of(stats);
	if (!c.n)
		return;
	heading(&c);
	char text[32];
	printf("%-26s", "sessions");
	for (unsigned int i = 0; i < c.n; i++)
		printf(" %16s", grouped(number_at(c.column[i], "sessions"), text));
	printf("\n");
	show_group(&c, "outcome", "frames ended as", zeros);
	show_group(&c, "counter", "counters", zeros);
	show_group(&c, "decode", "messages decoded as", zeros);
	show_stages(c.column[0], zeros);
}

/* ---- latency ---- */
static void latency_row(const char *name, const json_t *h, double unit)
{
	static const char *const quantiles[] = {"p50", "p90", "p99", "p999", "max"};
	char text[32];
	printf("  %-24s %14s", name, grouped(number_at(h, "count"), text));
	for (unsigned int i = 0; i < WR_ARRAY_LEN(quantiles); i++)
		printf(" %10.*f", unit > 1.0 ? 2 : 0, (double)number_at(h, quantiles[i]) / unit);
	printf("\n");
}

static void latency_heading(const char *what)
{
	static const char *const titles[] = {"p50", "p90", "p99", "p99.9", "max"};
	printf("%-26s %14s", what, "count");
	for (unsigned int i = 0; i < WR_ARRAY_LEN(titles); i++)
		printf(" %10s", titles[i]);
	printf("\n");
}

void show_latency(json_t *latency, bool zeros)
{
	const char *name;
	json_t *h;
	latency_heading("one answer, µs");
	latency_row("receive to transmit", json_object_get(latency, "server_ns"), 1000.0);
	latency_heading("one burst, µs");
	json_object_foreach(json_object_get(latency, "stage_ns"), name,
		h) if (zeros || number_at(h, "count")) latency_row(name, h, 1000.0);
	latency_heading("one burst, frames");
	latency_row("received", json_object_get(latency, "burst_frames"), 1.0);
}

/* ---- bundle, config ---- */
void show_bundle(json_t *bundle, bool zeros)
{
	const char *name;
	json_t *value;
	json_object_foreach(bundle, name, value)
	{
		if (json_is_string(value))
			line_text(name, json_string_value(value));
		else
			line_number(name, number_at(bundle, name), "");
	}
}

void show_shards(json_t *st, bool zeros)
{
	json_t *which = json_object_get(st, "shards");
	printf("epoch %" PRIu64 ", %" PRIu64 " worker(s), %" PRIu64
	       " queue(s); frames come to them by: %s\n\n%6s %5s %9s %7s   %s\n",
		number_at(st, "epoch"), number_at(st, "workers"), number_at(st, "queues"),
		text_at(st, "spread"), "worker", "CPU", "UDP port", "shards", "which");
	for (uint64_t i = 0; i < number_at(st, "workers"); i++) {
		static const char *const columns[] = {"cpu", "udp_port", "count"};
		uint64_t figure[WR_ARRAY_LEN(columns)];
		char key[32];
		for (unsigned int c = 0; c < WR_ARRAY_LEN(columns); c++) {
			snprintf(key, sizeof(key), "%s/%" PRIu64, columns[c], i);
			figure[c] = number_at(st, key);
		}
		snprintf(key, sizeof(key), "%" PRIu64, i);
		printf("%6" PRIu64 " %5" PRIu64 " %9" PRIu64 " %7" PRIu64 "   %s\n", i, figure[0],
			figure[1], figure[2], text_at(which, key));
	}
}

void show_config(json_t *config)
{
	const char *section, *key;
	json_t *keys, *entry;
	bool first = true;
	json_object_foreach(config, section, keys)
	{
		printf("%s[%s]\n", first ? "" : "\n", section);
		first = false;
		json_object_foreach(keys, key, entry)
		{
			const char *text = text_at(entry, "value");
			/* an unset key reads back as unset */
			printf("%s%s = %-*s ; %s\n", text[0] ? "" : "# ", key,
				32 - (int)strlen(key), text, text_at(entry, "from"));
		}
	}
}

/* ---- rates ---- */
void show_rates(const json_t *before, const json_t *now, double seconds, unsigned int line)
{
	static const struct {
		const char *title, *path;
	} rates[] = {{"received/s", "counter/received"}, {"answered/s", "outcome/answered"},
		{"errors/s", "outcome/answered_error"}, {"recommends/s", "counter/recommends"},
		{"events/s", "counter/events_applied"}, {"handed over/s", "counter/handed_over"}};
	for (unsigned int i = 0; line % 20 == 0 && i < WR_ARRAY_LEN(rates); i++)
		printf("%14s", rates[i].title);
	if (line % 20 == 0)
		printf("%14s\n", "sessions");
	char text[32];
	for (unsigned int i = 0; i < WR_ARRAY_LEN(rates); i++) {
		uint64_t delta = number_at(now, rates[i].path) - number_at(before, rates[i].path);
		printf("%14s", grouped((uint64_t)((double)delta / seconds + 0.5), text));
	}
	printf("%14s\n", grouped(number_at(now, "sessions"), text));
	fflush(stdout);
}
