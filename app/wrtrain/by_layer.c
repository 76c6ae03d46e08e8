/* SPDX-License-Identifier: BSD-3-Clause */
/* wrtrain eval --by-layer: what each layer loses in int8, as a table. */
#include "by_layer.h"

static json_t *score_json(const struct wr_layer_score *s)
{
	return json_pack(
		"{s:f, s:f, s:f}", "hr10", s->hr10, "ndcg10", s->ndcg10, "same10", s->same10);
}

static void print_line(
	const char *name, const struct wr_layer_score *s, const struct wr_layer_score *than)
{
	printf("  %-24s HR@10 %.4f (%+.4f)  NDCG@10 %.4f (%+.4f)  same %.4f\n", name, s->hr10,
		s->hr10 - than->hr10, s->ndcg10, s->ndcg10 - than->ndcg10, s->same10);
}

int wrtrain_by_layer(const struct wr_student *s, const struct wr_dataset *ds, enum wr_split split,
	uint32_t users, uint32_t threads, const char *keep, json_t *to, struct wr_errmsg *msg)
{
	struct wr_layers l;
	char name[48];
	int err = wr_layers_measure(s, ds, split, users, threads, keep, &l, msg);
	if (err)
		return err;
	json_t *layers = json_array();
	printf("int8 by layer, in float sums (differences to float; same: share of float's ten "
	       "best)%s%s:\n",
		keep ? ", in two planes: " : "", keep ? keep : "");
	print_line("none: float", &l.none, &l.none);
	print_line("all", &l.all, &l.none);
	for (uint32_t i = 0; i < l.n; i++) {
		print_line(l.layer[i].name, &l.layer[i].alone, &l.none);
		json_array_append_new(layers, json_pack("{s:s, s:o, s:o}", "layer", l.layer[i].name,
						      "alone", score_json(&l.layer[i].alone),
						      "spared", score_json(&l.layer[i].spared)));
	}
	for (uint32_t i = 0; i < l.n; i++) {
		snprintf(name, sizeof(name), "all but %s", l.layer[i].name);
		print_line(name, &l.layer[i].spared, &l.none);
	}
	json_object_set_new(to, "by_layer",
		json_pack("{s:s, s:o, s:o, s:o}", "kept", keep ? keep : "", "none",
			score_json(&l.none), "all", score_json(&l.all), "layers", layers));
	return WR_OK;
}
