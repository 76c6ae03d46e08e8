/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every kernel of one level against the reference, bit for bit: all shapes and tails, adversarial
 * fills, unaligned pointers, guard pages behind every buffer and canaries before it.
 */
#include "fills.h"
#include "wr_guarded.h"
#include "wr_test.h"

#include "levels.h"

#include <math.h>

static const struct wr_kernels *level, *ref;
static struct wr_rng rng;

static unsigned int pick(unsigned int low, unsigned int high)
{
	return low + wr_rng_below(&rng, high - low + 1);
}

/* Both outputs of equal size must agree in every byte, gaps between rows included. */
static bool same(const struct wr_guarded *a, const struct wr_guarded *b)
{
	return memcmp(a->p, b->p, a->bytes) == 0 && wr_guarded_intact(a) && wr_guarded_intact(b);
}

static struct wr_guarded floats(size_t n, unsigned int fill)
{
	struct wr_guarded g = wr_guarded_new(n * sizeof(float));
	wr_fill_floats(g.p, n, fill, &rng);
	return g;
}

static struct wr_guarded bytes(size_t n, unsigned int fill)
{
	struct wr_guarded g = wr_guarded_new(n);
	wr_fill_bytes(g.p, n, fill, &rng);
	return g;
}

/* ---- products ---- */

struct weights {
	struct wr_guarded packed, start, scale;
	struct wr_gemm_weights w;
};

static struct weights weights_new(size_t n, size_t k, unsigned int fill)
{
	struct wr_guarded rows = bytes(n * k, fill);
	struct weights w = {.packed = wr_guarded_new(n * k),
		.start = wr_guarded_new(n * sizeof(int32_t)),
		.scale = floats(n, 0)};
	wr_gemm_s8_pack(rows.p, n, n, k, w.packed.p, w.start.p);
	w.w = (struct wr_gemm_weights){.packed = w.packed.p,
		.start = w.start.p,
		.scale = w.scale.p,
		.n = (uint32_t)n,
		.k = (uint32_t)k};
	wr_guarded_free(&rows);
	return w;
}

static void weights_free(struct weights *w)
{
	wr_guarded_free(&w->packed);
	wr_guarded_free(&w->start);
	wr_guarded_free(&w->scale);
}

static bool gemm_case(
	size_t m, size_t n, size_t k, unsigned int a_fill, unsigned int w_fill, bool add)
{
	size_t lda = k + pick(0, 5), ldy = n + pick(0, 5);
	struct weights w = weights_new(n, k, w_fill);
	struct wr_guarded a = bytes(m ? (m - 1) * lda + k : 0, a_fill), s = floats(m, 0);
	struct wr_guarded y[2];
	y[0] = floats(m ? (m - 1) * ldy + n : 0, 0);
	y[1] = wr_guarded_new(y[0].bytes);
	memcpy(y[1].p, y[0].p, y[0].bytes);
	ref->gemm_s8(&w.w, m, a.p, lda, s.p, y[0].p, ldy, add);
	level->gemm_s8(&w.w, m, a.p, lda, s.p, y[1].p, ldy, add);
	bool ok = same(&y[0], &y[1]);
	weights_free(&w);
	wr_guarded_free(&a);
	wr_guarded_free(&s);
	wr_guarded_free(&y[0]);
	wr_guarded_free(&y[1]);
	return ok;
}

static void test_gemm(void)
{
	for (size_t m = 0; m <= 35; m++)
		for (size_t n = 16; n <= 208; n += 16)
			for (size_t k = 16; k <= 64; k += 16)
				CU_ASSERT(gemm_case(m, n, k, 0, 0, (m + n / 16) % 2));
	for (unsigned int a = 0; a < N_BYTE_FILLS; a++)
		for (unsigned int w = 0; w < N_BYTE_FILLS; w++)
			for (size_t k = 16; k <= WR_GEMM_MAX_K; k *= 4)
				CU_ASSERT(gemm_case(pick(1, 20), 16 * pick(1, 9), k, a, w, a % 2));
}

static void test_dequantise(void)
{
	for (unsigned int i = 0; i < 300; i++) {
		size_t m = pick(1, 9), n = 16 * pick(1, 9), lda = n + pick(0, 3),
		       ldy = n + pick(0, 3);
		struct wr_guarded acc = wr_guarded_new(((m - 1) * lda + n) * sizeof(int32_t));
		for (size_t j = 0; j < (m - 1) * lda + n; j++)
			((int32_t *)acc.p)[j] = (int32_t)wr_rng_below(&rng, 1u << 25) - (1 << 24);
		struct wr_guarded scale = floats(n, 0), s = floats(m, 0), y[2];
		y[0] = floats((m - 1) * ldy + n, 0);
		y[1] = wr_guarded_new(y[0].bytes);
		memcpy(y[1].p, y[0].p, y[0].bytes);
		ref->dequantise(m, n, acc.p, lda, scale.p, s.p, y[0].p, ldy, i % 2);
		level->dequantise(m, n, acc.p, lda, scale.p, s.p, y[1].p, ldy, i % 2);
		CU_ASSERT(same(&y[0], &y[1]));
		struct wr_guarded *all[] = {&acc, &scale, &s, &y[0], &y[1]};
		for (size_t j = 0; j < WR_ARRAY_LEN(all); j++)
			wr_guarded_free(all[j]);
	}
}

static void test_dot(void)
{
	for (size_t k = 16; k <= 1024; k += 16) {
		for (unsigned int f = 0; f < N_BYTE_FILLS * N_BYTE_FILLS; f++) {
			struct wr_guarded a = bytes(k, f % N_BYTE_FILLS),
					  b = bytes(k + 1, f / N_BYTE_FILLS);
			const int8_t *odd = (int8_t *)b.p + 1;
			CU_ASSERT_EQUAL(level->dot_s8(a.p, odd, k), ref->dot_s8(a.p, odd, k));
			wr_guarded_free(&a);
			wr_guarded_free(&b);
		}
	}
}

/* ---- quantisers ---- */

struct rows {
	size_t m, n, ldx, ldq, lds;
	struct wr_guarded x, q[2], s[2];
};

static struct rows rows_new(size_t m, size_t n, size_t lds, unsigned int fill)
{
	struct rows r = {.m = m, .n = n, .ldx = n + pick(0, 4), .ldq = n + pick(0, 4), .lds = lds};
	r.x = floats((m - 1) * r.ldx + n, fill);
	for (int i = 0; i < 2; i++) {
		r.q[i] = wr_guarded_new((m - 1) * r.ldq + n);
		r.s[i] = wr_guarded_new(((m - 1) * lds + 1) * sizeof(float));
	}
	return r;
}

static bool rows_same_and_free(struct rows *r)
{
	bool ok = same(&r->q[0], &r->q[1]) && same(&r->s[0], &r->s[1]) && wr_guarded_intact(&r->x);
	wr_guarded_free(&r->x);
	for (int i = 0; i < 2; i++) {
		wr_guarded_free(&r->q[i]);
		wr_guarded_free(&r->s[i]);
	}
	return ok;
}

static void test_quantise(void)
{
	for (unsigned int fill = 0; fill < N_FLOAT_FILLS; fill++) {
		for (size_t n = 16; n <= 1024; n += n < 256 ? 16 : 256) {
			for (int relu = 0; relu < 2; relu++) {
				struct rows r = rows_new(pick(1, 5), n, pick(1, 3), fill);
				for (int i = 0; i < 2; i++) {
					const struct wr_kernels *k = i ? level : ref;
					(relu ? k->relu_quantise : k->quantise)(r.m, n, r.x.p,
						r.ldx, r.q[i].p, r.ldq, r.s[i].p, r.lds);
				}
				CU_ASSERT(rows_same_and_free(&r));
			}
		}
	}
}

static void test_quantise_low(void)
{
	for (unsigned int fill = 0; fill < N_FLOAT_FILLS; fill++) {
		for (size_t n = 16; n <= 1024; n += n < 256 ? 16 : 256) {
			for (int relu = 0; relu < 2; relu++) {
				struct rows r = rows_new(pick(1, 5), n, 1, fill);
				struct wr_guarded q = wr_guarded_new((r.m - 1) * n + n);
				struct wr_guarded scale = wr_guarded_new(r.m * sizeof(float));
				(relu ? ref->relu_quantise : ref->quantise)(
					r.m, n, r.x.p, r.ldx, q.p, n, scale.p, 1);
				for (int i = 0; i < 2; i++)
					(i ? level : ref)
						->quantise_low(r.m, n, r.x.p, r.ldx, relu, q.p, n,
							scale.p, r.q[i].p, r.ldq, r.s[i].p);
				CU_ASSERT(rows_same_and_free(&r));
				wr_guarded_free(&q);
				wr_guarded_free(&scale);
			}
		}
	}
}

static void test_norm_quantise(void)
{
	for (unsigned int fill = 0; fill < N_FLOAT_FILLS; fill++) {
		for (size_t n = 16; n <= 256; n += 16) {
			struct rows r = rows_new(pick(1, 5), n, 1, fill);
			for (int i = 0; i < 2; i++)
				(i ? level : ref)
					->norm_quantise(r.m, n, 1e-6f, r.x.p, r.ldx, r.q[i].p,
						r.ldq, r.s[i].p);
			CU_ASSERT(rows_same_and_free(&r));
		}
	}
}

static void test_user_quantise(void)
{
	for (unsigned int fill = 0; fill < N_FLOAT_FILLS; fill++) {
		for (size_t n = 16; n <= 256; n += 16) {
			struct rows r = rows_new(pick(1, 5), n, 1, fill);
			struct wr_guarded gain = floats(n, 0);
			for (int i = 0; i < 2; i++)
				(i ? level : ref)
					->user_quantise(r.m, n, gain.p, 20, r.x.p, r.ldx, r.q[i].p,
						r.ldq, r.s[i].p);
			CU_ASSERT(rows_same_and_free(&r));
			wr_guarded_free(&gain);
		}
	}
}

static void test_embed(void)
{
	enum { ITEMS = 50 };
	for (size_t n = 16; n <= 256; n += 16) {
		size_t m = pick(1, 7), ldx = n + pick(0, 4);
		struct wr_guarded items = bytes(ITEMS * n, 0), in = floats(ITEMS, 0);
		struct wr_guarded rows = wr_guarded_new(m * sizeof(uint32_t)), x[2];
		for (size_t i = 0; i < m; i++)
			((uint32_t *)rows.p)[i] = i ? wr_rng_below(&rng, ITEMS) : ITEMS - 1;
		for (int i = 0; i < 2; i++) {
			x[i] = wr_guarded_new(((m - 1) * ldx + n) * sizeof(float));
			(i ? level : ref)->embed(m, n, items.p, in.p, rows.p, x[i].p, ldx);
		}
		CU_ASSERT(same(&x[0], &x[1]));
		struct wr_guarded *all[] = {&items, &in, &rows, &x[0], &x[1]};
		for (size_t i = 0; i < WR_ARRAY_LEN(all); i++)
			wr_guarded_free(all[i]);
	}
}

/* ---- attention ---- */

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

static void test_kv_store(void)
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

static void test_kv_gather(void)
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

static void test_attend_rows(void)
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
static void test_origin(void)
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

static void test_attend(void)
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

/* ---- thresholds ---- */

/* Every number up to 300, then some beyond what a kernel takes at once. */
static void test_topk_above(void)
{
	for (unsigned int n = 0; n <= 4400; n += n < 300 ? 1 : 341) {
		for (unsigned int fill = 0; fill < N_FLOAT_FILLS; fill++) {
			struct wr_guarded s = floats(n, fill), index[2];
			float *v = s.p, t = n ? v[n / 2] : 0;
			if (n > 3 && fill == 0)
				v[3] = NAN;
			if (fill == 1)
				t = n % 2 ? -INFINITY : INFINITY;
			size_t found[2];
			for (int i = 0; i < 2; i++) {
				index[i] = wr_guarded_new((n + 16) * sizeof(uint16_t));
				found[i] = (i ? level : ref)->topk_above(v, n, t, index[i].p);
			}
			CU_ASSERT_EQUAL(found[0], found[1]);
			CU_ASSERT(memcmp(index[0].p, index[1].p, found[0] * sizeof(uint16_t)) == 0);
			CU_ASSERT(wr_guarded_intact(&index[0]) && wr_guarded_intact(&index[1]));
			wr_guarded_free(&s);
			wr_guarded_free(&index[0]);
			wr_guarded_free(&index[1]);
		}
	}
}

static int by_row(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* Groups of bitmaps with few and with many bits; the last vector's tiles are not all there. */
static void test_topk_items(void)
{
	for (unsigned int i = 0; i < 3000; i++) {
		struct wr_topk_groups g = {
			.words = pick(1, 70), .tiles_per_vector = i % 2 ? 1 : pick(1, 5)};
		size_t vectors = (g.words + g.tiles_per_vector - 1) / g.tiles_per_vector, n = 0;
		struct wr_guarded allowed = wr_guarded_new(g.words * sizeof(uint64_t)), row[2];
		struct wr_guarded group = wr_guarded_new(vectors * 16 * sizeof(uint16_t));
		uint64_t *bits = allowed.p;
		for (size_t w = 0; w < g.words; w++) {
			bits[w] = (uint64_t)wr_rng_below(&rng, UINT32_MAX) << 32 |
				  wr_rng_below(&rng, UINT32_MAX);
			if (i % 3 == 0)
				bits[w] |= bits[w] << 7 | bits[w] >> 3;
		}
		g.allowed = bits;
		for (uint16_t at = (uint16_t)pick(0, 20); at < vectors * 16;
			at = (uint16_t)(at + pick(1, i % 5 ? 40 : 1)))
			((uint16_t *)group.p)[n++] = at;
		for (size_t t = 0; t < g.tiles_per_vector; t++) {
			size_t found[2];
			for (int l = 0; l < 2; l++) {
				row[l] = wr_guarded_new(4 * n * sizeof(uint32_t));
				found[l] =
					(l ? level : ref)->topk_items(&g, t, group.p, n, row[l].p);
				qsort(row[l].p, found[l], sizeof(uint32_t), by_row);
			}
			CU_ASSERT_EQUAL(found[0], found[1]);
			CU_ASSERT(memcmp(row[0].p, row[1].p, found[0] * sizeof(uint32_t)) == 0);
			CU_ASSERT(wr_guarded_intact(&row[0]) && wr_guarded_intact(&row[1]));
			wr_guarded_free(&row[0]);
			wr_guarded_free(&row[1]);
		}
		wr_guarded_free(&allowed);
		wr_guarded_free(&group);
	}
}

/* Few distinct scores, so that rows decide often; zeros of both signs; what lies behind the
 * candidates would come first. */
static void test_topk_order(void)
{
	for (unsigned int i = 0; i < 3000; i++) {
		size_t n = pick(0, WR_TOPK_ORDER_MAX), room = WR_ALIGN_UP(n, (size_t)16);
		struct wr_guarded score = wr_guarded_new(room * sizeof(float)), place[2];
		struct wr_guarded row = wr_guarded_new(room * sizeof(uint32_t));
		float *s = score.p;
		uint32_t *r = row.p, at = pick(0, 9);
		for (size_t j = 0; j < room; j++) {
			s[j] = (float)wr_rng_below(&rng, i % 3 ? 5 : 1000) - 2;
			s[j] = s[j] == 0 && pick(0, 1) ? -0.0f : s[j];
			r[j] = at += pick(1, 100);
			if (j >= n) {
				s[j] = INFINITY;
				r[j] = 0;
			}
		}
		for (size_t j = n; j-- > 1;) {
			size_t k = wr_rng_below(&rng, (uint32_t)j + 1);
			uint32_t t = r[j];
			r[j] = r[k];
			r[k] = t;
		}
		for (int l = 0; l < 2; l++) {
			place[l] = wr_guarded_new(n);
			(l ? level : ref)->topk_order(s, r, n, place[l].p);
		}
		CU_ASSERT(same(&place[0], &place[1]));
		struct wr_guarded *all[] = {&score, &row, &place[0], &place[1]};
		for (size_t j = 0; j < WR_ARRAY_LEN(all); j++)
			wr_guarded_free(all[j]);
	}
}

/* ---- scoring by groups ---- */

/* Bitmaps of m users, lda words apart: of n items, and none beyond. */
static struct wr_guarded bitmaps(size_t m, size_t lda, size_t n)
{
	size_t words = (n + 63) / 64;
	struct wr_guarded all = wr_guarded_new((m ? (m - 1) * lda + words : 0) * sizeof(uint64_t));
	for (size_t i = 0; i < all.bytes / sizeof(uint64_t); i++) {
		uint64_t bits = (uint64_t)wr_rng_below(&rng, UINT32_MAX) << 32 |
				wr_rng_below(&rng, UINT32_MAX);
		bits = i % 5 == 1 ? 0 : i % 5 == 2 ? UINT64_MAX : bits;
		bool last = i % lda == words - 1;
		((uint64_t *)all.p)[i] =
			last && n % 64 ? bits & (((uint64_t)1 << n % 64) - 1) : bits;
	}
	return all;
}

static bool score_best_case(size_t m, size_t n, size_t k, unsigned int fill, size_t per_vector)
{
	size_t tiles = (n + 63) / 64, vectors = (tiles + per_vector - 1) / per_vector;
	size_t ldq = k + pick(0, 5), ldb = vectors * WR_SCORE_LANES + pick(0, 5),
	       lda = tiles + pick(0, 2);
	struct weights w = weights_new(n, k, fill % N_BYTE_FILLS);
	struct wr_guarded q = bytes(m ? (m - 1) * ldq + k : 0, fill / N_BYTE_FILLS);
	struct wr_guarded allowed = bitmaps(m, lda, n);
	struct wr_guarded best[2];
	best[0] = floats(m ? (m - 1) * ldb + vectors * WR_SCORE_LANES : 0, 0);
	best[1] = wr_guarded_new(best[0].bytes);
	memcpy(best[1].p, best[0].p, best[0].bytes);
	struct wr_guarded users = wr_guarded_new(m * WR_SCORE_USER_BYTES(k));
	static uint8_t lines[256 * WR_CACHE_LINE];
	void *near = lines;
	bool ok = true;
	for (int i = 0; i < 2; i++) {
		const struct wr_kernels *x = i ? level : ref;
		/* A line a step. */
		struct wr_prefetch ahead = {
			.block = &near, .n = 1, .bytes = sizeof(lines), .pace = 1 << 16};
		struct wr_score s = {.items = &w.w,
			.m = m,
			.users = users.p,
			.allowed = allowed.p,
			.ld_allowed = lda,
			.tiles_per_vector = per_vector,
			.best = best[i].p,
			.ld_best = ldb};
		x->score_users(m, k, q.p, ldq, users.p);
		x->score_best(&s, &ahead);
		ok = ok && ahead.at == tiles * WR_SCORE_STEPS(m) * WR_CACHE_LINE;
		ok = ok && wr_guarded_intact(&users);
	}
	ok = ok && wr_guarded_intact(&best[0]) && wr_guarded_intact(&best[1]);
	const float *a = best[0].p, *b = best[1].p;
	for (size_t i = 0; i < best[0].bytes / sizeof(float); i++)
		ok = ok && a[i] == b[i]; /* a zero's sign is free */
	weights_free(&w);
	struct wr_guarded *all[] = {&q, &users, &allowed, &best[0], &best[1]};
	for (size_t i = 0; i < WR_ARRAY_LEN(all); i++)
		wr_guarded_free(all[i]);
	return ok;
}

static void test_score_best(void)
{
	for (size_t m = 0; m <= 35; m++)
		for (size_t n = 16; n <= 3 * WR_SCORE_TILE; n += 16)
			for (size_t k = 16; k <= 80; k += 16)
				CU_ASSERT(score_best_case(m, n, k, 0, 1 + (m + k / 16) % 3));
	for (unsigned int fill = 0; fill < N_BYTE_FILLS * N_BYTE_FILLS; fill++)
		for (size_t k = 16; k <= WR_GEMM_MAX_K; k *= 4)
			CU_ASSERT(score_best_case(
				pick(1, 20), 16 * pick(1, 16), k, fill, pick(1, 4)));
}

/* The bound is one of the values, at least k of them reach it, and not many more than k do. */
static void test_score_bound(void)
{
	double reached = 0, asked = 0;
	for (unsigned int i = 0; i < 2000; i++) {
		size_t n = pick(1, 64), k = pick(1, 64), at_least = 0, real = 0, is_one = 0;
		struct wr_guarded s = floats(n * WR_SCORE_LANES, i % N_FLOAT_FILLS);
		float *v = s.p;
		unsigned int none = pick(0, 3) ? 0 : pick(0, 100);
		for (size_t j = 0; j < n * WR_SCORE_LANES; j++)
			if (wr_rng_below(&rng, 100) < none)
				v[j] = -INFINITY;
		float bound = (i % 2 ? level : ref)->score_bound(v, n, k);
		for (size_t j = 0; j < n * WR_SCORE_LANES; j++) {
			at_least += v[j] >= bound;
			real += v[j] > -INFINITY;
			is_one += v[j] == bound;
		}
		CU_ASSERT(bound == -INFINITY || (at_least >= k && is_one));
		CU_ASSERT(
			bound > -INFINITY || real < n * WR_SCORE_LANES || n < k / 6 + 2 || k > 16);
		if (i % N_FLOAT_FILLS == 0 && n > 40 && !none) {
			reached += (double)at_least;
			asked += (double)k;
		}
		wr_guarded_free(&s);
	}
	CU_ASSERT(reached < 1.6 * asked);
}

/* Every k from 1 to 16 of permuted whole numbers, where the answer is known: the fold of two
 * vectors is exact. */
static void test_score_bound_exact(void)
{
	float v[32];
	for (unsigned int round = 0; round < 500; round++) {
		for (unsigned int i = 0; i < 32; i++)
			v[i] = (float)i;
		for (unsigned int i = 31; i > 0; i--) {
			unsigned int j = wr_rng_below(&rng, i + 1);
			float t = v[i];
			v[i] = v[j];
			v[j] = t;
		}
		for (size_t k = 1; k <= 16; k++)
			CU_ASSERT_EQUAL(level->score_bound(v, 2, k), (float)(32 - k));
	}
}

static void test_score_rows(void)
{
	enum { ITEMS = 40 };
	for (size_t k = 16; k <= 272; k += 16) {
		for (unsigned int f = 0; f < N_BYTE_FILLS * N_BYTE_FILLS; f++) {
			size_t n = pick(0, 19);
			struct wr_guarded q = bytes(k, f % N_BYTE_FILLS),
					  items = bytes(ITEMS * k, f / N_BYTE_FILLS),
					  scale = floats(ITEMS, f % N_FLOAT_FILLS);
			struct wr_guarded rows = wr_guarded_new(n * sizeof(uint32_t)), v[2];
			for (size_t i = 0; i < n; i++)
				((uint32_t *)rows.p)[i] = i ? wr_rng_below(&rng, ITEMS) : ITEMS - 1;
			for (int i = 0; i < 2; i++) {
				v[i] = wr_guarded_new(n * sizeof(float));
				(i ? level : ref)
					->score_rows(q.p, items.p, scale.p, k, rows.p, n, v[i].p);
			}
			CU_ASSERT(same(&v[0], &v[1]));
			struct wr_guarded *all[] = {&q, &items, &scale, &rows, &v[0], &v[1]};
			for (size_t i = 0; i < WR_ARRAY_LEN(all); i++)
				wr_guarded_free(all[i]);
		}
	}
}

int main(int argc, char **argv)
{
	static const struct wr_test tests[] = {{"product", test_gemm},
		{"dequantisation", test_dequantise}, {"dot product", test_dot},
		{"quantise and relu + quantise", test_quantise},
		{"second plane", test_quantise_low}, {"norm + quantise", test_norm_quantise},
		{"user vector", test_user_quantise}, {"input", test_embed},
		{"storing keys and values", test_kv_store},
		{"gathering keys and values", test_kv_gather}, {"attention", test_attend},
		{"attention over rows", test_attend_rows}, {"origin", test_origin},
		{"scores above a threshold", test_topk_above}, {"items of groups", test_topk_items},
		{"order of candidates", test_topk_order}, {"best of groups", test_score_best},
		{"bound", test_score_bound}, {"bound, exactly", test_score_bound_exact},
		{"items one by one", test_score_rows}};
	if (argc != 2) {
		fprintf(stderr, "usage: %s avx2|avx512vnni|amx|simde|emulated\n", argv[0]);
		return 2;
	}
	ref = wr_kernels_get(WR_KERNELS_REF);
	level = wr_level_kernels(argv[1]);
	if (!level) {
		printf("SKIP: this CPU lacks what level %s needs\n", argv[1]);
		return WR_TEST_SKIP;
	}
	wr_rng_init(&rng, 1, 0);
	return wr_test_run(argv[1], tests, WR_ARRAY_LEN(tests));
}
