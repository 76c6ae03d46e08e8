/* SPDX-License-Identifier: BSD-3-Clause */
/* Progress of long work: a bar on a terminal, a line now and then elsewhere. */
#include "wr_base.h"

#include <unistd.h>

#define BAR_WIDTH      24
#define TTY_PERIOD_NS  200000000u
#define LINE_PERIOD_NS 10000000000u

void wr_progress_start(struct wr_progress *p, const char *what, uint64_t total)
{
	uint64_t now = wr_clock_ns();
	*p = (struct wr_progress){.what = what,
		.total = total,
		.start_ns = now,
		.shown_ns = now,
		.tty = isatty(STDERR_FILENO) != 0};
}

static void draw(struct wr_progress *p, uint64_t done, const char *note, uint64_t now)
{
	double s = (double)(now - p->start_ns) / 1e9, rate = s > 0 ? (double)done / s : 0;
	char bar[BAR_WIDTH + 1] = "", left[32] = "";
	double share = p->total ? (double)done / (double)p->total : 0;
	for (int i = 0; i < BAR_WIDTH; i++)
		bar[i] = share * BAR_WIDTH > i ? '#' : '.';
	if (p->total && rate > 0 && done < p->total)
		snprintf(left, sizeof(left), ", %.0f s left", (double)(p->total - done) / rate);
	fprintf(stderr, "%s%s ", p->tty ? "\r\033[K" : "", p->what);
	if (p->total)
		fprintf(stderr, "%s%s%s%3.0f %%  ", p->tty ? "[" : "", p->tty ? bar : "",
			p->tty ? "] " : "", share * 100);
	else
		fprintf(stderr, "%llu  ", (unsigned long long)done);
	fprintf(stderr, "%.4g/s, %.0f s%s%s%s%s", rate, s, left, note ? "  " : "", note ? note : "",
		p->tty ? "" : "\n");
	fflush(stderr);
	p->shown_ns = now;
	p->drawn = true;
}

void wr_progress_update(struct wr_progress *p, uint64_t done, const char *note)
{
	uint64_t now = wr_clock_ns();
	if (now - p->shown_ns >= (p->tty ? TTY_PERIOD_NS : LINE_PERIOD_NS))
		draw(p, done, note, now);
}

void wr_progress_end(struct wr_progress *p, uint64_t done, const char *note)
{
	draw(p, done, note, wr_clock_ns());
	if (p->tty)
		fprintf(stderr, "\n");
}
