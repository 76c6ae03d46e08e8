/* SPDX-License-Identifier: BSD-3-Clause */
/* What a run tells about itself: log.jsonl (a line an epoch), settings.json, loss.svg. */
#ifndef WR_LEARN_FIT_LOG_INT_H
#define WR_LEARN_FIT_LOG_INT_H

#include "wr_learn.h"

struct fit_log_line {
	uint64_t epoch; /* from 1 */
	double loss, hr10, ndcg10, lr, seconds, logit_scale;
	double gflops, share, cpu_share; /* of matrix products; 0 = not known */
	double peak_mib;                 /* most memory held so far; 0 = not known */
	uint32_t math, asked; /* enum wr_math: what products were made of, what they should be */
	bool taught;          /* the terms below are meant */
	double soft, hidden, attention;
};
struct fit_log {
	char *dir;
	struct fit_log_line *line;
	size_t n, cap;
};
/* Keeps the lines of the first `epochs` epochs of an earlier run in dir (a resumed run goes on
 * behind them). */
int wr_learn_fit_log_open(
	struct fit_log *l, const char *dir, uint64_t epochs, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Adds a line and writes log.jsonl and loss.svg anew, all or nothing each. */
int wr_learn_fit_log_add(
	struct fit_log *l, const struct fit_log_line *line, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_learn_fit_log_close(struct fit_log *l);
int wr_learn_fit_log_settings(const char *dir, const struct wr_fit *f, const struct wr_dataset *ds,
	struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
