/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulated centre: its output is pinned, its texts are unique, its log follows the
 * probabilities that it states. */
#include "wr_test.h"
#include "sim_internal.h"

#include <math.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* FNV-1a 64 of the files below in this order. The parameters are frozen: a new value here means
 * that every figure measured on the simulated centre so far is void. */
#define DIGEST 0x3a299ea7a3cc0fcdu
static const char *const digest_files[] = {"items.tsv", "interactions.tsv", "users.tsv",
	"utterances.tsv", "rules.ini", "impressions.tsv", "dataset.json"};

static uint64_t fnv1a(uint64_t h, const void *data, size_t n)
{
	const uint8_t *p = data;
	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h;
}

static uint64_t test_user_id(const char *name, size_t bytes)
{
	return fnv1a(0xcbf29ce484222325u, name, bytes);
}

static struct wr_sim *world_of(uint64_t seed, uint32_t n_items)
{
	struct wr_sim *w;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL_FATAL(wr_sim_new(&w, seed, n_items, &msg), WR_OK);
	return w;
}

/* A fresh folder of this test's own, and the data set's path inside it. */
static void make_place(char place[64], char dir[80])
{
	strcpy(place, "/tmp/wr_test_sim.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(place));
	sprintf(dir, "%s/data", place);
}

static uint64_t digest_and_remove(const char *dir)
{
	uint64_t h = 0xcbf29ce484222325u;
	for (size_t i = 0; i < WR_ARRAY_LEN(digest_files); i++) {
		char path[128], *data;
		size_t n;
		struct wr_errmsg msg;
		snprintf(path, sizeof(path), "%s/%s", dir, digest_files[i]);
		CU_ASSERT_EQUAL_FATAL(wr_file_read(path, 1u << 28, &data, &n, &msg), WR_OK);
		CU_ASSERT(n > 0);
		h = fnv1a(h, data, n);
		free(data);
		unlink(path);
	}
	return h;
}

static void test_digest(void)
{
	char place[64], dir[80];
	struct wr_errmsg msg;
	struct wr_sim_counts counts;
	struct wr_sim *w = world_of(7, 1000);
	make_place(place, dir);
	struct wr_sim_write_params p = {dir, 200, true, false, test_user_id};
	CU_ASSERT_EQUAL_FATAL(wr_sim_write(w, &p, &counts, &msg), WR_OK);
	uint64_t h = digest_and_remove(dir);
	if (h != DIGEST)
		printf("digest is 0x%016llx ", (unsigned long long)h);
	CU_ASSERT_EQUAL(h, DIGEST);
	CU_ASSERT_EQUAL(rmdir(dir), 0);   /* nothing else was in it */
	CU_ASSERT_EQUAL(rmdir(place), 0); /* nor beside it */
	wr_sim_free(w);
}

static void test_write_refuses(void)
{
	char place[64], dir[80], other[96];
	struct wr_errmsg msg;
	struct wr_sim_counts counts;
	struct wr_sim *w = world_of(7, 1000);
	make_place(place, dir);
	CU_ASSERT_EQUAL_FATAL(mkdir(dir, 0777), 0);
	sprintf(other, "%s/precious", dir);
	FILE *f = fopen(other, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fclose(f);
	struct wr_sim_write_params p = {dir, 3, true, false, test_user_id};
	CU_ASSERT_EQUAL(wr_sim_write(w, &p, &counts, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "not empty"));
	CU_ASSERT_EQUAL(access(other, F_OK), 0);
	unlink(other);
	/* An empty folder is fine, and a data set may be replaced when asked. */
	CU_ASSERT_EQUAL(wr_sim_write(w, &p, &counts, &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_sim_write(w, &p, &counts, &msg), WR_EINVAL);
	p.replace = true;
	p.n_users = 2;
	CU_ASSERT_EQUAL(wr_sim_write(w, &p, &counts, &msg), WR_OK);
	digest_and_remove(dir);
	p.n_users = 0;
	CU_ASSERT_EQUAL(wr_sim_write(w, &p, &counts, &msg), WR_EINVAL);
	p.n_users = 2;
	p.dir = "/tmp/wr_test_sim.no/such/folder";
	CU_ASSERT_EQUAL(wr_sim_write(w, &p, &counts, &msg), WR_EIO);
	CU_ASSERT_EQUAL(rmdir(dir), 0);
	CU_ASSERT_EQUAL(rmdir(place), 0);
	wr_sim_free(w);
}

static void test_sizes(void)
{
	struct wr_sim *w;
	struct wr_errmsg msg;
	CU_ASSERT_EQUAL(wr_sim_new(&w, 1, 999, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NULL(w);
	CU_ASSERT_EQUAL(wr_sim_new(&w, 1, 1000001, &msg), WR_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "1000001"));
}

static int by_u64(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* Titles and names of the largest world are unique, whole, and one line. */
static void test_titles(void)
{
	uint32_t n = WR_SIM_MAX_ITEMS;
	struct wr_sim *w = world_of(1, n);
	uint64_t *hash = malloc(n * sizeof(*hash));
	bool category_used[WR_SIM_CATEGORIES] = {false};
	uint32_t bad = 0, same = 0;
	struct wr_sim_item item;
	for (uint32_t row = 0; row < n; row++) {
		wr_sim_item_get(w, row, &item);
		hash[row] = fnv1a(0xcbf29ce484222325u, item.title, strlen(item.title));
		bad += strlen(item.title) >= WR_SIM_TEXT_BYTES - 1 ||
		       strpbrk(item.title, "\t\n%") != NULL;
		category_used[item.topic % WR_SIM_CATEGORIES] = true;
	}
	qsort(hash, n, sizeof(*hash), by_u64);
	for (uint32_t i = 1; i < n; i++)
		same += hash[i] == hash[i - 1];
	CU_ASSERT_EQUAL(bad, 0);
	CU_ASSERT_EQUAL(same, 0);
	for (unsigned int c = 0; c < WR_SIM_CATEGORIES; c++)
		CU_ASSERT(category_used[c]);
	free(hash);
	wr_sim_free(w);
}

/* Every way of saying a subject is found by its own rule and by no other. */
static void test_rules(void)
{
	struct wr_sim *w = world_of(1, 16 * 240);
	uint32_t n = wr_sim_n_rules(w), missed = 0, crossed = 0, rows[16];
	char id[240][32], pattern[WR_SIM_TEXT_BYTES], text[WR_SIM_TEXT_BYTES];
	static regex_t re[240];
	CU_ASSERT_EQUAL_FATAL(n, 240);
	for (uint32_t r = 0; r < n; r++) {
		wr_sim_rule_get(r, id[r], pattern);
		CU_ASSERT(strlen(id[r]) >= 3);
		CU_ASSERT_EQUAL_FATAL(
			regcomp(&re[r], pattern, REG_EXTENDED | REG_ICASE | REG_NOSUB), 0);
		CU_ASSERT_EQUAL(wr_sim_rule_items(w, r, 16, rows), 16);
		for (uint32_t q = 0; q < r; q++)
			if (!strcmp(id[q], id[r]))
				CU_FAIL("two rules of one id");
	}
	for (uint32_t r = 0; r < n; r++)
		for (uint32_t phrase = 0; phrase < WR_SIM_PHRASES; phrase++) {
			wr_sim_utterance(r, phrase, text);
			missed += regexec(&re[r], text, 0, NULL, 0) != 0;
			for (uint32_t q = 0; phrase < 3 && q < n; q++)
				if (q != r && regexec(&re[q], text, 0, NULL, 0) == 0) {
					printf("'%s' is found by %s ", text, id[q]);
					crossed++;
				}
		}
	CU_ASSERT_EQUAL(missed, 0);
	CU_ASSERT_EQUAL(crossed, 0);
	for (uint32_t r = 0; r < n; r++)
		regfree(&re[r]);
	wr_sim_free(w);
}

/* What must hold of any user; the log's counts against their stated expectation, 5 standard
 * deviations wide. */
static void test_walk(void)
{
	struct wr_sim *w = world_of(3, 2000);
	double clicks = 0, expected = 0, variance = 0, conversions = 0, c_expected = 0,
	       c_variance = 0;
	uint64_t n_clicks = 0;
	uint32_t n_users = 400;
	for (uint32_t u = 0; u < n_users; u++) {
		struct wr_sim_walk walk;
		struct wr_sim_slate s;
		int64_t last = 0;
		wr_sim_walk_start(&walk, w, u);
		struct wr_sim_state before = walk.state;
		while (wr_sim_walk_next(&walk, &s)) {
			CU_ASSERT(s.n > 0 && s.n <= WR_SIM_SLATE && s.time_ms > last);
			last = s.time_ms;
			for (uint32_t i = 0; i < s.n; i++) {
				double p = wr_sim_click_probability(w, &before, s.rows[i], i);
				double c = wr_sim_convert_probability(w, &before, s.rows[i]);
				CU_ASSERT(p > 0.0 && p < 1.0); /* 0 would be a seen row */
				expected += p;
				variance += p * (1.0 - p);
				if (!s.click_ms[i]) {
					CU_ASSERT_EQUAL(s.convert_ms[i], 0);
					continue;
				}
				clicks++;
				c_expected += c;
				c_variance += c * (1.0 - c);
				conversions += s.convert_ms[i] != 0;
				CU_ASSERT(s.click_ms[i] > last);
				last = WR_MAX(s.click_ms[i], s.convert_ms[i]);
			}
			before = walk.state;
		}
		CU_ASSERT(walk.state.n_seen >= WR_SIM_MIN_CLICKS &&
			  walk.state.n_seen <= WR_SIM_MAX_CLICKS);
		n_clicks += walk.state.n_seen;
	}
	CU_ASSERT_EQUAL((double)n_clicks, clicks);
	CU_ASSERT(fabs((double)n_clicks / n_users - 50.0) < 5.0);
	CU_ASSERT(fabs(clicks - expected) < 5.0 * sqrt(variance));
	CU_ASSERT(fabs(conversions - c_expected) < 5.0 * sqrt(c_variance));
	wr_sim_free(w);
}

/* The best slate by brute force: no other row would be clicked more often than the oracle's last
 * one. */
static void test_oracle(void)
{
	struct wr_sim *w = world_of(5, 1003); /* the last topic is short */
	for (uint32_t u = 0; u < 20; u++) {
		struct wr_sim_walk walk;
		struct wr_sim_slate s;
		uint32_t rows[WR_SIM_SLATE];
		wr_sim_walk_start(&walk, w, u);
		while (wr_sim_walk_next(&walk, &s))
			;
		wr_sim_oracle(w, &walk.state, WR_SIM_SLATE, rows);
		double least = 1.0, sum = 0.0;
		for (uint32_t i = 0; i < WR_SIM_SLATE; i++) {
			double p = wr_sim_click_probability(w, &walk.state, rows[i], 0);
			CU_ASSERT(p > 0.0 && p <= least);
			least = p;
			sum += p * wr_sim_examine(i);
		}
		for (uint32_t row = 0; row < 1003; row++) {
			bool chosen = false;
			for (uint32_t i = 0; i < WR_SIM_SLATE; i++)
				chosen |= rows[i] == row;
			CU_ASSERT(chosen ||
				  wr_sim_click_probability(w, &walk.state, row, 0) <= least);
		}
		CU_ASSERT_DOUBLE_EQUAL(
			wr_sim_slate_value(w, &walk.state, rows, WR_SIM_SLATE).clicks, sum, 1e-12);
		CU_ASSERT_EQUAL(
			wr_sim_click_probability(w, &walk.state, walk.state.seen[0], 0), 0.0);
	}
	wr_sim_free(w);
}

static void test_math(void)
{
	struct wr_rng r;
	double mean = 0.0, square = 0.0, exponential = 0.0;
	for (double x = -40.0; x < 40.0; x += 0.0137) {
		CU_ASSERT(fabs(wr_sim_exp(x) / exp(x) - 1.0) < 1e-14);
		CU_ASSERT(fabs(wr_sim_log(exp(x)) - x) < 1e-14 * (1.0 + fabs(x)));
	}
	CU_ASSERT_EQUAL(wr_sim_exp(0.0), 1.0);
	CU_ASSERT_EQUAL(wr_sim_log(1.0), 0.0);
	wr_rng_init(&r, 1, 1);
	for (int i = 0; i < 100000; i++) {
		double x = wr_sim_normal(&r);
		mean += x / 100000;
		square += x * x / 100000;
		exponential += wr_sim_exponential(&r) / 100000;
	}
	CU_ASSERT(fabs(mean) < 0.016); /* 5 standard errors, for each of the three */
	CU_ASSERT(fabs(square - 1.0) < 0.023);
	CU_ASSERT(fabs(exponential - 1.0) < 0.016);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"output is pinned", test_digest},
		{"writes whole or not at all", test_write_refuses},
		{"sizes out of range", test_sizes},
		{"a million unique titles", test_titles},
		{"utterances match their own rule only", test_rules},
		{"the log follows the stated probabilities", test_walk},
		{"oracle is the best slate", test_oracle},
		{"own exp, log and distributions", test_math},
	};
	return wr_test_run("sim", tests, WR_ARRAY_LEN(tests));
}
