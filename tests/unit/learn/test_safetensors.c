/* SPDX-License-Identifier: BSD-3-Clause */
/* safetensors: what was written is read back, and a file that is not sound is refused with its
 * reason. */
#include "learn_test.h"
#include "safetensors_int.h"

#include <math.h>

static const float values[6] = {1, -2.5f, 3e-30f, 4e30f, 0, -0.0f};

static void test_round_trip(void)
{
	struct st_tensor t[2] = {{.name = "a", .data = values, .dims = {2, 3}, .n_dims = 2},
		{.name = "b.c", .data = values, .dims = {4}, .n_dims = 1}};
	struct wr_errmsg msg;
	struct safetensors *st;
	float out[6];
	json_t *meta = json_pack("{s:s}", "seed", "18446744073709551615");
	CU_ASSERT_EQUAL(wr_learn_safetensors_write(learn_test_path("rt"), t, 2, meta, &msg), WR_OK);
	json_decref(meta);
	CU_ASSERT_EQUAL_FATAL(wr_learn_safetensors_open(&st, learn_test_path("rt"), &msg), WR_OK);
	CU_ASSERT_STRING_EQUAL(wr_learn_safetensors_meta(st, "seed"), "18446744073709551615");
	CU_ASSERT_PTR_NULL(wr_learn_safetensors_meta(st, "other"));
	CU_ASSERT_EQUAL(wr_learn_safetensors_read(st, &t[0], out, &msg), WR_OK);
	CU_ASSERT_EQUAL(memcmp(out, values, sizeof(values)), 0);
	CU_ASSERT_EQUAL(wr_learn_safetensors_read(st, &t[1], out, &msg), WR_OK);
	CU_ASSERT_EQUAL(memcmp(out, values, 4 * sizeof(float)), 0);
	t[0].dims[0] = 3;
	CU_ASSERT_EQUAL(wr_learn_safetensors_read(st, &t[0], out, &msg), WR_EFORMAT);
	strcpy(t[0].name, "missing");
	CU_ASSERT_EQUAL(wr_learn_safetensors_read(st, &t[0], out, &msg), WR_EFORMAT);
	wr_learn_safetensors_close(st);
}

/* The file of `header` and n_data bytes of zeros. */
static int open_file(
	const char *header, uint64_t header_bytes, size_t n_data, struct wr_errmsg *msg)
{
	char *bytes = calloc(1, 8 + strlen(header) + n_data);
	struct safetensors *st;
	memcpy(bytes, &header_bytes, 8);
	memcpy(bytes + 8, header, strlen(header));
	learn_test_write("bad", bytes, 8 + strlen(header) + n_data);
	free(bytes);
	int err = wr_learn_safetensors_open(&st, learn_test_path("bad"), msg);
	CU_ASSERT(err != WR_OK || st != NULL);
	wr_learn_safetensors_close(st);
	return err;
}

static void test_malformed(void)
{
	static const struct {
		const char *header, *why;
		size_t n_data;
		int err;
	} cases[] = {
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "", 8, WR_OK},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
			"bytes of tensors", 4, WR_EFORMAT},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
			"bytes of tensors", 12, WR_EFORMAT},
		{"{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]}}", "F16", 4,
			WR_EFORMAT},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", "disagree", 8,
			WR_EFORMAT},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,8]}}", "shape", 8,
			WR_EFORMAT},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,2],\"data_offsets\":[0,8]}}", "shape", 8,
			WR_EFORMAT},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", "offsets", 8,
			WR_EFORMAT},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", "hole", 12,
			WR_EFORMAT},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
		 "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
			"overlap", 12, WR_EFORMAT},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", "data_offsets", 8, WR_EFORMAT},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2147483647,2147483647],\"data_offsets\":[0,"
		 "8]}}",
			"disagree", 8, WR_EFORMAT},
		{"[]", "object", 0, WR_EFORMAT},
		{"{\"a\":", "header", 0, WR_EFORMAT},
	};
	struct wr_errmsg msg;
	for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++) {
		msg.text[0] = '\0';
		int err =
			open_file(cases[i].header, strlen(cases[i].header), cases[i].n_data, &msg);
		if (err != cases[i].err || !strstr(msg.text, cases[i].why))
			printf("\n  case %zu: %d '%s'", i, err, msg.text);
		CU_ASSERT_EQUAL(err, cases[i].err);
		CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, cases[i].why));
	}
	/* Lengths that lie: beyond the file, and near 2^64. */
	CU_ASSERT_EQUAL(open_file("{}", 3, 0, &msg), WR_EFORMAT);
	CU_ASSERT_EQUAL(open_file("{}", UINT64_MAX, 0, &msg), WR_EFORMAT);
	CU_ASSERT_EQUAL(open_file("{}", UINT64_MAX - 7, 0, &msg), WR_EFORMAT);
	learn_test_write("short", "1234567", 7);
	struct safetensors *st;
	CU_ASSERT_EQUAL(wr_learn_safetensors_open(&st, learn_test_path("short"), &msg), WR_EFORMAT);
	CU_ASSERT_PTR_NULL(st);
	CU_ASSERT_EQUAL(wr_learn_safetensors_open(&st, learn_test_path("absent"), &msg), WR_ENOENT);
}

/* A checkpoint cut anywhere is refused; it never crashes and never loads. */
static void test_truncated(void)
{
	struct st_tensor t = {.name = "a", .data = values, .dims = {6}, .n_dims = 1};
	struct wr_errmsg msg;
	struct safetensors *st;
	CU_ASSERT_EQUAL(
		wr_learn_safetensors_write(learn_test_path("whole"), &t, 1, NULL, &msg), WR_OK);
	char *bytes;
	size_t n;
	CU_ASSERT_EQUAL_FATAL(
		wr_file_read(learn_test_path("whole"), 1 << 20, &bytes, &n, &msg), WR_OK);
	for (size_t cut = 0; cut < n; cut++) {
		learn_test_write("cut", bytes, cut);
		CU_ASSERT_EQUAL(
			wr_learn_safetensors_open(&st, learn_test_path("cut"), &msg), WR_EFORMAT);
	}
	free(bytes);
}

static void test_not_finite(void)
{
	float bad[2] = {1, INFINITY}, out[2];
	struct st_tensor t = {.name = "a", .data = bad, .dims = {2}, .n_dims = 1};
	struct wr_errmsg msg;
	struct safetensors *st;
	CU_ASSERT_EQUAL(
		wr_learn_safetensors_write(learn_test_path("inf"), &t, 1, NULL, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_learn_safetensors_open(&st, learn_test_path("inf"), &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_learn_safetensors_read(st, &t, out, &msg), WR_EFORMAT);
	wr_learn_safetensors_close(st);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"what was written is read back", test_round_trip},
		{"files that are not sound are refused with the reason", test_malformed},
		{"a file cut anywhere is refused", test_truncated},
		{"values that are not finite are refused", test_not_finite},
	};
	learn_test_begin();
	int rc = wr_test_run("learn safetensors", tests, WR_ARRAY_LEN(tests));
	learn_test_end();
	return rc;
}
