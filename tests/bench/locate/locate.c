/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The locate workload: KEYS users in a session table, each with a 64-byte session header and a
 * 64-byte profile row; bursts of 32 users drawn uniformly, both read. One line of JSON.
 *
 *   locate [CORE [KEYS]]
 *
 * Hugepages when WR_HUGE=1 (as ./run sets it), else ordinary pages, whose look-ups in the page
 * tables then cost more than the lines. A profile stands at its session's row. The fixed work is
 * four random lines a look-up (docs/performance.md), whatever the table does.
 */
#include "wr_base.h"
#include "wr_table.h"

#include <rte_eal.h>
#include <rte_malloc.h>
#include <rte_prefetch.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BURST    32
#define RUNS     7
#define RUN_NS   400000000u
#define MIB      (UINT64_C(1) << 20)
#define N_ITEMS  64
#define MAX_KEYS 100000000u

struct profile {
	uint64_t user, word[7];
} __attribute__((aligned(WR_CACHE_LINE)));

static int start_eal(unsigned int core, uint64_t bytes)
{
	const char *huge = getenv("WR_HUGE");
	bool on = huge && strcmp(huge, "1") == 0;
	char cpus[32], memory[32], prefix[48];
	snprintf(cpus, sizeof(cpus), "0@%u", core);
	snprintf(memory, sizeof(memory), "%llu", (unsigned long long)(bytes / MIB + 64));
	snprintf(prefix, sizeof(prefix), "--file-prefix=wrlocate%d", (int)getpid());
	const char *args[] = {"locate", "--lcores", cpus, "--no-pci", "--no-telemetry", prefix,
		"--log-level=*:error", on ? "--in-memory" : "--no-huge", "-m", memory};
	char *argv[WR_ARRAY_LEN(args) + 1];
	for (unsigned int i = 0; i < WR_ARRAY_LEN(args); i++)
		argv[i] = (char *)(uintptr_t)args[i];
	argv[WR_ARRAY_LEN(args)] = NULL;
	if (rte_eal_init((int)WR_ARRAY_LEN(args), argv) < 0)
		return -1;
	return on;
}

static uint64_t user_of(uint32_t i)
{
	return wr_mix64(i + 1);
}

/* A burst on its way: what each step asks for comes while the steps of its neighbours run, as in
 * the corridor, whose stages do so with the work between them. */
struct burst {
	uint64_t users[BURST];
	uint32_t rows[BURST];
};

static void draw(struct burst *b, const struct wr_table *t, struct wr_rng *r, uint32_t keys)
{
	for (unsigned int i = 0; i < BURST; i++)
		b->users[i] = user_of(wr_rng_below(r, keys));
	wr_table_expect(t, BURST, b->users);
}

static void find(struct burst *b, struct wr_table *t, const struct profile *profiles)
{
	static const struct wr_table_want want[BURST];
	wr_table_locate(t, BURST, b->users, want, b->rows);
	for (unsigned int i = 0; i < BURST; i++)
		rte_prefetch0(&profiles[b->rows[i]]);
}

/* The sum keeps every line's read alive. */
static uint64_t read_rows(
	const struct burst *b, struct wr_table *t, const struct profile *profiles, uint64_t *wrong)
{
	uint64_t sum = 0;
	for (unsigned int i = 0; i < BURST; i++) {
		const struct wr_session *s = wr_table_session(t, b->rows[i]);
		const struct profile *p = &profiles[b->rows[i]];
		*wrong += s->user != b->users[i] || p->user != b->users[i];
		sum += s->last_seq + p->word[6];
	}
	return sum;
}

/* Bursts from, from + 1, from + 2 of the ring of four, each a step further. */
static uint64_t step(struct burst ring[4], unsigned int from, struct wr_table *t,
	const struct profile *profiles, struct wr_rng *r, uint32_t keys, uint64_t *wrong)
{
	draw(&ring[(from + 3) & 3], t, r, keys);
	wr_table_expect_rows(t, BURST, ring[(from + 2) & 3].users, NULL);
	find(&ring[(from + 1) & 3], t, profiles);
	return read_rows(&ring[from & 3], t, profiles, wrong);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static int fail(const char *what)
{
	fprintf(stderr, "locate: %s\n", what);
	return 1;
}

int main(int argc, char **argv)
{
	static const struct wr_table_shape shape = {.n_items = N_ITEMS, .history_events = 1};
	uint64_t core = 0, keys = 10000000, wrong = 0, sum = 0;
	struct wr_table *t;
	struct wr_errmsg msg = {""};
	struct wr_rng r;
	double ns[RUNS];

	if ((argc > 1 && wr_parse_u64(argv[1], 0, 1023, &core)) ||
		(argc > 2 && wr_parse_u64(argv[2], 1000, MAX_KEYS, &keys)))
		return fail("usage: locate [CORE [KEYS]]");
	uint64_t table_bytes = wr_table_bytes_needed(&shape, (uint32_t)keys),
		 bytes = table_bytes + keys * sizeof(struct profile) + 16 * MIB;
	int huge = start_eal((unsigned int)core, bytes + bytes / 16);
	if (huge < 0)
		return fail("EAL does not start: not enough memory?");
	if (wr_table_new(&t, &shape, (uint32_t)keys, 0, &msg))
		return fail(msg.text);
	struct profile *profiles = rte_zmalloc("profiles", keys * sizeof(*profiles), WR_CACHE_LINE);
	if (!profiles)
		return fail("no memory for the profiles");
	for (uint32_t i = 0; i < keys; i++) {
		bool created;
		uint32_t row = wr_table_get_or_create(t, user_of(i), &created);
		if (row == WR_TABLE_NONE || !created)
			return fail("a user could not be created");
		wr_table_session(t, row)->last_seq = i;
		profiles[row].user = user_of(i);
	}
	static struct burst ring[4];
	wr_rng_init(&r, 1, 0);
	for (unsigned int i = 0; i < 4; i++) {
		draw(&ring[i], t, &r, (uint32_t)keys);
		find(&ring[i], t, profiles);
	}
	for (unsigned int run = 0; run < RUNS; run++) {
		uint64_t n = 0, from = wr_clock_thread_cpu_ns(), now;
		do {
			for (unsigned int i = 0; i < 64; i++)
				sum += step(ring, i, t, profiles, &r, (uint32_t)keys, &wrong);
			n += (uint64_t)64 * BURST;
			now = wr_clock_thread_cpu_ns();
		} while (now - from < RUN_NS);
		ns[run] = (double)(now - from) / (double)n;
	}
	if (wrong)
		return fail("a look-up found somebody else");
	qsort(ns, RUNS, sizeof(ns[0]), by_value);
	printf("{\"keys\": %llu, \"burst\": %d, \"ns_per_lookup\": %.2f, \"least\": %.2f, "
	       "\"most\": "
	       "%.2f, \"lookups_per_s\": %.0f, \"bytes\": %llu, \"hugepages\": %s, \"sum\": "
	       "%llu}\n",
		(unsigned long long)keys, BURST, ns[RUNS / 2], ns[0], ns[RUNS - 1],
		1e9 / ns[RUNS / 2], (unsigned long long)bytes, huge ? "true" : "false",
		(unsigned long long)sum);
	rte_free(profiles);
	wr_table_free(t);
	(void)rte_eal_cleanup();
	return 0;
}
