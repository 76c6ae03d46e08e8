/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Time of the encoder's and the ranking's pieces on this CPU, by level and engine: medians of many
 * runs by the time stamp counter, converted to ns. A development aid; shares of the machine's
 * limits are tests/bench's business. `bench_kernels [BUNDLE [LEVEL]]`: with a level, that one's own
 * kernels alone.
 */
#include "wr_kernels.h"
#include "wr_rank.h"
#include "wr_test_bundle.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ITEMS = 3416, BURST = 32, CLICKS = 50, RUNS = 401, RINGS = 16384 };

static struct wr_bundle *bundle;
static uint32_t seq_off[BURST + 1], rows[BURST * CLICKS];

/* Zeroed memory in huge pages where the kernel gives them. */
static void *huge(size_t bytes)
{
	const size_t page = (size_t)2 << 20;
	void *p = NULL;
	bytes = WR_ALIGN_UP(bytes, page);
	if (posix_memalign(&p, page, bytes))
		abort();
	(void)madvise(p, bytes, MADV_HUGEPAGE);
	memset(p, 0, bytes);
	return p;
}

/* What the server takes from DPDK's heap comes from one such piece here. */
static uint8_t *heap;
static size_t heap_used;
enum { HEAP = 64 << 20 };

static void *heap_alloc(void *ctx, size_t bytes, size_t align)
{
	(void)ctx;
	heap_used = WR_ALIGN_UP(heap_used, align) + bytes;
	if (heap_used > HEAP)
		abort();
	return heap + heap_used - bytes;
}

static void heap_free(void *ctx, void *p)
{
	(void)ctx;
	(void)p;
}

static const struct wr_allocator in_heap = {.alloc = heap_alloc, .free = heap_free};

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* Median ns of a call of f(x). */
static double median_ns(void (*f)(void *x), void *x)
{
	static uint64_t t[RUNS];
	for (int i = 0; i < RUNS; i++) {
		uint64_t start = wr_clock_tsc();
		f(x);
		t[i] = wr_clock_tsc() - start;
	}
	qsort(t, RUNS, sizeof(*t), compare_u64);
	return (double)t[RUNS / 2] * 1e9 / (double)wr_clock_tsc_hz();
}

/* ---- products ---- */

struct product {
	const struct wr_kernels *k;
	struct wr_gemm_weights w;
	size_t m;
	int8_t *a;
	float *a_scale, *y;
};

static void run_product(void *x)
{
	struct product *p = x;
	p->k->gemm_s8(&p->w, p->m, p->a, p->w.k, p->a_scale, p->y, p->w.n, false);
}

static void bench_products(enum wr_kernels_level level)
{
	static const struct {
		size_t m, n, k;
	} shape[] = {{1, 192, 64}, {32, 192, 64}, {64, 192, 64}, {64, 64, 64}, {64, 128, 64},
		{64, 64, 128}, {32, 128, 64}};
	enum { MAX = 192 * 128 };
	static int8_t packed[MAX] __attribute__((aligned(64))), a[64 * 128], w[MAX];
	static int32_t start[192];
	static float scale[192], a_scale[64], y[64 * 192];
	for (size_t i = 0; i < WR_ARRAY_LEN(shape); i++) {
		size_t n = shape[i].n, k = shape[i].k, m = shape[i].m;
		wr_gemm_s8_pack(w, n, n, k, packed, start);
		struct product p = {wr_kernels_get(level),
			{packed, start, scale, (uint32_t)n, (uint32_t)k}, m, a, a_scale, y};
		double ns = median_ns(run_product, &p);
		printf("  product %3zu x %3zu -> %3zu: %8.1f ns, %6.1f G multiply-adds/s\n", m, k,
			n, ns, (double)(m * n * k) / ns);
	}
}

/* ---- encoder and ranking ---- */

struct job {
	struct wr_encoder *e;
	struct wr_ranker *r;
	unsigned int n;
	struct wr_user_vectors users;
	struct wr_rank_query query[BURST];
	struct wr_rank_item items[BURST * WR_RANK_MAX_K];
	uint8_t n_items[BURST];
};

static void run_encode(void *x)
{
	struct job *j = x;
	j->users = wr_encoder_encode(j->e, j->n, seq_off, rows);
}

/* One new click of the next n of n_rings sessions. */
struct warm_job {
	struct wr_encoder *e;
	uint8_t *rings;
	size_t bytes, n_rings, at;
	unsigned int n;
};

static void run_warm(void *x)
{
	struct warm_job *j = x;
	static const uint8_t out[BURST] = {0};
	static uint32_t off[BURST + 1];
	void *rings[BURST];
	for (unsigned int i = 0; i < j->n; i++) {
		off[i + 1] = i + 1;
		rings[i] = j->rings + (j->at + i) % j->n_rings * j->bytes;
	}
	struct wr_prefetch all = {.block = rings, .n = j->n, .bytes = (uint32_t)j->bytes};
	wr_prefetch_pace(&all, 1);
	wr_prefetch_step(&all);
	j->at += j->n;
	struct wr_encoder_batch b = {
		.n_seqs = j->n, .seq_off = off, .rows = rows, .rings = rings, .out = out};
	wr_encoder_warm(j->e, &b);
}

static void bench_bursts(struct warm_job *w, struct job *j);

/* New sessions of 50 clicks, a group at a time. */
static void run_cold(void *x)
{
	struct warm_job *j = x;
	void *rings[BURST];
	for (unsigned int i = 0; i < j->n; i++)
		rings[i] = j->rings + (j->at + i) * 40503 % j->n_rings * j->bytes;
	j->at += j->n;
	struct wr_encoder_batch b = {
		.n_seqs = j->n, .seq_off = seq_off, .rows = rows, .rings = rings};
	wr_encoder_cold(j->e, &b);
}

static void bench_warm(struct wr_encoder *e, struct job *user)
{
	struct warm_job j = {.e = e, .bytes = wr_ring_bytes(wr_bundle_model(bundle))};
	static const uint8_t out[BURST] = {0};
	j.rings = huge(RINGS * j.bytes);
	for (size_t i = 0; i < RINGS; i += BURST) {
		void *rings[BURST];
		for (size_t k = 0; k < BURST; k++)
			rings[k] = j.rings + (i + k) * j.bytes;
		struct wr_encoder_batch b = {.n_seqs = BURST,
			.seq_off = seq_off,
			.rows = rows,
			.rings = rings,
			.out = out};
		wr_encoder_cold(e, &b);
	}
	for (j.n = 1; j.n <= BURST; j.n += BURST - 1) {
		j.n_rings = BURST;
		double near = median_ns(run_warm, &j);
		j.n_rings = RINGS;
		double far = median_ns(run_warm, &j);
		printf("  warm   %2u x 1 click:   %8.2f us a user, %.2f with rings in memory\n",
			j.n, near / j.n / 1e3, far / j.n / 1e3);
	}
	j.n = 8;
	j.n_rings = j.n;
	double near = median_ns(run_cold, &j);
	j.n_rings = RINGS;
	double far = median_ns(run_cold, &j);
	printf("  cold    8 x 50 clicks: %8.2f us a user, %.2f with rings in memory\n",
		near / j.n / 1e3, far / j.n / 1e3);
	bench_bursts(&j, user);
	free(j.rings);
}

static void run_rank(void *x)
{
	struct job *j = x;
	wr_ranker_rank(j->r, j->n, &j->users, j->query, j->items, j->n_items);
}

/*
 * What the server does with a burst of warm requests: groups of eight are encoded and ranked, the
 * next group's rings asked for while one is ranked. Rings far away, each seen once a round.
 */
enum { GROUP = 8 };

struct burst_times {
	uint64_t encode[RUNS], rank[RUNS];
};

static void run_burst(
	struct warm_job *w, struct job *j, size_t clicks, struct burst_times *t, int i)
{
	void *rings[BURST];
	static uint8_t out[BURST];
	static uint32_t off[BURST + 1];
	for (unsigned int u = 0; u < BURST; u++) {
		rings[u] = w->rings + (w->at + u) * 40503 % w->n_rings * w->bytes;
		off[u + 1] = off[u] + (uint32_t)clicks;
		out[u] = (uint8_t)u;
	}
	w->at += BURST;
	struct wr_prefetch ahead = {.block = rings, .n = GROUP, .bytes = (uint32_t)w->bytes};
	wr_prefetch_pace(&ahead, 1);
	wr_prefetch_step(&ahead);
	uint64_t at = wr_clock_tsc(), next;
	t->encode[i] = t->rank[i] = 0;
	for (unsigned int u = 0; u < BURST; u += GROUP) {
		struct wr_encoder_batch b = {.n_seqs = GROUP,
			.seq_off = off + u,
			.rows = rows + w->at % 1024,
			.rings = rings + u,
			.out = out + u};
		ahead = (struct wr_prefetch){.block = rings + u + GROUP,
			.n = u + GROUP < BURST ? GROUP : 0,
			.bytes = (uint32_t)w->bytes};
		struct wr_user_vectors users = wr_encoder_warm(j->e, &b);
		next = wr_clock_tsc();
		t->encode[i] += next - at;
		at = next;
		users.q += (size_t)u * wr_bundle_model(bundle)->d;
		users.scale += u;
		wr_ranker_rank_ahead(j->r, GROUP, &users, j->query + u,
			j->items + (size_t)u * WR_RANK_MAX_K, j->n_items + u, &ahead);
		next = wr_clock_tsc();
		t->rank[i] += next - at;
		at = next;
	}
}

static double middle_us(uint64_t *t)
{
	qsort(t, RUNS, sizeof(*t), compare_u64);
	return (double)t[RUNS / 2] * 1e6 / (double)wr_clock_tsc_hz() / BURST;
}

static void bench_bursts(struct warm_job *w, struct job *j)
{
	static struct burst_times t;
	for (size_t clicks = 1; clicks <= 4; clicks += 3) {
		for (size_t n = BURST; n <= RINGS; n += RINGS - BURST) {
			w->n_rings = n;
			for (int i = 0; i < RUNS; i++)
				run_burst(w, j, clicks, &t, i);
			printf("  burst of 32 x %zu click, rings %s: encode %.2f, rank %.2f us a "
			       "user\n",
				clicks, n == BURST ? "near  " : "in memory", middle_us(t.encode),
				middle_us(t.rank));
		}
	}
}

static void bench_model(enum wr_isa isa, enum wr_gemm_engine gemm)
{
	static struct job j;
	static uint64_t seen[BURST][ITEMS / 64 + 1];
	struct wr_model *m;
	struct wr_errmsg msg;
	if (wr_model_new(&m, bundle, isa, gemm, &in_heap, &msg)) {
		printf("%s, %s: skipped, %s\n", wr_isa_name(isa),
			gemm == WR_GEMM_OWN ? "own kernels" : "oneDNN", msg.text);
		return;
	}
	if (wr_encoder_new(&j.e, m, BURST, BURST * CLICKS, &in_heap, &msg) ||
		wr_ranker_new(&j.r, m, bundle, BURST, &in_heap, &msg))
		abort();
	printf("%s, %s:\n", wr_isa_name(isa), gemm == WR_GEMM_OWN ? "own kernels" : "oneDNN");
	for (unsigned int n = 1; n <= BURST; n += BURST - 1) {
		j.n = n;
		double ns = median_ns(run_encode, &j);
		printf("  encode %2u x %u clicks: %8.2f us a user\n", n, CLICKS, ns / n / 1e3);
		for (unsigned int i = 0; i < n; i++) {
			for (unsigned int t = 0; t < CLICKS; t++) {
				uint32_t row = rows[i * CLICKS + t];
				seen[i][row / 64] |= (uint64_t)1 << row % 64;
			}
			j.query[i] = (struct wr_rank_query){.seen = seen[i], .k = 10};
		}
		ns = median_ns(run_rank, &j);
		printf("  rank %u items for %2u: %8.2f us a user\n", ITEMS, n, ns / n / 1e3);
	}
	bench_warm(j.e, &j);
	wr_ranker_free(j.r);
	wr_encoder_free(j.e);
	wr_model_free(m);
}

static void print_cpu(void)
{
	char *text, *name;
	size_t size;
	struct wr_errmsg msg;
	if (wr_file_read("/proc/cpuinfo", 1 << 22, &text, &size, &msg))
		return;
	name = strstr(text, "model name");
	if (name)
		printf("%.*s\n", (int)strcspn(name, "\n"), name);
	free(text);
}

int main(int argc, char **argv)
{
	struct wr_bundle_model shape = wr_test_bundle_reference(ITEMS);
	struct wr_errmsg msg = {""};
	struct wr_rng r;
	char path[64];
	snprintf(path, sizeof(path), "/tmp/wr_bench_kernels.%d", getpid());
	if (argc == 1)
		wr_test_bundle_write(path, &shape, 1);
	if (wr_bundle_open(&bundle, argc > 1 ? argv[1] : path, &msg)) {
		fprintf(stderr, "%s\n", msg.text);
		return 1;
	}
	unlink(path);
	wr_rng_init(&r, 1, 0);
	for (unsigned int i = 0; i < BURST * CLICKS; i++)
		rows[i] = wr_rng_below(&r, ITEMS);
	for (unsigned int i = 0; i <= BURST; i++)
		seq_off[i] = i * CLICKS;
	print_cpu();
	heap = huge(HEAP);
	for (int l = WR_ISA_AVX2; l < WR_ISA_AUTO; l++) {
		if (!wr_isa_supported((enum wr_isa)l) ||
			(argc > 2 && strcmp(argv[2], wr_isa_name((enum wr_isa)l)) != 0))
			continue;
		bench_model((enum wr_isa)l, WR_GEMM_OWN);
		if (argc <= 2)
			bench_model((enum wr_isa)l, WR_GEMM_ONEDNN);
		bench_products((enum wr_kernels_level)l);
	}
	wr_bundle_close(bundle);
	return 0;
}
