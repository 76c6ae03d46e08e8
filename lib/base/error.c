/* SPDX-License-Identifier: BSD-3-Clause */
/* Error texts and the log. */
#include "wr_base.h"

#include <stdatomic.h>
#include <string.h>

const char *wr_strerror(int err)
{
	static const char *const text[] = {"ok", "invalid value", "out of memory",
		"input/output error", "not found", "bad format", "checksum mismatch",
		"unknown version", "not supported here", "full", "try again", "not permitted",
		"wrong state", "interrupted"};
	if (err > 0 || -err >= (int)WR_ARRAY_LEN(text))
		return "unknown error";
	return text[-err];
}

int wr_fail(struct wr_errmsg *msg, int err, const char *fmt, ...)
{
	if (msg) {
		va_list ap;
		va_start(ap, fmt);
		vsnprintf(msg->text, sizeof(msg->text), fmt, ap);
		va_end(ap);
	}
	return err;
}

static _Atomic int log_level = WR_LOG_INFO; /* writer: start-up; readers: all */

void wr_log_set_level(enum wr_log_level level)
{
	atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

void wr_log(enum wr_log_level level, const char *part, const char *fmt, ...)
{
	static const char *const name[] = {"error", "warning", "info", "debug"};
	if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
		return;
	char line[1024];
	int n = snprintf(line, sizeof(line), "%s %s: ", name[level], part);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s\n", line);
}
