/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The int8 encoder: a user's clicks → one int8 user vector, the same bits at every ISA level and
 * for every burst composition. Built for bursts of 1 … 64 sequences of 1 … 128 clicks, d = 64, 2
 * blocks; matrix products (through oneDNN where VNNI is, own kernels elsewhere) dominate.
 * docs/model.md specifies every step.
 */
#ifndef WR_MODEL_H
#define WR_MODEL_H

#include "wr_base.h"
#include "wr_bundle.h"

/* Where big blocks come from; the server passes hugepages of its socket. NULL functions =
 * aligned_alloc/free. */
struct wr_allocator {
	void *(*alloc)(void *ctx, size_t bytes, size_t align); /* zeroed; NULL when exhausted */
	void (*free)(void *ctx, void *p);
	void *ctx;
};

/*
 * Age in time as the model sees it: 0 when either time is unknown (0), else 1 + half octaves of
 * s = whole seconds + 1 (1 for s = 1, then 2·log2 s rounded down to the power of two or its
 * middle), cut to n_buckets - 1. A key that is newer than the query has age 0. Training, evaluation
 * and serving share this rule (docs/model.md).
 */
#define WR_TIME_BUCKETS 64 /* usual number: reaches 68 years */
static inline uint32_t wr_time_bucket(int64_t query_ms, int64_t key_ms, uint32_t n_buckets)
{
	if (query_ms <= 0 || key_ms <= 0)
		return 0;
	uint64_t s = query_ms > key_ms ? (uint64_t)(query_ms - key_ms) / 1000 + 1 : 1;
	uint32_t octave = 63 - (uint32_t)__builtin_clzll(s);
	uint32_t bucket = 1 + 2 * octave + (octave ? (uint32_t)(s >> (octave - 1)) & 1 : 0);
	return WR_MIN(bucket, n_buckets - 1);
}

enum wr_isa { WR_ISA_REF, WR_ISA_AVX2, WR_ISA_AVX512VNNI, WR_ISA_AMX, WR_ISA_AUTO };
const char *wr_isa_name(enum wr_isa isa);
/* "auto", "ref", "avx2", "avx512vnni", "amx"; WR_EINVAL for other words. */
int wr_isa_parse(const char *word, enum wr_isa *isa) WR_MUST_CHECK;
/* Whether CPU and kernel allow the level (wr_kernels_supported); the best one. */
bool wr_isa_supported(enum wr_isa isa);
enum wr_isa wr_isa_best(void);

enum wr_gemm_engine { WR_GEMM_AUTO, WR_GEMM_OWN, WR_GEMM_ONEDNN };
const char *wr_gemm_engine_name(enum wr_gemm_engine engine); /* "auto", "own", "onednn" */

struct wr_model; /* packed weights and item panels; immutable, shared by all lcores of a socket */
/*
 * b must outlive the model. isa: WR_ISA_AUTO or a level (WR_ENOTSUP when the CPU lacks it). gemm:
 * AUTO = at level avx512vnni, where oneDNN is exact, every encoder times both engines and takes the
 * faster one for each product and number of rows; own kernels elsewhere and at a level forced
 * below; ONEDNN without VNNI is WR_ENOTSUP. All give the same bits. alloc may be NULL.
 */
int wr_model_new(struct wr_model **m, const struct wr_bundle *b, enum wr_isa isa,
	enum wr_gemm_engine gemm, const struct wr_allocator *alloc,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_model_free(struct wr_model *m);
enum wr_isa wr_model_isa(const struct wr_model *m);
/* AUTO where each encoder chooses, else what all products go through. */
enum wr_gemm_engine wr_model_engine(const struct wr_model *m);
size_t wr_model_bytes(const struct wr_model *m); /* allocated by new, for the memory plan */
/* The same before anything is allocated. */
size_t wr_model_bytes_needed(const struct wr_bundle_model *s);
const struct wr_bundle_model *wr_model_shape(const struct wr_model *m);
/* For lib/rank: the kernels of the model's level and the item vectors packed as a weight matrix (n
 * = n_items rounded up to 16, k = d, scale = item.scale; items beyond n_items are zero). */
struct wr_kernels;
struct wr_gemm_weights;
const struct wr_kernels *wr_model_kernels(const struct wr_model *m);
const struct wr_gemm_weights *wr_model_items(const struct wr_model *m);
/* The same vectors unpacked, [n_items][d], for single dot products. */
const int8_t *wr_model_item_rows(const struct wr_model *m);

/*
 * Whether the first block's queries, keys and values are looked up by item: its tokens bring
 * nothing but their item into it (positions are a matter of biases), so that they are worked out
 * once, at load, and rings hold item rows in their place. Where there is a block behind it and the
 * table stays within WR_ITEM_HEADS_MAX_BYTES, near enough to the core to be read at random.
 */
#define WR_ITEM_HEADS_MAX_BYTES (8u << 20)
bool wr_model_heads_by_item(const struct wr_bundle_model *s);

/* User vectors of a burst: q s8 [n][d] rows (64-byte aligned), scale f32 [n] so that logit(item) =
 * ((float)dot · item.scale) · scale. A user without clicks has q = 0, scale = 0. Owned by the
 * encoder, valid until the next encode. */
struct wr_user_vectors {
	const int8_t *q;
	const float *scale;
};

/*
 * One thread's scratch and oneDNN primitives: create it IN the thread that uses it (OpenMP keeps
 * per-thread state), which new() also pins to one OpenMP thread. max_seqs ≥ 1, max_tokens = sum of
 * their lengths. With oneDNN, new() also makes its primitives (some tens of ms), with AUTO it times
 * them beside own kernels (some ms more), and oneDNN keeps
 * its own copy of the weights on the heap (about as many bytes as the bundle's blocks), which
 * bytes_needed does not count.
 */
struct wr_encoder;
int wr_encoder_new(struct wr_encoder **e, const struct wr_model *m, unsigned int max_seqs,
	unsigned int max_tokens, const struct wr_allocator *alloc,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_encoder_free(struct wr_encoder *e);
size_t wr_encoder_bytes_needed(
	const struct wr_bundle_model *s, unsigned int max_seqs, unsigned int max_tokens);
/*
 * Cold path without a session: sequence i is rows[seq_off[i] … seq_off[i+1]-1], oldest first, each
 * an item row (id - 1) below n_items, its time unknown; at most wr_bundle_history_events of them
 * matter and only those should be given. Ragged: no padding. The last block runs for the last
 * position only. n_seqs ≤ max_seqs, tokens ≤ max_tokens (asserted).
 */
struct wr_user_vectors wr_encoder_encode(
	struct wr_encoder *e, unsigned int n_seqs, const uint32_t *seq_off, const uint32_t *rows);

/*
 * A ring: one session's cached keys, values and last user vector, as the two calls below leave
 * them. wr_ring_bytes, 64-byte aligned, any content before the first cold call; it belongs to one
 * bundle, at any level. Rows that a later query can see are those of the whole history's encoding:
 * warm and cold answers are the same bits, when cold gets the last wr_bundle_history_events or all.
 */
size_t wr_ring_bytes(const struct wr_bundle_model *s);
/* Most new tokens of a sequence in one warm call, 1 or more: a window; with more of them the cold
 * call is no slower. */
unsigned int wr_ring_max_new(const struct wr_bundle_model *s);

struct wr_encoder_batch {
	unsigned int n_seqs;
	const uint32_t *seq_off, *rows; /* as above */
	void *const *rings;             /* [n_seqs]; no ring twice */
	const uint8_t *out; /* user vector of sequence i goes to row out[i] < max_seqs; NULL = i */
	/* Looked at by models with time_buckets only: unix ms of each token, as rows, and [n_seqs]
	 * of each request; 0 or NULL = unknown. */
	const int64_t *times, *asked;
};
/* Cold path that leaves a ring behind each sequence. Sequences of length 0 leave theirs alone.
 * rings NULL: without any, as wr_encoder_encode. */
struct wr_user_vectors wr_encoder_cold(struct wr_encoder *e, const struct wr_encoder_batch *batch);
/* Warm path: rows are the new tokens only, 0 … wr_ring_max_new of each sequence; without one the
 * vector is that of the ring's last call, with time_buckets that of its tokens at this request's
 * time (one block is run again). The other rows of the vectors stay as they were. */
struct wr_user_vectors wr_encoder_warm(struct wr_encoder *e, const struct wr_encoder_batch *batch);

/* What an encoder with engine AUTO measured in new. */
#define WR_ENGINE_SHAPES 6
#define WR_ENGINE_STEPS  11
struct wr_engine_times {
	const char *name; /* of the product: "qkv", "kv", "q", "out", "up", "down" */
	uint32_t n, k;    /* its outputs and inputs */
	struct {
		uint32_t rows, own_ns,
			onednn_ns; /* of a call with dequantisation, best of several */
		bool onednn;       /* the choice for up to so many rows */
	} step[WR_ENGINE_STEPS];
};
/* The table of WR_ENGINE_SHAPES products; NULL with a forced engine. The encoder's, constant. */
const struct wr_engine_times *wr_encoder_engines(const struct wr_encoder *e);
/* Multiply-adds done by oneDNN and by own kernels since new. */
void wr_encoder_macs(const struct wr_encoder *e, uint64_t *onednn, uint64_t *own);

#endif
