/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/intent: rules files, targets, and scans against POSIX regular expressions and strcasestr. */
#include "wr_test.h"
#include "wr_intent.h"
#include "wr_test_bundle.h"

#include <regex.h>
#include <unistd.h>

/* 9 items "item1" … "item9"; odd rows are in Devices, even rows in Billing. */
static struct wr_bundle *bundle;
static struct wr_errmsg msg;

static struct wr_intents *compile(const char *text)
{
	struct wr_intents *x;
	int err = wr_intents_new(&x, text, strlen(text), "r.ini", bundle, &msg);
	if (err)
		printf("\n%s\n", msg.text);
	CU_ASSERT_EQUAL_FATAL(err, WR_OK);
	return x;
}

static struct wr_intent_scanner *scanner(const struct wr_intents *x)
{
	struct wr_intent_scanner *s;
	CU_ASSERT_EQUAL_FATAL(wr_intent_scanner_new(&s, x, &msg), WR_OK);
	return s;
}

static unsigned int scan(
	struct wr_intent_scanner *s, const char *text, uint16_t rules[WR_INTENT_MAX_MATCHES])
{
	return wr_intent_scan(s, text, strlen(text), rules);
}

static void test_rules_and_targets(void)
{
	struct wr_intents *x = compile(
		"# comment\n\n[refund]\npattern = refund|money back # or ; both\n"
		"items = item3 item1\titem3\nweight = 2.5\r\n"
		"; another\n[devices]\n  pattern=phone = (bad|broken)\ncategory = Devices\n"
		"[both]\npattern = x\ncategory = Devices\ncategory = Billing\nitems = item1\n"
		"[dev-2._]\ncategory = Devices\npattern = y\nweight = 0");
	uint32_t n;
	float weight;
	CU_ASSERT_EQUAL(wr_intents_count(x), 4);
	CU_ASSERT_STRING_EQUAL(wr_intents_rule_id(x, 0), "refund");
	CU_ASSERT_STRING_EQUAL(wr_intents_rule_id(x, 3), "dev-2._");
	const uint32_t *rows = wr_intents_targets(x, 0, &n, &weight);
	CU_ASSERT(n == 2 && rows[0] == 0 && rows[1] == 2);
	CU_ASSERT_EQUAL(weight, 2.5f);
	const uint32_t *devices = wr_intents_targets(x, 1, &n, &weight);
	CU_ASSERT(n == 4 && devices[0] == 1 && devices[3] == 7);
	CU_ASSERT_EQUAL(weight, 1.0f);
	rows = wr_intents_targets(x, 2, &n, &weight);
	CU_ASSERT_EQUAL(n, 9);
	for (uint32_t i = 0; i < n; i++)
		CU_ASSERT_EQUAL(rows[i], i);
	CU_ASSERT_PTR_EQUAL(wr_intents_targets(x, 3, &n, &weight), devices);
	CU_ASSERT_EQUAL(weight, 0.0f);
	CU_ASSERT(wr_intents_bytes(x) > 9 * 4);
	struct wr_intent_scanner *s = scanner(x);
	uint16_t rules[WR_INTENT_MAX_MATCHES];
	CU_ASSERT_EQUAL(scan(s, "I want my MONEY Back # OR ; both", rules), 2);
	CU_ASSERT(rules[0] == 0 && rules[1] == 3);
	CU_ASSERT_EQUAL(scan(s, "y: Phone = BROKEN, refund!", rules), 3);
	CU_ASSERT(rules[0] == 0 && rules[1] == 1 && rules[2] == 3);
	CU_ASSERT_EQUAL(scan(s, "nothing", rules), 0);
	CU_ASSERT_EQUAL(scan(s, "", rules), 0);
	wr_intent_scanner_free(s);
	wr_intents_free(x);
}

static void test_no_rules(void)
{
	struct wr_intents *x = compile("\xef\xbb\xbf# nothing yet\n");
	struct wr_intent_scanner *s = scanner(x);
	uint16_t rules[WR_INTENT_MAX_MATCHES];
	CU_ASSERT_EQUAL(wr_intents_count(x), 0);
	CU_ASSERT_EQUAL(scan(s, "refund", rules), 0);
	wr_intent_scanner_free(s);
	wr_intents_free(x);
	wr_intents_free(NULL);
	wr_intent_scanner_free(NULL);
}

static void test_errors(void)
{
	static const struct {
		const char *text, *place, *word;
		int err;
	} bad[] = {
		{"pattern = x\n", "r.ini:1: ", "before the first", WR_EFORMAT},
		{"[a]\nnonsense\n", "r.ini:2: ", "key = value", WR_EFORMAT},
		{"[a]\npatern = x\n", "r.ini:2: ", "unknown key", WR_EFORMAT},
		{"[a]\npattern =  \n", "r.ini:2: ", "no value", WR_EFORMAT},
		{"[a] x\n", "r.ini:1: ", "alone on its line", WR_EFORMAT},
		{"[\n", "r.ini:1: ", "alone on its line", WR_EFORMAT},
		{"[]\n", "r.ini:1: ", "1 to 31", WR_EFORMAT},
		{"[a b]\n", "r.ini:1: ", "letters", WR_EFORMAT},
		{"[12345678901234567890123456789012]\n", "r.ini:1: ", "1 to 31", WR_EFORMAT},
		{"\n[a]\nitems = item1\n", "r.ini:2: ", "no 'pattern", WR_EFORMAT},
		{"\n[a]\npattern = x\n", "r.ini:2: ", "no target", WR_EFORMAT},
		{"[a]\npattern = x\nitems = item1\n[b]\npattern = x\n[c]\npattern = x\nitems = "
		 "item1",
			"r.ini:4: ", "[b] has no target", WR_EFORMAT},
		{"[a]\npattern = x\npattern = y\n", "r.ini:3: ", "already", WR_EFORMAT},
		{"[a]\nweight = 1\nweight = 1\n", "r.ini:3: ", "already", WR_EFORMAT},
		{"[a]\nweight = 101\n", "r.ini:2: ", "0 to 100", WR_EFORMAT},
		{"[a]\nweight = -1\n", "r.ini:2: ", "0 to 100", WR_EFORMAT},
		{"[a]\nweight = nan\n", "r.ini:2: ", "0 to 100", WR_EFORMAT},
		{"[a]\npattern=x\nitems=item1\n[b]\npattern=x\nitems=item1\n[a]\npattern=x\nitems="
		 "item1\n",
			"r.ini:7: ", "exists already, in line 1", WR_EFORMAT},
		{"[a]\npattern = x\nitems = item1\nitems = item2 item10\n",
			"r.ini:4: ", "item named 'item10'", WR_ENOENT},
		{"[a]\npattern = x\nitems = item\n", "r.ini:3: ", "item named 'item'", WR_ENOENT},
		{"[a]\npattern = x\ncategory = Bill\n", "r.ini:3: ", "category named 'Bill'",
			WR_ENOENT},
		{"[a]\npattern = x\nitems = item1\n[b]\nitems = item1\npattern = (x\n",
			"r.ini:6: ", "[b]: pattern does not compile", WR_EFORMAT},
		{"[a]\npattern = x*\nitems = item1\n", "r.ini:2: ", "does not compile", WR_EFORMAT},
		{"[a]\npattern = \\xff\xff\nitems = item1\n", "r.ini:2: ", "does not compile",
			WR_EFORMAT},
		{"[a]\npattern = (x)\\1\nitems = item1\n", "r.ini:2: ", "does not compile",
			WR_EFORMAT},
	};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(bad); i++) {
		struct wr_intents *x;
		msg.text[0] = '\0';
		int err =
			wr_intents_new(&x, bad[i].text, strlen(bad[i].text), "r.ini", bundle, &msg);
		if (err != bad[i].err || !strstr(msg.text, bad[i].place) ||
			!strstr(msg.text, bad[i].word)) {
			printf("\n%s-> %d %s\n", bad[i].text, err, msg.text);
			CU_FAIL("wrong error");
		}
		CU_ASSERT_PTR_NULL(x);
	}
	struct wr_intents *x;
	CU_ASSERT_EQUAL(
		wr_intents_new(&x, "[a]\npattern = x\0y\n", 18, "r.ini", bundle, &msg), WR_EFORMAT);
	CU_ASSERT(strstr(msg.text, "r.ini:2: a NUL byte") != NULL);
}

static void test_utf8(void)
{
	struct wr_intents *x = compile("[umlaut]\npattern = rückgabe|退款\nitems = item1\n"
				       "[any]\npattern = .\nitems = item1\n");
	struct wr_intent_scanner *s = scanner(x);
	uint16_t rules[WR_INTENT_MAX_MATCHES];
	CU_ASSERT_EQUAL(scan(s, "RÜCKGABE bitte", rules), 2);
	CU_ASSERT_EQUAL(scan(s, "我要退款", rules), 2);
	CU_ASSERT(rules[0] == 0 && rules[1] == 1);
	CU_ASSERT_EQUAL(scan(s, "\xf4\x8f\xbf\xbf \xef\xbf\xbf \xed\x9f\xbf \xc2\x80", rules), 1);
	static const char *const bad[] = {"a\xff", "a\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x9f\xbf",
		"\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
		"\xe2\x82", "\xc3", "\xf0\x9f\x98", "\xe2\x28\xa1", "\xc3\x28", "\xf0\x9f\x28\x80"};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(bad); i++)
		CU_ASSERT_EQUAL(scan(s, bad[i], rules), 0);
	wr_intent_scanner_free(s);
	wr_intents_free(x);
}

/* A pattern over a, b, c that both engines read alike, of nested groups, classes and repetitions.
 */
static void random_pattern(struct wr_rng *r, char *out, size_t size, unsigned int depth)
{
	size_t used = 0;
	unsigned int parts = 1 + wr_rng_below(r, 3);
	out[0] = '\0';
	for (unsigned int i = 0; i < parts && used + 1 < size; i++) {
		char atom[128];
		static const char *const simple[] = {
			"a", "b", "c", "[ab]", "[^a]", ".", "ab", "ca"};
		if (depth < 2 && wr_rng_below(r, 4) == 0) {
			char left[48], right[48];
			random_pattern(r, left, sizeof(left), depth + 1);
			random_pattern(r, right, sizeof(right), depth + 1);
			snprintf(atom, sizeof(atom), "(%s|%s)", left, right);
		} else {
			snprintf(atom, sizeof(atom), "%s",
				simple[wr_rng_below(r, WR_ARRAY_LEN(simple))]);
		}
		static const char *const repeat[] = {"", "", "", "+", "?", "{2}"};
		bool one_character = atom[0] == '(' || atom[0] == '[' || !atom[1];
		used += (size_t)snprintf(out + used, size - used, "%s%s", atom,
			one_character ? repeat[wr_rng_below(r, WR_ARRAY_LEN(repeat))] : "");
	}
}

static void test_against_posix(void)
{
	struct wr_rng r;
	wr_rng_init(&r, 5, 0);
	unsigned int n_matched = 0, n_not = 0;
	for (unsigned int round = 0; round < 60; round++) {
		enum { N = 6 };
		char text[4096], pattern[N][128];
		regex_t posix[N];
		size_t used = 0;
		for (unsigned int i = 0; i < N;) {
			random_pattern(&r, pattern[i], sizeof(pattern[i]), 0);
			if (strlen(pattern[i]) >= 100 ||
				regcomp(&posix[i], pattern[i],
					REG_EXTENDED | REG_ICASE | REG_NOSUB))
				continue; /* cut in the middle */
			if (regexec(&posix[i], "", 0, NULL, 0) == 0) {
				regfree(&posix[i]); /* Hyperscan refuses what matches nothing at all
						     */
				continue;
			}
			used += (size_t)snprintf(text + used, sizeof(text) - used,
				"[r%u]\npattern = %s\nitems = item1\n", i, pattern[i]);
			i++;
		}
		struct wr_intents *x = compile(text);
		struct wr_intent_scanner *s = scanner(x);
		for (unsigned int u = 0; u < 200; u++) {
			char utterance[12];
			size_t n = wr_rng_below(&r, sizeof(utterance));
			for (size_t i = 0; i < n; i++)
				utterance[i] = "abcdABC"[wr_rng_below(&r, 7)];
			utterance[n] = '\0';
			uint16_t got[WR_INTENT_MAX_MATCHES];
			unsigned int n_got = scan(s, utterance, got), at = 0;
			for (unsigned int i = 0; i < N; i++) {
				bool expected = regexec(&posix[i], utterance, 0, NULL, 0) == 0;
				bool found = at < n_got && got[at] == i;
				at += found;
				n_matched += expected;
				n_not += !expected;
				if (expected != found)
					printf("\n'%s' on '%s': %d\n", pattern[i], utterance,
						found);
				CU_ASSERT_EQUAL(found, expected);
			}
			CU_ASSERT_EQUAL(at, n_got);
		}
		for (unsigned int i = 0; i < N; i++)
			regfree(&posix[i]);
		wr_intent_scanner_free(s);
		wr_intents_free(x);
	}
	CU_ASSERT(n_matched > 1000 && n_not > 1000);
}

/* 1,000 rules of one word each, several in an utterance: the lowest eight, ascending. */
static void test_many_rules(void)
{
	enum { N = 1000 };
	char *text = NULL;
	size_t bytes;
	FILE *f = open_memstream(&text, &bytes);
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	/* Rule numbers run against the words' order. */
	for (unsigned int i = 0; i < N; i++)
		fprintf(f, "[rule%u]\npattern = w%03ux\ncategory = %s\n", i, N - 1 - i,
			i % 2 ? "Devices" : "Billing");
	fclose(f);
	struct wr_intents *x = compile(text);
	free(text);
	CU_ASSERT_EQUAL(wr_intents_count(x), N);
	struct wr_intent_scanner *s = scanner(x);
	struct wr_rng r;
	wr_rng_init(&r, 9, 0);
	unsigned int n_full = 0;
	for (unsigned int round = 0; round < 500; round++) {
		bool wanted[N] = {false};
		char utterance[256];
		size_t used = 0;
		for (unsigned int i = wr_rng_below(&r, 20); i > 0; i--) {
			unsigned int word = wr_rng_below(&r, N);
			wanted[N - 1 - word] = true;
			used += (size_t)snprintf(utterance + used, sizeof(utterance) - used,
				"%c%03uX ", i % 2 ? 'w' : 'W', word);
		}
		uint16_t got[WR_INTENT_MAX_MATCHES];
		unsigned int n = wr_intent_scan(s, utterance, used, got), at = 0;
		for (uint16_t i = 0; i < N && at < WR_INTENT_MAX_MATCHES; i++) {
			if (!wanted[i])
				continue;
			CU_ASSERT_FATAL(at < n);
			CU_ASSERT_EQUAL(got[at], i);
			at++;
		}
		CU_ASSERT_EQUAL(at, n);
		n_full += n == WR_INTENT_MAX_MATCHES;
	}
	CU_ASSERT(n_full > 50);
	wr_intent_scanner_free(s);
	wr_intents_free(x);
}

/* A sound file with changed bytes: an error with a line, or a scanner that works. */
static void test_mutations(void)
{
	static const char sound[] =
		"[refund]\npattern = refund|money\nitems = item1 item2\nweight = 2\n"
		"[dev]\npattern = phone\ncategory = Devices\n";
	struct wr_rng r;
	wr_rng_init(&r, 13, 0);
	unsigned int n_sound = 0, n_bad = 0;
	for (unsigned int round = 0; round < 3000; round++) {
		size_t n = sizeof(sound) - 1;
		char *text = malloc(n); /* exact, for sanitizers */
		CU_ASSERT_PTR_NOT_NULL_FATAL(text);
		memcpy(text, sound, n);
		for (unsigned int i = 0; i < 1 + round % 3; i++) {
			uint64_t v = wr_rng_u64(&r);
			text[wr_rng_below(&r, (uint32_t)n)] = round % 2 ? (char)v : sound[v % n];
		}
		struct wr_intents *x;
		msg.text[0] = '\0';
		int err = wr_intents_new(&x, text, n, "m.ini", bundle, &msg);
		free(text);
		if (err) {
			n_bad++;
			CU_ASSERT(strncmp(msg.text, "m.ini:", 6) == 0);
			continue;
		}
		n_sound++;
		uint16_t got[WR_INTENT_MAX_MATCHES];
		struct wr_intent_scanner *s = scanner(x);
		CU_ASSERT(scan(s, "my phone wants a refund", got) <= wr_intents_count(x));
		wr_intent_scanner_free(s);
		wr_intents_free(x);
	}
	CU_ASSERT(n_sound > 100 && n_bad > 100);
}

/* The shipped example, whose targets this suite's bundle has. */
static void test_example(void)
{
	char *text;
	size_t bytes;
	CU_ASSERT_EQUAL_FATAL(wr_file_read(WR_SOURCE_ROOT "/configs/rules-example.ini", 1 << 20,
				      &text, &bytes, &msg),
		WR_OK);
	struct wr_intents *x = compile(text);
	struct wr_intent_scanner *s = scanner(x);
	free(text);
	uint16_t rules[WR_INTENT_MAX_MATCHES];
	static const char *const utterances[] = {"You charged me twice, refund please",
		"my Router won't start", "how can I cancel my subscription", "prerefund"};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(utterances); i++) {
		unsigned int n = scan(s, utterances[i], rules);
		CU_ASSERT_EQUAL(n, i < 3 ? 1 : 0);
		CU_ASSERT(n == 0 || rules[0] == i);
	}
	wr_intent_scanner_free(s);
	wr_intents_free(x);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"rules, targets, weights", test_rules_and_targets},
		{"a file without rules", test_no_rules},
		{"errors name their line", test_errors},
		{"UTF-8, sound and broken", test_utf8},
		{"random patterns against POSIX", test_against_posix},
		{"1,000 rules, bounded matches", test_many_rules},
		{"mutated files", test_mutations},
		{"configs/rules-example.ini", test_example},
	};
	char path[] = "/tmp/wr_intent_XXXXXX";
	int fd = mkstemp(path);
	if (fd < 0)
		return 1;
	close(fd);
	struct wr_bundle_model model = wr_test_bundle_reference(9);
	wr_test_bundle_write(path, &model, 1);
	if (wr_bundle_open(&bundle, path, &msg)) {
		fprintf(stderr, "%s\n", msg.text);
		return 1;
	}
	int rc = wr_test_run("intent", tests, WR_ARRAY_LEN(tests));
	wr_bundle_close(bundle);
	unlink(path);
	return rc;
}
