/* SPDX-License-Identifier: BSD-3-Clause */
/* Item vectors in fewer bytes against what must come out by hand, and the cost of answers. */
#include "learn_int.h"
#include "learn_test.h"
#include "wr_compact.h"

#include <math.h>

static struct wr_dataset *ds;
static struct wr_student *student;

static void train(void)
{
	struct wr_fit f;
	struct wr_fit_result r;
	struct wr_errmsg msg;
	learn_test_ring("ring", 200, 60, 40);
	wr_fit_defaults(&f);
	f.shape.d = 32;
	f.shape.n_heads = f.shape.n_kv_heads = 2;
	f.shape.ffn = 48;
	f.shape.window = 8;
	f.epochs = 12;
	f.batch = 16;
	f.lr = 5e-3;
	f.threads = 2;
	f.quiet = true;
	struct wr_pack p = {.data_dir = learn_test_path("ring"),
		.run_dir = learn_test_path("run"),
		.checkpoint = "best.safetensors",
		.threads = 1};
	if (wr_dataset_load(&ds, learn_test_path("ring"), &msg) ||
		wr_fit_run(&f, ds, learn_test_path("run"), &r, &msg) ||
		wr_student_load(&student, learn_test_path("run/best.safetensors"), &msg) ||
		wr_pack_run(&p, learn_test_path("b.wrb"), &msg)) {
		fprintf(stderr, "%s\n", msg.text);
		abort();
	}
}

/* All directions, and centroids for every item, lose nothing; fewer lose more and more. */
static void test_ways(void)
{
	struct wr_compressed w[] = {
		{.way = WR_COMPRESS_FLOAT, .size = 32},
		{.way = WR_COMPRESS_PCA, .size = 32},
		{.way = WR_COMPRESS_PQ, .size = 4}, /* 60 items, 256 centroids */
		{.way = WR_COMPRESS_INT8, .size = 32},
		{.way = WR_COMPRESS_PCA_INT8, .size = 16},
		{.way = WR_COMPRESS_PCA, .size = 16},
		{.way = WR_COMPRESS_PCA, .size = 4},
		{.way = WR_COMPRESS_PCA, .size = 1},
	};
	static const uint32_t bytes[] = {128, 128, 4, 36, 20, 64, 16, 4};
	struct wr_metrics_at m;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL_FATAL(
		wr_compress_measure(student, ds, WR_SPLIT_TEST, 0, 1, w, WR_ARRAY_LEN(w), &msg),
		WR_OK);
	CU_ASSERT_EQUAL(wr_eval_float(student, ds, WR_SPLIT_TEST, 0, 1, &m, &msg), WR_OK);
	for (size_t i = 0; i < WR_ARRAY_LEN(w); i++)
		CU_ASSERT_EQUAL(w[i].bytes, bytes[i]);
	CU_ASSERT_EQUAL(w[0].recall10, 1);
	CU_ASSERT_DOUBLE_EQUAL(w[0].hr10, m.hr[0][1], 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(w[0].ndcg10, m.ndcg[0][1], 1e-12);
	CU_ASSERT(w[1].recall10 > 0.999);
	CU_ASSERT(w[2].recall10 > 0.95);
	CU_ASSERT(w[3].recall10 > 0.95);
	CU_ASSERT(w[5].recall10 >= w[6].recall10 && w[6].recall10 > w[7].recall10);
	CU_ASSERT(w[7].recall10 < 0.7);
}

static void test_refused(void)
{
	struct wr_compressed bad[] = {{.way = WR_COMPRESS_PQ, .size = 5},
		{.way = WR_COMPRESS_PCA, .size = 33}, {.way = WR_COMPRESS_PQ, .size = 0}};
	struct wr_errmsg msg;
	for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++)
		CU_ASSERT_EQUAL(
			wr_compress_measure(student, ds, WR_SPLIT_TEST, 0, 1, &bad[i], 1, &msg),
			WR_EINVAL);
}

/* Multiply-adds by hand: d = 32, 2 heads of 16, f = 48, W = 8, 2 blocks, 60 items. */
static void test_cost(void)
{
	struct wr_bundle *b;
	struct wr_cost c;
	struct wr_errmsg msg;
	double us;
	CU_ASSERT_EQUAL_FATAL(wr_bundle_open(&b, learn_test_path("b.wrb"), &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_cost_measure(b, 0.01, &c, &msg), WR_OK);
	/* A token: 32·(96 + 32 + 96), and two products with 8 keys of 32 channels. */
	CU_ASSERT_EQUAL(c.warm_macs, 2 * (32 * (96 + 32 + 96) + 2 * 8 * 32));
	CU_ASSERT_EQUAL(c.score_macs, 60 * 32);
	CU_ASSERT_EQUAL(c.cold_clicks, 15);
	/* Keys and values of 15 and 8 tokens; 8 and 1 queries that see 8 keys each. */
	CU_ASSERT_EQUAL(
		c.cold_macs, 32 * 64 * (15 + 8) + (8 + 1) * (32 * (32 + 32 + 96) + 2 * 8 * 32));
	CU_ASSERT(c.warm_us > 0 && c.cold_us > 0 && c.score_us > 0 && c.score_us < c.cold_us);
	CU_ASSERT(c.session_bytes >= 2 * 8 * (32 + 8) + 8 * 4);
	wr_bundle_close(b);
	/* Kept projections are three products, and their second planes take memory. */
	struct wr_pack p = {.data_dir = learn_test_path("ring"),
		.run_dir = learn_test_path("run"),
		.checkpoint = "best.safetensors",
		.keep = "b0.qkv,b1.down",
		.threads = 1};
	struct wr_cost k;
	CU_ASSERT_EQUAL_FATAL(wr_pack_run(&p, learn_test_path("k.wrb"), &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_bundle_open(&b, learn_test_path("k.wrb"), &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_cost_measure(b, 0.01, &k, &msg), WR_OK);
	CU_ASSERT_EQUAL(k.warm_macs, c.warm_macs + 2 * 32 * (96 + 48));
	/* Of the first block, keys and values of 15 tokens and queries of 8. */
	CU_ASSERT_EQUAL(k.cold_macs, c.cold_macs + 2 * 32 * (64 * 15 + 32 * 8 + 48));
	CU_ASSERT_EQUAL(k.model_bytes, c.model_bytes + 32 * (96 + 48) + 2 * 96 * 4 + 2 * 32 * 4);
	wr_bundle_close(b);
	/* A teacher's shape: a gate counts as half as many units more. */
	struct wr_student_shape shape = student->shape;
	struct wr_student *t;
	shape.gated = shape.rotary = 1;
	shape.window = shape.context = 20;
	CU_ASSERT_EQUAL_FATAL(wr_student_new(&t, &shape, &msg), WR_OK);
	wr_student_init(t, 1);
	CU_ASSERT_EQUAL_FATAL(wr_cost_measure_shape(t, 0.01, &c, &us, &msg), WR_OK);
	CU_ASSERT_EQUAL(c.warm_macs, 2 * (32 * (96 + 32 + 2 * 80) + 2 * 20 * 32));
	CU_ASSERT(us > 0);
	wr_student_free(t);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"item vectors in fewer bytes", test_ways},
		{"sizes that do not fit", test_refused},
		{"the cost of an answer", test_cost},
	};
	learn_test_begin();
	train();
	int rc = wr_test_run("learn compress", tests, WR_ARRAY_LEN(tests));
	wr_student_free(student);
	wr_dataset_free(ds);
	learn_test_end();
	return rc;
}
