/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading tab-separated files with errors that name file and line. Single-threaded. */
#ifndef WR_LOAD_TEXT_H
#define WR_LOAD_TEXT_H

#include "wr_base.h"

struct wr_text {
	const char *path;
	char *data, *at;
	size_t size;
	unsigned int line;             /* of the current line, from 1 */
	const char *cursor, *line_end; /* of the current line; *line_end = 0 */
};
/* path must outlive t. */
int wr_text_open(struct wr_text *t, const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_text_close(struct wr_text *t);
/* Steps to the next line; false at the end. */
bool wr_text_line(struct wr_text *t);
/* Takes a decimal number of at most max; false and nothing taken when there is none. */
bool wr_text_number(struct wr_text *t, uint64_t max, uint64_t *out) WR_MUST_CHECK;
/* Takes the character c. */
bool wr_text_char(struct wr_text *t, char c) WR_MUST_CHECK;
static inline bool wr_text_end(const struct wr_text *t)
{
	return t->cursor == t->line_end;
}
/* WR_EFORMAT with "file:line: what". */
int wr_text_fail(const struct wr_text *t, struct wr_errmsg *msg, const char *what);

/* Makes room for element n of a malloc'ed array. WR_ENOMEM. */
int wr_text_grow(void **array, size_t *room, size_t n, size_t element_bytes) WR_MUST_CHECK;

#endif
