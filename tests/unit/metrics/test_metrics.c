/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/metrics: names, snapshot and merge of every field, the sum of outcomes. */
#include "wr_test.h"
#include "wr_metrics.h"

#include <stdlib.h>
#include <string.h>

static struct wr_metrics a, b, sum;

/* Distinct values everywhere, so that a field that is left out or swapped shows. */
static void fill(struct wr_metrics *m, uint64_t factor)
{
	memset(m, 0, sizeof(*m));
	for (unsigned int i = 0; i < WR_OUTCOME_N; i++)
		m->outcome[i] = factor * (i + 1);
	for (unsigned int i = 0; i < WR_COUNTER_N; i++)
		m->counter[i] = factor * (i + 101);
	for (unsigned int i = 0; i < WR_ARRAY_LEN(m->decode); i++)
		m->decode[i] = factor * (i + 201);
	for (unsigned int i = 0; i < WR_STAGE_N; i++) {
		m->stage_cycles[i] = factor * (i + 301);
		wr_hist_add(&m->stage_ns[i], 1000 * factor + i, i + 1);
	}
	wr_hist_add(&m->burst_size, 32, factor);
	wr_hist_add(&m->server_ns, 5000 * factor, 3);
}

static void check_descs(const struct wr_metric_desc *d, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		CU_ASSERT_FATAL(d[i].name && d[i].help);
		CU_ASSERT(strlen(d[i].name) > 0 && strlen(d[i].name) <= 24);
		CU_ASSERT(strlen(d[i].help) > 0);
		CU_ASSERT(strspn(d[i].name, "abcdefghijklmnopqrstuvwxyz0123456789_") ==
			  strlen(d[i].name));
		for (unsigned int j = 0; j < i; j++)
			CU_ASSERT(strcmp(d[i].name, d[j].name) != 0);
	}
}

static void test_names(void)
{
	check_descs(wr_outcome_desc, WR_OUTCOME_N);
	check_descs(wr_counter_desc, WR_COUNTER_N);
	check_descs(wr_stage_desc, WR_STAGE_N);
	CU_ASSERT_STRING_EQUAL(wr_outcome_desc[WR_OUTCOME_tx_full].name, "tx_full");
	CU_ASSERT_STRING_EQUAL(wr_counter_desc[WR_COUNTER_received].name, "received");
	CU_ASSERT_STRING_EQUAL(wr_stage_desc[WR_STAGE_tx].name, "tx");
}

static void test_snapshot_copies_everything(void)
{
	fill(&a, 7);
	memset(&b, 0xff, sizeof(b));
	wr_metrics_snapshot(&b, &a);
	CU_ASSERT(memcmp(&a, &b, sizeof(a)) == 0);
}

static void test_merge_adds_everything(void)
{
	fill(&a, 3);
	fill(&b, 5);
	fill(&sum, 8);
	wr_metrics_merge(&a, &b);
	CU_ASSERT(memcmp(a.outcome, sum.outcome, sizeof(a.outcome)) == 0);
	CU_ASSERT(memcmp(a.counter, sum.counter, sizeof(a.counter)) == 0);
	CU_ASSERT(memcmp(a.decode, sum.decode, sizeof(a.decode)) == 0);
	CU_ASSERT(memcmp(a.stage_cycles, sum.stage_cycles, sizeof(a.stage_cycles)) == 0);
	CU_ASSERT_EQUAL(a.burst_size.count, 8);
	CU_ASSERT_EQUAL(a.burst_size.sum, 8 * 32);
	CU_ASSERT_EQUAL(a.server_ns.count, 6);
	CU_ASSERT_EQUAL(a.server_ns.max, 25000);
	for (unsigned int i = 0; i < WR_STAGE_N; i++) {
		CU_ASSERT_EQUAL(a.stage_ns[i].count, 2 * (i + 1));
		CU_ASSERT_EQUAL(a.stage_ns[i].max, 5000 + i);
	}
}

static void test_outcomes_sum(void)
{
	fill(&a, 2);
	CU_ASSERT_EQUAL(wr_metrics_outcomes(&a), (uint64_t)WR_OUTCOME_N * (WR_OUTCOME_N + 1));
	wr_count(&a.outcome[WR_OUTCOME_drained], 9);
	CU_ASSERT_EQUAL(wr_metrics_outcomes(&a), (uint64_t)WR_OUTCOME_N * (WR_OUTCOME_N + 1) + 9);
}

/* docs/operations.md has a row for every metric, with the words of the code. */
static void test_documentation(void)
{
	const struct {
		const struct wr_metric_desc *desc;
		unsigned int n;
	} tables[] = {{wr_outcome_desc, WR_OUTCOME_N}, {wr_counter_desc, WR_COUNTER_N},
		{wr_stage_desc, WR_STAGE_N}};
	char *doc, row[256];
	size_t bytes;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL_FATAL(
		wr_file_read(WR_SOURCE_ROOT "/docs/operations.md", 1 << 20, &doc, &bytes, &msg),
		WR_OK);
	for (unsigned int t = 0; t < WR_ARRAY_LEN(tables); t++)
		for (unsigned int i = 0; i < tables[t].n; i++) {
			snprintf(row, sizeof(row), "\n| `%s` | %s |\n", tables[t].desc[i].name,
				tables[t].desc[i].help);
			bool found = strstr(doc, row) != NULL;
			if (!found)
				printf("\ndocs/operations.md must hold:%s", row);
			CU_ASSERT(found);
		}
	free(doc);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"names are unique and printable", test_names},
		{"a snapshot copies every field", test_snapshot_copies_everything},
		{"a merge adds every field", test_merge_adds_everything},
		{"outcomes are summed", test_outcomes_sum},
		{"docs/operations.md explains every metric", test_documentation},
	};
	return wr_test_run("metrics", tests, WR_ARRAY_LEN(tests));
}
