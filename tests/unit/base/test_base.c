/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/base: histogram against a plain array, random numbers, parsing, files. */
#include "wr_test.h"

#include <sched.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_hist_buckets(void)
{
	for (uint64_t v = 0; v < 100000; v++) {
		unsigned int i = wr_hist_index(v);
		CU_ASSERT_FATAL(wr_hist_bucket_floor(i) <= v);
		CU_ASSERT_FATAL(wr_hist_bucket_floor(i + 1) > v);
	}
	CU_ASSERT_EQUAL(wr_hist_index(UINT64_MAX), WR_HIST_BUCKETS - 1);
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static void test_hist_quantiles_against_sorted_array(void)
{
	enum { N = 20000 };
	static uint64_t v[N];
	static struct wr_hist h, half[2];
	struct wr_rng r;
	wr_rng_init(&r, 7, 0);
	for (int i = 0; i < N; i++) {
		v[i] = (uint64_t)exp(wr_rng_double(&r) * 20.0);
		wr_hist_add(&half[i & 1], v[i], 1);
	}
	wr_hist_merge(&h, &half[0]);
	wr_hist_merge(&h, &half[1]);
	qsort(v, N, sizeof(v[0]), compare_u64);
	CU_ASSERT_EQUAL(h.count, N);
	CU_ASSERT_EQUAL(h.max, v[N - 1]);
	static const double q[] = {0.01, 0.5, 0.9, 0.99, 0.999, 1.0};
	for (size_t i = 0; i < WR_ARRAY_LEN(q); i++) {
		double want = (double)v[(int)ceil(q[i] * N) - 1],
		       got = (double)wr_hist_quantile(&h, q[i]);
		CU_ASSERT(got >= want && got <= want * 1.016 + 1);
	}
}

static void test_rng_moments(void)
{
	struct wr_rng r;
	double sum = 0, square = 0, expo = 0;
	wr_rng_init(&r, 1, 2);
	for (int i = 0; i < 100000; i++) {
		double x = wr_rng_normal(&r);
		sum += x;
		square += x * x;
		expo += wr_rng_exponential(&r);
		CU_ASSERT_FATAL(wr_rng_below(&r, 7) < 7);
	}
	CU_ASSERT(fabs(sum / 1e5) < 0.02);
	CU_ASSERT(fabs(square / 1e5 - 1) < 0.03);
	CU_ASSERT(fabs(expo / 1e5 - 1) < 0.02);
}

static void test_zipf_matches_its_probabilities(void)
{
	enum { N = 50, DRAWS = 400000 };
	static const double exponents[] = {0.99, 1.0, 1.5};
	for (size_t e = 0; e < WR_ARRAY_LEN(exponents); e++) {
		struct wr_zipf z;
		struct wr_rng r;
		uint64_t hits[N] = {0};
		double norm = 0;
		wr_zipf_init(&z, N, exponents[e]);
		wr_rng_init(&r, 3, e);
		for (int i = 0; i < DRAWS; i++) {
			uint64_t k = wr_zipf_draw(&z, &r);
			CU_ASSERT_FATAL(k < N);
			hits[k]++;
		}
		for (int k = 1; k <= N; k++)
			norm += pow(k, -exponents[e]);
		for (int k = 1; k <= N; k++) {
			double p = pow(k, -exponents[e]) / norm, sd = sqrt(p * (1 - p) / DRAWS);
			CU_ASSERT(fabs((double)hits[k - 1] / DRAWS - p) < 5 * sd);
		}
	}
}

static void test_parsing_refuses(void)
{
	uint64_t u;
	int64_t i;
	double d;
	bool b;
	CU_ASSERT_EQUAL(wr_parse_u64("12x", 0, 100, &u), WR_EFORMAT);
	CU_ASSERT_EQUAL(wr_parse_u64("", 0, 100, &u), WR_EFORMAT);
	CU_ASSERT_EQUAL(wr_parse_u64("-1", 0, 100, &u), WR_EFORMAT);
	CU_ASSERT_EQUAL(wr_parse_u64("101", 0, 100, &u), WR_EINVAL);
	CU_ASSERT_EQUAL(wr_parse_u64("99999999999999999999", 0, UINT64_MAX, &u), WR_EINVAL);
	CU_ASSERT_EQUAL(wr_parse_u64("0x10", 0, 100, &u), WR_OK);
	CU_ASSERT_EQUAL(u, 16);
	CU_ASSERT_EQUAL(wr_parse_i64("-5", -10, 10, &i), WR_OK);
	CU_ASSERT_EQUAL(i, -5);
	CU_ASSERT_EQUAL(wr_parse_double("nan", 0, 1, &d), WR_EFORMAT);
	CU_ASSERT_EQUAL(wr_parse_double("0.5", 0, 1, &d), WR_OK);
	CU_ASSERT_EQUAL(wr_parse_bool("On", &b), WR_OK);
	CU_ASSERT(b);
	CU_ASSERT_EQUAL(wr_parse_bool("maybe", &b), WR_EFORMAT);
	CU_ASSERT_EQUAL(wr_parse_bytes("2M", 0, UINT64_MAX, &u), WR_OK);
	CU_ASSERT_EQUAL(u, 2u << 20);
	CU_ASSERT_EQUAL(wr_parse_bytes("M", 0, UINT64_MAX, &u), WR_EFORMAT);
}

/* Every code point's encoding is sound; every other sequence of up to three bytes, and cut ones,
 * are not. */
static void test_utf8(void)
{
	static uint8_t sound[1 << 24 >> 3];
	char s[16] = "seven by";
	unsigned int wrong = 0;
	for (uint32_t c = 0; c < 0x110000; c++) {
		size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
		if (c >= 0xd800 && c < 0xe000)
			continue;
		s[8] = (char)(n == 1 ? c : (0xf00u >> n & 0xff) | c >> (6 * (n - 1)));
		for (size_t i = 1; i < n; i++)
			s[8 + i] = (char)(0x80 | (c >> (6 * (n - 1 - i)) & 0x3f));
		wrong += !wr_utf8_valid(s + 8, n) + !wr_utf8_valid(s, 8 + n) +
			 (n > 1 && wr_utf8_valid(s + 8, n - 1));
		if (n == 3) {
			uint32_t key = (uint32_t)(uint8_t)s[8] << 16 |
				       (uint32_t)(uint8_t)s[9] << 8 | (uint8_t)s[10];
			sound[key / 8] |= (uint8_t)(1u << key % 8);
		}
	}
	for (uint32_t key = 0xe00000; key < 0xf00000;
		key++) { /* whatever begins like three bytes */
		s[8] = (char)(key >> 16);
		s[9] = (char)(key >> 8);
		s[10] = (char)key;
		wrong += wr_utf8_valid(s + 8, 3) != (sound[key / 8] >> key % 8 & 1);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_FALSE(wr_utf8_valid("\xc1\x81", 2));
	CU_ASSERT_FALSE(wr_utf8_valid("\xf0\x82\x82\xac", 4));
	CU_ASSERT_FALSE(wr_utf8_valid("\xf4\x90\x80\x80", 4));
	CU_ASSERT_TRUE(wr_utf8_valid("", 0));
}

static void test_options(void)
{
	const char *rate = "5", *json = NULL, *words[2];
	const struct wr_opt opts[] = {{"rate", "R", "", &rate}, {"json", NULL, "", &json}};
	unsigned int n;
	struct wr_errmsg msg;
	char *good[] = {"x", "run", "--rate=7", "--json", "--", "--odd", NULL};
	CU_ASSERT_EQUAL(wr_opt_parse(6, good, "", opts, 2, words, 2, &n, &msg), WR_OK);
	CU_ASSERT_STRING_EQUAL(rate, "7");
	CU_ASSERT_STRING_EQUAL(json, "");
	CU_ASSERT_EQUAL(n, 2);
	CU_ASSERT_STRING_EQUAL(words[1], "--odd");
	char *unknown[] = {"x", "--rat=7", NULL}, *missing[] = {"x", "--rate", NULL};
	CU_ASSERT_EQUAL(wr_opt_parse(2, unknown, "", opts, 2, words, 2, &n, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "--rat=7"));
	CU_ASSERT_EQUAL(wr_opt_parse(2, missing, "", opts, 2, words, 2, &n, &msg), WR_EINVAL);
}

static void test_files_are_whole_or_absent(void)
{
	char path[] = "/tmp/wr_test_fileXXXXXX";
	int fd = mkstemp(path);
	CU_ASSERT_FATAL(fd >= 0);
	close(fd);
	unlink(path);
	struct wr_file_writer *w;
	struct wr_errmsg msg;
	char *data;
	size_t size;
	CU_ASSERT_EQUAL_FATAL(wr_file_writer_open(&w, path, &msg), WR_OK);
	fputs("half", wr_file_writer_stream(w));
	wr_file_writer_abort(w);
	CU_ASSERT_EQUAL(access(path, F_OK), -1);
	CU_ASSERT_EQUAL_FATAL(wr_file_writer_open(&w, path, &msg), WR_OK);
	fputs("whole", wr_file_writer_stream(w));
	CU_ASSERT_EQUAL(access(path, F_OK), -1);
	CU_ASSERT_EQUAL(wr_file_writer_commit(w, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_file_read(path, 100, &data, &size, &msg), WR_OK);
	CU_ASSERT_STRING_EQUAL(data, "whole");
	free(data);
	CU_ASSERT_EQUAL(wr_file_read(path, 4, &data, &size, &msg), WR_EINVAL);
	unlink(path);
	CU_ASSERT_EQUAL(wr_file_read(path, 100, &data, &size, &msg), WR_ENOENT);
	CU_ASSERT_EQUAL(wr_file_writer_open(&w, "/nonexistent/x", &msg), WR_EIO);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "/nonexistent/x"));
}

/* --json=/dev/null as root must not turn the device into a file. */
static void test_pipes_stay_pipes(void)
{
	char path[] = "/tmp/wr_test_pipeXXXXXX", text[8] = "";
	struct wr_file_writer *w;
	struct wr_errmsg msg;
	struct stat st;
	int fd = mkstemp(path);
	CU_ASSERT_FATAL(fd >= 0);
	close(fd);
	unlink(path);
	CU_ASSERT_EQUAL_FATAL(mkfifo(path, 0600), 0);
	fd = open(path, O_RDONLY | O_NONBLOCK);
	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL_FATAL(wr_file_writer_open(&w, path, &msg), WR_OK);
	fputs("whole", wr_file_writer_stream(w));
	CU_ASSERT_EQUAL(wr_file_writer_commit(w, &msg), WR_OK);
	CU_ASSERT_EQUAL(read(fd, text, sizeof(text) - 1), 5);
	CU_ASSERT_STRING_EQUAL(text, "whole");
	CU_ASSERT_EQUAL_FATAL(wr_file_writer_open(&w, path, &msg), WR_OK);
	wr_file_writer_abort(w);
	CU_ASSERT(stat(path, &st) == 0 && S_ISFIFO(st.st_mode));
	close(fd);
	unlink(path);
}

static void test_error_texts(void)
{
	CU_ASSERT_STRING_EQUAL(wr_strerror(WR_EINTR), "interrupted");
	CU_ASSERT_STRING_EQUAL(wr_strerror(-99), "unknown error");
	CU_ASSERT_STRING_EQUAL(wr_strerror(3), "unknown error");
}

static void test_option_values(void)
{
	static const char *const bad[] = {"0", "101", "1,,x", "5,-1", "1,2,3,4"};
	struct wr_errmsg msg;
	uint64_t v = 0;
	uint32_t list[3] = {0};
	unsigned int n;

	CU_ASSERT_EQUAL(wr_opt_u64("rate", "7", 1, 7, &v, &msg), WR_OK);
	CU_ASSERT_EQUAL(v, 7);
	CU_ASSERT_EQUAL(wr_opt_u64("rate", "8", 1, 7, &v, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "--rate=8"));
	CU_ASSERT_EQUAL(wr_opt_u32_list("click", NULL, 1, 100, list, 3, &n, &msg), WR_OK);
	CU_ASSERT_EQUAL(n, 0);
	CU_ASSERT_EQUAL(wr_opt_u32_list("click", "1, 100,7", 1, 100, list, 3, &n, &msg), WR_OK);
	CU_ASSERT(n == 3 && list[0] == 1 && list[1] == 100 && list[2] == 7);
	for (unsigned int i = 0; i < WR_ARRAY_LEN(bad); i++) {
		CU_ASSERT_EQUAL(
			wr_opt_u32_list("click", bad[i], 1, 100, list, 3, &n, &msg), WR_EINVAL);
		CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "--click"));
	}
}

static void test_host_port(void)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
	} good[] = {{"edge", "edge", 0}, {"192.0.2.7:4700", "192.0.2.7", 4700},
		{"[fd47::1]:65535", "fd47::1", 65535}, {"[::1]", "::1", 0},
		{"fd47::1", "fd47::1", 0}};
	static const char *const bad[] = {"", ":4700", "a:", "a:0", "a:65536", "a:x", "[::1",
		"[]:1", "[::1]4700", "longer-than-15b"};
	char host[15];
	uint16_t port;
	for (unsigned int i = 0; i < WR_ARRAY_LEN(good); i++) {
		port = 9;
		CU_ASSERT_EQUAL(wr_parse_host_port(good[i].text, host, sizeof(host), &port), WR_OK);
		CU_ASSERT(!strcmp(host, good[i].host) && port == good[i].port);
	}
	for (unsigned int i = 0; i < WR_ARRAY_LEN(bad); i++)
		CU_ASSERT_EQUAL(wr_parse_host_port(bad[i], host, sizeof(host), &port), WR_EFORMAT);
}

/* Where the machine allows it the kernel must say what was asked for, else the message what it
 * needs. */
static void test_realtime(void)
{
	struct wr_errmsg msg;
	int err = wr_thread_realtime(1, &msg);
	if (err == WR_EPERM) {
		printf("real-time priority is refused here: only the message was tested ");
		CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "CAP_SYS_NICE"));
		return;
	}
	CU_ASSERT_EQUAL(err, WR_OK);
	CU_ASSERT_EQUAL(sched_getscheduler(0), SCHED_FIFO | SCHED_RESET_ON_FORK);
	CU_ASSERT_EQUAL(wr_thread_realtime(0, &msg), WR_OK);
	CU_ASSERT_EQUAL(sched_getscheduler(0), SCHED_OTHER);
	CU_ASSERT_EQUAL(wr_thread_realtime(1000, &msg), WR_EINVAL);
}

int main(void)
{
	static const struct wr_test tests[] = {{"histogram buckets", test_hist_buckets},
		{"histogram quantiles", test_hist_quantiles_against_sorted_array},
		{"random moments", test_rng_moments}, {"zipf", test_zipf_matches_its_probabilities},
		{"parsing", test_parsing_refuses}, {"UTF-8", test_utf8}, {"options", test_options},
		{"values of options", test_option_values}, {"host and port", test_host_port},
		{"files", test_files_are_whole_or_absent},
		{"pipes and devices stay what they are", test_pipes_stay_pipes},
		{"real-time threads", test_realtime}, {"error texts", test_error_texts}};
	return wr_test_run("base", tests, WR_ARRAY_LEN(tests));
}
