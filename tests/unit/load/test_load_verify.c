/* SPDX-License-Identifier: BSD-3-Clause */
/* Every kind of wrong answer is seen, and a right one is not called wrong. */
#include "load_verify.h"
#include "test_load.h"

#include <math.h>

static const uint32_t list[] = {5, 9, 2, 7};

struct answer {
	struct wr_message m;
	struct wr_wire_item items[4];
	uint32_t exclude[2], seen[2];
	struct wr_expect e;
};

/* A right answer to K = 4 with two exclusions and two clicks. */
static void make(struct answer *a)
{
	*a = (struct answer){.exclude = {3, 4}, .seen = {1, 8}};
	for (unsigned int i = 0; i < 4; i++)
		a->items[i] = (struct wr_wire_item){.item = list[i], .score = 4 - (float)i};
	a->m.header = (struct wr_wire_header){.op = WR_OP_RECOMMEND | WR_OP_ANSWER, .user_id = 77};
	a->m.items = a->items;
	a->m.n_items = 4;
	a->e = (struct wr_expect){.user = 77,
		.op = WR_OP_RECOMMEND,
		.k = 4,
		.n_items = 100,
		.exclude = a->exclude,
		.n_exclude = 2,
		.seen = a->seen,
		.n_seen = 2};
}

static enum wr_verdict verdict(const struct answer *a)
{
	return wr_verify_answer(&a->e, &a->m);
}

static void test_right(void)
{
	struct answer a;

	make(&a);
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_OK);
	a.items[2].score = a.items[3].score = 1; /* equal scores, ids ascending */
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_OK);
	a.m.n_items = 3;
	a.m.header.flags = WR_ANS_SHORTENED;
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_OK);
	make(&a);
	a.e.seen = NULL; /* seen items were asked for */
	a.items[0].item = 8;
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_OK);
}

static void test_identity(void)
{
	struct answer a;

	make(&a);
	a.m.header.user_id = 78;
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_USER);
	make(&a);
	a.m.header.op = WR_OP_EVENT | WR_OP_ANSWER;
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_OP);
}

static void test_count(void)
{
	struct answer a;

	make(&a);
	a.m.n_items = 3;
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_COUNT);
	make(&a);
	a.e.k = 3;
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_COUNT);
	a.m.header.flags = WR_ANS_SHORTENED; /* shortened to more than was asked for? */
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_COUNT);
	make(&a);
	a.e.k = 0;
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_COUNT);
}

static void test_items(void)
{
	struct answer a;

	make(&a);
	a.items[3].item = 101;
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_ITEM);
	make(&a);
	a.items[3].item = 0;
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_ITEM);
	make(&a);
	a.items[3].item = 5;
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_TWICE);
	make(&a);
	a.items[1].item = 4;
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_EXCLUDED);
	make(&a);
	a.items[3].item = 8;
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_SEEN);
	make(&a);
	a.items[0].reason = WR_REASON_POPULAR; /* its clicks are known */
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_FORGOTTEN);
	make(&a);
	a.items[0].reason = WR_REASON_POPULAR;
	a.e.n_seen = 0;
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_OK);
}

static void test_order(void)
{
	struct answer a;
	struct wr_wire_item first;

	make(&a);
	first = a.items[0];
	a.items[0] = a.items[1];
	a.items[1] = first;
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_ORDER);
	make(&a);
	a.items[1].score = a.items[2].score; /* 9 before 2 with one score */
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_ORDER);
	make(&a);
	a.items[0].score = NAN;
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_ORDER);
	make(&a);
	a.items[3].score = NAN;
	CU_ASSERT_EQUAL(verdict(&a), WR_VERDICT_ORDER);
}

static void test_list(void)
{
	struct answer a;

	make(&a);
	CU_ASSERT_EQUAL(wr_verify_list(list, 4, &a.m), WR_VERDICT_OK);
	a.items[3].item = 6;
	CU_ASSERT_EQUAL(wr_verify_list(list, 4, &a.m), WR_VERDICT_LIST);
	make(&a);
	a.m.n_items = 3;
	CU_ASSERT_EQUAL(wr_verify_list(list, 4, &a.m), WR_VERDICT_LIST);
	a.m.header.flags = WR_ANS_SHORTENED;
	CU_ASSERT_EQUAL(wr_verify_list(list, 4, &a.m), WR_VERDICT_OK);
	a.items[0].item = 6;
	CU_ASSERT_EQUAL(wr_verify_list(list, 4, &a.m), WR_VERDICT_LIST);
	make(&a);
	CU_ASSERT_EQUAL(wr_verify_list(list, 3, &a.m), WR_VERDICT_LIST);
}

const struct wr_test wr_test_load_verify[] = {
	{"right answers are right", test_right},
	{"another user's or operation's answer", test_identity},
	{"too many or too few items", test_count},
	{"items that may not be there", test_items},
	{"items out of order", test_order},
	{"another list than the expected one", test_list},
};
const size_t wr_test_load_verify_n = WR_ARRAY_LEN(wr_test_load_verify);
