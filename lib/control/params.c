/* SPDX-License-Identifier: BSD-3-Clause */
/* Parameters of telemetry commands: bytes from outside. A few calls a second. */
#include "control_reply.h"
#include "wr_control.h"

#include <string.h>

#define MAX_PARAMS 64
#define MAX_TEXT   200
#define MAX_PAGE   9999u

/* The word before the next comma into word; *s moves behind it, to NULL at the end. */
static int next_word(const char **s, char word[16])
{
	size_t n = strcspn(*s, ",");
	if (n >= 16)
		return WR_EINVAL;
	memcpy(word, *s, n);
	word[n] = '\0';
	*s = (*s)[n] ? *s + n + 1 : NULL;
	return WR_OK;
}

static int parse_worker(
	const char *word, unsigned int n_workers, struct params *p, struct wr_errmsg *msg)
{
	uint64_t v;
	if (!word[0] || !strcmp(word, "all"))
		return WR_OK;
	if (wr_parse_u64(word, 0, n_workers - 1, &v))
		return wr_fail(msg, WR_EINVAL, "WORKER must be all or a number from 0 to %u",
			n_workers - 1);
	p->worker = (int)v;
	return WR_OK;
}

static int parse_page(const char *word, struct params *p, struct wr_errmsg *msg)
{
	uint64_t v = 0;
	if (word[0] && wr_parse_u64(word, 0, MAX_PAGE, &v))
		return wr_fail(msg, WR_EINVAL, "PAGE must be a number from 0 to %u", MAX_PAGE);
	p->page = (unsigned int)v;
	return WR_OK;
}

int wr_control_params(const char *s, unsigned int takes, const struct wr_control_command *c,
	unsigned int n_workers, struct params *p, struct wr_errmsg *msg)
{
	char word[16];
	*p = (struct params){.worker = -1, .text = s ? s : ""};
	if (takes & TAKES_TEXT)
		return strlen(p->text) > MAX_TEXT
			       ? wr_fail(msg, WR_EINVAL, "parameters are longer than %d bytes",
					 MAX_TEXT)
			       : WR_OK;
	if (s && strlen(s) > MAX_PARAMS)
		return wr_fail(msg, WR_EINVAL, "parameters are longer than %d bytes", MAX_PARAMS);
	for (unsigned int kind = TAKES_WORKER; kind <= TAKES_PAGE; kind <<= 1) {
		if (!(takes & kind) || !s)
			continue;
		if (next_word(&s, word))
			return wr_fail(msg, WR_EINVAL, "a parameter is longer than 15 bytes");
		int err = kind == TAKES_WORKER ? parse_worker(word, n_workers, p, msg)
					       : parse_page(word, p, msg);
		if (err)
			return err;
	}
	if (s)
		return wr_fail(msg, WR_EINVAL, "too many parameters: %s takes %s", c->path,
			takes ? c->params : "none");
	return WR_OK;
}
