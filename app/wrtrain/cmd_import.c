/* SPDX-License-Identifier: BSD-3-Clause */
/* wrtrain import: options of wr_import_run. */
#include "wr_learn.h"
#include "wrtrain.h"

#include <string.h>

#define MAX_SOURCES 8

static int parse_format(const char *name, enum wr_import_format *format, struct wr_errmsg *msg)
{
	static const char *const names[] = {"sasrec", "recbole", "movielens"};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(names); i++)
		if (!strcmp(name, names[i])) {
			*format = (enum wr_import_format)i;
			return WR_OK;
		}
	return wr_fail(msg, WR_EINVAL, "--format=%s: give sasrec, recbole or movielens", name);
}

static int run(int argc, char **argv, struct wr_errmsg *msg)
{
	const char *format = NULL, *out = NULL, *titles = NULL, *map = NULL, *profiles = NULL,
		   *user_map = NULL, *sources[MAX_SOURCES];
	const struct wr_opt opts[] = {
		{"format", "NAME",
			"sasrec (`user item` lines), recbole (.inter .item .user) or movielens "
			"(.dat)",
			&format},
		{"out", "DIR", "the data set; items that it has keep their ids", &out},
		{"titles", "FILE", "sasrec: movies.dat with titles and genres", &titles},
		{"item-map", "FILE",
			"sasrec: `item original` lines from the log's ids to those of --titles",
			&map},
		{"profiles", "FILE", "sasrec: users.dat with gender, age and occupation",
			&profiles},
		{"user-map", "FILE",
			"sasrec: `user original` lines from the log's users to those of --profiles",
			&user_map},
	};
	struct wr_import in = {.sources = sources, .n_sources = 0};
	int err = wr_opt_parse(argc, argv, "wrtrain import --format=NAME --out=DIR FILE…", opts,
		WR_ARRAY_LEN(opts), sources, MAX_SOURCES, &in.n_sources, msg);
	if (err)
		return err;
	if (!format || !out || in.n_sources == 0)
		return wr_fail(
			msg, WR_EINVAL, "give --format, --out and the files to read (see --help)");
	if ((err = parse_format(format, &in.format, msg)))
		return err;
	if (in.format != WR_IMPORT_SASREC && (titles || map || profiles || user_map))
		return wr_fail(msg, WR_EINVAL,
			"--titles, --item-map, --profiles and --user-map belong to "
			"--format=sasrec; others name items and users themselves");
	if (map && !titles)
		return wr_fail(msg, WR_EINVAL, "--item-map needs --titles");
	if (user_map && !profiles)
		return wr_fail(msg, WR_EINVAL, "--user-map needs --profiles");
	in.titles = titles;
	in.profiles = profiles;
	in.user_map = user_map;
	in.item_map = map;
	err = wr_import_run(&in, out, msg);
	struct wr_dataset *ds;
	if (!err)
		err = wr_dataset_load(&ds, out, msg);
	if (!err) {
		printf("%s: %u users, %u items, %u tokens; %u categories, %u values of users' "
		       "profiles\n",
			out, ds->n_users, ds->n_items, ds->token_off[ds->n_users],
			ds->item_side.n_values, ds->user_side.n_values);
		wr_dataset_free(ds);
	}
	return err;
}

int wr_cmd_import(int argc, char **argv)
{
	struct wr_errmsg msg;
	return wrtrain_finish("import", run(argc, argv, &msg), &msg);
}
