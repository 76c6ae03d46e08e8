/* SPDX-License-Identifier: BSD-3-Clause */
/* Log-linear latency histogram: merging and quantiles. */
#include "wr_base.h"

void wr_hist_merge(struct wr_hist *into, const struct wr_hist *from)
{
	into->count += from->count;
	into->sum += from->sum;
	if (from->max > into->max)
		into->max = from->max;
	for (unsigned int i = 0; i < WR_HIST_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
}

uint64_t wr_hist_bucket_floor(unsigned int index)
{
	if (index < (2u << WR_HIST_SUB_LOG2))
		return index;
	unsigned int shift = (index >> WR_HIST_SUB_LOG2) - 1;
	uint64_t mantissa = index - (shift << WR_HIST_SUB_LOG2);
	return mantissa << shift;
}

uint64_t wr_hist_quantile(const struct wr_hist *h, double q)
{
	uint64_t total = 0, seen = 0;
	for (unsigned int i = 0; i < WR_HIST_BUCKETS; i++)
		total += h->bucket[i];
	if (total == 0)
		return 0;
	double rank = q * (double)total;
	for (unsigned int i = 0; i < WR_HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (h->bucket[i] && (double)seen >= rank) {
			uint64_t top =
				i + 1 < WR_HIST_BUCKETS ? wr_hist_bucket_floor(i + 1) - 1 : h->max;
			return WR_MIN(top, h->max);
		}
	}
	return h->max;
}
