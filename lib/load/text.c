/* SPDX-License-Identifier: BSD-3-Clause */
/* A cursor over the lines and numbers of a tab-separated file that was read whole. */
#include "load_text.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FILE ((size_t)4 << 30)

int wr_text_open(struct wr_text *t, const char *path, struct wr_errmsg *msg)
{
	*t = (struct wr_text){.path = path};
	int err = wr_file_read(path, MAX_FILE, &t->data, &t->size, msg);
	t->at = t->data;
	return err;
}

void wr_text_close(struct wr_text *t)
{
	free(t->data);
	t->data = NULL;
}

bool wr_text_line(struct wr_text *t)
{
	if (!t->data || t->at == t->data + t->size)
		return false;
	char *end = memchr(t->at, '\n', (size_t)(t->data + t->size - t->at));
	char *next = end ? end + 1 : t->data + t->size;
	if (!end)
		end = next;
	if (end > t->at && end[-1] == '\r')
		end--;
	*end = 0; /* wr_file_read leaves a byte behind the last one */
	t->cursor = t->at;
	t->line_end = end;
	t->at = next;
	t->line++;
	return true;
}

bool wr_text_number(struct wr_text *t, uint64_t max, uint64_t *out)
{
	const char *p = t->cursor;
	uint64_t v = 0;

	if (p == t->line_end || *p < '0' || *p > '9')
		return false;
	for (; p < t->line_end && *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
			__builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
	if (v > max)
		return false;
	t->cursor = p;
	*out = v;
	return true;
}

bool wr_text_char(struct wr_text *t, char c)
{
	if (t->cursor == t->line_end || *t->cursor != c)
		return false;
	t->cursor++;
	return true;
}

int wr_text_fail(const struct wr_text *t, struct wr_errmsg *msg, const char *what)
{
	return wr_fail(msg, WR_EFORMAT, "%s:%u: %s", t->path, t->line, what);
}

int wr_text_grow(void **array, size_t *room, size_t n, size_t element_bytes)
{
	if (n < *room)
		return 0;
	size_t wanted = n < 1024 ? 1024 : n * 2;
	void *p = reallocarray(*array, wanted, element_bytes);
	if (!p)
		return WR_ENOMEM;
	*array = p;
	*room = wanted;
	return 0;
}
