/* SPDX-License-Identifier: BSD-3-Clause */
/* Mapping a bundle: bounds, checksums, look-up. Reads a few MB once at start; clarity over speed.
 */
#include "bundle_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

struct wr_bundle {
	const uint8_t *map;
	size_t bytes;
	const struct bundle_head *head;
	const struct bundle_entry *table;
};

uint32_t wr_bundle_crc32(uint32_t crc, const void *data, size_t n)
{
	return (uint32_t)crc32_z(crc, data, n);
}

static uint32_t table_crc(const struct bundle_head *head, const struct bundle_entry *table)
{
	struct bundle_head h = *head;
	h.crc = 0;
	uint32_t crc = wr_bundle_crc32(0, &h, sizeof(h));
	return wr_bundle_crc32(crc, table, (size_t)head->n_sections * sizeof(*table));
}

static int check_entry(const struct wr_bundle *b, unsigned int i, size_t data_start,
	const char *path, struct wr_errmsg *msg)
{
	const struct bundle_entry *e = &b->table[i];
	if (!e->name[0] || e->name[BUNDLE_NAME_BYTES - 1])
		return wr_fail(msg, WR_EFORMAT, "%s: section %u has no sound name", path, i);
	if (e->offset % BUNDLE_ALIGN || e->offset < data_start || e->offset > b->bytes ||
		e->bytes > b->bytes - e->offset)
		return wr_fail(
			msg, WR_EFORMAT, "%s: section %s lies outside the file", path, e->name);
	for (unsigned int j = 0; j < i; j++)
		if (!strcmp(b->table[j].name, e->name))
			return wr_fail(
				msg, WR_EFORMAT, "%s: section %s stands twice", path, e->name);
	if (wr_bundle_crc32(0, b->map + e->offset, e->bytes) != e->crc)
		return wr_fail(msg, WR_ECHECKSUM,
			"%s: section %s is damaged (checksum); pack or copy the bundle again", path,
			e->name);
	return WR_OK;
}

static int check_frame(struct wr_bundle *b, const char *path, struct wr_errmsg *msg)
{
	if (b->bytes < sizeof(struct bundle_head) || memcmp(b->map, BUNDLE_MAGIC, 8))
		return wr_fail(
			msg, WR_EFORMAT, "%s: not a bundle (make one with wrtrain pack)", path);
	b->head = (const struct bundle_head *)b->map;
	b->table = (const struct bundle_entry *)(b->map + sizeof(struct bundle_head));
	if (b->head->format < WR_BUNDLE_FORMAT || b->head->format > WR_BUNDLE_FORMAT_AGE)
		return wr_fail(msg, WR_EVERSION,
			"%s: bundle format %u, this build reads %u to %u; pack it again", path,
			b->head->format, WR_BUNDLE_FORMAT, WR_BUNDLE_FORMAT_AGE);
	if (b->head->file_bytes != b->bytes)
		return wr_fail(msg, WR_EFORMAT,
			"%s: has %zu bytes, its head says %llu: an incomplete copy", path, b->bytes,
			(unsigned long long)b->head->file_bytes);
	size_t n = b->head->n_sections,
	       data_start = sizeof(struct bundle_head) + n * sizeof(struct bundle_entry);
	if (n > BUNDLE_MAX_SECTIONS || data_start > b->bytes)
		return wr_fail(msg, WR_EFORMAT, "%s: section table lies outside the file", path);
	if (table_crc(b->head, b->table) != b->head->crc)
		return wr_fail(msg, WR_ECHECKSUM,
			"%s: head is damaged (checksum); pack or copy the bundle again", path);
	for (unsigned int i = 0; i < n; i++) {
		int err = check_entry(b, i, data_start, path, msg);
		if (err)
			return err;
	}
	return WR_OK;
}

static int map_file(struct wr_bundle *b, const char *path, struct wr_errmsg *msg)
{
	struct stat st;
	int err = WR_OK, fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return wr_fail(msg, errno == ENOENT ? WR_ENOENT : WR_EIO,
			"bundle %s: %s; wrtrain pack makes one", path, strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size == 0) {
		err = wr_fail(msg, WR_EFORMAT, "%s: empty or not a regular file", path);
		goto out;
	}
	void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED) {
		err = wr_fail(msg, WR_EIO, "%s: cannot map: %s", path, strerror(errno));
		goto out;
	}
	b->map = map;
	b->bytes = (size_t)st.st_size;
out:
	close(fd);
	return err;
}

int wr_bundle_open(struct wr_bundle **out, const char *path, struct wr_errmsg *msg)
{
	*out = NULL;
	struct wr_bundle *b = calloc(1, sizeof(*b));
	if (!b)
		return wr_fail(msg, WR_ENOMEM, "bundle %s: out of memory", path);
	int err = map_file(b, path, msg);
	if (!err)
		err = check_frame(b, path, msg);
	if (!err) {
		struct wr_errmsg what;
		err = wr_bundle_check_contents(b, &what);
		if (!err && b->head->format < wr_bundle_format_of(wr_bundle_model(b)))
			err = wr_fail(&what, WR_EFORMAT, "model: %s, which format %u does not know",
				wr_bundle_model(b)->age_keys ? "has keys by age"
							     : "keeps projections",
				b->head->format);
		if (err)
			wr_fail(msg, err, "%s: %.400s", path, what.text);
	}
	if (err) {
		wr_bundle_close(b);
		return err;
	}
	*out = b;
	return WR_OK;
}

void wr_bundle_close(struct wr_bundle *b)
{
	if (!b)
		return;
	if (b->map)
		munmap((void *)(uintptr_t)b->map, b->bytes);
	free(b);
}

const void *wr_bundle_section(const struct wr_bundle *b, const char *name, size_t *size)
{
	for (unsigned int i = 0; i < b->head->n_sections; i++) {
		if (strcmp(b->table[i].name, name))
			continue;
		if (size)
			*size = b->table[i].bytes;
		return b->map + b->table[i].offset;
	}
	if (size)
		*size = 0;
	return NULL;
}

const struct wr_bundle_model *wr_bundle_model(const struct wr_bundle *b)
{
	return wr_bundle_section(b, WR_SEC_MODEL, NULL);
}

const char *wr_bundle_projection_name(enum wr_bundle_projection p)
{
	static const char *const names[WR_BUNDLE_PROJECTIONS] = {"qkv", "out", "up", "down"};
	return names[p];
}

const void *wr_bundle_block(const struct wr_bundle *b, unsigned int block, const char *what)
{
	char name[32];
	snprintf(name, sizeof(name), "b%u.%s", block, what);
	return wr_bundle_section(b, name, NULL);
}

const char *wr_bundle_string(
	const struct wr_bundle *b, const char *section, uint32_t i, uint32_t *bytes)
{
	const uint32_t *s = wr_bundle_section(b, section, NULL);
	*bytes = 0;
	if (!s || i >= s[0])
		return "";
	*bytes = s[i + 2] - s[i + 1];
	return (const char *)(s + s[0] + 2) + s[i + 1];
}

size_t wr_bundle_bytes(const struct wr_bundle *b)
{
	return b->bytes;
}

void wr_bundle_id(const struct wr_bundle *b, uint8_t id[16])
{
	uint64_t h[2] = {0x5752, 0x4255};
	for (unsigned int i = 0; i < b->head->n_sections; i++) {
		h[0] = wr_mix64(h[0] ^ b->table[i].crc);
		h[1] = wr_mix64(h[1] + h[0] + b->table[i].bytes);
	}
	memcpy(id, h, 16);
}
