/* SPDX-License-Identifier: BSD-3-Clause */
/* A run's log, settings and curves. Once an epoch. */
#include "fit_log_int.h"
#include "sgemm.h"
#include "text_file.h"
#include "wr_report.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *path_of(const char *dir, const char *name)
{
	char *p;
	return asprintf(&p, "%s/%s", dir, name) < 0 ? NULL : p;
}

static int read_line(
	const struct text *t, const char *line, struct fit_log_line *out, struct wr_errmsg *msg)
{
	json_error_t why;
	json_int_t epoch = 0;
	const char *math = NULL;
	json_t *j = json_loads(line, 0, &why);
	int bad = !j || json_unpack_ex(j, &why, 0,
				"{s:I, s:F, s:F, s:F, s:F, s:F, s:F, s?F, s?F, s?F, s?F, s?F, "
				"s?F, s?F, s?s}",
				"epoch", &epoch, "loss", &out->loss, "valid_hr10", &out->hr10,
				"valid_ndcg10", &out->ndcg10, "lr", &out->lr, "seconds",
				&out->seconds, "logit_scale", &out->logit_scale, "soft", &out->soft,
				"hidden", &out->hidden, "attention", &out->attention, "gflops",
				&out->gflops, "gemm_share", &out->share, "gemm_share_cpu",
				&out->cpu_share, "peak_mib", &out->peak_mib, "math", &math);
	out->taught = j && json_object_get(j, "soft");
	out->epoch = (uint64_t)epoch;
	out->math = math ? wr_math_parse(math) : WR_MATH_FLOAT;
	out->asked = math ? WR_MATH_BF16 : WR_MATH_FLOAT; /* told where not float was asked for */
	bad = bad || out->math == WR_N_MATHS;
	json_decref(j);
	return bad ? wr_learn_text_fail(t, msg,
			     "damaged log: %s: remove the file to go on without it", why.text)
		   : WR_OK;
}

static int append(struct fit_log *l, const struct fit_log_line *line, struct wr_errmsg *msg)
{
	if (wr_learn_grow(&l->line, &l->cap, l->n, sizeof(*l->line)))
		return wr_fail(msg, WR_ENOMEM, "out of memory for the log");
	l->line[l->n++] = *line;
	return WR_OK;
}

int wr_learn_fit_log_open(
	struct fit_log *l, const char *dir, uint64_t epochs, struct wr_errmsg *msg)
{
	struct text t;
	struct stat st;
	*l = (struct fit_log){.dir = strdup(dir)};
	char *path = path_of(dir, "log.jsonl"), *line;
	if (!l->dir || !path) {
		free(path);
		return wr_fail(msg, WR_ENOMEM, "out of memory for the log");
	}
	int err = WR_OK;
	if (epochs && !stat(path, &st)) {
		err = wr_learn_text_open(&t, path, msg);
		while (!err && (line = wr_learn_text_next(&t, NULL))) {
			struct fit_log_line x = {0};
			err = read_line(&t, line, &x, msg);
			if (!err && x.epoch <= epochs)
				err = append(l, &x, msg);
		}
		wr_learn_text_close(&t);
	}
	free(path);
	return err;
}

static int write_lines(const struct fit_log *l, struct wr_errmsg *msg)
{
	struct wr_file_writer *w;
	char *path = path_of(l->dir, "log.jsonl");
	if (!path)
		return wr_fail(msg, WR_ENOMEM, "out of memory for the log");
	int err = wr_file_writer_open(&w, path, msg);
	free(path);
	if (err)
		return err;
	for (size_t i = 0; i < l->n; i++) {
		const struct fit_log_line *x = &l->line[i];
		fprintf(wr_file_writer_stream(w),
			"{\"epoch\": %llu, \"loss\": %.6f, \"valid_hr10\": %.6f, \"valid_ndcg10\": "
			"%.6f, \"lr\": %.3e, "
			"\"seconds\": %.3f, \"logit_scale\": %.4f",
			(unsigned long long)x->epoch, x->loss, x->hr10, x->ndcg10, x->lr,
			x->seconds, x->logit_scale);
		if (x->gflops > 0)
			fprintf(wr_file_writer_stream(w),
				", \"gflops\": %.1f, \"gemm_share\": %.3f, \"gemm_share_cpu\": "
				"%.3f",
				x->gflops, x->share, x->cpu_share);
		if (x->peak_mib > 0)
			fprintf(wr_file_writer_stream(w), ", \"peak_mib\": %.1f", x->peak_mib);
		if (x->asked != WR_MATH_FLOAT)
			fprintf(wr_file_writer_stream(w), ", \"math\": \"%s\"",
				wr_math_name((enum wr_math)x->math));
		if (x->taught)
			fprintf(wr_file_writer_stream(w),
				", \"soft\": %.6f, \"hidden\": %.6f, \"attention\": %.6f", x->soft,
				x->hidden, x->attention);
		fputs("}\n", wr_file_writer_stream(w));
	}
	return wr_file_writer_commit(w, msg);
}

static int write_chart(const struct fit_log *l, struct wr_errmsg *msg)
{
	double *v = malloc(7 * l->n * sizeof(*v));
	char *path = path_of(l->dir, "loss.svg");
	int err = WR_ENOMEM;
	if (v && path) {
		bool taught = l->n && l->line[l->n - 1].taught;
		double *x = v, *loss = v + l->n, *hr = v + 2 * l->n, *ndcg = v + 3 * l->n,
		       *soft = v + 4 * l->n, *hidden = v + 5 * l->n, *attention = v + 6 * l->n;
		for (size_t i = 0; i < l->n; i++) {
			x[i] = (double)l->line[i].epoch;
			loss[i] = l->line[i].loss;
			hr[i] = l->line[i].hr10 * 10;
			ndcg[i] = l->line[i].ndcg10 * 10;
			soft[i] = l->line[i].soft;
			hidden[i] = l->line[i].hidden;
			attention[i] = l->line[i].attention;
		}
		struct wr_chart_series series[] = {
			{.name = "training loss", .x = x, .y = loss, .n = l->n},
			{.name = "10 × validation HR@10", .x = x, .y = hr, .n = l->n},
			{.name = "10 × validation NDCG@10", .x = x, .y = ndcg, .n = l->n},
			{.name = "KL from the teacher's answers", .x = x, .y = soft, .n = l->n},
			{.name = "distance of block outputs", .x = x, .y = hidden, .n = l->n},
			{.name = "KL from its attention", .x = x, .y = attention, .n = l->n}};
		struct wr_chart chart = {.title = "Training",
			.x_label = "epoch",
			.y_label = "loss; 10 × hit rate",
			.series = series,
			.n_series = taught ? WR_ARRAY_LEN(series) : 3,
			.note = "validation: last but one token of every user, full ranking, seen "
				"items removed"};
		err = wr_chart_write(&chart, path, msg);
	} else {
		wr_fail(msg, err, "out of memory for the curves");
	}
	free(path);
	free(v);
	return err;
}

int wr_learn_fit_log_add(struct fit_log *l, const struct fit_log_line *line, struct wr_errmsg *msg)
{
	int err = append(l, line, msg);
	if (!err)
		err = write_lines(l, msg);
	return err ? err : write_chart(l, msg);
}

void wr_learn_fit_log_close(struct fit_log *l)
{
	free(l->dir);
	free(l->line);
	*l = (struct fit_log){0};
}

/* Names of the values in the order of their vectors. */
static json_t *names_of(const struct wr_side *side)
{
	json_t *j = json_array();
	for (uint32_t v = 0; v < side->n_values; v++)
		json_array_append_new(j, json_string(side->value_name[v]));
	return j;
}

static void add_side(json_t *j, const struct wr_fit *f, const struct wr_dataset *ds)
{
	if (f->shape.categories)
		json_object_set_new(j, "categories", names_of(&ds->item_side));
	if (f->shape.profile_values)
		json_object_set_new(j, "profile_values", names_of(&ds->user_side));
}

int wr_learn_fit_log_settings(
	const char *dir, const struct wr_fit *f, const struct wr_dataset *ds, struct wr_errmsg *msg)
{
	const struct wr_student_shape *p = &f->shape;
	char *path = path_of(dir, "settings.json");
	json_t *old = NULL;
	json_t *j = json_pack(
		"{s:{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:b,s:b,s:I,s:I}, s:I,s:I,s:I, s:f,s:f,s:f, "
		"s:f,s:f,s:I,s:f,s:I, s:f,s:f,s:f,s:b, s:I, s:{s:I,s:I,s:I}}",
		"shape", "n_items", (json_int_t)p->n_items, "d", (json_int_t)p->d, "n_blocks",
		(json_int_t)p->n_blocks, "n_heads", (json_int_t)p->n_heads, "n_kv_heads",
		(json_int_t)p->n_kv_heads, "window", (json_int_t)p->window, "ffn",
		(json_int_t)p->ffn, "activation", wr_activation_name(p->activation), "gated",
		(int)p->gated, "rotary", (int)p->rotary, "context", (json_int_t)p->context,
		"time_buckets", (json_int_t)p->time_buckets, "epochs", (json_int_t)f->epochs,
		"batch", (json_int_t)f->batch, "len", (json_int_t)f->len, "lr", f->lr, "dropout",
		f->dropout, "attn_dropout", f->attn_dropout, "weight_decay", f->weight_decay, "ema",
		f->ema, "future", (json_int_t)WR_MAX(f->future, 1u), "future_decay",
		f->future_decay, "sampled", (json_int_t)f->sampled, "soft_share",
		f->distil.soft_share, "hidden_weight", f->distil.hidden_weight, "attention_weight",
		f->distil.attention_weight, "init_from_teacher", (int)f->distil.init, "seed",
		(json_int_t)f->seed, "data", "users", (json_int_t)ds->n_users, "items",
		(json_int_t)ds->n_items, "tokens", (json_int_t)ds->token_off[ds->n_users]);
	json_object_set_new(json_object_get(j, "shape"), "head_dim", json_integer(p->head_dim));
	json_object_set_new(
		json_object_get(j, "shape"), "no_age_bias", json_boolean(p->no_age_bias));
	json_object_set_new(json_object_get(j, "shape"), "age_keys", json_boolean(p->age_keys));
	add_side(j, f, ds);
	json_object_set_new(j, "math", json_string(wr_math_name((enum wr_math)f->math)));
	json_object_set_new(
		j, "math_used", json_string(wr_math_name(wr_math_used((enum wr_math)f->math))));
	json_object_set_new(j, "qat", json_boolean(f->qat));
	json_object_set_new(j, "keep_zeros", json_boolean(f->keep_zeros));
	/* The command that began the run is kept: it is what redoes it. */
	if (f->resume && path && !access(path, R_OK) && !wr_json_read(path, &old, NULL) &&
		json_object_get(old, "command"))
		json_object_set(j, "command", json_object_get(old, "command"));
	else if (f->command)
		json_object_set_new(j, "command", json_string(f->command));
	json_decref(old);
	int err = path && j ? wr_json_write(j, path, msg)
			    : wr_fail(msg, WR_ENOMEM, "out of memory for settings");
	json_decref(j);
	free(path);
	return err;
}
