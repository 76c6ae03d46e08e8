/* SPDX-License-Identifier: BSD-3-Clause */
/* Side features: what a data set keeps of categories and profiles, gradients of their vectors,
 * folding, runs that resume to the same bits, who reads profiles and who refuses them. */
#include "checkpoint_int.h"
#include "gradient_test.h"
#include "learn_test.h"
#include "side_int.h"
#include "soft_targets_int.h"
#include "wr_compact.h"
#include "wr_policy.h"

#define USERS 60
#define ITEMS 23

/* The ring with categories (some items have none, one, three) and profiles (some users have none).
 */
static struct wr_dataset *data(const char *name, uint32_t shift)
{
	char file[64], *text = NULL;
	size_t size;
	struct wr_dataset *ds;
	struct wr_errmsg msg;
	static const char *const category[5] = {"", "a", "b|c", "c|a|d", "d"};
	learn_test_ring(name, USERS, ITEMS, 30);
	FILE *f = open_memstream(&text, &size);
	fputs("#id\tname\tcategory\ttitle\n", f);
	for (uint32_t i = 1; i <= ITEMS; i++)
		fprintf(f, "%u\t%u\t%s\t\n", i, i, category[(i + shift) % 5]);
	fclose(f);
	snprintf(file, sizeof(file), "%s/items.tsv", name);
	learn_test_text(file, text);
	free(text);
	f = open_memstream(&text, &size);
	fputs("#user\tname\tage\tgender\n", f);
	for (uint32_t u = USERS; u >= 1; u--)
		if (u % 7)
			fprintf(f, "%u\t%u\t%u\t%s\n", u, u, 10 + u, u % 2 ? "M" : "F");
	fclose(f);
	snprintf(file, sizeof(file), "%s/users.tsv", name);
	learn_test_text(file, text);
	free(text);
	CU_ASSERT_EQUAL_FATAL(wr_dataset_load(&ds, learn_test_path(name), &msg), WR_OK);
	return ds;
}

static bool has(const struct wr_side *side, uint32_t row, const char *name)
{
	for (uint32_t i = side->off[row]; i < side->off[row + 1]; i++)
		if (!strcmp(side->value_name[side->value[i]], name))
			return true;
	return false;
}

static int load(const char *items, const char *users, struct wr_dataset **ds, struct wr_errmsg *msg)
{
	char make[128];
	snprintf(make, sizeof(make), "mkdir -p %s", learn_test_path("v"));
	if (system(make))
		abort();
	learn_test_text("v/items.tsv", items);
	learn_test_text("v/interactions.tsv", "5\t1\tclick\t0\n9\t2\tclick\t0\n7\t1\tclick\t0\n");
	learn_test_text("v/users.tsv", users);
	msg->text[0] = '\0';
	return wr_dataset_load(ds, learn_test_path("v"), msg);
}

static void test_values(void)
{
	struct wr_dataset *ds;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL_FATAL(load("1\tx\tb|a|b\t\n2\ty\t\t\n3\tz\tc||a|\t\n",
				      "#user\tname\tage\tplan\n9\tn\t17.5\tgold\n6\tm\t30\tiron\n"
				      "5\tk\t56\t\n",
				      &ds, &msg),
		WR_OK);
	CU_ASSERT_EQUAL_FATAL(ds->item_side.n_values, 3);
	CU_ASSERT_STRING_EQUAL(ds->item_side.value_name[0], "a");
	CU_ASSERT_STRING_EQUAL(ds->item_side.value_name[2], "c");
	CU_ASSERT_EQUAL(ds->item_side.off[1], 2);
	CU_ASSERT_EQUAL(ds->item_side.off[2], 2);
	CU_ASSERT_EQUAL(ds->item_side.off[3], 4);
	CU_ASSERT(has(&ds->item_side, 0, "b") && has(&ds->item_side, 0, "a"));
	CU_ASSERT(has(&ds->item_side, 2, "c") && has(&ds->item_side, 2, "a"));
	CU_ASSERT_STRING_EQUAL(ds->category_name[ds->item_category[0]], "b");
	CU_ASSERT_STRING_EQUAL(ds->category_name[ds->item_category[2]], "c");
	CU_ASSERT_EQUAL(ds->n_categories, 3); /* "", and what comes first of an item */
	/* Users 5, 9, 7 of the log; nothing is known of 7, 6 is not in the log. */
	CU_ASSERT_EQUAL_FATAL(ds->user_side.n_values, 3);
	CU_ASSERT(has(&ds->user_side, 0, "age=56+"));
	CU_ASSERT_EQUAL(ds->user_side.off[1], 1);
	CU_ASSERT(has(&ds->user_side, 1, "age=under 18") && has(&ds->user_side, 1, "plan=gold"));
	CU_ASSERT_EQUAL(ds->user_side.off[2], 3);
	CU_ASSERT_EQUAL(ds->user_side.off[3], 3);
	wr_dataset_free(ds);
	CU_ASSERT_EQUAL_FATAL(
		load("1\tx\t\t\n2\ty\t\t\n", "#user\tname\n5\tk\n", &ds, &msg), WR_OK);
	CU_ASSERT_EQUAL(ds->item_side.n_values + ds->user_side.n_values, 0);
	wr_dataset_free(ds);
	static const struct {
		const char *users, *why;
	} bad[] = {{"#user\tname\tage\n5\tk\n", "users.tsv:2: expected 3 columns"},
		{"#user\tname\tage\n5\tk\t1\t2\n", "users.tsv:2: expected 3 columns"},
		{"#user\tname\tage\n5\tk\t1\n5\tk\t1\n", "users.tsv:3: user '5' has two"},
		{"#user\tname\tage\nx\tk\t1\n", "users.tsv:2: user 'x' is no number"},
		{"#user\tname\t\n5\tk\t1\n", "users.tsv:1: column 3 has no name"}};
	for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++) {
		CU_ASSERT_EQUAL(load("1\tx\t\t\n2\ty\t\t\n", bad[i].users, &ds, &msg), WR_EFORMAT);
		CU_ASSERT_PTR_NULL(ds);
		if (!strstr(msg.text, bad[i].why))
			printf("\n  %s ", msg.text);
		CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, bad[i].why));
	}
}

/* ---- a step ---- */
struct fixture {
	struct wr_dataset *ds;
	struct wr_fit fit;
	struct wr_student *s;
	struct optimiser opt;
	struct step st;
	uint32_t off[4], rows[40], targets[40], user[3], token[3];
	struct batch b;
};

static void setup(struct fixture *f, struct wr_dataset *ds, bool items, bool users)
{
	struct wr_errmsg msg;
	struct wr_rng r;
	struct wr_fit *fit = &f->fit;
	f->ds = ds;
	fit->shape.n_items = ITEMS;
	fit->shape.d = 16;
	fit->shape.n_heads = fit->shape.n_kv_heads = 2;
	fit->shape.window = 5;
	fit->shape.ffn = 24;
	fit->batch = 3;
	fit->len = 12;
	fit->side_items = items;
	fit->side_users = users;
	CU_ASSERT_EQUAL_FATAL(wr_learn_set_side(fit, ds, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_student_new(&f->s, &fit->shape, &msg), WR_OK);
	wr_student_init(f->s, 7);
	f->s->item_side = items ? &ds->item_side : NULL;
	wr_rng_init(&r, 3, 4);
	for (size_t i = 0; i < f->s->n_weights; i++)
		f->s->w[i] += 0.2f * (float)wr_rng_normal(&r);
	f->s->w[f->s->logit_scale] = 5;
	CU_ASSERT_EQUAL_FATAL(wr_learn_optimiser_new(&f->opt, f->s, false, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_learn_step_new(&f->st, fit, f->s, &f->opt, ds, &msg), WR_OK);
	const uint32_t len[3] = {12, 1, 5};
	f->off[0] = 0;
	for (uint32_t i = 0; i < 3; i++) {
		f->off[i + 1] = f->off[i] + len[i];
		f->user[i] = 3 + i; /* ids 4, 5 and 6 */
	}
	for (uint32_t i = 0; i < f->off[3]; i++) {
		f->rows[i] = wr_rng_below(&r, ITEMS);
		f->targets[i] = wr_rng_below(&r, ITEMS);
	}
	f->b = (struct batch){.n_seqs = 3,
		.off = f->off,
		.rows = f->rows,
		.targets = f->targets,
		.user = f->user,
		.token = f->token};
}

static void teardown(struct fixture *f)
{
	wr_learn_step_free(&f->st);
	wr_student_free(f->s);
	wr_learn_optimiser_free(&f->opt);
}

static void defaults(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	wr_fit_defaults(&f->fit);
	f->fit.threads = 1;
	f->fit.shape.activation = WR_ACTIVATION_SILU;
}

static void test_gradients(void)
{
	struct wr_dataset *ds = data("g", 0);
	for (uint32_t k = 0; k < 4; k++) {
		struct fixture f;
		defaults(&f);
		f.fit.sampled = k == 3 ? 16 : 0;
		setup(&f, ds, k != 1, k != 0);
		gradient_test_all(&f.st, &f.b, 99);
		teardown(&f);
	}
	wr_dataset_free(ds);
}

/* E = V + mean of C by hand; passes run on E; who is asked matters, and only where profiles are. */
static void test_whole(void)
{
	struct wr_dataset *ds = data("w", 0);
	struct fixture f;
	struct loss_terms with, other;
	defaults(&f);
	setup(&f, ds, true, true);
	float e[ITEMS * 16];
	const struct wr_side *side = &ds->item_side;
	wr_learn_whole_items(f.s, f.s->w, e);
	for (uint32_t i = 0; i < ITEMS; i++)
		for (uint32_t c = 0; c < 16; c++) {
			double want = (double)f.s->w[f.s->embedding + i * 16 + c];
			for (uint32_t k = side->off[i]; k < side->off[i + 1]; k++)
				want += (double)f.s->w[f.s->category + side->value[k] * 16 + c] /
					(side->off[i + 1] - side->off[i]);
			CU_ASSERT_DOUBLE_EQUAL((double)e[i * 16 + c], want, 1e-6);
		}
	const struct wr_student *whole = wr_learn_step_whole(&f.st, f.s);
	CU_ASSERT_EQUAL(whole->shape.categories, 0);
	CU_ASSERT_EQUAL(memcmp(whole->w + whole->embedding, e, sizeof(e)), 0);
	wr_learn_step_gradient(&f.st, &f.b, 1, &with);
	f.user[0] = 7; /* id 8, a woman as id 4, but of the next age group */
	wr_learn_step_gradient(&f.st, &f.b, 1, &other);
	CU_ASSERT(fabs(with.hard - other.hard) > 1e-3);
	f.user[0] = 3;
	wr_learn_step_gradient(&f.st, &f.b, 1, &other);
	CU_ASSERT_EQUAL(with.hard, other.hard);
	teardown(&f);
	defaults(&f);
	setup(&f, ds, true, false);
	wr_learn_step_gradient(&f.st, &f.b, 1, &with);
	f.user[0] = 7;
	wr_learn_step_gradient(&f.st, &f.b, 1, &other);
	CU_ASSERT_EQUAL(with.hard, other.hard);
	teardown(&f);
	wr_dataset_free(ds);
}

static void test_threads(void)
{
	struct wr_dataset *ds = data("t", 0);
	struct fixture f;
	struct loss_terms loss;
	struct wr_errmsg msg;
	defaults(&f);
	setup(&f, ds, true, true);
	float *g = malloc(f.s->n_weights * sizeof(float));
	wr_learn_step_gradient(&f.st, &f.b, 1, &loss);
	memcpy(g, f.st.grad, f.s->n_weights * sizeof(float));
	wr_learn_step_free(&f.st);
	f.fit.threads = 3;
	CU_ASSERT_EQUAL_FATAL(wr_learn_step_new(&f.st, &f.fit, f.s, &f.opt, ds, &msg), WR_OK);
	wr_learn_step_gradient(&f.st, &f.b, 1, &loss);
	CU_ASSERT_EQUAL(memcmp(g, f.st.grad, f.s->n_weights * sizeof(float)), 0);
	free(g);
	teardown(&f);
	wr_dataset_free(ds);
}

/* ---- runs ---- */
static struct wr_fit run_fit(bool items, bool users)
{
	struct wr_fit f;
	wr_fit_defaults(&f);
	f.shape.d = 16;
	f.shape.ffn = 32;
	f.shape.n_heads = f.shape.n_kv_heads = 1;
	f.shape.window = 6;
	f.epochs = 3;
	f.batch = 24;
	f.len = 12;
	f.lr = 5e-3;
	f.threads = 2;
	f.quiet = true;
	f.side_items = items;
	f.side_users = users;
	return f;
}

static void run(const struct wr_fit *f, const struct wr_dataset *ds, const char *dir,
	struct wr_fit_result *r)
{
	struct wr_errmsg msg;
	int err = wr_fit_run(f, ds, learn_test_path(dir), r, &msg);
	if (err)
		printf("\n  fit: %s ", msg.text);
	CU_ASSERT_EQUAL_FATAL(err, WR_OK);
}

static void expect_same_file(const char *a, const char *b)
{
	char *x, *y;
	size_t n, m;
	CU_ASSERT_EQUAL_FATAL(wr_file_read(learn_test_path(a), 1 << 26, &x, &n, NULL), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_file_read(learn_test_path(b), 1 << 26, &y, &m, NULL), WR_OK);
	CU_ASSERT(n == m && !memcmp(x, y, n));
	free(x);
	free(y);
}

/* What the last checkpoint holds is made of its parts, and loads as their sum. */
static void check_parts(const char *dir, const struct wr_dataset *ds)
{
	char name[64];
	struct wr_student *parts, *whole;
	struct optimiser o;
	struct wr_fit f = {0};
	struct progress_state at;
	struct wr_errmsg msg;
	float e[ITEMS * 16];
	snprintf(name, sizeof(name), "%s/checkpoint.safetensors", dir);
	CU_ASSERT_EQUAL_FATAL(wr_student_load(&whole, learn_test_path(name), &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(
		wr_learn_checkpoint_read(learn_test_path(name), &parts, &o, &f, &at, &msg), WR_OK);
	CU_ASSERT_EQUAL(parts->shape.categories, 4);
	CU_ASSERT_EQUAL(whole->shape.categories, 0);
	CU_ASSERT_EQUAL(whole->shape.profile_values, 9); /* 7 ages, 2 genders */
	parts->item_side = &ds->item_side;
	wr_learn_whole_items(parts, parts->w, e);
	CU_ASSERT_EQUAL(memcmp(e, whole->w + whole->embedding, sizeof(e)), 0);
	CU_ASSERT_NOT_EQUAL(memcmp(e, parts->w + parts->embedding, sizeof(e)), 0);
	wr_student_free(parts);
	wr_student_free(whole);
	wr_learn_optimiser_free(&o);
}

static void test_resume(void)
{
	struct wr_dataset *ds = data("r", 0);
	struct wr_fit f = run_fit(true, true);
	struct wr_fit_result r;
	struct wr_student *s;
	struct wr_metrics_at m;
	struct wr_errmsg msg;
	f.ema = 0.9;
	f.weight_decay = 0.01;
	run(&f, ds, "whole", &r);
	f.max_seconds = 1e-3;
	run(&f, ds, "parts", &r);
	f = run_fit(false, false); /* the checkpoint knows */
	f.resume = true;
	f.max_seconds = 1e-3;
	int parts = 1;
	for (; r.epochs < 2 && parts < 1000; parts++)
		run(&f, ds, "parts", &r);
	CU_ASSERT(parts > 1);
	f.max_seconds = 0;
	f.threads = 3;
	run(&f, ds, "parts", &r);
	expect_same_file("whole/checkpoint.safetensors", "parts/checkpoint.safetensors");
	expect_same_file("whole/best.safetensors", "parts/best.safetensors");
	check_parts("whole", ds);
	/* What was judged, profiles included, is what was kept. */
	CU_ASSERT_EQUAL_FATAL(
		wr_student_load(&s, learn_test_path("whole/best.safetensors"), &msg), WR_OK);
	CU_ASSERT_EQUAL(s->shape.categories, 0);
	CU_ASSERT_EQUAL(wr_eval_float(s, ds, WR_SPLIT_VALID, 0, 1, &m, &msg), WR_OK);
	CU_ASSERT_DOUBLE_EQUAL(m.ndcg[0][1], r.best_ndcg10, 1e-12);
	char *settings = learn_test_read("parts/settings.json");
	CU_ASSERT_PTR_NOT_NULL(strstr(settings, "age=under 18"));
	CU_ASSERT_PTR_NOT_NULL(strstr(settings, "\"categories\""));
	free(settings);
	/* Other categories of the same items: another model. */
	struct wr_dataset *other = data("other", 1);
	f.epochs = 4;
	CU_ASSERT_EQUAL(wr_fit_run(&f, other, learn_test_path("parts"), &r, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "other categories"));
	wr_student_free(s);
	wr_dataset_free(other);
	wr_dataset_free(ds);
}

/* The bundle of a run with categories holds whole vectors and answers as its float model does. */
static void test_pack(void)
{
	struct wr_dataset *ds = data("k", 0);
	struct wr_fit f = run_fit(true, false);
	struct wr_fit_result r;
	struct wr_student *s;
	struct wr_metrics_at real, int8;
	struct wr_bundle *b;
	struct wr_errmsg msg;
	f.qat = true; /* the server's rounding sees whole vectors too */
	f.epochs = 10;
	run(&f, ds, "k_run", &r);
	struct wr_pack p = {.data_dir = learn_test_path("k"),
		.run_dir = learn_test_path("k_run"),
		.checkpoint = "best.safetensors"};
	int err = wr_pack_run(&p, learn_test_path("k.wrb"), &msg);
	if (err)
		printf("\n  %s ", msg.text);
	CU_ASSERT_EQUAL_FATAL(err, WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_bundle_open(&b, learn_test_path("k.wrb"), &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(
		wr_student_load(&s, learn_test_path("k_run/best.safetensors"), &msg), WR_OK);
	const struct wr_int8 x = {.bundle = b, .isa = WR_ISA_AUTO, .gemm = WR_GEMM_AUTO};
	CU_ASSERT_EQUAL(wr_eval_float(s, ds, WR_SPLIT_TEST, 0, 1, &real, &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_eval_int8(&x, ds, WR_SPLIT_TEST, 0, &int8, &msg), WR_OK);
	CU_ASSERT(real.hr[1][0] > 0.4); /* 5 of 23 at random: 0.22 */
	CU_ASSERT_DOUBLE_EQUAL(real.hr[1][0], int8.hr[1][0], 0.1);
	wr_student_free(s);
	wr_bundle_close(b);
	wr_dataset_free(ds);
}

static void test_refused(void)
{
	struct wr_dataset *ds = data("f", 0), *bare, *other;
	struct wr_fit f = run_fit(true, true);
	struct wr_fit_result r;
	struct wr_student *s, *cut;
	struct wr_metrics_at m;
	struct wr_errmsg msg;
	f.epochs = 1;
	learn_test_ring("bare", USERS, ITEMS, 30);
	CU_ASSERT_EQUAL_FATAL(wr_dataset_load(&bare, learn_test_path("bare"), &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_fit_run(&f, bare, learn_test_path("no"), &r, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "category"));
	f.side_items = false;
	CU_ASSERT_EQUAL(wr_fit_run(&f, bare, learn_test_path("no"), &r, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "profile"));
	run(&f, ds, "users", &r);
	CU_ASSERT_EQUAL_FATAL(
		wr_student_load(&s, learn_test_path("users/best.safetensors"), &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_eval_float(s, bare, WR_SPLIT_TEST, 0, 1, &m, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "data has none"));
	/* As many values under another field's name. */
	char *users = learn_test_read("f/users.tsv");
	memcpy(strstr(users, "gender"), "garden", 6);
	learn_test_text("f/users.tsv", users);
	free(users);
	CU_ASSERT_EQUAL_FATAL(wr_dataset_load(&other, learn_test_path("f"), &msg), WR_OK);
	CU_ASSERT_EQUAL(other->user_side.n_values, ds->user_side.n_values);
	CU_ASSERT_EQUAL(wr_eval_float(s, other, WR_SPLIT_TEST, 0, 1, &m, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "others"));
	f.resume = true;
	CU_ASSERT_EQUAL(wr_fit_run(&f, other, learn_test_path("users"), &r, &msg), WR_EINVAL);
	struct wr_pack p = {.data_dir = learn_test_path("f"),
		.run_dir = learn_test_path("users"),
		.checkpoint = "best.safetensors"};
	CU_ASSERT_EQUAL(wr_pack_run(&p, learn_test_path("f.wrb"), &msg), WR_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "profiles of users, which the server does not"));
	CU_ASSERT_NOT_EQUAL(access(learn_test_path("f.wrb"), F_OK), 0);
	const struct wr_prune prune = {.window = 3};
	CU_ASSERT_EQUAL(wr_prune_run(&prune, s, ds, &cut, &msg), WR_EINVAL);
	const uint64_t off[2] = {0, 1};
	const uint32_t row = 1;
	const struct wr_histories h = {.n = 1, .off = off, .rows = &row};
	float u[16];
	CU_ASSERT_EQUAL(wr_encode_histories(s, &h, 1, u, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "profiles"));
	wr_student_free(s);
	wr_dataset_free(other);
	wr_dataset_free(bare);
	wr_dataset_free(ds);
}

/* ---- who reads profiles ---- */

/* Three users of one history: the first two are alike. */
static struct wr_dataset *triplets(void)
{
	char make[128];
	struct wr_dataset *ds;
	struct wr_errmsg msg;
	snprintf(make, sizeof(make), "mkdir -p %s", learn_test_path("three"));
	if (system(make))
		abort();
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	for (int i = 1; i <= ITEMS; i++)
		fprintf(f, "%d\t%d\t\t\n", i, i);
	fclose(f);
	learn_test_text("three/items.tsv", text);
	free(text);
	f = open_memstream(&text, &size);
	for (int u = 1; u <= 3; u++)
		for (int i = 1; i <= 6; i++)
			fprintf(f, "%d\t%d\tclick\t0\n", u, 3 * i);
	fclose(f);
	learn_test_text("three/interactions.tsv", text);
	free(text);
	learn_test_text(
		"three/users.tsv", "#user\tname\tplan\n1\ta\tgold\n2\tb\tgold\n3\tc\tiron\n");
	CU_ASSERT_EQUAL_FATAL(wr_dataset_load(&ds, learn_test_path("three"), &msg), WR_OK);
	return ds;
}

static void test_readers(void)
{
	struct wr_dataset *ds = triplets();
	struct fixture f;
	struct wr_judge *j;
	struct soft_targets x;
	struct wr_errmsg msg;
	defaults(&f);
	setup(&f, ds, false, true);
	for (uint32_t i = 0; i < 2 * 16; i++) /* plans weigh as much as an item */
		f.s->w[f.s->profile + i] *= 3;
	CU_ASSERT_EQUAL_FATAL(wr_judge_new(&j, ds, WR_SPLIT_TEST, 0, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_judge_float(j, f.s, 1, &msg), WR_OK);
	const uint32_t *list = j->list;
	size_t bytes = j->user[0].n_list * sizeof(*list);
	CU_ASSERT_EQUAL(memcmp(list, list + WR_JUDGE_TOP, bytes), 0);
	CU_ASSERT_NOT_EQUAL(memcmp(list, list + 2 * WR_JUDGE_TOP, bytes), 0);
	wr_judge_free(j);
	const struct wr_teach t = {.top = 5, .temperature = 1, .threads = 1, .quiet = true};
	CU_ASSERT_EQUAL_FATAL(wr_teach_run(&t, f.s, ds, learn_test_path("soft"), &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(
		wr_learn_soft_targets_open(&x, learn_test_path("soft"), ds, &msg), WR_OK);
	const uint16_t *said = x.surprisals;
	CU_ASSERT_EQUAL(memcmp(said, said + 6 * 5, 3 * 5 * sizeof(*said)), 0);
	CU_ASSERT_NOT_EQUAL(memcmp(said, said + 12 * 5, 3 * 5 * sizeof(*said)), 0);
	wr_learn_soft_targets_close(&x);
	teardown(&f);
	wr_dataset_free(ds);
}

/* Beside a student the teacher reads them too, from the batch. */
static void test_guide(void)
{
	struct wr_dataset *ds = triplets();
	struct fixture t, f;
	struct loss_terms loss[2];
	defaults(&t);
	setup(&t, ds, false, true);
	defaults(&f);
	f.fit.distil = (struct wr_distil){.teacher = t.s, .hidden_weight = 1, .match = {1, 2}};
	f.fit.shape.matched = 3;
	f.fit.shape.teacher_d = 16;
	setup(&f, ds, false, false);
	for (uint32_t k = 0; k < 2; k++) {
		f.user[0] = k ? 2 : 0;
		f.user[1] = f.user[2] = 0;
		wr_learn_step_gradient(&f.st, &f.b, 1, &loss[k]);
	}
	CU_ASSERT_EQUAL(loss[0].hard, loss[1].hard);
	CU_ASSERT(fabs(loss[0].hidden - loss[1].hidden) > 1e-3);
	teardown(&f);
	teardown(&t);
	wr_dataset_free(ds);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"data sets keep categories and profiles", test_values},
		{"gradients agree with differences", test_gradients},
		{"item vectors are whole wherever they are read", test_whole},
		{"any number of threads gives the same gradient", test_threads},
		{"stopped and resumed runs end in the same bits", test_resume},
		{"a run with categories packs as any student", test_pack},
		{"what has no side data or other ones is refused", test_refused},
		{"eval and teach read profiles", test_readers},
		{"so does a teacher beside the student", test_guide},
	};
	learn_test_begin();
	int rc = wr_test_run("learn side", tests, WR_ARRAY_LEN(tests));
	learn_test_end();
	return rc;
}
