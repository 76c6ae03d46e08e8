/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Training of the heads: some million shown items a pass, in shuffled batches of 2,048 whose chunks
 * of 256 go to threads; gradients are added in chunk order. Users are dealt to training (8 of 10),
 * validation and test by a hash of their id.
 */
#include "heads_int.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum part { TRAIN, VALID, TEST, N_PARTS };

struct training {
	const struct wr_heads_fit *f;
	const struct wr_dataset *ds;
	const struct wr_impressions *x;
	struct wr_heads *h;
	float *u;           /* [n_slates][2d] */
	uint32_t *slate_of; /* by shown item */
	uint32_t *order[N_PARTS];
	uint64_t n[N_PARTS];
	int n_threads;
	uint32_t n_chunks; /* of a batch */
	struct heads_ws *ws;
	float *grad; /* [n_chunks][n_weights]; the sum in the first */
	double *loss;
	float *m, *v, *best;
};

void wr_heads_fit_defaults(struct wr_heads_fit *f)
{
	*f = (struct wr_heads_fit){
		.hidden = 32, .epochs = 3, .batch = 2048, .lr = 0.002, .decay = 1, .seed = 1};
}

static enum part part_of(const struct training *t, uint32_t slate)
{
	uint32_t user = t->x->slate[slate].user;
	if (user == UINT32_MAX)
		return TRAIN;
	uint64_t k = wr_mix64(t->ds->user_id[user] ^ 0x9a27) % 10;
	return k == 0 ? TEST : k == 1 ? VALID : TRAIN;
}

static int deal(struct training *t, struct wr_errmsg *msg)
{
	const struct wr_impressions *x = t->x;
	if (x->n > UINT32_MAX - 1)
		return wr_fail(
			msg, WR_EINVAL, "more than 2^32 shown items: give a part of the log");
	t->slate_of = malloc((x->n + 1) * sizeof(*t->slate_of));
	for (int p = 0; p < N_PARTS; p++)
		t->order[p] = malloc((x->n + 1) * sizeof(*t->order[p]));
	if (!t->slate_of || !t->order[TRAIN] || !t->order[VALID] || !t->order[TEST])
		return wr_fail(msg, WR_ENOMEM, "out of memory for what was shown");
	for (uint32_t s = 0; s < x->n_slates; s++) {
		enum part p = part_of(t, s);
		for (uint64_t i = x->slate[s].first; i < x->slate[s].first + x->slate[s].n; i++) {
			t->slate_of[i] = s;
			t->order[p][t->n[p]++] = (uint32_t)i;
		}
	}
	return t->n[TRAIN] && t->n[VALID] && t->n[TEST]
		       ? WR_OK
		       : wr_fail(msg, WR_EINVAL,
				 "too few users for training, validation and test: give a longer "
				 "log");
}

/*
 * What to start from: rates at the first place, and how the others compare. Without it the level of
 * clicks and the places' shares of it find each other slowly. What cannot be learned is refused.
 */
static int start_values(const struct training *t, struct wr_errmsg *msg)
{
	double shown[256] = {0}, clicks[256] = {0}, all = 0, conversions = 0;
	const struct wr_impressions *x = t->x;
	for (uint64_t i = 0; i < t->n[TRAIN]; i++) {
		uint32_t at = t->order[TRAIN][i];
		shown[x->position[at]]++;
		clicks[x->position[at]] += x->clicked[at];
		all += x->clicked[at];
		conversions += x->converted[at];
	}
	if (!(all > 0) || !(conversions > 0))
		return wr_fail(msg, WR_EINVAL, "the log has no %s to learn from",
			all > 0 ? "conversion" : "click");
	double first = clicks[0] > 0 ? clicks[0] / shown[0] : all / (double)t->n[TRAIN];
	wr_learn_heads_init(t->h, t->f->seed, first, conversions / all);
	for (uint32_t k = 1; k < t->h->n_positions; k++)
		if (clicks[k] > 0) {
			double q = WR_MIN(clicks[k] / shown[k] / first, 0.98);
			t->h->w[t->h->position + k] = (float)log(q / (1 - q));
		}
	return WR_OK;
}

/* Points b at shown items order[0 … n-1]. */
struct gathered {
	const float *u[HEADS_CHUNK];
	uint32_t row[HEADS_CHUNK];
	uint8_t position[HEADS_CHUNK], clicked[HEADS_CHUNK], converted[HEADS_CHUNK];
};

static struct heads_batch gather(
	const struct training *t, const uint32_t *order, uint32_t n, struct gathered *g)
{
	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = order[k];
		g->u[k] = t->u + (size_t)t->slate_of[i] * 2 * t->h->d;
		g->row[k] = t->x->row[i];
		g->position[k] = t->x->position[i];
		g->clicked[k] = t->x->clicked[i];
		g->converted[k] = t->x->converted[i];
	}
	return (struct heads_batch){n, g->u, g->row, g->position, g->clicked, g->converted};
}

static void chunk(struct training *t, const uint32_t *order, uint32_t n, float weight,
	struct heads_ws *ws, float *grad, double *loss)
{
	struct gathered g;
	struct heads_batch b = gather(t, order, n, &g);
	memset(grad, 0, t->h->n_weights * sizeof(*grad));
	wr_learn_heads_forward(t->h, ws, &b);
	*loss = wr_learn_heads_backward(t->h, ws, &b, weight, grad);
}

/* One batch: gradient of the mean loss into the first chunk's; the sum of the losses. */
static double gradient(struct training *t, const uint32_t *order, uint32_t n)
{
	size_t n_w = t->h->n_weights;
	uint32_t n_chunks = (n + HEADS_CHUNK - 1) / HEADS_CHUNK;
	double sum = 0;
#pragma omp parallel num_threads(t->n_threads)
	{
		omp_set_num_threads(1);
#pragma omp for schedule(dynamic, 1)
		for (uint32_t c = 0; c < n_chunks; c++)
			chunk(t, order + c * HEADS_CHUNK,
				WR_MIN(n - c * HEADS_CHUNK, (uint32_t)HEADS_CHUNK), 1.0f / (float)n,
				&t->ws[omp_get_thread_num()], t->grad + c * n_w, &t->loss[c]);
	}
	for (uint32_t c = 0; c < n_chunks; c++) {
		const float *from = t->grad + c * n_w;
		for (size_t i = 0; c && i < n_w; i++)
			t->grad[i] += from[i];
		sum += t->loss[c];
	}
	return sum;
}

/* Mean loss of a part. */
static double judge(struct training *t, enum part part)
{
	double sum = 0;
#pragma omp parallel for num_threads(t->n_threads) schedule(dynamic, 16) reduction(+ : sum)
	for (uint64_t at = 0; at < t->n[part]; at += HEADS_CHUNK) {
		struct gathered g;
		struct heads_ws *ws = &t->ws[omp_get_thread_num()];
		uint32_t n = (uint32_t)WR_MIN(t->n[part] - at, (uint64_t)HEADS_CHUNK);
		struct heads_batch b = gather(t, t->order[part] + at, n, &g);
		wr_learn_heads_forward(t->h, ws, &b);
		for (uint32_t i = 0; i < n; i++) {
			double p = (double)ws->looked[i] / (1 + exp(-(double)ws->z[0][i])),
			       both = p / (1 + exp(-(double)ws->z[1][i]));
			p = WR_MIN(WR_MAX(p, 1e-9), 1 - 1e-9);
			both = WR_MIN(WR_MAX(both, 1e-9), 1 - 1e-9);
			sum -= log(b.clicked[i] ? p : 1 - p) +
			       log(b.converted[i] ? both : 1 - both);
		}
	}
	return sum / (double)WR_MAX(t->n[part], (uint64_t)1);
}

static void shuffle(struct training *t, uint32_t epoch)
{
	struct wr_rng r;
	uint32_t *o = t->order[TRAIN];
	wr_rng_init(&r, t->f->seed ^ 0x5a0ff1e, epoch);
	for (uint64_t i = t->n[TRAIN]; i > 1; i--) {
		uint32_t j = wr_rng_below(&r, (uint32_t)i), x = o[i - 1];
		o[i - 1] = o[j];
		o[j] = x;
	}
}

static void apply(struct training *t, uint64_t step, uint64_t n_steps)
{
	static const struct adam adam = {.beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f};
	struct wr_heads *h = t->h;
	double rate = t->f->lr * (1 - 0.95 * (double)(step - 1) / (double)n_steps);
	float keep = (float)(1 - rate * t->f->decay);
	for (size_t i = h->in; i < h->in_bias; i++)
		h->w[i] *= keep;
	for (size_t i = h->item; i < h->position; i++)
		h->w[i] *= keep;
	wr_learn_adam_update(&adam, h->n_weights, h->w, t->m, t->v, t->grad, (float)rate, step);
}

static int train(struct training *t, struct wr_heads_report *r, struct wr_errmsg *msg)
{
	uint64_t per_epoch = (t->n[TRAIN] + t->f->batch - 1) / t->f->batch,
		 n_steps = per_epoch * t->f->epochs, step = 0;
	double best = HUGE_VAL;
	for (uint32_t epoch = 0; epoch < t->f->epochs; epoch++) {
		double sum = 0;
		shuffle(t, epoch);
		for (uint64_t at = 0; at < t->n[TRAIN]; at += t->f->batch) {
			if (wr_stop_requested())
				return wr_fail(msg, WR_EINTR, "stopped; nothing was written");
			sum += gradient(t, t->order[TRAIN] + at,
				(uint32_t)WR_MIN(t->n[TRAIN] - at, (uint64_t)t->f->batch));
			apply(t, ++step, n_steps);
		}
		double valid = judge(t, VALID);
		if (!isfinite(sum))
			return wr_fail(msg, WR_EINVAL, "the loss is not finite: lower --lr");
		r->epochs = epoch + 1;
		if (valid < best) {
			best = valid;
			r->best_epoch = epoch + 1;
			memcpy(t->best, t->h->w, t->h->n_weights * sizeof(float));
		}
		if (!t->f->quiet)
			fprintf(stderr, "epoch %u/%u  loss %.5f  validation %.5f%s\n", epoch + 1,
				t->f->epochs, sum / (double)t->n[TRAIN], valid,
				r->best_epoch == epoch + 1 ? " (best)" : "");
	}
	memcpy(t->h->w, t->best, t->h->n_weights * sizeof(float));
	return WR_OK;
}

/* Probabilities of the kept-out users' shown items, beside what happened. */
static int report(struct training *t, struct wr_heads_report *r, struct wr_errmsg *msg)
{
	uint64_t n = t->n[TEST], n_clicked = 0;
	float *p = malloc((3 * n + 3) * sizeof(*p)), *v = p ? p + n + 1 : NULL,
	      *both = p ? v + n + 1 : NULL;
	uint8_t *y = malloc(3 * n + 3);
	int err = p && y ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory for the report");
	uint8_t *yc = err ? NULL : y + n + 1, *yb = err ? NULL : yc + n + 1;
	for (uint64_t at = 0; at < n && !err; at += HEADS_CHUNK) {
		struct gathered g;
		uint32_t m = (uint32_t)WR_MIN(n - at, (uint64_t)HEADS_CHUNK);
		struct heads_batch b = gather(t, t->order[TEST] + at, m, &g);
		wr_learn_heads_forward(t->h, &t->ws[0], &b);
		for (uint32_t i = 0; i < m; i++) {
			double c = (double)t->ws[0].looked[i] /
				   (1 + exp(-(double)t->ws[0].z[0][i])),
			       k = 1 / (1 + exp(-(double)t->ws[0].z[1][i]));
			p[at + i] = (float)c;
			y[at + i] = b.clicked[i];
			both[at + i] = (float)(c * k);
			yb[at + i] = b.converted[i];
			if (b.clicked[i]) {
				v[n_clicked] = (float)k;
				yc[n_clicked++] = b.converted[i];
			}
		}
	}
	if (!err)
		err = wr_calibration_of(p, y, n, &r->click, msg);
	if (!err)
		err = wr_calibration_of(v, yc, n_clicked, &r->convert, msg);
	if (!err)
		err = wr_calibration_of(both, yb, n, &r->both, msg);
	free(p);
	free(y);
	return err;
}

static int prepare(struct training *t, const struct wr_student *s, struct wr_errmsg *msg)
{
	t->n_threads = t->f->threads ? (int)t->f->threads : omp_get_max_threads();
	t->n_chunks = (t->f->batch + HEADS_CHUNK - 1) / HEADS_CHUNK;
	int err = deal(t, msg);
	if (!err)
		err = wr_learn_heads_new(&t->h, s, t->f->hidden, t->x->n_positions, msg);
	if (!err)
		err = start_values(t, msg);
	if (err)
		return err;
	size_t n_w = t->h->n_weights;
	t->u = malloc((size_t)t->x->n_slates * 2 * t->h->d * sizeof(float) + 1);
	t->ws = calloc((size_t)t->n_threads, sizeof(*t->ws));
	t->grad = malloc(t->n_chunks * n_w * sizeof(float));
	t->loss = malloc(t->n_chunks * sizeof(*t->loss));
	t->m = calloc(n_w, sizeof(float));
	t->v = calloc(n_w, sizeof(float));
	t->best = malloc(n_w * sizeof(float));
	if (!t->u || !t->ws || !t->grad || !t->loss || !t->m || !t->v || !t->best)
		return wr_fail(msg, WR_ENOMEM, "out of memory for heads");
	for (int i = 0; i < t->n_threads && !err; i++)
		err = wr_learn_heads_ws_new(&t->ws[i], t->h, msg);
	return err ? err
		   : wr_learn_heads_users_of_slates(t->h, s, t->ds, t->x, t->f->threads, t->u, msg);
}

static void training_free(struct training *t)
{
	for (int i = 0; t->ws && i < t->n_threads; i++)
		wr_learn_heads_ws_free(&t->ws[i]);
	for (int p = 0; p < N_PARTS; p++)
		free(t->order[p]);
	free(t->ws);
	free(t->u);
	free(t->slate_of);
	free(t->grad);
	free(t->loss);
	free(t->m);
	free(t->v);
	free(t->best);
}

int wr_heads_train(struct wr_heads **h, const struct wr_heads_fit *f, const struct wr_student *s,
	const struct wr_dataset *ds, const struct wr_impressions *x, struct wr_heads_report *r,
	struct wr_errmsg *msg)
{
	struct training t = {.f = f, .ds = ds, .x = x};
	uint64_t start = wr_clock_ns();
	*h = NULL;
	*r = (struct wr_heads_report){0};
	if (f->hidden < 1 || f->hidden > 4096 || f->epochs < 1 || f->batch < 1 ||
		f->batch > 1 << 20 || !(f->lr > 0) || f->lr > 1 || !(f->decay >= 0))
		return wr_fail(msg, WR_EINVAL,
			"heads: give 1 … 4096 hidden, at least an epoch, batches of 1 … 2^20, a "
			"rate of 0 … 1");
	int err = prepare(&t, s, msg);
	if (!err)
		err = train(&t, r, msg);
	if (!err)
		err = report(&t, r, msg);
	r->seconds = (double)(wr_clock_ns() - start) / 1e9;
	training_free(&t);
	if (err)
		wr_heads_free(t.h);
	else
		*h = t.h;
	return err;
}

int wr_heads_predict(const struct wr_heads *h, const struct wr_student *s,
	const struct wr_dataset *ds, const struct wr_impressions *x, uint32_t threads, float *click,
	float *convert, struct wr_errmsg *msg)
{
	int n_threads = threads ? (int)threads : omp_get_max_threads();
	float *u = malloc((size_t)x->n_slates * 2 * h->d * sizeof(*u) + 1);
	size_t most = 1;
	for (uint32_t i = 0; i < x->n_slates; i++)
		most = WR_MAX(most, (size_t)x->slate[i].n);
	size_t per_thread = wr_heads_scratch(h, (uint32_t)most);
	float *scratch = malloc((size_t)n_threads * per_thread * sizeof(*scratch));
	int err = u && scratch ? wr_learn_heads_users_of_slates(h, s, ds, x, threads, u, msg)
			       : wr_fail(msg, WR_ENOMEM, "out of memory for predictions");
	if (!err) {
#pragma omp parallel for num_threads(n_threads) schedule(dynamic, 64)
		for (uint32_t i = 0; i < x->n_slates; i++) {
			const struct wr_slate *g = &x->slate[i];
			wr_heads_score(h, u + (size_t)i * 2 * h->d, x->row + g->first, g->n,
				scratch + (size_t)omp_get_thread_num() * per_thread,
				click + g->first, convert + g->first);
			for (uint64_t k = g->first; k < g->first + g->n; k++)
				click[k] *= (float)wr_heads_looked(h, x->position[k]);
		}
	}
	free(u);
	free(scratch);
	return err;
}
