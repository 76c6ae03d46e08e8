/* SPDX-License-Identifier: BSD-3-Clause */
/* Line charts as plain SVG: a few series of up to some thousand points. Pixels are computed here,
 * nothing is scripted. */
#include "wr_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 800, HEIGHT = 480, LEFT = 76, RIGHT = 664, TOP = 76, BOTTOM = 396 };
enum { MAX_SERIES = 8, MAX_TICKS = 64, LABEL_GAP = 14, FEW_POINTS = 60 };

/* Okabe and Ito's palette (tell-apart for most kinds of colour blindness), less the yellow, darker
 * greys. */
static const char *const colours[MAX_SERIES] = {
	"#0072b2", "#d55e00", "#009e73", "#b8478f", "#3a9ad9", "#c98a00", "#6a3d9a", "#555555"};

struct axis {
	double from, to; /* in the axis's own scale: log10 where log is set */
	bool log;
	double tick[MAX_TICKS]; /* values, not logarithms */
	unsigned int n_ticks;
	int pixel_from, pixel_to;
};

static bool drawable(const struct axis *a, double v)
{
	return isfinite(v) && (!a->log || v > 0.0);
}

static double pixel(const struct axis *a, double v)
{
	double at = ((a->log ? log10(v) : v) - a->from) / (a->to - a->from);
	return a->pixel_from + at * (a->pixel_to - a->pixel_from);
}

/* ---- ticks ---- */
static void linear_ticks(struct axis *a)
{
	double rough = (a->to - a->from) / 6.0, power = pow(10.0, floor(log10(rough)));
	double step = rough <= power       ? power
		      : rough <= 2 * power ? 2 * power
		      : rough <= 5 * power ? 5 * power
					   : 10 * power;
	double first = floor(a->from / step + 1e-9), last = ceil(a->to / step - 1e-9);
	a->from = first * step;
	a->to = last * step;
	for (double i = first; i <= last && a->n_ticks < MAX_TICKS; i++)
		a->tick[a->n_ticks++] = i * step;
}

/* 1, 2, 5 times powers of ten while the axis is short, then powers only, then every second, third …
 * power. */
static void log_ticks(struct axis *a)
{
	static const double short_steps[] = {1.0, 2.0, 5.0};
	double decades = a->to - a->from;
	unsigned int n_steps = decades <= 3.0 ? 3 : 1;
	double stride = ceil(decades / 10.0);
	stride = stride < 1.0 ? 1.0 : stride;
	double lowest = floor(a->from + 1e-9), low = a->from, high = a->to;
	for (unsigned int pass = 0; pass < 2; pass++) {
		/* First pass: the ticks just outside become the ends. Second: those inside are
		 * kept. */
		double from = -HUGE_VAL, to = HUGE_VAL;
		a->n_ticks = 0;
		for (double p = lowest; p <= high + 1.0 + stride; p += stride) {
			for (unsigned int i = 0; i < n_steps; i++) {
				double at = p + log10(short_steps[i]);
				if (at <= low + 1e-9)
					from = at;
				if (at >= high - 1e-9 && !isfinite(to))
					to = at;
				if (pass && at >= a->from - 1e-9 && at <= a->to + 1e-9 &&
					a->n_ticks < MAX_TICKS)
					a->tick[a->n_ticks++] = pow(10.0, at);
			}
		}
		if (!pass) {
			a->from = from;
			a->to = to;
		}
	}
}

/* Range and ticks of one axis over all series. */
static void axis_init(struct axis *a, const struct wr_chart *c, bool is_y)
{
	double min = HUGE_VAL, max = -HUGE_VAL;
	a->log = is_y ? c->y_log : c->x_log;
	a->pixel_from = is_y ? BOTTOM : LEFT;
	a->pixel_to = is_y ? TOP : RIGHT;
	for (size_t s = 0; s < c->n_series; s++) {
		const double *v = is_y ? c->series[s].y : c->series[s].x;
		for (size_t i = 0; i < c->series[s].n; i++) {
			if (!drawable(a, v[i]))
				continue;
			min = fmin(min, v[i]);
			max = fmax(max, v[i]);
		}
	}
	if (!(min <= max))
		min = a->log ? 1.0 : 0.0, max = a->log ? 10.0 : 1.0;
	if (a->log) {
		a->from = log10(min);
		a->to = log10(max);
		if (a->to - a->from < 0.3) /* a decade around a constant */
			a->from -= 0.5, a->to += 0.5;
		log_ticks(a);
		return;
	}
	/* Quantities start at zero: a cut axis exaggerates differences. */
	a->from = is_y && min > 0.0 ? 0.0 : min;
	a->to = is_y && max < 0.0 ? 0.0 : max;
	if (!(a->to - a->from > 1e-9 * fmax(fabs(a->to), 1e-300)))
		a->from -= fmax(fabs(a->from), 1.0) * 0.5, a->to += fmax(fabs(a->to), 1.0) * 0.5;
	linear_ticks(a);
}

/* ---- text ---- */
/* XML text; a string that is no UTF-8 loses its high bytes, control characters become blanks. */
static void put_text(FILE *f, const char *s)
{
	json_t *utf8 = json_string(s);
	for (; *s; s++) {
		unsigned char b = (unsigned char)*s;
		if (b == '&')
			fputs("&amp;", f);
		else if (b == '<')
			fputs("&lt;", f);
		else if (b == '>')
			fputs("&gt;", f);
		else if (b < 0x20 || b == 0x7f)
			fputc(' ', f);
		else
			fputc(b >= 0x80 && !utf8 ? '?' : b, f);
	}
	json_decref(utf8);
}

static void text(FILE *f, double x, double y, const char *anchor, int size, const char *colour,
	const char *s)
{
	fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\" fill=\"%s\">",
		x, y, anchor, size, colour);
	put_text(f, s);
	fputs("</text>\n", f);
}

/* 1500 as 1.5k, 2000000 as 2M; small numbers as they are. */
static void tick_label(double v, char out[32])
{
	static const struct {
		double unit;
		const char *suffix;
	} units[] = {{1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(units); i++) {
		if (fabs(v) >= units[i].unit * (1.0 - 1e-9)) {
			snprintf(out, 32, "%.6g%s", v / units[i].unit, units[i].suffix);
			return;
		}
	}
	snprintf(out, 32, "%.6g", v);
}

/* ---- parts of the picture ---- */
static void draw_axes(FILE *f, const struct wr_chart *c, const struct axis *x, const struct axis *y)
{
	char label[32];
	for (unsigned int i = 0; i < y->n_ticks; i++) {
		double at = pixel(y, y->tick[i]);
		fprintf(f, "<path d=\"M%d %.1fH%d\" stroke=\"#e3e3e3\"/>\n", LEFT, at, RIGHT);
		tick_label(y->tick[i], label);
		text(f, LEFT - 8, at + 4, "end", 12, "#333", label);
	}
	for (unsigned int i = 0; i < x->n_ticks; i++) {
		double at = pixel(x, x->tick[i]);
		fprintf(f, "<path d=\"M%.1f %dV%d\" stroke=\"#e3e3e3\"/>\n", at, TOP, BOTTOM);
		tick_label(x->tick[i], label);
		text(f, at, BOTTOM + 18, "middle", 12, "#333", label);
	}
	fprintf(f, "<path d=\"M%d %dV%dH%d\" fill=\"none\" stroke=\"#333\"/>\n", LEFT, TOP, BOTTOM,
		RIGHT);
	text(f, (LEFT + RIGHT) / 2.0, BOTTOM + 40, "middle", 13, "#111", c->x_label);
	fprintf(f, "<g transform=\"translate(20 %d) rotate(-90)\">", (TOP + BOTTOM) / 2);
	text(f, 0, 0, "middle", 13, "#111", c->y_label);
	fputs("</g>\n", f);
}

/* A cloud of points has no end to put a name beside. */
static bool is_cloud(const struct wr_chart_series *s)
{
	return s->points_only && s->n > FEW_POINTS;
}

/* Returns the index of the last point drawn, or -1. */
static long draw_series(FILE *f, const struct wr_chart_series *s, const char *colour,
	const struct axis *x, const struct axis *y)
{
	long last = -1;
	bool pen_down = false;
	if (!s->points_only) {
		fprintf(f, "<path fill=\"none\" stroke-width=\"2\" stroke=\"%s\" d=\"M%d %d",
			colour, LEFT, BOTTOM);
		for (size_t i = 0; i < s->n; i++) {
			bool ok = drawable(x, s->x[i]) && drawable(y, s->y[i]);
			if (ok) /* a point that is left out leaves a gap */
				fprintf(f, "%c%.1f %.1f", pen_down ? 'L' : 'M', pixel(x, s->x[i]),
					pixel(y, s->y[i]));
			pen_down = ok;
		}
		fputs("\"/>\n", f);
	}
	for (size_t i = 0; i < s->n; i++) {
		if (!drawable(x, s->x[i]) || !drawable(y, s->y[i]))
			continue;
		last = (long)i;
		if (s->points_only || s->n <= FEW_POINTS)
			fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\" fill=\"%s\"/>\n",
				pixel(x, s->x[i]), pixel(y, s->y[i]), is_cloud(s) ? "1.8" : "3",
				colour);
	}
	return last;
}

struct label {
	double x, y;
	size_t series;
};

static int by_height(const void *a, const void *b)
{
	double x = ((const struct label *)a)->y, y = ((const struct label *)b)->y;
	return (x > y) - (x < y);
}

/* Names beside the lines' ends, pushed apart where they would overlap. */
static void draw_labels(FILE *f, const struct wr_chart *c, struct label *labels, size_t n)
{
	qsort(labels, n, sizeof(*labels), by_height);
	for (size_t i = 1; i < n; i++)
		labels[i].y = fmax(labels[i].y, labels[i - 1].y + LABEL_GAP);
	for (size_t i = n; i > 0; i--) {
		double limit = i == n ? BOTTOM : labels[i].y - LABEL_GAP;
		labels[i - 1].y = fmin(labels[i - 1].y, limit);
	}
	for (size_t i = 0; i < n; i++)
		text(f, RIGHT + 8, labels[i].y + 4, "start", 12, colours[labels[i].series],
			c->series[labels[i].series].name);
}

static void draw_legend(FILE *f, const struct wr_chart *c)
{
	/* 7 pixels a character are enough for a 12-pixel sans-serif font. */
	double x = LEFT, y = 52;
	for (size_t i = 0; i < c->n_series; i++) {
		double width = 30 + 7.0 * (double)strlen(c->series[i].name);
		if (x > LEFT && x + width > WIDTH - 10)
			x = LEFT, y += 14;
		fprintf(f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"14\" height=\"4\" fill=\"%s\"/>\n",
			x, y - 6, colours[i]);
		text(f, x + 18, y, "start", 12, "#333", c->series[i].name);
		x += width;
	}
}

static void draw(FILE *f, const struct wr_chart *c)
{
	struct axis x = {0}, y = {0};
	struct label labels[MAX_SERIES];
	size_t n_labels = 0, n_drawn = 0;
	axis_init(&x, c, false);
	axis_init(&y, c, true);
	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 "
		"0 %d %d\" "
		"font-family=\"sans-serif\">\n<rect width=\"%d\" height=\"%d\" "
		"fill=\"#fdfdfd\"/>\n",
		WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
	text(f, LEFT, 28, "start", 17, "#111", c->title);
	draw_axes(f, c, &x, &y);
	draw_legend(f, c);
	for (size_t i = 0; i < c->n_series; i++) {
		const struct wr_chart_series *s = &c->series[i];
		long last = draw_series(f, s, colours[i], &x, &y);
		n_drawn += last >= 0;
		if (last >= 0 && !is_cloud(s))
			labels[n_labels++] =
				(struct label){pixel(&x, s->x[last]), pixel(&y, s->y[last]), i};
	}
	if (n_labels)
		draw_labels(f, c, labels, n_labels);
	if (!n_drawn)
		text(f, (LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0, "middle", 14, "#666",
			"no data");
	if (c->note)
		text(f, LEFT, HEIGHT - 14, "start", 11, "#666", c->note);
	fputs("</svg>\n", f);
}

int wr_chart_write(const struct wr_chart *c, const char *path, struct wr_errmsg *msg)
{
	if (c->n_series > MAX_SERIES)
		return wr_fail(msg, WR_EINVAL, "%s: a chart holds at most %d series, not %zu", path,
			MAX_SERIES, c->n_series);
	struct wr_file_writer *w;
	int err = wr_file_writer_open(&w, path, msg);
	if (err)
		return err;
	draw(wr_file_writer_stream(w), c);
	return wr_file_writer_commit(w, msg);
}
