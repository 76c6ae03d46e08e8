/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bundle: one versioned, checksummed file that wrtrain writes and wirerankd maps read-only.
 * Sections are 64-byte aligned, so that a mapped tensor can be used in place. Little-endian.
 *
 *   file   = head (64 bytes), section table (64 bytes each), sections
 *   check  = CRC-32 (zlib) of every section in the table, of head and table in the head
 *   id     = bytes 0…15 of the table's section checksums mixed (wr_bundle_id): equal content, equal
 * id
 *
 * Row r of every item table is item id r + 1 (ids are given once, append-only: IMAP). A name is at
 * most 15 characters; unknown sections are ignored by readers, so that later ones need no new
 * version.
 */
#ifndef WR_BUNDLE_H
#define WR_BUNDLE_H

#include "wr_base.h"

#include <assert.h>

#define WR_BUNDLE_FORMAT      1
#define WR_BUNDLE_FORMAT_KEPT 2 /* with kept projections: builds that know none refuse it */
#define WR_BUNDLE_FORMAT_AGE  3 /* with keys by age, and kept projections or none: the same */
#define WR_BUNDLE_MAX_BLOCKS  16

/* Section names; tensors row-major. n = n_items, d, L = n_blocks, H = n_heads, G = n_kv_heads, f =
 * ffn. */
#define WR_SEC_MANIFEST "manifest" /* JSON text: data, metrics, training settings */
#define WR_SEC_MODEL    "model"    /* struct wr_bundle_model */
#define WR_SEC_ITEM_Q \
	"item.q" /* s8 [n][d]: unit-norm item vectors, quantised per row, in [-127,127] */
#define WR_SEC_ITEM_SCALE "item.scale" /* f32 [n]: unit vector = q · scale */
#define WR_SEC_ITEM_IN    "item.in" /* f32 [n]: encoder input x0 = q · in (scale · norm · √d) */
#define WR_SEC_ITEM_FLAGS "item.flags" /* u8 [n]: bit 0 = may be recommended */
#define WR_SEC_FINAL_GAIN "final.gain" /* f32 [d] */
/* per block b ("b0.qkv.q" …): weights s8 [out][in], |w| ≤ 127, scale f32 [out]; norm gains are
 * folded in */
/*   bB.qkv.q  [(H+2G)·dh][d]: query rows, then key rows, then value rows;  bB.qkv.s */
/*   bB.out.q  [d][H·dh];  bB.out.s        bB.up.q [f][d];  bB.up.s        bB.down.q [d][f];
 * bB.down.s */
/*   bB.qkv.low, bB.out.low, bB.up.low, bB.down.low: of a kept projection, as its .q: weight = (q +
 * low / 254) · s */
/*   bB.bias   f32 [H][W]: added to the logit of a key that is a clicks older (a = 0 … W-1) */
/*   bB.time   f32 [H][time_buckets]: with time_buckets, added to the above by age in time */
/*   bB.age.q  s8 [H][W][dh]; bB.age.s f32 [H][W]: with age_keys, keys by age; key = q · s */
#define WR_SEC_POPULARITY "popularity"  /* u32 [n]: training interactions of an item */
#define WR_SEC_CATEGORY   "category"    /* u16 [n]: main category, 0 = none */
#define WR_SEC_CAT_NAMES  "cat.names"   /* strings: category c's name is string c (0 = "") */
#define WR_SEC_ITEM_NAMES "item.names"  /* strings: external id of row r */
#define WR_SEC_TITLES     "item.titles" /* strings */
#define WR_SEC_RULES      "rules"       /* text of the intent rules file, as lib/intent reads it */

/* A strings section: u32 n, u32 offset[n + 1] (into the bytes behind the offsets), bytes, UTF-8, no
 * NULs between. */

/* The projections of a block; their names are those of the sections. */
enum wr_bundle_projection {
	WR_BUNDLE_QKV,
	WR_BUNDLE_OUT,
	WR_BUNDLE_UP,
	WR_BUNDLE_DOWN,
	WR_BUNDLE_PROJECTIONS
};
/* "qkv", "out", "up", "down". */
const char *wr_bundle_projection_name(enum wr_bundle_projection p);

struct wr_bundle_model {
	uint32_t n_items, d, n_blocks, n_heads, n_kv_heads, head_dim, window, ffn;
	float logit_scale;       /* logits = logit_scale · cosine */
	float norm_eps;          /* RMSNorm: 1 / sqrt(mean(x²) + eps) */
	uint32_t bundle_version; /* given by the trainer, grows */
	uint32_t time_buckets;   /* of age in time, 2 … 256; 0 = the model looks at no times */
	/* Bit b: this projection of block b is kept in two int8 planes (docs/model.md). */
	uint16_t kept[WR_BUNDLE_PROJECTIONS];
	uint32_t age_keys; /* 1: queries meet a key by age too; 0 = none */
	uint32_t reserved[1];
};
static_assert(sizeof(struct wr_bundle_model) == 64, "layout");
static_assert(WR_BUNDLE_MAX_BLOCKS <= 16, "a bit a block");

static inline size_t wr_bundle_outputs(const struct wr_bundle_model *m, enum wr_bundle_projection p)
{
	return p == WR_BUNDLE_QKV  ? (size_t)(m->n_heads + 2 * m->n_kv_heads) * m->head_dim
	       : p == WR_BUNDLE_UP ? m->ffn
				   : m->d;
}
static inline size_t wr_bundle_inputs(const struct wr_bundle_model *m, enum wr_bundle_projection p)
{
	return p == WR_BUNDLE_OUT    ? (size_t)m->n_heads * m->head_dim
	       : p == WR_BUNDLE_DOWN ? m->ffn
				     : m->d;
}
static inline bool wr_bundle_kept(
	const struct wr_bundle_model *m, unsigned int block, enum wr_bundle_projection p)
{
	return m->kept[p] >> block & 1;
}
/* Whether every query has biases of its own: by its age in time, by its content. */
static inline bool wr_bundle_own_biases(const struct wr_bundle_model *m)
{
	return m->time_buckets || m->age_keys;
}
/* How many projections are kept. */
static inline unsigned int wr_bundle_n_kept(const struct wr_bundle_model *m)
{
	unsigned int n = 0;
	for (unsigned int p = 0; p < WR_BUNDLE_PROJECTIONS; p++)
		n += (unsigned int)__builtin_popcount(m->kept[p]);
	return n;
}

/* ---- reading ---- */
struct wr_bundle;
/*
 * Maps and verifies path: magic, version, bounds, every checksum, presence, size and range of every
 * section above
 * (|q| ≤ 127, finite scales, sound strings). On success *b is owned by the caller
 * (wr_bundle_close). On failure *b is NULL and msg names the section and the mend. WR_ENOENT,
 * WR_EIO, WR_EFORMAT, WR_EVERSION, WR_ECHECKSUM, WR_ENOMEM. Immutable afterwards: any thread may
 * read.
 */
int wr_bundle_open(struct wr_bundle **b, const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_bundle_close(struct wr_bundle *b);
const struct wr_bundle_model *wr_bundle_model(const struct wr_bundle *b);
/* A section's bytes inside the mapping; NULL and *size = 0 when absent. size may be NULL. */
const void *wr_bundle_section(const struct wr_bundle *b, const char *name, size_t *size);
/* "bB.what" of block index. */
const void *wr_bundle_block(const struct wr_bundle *b, unsigned int block, const char *what);
/* String i of a strings section; "" with *bytes = 0 when absent. Not NUL-terminated. */
const char *wr_bundle_string(
	const struct wr_bundle *b, const char *section, uint32_t i, uint32_t *bytes);
size_t wr_bundle_bytes(const struct wr_bundle *b);
void wr_bundle_id(const struct wr_bundle *b, uint8_t id[16]);
/* The number of events behind an exact answer: blocks·(W-1)+1. */
static inline uint32_t wr_bundle_history_events(const struct wr_bundle_model *m)
{
	return m->n_blocks * (m->window - 1) + 1;
}

/* ---- writing ---- */
struct wr_bundle_builder;
int wr_bundle_builder_new(struct wr_bundle_builder **w, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Copies bytes. WR_EINVAL: name too long or given twice; WR_ENOMEM. */
int wr_bundle_builder_add(struct wr_bundle_builder *w, const char *name, const void *data,
	size_t bytes) WR_MUST_CHECK;
/* n NUL-terminated strings; a NULL entry is "". */
int wr_bundle_builder_add_strings(struct wr_bundle_builder *w, const char *name,
	const char *const *s, uint32_t n) WR_MUST_CHECK;
/* Writes all or nothing, then opens it again to verify. */
int wr_bundle_builder_write(
	struct wr_bundle_builder *w, const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_bundle_builder_free(struct wr_bundle_builder *w);

#endif
