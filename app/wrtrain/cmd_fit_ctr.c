/* SPDX-License-Identifier: BSD-3-Clause */
/* wrtrain fit-ctr: heads for clicks and conversions on a run, and how well they fit. */
#include "wr_policy.h"
#include "wr_report.h"
#include "wrtrain.h"

#include <math.h>
#include <string.h>

#define WR_MAX_SHOWN 10 /* positions whose chance to be looked at is told */

struct options {
	const char *data, *run, *impressions, *hidden, *epochs, *batch, *lr, *decay, *seed,
		*threads, *json, *quiet;
};

static int parse(
	int argc, char **argv, struct options *o, struct wr_heads_fit *f, struct wr_errmsg *msg)
{
	const struct wr_opt opts[] = {
		{"data", "DIR", "the data set, with impressions.tsv", &o->data},
		{"run", "RUNDIR",
			"the student: RUNDIR/best.safetensors; heads.safetensors, heads.json and "
			"calibration.svg go there",
			&o->run},
		{"impressions", "FILE", "what was shown (DIR/impressions.tsv)", &o->impressions},
		{"hidden", "N", "width of the layer (32)", &o->hidden},
		{"epochs", "N", "passes over what was shown (3)", &o->epochs},
		{"batch", "N", "shown items a step (2048)", &o->batch},
		{"lr", "X", "learning rate of Adam (0.002)", &o->lr},
		{"weight-decay", "X", "decoupled (1)", &o->decay},
		{"seed", "N", "of everything random (1)", &o->seed},
		{"threads", "N", "OpenMP threads (all cores)", &o->threads},
		{"json", "FILE", "the figures also there (- = stdout)", &o->json},
		{"quiet", NULL, "no progress", &o->quiet},
	};
	unsigned int n_words;
	int err = wr_opt_parse(argc, argv, "wrtrain fit-ctr --data=DIR --run=RUNDIR [options]",
		opts, WR_ARRAY_LEN(opts), NULL, 0, &n_words, msg);
	if (!err && (!o->data || !o->run))
		err = wr_fail(msg, WR_EINVAL, "give --data and --run (see --help)");
	if (err)
		return err;
	wr_heads_fit_defaults(f);
	f->quiet = o->quiet != NULL;
	if ((err = wrtrain_u32("hidden", o->hidden, 1, 4096, &f->hidden, msg)) ||
		(err = wrtrain_u32("epochs", o->epochs, 1, 10000, &f->epochs, msg)) ||
		(err = wrtrain_u32("batch", o->batch, 1, 1 << 20, &f->batch, msg)) ||
		(err = wrtrain_u32("threads", o->threads, 1, 1024, &f->threads, msg)) ||
		(err = wrtrain_double("lr", o->lr, 1e-9, 1, &f->lr, msg)) ||
		(err = wrtrain_double("weight-decay", o->decay, 0, 10, &f->decay, msg)))
		return err;
	if (o->seed && wr_parse_u64(o->seed, 0, INT64_MAX, &f->seed))
		return wr_fail(msg, WR_EINVAL, "--seed=%s: give a whole number", o->seed);
	return WR_OK;
}

static json_t *calibration_json(const struct wr_calibration *c)
{
	json_t *predicted = json_array(), *observed = json_array();
	for (size_t i = 0; i < WR_ARRAY_LEN(c->bin_predicted); i++) {
		json_array_append_new(predicted, json_real(c->bin_predicted[i]));
		json_array_append_new(observed, json_real(c->bin_observed[i]));
	}
	return json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o}", "shown",
		(json_int_t)c->n, "positive", (json_int_t)c->positive, "auc",
		isnan(c->auc) ? 0 : c->auc, "log_loss", c->log_loss, "base_log_loss",
		c->base_log_loss, "predicted", c->predicted, "observed", c->observed,
		"calibration_error", c->error, "bin_predicted", predicted, "bin_observed",
		observed);
}

static void print_calibration(const char *what, const struct wr_calibration *c)
{
	printf("%-38s %9llu  AUC %.4f  log loss %.4f (of the rate alone %.4f)  rate %.4f "
	       "predicted, "
	       "%.4f observed  calibration error %.4f\n",
		what, (unsigned long long)c->n, c->auc, c->log_loss, c->base_log_loss, c->predicted,
		c->observed, c->error);
}

static int write_chart(const struct wr_heads_report *r, const char *path, struct wr_errmsg *msg)
{
	static const double ends[2] = {0, 1};
	struct wr_chart_series series[] = {
		{.name = "clicks of what was shown",
			.x = r->click.bin_predicted,
			.y = r->click.bin_observed,
			.n = WR_ARRAY_LEN(r->click.bin_predicted)},
		{.name = "conversions of what was clicked",
			.x = r->convert.bin_predicted,
			.y = r->convert.bin_observed,
			.n = WR_ARRAY_LEN(r->convert.bin_predicted)},
		{.name = "as it should be", .x = ends, .y = ends, .n = 2},
	};
	struct wr_chart chart = {.title = "Calibration",
		.x_label = "predicted",
		.y_label = "observed",
		.series = series,
		.n_series = WR_ARRAY_LEN(series),
		.note = "users who were kept out of training; ten bins of equal size"};
	return wr_chart_write(&chart, path, msg);
}

static int write_all(const struct options *o, const struct wr_heads_fit *f,
	const struct wr_heads *h, const struct wr_heads_report *r, struct wr_errmsg *msg)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/heads.safetensors", o->run);
	int err = wr_heads_write(h, path, msg);
	json_t *looked = json_array();
	for (uint32_t k = 0; k < WR_MAX_SHOWN; k++)
		json_array_append_new(looked, json_real(wr_heads_looked(h, k)));
	json_t *j = json_pack("{s:{s:I, s:I, s:I, s:f, s:f, s:I}, s:I, s:f, s:o, s:o, s:o, s:o}",
		"settings", "hidden", (json_int_t)f->hidden, "epochs", (json_int_t)f->epochs,
		"batch", (json_int_t)f->batch, "lr", f->lr, "weight_decay", f->decay, "seed",
		(json_int_t)f->seed, "best_epoch", (json_int_t)r->best_epoch, "seconds", r->seconds,
		"click", calibration_json(&r->click), "convert_given_click",
		calibration_json(&r->convert), "click_and_convert", calibration_json(&r->both),
		"looked_at", looked);
	if (!err && !j)
		err = wr_fail(msg, WR_ENOMEM, "out of memory for the report");
	snprintf(path, sizeof(path), "%s/heads.json", o->run);
	if (!err)
		err = wr_json_write(j, path, msg);
	if (!err && o->json)
		err = wr_json_write(j, o->json, msg);
	json_decref(j);
	snprintf(path, sizeof(path), "%s/calibration.svg", o->run);
	return err ? err : write_chart(r, path, msg);
}

static int run(int argc, char **argv, struct wr_errmsg *msg)
{
	struct options o = {0};
	struct wr_heads_fit f;
	struct wr_heads_report r;
	struct wr_dataset *ds = NULL;
	struct wr_student *s = NULL;
	struct wr_impressions *x = NULL;
	struct wr_heads *h = NULL;
	char best[4096], shown[4096];
	int err = parse(argc, argv, &o, &f, msg);
	if (err)
		return err;
	wr_stop_catch_signals();
	snprintf(best, sizeof(best), "%s/best.safetensors", o.run);
	snprintf(shown, sizeof(shown), "%s/impressions.tsv", o.data);
	err = wr_student_load(&s, best, msg);
	if (!err)
		err = wr_dataset_load(&ds, o.data, msg);
	if (!err)
		err = wr_impressions_load(&x, ds, o.impressions ? o.impressions : shown, msg);
	if (!err)
		err = wr_heads_train(&h, &f, s, ds, x, &r, msg);
	if (!err)
		err = write_all(&o, &f, h, &r, msg);
	if (!err) {
		print_calibration("clicks of what was shown", &r.click);
		print_calibration("conversions of what was clicked", &r.convert);
		print_calibration("clicked and converted of what was shown", &r.both);
	}
	wr_heads_free(h);
	wr_impressions_free(x);
	wr_dataset_free(ds);
	wr_student_free(s);
	return err;
}

int wr_cmd_fit_ctr(int argc, char **argv)
{
	struct wr_errmsg msg = {""};
	int err = run(argc, argv, &msg);
	if (err == WR_EINTR && msg.text[0]) {
		fprintf(stderr, "wrtrain fit-ctr: %s\n", msg.text);
		return 1;
	}
	return wrtrain_finish("fit-ctr", err, &msg);
}
