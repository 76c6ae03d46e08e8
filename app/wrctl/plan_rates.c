/* SPDX-License-Identifier: BSD-3-Clause */
/* Rates per core: those of the docs, those of a bench, and what they are for another model. */
#include "plan.h"

#include <math.h>
#include <string.h>

const char *const plan_kind_name[PLAN_KINDS] = {"warm", "cold", "event", "echo"};
const unsigned int plan_datagram[PLAN_KINDS] = {256, 640, 256, 256};

const struct wr_bundle_model plan_reference = {.n_items = 3416,
	.d = 64,
	.n_blocks = 2,
	.n_heads = 2,
	.n_kv_heads = 2,
	.head_dim = 32,
	.window = 50,
	.ffn = 128};

/* docs/capacity.md, "Measured": one worker lcore of `./run bench capacity`, feeding taken off. */
void plan_rates_default(struct plan_rates *r)
{
	*r = (struct plan_rates){.rate = {[PLAN_WARM] = {2813, 1138, 1201},
					 [PLAN_COLD] = {23668, 17353, 1475},
					 [PLAN_EVENT] = {281, 0, 0},
					 [PLAN_ECHO] = {149, 0, 0}},
		.machine = "Intel Xeon (family 6, model 207, AMX, 2.1 GHz, 2 virtual cores of a "
			   "shared host)",
		.source = "docs/capacity.md"};
}

static int take_workload(struct plan_rates *r, json_t *w, const char *path, struct wr_errmsg *msg)
{
	const char *name = json_string_value(json_object_get(w, "name"));
	json_t *one = json_array_get(json_object_get(w, "points"), 0);
	const char *rate_key = one ? "answers_s" : "per_core_qps";
	one = one ? one : w;
	double rate = json_number_value(json_object_get(one, rate_key));
	json_t *stages = json_object_get(one, "stage_ns_per_answer");

	for (unsigned int k = 0; name && k < PLAN_KINDS; k++) {
		if (strcmp(name, plan_kind_name[k]) != 0)
			continue;
		if (!(rate > 0) || !stages)
			return wr_fail(msg, WR_EFORMAT,
				"%s: workload %s has no %s, or no stage_ns_per_answer", path, name,
				rate_key);
		double encode = json_number_value(json_object_get(stages, "encode")),
		       score = json_number_value(json_object_get(stages, "score"));
		double ns = 1e9 / rate;
		/* Stages are wall time, the rate may be by CPU time: parts cannot be more than all.
		 */
		double squeeze = encode + score > 0.95 * ns ? 0.95 * ns / (encode + score) : 1;
		r->rate[k] = (struct plan_rate){ns, encode * squeeze, score * squeeze};
	}
	return 0;
}

int plan_rates_read(struct plan_rates *r, const char *path, struct wr_errmsg *msg)
{
	json_t *root, *w;
	size_t i;
	*r = (struct plan_rates){0};
	int err = wr_json_read(path, &root, msg);
	if (err)
		return err;
	json_array_foreach(json_object_get(root, "workloads"), i, w)
	{
		if (!err)
			err = take_workload(r, w, path, msg);
	}
	const char *cpu =
		json_string_value(json_object_get(json_object_get(root, "machine"), "cpu"));
	snprintf(r->machine, sizeof(r->machine), "%s", cpu ? cpu : "an unnamed machine");
	snprintf(r->source, sizeof(r->source), "%s", path);
	if (!err && r->rate[PLAN_WARM].ns == 0 && r->rate[PLAN_COLD].ns == 0)
		err = wr_fail(msg, WR_EFORMAT,
			"%s: no workload warm or cold in it; ./run bench writes such a file", path);
	json_decref(root);
	return err;
}

/* Products of one token in block b, without what only queries need (KV) or with it; of kept
 * projections three. */
static double token_macs(const struct wr_bundle_model *m, unsigned int b, bool whole)
{
	double d = m->d, dh = m->head_dim, queries = m->n_heads * dh, keys = m->n_kv_heads * dh;
	double times[WR_BUNDLE_PROJECTIONS];
	for (unsigned int p = 0; p < WR_BUNDLE_PROJECTIONS; p++)
		times[p] = wr_bundle_kept(m, b, (enum wr_bundle_projection)p) ? 3 : 1;
	double rest = (times[WR_BUNDLE_QKV] + times[WR_BUNDLE_OUT]) * queries +
		      (times[WR_BUNDLE_UP] + times[WR_BUNDLE_DOWN]) * m->ffn;
	return 2 * times[WR_BUNDLE_QKV] * d * keys + (whole ? d * rest : 0);
}

/* Attention of one query over n keys: scores, those by age where the model has them, and weighted
 * sum. */
static double query_macs(const struct wr_bundle_model *m, double n)
{
	return (2 + m->age_keys) * n * m->n_heads * m->head_dim;
}

double plan_encode_macs(const struct wr_bundle_model *m, enum plan_kind kind)
{
	const double clicks = 50;
	double seen = m->window < clicks ? m->window : clicks, sum = 0;
	/* Cold, the first token sees one key, the next two … up to a window; the last block runs
	 * for one query. */
	double keys = seen * (seen + 1) / 2 + (clicks - seen) * seen;
	if (kind != PLAN_WARM && kind != PLAN_COLD)
		return 0;
	for (unsigned int b = 0; b < m->n_blocks; b++) {
		double whole = token_macs(m, b, true), kv = token_macs(m, b, false);
		if (kind == PLAN_WARM)
			sum += whole + query_macs(m, m->window);
		else if (b + 1 < m->n_blocks)
			sum += clicks * whole + query_macs(m, keys);
		else
			sum += (clicks - 1) * kv + whole + query_macs(m, seen);
	}
	return sum;
}

double plan_score_macs(const struct wr_bundle_model *m, enum plan_kind kind)
{
	return kind == PLAN_WARM || kind == PLAN_COLD ? (double)m->n_items * m->d : 0;
}

double plan_ns(const struct plan_rates *r, const struct wr_bundle_model *m, enum plan_kind kind)
{
	const struct plan_rate *p = &r->rate[kind];
	double encode = plan_encode_macs(&plan_reference, kind),
	       score = plan_score_macs(&plan_reference, kind), ns = p->ns;
	if (encode > 0)
		ns += p->encode_ns * (plan_encode_macs(m, kind) / encode - 1);
	if (score > 0)
		ns += p->score_ns * (plan_score_macs(m, kind) / score - 1);
	return ns;
}
