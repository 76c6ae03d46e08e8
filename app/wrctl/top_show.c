/* SPDX-License-Identifier: BSD-3-Clause */
/* wrctl top on a terminal of any size, and as lines. */
#include "top.h"

#include <stdarg.h>
#include <string.h>

static double real_at(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

/* 1234567.8 as "1.23 M", five figures at most. */
static const char *short_number(double v, char out[16])
{
	static const struct {
		double from;
		const char *unit;
	} units[] = {{1e9, " G"}, {1e6, " M"}, {1e4, " k"}};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(units); i++)
		if (v >= units[i].from) {
			double scaled = v / (i == 2 ? 1e3 : units[i].from);
			snprintf(out, 16, "%.*f%s",
				scaled < 10    ? 2
				: scaled < 100 ? 1
					       : 0,
				scaled, units[i].unit);
			return out;
		}
	snprintf(out, 16, "%.*f", v < 10.0 && v > 0.0 ? 1 : 0, v);
	return out;
}

/* ---- a screen ---- */
struct screen {
	unsigned int rows, columns, used;
};

/* One line, cut at the screen's width (characters, not bytes) and left out below its end. */
static void put_line(struct screen *s, const char *fmt, ...) WR_PRINTF(2, 3);
static void put_line(struct screen *s, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (s->used >= s->rows)
		return;
	unsigned int width = 0;
	size_t n = 0;
	for (; line[n]; n++) {
		bool starts = ((unsigned char)line[n] & 0xc0) != 0x80;
		if (starts && width++ >= s->columns)
			break;
	}
	/* To the end of the line: what stood there before goes. */
	printf("%s%.*s\033[K", s->used ? "\n" : "", (int)n, line);
	s->used++;
}

static void put_head(struct screen *s, const char *name, const json_t *f, bool paused)
{
	const char *state = json_string_value(json_object_get(f, "state"));
	put_line(s, "wirerank %s   %s, up %.0f s   every %.1f s%s%s   [q] quit [p] pause", name,
		state ? state : "?", real_at(f, "uptime_ms") / 1e3, real_at(f, "seconds"),
		json_is_true(json_object_get(f, "restarted")) ? "   RESTARTED" : "",
		paused ? "   PAUSED" : "");
}

static void put_rates(struct screen *s, const json_t *f)
{
	static const struct {
		const char *title, *key;
	} figures[] = {{"received/s", "received"}, {"answered/s", "answered"},
		{"errors/s", "errors"}, {"aside/s", "aside"}, {"dropped/s", "dropped"},
		{"recommends/s", "recommends"}, {"events/s", "events"}, {"warm/s", "warm"},
		{"cold/s", "cold"}, {"handed over/s", "handed_over"}, {"deferred/s", "deferred"}};
	char line[512], number[16];
	for (unsigned int i = 0; i < WR_ARRAY_LEN(figures);) {
		size_t n = 0;
		for (unsigned int end = WR_MIN(i + 5, (unsigned int)WR_ARRAY_LEN(figures)); i < end;
			i++)
			n += (size_t)snprintf(line + n, sizeof(line) - n, "%13s %-8s",
				figures[i].title, short_number(real_at(f, figures[i].key), number));
		put_line(s, "%s", line);
	}
	const json_t *l = json_object_get(f, "latency_us");
	put_line(s, "%13s p50 %.1f   p99 %.1f   p99.9 %.1f   max %.1f µs in the daemon", "latency",
		real_at(l, "p50"), real_at(l, "p99"), real_at(l, "p999"), real_at(l, "max"));
	char used[16], rows[16];
	put_line(s, "%13s %s of %s rows   %.1f frames a burst", "sessions",
		short_number(real_at(f, "sessions"), used),
		short_number(real_at(f, "session_rows"), rows), real_at(f, "burst"));
}

static void put_drops(struct screen *s, const json_t *f)
{
	const char *reason;
	json_t *rate;
	char line[1024] = "", number[16];
	size_t n = 0;
	json_object_foreach(json_object_get(f, "drops"), reason, rate)
	{
		if (n < sizeof(line))
			n += (size_t)snprintf(line + n, sizeof(line) - n, "   %s %s", reason,
				short_number(json_number_value(rate), number));
	}
	put_line(s, "%13s%s", "drops/s", n ? line : "   none");
}

static void put_workers(struct screen *s, const json_t *f, unsigned int keep)
{
	size_t i;
	json_t *w;
	const json_t *workers = json_object_get(f, "workers");
	put_line(s, "%s", "");
	put_line(s, "%8s %5s %7s %12s %12s %8s %10s %10s", "worker", "CPU", "busy", "received/s",
		"answered/s", "burst", "handed/s", "sessions");
	json_array_foreach(workers, i, w)
	{
		char received[16], answered[16], handed[16], sessions[16];
		if (s->used + keep >= s->rows && i + 1 < json_array_size(workers)) {
			put_line(s, "%8s %zu more", "…", json_array_size(workers) - i);
			break;
		}
		const char *worker = json_string_value(json_object_get(w, "worker"));
		put_line(s, "%8s %5.0f %5.1f %% %12s %12s %8.1f %10s %10s", worker ? worker : "?",
			real_at(w, "cpu"), 100.0 * real_at(w, "busy"),
			short_number(real_at(w, "received"), received),
			short_number(real_at(w, "answered"), answered), real_at(w, "burst"),
			short_number(real_at(w, "handed_over"), handed),
			short_number(real_at(w, "sessions"), sessions));
	}
}

static void put_stages(struct screen *s, const json_t *f)
{
	enum { BAR = 40 };
	const char *stage;
	json_t *ns;
	double sum = 0.0;
	const json_t *stages = json_object_get(f, "stage_ns");
	json_object_foreach((json_t *)(uintptr_t)stages, stage, ns) sum += json_number_value(ns);
	put_line(s, "%s", "");
	put_line(s, "%13s %8s   %.0f ns of a worker an answer", "stage", "ns", sum);
	json_object_foreach((json_t *)(uintptr_t)stages, stage, ns)
	{
		char bar[BAR + 1];
		double v = json_number_value(ns);
		unsigned int n = sum > 0.0 ? (unsigned int)(v / sum * BAR + 0.5) : 0;
		memset(bar, '#', sizeof(bar));
		bar[WR_MIN(n, (unsigned int)BAR)] = '\0';
		put_line(s, "%13s %8.0f   %s", stage, v, bar);
	}
}

void top_draw(
	const char *name, const json_t *f, unsigned int rows, unsigned int columns, bool paused)
{
	struct screen s = {rows, columns, 0};
	unsigned int stages = 2 + (unsigned int)json_object_size(json_object_get(f, "stage_ns"));
	printf("\033[H");
	put_head(&s, name ? name : "", f, paused);
	put_rates(&s, f);
	put_drops(&s, f);
	put_workers(&s, f, rows > 24 ? stages : 0);
	put_stages(&s, f);
	printf("\033[J");
	fflush(stdout);
}

void top_line(const json_t *f, unsigned int line)
{
	const json_t *l = json_object_get(f, "latency_us");
	if (line % 20 == 0)
		printf("%12s %12s %10s %10s %7s %7s %9s %9s %9s %10s %10s %10s\n", "received/s",
			"answered/s", "errors/s", "dropped/s", "busy", "burst", "p50 µs", "p99 µs",
			"p99.9 µs", "handed/s", "deferred/s", "sessions");
	printf("%12.0f %12.0f %10.0f %10.0f %5.1f %% %7.1f %8.1f %8.1f %8.1f %10.0f %10.0f "
	       "%10.0f%s\n",
		real_at(f, "received"), real_at(f, "answered"), real_at(f, "errors"),
		real_at(f, "dropped"), 100.0 * real_at(f, "busy"), real_at(f, "burst"),
		real_at(l, "p50"), real_at(l, "p99"), real_at(l, "p999"), real_at(f, "handed_over"),
		real_at(f, "deferred"), real_at(f, "sessions"),
		json_is_true(json_object_get(f, "restarted")) ? "  restarted" : "");
	fflush(stdout);
}
