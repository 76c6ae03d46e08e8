/* SPDX-License-Identifier: BSD-3-Clause */
/* Packet capture by command: who may reach the socket may ask for a file, in the folder that the
 * configuration names and nowhere else. */
#include "control_reply.h"
#include "wr_config.h"
#include "wr_serve.h"

#include <stdlib.h>
#include <string.h>

/* What a capture is without parameters: ten seconds, or what control.capture_limit holds. */
#define DEFAULT_PACKETS WR_CAPTURE_MAX_PACKETS
#define DEFAULT_SECONDS 10

static int take_number(
	const char *key, const char *value, uint64_t max, uint64_t *out, struct wr_errmsg *msg)
{
	return wr_parse_u64(value, 0, max, out)
		       ? wr_fail(msg, WR_EINVAL, "%s must be a number up to %llu", key,
				 (unsigned long long)max)
		       : WR_OK;
}

static int take_filter(const char *value, struct wr_capture_options *o, struct wr_errmsg *msg)
{
	bool both = !strcmp(value, "both");
	o->in = both || !strcmp(value, "in");
	o->out = both || !strcmp(value, "out");
	return o->in || o->out ? WR_OK : wr_fail(msg, WR_EINVAL, "filter must be in, out or both");
}

/* One "key=value". Ranges are the capture's to check. */
static int take_word(char *word, struct wr_capture_options *o, struct wr_errmsg *msg)
{
	uint64_t v;
	char *value = strchr(word, '=');
	if (!value)
		return wr_fail(msg, WR_EINVAL, "parameters look like name=FILE,packets=N");
	*value++ = '\0';
	if (!strcmp(word, "name")) {
		o->name = value;
		return WR_OK;
	}
	if (!strcmp(word, "filter"))
		return take_filter(value, o, msg);
	int err = take_number(word, value, strcmp(word, "user") ? UINT32_MAX : UINT64_MAX, &v, msg);
	if (err)
		return err;
	if (!strcmp(word, "packets"))
		o->n_packets = (uint32_t)v;
	else if (!strcmp(word, "seconds"))
		o->seconds = (uint32_t)v;
	else if (!strcmp(word, "snaplen"))
		o->snaplen = (uint32_t)v;
	else if (!strcmp(word, "bytes"))
		o->max_bytes = WR_MIN(v, o->max_bytes);
	else if (!strcmp(word, "user"))
		o->one_user = true, o->user = v;
	else
		return wr_fail(msg, WR_EINVAL,
			"no parameter '%.20s': name, packets, seconds, snaplen, bytes, filter, "
			"user",
			word);
	return WR_OK;
}

int wr_control_capture_start(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg)
{
	const struct wr_config *c = wr_serve_config(s);
	char text[256], *rest = text, *word;
	if (!c || !strcmp(c->control_capture_folder, "none"))
		return wr_fail(msg, WR_EPERM,
			"captures are not allowed: control.capture_folder names no folder");
	if (wr_serve_state(s) != WR_SERVE_SERVING)
		return wr_fail(msg, WR_ESTATE, "the port is closed");
	struct wr_capture_options o = {.folder = c->control_capture_folder,
		.name = "",
		.n_packets = DEFAULT_PACKETS,
		.seconds = DEFAULT_SECONDS,
		.snaplen = WR_CAPTURE_MAX_SNAPLEN,
		.max_bytes = c->control_capture_limit,
		.in = true,
		.out = true};
	int err = WR_OK;
	snprintf(text, sizeof(text), "%s", p->text);
	while (!err && text[0] && (word = strsep(&rest, ",")))
		err = take_word(word, &o, msg);
	if (!err)
		err = wr_capture_start(wr_serve_port(s), &o, msg);
	return err ? err : wr_control_capture(s, p, r, msg);
}

int wr_control_capture_stop(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg)
{
	wr_capture_stop();
	return wr_control_capture(s, p, r, msg);
}

int wr_control_capture(
	const struct wr_serve *s, const struct params *p, struct reply *r, struct wr_errmsg *msg)
{
	static const char *const states[] = {
		[WR_CAPTURE_NONE] = "none",
		[WR_CAPTURE_RUNNING] = "running",
		[WR_CAPTURE_DONE] = "done",
	};
	struct wr_capture_status st;
	wr_capture_status(&st);
	wr_reply_text(r, "capture", states[st.state]);
	if (st.state == WR_CAPTURE_NONE)
		return WR_OK;
	wr_reply_long_text(r, "file", st.path);
	wr_reply_text(r, "ended_by", st.state == WR_CAPTURE_DONE ? st.why : "");
	wr_reply_u64(r, "packets", st.packets);
	wr_reply_u64(r, "missed", st.missed);
	wr_reply_u64(r, "bytes", st.bytes);
	wr_reply_u64(r, "ms", st.ns / 1000000);
	return WR_OK;
}
