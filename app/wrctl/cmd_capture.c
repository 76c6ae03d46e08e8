/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wrctl capture: the daemon writes the file into its own folder (control.capture_folder); an
 * --output with a folder of ours is where we, with our own rights, take it afterwards. Ctrl-C ends
 * the capture early and keeps what was written.
 */
#include "wr_wire.h"
#include "wrctl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define LOOK_US 200000

static bool is(const char *word, const char *what)
{
	return word && !strcmp(word, what);
}

static int check_number(const char *option, const char *text, uint64_t min, uint64_t max,
	bool bytes, struct wr_errmsg *msg)
{
	uint64_t v;
	if (text && (bytes ? wr_parse_bytes(text, min, max, &v) : wr_parse_u64(text, min, max, &v)))
		return wr_fail(msg, WR_EINVAL, "--%s=%s: must be a number from %ju to %ju", option,
			text, (uintmax_t)min, (uintmax_t)max);
	return WR_OK;
}

int check_capture(struct context *c, struct wr_errmsg *msg)
{
	const struct capture_options *o = &c->capture;
	if (c->argument && !is(c->argument, "start") && !is(c->argument, "stop") &&
		!is(c->argument, "status"))
		return wr_fail(msg, WR_EINVAL, "capture '%s': start, stop, status or nothing",
			c->argument);
	int err = check_number("packets", o->packets, 1, UINT32_MAX, false, msg);
	if (!err)
		err = check_number("seconds", o->seconds, 1, UINT32_MAX, false, msg);
	if (!err)
		err = check_number("snaplen", o->snaplen, 1, UINT32_MAX, false, msg);
	if (!err)
		err = check_number("bytes", o->bytes, 1, INT64_MAX, true, msg);
	if (!err && o->filter && !is(o->filter, "in") && !is(o->filter, "out") &&
		!is(o->filter, "both"))
		err = wr_fail(msg, WR_EINVAL, "--filter=%s: must be in, out or both", o->filter);
	return err;
}

/* ---- what the daemon is asked ---- */
/* The file's name in the daemon's folder. */
static void file_name(const struct context *c, char *out, size_t size)
{
	const char *output = c->capture.output;
	if (output) {
		const char *slash = strrchr(output, '/');
		snprintf(out, size, "%s", slash ? slash + 1 : output);
		return;
	}
	time_t now = time(NULL);
	struct tm utc;
	char stamp[32];
	gmtime_r(&now, &utc);
	strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &utc);
	snprintf(out, size, "%.30s-%s.pcapng", c->name ? c->name : "wirerank", stamp);
}

static void add_word(char *out, size_t size, const char *key, const char *value)
{
	size_t n = strlen(out);
	if (value)
		snprintf(out + n, size - n, ",%s=%s", key, value);
}

static int start_params(const struct context *c, char *out, size_t size, struct wr_errmsg *msg)
{
	const struct capture_options *o = &c->capture;
	char name[256], number[32];
	uint64_t v;
	file_name(c, name, sizeof(name));
	if (strchr(name, ',') || strlen(name) > 63)
		return wr_fail(
			msg, WR_EINVAL, "--output: '%.80s' is no file name for a capture", name);
	snprintf(out, size, "name=%s", name);
	add_word(out, size, "packets", o->packets);
	add_word(out, size, "seconds", o->seconds);
	add_word(out, size, "snaplen", o->snaplen);
	add_word(out, size, "filter", o->filter);
	if (o->bytes && !wr_parse_bytes(o->bytes, 1, INT64_MAX, &v)) {
		snprintf(number, sizeof(number), "%ju", (uintmax_t)v);
		add_word(out, size, "bytes", number);
	}
	if (c->ask.user) {
		if (wr_parse_u64(c->ask.user, 0, UINT64_MAX, &v))
			v = wr_wire_user_id(c->ask.user, strlen(c->ask.user));
		snprintf(number, sizeof(number), "%ju", (uintmax_t)v);
		add_word(out, size, "user", number);
	}
	return WR_OK;
}

static bool runs(const json_t *status)
{
	return is(json_string_value(json_object_get(status, "capture")), "running");
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));
	return s ? s : "";
}

/* ---- following ---- */
static void show_progress(const json_t *status)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%ju packets, %ju missed, %.1f MB, %.0f s\033[K",
			(uintmax_t)number_at(status, "packets"),
			(uintmax_t)number_at(status, "missed"),
			(double)number_at(status, "bytes") / 1e6,
			(double)number_at(status, "ms") / 1e3);
}

/* Until it ends by itself or by a signal; *status is the last one. */
static int follow(const struct context *c, json_t **status, struct wr_errmsg *msg)
{
	int err = WR_OK;
	while (!err && runs(*status)) {
		bool stop = wr_stop_requested();
		show_progress(*status);
		if (!stop)
			(void)usleep(LOOK_US);
		json_decref(*status);
		*status = NULL;
		err = link_ask(c->link, stop ? "/wirerank/capture_stop" : "/wirerank/capture", NULL,
			status, msg);
	}
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	return err;
}

/* Takes the file to where --output says, and from the daemon's folder. */
static int fetch(const char *from, const char *to, struct wr_errmsg *msg)
{
	char buffer[65536];
	ssize_t n = 0;
	int in = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (in < 0)
		return wr_fail(
			msg, WR_EIO, "%s: %s; the capture stays there", from, strerror(errno));
	int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	while (out >= 0 && (n = read(in, buffer, sizeof(buffer))) > 0)
		if (write(out, buffer, (size_t)n) != n)
			n = -1;
	int why = errno;
	close(in);
	if (out >= 0 && close(out) == 0 && n == 0) {
		(void)unlink(from);
		return WR_OK;
	}
	if (out >= 0)
		(void)unlink(to);
	return wr_fail(msg, WR_EIO, "%s: %s; the capture is %s", to, strerror(why), from);
}

static void show_capture(const json_t *status)
{
	const char *state = text_of(status, "capture");
	printf("%-18s %s%s%s\n", "capture", state,
		text_of(status, "ended_by")[0] ? ", ended by: " : "", text_of(status, "ended_by"));
	if (is(state, "none"))
		return;
	printf("%-18s %s\n", "file", text_of(status, "file"));
	printf("%-18s %ju\n", "packets", (uintmax_t)number_at(status, "packets"));
	printf("%-18s %ju\n", "missed", (uintmax_t)number_at(status, "missed"));
	printf("%-18s %ju\n", "bytes", (uintmax_t)number_at(status, "bytes"));
	printf("%-18s %.1f s\n", "time", (double)number_at(status, "ms") / 1e3);
}

static int start(const struct context *c, json_t **status, struct wr_errmsg *msg)
{
	char params[512];
	int err = start_params(c, params, sizeof(params), msg);
	const char *output = c->capture.output;
	if (!err && output && strchr(output, '/') && !access(output, F_OK))
		err = wr_fail(msg, WR_EINVAL, "%s exists; captures replace nothing", output);
	return err ? err : link_ask(c->link, "/wirerank/capture_start", params, status, msg);
}

int cmd_capture(const struct context *c, struct wr_errmsg *msg)
{
	json_t *status = NULL;
	const char *output = c->capture.output;
	int err;
	if (is(c->argument, "stop") || is(c->argument, "status"))
		err = link_ask(c->link,
			is(c->argument, "stop") ? "/wirerank/capture_stop" : "/wirerank/capture",
			NULL, &status, msg);
	else
		err = start(c, &status, msg);
	if (!err && !c->argument) {
		wr_stop_catch_signals();
		err = follow(c, &status, msg);
		if (!err && output && strchr(output, '/')) {
			err = fetch(text_of(status, "file"), output, msg);
			json_object_set_new(status, "file", json_string(output));
		}
	}
	if (!err && c->json)
		err = wr_json_write(status, "-", msg);
	else if (!err)
		show_capture(status);
	json_decref(status);
	return err;
}
