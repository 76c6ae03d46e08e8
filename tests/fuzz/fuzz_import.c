/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Logs of all three formats. An input is one byte that chooses the format, then up to three files
 * with a 0x1e between them. A dataset directory that import writes must load, with the users and
 * items of the log. Files lie in /dev/shm: names end as the formats want, nothing reaches a disk.
 */
#include "fuzz.h"
#include "wr_learn.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 3, MAX_NAME = 128 };

static char folder[64], out[MAX_NAME];
static const char *const endings[][FILES] = {{"log.txt", "map.txt", "movies.dat"},
	{"x.inter", "x.item", "x.user"}, {"ratings.dat", "movies.dat", "users.dat"}};
static const char *const written[] = {"items.tsv", "interactions.tsv", "users.tsv", "dataset.json"};

static void remove_written(void)
{
	char path[2 * MAX_NAME];

	for (size_t i = 0; i < WR_ARRAY_LEN(written); i++) {
		snprintf(path, sizeof(path), "%s/%s", out, written[i]);
		(void)unlink(path);
	}
}

static void clean_up(void)
{
	char path[MAX_NAME];

	remove_written();
	(void)rmdir(out);
	for (size_t i = 0; i < WR_ARRAY_LEN(endings) * FILES; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, endings[i / FILES][i % FILES]);
		(void)unlink(path);
	}
	(void)rmdir(folder);
}

static void make_folder(void)
{
	snprintf(folder, sizeof(folder), "/dev/shm/wr-fuzz-import-%d", (int)getpid());
	snprintf(out, sizeof(out), "%s/out", folder);
	FUZZ_CHECK(mkdir(folder, 0700) == 0);
	atexit(clean_up);
}

/* Writes the pieces; their number. */
static unsigned int write_files(const uint8_t *data, size_t size, unsigned int format,
	char path[FILES][MAX_NAME], const char *sources[FILES])
{
	unsigned int n = 0;

	do {
		const uint8_t *end = memchr(data, 0x1e, size);
		size_t bytes = end && n + 1 < FILES ? (size_t)(end - data) : size;
		snprintf(path[n], MAX_NAME, "%s/%s", folder, endings[format][n]);
		int fd = open(path[n], O_WRONLY | O_CREAT | O_TRUNC, 0600);
		FUZZ_CHECK(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes);
		close(fd);
		sources[n] = path[n];
		n++;
		data += bytes;
		size -= bytes;
		if (size) {
			data++;
			size--;
		}
	} while (size && n < FILES);
	return n;
}

static void load(void)
{
	struct wr_dataset *ds = NULL;
	struct wr_errmsg msg = {""};
	int err = wr_dataset_load(&ds, out, &msg);

	if (err)
		fprintf(stderr, "%s\n", msg.text);
	FUZZ_CHECK(!err && ds->n_items > 0);
	for (uint32_t u = 0; u < ds->n_users; u++)
		for (uint32_t i = ds->token_off[u]; i < ds->token_off[u + 1]; i++)
			FUZZ_CHECK(ds->token_row[i] < ds->n_items);
	wr_dataset_free(ds);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[FILES][MAX_NAME];
	const char *sources[FILES] = {NULL};
	struct wr_errmsg msg = {""};

	if (!folder[0])
		make_folder();
	if (size < 2)
		return 0;
	unsigned int format = data[0] % 3u,
		     n = write_files(data + 1, size - 1, format, path, sources);
	struct wr_import in = {
		.format = (enum wr_import_format)format, .sources = sources, .n_sources = n};
	if (format == WR_IMPORT_SASREC) {
		in.n_sources = 1;
		in.item_map = n > 2 ? path[1] : NULL;
		in.titles = n > 1 ? path[n - 1] : NULL;
	}
	remove_written();
	int err = wr_import_run(&in, out, &msg);
	FUZZ_CHECK(!err || msg.text[0]);
	if (!err) {
		fuzz_accepted++;
		load();
	}
	return 0;
}
