/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's rounding in training: user vectors are those of the int8 encoder but for single
 * roundings; gradients come back through folded gains; a model trained through it resumes and is
 * told apart by layer.
 */
#include "fake_int.h"
#include "learn_test.h"
#include "quantise_student.h"
#include "step_int.h"
#include "wr_compact.h"

#include <math.h>

static struct wr_dataset *ds;
static struct wr_student *student;
static struct wr_bundle *bundle;

static struct wr_fit settings(void)
{
	struct wr_fit f;
	wr_fit_defaults(&f);
	f.shape.d = 32;
	f.shape.n_heads = 2;
	f.shape.n_kv_heads = 1;
	f.shape.ffn = 48;
	f.shape.window = 8;
	f.epochs = 12;
	f.batch = 16;
	f.lr = 5e-3;
	f.threads = 2;
	f.quiet = true;
	return f;
}

/* Trains, packs and loads both. */
static void train(
	const struct wr_fit *f, const char *name, struct wr_student **s, struct wr_bundle **b)
{
	struct wr_fit_result r;
	struct wr_errmsg msg;
	char run[256], best[280], packed[264];
	snprintf(run, sizeof(run), "%s", learn_test_path(name));
	snprintf(best, sizeof(best), "%s/best.safetensors", run);
	snprintf(packed, sizeof(packed), "%s.wrb", run);
	struct wr_pack p = {.data_dir = learn_test_path("ring"),
		.run_dir = run,
		.checkpoint = "best.safetensors",
		.threads = 1};
	if (wr_fit_run(f, ds, run, &r, &msg) || wr_student_load(s, best, &msg) ||
		wr_pack_run(&p, packed, &msg) || wr_bundle_open(b, packed, &msg)) {
		fprintf(stderr, "%s\n", msg.text);
		abort();
	}
}

/* Mean of 1 - cosine to the user vectors that a bundle's server has. */
static double distance_to(const struct wr_bundle *served, const struct wr_student *s)
{
	static const struct dropout none = {0};
	struct wr_model *model;
	struct wr_encoder *e;
	struct net_ws ws;
	struct wr_errmsg msg;
	uint32_t events = wr_bundle_history_events(wr_bundle_model(served)), d = s->shape.d;
	double mean = 0;
	CU_ASSERT_EQUAL_FATAL(
		wr_model_new(&model, served, WR_ISA_REF, WR_GEMM_OWN, NULL, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_encoder_new(&e, model, 1, events, NULL, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_learn_net_ws_new(&ws, s, events, &msg), WR_OK);
	for (uint32_t u = 0; u < ds->n_users; u++) {
		uint32_t n = WR_MIN(ds->token_off[u + 1] - ds->token_off[u], events),
			 off[2] = {0, n};
		struct ragged in = {
			.n_seqs = 1, .off = off, .rows = ds->token_row + ds->token_off[u + 1] - n};
		wr_learn_net_forward(s, &ws, &in, &none);
		struct wr_user_vectors v = wr_encoder_encode(e, 1, off, in.rows);
		double dot = 0, qq = 0, uu = 0;
		for (uint32_t c = 0; c < d; c++) {
			double x = (double)ws.u[(size_t)(n - 1) * d + c];
			dot += x * v.q[c];
			qq += (double)v.q[c] * v.q[c];
			uu += x * x;
		}
		mean += (1 - dot / sqrt(qq * uu)) / ds->n_users;
	}
	wr_learn_net_ws_free(&ws);
	wr_encoder_free(e);
	wr_model_free(model);
	return mean;
}

static double distance(const struct wr_student *s)
{
	return distance_to(bundle, s);
}

/* The same of a bundle that keeps projections: what is rounded as it is comes closest. */
static void test_kept(void)
{
	static const char keep[] = "b0.qkv,b0.down,b1.out,b1.up";
	struct wr_pack p = {.data_dir = learn_test_path("ring"),
		.run_dir = learn_test_path("run"),
		.checkpoint = "best.safetensors",
		.calibrate = true, /* not of these */
		.keep = keep,
		.threads = 1};
	struct wr_bundle *b;
	struct wr_fake fake;
	struct wr_student *s;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL_FATAL(wr_pack_run(&p, learn_test_path("k.wrb"), &msg), WR_OK);
	p.calibrate = false;
	CU_ASSERT_EQUAL_FATAL(wr_pack_run(&p, learn_test_path("kept.wrb"), &msg), WR_OK);
	struct wr_bundle *calibrated;
	CU_ASSERT_EQUAL_FATAL(wr_bundle_open(&calibrated, learn_test_path("k.wrb"), &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_bundle_open(&b, learn_test_path("kept.wrb"), &msg), WR_OK);
	const struct wr_bundle *both[] = {calibrated, b};
	CU_ASSERT_EQUAL(
		memcmp(wr_bundle_block(both[0], 1, "up.q"), wr_bundle_block(b, 1, "up.q"), 48 * 32),
		0);
	CU_ASSERT_NOT_EQUAL(memcmp(wr_bundle_block(both[0], 1, "down.q"),
				    wr_bundle_block(b, 1, "down.q"), 48 * 32),
		0);
	wr_bundle_close(calibrated);
	wr_learn_fake_all(&fake, student);
	CU_ASSERT_EQUAL_FATAL(wr_learn_fake_new(&s, &fake, &msg), WR_OK);
	double plain = distance_to(b, s);
	wr_student_free(s);
	CU_ASSERT_EQUAL(wr_keep_parse(keep, 2, fake.kept, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_learn_fake_new(&s, &fake, &msg), WR_OK);
	double kept = distance_to(b, s);
	wr_student_free(s);
	if (kept > 0.5 * plain)
		printf("\n  kept %g, plain %g ", kept, plain);
	CU_ASSERT(kept <= 0.5 * plain);
	wr_bundle_close(b);
}

/* Every layer rounded comes closer to the server than float does, by far; each layer matters. */
static void test_server(void)
{
	struct wr_fake all, but;
	struct wr_student *s;
	struct wr_errmsg msg;
	wr_learn_fake_all(&all, student);
	CU_ASSERT_EQUAL_FATAL(wr_learn_fake_new(&s, &all, &msg), WR_OK);
	double full = distance(s), plain = distance(student);
	wr_student_free(s);
	if (full > 0.1 * plain)
		printf("\n  rounded %g, float %g ", full, plain);
	CU_ASSERT(full <= 0.1 * plain);
	for (uint32_t b = 0; b < 2; b++)
		for (unsigned int part = 0; part < FAKE_PARTS; part++) {
			but = all;
			but.block[b] = (uint8_t)(but.block[b] & ~(1u << part));
			CU_ASSERT_EQUAL_FATAL(wr_learn_fake_new(&s, &but, &msg), WR_OK);
			CU_ASSERT(distance(s) > 1.2 * full);
			wr_student_free(s);
		}
}

/* Keys by age are rounded with attention, as the server has them. */
static void test_age_keys(void)
{
	struct wr_fit f = settings();
	struct wr_student *aged, *s;
	struct wr_bundle *b;
	struct wr_fake all;
	struct wr_errmsg msg;
	f.shape.age_keys = 1;
	train(&f, "aged", &aged, &b);
	CU_ASSERT_EQUAL(wr_bundle_model(b)->age_keys, 1);
	wr_learn_fake_all(&all, aged);
	CU_ASSERT_EQUAL_FATAL(wr_learn_fake_new(&s, &all, &msg), WR_OK);
	double full = distance_to(b, s), plain = distance_to(b, aged);
	CU_ASSERT(full <= 0.1 * plain);
	/* They are no decoration: without them the vectors are others. */
	size_t n = (size_t)f.shape.n_heads * f.shape.window * s->head_dim;
	for (uint32_t k = 0; k < s->shape.n_blocks; k++)
		memset(s->w + s->block[k].age_key, 0, n * sizeof(float));
	double without = distance_to(b, s);
	CU_ASSERT(without > 3 * plain);
	wr_student_free(s);
	wr_student_free(aged);
	wr_bundle_close(b);
}

static void test_metrics(void)
{
	struct wr_int8 x = {
		.bundle = bundle, .isa = WR_ISA_AUTO, .gemm = WR_GEMM_AUTO, .threads = 2};
	struct wr_metrics_at q, f;
	struct wr_layers l;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL(wr_eval_int8(&x, ds, WR_SPLIT_TEST, 0, &q, &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_eval_float(student, ds, WR_SPLIT_TEST, 0, 2, &f, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(
		wr_layers_measure(student, ds, WR_SPLIT_TEST, 0, 2, NULL, &l, &msg), WR_OK);
	CU_ASSERT_EQUAL(l.n, 12);
	CU_ASSERT_EQUAL(l.none.ndcg10, f.ndcg[0][1]);
	CU_ASSERT_DOUBLE_EQUAL(l.all.hr10, q.hr[0][1], 0.0101); /* 2 of 200 users */
	CU_ASSERT_STRING_EQUAL(l.layer[0].name, "items");
	CU_ASSERT_STRING_EQUAL(l.layer[11].name, "b1.down");
	CU_ASSERT_EQUAL(l.none.same10, 1);
	CU_ASSERT(l.all.same10 > 0.9 && l.all.same10 < 1);
	double same = l.all.same10;
	for (uint32_t i = 0; i < l.n; i++)
		CU_ASSERT(l.layer[i].alone.ndcg10 > 0.5 * l.none.ndcg10 &&
			  l.layer[i].spared.ndcg10 > 0.5 * l.none.ndcg10);
	/* Kept, a layer loses next to nothing alone, and all together lose less. */
	CU_ASSERT_EQUAL_FATAL(
		wr_layers_measure(student, ds, WR_SPLIT_TEST, 0, 2,
			"b0.qkv,b1.qkv,b0.out,b1.out,b0.up,b1.up,b0.down,b1.down", &l, &msg),
		WR_OK);
	CU_ASSERT(l.all.same10 > same);
	for (uint32_t i = 2; i < l.n; i++)
		CU_ASSERT(strstr(l.layer[i].name, "attention") || l.layer[i].alone.same10 > 0.999);
	CU_ASSERT_EQUAL(wr_layers_measure(student, ds, WR_SPLIT_TEST, 0, 2, "b0.items", &l, &msg),
		WR_EINVAL);
}

/* Folded gains without any rounding: the gradient of the plain model. */
static void test_gradient(void)
{
	struct wr_fit fit = settings();
	struct wr_student *s;
	struct wr_errmsg msg;
	struct wr_rng r;
	struct optimiser none = {0};
	struct step plain, folded;
	uint32_t off[4] = {0, 12, 13, 20}, rows[20], targets[20], token[3] = {0};
	struct loss_terms loss;
	fit.shape.n_items = 23;
	fit.shape.age_keys = 1;
	fit.batch = 3;
	fit.len = 12;
	fit.threads = 1;
	CU_ASSERT_EQUAL_FATAL(wr_student_new(&s, &fit.shape, &msg), WR_OK);
	wr_student_init(s, 7);
	wr_rng_init(&r, 3, 4);
	for (size_t i = 0; i < s->n_weights; i++)
		s->w[i] += 0.2f * (float)wr_rng_normal(&r);
	for (int i = 0; i < 20; i++) {
		rows[i] = wr_rng_below(&r, 23);
		targets[i] = wr_rng_below(&r, 23);
	}
	struct batch b = {
		.n_seqs = 3, .off = off, .rows = rows, .targets = targets, .token = token};
	CU_ASSERT_EQUAL_FATAL(wr_learn_step_new(&plain, &fit, s, &none, NULL, &msg), WR_OK);
	fit.qat = true;
	CU_ASSERT_EQUAL_FATAL(wr_learn_step_new(&folded, &fit, s, &none, NULL, &msg), WR_OK);
	wr_learn_step_gradient(&plain, &b, 5, &loss);
	double hard = loss.hard;
	wr_learn_step_gradient(&folded, &b, 5, &loss);
	CU_ASSERT_NOT_EQUAL(loss.hard, hard);
	CU_ASSERT_DOUBLE_EQUAL(loss.hard, hard, 0.02 * hard);
	double rounded = 0, norm = 0;
	for (size_t i = 0; i < s->n_weights; i++) {
		rounded += pow((double)(folded.grad[i] - plain.grad[i]), 2);
		norm += pow((double)plain.grad[i], 2);
	}
	/* Straight through: near the float gradient, and not the same. */
	CU_ASSERT(rounded < 0.05 * norm && rounded > 1e-8 * norm);
	folded.fake = (struct wr_fake){.real = s};
	wr_learn_step_gradient(&folded, &b, 5, &loss);
	CU_ASSERT_DOUBLE_EQUAL(loss.hard, hard, 1e-5 * hard);
	for (size_t i = 0; i < s->n_weights; i++)
		CU_ASSERT_DOUBLE_EQUAL((double)folded.grad[i], (double)plain.grad[i],
			1e-5 + 1e-3 * fabs((double)plain.grad[i]));
	wr_learn_step_free(&plain);
	wr_learn_step_free(&folded);
	wr_student_free(s);
}

static void test_rows(void)
{
	float x[8] = {1, -2, 0.5f, 0, 0, 0, 0, 0};
	wr_learn_fake_rows(x, 2, 4, false);
	CU_ASSERT_DOUBLE_EQUAL((double)x[0], 64 * 2 / 127.0, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL((double)x[1], -2, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL((double)x[2], 32 * 2 / 127.0, 1e-6);
	CU_ASSERT_EQUAL(x[4], 0);
}

/* Fine-tuning from a run, stopped and resumed, ends where one that was not stopped does. */
static void test_training(void)
{
	struct wr_fit f = settings();
	struct wr_fit_result r;
	struct wr_student *a, *b;
	struct wr_errmsg msg;
	f.from = student;
	f.qat = true;
	f.epochs = 2;
	f.lr = 1e-3;
	CU_ASSERT_EQUAL_FATAL(wr_fit_run(&f, ds, learn_test_path("q2"), &r, &msg), WR_OK);
	CU_ASSERT(r.best_ndcg10 > 0.3);
	f.max_seconds = 1e-9;
	CU_ASSERT_EQUAL_FATAL(wr_fit_run(&f, ds, learn_test_path("q1"), &r, &msg), WR_OK);
	CU_ASSERT(r.stopped);
	f.max_seconds = 0;
	f.resume = true;
	f.from = NULL;
	f.qat = false; /* the checkpoint knows */
	CU_ASSERT_EQUAL_FATAL(wr_fit_run(&f, ds, learn_test_path("q1"), &r, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(
		wr_student_load(&a, learn_test_path("q1/best.safetensors"), &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(
		wr_student_load(&b, learn_test_path("q2/best.safetensors"), &msg), WR_OK);
	CU_ASSERT_EQUAL(memcmp(a->w, b->w, a->n_weights * sizeof(float)), 0);
	wr_student_free(a);
	wr_student_free(b);
}

/* By hand: one weight of 100 that meets nothing, and others that do. */
static void test_calibrated(void)
{
	float w[8] = {1, -0.8f, 0.61f, 0.33f, 0.29f, -0.41f, 0.77f, 1.3f}, moment[8], scale[2];
	int8_t q[16];
	double loss[2] = {0};
	for (int c = 0; c < 8; c++)
		moment[c] = 1;
	w[7] = 1.28f;
	moment[7] = 0; /* the largest weight may be cut */
	wr_learn_quantise_rows(w, NULL, 1, 8, q, &scale[0]);
	wr_learn_quantise_calibrated(w, NULL, moment, 1, 8, q + 8, &scale[1]);
	CU_ASSERT(scale[1] <= scale[0] && scale[1] >= 0.69f * scale[0]);
	for (int k = 0; k < 2; k++)
		for (int c = 0; c < 7; c++)
			loss[k] += pow((double)(w[c] - q[8 * k + c] * scale[k]), 2);
	CU_ASSERT(loss[1] < loss[0]);
	/* No scale of those that are tried is better. */
	for (int k = 0; k < 32; k++) {
		double s = (double)scale[0] * (1 - 0.3 * (k / 31.0) * (k / 31.0)), off = 0;
		for (int c = 0; c < 7; c++) {
			double r = fmax(-127, fmin(127, rint((double)w[c] / s)));
			off += pow((double)w[c] - r * s, 2);
		}
		CU_ASSERT(off >= loss[1] * 0.999);
	}
}

/* The calibrated bundle of the same run: other scales, and as good. */
static void test_calibrated_bundle(void)
{
	struct wr_pack p = {.data_dir = learn_test_path("ring"),
		.run_dir = learn_test_path("run"),
		.checkpoint = "best.safetensors",
		.calibrate = true,
		.threads = 1};
	struct wr_int8 x = {.isa = WR_ISA_AUTO, .gemm = WR_GEMM_AUTO, .threads = 2};
	struct wr_metrics_at plain, calibrated;
	struct wr_bundle *b;
	struct wr_errmsg msg;
	size_t bytes;
	CU_ASSERT_EQUAL_FATAL(wr_pack_run(&p, learn_test_path("c.wrb"), &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_bundle_open(&b, learn_test_path("c.wrb"), &msg), WR_OK);
	const float *a = wr_bundle_section(b, "b0.up.s", &bytes),
		    *old = wr_bundle_section(bundle, "b0.up.s", NULL);
	uint32_t smaller = 0;
	for (size_t i = 0; i < bytes / sizeof(float); i++) {
		CU_ASSERT(a[i] <= old[i] && a[i] >= 0.69f * old[i]);
		smaller += a[i] < old[i];
	}
	CU_ASSERT(smaller > 0);
	x.bundle = bundle;
	CU_ASSERT_EQUAL(wr_eval_int8(&x, ds, WR_SPLIT_TEST, 0, &plain, &msg), WR_OK);
	x.bundle = b;
	CU_ASSERT_EQUAL(wr_eval_int8(&x, ds, WR_SPLIT_TEST, 0, &calibrated, &msg), WR_OK);
	CU_ASSERT_DOUBLE_EQUAL(plain.hr[0][1], calibrated.hr[0][1], 0.03);
	wr_bundle_close(b);
}

static void test_refused(void)
{
	struct wr_student_shape shape = student->shape;
	struct wr_student *s, *out;
	struct wr_fake fake;
	struct wr_errmsg msg;
	shape.window = 97;
	CU_ASSERT_EQUAL_FATAL(wr_student_new(&s, &shape, &msg), WR_OK);
	wr_learn_fake_all(&fake, s);
	CU_ASSERT_EQUAL(wr_learn_fake_new(&out, &fake, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NULL(out);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "97"));
	wr_student_free(s);
	shape.window = 8;
	shape.gated = 1;
	CU_ASSERT_EQUAL_FATAL(wr_student_new(&s, &shape, &msg), WR_OK);
	wr_learn_fake_all(&fake, s);
	CU_ASSERT_EQUAL(wr_learn_fake_new(&out, &fake, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "teacher"));
	wr_student_free(s);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"rows are rounded to their own maximum", test_rows},
		{"rounded vectors are the server's", test_server},
		{"and where projections are kept", test_kept},
		{"and with keys by age", test_age_keys},
		{"hit rates by layer", test_metrics},
		{"gradients come back through gains", test_gradient},
		{"training through the rounding resumes", test_training},
		{"calibrated scales lose least", test_calibrated},
		{"a calibrated bundle", test_calibrated_bundle},
		{"what cannot be", test_refused},
	};
	learn_test_begin();
	learn_test_ring("ring", 200, 60, 40);
	struct wr_errmsg msg;
	struct wr_fit f = settings();
	if (wr_dataset_load(&ds, learn_test_path("ring"), &msg)) {
		fprintf(stderr, "%s\n", msg.text);
		abort();
	}
	train(&f, "run", &student, &bundle);
	int rc = wr_test_run("learn fake", tests, WR_ARRAY_LEN(tests));
	wr_bundle_close(bundle);
	wr_student_free(student);
	wr_dataset_free(ds);
	learn_test_end();
	return rc;
}
