/* SPDX-License-Identifier: BSD-3-Clause */
/* Text files of lib/learn: lines, fields, names. Built for logs of some million short lines, read
 * whole. */
#ifndef WR_LEARN_TEXT_INT_H
#define WR_LEARN_TEXT_INT_H

#include "wr_base.h"

/* A file in memory, handed out line by line; lines are cut in place (CR LF too). Empty lines are
 * skipped. */
struct text {
	const char *path;
	char *data, *next, *end;
	uint32_t line; /* number of the line handed out last, from 1 */
};
int wr_learn_text_open(struct text *t, const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;
/* NULL at the end. *bytes (may be NULL) tells lines with NUL bytes inside apart. */
char *wr_learn_text_next(struct text *t, size_t *bytes);
void wr_learn_text_close(struct text *t);
/* "PATH:LINE: reason", WR_EFORMAT. */
int wr_learn_text_fail(const struct text *t, struct wr_errmsg *msg, const char *fmt, ...)
	WR_PRINTF(3, 4);
/* Cuts line at every sep (one or more characters, exactly); fields beyond max stay in the last one.
 */
unsigned int wr_learn_text_split(char *line, const char *sep, char **field, unsigned int max);

/* malloc'ed UTF-8 of a Latin-1 string; NULL when memory is out. */
char *wr_learn_text_from_latin1(const char *s);
/* Tabs, line feeds and other control characters become spaces, in place. */
void wr_learn_text_clean(char *s);

/* Names → consecutive numbers from 0, in order of first appearance. */
struct names {
	char **name;
	uint32_t n, cap, *slot, n_slots; /* slot: number + 1, 0 = free */
};
void wr_learn_names_init(struct names *m);
void wr_learn_names_free(struct names *m);
/* UINT32_MAX when unknown. */
uint32_t wr_learn_names_find(const struct names *m, const char *name);
/* The number of name, new or known; UINT32_MAX when memory is out. */
uint32_t wr_learn_names_put(struct names *m, const char *name);

/* mkdir -p. */
int wr_learn_make_dirs(const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;

/* Grows *p (elements of size bytes) so that index n fits; WR_ENOMEM. */
int wr_learn_grow(void *p, size_t *cap, size_t n, size_t size) WR_MUST_CHECK;

#endif
