/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines, fields and names of text files. */
#include "text_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_TEXT ((size_t)8 << 30)

int wr_learn_text_open(struct text *t, const char *path, struct wr_errmsg *msg)
{
	size_t size;
	*t = (struct text){.path = path};
	int err = wr_file_read(path, MAX_TEXT, &t->data, &size, msg);
	if (err)
		return err;
	t->next = t->data;
	t->end = t->data + size;
	return WR_OK;
}

char *wr_learn_text_next(struct text *t, size_t *bytes)
{
	while (t->next && t->next < t->end) {
		char *line = t->next, *stop = memchr(line, '\n', (size_t)(t->end - line));
		t->next = stop ? stop + 1 : t->end;
		if (!stop)
			stop = t->end;
		t->line++;
		if (stop > line && stop[-1] == '\r')
			stop--;
		*stop = '\0';
		if (stop == line)
			continue;
		if (bytes)
			*bytes = (size_t)(stop - line);
		return line;
	}
	return NULL;
}

void wr_learn_text_close(struct text *t)
{
	free(t->data);
	t->data = t->next = t->end = NULL;
}

int wr_learn_text_fail(const struct text *t, struct wr_errmsg *msg, const char *fmt, ...)
{
	char why[384];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return wr_fail(msg, WR_EFORMAT, "%s:%u: %s", t->path, t->line, why);
}

unsigned int wr_learn_text_split(char *line, const char *sep, char **field, unsigned int max)
{
	unsigned int n = 0;
	size_t len = strlen(sep);
	for (;;) {
		field[n++] = line;
		char *cut = n < max ? strstr(line, sep) : NULL;
		if (!cut)
			return n;
		*cut = '\0';
		line = cut + len;
	}
}

char *wr_learn_text_from_latin1(const char *s)
{
	char *out = malloc(2 * strlen(s) + 1), *o = out;
	if (!out)
		return NULL;
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c < 0x80) {
			*o++ = (char)c;
		} else {
			*o++ = (char)(0xc0 | c >> 6);
			*o++ = (char)(0x80 | (c & 0x3f));
		}
	}
	*o = '\0';
	return out;
}

void wr_learn_text_clean(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = ' ';
}

int wr_learn_make_dirs(const char *path, struct wr_errmsg *msg)
{
	char part[4096];
	struct stat st;
	if (strlen(path) >= sizeof(part))
		return wr_fail(msg, WR_EINVAL, "%s: path too long", path);
	strcpy(part, path);
	for (char *c = part + 1; *c; c++)
		if (*c == '/') {
			*c = '\0';
			if (mkdir(part, 0777) && errno != EEXIST)
				return wr_fail(msg, WR_EIO, "%s: cannot make the directory: %s",
					part, strerror(errno));
			*c = '/';
		}
	if (mkdir(part, 0777) && errno != EEXIST)
		return wr_fail(
			msg, WR_EIO, "%s: cannot make the directory: %s", part, strerror(errno));
	if (stat(path, &st) || !S_ISDIR(st.st_mode))
		return wr_fail(msg, WR_EIO, "%s: is no directory", path);
	return WR_OK;
}

int wr_learn_grow(void *p, size_t *cap, size_t n, size_t size)
{
	if (n < *cap)
		return WR_OK;
	size_t want = WR_MAX(n + 1, *cap + *cap / 2 + 64);
	void *old;
	memcpy(&old, p, sizeof(old));
	void *bigger = reallocarray(old, want, size);
	if (!bigger)
		return WR_ENOMEM;
	memcpy(p, &bigger, sizeof(bigger));
	*cap = want;
	return WR_OK;
}

void wr_learn_names_init(struct names *m)
{
	*m = (struct names){0};
}

void wr_learn_names_free(struct names *m)
{
	for (uint32_t i = 0; i < m->n; i++)
		free(m->name[i]);
	free(m->name);
	free(m->slot);
	wr_learn_names_init(m);
}

/* FNV-1a, then mixed: names are short. */
static uint64_t hash_name(const char *s)
{
	uint64_t h = 0xcbf29ce484222325u;
	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3u;
	return wr_mix64(h);
}

/* The slot that holds name or would take it. n_slots is a power of two, never full. */
static uint32_t find_slot(const struct names *m, const char *name)
{
	uint32_t i = (uint32_t)hash_name(name) & (m->n_slots - 1);
	while (m->slot[i] && strcmp(m->name[m->slot[i] - 1], name))
		i = (i + 1) & (m->n_slots - 1);
	return i;
}

uint32_t wr_learn_names_find(const struct names *m, const char *name)
{
	if (!m->n_slots)
		return UINT32_MAX;
	uint32_t s = m->slot[find_slot(m, name)];
	return s ? s - 1 : UINT32_MAX;
}

static int names_grow(struct names *m)
{
	uint32_t n_slots = m->n_slots ? m->n_slots * 2 : 1024;
	uint32_t *slot = calloc(n_slots, sizeof(*slot));
	char **name = reallocarray(m->name, n_slots / 2, sizeof(*name));
	if (name)
		m->name = name;
	if (!slot || !name) {
		free(slot);
		return WR_ENOMEM;
	}
	free(m->slot);
	m->slot = slot;
	m->n_slots = n_slots;
	m->cap = n_slots / 2;
	for (uint32_t i = 0; i < m->n; i++)
		slot[find_slot(m, name[i])] = i + 1;
	return WR_OK;
}

uint32_t wr_learn_names_put(struct names *m, const char *name)
{
	uint32_t known = wr_learn_names_find(m, name);
	if (known != UINT32_MAX)
		return known;
	if (m->n == m->cap && names_grow(m))
		return UINT32_MAX;
	char *copy = strdup(name);
	if (!copy)
		return UINT32_MAX;
	m->slot[find_slot(m, name)] = m->n + 1;
	m->name[m->n] = copy;
	return m->n++;
}
