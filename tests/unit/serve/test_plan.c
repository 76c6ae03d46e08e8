/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory plan: what it counts, what it refuses. No EAL; a running server is tested in
 * tests/integ/daemon. */
#include "serve_int.h"
#include "wr_test.h"
#include "wr_test_bundle.h"

#include <unistd.h>

static struct wr_bundle *bundle;

static struct wr_serve_options options(void)
{
	return (struct wr_serve_options){
		.name = "plan",
		.n_workers = 1,
		.bundle = bundle,
		.isa = WR_ISA_AUTO,
		.port = {.kind = WR_PORT_MEMIF, .ring_size = 1024, .mtu = 1500},
		.allow = "0.0.0.0/0",
		.rows_per_lcore = 1000,
		.burst = 32,
		.handover_ring = 1024,
		.cookie_rotate_s = 600,
	};
}

static uint64_t line_of(const struct wr_serve_plan *p, const char *what)
{
	for (unsigned int i = 0; i < p->n_lines; i++)
		if (strcmp(p->line[i].what, what) == 0)
			return p->line[i].bytes;
	return 0;
}

static void test_sum(void)
{
	struct wr_serve_options o = options();
	struct wr_serve_plan one, two;
	struct wr_errmsg msg = {""};
	CU_ASSERT_EQUAL_FATAL(wr_serve_plan(&o, &one, &msg), 0);
	uint64_t sum = 0;
	for (unsigned int i = 0; i < one.n_lines; i++) {
		CU_ASSERT(one.line[i].bytes > 0);
		sum += one.line[i].bytes;
	}
	CU_ASSERT_EQUAL(sum, one.total_bytes);
	/* a session is at least a ring of 50 keys and values, 50 item rows and 99 tokens */
	CU_ASSERT(line_of(&one, "session tables") > 1000u * (7200 + 200 + 99 * 16));
	o.n_workers = 2;
	CU_ASSERT_EQUAL_FATAL(wr_serve_plan(&o, &two, &msg), 0);
	CU_ASSERT_EQUAL(line_of(&two, "session tables"), 2 * line_of(&one, "session tables"));
	CU_ASSERT_EQUAL(line_of(&two, "model"), line_of(&one, "model"));
}

static void test_refusals(void)
{
	struct wr_serve_options o = options();
	struct wr_serve_plan plan;
	struct wr_errmsg msg = {""};
	CU_ASSERT_EQUAL_FATAL(wr_serve_plan(&o, &plan, &msg), 0);
	o.memory_limit_bytes = plan.total_bytes;
	CU_ASSERT_EQUAL(wr_serve_plan(&o, &plan, &msg), 0);
	o.memory_limit_bytes--;
	CU_ASSERT_EQUAL(wr_serve_plan(&o, &plan, &msg), WR_ENOMEM);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "memory.limit"));
	CU_ASSERT(plan.total_bytes > 0); /* filled on failure too */
	o = options();
	o.rows_per_lcore = 1u << 30;
	CU_ASSERT_EQUAL(wr_serve_plan(&o, &plan, &msg), WR_ENOMEM);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "rows_per_lcore"));
}

static void test_isa(void)
{
	struct wr_serve_options o = options();
	struct wr_serve_plan plan;
	struct wr_errmsg msg = {""};
	if (wr_isa_supported(WR_ISA_AMX)) {
		wr_test_skip("this CPU has every level");
		return;
	}
	o.isa = WR_ISA_AMX;
	CU_ASSERT_EQUAL(wr_serve_plan(&o, &plan, &msg), WR_ENOTSUP);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "auto"));
}

static void test_state_names(void)
{
	CU_ASSERT_STRING_EQUAL(wr_serve_state_name(WR_SERVE_SERVING), "serving");
	CU_ASSERT_STRING_EQUAL(wr_serve_state_name((enum wr_serve_state)99), "unknown");
}

/* Bursts of a steady stream: how many are waited for, and how often in vain. */
static void test_gather(void)
{
	struct gather g = {.target = 1};
	unsigned int in_vain = 0;

	/* Up to three frames are no load, whatever came before. */
	for (unsigned int n = 1; n < 4; n++) {
		g.target = 32;
		wr_serve_gather_next(&g, n, 32, false);
		CU_ASSERT_EQUAL(g.target, 1);
	}
	/* As long as more come in time, the burst doubles up to the largest. */
	for (unsigned int n = 4; n < 32; n = g.target) {
		wr_serve_gather_next(&g, n, 32, false);
		CU_ASSERT_EQUAL(g.target, 2 * n);
	}
	wr_serve_gather_next(&g, 32, 32, false);
	CU_ASSERT_EQUAL(g.target, 32);
	/* Clients that have eight under way and no more: one burst of 64 waits in the end. */
	g = (struct gather){.target = 1};
	for (unsigned int i = 0; i < 1000; i++) {
		bool waits = g.target > 8;
		in_vain += i >= 360 && waits;
		wr_serve_gather_next(&g, 8, 32, waits);
		CU_ASSERT(g.target >= 1 && g.target <= 32);
	}
	CU_ASSERT(in_vain >= 9 && in_vain <= 11);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"gathering", test_gather},
		{"lines and their sum", test_sum},
		{"plans that do not fit", test_refusals},
		{"a level that the CPU lacks", test_isa},
		{"names of states", test_state_names},
	};
	char path[64];
	struct wr_errmsg msg;
	snprintf(path, sizeof(path), "/tmp/wrplan%d.wrb", (int)getpid());
	struct wr_bundle_model m = wr_test_bundle_reference(500);
	wr_test_bundle_write(path, &m, 1);
	int err = wr_bundle_open(&bundle, path, &msg);
	(void)unlink(path);
	if (err)
		return 1;
	int rc = wr_test_run("serve", tests, WR_ARRAY_LEN(tests));
	wr_bundle_close(bundle);
	return rc;
}
