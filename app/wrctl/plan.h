/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wrctl plan: what a load takes in cores, memory, network and servers. Rates per core are measured
 * ones (a bench's JSON, or those of docs/capacity.md); for another model they are scaled by the
 * work of the stages that depend on it. Memory is wirerankd's own plan.
 */
#ifndef WRCTL_PLAN_H
#define WRCTL_PLAN_H

#include "wr_bundle.h"
#include "wr_report.h"

enum plan_kind { PLAN_WARM, PLAN_COLD, PLAN_EVENT, PLAN_ECHO, PLAN_KINDS };
extern const char *const plan_kind_name[PLAN_KINDS];
extern const unsigned int plan_datagram[PLAN_KINDS]; /* bytes of request and answer */

/* ---- plan_rates.c ---- */
struct plan_rate {
	double ns;                  /* of a core for one answer; 0 = not measured */
	double encode_ns, score_ns; /* of it, the parts that a model's shape decides */
};
struct plan_rates {
	struct plan_rate rate[PLAN_KINDS];
	char machine[128], source[256]; /* CPU; where the figures come from */
};
/* The model that all rates were measured with: docs/performance.md. */
extern const struct wr_bundle_model plan_reference;
/* Figures of docs/capacity.md. */
void plan_rates_default(struct plan_rates *r);
/* Of `./run bench`'s JSON, or of bench capacity's. WR_EFORMAT names what is missing; WR_ENOENT. */
int plan_rates_read(struct plan_rates *r, const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Multiply-adds of an answer's encoding and scoring. */
double plan_encode_macs(const struct wr_bundle_model *m, enum plan_kind kind);
double plan_score_macs(const struct wr_bundle_model *m, enum plan_kind kind);
/* A core's ns for one answer with this model. */
double plan_ns(const struct plan_rates *r, const struct wr_bundle_model *m, enum plan_kind kind);

/* ---- plan_memory.c ---- */
/* wirerankd's memory plan (`wirerankd --plan`) for a server of so many workers and rows a worker on
 * a NIC; *plan is a new reference. WR_ENOENT: no wirerankd beside wrctl nor in PATH. */
int plan_memory(const struct wr_bundle_model *m, unsigned int workers, uint64_t rows, json_t **plan,
	struct wr_errmsg *msg) WR_MUST_CHECK;

#endif
