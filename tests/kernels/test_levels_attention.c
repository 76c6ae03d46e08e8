/* SPDX-License-Identifier: BSD-3-Clause */
/* Attention of test_levels: panels, rings, rows of a table. */
#include "level_test.h"

#include <math.h>

/* One panel's arrays, each behind its own guard. */
struct panel {
	struct wr_guarded part[4];
	struct wr_kv_panel kv;
};

/* Slots hold what must not matter: -128 and NaN. */
static struct panel panel_new(size_t slots, size_t head_dim)
{
	struct panel p;
	for (int i = 0; i < 4; i++)
		p.part[i] = wr_guarded_new(slots * (i < 2 ? head_dim : sizeof(float)));
	p.kv = (struct wr_kv_panel){p.part[0].p, p.part[1].p, p.part[2].p, p.part[3].p, slots};
	memset(p.kv.k, 0x80, slots * head_dim);
	memset(p.kv.v, 0x80, slots * head_dim);
	memset(p.kv.k_scale, 0xff, slots * sizeof(float));
	memset(p.kv.v_scale, 0xff, slots * sizeof(float));
	return p;
}

static void panel_free(struct panel *p)
{
	for (int i = 0; i < 4; i++)
		wr_guarded_free(&p->part[i]);
}

static bool panel_same(const struct panel *a, const struct panel *b)
{
	bool ok = true;
	for (int i = 0; i < 4; i++)
		ok = ok && same(&a->part[i], &b->part[i]);
	return ok;
}

/* Of m tokens of random keys and values for slots first … of a ring, tokens from … end-1, in
 * pieces, by the kernel of k. */
static void ring_store(const struct wr_kernels *k, const struct panel *p, size_t head_dim,
	size_t first, size_t m, size_t from, size_t end, unsigned int fill, uint64_t seed)
{
	struct wr_rng piece;
	wr_rng_init(&piece, seed, 1);
	struct wr_guarded row = bytes(m * 2 * head_dim, fill), scale = floats(2 * m, 0);
	wr_rng_init(&rng, seed, 2);
	wr_fill_bytes(row.p, row.bytes, fill, &rng);
	wr_fill_floats(scale.p, 2 * m, 0, &rng);
	float *s = scale.p;
	for (size_t i = 0; i < 2 * m; i++)
		s[i] = wr_rng_below(&piece, 20) ? fabsf(s[i]) * 0.02f : 0;
	for (size_t i = from; i < end;) {
		size_t n = 1 + wr_rng_below(&piece, 20);
		size_t slot = (first + i) % p->kv.slots;
		n = WR_MIN(WR_MIN(end - i, n), p->kv.slots - slot);
		const int8_t *at = (int8_t *)row.p + i * 2 * head_dim;
		k->kv_store(&p->kv, head_dim, slot, n, at, at + head_dim, 2 * head_dim, s + 2 * i,
			s + 2 * i + 1, 2);
		i += n;
	}
	wr_guarded_free(&row);
	wr_guarded_free(&scale);
}

static void panel_store(const struct wr_kernels *k, const struct panel *p, size_t head_dim,
	size_t first, size_t m, unsigned int fill, uint64_t seed)
{
	ring_store(k, p, head_dim, first, m, 0, m, fill, seed);
}

void test_kv_store(void)
{
	for (unsigned int i = 0; i < 400; i++) {
		size_t head_dim = 16 * pick(1, 8), first = pick(0, 40), m = pick(1, 60);
		size_t slots = WR_ALIGN_UP(first + m, (size_t)(i % 2 ? 4 : 16));
		struct panel a = panel_new(slots, head_dim), b = panel_new(slots, head_dim);
		panel_store(ref, &a, head_dim, first, m, i % N_BYTE_FILLS, i);
		panel_store(level, &b, head_dim, first, m, i % N_BYTE_FILLS, i);
		CU_ASSERT(panel_same(&a, &b));
		panel_free(&a);
		panel_free(&b);
	}
}

void test_kv_gather(void)
{
	enum { ITEMS = 40 };
	for (unsigned int i = 0; i < 300; i++) {
		struct wr_kv_table t = {.head_dim = i % 3 ? 16 * (unsigned int)pick(1, 8) : 32,
			.n_heads = i % 3 ? (unsigned int)pick(1, 9) : 2};
		size_t slots = 16 * pick(1, 8), n_scales = wr_kv_table_scales(t.n_heads),
		       n = 8 * pick(0, (unsigned int)slots / 8);
		struct wr_guarded kv = bytes((size_t)ITEMS * 2 * t.n_heads * t.head_dim,
					  i % N_BYTE_FILLS),
				  scale = floats(ITEMS * n_scales, 0), panels[2];
		struct wr_guarded rows = wr_guarded_new(n * sizeof(uint32_t));
		for (size_t j = 0; j < n; j++)
			((uint32_t *)rows.p)[j] = j ? wr_rng_below(&rng, ITEMS) : ITEMS - 1;
		t.kv = kv.p;
		t.scale = scale.p;
		for (int l = 0; l < 2; l++) {
			panels[l] =
				wr_guarded_new(t.n_heads * wr_kv_panel_bytes(slots, t.head_dim));
			memset(panels[l].p, 0x80, panels[l].bytes);
			(l ? level : ref)->kv_gather(panels[l].p, slots, &t, rows.p, n);
		}
		CU_ASSERT(same(&panels[0], &panels[1]));
		struct wr_guarded *all[] = {&kv, &scale, &rows, &panels[0], &panels[1]};
		for (size_t j = 0; j < WR_ARRAY_LEN(all); j++)
			wr_guarded_free(all[j]);
	}
}

/* attend_rows against the reference's panels and attention. */
static void attend_rows_case(unsigned int fill)
{
	enum { ITEMS = 40, JOBS = 19, DH = 32, HEADS = 2, LD = WR_ATTEND_MAX_WINDOW + 40 };
	struct wr_kv_table t = {.head_dim = DH, .n_heads = HEADS};
	struct wr_guarded kv = bytes((size_t)ITEMS * 2 * HEADS * DH, fill % N_BYTE_FILLS),
			  q = bytes((size_t)JOBS * HEADS * DH, fill % N_BYTE_FILLS),
			  scale = floats((size_t)ITEMS * 2 * HEADS, 0),
			  q_scale = floats((size_t)JOBS * HEADS, 0), bias = floats(HEADS * LD, 0),
			  rows[JOBS], o[2];
	struct wr_attend_rows job[JOBS];
	struct wr_guarded *all[] = {&kv, &q, &scale, &q_scale};
	for (size_t i = 2; i < 4; i++)
		for (size_t j = 0; j < all[i]->bytes / sizeof(float); j++) {
			float *f = (float *)all[i]->p + j;
			*f = wr_rng_below(&rng, 20) ? fabsf(*f) * 0.02f : 0;
		}
	t.kv = kv.p;
	t.scale = scale.p;
	o[0] = wr_guarded_new(JOBS * HEADS * DH * sizeof(float));
	o[1] = wr_guarded_new(JOBS * HEADS * DH * sizeof(float));
	for (size_t i = 0; i < JOBS; i++) {
		unsigned int n = i < 2 ? (i ? WR_ATTEND_MAX_WINDOW : 1) : pick(1, 70);
		rows[i] = wr_guarded_new((15 + n) * sizeof(uint32_t));
		uint32_t *row = rows[i].p;
		for (unsigned int j = 0; j < 15 + n; j++)
			row[j] = j == 15 ? ITEMS - 1 : wr_rng_below(&rng, ITEMS);
		const int8_t *query = (int8_t *)q.p + i * HEADS * DH;
		const float *s = (float *)q_scale.p + i * HEADS;
		const float *newest = (float *)bias.p + WR_ATTEND_MAX_WINDOW + 15;
		float *out = (float *)o[1].p + i * HEADS * DH;
		job[i] = (struct wr_attend_rows){&t, row + 15, n, query, s, newest, LD, out, 0.17f};
		_Alignas(64) uint8_t panels[HEADS * (272 * (2 * DH + 8) + 64)];
		uint32_t whole[272] = {0};
		memcpy(whole, row + 15, n * sizeof(*whole));
		ref->kv_gather(panels, 272, &t, whole, 272);
		for (size_t h = 0; h < HEADS; h++) {
			struct wr_attend a = {
				.kv = wr_kv_panel_at(
					panels + h * wr_kv_panel_bytes(272, DH), 272, DH),
				.q = query + h * DH,
				.q_scale = s + h,
				.bias = newest + h * LD,
				.o = (float *)o[0].p + (i * HEADS + h) * DH,
				.n_queries = 1,
				.first = n - 1,
				.window = WR_ATTEND_MAX_WINDOW,
				.head_dim = DH,
				.inv_sqrt = 0.17f};
			ref->attend(&a, 1);
		}
	}
	level->attend_rows(job, JOBS);
	CU_ASSERT(same(&o[0], &o[1]));
	for (size_t i = 0; i < JOBS; i++)
		wr_guarded_free(&rows[i]);
	struct wr_guarded *rest[] = {&kv, &q, &scale, &q_scale, &bias, &o[0], &o[1]};
	for (size_t i = 0; i < WR_ARRAY_LEN(rest); i++)
		wr_guarded_free(rest[i]);
}

void test_attend_rows(void)
{
	for (unsigned int i = 0; i < 40 && level->attend_rows; i++)
		attend_rows_case(i);
}

/* The queries of a, cut into jobs at random places. */
static void attend_in_jobs(wr_attend_fn *attend, const struct wr_attend *a)
{
	struct wr_attend job[80];
	size_t n_jobs = 0;
	for (unsigned int i = 0; i < a->n_queries; n_jobs++) {
		unsigned int n = pick(1, 3) == 1 ? a->n_queries : pick(1, 3);
		struct wr_attend *to = &job[n_jobs];
		*to = *a;
		to->first += i;
		to->q += i * a->ldq;
		to->q_scale += i * a->ld_scale;
		to->o += i * a->ldo;
		to->n_queries = WR_MIN(n, a->n_queries - i);
		i += to->n_queries;
	}
	attend(job, n_jobs);
}

/* Queries over a ring that takes at_once tokens before the first of them attends: a's kv is empty,
 * its slots are those of the panel from low on. */
static void decode_in_rounds(const struct wr_kernels *k, struct wr_attend a, const struct panel *p,
	unsigned int low, unsigned int at_once, unsigned int fill, uint64_t seed)
{
	unsigned int n = a.n_queries, first = a.first, ring = (unsigned int)p->kv.slots;
	for (unsigned int i = 0, stored = 0; i < n; i += a.n_queries) {
		a.n_queries = WR_MIN(at_once, n - i);
		unsigned int end = first - low + i + a.n_queries;
		ring_store(ref, p, a.head_dim, low, first + n - low, stored, end, fill, seed);
		stored = end;
		a.first = first + i;
		while (a.first + a.n_queries > 2 * ring)
			a.first -= ring;
		attend_in_jobs(k->decode, &a);
		a.q += a.n_queries * a.ldq;
		a.q_scale += a.n_queries * a.ld_scale;
		a.o += a.n_queries * a.ldo;
	}
}

/* The reference over a panel, the level over the panel and both over a ring with the same rows. */
static bool attend_case(unsigned int window, unsigned int first, unsigned int n,
	unsigned int head_dim, unsigned int fill, float sharp, uint64_t seed)
{
	unsigned int low = first + 1 > window ? first + 1 - window : 0, at_once = pick(1, n);
	unsigned int ring = WR_ALIGN_UP(window + at_once - 1 + pick(0, 4), 4u);
	while (ring > WR_DECODE_MAX_SLOTS)
		ring = WR_ALIGN_UP(window + --at_once - 1, 4u);
	struct panel p = panel_new(WR_ALIGN_UP((size_t)first + n, (size_t)16), head_dim);
	panel_store(ref, &p, head_dim, low, first + n - low, fill, seed);
	wr_rng_init(&rng, seed, 3);
	size_t ldq = head_dim + pick(0, 3), lds = pick(1, 3), ldo = head_dim + pick(0, 3);
	struct wr_guarded q = bytes((n - 1) * ldq + head_dim, fill == 1 ? 1 : pick(0, 5));
	struct wr_guarded scale = floats((n - 1) * lds + 1, 5), o[4];
	struct wr_guarded bias = floats(window + 2 * WR_ATTEND_BIAS_PAD, 0);
	for (size_t i = 0; i < (n - 1) * lds + 1; i++)
		((float *)scale.p)[i] *= -sharp;
	struct wr_attend a = {.q = q.p,
		.ldq = ldq,
		.q_scale = scale.p,
		.ld_scale = lds,
		.bias = (float *)bias.p + WR_ATTEND_BIAS_PAD + window - 1,
		.ldo = ldo,
		.first = first,
		.n_queries = n,
		.window = window,
		.head_dim = head_dim,
		.inv_sqrt = 1.0f / sqrtf((float)head_dim)};
	for (unsigned int i = 0; i < 4; i++) {
		const struct wr_kernels *k = i % 2 ? level : ref;
		o[i] = wr_guarded_new(((n - 1) * ldo + head_dim) * sizeof(float));
		a.o = o[i].p;
		a.kv = p.kv;
		if (i < 2) {
			attend_in_jobs(k->attend, &a);
			continue;
		}
		struct panel around = panel_new(ring, head_dim);
		a.kv = around.kv;
		decode_in_rounds(k, a, &around, low, at_once, fill, seed);
		panel_free(&around);
	}
	bool ok = same(&o[0], &o[1]) && same(&o[0], &o[2]) && same(&o[0], &o[3]);
	struct wr_guarded *all[] = {&q, &scale, &bias, &o[0], &o[1], &o[2], &o[3]};
	for (size_t i = 0; i < WR_ARRAY_LEN(all); i++)
		wr_guarded_free(all[i]);
	panel_free(&p);
	return ok;
}

/* A panel whose sequence begins at a slot behind its first: the same as one that begins there. */
void test_origin(void)
{
	enum { DH = 32, W = 20, N = 40, SLOTS = 64 };
	static float bias[W + 2 * WR_ATTEND_BIAS_PAD];
	for (unsigned int origin = 0; origin < 16; origin++) {
		struct panel p[2] = {panel_new(SLOTS, DH), panel_new(SLOTS, DH)};
		struct wr_guarded q = bytes(N * DH, 0), scale = floats(N, 5), o[2];
		for (size_t i = 0; i < N; i++)
			((float *)scale.p)[i] *= -0.05f;
		wr_fill_floats(bias, WR_ARRAY_LEN(bias), 0, &rng);
		for (unsigned int i = 0; i < 2; i++) {
			panel_store(ref, &p[i], DH, i * origin, N, 0, 77);
			o[i] = wr_guarded_new(N * DH * sizeof(float));
			struct wr_attend a = {.kv = p[i].kv,
				.q = q.p,
				.ldq = DH,
				.q_scale = scale.p,
				.ld_scale = 1,
				.bias = bias + WR_ATTEND_BIAS_PAD + W - 1,
				.o = o[i].p,
				.ldo = DH,
				.n_queries = N,
				.first = i * origin,
				.origin = i * origin,
				.window = W,
				.head_dim = DH,
				.inv_sqrt = 0.2f};
			(i ? level : ref)->attend(&a, 1);
		}
		CU_ASSERT(same(&o[0], &o[1]));
		struct wr_guarded *all[] = {&q, &scale, &o[0], &o[1]};
		for (size_t i = 0; i < WR_ARRAY_LEN(all); i++)
			wr_guarded_free(all[i]);
		panel_free(&p[0]);
		panel_free(&p[1]);
	}
}

void test_attend(void)
{
	for (unsigned int window = 1; window <= 70; window++)
		CU_ASSERT(attend_case(window, window % 7, 80, 32, 0, 0.05f, window));
	for (unsigned int i = 0; i < 600; i++) {
		wr_rng_init(&rng, i, 9);
		unsigned int window = pick(0, 3) ? pick(1, 64) : pick(200, 256);
		unsigned int first = pick(0, 300), n = pick(1, 30), head_dim = 16 * pick(1, 8);
		/* Blunt to so sharp that most terms meet the floor of the exponential. */
		float sharp = powf(10.0f, (float)pick(0, 4) - 3.0f);
		CU_ASSERT(attend_case(window, first, n, head_dim, i % N_BYTE_FILLS, sharp, i));
	}
}
