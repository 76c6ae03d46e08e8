/* SPDX-License-Identifier: BSD-3-Clause */
/* wrtrain cost: what an answer costs on the server's kernels, of bundles and of models by their
 * shape. */
#include "wr_compact.h"
#include "wr_report.h"
#include "wrtrain.h"

#include <sys/stat.h>

#define MAX_MODELS 32

static int one(const char *name, double seconds, json_t *to, struct wr_errmsg *msg)
{
	struct stat st;
	struct wr_cost c;
	double float_us = 0;
	char path[4096];
	bool shape = !stat(name, &st) && S_ISDIR(st.st_mode);
	int err;
	if (shape) {
		struct wr_student *s;
		snprintf(path, sizeof(path), "%s/best.safetensors", name);
		err = wr_student_load(&s, path, msg);
		if (!err)
			err = wr_cost_measure_shape(s, seconds, &c, &float_us, msg);
		wr_student_free(s);
	} else {
		struct wr_bundle *b;
		err = wr_bundle_open(&b, name, msg);
		if (!err) {
			err = wr_cost_measure(b, seconds, &c, msg);
			wr_bundle_close(b);
		}
	}
	if (err)
		return err;
	printf("%s%s\n  warm %8.2f us an answer, %8.1f k multiply-adds, %6u bytes of session\n"
	       "  cold %8.2f us an answer, %8.1f k multiply-adds, %6u clicks\n"
	       "  of both %.2f us and %.1f k multiply-adds are the ranking; the model takes %.1f "
	       "kB\n",
		name, shape ? " (int8 of its shape)" : "", c.warm_us,
		(double)(c.warm_macs + c.score_macs) / 1e3, c.session_bytes, c.cold_us,
		(double)(c.cold_macs + c.score_macs) / 1e3, c.cold_clicks, c.score_us,
		(double)c.score_macs / 1e3, (double)c.model_bytes / 1e3);
	if (shape)
		printf("  float, all of it again: %.2f us an answer\n", float_us);
	json_t *j = json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f}", "model",
		name, "by_shape", (int)shape, "model_bytes", (json_int_t)c.model_bytes,
		"session_bytes", (json_int_t)c.session_bytes, "cold_clicks",
		(json_int_t)c.cold_clicks, "warm_macs", (json_int_t)(c.warm_macs + c.score_macs),
		"cold_macs", (json_int_t)(c.cold_macs + c.score_macs), "score_macs",
		(json_int_t)c.score_macs, "warm_us", c.warm_us, "cold_us", c.cold_us, "score_us",
		c.score_us);
	if (shape)
		json_object_set_new(j, "float_us", json_real(float_us));
	json_array_append_new(to, j);
	return WR_OK;
}

static int run(int argc, char **argv, struct wr_errmsg *msg)
{
	const char *seconds_text = NULL, *json = NULL, *model[MAX_MODELS];
	double seconds = 1;
	const struct wr_opt opts[] = {
		{"seconds", "X", "of each of a model's timings (1)", &seconds_text},
		{"json", "FILE", "the figures as JSON (- = stdout)", &json},
	};
	unsigned int n = 0;
	int err = wr_opt_parse(argc, argv,
		"wrtrain cost MODEL… [options]\n"
		"MODEL: a bundle, or a run's directory: then int8 of the same shape is timed, and "
		"the "
		"float pass. One thread; wants an idle core.",
		opts, WR_ARRAY_LEN(opts), model, MAX_MODELS, &n, msg);
	if (!err && !n)
		err = wr_fail(msg, WR_EINVAL, "give bundles or runs (see --help)");
	if (!err)
		err = wrtrain_double("seconds", seconds_text, 0.01, 60, &seconds, msg);
	if (err)
		return err;
	json_t *models = json_array();
	for (unsigned int i = 0; i < n && !err; i++)
		err = one(model[i], seconds, models, msg);
	if (!err && json) {
		json_t *all = json_pack(
			"{s:s, s:O}", "machine", wr_report_machine("any"), "models", models);
		err = wr_json_write(all, json, msg);
		json_decref(all);
	}
	json_decref(models);
	return err;
}

int wr_cmd_cost(int argc, char **argv)
{
	struct wr_errmsg msg;
	return wrtrain_finish("cost", run(argc, argv, &msg), &msg);
}
