/* SPDX-License-Identifier: BSD-3-Clause */
/* Ranks and the means made from them: HR, NDCG and MRR with one relevant item. */
#include "learn_int.h"
#include "wr_report.h"

#include <math.h>

WR_CLONES static uint32_t count_before(const float *scores, uint32_t n, uint32_t target)
{
	float t = scores[target];
	uint32_t better = 0;
#pragma omp simd reduction(+ : better)
	for (uint32_t i = 0; i < target; i++)
		better += scores[i] >= t;
#pragma omp simd reduction(+ : better)
	for (uint32_t i = target + 1; i < n; i++)
		better += scores[i] > t;
	return better;
}

uint32_t wr_rank_of(const float *scores, uint32_t n_items, uint32_t target, const uint64_t *seen)
{
	uint32_t rank = count_before(scores, n_items, target);
	if (!seen)
		return rank;
	if (seen[target / 64] >> (target % 64) & 1)
		return UINT32_MAX;
	for (uint32_t w = 0; w < (n_items + 63) / 64; w++)
		for (uint64_t bits = seen[w]; bits; bits &= bits - 1) {
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(bits);
			rank -= i < target ? scores[i] >= scores[target]
					   : scores[i] > scores[target];
		}
	return rank;
}

void wr_metrics_at_add(struct wr_metrics_at *m, uint32_t rank_filtered, uint32_t rank_unfiltered)
{
	uint32_t rank[2] = {rank_filtered, rank_unfiltered};
	m->n_users++;
	for (int f = 0; f < 2; f++)
		for (int c = 0; c < WR_METRIC_N_CUTS; c++)
			if (rank[f] < wr_metric_cut[c]) {
				m->hr[f][c] += 1;
				m->ndcg[f][c] += 1 / log2((double)rank[f] + 2);
				m->mrr[f][c] += 1 / ((double)rank[f] + 1);
			}
}

void wr_metrics_at_mean(struct wr_metrics_at *m)
{
	double n = m->n_users ? m->n_users : 1;
	for (int f = 0; f < 2; f++)
		for (int c = 0; c < WR_METRIC_N_CUTS; c++) {
			m->hr[f][c] /= n;
			m->ndcg[f][c] /= n;
			m->mrr[f][c] /= n;
		}
}

static void put(json_t *to, const char *name, uint32_t cut, double value)
{
	char key[24];
	snprintf(key, sizeof(key), "%s%u", name, wr_metric_cut[cut]);
	json_object_set_new(to, key, json_real(value));
}

struct json_t *wr_metrics_at_json(const struct wr_metrics_at *m)
{
	static const char *const filter[2] = {"seen_filtered", "unfiltered"};
	json_t *j = json_pack("{s:I}", "users", (json_int_t)m->n_users);
	for (int f = 0; f < 2; f++) {
		json_t *x = json_object();
		for (uint32_t c = 0; c < WR_METRIC_N_CUTS; c++) {
			put(x, "hr", c, m->hr[f][c]);
			put(x, "ndcg", c, m->ndcg[f][c]);
			put(x, "mrr", c, m->mrr[f][c]);
		}
		json_object_set_new(j, filter[f], x);
	}
	json_t *x = json_object();
	for (uint32_t c = 0; c < WR_METRIC_N_CUTS; c++) {
		put(x, "coverage", c, m->coverage[c]);
		put(x, "gini", c, m->gini[c]);
		put(x, "novelty", c, m->novelty[c]);
		put(x, "diversity", c, m->diversity[c]);
	}
	json_object_set_new(j, "lists", x);
	return j;
}
