/* SPDX-License-Identifier: BSD-3-Clause */
/* wrctl top: the loop, the keys, the terminal. A daemon that goes away is waited for. */
#include "top.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* ---- the terminal; put back at the end, however main returns ---- */
static struct termios was;
static bool changed;

static void terminal_restore(void)
{
	if (!changed)
		return;
	changed = false;
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &was);
	printf("\033[?25h\033[?1049l"); /* the cursor, and the screen as it was */
	fflush(stdout);
}

static void terminal_take(void)
{
	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &was))
		return;
	struct termios t = was;
	t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	if (tcsetattr(STDIN_FILENO, TCSANOW, &t))
		return;
	changed = true;
	printf("\033[?1049h\033[?25l\033[2J");
}

static void terminal_size(unsigned int *rows, unsigned int *columns)
{
	struct winsize size = {0};
	*rows = 24;
	*columns = 80;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col) {
		*rows = size.ws_row;
		*columns = size.ws_col;
	}
}

struct top {
	const struct context *c;
	struct link *link; /* NULL: lost */
	struct moment *before, *now;
	json_t *figures; /* of the last interval */
	bool screen, quit, paused;
	unsigned int line;
};

static void show(struct top *t)
{
	unsigned int rows, columns;
	if (!t->figures)
		return;
	if (t->c->json) {
		json_dumpf(t->figures, stdout, JSON_COMPACT);
		putchar('\n');
		fflush(stdout);
	} else if (t->screen) {
		terminal_size(&rows, &columns);
		top_draw(t->c->name, t->figures, rows, columns, t->paused);
	} else {
		top_line(t->figures, t->line++);
	}
}

static void one_key(struct top *t)
{
	char key;
	if (read(STDIN_FILENO, &key, 1) != 1)
		return;
	t->quit |= key == 'q' || key == 'Q';
	if (key != 'p' && key != 'P')
		return;
	t->paused = !t->paused;
	show(t);
}

/* Waits until then, for keys too. A window that changed its size is drawn anew. */
static void wait_until(struct top *t, uint64_t until_ns)
{
	struct pollfd keys = {.fd = changed ? STDIN_FILENO : -1, .events = POLLIN};
	while (!t->quit && !wr_stop_requested()) {
		uint64_t now = wr_clock_ns();
		if (now >= until_ns)
			return;
		int ms = (int)WR_MIN((until_ns - now) / 1000000 + 1, (uint64_t)200);
		if (poll(&keys, 1, ms) > 0)
			one_key(t);
	}
}

/* A new moment, with a new connection where the old one broke. */
static int look(struct top *t, struct wr_errmsg *msg)
{
	struct moment *m;
	int err = WR_OK;
	if (!t->link)
		err = link_open(&t->link, t->c->path, t->c->name, t->c->timeout_s, msg);
	if (!err)
		err = moment_take(t->link, &m, msg);
	if (err) {
		link_close(t->link);
		t->link = NULL;
		return err;
	}
	moment_free(t->before);
	t->before = t->now;
	t->now = m;
	return WR_OK;
}

static void interval(struct top *t, struct wr_errmsg *msg)
{
	if (look(t, msg)) {
		if (t->screen)
			printf("\033[H\033[K%s\n", msg->text);
		else
			fprintf(stderr, "wrctl: %s; waiting for it\n", msg->text);
		fflush(stdout);
		return;
	}
	if (!t->before || t->paused)
		return;
	json_decref(t->figures);
	t->figures = top_figures(t->before, t->now);
	show(t);
}

int check_top(struct context *c, struct wr_errmsg *msg)
{
	double v = 1.0;
	if (c->interval && wr_parse_double(c->interval, 0.1, 3600.0, &v))
		return wr_fail(msg, WR_EINVAL,
			"--interval=%s: must be a number of seconds from 0.1 to 3600", c->interval);
	c->interval_s = v;
	return WR_OK;
}

int cmd_top(const struct context *c, struct wr_errmsg *msg)
{
	/* The connection that main made is its to close; this one may break and be made again. */
	struct top t = {.c = c};
	uint64_t step = (uint64_t)(c->interval_s * 1e9);
	int err = look(&t, msg);
	if (err)
		return err;
	wr_stop_catch_signals();
	t.screen = !c->json && !c->once && isatty(STDOUT_FILENO);
	if (t.screen) {
		terminal_take();
		(void)atexit(terminal_restore);
		printf("\033[2J");
	}
	/* The first figures come soon, the others by the clock. */
	uint64_t next = wr_clock_ns() + (c->once ? step : WR_MIN(step, (uint64_t)300000000));
	while (!err) {
		wait_until(&t, next);
		if (t.quit || wr_stop_requested())
			break;
		if (c->once) {
			err = look(&t, msg);
			if (!err) {
				t.figures = top_figures(t.before, t.now);
				show(&t);
			}
			break;
		}
		interval(&t, msg);
		next += step;
		next = WR_MAX(next, wr_clock_ns());
	}
	terminal_restore();
	json_decref(t.figures);
	moment_free(t.before);
	moment_free(t.now);
	link_close(t.link);
	return err;
}
