/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Training and evaluation, offline: logs → dataset directory → float student → checkpoint → int8
 * bundle → hit rates. Built for catalogues of 1 k … 100 k items and logs of some million clicks on
 * a few cores; the softmax over all items dominates. docs/model.md is the model, docs/learning.md
 * the method and the names in checkpoints.
 *
 * Nothing here is thread-safe unless said; work inside runs on OpenMP threads.
 */
#ifndef WR_LEARN_H
#define WR_LEARN_H

#include "wr_base.h"
#include "wr_bundle.h"
#include "wr_model.h"

/* ---- dataset ---- */
/* What is known of items or of users beside the log, as values that several share. */
struct wr_side {
	uint32_t n_values; /* 0 = nothing is known of any */
	char **value_name; /* [n_values], in strcmp's order */
	uint32_t *off;     /* [n_rows + 1]; NULL without values */
	uint32_t *value;   /* [off[n_rows]], those of row r from off[r] on, each < n_values */
};
/* What a log became, users in file order. Immutable after load. Rows are item ids - 1. */
struct wr_dataset {
	uint32_t n_items, n_users, n_categories; /* category 0 is "" */
	char **item_name, **item_title;          /* [n_items], UTF-8 */
	uint16_t *item_category;                 /* [n_items] */
	char **category_name;                    /* [n_categories] */
	uint64_t *user_id;                       /* [n_users] */
	uint32_t *token_off;                     /* [n_users + 1] */
	uint32_t *token_row;      /* a user's tokens, oldest first (docs/model.md, "What counts as a
				     token") */
	int64_t *token_time;      /* their times, unix ms, 0 = unknown */
	bool timed;               /* any time is known */
	struct wr_side item_side; /* categories, all of them; item_category is the first */
	struct wr_side user_side; /* profiles, "field=value"; ages by MovieLens' borders */
};
/*
 * Reads DIR/items.tsv, DIR/interactions.tsv and, where it is there, DIR/users.tsv
 * (docs/architecture.md), and applies the token rule. *ds is the caller's on success
 * (wr_dataset_free), NULL on failure. WR_ENOENT, WR_EIO, WR_EFORMAT (file:line: reason), WR_ENOMEM.
 */
int wr_dataset_load(struct wr_dataset **ds, const char *dir, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_dataset_free(struct wr_dataset *ds);

enum wr_split { WR_SPLIT_VALID, WR_SPLIT_TEST };
/*
 * Leave-one-out over n tokens: *n_history tokens are known, the one behind them is the target.
 * False: the user has under 3 tokens and only trains.
 */
static inline bool wr_split_user(uint32_t n, enum wr_split split, uint32_t *n_history)
{
	if (n < 3)
		return false;
	*n_history = split == WR_SPLIT_TEST ? n - 1 : n - 2;
	return true;
}
/* Tokens that may be trained on: all but the two held out. */
static inline uint32_t wr_split_training(uint32_t n)
{
	return n < 3 ? n : n - 2;
}

/* ---- import ---- */
enum wr_import_format { WR_IMPORT_SASREC, WR_IMPORT_RECBOLE, WR_IMPORT_MOVIELENS };
struct wr_import {
	enum wr_import_format format;
	/* SASREC: one file of `user item`. RECBOLE: any of .inter (needed), .item, .user.
	 * MOVIELENS: ratings.dat (needed), movies.dat, users.dat, told apart by name. */
	const char *const *sources;
	unsigned int n_sources;
	const char *titles;   /* SASREC: movies.dat that names original items, or NULL */
	const char *item_map; /* SASREC: `item original` lines that lead from ids of the log to
				 those of titles, or NULL */
	const char *profiles; /* SASREC: users.dat that describes original users, or NULL */
	const char *user_map; /* SASREC: `user original` lines, or NULL */
};
/*
 * Writes the dataset directory out (made when missing). Items that out already has keep their ids;
 * its interactions are replaced. A failure leaves out as it was: every file is written beside and
 * renamed, dataset.json last. WR_ENOENT, WR_EIO, WR_EFORMAT (file:line: reason), WR_ENOMEM.
 */
int wr_import_run(const struct wr_import *in, const char *out, struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- student ---- */
/* One net, two uses: the student, which the server runs, and the teacher, which has knobs that the
 * server's encoder has not (wr_pack_run refuses them). */
#define WR_STUDENT_MAX_HEAD_DIM 256
enum wr_activation { WR_ACTIVATION_RELU, WR_ACTIVATION_SILU, WR_ACTIVATION_GELU, WR_N_ACTIVATIONS };
struct wr_student_shape {
	uint32_t n_items, d, n_blocks, n_heads, n_kv_heads, window, ffn;
	uint32_t head_dim; /* channels of a head; 0 = d / n_heads */
	/* Beyond the served student; all 0 = the student of docs/model.md. */
	uint32_t activation;   /* enum wr_activation */
	uint32_t gated;        /* 1: h = act(Wgate n) ⊙ Wup n (Shazeer 2020), up has 2f rows */
	uint32_t rotary;       /* 1: queries and keys turned by position (Su et al. 2021) */
	uint32_t no_age_bias;  /* 1: the bias by age stays 0; served */
	uint32_t age_keys;     /* 1: a key by age that queries are multiplied with too (DeBERTa's
				  content-to-position term, He et al. 2021); served */
	uint32_t context;      /* most tokens that are looked at together; 0 = what the window
				  reaches, blocks·(window-1)+1 */
	uint32_t time_buckets; /* a bias by age in time with so many buckets (wr_time_bucket), 2 …
				  256; 0 = none. Served too. */
	/* Teachers: a vector for each of so many profile values is added to the input, 0 = none;
	 * profile_key tells whose values they are. */
	uint32_t profile_values;
	uint64_t profile_key;
	uint32_t categories; /* item vectors are their own plus the mean of their categories', 0 =
				are their own; training only: what is loaded has whole ones */
	uint32_t matched, teacher_d; /* blocks (bits) whose outputs are projected to a teacher's
					width; training only */
};
/* Tokens that reach the last position. */
static inline uint32_t wr_student_reach(const struct wr_student_shape *p)
{
	uint32_t reach = p->n_blocks * (p->window - 1) + 1;
	return p->context && p->context < reach ? p->context : reach;
}
const char *wr_activation_name(enum wr_activation a);
/* WR_EINVAL when the name is none. */
int wr_activation_parse(const char *name, uint32_t *a) WR_MUST_CHECK;
struct wr_student_block {
	size_t norm1, qkv, out, bias, norm2, up, down;
	size_t time;    /* [n_heads][time_buckets], where there are any */
	size_t age_key; /* [n_heads][window][head_dim], with age_keys */
};
/* All weights in one array; the offsets of its tensors, in floats. Shapes: docs/learning.md. */
struct wr_student {
	struct wr_student_shape shape;
	uint32_t head_dim, o_dim, qkv_dim; /* of a head; H head_dim; (H + 2G) head_dim */
	uint32_t up_dim;                   /* rows of up: f, gated 2f */
	size_t embedding, final_gain, logit_scale, n_weights;
	size_t projection[WR_BUNDLE_MAX_BLOCKS]; /* [teacher_d][d] of matched blocks */
	size_t profile;                          /* [profile_values][d] */
	size_t category; /* [categories][d], behind all else; embedding: items' own vectors */
	const struct wr_side *item_side; /* borrowed; NULL without categories */
	struct wr_student_block block[WR_BUNDLE_MAX_BLOCKS];
	float *w;
	const struct wr_fake *fake; /* lib/learn: computes through the server's rounding; NULL = in
				       float */
};
/* Allocates a zeroed student. WR_EINVAL names the knob that is out of range; WR_ENOMEM. */
int wr_student_new(struct wr_student **s, const struct wr_student_shape *shape,
	struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_student_init(struct wr_student *s, uint64_t seed);
void wr_student_free(struct wr_student *s);
/* Reads the weights of a checkpoint (shape from its tensors and metadata). */
int wr_student_load(struct wr_student **s, const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- teacher ---- */
struct wr_teach {
	uint32_t top;       /* items kept of each position, 1 … 256 */
	double temperature; /* of the softmax, 0.1 … 10 */
	uint32_t threads;   /* 0 = OpenMP's default */
	bool quiet;
};
/*
 * Writes what teacher says at every training position of ds (docs/learning.md, "Distillation"), all
 * or nothing: about n_tokens · top · 4 bytes. WR_EIO when there is no room; WR_ESTATE when stopped.
 */
int wr_teach_run(const struct wr_teach *p, const struct wr_student *teacher,
	const struct wr_dataset *ds, const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;

/* What a student learns from beside the data. */
#define WR_DISTIL_MAX_BLOCKS 12
struct wr_distil {
	const struct wr_student *teacher; /* borrowed; NULL = none */
	const char *soft;                 /* file of wr_teach_run; NULL = none */
	double soft_share;       /* loss = (1-share)·hard + share·T²·KL(teacher, student) */
	double hidden_weight;    /* of 1 - cosine of projected block outputs, summed over
				    matched blocks; 0 = none */
	double attention_weight; /* of KL(teacher's, student's) attention, a mean over
				    heads, summed over matched blocks; 0 = none */
	/* 1 + the teacher's block that block b learns from; 0 = none. */
	uint8_t match[WR_DISTIL_MAX_BLOCKS];
	bool init; /* start from the teacher's tensors of the same shape */
};

/* ---- fit ---- */
struct wr_fit {
	struct wr_student_shape shape; /* n_items is set from the data */
	uint32_t epochs, batch, len;   /* sequences a step; longest sequence in targets */
	uint32_t threads;              /* 0 = OpenMP's default */
	uint32_t patience; /* stop after so many epochs without a better validation NDCG@10; 0 =
			      never */
	double lr, dropout, attn_dropout;
	double weight_decay; /* decoupled (Loshchilov, Hutter 2019), of matrices and embeddings */
	double ema; /* 0 = none; else the weights that are judged and kept are an exponential mean
		       over the steps with this decay */
	uint32_t future;  /* targets of a position: the next `future` tokens, at least 1 */
	uint32_t sampled; /* 0 = softmax over the whole catalogue, else over the target and so many
			     items, drawn anew each step, with the correction for sampling; excludes
			     soft answers and several targets */
	double future_decay; /* the k-th of them weighs future_decay^(k-1), normalised */
	struct wr_distil distil;
	const struct wr_student *from; /* start from this model, in its shape; borrowed; NULL = from
					  random weights */
	bool side_items, side_users;   /* vectors for categories of items, for profiles of users */
	bool qat;                      /* train through the server's rounding (docs/learning.md) */
	uint32_t math;                 /* enum wr_math (sgemm.h) of training's products */
	bool keep_zeros;               /* weights of blocks that are 0 stay 0 */
	double max_seconds;            /* 0 = no limit */
	const char *command;           /* what was called, for settings.json; NULL = unknown */
	uint64_t seed;
	bool resume;
	bool quiet; /* no progress on stderr */
};
void wr_fit_defaults(struct wr_fit *f);
struct wr_fit_result {
	uint32_t epochs, best_epoch;
	double best_hr10, best_ndcg10,
		loss; /* validation, seen filtered; mean training loss of the last epoch */
	bool stopped; /* by a signal or max_seconds; --resume goes on */
};
/*
 * Trains and leaves checkpoint.safetensors (last), best.safetensors, log.jsonl, settings.json and
 * loss.svg in run_dir. The same settings and data give the same weights for any number of threads,
 * resumed or not. Polls wr_stop_requested.
 */
int wr_fit_run(const struct wr_fit *f, const struct wr_dataset *ds, const char *run_dir,
	struct wr_fit_result *result, struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- evaluation ---- */
#define WR_METRIC_N_CUTS 3
static const uint32_t wr_metric_cut[WR_METRIC_N_CUTS] = {5, 10, 20};
/* Means over users; ranks among all items. Index 0: seen items removed from the ranking, 1: kept.
 */
struct wr_metrics_at {
	uint32_t n_users;
	double hr[2][WR_METRIC_N_CUTS], ndcg[2][WR_METRIC_N_CUTS], mrr[2][WR_METRIC_N_CUTS];
	/*
	 * Of the lists themselves, seen items removed; set by wr_judge_metrics alone. Coverage:
	 * share of the catalogue that is in any list. Gini of how often items are shown, over the
	 * whole catalogue; 0 = all alike. Novelty: mean of -log2(share of users who have the item
	 * among their training tokens). Diversity: share of a list's pairs whose categories
	 * differ.
	 */
	double coverage[WR_METRIC_N_CUTS], gini[WR_METRIC_N_CUTS], novelty[WR_METRIC_N_CUTS],
		diversity[WR_METRIC_N_CUTS];
};
/* Adds a user whose target stands behind `rank` better items (UINT32_MAX = not ranked at all); mean
 * turns sums to means. */
void wr_metrics_at_add(struct wr_metrics_at *m, uint32_t rank_filtered, uint32_t rank_unfiltered);
void wr_metrics_at_mean(struct wr_metrics_at *m);
/* {"users": n, "seen_filtered": {"hr5": …}, "unfiltered": {…}} for jansson; new reference, NULL
 * when memory is out. */
struct json_t *wr_metrics_at_json(const struct wr_metrics_at *m);
/*
 * Rank of row `target` among n_items scores: items with a higher score, or the same and a smaller
 * id. seen (bitmap by row) items do not count, and a seen target is UINT32_MAX; NULL = nothing is
 * filtered.
 */
uint32_t wr_rank_of(const float *scores, uint32_t n_items, uint32_t target, const uint64_t *seen);

/* How the int8 encoder and the exact ranking run: lib/model and lib/rank, as the server runs them.
 */
struct wr_int8 {
	const struct wr_bundle *bundle;
	enum wr_isa isa;
	enum wr_gemm_engine gemm;
	uint32_t threads; /* 0 = OpenMP's default */
};
/* What a model answered to every user of a split. */
#define WR_JUDGE_TOP 20 /* the largest cut */
struct wr_judged {
	uint32_t user, begin, end, target; /* history: tokens [begin, end) */
	uint32_t rank[2];                  /* filtered, unfiltered; UINT32_MAX = none */
	uint32_t n_list;
};
struct wr_judge {
	const struct wr_dataset *ds; /* borrowed */
	uint32_t n_users;
	struct wr_judged *user; /* in file order */
	uint32_t *list;         /* [n_users][WR_JUDGE_TOP] rows, seen ones removed */
	struct wr_judge *also;  /* the model's runs of other seeds, NULL = none; owned */
};
/* The first max_users users of the split (0 = all), without answers. */
int wr_judge_new(struct wr_judge **j, const struct wr_dataset *ds, enum wr_split split,
	uint32_t max_users, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_judge_free(struct wr_judge *j);
/* Each fills in the answers; the baselines are made from training tokens alone. */
int wr_judge_float(struct wr_judge *j, const struct wr_student *s, uint32_t threads,
	struct wr_errmsg *msg) WR_MUST_CHECK;
int wr_judge_int8(struct wr_judge *j, const struct wr_int8 *x, struct wr_errmsg *msg) WR_MUST_CHECK;
int wr_judge_popularity(struct wr_judge *j, struct wr_errmsg *msg) WR_MUST_CHECK;
int wr_judge_item_knn(struct wr_judge *j, struct wr_errmsg *msg) WR_MUST_CHECK;
/* A stronger form: clicks weigh half of the one behind, and neighbours are made from all that is
 * known when one asks (the validation token too, when the test is judged). */
int wr_judge_item_knn_recent(struct wr_judge *j, struct wr_errmsg *msg) WR_MUST_CHECK;
int wr_judge_vmis_knn(struct wr_judge *j, struct wr_errmsg *msg) WR_MUST_CHECK;
int wr_judge_als(struct wr_judge *j, uint32_t threads, struct wr_errmsg *msg) WR_MUST_CHECK;
int wr_judge_metrics(
	const struct wr_judge *j, struct wr_metrics_at *m, struct wr_errmsg *msg) WR_MUST_CHECK;

/* Comparison, seen items removed. */
enum wr_gain { WR_GAIN_HR10, WR_GAIN_NDCG10 };
/* Mean over j and its other runs. */
double wr_judge_gain(const struct wr_judge *j, uint32_t at, enum wr_gain gain);
struct wr_interval {
	double mean, low, high;
};
/* Sorts the n ≥ 1 values of resamples; low and high become their 2.5th and 97.5th percentile. */
void wr_interval_of(double *values, uint32_t n, struct wr_interval *out);
/*
 * Mean of a's gains less b's (b NULL: of a's) over users with its 95 % interval, the percentiles of
 * `resamples` bootstrap samples of users (Efron 1979). Pairs users, so that two models are compared
 * by what differs. The same seed gives the same interval. WR_EINVAL when they saw other users.
 */
int wr_judge_interval(const struct wr_judge *a, const struct wr_judge *b, enum wr_gain gain,
	uint32_t resamples, uint64_t seed, struct wr_interval *out,
	struct wr_errmsg *msg) WR_MUST_CHECK;

/* Every max_users-limited user of the split (0 = all), with the float student on `threads` threads.
 */
int wr_eval_float(const struct wr_student *s, const struct wr_dataset *ds, enum wr_split split,
	uint32_t max_users, uint32_t threads, struct wr_metrics_at *m,
	struct wr_errmsg *msg) WR_MUST_CHECK;

/* The same for the two baselines, made from the training tokens alone (lists of 20, as
 * docs/learning.md says). */
int wr_eval_popularity(const struct wr_dataset *ds, enum wr_split split, uint32_t max_users,
	struct wr_metrics_at *m, struct wr_errmsg *msg) WR_MUST_CHECK;
int wr_eval_item_knn(const struct wr_dataset *ds, enum wr_split split, uint32_t max_users,
	struct wr_metrics_at *m, struct wr_errmsg *msg) WR_MUST_CHECK;

/* WR_EINVAL when bundle and data disagree on the items; else the errors of wr_model_new. */
int wr_eval_int8(const struct wr_int8 *x, const struct wr_dataset *ds, enum wr_split split,
	uint32_t max_users, struct wr_metrics_at *m, struct wr_errmsg *msg) WR_MUST_CHECK;

/*
 * Expected answers for a load generator (docs/architecture.md, "Lists"), for every user with a test
 * target. With tokens t_0 … t_{n-1}, step 0 shows t_0 … t_{n-2-S}, of these the last max_history (0
 * = all), and only these count as seen; step s adds t_{n-2-S+s}, so that the last step has seen
 * t_{n-2}. S = steps, fewer for users with under S + 2 tokens.
 */
struct wr_lists {
	uint32_t k, steps, max_history, max_users;
};
/* Writes path all or nothing; *n_lists (may be NULL) tells the number of lists. */
int wr_lists_write(const struct wr_int8 *x, const struct wr_dataset *ds, const struct wr_lists *l,
	const char *path, uint64_t *n_lists, struct wr_errmsg *msg) WR_MUST_CHECK;

/* Mean share of a's first k ≤ WR_JUDGE_TOP items that are among b's, whose users are the same. */
double wr_judge_overlap(const struct wr_judge *a, const struct wr_judge *b, uint32_t k);

/* ---- pack ---- */
#define WR_KEEP_NAME 32
/* "block.B.qkv.weight": the name of a projection that may be kept in two int8 planes. */
void wr_keep_name(uint32_t block, enum wr_bundle_projection p, char name[WR_KEEP_NAME]);
/*
 * kept, as struct wr_bundle_model has it, of names with commas between, each as above or "bB.qkv";
 * NULL = none. WR_EINVAL: a name that is none, and those that are.
 */
int wr_keep_parse(const char *names, uint32_t n_blocks, uint16_t kept[WR_BUNDLE_PROJECTIONS],
	struct wr_errmsg *msg) WR_MUST_CHECK;

struct wr_pack {
	const char *data_dir, *run_dir;
	const char *checkpoint; /* file in run_dir */
	const char *rules;      /* intent rules file, NULL = none */
	uint32_t version; /* bundle version; 0 = one more than the bundle at the same path has, else
			     1 */
	bool calibrate;   /* scales of weights that lose least on training clicks */
	const char *keep; /* names for wr_keep_parse; NULL = none */
	uint32_t threads;
};
/* Quantises the checkpoint (docs/model.md), measures it, and writes the bundle all or nothing. */
int wr_pack_run(const struct wr_pack *p, const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
