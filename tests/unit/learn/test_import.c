/* SPDX-License-Identifier: BSD-3-Clause */
/* Import: the three formats, append-only ids, and bad input refused with file, line and reason,
 * nothing half-written. */
#include "learn_test.h"

static int import(enum wr_import_format format, const char *const *names, unsigned int n,
	const char *out, struct wr_errmsg *msg)
{
	const char *path[4];
	for (unsigned int i = 0; i < n; i++)
		path[i] = learn_test_path(names[i]);
	struct wr_import in = {.format = format, .sources = path, .n_sources = n};
	msg->text[0] = '\0';
	return wr_import_run(&in, learn_test_path(out), msg);
}

static void expect(const char *file, const char *text)
{
	char *got = learn_test_read(file);
	if (strcmp(got, text))
		printf("\n  %s is:\n%s", file, got);
	CU_ASSERT_STRING_EQUAL(got, text);
	free(got);
}

static void test_sasrec(void)
{
	static const char *const source[] = {"s.txt"};
	struct wr_errmsg msg;
	/* Users interleaved, numbers out of order, CR LF, a user whose name is no number. */
	learn_test_text("s.txt", "7 10\nann 9\r\n7 2\n\n7 10\nann 10\n");
	CU_ASSERT_EQUAL_FATAL(import(WR_IMPORT_SASREC, source, 1, "s", &msg), WR_OK);
	expect("s/items.tsv", "#id\tname\tcategory\ttitle\n1\t2\t\t\n2\t9\t\t\n3\t10\t\t\n");
	char *log = learn_test_read("s/interactions.tsv");
	CU_ASSERT_PTR_NOT_NULL(strstr(log, "7\t3\tclick\t0\n7\t1\tclick\t0\n7\t3\tclick\t0\n"));
	free(log);
	char *users = learn_test_read("s/users.tsv");
	CU_ASSERT_PTR_NOT_NULL(strstr(users, "7\t7\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(users, "\tann\n"));
	free(users);
}

static void test_append_only(void)
{
	static const char *const first[] = {"a1.txt"}, *const second[] = {"a2.txt"},
				 *const third[] = {"a3.txt"};
	struct wr_errmsg msg;
	learn_test_text("a1.txt", "1 20\n1 5\n1 20\n");
	learn_test_text("a2.txt", "1 7\n1 20\n1 1\n");
	learn_test_text("a3.txt", "1 b\n1 20\n1 a\n1 100\n");
	CU_ASSERT_EQUAL(import(WR_IMPORT_SASREC, first, 1, "a", &msg), WR_OK);
	CU_ASSERT_EQUAL(import(WR_IMPORT_SASREC, second, 1, "a", &msg), WR_OK);
	expect("a/items.tsv",
		"#id\tname\tcategory\ttitle\n1\t5\t\t\n2\t20\t\t\n3\t1\t\t\n4\t7\t\t\n");
	/* The log is replaced, not added to. */
	expect("a/interactions.tsv",
		"#user\titem\tkind\ttime_ms\n1\t4\tclick\t0\n1\t2\tclick\t0\n1\t3\tclick\t0\n");
	/* Not all numbers: order of first appearance. */
	CU_ASSERT_EQUAL(import(WR_IMPORT_SASREC, third, 1, "a", &msg), WR_OK);
	expect("a/items.tsv", "#id\tname\tcategory\ttitle\n1\t5\t\t\n2\t20\t\t\n3\t1\t\t\n4\t7\t\t"
			      "\n5\tb\t\t\n6\ta\t\t\n"
			      "7\t100\t\t\n");
	learn_test_text("a/items.tsv", "#id\tname\tcategory\ttitle\n2\t5\t\t\n");
	CU_ASSERT_EQUAL(import(WR_IMPORT_SASREC, first, 1, "a", &msg), WR_EFORMAT);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "items.tsv:2: "));
	expect("a/items.tsv", "#id\tname\tcategory\ttitle\n2\t5\t\t\n");
}

static void test_titles(void)
{
	struct wr_errmsg msg;
	learn_test_text("t.txt", "1 1\n1 2\n1 3\n");
	learn_test_text("t.map", "1 500\n2 600\n");
	learn_test_text("movies.dat",
		"500::Am\xe9lie\t(2001)::Comedy|Romance\n600::Heat (1995)::Action\n3::No::War\n");
	const char *source = learn_test_path("t.txt");
	struct wr_import in = {.format = WR_IMPORT_SASREC,
		.sources = &source,
		.n_sources = 1,
		.titles = learn_test_path("movies.dat"),
		.item_map = learn_test_path("t.map")};
	CU_ASSERT_EQUAL_FATAL(wr_import_run(&in, learn_test_path("t"), &msg), WR_OK);
	expect("t/items.tsv",
		"#id\tname\tcategory\ttitle\n1\t1\tComedy|Romance\tAm\xc3\xa9lie (2001)\n"
		"2\t2\tAction\tHeat (1995)\n3\t3\t\t\n");
	/* Texts outlive an import that does not know them. */
	static const char *const again[] = {"t.txt"};
	CU_ASSERT_EQUAL(import(WR_IMPORT_SASREC, again, 1, "t", &msg), WR_OK);
	char *items = learn_test_read("t/items.tsv");
	CU_ASSERT_PTR_NOT_NULL(strstr(items, "Am\xc3\xa9lie"));
	free(items);
}

static void test_recbole(void)
{
	static const char *const source[] = {"r.item", "r.inter", "r.user"};
	struct wr_errmsg msg;
	learn_test_text("r.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
				   "u1\tx\t5\t20.5\nu2\ty\t3\t7\nu1\ty\t4\t10\n");
	learn_test_text("r.item",
		"item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
		"x\tToy Story\t1995\tAnimation Comedy\ny\tHeat\t\t\nz\tNever seen\t1\tWar\n");
	learn_test_text("r.user", "user_id:token\toccupation:token\tage:token\tzip_code:token\t"
				  "gender:token\nu1\twriter\t24\t1234\tF\nu9\tx\t1\t2\tM\n");
	CU_ASSERT_EQUAL_FATAL(import(WR_IMPORT_RECBOLE, source, 3, "r", &msg), WR_OK);
	expect("r/items.tsv", "#id\tname\tcategory\ttitle\n1\tx\tAnimation|Comedy\tToy "
			      "Story\n2\ty\t\tHeat\n");
	char *users = learn_test_read("r/users.tsv");
	CU_ASSERT_PTR_NOT_NULL(strstr(users, "#user\tname\tage\tgender\toccupation\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(users, "\tu1\t24\tF\twriter\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(users, "\tu2\t\t\t\n"));
	free(users);
	char *log = learn_test_read("r/interactions.tsv");
	CU_ASSERT_PTR_NOT_NULL(strstr(log, "\t2\tclick\t10000\n"));
	CU_ASSERT(strstr(log, "\t2\tclick\t10000\n") < strstr(log, "\t1\tclick\t20500\n"));
	CU_ASSERT(strstr(log, "\t1\tclick\t20500\n") < strstr(log, "\t2\tclick\t7000\n"));
	free(log);
}

static void test_movielens(void)
{
	static const char *const source[] = {"m/ratings.dat", "m/movies.dat", "m/users.dat"};
	struct wr_errmsg msg;
	char dir[128];
	snprintf(dir, sizeof(dir), "mkdir -p %s", learn_test_path("m"));
	CU_ASSERT_EQUAL_FATAL(system(dir), 0);
	learn_test_text(
		"m/ratings.dat", "1::9::5::978300760\n1::3::3::978300700\n2::9::1::978300600\n");
	learn_test_text(
		"m/movies.dat", "3::Grumpier Old Men (1995)::Comedy|Romance\n9::Caf\xe9::Drama\n");
	learn_test_text("m/users.dat", "1::F::1::10::48067\n2::M::56::16::70072\n");
	CU_ASSERT_EQUAL_FATAL(import(WR_IMPORT_MOVIELENS, source, 3, "md", &msg), WR_OK);
	expect("md/items.tsv", "#id\tname\tcategory\ttitle\n1\t3\tComedy|Romance\tGrumpier "
			       "Old Men (1995)\n2\t9\tDrama\tCaf\xc3\xa9\n");
	expect("md/interactions.tsv", "#user\titem\tkind\ttime_ms\n1\t1\tclick\t978300700000\n"
				      "1\t2\tclick\t978300760000\n2\t2\tclick\t978300600000\n");
	expect("md/users.tsv", "#user\tname\tage\tgender\toccupation\n1\t1\t1\tF\t10\n"
			       "2\t2\t56\tM\t16\n");
}

static int import_profiles(struct wr_errmsg *msg)
{
	const char *source = learn_test_path("p.txt");
	const struct wr_import in = {.format = WR_IMPORT_SASREC,
		.sources = &source,
		.n_sources = 1,
		.profiles = learn_test_path("users.dat"),
		.user_map = learn_test_path("p.map")};
	return wr_import_run(&in, learn_test_path("p"), msg);
}

/* Users of a log under other numbers, through a map; the log has no user 3. */
static void test_profiles(void)
{
	struct wr_errmsg msg;
	learn_test_text("p.txt", "1 1\n1 2\n2 1\n");
	learn_test_text("p.map", "2 70\n1 80\n3 90\n");
	learn_test_text("users.dat", "70::F::18::3::x\n80::M::35::4::y\n90::M::1::5::z\n");
	CU_ASSERT_EQUAL_FATAL(import_profiles(&msg), WR_OK);
	expect("p/users.tsv", "#user\tname\tage\tgender\toccupation\n1\t1\t35\tM\t4\n"
			      "2\t2\t18\tF\t3\n");
	learn_test_text("users.dat", "70::F::18::3::x\n80::M::35\n");
	CU_ASSERT_EQUAL(import_profiles(&msg), WR_EFORMAT);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "users.dat:2: "));
	learn_test_text("users.dat", "70::F\xff::18::3::x\n");
	CU_ASSERT_EQUAL(import_profiles(&msg), WR_EFORMAT);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "users.dat:1: "));
	expect("p/users.tsv", "#user\tname\tage\tgender\toccupation\n1\t1\t35\tM\t4\n"
			      "2\t2\t18\tF\t3\n");
}

static void test_errors(void)
{
	static const struct {
		enum wr_import_format format;
		const char *file, *text, *where, *why;
	} cases[] = {
		{WR_IMPORT_SASREC, "e.txt", "1 2\n1\n", "e.txt:2: ", "user item"},
		{WR_IMPORT_SASREC, "e.txt", "1 2\n\n1 2 3\n", "e.txt:3: ", "user item"},
		{WR_IMPORT_SASREC, "e.txt", "1 \n", "e.txt:1: ", "user item"},
		{WR_IMPORT_SASREC, "e.txt", "1 \xff\n", "e.txt:1: ", "UTF-8"},
		{WR_IMPORT_SASREC, "e.txt", "", "e.txt", "no interactions"},
		{WR_IMPORT_RECBOLE, "e.inter", "user_id:token\titem_id\n",
			"e.inter:1: ", "name:token"},
		{WR_IMPORT_RECBOLE, "e.inter", "user_id:token\trating:float\n",
			"e.inter:1: ", "item_id:token"},
		{WR_IMPORT_RECBOLE, "e.inter", "user_id:token\titem_id:token\n1\t2\n1\n",
			"e.inter:3: ", "2 columns"},
		{WR_IMPORT_RECBOLE, "e.inter",
			"user_id:token\titem_id:token\ttimestamp:float\n1\t2\tx\n",
			"e.inter:2: ", "seconds"},
		{WR_IMPORT_RECBOLE, "e.inter", "", "e.inter:0: ", "header"},
		{WR_IMPORT_RECBOLE, "e.item", "item_id:token\n", "", ".inter"},
		{WR_IMPORT_MOVIELENS, "ratings.dat", "1::2::3::4\n1::2::3\n",
			"ratings.dat:2: ", "seconds"},
		{WR_IMPORT_MOVIELENS, "ratings.dat", "1::2::3::-4\n", "ratings.dat:1: ", "seconds"},
		{WR_IMPORT_MOVIELENS, "movies.dat", "1::a::b\n", "", "ratings.dat"},
	};
	struct wr_errmsg msg;
	for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++) {
		learn_test_text(cases[i].file, cases[i].text);
		int err = import(cases[i].format, &cases[i].file, 1, "e", &msg);
		if (!strstr(msg.text, cases[i].where) || !strstr(msg.text, cases[i].why))
			printf("\n  case %zu: %d '%s'", i, err, msg.text);
		CU_ASSERT(err == WR_EFORMAT || err == WR_EINVAL);
		CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, cases[i].where));
		CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, cases[i].why));
		CU_ASSERT_NOT_EQUAL(access(learn_test_path("e"), F_OK), 0);
	}
	static const char *const absent[] = {"absent"};
	CU_ASSERT_EQUAL(import(WR_IMPORT_SASREC, absent, 1, "e", &msg), WR_ENOENT);
}

/* A failed second import leaves the first as it was, and no file beside. */
static void test_nothing_half_written(void)
{
	static const char *const good[] = {"g.txt"}, *const bad[] = {"b.txt"};
	struct wr_errmsg msg;
	learn_test_text("g.txt", "1 1\n1 2\n");
	learn_test_text("b.txt", "1 3\nbroken\n");
	CU_ASSERT_EQUAL(import(WR_IMPORT_SASREC, good, 1, "g", &msg), WR_OK);
	char *before = learn_test_read("g/interactions.tsv");
	CU_ASSERT_EQUAL(import(WR_IMPORT_SASREC, bad, 1, "g", &msg), WR_EFORMAT);
	expect("g/interactions.tsv", before);
	free(before);
	char count[128];
	snprintf(count, sizeof(count), "test $(ls %s | wc -l) = 4", learn_test_path("g"));
	CU_ASSERT_EQUAL(system(count), 0);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"sasrec: users grouped, ids in numeric order", test_sasrec},
		{"ids are append-only", test_append_only},
		{"titles through an item map, Latin-1 to UTF-8", test_titles},
		{"recbole: typed headers, order by time", test_recbole},
		{"movielens: ratings, movies, users", test_movielens},
		{"profiles of users through a map", test_profiles},
		{"errors name file, line and reason and write nothing", test_errors},
		{"a failed import leaves the data set as it was", test_nothing_half_written},
	};
	learn_test_begin();
	int rc = wr_test_run("learn import", tests, WR_ARRAY_LEN(tests));
	learn_test_end();
	return rc;
}
