/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/report: JSON files, charts that are well-formed XML and have every point where it belongs. */
#include "wr_test.h"
#include "wr_report.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct wr_errmsg msg;
static char dir[] = "/tmp/wr_report_XXXXXX";
static char path[64];

static void in_dir(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", dir, name);
}

static void write_file(const char *text)
{
	FILE *f = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fputs(text, f);
	fclose(f);
}

static void test_json_round_trip(void)
{
	in_dir("a.json");
	json_t *root = json_pack(
		"{s:i, s:f, s:s, s:[i,i]}", "z", 1, "tenth", 0.1, "a", "é\"\n", "list", 1, 2);
	CU_ASSERT_EQUAL(wr_json_write(root, path, &msg), WR_OK);
	json_t *again;
	CU_ASSERT_EQUAL_FATAL(wr_json_read(path, &again, &msg), WR_OK);
	CU_ASSERT(json_equal(root, again));
	json_decref(again);
	json_decref(root);
	char *text;
	size_t bytes;
	CU_ASSERT_EQUAL_FATAL(wr_file_read(path, 4096, &text, &bytes, &msg), WR_OK);
	/* Insertion order, short numbers, newline at the end. */
	CU_ASSERT(strstr(text, "\"z\"") < strstr(text, "\"tenth\": 0.1,"));
	CU_ASSERT(strstr(text, "\"tenth\"") < strstr(text, "\"a\""));
	CU_ASSERT_EQUAL(text[bytes - 1], '\n');
	free(text);
}

static void test_json_errors(void)
{
	json_t *root;
	in_dir("none.json");
	CU_ASSERT_EQUAL(wr_json_read(path, &root, &msg), WR_ENOENT);
	CU_ASSERT_PTR_NULL(root);
	in_dir("bad.json");
	static const struct {
		const char *text, *at;
	} bad[] = {{"{\n\"a\": 1,\n}\n", "bad.json:3: "}, {"{\"a\": 1}\n\n x", "bad.json:3: "},
		{"{\"a\": 1,\n\"a\": 2}", "bad.json:2: "}, {"", "bad.json:1: "}};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(bad); i++) {
		write_file(bad[i].text);
		CU_ASSERT_EQUAL(wr_json_read(path, &root, &msg), WR_EFORMAT);
		CU_ASSERT_PTR_NULL(root);
		CU_ASSERT(strstr(msg.text, bad[i].at) != NULL);
	}
	root = json_object();
	CU_ASSERT(wr_json_write(root, "/nonexistent/x.json", &msg) != WR_OK);
	CU_ASSERT(strstr(msg.text, "/nonexistent/x.json") != NULL);
	json_decref(root);
}

static void test_machine(void)
{
	json_t *m = wr_report_machine("avx2");
	CU_ASSERT_PTR_NOT_NULL_FATAL(m);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(m, "isa")), "avx2");
	CU_ASSERT(json_integer_value(json_object_get(m, "cores")) == sysconf(_SC_NPROCESSORS_ONLN));
	CU_ASSERT(strlen(json_string_value(json_object_get(m, "cpu"))) > 0);
	CU_ASSERT(strlen(json_string_value(json_object_get(m, "kernel"))) > 0);
	CU_ASSERT(json_is_integer(json_object_get(m, "steal_ticks")));
	json_decref(m);
}

/* ---- a small check of well-formedness: tags nest, attributes are quoted, entities are the known
 * ones ---- */
static const char *skip_name(const char *s)
{
	while (isalnum((unsigned char)*s) || *s == '-')
		s++;
	return s;
}

/* Behind a tag's '>' or NULL; name and its kind through the pointers. */
static const char *take_tag(const char *s, char name[16], bool *closing, bool *empty)
{
	*closing = *s == '/';
	s += *closing;
	const char *end = skip_name(s);
	if (end == s || end - s >= 16)
		return NULL;
	snprintf(name, 16, "%.*s", (int)(end - s), s);
	for (s = end; *s == ' ';) {
		const char *equals = skip_name(s + 1);
		if (equals == s + 1 || equals[0] != '=' || equals[1] != '"')
			return NULL;
		s = equals + 2 + strcspn(equals + 2, "\"<");
		if (*s++ != '"')
			return NULL;
	}
	*empty = *s == '/';
	s += *empty;
	return *s == '>' ? s + 1 : NULL;
}

static bool well_formed(const char *s)
{
	static const char *const entities[] = {"&amp;", "&lt;", "&gt;"};
	char stack[16][16];
	int depth = 0;
	while (*s) {
		if (*s == '<') {
			char name[16];
			bool closing, empty;
			s = take_tag(s + 1, name, &closing, &empty);
			if (!s || depth == 16)
				return false;
			if (closing && (depth == 0 || strcmp(stack[--depth], name)))
				return false;
			if (!closing && !empty)
				strcpy(stack[depth++], name);
			continue;
		}
		if ((unsigned char)*s < 0x20 && *s != '\n')
			return false;
		size_t n = *s == '&' ? 0 : 1;
		for (unsigned int i = 0; *s == '&' && i < WR_ARRAY_LEN(entities); i++)
			if (!strncmp(s, entities[i], strlen(entities[i])))
				n = strlen(entities[i]);
		if (n == 0)
			return false;
		s += n;
	}
	return depth == 0;
}

static void test_the_checker_itself(void)
{
	CU_ASSERT(well_formed("<a b=\"c\"><d/>x &amp; y</a>\n"));
	static const char *const bad[] = {"<a>", "<a></b>", "<a b=c></a>", "<a>&</a>",
		"<a b=\"<\"></a>", "</a>", "<a b=\"c></a>", "<a>\x01</a>"};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(bad); i++)
		CU_ASSERT(!well_formed(bad[i]));
}

/* Writes, reads back and checks; the caller frees. */
static char *chart_text(const struct wr_chart *c)
{
	char *svg;
	size_t bytes;
	in_dir("c.svg");
	CU_ASSERT_EQUAL_FATAL(wr_chart_write(c, path, &msg), WR_OK);
	CU_ASSERT_EQUAL_FATAL(wr_file_read(path, 1 << 20, &svg, &bytes, &msg), WR_OK);
	CU_ASSERT(well_formed(svg));
	CU_ASSERT(strstr(svg, "nan") == NULL && strstr(svg, "inf") == NULL);
	return svg;
}

static unsigned int count(const char *s, const char *word)
{
	unsigned int n = 0;
	for (; (s = strstr(s, word)); s += strlen(word))
		n++;
	return n;
}

static void test_log_axes(void)
{
	double x[] = {1000, 10000, 100000, 1000000}, y[] = {1, 100, 10, 0}, x2[] = {1000, 1000000},
	       y2[] = {1, 100};
	struct wr_chart_series s[] = {{"p50 <&>", x, y, 4, false}, {"p99", x2, y2, 2, true}};
	struct wr_chart c = {
		"Latency & \xff load", "offered, requests/s", "µs", true, true, s, 2, "EPYC <1>"};
	char *svg = chart_text(&c);
	/* The title is no UTF-8: its byte is replaced; the y label is and stays. */
	CU_ASSERT(strstr(svg, ">Latency &amp; ? load<") != NULL);
	CU_ASSERT(strstr(svg, ">µs<") != NULL);
	CU_ASSERT(strstr(svg, ">p50 &lt;&amp;&gt;<") != NULL);
	/* 3 of 4 points (0 has no logarithm) and 2; corners of the plot: 76…664 × 396…76. */
	CU_ASSERT_EQUAL(count(svg, "<circle"), 5);
	CU_ASSERT(strstr(svg, "cx=\"76.0\" cy=\"396.0\"") != NULL);
	CU_ASSERT(strstr(svg, "cx=\"664.0\" cy=\"76.0\"") != NULL);
	CU_ASSERT(strstr(svg, "cx=\"272.0\" cy=\"76.0\"") != NULL);
	CU_ASSERT(strstr(svg, "cx=\"468.0\" cy=\"236.0\"") != NULL);
	CU_ASSERT(strstr(svg, ">1k<") && strstr(svg, ">1M<") && strstr(svg, ">100<"));
	free(svg);
}

static void test_linear_axes(void)
{
	double x[] = {0, 5, 10}, y[] = {20, __builtin_nan(""), 97};
	struct wr_chart_series s = {"a", x, y, 3, false};
	struct wr_chart c = {"t", "x", "y", false, false, &s, 1, NULL};
	char *svg = chart_text(&c);
	/* y from 0 to 100: 20 lies a fifth up; the missing point leaves a gap, so no 'L' in the
	 * path. */
	CU_ASSERT(strstr(svg, "cx=\"76.0\" cy=\"332.0\"") != NULL);
	CU_ASSERT(strstr(svg, ">100<") && strstr(svg, ">0<"));
	CU_ASSERT_EQUAL(count(svg, "<circle"), 2);
	CU_ASSERT(strstr(svg, "M76.0 332.0M664.0") != NULL);
	free(svg);
}

static void test_odd_data(void)
{
	struct wr_rng r;
	wr_rng_init(&r, 3, 0);
	double x[32], y[32];
	struct wr_chart_series s[8];
	for (unsigned int round = 0; round < 300; round++) {
		size_t n = wr_rng_below(&r, 33);
		double scale = pow(10.0, 40.0 * wr_rng_double(&r) - 20.0);
		for (size_t i = 0; i < n; i++) {
			x[i] = round % 5 ? wr_rng_normal(&r) * scale : scale;
			y[i] = round % 7 ? exp(40.0 * wr_rng_normal(&r)) : -scale;
			if (wr_rng_below(&r, 20) == 0)
				y[i] = round % 2 ? HUGE_VAL : __builtin_nan("");
		}
		size_t n_series = wr_rng_below(&r, 9);
		for (size_t i = 0; i < n_series; i++)
			s[i] = (struct wr_chart_series){"series name", x, y, n, round % 3 == 0};
		struct wr_chart c = {"t", "x", "y", round & 1, round & 2, s, n_series, "note"};
		char *svg = chart_text(&c);
		CU_ASSERT(n > 0 || strstr(svg, "no data") != NULL);
		free(svg);
	}
	struct wr_chart nine = {"t", "x", "y", false, false, s, 9, NULL};
	CU_ASSERT_EQUAL(wr_chart_write(&nine, path, &msg), WR_EINVAL);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"JSON files read back", test_json_round_trip},
		{"JSON errors name file and line", test_json_errors},
		{"machine", test_machine},
		{"the checker sees faults", test_the_checker_itself},
		{"charts: logarithmic axes", test_log_axes},
		{"charts: linear axes and gaps", test_linear_axes},
		{"charts: odd data", test_odd_data},
	};
	if (!mkdtemp(dir))
		return 1;
	int rc = wr_test_run("report", tests, WR_ARRAY_LEN(tests));
	static const char *const left[] = {"a.json", "bad.json", "c.svg"};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(left); i++) {
		in_dir(left[i]);
		unlink(path);
	}
	rmdir(dir);
	return rc;
}
