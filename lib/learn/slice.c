/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A narrower residual stream (SliceGPT: Ashkboos et al. 2024). With the gains folded into the
 * matrices behind them, RMSNorm does not notice a rotation of the stream, so every matrix can be
 * written in the basis of the stream's principal directions and the last of them be left away. The
 * gain in front of the cosine does not fold into tied item vectors; its diagonal in the new basis
 * is kept, and recovery training mends the rest.
 */
#include "eigen_int.h"
#include "learn_int.h"
#include "prune_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_USERS 512
#define LEN           200

/* c += x x^T / |x|² of every row. */
static void add_rows(double *c, const float *x, uint32_t rows, uint32_t d)
{
	for (uint32_t t = 0; t < rows; t++) {
		const float *a = x + (size_t)t * d;
		double ss = 1e-30;
		for (uint32_t i = 0; i < d; i++)
			ss += (double)a[i] * (double)a[i];
		for (uint32_t i = 0; i < d; i++) {
			double k = (double)a[i] / ss;
			for (uint32_t j = 0; j < d; j++)
				c[i * d + j] += k * (double)a[j];
		}
	}
}

/* The stream in front of every block and behind the last one, over some users. */
static int covariance(const struct wr_student *s, const struct wr_dataset *ds, uint32_t users,
	double *c, struct wr_errmsg *msg)
{
	static const struct dropout none = {0};
	struct net_ws ws;
	uint32_t d = s->shape.d, stride = WR_MAX(ds->n_users / WR_MAX(users, 1u), 1u);
	int err = wr_learn_net_ws_new(&ws, s, LEN, msg);
	for (uint32_t u = 0; u < ds->n_users && !err; u += stride) {
		uint32_t begin = ds->token_off[u],
			 n = wr_split_training(ds->token_off[u + 1] - begin), k = WR_MIN(n, LEN),
			 off[2] = {0, k};
		if (!k)
			continue;
		begin += n - k;
		struct ragged in = {.n_seqs = 1,
			.off = off,
			.rows = ds->token_row + begin,
			.times = ds->token_time + begin,
			.asked = ds->token_time + begin};
		wr_learn_net_forward(s, &ws, &in, &none);
		for (uint32_t b = 0; b < s->shape.n_blocks; b++)
			add_rows(c, ws.b[b].x_in, k, d);
		add_rows(c, ws.x_out, k, d);
	}
	wr_learn_net_ws_free(&ws);
	return err;
}

struct basis {
	const double *v; /* [d][d], rows are directions */
	uint32_t d, n;   /* old and new width */
};

/* to [rows][n] = from [rows][d], columns times gain (NULL = 1), times k, in the new basis. */
static void turn_columns(const struct basis *x, const float *from, const float *gain, uint32_t rows,
	double k, float *to)
{
	for (uint32_t r = 0; r < rows; r++)
		for (uint32_t j = 0; j < x->n; j++) {
			double sum = 0;
			for (uint32_t c = 0; c < x->d; c++)
				sum += (double)from[(size_t)r * x->d + c] *
				       (gain ? (double)gain[c] : 1) * x->v[(size_t)j * x->d + c];
			to[(size_t)r * x->n + j] = (float)(k * sum);
		}
}

/* to [n][cols] = from [d][cols], rows in the new basis. */
static void turn_rows(const struct basis *x, const float *from, uint32_t cols, float *to)
{
	for (uint32_t j = 0; j < x->n; j++)
		for (uint32_t c = 0; c < cols; c++) {
			double sum = 0;
			for (uint32_t r = 0; r < x->d; r++)
				sum += x->v[(size_t)j * x->d + r] *
				       (double)from[(size_t)r * cols + c];
			to[(size_t)j * cols + c] = (float)sum;
		}
}

/* x' = √n E' and the norm's 1 / √(Σx² / n) both want √(d / n). */
static void turn_model(const struct basis *x, const struct wr_student *s, struct wr_student *n)
{
	const struct wr_student_shape *p = &s->shape;
	double k = sqrt((double)x->d / x->n);
	turn_columns(x, s->w + s->embedding, NULL, p->n_items, k, n->w + n->embedding);
	n->w[n->logit_scale] = s->w[s->logit_scale];
	for (uint32_t j = 0; j < x->n; j++) {
		double gain = 0;
		for (uint32_t c = 0; c < x->d; c++)
			gain += (double)s->w[s->final_gain + c] * x->v[(size_t)j * x->d + c] *
				x->v[(size_t)j * x->d + c];
		n->w[n->final_gain + j] = (float)gain;
	}
	for (uint32_t b = 0; b < p->n_blocks; b++) {
		const struct wr_student_block *o = &s->block[b], *y = &n->block[b];
		for (uint32_t j = 0; j < x->n; j++)
			n->w[y->norm1 + j] = n->w[y->norm2 + j] = 1;
		turn_columns(x, s->w + o->qkv, s->w + o->norm1, s->qkv_dim, k, n->w + y->qkv);
		turn_columns(x, s->w + o->up, s->w + o->norm2, s->up_dim, k, n->w + y->up);
		turn_rows(x, s->w + o->out, s->o_dim, n->w + y->out);
		turn_rows(x, s->w + o->down, p->ffn, n->w + y->down);
		memcpy(n->w + y->bias, s->w + o->bias,
			(size_t)p->n_heads * p->window * sizeof(float));
		memcpy(n->w + y->time, s->w + o->time,
			(size_t)p->n_heads * p->time_buckets * sizeof(float));
		memcpy(n->w + y->age_key, s->w + o->age_key,
			p->age_keys * (size_t)p->n_heads * p->window * s->head_dim * sizeof(float));
	}
}

int wr_learn_slice_width(const struct wr_student *s, uint32_t d, const struct wr_dataset *ds,
	uint32_t users, struct wr_student **out, struct wr_errmsg *msg)
{
	struct wr_student_shape shape = s->shape;
	size_t cells = (size_t)shape.d * shape.d;
	double *c = calloc(cells, sizeof(*c)), *v = malloc(cells * sizeof(*v)),
	       *value = malloc(shape.d * sizeof(*value));
	int err = c && v && value ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for slicing");
	*out = NULL;
	if (!err)
		err = covariance(s, ds, users ? users : DEFAULT_USERS, c, msg);
	if (!err)
		err = wr_learn_eigen(c, shape.d, value, v, msg);
	shape.head_dim = s->head_dim;
	shape.d = d;
	shape.matched = shape.teacher_d = 0;
	if (!err)
		err = wr_student_new(out, &shape, msg);
	if (!err)
		turn_model(&(struct basis){v, s->shape.d, d}, s, *out);
	free(c);
	free(v);
	free(value);
	return err;
}
