/* SPDX-License-Identifier: BSD-3-Clause */
/* wrtrain pack: options of wr_pack_run. */
#include "wr_learn.h"
#include "wrtrain.h"

static int run(int argc, char **argv, struct wr_errmsg *msg)
{
	const char *out = NULL, *version = NULL, *threads = NULL, *last = NULL, *calibrate = NULL;
	struct wr_pack p = {.checkpoint = "best.safetensors"};
	const struct wr_opt opts[] = {
		{"data", "DIR", "the data set that the run was trained on", &p.data_dir},
		{"run", "RUNDIR", "the run of wrtrain fit", &p.run_dir},
		{"out", "FILE.wrb", "the bundle", &out},
		{"rules", "FILE", "intent rules, checked and carried along", &p.rules},
		{"last", NULL, "the last checkpoint instead of the best by validation", &last},
		{"calibrate", NULL,
			"scales of weights that lose least of what products say on training clicks",
			&calibrate},
		{"keep", "NAME,…",
			"projections that int8 loses too much of, in two planes: "
			"block.B.qkv.weight, "
			".out, .up, .down (or bB.qkv as eval --by-layer says)",
			&p.keep},
		{"bundle-version", "N", "default: one more than the bundle at --out has, else 1",
			&version},
		{"threads", "N", "OpenMP threads (all cores)", &threads},
	};
	unsigned int n_words;
	int err = wr_opt_parse(argc, argv,
		"wrtrain pack --data=DIR --run=RUNDIR --out=FILE.wrb [options]", opts,
		WR_ARRAY_LEN(opts), NULL, 0, &n_words, msg);
	if (!err && (!p.data_dir || !p.run_dir || !out))
		err = wr_fail(msg, WR_EINVAL, "give --data, --run and --out (see --help)");
	if (!err)
		err = wrtrain_u32("bundle-version", version, 1, UINT32_MAX, &p.version, msg);
	if (!err)
		err = wrtrain_u32("threads", threads, 1, 1024, &p.threads, msg);
	if (err)
		return err;
	p.calibrate = calibrate != NULL;
	if (last)
		p.checkpoint = "checkpoint.safetensors";
	err = wr_pack_run(&p, out, msg);
	struct wr_bundle *b;
	if (!err)
		err = wr_bundle_open(&b, out, msg);
	if (!err) {
		const struct wr_bundle_model *m = wr_bundle_model(b);
		printf("%s: %.1f MB, version %u: %u items, d %u, %u blocks, window %u", out,
			(double)wr_bundle_bytes(b) / 1e6, m->bundle_version, m->n_items, m->d,
			m->n_blocks, m->window);
		if (p.keep)
			printf(", %u of %u projections kept in two planes", wr_bundle_n_kept(m),
				WR_BUNDLE_PROJECTIONS * m->n_blocks);
		putchar('\n');
		wr_bundle_close(b);
	}
	return err;
}

int wr_cmd_pack(int argc, char **argv)
{
	struct wr_errmsg msg;
	return wrtrain_finish("pack", run(argc, argv, &msg), &msg);
}
