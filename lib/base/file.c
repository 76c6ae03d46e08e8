/* SPDX-License-Identifier: BSD-3-Clause */
/* Whole-file reading and all-or-nothing writing. */
#include "wr_base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int wr_file_read(
	const char *path, size_t max_bytes, char **data, size_t *size, struct wr_errmsg *msg)
{
	int err = WR_OK;
	*data = NULL;
	*size = 0;
	FILE *f = fopen(path, "rb");
	if (!f)
		return wr_fail(
			msg, errno == ENOENT ? WR_ENOENT : WR_EIO, "%s: %s", path, strerror(errno));
	struct stat st;
	if (fstat(fileno(f), &st) || !S_ISREG(st.st_mode)) {
		err = wr_fail(msg, WR_EIO, "%s: not a regular file", path);
		goto out;
	}
	if ((uint64_t)st.st_size > max_bytes) {
		err = wr_fail(msg, WR_EINVAL, "%s: larger than %zu bytes", path, max_bytes);
		goto out;
	}
	size_t n = (size_t)st.st_size;
	char *buf = malloc(n + 1);
	if (!buf) {
		err = wr_fail(msg, WR_ENOMEM, "%s: no memory for %zu bytes", path, n);
		goto out;
	}
	if (fread(buf, 1, n, f) != n) {
		err = wr_fail(msg, WR_EIO, "%s: short read", path);
		free(buf);
		goto out;
	}
	buf[n] = '\0';
	*data = buf;
	*size = n;
out:
	fclose(f);
	return err;
}

struct wr_file_writer {
	FILE *f;
	char *path, *tmp; /* tmp == NULL: written straight into a device or pipe */
};

static void writer_free(struct wr_file_writer *w)
{
	if (w->f)
		fclose(w->f);
	free(w->path);
	free(w->tmp);
	free(w);
}

/* Whether path is there and no file: a device, a pipe, a terminal. Renaming over it would replace
 * it. */
static bool is_special(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

int wr_file_writer_open(struct wr_file_writer **out, const char *path, struct wr_errmsg *msg)
{
	*out = NULL;
	struct wr_file_writer *w = calloc(1, sizeof(*w));
	if (!w)
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", path);
	w->path = strdup(path);
	bool special = is_special(path);
	if (!w->path || (!special && asprintf(&w->tmp, "%s.tmp.%d", path, (int)getpid()) < 0)) {
		w->tmp = NULL;
		writer_free(w);
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", path);
	}
	w->f = fopen(special ? path : w->tmp, "wb");
	if (!w->f) {
		int err = wr_fail(msg, WR_EIO, "%s: cannot write: %s", path, strerror(errno));
		writer_free(w);
		return err;
	}
	*out = w;
	return WR_OK;
}

FILE *wr_file_writer_stream(struct wr_file_writer *w)
{
	return w->f;
}

int wr_file_writer_commit(struct wr_file_writer *w, struct wr_errmsg *msg)
{
	int err = WR_OK;
	bool bad = ferror(w->f) || fflush(w->f) || (w->tmp && fsync(fileno(w->f)));
	bad |= fclose(w->f) != 0;
	w->f = NULL;
	if (bad || (w->tmp && rename(w->tmp, w->path))) {
		err = wr_fail(msg, WR_EIO, "%s: writing failed: %s%s", w->path, strerror(errno),
			w->tmp ? "; nothing was changed" : "");
		if (w->tmp)
			unlink(w->tmp);
	}
	writer_free(w);
	return err;
}

void wr_file_writer_abort(struct wr_file_writer *w)
{
	if (!w)
		return;
	if (w->tmp)
		unlink(w->tmp);
	writer_free(w);
}
