/* SPDX-License-Identifier: BSD-3-Clause */
/* Checkpoint + data set (+ rules) → bundle. */
#include "fake_int.h"
#include "quantise_student.h"
#include "wr_intent.h"
#include "wr_learn.h"
#include "wr_report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_RULES ((size_t)64 << 20)

struct packing {
	const struct wr_pack *p;
	struct wr_dataset *ds;
	struct wr_student *s;
	struct wr_bundle_builder *w;
	uint16_t kept[WR_BUNDLE_PROJECTIONS];
	char *rules;
	size_t rules_bytes;
};

/* DIR/NAME as JSON, null when it is not there. */
static json_t *read_optional(const char *dir, const char *name)
{
	char path[4096];
	json_t *j = NULL;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, R_OK) || wr_json_read(path, &j, NULL) ? json_null() : j;
}

/* Names of what is kept; NULL when nothing is. */
static json_t *kept_json(const struct packing *k)
{
	json_t *names = NULL;
	char name[WR_KEEP_NAME];
	for (uint32_t i = 0; i < WR_BUNDLE_PROJECTIONS * WR_BUNDLE_MAX_BLOCKS; i++) {
		uint32_t b = i / WR_BUNDLE_PROJECTIONS, p = i % WR_BUNDLE_PROJECTIONS;
		if (!(k->kept[p] >> b & 1))
			continue;
		names = names ? names : json_array();
		wr_keep_name(b, (enum wr_bundle_projection)p, name);
		json_array_append_new(names, json_string(name));
	}
	return names;
}

static int add_manifest(const struct packing *k, struct wr_errmsg *msg)
{
	struct wr_metrics_at valid, test;
	int err = wr_eval_float(k->s, k->ds, WR_SPLIT_VALID, 0, k->p->threads, &valid, msg);
	if (!err)
		err = wr_eval_float(k->s, k->ds, WR_SPLIT_TEST, 0, k->p->threads, &test, msg);
	if (err)
		return err;
	json_t *j = json_pack("{s:s, s:o, s:o, s:{s:o, s:o}}", "checkpoint", k->p->checkpoint,
		"data", read_optional(k->p->data_dir, "dataset.json"), "training",
		read_optional(k->p->run_dir, "settings.json"), "metrics_float", "validation",
		wr_metrics_at_json(&valid), "test", wr_metrics_at_json(&test));
	json_t *kept = kept_json(k);
	if (kept)
		json_object_set_new(j, "kept", kept);
	char *text = j ? json_dumps(j, JSON_INDENT(2)) : NULL;
	json_decref(j);
	err = text ? wr_bundle_builder_add(k->w, WR_SEC_MANIFEST, text, strlen(text)) : WR_ENOMEM;
	free(text);
	return err ? wr_fail(msg, err, "cannot add the manifest: %s", wr_strerror(err)) : WR_OK;
}

static int add_catalogue(const struct packing *k, struct wr_errmsg *msg)
{
	const struct wr_dataset *ds = k->ds;
	uint32_t n = ds->n_items, *popularity = calloc(n, sizeof(*popularity));
	uint8_t *flags = malloc(n);
	int err = popularity && flags ? WR_OK : WR_ENOMEM;
	if (!err) {
		memset(flags, 1, n);
		for (uint32_t u = 0; u < ds->n_users; u++) {
			uint32_t begin = ds->token_off[u],
				 m = wr_split_training(ds->token_off[u + 1] - begin);
			for (uint32_t i = 0; i < m; i++)
				popularity[ds->token_row[begin + i]]++;
		}
		err = wr_bundle_builder_add(
			k->w, WR_SEC_POPULARITY, popularity, n * sizeof(*popularity));
	}
	if (!err)
		err = wr_bundle_builder_add(k->w, WR_SEC_ITEM_FLAGS, flags, n);
	if (!err)
		err = wr_bundle_builder_add(
			k->w, WR_SEC_CATEGORY, ds->item_category, n * sizeof(*ds->item_category));
	if (!err)
		err = wr_bundle_builder_add_strings(k->w, WR_SEC_CAT_NAMES,
			(const char *const *)ds->category_name, ds->n_categories);
	if (!err)
		err = wr_bundle_builder_add_strings(
			k->w, WR_SEC_ITEM_NAMES, (const char *const *)ds->item_name, n);
	if (!err)
		err = wr_bundle_builder_add_strings(
			k->w, WR_SEC_TITLES, (const char *const *)ds->item_title, n);
	free(popularity);
	free(flags);
	return err ? wr_fail(msg, err, "cannot add the catalogue: %s", wr_strerror(err)) : WR_OK;
}

static int add_rules(struct packing *k, struct wr_errmsg *msg)
{
	if (!k->p->rules)
		return WR_OK;
	int err = wr_file_read(k->p->rules, MAX_RULES, &k->rules, &k->rules_bytes, msg);
	if (err)
		return err;
	err = wr_bundle_builder_add(k->w, WR_SEC_RULES, k->rules, k->rules_bytes);
	return err ? wr_fail(msg, err, "cannot add the rules: %s", wr_strerror(err)) : WR_OK;
}

/* The version behind the one at path, so that reloading servers see it grow. */
static uint32_t next_version(const struct packing *k, const char *path)
{
	struct wr_bundle *old;
	uint32_t version = 1;
	if (k->p->version)
		return k->p->version;
	if (!access(path, F_OK) && !wr_bundle_open(&old, path, NULL)) {
		version = wr_bundle_model(old)->bundle_version + 1;
		wr_bundle_close(old);
	}
	return version;
}

/* The rules are compiled against the new bundle before it takes its place: an error names the rules
 * file's line. */
static int write_checked(const struct packing *k, const char *path, struct wr_errmsg *msg)
{
	struct wr_bundle *b = NULL;
	struct wr_intents *x = NULL;
	char *fresh;
	if (asprintf(&fresh, "%s.new", path) < 0)
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", path);
	int err = wr_bundle_builder_write(k->w, fresh, msg);
	if (!err && k->rules) {
		err = wr_bundle_open(&b, fresh, msg);
		if (!err)
			err = wr_intents_new(&x, k->rules, k->rules_bytes, k->p->rules, b, msg);
		wr_intents_free(x);
		wr_bundle_close(b);
	}
	if (!err && rename(fresh, path))
		err = wr_fail(msg, WR_EIO, "%s: cannot write: %s", path, strerror(errno));
	if (err)
		unlink(fresh);
	free(fresh);
	return err;
}

int wr_pack_run(const struct wr_pack *p, const char *path, struct wr_errmsg *msg)
{
	struct packing k = {.p = p};
	struct moments moments = {0};
	struct quantising how = {0};
	char *checkpoint = NULL;
	int err = WR_OK;
	if (asprintf(&checkpoint, "%s/%s", p->run_dir, p->checkpoint) < 0)
		return wr_fail(msg, WR_ENOMEM, "out of memory");
	err = wr_dataset_load(&k.ds, p->data_dir, msg);
	if (!err)
		err = wr_student_load(&k.s, checkpoint, msg);
	if (!err && k.s->shape.n_items != k.ds->n_items)
		err = wr_fail(msg, WR_EINVAL,
			"%s was trained on %u items, %s has %u: pack it with its own data",
			checkpoint, k.s->shape.n_items, p->data_dir, k.ds->n_items);
	if (!err)
		err = wr_learn_served(&k.s->shape, checkpoint, msg);
	if (!err)
		err = wr_keep_parse(p->keep, k.s->shape.n_blocks, k.kept, msg);
	if (!err)
		err = wr_bundle_builder_new(&k.w, msg);
	if (!err && p->calibrate)
		err = wr_learn_moments_measure(&moments, k.s, k.ds, msg);
	if (!err) {
		how.moments = p->calibrate ? &moments : NULL;
		how.bundle_version = next_version(&k, path);
		memcpy(how.kept, k.kept, sizeof(how.kept));
		err = wr_learn_quantise_student(k.w, k.s, &how, msg);
	}
	wr_learn_moments_free(&moments);
	if (!err)
		err = add_catalogue(&k, msg);
	if (!err)
		err = add_rules(&k, msg);
	if (!err)
		err = add_manifest(&k, msg);
	if (!err)
		err = write_checked(&k, path, msg);
	wr_bundle_builder_free(k.w);
	free(k.rules);
	wr_student_free(k.s);
	wr_dataset_free(k.ds);
	free(checkpoint);
	return err;
}
