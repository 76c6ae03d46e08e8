/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runner shared by the CUnit suites: one suite a program, non-zero exit when a check failed or
 * nothing ran, 77 when everything was skipped.
 *
 *   int main(void)
 *   {
 *           static const struct wr_test tests[] = {{"decodes the empty message", test_empty}, …};
 *           return wr_test_run("wire", tests, WR_ARRAY_LEN(tests));
 *   }
 */
#ifndef WR_TEST_H
#define WR_TEST_H

#include "wr_base.h"

#include <CUnit/Basic.h>

#define WR_TEST_SKIP 77

struct wr_test {
	const char *name;
	void (*run)(void);
};

static int wr_test_n_skipped;

/* Says loudly that the running test checks nothing here, and why. Call it instead of any assertion.
 */
static inline void wr_test_skip(const char *why)
{
	printf("SKIP (%s) ", why);
	wr_test_n_skipped++;
}

static inline int wr_test_run(const char *suite_name, const struct wr_test *tests, size_t n)
{
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	CU_pSuite suite = CU_add_suite(suite_name, NULL, NULL);
	for (size_t i = 0; suite && i < n; i++)
		if (!CU_add_test(suite, tests[i].name, tests[i].run))
			return 1;
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned int failed = CU_get_number_of_failures(), ran = CU_get_number_of_asserts();
	CU_cleanup_registry();
	if (failed || !suite)
		return 1;
	if (ran == 0)
		return wr_test_n_skipped ? WR_TEST_SKIP : 1;
	return 0;
}

#endif
