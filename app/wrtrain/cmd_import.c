/* SPDX-License-Identifier: BSD-3-Clause */
/* wrtrain import: options of wr_import_run. */
#include "wr_learn.h"
#include "wrtrain.h"

#include <string.h>

#define MAX_SOURCES 8

static int run(int argc, char **argv, struct wr_errmsg *msg)
{
	const char *format = NULL, *out = NULL, *titles = NULL, *map = NULL, *sources[MAX_SOURCES];
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
	};
	struct wr_import in = {.sources = sources, .n_sources = 0};
	int err = wr_opt_parse(argc, argv, "wrtrain import --format=NAME --out=DIR FILE…", opts,
		WR_ARRAY_LEN(opts), sources, MAX_SOURCES, &in.n_sources, msg);
	if (err)
		return err;
	if (!format || !out || in.n_sources == 0)
		return wr_fail(
			msg, WR_EINVAL, "give --format, --out and the files to read (see --help)");
	if (!strcmp(format, "sasrec"))
		in.format = WR_IMPORT_SASREC;
	else if (!strcmp(format, "recbole"))
		in.format = WR_IMPORT_RECBOLE;
	else if (!strcmp(format, "movielens"))
		in.format = WR_IMPORT_MOVIELENS;
	else
		return wr_fail(
			msg, WR_EINVAL, "--format=%s: give sasrec, recbole or movielens", format);
	if (in.format != WR_IMPORT_SASREC && (titles || map))
		return wr_fail(msg, WR_EINVAL,
			"--titles and --item-map belong to --format=sasrec; others name items "
			"themselves");
	if (map && !titles)
		return wr_fail(msg, WR_EINVAL, "--item-map needs --titles");
	in.titles = titles;
	in.item_map = map;
	err = wr_import_run(&in, out, msg);
	struct wr_dataset *ds;
	if (!err)
		err = wr_dataset_load(&ds, out, msg);
	if (!err) {
		printf("%s: %u users, %u items, %u tokens\n", out, ds->n_users, ds->n_items,
			ds->token_off[ds->n_users]);
		wr_dataset_free(ds);
	}
	return err;
}

int wr_cmd_import(int argc, char **argv)
{
	struct wr_errmsg msg;
	return wrtrain_finish("import", run(argc, argv, &msg), &msg);
}
