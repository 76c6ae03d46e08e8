/* SPDX-License-Identifier: BSD-3-Clause */
/* wrload eval: the published metrics, from answers that came over the wire. */
#include "wrload.h"

static const char *data, *lists, *lists_unfiltered, *k_text = "10", *window = "128", *users = "0",
						    *show = "5";

static const struct wr_opt opts[] = {
	{"data", "DIR", "dataset directory that wrtrain import wrote", &data},
	{"lists", "FILE", "expected lists, seen filtered (wrtrain eval --int8 --lists)", &lists},
	{"lists-unfiltered", "FILE", "expected lists, seen items included", &lists_unfiltered},
	{"k", "N", "items to ask for", &k_text},
	{"window", "N", "users in progress at a time", &window},
	{"users", "N", "only the first N test users, 0 = all", &users},
	{"show", "N", "differences to print", &show},
};

static void print_result(const struct wr_load_eval_result *r, unsigned int k)
{
	printf("%lu users, %lu events, %lu requests in %.1f s (%lu sent again, %lu without answer, "
	       "%lu errors)\n",
		(unsigned long)r->users, (unsigned long)r->events, (unsigned long)r->requests,
		r->seconds, (unsigned long)r->retried, (unsigned long)r->failed,
		(unsigned long)r->errors);
	printf("                 HR@%-2u    NDCG@%-2u  lists equal\n", k, k);
	printf("seen filtered    %.4f   %.4f   %lu of %lu\n", r->hr, r->ndcg,
		(unsigned long)(r->compared - r->different), (unsigned long)r->compared);
	printf("seen included    %.4f   %.4f   %lu of %lu\n", r->hr_unfiltered, r->ndcg_unfiltered,
		(unsigned long)(r->compared_unfiltered - r->different_unfiltered),
		(unsigned long)r->compared_unfiltered);
	if (r->wrong)
		printf("%lu answers break the rules of an answer (order, count, seen or unknown "
		       "items)\n",
			(unsigned long)r->wrong);
}

static int numbers(struct wr_load_eval *e, struct wr_errmsg *msg)
{
	uint64_t k = 0, w = 0, u = 0, s = 0;
	int err = wr_opt_u64("k", k_text, 1, WR_WIRE_MAX_K, &k, msg);

	if (!err)
		err = wr_opt_u64("window", window, 1, 4096, &w, msg);
	if (!err)
		err = wr_opt_u64("users", users, 0, UINT32_MAX, &u, msg);
	if (!err)
		err = wr_opt_u64("show", show, 0, UINT32_MAX, &s, msg);
	e->k = (unsigned int)k;
	e->window = (unsigned int)w;
	e->max_users = (uint32_t)u;
	e->show = (uint32_t)s;
	return err;
}

int cmd_eval(int argc, char **argv)
{
	struct wr_load_eval e = {.progress = true};
	struct wr_load_eval_result r = {0};
	struct wr_lists *filtered = NULL, *unfiltered = NULL;
	struct wr_load *l = NULL;
	struct wr_errmsg msg;
	int code = parse_options(argc, argv,
		"usage: wrload eval --memif=SOCKET --data=DIR [--lists=FILE] [--OPTION=VALUE …]",
		opts, WR_ARRAY_LEN(opts), OPT_PORT);

	if (code >= 0)
		return code;
	int err = numbers(&e, &msg);
	if (!err && !data)
		err = wr_fail(&msg, WR_EINVAL,
			"--data=DIR is missing: a directory that wrtrain import wrote");
	if (!err && lists)
		err = wr_lists_read(&filtered, lists, &msg);
	if (!err && lists_unfiltered)
		err = wr_lists_read(&unfiltered, lists_unfiltered, &msg);
	e.data = data;
	e.filtered = filtered;
	e.unfiltered = unfiltered;
	e.progress = !quiet();
	if (!err)
		err = open_load(&l, true, &msg);
	if (!err)
		err = wr_load_eval(l, &e, &r, &msg);
	if (!err) {
		if (!quiet())
			print_result(&r, e.k);
		err = write_json(wr_load_eval_json(&r, e.k), &msg);
	}
	wr_lists_free(filtered);
	wr_lists_free(unfiltered);
	code = close_load(l, err, &msg);
	if (code == EXIT_OK && (r.failed || r.errors || r.users == 0)) {
		fprintf(stderr, "wrload: the evaluation is not complete\n");
		return EXIT_ERROR;
	}
	if (code == EXIT_OK && (r.different || r.different_unfiltered || r.wrong))
		return EXIT_WRONG;
	return code;
}
