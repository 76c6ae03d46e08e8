/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One fuzzer = fuzz_NAME.c with LLVMFuzzerTestOneInput, built twice: with replay.c as an ordinary
 * test (corpus and seeded mutations of it, any compiler), and with clang's libFuzzer (target
 * fuzz_NAME_libfuzzer, not by default).
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Inputs that the code under test took: each fuzzer counts them, the replay fails when its corpus
 * has none (a renamed key, another format: nothing behind the first check would be tested). */
__attribute__((weak)) uint64_t fuzz_accepted;

/* A broken promise of the code under test ends the run, as a sanitizer's report does. */
#define FUZZ_CHECK(condition)                                                                   \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                \
		}                                                                               \
	} while (0)

#endif
