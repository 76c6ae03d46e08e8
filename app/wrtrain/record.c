/* SPDX-License-Identifier: BSD-3-Clause */
/* A run's record for docs/records: its figures, settings and curves in one file. */
#include "record.h"

#include <stdlib.h>
#include <string.h>

#define MAX_LOG ((size_t)64 << 20)

/* The run's log, a line an epoch, as arrays by key; *seconds: the sum of the epochs'. */
static int read_curves(const char *run, json_t *curves, double *seconds, struct wr_errmsg *msg)
{
	char path[4096], *text, *rest = NULL;
	size_t n;
	*seconds = 0;
	snprintf(path, sizeof(path), "%s/log.jsonl", run);
	int err = wr_file_read(path, MAX_LOG, &text, &n, msg);
	if (err)
		return err;
	for (char *line = strtok_r(text, "\n", &rest); line && !err;
		line = strtok_r(NULL, "\n", &rest)) {
		const char *key;
		json_t *value, *epoch = json_loads(line, 0, NULL);
		if (!epoch)
			err = wr_fail(msg, WR_EFORMAT, "%s: a line is no JSON", path);
		*seconds += json_number_value(json_object_get(epoch, "seconds"));
		json_object_foreach(epoch, key, value)
		{
			if (!json_object_get(curves, key))
				json_object_set_new(curves, key, json_array());
			json_array_append(json_object_get(curves, key), value);
		}
		json_decref(epoch);
	}
	free(text);
	return err;
}

int wrtrain_record_write(const struct wrtrain_record *r, const struct wr_metrics_at *m,
	const char *path, struct wr_errmsg *msg)
{
	char settings_path[4096];
	json_t *settings = NULL, *curves = json_object();
	double seconds;
	snprintf(settings_path, sizeof(settings_path), "%s/settings.json", r->run);
	int err = wr_json_read(settings_path, &settings, msg);
	if (!err)
		err = read_curves(r->run, curves, &seconds, msg);
	if (!err) {
		const char *command = json_string_value(json_object_get(settings, "command"));
		json_t *j = json_pack("{s:s, s:s, s:O?, s:f, s:f, s:f, s:f, s:s, s:f, s:s, s:s, "
				      "s:o, s:o, s:O, s:O}",
			"dataset", r->dataset, "model", r->model, "seed",
			json_object_get(settings, "seed"), "hr10", m->hr[0][1], "ndcg10",
			m->ndcg[0][1], "hr10_unfiltered", m->hr[1][1], "ndcg10_unfiltered",
			m->ndcg[1][1], "where", r->where, "seconds", seconds, "command",
			command ? command : "unknown", "commit", r->commit ? r->commit : "unknown",
			"machine", wr_report_machine("any"), "metrics", wr_metrics_at_json(m),
			"settings", settings, "curves", curves);
		err = j ? wr_json_write(j, path, msg)
			: wr_fail(msg, WR_ENOMEM, "out of memory for a record");
		json_decref(j);
	}
	json_decref(settings);
	json_decref(curves);
	return err;
}
