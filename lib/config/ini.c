/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The INI file through libinih. Its handler knows no line numbers (Debian builds it so), so the
 * reader that feeds it counts them; the reader also refuses what the library would silently accept:
 * over-long lines (it splits them), NUL bytes, unknown sections without a key, text behind a
 * section's ']'.
 */
#include "config_types.h"

#include <ini.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINE  1000
#define MAX_BYTES (1u << 20)

struct source {
	struct wr_config *c;
	const char *at, *end, *name;
	struct wr_errmsg *msg;
	int32_t line;
	int err; /* the first one; nothing is read or set afterwards */
};

static void where(const struct source *s, char out[WR_CONFIG_MAX_STRING + 16])
{
	snprintf(out, WR_CONFIG_MAX_STRING + 16, "%s:%d", s->name, (int)s->line);
}

static int syntax_error(struct source *s, const char *what)
{
	return s->err = wr_fail(s->msg, WR_EFORMAT, "%s:%d: %s", s->name, (int)s->line, what);
}

static void check_section_line(struct source *s, const char *line)
{
	line += strspn(line, " \t\r");
	if (*line != '[')
		return;
	const char *close = strchr(line, ']');
	if (!close) {
		syntax_error(s, "']' is missing behind the section's name");
		return;
	}
	const char *rest = close + 1 + strspn(close + 1, " \t\r\n");
	if (*rest && *rest != ';' && *rest != '#') {
		syntax_error(s, "only a comment may follow a section's ']'");
		return;
	}
	char section[MAX_LINE + 1], at[WR_CONFIG_MAX_STRING + 16];
	snprintf(section, sizeof(section), "%.*s", (int)(close - line - 1), line + 1);
	where(s, at);
	s->err = wr_config_section_known(section, at, s->msg);
}

/* One line into out, as fgets would; NULL at the end or once something is wrong. */
static char *read_line(char *out, int size, void *user)
{
	struct source *s = user;
	if (s->err || s->at == s->end)
		return NULL;
	s->line++;
	const char *newline = memchr(s->at, '\n', (size_t)(s->end - s->at));
	size_t n = (size_t)((newline ? newline + 1 : s->end) - s->at);
	if (n > MAX_LINE || n >= (size_t)size)
		return syntax_error(s, "longer than 1,000 bytes"), NULL;
	if (memchr(s->at, '\0', n))
		return syntax_error(s, "a NUL byte; this is not a text file"), NULL;
	memcpy(out, s->at, n);
	out[n] = '\0';
	s->at += n;
	check_section_line(s, out);
	return s->err ? NULL : out;
}

static int handle_pair(void *user, const char *section, const char *key, const char *value)
{
	struct source *s = user;
	if (s->err)
		return 0;
	if (!section[0]) {
		syntax_error(s, "a key before the first [section]");
		return 0;
	}
	char at[WR_CONFIG_MAX_STRING + 16];
	where(s, at);
	s->err = wr_config_assign(s->c, section, key, value, s->line, at, s->msg);
	return s->err == WR_OK;
}

int wr_config_parse(struct wr_config *c, const char *text, size_t bytes, const char *source,
	struct wr_errmsg *msg)
{
	struct source s = {.c = c, .at = text, .end = text + bytes, .name = source, .msg = msg};
	snprintf(c->file, sizeof(c->file), "%s", source);
	s.name = c->file;
	if (bytes >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
		s.at += 3; /* an editor's byte order mark */
	/* The library's defaults are lines of 200 bytes and continuation lines, which would hide
	 * slips. */
	ini_use_stack = false;
	ini_allow_realloc = false;
	ini_allow_multiline = false;
	ini_max_line = ini_initial_alloc = MAX_LINE + 8;
	ini_stop_on_first_error = true;
	int line = ini_parse_stream(read_line, &s, handle_pair, &s);
	if (s.err)
		return s.err;
	if (line == -2)
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", source);
	if (line) {
		s.line = line;
		return syntax_error(&s, "must be 'key = value', '[section]' or a comment ('# …')");
	}
	return WR_OK;
}

int wr_config_read(struct wr_config *c, const char *path, struct wr_errmsg *msg)
{
	char *text;
	size_t bytes;
	int err = wr_file_read(path, MAX_BYTES, &text, &bytes, msg);
	if (err)
		return err;
	err = wr_config_parse(c, text, bytes, path, msg);
	free(text);
	return err;
}
