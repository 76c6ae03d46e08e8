/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists files and interactions: what is read, and that bad lines are refused with file and line. */
#include "load_lists.h"
#include "test_load.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/wr-test-load-XXXXXX";

static void write_file(char path[128], const char *name, const char *text)
{
	snprintf(path, 128, "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_TRUE(fputs(text, f) >= 0);
	CU_ASSERT_EQUAL(fclose(f), 0);
}

static void begin(void)
{
	strcpy(folder, "/tmp/wr-test-load-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
}

static void end(const char *path)
{
	CU_ASSERT_EQUAL(unlink(path), 0);
	CU_ASSERT_EQUAL(rmdir(folder), 0);
}

static void test_lists(void)
{
	struct wr_errmsg msg;
	struct wr_lists *l = NULL;
	char path[128];

	begin();
	write_file(path, "lists.tsv",
		"#k=3 filtered=1 bundle=00AB future=yes\n18446744073709551615\t0\t4,5,6\t7,8,9\n"
		"18446744073709551615\t1\t7\t8,9,10\n2\t0\t1\t3\n");
	CU_ASSERT_EQUAL_FATAL(wr_lists_read(&l, path, &msg), 0);
	CU_ASSERT_EQUAL(l->k, 3);
	CU_ASSERT_TRUE(l->filtered);
	CU_ASSERT_STRING_EQUAL(l->bundle, "00ab");
	CU_ASSERT_EQUAL(l->n_users, 2);
	CU_ASSERT_EQUAL(l->n_steps, 3);
	CU_ASSERT_EQUAL(l->users[0].user, UINT64_MAX);
	CU_ASSERT_EQUAL(l->users[0].n_steps, 2);
	CU_ASSERT_EQUAL(l->users[1].first_step, 2);
	CU_ASSERT_EQUAL(l->steps[1].n_events, 1);
	CU_ASSERT_EQUAL(l->events[l->steps[1].first_event], 7);
	CU_ASSERT_EQUAL(l->items[l->steps[1].first_item + 2], 10);
	/* Without times: a minute apart, counted by user. */
	CU_ASSERT_FALSE(l->timed);
	CU_ASSERT_EQUAL(l->times[l->steps[1].first_event], wr_lists_time(3));
	CU_ASSERT_EQUAL(l->times[l->steps[2].first_event], wr_lists_time(0));
	CU_ASSERT_EQUAL(l->steps[1].asked_ms, 0);
	wr_lists_free(l);
	end(path);
}

static void test_timed_lists(void)
{
	struct wr_errmsg msg;
	struct wr_lists *l = NULL;
	char path[128];

	begin();
	write_file(path, "lists.tsv",
		"#k=3 filtered=1 times=1\n5\t0\t4,5\t7,8\t881250949000,0\t881250950000\n"
		"5\t1\t7\t8\t881250951000\t0\n");
	CU_ASSERT_EQUAL_FATAL(wr_lists_read(&l, path, &msg), 0);
	CU_ASSERT_TRUE(l->timed);
	static const int64_t times[] = {881250949000, 0, 881250951000};
	CU_ASSERT_EQUAL(memcmp(l->times, times, sizeof(times)), 0);
	CU_ASSERT_EQUAL(l->steps[0].asked_ms, 881250950000);
	CU_ASSERT_EQUAL(l->steps[1].asked_ms, 0);
	wr_lists_free(l);
	end(path);
}

static void test_bad_lists(void)
{
	static const struct {
		const char *text;
		unsigned int line;
	} bad[] = {
		{"", 0},
		{"1\t0\t4\t5\n", 1},              /* no header */
		{"#filtered=1\n1\t0\t4\t5\n", 1}, /* no k */
		{"#k=65\n1\t0\t4\t5\n", 1},
		{"#k=3 filtered=2\n", 1},
		{"#k=3 bundle=xyz\n", 1},
		{"#k=3\n", 1}, /* nobody */
		{"#k=3\n-1\t0\t4\t5\n", 2},
		{"#k=3\n18446744073709551616\t0\t4\t5\n", 2}, /* beyond u64 */
		{"#k=3\n1 0 4 5\n", 2},
		{"#k=3\n1\t0\t\t5\n", 2}, /* no events */
		{"#k=3\n1\t0\t4,\t5\n", 2},
		{"#k=3\n1\t0\t0\t5\n", 2},          /* item 0 */
		{"#k=3\n1\t0\t1073741824\t5\n", 2}, /* beyond the largest id */
		{"#k=3\n1\t0\t4\t\n", 2},           /* no list */
		{"#k=3\n1\t0\t4\t5,6,7,8\n", 2},    /* longer than k */
		{"#k=3\n1\t0\t4\t5,6,5\n", 2},      /* twice */
		{"#k=3\n1\t0\t4\t5 \n", 2},
		{"#k=3\n1\t1\t4\t5\n", 2},               /* starts with step 1 */
		{"#k=3\n1\t0\t4\t5\n1\t2\t4\t5\n", 3},   /* step left out */
		{"#k=3\n1\t0\t4\t5\n1\t1\t4,5\t5\n", 3}, /* two clicks in a step */
		{"#k=3\n1\t0\t4\t5\n\n1\t0\t4\t5\n", 4}, /* step 0 again */
		{"#k=3 times=2\n", 1},
		{"#k=3\n1\t0\t4\t5\t9\t9\n", 2},           /* nobody said times */
		{"#k=3 times=1\n1\t0\t4\t5\n", 2},         /* no times */
		{"#k=3 times=1\n1\t0\t4,6\t5\t9\t9\n", 2}, /* one of two */
		{"#k=3 times=1\n1\t0\t4\t5\t9,9\t9\n", 2}, /* two of one */
		{"#k=3 times=1\n1\t0\t4\t5\t9\n", 2},      /* no request's */
		{"#k=3 times=1\n1\t0\t4\t5\t-9\t9\n", 2},
	};

	for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++) {
		struct wr_errmsg msg = {""};
		struct wr_lists *l = (void *)&msg;
		char path[128], where[160];
		begin();
		write_file(path, "lists.tsv", bad[i].text);
		CU_ASSERT_EQUAL(wr_lists_read(&l, path, &msg), WR_EFORMAT);
		CU_ASSERT_PTR_NULL(l);
		snprintf(where, sizeof(where), "%s:%u: ", path, bad[i].line);
		if (strncmp(msg.text, where, strlen(where)) != 0)
			printf("[case %zu: %s] ", i, msg.text);
		CU_ASSERT_EQUAL(strncmp(msg.text, where, strlen(where)), 0);
		end(path);
	}
}

static void test_tokens(void)
{
	struct wr_errmsg msg;
	struct wr_tokens *t = NULL;
	char path[128];

	begin();
	write_file(path, "interactions.tsv",
		"#user\titem\tkind\ttime_"
		"ms\n7\t1\tclick\t0\n7\t2\tview\t0\n7\t1\tconvert\t0\n7\t3\tconvert\t0\n"
		"7\t1\tclick\t0\n8\t3\tconvert\t5\n");
	CU_ASSERT_EQUAL_FATAL(wr_tokens_read(&t, folder, &msg), 0);
	/* A conversion of a clicked item is no token of its own; one that nobody clicked is. */
	static const uint32_t expected[] = {1, 3, 1, 3};
	CU_ASSERT_EQUAL_FATAL(t->n_items, 4);
	CU_ASSERT_EQUAL(memcmp(t->items, expected, sizeof(expected)), 0);
	static const int64_t times[] = {0, 0, 0, 5};
	CU_ASSERT_EQUAL(memcmp(t->times, times, sizeof(times)), 0);
	CU_ASSERT_TRUE(t->timed);
	CU_ASSERT_EQUAL(t->n_users, 2);
	CU_ASSERT_EQUAL(t->users[0].n, 3);
	CU_ASSERT_EQUAL(t->users[1].first, 3);
	wr_tokens_free(t);
	end(path);
}

static void test_bad_tokens(void)
{
	static const char *const bad[] = {"#h\n7\t0\tclick\t0\n", "#h\n7\t1\tbuy\t0\n",
		"#h\nseven\t1\tclick\t0\n", "#h\n7,1,click,0\n", "#h\n7\t1\tclick\n",
		"#h\n7\t1\tclick\t-1\n"};

	for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++) {
		struct wr_errmsg msg = {""};
		struct wr_tokens *t = NULL;
		char path[128], where[160];
		begin();
		write_file(path, "interactions.tsv", bad[i]);
		CU_ASSERT_EQUAL(wr_tokens_read(&t, folder, &msg), WR_EFORMAT);
		snprintf(where, sizeof(where), "%s:2: ", path);
		CU_ASSERT_EQUAL(strncmp(msg.text, where, strlen(where)), 0);
		end(path);
	}
	struct wr_errmsg msg;
	struct wr_tokens *t = NULL;
	CU_ASSERT_EQUAL(wr_tokens_read(&t, "/nonexistent", &msg), WR_ENOENT);
}

const struct wr_test wr_test_load_files[] = {
	{"a lists file is read", test_lists},
	{"lists with times are read", test_timed_lists},
	{"bad lists are refused with file and line", test_bad_lists},
	{"tokens follow the token rule", test_tokens},
	{"bad interactions are refused with file and line", test_bad_tokens},
};
const size_t wr_test_load_files_n = WR_ARRAY_LEN(wr_test_load_files);
