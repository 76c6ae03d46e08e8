/* SPDX-License-Identifier: BSD-3-Clause */
/* wrtrain teach: options of wr_teach_run. */
#include "wr_learn.h"
#include "wrtrain.h"

struct options {
	const char *data, *run, *out, *top, *temperature, *threads, *quiet;
};

static int run(int argc, char **argv, struct wr_errmsg *msg)
{
	struct options o = {0};
	const struct wr_opt opts[] = {
		{"data", "DIR", "the data set", &o.data},
		{"run", "RUNDIR", "the teacher: RUNDIR/best.safetensors", &o.run},
		{"out", "FILE", "where its answers go", &o.out},
		{"top", "N", "items kept of each position (64)", &o.top},
		{"temperature", "X", "of its softmax, and of the student's beside it (1)",
			&o.temperature},
		{"threads", "N", "OpenMP threads (all cores)", &o.threads},
		{"quiet", NULL, "no progress", &o.quiet},
	};
	struct wr_teach t = {.top = 64, .temperature = 1};
	struct wr_dataset *ds = NULL;
	struct wr_student *teacher = NULL;
	unsigned int n_words;
	char path[4096];
	int err = wr_opt_parse(argc, argv,
		"wrtrain teach --data=DIR --run=RUNDIR --out=FILE [options]", opts,
		WR_ARRAY_LEN(opts), NULL, 0, &n_words, msg);
	if (!err && (!o.data || !o.run || !o.out))
		err = wr_fail(msg, WR_EINVAL, "give --data, --run and --out (see --help)");
	if (!err)
		err = wrtrain_u32("top", o.top, 1, 256, &t.top, msg);
	if (!err)
		err = wrtrain_double("temperature", o.temperature, 0.1, 10, &t.temperature, msg);
	if (!err)
		err = wrtrain_u32("threads", o.threads, 1, 1024, &t.threads, msg);
	if (err)
		return err;
	t.quiet = o.quiet != NULL;
	wr_stop_catch_signals();
	snprintf(path, sizeof(path), "%s/best.safetensors", o.run);
	err = wr_student_load(&teacher, path, msg);
	if (!err)
		err = wr_dataset_load(&ds, o.data, msg);
	if (!err)
		err = wr_teach_run(&t, teacher, ds, o.out, msg);
	if (!err)
		printf("%s: %u items of each training position at temperature %g\n", o.out, t.top,
			t.temperature);
	wr_dataset_free(ds);
	wr_student_free(teacher);
	return err;
}

int wr_cmd_teach(int argc, char **argv)
{
	struct wr_errmsg msg;
	return wrtrain_finish("teach", run(argc, argv, &msg), &msg);
}
