/* SPDX-License-Identifier: BSD-3-Clause */
/* wrtrain: from a log to a bundle, offline. Dispatches to a file per subcommand. */
#include "wrtrain.h"

#include <string.h>

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{"simulate", wr_cmd_simulate, "make the data set of a simulated customer-service centre"},
	{"import", wr_cmd_import, "turn a log (sasrec, recbole, movielens) into a data set"},
	{"fit", wr_cmd_fit, "train the student on a data set"},
	{"fit-ctr", wr_cmd_fit_ctr, "train heads for clicks and conversions on a run"},
	{"teach", wr_cmd_teach, "write down a teacher's answers, for students to learn from"},
	{"prune", wr_cmd_prune, "a smaller model: fewer blocks, heads, units, narrower"},
	{"compress", wr_cmd_compress, "item vectors in fewer bytes, and what is lost"},
	{"cost", wr_cmd_cost, "what an answer of a bundle costs on the server's kernels"},
	{"pack", wr_cmd_pack, "make the int8 bundle that wirerankd serves"},
	{"eval", wr_cmd_eval,
		"hit rates, float and int8, beside the baselines; expected lists; records"},
	{"compare", wr_cmd_compare, "models side by side, with bootstrap intervals over users"},
	{"replay", wr_cmd_replay, "what policies would have earned, from logged slates"},
	{"lift", wr_cmd_lift, "what policies are truly worth in the simulated centre"},
	{"import-model", wr_cmd_import_model, "make a run of a model that PyTorch trained"},
	{"logits", wr_cmd_logits, "a run's float logits, to compare with other tools"},
	{"features", wr_cmd_features, "tables, components, neighbours, popularity over time"},
	{"map", wr_cmd_map, "items or users in two dimensions, as pictures"},
};

static void usage(FILE *f)
{
	fputs("usage: wrtrain COMMAND [options]; wrtrain COMMAND --help tells more\n\n", f);
	for (size_t i = 0; i < WR_ARRAY_LEN(commands); i++)
		fprintf(f, "  %-12s %s\n", commands[i].name, commands[i].help);
}

int wrtrain_finish(const char *command, int err, const struct wr_errmsg *msg)
{
	if (err && err != WR_EINTR)
		fprintf(stderr, "wrtrain %s: %s\n", command, msg->text);
	return err && err != WR_EINTR;
}

int wrtrain_u32(const char *name, const char *value, uint32_t min, uint32_t max, uint32_t *out,
	struct wr_errmsg *msg)
{
	uint64_t v;
	if (!value)
		return WR_OK;
	if (wr_parse_u64(value, min, max, &v))
		return wr_fail(msg, WR_EINVAL, "--%s=%s: give a whole number in %u … %u", name,
			value, min, max);
	*out = (uint32_t)v;
	return WR_OK;
}

int wrtrain_double(const char *name, const char *value, double min, double max, double *out,
	struct wr_errmsg *msg)
{
	if (value && wr_parse_double(value, min, max, out))
		return wr_fail(
			msg, WR_EINVAL, "--%s=%s: give a number in %g … %g", name, value, min, max);
	return WR_OK;
}

int main(int argc, char **argv)
{
	if (argc < 2 || !strcmp(argv[1], "help") || !strcmp(argv[1], "--help") ||
		!strcmp(argv[1], "-h")) {
		usage(argc < 2 ? stderr : stdout);
		return argc < 2 ? 2 : 0;
	}
	for (size_t i = 0; i < WR_ARRAY_LEN(commands); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "wrtrain: unknown command '%s'\n", argv[1]);
	usage(stderr);
	return 2;
}
