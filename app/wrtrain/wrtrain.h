/* SPDX-License-Identifier: BSD-3-Clause */
/* Subcommands of wrtrain; each gets argv from its own name on and returns the exit status. */
#ifndef WRTRAIN_H
#define WRTRAIN_H

#include "wr_base.h"

int wr_cmd_import(int argc, char **argv);
int wr_cmd_fit(int argc, char **argv);
int wr_cmd_fit_ctr(int argc, char **argv);
int wr_cmd_lift(int argc, char **argv);
int wr_cmd_replay(int argc, char **argv);
int wr_cmd_import_model(int argc, char **argv);
int wr_cmd_logits(int argc, char **argv);
int wr_cmd_features(int argc, char **argv);
int wr_cmd_map(int argc, char **argv);
int wr_cmd_teach(int argc, char **argv);
int wr_cmd_pack(int argc, char **argv);
int wr_cmd_prune(int argc, char **argv);
int wr_cmd_compress(int argc, char **argv);
int wr_cmd_cost(int argc, char **argv);
int wr_cmd_eval(int argc, char **argv);
int wr_cmd_compare(int argc, char **argv);
int wr_cmd_simulate(int argc, char **argv);

/* Prints "wrtrain COMMAND: text" and gives the exit status of err: 0 for none, and for --help
 * (WR_EINTR). */
int wrtrain_finish(const char *command, int err, const struct wr_errmsg *msg);
/* Reads an option that was given (value not NULL); WR_EINVAL with a line that names it and its
 * range. */
int wrtrain_u32(const char *name, const char *value, uint32_t min, uint32_t max, uint32_t *out,
	struct wr_errmsg *msg) WR_MUST_CHECK;
int wrtrain_double(const char *name, const char *value, double min, double max, double *out,
	struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
