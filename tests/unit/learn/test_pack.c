/* SPDX-License-Identifier: BSD-3-Clause */
/* From a trained checkpoint to a bundle: int8 user vectors stay close to the float ones, lists
 * agree, rules are checked. */
#include "learn_int.h"
#include "learn_test.h"
#include "quantise_student.h"
#include "wr_report.h"

#include <math.h>

static struct wr_dataset *ds;
static struct wr_student *student;
static struct wr_bundle *bundle;

static const char *keep; /* of the next bundles */

static void pack(const char *rules, const char *out, int expected, struct wr_errmsg *msg)
{
	struct wr_pack p = {.data_dir = learn_test_path("ring"),
		.run_dir = learn_test_path("run"),
		.checkpoint = "best.safetensors",
		.rules = rules,
		.keep = keep,
		.threads = 1};
	msg->text[0] = '\0';
	int err = wr_pack_run(&p, learn_test_path(out), msg);
	if (err != expected)
		printf("\n  pack: %d '%s' ", err, msg->text);
	CU_ASSERT_EQUAL(err, expected);
}

static void train(void)
{
	struct wr_fit f;
	struct wr_fit_result r;
	struct wr_errmsg msg;
	learn_test_ring("ring", 200, 60, 40);
	wr_fit_defaults(&f);
	f.shape.d = 32;
	f.shape.n_kv_heads = 1;
	f.shape.ffn = 48;
	f.shape.window = 8;
	f.epochs = 20;
	f.batch = 16;
	f.lr = 5e-3;
	f.threads = 2;
	f.quiet = true;
	if (wr_dataset_load(&ds, learn_test_path("ring"), &msg) ||
		wr_fit_run(&f, ds, learn_test_path("run"), &r, &msg) ||
		wr_student_load(&student, learn_test_path("run/best.safetensors"), &msg)) {
		fprintf(stderr, "%s\n", msg.text);
		abort();
	}
}

static void test_quantise_rows(void)
{
	static const float w[8] = {1, -2, 0.5f, 0, 0, 0, 0, 0}, gain[4] = {2, 1, 1, 1};
	int8_t q[8];
	float scale[2];
	wr_learn_quantise_rows(w, NULL, 2, 4, q, scale);
	CU_ASSERT_EQUAL(q[1], -127);
	CU_ASSERT_EQUAL(q[0], 64); /* rint(63.5), half to even */
	CU_ASSERT_DOUBLE_EQUAL((double)scale[0], 2.0 / 127, 1e-9);
	CU_ASSERT_EQUAL(q[4], 0);
	CU_ASSERT_DOUBLE_EQUAL((double)scale[1], 1.0, 0);
	wr_learn_quantise_rows(w, gain, 1, 4, q, scale);
	CU_ASSERT_EQUAL(q[0], 127);
	CU_ASSERT_EQUAL(q[1], -127);
}

static void test_bundle(void)
{
	struct wr_errmsg msg;
	pack(NULL, "a.wrb", WR_OK, &msg);
	CU_ASSERT_EQUAL_FATAL(wr_bundle_open(&bundle, learn_test_path("a.wrb"), &msg), WR_OK);
	const struct wr_bundle_model *m = wr_bundle_model(bundle);
	CU_ASSERT_EQUAL(m->n_items, 60);
	CU_ASSERT_EQUAL(m->n_kv_heads, 1);
	CU_ASSERT_EQUAL(m->head_dim, 16);
	CU_ASSERT_EQUAL(m->bundle_version, 1);
	CU_ASSERT_DOUBLE_EQUAL((double)m->logit_scale, (double)student->w[student->logit_scale], 0);
	/* Popularity counts training tokens: all but two a user. */
	const uint32_t *popularity = wr_bundle_section(bundle, WR_SEC_POPULARITY, NULL);
	uint64_t sum = 0;
	for (uint32_t i = 0; i < 60; i++)
		sum += popularity[i];
	CU_ASSERT_EQUAL(sum, ds->token_off[ds->n_users] - 2 * (uint64_t)ds->n_users);
	size_t bytes;
	const char *text = wr_bundle_section(bundle, WR_SEC_MANIFEST, &bytes);
	json_t *manifest = json_loadb(text, bytes, 0, NULL);
	double hr10 = 0;
	CU_ASSERT_EQUAL(json_unpack(manifest, "{s:{s:{s:{s:F}}}}", "metrics_float", "test",
				"unfiltered", "hr10", &hr10),
		0);
	CU_ASSERT(hr10 > 0.5);
	CU_ASSERT_PTR_NOT_NULL(json_object_get(json_object_get(manifest, "training"), "shape"));
	json_decref(manifest);
	/* A second one at the same place has the next version. */
	struct wr_bundle *next;
	pack(NULL, "a.wrb", WR_OK, &msg);
	CU_ASSERT_EQUAL_FATAL(wr_bundle_open(&next, learn_test_path("a.wrb"), &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_bundle_model(next)->bundle_version, 2);
	wr_bundle_close(next);
}

/* cos(int8 vector, float vector) of every user's history. */
static void compare_vectors(const struct wr_bundle *b, double *worst, double *mean)
{
	struct wr_model *model;
	struct wr_encoder *e;
	struct net_ws ws;
	struct wr_errmsg msg;
	struct dropout none = {0};
	uint32_t events = wr_bundle_history_events(wr_bundle_model(b)), d = student->shape.d;
	*worst = 1;
	*mean = 0;
	CU_ASSERT_EQUAL_FATAL(
		wr_model_new(&model, b, WR_ISA_AUTO, WR_GEMM_AUTO, NULL, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_encoder_new(&e, model, 1, events, NULL, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_learn_net_ws_new(&ws, student, events, &msg), WR_OK);
	for (uint32_t u = 0; u < ds->n_users; u++) {
		uint32_t n = WR_MIN(ds->token_off[u + 1] - ds->token_off[u], events),
			 off[2] = {0, n};
		struct ragged in = {
			.n_seqs = 1, .off = off, .rows = ds->token_row + ds->token_off[u + 1] - n};
		wr_learn_net_forward(student, &ws, &in, &none);
		struct wr_user_vectors v = wr_encoder_encode(e, 1, off, in.rows);
		double dot = 0, qq = 0;
		for (uint32_t c = 0; c < d; c++) {
			dot += (double)ws.u[(size_t)(n - 1) * d + c] * v.q[c];
			qq += (double)v.q[c] * v.q[c];
		}
		*worst = fmin(*worst, dot / sqrt(qq));
		*mean += dot / sqrt(qq) / ds->n_users;
		/* |user vector| · scale = logit scale. */
		CU_ASSERT_DOUBLE_EQUAL((double)v.scale[0] * sqrt(qq),
			(double)student->w[student->logit_scale], 0.2);
	}
	wr_learn_net_ws_free(&ws);
	wr_encoder_free(e);
	wr_model_free(model);
}

static void test_user_vectors(void)
{
	double worst, mean;
	compare_vectors(bundle, &worst, &mean);
	if (worst < 0.98 || mean < 0.998)
		printf("\n  cosine: worst %.5f, mean %.5f ", worst, mean);
	CU_ASSERT(worst >= 0.98);
	CU_ASSERT(mean >= 0.998);
}

static void test_keep_names(void)
{
	static const char *const bad[] = {"", "block.2.up.weight", "block.0.up", "b0.up,",
		"b0.items", "b00.up", " b0.up", "b0.up ", "item.embedding", "block.0.norm1.gain",
		"b1.attention", "all", "block.-1.up.weight", "b0.up;b1.up"};
	uint16_t kept[WR_BUNDLE_PROJECTIONS];
	struct wr_errmsg msg;
	char name[WR_KEEP_NAME];
	CU_ASSERT_EQUAL(wr_keep_parse(NULL, 2, kept, &msg), WR_OK);
	CU_ASSERT(!kept[0] && !kept[1] && !kept[2] && !kept[3]);
	CU_ASSERT_EQUAL(wr_keep_parse("block.0.qkv.weight,b1.down,block.1.qkv.weight,b1.qkv", 2,
				kept, &msg),
		WR_OK);
	CU_ASSERT(kept[WR_BUNDLE_QKV] == 3 && kept[WR_BUNDLE_DOWN] == 2 && !kept[1] && !kept[2]);
	CU_ASSERT_EQUAL(wr_keep_parse("b15.up", 16, kept, &msg), WR_OK);
	CU_ASSERT_EQUAL(kept[WR_BUNDLE_UP], 0x8000);
	for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++) {
		msg.text[0] = '\0';
		CU_ASSERT_EQUAL(wr_keep_parse(bad[i], 2, kept, &msg), WR_EINVAL);
		CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "block.B.down.weight"));
		CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "from 0 to 1"));
	}
	wr_keep_name(1, WR_BUNDLE_OUT, name);
	CU_ASSERT_STRING_EQUAL(name, "block.1.out.weight");
}

/* q + low / 254 is the weight to half a step of low. */
static void test_quantise_low(void)
{
	struct wr_rng r;
	float w[4 * 48], gain[48], scale[4];
	int8_t q[4 * 48], low[4 * 48];
	wr_rng_init(&r, 3, 1);
	for (int i = 0; i < 4 * 48; i++)
		w[i] = (float)wr_rng_normal(&r);
	for (int i = 0; i < 48; i++)
		gain[i] = (float)(0.5 + wr_rng_double(&r));
	for (int with = 0; with < 2; with++) {
		const float *g = with ? gain : NULL;
		wr_learn_quantise_rows(w, g, 4, 48, q, scale);
		wr_learn_quantise_low(w, g, 4, 48, q, scale, low);
		for (int i = 0; i < 4 * 48; i++) {
			double want = (double)w[i] * (g ? (double)g[i % 48] : 1);
			double got = (q[i] + low[i] / 254.0) * (double)scale[i / 48];
			CU_ASSERT(fabs(got - want) <= 0.51 / 254 * (double)scale[i / 48]);
		}
	}
}

/* Kept projections bring vectors closer to the float model's; the manifest names them; every level
 * gives the same lists. */
static void test_kept(void)
{
	static const char all[] = "b0.qkv,b0.out,b0.up,b0.down,b1.qkv,b1.out,b1.up,b1.down";
	struct wr_errmsg msg;
	struct wr_bundle *b;
	double worst, plain, kept;
	compare_vectors(bundle, &worst, &plain);
	keep = all;
	pack(NULL, "kept.wrb", WR_OK, &msg);
	CU_ASSERT_EQUAL_FATAL(wr_bundle_open(&b, learn_test_path("kept.wrb"), &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_bundle_n_kept(wr_bundle_model(b)), 8);
	compare_vectors(b, &worst, &kept);
	printf("(mean of 1 - cosine: %.2g, kept %.2g) ", 1 - plain, 1 - kept);
	CU_ASSERT(1 - kept < 0.7 * (1 - plain));
	struct wr_int8 x = {.bundle = b, .isa = WR_ISA_AUTO, .gemm = WR_GEMM_AUTO, .threads = 2};
	struct wr_metrics_at q, r;
	CU_ASSERT_EQUAL(wr_eval_int8(&x, ds, WR_SPLIT_TEST, 0, &q, &msg), WR_OK);
	x.isa = WR_ISA_REF;
	CU_ASSERT_EQUAL(wr_eval_int8(&x, ds, WR_SPLIT_TEST, 0, &r, &msg), WR_OK);
	CU_ASSERT_EQUAL(memcmp(&q, &r, sizeof(q)), 0);
	wr_bundle_close(b);
	keep = "block.1.down.weight";
	pack(NULL, "kept.wrb", WR_OK, &msg);
	CU_ASSERT_EQUAL_FATAL(wr_bundle_open(&b, learn_test_path("kept.wrb"), &msg), WR_OK);
	size_t bytes;
	const char *text = wr_bundle_section(b, WR_SEC_MANIFEST, &bytes), *name = NULL;
	json_t *manifest = json_loadb(text, bytes, 0, NULL);
	CU_ASSERT_EQUAL(json_unpack(manifest, "{s:[s!]}", "kept", &name), 0);
	CU_ASSERT(name && !strcmp(name, keep));
	json_decref(manifest);
	wr_bundle_close(b);
	/* A bad name leaves the bundle that was there. */
	keep = "block.2.down.weight";
	pack(NULL, "kept.wrb", WR_EINVAL, &msg);
	CU_ASSERT_EQUAL(wr_bundle_open(&b, learn_test_path("kept.wrb"), &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_bundle_model(b)->kept[WR_BUNDLE_DOWN], 2);
	CU_ASSERT_EQUAL(wr_bundle_model(b)->bundle_version, 2);
	wr_bundle_close(b);
	keep = NULL;
}

static void test_int8_metrics(void)
{
	struct wr_int8 x = {
		.bundle = bundle, .isa = WR_ISA_AUTO, .gemm = WR_GEMM_AUTO, .threads = 2};
	struct wr_metrics_at f, q, r;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL(wr_eval_float(student, ds, WR_SPLIT_TEST, 0, 2, &f, &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_eval_int8(&x, ds, WR_SPLIT_TEST, 0, &q, &msg), WR_OK);
	x.isa = WR_ISA_REF;
	x.threads = 1;
	CU_ASSERT_EQUAL(wr_eval_int8(&x, ds, WR_SPLIT_TEST, 0, &r, &msg), WR_OK);
	CU_ASSERT_EQUAL(memcmp(&q, &r, sizeof(q)), 0);
	CU_ASSERT_EQUAL(q.n_users, f.n_users);
	for (int k = 0; k < 2; k++)
		CU_ASSERT_DOUBLE_EQUAL(q.hr[k][1], f.hr[k][1], 0.03); /* 6 of 200 users */
	CU_ASSERT(q.hr[1][1] > 0.8);
}

/* The lists of user u of the file: step by step, events and items. */
static void check_list_line(char *line, uint32_t steps, uint32_t max_history)
{
	static uint32_t seen[512], n_seen;
	char *save, *user = strtok_r(line, "\t", &save), *step = strtok_r(NULL, "\t", &save);
	char *events = strtok_r(NULL, "\t", &save), *list = strtok_r(NULL, "\t", &save);
	CU_ASSERT_PTR_NOT_NULL_FATAL(list);
	uint32_t u = (uint32_t)atoi(user) - 1, s = (uint32_t)atoi(step),
		 n = ds->token_off[u + 1] - ds->token_off[u];
	uint32_t shift = WR_MIN(steps, n - 2), added = 0;
	if (s == 0)
		n_seen = 0;
	for (char *e = strtok_r(events, ",", &save); e; e = strtok_r(NULL, ",", &save), added++)
		seen[n_seen++] = (uint32_t)atoi(e);
	CU_ASSERT_EQUAL(added, s ? 1 : WR_MIN(n - 1 - shift, max_history));
	/* The newest event shown is t_{n-2-S+s}. */
	CU_ASSERT_EQUAL(seen[n_seen - 1], ds->token_row[ds->token_off[u] + n - 2 - shift + s] + 1);
	uint32_t n_list = 0;
	for (char *i = strtok_r(list, ",", &save); i; i = strtok_r(NULL, ",", &save), n_list++)
		for (uint32_t k = 0; k < n_seen; k++)
			CU_ASSERT_NOT_EQUAL((uint32_t)atoi(i), seen[k]);
	CU_ASSERT_EQUAL(n_list, 10);
}

static void test_lists(void)
{
	struct wr_int8 x = {
		.bundle = bundle, .isa = WR_ISA_AUTO, .gemm = WR_GEMM_AUTO, .threads = 2};
	struct wr_lists l = {.k = 10, .steps = 2, .max_history = 15};
	struct wr_errmsg msg;
	uint64_t n = 0, lines = 0;
	CU_ASSERT_EQUAL(wr_lists_write(&x, ds, &l, learn_test_path("lists.tsv"), &n, &msg), WR_OK);
	char *text = learn_test_read("lists.tsv"), *save;
	CU_ASSERT_EQUAL(strncmp(text, "#k=10 filtered=1 bundle=", 24), 0);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (line[0] != '#') {
			check_list_line(line, 2, 15);
			lines++;
		}
	CU_ASSERT_EQUAL(lines, n);
	CU_ASSERT(n > 2 * ds->n_users && n <= 3 * ds->n_users);
	free(text);
	/* One thread, one burst shape less: the same file. */
	x.threads = 1;
	text = learn_test_read("lists.tsv");
	CU_ASSERT_EQUAL(
		wr_lists_write(&x, ds, &l, learn_test_path("lists2.tsv"), NULL, &msg), WR_OK);
	char *again = learn_test_read("lists2.tsv");
	CU_ASSERT_STRING_EQUAL(text, again);
	free(text);
	free(again);
}

static void test_baselines(void)
{
	struct wr_metrics_at pop, knn;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL(wr_eval_popularity(ds, WR_SPLIT_TEST, 0, &pop, &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_eval_item_knn(ds, WR_SPLIT_TEST, 0, &knn, &msg), WR_OK);
	CU_ASSERT_EQUAL(pop.n_users, ds->n_users);
	/* On a ring every item is as popular as any other: a tenth or so; neighbours know the ring.
	 */
	CU_ASSERT(pop.hr[1][1] < 0.35);
	CU_ASSERT(knn.hr[0][1] > pop.hr[0][1]);
}

static void test_rules(void)
{
	struct wr_errmsg msg;
	learn_test_text("good.ini", "[one]\npattern = refund\nitems = 5\nweight = 2\n");
	learn_test_text(
		"bad.ini", "[one]\npattern = refund\nitems = 5\n\n[two]\npattern = (\nitems = 6\n");
	pack(learn_test_path("good.ini"), "r.wrb", WR_OK, &msg);
	struct wr_bundle *b;
	size_t bytes;
	CU_ASSERT_EQUAL_FATAL(wr_bundle_open(&b, learn_test_path("r.wrb"), &msg), WR_OK);
	CU_ASSERT_PTR_NOT_NULL(wr_bundle_section(b, WR_SEC_RULES, &bytes));
	wr_bundle_close(b);
	/* A bad rules file names its line and leaves the bundle that was there. */
	pack(learn_test_path("bad.ini"), "r.wrb", WR_EFORMAT, &msg);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "bad.ini:"));
	CU_ASSERT_EQUAL_FATAL(wr_bundle_open(&b, learn_test_path("r.wrb"), &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_bundle_model(b)->bundle_version, 1);
	wr_bundle_close(b);
	CU_ASSERT_NOT_EQUAL(access(learn_test_path("r.wrb.new"), F_OK), 0);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"rows are quantised to their own maximum", test_quantise_rows},
		{"a bundle holds model, catalogue and manifest", test_bundle},
		{"int8 user vectors are close to float ones", test_user_vectors},
		{"names of what is kept", test_keep_names},
		{"second planes of weights", test_quantise_low},
		{"kept projections are closer to float", test_kept},
		{"int8 hit rates are close to float ones and the same at every level",
			test_int8_metrics},
		{"lists follow their rule", test_lists},
		{"baselines on a ring", test_baselines},
		{"rules are checked before the bundle is replaced", test_rules},
	};
	learn_test_begin();
	train();
	int rc = wr_test_run("learn pack", tests, WR_ARRAY_LEN(tests));
	wr_bundle_close(bundle);
	wr_student_free(student);
	wr_dataset_free(ds);
	learn_test_end();
	return rc;
}
