/* SPDX-License-Identifier: BSD-3-Clause */
/* A checkpoint's container: what opens gives tensors of the shapes that its header names, or says
 * that it has none such. */
#include "fuzz_file.h"
#include "safetensors_int.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static float out[64];
	static const struct st_tensor asked[] = {{.name = "a", .dims = {2, 3}, .n_dims = 2},
		{.name = "b", .dims = {4}, .n_dims = 1},
		{.name = "c", .dims = {8, 8}, .n_dims = 2}};
	struct safetensors *st = NULL;
	struct wr_errmsg msg = {""};
	int err = wr_learn_safetensors_open(&st, fuzz_file(data, size), &msg);

	FUZZ_CHECK(!err == (st != NULL) && (!err || msg.text[0]));
	for (size_t i = 0; st && i < WR_ARRAY_LEN(asked); i++) {
		err = wr_learn_safetensors_read(st, &asked[i], out, &msg);
		FUZZ_CHECK(!err || msg.text[0]);
		fuzz_accepted += !err;
	}
	const char *meta = st ? wr_learn_safetensors_meta(st, "step") : NULL;
	FUZZ_CHECK(!meta || strlen(meta) <= size);
	wr_learn_safetensors_close(st);
	return 0;
}
