/* SPDX-License-Identifier: BSD-3-Clause */
/* On-disk layout of a bundle, shared by reader and writer. */
#ifndef BUNDLE_FILE_H
#define BUNDLE_FILE_H

#include "wr_bundle.h"

#define BUNDLE_MAGIC        "WRBUNDLE"
#define BUNDLE_ALIGN        64
#define BUNDLE_NAME_BYTES   16
#define BUNDLE_MAX_SECTIONS 1024

struct bundle_head {
	char magic[8];
	uint32_t format;
	uint32_t n_sections;
	uint64_t file_bytes;
	uint32_t crc; /* of head (with crc = 0) and table */
	uint8_t reserved[36];
};
static_assert(sizeof(struct bundle_head) == 64, "layout");

struct bundle_entry {
	char name[BUNDLE_NAME_BYTES]; /* NUL-padded */
	uint64_t offset, bytes;
	uint32_t crc;
	uint8_t reserved[28];
};
static_assert(sizeof(struct bundle_entry) == 64, "layout");

/* The oldest format that says all of a model: most readers can read it. */
static inline uint32_t wr_bundle_format_of(const struct wr_bundle_model *m)
{
	return m->age_keys           ? WR_BUNDLE_FORMAT_AGE
	       : wr_bundle_n_kept(m) ? WR_BUNDLE_FORMAT_KEPT
				     : WR_BUNDLE_FORMAT;
}

/* CRC-32 of n bytes, continuing from crc (0 to start). */
uint32_t wr_bundle_crc32(uint32_t crc, const void *data, size_t n);

/* Whether every section that a model needs is there with sound contents. */
int wr_bundle_check_contents(const struct wr_bundle *b, struct wr_errmsg *msg);

#endif
