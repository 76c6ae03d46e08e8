/* SPDX-License-Identifier: BSD-3-Clause */
/* wrtrain compress: item vectors in fewer bytes, with recall against exact and hit rates. */
#include "wr_compact.h"
#include "wr_report.h"
#include "wrtrain.h"

#include <string.h>

static int run(int argc, char **argv, struct wr_errmsg *msg)
{
	const char *data = NULL, *run_dir = NULL, *split = NULL, *threads_text = NULL, *json = NULL,
		   *users_text = NULL;
	uint32_t threads = 0, users = 0, n = 0;
	struct wr_dataset *ds = NULL;
	struct wr_student *s = NULL;
	struct wr_compressed way[16];
	char path[4096], name[32];
	const struct wr_opt opts[] = {
		{"data", "DIR", "the data set", &data},
		{"run", "RUNDIR", "whose item vectors: RUNDIR/best.safetensors", &run_dir},
		{"split", "NAME", "test or valid (test)", &split},
		{"users", "N", "only the first N users (all)", &users_text},
		{"json", "FILE", "the figures as JSON (- = stdout)", &json},
		{"threads", "N", "OpenMP threads (all cores)", &threads_text},
	};
	unsigned int n_words;
	int err = wr_opt_parse(argc, argv, "wrtrain compress --data=DIR --run=RUNDIR [options]",
		opts, WR_ARRAY_LEN(opts), NULL, 0, &n_words, msg);
	if (!err && (!data || !run_dir))
		err = wr_fail(msg, WR_EINVAL, "give --data and --run (see --help)");
	if (!err && split && strcmp(split, "test") && strcmp(split, "valid"))
		err = wr_fail(msg, WR_EINVAL, "--split=%s: give test or valid", split);
	if (!err)
		err = wrtrain_u32("threads", threads_text, 1, 1024, &threads, msg);
	if (!err)
		err = wrtrain_u32("users", users_text, 1, UINT32_MAX, &users, msg);
	if (err)
		return err;
	snprintf(path, sizeof(path), "%s/best.safetensors", run_dir);
	err = wr_dataset_load(&ds, data, msg);
	if (!err)
		err = wr_student_load(&s, path, msg);
	if (!err) {
		uint32_t d = s->shape.d;
		way[n++] = (struct wr_compressed){.way = WR_COMPRESS_FLOAT, .size = d};
		way[n++] = (struct wr_compressed){.way = WR_COMPRESS_INT8, .size = d};
		for (uint32_t k = d * 3 / 4; k >= d / 4 && k; k -= WR_MAX(d / 4, 1u)) {
			way[n++] = (struct wr_compressed){.way = WR_COMPRESS_PCA, .size = k};
			way[n++] = (struct wr_compressed){.way = WR_COMPRESS_PCA_INT8, .size = k};
		}
		for (uint32_t parts = d / 2; parts >= d / 16 && parts && n < 16; parts /= 2)
			if (d % parts == 0)
				way[n++] = (struct wr_compressed){
					.way = WR_COMPRESS_PQ, .size = parts};
		err = wr_compress_measure(s, ds,
			split && !strcmp(split, "valid") ? WR_SPLIT_VALID : WR_SPLIT_TEST, users,
			threads, way, n, msg);
	}
	json_t *list = json_array();
	for (uint32_t i = 0; i < n && !err; i++) {
		const struct wr_compressed *c = &way[i];
		snprintf(name, sizeof(name), "%s %u", wr_compress_name(c->way), c->size);
		printf("%-12s %4u bytes an item  recall@10 %.4f  HR@10 %.4f  NDCG@10 %.4f\n", name,
			c->bytes, c->recall10, c->hr10, c->ndcg10);
		json_array_append_new(list,
			json_pack("{s:s, s:I, s:I, s:f, s:f, s:f}", "way", wr_compress_name(c->way),
				"size", (json_int_t)c->size, "bytes", (json_int_t)c->bytes,
				"recall10", c->recall10, "hr10", c->hr10, "ndcg10", c->ndcg10));
	}
	if (!err && json) {
		json_t *all =
			json_pack("{s:s, s:s, s:O}", "data", data, "run", run_dir, "ways", list);
		err = wr_json_write(all, json, msg);
		json_decref(all);
	}
	json_decref(list);
	wr_student_free(s);
	wr_dataset_free(ds);
	return err;
}

int wr_cmd_compress(int argc, char **argv)
{
	struct wr_errmsg msg;
	return wrtrain_finish("compress", run(argc, argv, &msg), &msg);
}
