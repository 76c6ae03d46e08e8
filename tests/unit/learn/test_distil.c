/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A teacher's answers against brute force, the gradients of every term of distillation against
 * differences, start values, and runs that learn from a teacher: they stop and resume to the same
 * bits and refuse what does not fit.
 */
#include "checkpoint_int.h"
#include "gradient_test.h"
#include "learn_test.h"

#define ITEMS 40

static struct wr_dataset *ring(void)
{
	struct wr_dataset *ds;
	struct wr_errmsg msg;
	learn_test_ring("ring", 60, ITEMS, 30);
	CU_ASSERT_EQUAL_FATAL(wr_dataset_load(&ds, learn_test_path("ring"), &msg), WR_OK);
	return ds;
}

/* A teacher with weights of ordinary size; attention by blocks, or by loops. */
static struct wr_student *teacher(uint32_t d, uint32_t heads, uint32_t window, uint32_t context)
{
	const struct wr_student_shape shape = {.n_items = ITEMS,
		.d = d,
		.n_blocks = 3,
		.n_heads = heads,
		.n_kv_heads = heads,
		.window = window,
		.ffn = 32,
		.gated = 1,
		.activation = WR_ACTIVATION_SILU,
		.context = context};
	struct wr_student *t;
	struct wr_errmsg msg;
	struct wr_rng r;
	CU_ASSERT_EQUAL_FATAL(wr_student_new(&t, &shape, &msg), WR_OK);
	wr_student_init(t, 5);
	wr_rng_init(&r, 8, 9);
	for (size_t i = 0; i < t->n_weights; i++)
		t->w[i] += 0.2f * (float)wr_rng_normal(&r);
	t->w[t->logit_scale] = 4;
	return t;
}

static void teach(const struct wr_student *t, const struct wr_dataset *ds, uint32_t top,
	double temperature, const char *name)
{
	struct wr_errmsg msg;
	const struct wr_teach p = {
		.top = top, .temperature = temperature, .threads = 2, .quiet = true};
	CU_ASSERT_EQUAL_FATAL(wr_teach_run(&p, t, ds, learn_test_path(name), &msg), WR_OK);
}

/* ln p of all items at temperature T after rows[0 … n-1]. */
static void brute_force(const struct wr_student *t, const uint32_t *rows, uint32_t n,
	double temperature, double *lp)
{
	static const struct dropout none = {0};
	struct net_ws ws;
	struct wr_errmsg msg;
	const uint32_t off[2] = {0, n};
	const struct ragged in = {.n_seqs = 1, .off = off, .rows = rows};
	double sum = 0;
	CU_ASSERT_EQUAL_FATAL(wr_learn_net_ws_new(&ws, t, n, &msg), WR_OK);
	wr_learn_net_forward(t, &ws, &in, &none);
	for (uint32_t i = 0; i < ITEMS; i++) {
		const float *e = t->w + t->embedding + (size_t)i * t->shape.d,
			    *u = ws.u + (size_t)(n - 1) * t->shape.d;
		double dot = 0, ee = 0;
		for (uint32_t c = 0; c < t->shape.d; c++) {
			dot += (double)e[c] * (double)u[c];
			ee += (double)e[c] * (double)e[c];
		}
		lp[i] = (double)t->w[t->logit_scale] * dot / sqrt(ee) / temperature;
		sum += exp(lp[i]);
	}
	for (uint32_t i = 0; i < ITEMS; i++)
		lp[i] -= log(sum);
	wr_learn_net_ws_free(&ws);
}

/* Every position whose window starts where the user does; top 7 of 40. */
static void test_answers(void)
{
	struct wr_dataset *ds = ring();
	struct wr_student *t = teacher(24, 4, 100, 16);
	struct soft_targets x;
	struct wr_errmsg msg;
	double lp[ITEMS];
	uint32_t checked = 0;
	teach(t, ds, 7, 1.5, "answers");
	CU_ASSERT_EQUAL_FATAL(
		wr_learn_soft_targets_open(&x, learn_test_path("answers"), ds, &msg), WR_OK);
	CU_ASSERT_EQUAL(x.top, 7);
	CU_ASSERT_EQUAL(x.temperature, 1.5);
	for (uint32_t u = 0; u < ds->n_users; u++) {
		uint32_t begin = ds->token_off[u],
			 n = wr_split_training(ds->token_off[u + 1] - begin);
		for (uint32_t p = 0; n >= 2 && p < n - 1; p++) {
			/* Windows of 16 start every 8 tokens. */
			uint32_t from = p < 16 ? 0 : (p - 8) / 8 * 8;
			brute_force(t, ds->token_row + begin + from, p + 1 - from, 1.5, lp);
			double least = 0, named = 0;
			for (uint32_t k = 0; k < 7; k++) {
				uint32_t row = wr_learn_soft_row(&x, begin + p, k);
				double got = -(double)x.surprisals[(uint64_t)(begin + p) * 7 + k] *
					     (double)SOFT_STEP;
				CU_ASSERT_DOUBLE_EQUAL(got, lp[row], 1e-3);
				CU_ASSERT(got <= least + 1e-3);
				least = got;
				named += exp(got);
			}
			uint32_t better = 0;
			for (uint32_t i = 0; i < ITEMS; i++)
				better += lp[i] > least + 2e-3;
			CU_ASSERT(better <= 6);
			CU_ASSERT(named < 1);
			checked++;
		}
	}
	CU_ASSERT(checked > 500);
	wr_learn_soft_targets_close(&x);
	/* Of other data, cut short, not there. */
	struct wr_dataset *other;
	learn_test_ring("other", 61, ITEMS, 30);
	CU_ASSERT_EQUAL_FATAL(wr_dataset_load(&other, learn_test_path("other"), &msg), WR_OK);
	CU_ASSERT_EQUAL(
		wr_learn_soft_targets_open(&x, learn_test_path("answers"), other, &msg), WR_EINVAL);
	char *bytes;
	size_t n;
	CU_ASSERT_EQUAL_FATAL(
		wr_file_read(learn_test_path("answers"), 1 << 26, &bytes, &n, &msg), WR_OK);
	learn_test_write("cut", bytes, n - 2);
	learn_test_write("tiny", bytes, 10);
	free(bytes);
	CU_ASSERT_EQUAL(
		wr_learn_soft_targets_open(&x, learn_test_path("cut"), ds, &msg), WR_EFORMAT);
	CU_ASSERT_EQUAL(
		wr_learn_soft_targets_open(&x, learn_test_path("tiny"), ds, &msg), WR_EFORMAT);
	CU_ASSERT_EQUAL(wr_learn_soft_targets_open(&x, learn_test_path("no"), ds, &msg), WR_ENOENT);
	wr_student_free(t);
	wr_dataset_free(ds);
	wr_dataset_free(other);
}

/* One step over three users' first tokens. */
static void check_terms(const struct wr_distil *distil, const struct wr_dataset *ds, double *hidden,
	double *attention, double *soft)
{
	struct wr_fit fit;
	struct wr_student *s;
	struct step st;
	struct optimiser opt;
	struct wr_errmsg msg;
	struct wr_rng r;
	struct loss_terms loss;
	uint32_t off[4] = {0}, rows[40], targets[40], token[3], n = 0;
	wr_fit_defaults(&fit);
	fit.shape = (struct wr_student_shape){.n_items = ITEMS,
		.d = 16,
		.n_blocks = 2,
		.n_heads = 2,
		.n_kv_heads = 2,
		.window = 5,
		.ffn = 24,
		.matched = distil->hidden_weight > 0 ? 3 : 0,
		.teacher_d = distil->hidden_weight > 0 ? distil->teacher->shape.d : 0};
	fit.batch = 3;
	fit.len = 12;
	fit.threads = 1;
	fit.distil = *distil;
	fit.distil.match[0] = 2;
	fit.distil.match[1] = 3;
	for (uint32_t u = 0; u < ds->n_users && n < 3; u++) {
		uint32_t m = wr_split_training(ds->token_off[u + 1] - ds->token_off[u]);
		if (m < 6)
			continue;
		m = WR_MIN(m - 1, 12u);
		token[n] = ds->token_off[u];
		memcpy(rows + off[n], ds->token_row + token[n], m * sizeof(*rows));
		memcpy(targets + off[n], ds->token_row + token[n] + 1, m * sizeof(*rows));
		off[n + 1] = off[n] + m;
		n++;
	}
	const struct batch b = {
		.n_seqs = 3, .off = off, .rows = rows, .targets = targets, .token = token};
	CU_ASSERT_EQUAL_FATAL(wr_student_new(&s, &fit.shape, &msg), WR_OK);
	wr_student_init(s, 7);
	wr_rng_init(&r, 3, 4);
	for (size_t i = 0; i < s->n_weights; i++)
		s->w[i] += 0.2f * (float)wr_rng_normal(&r);
	s->w[s->logit_scale] = 5;
	CU_ASSERT_EQUAL_FATAL(wr_learn_optimiser_new(&opt, s, false, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_learn_step_new(&st, &fit, s, &opt, ds, &msg), WR_OK);
	gradient_test_all(&st, &b, 99);
	wr_learn_step_gradient(&st, &b, 99, &loss);
	*hidden = loss.hidden / off[3];
	*attention = loss.attention / off[3];
	*soft = loss.soft / off[3];
	wr_learn_step_free(&st);
	wr_learn_optimiser_free(&opt);
	wr_student_free(s);
}

static void test_soft(void)
{
	struct wr_dataset *ds = ring();
	struct wr_student *t = teacher(24, 4, 100, 0);
	struct wr_distil x = {.soft_share = 0.7};
	double hidden, attention, soft, warm;
	teach(t, ds, 9, 1, "soft1");
	teach(t, ds, 9, 2, "soft2");
	x.soft = learn_test_path("soft1");
	check_terms(&x, ds, &hidden, &attention, &soft);
	CU_ASSERT(soft > 0.01 && hidden == 0 && attention == 0);
	x.soft = learn_test_path("soft2");
	x.soft_share = 1;
	check_terms(&x, ds, &hidden, &attention, &warm);
	CU_ASSERT(warm > 0.001 && warm < soft);
	wr_student_free(t);
	wr_dataset_free(ds);
}

/* Block outputs and attention, from teachers that attend by blocks and by loops, with more heads
 * and with fewer. */
static void test_guides(void)
{
	struct wr_dataset *ds = ring();
	const uint32_t heads[3] = {4, 4, 1}, window[3] = {100, 7, 3};
	double hidden, attention, soft;
	for (uint32_t k = 0; k < 3; k++) {
		struct wr_student *t = teacher(24, heads[k], window[k], 0);
		struct wr_distil x = {.teacher = t, .hidden_weight = 2, .attention_weight = 3};
		check_terms(&x, ds, &hidden, &attention, &soft);
		CU_ASSERT(hidden > 0.1 && hidden < 4 && attention > 0.01 && soft == 0);
		wr_student_free(t);
	}
	wr_dataset_free(ds);
}

/* A student of the teacher's widths that starts from its first two blocks has its block outputs:
 * nothing is left to learn from them but the projection, and attention agrees. */
static void test_init(void)
{
	struct wr_student *t = teacher(24, 4, 100, 0), *s;
	struct wr_errmsg msg;
	const uint8_t match[WR_DISTIL_MAX_BLOCKS] = {1, 3};
	struct wr_student_shape p = t->shape;
	p.n_blocks = 2;
	p.window = 6;
	CU_ASSERT_EQUAL_FATAL(wr_student_new(&s, &p, &msg), WR_OK);
	wr_student_init(s, 1);
	wr_learn_take_tensors(s, t, match);
	CU_ASSERT_EQUAL(memcmp(s->w + s->embedding, t->w + t->embedding, ITEMS * 24 * 4), 0);
	CU_ASSERT_EQUAL(memcmp(s->w + s->block[1].qkv, t->w + t->block[2].qkv, 72 * 24 * 4), 0);
	CU_ASSERT_EQUAL(memcmp(s->w + s->block[1].up, t->w + t->block[2].up, 64 * 24 * 4), 0);
	CU_ASSERT_EQUAL(
		memcmp(s->w + s->block[1].bias + 6, t->w + t->block[2].bias + 100, 6 * 4), 0);
	wr_student_free(s);
	/* Another width takes what has no width. */
	p.d = 16;
	CU_ASSERT_EQUAL_FATAL(wr_student_new(&s, &p, &msg), WR_OK);
	wr_student_init(s, 1);
	float kept = s->w[s->block[0].qkv];
	wr_learn_take_tensors(s, t, match);
	CU_ASSERT_EQUAL(s->w[s->logit_scale], 4);
	CU_ASSERT_EQUAL(s->w[s->block[0].qkv], kept);
	CU_ASSERT_EQUAL(s->w[s->block[0].bias], t->w[t->block[0].bias]);
	wr_student_free(s);
	wr_student_free(t);
}

static void settings(struct wr_fit *f, const struct wr_student *t)
{
	static char soft[256]; /* learn_test_path's own are soon used again */
	snprintf(soft, sizeof(soft), "%s", learn_test_path("soft"));
	wr_fit_defaults(f);
	f->shape.d = 16;
	f->shape.ffn = 24;
	f->shape.window = 6;
	f->epochs = 3;
	f->batch = 24;
	f->len = 12;
	f->lr = 5e-3;
	f->threads = 2;
	f->quiet = true;
	f->distil = (struct wr_distil){.teacher = t,
		.soft = soft,
		.soft_share = 0.5,
		.hidden_weight = 0.5,
		.attention_weight = 0.5,
		.match = {2, 3},
		.init = true};
}

static void expect_same_file(const char *a, const char *b)
{
	char *x = NULL, *y = NULL;
	size_t n, m;
	CU_ASSERT_EQUAL_FATAL(wr_file_read(learn_test_path(a), 1 << 26, &x, &n, NULL), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_file_read(learn_test_path(b), 1 << 26, &y, &m, NULL), WR_OK);
	CU_ASSERT(n == m && !memcmp(x, y, n));
	free(x);
	free(y);
}

static void test_runs(void)
{
	struct wr_dataset *ds = ring();
	struct wr_student *t = teacher(24, 4, 100, 0), *other = teacher(32, 4, 100, 0);
	struct wr_fit f;
	struct wr_fit_result r = {0};
	struct wr_errmsg msg;
	teach(t, ds, 8, 2, "soft");
	settings(&f, t);
	CU_ASSERT_EQUAL(wr_fit_run(&f, ds, learn_test_path("whole"), &r, &msg), WR_OK);
	f.max_seconds = 1e-3;
	CU_ASSERT_EQUAL(wr_fit_run(&f, ds, learn_test_path("parts"), &r, &msg), WR_OK);
	f.resume = true;
	memset(f.distil.match, 0, sizeof(f.distil.match)); /* from the checkpoint */
	f.max_seconds = 0.02;
	for (int parts = 0; r.epochs < 2 && parts < 1000; parts++)
		CU_ASSERT_EQUAL(wr_fit_run(&f, ds, learn_test_path("parts"), &r, &msg), WR_OK);
	f.max_seconds = 0;
	f.distil.teacher = other;
	CU_ASSERT_EQUAL(wr_fit_run(&f, ds, learn_test_path("parts"), &r, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "--teacher"));
	f.distil.teacher = t;
	f.threads = 1;
	CU_ASSERT_EQUAL(wr_fit_run(&f, ds, learn_test_path("parts"), &r, &msg), WR_OK);
	expect_same_file("whole/checkpoint.safetensors", "parts/checkpoint.safetensors");
	expect_same_file("whole/best.safetensors", "parts/best.safetensors");
	/* Each term is told, and falls. */
	char *log = learn_test_read("whole/log.jsonl"), *last = strrchr(log, '{');
	const char *const terms[] = {"\"soft\": ", "\"hidden\": ", "\"attention\": "};
	for (size_t k = 0; k < WR_ARRAY_LEN(terms); k++) {
		const char *x = strstr(log, terms[k]), *y = last ? strstr(last, terms[k]) : NULL;
		CU_ASSERT_FATAL(x && y);
		double first = atof(x + strlen(terms[k])), end = atof(y + strlen(terms[k]));
		if (!(end < first))
			printf("\n  %s%g, then %g", terms[k], first, end);
		CU_ASSERT(end > 0 && end < first);
	}
	free(log);
	wr_student_free(t);
	wr_student_free(other);
	wr_dataset_free(ds);
}

static void test_refused(void)
{
	struct wr_dataset *ds = ring();
	struct wr_student *t = teacher(24, 3, 100, 0);
	struct wr_fit f;
	struct wr_fit_result r;
	struct wr_errmsg msg;
	teach(t, ds, 8, 2, "soft");
	settings(&f, t);
	CU_ASSERT_EQUAL(wr_fit_run(&f, ds, learn_test_path("no1"), &r, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "heads"));
	f.distil.attention_weight = 0;
	f.distil.match[0] = 4;
	CU_ASSERT_EQUAL(wr_fit_run(&f, ds, learn_test_path("no2"), &r, &msg), WR_EINVAL);
	f.distil.match[0] = 1;
	f.distil.soft_share = 1.5;
	CU_ASSERT_EQUAL(wr_fit_run(&f, ds, learn_test_path("no3"), &r, &msg), WR_EINVAL);
	f.distil.soft_share = 0.5;
	f.distil.soft = learn_test_path("nothing");
	CU_ASSERT_EQUAL(wr_fit_run(&f, ds, learn_test_path("no4"), &r, &msg), WR_ENOENT);
	f.distil.soft = NULL;
	CU_ASSERT_EQUAL(wr_fit_run(&f, ds, learn_test_path("no5"), &r, &msg), WR_EINVAL);
	const struct wr_teach none = {.top = 0, .temperature = 1, .quiet = true};
	CU_ASSERT_EQUAL(wr_teach_run(&none, t, ds, learn_test_path("no6"), &msg), WR_EINVAL);
	wr_student_free(t);
	wr_dataset_free(ds);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"answers are the teacher's softmax", test_answers},
		{"gradients agree with soft answers", test_soft},
		{"gradients agree with block outputs and attention", test_guides},
		{"start values", test_init},
		{"stopped and resumed runs end in the same bits", test_runs},
		{"what does not fit is refused", test_refused},
	};
	learn_test_begin();
	int rc = wr_test_run("learn distil", tests, WR_ARRAY_LEN(tests));
	learn_test_end();
	return rc;
}
