/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Smaller models: structured pruning, compressed item vectors, what quantisation costs by layer,
 * and what an answer costs on the server's kernels. Offline, seconds to minutes on a few cores.
 * Methods and sources: docs/learning.md, "Smaller models".
 */
#ifndef WR_COMPACT_H
#define WR_COMPACT_H

#include "wr_learn.h"

/* ---- pruning ---- */
/* What shall be left; 0 = as it is. */
struct wr_prune {
	uint32_t blocks;   /* those whose loss costs least validation NDCG@10 go, one by one */
	uint32_t heads;    /* of each block; key heads go with theirs where each head has its own */
	uint32_t kv_heads; /* means of neighbouring key and value heads (Ainslie et al. 2023) */
	uint32_t ffn;      /* units of each block */
	uint32_t window;   /* the youngest ages stay */
	uint32_t d;        /* principal directions of the residual stream (Ashkboos et al. 2024) */
	bool two_four;     /* of four neighbouring weights of a row the two smallest become 0 */
	uint32_t users;    /* whose training clicks importance is measured on; 0 = 512 */
	uint32_t threads;  /* 0 = OpenMP's default */
};
/* First-order Taylor importance (Michel et al. 2019; Molchanov et al. 2019): the mean over chunks
 * of eight users of |d loss / d gate|. By head [L][H] and by unit [L][f]; the caller's. */
struct wr_importance {
	double *head, *unit;
};
/* WR_EINVAL: no user has two clicks to measure on. */
int wr_importance_measure(struct wr_importance *x, const struct wr_student *s,
	const struct wr_dataset *ds, uint32_t users, uint32_t threads,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_importance_free(struct wr_importance *x);
/*
 * A new, smaller student (the caller's); s stays. ds: the data s was trained on, validation and
 * training clicks only. WR_EINVAL names the knob: none may grow, and heads must share key heads
 * evenly.
 */
int wr_prune_run(const struct wr_prune *p, const struct wr_student *s, const struct wr_dataset *ds,
	struct wr_student **out, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Writes RUN/best.safetensors with weights and shape alone, for fit --from, eval and pack. The
 * directory is made. */
int wr_prune_write(
	const struct wr_student *s, const char *run_dir, struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- int8 by layer ---- */
struct wr_layer_score {
	double hr10, ndcg10; /* seen items removed */
	double same10;       /* share of the float model's ten best that are among its own */
};
struct wr_layer {
	char name[24]; /* "items", "user", "bB.qkv", "bB.attention", "bB.out", "bB.up", "bB.down" */
	struct wr_layer_score alone, spared; /* this one in int8 alone; all but this one */
};
#define WR_LAYERS_MAX (2 + 5 * WR_BUNDLE_MAX_BLOCKS)
struct wr_layers {
	uint32_t n;
	struct wr_layer_score none, all;
	struct wr_layer layer[WR_LAYERS_MAX];
};
/*
 * Rounds as the server does, in float sums: `all` is within a few users of the int8 model. keep:
 * names for wr_keep_parse of projections that round in two planes, NULL = none. WR_EINVAL for bad
 * names, teachers and windows above 96; WR_ESTATE when stopped.
 */
int wr_layers_measure(const struct wr_student *s, const struct wr_dataset *ds, enum wr_split split,
	uint32_t users, uint32_t threads, const char *keep, struct wr_layers *out,
	struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- what an answer costs ---- */
/* One thread, bursts of 32, ten best of the catalogue, seen items removed; medians of rounds. */
struct wr_cost {
	uint64_t model_bytes;   /* of the weights and item vectors as the server packs them */
	uint32_t session_bytes; /* cached rows that a warm answer reads */
	uint32_t cold_clicks;   /* of the cold answers: what reaches the last position, at most
				   200 */
	/* Multiply-adds that the model asks for, looked up by the server or not: one new click;
	 * cold; ranking. */
	uint64_t warm_macs, cold_macs, score_macs;
	double warm_us, cold_us; /* per answer, ranking included */
	double score_us;         /* of these the ranking */
};
/* lib/model and lib/rank as the server runs them, at the best level. seconds: for each of the two
 * kinds. WR_ENOMEM, and the errors of wr_model_new. */
int wr_cost_measure(const struct wr_bundle *b, double seconds, struct wr_cost *out,
	struct wr_errmsg *msg) WR_MUST_CHECK;
/*
 * The same of a model that the server cannot run: int8 of its shape, with random weights, a gated
 * feed-forward as one with as many multiply-adds, without rotation and with a window of at most
 * 256. float_us: the float pass itself over cold_clicks clicks with its ranking, through the GEMM
 * library of training, on one thread.
 */
int wr_cost_measure_shape(const struct wr_student *s, double seconds, struct wr_cost *out,
	double *float_us, struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- item vectors in fewer bytes ---- */
enum wr_compress_way {
	WR_COMPRESS_FLOAT,
	WR_COMPRESS_INT8,     /* as in bundles: by row */
	WR_COMPRESS_PCA,      /* `size` principal directions in float */
	WR_COMPRESS_PCA_INT8, /* the same, int8 by row */
	WR_COMPRESS_PQ        /* `size` parts of a byte each, 256 centroids a part */
};
const char *wr_compress_name(enum wr_compress_way way);
struct wr_compressed {
	enum wr_compress_way way;
	uint32_t size;
	uint32_t bytes;  /* an item; what all share (directions, centroids: 4·d·size, 1024·d) is
			    not in it */
	double recall10; /* share of the ten best by exact float scores, nothing filtered */
	double hr10, ndcg10; /* seen items removed */
};
/* way and size are the caller's, the rest is filled in. Users' vectors stay float. WR_EINVAL:
 * a size that does not fit the width. */
int wr_compress_measure(const struct wr_student *s, const struct wr_dataset *ds,
	enum wr_split split, uint32_t users, uint32_t threads, struct wr_compressed *ways,
	uint32_t n_ways, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
