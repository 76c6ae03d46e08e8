/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * limits [CPU [MiB [avx2 [RUNS]]]]: measures (with avx2 that level's best multiply-adds) on that
 * CPU (default: where it runs), each figure RUNS times (7), and prints one JSON object. Memory is
 * hugetlb where the pool has it, else transparent huge pages are asked for; the output says which.
 */
#include "limits.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RUNS           "7"
#define LINES_OF_TABLE 10000000
#define SMALLEST_MIB   64

static uint8_t *get_memory(size_t bytes, const char **pages)
{
	const int rights = PROT_READ | PROT_WRITE, kind = MAP_PRIVATE | MAP_ANONYMOUS;
	*pages = "hugetlb";
	uint8_t *p = mmap(NULL, bytes, rights, kind | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED) {
		*pages = "transparent";
		p = mmap(NULL, bytes, rights, kind, -1, 0);
		if (p == MAP_FAILED)
			return NULL;
		if (madvise(p, bytes, MADV_HUGEPAGE))
			*pages = "4k";
	}
	memset(p, 1, bytes);
	return p;
}

static void print_limit(const char *name, struct limit l)
{
	printf("\"%s\": %.2f, \"%s_least\": %.2f, \"%s_most\": %.2f, \"%s_how\": \"%s\", ", name,
		l.median, name, l.least, name, l.most, name, l.how);
}

int main(int argc, char **argv)
{
	size_t mib = argc > 2 ? strtoul(argv[2], NULL, 10) : 2048;
	if (argc > 1) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET(strtoul(argv[1], NULL, 10), &set);
		if (sched_setaffinity(0, sizeof(set), &set)) {
			fprintf(stderr, "limits: cannot run on CPU %s\n", argv[1]);
			return 1;
		}
	}
	if (!__builtin_cpu_supports("avx2") || mib < SMALLEST_MIB) {
		fprintf(stderr, "limits: needs AVX2 and at least %d MiB\n", SMALLEST_MIB);
		return 1;
	}
	unsigned long runs = strtoul(argc > 4 ? argv[4] : RUNS, NULL, 10);
	if (runs < 1 || runs > LIMITS_MAX_RUNS) {
		fprintf(stderr, "limits: 1 to %d runs, not %s\n", LIMITS_MAX_RUNS, argv[4]);
		return 1;
	}
	const char *pages;
	size_t bytes = mib << 20, n_lines = bytes / 64;
	uint8_t *memory = get_memory(bytes, &pages);
	if (!memory) {
		fprintf(stderr, "limits: no %zu MiB of memory\n", mib);
		return 1;
	}
	if (n_lines > LINES_OF_TABLE)
		n_lines = LINES_OF_TABLE;
	printf("{");
	print_limit("int8_gmacs",
		limits_int8((unsigned int)runs, argc > 3 && strcmp(argv[3], "avx2") == 0));
	print_limit("int8_tile_gmacs", limits_tiles((unsigned int)runs));
	print_limit("mem_block_gbs", limits_blocks(memory, bytes, (unsigned int)runs));
	print_limit("mem_line_ns", limits_lines(memory, n_lines, (unsigned int)runs));
	printf("\"memory_mib\": %zu, \"lines\": %zu, \"pages\": \"%s\", \"runs\": %lu}\n", mib,
		n_lines, pages, runs);
	munmap(memory, bytes);
	return 0;
}
