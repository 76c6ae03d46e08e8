/* SPDX-License-Identifier: BSD-3-Clause */
/* heads.safetensors: the heads of a run, bound to its student by a key. */
#include "heads_int.h"
#include "safetensors_int.h"

#include <stdlib.h>
#include <string.h>

#define N_TENSORS 6

static void tensors_of(const struct wr_heads *h, struct st_tensor *t)
{
	const struct st_tensor all[N_TENSORS] = {
		{"heads.in.weight", h->w + h->in, {h->hidden, h->n_in}, 2},
		{"heads.in.bias", h->w + h->in_bias, {h->hidden}, 1},
		{"heads.out.weight", h->w + h->out, {2, h->hidden}, 2},
		{"heads.out.bias", h->w + h->out_bias, {2}, 1},
		{"heads.item.bias", h->w + h->item, {2, h->n_items}, 2},
		{"heads.position", h->w + h->position, {h->n_positions}, 1},
	};
	memcpy(t, all, sizeof(all));
}

int wr_heads_write(const struct wr_heads *h, const char *path, struct wr_errmsg *msg)
{
	struct st_tensor t[N_TENSORS];
	char hidden[16], positions[16], key[24];
	snprintf(hidden, sizeof(hidden), "%u", h->hidden);
	snprintf(positions, sizeof(positions), "%u", h->n_positions);
	snprintf(key, sizeof(key), "%llu", (unsigned long long)h->key);
	json_t *meta = json_pack("{s:s, s:s, s:s, s:s}", "format", "wirerank heads 1", "hidden",
		hidden, "positions", positions, "student", key);
	if (!meta)
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", path);
	tensors_of(h, t);
	int err = wr_learn_safetensors_write(path, t, N_TENSORS, meta, msg);
	json_decref(meta);
	return err;
}

static int number(const struct safetensors *st, const char *path, const char *key, uint64_t max,
	uint64_t *v, struct wr_errmsg *msg)
{
	const char *text = wr_learn_safetensors_meta(st, key);
	return text && !wr_parse_u64(text, 1, max, v)
		       ? WR_OK
		       : wr_fail(msg, WR_EFORMAT,
				 "%s: metadata has no sound %s: no heads of wrtrain", path, key);
}

int wr_heads_load(
	struct wr_heads **out, const char *path, const struct wr_student *s, struct wr_errmsg *msg)
{
	struct safetensors *st;
	struct wr_heads *h = NULL;
	struct st_tensor t[N_TENSORS];
	uint64_t hidden, positions, key;
	*out = NULL;
	int err = wr_learn_safetensors_open(&st, path, msg);
	if (err)
		return err;
	err = number(st, path, "hidden", 4096, &hidden, msg);
	if (!err)
		err = number(st, path, "positions", 256, &positions, msg);
	if (!err)
		err = number(st, path, "student", UINT64_MAX, &key, msg);
	if (!err)
		err = wr_learn_heads_new(&h, s, (uint32_t)hidden, (uint32_t)positions, msg);
	if (!err && h->key != key)
		err = wr_fail(msg, WR_EINVAL,
			"%s belongs to another student: train heads anew with wrtrain fit-ctr",
			path);
	if (!err)
		tensors_of(h, t);
	for (int i = 0; i < N_TENSORS && !err; i++)
		err = wr_learn_safetensors_read(st, &t[i], h->w + (t[i].data - h->w), msg);
	wr_learn_safetensors_close(st);
	if (err)
		wr_heads_free(h);
	else
		*out = h;
	return err;
}
