/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * safetensors (https://github.com/huggingface/safetensors, "Format"): u64 header length, JSON
 * header, bytes. Only F32 tensors of at most two dimensions here. Files of some MB, read whole.
 */
#ifndef WR_LEARN_SAFETENSORS_INT_H
#define WR_LEARN_SAFETENSORS_INT_H

#include "wr_report.h"

struct st_tensor {
	char name[64];
	const float *data;
	uint32_t dims[2], n_dims;
};
/* Writes all or nothing. metadata: object of strings, borrowed, NULL = none. */
int wr_learn_safetensors_write(const char *path, const struct st_tensor *t, unsigned int n,
	const json_t *metadata, struct wr_errmsg *msg) WR_MUST_CHECK;

struct safetensors;
/*
 * Reads and checks a file: header bounds, types, shapes against offsets, and that tensors fill the
 * bytes without hole or overlap. WR_ENOENT, WR_EIO, WR_EFORMAT, WR_ENOMEM.
 */
int wr_learn_safetensors_open(
	struct safetensors **st, const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_learn_safetensors_close(struct safetensors *st);
/* A metadata string, NULL when absent. */
const char *wr_learn_safetensors_meta(const struct safetensors *st, const char *key);
/* Fills in the dimensions of tensor t->name; false when there is none. */
bool wr_learn_safetensors_shape(const struct safetensors *st, struct st_tensor *t);
/* Number of tensors. */
unsigned int wr_learn_safetensors_count(const struct safetensors *st);
/* The i-th one's name. */
const char *wr_learn_safetensors_name(const struct safetensors *st, unsigned int i);
/* Values of all tensors together. */
uint64_t wr_learn_safetensors_values(const struct safetensors *st);
/* Copies t->name's values to out, which has room for t's dimensions; WR_EFORMAT when absent or of
 * another shape. */
int wr_learn_safetensors_read(const struct safetensors *st, const struct st_tensor *t, float *out,
	struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
