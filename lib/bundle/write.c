/* SPDX-License-Identifier: BSD-3-Clause */
/* Building a bundle: sections are copied, then written all or nothing. */
#include "bundle_file.h"

#include <stdlib.h>
#include <string.h>

struct wr_bundle_builder {
	struct bundle_entry table[BUNDLE_MAX_SECTIONS];
	void *data[BUNDLE_MAX_SECTIONS];
	uint32_t n;
};

int wr_bundle_builder_new(struct wr_bundle_builder **out, struct wr_errmsg *msg)
{
	*out = calloc(1, sizeof(**out));
	return *out ? WR_OK : wr_fail(msg, WR_ENOMEM, "bundle: out of memory");
}

int wr_bundle_builder_add(
	struct wr_bundle_builder *w, const char *name, const void *data, size_t bytes)
{
	size_t len = strlen(name);
	if (len == 0 || len >= BUNDLE_NAME_BYTES)
		return WR_EINVAL;
	if (w->n == BUNDLE_MAX_SECTIONS)
		return WR_EFULL;
	for (uint32_t i = 0; i < w->n; i++)
		if (!strcmp(w->table[i].name, name))
			return WR_EINVAL;
	void *copy = malloc(bytes ? bytes : 1);
	if (!copy)
		return WR_ENOMEM;
	memcpy(copy, data, bytes);
	struct bundle_entry *e = &w->table[w->n];
	memcpy(e->name, name, len);
	e->bytes = bytes;
	e->crc = wr_bundle_crc32(0, copy, bytes);
	w->data[w->n++] = copy;
	return WR_OK;
}

int wr_bundle_builder_add_strings(
	struct wr_bundle_builder *w, const char *name, const char *const *s, uint32_t n)
{
	size_t text = 0;
	for (uint32_t i = 0; i < n; i++)
		text += s[i] ? strlen(s[i]) : 0;
	if (text > UINT32_MAX)
		return WR_EINVAL;
	size_t bytes = 4 * ((size_t)n + 2) + text;
	uint32_t *section = malloc(bytes);
	if (!section)
		return WR_ENOMEM;
	section[0] = n;
	section[1] = 0;
	char *to = (char *)(section + n + 2);
	for (uint32_t i = 0; i < n; i++) {
		size_t len = s[i] ? strlen(s[i]) : 0;
		if (len)
			memcpy(to + section[i + 1], s[i], len);
		section[i + 2] = section[i + 1] + (uint32_t)len;
	}
	int err = wr_bundle_builder_add(w, name, section, bytes);
	free(section);
	return err;
}

/* Gives every section its place; the file's size. */
static uint64_t lay_out(struct wr_bundle_builder *w)
{
	uint64_t at = sizeof(struct bundle_head) + (uint64_t)w->n * sizeof(struct bundle_entry);
	for (uint32_t i = 0; i < w->n; i++) {
		w->table[i].offset = at;
		at = WR_ALIGN_UP(at + w->table[i].bytes, (uint64_t)BUNDLE_ALIGN);
	}
	return at;
}

static uint32_t format_of(const struct wr_bundle_builder *w)
{
	struct wr_bundle_model m = {0};
	for (uint32_t i = 0; i < w->n; i++)
		if (!strcmp(w->table[i].name, WR_SEC_MODEL) && w->table[i].bytes == sizeof(m))
			memcpy(&m, w->data[i], sizeof(m));
	return wr_bundle_format_of(&m);
}

static void write_all(const struct wr_bundle_builder *w, uint64_t file_bytes, FILE *f)
{
	static const char zeros[BUNDLE_ALIGN];
	struct bundle_head head = {
		.format = format_of(w), .n_sections = w->n, .file_bytes = file_bytes};
	memcpy(head.magic, BUNDLE_MAGIC, 8);
	head.crc = wr_bundle_crc32(0, &head, sizeof(head));
	head.crc = wr_bundle_crc32(head.crc, w->table, w->n * sizeof(w->table[0]));
	fwrite(&head, sizeof(head), 1, f);
	fwrite(w->table, sizeof(w->table[0]), w->n, f);
	for (uint32_t i = 0; i < w->n; i++) {
		fwrite(w->data[i], 1, w->table[i].bytes, f);
		size_t tail = w->table[i].bytes % BUNDLE_ALIGN;
		if (tail)
			fwrite(zeros, 1, BUNDLE_ALIGN - tail, f);
	}
}

/* Verifies before the rename, so that a bundle that readers would refuse never gets its name. */
int wr_bundle_builder_write(struct wr_bundle_builder *w, const char *path, struct wr_errmsg *msg)
{
	struct wr_file_writer *out;
	char draft[4096];
	if (snprintf(draft, sizeof(draft), "%s.draft", path) >= (int)sizeof(draft))
		return wr_fail(msg, WR_EINVAL, "%s: path too long", path);
	int err = wr_file_writer_open(&out, draft, msg);
	if (err)
		return err;
	write_all(w, lay_out(w), wr_file_writer_stream(out));
	err = wr_file_writer_commit(out, msg);
	if (err)
		return err;
	struct wr_bundle *b;
	err = wr_bundle_open(&b, draft, msg);
	wr_bundle_close(b);
	if (!err && rename(draft, path))
		err = wr_fail(
			msg, WR_EIO, "%s: cannot rename the finished bundle to this name", path);
	if (err)
		remove(draft);
	return err;
}

void wr_bundle_builder_free(struct wr_bundle_builder *w)
{
	if (!w)
		return;
	for (uint32_t i = 0; i < w->n; i++)
		free(w->data[i]);
	free(w);
}
