/* SPDX-License-Identifier: BSD-3-Clause */
/* What a model would cost that the server cannot run: a random one of its shape on the server's
 * kernels, and its own float pass. */
#include "fake_int.h"
#include "quantise_student.h"
#include "sgemm.h"
#include "wr_compact.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define USERS 16

/* As many multiply-adds as s does, in what the server knows. */
static struct wr_student_shape served_shape(const struct wr_student *s)
{
	struct wr_student_shape p = s->shape;
	p.ffn = p.gated ? WR_ALIGN_UP(p.ffn * 3 / 2, 16u) : p.ffn;
	p.window = WR_MIN(p.window, 256u);
	p.activation = WR_ACTIVATION_RELU;
	p.gated = p.rotary = p.context = p.time_buckets = p.matched = p.teacher_d = 0;
	return p;
}

static int add_rest(struct wr_bundle_builder *w, uint32_t n)
{
	uint32_t *popularity = calloc(n, sizeof(*popularity));
	uint8_t *flags = malloc(n);
	int err = popularity && flags ? WR_OK : WR_ENOMEM;
	if (!err) {
		memset(flags, 1, n);
		err = wr_bundle_builder_add(
			w, WR_SEC_POPULARITY, popularity, n * sizeof(*popularity));
	}
	if (!err)
		err = wr_bundle_builder_add(w, WR_SEC_ITEM_FLAGS, flags, n);
	free(popularity);
	free(flags);
	return err;
}

/* A bundle with random weights below a temporary name, which is gone again when this returns. */
static int make_bundle(
	const struct wr_student_shape *p, struct wr_bundle **out, struct wr_errmsg *msg)
{
	char path[] = "/tmp/wrtrain-cost-XXXXXX";
	struct wr_student *s;
	struct wr_bundle_builder *w = NULL;
	struct quantising plain = {.bundle_version = 1};
	int fd = mkstemp(path), err = wr_student_new(&s, p, msg);
	*out = NULL;
	if (fd < 0 && !err)
		err = wr_fail(msg, WR_EIO, "%s: cannot write", path);
	if (!err) {
		wr_student_init(s, 1);
		err = wr_bundle_builder_new(&w, msg);
	}
	if (!err)
		err = wr_learn_quantise_student(w, s, &plain, msg);
	if (!err && add_rest(w, p->n_items))
		err = wr_fail(msg, WR_ENOMEM, "out of memory for a bundle");
	if (!err)
		err = wr_bundle_builder_write(w, path, msg);
	if (!err)
		err = wr_bundle_open(out, path, msg);
	if (fd >= 0) {
		close(fd);
		unlink(path);
	}
	wr_bundle_builder_free(w);
	wr_student_free(s);
	return err;
}

/* Best of a few passes over USERS sequences of n clicks and the scores of all items. */
static int time_float(
	const struct wr_student *s, uint32_t n, double seconds, double *us, struct wr_errmsg *msg)
{
	static const struct dropout none = {0};
	const struct wr_student_shape *p = &s->shape;
	struct net_ws ws;
	struct wr_rng r;
	uint32_t off[USERS + 1] = {0}, *rows = malloc((size_t)USERS * n * sizeof(*rows)),
			     rounds = 0;
	int64_t *times = calloc((size_t)USERS * n, sizeof(*times));
	float *unit = malloc((size_t)p->n_items * p->d * sizeof(float)),
	      *norm = malloc(p->n_items * sizeof(float));
	int err = wr_learn_net_ws_new(&ws, s, USERS * n, msg), threads = omp_get_max_threads();
	if (!err && (!rows || !times || !unit || !norm))
		err = wr_fail(msg, WR_ENOMEM, "out of memory for timing");
	wr_rng_init(&r, 1, 2);
	for (uint32_t i = 0; i < USERS * n && !err; i++)
		rows[i] = wr_rng_below(&r, p->n_items);
	for (uint32_t i = 0; i < USERS; i++)
		off[i + 1] = off[i] + n;
	struct ragged in = {
		.n_seqs = USERS, .off = off, .rows = rows, .times = times, .asked = times};
	omp_set_num_threads(1);
	if (!err)
		wr_learn_unit_rows(s->w + s->embedding, p->n_items, p->d, unit, norm);
	uint64_t begin = wr_clock_ns(), best = UINT64_MAX;
	while (!err && (rounds < 3 || (double)(wr_clock_ns() - begin) < seconds * 1e9)) {
		uint64_t t0 = wr_clock_ns();
		wr_learn_net_forward(s, &ws, &in, &none);
		for (uint32_t i = 0; i < USERS; i++)
			memcpy(ws.tile_u + (size_t)i * p->d, ws.u + (size_t)(off[i + 1] - 1) * p->d,
				p->d * sizeof(float));
		wr_sgemm(false, true, USERS, p->n_items, p->d, ws.tile_u, p->d, unit, p->d, 0,
			ws.tile_z, p->n_items);
		best = WR_MIN(best, wr_clock_ns() - t0);
		rounds++;
	}
	omp_set_num_threads(threads);
	*us = (double)best / 1e3 / USERS;
	wr_learn_net_ws_free(&ws);
	free(rows);
	free(times);
	free(unit);
	free(norm);
	return err;
}

int wr_cost_measure_shape(const struct wr_student *s, double seconds, struct wr_cost *out,
	double *float_us, struct wr_errmsg *msg)
{
	struct wr_student_shape p = served_shape(s);
	struct wr_bundle *b;
	int err = make_bundle(&p, &b, msg);
	if (!err)
		err = wr_cost_measure(b, seconds, out, msg);
	if (!err)
		err = time_float(s, out->cold_clicks, seconds, float_us, msg);
	wr_bundle_close(b);
	return err;
}
