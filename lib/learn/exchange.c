/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Models from elsewhere, and ours for elsewhere: a PyTorch model's tensors become a run's
 * checkpoint; logits of histories are written down for comparison. Some MB each.
 */
#include "checkpoint_int.h"
#include "fit_log_int.h"
#include "sgemm.h"
#include "text_file.h"
#include "wr_exchange.h"
#include "wr_policy.h"

#include <stdlib.h>
#include <string.h>

struct import {
	const struct safetensors *st;
	const char *path;
	struct names taken; /* tensors that found their place */
};

/* A tensor's shape; false when there is none of that name. */
static bool shape_of(const struct import *m, const char *name, struct st_tensor *t)
{
	snprintf(t->name, sizeof(t->name), "%s", name);
	return wr_learn_safetensors_shape(m->st, t);
}

static int need(const struct import *m, const char *name, struct st_tensor *t, uint32_t n_dims,
	struct wr_errmsg *msg)
{
	if (!shape_of(m, name, t))
		return wr_fail(msg, WR_EFORMAT, "%s: no tensor %s (docs/learning.md, \"Exchange\")",
			m->path, name);
	if (t->n_dims != n_dims)
		return wr_fail(msg, WR_EFORMAT, "%s: tensor %s has %u dimensions, not %u", m->path,
			name, t->n_dims, n_dims);
	return WR_OK;
}

/* The shape, from the tensors' own; n_items is that of the data. */
static int find_shape(
	const struct import *m, uint32_t n_items, struct wr_student_shape *p, struct wr_errmsg *msg)
{
	struct st_tensor item, age, fc1, qkv;
	char name[64];
	int err = need(m, "item_emb.weight", &item, 2, msg);
	if (!err)
		err = need(m, "blocks.0.attn.age_bias", &age, 2, msg);
	if (!err)
		err = need(m, "blocks.0.ffn.fc1.weight", &fc1, 2, msg);
	if (!err)
		err = need(m, "blocks.0.attn.in_proj_weight", &qkv, 2, msg);
	if (err)
		return err;
	if (item.dims[0] != n_items + 1)
		return wr_fail(msg, WR_EINVAL,
			"%s: item_emb.weight has %u rows, the data %u items: row r is item id r, "
			"row 0 "
			"is padding",
			m->path, item.dims[0], n_items);
	*p = (struct wr_student_shape){.n_items = n_items,
		.d = item.dims[1],
		.n_heads = age.dims[0],
		.window = age.dims[1],
		.ffn = fc1.dims[0]};
	do {
		p->n_blocks++;
		snprintf(name, sizeof(name), "blocks.%u.attn.in_proj_weight", p->n_blocks);
	} while (p->n_blocks < WR_BUNDLE_MAX_BLOCKS && shape_of(m, name, &item));
	uint32_t head_dim = p->n_heads ? p->d / p->n_heads : 0;
	if (!head_dim || qkv.dims[0] < p->d + 2 * head_dim || (qkv.dims[0] - p->d) % (2 * head_dim))
		return wr_fail(msg, WR_EFORMAT,
			"%s: in_proj_weight has %u rows: queries (%u), keys and values of %u heads "
			"of "
			"%u channels do not make them up",
			m->path, qkv.dims[0], p->d, p->n_heads, head_dim);
	p->n_kv_heads = (qkv.dims[0] - p->d) / (2 * head_dim);
	return WR_OK;
}

/* Reads tensor `name` of rows (× cols) into w. */
static int take(struct import *m, const char *name, uint32_t rows, uint32_t cols, float *w,
	struct wr_errmsg *msg)
{
	struct st_tensor t = {.n_dims = cols ? 2 : 1, .dims = {rows, cols}};
	snprintf(t.name, sizeof(t.name), "%s", name);
	if (wr_learn_names_put(&m->taken, name) == UINT32_MAX)
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", m->path);
	return wr_learn_safetensors_read(m->st, &t, w, msg);
}

static int take_block(struct import *m, struct wr_student *s, uint32_t b, struct wr_errmsg *msg)
{
	const struct wr_student_shape *p = &s->shape;
	const struct wr_student_block *o = &s->block[b];
	const struct {
		const char *name;
		uint32_t rows, cols;
		size_t at;
	} part[] = {
		{"norm1.weight", p->d, 0, o->norm1},
		{"attn.in_proj_weight", s->qkv_dim, p->d, o->qkv},
		{"attn.out_proj.weight", p->d, p->d, o->out},
		{"attn.age_bias", p->n_heads, p->window, o->bias},
		{"norm2.weight", p->d, 0, o->norm2},
		{"ffn.fc1.weight", p->ffn, p->d, o->up},
		{"ffn.fc2.weight", p->d, p->ffn, o->down},
	};
	int err = WR_OK;
	char name[64];
	for (size_t i = 0; i < WR_ARRAY_LEN(part) && !err; i++) {
		snprintf(name, sizeof(name), "blocks.%u.%s", b, part[i].name);
		err = take(m, name, part[i].rows, part[i].cols, s->w + part[i].at, msg);
	}
	return err;
}

static int take_all(struct import *m, struct wr_student *s, struct wr_errmsg *msg)
{
	const struct wr_student_shape *p = &s->shape;
	size_t n = ((size_t)p->n_items + 1) * p->d;
	float *items = malloc(n * sizeof(*items));
	int err = items ? take(m, "item_emb.weight", p->n_items + 1, p->d, items, msg)
			: wr_fail(msg, WR_ENOMEM, "%s: out of memory", m->path);
	if (!err)
		memcpy(s->w + s->embedding, items + p->d, (n - p->d) * sizeof(*items));
	free(items);
	for (uint32_t b = 0; b < p->n_blocks && !err; b++)
		err = take_block(m, s, b, msg);
	if (!err)
		err = take(m, "norm.weight", p->d, 0, s->w + s->final_gain, msg);
	if (!err)
		err = take(m, "logit_scale", 1, 0, s->w + s->logit_scale, msg);
	for (unsigned int i = 0; i < wr_learn_safetensors_count(m->st) && !err; i++) {
		const char *name = wr_learn_safetensors_name(m->st, i);
		if (wr_learn_names_find(&m->taken, name) == UINT32_MAX)
			err = wr_fail(msg, WR_EFORMAT,
				"%s: %s has no place in the served student (no biases, no "
				"positions "
				"but age_bias): docs/learning.md, \"Exchange\"",
				m->path, name);
	}
	return err;
}

int wr_import_model(const struct wr_import_model *in, const struct wr_dataset *ds,
	struct wr_student **s, struct wr_errmsg *msg)
{
	struct import m = {.path = in->path};
	struct safetensors *st;
	struct wr_student_shape shape;
	struct wr_errmsg why;
	*s = NULL;
	int err = wr_learn_safetensors_open(&st, in->path, msg);
	if (err)
		return err;
	m.st = st;
	wr_learn_names_init(&m.taken);
	err = find_shape(&m, ds->n_items, &shape, msg);
	if (!err && wr_student_new(s, &shape, &why))
		err = wr_fail(msg, WR_EFORMAT, "%s: %s", in->path, why.text);
	if (!err)
		err = take_all(&m, *s, msg);
	wr_learn_names_free(&m.taken);
	wr_learn_safetensors_close(st);
	if (!err)
		err = wr_learn_make_dirs(in->run_dir, msg);
	if (!err) {
		struct wr_fit f;
		struct progress_state at = {0};
		char path[4096];
		wr_fit_defaults(&f);
		f.shape = shape;
		f.epochs = 0;
		f.command = in->command;
		snprintf(path, sizeof(path), "%s/best.safetensors", in->run_dir);
		err = wr_learn_checkpoint_write(path, *s, NULL, &f, &at, msg);
		if (!err)
			err = wr_learn_fit_log_settings(in->run_dir, &f, ds, msg);
	}
	if (err) {
		wr_student_free(*s);
		*s = NULL;
	}
	return err;
}

int wr_logits_write(const struct wr_student *s, const struct wr_dataset *ds, enum wr_split split,
	uint32_t max_users, uint32_t threads, const char *path, struct wr_errmsg *msg)
{
	struct wr_judge *j = NULL;
	size_t n_items = s->shape.n_items, d = s->shape.d;
	if (n_items != ds->n_items)
		return wr_fail(msg, WR_EINVAL, "the model knows %zu items, the data %u", n_items,
			ds->n_items);
	int err = wr_judge_new(&j, ds, split, max_users, msg);
	size_t n = err ? 0 : j->n_users, n_tokens = 0;
	uint64_t *off = calloc(n + 1, sizeof(*off));
	for (size_t i = 0; i < n && off; i++)
		off[i + 1] = n_tokens += j->user[i].end - j->user[i].begin;
	uint32_t *rows = malloc((n_tokens + 1) * sizeof(*rows));
	int64_t *times = malloc((n_tokens + 1) * sizeof(*times)),
		*asked = malloc((n + 1) * sizeof(*asked));
	float *u = malloc((n + 1) * d * sizeof(*u)), *z = malloc((n + 1) * n_items * sizeof(*z)),
	      *unit = malloc(n_items * d * sizeof(*unit)), *norm = malloc(n_items * sizeof(*norm));
	if (!err && (!off || !rows || !times || !asked || !u || !z || !unit || !norm))
		err = wr_fail(msg, WR_ENOMEM, "out of memory for logits: give fewer users");
	for (size_t i = 0; i < n && !err; i++) {
		size_t m = j->user[i].end - j->user[i].begin;
		memcpy(rows + off[i], ds->token_row + j->user[i].begin, m * sizeof(*rows));
		memcpy(times + off[i], ds->token_time + j->user[i].begin, m * sizeof(*times));
		asked[i] = ds->token_time[j->user[i].end];
	}
	const struct wr_histories h = {(uint32_t)n, off, rows, times, asked};
	if (!err)
		err = wr_encode_histories(s, &h, threads, u, msg);
	if (!err) {
		wr_learn_unit_rows(s->w + s->embedding, s->shape.n_items, s->shape.d, unit, norm);
		wr_sgemm(false, true, n, n_items, d, u, d, unit, d, 0, z, n_items);
		for (size_t i = 0; i < n * n_items; i++)
			z[i] *= s->w[s->logit_scale];
		const struct st_tensor t[2] = {
			{"users", u, {(uint32_t)n, s->shape.d}, 2},
			{"logits", z, {(uint32_t)n, s->shape.n_items}, 2},
		};
		err = wr_learn_safetensors_write(path, t, 2, NULL, msg);
	}
	wr_judge_free(j);
	free(off);
	free(rows);
	free(times);
	free(asked);
	free(u);
	free(z);
	free(unit);
	free(norm);
	return err;
}
