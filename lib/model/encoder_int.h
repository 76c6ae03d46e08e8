/* SPDX-License-Identifier: BSD-3-Clause */
/* What encoder.c, keys.c, products.c, own_bias.c and age_time.c share: the encoder itself. */
#ifndef WR_ENCODER_INT_H
#define WR_ENCODER_INT_H

#include "model_internal.h"

#include "gemm_onednn.h"
#include "wr_prefetch.h"

#include <assert.h>

/* Tokens a product runs over at once: with own kernels few, so that its activations (48 KB at d =
 * 64) stay near; where all is oneDNN's, as many as make a call's own cost small. */
#define TILE_OWN 64
#define TILE     WR_GEMM_ONEDNN_ROWS

/* The products of a block; KV and Q are QKV's parts, for tokens that need only one of them. */
enum product { QKV, KV, Q, OUT, UP, DOWN, N_PRODUCTS };
static_assert(N_PRODUCTS == WR_ENGINE_SHAPES && WR_ENGINE_STEPS <= WR_GEMM_ONEDNN_STEPS, "tables");

/* Where a sequence's keys and values of the running block are. */
struct place {
	uint8_t *panels; /* one per key head */
	uint32_t slots;  /* 0: its queries have attended */
	uint32_t first;  /* slot of the block's first token; beyond the slots of a ring: see
			    attention.h */
	uint32_t origin; /* first slot of the sequence; of a ring 0 */
};

struct wr_encoder {
	const struct wr_model *m;
	unsigned int max_seqs, max_tokens;
	size_t max_slots; /* of all panels: every sequence's tokens rounded up to 16 */
	uint64_t macs_onednn, macs_own;
	struct wr_allocator alloc;

	const struct wr_encoder_batch *batch; /* the running call's */
	bool warm;
	bool in_rings;       /* the running block's keys and values are those of the rings */
	bool stage;          /* it has more new queries than rings take tokens at once */
	uint32_t *rows;      /* [max_tokens], trimmed */
	uint32_t *length;    /* [max_seqs]: tokens of a sequence, trimmed */
	struct place *place; /* [max_seqs] */
	struct wr_attend_rows *row_jobs; /* [max_seqs], by_item.c */
	unsigned int n_row_jobs;
	struct wr_attend *jobs;     /* [max_seqs][H], or [OWN_QUERIES][H] if more */
	uint32_t *in_off, *out_off; /* [max_seqs + 1]: tokens of a sequence in x, on entry and on
				       exit of a block */
	uint32_t *slot_off;         /* [max_seqs + 1]: first slot of a sequence's panels */
	uint32_t *key_rows;         /* [max_seqs][key_rows_ld]: item rows of its keys, by_item.c */
	size_t key_rows_ld;
	float *x;       /* [max_tokens][d]: the residual stream */
	int8_t *q;      /* [max_tokens][H·dh] */
	float *q_scale; /* [max_tokens][H] */
	uint8_t *kv;    /* per sequence G panels of its slots */
	float *o;       /* [max_tokens][H·dh] */

	int8_t *act;      /* [TILE][widest input] */
	float *act_scale; /* [TILE] */
	int8_t *act_low;  /* the same of second planes; with kept projections only */
	float *act_low_scale;
	float *y;                      /* [TILE][widest output] */
	int8_t *heads;                 /* [TILE][(H+2G)·dh] */
	float *head_scale;             /* [TILE][H+2G] */
	int32_t *acc;                  /* [TILE][widest output]: oneDNN's sums */
	struct wr_gemm_onednn *onednn; /* NULL with own kernels */
	/* oneDNN's numbers, and those of kept projections' second planes. */
	unsigned int matrix[WR_BUNDLE_MAX_BLOCKS][N_PRODUCTS];
	unsigned int matrix_low[WR_BUNDLE_MAX_BLOCKS][N_PRODUCTS];
	/* Whose product of up to so many rows it is. */
	bool by_onednn[N_PRODUCTS][WR_GEMM_ONEDNN_STEPS];
	struct wr_engine_times times[N_PRODUCTS];

	/* What a cold pass will write of the rings: asked for while it computes. */
	struct wr_prefetch ahead;
	void **ahead_block; /* [max_seqs] */

	int8_t *user_q; /* [max_seqs][d] */
	float *user_scale;

	/* Models with time_buckets (age_time.c). */
	bool again;         /* the running pass asks rings' last tokens again */
	int64_t *time;      /* of each sequence's keys: some before its tokens, then these */
	uint32_t *time_off; /* [max_seqs]: of its first token */

	/* Models whose queries have biases of their own (own_bias.c). */
	float *own_bias;  /* [OWN_QUERIES][H][bias_ld] */
	float *own_scale; /* [OWN_QUERIES] */
};

/* A key head's panel of the running block. */
static inline struct wr_kv_panel encoder_panel(
	const struct wr_encoder *e, unsigned int seq, unsigned int group)
{
	const struct place *p = &e->place[seq];
	size_t dh = e->m->s.head_dim;
	return wr_kv_panel_at(p->panels + group * wr_kv_panel_bytes(p->slots, dh), p->slots, dh);
}

/* Sequences whose panels are filled, then met by their queries: the same cache lines again and
 * again. Where queries have biases of their own, all at once. */
#define PANELS_NEAR 2
/* The first of the sequences whose panels a block by item fills together with this one's. */
static inline unsigned int encoder_first_near(const struct wr_encoder *e, unsigned int seq)
{
	return wr_bundle_own_biases(&e->m->s) ? 0 : seq - seq % PANELS_NEAR;
}

/* Whether block b's heads are looked up by item. */
static inline bool encoder_by_item(const struct wr_encoder *e, unsigned int b)
{
	return b == 0 && e->m->item_heads.q;
}

/* ---- encoder.c ---- */
/* Heads of the m ≤ TILE rows of x from `first` on, projected by block b's product, quantised: into
 * heads and head_scale. */
void wr_encoder_heads(
	struct wr_encoder *e, unsigned int b, enum product part, size_t first, size_t m);

/* ---- own_bias.c: only with wr_bundle_own_biases ---- */
#define OWN_QUERIES 32 /* of one call of attention: their biases take some 20 KB */
/* attend() with a bias of its own for every query. */
void wr_encoder_attend_own(struct wr_encoder *e, unsigned int b, uint32_t from, uint32_t end);

/* ---- age_time.c: only with time_buckets ---- */
/* The batch's times, and those of the keys that the rings hold. */
void wr_encoder_take_times(struct wr_encoder *e);
/* Adds to the biases of token t (of those that entered block b) of a sequence what its n keys' ages
 * in time say; rows: [H][bias_ld], as block->bias. */
void wr_encoder_add_time_biases(const struct wr_encoder *e, unsigned int b, unsigned int seq,
	uint32_t t, uint32_t n, float *rows);
/* Before the last block and behind it: what a ring keeps of its newest tokens. */
void wr_encoder_keep_last_x(struct wr_encoder *e);
void wr_encoder_keep_times(struct wr_encoder *e, unsigned int seq);
/* Lays out the pass of sequences without new tokens; false when there is none. */
bool wr_encoder_ask_again(struct wr_encoder *e);

/* ---- by_item.c: the first block with wr_model_heads_by_item ---- */
/* Tokens that a sequence's ring knows and its new ones can see. */
uint32_t wr_encoder_known(const struct wr_encoder *e, unsigned int seq);
/* Keys and values of what a sequence's new tokens can see and their own into panels, queries to q,
 * new tokens' rows into the ring. One with a single query that needs no panels gets none (slots =
 * 0), but a job. */
void wr_encoder_take_heads(struct wr_encoder *e, unsigned int seq);
void wr_encoder_attend_alone(struct wr_encoder *e); /* the jobs */

/* ---- keys.c ---- */
/* Keys and values of consecutive tokens: token i's at kv + i·ld, its scales at scale + i·ld_scale,
 * key heads first. */
struct fresh_kv {
	const int8_t *kv;
	const float *scale;
	size_t ld, ld_scale;
};
/* place of the running block b, and in_rings. */
void wr_encoder_place(struct wr_encoder *e, unsigned int b, unsigned int n_seqs);
/* Stores n tokens as a sequence's from `token` (of those that enter the block) on. */
void wr_encoder_store_run(
	struct wr_encoder *e, unsigned int seq, size_t token, size_t n, struct fresh_kv f);
/* Stores tokens first … first+m-1 in in_off's numbering. *seq: a sequence at or before the first
 * token's; left at the last token's. */
void wr_encoder_store(
	struct wr_encoder *e, size_t first, size_t m, struct fresh_kv f, unsigned int *seq);
/* Where the keys and values of a warm batch's new tokens wait when they don't fit into the rings
 * together: in the memory of the cold panels; and m of them put there. */
struct fresh_kv wr_encoder_staged(const struct wr_encoder *e, size_t token);
void wr_encoder_stage(struct wr_encoder *e, size_t first, size_t m, struct fresh_kv f);
/* What a cold pass leaves of block b in its sequences' rings. */
void wr_encoder_fill_rings(struct wr_encoder *e, unsigned int b, unsigned int n_seqs);
/* The user vector of a sequence without tokens: that of its ring, or nobody's. */
void wr_encoder_old_user(struct wr_encoder *e, unsigned int seq, int8_t *q, float *scale);
/* Closes a sequence's ring behind its tokens. */
void wr_encoder_close_ring(struct wr_encoder *e, unsigned int seq, const int8_t *q, float scale);

/* ---- products.c ---- */
/*
 * y (+)= act · product i of block b; the first m rows of act and act_scale, which were made of the
 * rows of x (no gaps; DOWN: of max(x, 0)): a kept projection quantises once more what they left of
 * it, and act is lost then. y overlaps neither.
 */
void wr_encoder_linear(struct wr_encoder *e, unsigned int b, enum product i, size_t m,
	const float *x, float *y, size_t ldy, bool add);
/* The weights of product i of block b; those of KV and Q are slices of QKV's. */
struct wr_gemm_weights wr_encoder_weights(
	const struct wr_encoder *e, unsigned int b, enum product i);
/* How many of the tokens that are left the next product takes. */
size_t wr_encoder_tile(const struct wr_encoder *e, size_t left);
/* Makes oneDNN's primitives and, with AUTO, times both engines. */
int wr_encoder_start_onednn(struct wr_encoder *e, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
