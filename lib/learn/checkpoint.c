/* SPDX-License-Identifier: BSD-3-Clause */
/* Checkpoints: tensor names, metadata, writing and reading. A few MB an epoch. */
#include "checkpoint_int.h"
#include "side_int.h"

#include <stdlib.h>
#include <string.h>

static void add_tensor(struct st_tensor *t, unsigned int *n, const char *prefix, int block,
	const char *name, const float *data, uint32_t rows, uint32_t cols)
{
	struct st_tensor *x = &t[(*n)++];
	if (block >= 0)
		snprintf(x->name, sizeof(x->name), "%sblock.%d.%s", prefix, block, name);
	else
		snprintf(x->name, sizeof(x->name), "%s%s", prefix, name);
	x->data = data;
	x->n_dims = cols ? 2 : 1;
	x->dims[0] = rows;
	x->dims[1] = cols;
}

unsigned int wr_learn_student_tensors(
	const struct wr_student *s, const float *w, const char *prefix, struct st_tensor *t)
{
	const struct wr_student_shape *p = &s->shape;
	unsigned int n = 0;
	add_tensor(t, &n, prefix, -1, p->categories ? "item.own" : "item.embedding",
		w + s->embedding, p->n_items, p->d);
	for (uint32_t b = 0; b < p->n_blocks; b++) {
		const struct wr_student_block *o = &s->block[b];
		int k = (int)b;
		add_tensor(t, &n, prefix, k, "norm1.gain", w + o->norm1, p->d, 0);
		add_tensor(t, &n, prefix, k, "qkv.weight", w + o->qkv, s->qkv_dim, p->d);
		add_tensor(t, &n, prefix, k, "out.weight", w + o->out, p->d, s->o_dim);
		add_tensor(t, &n, prefix, k, "age.bias", w + o->bias, p->n_heads, p->window);
		if (p->time_buckets)
			add_tensor(t, &n, prefix, k, "time.bias", w + o->time, p->n_heads,
				p->time_buckets);
		if (p->age_keys)
			add_tensor(t, &n, prefix, k, "age.key", w + o->age_key,
				p->n_heads * p->window, s->head_dim);
		add_tensor(t, &n, prefix, k, "norm2.gain", w + o->norm2, p->d, 0);
		add_tensor(t, &n, prefix, k, "up.weight", w + o->up, s->up_dim, p->d);
		add_tensor(t, &n, prefix, k, "down.weight", w + o->down, p->d, p->ffn);
	}
	add_tensor(t, &n, prefix, -1, "final.gain", w + s->final_gain, p->d, 0);
	add_tensor(t, &n, prefix, -1, "logit.scale", w + s->logit_scale, 1, 0);
	for (uint32_t b = 0; b < p->n_blocks; b++)
		if (p->matched >> b & 1)
			add_tensor(t, &n, prefix, (int)b, "to_teacher.weight", w + s->projection[b],
				p->teacher_d, p->d);
	if (p->profile_values)
		add_tensor(t, &n, prefix, -1, "profile.embedding", w + s->profile,
			p->profile_values, p->d);
	if (p->categories)
		add_tensor(t, &n, prefix, -1, "category.embedding", w + s->category, p->categories,
			p->d);
	return n;
}

/* One metadata entry: either an integer or a real, as a string, exactly. */
struct entry {
	const char *key;
	uint64_t *u64;
	uint32_t *u32;
	double *real;
	bool *flag;
	bool state; /* only in resumable checkpoints */
	bool added; /* came later: left out while 0, and 0 where a file has none */
};
#define MAX_ENTRIES 64

static unsigned int entries(struct wr_fit *f, struct progress_state *p, struct entry *e)
{
	const struct entry all[] = {
		{"n_items", .u32 = &f->shape.n_items},
		{"d", .u32 = &f->shape.d},
		{"n_blocks", .u32 = &f->shape.n_blocks},
		{"n_heads", .u32 = &f->shape.n_heads},
		{"n_kv_heads", .u32 = &f->shape.n_kv_heads},
		{"window", .u32 = &f->shape.window},
		{"ffn", .u32 = &f->shape.ffn},
		{"head_dim", .u32 = &f->shape.head_dim, .added = true},
		{"activation", .u32 = &f->shape.activation, .added = true},
		{"gated", .u32 = &f->shape.gated, .added = true},
		{"rotary", .u32 = &f->shape.rotary, .added = true},
		{"no_age_bias", .u32 = &f->shape.no_age_bias, .added = true},
		{"age_keys", .u32 = &f->shape.age_keys, .added = true},
		{"context", .u32 = &f->shape.context, .added = true},
		{"time_buckets", .u32 = &f->shape.time_buckets, .added = true},
		{"profile_values", .u32 = &f->shape.profile_values, .added = true},
		{"profile_key", .u64 = &f->shape.profile_key, .added = true},
		{"categories", .u32 = &f->shape.categories, .state = true, .added = true},
		{"category_key", .u64 = &p->category_key, .state = true, .added = true},
		{"matched", .u32 = &f->shape.matched, .added = true},
		{"teacher_d", .u32 = &f->shape.teacher_d, .added = true},
		{"batch", .u32 = &f->batch, .state = true},
		{"len", .u32 = &f->len, .state = true},
		{"seed", .u64 = &f->seed, .state = true},
		{"lr", .real = &f->lr, .state = true},
		{"dropout", .real = &f->dropout, .state = true},
		{"attn_dropout", .real = &f->attn_dropout, .state = true},
		{"weight_decay", .real = &f->weight_decay, .state = true, .added = true},
		{"ema", .real = &f->ema, .state = true, .added = true},
		{"future", .u32 = &f->future, .state = true, .added = true},
		{"sampled", .u32 = &f->sampled, .state = true, .added = true},
		{"future_decay", .real = &f->future_decay, .state = true, .added = true},
		{"soft_share", .real = &f->distil.soft_share, .state = true, .added = true},
		{"hidden_weight", .real = &f->distil.hidden_weight, .state = true, .added = true},
		{"attention_weight", .real = &f->distil.attention_weight, .state = true,
			.added = true},
		{"math", .u32 = &f->math, .state = true, .added = true},
		{"qat", .flag = &f->qat, .state = true, .added = true},
		{"keep_zeros", .flag = &f->keep_zeros, .state = true, .added = true},
		{"teacher_key", .u64 = &p->teacher_key, .state = true, .added = true},
		{"match", .u64 = &p->match, .state = true, .added = true},
		{"soft_sum", .real = &p->soft_sum, .state = true, .added = true},
		{"hidden_sum", .real = &p->hidden_sum, .state = true, .added = true},
		{"attention_sum", .real = &p->attention_sum, .state = true, .added = true},
		{"epoch", .u64 = &p->epoch, .state = true},
		{"step", .u64 = &p->step, .state = true},
		{"adam_step", .u64 = &p->adam_step, .state = true},
		{"loss_sum", .real = &p->loss_sum, .state = true},
		{"loss_weight", .real = &p->loss_weight, .state = true},
		{"best_ndcg10", .real = &p->best_ndcg10, .state = true},
		{"best_hr10", .real = &p->best_hr10, .state = true},
		{"best_epoch", .u64 = &p->best_epoch, .state = true},
	};
	static_assert(WR_ARRAY_LEN(all) <= MAX_ENTRIES, "room");
	memcpy(e, all, sizeof(all));
	return WR_ARRAY_LEN(all);
}

static uint64_t whole_of(const struct entry *e)
{
	return e->u64 ? *e->u64 : e->u32 ? *e->u32 : (uint64_t)*e->flag;
}

int wr_learn_checkpoint_write(const char *path, const struct wr_student *s,
	const struct optimiser *o, const struct wr_fit *f, const struct progress_state *p,
	struct wr_errmsg *msg)
{
	struct st_tensor *t = calloc(4 * STUDENT_MAX_TENSORS, sizeof(*t));
	struct wr_fit fit = *f;
	struct progress_state state = *p;
	struct entry e[MAX_ENTRIES];
	char text[40];
	const struct wr_student_shape *shape = &s->shape;
	float *whole = malloc(
		(shape->categories ? (size_t)shape->n_items * shape->d : 1) * sizeof(*whole));
	json_t *meta = json_object();
	fit.shape.categories = shape->categories;
	state.category_key = shape->categories ? p->category_key : 0;
	if (!t || !meta || !whole) {
		free(t);
		free(whole);
		json_decref(meta);
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", path);
	}
	json_object_set_new(meta, "format", json_string("wirerank student 1"));
	for (unsigned int i = 0, n = entries(&fit, &state, e); i < n; i++) {
		if (e[i].added && !(e[i].real ? *e[i].real != 0 : whole_of(&e[i]) != 0))
			continue;
		if (e[i].real)
			snprintf(text, sizeof(text), "%.17g", *e[i].real);
		else
			snprintf(text, sizeof(text), "%llu", (unsigned long long)whole_of(&e[i]));
		json_object_set_new(meta, e[i].key, json_string(text));
	}
	unsigned int n = wr_learn_student_tensors(s, s->w, "", t);
	if (shape->categories) {
		wr_learn_whole_items(s, s->w, whole);
		add_tensor(t, &n, "", -1, "item.embedding", whole, shape->n_items, shape->d);
	}
	if (o) {
		n += wr_learn_student_tensors(s, o->m, "adam.m.", t + n);
		n += wr_learn_student_tensors(s, o->v, "adam.v.", t + n);
	}
	if (o && o->mean)
		n += wr_learn_student_tensors(s, o->mean, "mean.", t + n);
	int err = wr_learn_safetensors_write(path, t, n, meta, msg);
	json_decref(meta);
	free(t);
	free(whole);
	return err;
}

static int read_entry(const struct safetensors *st, const char *path, const struct entry *e,
	struct wr_errmsg *msg)
{
	const char *text = wr_learn_safetensors_meta(st, e->key);
	uint64_t v = 0;
	if (!text && e->added)
		return WR_OK;
	if (!text)
		return wr_fail(msg, WR_EFORMAT,
			"%s: metadata has no %s: not a checkpoint of wrtrain fit", path, e->key);
	int err = e->real ? wr_parse_double(text, -1e300, 1e300, e->real)
			  : wr_parse_u64(text, 0, e->u64 ? UINT64_MAX : UINT32_MAX, &v);
	if (err)
		return wr_fail(
			msg, WR_EFORMAT, "%s: metadata %s: '%s' is no number", path, e->key, text);
	if (e->u64)
		*e->u64 = v;
	if (e->u32)
		*e->u32 = (uint32_t)v;
	if (e->flag)
		*e->flag = v != 0;
	return WR_OK;
}

static int read_tensors(const struct safetensors *st, const struct wr_student *s, float *w,
	const char *prefix, struct wr_errmsg *msg)
{
	struct st_tensor *t = calloc(STUDENT_MAX_TENSORS, sizeof(*t));
	if (!t)
		return wr_fail(msg, WR_ENOMEM, "out of memory");
	unsigned int n = wr_learn_student_tensors(s, w, prefix, t);
	int err = WR_OK;
	for (unsigned int i = 0; i < n && !err; i++)
		err = wr_learn_safetensors_read(st, &t[i], w + (t[i].data - w), msg);
	free(t);
	return err;
}

/* Metadata that promises more than the file holds is refused before memory is taken for it. */
static int make_student(const struct safetensors *st, const char *path, struct wr_student **s,
	const struct wr_student_shape *p, struct wr_errmsg *msg)
{
	struct wr_errmsg why;
	if ((uint64_t)p->n_items * p->d > wr_learn_safetensors_values(st))
		return wr_fail(msg, WR_EFORMAT,
			"%s: metadata tells of %u items of width %u: the tensors have another "
			"shape",
			path, p->n_items, p->d);
	int err = wr_student_new(s, p, &why);
	return err ? wr_fail(msg, err, "%s: %s", path, why.text) : WR_OK;
}

/* o = NULL: shape and weights only. */
static int read_file(const char *path, struct wr_student **s, struct optimiser *o, struct wr_fit *f,
	struct progress_state *p, struct wr_errmsg *msg)
{
	struct safetensors *st;
	struct entry e[MAX_ENTRIES];
	int err = wr_learn_safetensors_open(&st, path, msg);
	if (err)
		return err;
	for (unsigned int i = 0, n = entries(f, p, e); i < n && !err; i++)
		if (o || !e[i].state)
			err = read_entry(st, path, &e[i], msg);
	if (!err)
		err = make_student(st, path, s, &f->shape, msg);
	if (!err)
		err = read_tensors(st, *s, (*s)->w, "", msg);
	if (!err && o) {
		err = wr_learn_optimiser_new(o, *s, f->ema > 0, msg);
		if (!err)
			err = read_tensors(st, *s, o->m, "adam.m.", msg);
		if (!err)
			err = read_tensors(st, *s, o->v, "adam.v.", msg);
		if (!err && o->mean)
			err = read_tensors(st, *s, o->mean, "mean.", msg);
	}
	wr_learn_safetensors_close(st);
	return err;
}

int wr_learn_checkpoint_read(const char *path, struct wr_student **s, struct optimiser *o,
	struct wr_fit *f, struct progress_state *p, struct wr_errmsg *msg)
{
	*s = NULL;
	*o = (struct optimiser){0};
	/* What an older file does not name. */
	f->shape.head_dim = 0;
	f->qat = f->keep_zeros = false;
	f->shape.activation = f->shape.gated = f->shape.rotary = f->shape.context = 0;
	f->shape.no_age_bias = f->shape.age_keys = 0;
	f->shape.profile_values = f->shape.categories = 0;
	f->shape.profile_key = 0;
	f->shape.matched = f->shape.teacher_d = f->shape.time_buckets = f->future = 0;
	f->sampled = f->math = 0;
	f->weight_decay = f->ema = f->future_decay = 0;
	f->distil.soft_share = f->distil.hidden_weight = f->distil.attention_weight = 0;
	*p = (struct progress_state){0};
	int err = read_file(path, s, o, f, p, msg);
	if (err) {
		wr_student_free(*s);
		wr_learn_optimiser_free(o);
		*s = NULL;
	}
	return err;
}

int wr_student_load(struct wr_student **s, const char *path, struct wr_errmsg *msg)
{
	struct wr_fit f = {0};
	struct progress_state p = {0};
	*s = NULL;
	int err = read_file(path, s, NULL, &f, &p, msg);
	if (err) {
		wr_student_free(*s);
		*s = NULL;
	}
	return err;
}
