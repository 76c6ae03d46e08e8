/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Before the port opens: every primitive runs once in its thread for every burst shape, and one
 * known request must give the list that the reference level gives.
 */
#include "serve_int.h"

#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

#define TEST_K 10

/* Code and constants of one loaded object, as whole pages. Best effort: a kernel that does not know
 * how maps them at the first request, as it did before. */
static int map_object(struct dl_phdr_info *info, size_t size, void *unused)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	(void)size, (void)unused;
	for (unsigned int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];
		if (h->p_type != PT_LOAD || (h->p_flags & PF_W))
			continue;
		uintptr_t from = (info->dlpi_addr + h->p_vaddr) & ~(page - 1),
			  to = info->dlpi_addr + h->p_vaddr + h->p_memsz;
		(void)madvise((void *)from, to - from, MADV_POPULATE_READ);
	}
	return 0;
}

void wr_serve_map_code(void)
{
	(void)dl_iterate_phdr(map_object, NULL);
}

/* Every page of what a worker writes to: on ordinary pages, fresh memory is mapped when it is first
 * touched. */
static void touch(void *memory, size_t bytes)
{
	volatile uint8_t *at = memory;
	for (size_t i = 0; i < bytes; i += 4096)
		at[i] = at[i];
}

static unsigned int list_of(const struct wr_serve *s, struct wr_encoder *e, struct wr_ranker *r,
	struct wr_rank_item *items)
{
	uint32_t off[2] = {0, s->n_test_rows};
	struct wr_rank_query q = {.k = TEST_K};
	uint8_t n_items = 0;
	struct wr_encoder_batch batch = {.n_seqs = 1,
		.seq_off = off,
		.rows = s->test_rows,
		.times = s->test_times,
		.asked = s->test_times + s->n_test_rows};
	struct wr_user_vectors v = wr_encoder_cold(e, &batch);
	wr_ranker_rank(r, 1, &v, &q, items, &n_items);
	return n_items;
}

int wr_serve_selftest_prepare(struct wr_serve *s, struct wr_errmsg *msg)
{
	struct wr_model *m = NULL;
	struct wr_encoder *e = NULL;
	struct wr_ranker *r = NULL;

	/* Spread over the catalogue; the encoder sees at most history_events of them. */
	s->n_test_rows = WR_MIN(
		(uint32_t)WR_ARRAY_LEN(s->test_rows), WR_MIN(s->history_events, s->shape.n_items));
	for (uint32_t i = 0; i < s->n_test_rows; i++)
		s->test_rows[i] = (uint32_t)((uint64_t)i * s->shape.n_items / s->n_test_rows);
	/* Gaps of seconds to half a year. */
	for (uint32_t i = 0; i <= s->n_test_rows; i++)
		s->test_times[i] = 1600000000000 + (INT64_C(1000) << 3 * i);
	/* On ordinary pages: it is gone before the port opens, and no part of the memory plan. */
	int err = wr_model_new(&m, s->o.bundle, WR_ISA_REF, WR_GEMM_OWN, NULL, msg);
	if (!err)
		err = wr_encoder_new(&e, m, 1, s->n_test_rows, NULL, msg);
	if (!err)
		err = wr_ranker_new(&r, m, s->o.bundle, 1, NULL, msg);
	if (!err)
		s->n_expected = (uint8_t)list_of(s, e, r, s->expected);
	wr_ranker_free(r);
	wr_encoder_free(e);
	wr_model_free(m);
	return err;
}

/* Groups of every power of two, short and full sequences: oneDNN's primitives and all scratch are
 * touched. */
static void warm(struct worker *w)
{
	struct wr_serve *s = w->serve;
	struct burst *b = &w->burst;
	unsigned int most = s->group;

	for (unsigned int n = 1; n <= most; n = n < most && 2 * n > most ? most : 2 * n) {
		for (unsigned int full = 0; full < 2; full++) {
			uint32_t len = full ? s->history_events : 1;
			for (uint32_t i = 0; i < n * len; i++)
				b->cold.rows[i] = i % s->shape.n_items;
			for (unsigned int j = 0; j < n; j++) {
				b->cold.off[j] = j * len;
				b->query[j] = (struct wr_rank_query){.k = WR_RANK_MAX_K};
			}
			b->cold.off[n] = n * len;
			struct wr_user_vectors v =
				wr_encoder_encode(w->encoder, n, b->cold.off, b->cold.rows);
			wr_ranker_rank(w->ranker, n, &v, b->query, w->items, w->n_items);
		}
	}
}

/* The known request's last click behind a ring of the others, in the place of list_of. */
static unsigned int warm_list_of(struct worker *w, void *ring)
{
	const struct wr_serve *s = w->serve;
	uint32_t off[2] = {0, s->n_test_rows - 1};
	uint8_t out = 0, n_items = 0;
	struct wr_rank_query q = {.k = TEST_K};
	struct wr_encoder_batch batch = {.n_seqs = 1,
		.seq_off = off,
		.rows = s->test_rows,
		.rings = &ring,
		.out = &out,
		.times = s->test_times,
		.asked = s->test_times + s->n_test_rows};

	(void)wr_encoder_cold(w->encoder, &batch);
	off[1] = 1;
	batch.rows += s->n_test_rows - 1;
	batch.times += s->n_test_rows - 1;
	struct wr_user_vectors v = wr_encoder_warm(w->encoder, &batch);
	wr_ranker_rank(w->ranker, 1, &v, &q, w->items, &n_items);
	return n_items;
}

static bool list_is_expected(const struct worker *w, unsigned int n)
{
	const struct wr_serve *s = w->serve;
	bool same = n == s->n_expected;
	for (unsigned int k = 0; same && k < n; k++)
		same = w->items[k].item == s->expected[k].item &&
		       w->items[k].score == s->expected[k].score;
	return same;
}

int wr_serve_selftest_run(struct worker *w, struct wr_errmsg *msg)
{
	const struct wr_serve *s = w->serve;

	touch(w, sizeof(*w));
	touch(w->metrics, sizeof(*w->metrics));
	warm(w);
	bool same = list_is_expected(w, list_of(s, w->encoder, w->ranker, w->items));
	if (same && s->n_test_rows > 1) {
		void *ring =
			wr_serve_allocator.alloc(NULL, wr_ring_bytes(&s->shape), WR_CACHE_LINE);
		if (!ring)
			return wr_fail(msg, WR_ENOMEM, "self-test: out of memory");
		same = list_is_expected(w, warm_list_of(w, ring));
		wr_serve_allocator.free(NULL, ring);
	}
	if (!same)
		return wr_fail(msg, WR_ESTATE,
			"self-test on CPU %u: level %s does not give the reference's list; start "
			"with server.isa = ref and report "
			"this CPU",
			w->cpu, wr_isa_name(wr_model_isa(s->model)));
	return 0;
}
