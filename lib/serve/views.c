/* SPDX-License-Identifier: BSD-3-Clause */
/* What control and tests may look at. */
#include "serve_int.h"

enum wr_serve_state wr_serve_state(const struct wr_serve *s)
{
	return (enum wr_serve_state)atomic_load(&s->state);
}

const char *wr_serve_state_name(enum wr_serve_state state)
{
	static const char *const names[] = {
		[WR_SERVE_LOADED] = "loaded",
		[WR_SERVE_WARM] = "warm",
		[WR_SERVE_SERVING] = "serving",
		[WR_SERVE_DRAINING] = "draining",
		[WR_SERVE_STOPPED] = "stopped",
	};
	return (size_t)state < WR_ARRAY_LEN(names) ? names[state] : "unknown";
}

unsigned int wr_serve_n_workers(const struct wr_serve *s)
{
	return s->o.n_workers;
}

const struct wr_metrics *wr_serve_metrics(const struct wr_serve *s, unsigned int worker)
{
	return s->workers[worker]->metrics;
}

unsigned int wr_serve_worker_cpu(const struct wr_serve *s, unsigned int worker)
{
	return s->workers[worker]->cpu;
}

uint32_t wr_serve_sessions(const struct wr_serve *s, unsigned int worker)
{
	return wr_table_sessions(s->workers[worker]->table);
}

uint32_t wr_serve_rows(const struct wr_serve *s)
{
	return s->o.rows_per_lcore;
}

const struct wr_config *wr_serve_config(const struct wr_serve *s)
{
	return s->o.config;
}

const struct wr_bundle *wr_serve_bundle(const struct wr_serve *s)
{
	return s->o.bundle;
}

const struct wr_intents *wr_serve_intents(const struct wr_serve *s)
{
	return s->intents;
}

const struct wr_serve_plan *wr_serve_plan_of(const struct wr_serve *s)
{
	return &s->plan;
}

enum wr_isa wr_serve_isa(const struct wr_serve *s)
{
	return wr_model_isa(s->model);
}

const char *wr_serve_engine(const struct wr_serve *s)
{
	return wr_gemm_engine_name(wr_model_engine(s->model));
}

const struct wr_engine_times *wr_serve_engines(const struct wr_serve *s, unsigned int worker)
{
	const struct wr_encoder *e = s->workers[worker]->encoder;
	return e ? wr_encoder_engines(e) : NULL;
}

void wr_serve_macs(const struct wr_serve *s, uint64_t *onednn, uint64_t *own)
{
	*onednn = *own = 0;
	for (unsigned int i = 0; i < s->o.n_workers; i++) {
		uint64_t a = 0, b = 0;
		if (s->workers[i]->encoder)
			wr_encoder_macs(s->workers[i]->encoder, &a, &b);
		*onednn += a;
		*own += b;
	}
}

bool wr_serve_huge(const struct wr_serve *s)
{
	return s->o.huge;
}

int64_t wr_serve_unix_us(const struct wr_serve *s)
{
	int64_t offset = atomic_load_explicit(&s->unix_offset_us, memory_order_relaxed);
	return (int64_t)(tsc_to_ns(s, wr_clock_tsc()) / 1000) + offset;
}

uint64_t wr_serve_uptime_ns(const struct wr_serve *s)
{
	return s->opened_ns ? wr_clock_ns() - s->opened_ns : 0;
}

uint32_t wr_serve_generation(const struct wr_serve *s)
{
	return s->generation;
}

const uint8_t *wr_serve_shards(const struct wr_serve *s, uint32_t *epoch)
{
	*epoch = s->epoch;
	return s->shards;
}

uint16_t wr_serve_udp_port(const struct wr_serve *s, unsigned int worker)
{
	return s->ports[worker];
}

const struct wr_port *wr_serve_port(const struct wr_serve *s)
{
	return s->port;
}
