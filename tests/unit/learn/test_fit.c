/* SPDX-License-Identifier: BSD-3-Clause */
/* Training runs on a ring of items that can be learned: it learns, it resumes to the same bits, it
 * refuses what it must. */
#include "checkpoint_int.h"
#include "learn_test.h"
#include "sgemm.h"

#include <math.h>
#include <signal.h>
#include <sys/time.h>

static void settings(struct wr_fit *f)
{
	wr_fit_defaults(f);
	f->shape.d = 16;
	f->shape.ffn = 24;
	f->shape.window = 6;
	f->epochs = 4;
	f->batch = 24;
	f->len = 12; /* shorter than some users: cuts are random */
	f->lr = 5e-3;
	f->attn_dropout = 0.1;
	f->threads = 2;
	f->quiet = true;
}

static struct wr_dataset *ring(void)
{
	struct wr_dataset *ds;
	struct wr_errmsg msg;
	learn_test_ring("ring", 150, 40, 30);
	CU_ASSERT_EQUAL_FATAL(wr_dataset_load(&ds, learn_test_path("ring"), &msg), WR_OK);
	return ds;
}

static int fit(const struct wr_fit *f, const struct wr_dataset *ds, const char *dir,
	struct wr_fit_result *r, struct wr_errmsg *msg)
{
	msg->text[0] = '\0';
	int err = wr_fit_run(f, ds, learn_test_path(dir), r, msg);
	if (err)
		printf("\n  fit: %s ", msg->text);
	return err;
}

static void expect_same_file(const char *a, const char *b)
{
	char *x, *y;
	size_t n, m;
	CU_ASSERT_EQUAL_FATAL(wr_file_read(learn_test_path(a), 1 << 26, &x, &n, NULL), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_file_read(learn_test_path(b), 1 << 26, &y, &m, NULL), WR_OK);
	CU_ASSERT_EQUAL(n, m);
	CU_ASSERT(n == m && !memcmp(x, y, n));
	free(x);
	free(y);
}

/* From 10 of 40 items at random (0.25) to what three equally likely successors allow (all three in
 * the ten best). */
static void test_learns(void)
{
	struct wr_dataset *ds = ring();
	struct wr_fit f;
	struct wr_fit_result r;
	struct wr_errmsg msg;
	settings(&f);
	f.epochs = 25;
	CU_ASSERT_EQUAL(fit(&f, ds, "learns", &r, &msg), WR_OK);
	CU_ASSERT_EQUAL(r.epochs, 25);
	CU_ASSERT_FALSE(r.stopped);
	struct wr_student *s;
	struct wr_metrics_at m;
	CU_ASSERT_EQUAL_FATAL(
		wr_student_load(&s, learn_test_path("learns/best.safetensors"), &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_eval_float(s, ds, WR_SPLIT_TEST, 0, 1, &m, &msg), WR_OK);
	CU_ASSERT_EQUAL(m.n_users, 150);
	if (m.hr[1][1] < 0.9)
		printf("\n  HR@10 %.3f ", m.hr[1][1]);
	CU_ASSERT(m.hr[1][1] >= 0.9);
	/* What the run said of its best epoch is what its best weights give. */
	CU_ASSERT_EQUAL(wr_eval_float(s, ds, WR_SPLIT_VALID, 0, 2, &m, &msg), WR_OK);
	CU_ASSERT_DOUBLE_EQUAL(m.hr[0][1], r.best_hr10, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(m.ndcg[0][1], r.best_ndcg10, 1e-12);
	CU_ASSERT_EQUAL(wr_eval_float(s, ds, WR_SPLIT_TEST, 7, 1, &m, &msg), WR_OK);
	CU_ASSERT_EQUAL(m.n_users, 7);
	wr_student_free(s);
	wr_dataset_free(ds);
}

static void test_resume(void)
{
	struct wr_dataset *ds = ring();
	struct wr_fit f;
	struct wr_fit_result r;
	struct wr_errmsg msg;
	settings(&f);
	CU_ASSERT_EQUAL(fit(&f, ds, "whole", &r, &msg), WR_OK);
	/* Stopped in the middle of epochs again and again (each call gets through a few steps at
	 * most), then to the end. */
	f.max_seconds = 1e-3;
	CU_ASSERT_EQUAL(fit(&f, ds, "parts", &r, &msg), WR_OK);
	f.resume = true;
	int parts = 1;
	for (; r.epochs < 2 && parts < 1000; parts++)
		CU_ASSERT_EQUAL(fit(&f, ds, "parts", &r, &msg), WR_OK);
	f.max_seconds = 0;
	f.threads = 1;
	CU_ASSERT_EQUAL(fit(&f, ds, "parts", &r, &msg), WR_OK);
	CU_ASSERT(parts > 1);
	CU_ASSERT_EQUAL(r.epochs, 4);
	expect_same_file("whole/checkpoint.safetensors", "parts/checkpoint.safetensors");
	expect_same_file("whole/best.safetensors", "parts/best.safetensors");
	char *log = learn_test_read("parts/log.jsonl");
	int lines = 0;
	for (char *c = log; *c; c++)
		lines += *c == '\n';
	CU_ASSERT_EQUAL(lines, 4);
	free(log);
	wr_dataset_free(ds);
}

/* Keys by age are trained, kept and resumed; a bias that is left out stays 0. */
static void test_positions(void)
{
	struct wr_dataset *ds = ring();
	struct wr_fit f;
	struct wr_fit_result r;
	struct wr_student *s;
	struct wr_errmsg msg;
	settings(&f);
	f.shape.age_keys = f.shape.no_age_bias = 1;
	f.epochs = 2;
	CU_ASSERT_EQUAL(fit(&f, ds, "keys", &r, &msg), WR_OK);
	f.max_seconds = 1e-3;
	CU_ASSERT_EQUAL(fit(&f, ds, "keys_parts", &r, &msg), WR_OK);
	f.resume = true;
	f.max_seconds = 0;
	CU_ASSERT_EQUAL(fit(&f, ds, "keys_parts", &r, &msg), WR_OK);
	expect_same_file("keys/checkpoint.safetensors", "keys_parts/checkpoint.safetensors");
	CU_ASSERT_EQUAL_FATAL(
		wr_student_load(&s, learn_test_path("keys/best.safetensors"), &msg), WR_OK);
	CU_ASSERT(s->shape.age_keys == 1 && s->shape.no_age_bias == 1);
	const struct wr_student_shape *p = &s->shape;
	for (uint32_t b = 0; b < p->n_blocks; b++) {
		float bias = 0, keys = 0;
		for (uint32_t i = 0; i < p->n_heads * p->window; i++)
			bias += fabsf(s->w[s->block[b].bias + i]);
		for (uint32_t i = 0; i < p->n_heads * p->window * s->head_dim; i++)
			keys += fabsf(s->w[s->block[b].age_key + i]);
		CU_ASSERT(bias == 0 && keys > 0);
	}
	wr_student_free(s);
	/* A query that is turned has no one product with a key by age; wide windows run otherwise.
	 */
	f.resume = false;
	f.shape.rotary = 1;
	CU_ASSERT_EQUAL(wr_fit_run(&f, ds, learn_test_path("bad"), &r, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "keys by age"));
	f.shape.rotary = 0;
	f.shape.window = 97;
	CU_ASSERT_EQUAL(wr_fit_run(&f, ds, learn_test_path("bad"), &r, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "97"));
	wr_dataset_free(ds);
}

/* A teacher with everything on: gate, rotation, attention by blocks, several targets, decay, mean.
 */
static void test_resume_teacher(void)
{
	struct wr_dataset *ds = ring();
	struct wr_fit f;
	struct wr_fit_result r;
	struct wr_errmsg msg;
	settings(&f);
	f.shape.window = 100;
	f.shape.context = 12;
	f.shape.gated = f.shape.rotary = 1;
	f.shape.activation = WR_ACTIVATION_GELU;
	f.epochs = 3;
	f.weight_decay = 0.01;
	f.ema = 0.9;
	f.future = 2;
	f.future_decay = 0.25;
	CU_ASSERT_EQUAL(fit(&f, ds, "teacher", &r, &msg), WR_OK);
	f.max_seconds = 1e-3;
	CU_ASSERT_EQUAL(fit(&f, ds, "teacher_parts", &r, &msg), WR_OK);
	f.resume = true;
	f.max_seconds = 0.05;
	for (int parts = 0; r.epochs < 2 && parts < 1000; parts++)
		CU_ASSERT_EQUAL(fit(&f, ds, "teacher_parts", &r, &msg), WR_OK);
	f.max_seconds = 0;
	CU_ASSERT_EQUAL(fit(&f, ds, "teacher_parts", &r, &msg), WR_OK);
	expect_same_file("teacher/checkpoint.safetensors", "teacher_parts/checkpoint.safetensors");
	expect_same_file("teacher/best.safetensors", "teacher_parts/best.safetensors");
	/* What was judged is what was kept. */
	struct wr_student *s;
	struct wr_metrics_at m;
	CU_ASSERT_EQUAL_FATAL(
		wr_student_load(&s, learn_test_path("teacher/best.safetensors"), &msg), WR_OK);
	CU_ASSERT_EQUAL(s->shape.gated, 1);
	CU_ASSERT_EQUAL(wr_student_reach(&s->shape), 12);
	CU_ASSERT_EQUAL(wr_eval_float(s, ds, WR_SPLIT_VALID, 0, 2, &m, &msg), WR_OK);
	CU_ASSERT_DOUBLE_EQUAL(m.ndcg[0][1], r.best_ndcg10, 1e-12);
	wr_student_free(s);
	wr_dataset_free(ds);
}

static void test_seed(void)
{
	struct wr_dataset *ds = ring();
	struct wr_fit f;
	struct wr_fit_result a, b;
	struct wr_errmsg msg;
	settings(&f);
	f.epochs = 1;
	CU_ASSERT_EQUAL(fit(&f, ds, "seed1", &a, &msg), WR_OK);
	f.seed = 2;
	CU_ASSERT_EQUAL(fit(&f, ds, "seed2", &b, &msg), WR_OK);
	char *x = learn_test_read("seed1/log.jsonl"), *y = learn_test_read("seed2/log.jsonl");
	CU_ASSERT_STRING_NOT_EQUAL(x, y);
	free(x);
	free(y);
	wr_dataset_free(ds);
}

static void test_refused(void)
{
	struct wr_dataset *ds = ring();
	struct wr_fit f;
	struct wr_fit_result r;
	struct wr_errmsg msg;
	settings(&f);
	f.resume = true;
	CU_ASSERT_EQUAL(wr_fit_run(&f, ds, learn_test_path("none"), &r, &msg), WR_ENOENT);
	f.resume = false;
	f.epochs = 1;
	CU_ASSERT_EQUAL(fit(&f, ds, "there", &r, &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_fit_run(&f, ds, learn_test_path("there"), &r, &msg), WR_ESTATE);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "--resume"));
	/* Another catalogue. */
	struct wr_dataset *other;
	learn_test_ring("other", 20, 41, 30);
	CU_ASSERT_EQUAL_FATAL(wr_dataset_load(&other, learn_test_path("other"), &msg), WR_OK);
	f.resume = true;
	CU_ASSERT_EQUAL(wr_fit_run(&f, other, learn_test_path("there"), &r, &msg), WR_EINVAL);
	/* A damaged checkpoint. */
	char *bytes;
	size_t n;
	CU_ASSERT_EQUAL_FATAL(wr_file_read(learn_test_path("there/checkpoint.safetensors"), 1 << 26,
				      &bytes, &n, &msg),
		WR_OK);
	learn_test_write("there/checkpoint.safetensors", bytes, n / 2);
	free(bytes);
	CU_ASSERT_EQUAL(wr_fit_run(&f, ds, learn_test_path("there"), &r, &msg), WR_EFORMAT);
	f.resume = false;
	f.shape.n_heads = 3;
	CU_ASSERT_EQUAL(wr_fit_run(&f, ds, learn_test_path("bad"), &r, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "heads"));
	wr_dataset_free(ds);
	wr_dataset_free(other);
}

/* With bf16's operands a ring is learned too, other bits come out, runs resume to the same, and the
 * log says what was used. bf16 without a CPU for it is float. */
static void test_math(void)
{
	struct wr_dataset *ds = ring();
	struct wr_fit f;
	struct wr_fit_result r, real;
	struct wr_errmsg msg;
	settings(&f);
	f.epochs = 8;
	CU_ASSERT_EQUAL(fit(&f, ds, "float", &real, &msg), WR_OK);
	f.math = WR_MATH_ROUNDED;
	CU_ASSERT_EQUAL(fit(&f, ds, "rounded", &r, &msg), WR_OK);
	CU_ASSERT_NOT_EQUAL(r.loss, real.loss);
	CU_ASSERT_DOUBLE_EQUAL(r.loss, real.loss, 0.02 * real.loss);
	f.max_seconds = 1e-3;
	CU_ASSERT_EQUAL(fit(&f, ds, "rounded_parts", &r, &msg), WR_OK);
	f.resume = true;
	f.math = WR_MATH_FLOAT; /* the checkpoint knows */
	f.max_seconds = 0;
	CU_ASSERT_EQUAL(fit(&f, ds, "rounded_parts", &r, &msg), WR_OK);
	expect_same_file("rounded/checkpoint.safetensors", "rounded_parts/checkpoint.safetensors");
	f.resume = false;
	f.math = WR_MATH_BF16;
	wr_log_set_level(WR_LOG_ERROR);
	CU_ASSERT_EQUAL(fit(&f, ds, "bf16", &r, &msg), WR_OK);
	wr_log_set_level(WR_LOG_INFO);
	if (wr_math_used(WR_MATH_BF16) == WR_MATH_FLOAT)
		CU_ASSERT_EQUAL(r.loss, real.loss);
	CU_ASSERT_DOUBLE_EQUAL(r.loss, real.loss, 0.02 * real.loss);
	f.math = WR_N_MATHS;
	CU_ASSERT_EQUAL(wr_fit_run(&f, ds, learn_test_path("none"), &r, &msg), WR_EINVAL);
	wr_dataset_free(ds);
	/* What was used, beside what was asked for. */
	const char *used = wr_math_name(wr_math_used(WR_MATH_BF16));
	char *log = learn_test_read("bf16/log.jsonl"), *plain = learn_test_read("float/log.jsonl"),
	     *told = learn_test_read("bf16/settings.json"), want[40];
	snprintf(want, sizeof(want), "\"math\": \"%s\"", used);
	CU_ASSERT_PTR_NOT_NULL(strstr(log, want));
	CU_ASSERT_PTR_NULL(strstr(plain, "math"));
	CU_ASSERT_PTR_NOT_NULL(strstr(told, "\"math\": \"bf16\""));
	snprintf(want, sizeof(want), "\"math_used\": \"%s\"", used);
	CU_ASSERT_PTR_NOT_NULL(strstr(told, want));
	free(log);
	free(plain);
	free(told);
}

static void ignore(int sig)
{
	(void)sig;
}

/* 2,500 signals a second, handled as SIGTERM is: products keep pointers into the heap where the
 * stack pointer is, so a handler on the running stack would write over what lies there. */
static void test_signals_hurt_nothing(void)
{
	struct wr_dataset *ds;
	struct wr_fit f;
	struct wr_fit_result quiet, r;
	struct wr_errmsg msg;
	struct sigaction sa, old;
	struct itimerval often = {{0, 400}, {0, 400}}, never = {{0, 0}, {0, 0}};
	learn_test_ring("many", 150, 1500, 100);
	CU_ASSERT_EQUAL_FATAL(wr_dataset_load(&ds, learn_test_path("many"), &msg), WR_OK);
	settings(&f);
	f.shape.d = 64;
	f.shape.ffn = 128;
	f.len = 100;
	f.batch = 16;
	f.epochs = 2;
	f.threads = 1;
	CU_ASSERT_EQUAL(fit(&f, ds, "unhurt", &quiet, &msg), WR_OK);
	wr_stop_catch_signals();
	CU_ASSERT_EQUAL(sigaction(SIGTERM, NULL, &sa), 0);
	sa.sa_handler = ignore;
	sa.sa_flags |= SA_RESTART;
	CU_ASSERT_EQUAL(sigaction(SIGALRM, &sa, &old), 0);
	CU_ASSERT_EQUAL(setitimer(ITIMER_REAL, &often, NULL), 0);
	CU_ASSERT_EQUAL(fit(&f, ds, "signalled", &r, &msg), WR_OK);
	CU_ASSERT_EQUAL(setitimer(ITIMER_REAL, &never, NULL), 0);
	sigaction(SIGALRM, &old, NULL);
	CU_ASSERT_EQUAL(r.loss, quiet.loss);
	expect_same_file("unhurt/checkpoint.safetensors", "signalled/checkpoint.safetensors");
	wr_dataset_free(ds);
}

/* A signal leaves a checkpoint; runs last: the stop flag stays set. */
static void test_signal(void)
{
	struct wr_dataset *ds = ring();
	struct wr_fit f;
	struct wr_fit_result r;
	struct wr_errmsg msg;
	settings(&f);
	wr_stop_catch_signals();
	CU_ASSERT_EQUAL(raise(SIGINT), 0);
	CU_ASSERT_EQUAL(fit(&f, ds, "signal", &r, &msg), WR_OK);
	CU_ASSERT_TRUE(r.stopped);
	CU_ASSERT_EQUAL(r.epochs, 0);
	CU_ASSERT_EQUAL(access(learn_test_path("signal/checkpoint.safetensors"), F_OK), 0);
	wr_dataset_free(ds);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"a ring is learned", test_learns},
		{"stopped and resumed runs end in the same bits", test_resume},
		{"so do a teacher's", test_resume_teacher},
		{"keys by age and no bias", test_positions},
		{"seeds differ", test_seed},
		{"what cannot be trained is refused", test_refused},
		{"products of bf16 operands", test_math},
		{"signals hurt no weights", test_signals_hurt_nothing},
		{"a signal leaves a checkpoint", test_signal},
	};
	learn_test_begin();
	int rc = wr_test_run("learn fit", tests, WR_ARRAY_LEN(tests));
	learn_test_end();
	return rc;
}
