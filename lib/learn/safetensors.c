/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading and writing safetensors files. */
#include "safetensors_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE   ((size_t)64 << 30)
#define MAX_HEADER ((uint64_t)100 << 20) /* the format's own limit */

static size_t tensor_floats(const struct st_tensor *t)
{
	size_t n = 1;
	for (uint32_t i = 0; i < t->n_dims; i++)
		n *= t->dims[i];
	return n;
}

static char *make_header(const struct st_tensor *t, unsigned int n, const json_t *metadata)
{
	json_t *root = json_object();
	size_t at = 0;
	if (metadata)
		json_object_set(root, "__metadata__", (json_t *)(uintptr_t)metadata);
	for (unsigned int i = 0; i < n; i++) {
		size_t bytes = tensor_floats(&t[i]) * sizeof(float);
		json_t *shape = json_array();
		for (uint32_t k = 0; k < t[i].n_dims; k++)
			json_array_append_new(shape, json_integer(t[i].dims[k]));
		json_object_set_new(root, t[i].name,
			json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", shape,
				"data_offsets", (json_int_t)at, (json_int_t)(at + bytes)));
		at += bytes;
	}
	char *text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

int wr_learn_safetensors_write(const char *path, const struct st_tensor *t, unsigned int n,
	const json_t *metadata, struct wr_errmsg *msg)
{
	char *header = make_header(t, n, metadata);
	struct wr_file_writer *w;
	if (!header)
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", path);
	int err = wr_file_writer_open(&w, path, msg);
	if (!err) {
		FILE *f = wr_file_writer_stream(w);
		uint64_t used = strlen(header), padded = WR_ALIGN_UP(used, (uint64_t)8);
		/* Write errors are sticky in f; commit sees them. */
		fwrite(&padded, sizeof(padded), 1, f);
		fwrite(header, 1, used, f);
		for (; used < padded; used++)
			fputc(' ', f);
		for (unsigned int i = 0; i < n; i++)
			fwrite(t[i].data, sizeof(float), tensor_floats(&t[i]), f);
		err = wr_file_writer_commit(w, msg);
	}
	free(header);
	return err;
}

struct safetensors {
	char *path, *file;
	const char *data; /* behind the header */
	uint64_t n_values;
	json_t *root;
};

/* The tensor `name` of the header: shape, and its place in the bytes. */
static int parse_entry(const char *path, const char *name, json_t *entry, struct st_tensor *t,
	uint64_t span[2], struct wr_errmsg *msg)
{
	const char *dtype;
	json_t *shape;
	json_int_t from, to;
	json_error_t why;
	if (json_unpack_ex(entry, &why, 0, "{s:s, s:o, s:[I, I]}", "dtype", &dtype, "shape", &shape,
		    "data_offsets", &from, &to))
		return wr_fail(msg, WR_EFORMAT, "%s: tensor %s: %s", path, name, why.text);
	if (strcmp(dtype, "F32"))
		return wr_fail(
			msg, WR_EFORMAT, "%s: tensor %s is %s: store it as F32", path, name, dtype);
	if (!json_is_array(shape) || json_array_size(shape) > 2 || from < 0 || to < from)
		return wr_fail(msg, WR_EFORMAT, "%s: tensor %s: bad shape or offsets", path, name);
	t->n_dims = (uint32_t)json_array_size(shape);
	for (uint32_t i = 0; i < t->n_dims; i++) {
		json_int_t dim = json_integer_value(json_array_get(shape, i));
		if (dim < 0 || dim > INT32_MAX)
			return wr_fail(msg, WR_EFORMAT, "%s: tensor %s: bad shape", path, name);
		t->dims[i] = (uint32_t)dim;
	}
	span[0] = (uint64_t)from;
	span[1] = (uint64_t)to;
	if (span[1] - span[0] != tensor_floats(t) * sizeof(float))
		return wr_fail(
			msg, WR_EFORMAT, "%s: tensor %s: shape and offsets disagree", path, name);
	return WR_OK;
}

static int by_start(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	if (x[0] != y[0])
		return x[0] < y[0] ? -1 : 1;
	return x[1] < y[1] ? -1 : x[1] > y[1];
}

/* Every tensor is sound and together they fill the bytes exactly. */
static int check_entries(const struct safetensors *st, uint64_t bytes, struct wr_errmsg *msg)
{
	const char *name;
	json_t *entry;
	size_t n = 0;
	int err = WR_OK;
	uint64_t(*span)[2] = malloc((json_object_size(st->root) + 1) * sizeof(*span)), end = 0;
	if (!span)
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", st->path);
	json_object_foreach(st->root, name, entry)
	{
		struct st_tensor t;
		if (!strcmp(name, "__metadata__"))
			continue;
		err = parse_entry(st->path, name, entry, &t, span[n++], msg);
		if (err)
			goto out;
	}
	qsort(span, n, sizeof(*span), by_start);
	for (size_t i = 0; i < n; i++) {
		if (span[i][0] != end) {
			err = wr_fail(
				msg, WR_EFORMAT, "%s: tensors overlap or leave a hole", st->path);
			goto out;
		}
		end = span[i][1];
	}
	if (end != bytes)
		err = wr_fail(msg, WR_EFORMAT, "%s: %llu bytes of tensors, the header names %llu",
			st->path, (unsigned long long)bytes, (unsigned long long)end);
out:
	free(span);
	return err;
}

int wr_learn_safetensors_open(struct safetensors **out, const char *path, struct wr_errmsg *msg)
{
	size_t size;
	uint64_t header;
	json_error_t why;
	*out = NULL;
	struct safetensors *st = calloc(1, sizeof(*st));
	if (!st || !(st->path = strdup(path))) {
		free(st);
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", path);
	}
	int err = wr_file_read(path, MAX_FILE, &st->file, &size, msg);
	if (err)
		goto fail;
	if (size < sizeof(header)) {
		err = wr_fail(msg, WR_EFORMAT, "%s: too short for a safetensors file", path);
		goto fail;
	}
	memcpy(&header, st->file, sizeof(header));
	if (header > MAX_HEADER || header > size - sizeof(header)) {
		err = wr_fail(msg, WR_EFORMAT,
			"%s: the header reaches beyond the file: truncated, or no safetensors",
			path);
		goto fail;
	}
	st->data = st->file + sizeof(header) + header;
	st->root = json_loadb(st->file + sizeof(header), header, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(st->root)) {
		err = wr_fail(
			msg, WR_EFORMAT, "%s: header: %s", path, st->root ? "no object" : why.text);
		goto fail;
	}
	st->n_values = (size - sizeof(header) - header) / sizeof(float);
	err = check_entries(st, size - sizeof(header) - header, msg);
	if (err)
		goto fail;
	*out = st;
	return WR_OK;
fail:
	wr_learn_safetensors_close(st);
	return err;
}

void wr_learn_safetensors_close(struct safetensors *st)
{
	if (!st)
		return;
	json_decref(st->root);
	free(st->file);
	free(st->path);
	free(st);
}

const char *wr_learn_safetensors_meta(const struct safetensors *st, const char *key)
{
	return json_string_value(json_object_get(json_object_get(st->root, "__metadata__"), key));
}

bool wr_learn_safetensors_shape(const struct safetensors *st, struct st_tensor *t)
{
	uint64_t span[2];
	json_t *entry = json_object_get(st->root, t->name);
	return entry && !parse_entry(st->path, t->name, entry, t, span, NULL);
}

unsigned int wr_learn_safetensors_count(const struct safetensors *st)
{
	return (unsigned int)json_object_size(st->root) -
	       (json_object_get(st->root, "__metadata__") != NULL);
}

const char *wr_learn_safetensors_name(const struct safetensors *st, unsigned int i)
{
	const char *name;
	json_t *entry;
	json_object_foreach(st->root, name, entry)
	{
		if (strcmp(name, "__metadata__") && !i--)
			return name;
	}
	return NULL;
}

uint64_t wr_learn_safetensors_values(const struct safetensors *st)
{
	return st->n_values;
}

int wr_learn_safetensors_read(
	const struct safetensors *st, const struct st_tensor *t, float *out, struct wr_errmsg *msg)
{
	struct st_tensor found;
	uint64_t span[2];
	json_t *entry = json_object_get(st->root, t->name);
	if (!entry)
		return wr_fail(msg, WR_EFORMAT, "%s: no tensor %s", st->path, t->name);
	int err = parse_entry(st->path, t->name, entry, &found, span, msg);
	if (err)
		return err;
	if (found.n_dims != t->n_dims || found.dims[0] != t->dims[0] ||
		(t->n_dims == 2 && found.dims[1] != t->dims[1]))
		return wr_fail(msg, WR_EFORMAT, "%s: tensor %s has another shape than the model",
			st->path, t->name);
	memcpy(out, st->data + span[0], span[1] - span[0]);
	for (size_t i = 0; i < tensor_floats(t); i++)
		if (!isfinite(out[i]))
			return wr_fail(msg, WR_EFORMAT,
				"%s: tensor %s holds a value that is not finite", st->path,
				t->name);
	return WR_OK;
}
