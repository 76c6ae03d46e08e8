/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/bundle: what was written comes back; every single damaged byte and every wrong content is
 * refused. */
#include "wr_test.h"
#include "wr_test_bundle.h"

#include <unistd.h>
#include <zlib.h>

static char dir[] = "/tmp/wr_test_bundleXXXXXX";

static const char *in_dir(const char *name)
{
	static char path[128];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static struct wr_bundle_model small_shape(void)
{
	return (struct wr_bundle_model){.n_items = 5,
		.d = 16,
		.n_blocks = 1,
		.n_heads = 1,
		.n_kv_heads = 1,
		.head_dim = 16,
		.window = 3,
		.ffn = 16,
		.logit_scale = 20,
		.norm_eps = 1e-6f,
		.bundle_version = 3};
}

static void test_round_trip(void)
{
	struct wr_bundle_model m = small_shape();
	wr_test_bundle_write(in_dir("a.wrb"), &m, 1);
	struct wr_bundle *b, *c;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL_FATAL(wr_bundle_open(&b, in_dir("a.wrb"), &msg), WR_OK);
	CU_ASSERT_EQUAL(memcmp(wr_bundle_model(b), &m, sizeof(m)), 0);
	size_t size;
	CU_ASSERT_PTR_NOT_NULL(wr_bundle_section(b, WR_SEC_ITEM_Q, &size));
	CU_ASSERT_EQUAL(size, 5 * 16);
	CU_ASSERT_EQUAL((uintptr_t)wr_bundle_section(b, WR_SEC_ITEM_Q, NULL) % 64, 0);
	CU_ASSERT_PTR_NOT_NULL(wr_bundle_block(b, 0, "bias"));
	CU_ASSERT_PTR_NULL(wr_bundle_block(b, 1, "bias"));
	uint32_t n;
	const char *s = wr_bundle_string(b, WR_SEC_TITLES, 4, &n);
	CU_ASSERT(n == 7 && !memcmp(s, "Title 5", 7));
	wr_bundle_string(b, WR_SEC_TITLES, 5, &n);
	CU_ASSERT_EQUAL(n, 0);
	uint8_t id[16], other[16];
	wr_bundle_id(b, id);
	wr_test_bundle_write(in_dir("b.wrb"), &m, 2);
	CU_ASSERT_EQUAL_FATAL(wr_bundle_open(&c, in_dir("b.wrb"), &msg), WR_OK);
	wr_bundle_id(c, other);
	CU_ASSERT_NOT_EQUAL(memcmp(id, other, 16), 0);
	wr_bundle_close(b);
	wr_bundle_close(c);
}

static void write_bytes(const char *path, const char *data, size_t n)
{
	FILE *f = fopen(path, "wb");
	if (!f || fwrite(data, 1, n, f) != n)
		abort();
	fclose(f);
}

static void test_every_flipped_byte_is_seen(void)
{
	struct wr_bundle_model m = small_shape();
	wr_test_bundle_write(in_dir("a.wrb"), &m, 1);
	struct wr_bundle *b;
	struct wr_errmsg msg;
	char *data;
	size_t n, accepted = 0;
	CU_ASSERT_EQUAL_FATAL(wr_file_read(in_dir("a.wrb"), 1 << 20, &data, &n, &msg), WR_OK);
	for (size_t i = 0; i < n; i++) {
		data[i] ^= 0x10;
		write_bytes(in_dir("bad.wrb"), data, n);
		data[i] ^= 0x10;
		if (wr_bundle_open(&b, in_dir("bad.wrb"), &msg) == WR_OK) {
			/* Only the zero bytes between sections may change unseen. */
			CU_ASSERT_EQUAL(data[i], 0);
			accepted++;
			wr_bundle_close(b);
		}
	}
	CU_ASSERT(accepted < 64 * 26);
	CU_ASSERT(accepted < n / 2);
	for (size_t cut = 0; cut < n; cut += 97) {
		write_bytes(in_dir("bad.wrb"), data, cut);
		CU_ASSERT_NOT_EQUAL(wr_bundle_open(&b, in_dir("bad.wrb"), &msg), WR_OK);
		CU_ASSERT_PTR_NULL(b);
	}
	free(data);
	CU_ASSERT_EQUAL(wr_bundle_open(&b, in_dir("absent.wrb"), &msg), WR_ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "absent.wrb"));
}

/* Writes a bundle whose head says `said` while its tensors have the shape `made`. */
static int write_shape(const struct wr_bundle_model *said, const struct wr_bundle_model *made,
	struct wr_errmsg *msg)
{
	struct wr_bundle_builder *w;
	if (wr_bundle_builder_new(&w, msg))
		abort();
	wr_test_bundle_fill_tensors(w, made, 1);
	int err = wr_bundle_builder_add(w, WR_SEC_MODEL, said, sizeof(*said));
	if (!err)
		err = wr_bundle_builder_write(w, in_dir("shape.wrb"), msg);
	wr_bundle_builder_free(w);
	return err;
}

static void test_wrong_shapes_are_refused_and_leave_nothing(void)
{
	struct wr_errmsg msg;
	struct wr_bundle_model good = small_shape(), bad[11];
	for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++)
		bad[i] = good;
	bad[0].d = 17;
	bad[1].n_items = 0;
	bad[2].window = 300;
	bad[3].n_kv_heads = 0;
	bad[4].logit_scale = -1;
	bad[5].n_blocks = 2;
	bad[6].time_buckets = 1;
	bad[7].time_buckets = 257;
	bad[8].time_buckets = 64; /* without b0.time */
	bad[9].age_keys = 2;
	bad[10].age_keys = 1; /* without b0.age.q */
	for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++) {
		CU_ASSERT_EQUAL(write_shape(&bad[i], &good, &msg), WR_EFORMAT);
		CU_ASSERT_EQUAL(access(in_dir("shape.wrb"), F_OK), -1);
		CU_ASSERT_EQUAL(access(in_dir("shape.wrb.draft"), F_OK), -1);
	}
	CU_ASSERT_EQUAL(write_shape(&good, &good, &msg), WR_OK);
}

/* What a build of an older format would see, and what it would compute wrongly if it did not look:
 * the same head with a format that it knows. data: a bundle of format `of`. */
static void check_formats(char *data, size_t n, uint32_t of, const char *unknown)
{
	struct {
		char magic[8];
		uint32_t format, n_sections;
		uint64_t bytes;
		uint32_t crc;
		uint8_t rest[36];
	} head;
	for (uint32_t to = 0; to <= WR_BUNDLE_FORMAT_AGE + 1; to++) {
		struct wr_bundle *b;
		struct wr_errmsg msg = {""};
		bool read = to >= WR_BUNDLE_FORMAT && to <= WR_BUNDLE_FORMAT_AGE;
		memcpy(&head, data, sizeof(head));
		head.format = to;
		head.crc = 0;
		uint32_t crc = (uint32_t)crc32_z(0, (const void *)&head, sizeof(head));
		head.crc = (uint32_t)crc32_z(
			crc, (const void *)(data + 64), (size_t)head.n_sections * 64);
		memcpy(data, &head, sizeof(head));
		write_bytes(in_dir("bad.wrb"), data, n);
		CU_ASSERT_EQUAL(wr_bundle_open(&b, in_dir("bad.wrb"), &msg), !read     ? WR_EVERSION
									     : to < of ? WR_EFORMAT
										       : WR_OK);
		CU_ASSERT(read || strstr(msg.text, "this build reads 1 to 3"));
		CU_ASSERT(!read || to >= of || strstr(msg.text, unknown));
		wr_bundle_close(b);
	}
}

static void test_age_keys(void)
{
	struct wr_bundle_model plain = small_shape(), m = plain;
	struct wr_errmsg msg;
	struct wr_bundle *b;
	char *data;
	size_t n;
	m.age_keys = 1;
	wr_test_bundle_write(in_dir("a.wrb"), &m, 1);
	CU_ASSERT_EQUAL_FATAL(wr_bundle_open(&b, in_dir("a.wrb"), &msg), WR_OK);
	CU_ASSERT_PTR_NOT_NULL(wr_bundle_block(b, 0, "age.q"));
	CU_ASSERT_PTR_NOT_NULL(wr_bundle_block(b, 0, "age.s"));
	wr_bundle_close(b);
	CU_ASSERT_EQUAL_FATAL(wr_file_read(in_dir("a.wrb"), 1 << 20, &data, &n, &msg), WR_OK);
	check_formats(data, n, WR_BUNDLE_FORMAT_AGE, "has keys by age");
	free(data);
	CU_ASSERT_EQUAL(write_shape(&m, &plain, &msg), WR_EFORMAT);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "b0.age.q"));
}

/* Kept projections: a format of their own, and every plane is wanted. */
static void test_kept(void)
{
	struct wr_bundle_model plain = small_shape(), m = plain;
	struct wr_errmsg msg;
	struct wr_bundle *b;
	char *data;
	size_t n;
	uint32_t format;
	m.kept[WR_BUNDLE_UP] = 1;
	m.kept[WR_BUNDLE_DOWN] = 1;
	wr_test_bundle_write(in_dir("a.wrb"), &plain, 1);
	CU_ASSERT_EQUAL_FATAL(wr_file_read(in_dir("a.wrb"), 1 << 20, &data, &n, &msg), WR_OK);
	memcpy(&format, data + 8, 4);
	CU_ASSERT_EQUAL(format, WR_BUNDLE_FORMAT);
	free(data);
	wr_test_bundle_write(in_dir("a.wrb"), &m, 1);
	CU_ASSERT_EQUAL_FATAL(wr_bundle_open(&b, in_dir("a.wrb"), &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_bundle_n_kept(wr_bundle_model(b)), 2);
	CU_ASSERT(wr_bundle_kept(wr_bundle_model(b), 0, WR_BUNDLE_UP));
	CU_ASSERT(!wr_bundle_kept(wr_bundle_model(b), 0, WR_BUNDLE_QKV));
	CU_ASSERT_PTR_NOT_NULL(wr_bundle_block(b, 0, "down.low"));
	CU_ASSERT_PTR_NULL(wr_bundle_block(b, 0, "qkv.low"));
	wr_bundle_close(b);
	CU_ASSERT_EQUAL_FATAL(wr_file_read(in_dir("a.wrb"), 1 << 20, &data, &n, &msg), WR_OK);
	memcpy(&format, data + 8, 4);
	CU_ASSERT_EQUAL(format, WR_BUNDLE_FORMAT_KEPT);
	check_formats(data, n, WR_BUNDLE_FORMAT_KEPT, "keeps projections");
	free(data);
	/* Without the plane, and of a block that is not there. */
	CU_ASSERT_EQUAL(write_shape(&m, &plain, &msg), WR_EFORMAT);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "b0.up.low"));
	m.kept[WR_BUNDLE_UP] = 3;
	CU_ASSERT_EQUAL(write_shape(&m, &m, &msg), WR_EFORMAT);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "a block that it has not"));
}

static void test_damaged_plane(void)
{
	struct wr_bundle_model m = small_shape();
	struct wr_bundle_builder *w;
	struct wr_errmsg msg;
	int8_t low[16 * 16] = {0};
	m.kept[WR_BUNDLE_DOWN] = 1;
	for (int i = 0; i < 3; i++) {
		struct wr_bundle_model said = small_shape();
		CU_ASSERT_EQUAL_FATAL(wr_bundle_builder_new(&w, &msg), WR_OK);
		wr_test_bundle_fill_tensors(w, &said, 1);
		low[255] = i == 1 ? -128 : 5;
		CU_ASSERT_EQUAL(wr_bundle_builder_add(w, WR_SEC_MODEL, &m, sizeof(m)), WR_OK);
		CU_ASSERT_EQUAL(
			wr_bundle_builder_add(w, "b0.down.low", low, sizeof(low) - (i == 2)),
			WR_OK);
		CU_ASSERT_EQUAL(
			wr_bundle_builder_write(w, in_dir("m.wrb"), &msg), i ? WR_EFORMAT : WR_OK);
		CU_ASSERT(!i || strstr(msg.text, "b0.down.low"));
		wr_bundle_builder_free(w);
	}
}

static void test_minus_128_is_refused(void)
{
	struct wr_bundle_builder *w;
	struct wr_errmsg msg;
	struct wr_bundle_model m = small_shape();
	int8_t q[5 * 16] = {0};
	q[79] = -128;
	CU_ASSERT_EQUAL_FATAL(wr_bundle_builder_new(&w, &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_bundle_builder_add(w, WR_SEC_MODEL, &m, sizeof(m)), WR_OK);
	CU_ASSERT_EQUAL(wr_bundle_builder_add(w, WR_SEC_ITEM_Q, q, sizeof(q)), WR_OK);
	CU_ASSERT_EQUAL(wr_bundle_builder_add(w, WR_SEC_ITEM_Q, q, sizeof(q)), WR_EINVAL);
	CU_ASSERT_EQUAL(wr_bundle_builder_add(w, "a name that is too long", q, 1), WR_EINVAL);
	CU_ASSERT_EQUAL(wr_bundle_builder_write(w, in_dir("m.wrb"), &msg), WR_EFORMAT);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "-128"));
	wr_bundle_builder_free(w);
}

int main(void)
{
	static const struct wr_test tests[] = {{"round trip", test_round_trip},
		{"damage", test_every_flipped_byte_is_seen},
		{"wrong shapes", test_wrong_shapes_are_refused_and_leave_nothing},
		{"kept projections", test_kept}, {"keys by age", test_age_keys},
		{"damaged second planes", test_damaged_plane}, {"-128", test_minus_128_is_refused}};
	if (!mkdtemp(dir))
		return 1;
	int rc = wr_test_run("bundle", tests, WR_ARRAY_LEN(tests));
	static const char *const files[] = {"a.wrb", "b.wrb", "bad.wrb", "shape.wrb", "m.wrb"};
	for (size_t i = 0; i < WR_ARRAY_LEN(files); i++)
		unlink(in_dir(files[i]));
	rmdir(dir);
	return rc;
}
