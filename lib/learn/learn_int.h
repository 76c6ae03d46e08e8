/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared inside lib/learn: loops that are compiled per instruction set, workspaces, forward and
 * backward passes. */
#ifndef WR_LEARN_INT_H
#define WR_LEARN_INT_H

#include "wr_learn.h"

#include <math.h>

/*
 * A function with this attribute is compiled for AVX-512, AVX2 + FMA and the base, chosen at load
 * time by feature level: names of one maker's CPUs ("skylake-avx512") are never chosen on another's
 * that has the same instructions. Float training need not agree across levels. Sanitizers run
 * before the resolvers may, so their builds take the base.
 */
#if WR_SANITIZE || defined(__clang__)
#define WR_CLONES
#else
#define WR_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
#define WR_INLINE static inline __attribute__((always_inline))

/* exp for any x; relative error under 2e-7, 0 below -87. Vectorises. Source: Cephes expf. */
WR_INLINE float fast_expf(float x)
{
	x = x < -87.0f ? -87.0f : x;
	x = x > 88.0f ? 88.0f : x;
	float t = x * 1.44269504f +
		  12582912.0f; /* 1.5 · 2^23: rounds to an integer in the low bits */
	union {
		float f;
		int32_t i;
	} u = {.f = t}, v;
	float n = t - 12582912.0f;
	float r = x - n * 0.693359375f;
	r = r + n * 2.12194440e-4f;
	float y = 1.9875691500e-4f;
	y = y * r + 1.3981999507e-3f;
	y = y * r + 8.3334519073e-3f;
	y = y * r + 4.1665795894e-2f;
	y = y * r + 1.6666665459e-1f;
	y = y * r + 5.0000001201e-1f;
	y = y * (r * r) + r + 1.0f;
	v.f = y;
	v.i += (int32_t)((uint32_t)u.i << 23);
	return v.f;
}

/* Weights of m products e, whose biases are added, in place; returns the logarithm of their sum. */
WR_INLINE float softmax_row(float *e, const float *bias, uint32_t m, float inv_sqrt)
{
	float top = -INFINITY, z = 0;
#pragma omp simd reduction(max : top)
	for (uint32_t i = 0; i < m; i++) {
		e[i] = e[i] * inv_sqrt + bias[i];
		top = e[i] > top ? e[i] : top;
	}
#pragma omp simd reduction(+ : z)
	for (uint32_t i = 0; i < m; i++) {
		e[i] = fast_expf(e[i] - top);
		z += e[i];
	}
	float inv = 1.0f / z;
#pragma omp simd
	for (uint32_t i = 0; i < m; i++)
		e[i] *= inv;
	return top + logf(z);
}

/* Adam's moments and the running mean of the weights (NULL = none kept), laid out as s->w. */
struct optimiser {
	float *m, *v, *mean;
};
int wr_learn_optimiser_new(struct optimiser *o, const struct wr_student *s, bool mean,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_learn_optimiser_free(struct optimiser *o);

/* Sequences laid end to end: sequence i is rows[off[i] … off[i+1]-1]. */
struct ragged {
	uint32_t n_seqs;
	const uint32_t *off, *rows;
	/* Unix ms of each token, and of when one asks behind it (training: the next token's); both
	 * are needed by a net with time_buckets, and by no other. */
	const int64_t *times, *asked;
	/* Who each sequence belongs to, a row of profile; NULL = nobody is known. */
	const struct wr_side *profile;
	const uint32_t *user;
};

/* Dropout by a counter-based hash, so that the backward pass makes the same mask again. threshold 0
 * = off. */
struct dropout {
	uint32_t threshold, attn_threshold; /* an element is dropped when its hash is below */
	float scale, attn_scale;
	uint64_t key;
};
struct dropout wr_learn_dropout_make(double rate, double attn_rate, uint64_t key);
/* x[i] *= scale or 0, by (key, site, i). */
void wr_learn_dropout_apply(
	float *x, size_t n, uint32_t threshold, float scale, uint64_t key, uint32_t site);

/* What the forward pass of one block leaves for the backward pass, by token. p: attention weights
 * [H][W], or, where attention runs by blocks, the log of each softmax's sum [H]. up: what goes into
 * the activation, NULL for a plain relu. */
struct block_ws {
	float *x_in, *r1, *n1, *qkv, *p, *o, *x_mid, *r2, *n2, *up, *h;
};
#define SOFTMAX_TILE 64
#define MAX_FUTURE   16
/* Is shown a query's m attention weights, oldest first, before dropout; see NULL = nobody. */
struct watcher {
	void (*see)(void *to, uint32_t head, uint32_t token, const float *p, uint32_t m);
	void *to;
};
struct guide;
struct soft_ws;
/* One thread's memory for chunks of at most max_tokens tokens. */
struct net_ws {
	uint32_t max_tokens;
	float *arena;
	struct block_ws b[WR_BUNDLE_MAX_BLOCKS];
	float *x_out;      /* [T][d] behind the last block */
	float *u, *u_norm; /* [T][d] unit user vectors, [T] their lengths before */
	float *dx, *dy, *dn, *dqkv, *d_h, *d_up; /* gradients; dx after backward: of x0 / dropout */
	float *v_scale;           /* [T] of one head's values; through the server's rounding only */
	float *kt, *vt;           /* transposed keys and values of one head of one sequence */
	float *bias_rev, *d_bias; /* [H][W] */
	float *att_s, *att_g;     /* [ATTENTION_ROWS][keys]: scores and their gradients */
	/* Buckets of age in time by query and slot, of the token's own time and of when one asks
	 * behind it: [T][W]; a row of biases; gradients [H][time_buckets]. With time_buckets. */
	uint8_t *bucket[2];
	float *time_row, *d_time;
	/* Keys by age of the running block: [H][W][dh] by slot, [H][dh][W], and gradients by slot;
	 * with age_keys. */
	float *age_key, *age_key_t, *d_age_key;
	float *turn; /* [T][head_dim]: cosines, then sines, by position; rotary only */
	float *row_scale, *tile_u, *tile_z; /* softmax tiles */
	float share[SOFTMAX_TILE][MAX_FUTURE];
	uint32_t n_share[SOFTMAX_TILE];
	struct soft_ws *soft;                       /* NULL = no soft answers */
	struct watcher watch[WR_BUNDLE_MAX_BLOCKS]; /* of blocks' attention weights */
	struct guide *guide;                        /* a teacher's blocks, NULL = none */
	float guide_weight;                         /* of a position */
	double hidden_loss, attention_loss;
};
int wr_learn_net_ws_new(struct net_ws *ws, const struct wr_student *s, uint32_t max_tokens,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_learn_net_ws_free(struct net_ws *ws);

/* Fills ws from x0 to u. A sequence may have at most max_tokens tokens. */
void wr_learn_net_forward(const struct wr_student *s, struct net_ws *ws, const struct ragged *in,
	const struct dropout *drop);
/* Start values from a teacher (DistilBERT's way): every tensor of a matched block, and the
 * embedding and the final gain, where both have the same shape; the logit scale; age biases, as far
 * as both windows reach. */
void wr_learn_take_tensors(struct wr_student *s, const struct wr_student *t, const uint8_t *match);

/* Summed over positions, unweighted. */
struct loss_terms {
	double hard, soft, hidden, attention;
};
struct soft_targets;
/* Scratch of the soft part of a softmax tile. */
struct soft_ws {
	uint32_t *row;     /* [SOFTMAX_TILE][top] */
	float *k;          /* the same: factors of these rows' unit vectors in d loss / d u */
	float *cosine, *q; /* [top] of one position */
	float *z;          /* a tile at the teacher's temperature */
};

/* What positions are trained to say: the token behind each, and shares[0 … n_shares-1] of the next
 * ones, which sum to 1; where fewer follow in the sequence, the shares that are left are scaled
 * up. */
struct targets {
	const uint32_t *next; /* [T] */
	uint32_t n_shares;
	float shares[MAX_FUTURE];
	const struct soft_targets *soft; /* NULL = none */
	const uint32_t *token;           /* [n_seqs] place in the data set of sequences' starts */
	float soft_share;
};
/*
 * Mean-free softmax cross-entropy of every position against y, each weighted by weight; unit =
 * unit-norm item vectors [n_items][d]. Adds to grad: d logit_scale, and in the embedding's place d
 * of the UNIT vectors. Leaves d loss / d u in ws->dx. With soft answers (and ws->soft) the loss is
 * (1-share)·hard + share·T²·KL; what the teacher did not name counts as one class. Adds to
 * loss->hard and loss->soft.
 */
void wr_learn_softmax_loss(const struct wr_student *s, struct net_ws *ws, const float *unit,
	const struct ragged *in, const struct targets *y, float weight, float *grad,
	struct loss_terms *loss);
int wr_learn_soft_ws_new(struct soft_ws *x, const struct soft_targets *soft, uint32_t n_items,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_learn_soft_ws_free(struct soft_ws *x);
/*
 * From ws->dx = d loss / d u back to ws->dx = d loss / d (√d E[row]) per token; adds the gradients
 * of all weights but the embedding to grad.
 */
void wr_learn_net_backward(const struct wr_student *s, struct net_ws *ws, const struct ragged *in,
	const struct dropout *drop, float *grad);
/* unit[r] = E[r] / |E[r]|, norm[r] = |E[r]|. */
void wr_learn_unit_rows(const float *e, uint32_t n, uint32_t d, float *unit, float *norm);

/* h = act(up), gated: act(up[0 … f-1]) ⊙ up[f … 2f-1], by token. */
void wr_learn_activation_forward(const struct wr_student *s, const float *up, uint32_t t, float *h);
/* d_up from d_h. */
void wr_learn_activation_backward(
	const struct wr_student *s, const float *up, const float *d_h, uint32_t t, float *d_up);
/* Whether the activation keeps its input (else it is a relu in place). */
static inline bool wr_learn_activation_keeps(const struct wr_student_shape *p)
{
	return p->gated || p->activation != WR_ACTIVATION_RELU;
}

/* Rotation by position of the n_heads · head_dim columns of x (stride floats a row), in place; back
 * turns the other way. Positions count from 0 within each sequence. */
void wr_learn_rotary_table(uint32_t head_dim, uint32_t n, float *turn);
void wr_learn_rotate(const float *turn, uint32_t head_dim, uint32_t n_heads,
	const struct ragged *in, float *x, size_t stride, bool back);

/* Windows wider than this run by blocks over GEMMs, which keep no weights; narrower ones by query
 * over short loops. */
#define ATTENTION_LOOPS_MAX 96
#define ATTENTION_ROWS      64
static inline bool wr_learn_attention_blocked(const struct wr_student_shape *p)
{
	return p->window > ATTENTION_LOOPS_MAX;
}
void wr_learn_attention_blocked_forward(const struct wr_student *s, struct net_ws *ws,
	const struct block_ws *b, uint32_t first, uint32_t n, const struct dropout *drop,
	uint32_t site);
/* As wr_learn_attention_backward. */
void wr_learn_attention_blocked_backward(const struct wr_student *s, struct net_ws *ws,
	const struct block_ws *b, uint32_t first, uint32_t n, const struct dropout *drop,
	uint32_t site);

/* Attention of one sequence of n tokens; rows of qkv and o are by token. */
void wr_learn_attention_forward(const struct wr_student *s, struct net_ws *ws,
	const struct block_ws *b, uint32_t first, uint32_t n, const struct dropout *drop,
	uint32_t site);
/* d_o [n][H·head_dim] (ws->dn) → ws->dqkv; adds to ws->d_bias. */
void wr_learn_attention_backward(const struct wr_student *s, struct net_ws *ws,
	const struct block_ws *b, uint32_t first, uint32_t n, const struct dropout *drop,
	uint32_t site);

/* Adam (Kingma, Ba 2015) on n weights; step counts from 1. */
struct adam {
	float beta1, beta2, eps;
};
void wr_learn_adam_update(const struct adam *a, size_t n, float *w, float *m, float *v,
	const float *g, float lr, uint64_t step);

#endif
