/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared by the suites of lib/learn: a scratch directory, files, a small data set. */
#ifndef LEARN_TEST_H
#define LEARN_TEST_H

#include "wr_learn.h"
#include "wr_test.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char learn_test_dir[64];

static inline const char *learn_test_path(const char *name)
{
	static char path[8][256];
	static int next;
	char *p = path[next++ % 8];
	snprintf(p, sizeof(path[0]), "%s/%s", learn_test_dir, name);
	return p;
}

static inline void learn_test_write(const char *name, const char *bytes, size_t n)
{
	FILE *f = fopen(learn_test_path(name), "wb");
	if (!f || fwrite(bytes, 1, n, f) != n || fclose(f))
		abort();
}

static inline void learn_test_text(const char *name, const char *text)
{
	learn_test_write(name, text, strlen(text));
}

/* The whole file, NUL-terminated; the caller frees. "" when it is not there. */
static inline char *learn_test_read(const char *name)
{
	char *data;
	size_t size;
	return wr_file_read(learn_test_path(name), 1 << 26, &data, &size, NULL) ? strdup("") : data;
}

static inline int learn_test_remove_one(
	const char *path, const struct stat *st, int flag, struct FTW *at)
{
	(void)st, (void)flag, (void)at;
	return remove(path);
}

static inline void learn_test_begin(void)
{
	strcpy(learn_test_dir, "/tmp/wr_learn_test.XXXXXX");
	if (!mkdtemp(learn_test_dir))
		abort();
}

static inline void learn_test_end(void)
{
	nftw(learn_test_dir, learn_test_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/*
 * A data set that can be learned: n_items on a ring, users walk to one of the next three items.
 * Written to NAME/.
 */
static inline void learn_test_ring(
	const char *name, uint32_t n_users, uint32_t n_items, uint32_t len)
{
	char log[128], *text = NULL;
	size_t size;
	struct wr_errmsg msg;
	struct wr_rng r;
	FILE *f = open_memstream(&text, &size);
	wr_rng_init(&r, 11, 12);
	for (uint32_t u = 1; u <= n_users; u++) {
		uint32_t item = wr_rng_below(&r, n_items), m = 3 + wr_rng_below(&r, len);
		for (uint32_t t = 0; t < m; t++) {
			fprintf(f, "%u %u\n", u, item + 1);
			item = (item + 1 + wr_rng_below(&r, 3)) % n_items;
		}
	}
	fclose(f);
	snprintf(log, sizeof(log), "%s.txt", name);
	learn_test_text(log, text);
	free(text);
	const char *source = learn_test_path(log);
	struct wr_import in = {.format = WR_IMPORT_SASREC, .sources = &source, .n_sources = 1};
	if (wr_import_run(&in, learn_test_path(name), &msg)) {
		fprintf(stderr, "%s\n", msg.text);
		abort();
	}
}

#endif
