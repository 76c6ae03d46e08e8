/* SPDX-License-Identifier: BSD-3-Clause */
/* Readers of the logs that recommender research exchanges: SASRec's pairs, RecBole's atomic files,
 * MovieLens' .dat. */
#include "import_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COLUMNS 64

static bool ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), m = strlen(tail);
	return n >= m && !strcmp(s + n - m, tail);
}

/* ---- SASRec: `user item` a line, in time order by user. https://github.com/kang205/SASRec ---- */
static int sasrec_line(
	struct import_log *l, struct text *t, char *line, size_t bytes, struct wr_errmsg *msg)
{
	char *field[3];
	if (strlen(line) != bytes)
		return wr_learn_text_fail(t, msg, "a NUL byte inside the line");
	for (char *c = line; *c; c++)
		if (*c == '\t')
			*c = ' ';
	if (wr_learn_text_split(line, " ", field, 3) != 2 || !field[0][0] || !field[1][0])
		return wr_learn_text_fail(t, msg, "expected `user item`");
	return wr_learn_import_add(l, t, field[0], field[1], 0, msg);
}

/* Original id → texts of the items that carry it, directly or through `item original` lines. */
static int read_movies(struct import_log *l, const char *movies, const struct names *original,
	const uint32_t *item, struct wr_errmsg *msg)
{
	struct text t;
	int err = wr_learn_text_open(&t, movies, msg);
	char *line, *field[4];
	while (!err && (line = wr_learn_text_next(&t, NULL))) {
		if (wr_learn_text_split(line, "::", field, 4) != 3) {
			err = wr_learn_text_fail(&t, msg, "expected id::title::genres");
			break;
		}
		const char *name = field[0];
		if (original) {
			uint32_t k = wr_learn_names_find(original, name);
			if (k == UINT32_MAX || item[k] == UINT32_MAX)
				continue;
			name = l->items.name[item[k]];
		}
		char *title = wr_learn_text_from_latin1(field[1]),
		     *genre = wr_learn_text_from_latin1(field[2]);
		if (!title || !genre)
			err = wr_fail(msg, WR_ENOMEM, "%s: out of memory", movies);
		else
			err = wr_learn_import_describe(l, name, title, genre, msg);
		free(title);
		free(genre);
	}
	wr_learn_text_close(&t);
	return err;
}

/* MovieLens' user::sex::age::occupation::zip; zip codes are left out. Names as in read_movies. */
static int read_users(struct import_log *l, const char *users, const struct names *original,
	const uint32_t *number, struct wr_errmsg *msg)
{
	struct text t;
	char *line, *field[6];
	int err = wr_learn_text_open(&t, users, msg);
	while (!err && (line = wr_learn_text_next(&t, NULL))) {
		if (!wr_utf8_valid(line, strlen(line)))
			err = wr_learn_text_fail(&t, msg, "a text is no UTF-8");
		else if (wr_learn_text_split(line, "::", field, 6) != 5)
			err = wr_learn_text_fail(
				&t, msg, "expected user::sex::age::occupation::zip");
		if (err)
			break;
		const char *name = field[0], *value[N_PROFILE] = {[PROFILE_AGE] = field[2],
						     [PROFILE_GENDER] = field[1],
						     [PROFILE_OCCUPATION] = field[3]};
		if (original) {
			uint32_t k = wr_learn_names_find(original, name);
			if (k == UINT32_MAX || number[k] == UINT32_MAX)
				continue;
			name = l->users.name[number[k]];
		}
		err = wr_learn_import_profile(l, name, value, msg);
	}
	wr_learn_text_close(&t);
	return err;
}

/* `own original` lines: original's number → number among `own` (UINT32_MAX: not in the log). */
static int sasrec_map(const struct names *own, const char *path, struct names *original,
	uint32_t **number, struct wr_errmsg *msg)
{
	struct text t;
	size_t cap = 0;
	int err = wr_learn_text_open(&t, path, msg);
	char *line, *field[3];
	while (!err && (line = wr_learn_text_next(&t, NULL))) {
		if (wr_learn_text_split(line, " ", field, 3) != 2) {
			err = wr_learn_text_fail(&t, msg, "expected `own original`");
			break;
		}
		uint32_t n = original->n, k = wr_learn_names_put(original, field[1]);
		if (k == UINT32_MAX || wr_learn_grow(number, &cap, k, sizeof(**number)))
			err = wr_fail(msg, WR_ENOMEM, "%s: out of memory", path);
		else if (k != n)
			err = wr_learn_text_fail(
				&t, msg, "original id '%s' occurs twice", field[1]);
		else
			(*number)[k] = wr_learn_names_find(own, field[0]);
	}
	wr_learn_text_close(&t);
	return err;
}

/* Texts of the log's items or users, whose names lead to others' through a map (NULL = are the
 * same). */
static int sasrec_described(struct import_log *l, const struct names *own, const char *path,
	const char *map,
	int (*read)(struct import_log *l, const char *path, const struct names *original,
		const uint32_t *number, struct wr_errmsg *msg),
	struct wr_errmsg *msg)
{
	struct names original;
	uint32_t *number = NULL;
	int err = WR_OK;
	wr_learn_names_init(&original);
	if (map)
		err = sasrec_map(own, map, &original, &number, msg);
	if (!err)
		err = read(l, path, map ? &original : NULL, number, msg);
	wr_learn_names_free(&original);
	free(number);
	return err;
}

int wr_learn_import_read_sasrec(
	struct import_log *l, const struct wr_import *in, struct wr_errmsg *msg)
{
	struct text t;
	if (in->n_sources != 1)
		return wr_fail(
			msg, WR_EINVAL, "sasrec: give exactly one file of `user item` lines");
	int err = wr_learn_text_open(&t, in->sources[0], msg);
	char *line;
	size_t bytes;
	while (!err && (line = wr_learn_text_next(&t, &bytes)))
		err = sasrec_line(l, &t, line, bytes, msg);
	wr_learn_text_close(&t);
	if (!err && in->titles)
		err = sasrec_described(l, &l->items, in->titles, in->item_map, read_movies, msg);
	if (!err && in->profiles)
		err = sasrec_described(l, &l->users, in->profiles, in->user_map, read_users, msg);
	return err;
}

/* ---- RecBole's atomic files: tab-separated, header `name:type`.
 * https://recbole.io/docs/user_guide/data/atomic_files.html ---- */
struct columns {
	unsigned int n;
	char *name[MAX_COLUMNS];
	char *header; /* keeps the names */
};

static int recbole_header(struct text *t, struct columns *c, struct wr_errmsg *msg)
{
	char *line = wr_learn_text_next(t, NULL), *type;
	if (!line)
		return wr_learn_text_fail(t, msg, "empty file: a header `name:type` was expected");
	c->header = strdup(line);
	if (!c->header)
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", t->path);
	c->n = wr_learn_text_split(c->header, "\t", c->name, MAX_COLUMNS);
	for (unsigned int i = 0; i < c->n; i++) {
		type = strchr(c->name[i], ':');
		if (!type || (strcmp(type, ":token") && strcmp(type, ":token_seq") &&
				     strcmp(type, ":float") && strcmp(type, ":float_seq")))
			return wr_learn_text_fail(t, msg,
				"column %u '%s': expected name:token, token_seq, float or "
				"float_seq",
				i + 1, c->name[i]);
	}
	return WR_OK;
}

static int column(const struct columns *c, const char *typed)
{
	for (unsigned int i = 0; i < c->n; i++)
		if (!strcmp(c->name[i], typed))
			return (int)i;
	return -1;
}

static int recbole_inter(struct import_log *l, const char *path, struct wr_errmsg *msg)
{
	struct text t;
	struct columns c = {0};
	char *line, *field[MAX_COLUMNS + 1];
	int err = wr_learn_text_open(&t, path, msg);
	if (!err)
		err = recbole_header(&t, &c, msg);
	int user = column(&c, "user_id:token"), item = column(&c, "item_id:token"),
	    time = column(&c, "timestamp:float");
	if (!err && (user < 0 || item < 0))
		err = wr_learn_text_fail(
			&t, msg, "columns user_id:token and item_id:token are needed");
	l->timed = time >= 0;
	while (!err && (line = wr_learn_text_next(&t, NULL))) {
		double s = 0;
		if (wr_learn_text_split(line, "\t", field, MAX_COLUMNS + 1) != c.n)
			err = wr_learn_text_fail(
				&t, msg, "expected %u columns as in the header", c.n);
		else if (time >= 0 && wr_parse_double(field[time], 0, 1e14, &s))
			err = wr_learn_text_fail(
				&t, msg, "timestamp '%s': expected unix seconds", field[time]);
		else
			err = wr_learn_import_add(
				l, &t, field[user], field[item], llrint(s * 1000), msg);
	}
	free(c.header);
	wr_learn_text_close(&t);
	return err;
}

/* A token_seq, in place: tokens with | between. */
static void to_categories(char *text)
{
	char *to = text;
	for (char *at = text; *at; at++)
		if (*at != ' ' && *at != ',')
			*to++ = *at;
		else if (to > text && to[-1] != '|')
			*to++ = '|';
	to -= to > text && to[-1] == '|';
	*to = '\0';
}

static int recbole_item(struct import_log *l, const char *path, struct wr_errmsg *msg)
{
	static const char *const title_names[] = {
		"movie_title:token_seq", "title:token_seq", "title:token", "name:token_seq"};
	static const char *const class_names[] = {
		"class:token_seq", "genre:token_seq", "categories:token_seq", "category:token"};
	struct text t;
	struct columns c = {0};
	char *line, *field[MAX_COLUMNS + 1];
	int err = wr_learn_text_open(&t, path, msg), title = -1, class = -1;
	if (!err)
		err = recbole_header(&t, &c, msg);
	int item = column(&c, "item_id:token");
	bool sequence;
	for (size_t i = 0; i < WR_ARRAY_LEN(title_names); i++) {
		title = title < 0 ? column(&c, title_names[i]) : title;
		class = class < 0 ? column(&c, class_names[i]) : class;
	}
	sequence = class >= 0 && strstr(c.name[class], "_seq");
	if (!err && item < 0)
		err = wr_learn_text_fail(&t, msg, "column item_id:token is needed");
	while (!err && (line = wr_learn_text_next(&t, NULL))) {
		if (wr_learn_text_split(line, "\t", field, MAX_COLUMNS + 1) != c.n) {
			err = wr_learn_text_fail(
				&t, msg, "expected %u columns as in the header", c.n);
			break;
		}
		if (sequence)
			to_categories(field[class]);
		if ((title >= 0 && !wr_utf8_valid(field[title], strlen(field[title]))) ||
			(class >= 0 && !wr_utf8_valid(field[class], strlen(field[class]))))
			err = wr_learn_text_fail(&t, msg, "a text is no UTF-8");
		else
			err = wr_learn_import_describe(l, field[item],
				title >= 0 ? field[title] : "", class >= 0 ? field[class] : NULL,
				msg);
	}
	free(c.header);
	wr_learn_text_close(&t);
	return err;
}

/* Age, gender and occupation; what else the file tells of users is left out. */
static int recbole_user(struct import_log *l, const char *path, struct wr_errmsg *msg)
{
	static const char *const names[N_PROFILE][2] = {{"age:token", "age:float"},
		{"gender:token", "sex:token"}, {"occupation:token", "occupation:token"}};
	struct text t;
	struct columns c = {0};
	char *line, *field[MAX_COLUMNS + 1];
	const char *value[N_PROFILE];
	int at[N_PROFILE], err = wr_learn_text_open(&t, path, msg);
	if (!err)
		err = recbole_header(&t, &c, msg);
	int user = column(&c, "user_id:token");
	for (int i = 0; i < N_PROFILE; i++) {
		at[i] = column(&c, names[i][0]);
		at[i] = at[i] < 0 ? column(&c, names[i][1]) : at[i];
	}
	if (!err && user < 0)
		err = wr_learn_text_fail(&t, msg, "column user_id:token is needed");
	while (!err && (line = wr_learn_text_next(&t, NULL))) {
		if (!wr_utf8_valid(line, strlen(line)))
			err = wr_learn_text_fail(&t, msg, "a text is no UTF-8");
		else if (wr_learn_text_split(line, "\t", field, MAX_COLUMNS + 1) != c.n)
			err = wr_learn_text_fail(
				&t, msg, "expected %u columns as in the header", c.n);
		for (int i = 0; i < N_PROFILE && !err; i++)
			value[i] = at[i] >= 0 ? field[at[i]] : "";
		if (!err)
			err = wr_learn_import_profile(l, field[user], value, msg);
	}
	free(c.header);
	wr_learn_text_close(&t);
	return err;
}

int wr_learn_import_read_recbole(
	struct import_log *l, const struct wr_import *in, struct wr_errmsg *msg)
{
	int err = WR_OK;
	unsigned int n_logs = 0;
	/* The log first: descriptions look items up in it. */
	for (unsigned int i = 0; i < in->n_sources && !err; i++)
		if (ends_with(in->sources[i], ".inter")) {
			n_logs++;
			err = recbole_inter(l, in->sources[i], msg);
		}
	if (!err && n_logs != 1)
		return wr_fail(msg, WR_EINVAL,
			"recbole: give one .inter file, and .item and .user as you have them");
	for (unsigned int i = 0; i < in->n_sources && !err; i++) {
		if (ends_with(in->sources[i], ".item"))
			err = recbole_item(l, in->sources[i], msg);
		else if (ends_with(in->sources[i], ".user"))
			err = recbole_user(l, in->sources[i], msg);
		else if (!ends_with(in->sources[i], ".inter"))
			err = wr_fail(msg, WR_EINVAL,
				"%s: expected a name ending in .inter, .item or .user",
				in->sources[i]);
	}
	return err;
}

/* ---- MovieLens: user::item::rating::seconds, Latin-1.
 * https://files.grouplens.org/datasets/movielens/ml-1m-README.txt ---- */
static int movielens_ratings(struct import_log *l, const char *path, struct wr_errmsg *msg)
{
	struct text t;
	char *line, *field[5];
	int err = wr_learn_text_open(&t, path, msg);
	l->timed = true;
	while (!err && (line = wr_learn_text_next(&t, NULL))) {
		uint64_t s;
		if (wr_learn_text_split(line, "::", field, 5) != 4)
			err = wr_learn_text_fail(&t, msg, "expected user::item::rating::seconds");
		else if (wr_parse_u64(field[3], 0, UINT64_MAX / 2000, &s))
			err = wr_learn_text_fail(
				&t, msg, "time '%s': expected unix seconds", field[3]);
		else
			err = wr_learn_import_add(
				l, &t, field[0], field[1], (int64_t)s * 1000, msg);
	}
	wr_learn_text_close(&t);
	return err;
}

int wr_learn_import_read_movielens(
	struct import_log *l, const struct wr_import *in, struct wr_errmsg *msg)
{
	int err = WR_OK;
	unsigned int n_logs = 0;
	for (unsigned int i = 0; i < in->n_sources && !err; i++)
		if (ends_with(in->sources[i], "ratings.dat")) {
			n_logs++;
			err = movielens_ratings(l, in->sources[i], msg);
		}
	if (!err && n_logs != 1)
		return wr_fail(msg, WR_EINVAL,
			"movielens: give one ratings.dat, and movies.dat and users.dat as you have "
			"them");
	for (unsigned int i = 0; i < in->n_sources && !err; i++) {
		if (ends_with(in->sources[i], "movies.dat"))
			err = read_movies(l, in->sources[i], NULL, NULL, msg);
		else if (ends_with(in->sources[i], "users.dat"))
			err = read_users(l, in->sources[i], NULL, NULL, msg);
		else if (!ends_with(in->sources[i], "ratings.dat"))
			err = wr_fail(msg, WR_EINVAL,
				"%s: expected ratings.dat, movies.dat or users.dat",
				in->sources[i]);
	}
	return err;
}
