/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sliding-window attention over int8 keys and values of one sequence and head (docs/model.md,
 * attention). Built for windows of 50 clicks and heads of 32 channels.
 *
 * Keys and values lie in panels of slots (slot = position in the sequence, oldest first), blocks of
 * 16 slots: key   of slot j, channel c: k[(j/16)·16·dh + (c/4)·64 + (j%16)·4 + c%4]      (the
 * layout of gemm_s8.h's weights) value of slot j, channel c: v[(j/4)·4·dh + c·4 + j%4] so that 16
 * keys meet a query, and 4 values a channel, in one vector. A block of either is 16·dh bytes. The
 * last block of a panel may have w = 4, 8 or 12 slots; its keys then have w·4 for 64. A ring is a
 * panel in which slot j lies at j % slots.
 */
#ifndef WR_ATTENTION_H
#define WR_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WR_ATTEND_MAX_WINDOW 256
#define WR_ATTEND_MAX_HEAD   128
/* Floats before and behind a head's bias row that may be read (their values do not matter). */
#define WR_ATTEND_BIAS_PAD 32
/* Slots of a ring at most. */
#define WR_DECODE_MAX_SLOTS 272

struct wr_kv_panel {
	int8_t *k, *v;            /* slots·dh bytes each, 64-byte aligned, in [-127, 127] */
	float *k_scale, *v_scale; /* [slots]; v_scale ≥ 0 */
	size_t slots;             /* a multiple of 16, of a ring a multiple of 4 */
};

/* Bytes of a panel, whole cache lines, and its parts inside base (64-byte aligned). */
static inline size_t wr_kv_panel_bytes(size_t slots, size_t head_dim)
{
	return (slots * (2 * head_dim + 2 * sizeof(float)) + 63) / 64 * 64;
}
static inline struct wr_kv_panel wr_kv_panel_at(void *base, size_t slots, size_t head_dim)
{
	int8_t *k = base, *v = k + slots * head_dim;
	float *scale = (float *)(void *)(v + slots * head_dim);
	return (struct wr_kv_panel){
		.k = k, .v = v, .k_scale = scale, .v_scale = scale + slots, .slots = slots};
}

/*
 * Stores m consecutive tokens into slots first … first+m-1; other slots keep their bytes. Token i:
 * key at k + i·ld, value at v + i·ld (head_dim bytes, no alignment), scales at k_scale[i·ld_scale],
 * v_scale[i·ld_scale]. head_dim a multiple of 16.
 */
typedef void wr_kv_store_fn(const struct wr_kv_panel *p, size_t head_dim, size_t first, size_t m,
	const int8_t *k, const int8_t *v, size_t ld, const float *k_scale, const float *v_scale,
	size_t ld_scale);
wr_kv_store_fn wr_kv_store_ref, wr_kv_store_avx2;

/* Keys and values of a catalogue's items where they depend on nothing else: row r's at kv + r·2·
 * n_heads·head_dim, keys of all heads, then values; its scales at scale + r·wr_kv_table_scales,
 * in the same order. */
struct wr_kv_table {
	const int8_t *kv;   /* in [-127, 127] */
	const float *scale; /* values' ≥ 0 */
	unsigned int n_heads, head_dim;
};
/* Scales of a row, with what fills up four. */
static inline size_t wr_kv_table_scales(size_t n_heads)
{
	return (2 * n_heads + 3) / 4 * 4;
}

/*
 * Fills slots 0 … n-1 of the heads' panels, n_heads of them one behind another at `panels` (64-byte
 * aligned), from rows rows[0] … rows[n-1] of the table. n a multiple of 8; slots, not fewer, and
 * head_dim of 16.
 */
typedef void wr_kv_gather_fn(
	void *panels, size_t slots, const struct wr_kv_table *t, const uint32_t *rows, size_t n);
wr_kv_gather_fn wr_kv_gather_ref, wr_kv_gather_avx2;

struct wr_attend {
	struct wr_kv_panel kv;
	const int8_t *q; /* query i at q + i·ldq, head_dim bytes in [-127, 127], no alignment */
	size_t ldq;
	const float *q_scale; /* q_scale[i·ld_scale] ≥ 0 */
	size_t ld_scale;
	/* Bias of a key that is `age` clicks older: bias[-age], age 0 … window-1;
	 * WR_ATTEND_BIAS_PAD more floats on either side are readable. */
	const float *bias;
	float *o; /* output i at o + i·ldo, head_dim floats */
	size_t ldo;
	unsigned int n_queries, first; /* query i stands at slot first + i and sees the last
					  `window` slots up to it, none before `origin` */
	unsigned int origin;           /* a panel's; a ring has 0 */
	unsigned int window, head_dim; /* head_dim a multiple of 16 */
	float inv_sqrt;                /* 1 / sqrt(head_dim) */
};
/*
 * The queries of n_jobs sequences and heads, of one head_dim: many jobs in one call share their
 * latencies. All slots that a query sees must have been stored; other slots of the same 16-blocks
 * are read but do not matter. o overlaps no input. Scores and scales finite.
 */
typedef void wr_attend_fn(const struct wr_attend *jobs, size_t n_jobs);
wr_attend_fn wr_attend_ref, wr_attend_avx2, wr_attend_avx512vnni;

/*
 * The same over rings, of one head_dim and one number of slots, at least window + n_queries - 1 and
 * at most WR_DECODE_MAX_SLOTS; first + n_queries ≤ 2·slots. Reads every slot of the ring; those
 * that no query sees do not matter.
 */
wr_attend_fn wr_decode_ref, wr_decode_avx2, wr_decode_avx512vnni;

/* One query over rows of a table, the newest of which is its own: all heads, a key head of each. */
struct wr_attend_rows {
	const struct wr_kv_table *table;
	const uint32_t *rows; /* [n], the oldest first; 15 more before them are read as well */
	unsigned int n;       /* 1 … WR_ATTEND_MAX_WINDOW */
	const int8_t *q;      /* n_heads·head_dim bytes in [-127, 127], no alignment */
	const float *q_scale; /* [n_heads], ≥ 0 */
	const float
		*bias; /* of head h and a key that is `age` clicks older: bias[h·bias_ld - age] */
	size_t bias_ld;
	float *o; /* n_heads·head_dim floats */
	float inv_sqrt;
};
/*
 * What kv_gather of the rows and attend of the query give, without panels between them: for one
 * query these cost more than all the rest. For two heads of 32 channels only, on levels that have
 * it. o overlaps no input.
 */
typedef void wr_attend_rows_fn(const struct wr_attend_rows *jobs, size_t n_jobs);
wr_attend_rows_fn wr_attend_rows_avx512vnni;
static inline bool wr_attend_rows_serves(size_t n_heads, size_t n_kv_heads, size_t head_dim)
{
	return n_heads == 2 && n_kv_heads == 2 && head_dim == 32;
}

/* exp(x) for x ≤ 0 as docs/model.md writes it; the reference's own, for tests. */
float wr_attend_exp_ref(float x);

#endif
