/* SPDX-License-Identifier: BSD-3-Clause */
/* The file of a teacher's answers: layout, mapping, checks. */
#include "soft_targets_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "wrsoft 1"

/* The first 64 bytes; ids follow, then surprisals. */
struct header {
	char magic[8];
	uint64_t n_tokens, data_key;
	uint32_t n_items, top, wide, zero;
	double temperature;
	uint64_t spare[2];
};
static_assert(sizeof(struct header) == 64, "header");

/* Of users' lengths and tokens, so that answers are never read for another log. */
static uint64_t key_of(const struct wr_dataset *ds)
{
	uint64_t key = wr_mix64(ds->n_items);
	for (uint32_t u = 0; u < ds->n_users; u++)
		key = wr_mix64(key ^ ds->token_off[u + 1]);
	for (uint32_t t = 0; t < ds->token_off[ds->n_users]; t++)
		key = wr_mix64(key ^ ds->token_row[t]);
	return key;
}

static size_t file_bytes(const struct header *h)
{
	return sizeof(*h) + h->n_tokens * h->top * ((h->wide ? 4 : 2) + sizeof(uint16_t));
}

static void set_views(struct soft_targets *x, const struct header *h)
{
	x->top = h->top;
	x->wide = h->wide;
	x->temperature = h->temperature;
	x->n_tokens = h->n_tokens;
	x->ids = (const char *)x->map + sizeof(*h);
	x->surprisals = (const uint16_t *)(const void *)((const char *)x->ids +
							 h->n_tokens * h->top * (h->wide ? 4 : 2));
}

int wr_learn_soft_targets_create(struct soft_targets *x, const char *path,
	const struct wr_dataset *ds, uint32_t top, double temperature, struct wr_errmsg *msg)
{
	struct header h = {.magic = MAGIC,
		.n_tokens = ds->token_off[ds->n_users],
		.data_key = key_of(ds),
		.n_items = ds->n_items,
		.top = top,
		.wide = ds->n_items > 65536,
		.temperature = temperature};
	size_t bytes = file_bytes(&h);
	*x = (struct soft_targets){0};
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		return wr_fail(msg, WR_EIO, "%s: cannot write: %s", path, strerror(errno));
	/* Room is taken now: a full disk is an error here, not a signal in the map later. */
	int failed = posix_fallocate(fd, 0, (off_t)bytes);
	void *map =
		failed ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED) {
		unlink(path);
		return wr_fail(msg, WR_EIO, "%s: no room for %zu MiB: %s: use a smaller --top",
			path, bytes >> 20, strerror(failed ? failed : errno));
	}
	memcpy(map, &h, sizeof(h));
	x->map = map;
	x->bytes = bytes;
	set_views(x, &h);
	return WR_OK;
}

int wr_learn_soft_targets_open(struct soft_targets *x, const char *path,
	const struct wr_dataset *ds, struct wr_errmsg *msg)
{
	struct stat st;
	*x = (struct soft_targets){0};
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return wr_fail(msg, errno == ENOENT ? WR_ENOENT : WR_EIO,
			"%s: %s: make it with wrtrain teach", path, strerror(errno));
	int err = fstat(fd, &st) ? WR_EIO : WR_OK;
	void *map = MAP_FAILED;
	if (!err && (size_t)st.st_size >= sizeof(struct header))
		map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return wr_fail(msg, WR_EFORMAT, "%s: no file of wrtrain teach", path);
	const struct header *h = map;
	x->map = map;
	x->bytes = (size_t)st.st_size;
	if (memcmp(h->magic, MAGIC, sizeof(h->magic)) || h->top < 1 || h->top > SOFT_MAX_TOP ||
		h->wide > 1 || !(h->temperature > 0) || h->n_tokens > UINT32_MAX ||
		file_bytes(h) != x->bytes)
		err = wr_fail(msg, WR_EFORMAT, "%s: no file of wrtrain teach, or cut short", path);
	else if (h->n_items != ds->n_items || h->n_tokens != ds->token_off[ds->n_users] ||
		 h->data_key != key_of(ds))
		err = wr_fail(msg, WR_EINVAL, "%s was made from other data: make it anew with %s",
			path, "wrtrain teach");
	if (err)
		wr_learn_soft_targets_close(x);
	else
		set_views(x, h);
	return err;
}

void wr_learn_soft_targets_close(struct soft_targets *x)
{
	if (x->map)
		munmap(x->map, x->bytes);
	*x = (struct soft_targets){0};
}
