/* SPDX-License-Identifier: BSD-3-Clause */
/* The load suite is one program out of three files; each hands over its table of tests. */
#ifndef TEST_LOAD_H
#define TEST_LOAD_H

#include "wr_test.h"

extern const struct wr_test wr_test_load_files[];
extern const size_t wr_test_load_files_n;
extern const struct wr_test wr_test_load_verify[];
extern const size_t wr_test_load_verify_n;

#endif
