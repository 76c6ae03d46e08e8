/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Heads for clicks and conversions: gradients against differences, what is learned against a world
 * whose probabilities are known; AUC and calibration against brute force; slates' user vectors
 * against one history at a time.
 */
#include "encode_int.h"
#include "heads_int.h"
#include "learn_test.h"
#include "text_file.h"

#include <math.h>

#define ITEMS 40

static struct wr_student *student(uint32_t time_buckets)
{
	struct wr_student *s;
	struct wr_errmsg msg;
	struct wr_student_shape shape = {.n_items = ITEMS,
		.d = 16,
		.n_blocks = 2,
		.n_heads = 2,
		.n_kv_heads = 2,
		.window = 7,
		.ffn = 16,
		.time_buckets = time_buckets};
	CU_ASSERT_EQUAL_FATAL(wr_student_new(&s, &shape, &msg), WR_OK);
	wr_student_init(s, 3);
	return s;
}

/* A chunk of shown items of every kind. */
struct shown {
	float u[3][32];
	const float *at[30];
	uint32_t row[30];
	uint8_t position[30], clicked[30], converted[30];
	struct heads_batch b;
};

static void fill(struct shown *x)
{
	struct wr_rng r;
	wr_rng_init(&r, 9, 9);
	for (int k = 0; k < 3; k++) {
		float n = 0;
		for (int c = 0; c < 32; c++) {
			x->u[k][c] = k ? (float)wr_rng_normal(&r) : 0; /* the first knows nothing */
			n += x->u[k][c] * x->u[k][c];
		}
		for (int c = 0; c < 32 && k; c++)
			x->u[k][c] /= sqrtf(n);
	}
	for (uint32_t i = 0; i < 30; i++) {
		x->at[i] = x->u[i % 3];
		x->row[i] = wr_rng_below(&r, ITEMS);
		x->position[i] = (uint8_t)(i % 5);
		x->clicked[i] = wr_rng_below(&r, 2) > 0;
		x->converted[i] = x->clicked[i] && wr_rng_below(&r, 2);
	}
	x->b = (struct heads_batch){30, x->at, x->row, x->position, x->clicked, x->converted};
}

static void test_gradients(void)
{
	struct wr_student *s = student(0);
	struct wr_heads *h;
	struct heads_ws ws;
	struct wr_errmsg msg;
	struct shown x;
	CU_ASSERT_EQUAL_FATAL(wr_learn_heads_new(&h, s, 12, 5, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_learn_heads_ws_new(&ws, h, &msg), WR_OK);
	wr_learn_heads_init(h, 4, 0.4, 0.3);
	struct wr_rng r;
	wr_rng_init(&r, 1, 2);
	for (size_t i = 0; i < h->n_weights; i++)
		h->w[i] += 0.1f * (float)wr_rng_normal(&r);
	fill(&x);
	float *g = calloc(h->n_weights, sizeof(*g)), *none = calloc(h->n_weights, sizeof(*none));
	wr_learn_heads_forward(h, &ws, &x.b);
	wr_learn_heads_backward(h, &ws, &x.b, 1, g);
	uint32_t alive = 0;
	for (size_t i = 0; i < h->n_weights; i++) {
		float keep = h->w[i], step = 5e-4f;
		double loss[2];
		for (int side = 0; side < 2; side++) {
			h->w[i] = keep + (side ? step : -step);
			wr_learn_heads_forward(h, &ws, &x.b);
			loss[side] = wr_learn_heads_backward(h, &ws, &x.b, 0, none);
		}
		h->w[i] = keep;
		double numeric = (loss[1] - loss[0]) / (2 * (double)step);
		bool good = fabs(numeric - (double)g[i]) <= 0.02 * fabs(numeric) + 5e-3;
		if (!good)
			printf("\n  weight %zu: analytic %g, numeric %g", i, (double)g[i], numeric);
		CU_ASSERT(good);
		alive += fabs(numeric) > 1e-3;
	}
	CU_ASSERT(alive > h->n_weights / 3);
	CU_ASSERT_EQUAL(g[h->position], 0); /* the first place is always looked at */
	free(g);
	free(none);
	wr_learn_heads_ws_free(&ws);
	wr_heads_free(h);
	wr_student_free(s);
}

/* The number of (positive, negative) pairs in order; bins by a full sort. */
static void test_calibration(void)
{
	enum { N = 500 };
	float p[N];
	uint8_t y[N];
	struct wr_rng r;
	struct wr_calibration c;
	struct wr_errmsg msg;
	double right = 0, pairs = 0, loss = 0;
	wr_rng_init(&r, 5, 1);
	for (int i = 0; i < N; i++) {
		p[i] = (float)(wr_rng_below(&r, 20) + 1) / 25; /* many are equal */
		y[i] = wr_rng_double(&r) < (double)p[i] / 2;
		loss -= log(y[i] ? (double)p[i] : 1 - (double)p[i]);
	}
	for (int a = 0; a < N; a++)
		for (int b = 0; b < N; b++)
			if (y[a] && !y[b]) {
				right += p[a] > p[b] ? 1 : p[a] == p[b] ? 0.5 : 0;
				pairs++;
			}
	CU_ASSERT_EQUAL(wr_calibration_of(p, y, N, &c, &msg), WR_OK);
	CU_ASSERT_DOUBLE_EQUAL(c.auc, right / pairs, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(c.log_loss, loss / N, 1e-9);
	CU_ASSERT(c.error > 0.15 && c.error < 0.3); /* twice too high on purpose: 0.21 */
	CU_ASSERT_DOUBLE_EQUAL(c.predicted - c.observed, c.error, 1e-6);
	for (int i = 0; i < N; i++)
		y[i] = 1;
	CU_ASSERT_EQUAL(wr_calibration_of(p, y, N, &c, &msg), WR_OK);
	CU_ASSERT(isnan(c.auc));
}

/*
 * A log whose truth is known: P(click at k) = 0.6 of an item with an even number, 0.1 of an odd
 * one, times 1, 0.7, 0.4, 0.2 by place; conversions of clicks: 0.5 below item 20, else 0.1.
 */
static void write_log(const char *name)
{
	static const double looked[4] = {1, 0.7, 0.4, 0.2};
	char *text = NULL, path[64];
	size_t size;
	struct wr_rng r;
	FILE *f = open_memstream(&text, &size);
	wr_rng_init(&r, 21, 1);
	fputs("#user\titem\tposition\ttime_ms\tclicked\tconverted\n", f);
	for (uint32_t u = 1; u <= 400; u++)
		for (uint32_t s = 1; s <= 25; s++)
			for (uint32_t k = 0; k < 4; k++) {
				uint32_t item = wr_rng_below(&r, ITEMS) + 1;
				bool click = wr_rng_double(&r) < looked[k] * (item % 2 ? 0.1 : 0.6);
				bool convert =
					click && wr_rng_double(&r) < (item <= 20 ? 0.5 : 0.1);
				fprintf(f, "%u\t%u\t%u\t%u\t%d\t%d\n", u, item, k, s * 1000, click,
					convert);
			}
	fclose(f);
	snprintf(path, sizeof(path), "%s/impressions.tsv", name);
	learn_test_text(path, text);
	free(text);
}

static struct wr_dataset *timed_set(void)
{
	char *text = NULL, *items = NULL;
	size_t size;
	struct wr_dataset *ds;
	struct wr_errmsg msg;
	FILE *f = open_memstream(&text, &size);
	for (uint32_t u = 1; u <= 400; u++)
		for (uint32_t t = 0; t < u % 30; t++)
			fprintf(f, "%u\t%u\tclick\t%u\n", u, (u * 7 + t * 3) % ITEMS + 1,
				1500 + t * 700);
	fclose(f);
	CU_ASSERT_EQUAL_FATAL(wr_learn_make_dirs(learn_test_path("timed"), &msg), WR_OK);
	learn_test_text("timed/interactions.tsv", text);
	free(text);
	f = open_memstream(&items, &size);
	for (uint32_t i = 1; i <= ITEMS; i++)
		fprintf(f, "%u\ti%u\tc%u\t\n", i, i, i % 3);
	fclose(f);
	learn_test_text("timed/items.tsv", items);
	free(items);
	write_log("timed");
	CU_ASSERT_EQUAL_FATAL(wr_dataset_load(&ds, learn_test_path("timed"), &msg), WR_OK);
	return ds;
}

static struct wr_impressions *shown_of(const struct wr_dataset *ds)
{
	struct wr_impressions *x;
	struct wr_errmsg msg;
	int err = wr_impressions_load(&x, ds, learn_test_path("timed/impressions.tsv"), &msg);
	if (err)
		printf("\n  %s", msg.text);
	CU_ASSERT_EQUAL_FATAL(err, WR_OK);
	return x;
}

static void check_slates(uint32_t time_buckets)
{
	struct wr_dataset *ds = timed_set();
	struct wr_impressions *x = shown_of(ds);
	struct wr_student *s = student(time_buckets);
	struct wr_rng r;
	wr_rng_init(&r, 8, 1);
	for (size_t i = 0; i < s->n_weights; i++)
		s->w[i] += 0.1f * (float)wr_rng_normal(&r);
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL(x->n_slates, 400 * 25);
	CU_ASSERT_EQUAL(x->n_positions, 4);
	CU_ASSERT_PTR_NULL(x->propensity);
	float *u = malloc((size_t)x->n_slates * 16 * sizeof(*u)), one[16];
	CU_ASSERT_EQUAL(wr_learn_encode_slates(s, ds, x, 2, u, &msg), WR_OK);
	for (uint32_t i = 0; i < x->n_slates; i += 7) {
		const struct wr_slate *g = &x->slate[i];
		/* Clicks at 1500 + 700 t before the slate at its time; users 30, 60 … have none. */
		uint32_t want = 0, id = i / 25 + 1;
		for (uint32_t t = 0; t < id % 30; t++)
			want += 1500 + 700 * (int64_t)t < g->time_ms;
		CU_ASSERT_EQUAL(g->n_history, want);
		CU_ASSERT_EQUAL(g->user == UINT32_MAX, id % 30 == 0);
		uint32_t begin = g->user == UINT32_MAX ? 0 : ds->token_off[g->user];
		const uint64_t off[2] = {0, want};
		struct wr_histories h = {
			1, off, ds->token_row + begin, ds->token_time + begin, &g->time_ms};
		CU_ASSERT_EQUAL(wr_encode_histories(s, &h, 1, one, &msg), WR_OK);
		for (int c = 0; c < 16; c++)
			CU_ASSERT_DOUBLE_EQUAL((double)one[c], (double)u[(size_t)i * 16 + c], 1e-5);
	}
	free(u);
	wr_student_free(s);
	wr_impressions_free(x);
	wr_dataset_free(ds);
}

static void test_slates(void)
{
	check_slates(0);
}

/* With age in time the moment of asking counts. */
static void test_timed_slates(void)
{
	check_slates(16);
	struct wr_student *s = student(16);
	struct wr_errmsg msg;
	const uint64_t off[2] = {0, 1};
	const uint32_t row = 3;
	float u[16];
	struct wr_histories h = {.n = 1, .off = off, .rows = &row};
	CU_ASSERT_EQUAL(wr_encode_histories(s, &h, 1, u, &msg), WR_EINVAL);
	wr_student_free(s);
}

static void test_learned(void)
{
	static const double looked[4] = {1, 0.7, 0.4, 0.2};
	struct wr_dataset *ds = timed_set();
	struct wr_impressions *x = shown_of(ds);
	struct wr_student *s = student(0), *other = student(0);
	struct wr_heads *h, *read;
	struct wr_heads_fit f;
	struct wr_heads_report r;
	struct wr_errmsg msg;
	wr_heads_fit_defaults(&f);
	f.quiet = true;
	f.batch = 256;
	f.lr = 0.01;
	f.decay = 0.05;
	f.epochs = 8;
	CU_ASSERT_EQUAL_FATAL(wr_heads_train(&h, &f, s, ds, x, &r, &msg), WR_OK);
	for (uint32_t k = 0; k < 4; k++) {
		CU_ASSERT_DOUBLE_EQUAL(wr_heads_looked(h, k), looked[k], 0.05);
	}
	float u[32] = {0}, click[ITEMS], convert[ITEMS],
	      *scratch = malloc(wr_heads_scratch(h, ITEMS) * sizeof(*scratch));
	uint32_t rows[ITEMS];
	for (uint32_t i = 0; i < ITEMS; i++)
		rows[i] = i;
	wr_heads_score(h, u, rows, ITEMS, scratch, click, convert);
	double converts[2] = {0};
	for (uint32_t i = 0; i < ITEMS; i++) { /* row = item - 1 */
		CU_ASSERT_DOUBLE_EQUAL((double)click[i], i % 2 ? 0.6 : 0.1, 0.15);
		converts[i >= 20] += (double)convert[i] / 20;
	}
	CU_ASSERT_DOUBLE_EQUAL(converts[0], 0.5, 0.15);
	CU_ASSERT_DOUBLE_EQUAL(converts[1], 0.1, 0.08);
	CU_ASSERT(r.click.auc > 0.7 && r.convert.auc > 0.65);
	CU_ASSERT(r.click.error < 0.05 && r.click.log_loss < r.click.base_log_loss);
	/* Written, read, the same; with another student refused. */
	const char *path = learn_test_path("heads.safetensors");
	CU_ASSERT_EQUAL(wr_heads_write(h, path, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_heads_load(&read, path, s, &msg), WR_OK);
	CU_ASSERT_EQUAL(memcmp(read->w, h->w, h->n_weights * sizeof(float)), 0);
	wr_heads_free(read);
	other->w[5] += 1;
	CU_ASSERT_EQUAL(wr_heads_load(&read, path, other, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NULL(read);
	/* Any number of threads gives the same heads. */
	f.threads = 3;
	f.epochs = 1;
	struct wr_heads *a, *b;
	CU_ASSERT_EQUAL_FATAL(wr_heads_train(&a, &f, s, ds, x, &r, &msg), WR_OK);
	f.threads = 1;
	CU_ASSERT_EQUAL_FATAL(wr_heads_train(&b, &f, s, ds, x, &r, &msg), WR_OK);
	CU_ASSERT_EQUAL(memcmp(a->w, b->w, a->n_weights * sizeof(float)), 0);
	wr_heads_free(a);
	wr_heads_free(b);
	free(scratch);
	wr_heads_free(h);
	wr_student_free(s);
	wr_student_free(other);
	wr_impressions_free(x);
	wr_dataset_free(ds);
}

static void test_refused(void)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"", "nothing was shown"},
		{"1\t1\t0\t5\t0\n", ":1:"},
		{"1\t41\t0\t5\t0\t0\n", "not in items.tsv"},
		{"1\t1\t0\t5\t0\t1\n", "a click where it was"},
		{"1\t1\t0\t5\t2\t0\n", "clicked '2'"},
		{"1\t1\t300\t5\t0\t0\n", "position '300'"},
		{"1\t1\t0\t0\t0\t0\n", "time '0'"},
		{"1\t1\t0\t5\t0\t0\t0.5\n1\t2\t1\t5\t0\t0\n", ":2:"},
		{"1\t1\t0\t5\t0\t0\t0\n", "propensity '0'"},
		{"1\t1\t0\t5\t0\t0\tnan\n", "propensity 'nan'"},
		{"1\t1\t0\t5\t0\t0\t1.5\n", "propensity '1.5'"},
	};
	struct wr_dataset *ds = timed_set();
	struct wr_impressions *x;
	struct wr_errmsg msg;
	for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++) {
		learn_test_text("bad.tsv", cases[i].text);
		int err = wr_impressions_load(&x, ds, learn_test_path("bad.tsv"), &msg);
		if (err != WR_EFORMAT || !strstr(msg.text, cases[i].why))
			printf("\n  case %zu: %d '%s'", i, err, msg.text);
		CU_ASSERT_EQUAL(err, WR_EFORMAT);
		CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, cases[i].why));
		CU_ASSERT_PTR_NULL(x);
	}
	ds->timed = false;
	CU_ASSERT_EQUAL(wr_impressions_load(&x, ds, learn_test_path("timed/impressions.tsv"), &msg),
		WR_EINVAL);
	wr_dataset_free(ds);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"gradients of the heads agree with differences", test_gradients},
		{"AUC and calibration against brute force", test_calibration},
		{"user vectors before slates", test_slates},
		{"user vectors before slates, with age in time", test_timed_slates},
		{"what is known of a world is learned", test_learned},
		{"damaged logs are refused with the reason", test_refused},
	};
	learn_test_begin();
	int rc = wr_test_run("learn heads", tests, WR_ARRAY_LEN(tests));
	learn_test_end();
	return rc;
}
