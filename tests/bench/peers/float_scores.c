/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the float student of lib/learn says, number by number, for whoever computes the same
 * elsewhere: float_scores RUNDIR DATA USERS FILE writes, for the first USERS test users, lines
 * `row,row,…` of the last tokens before the target to stdout and the logits of all items, float
 * [USERS][n_items], to FILE.
 */
#include "learn_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const struct wr_errmsg *msg)
{
	fprintf(stderr, "float_scores: %s\n", msg->text);
	return 1;
}

/* The last tokens that reach the target of user u; their number, 0 = the user has no target. */
static uint32_t history(const struct wr_dataset *ds, uint32_t u, uint32_t most, const uint32_t **at)
{
	uint32_t begin = ds->token_off[u], n;
	if (!wr_split_user(ds->token_off[u + 1] - begin, WR_SPLIT_TEST, &n))
		return 0;
	uint32_t m = WR_MIN(n, most);
	*at = ds->token_row + begin + n - m;
	return m;
}

static int write_user(const struct wr_student *s, struct net_ws *ws, const float *unit,
	const uint32_t *rows, uint32_t n, FILE *out)
{
	static const struct dropout none;
	uint32_t off[2] = {0, n}, d = s->shape.d;
	struct ragged in = {.n_seqs = 1, .off = off, .rows = rows};
	wr_learn_net_forward(s, ws, &in, &none);
	const float *u = ws->u + (size_t)(n - 1) * d;
	for (uint32_t i = 0; i < s->shape.n_items; i++) {
		float dot = 0;
		for (uint32_t c = 0; c < d; c++)
			dot += u[c] * unit[(size_t)i * d + c];
		dot *= s->w[s->logit_scale];
		if (fwrite(&dot, sizeof(dot), 1, out) != 1)
			return 1;
	}
	for (uint32_t i = 0; i < n; i++)
		printf("%u%c", rows[i], i + 1 < n ? ',' : '\n');
	return 0;
}

int main(int argc, char **argv)
{
	struct wr_errmsg msg = {0};
	struct wr_student *s;
	struct wr_dataset *ds;
	struct net_ws ws;
	char path[4096];
	if (argc != 5) {
		fputs("float_scores RUNDIR DATA USERS FILE\n", stderr);
		return 2;
	}
	snprintf(path, sizeof(path), "%s/best.safetensors", argv[1]);
	if (wr_student_load(&s, path, &msg) || wr_dataset_load(&ds, argv[2], &msg))
		return fail(&msg);
	if (s->shape.n_items != ds->n_items || s->shape.time_buckets) {
		fputs("float_scores: another catalogue, or a student with age in time\n", stderr);
		return 1;
	}
	uint32_t reach = wr_student_reach(&s->shape), users = (uint32_t)strtoul(argv[3], NULL, 10);
	if (wr_learn_net_ws_new(&ws, s, reach, &msg))
		return fail(&msg);
	size_t n = s->shape.n_items;
	float *unit = malloc(n * s->shape.d * sizeof(float)), *norm = malloc(n * sizeof(float));
	FILE *out = fopen(argv[4], "wb");
	if (!unit || !norm || !out)
		return 1;
	wr_learn_unit_rows(s->w + s->embedding, s->shape.n_items, s->shape.d, unit, norm);
	int bad = 0;
	for (uint32_t u = 0; u < ds->n_users && users && !bad; u++) {
		const uint32_t *rows = NULL;
		uint32_t m = history(ds, u, reach, &rows);
		if (m == 0)
			continue;
		bad = write_user(s, &ws, unit, rows, m, out);
		users--;
	}
	bad |= fclose(out) != 0;
	wr_learn_net_ws_free(&ws);
	wr_student_free(s);
	wr_dataset_free(ds);
	free(unit);
	free(norm);
	return bad;
}
