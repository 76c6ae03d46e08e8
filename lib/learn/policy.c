/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a model would show: baselines by their own lists, students by cosines of all items (GEMMs of
 * 64 users), heads by a second look at the student's best 2,000. Some 10^4 … 10^5 histories.
 */
#include "heads_int.h"
#include "sgemm.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define WIDE 200  /* rows that the category cap looks at, and longest list */
#define DEEP 2000 /* rows that the heads look at */
#define TILE 64   /* users of a product */

enum kind { POPULARITY, ITEM_KNN, VMIS_KNN, ALS, STUDENT, CLICK, CONVERT };

struct wr_policy {
	enum kind kind;
	uint32_t n_items, threads, cap; /* cap: items of a category in a list, 0 = any */
	const uint16_t *category;
	struct wr_popularity *popularity;
	struct wr_knn *knn;
	struct wr_vmis *vmis;
	struct wr_als *als;
	struct wr_student *student;
	struct wr_heads *heads;
	float *unit; /* [n_items][d] */
};

/* One thread's memory. */
struct scratch {
	struct wr_knn_scratch *knn;
	struct wr_vmis_scratch *vmis;
	struct wr_als_scratch *als;
	float *z;                               /* [TILE][n_items] */
	float *heads, *click, *convert, *value; /* [DEEP] */
	uint32_t *list, *sorted;                /* [DEEP] */
	uint8_t *seen;
};

static int load_student(struct wr_policy *p, const char *run, const struct wr_baseline_log *log,
	struct wr_errmsg *msg)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/best.safetensors", run);
	int err = wr_student_load(&p->student, path, msg);
	if (err)
		return err;
	const struct wr_student_shape *s = &p->student->shape;
	if (s->n_items != log->n_items)
		return wr_fail(msg, WR_EINVAL, "%s knows %u items, the data %u", path, s->n_items,
			log->n_items);
	float *norm = malloc(s->n_items * sizeof(*norm));
	p->unit = malloc((size_t)s->n_items * s->d * sizeof(*p->unit));
	if (norm && p->unit)
		wr_learn_unit_rows(
			p->student->w + p->student->embedding, s->n_items, s->d, p->unit, norm);
	else
		err = wr_fail(msg, WR_ENOMEM, "out of memory for %s", run);
	free(norm);
	if (err || p->kind == STUDENT)
		return err;
	snprintf(path, sizeof(path), "%s/heads.safetensors", run);
	return wr_heads_load(&p->heads, path, p->student, msg);
}

static int make(struct wr_policy *p, const char *name, const struct wr_baseline_log *log,
	struct wr_errmsg *msg)
{
	struct wr_knn_params knn = wr_knn_params_default();
	struct wr_vmis_params vmis = wr_vmis_params_default();
	struct wr_als_params als = wr_als_params_default();
	struct stat st;
	als.threads = p->threads;
	int err = wr_popularity_new(&p->popularity, log, msg);
	if (err || !strcmp(name, "popularity"))
		return err;
	if (!strcmp(name, "item-knn")) {
		p->kind = ITEM_KNN;
		return wr_knn_new(&p->knn, log, &knn, msg);
	}
	if (!strcmp(name, "vmis-knn")) {
		p->kind = VMIS_KNN;
		return wr_vmis_new(&p->vmis, log, &vmis, msg);
	}
	if (!strcmp(name, "als")) {
		p->kind = ALS;
		return wr_als_new(&p->als, log, &als, msg);
	}
	p->kind = STUDENT;
	if (!strncmp(name, "click:", 6)) {
		p->kind = CLICK;
		name += 6;
	} else if (!strncmp(name, "convert:", 8)) {
		p->kind = CONVERT;
		name += 8;
	}
	if (stat(name, &st) || !S_ISDIR(st.st_mode))
		return wr_fail(msg, WR_ENOENT,
			"%s: no run's directory, and none of popularity, item-knn, vmis-knn, als",
			name);
	return load_student(p, name, log, msg);
}

int wr_policy_new(struct wr_policy **out, const char *name, const struct wr_baseline_log *log,
	const uint16_t *category, uint32_t threads, struct wr_errmsg *msg)
{
	struct wr_policy *p = calloc(1, sizeof(*p));
	char *word = strdup(name), *cap = word ? strrchr(word, '~') : NULL;
	uint64_t most = 0;
	int err = p && word ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for a policy");
	*out = NULL;
	if (cap && !wr_parse_u64(cap + 1, 1, WIDE, &most))
		*cap = '\0';
	if (!err) {
		*p = (struct wr_policy){.n_items = log->n_items,
			.threads = threads,
			.category = category,
			.cap = (uint32_t)most};
		err = make(p, word, log, msg);
	}
	free(word);
	if (err)
		wr_policy_free(p);
	else
		*out = p;
	return err;
}

void wr_policy_free(struct wr_policy *p)
{
	if (!p)
		return;
	wr_popularity_free(p->popularity);
	wr_knn_free(p->knn);
	wr_vmis_free(p->vmis);
	wr_als_free(p->als);
	wr_heads_free(p->heads);
	wr_student_free(p->student);
	free(p->unit);
	free(p);
}

static int scratch_new(struct scratch *x, const struct wr_policy *p, struct wr_errmsg *msg)
{
	int err = WR_OK;
	*x = (struct scratch){.seen = calloc((size_t)p->n_items + 1, 1),

		.list = malloc(2 * DEEP * sizeof(*x->list)),
		.click = malloc(3 * DEEP * sizeof(float))};
	if (p->student)
		x->z = malloc((size_t)TILE * p->n_items * sizeof(*x->z));
	if (p->heads)
		x->heads = malloc(wr_heads_scratch(p->heads, DEEP) * sizeof(float));
	if (!x->seen || !x->click || !x->list || (p->student && !x->z) || (p->heads && !x->heads))
		return wr_fail(msg, WR_ENOMEM, "out of memory for lists");
	x->convert = x->click + DEEP;
	x->value = x->convert + DEEP;
	x->sorted = x->list + DEEP;
	if (p->knn)
		err = wr_knn_scratch_new(&x->knn, p->knn, msg);
	if (!err && p->vmis)
		err = wr_vmis_scratch_new(&x->vmis, p->vmis, msg);
	if (!err && p->als)
		err = wr_als_scratch_new(&x->als, p->als, msg);
	return err;
}

static void scratch_free(struct scratch *x)
{
	wr_knn_scratch_free(x->knn);
	wr_vmis_scratch_free(x->vmis);
	wr_als_scratch_free(x->als);
	free(x->z);
	free(x->heads);
	free(x->click);
	free(x->list);
	free(x->seen);
}

/* The k best of scores, unseen ones; rows ascend among equals. */
static uint32_t best_of(
	const float *score, uint32_t n_items, const uint8_t *seen, uint32_t k, uint32_t *top)
{
	uint32_t n = 0;
	for (uint32_t r = 0; r < n_items; r++) {
		if ((n == k && !(score[r] > score[top[n - 1]])) || seen[r])
			continue;
		uint32_t at = n < k ? n++ : k - 1;
		for (; at && score[r] > score[top[at - 1]]; at--)
			top[at] = top[at - 1];
		top[at] = r;
	}
	return n;
}

/* All unseen rows. */
static uint32_t unseen_of(uint32_t n_items, const uint8_t *seen, uint32_t *list)
{
	uint32_t n = 0;
	for (uint32_t r = 0; r < n_items; r++)
		if (!seen[r])
			list[n++] = r;
	return n;
}

/* The k best of the n rows of x->list by the heads, into x->sorted. */
static uint32_t reorder(
	const struct wr_policy *p, struct scratch *x, const float *v, uint32_t n, uint32_t k)
{
	uint32_t found = 0;
	wr_heads_score(p->heads, v, x->list, n, x->heads, x->click, x->convert);
	for (uint32_t i = 0; i < n; i++) {
		float value = p->kind == CLICK ? x->click[i] : x->click[i] * x->convert[i];
		if (found == k && !(value > x->value[k - 1]))
			continue;
		uint32_t at = found < k ? found++ : k - 1;
		for (; at && value > x->value[at - 1]; at--) {
			x->value[at] = x->value[at - 1];
			x->sorted[at] = x->sorted[at - 1];
		}
		x->value[at] = value;
		x->sorted[at] = x->list[i];
	}
	return found;
}

/* The first k of list that keep to the cap; what is missing then comes from those left out. */
static uint32_t cap_categories(
	const struct wr_policy *p, const uint32_t *list, uint32_t n, uint32_t k, uint32_t *top)
{
	uint32_t found = 0;
	bool taken[WIDE] = {false};
	for (int pass = 0; pass < 2; pass++)
		for (uint32_t i = 0; i < n && found < k; i++) {
			uint32_t same = 0;
			for (uint32_t t = 0; t < found; t++)
				same += p->category[top[t]] == p->category[list[i]];
			if (taken[i] || (!pass && p->cap && same >= p->cap))
				continue;
			taken[i] = true;
			top[found++] = list[i];
		}
	return found;
}

struct lists {
	const struct wr_policy *p;
	const struct wr_histories *h;
	const float *u; /* [n][d] for students */
	const float *v; /* what heads know of users */
	uint32_t k, *rows, *n_rows;
};

/* The wide list of history i; z: its scores, for students. */
static void list_one(const struct lists *l, struct scratch *x, uint32_t i, const float *z)
{
	const struct wr_policy *p = l->p;
	const uint32_t *rows = l->h->rows + l->h->off[i];
	uint32_t n = (uint32_t)(l->h->off[i + 1] - l->h->off[i]), *list = x->list, found,
		 k = p->cap ? WIDE : l->k;
	switch (p->kind) {
	case POPULARITY:
		found = wr_popularity_top(p->popularity, rows, n, true, k, list);
		break;
	case ITEM_KNN:
		found = wr_knn_top(p->knn, x->knn, rows, n, true, k, list);
		break;
	case VMIS_KNN:
		found = wr_vmis_top(p->vmis, x->vmis, UINT32_MAX, rows, n, true, k, list);
		break;
	case ALS:
		found = wr_als_top(p->als, x->als, rows, n, true, k, list);
		break;
	default:
		if (!n) { /* nothing is known of the user */
			found = wr_popularity_top(p->popularity, rows, n, true, k, list);
			break;
		}
		for (uint32_t t = 0; t < n; t++)
			x->seen[rows[t]] = 1;
		found = p->heads && p->n_items <= DEEP
				? unseen_of(p->n_items, x->seen, list)
				: best_of(z, p->n_items, x->seen, p->heads ? DEEP : k, list);
		for (uint32_t t = 0; t < n; t++)
			x->seen[rows[t]] = 0;
		if (p->heads) {
			found = reorder(
				p, x, l->v + (size_t)i * wr_heads_user_floats(p->heads), found, k);
			list = x->sorted;
		}
	}
	l->n_rows[i] = cap_categories(p, list, found, l->k, l->rows + (size_t)i * l->k);
}

static void list_tile(const struct lists *l, struct scratch *x, uint32_t first)
{
	const struct wr_policy *p = l->p;
	uint32_t n = WR_MIN((uint32_t)TILE, l->h->n - first);
	if (p->student) {
		size_t d = p->student->shape.d;
		wr_sgemm(false, true, n, p->n_items, d, l->u + first * d, d, p->unit, d, 0, x->z,
			p->n_items);
	}
	for (uint32_t i = 0; i < n; i++)
		list_one(l, x, first + i, x->z + (p->student ? (size_t)i * p->n_items : 0));
}

static int run_lists(const struct lists *l, struct wr_errmsg *msg)
{
	int err = WR_OK, n_threads = l->p->threads ? (int)l->p->threads : omp_get_max_threads();
#pragma omp parallel num_threads(n_threads)
	{
		struct scratch x;
		struct wr_errmsg why;
		omp_set_num_threads(1); /* for products inside: a team of one is not "parallel" */
		int mine = scratch_new(&x, l->p, &why);
		if (mine) {
#pragma omp critical
			{
				err = mine;
				if (msg)
					*msg = why;
			}
		}
#pragma omp barrier
		if (!err) {
#pragma omp for schedule(dynamic, 1)
			for (uint32_t first = 0; first < l->h->n; first += TILE)
				list_tile(l, &x, first);
		}
		scratch_free(&x);
	}
	return err;
}

int wr_policy_lists(const struct wr_policy *p, const struct wr_histories *h, uint32_t k,
	uint32_t *rows, uint32_t *n_rows, struct wr_errmsg *msg)
{
	float *u = NULL, *v = NULL;
	int err = WR_OK;
	if (k < 1 || k > WIDE)
		return wr_fail(msg, WR_EINVAL, "lists of %u: give 1 … %d", k, WIDE);
	if (p->student) {
		u = malloc(((size_t)h->n + 1) * p->student->shape.d * sizeof(*u));
		err = u ? wr_encode_histories(p->student, h, p->threads, u, msg)
			: wr_fail(msg, WR_ENOMEM, "out of memory for user vectors");
	}
	if (!err && p->heads) {
		v = malloc(((size_t)h->n + 1) * wr_heads_user_floats(p->heads) * sizeof(*v));
		err = v ? wr_heads_users(p->heads, p->student, h, p->threads, v, msg)
			: wr_fail(msg, WR_ENOMEM, "out of memory for user vectors");
	}
	const struct lists l = {
		.p = p, .h = h, .u = u, .v = v, .k = k, .rows = rows, .n_rows = n_rows};
	if (!err)
		err = run_lists(&l, msg);
	free(u);
	free(v);
	return err;
}
