/* SPDX-License-Identifier: BSD-3-Clause */
/* What heads know of a user: the student's vector of the last clicks, and where all clicks point.
 */
#include "encode_int.h"
#include "heads_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

uint32_t wr_heads_user_floats(const struct wr_heads *h)
{
	return 2 * h->d;
}

static void add_row(const float *e, uint32_t d, float *sum)
{
	for (uint32_t c = 0; c < d; c++)
		sum[c] += e[c];
}

/* v = (u, sum / |sum|). */
static void join(const float *u, const float *sum, uint32_t d, float *v)
{
	float n = 0;
	for (uint32_t c = 0; c < d; c++)
		n += sum[c] * sum[c];
	float inv = n > 0 ? 1 / sqrtf(n) : 0;
	memcpy(v, u, d * sizeof(*v));
	for (uint32_t c = 0; c < d; c++)
		v[d + c] = sum[c] * inv;
}

int wr_heads_users(const struct wr_heads *h, const struct wr_student *s,
	const struct wr_histories *x, uint32_t threads, float *v, struct wr_errmsg *msg)
{
	size_t d = h->d;
	float *u = malloc(((size_t)x->n + 1) * d * sizeof(*u)), *sum = malloc(d * sizeof(*sum));
	int err = u && sum ? wr_encode_histories(s, x, threads, u, msg)
			   : wr_fail(msg, WR_ENOMEM, "out of memory for user vectors");
	for (uint32_t i = 0; i < x->n && !err; i++) {
		memset(sum, 0, d * sizeof(*sum));
		for (uint64_t t = x->off[i]; t < x->off[i + 1]; t++)
			add_row(h->unit + x->rows[t] * d, h->d, sum);
		join(u + i * d, sum, h->d, v + i * 2 * d);
	}
	free(u);
	free(sum);
	return err;
}

/* Slates of a user stand in order of time, so the sum grows from one to the next. */
int wr_learn_heads_users_of_slates(const struct wr_heads *h, const struct wr_student *s,
	const struct wr_dataset *ds, const struct wr_impressions *x, uint32_t threads, float *v,
	struct wr_errmsg *msg)
{
	size_t d = h->d;
	uint32_t user = UINT32_MAX, done = 0;
	float *u = malloc(((size_t)x->n_slates + 1) * d * sizeof(*u)),
	      *sum = malloc(d * sizeof(*sum));
	int err = u && sum ? wr_learn_encode_slates(s, ds, x, threads, u, msg)
			   : wr_fail(msg, WR_ENOMEM, "out of memory for user vectors");
	for (uint32_t i = 0; i < x->n_slates && !err; i++) {
		const struct wr_slate *g = &x->slate[i];
		if (!i || g->user != user || g->n_history < done) {
			memset(sum, 0, d * sizeof(*sum));
			done = 0;
		}
		user = g->user;
		for (; done < g->n_history; done++)
			add_row(h->unit + ds->token_row[ds->token_off[user] + done] * d, h->d, sum);
		join(u + i * d, sum, h->d, v + i * 2 * d);
	}
	free(u);
	free(sum);
	return err;
}
