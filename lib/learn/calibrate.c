/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What products read on training clicks: mean squares of every input channel, so that a weight's
 * rounding counts as much as what it multiplies. A channel's scale is then the one that loses least
 * of the output, not the one that spares the largest weight (as in Banner et al. 2019, by search).
 */
#include "fake_int.h"
#include "quantise_student.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define USERS  512
#define LEN    200
#define TRIES  32
#define SHRINK 0.3f /* of the usual scale at most; tries lie closest near it */

/* What rounding by `scale` loses of a row. */
static double loss_of(const float *w, const float *moment, uint32_t cols, float scale)
{
	double loss = 0;
	for (uint32_t c = 0; c < cols; c++) {
		float q = fmaxf(-127.0f, fminf(127.0f, rintf(w[c] / scale)));
		double off = (double)(w[c] - q * scale);
		loss += off * off * (double)moment[c];
	}
	return loss;
}

void wr_learn_quantise_calibrated(const float *w, const float *gain, const float *moment,
	uint32_t rows, uint32_t cols, int8_t *q, float *scale)
{
	float x[8192];
	wr_learn_quantise_rows(w, gain, rows, cols, q, scale);
	for (uint32_t r = 0; r < rows; r++) {
		float best = scale[r];
		for (uint32_t c = 0; c < cols; c++)
			x[c] = w[(size_t)r * cols + c] * (gain ? gain[c] : 1.0f);
		double least = loss_of(x, moment, cols, best);
		for (int k = 1; k < TRIES; k++) {
			float part = (float)k / (TRIES - 1),
			      s = scale[r] * (1.0f - SHRINK * part * part);
			double loss = loss_of(x, moment, cols, s);
			if (loss < least) {
				least = loss;
				best = s;
			}
		}
		scale[r] = best;
		for (uint32_t c = 0; c < cols; c++)
			q[(size_t)r * cols + c] =
				(int8_t)fmaxf(-127.0f, fminf(127.0f, rintf(x[c] / best)));
	}
}

static void add_squares(float *moment, const float *x, uint32_t rows, uint32_t cols)
{
	for (uint32_t t = 0; t < rows; t++)
		for (uint32_t c = 0; c < cols; c++)
			moment[c] += x[(size_t)t * cols + c] * x[(size_t)t * cols + c];
}

static int moments_alloc(struct moments *m, const struct wr_student *s, struct wr_errmsg *msg)
{
	*m = (struct moments){0};
	for (uint32_t b = 0; b < s->shape.n_blocks; b++) {
		m->qkv[b] = calloc(s->shape.d, sizeof(float));
		m->out[b] = calloc(s->o_dim, sizeof(float));
		m->up[b] = calloc(s->shape.d, sizeof(float));
		m->down[b] = calloc(s->shape.ffn, sizeof(float));
		if (!m->qkv[b] || !m->out[b] || !m->up[b] || !m->down[b])
			return wr_fail(msg, WR_ENOMEM, "out of memory for calibration");
	}
	return WR_OK;
}

void wr_learn_moments_free(struct moments *m)
{
	for (uint32_t b = 0; b < WR_BUNDLE_MAX_BLOCKS; b++) {
		free(m->qkv[b]);
		free(m->out[b]);
		free(m->up[b]);
		free(m->down[b]);
	}
	*m = (struct moments){0};
}

/* One user's training clicks, the last LEN of them. */
static void add_user(struct moments *m, const struct wr_student *s, struct net_ws *ws,
	const struct wr_dataset *ds, uint32_t u)
{
	static const struct dropout none = {0};
	uint32_t begin = ds->token_off[u], n = wr_split_training(ds->token_off[u + 1] - begin),
		 k = WR_MIN(n, (uint32_t)LEN), off[2] = {0, k};
	if (!k)
		return;
	begin += n - k;
	struct ragged in = {.n_seqs = 1,
		.off = off,
		.rows = ds->token_row + begin,
		.times = ds->token_time + begin,
		.asked = ds->token_time + begin};
	wr_learn_net_forward(s, ws, &in, &none);
	for (uint32_t b = 0; b < s->shape.n_blocks; b++) {
		add_squares(m->qkv[b], ws->b[b].n1, k, s->shape.d);
		add_squares(m->out[b], ws->b[b].o, k, s->o_dim);
		add_squares(m->up[b], ws->b[b].n2, k, s->shape.d);
		add_squares(m->down[b], ws->b[b].h, k, s->shape.ffn);
	}
}

int wr_learn_moments_measure(struct moments *m, const struct wr_student *real,
	const struct wr_dataset *ds, struct wr_errmsg *msg)
{
	/* Gains folded, nothing rounded: inputs are what the folded weights meet. */
	const struct wr_fake folded = {.real = real};
	uint32_t stride = WR_MAX(ds->n_users / (uint32_t)USERS, 1u);
	struct wr_student *s;
	struct net_ws ws = {0};
	*m = (struct moments){0};
	int err = wr_learn_fake_new(&s, &folded, msg);
	if (!err)
		err = moments_alloc(m, s, msg);
	if (!err)
		err = wr_learn_net_ws_new(&ws, s, LEN, msg);
	for (uint32_t u = 0; u < ds->n_users && !err; u += stride)
		add_user(m, s, &ws, ds, u);
	wr_learn_net_ws_free(&ws);
	wr_student_free(s);
	if (err)
		wr_learn_moments_free(m);
	return err;
}
